"""Values that a module only records, prints or asserts do not stop its conversion; a branch on one does."""

import warnings

import numpy as np
import pytest

import pwlnet
from tests.counts import few

torch = pytest.importorskip("torch")
nn = torch.nn
from tests.convert.recording_modules import (  # noqa: E402
    Recording,
    assert_finite,
    keep_an_int,
    print_a_float,
    record_in_three_ways,
)

X = np.array([[1.0, -2.0], [0.5, 3.0]])


def test_values_that_are_only_kept_printed_or_asserted_do_not_stop_a_module():
    network = pwlnet.from_torch(Recording(record_in_three_ways), (2,))
    np.testing.assert_array_equal(network.forward(X), [[3.0], [3.5]])


@pytest.mark.parametrize("record", [keep_an_int, print_a_float, assert_finite][: few(3, quick=1)])
def test_each_way_to_record_is_harmless_alone(record):
    network = pwlnet.from_torch(Recording(record), (2,))
    np.testing.assert_array_equal(network.forward(X), [[3.0], [3.5]])


def test_a_branch_on_the_value_of_an_activation_is_refused():
    class Branching(nn.Module):
        def forward(self, x):
            y = torch.relu(x)
            return 2 * y if float(y.sum()) > 1 else y

    with pytest.raises(pwlnet.errors.ConversionError, match="must not depend on the values of tensors"):
        pwlnet.from_torch(Branching(), (2,))


def warning_of(module, shape):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = pwlnet.from_torch(module, shape)
    (one,) = caught
    return network, str(one.message)


class TwoHeads(nn.Module):
    def forward(self, x):
        return torch.cat([torch.softmax(x[:, :2], 1), torch.softmax(x[:, 2:], 1)], 1)


def test_the_warning_of_two_joined_softmaxes_does_not_promise_one_largest():
    """softmax(0, 5) and softmax(9, 9, 9) have their largest probability at entry 1, their logits at entry 2."""
    x = np.array([[0.0, 5.0, 9.0, 9.0, 9.0]])
    network, message = warning_of(TwoHeads(), (5,))
    np.testing.assert_array_equal(network.forward(x), x)
    assert TwoHeads()(torch.from_numpy(x)).argmax() == 1
    assert network.forward(x).argmax() == 2
    assert "in each of the 2 groups that were normalised alone, the largest is the predicted class" in message


def test_the_warning_of_a_softmax_for_each_pixel_counts_its_groups():
    _, message = warning_of(nn.Softmax2d(), (3, 2, 2))
    assert "in each of the 4 groups" in message


def test_the_warning_of_one_softmax_names_the_largest():
    _, message = warning_of(nn.Softmax(1), (3,))
    assert "the network computes the logits: the largest is the predicted class, as before" in message
