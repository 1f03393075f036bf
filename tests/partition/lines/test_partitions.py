"""Lines on networks of every op against torch, invariants, batches, memory, and bad input."""

import numpy as np
import pytest

import pwlnet
from pwlnet.kernels.lines import workspace
from pwlnet.partition.lines import tracing
from pwlnet.partition.lines.check import residuals
from pwlnet.partition.lines.tracing import borrowed_tracer
from tests.described import live, to_network
from tests.reference.random_lines import random_line
from tests.reference.random_networks import random_network

torch = pytest.importorskip("torch")
nn = torch.nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6 * 8 * 8, 5)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.norm(self.second(x)))
        return self.head(x.flatten(1))


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 5, 3, groups=1), nn.Linear(9 * 36, 5)

    def forward(self, x):
        return self.head(torch.cat([torch.relu(self.left(x)), nn.functional.hardtanh(self.right(x))], 1).flatten(1))


def sequential(*layers):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers, nn.Flatten(), nn.LazyLinear(20), nn.ReLU(), nn.LazyLinear(5))


MODULES = {
    "conv": lambda: sequential(nn.ReLU(), nn.Conv2d(8, 8, 4, 2, 1), nn.ReLU()),
    "max_pool": lambda: sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
    "average_pool": lambda: sequential(nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Conv2d(8, 4, 3, groups=4), nn.ReLU()),
    "batch_norm": lambda: sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8)),
    "leaky_relu": lambda: sequential(nn.LeakyReLU(0.1), nn.Conv2d(8, 4, 3, dilation=2), nn.PReLU(4)),
    "hardtanh": lambda: sequential(nn.Hardtanh(-0.3, 0.2), nn.Conv2d(8, 4, 3), nn.ReLU6()),
    "residual": Residual,
    "concat": Joined,
}


@pytest.fixture(params=MODULES)
def module(request):
    torch.manual_seed(3)
    module = MODULES[request.param]().double()
    module(torch.zeros(1, 3, 8, 8, dtype=torch.float64))
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
    return module.eval()


@pytest.fixture
def ends():
    rng = np.random.default_rng(5)
    return rng.standard_normal((2, 4, 192)) * 1.5


def torch_values(module, points):
    with torch.no_grad():
        return module(torch.tensor(points.reshape(-1, 3, 8, 8))).numpy()


def test_values_at_breakpoints_equal_torch(module, ends):
    network = pwlnet.from_torch(module, (3, 8, 8))
    for part in pwlnet.partition_lines(network, *ends).parts:
        wanted = torch_values(module, part.points())
        assert np.abs(part.outputs() - wanted).max() <= 1e-12 * np.abs(wanted).max()


def test_segments_are_affine_and_neighbours_differ_in_pattern(module, ends):
    network = pwlnet.from_torch(module, (3, 8, 8))
    part = pwlnet.partition_lines(network, *ends).parts[0]
    assert part.n_segments > 20
    values = torch_values(module, part.points())
    for share in (0.25, 0.5, 0.75):
        t = part.t[:-1] + share * np.diff(part.t)
        inner = torch_values(module, part.start + t[:, None] * (part.end - part.start))
        assert np.abs(inner - (1 - share) * values[:-1] - share * values[1:]).max() <= 1e-12 * np.abs(values).max()
    patterns = part.patterns()
    assert (patterns[:-1].hamming(patterns[1:]) >= 1).all()
    assert np.array_equal(part.states(), network.states(part.midpoints()))
    assert part.residual <= 1e-13


def test_the_partition_finds_every_change_of_pattern_that_sampling_sees(module, ends):
    network = pwlnet.from_torch(module, (3, 8, 8))
    part = pwlnet.partition_lines(network, *ends).parts[1]
    t = np.random.default_rng(0).random(4000)
    found = part.states()[np.searchsorted(part.t, t, side="right") - 1]
    assert np.array_equal(found, network.states(part.start + t[:, None] * (part.end - part.start)))


def draw(seed):
    rng = np.random.default_rng(seed)
    description = live(random_network(rng, degenerate=seed % 2 == 1))
    return description, *random_line(rng, description, seed % 2 == 1)


def test_reversing_the_line_mirrors_its_breakpoints():
    for seed in range(60):
        description, start, end = draw(seed)
        network = to_network(description)
        lines = pwlnet.partition_lines(network, np.stack([start, end]), np.stack([end, start]))
        there, back = lines.parts
        assert len(there.t) == len(back.t), seed
        assert there.t == pytest.approx(1.0 - back.t[::-1], abs=1e-12)
        assert np.array_equal(there.states(), back.states()[::-1]), seed


def test_splitting_a_line_and_joining_its_parts_changes_nothing():
    for seed in range(60):
        description, start, end = draw(seed)
        network, cut = to_network(description), 0.4375
        middle = start + cut * (end - start)
        lines = pwlnet.partition_lines(network, np.stack([start, start, middle]), np.stack([end, middle, end]))
        whole, left, right = lines.parts
        joined = np.concatenate([left.states(), right.states()])
        t = np.concatenate([left.t * cut, cut + right.t[1:] * (1 - cut)])
        changes = np.flatnonzero((joined[1:] != joined[:-1]).any(axis=1))
        assert whole.t[1:-1] == pytest.approx(t[1:-1][changes], abs=1e-12), seed


def test_scaling_a_neuron_and_unscaling_its_output_changes_nothing():
    rng = np.random.default_rng(8)
    first, second = rng.integers(-3, 4, (12, 4)).astype(float), rng.integers(-3, 4, (7, 12)).astype(float)
    bias, factors = rng.integers(-3, 4, 12).astype(float), 2.0 ** rng.integers(-60, 61, 12)

    def network(scale):
        return to_network(
            [
                {"kind": "input", "inputs": [], "shape": (4,)},
                {"kind": "linear", "inputs": [0], "weight": first * scale[:, None], "bias": bias * scale},
                {"kind": "relu", "inputs": [1]},
                {"kind": "linear", "inputs": [2], "weight": second / scale, "bias": None},
                {"kind": "relu", "inputs": [3]},
            ]
        )

    ends = rng.integers(-4, 5, (2, 30, 4)).astype(float)
    plain, scaled = (pwlnet.partition_lines(network(s), *ends) for s in (np.ones(12), factors))
    for name in ("offsets", "t", "flip_offsets", "flip_neurons", "flip_states"):
        assert np.array_equal(getattr(plain, name), getattr(scaled, name)), name


def big_network():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 40),
        nn.ReLU(),
        nn.Linear(40, 3),
    )
    return pwlnet.from_torch(module, (1, 8, 8))


def test_results_do_not_depend_on_threads_or_on_the_other_lines():
    network = big_network()
    starts, ends = np.random.default_rng(1).standard_normal((2, 70, 64)) * 2
    whole = pwlnet.partition_lines(network, starts, ends, threads=1)
    threaded = pwlnet.partition_lines(network, starts, ends, threads=2)
    for name in ("offsets", "t", "flip_offsets", "flip_neurons", "flip_states", "residual", "ambiguous", "t_error"):
        assert np.array_equal(getattr(whole, name), getattr(threaded, name)), name
    for k in (0, 33, 69):
        alone = pwlnet.partition_lines(network, starts[k], ends[k])
        assert np.array_equal(alone.t, whole.parts[k].t)
        assert alone.t_error[0] == whole.parts[k].t_error > 0.0
        assert np.array_equal(alone.flip_neurons, np.concatenate([n for n, _ in whole.parts[k].flips]))


def never_more_ids(patch, network):
    network.__dict__.pop("_idle_buffers")
    patch.setitem(tracing.SHARES, workspace.FULL_IDS, 0.0)


def test_cutting_a_line_for_memory_finds_the_same_breakpoints_and_flips(monkeypatch):
    network = big_network()
    starts, ends = np.random.default_rng(2).standard_normal((2, 5, 64)) * 3
    whole = pwlnet.partition_lines(network, starts, ends)
    assert whole.n_segments.min() > 40
    cuts = []
    join = tracing.join_windows

    def join_windows(windows):
        windows = list(windows)
        cuts.append(len(windows))
        return join(windows)

    monkeypatch.setattr(tracing, "join_windows", join_windows)
    monkeypatch.setattr(tracing, "FIRST_IDS", 24)
    never_more_ids(monkeypatch, network)
    parts = pwlnet.partition_lines(network, starts, ends)
    assert len(cuts) == 5 and min(cuts) >= 3
    assert np.array_equal(parts.offsets, whole.offsets)
    assert np.abs(parts.t - whole.t).max() <= 1e-13
    assert (parts.t_error > 0.01 * whole.t_error).all() and (parts.t_error < 10.0 * whole.t_error).all()
    assert np.array_equal(parts.flip_neurons, whole.flip_neurons)
    assert np.array_equal(parts.flip_states, whole.flip_states)


def test_cutting_a_degenerate_line_for_memory_changes_nothing(monkeypatch):
    for seed in range(1, 120, 2):
        description, start, end = draw(seed)
        network = to_network(description)
        whole = pwlnet.partition_lines(network, start[None], end[None])
        with monkeypatch.context() as patch:
            patch.setattr(tracing, "FIRST_IDS", max(4, int(np.diff(whole.flip_offsets).max(initial=0)) + 2))
            never_more_ids(patch, network)
            parts = pwlnet.partition_lines(network, start[None], end[None])
        assert parts.t == pytest.approx(whole.t, abs=1e-12), seed
        assert np.array_equal(parts.flip_neurons, whole.flip_neurons), seed


def test_the_error_of_a_line_is_that_of_its_own_breakpoints():
    """Also beside lines without any, which come first, last and between."""
    network = big_network()
    starts, ends = np.random.default_rng(3).standard_normal((2, 7, 64))
    ends[[0, 2, 3, 6]] = starts[[0, 2, 3, 6]]
    lines = pwlnet.partition_lines(network, starts, ends, threads=1)
    alone = [pwlnet.partition_lines(network, *line).t_error[0] for line in zip(starts, ends, strict=True)]
    assert lines.t_error.tolist() == [part.t_error for part in lines.parts] == alone
    assert (lines.t_error > 0.0).tolist() == (lines.n_segments > 1).tolist() == [False, True, False, False, True, True, False]
    assert pwlnet.partition_lines(network, starts[[0, 2]], ends[[0, 2]]).t_error.tolist() == [0.0, 0.0]
    assert pwlnet.partition_lines(network, starts[:0], ends[:0]).t_error.tolist() == []
    assert not lines.t_error.flags.writeable


def test_a_line_of_length_zero_has_one_segment():
    network = big_network()
    lines = pwlnet.partition_lines(network, np.ones((1, 64)), np.ones((1, 64)))
    assert lines.t.tolist() == [0.0, 1.0] and lines.n_segments.tolist() == [1]
    assert lines.density.tolist() == [np.inf] and lines.flip_neurons.size == 0


def test_an_empty_batch_gives_no_lines():
    lines = pwlnet.partition_lines(big_network(), np.empty((0, 64)), np.empty((0, 64)))
    assert len(lines) == 0 and lines.t.size == 0 and lines.offsets.tolist() == [0]


def test_one_start_serves_many_ends_and_images_keep_their_shape():
    network, ends = big_network(), np.random.default_rng(0).random((3, 1, 8, 8))
    lines = pwlnet.partition_lines(network, np.zeros((1, 8, 8)), ends)
    assert len(lines) == 3 and np.array_equal(lines.ends, ends.reshape(3, 64))
    assert np.array_equal(lines.parts[1].points()[[0, -1]], np.stack([np.zeros(64), ends[1].ravel()]))


def test_results_are_read_only_and_describe_themselves():
    lines = pwlnet.partition_lines(big_network(), np.zeros(64), np.ones(64))
    with pytest.raises(ValueError, match="read-only"):
        lines.t[0] = 1.0
    assert "1 lines" in repr(lines) and "segments" in repr(lines.parts[0])
    assert [p.index for p in lines.parts[0:1]] == [0] and len(lines.parts) == 1
    with pytest.raises(IndexError, match="line 7 was requested, but there are 1 lines"):
        lines.parts[7]


def test_check_finds_a_forged_flip():
    network = big_network()
    lines = pwlnet.partition_lines(network, np.zeros(64), np.full(64, 2.0))
    assert lines.check() == [] and lines.check(rng=np.random.default_rng(0)) == []
    neurons = lines.flip_neurons.copy()
    neurons[0] = (neurons[0] + 1) % network.n_neurons
    forged = pwlnet.LinePartitions(**{**vars(lines), "flip_neurons": neurons})
    assert "in another state than the flips say" in forged.check()[0]


def test_residual_sees_displaced_breakpoints():
    network = big_network()
    starts, ends = np.zeros((1, 64)), np.full((1, 64), 2.0)
    with borrowed_tracer(network, pwlnet.tolerances.DEFAULT, 2**30) as tracer:
        traced = tracer.trace_lines(starts, ends)
        pair = traced, traced._replace(t=traced.t + 1e-6)
        right, displaced = (residuals(network, starts, ends, x, 3, tracer.forward_buffers)[0] for x in pair)
    assert right < 1e-14 < 1e-8 < displaced


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"starts": np.full((2, 64), np.nan)},
            pwlnet.errors.InputError,
            "starts has 2 rows with NaN or infinite entries",
        ),
        (
            {"ends": np.zeros((2, 63))},
            pwlnet.errors.ShapeError,
            r"ends has shape \(2, 63\), but the network takes 64 inputs",
        ),
        (
            {"ends": np.zeros((3, 64))},
            pwlnet.errors.ShapeError,
            "starts has 2 rows, but ends has 3; give one end for each",
        ),
        ({"max_segments": 5}, pwlnet.errors.CapacityError, r"line 0 has \d+ segments, more than max_segments=5"),
        ({"max_segments": 0}, pwlnet.errors.InputError, "max_segments is 0; a positive integer is needed"),
        ({"memory": 10}, pwlnet.errors.InputError, "memory is 10; an integer of at least 1048576 is needed"),
        ({"threads": 0}, pwlnet.errors.InputError, "threads is 0; a positive integer is needed"),
        ({"ends": np.zeros((2, 64), complex)}, pwlnet.errors.InputError, "ends has dtype complex128; real numbers"),
    ],
)
def test_bad_input_gets_its_sentence(change, error, message):
    arguments = {"starts": np.zeros((2, 64)), "ends": np.ones((2, 64))} | change
    with pytest.raises(error, match=message):
        pwlnet.partition_lines(big_network(), **arguments)


def test_values_that_overflow_are_refused():
    huge = np.full((3, 2), 1e200)
    description = [{"kind": "input", "inputs": [], "shape": (2,)}]
    description += [{"kind": "linear", "inputs": [0], "weight": huge}, {"kind": "relu", "inputs": [1]}]
    description += [{"kind": "linear", "inputs": [2], "weight": huge @ np.ones((2, 3))}, {"kind": "relu", "inputs": [3]}]
    with pytest.raises(pwlnet.errors.NumericalError, match="line 1 has pre-activations that overflow float64"):
        pwlnet.partition_lines(to_network(description), [[0.0, 0.0], [-1.0, 1.0]], [[0.0, 0.0], [1.0, 1.5]])


def test_progress_goes_to_stderr(capsys):
    pwlnet.partition_lines(big_network(), np.zeros((3, 64)), np.ones((3, 64)), progress=True)
    captured = capsys.readouterr()
    assert "3/3" in captured.err and captured.out == ""
