"""A network as a torch module has the values and Jacobians of the network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

import pwlnet  # noqa: E402
from pwlnet.convert.graph import Graph  # noqa: E402
from pwlnet.convert.lower import lower  # noqa: E402
from pwlnet.errors import ShapeError, UnsupportedOperationError  # noqa: E402
from pwlnet.kernels.ir import program as ir  # noqa: E402
from pwlnet.shipped import CONTROL_NETWORKS, DEPTH_NETWORKS, DIGITS_NETWORKS, control_network_path  # noqa: E402
from pwlnet.smoothing.torch_network import TorchNetwork  # noqa: E402
from pwlnet.warmup import toy_network  # noqa: E402
from tests.counts import few  # noqa: E402
from tests.drawn import draw  # noqa: E402

SEEDS = range(few(100, 6, quick=14))
SHIPPED = DIGITS_NETWORKS + DEPTH_NETWORKS + CONTROL_NETWORKS
SWITCHING = {torch.relu, F.leaky_relu, F.prelu, F.hardtanh, F.max_pool2d}


def check(network, points, rtol=1e-12):
    """Compare values and Jacobians with those of the network."""
    module, x = TorchNetwork(network), torch.tensor(points, requires_grad=True)
    outputs = module(x)
    expected = network.forward(points)
    assert outputs.dtype == torch.float64
    assert outputs.shape == expected.shape
    assert np.abs(outputs.detach().numpy() - expected).max() <= rtol * (1.0 + np.abs(expected).max())
    jacobian = network.jacobian(points)
    for o in range(network.n_outputs):
        (gradient,) = torch.autograd.grad(outputs[:, o].sum(), x, retain_graph=True)
        assert np.abs(gradient.numpy() - jacobian[:, o]).max() <= rtol * (1.0 + np.abs(jacobian).max())


@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_jacobians_are_those_of_random_networks(seed):
    _, network, points = draw(seed, generic=True, n_points=4)
    check(network, points)


def wide_toy():
    """Everything that random networks lack: windows beyond the padding, fixed divisors, slopes of entries, dilation."""
    rng = np.random.default_rng(0)
    graph = Graph((2, 7, 9), batched=False)
    options = {"stride": (2, 1), "padding": (0, 1, 2, 0), "groups": 2, "dilation": (2, 1)}
    x = graph.conv(graph.input, rng.normal(size=(4, 1, 3, 2)), rng.normal(size=4), **options, name="conv")
    x = graph.leaky_relu(x, rng.normal(size=x.shape), name="entries")
    x = graph.max_pool(x, 2, padding=(1, 0, 0, 1), dilation=(1, 2), stride=(1, 1), name="max")
    y = graph.avg_pool(x, (2, 3), ceil_mode=True, padding=(1, 1, 1, 1), count_pad=True, name="ceil")
    z = graph.avg_pool(x, (2, 3), ceil_mode=True, padding=(1, 1, 1, 1), divisor=5, name="divisor")
    x = graph.concat([y, graph.clip(z, -np.inf, 0.5, name="above")], 0, name="both")
    x = graph.leaky_relu(x, rng.normal(size=(8, 1, 1)), name="channels")
    x = graph.clip(graph.max_pool(x, 2, ceil_mode=True, name="last"), -0.25, np.inf, name="below")
    index = rng.permutation(x.size)
    index[:3] = -1
    graph.output = graph.layout(x, index.reshape(2, -1), fill=0.5, name="mixed")
    return lower(graph)


def test_windows_divisors_slopes_and_layouts_of_all_kinds_are_handled():
    network = wide_toy()
    check(network, np.random.default_rng(1).normal(size=(5, network.n_inputs)))


@pytest.mark.parametrize("name", SHIPPED[:: few(1, 9, quick=6)])
def test_values_and_jacobians_are_those_of_shipped_networks(name):
    if name in CONTROL_NETWORKS:
        network = pwlnet.load_network(control_network_path(name))
        check(network, np.random.default_rng(0).normal(size=(5, network.n_inputs)))
        return
    images, _ = pwlnet.datasets.digits_images()
    noise = np.random.default_rng(0).normal(size=(5, 64))
    check(pwlnet.load_network(pwlnet.datasets.digits_network_path(name)), images[:5].reshape(5, 64) + 0.1 * noise)


def test_a_mode_sees_one_function_of_torch_for_each_switching_op():
    seen = []

    class Record(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            seen.append(function)
            return function(*arguments, **(options or {}))

    for network in (toy_network(), wide_toy()):
        seen.clear()
        with Record():
            TorchNetwork(network)(torch.zeros(1, network.n_inputs))
        assert sum(function in SWITCHING for function in seen) == network.op_graph.switching.size


def test_weights_follow_to_and_the_module_takes_images_and_rows():
    network = toy_network()
    module, points = TorchNetwork(network).float(), np.random.default_rng(0).normal(size=(3, network.n_inputs))
    assert module.dtype == torch.float32
    rows = module(torch.tensor(points))
    assert rows.dtype == torch.float32
    assert torch.equal(rows, module(torch.tensor(points).reshape(3, *network.input_shape)))
    assert np.allclose(rows, network.forward(points), rtol=1e-4, atol=1e-4)
    assert not list(module.parameters())


def test_another_number_of_inputs_is_refused():
    with pytest.raises(ShapeError, match=r"x has shape \(2, 5\), but the network takes 72 inputs"):
        TorchNetwork(toy_network())(torch.zeros(2, 5))


def test_an_op_that_it_does_not_know_is_refused():
    network = toy_network()
    ops = np.where(network.program.op == ir.CLIP, 99, network.program.op)
    network.__dict__["program"] = network.program._replace(op=ops)
    with pytest.raises(UnsupportedOperationError, match="has code 99, which TorchNetwork does not handle"):
        TorchNetwork(network)
