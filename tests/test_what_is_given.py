"""What users give where an array or a network is needed: taken with its exact values, or refused in one sentence."""

import numpy as np
import pytest
import torch

import pwlnet
from pwlnet.errors import InputError
from pwlnet.validation import as_array, check_network

VALUES = [[0.5, -1.25], [3.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_tensors_are_taken_with_their_exact_values(dtype, needs_gradient):
    tensor = torch.tensor(VALUES, dtype=dtype, requires_grad=needs_gradient)
    for given in (tensor, list(tensor)):
        assert np.array_equal(as_array(given, "x"), VALUES)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (torch.eye(2).to_sparse(), "x is a sparse tensor; give tensor.to_dense()"),
        (torch.eye(2, device="meta"), "x is a meta tensor, which has no values; give one on the processor"),
        (
            np.ma.masked_array(VALUES, [[True, False], [False, False]]),
            "x is a masked array with masked entries; fill",
        ),
        ([[1.0], [1.0, 2.0]], "x has rows of different lengths; give an array with equally long rows"),
        ("rows.csv", "x is 'rows.csv'; give an array of real numbers"),
        (torch.nn.Linear(2, 1), "x is of type Linear; give an array of real numbers"),
    ],
)
def test_what_is_no_array_is_refused_in_one_sentence(value, reason):
    with pytest.raises(InputError) as caught:
        as_array(value, "x")
    assert str(caught.value).startswith(reason)
    assert len(str(caught.value)) <= 400


USES = {
    "partition_lines": lambda net: pwlnet.partition_lines(net, [0.0, 0.0], [1.0, 1.0]),
    "region_of": lambda net: pwlnet.region_of(net, [0.0, 0.0]),
    "neuron_entropy": lambda net: pwlnet.neuron_entropy(net, [[0.0, 0.0]]),
    "bound_preactivations": lambda net: pwlnet.bound_preactivations(net, pwlnet.Box([0.0, 0.0], [1.0, 1.0])),
    "check": check_network,
}


@pytest.mark.parametrize("use", USES)
def test_a_module_or_a_path_is_no_network_and_the_message_says_how_to_get_one(use):
    for given, advice in ((torch.nn.Linear(2, 1), "from_torch"), ("net.onnx", "load_network"), (3, "give a Network")):
        with pytest.raises(InputError, match=advice):
            USES[use](given)
