"""The self-check of conversions: what it accepts, what it refuses, and how small a fault it finds."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import pwlnet
from pwlnet.convert import check as checks
from pwlnet.convert.check import Referee, check_conversion, rounding_bound
from pwlnet.errors import ConversionError, InputError, PwlnetWarning
from tests.convert.onnx_models import build, op, save
from tests.counts import few


class Function(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def linear(weight, bias=None):
    weight = torch.tensor(weight, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=torch.float64)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = torch.tensor(bias, dtype=torch.float64)
    return layer


def convnet(seed=0):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4)
    module = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        module(torch.randn(8, 2, 6, 6))
    return module.eval()


def fused(module):
    return nn.Sequential(fuse_conv_bn_eval(module[0], module[1]), *copy.deepcopy(module[2:]))


# What is accepted: the right values too.


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-300])
def test_outputs_that_cancel_to_zero_or_nearly_are_no_fault(gap):
    module = nn.Sequential(linear([[1.0], [1.0]]), nn.ReLU(), linear([[3.0, -3.0 + gap]]))
    network = pwlnet.from_torch(module, (1,))
    np.testing.assert_array_equal(network.forward([[2.0], [-1.0]]), [[2 * (3.0 + (-3.0 + gap))], [0.0]])


def test_the_difference_of_a_network_and_its_fused_form_converts():
    module = convnet()
    difference = Function(lambda self, x: self.f(x) - self.g(x), f=module, g=fused(module)).double()
    rows = np.random.default_rng(0).standard_normal((4, 2, 6, 6))
    network = pwlnet.from_torch(difference, (2, 6, 6))
    with torch.no_grad():
        expected = difference(torch.from_numpy(rows)).numpy()
    assert np.abs(expected).max() < 1e-5  # rounding of the fused float32 weights
    np.testing.assert_allclose(network.forward(rows), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("power", [-1040, -1000, -500, -30, 30, 300, 480])
def test_outputs_of_all_sizes_are_measured_against_their_own(power):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2)).double()
    with torch.no_grad():
        module[2].weight *= 2.0**power
        module[2].bias *= 2.0**power
    network, rows = pwlnet.from_torch(module, (3,)), np.random.default_rng(1).standard_normal((5, 3))
    with torch.no_grad():
        expected = module(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(network.forward(rows), expected, rtol=1e-13, atol=2.0**-1070)


def test_a_source_that_overflows_at_usual_points_is_compared_at_small_ones():
    module = nn.Sequential(linear([[1e200], [3e200]]), nn.ReLU(), linear([[1e200, -2e199]]))
    with np.errstate(over="ignore"):
        assert pwlnet.from_torch(module, (1,)).forward([[1e-200]])[0, 0] == pytest.approx(4e199)


def test_networks_whose_outputs_are_zero_everywhere_convert():
    module = nn.Sequential(linear([[1.0, 2.0]], [-1e9]), nn.ReLU(), linear([[5.0]]))
    np.testing.assert_array_equal(pwlnet.from_torch(module, (2,)).forward(np.ones((3, 2))), np.zeros((3, 1)))
    assert not pwlnet.from_torch(Function(lambda self, x: x - x), (2,)).forward([[1.0, 2.0]]).any()


def test_a_mean_that_cancels_before_it_is_folded_is_no_fault():
    norm = nn.BatchNorm1d(3).double().eval()
    layer = nn.Linear(2, 3).double()
    with torch.no_grad():
        norm.running_mean += 1e9
        layer.bias += 1e9
    pwlnet.from_torch(nn.Sequential(layer, norm, nn.ReLU(), nn.Linear(3, 1).double()), (2,))


@pytest.mark.parametrize("seed", range(few(8, quick=3)))
def test_a_relu_of_nothing_but_rounding_errors_is_no_fault(seed):
    torch.manual_seed(seed)
    first, second, order = nn.Linear(50, 30).double(), nn.Linear(50, 30).double(), torch.randperm(50)
    second.weight.data, second.bias.data = first.weight.data[:, order].clone(), first.bias.data.clone()
    module = Function(lambda self, x: torch.relu(self.f(x) - self.g(x[:, order])) * 1e12, f=first, g=second)
    assert np.abs(pwlnet.from_torch(module, (50,)).forward(np.ones((1, 50)))).max() < 1e-2


def test_values_that_underflow_in_the_middle_are_no_fault():
    rng = np.random.default_rng(0)
    outer = [linear(rng.standard_normal((9, 3)) * 1e-313), linear(rng.standard_normal((2, 9)) * 1e300)]
    network = pwlnet.from_torch(nn.Sequential(outer[0], nn.ReLU(), outer[1]), (3,))
    assert np.abs(network.forward(rng.standard_normal((4, 3)))).max() < 1e-11


# What is refused: faults of the conversion, as small as they are found.


def altered(network, place, change):
    """The network with one weight or bias multiplied by 1 + change."""
    arrays = network.program._asdict()
    values = arrays[place].copy()
    values[np.argmax(np.abs(values))] *= 1.0 + change
    program = network.program._replace(**{place: values})
    return pwlnet.network.Network(program, input_shape=network.input_shape)


def source_of(module):
    module = copy.deepcopy(module).double().eval()

    def forward(rows):
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(rows))).reshape(len(rows), -1).numpy()

    return [Referee("torch", forward)]


@pytest.mark.parametrize("place", ["weights", "biases"])
@pytest.mark.parametrize("change", [1e-6, 1e-9, 1e-10])
def test_one_parameter_that_is_off_by_little_is_found(place, change):
    module = convnet()
    network = pwlnet.from_torch(module, (2, 6, 6))
    check_conversion(network, source_of(module), "the module")
    with pytest.raises(ConversionError, match=r"the module and its conversion differ \(torch: output \d differs by"):
        check_conversion(altered(network, place, change), source_of(module), "the module")


def test_changes_below_the_unit_roundoff_of_many_sums_are_not_found():
    module = convnet()
    network = pwlnet.from_torch(module, (2, 6, 6))
    check_conversion(altered(network, "weights", 2e-15), source_of(module), "the module")


def swapped(module):
    with torch.no_grad():
        weight = module[5].weight
        weight[0, :2] = weight[0, :2].flip(0)


def another_epsilon(module):
    module[1].eps = 1e-3


def without_relu(module):
    module[2] = nn.Identity()


def shifted_padding(module):
    module[0].padding = (0, 0)
    module[0] = nn.Sequential(nn.ZeroPad2d((2, 0, 1, 1)), module[0])


def smaller_slope(module):
    module[2] = nn.LeakyReLU(1e-9)


@pytest.mark.parametrize("fault", [swapped, another_epsilon, without_relu, shifted_padding, smaller_slope])
def test_faults_of_a_conversion_are_found(fault):
    module = convnet()
    wrong = copy.deepcopy(module)
    fault(wrong)
    with pytest.raises(ConversionError, match="rounding explains"):
        check_conversion(pwlnet.from_torch(wrong, (2, 6, 6)), source_of(module), "the module")


def test_values_that_are_not_numbers_are_not_taken_for_right():
    network = pwlnet.from_torch(linear([[1.0, 2.0]]), (2,))
    with pytest.warns(PwlnetWarning, match="its outputs overflow"):
        check_conversion(network, [Referee("nan", lambda rows: np.full((len(rows), 1), np.nan))], "it")
    with pytest.raises(ConversionError, match="2 outputs, the conversion 1"):
        check_conversion(network, [Referee("two", lambda rows: np.zeros((len(rows), 2)))], "it")


def test_the_estimate_is_above_the_rounding_errors_and_not_far():
    rng, shares = np.random.default_rng(0), []
    for seed in range(few(40)):
        torch.manual_seed(seed)
        width = int(rng.integers(2, 60))
        layers = [nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.LeakyReLU(-0.7), nn.Linear(width, 3)]
        module = nn.Sequential(*layers).double()
        network, rows = pwlnet.from_torch(module, (4,)), rng.standard_normal((16, 4))
        x = torch.from_numpy(rows)
        for layer in layers:  # the same sums in another order
            permuted = torch.randperm(x.shape[1])
            if isinstance(layer, nn.Linear):
                x = torch.stack([sum(x[:, i] * w[i] for i in permuted) + b for w, b in zip(layer.weight, layer.bias)], dim=1)
            else:
                x = layer(x)
        error = np.abs(network.forward(rows) - x.detach().numpy()).max(axis=0)
        shares.append(error / rounding_bound(network, rows))
    shares = np.concatenate(shares)
    assert shares.max() < 0.1 and np.median(shares) > 1e-4


# Modules that mix the rows of a batch, and those that do not.


@pytest.mark.parametrize(
    "forward", [lambda self, x: x - x.mean(0), lambda self, x: x + 1e-6 * x.flip(0), lambda self, x: x.view(1, -1)]
)
def test_a_module_that_mixes_rows_is_refused(forward):
    with pytest.raises(ConversionError, match="must not mix the batch axis with the features"):
        pwlnet.from_torch(Function(forward), (3,))


# Referees.


def bad(rows):
    raise RuntimeError("not implemented: Relu\nsecond line")


def test_a_referee_that_is_wrong_is_overruled_by_the_next():
    network = pwlnet.from_torch(linear([[1.0, 2.0]]), (2,))
    right, wrong = Referee("right", network.forward), Referee("wrong", lambda rows: network.forward(rows) + 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_conversion(network, [right, wrong], "it")
        check_conversion(network, [Referee("broken", bad), right], "it")
    with pytest.warns(PwlnetWarning, match=r"it agrees with right, but not with wrong \(output 0 differs by 1.0e\+00 of"):
        check_conversion(network, [wrong, right], "it")


def test_a_refusal_says_which_referee_said_what():
    network = pwlnet.from_torch(linear([[1.0, 2.0]]), (2,))
    wrong = Referee("wrong", lambda rows: network.forward(rows) + 1.0)
    with pytest.raises(
        ConversionError, match=r"wrong: output 0 differs by 1\.0e\+00.*; broken: RuntimeError: not implemented: Relu\)"
    ):
        check_conversion(network, [wrong, Referee("broken", bad)], "it")
    with pytest.warns(PwlnetWarning, match=r"not compared with its source \(broken: RuntimeError: not implemented: Relu\)"):
        check_conversion(network, [Referee("broken", bad)], "it")


def test_a_slow_referee_is_asked_for_two_rows(monkeypatch):
    monkeypatch.setattr(checks, "_PATIENCE", -1.0)
    network, asked = pwlnet.from_torch(linear([[1.0, 2.0]]), (2,)), []
    check_conversion(network, [Referee("slow", lambda rows: asked.append(len(rows)) or network.forward(rows))], "it")
    assert asked == [2]


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 14, 17])
@pytest.mark.parametrize("rank", [2, 4])
def test_batch_norms_of_all_opsets_load(opset, rank, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)  # onnx.reference alone must not be wrong
    rng, shape = np.random.default_rng(opset), (1, 3, 2, 2)[:rank]
    statistics = {name: rng.uniform(0.5, 2.0, 3).astype(np.float32) for name in "sbmv"}
    path = save(build(shape, op("BatchNormalization", "x s b m v"), opset=opset, constants=statistics), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = pwlnet.load_network(path)
    s, b, m, v = (a.astype(np.float64).reshape((-1,) + (1,) * (rank - 2)) for a in statistics.values())
    x = rng.standard_normal(shape[1:])
    expected = s * (x - m) / np.sqrt(v + float(np.float32(1e-5))) + b
    np.testing.assert_allclose(network.forward(x[None])[0], expected.ravel(), rtol=1e-13)


def test_check_chooses_between_refusing_warning_and_not_evaluating(monkeypatch, tmp_path):
    path = save(build((1, 4), op("Relu", "x")), tmp_path)
    monkeypatch.setattr(checks, "rounding_bound", lambda network, *_: np.full(network.n_outputs, -1.0))
    monkeypatch.setattr(checks, "largest_excess", lambda *_: (2.0, "output 0 differs"))
    for convert in (lambda **k: pwlnet.load_network(path, **k), lambda **k: pwlnet.from_torch(nn.ReLU(), (4,), **k)):
        with pytest.raises(ConversionError, match="use check='warn' to take the network anyway"):
            convert()
        with pytest.warns(PwlnetWarning, match="its conversion differ"):
            assert convert(check="warn").n_neurons == 4
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert convert(check="off").n_neurons == 4
        with pytest.raises(InputError, match="check is 'of'; the choices are 'strict', 'warn', 'off'"):
            convert(check="of")
