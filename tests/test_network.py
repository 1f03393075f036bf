"""Network: numbering of neurons, immutability, identity, files; torch and ONNX forms of one network are the same."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError
from pwlnet.network import Network, program_digest
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.drawn import draw
from tests.reference.description import SWITCHING, shapes


@pytest.fixture(scope="module")
def toy():
    return toy_network()


def points(shape, n=4):
    return np.random.default_rng(1).standard_normal((n, *shape))


def seeded(module):
    """Random parameters and statistics."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for state in [*module.parameters(), *module.buffers()]:
            if state.is_floating_point():
                state.copy_(torch.rand(state.shape, generator=generator) - 0.4)
        for name, state in module.named_buffers():
            if name.endswith("running_var"):
                state.add_(0.5)
    return module.eval()


# Numbering.


def test_each_neuron_knows_its_op_and_place_in_the_source():
    for seed in range(few(40)):
        description, network, _ = draw(seed)
        sizes, k = shapes(description), 0
        for number, node in enumerate(description):
            if node["kind"] not in SWITCHING:
                continue
            for place in range(int(np.prod(sizes[number]))):
                neuron = network.neuron(k)
                assert neuron.name == f"node{number}"
                _, height, width = network.program.shapes[neuron.op]
                assert (neuron.channel * height + neuron.row) * width + neuron.column == place
                if len(sizes[number]) == 3:
                    assert (neuron.channel, neuron.row, neuron.column) == np.unravel_index(place, sizes[number])
                k += 1
        assert k == network.n_neurons


def test_linear_on_the_last_axis_numbers_neurons_as_the_source_flattens():
    module = seeded(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))).double()
    network, x = pwlnet.from_torch(module, (3, 5)), points((3, 5))
    wanted = module[0](torch.from_numpy(x)).detach().numpy().reshape(4, -1)
    np.testing.assert_allclose(network.preactivations(x), wanted, rtol=1e-14, atol=1e-14)
    assert network.neuron(7)[4:] == (1, 3)


class Permuted(nn.Module):
    """A ReLU on channels last, and another after going back."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 3, 2), nn.Linear(27, 4)

    def forward(self, x):
        y = torch.relu(self.conv(x).permute(0, 2, 3, 1))
        return self.head(torch.relu(y.permute(0, 3, 1, 2) - 0.25).flatten(1))


def test_a_permuted_tensor_numbers_neurons_as_the_source_flattens_it():
    module = seeded(Permuted()).double()
    network, x = pwlnet.from_torch(module, (2, 4, 4)), points((2, 4, 4))
    first = module.conv(torch.from_numpy(x)).permute(0, 2, 3, 1)
    second = torch.relu(first).permute(0, 3, 1, 2) - 0.25
    wanted = torch.cat([first.reshape(4, -1), second.reshape(4, -1)], dim=1).detach().numpy()
    np.testing.assert_allclose(network.preactivations(x), wanted, rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(network.states(x), wanted > 0)


def test_a_network_that_takes_channels_last_takes_and_numbers_them_so():
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 2)

        def forward(self, x):
            return torch.relu(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)

    module = seeded(ChannelsLast()).double()
    network, x = pwlnet.from_torch(module, (4, 5, 3)), points((4, 5, 3))
    assert network.input_shape == (4, 5, 3)
    assert network.output_shape == (3, 4, 2)
    z = module.conv(torch.from_numpy(x).permute(0, 3, 1, 2)).detach()
    np.testing.assert_allclose(network.preactivations(x), z.reshape(4, -1), rtol=1e-14, atol=1e-14)
    outputs = torch.relu(z).permute(0, 2, 3, 1).reshape(4, -1)
    np.testing.assert_allclose(network.forward(x), outputs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("k", [-1, 368, 10**6, 1.5, "0", None])
def test_a_neuron_that_does_not_exist_is_refused(toy, k):
    with pytest.raises(InputError) as caught:
        toy.neuron(k)
    assert str(caught.value) == f"k is {k!r}, but the network has neurons 0 to 367; give one of these"


def test_a_network_without_neurons_says_so():
    graph = Graph((2,), batched=False)
    graph.output = graph.linear(graph.input, np.eye(2), name="linear")
    with pytest.raises(InputError, match=r"^k is 0, but the network has no neurons$"):
        lower(graph).neuron(0)


# Identity.


@pytest.mark.parametrize("name", ["program", "input_shape", "code", "anything", "digest"])
def test_a_network_is_immutable(toy, name):
    with pytest.raises(AttributeError) as caught:
        setattr(toy, name, None)
    assert str(caught.value) == f"a Network is immutable, so {name!r} cannot be set; convert the changed source again"
    with pytest.raises(AttributeError, match="immutable"):
        delattr(toy, name)


def test_all_arrays_are_read_only(toy):
    for array in (*toy.program, *toy.code):
        assert not array.flags.writeable
        assert array.flags.c_contiguous


def test_changing_the_arrays_it_was_made_of_does_not_change_a_network(toy):
    program = type(toy.program)(*(array.copy() for array in toy.program))
    network = Network(program, input_shape=toy.input_shape)
    program.weights[:] = 0.0
    assert network == toy


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_copies_and_pickles_are_the_same_network(toy, copied):
    back = copied(toy)
    assert back == toy
    assert hash(back) == hash(toy)
    assert (back.digest, back.input_shape, back.output_shape, back.names) == (
        toy.digest,
        toy.input_shape,
        toy.output_shape,
        toy.names,
    )
    x = points((toy.n_inputs,))
    assert np.array_equal(back.forward(x), toy.forward(x))


def test_equality_is_that_of_the_digest_and_not_of_names(toy):
    renamed = Network(toy.program, input_shape=toy.input_shape, names=[f"other{k}" for k in range(len(toy.names))])
    assert renamed == toy
    assert len({renamed, toy}) == 1
    assert toy != "toy"


@pytest.mark.parametrize("field", toy_network().program._fields)
def test_the_digest_depends_on_every_array(toy, field):
    array = getattr(toy.program, field)
    changed = array.copy() if array.size else np.zeros(1, array.dtype)
    changed.flat[-1] += bool(array.size)
    assert program_digest(toy.program._replace(**{field: changed})) != toy.digest


def test_the_digest_depends_on_shapes_not_only_on_bytes(toy):
    reshaped = toy.program._replace(shapes=toy.program.shapes.reshape(3, -1))
    assert program_digest(reshaped) != toy.digest


def test_saving_and_loading_keeps_the_digest(toy, tmp_path):
    toy.save(tmp_path / "toy.h5")
    back = pwlnet.load_network(tmp_path / "toy.h5")
    assert back.digest == toy.digest
    assert back.names == toy.names


@pytest.mark.parametrize(
    "changes", [{"input_shape": (71,)}, {"output_shape": (4,)}, {"names": ("one", "two")}], ids=lambda c: next(iter(c))
)
def test_shapes_and_names_that_do_not_fit_the_program_are_refused(toy, changes):
    with pytest.raises(InputError, match=r"but the program has 72 inputs, 3 outputs and \d+ ops; give matching ones$"):
        Network(toy.program, **{"input_shape": toy.input_shape, **changes})


def test_the_summary_has_a_line_per_op_and_the_totals(toy):
    lines = toy.summary().splitlines()
    assert len(lines) == len(toy.names) + 2
    for name, line in zip(toy.names, lines[1:], strict=False):
        assert name in line
    total = toy.program.weights.size + toy.program.biases.size
    assert lines[-1] == f"72 inputs, 3 outputs, {toy.n_neurons} neurons, {total} weights"


def test_the_text_form_tells_shapes_neurons_and_digest(toy):
    assert repr(toy) == f"Network((2, 6, 6) -> (3,), {toy.n_neurons} neurons, digest {toy.digest[:12]})"


# Torch and ONNX forms of one network.

EPSILON = 2.0**-16  # ONNX holds it in float32, so 1e-5 would become another number
MODULES = {
    "fully connected": (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 3)), (6,)),
    "convolutions": (
        nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(3, 4, 2),
            nn.LeakyReLU(0.125),
            nn.Flatten(),
            nn.Linear(36, 5),
            nn.ReLU(),
            nn.Linear(5, 2),
        ),
        (2, 8, 8),
    ),
    "pools and clips": (
        nn.Sequential(
            nn.Conv2d(1, 3, 3),
            nn.ReLU6(),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 2, 2),
            nn.Hardtanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(2, 2),
        ),
        (1, 8, 8),
    ),
    "BatchNorm after Linear": (
        nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9, eps=EPSILON), nn.ReLU(), nn.Linear(9, 3)),
        (6,),
    ),
    "BatchNorm before ReLU and before Linear": (
        nn.Sequential(
            nn.BatchNorm1d(6, eps=EPSILON), nn.Linear(6, 9), nn.ReLU(), nn.BatchNorm1d(9, eps=EPSILON), nn.Linear(9, 3)
        ),
        (6,),
    ),
    "BatchNorm after Conv2d": (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, eps=EPSILON), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)),
        (2, 6, 6),
    ),
}


def export(module, shape, path, exporter):
    """Write an ONNX file without the exporter's own folding, which rounds to float32."""
    example = torch.zeros(1, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        if exporter == "script":
            mode = torch.onnx.TrainingMode.PRESERVE
            torch.onnx.export(module, (example,), path, dynamo=False, training=mode, do_constant_folding=False)
        else:
            torch.onnx.export(module, (example,), path, dynamo=True, optimize=False, verbose=False)


@pytest.mark.parametrize("exporter", ["script", "dynamo"])
@pytest.mark.parametrize("name", MODULES)
def test_the_torch_and_the_onnx_form_of_a_network_are_the_same_bit_for_bit(name, exporter, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    module, shape = copy.deepcopy(MODULES[name][0]), MODULES[name][1]
    seeded(module)
    export(module, shape, tmp_path / "net.onnx", exporter)
    from_torch, from_onnx = pwlnet.from_torch(module, shape), pwlnet.load_network(tmp_path / "net.onnx")
    assert from_onnx.digest == from_torch.digest
    x = points(shape)
    lines = [pwlnet.partition_lines(network, x, x[::-1]) for network in (from_torch, from_onnx)]
    assert lines[0].n_segments.sum() > 4
    for field in ("offsets", "t", "flip_offsets", "flip_neurons", "flip_states", "residual"):
        assert np.array_equal(*(getattr(part, field) for part in lines))


def test_an_epsilon_that_onnx_rounds_changes_the_weights_in_the_last_digits_only(tmp_path):
    pytest.importorskip("onnx")
    module = seeded(nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)))
    export(module, (6,), tmp_path / "net.onnx", "script")
    from_torch, from_onnx = pwlnet.from_torch(module, (6,)), pwlnet.load_network(tmp_path / "net.onnx")
    assert from_onnx != from_torch
    np.testing.assert_allclose(from_onnx.program.weights, from_torch.program.weights, rtol=1e-11)


def test_an_exporter_that_folds_in_float32_changes_the_weights_in_the_seventh_digit_only(tmp_path):
    pytest.importorskip("onnx")
    module, shape = copy.deepcopy(MODULES["BatchNorm after Conv2d"][0]), MODULES["BatchNorm after Conv2d"][1]
    seeded(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, *shape),), tmp_path / "net.onnx", dynamo=False)
    from_torch, from_onnx = pwlnet.from_torch(module, shape), pwlnet.load_network(tmp_path / "net.onnx")
    assert from_onnx != from_torch
    np.testing.assert_allclose(from_onnx.program.weights, from_torch.program.weights, rtol=1e-6)
