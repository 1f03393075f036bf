"""One line in parts: bit for bit the whole, in a bounded number of breakpoints, and from any border on."""

from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import CapacityError, DigestMismatchError, InputError, ShapeError
from pwlnet.partition.lines import chunks, rounds, tracing, windows
from pwlnet.partition.lines.chunk_buffer import ResumePoint
from pwlnet.partition.lines.chunks import LineStream
from pwlnet.partition.lines.rounds import Settings
from pwlnet.tolerances import DEFAULT
from tests.counts import few
from tests.described import live, to_network
from tests.partition.lines.test_stream import force_cuts, places, pwlnet_threads
from tests.reference import exact_line
from tests.reference.random_cases import random_case
from tests.reference.random_lines import random_line
from tests.reference.random_networks import random_network


@pytest.fixture(scope="module")
def digits():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))


@pytest.fixture
def little_memory(digits, monkeypatch):
    """Lines of ``digits`` are cut into windows of about 40 breakpoints, and those once more where few buffers are left."""
    monkeypatch.setattr(windows, "WINDOW_POINTS", 40)
    monkeypatch.setattr(tracing, "FIRST_IDS", 64)
    monkeypatch.setitem(tracing.SHARES, tracing.workspace.FULL_IDS, 0.0)
    monkeypatch.setitem(digits.__dict__, "_idle_buffers", [])


def line_of(digits, seed):
    start, end = np.random.default_rng(seed).uniform(-1.0, 2.0, (2, digits.n_inputs))
    return start, end


def assert_is_whole(parts, lines, max_points, name=""):
    """The parts are as long as they may be, and put together they are the line."""
    assert [len(part.t) for part in parts[:-1]] == [max_points] * (len(parts) - 1), name
    assert 0 < len(parts[-1].t) <= max_points, name
    assert np.array_equal(np.concatenate([part.t for part in parts]), lines.t), name
    assert all(part.flip_offsets[0] == 0 for part in parts), name
    counts = np.concatenate([np.diff(part.flip_offsets) for part in parts])
    assert np.array_equal(counts, np.diff(lines.flip_offsets)), name
    for field in ("flip_neurons", "flip_states"):
        found, wanted = np.concatenate([getattr(part, field) for part in parts]), getattr(lines, field)
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted), (name, field)
    assert [part.residual for part in parts[:-1]] == [None] * (len(parts) - 1), name
    last, part = parts[-1], lines.parts[0]
    assert (last.residual, last.ambiguous, last.boundary) == (part.residual, lines.ambiguous[0], 1.0), name
    assert last.t_error == part.t_error, name
    assert (np.diff([part.t_error for part in parts]) >= 0.0).all(), name


def parts_of(network, start, end, max_points, **options):
    return list(pwlnet.iter_line_chunks(network, start, end, max_points=max_points, **options))


@pytest.mark.parametrize("first", range(0, few(200, 40), 20))
def test_parts_are_the_whole_line_bit_for_bit_on_random_networks(first):
    """Half of the networks are degenerate, with many ties."""
    for seed in range(first, first + 20):
        description, starts, ends = random_case(seed)
        network = to_network(description)
        for line in zip(starts, ends, strict=True):
            whole = pwlnet.partition_lines(network, *line, threads=1)
            for max_points in (1, 7, 2**20):
                assert_is_whole(parts_of(network, *line, max_points, threads=1), whole, max_points, seed)


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_borders_in_the_worst_places_change_nothing(first, monkeypatch):
    """At and beside breakpoints windows are put together again, in parts as in the whole."""
    for seed in range(first, first + few(10)):
        rng = np.random.default_rng(seed)
        description = live(random_network(rng, degenerate=seed % 2 == 1))
        line, network = random_line(rng, description, seed % 2 == 1), to_network(description)
        inner = pwlnet.partition_lines(network, *line).t[1:-1]
        for name, cuts in places(inner, rng).items():
            with monkeypatch.context() as patch:
                force_cuts(patch, cuts)
                whole = pwlnet.partition_lines(network, *line, threads=1)
                for threads in (1, 2):
                    assert_is_whole(parts_of(network, *line, 5, threads=threads), whole, 5, (seed, name))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("max_points", [1, 100, 2**20])
def test_windows_that_are_cut_further_change_nothing(digits, little_memory, threads, max_points):
    for seed in range(few(4)):
        line = line_of(digits, seed)
        whole = pwlnet.partition_lines(digits, *line)
        assert_is_whole(parts_of(digits, *line, max_points, threads=threads), whole, max_points, seed)
    assert len(windows.plan_lines(digits, *(x[None] for x in line))[0].cuts) > 4


@pytest.mark.parametrize("n_checked", [0, 1, 2, 3, 40, 10**6])
def test_the_residual_is_that_of_the_whole_line(digits, little_memory, n_checked):
    for seed in range(few(5, 2)):
        line = line_of(digits, seed)
        parts = parts_of(digits, *line, 64, n_checked=n_checked, threads=1)
        assert parts[-1].residual == pwlnet.partition_lines(digits, *line, n_checked=n_checked).residual[0]


def test_breakpoints_that_windows_share_are_found_again(monkeypatch):
    """What was joined at a border belongs to no window; it is remembered for the residual."""
    fitting, n_joined = tracing.Tracer.fitting_window, 0
    for seed in range(few(30)):
        description, starts, ends = random_case(2 * seed + 1)
        network = to_network(description)
        inner = pwlnet.partition_lines(network, starts[0], ends[0]).t[1:-1]
        with monkeypatch.context() as patch:
            patch.setattr(tracing, "_halves", lambda t0, t1, inner=inner: cut_at_a_breakpoint(t0, t1, inner))
            patch.setattr(tracing.Tracer, "fitting_window", lambda *at: fitting(*at) if at[4] - at[3] < 0.3 else None)
            stream = LineStream(Settings(network, DEFAULT, 2**30, 10**6, None), starts[0], ends[0], threads=1)
            t = np.concatenate([part.t for part in stream.chunks(3)])[1:-1]
            found = stream.retraced(range(len(t)))
        assert np.array_equal([at for at, _ in found], t), seed
        n_joined += len(stream._index._joined)
    assert n_joined >= few(30)


def test_a_line_that_is_cut_is_no_farther_off_than_it_says(monkeypatch):
    """The bounds of its windows are below that of the whole line, by a factor of up to ten here.

    But not where the first layer of the whole line is computed more accurately, since it starts near a threshold.
    """
    fitting, factors = tracing.Tracer.fitting_window, []
    for seed in range(few(60)):
        description, starts, ends = random_case(seed)
        network = to_network(description)
        whole = pwlnet.partition_lines(network, starts[0], ends[0])
        with monkeypatch.context() as patch:
            patch.setattr(tracing.Tracer, "fitting_window", lambda *at: fitting(*at) if at[4] - at[3] < 0.3 else None)
            parts = parts_of(network, starts[0], ends[0], 4, threads=1)
        exact = exact_line.trace(description, starts[0], ends[0]).t
        found = np.concatenate([part.t for part in parts]).tolist()
        assert max(abs(a - Fraction(b)) for a, b in zip(exact, found, strict=True)) <= parts[-1].t_error, seed
        factors += [parts[-1].t_error / whole.t_error[0]] if len(found) > 2 else [1.0]
    assert 0.01 < min(factors) < 0.5 and max(factors) <= 2.0


def cut_at_a_breakpoint(t0, t1, inner):
    """The two parts of a window, the second one first, cut at a breakpoint where there is one."""
    inside = inner[(inner > t0) & (inner < t1)]
    cut = inside[len(inside) // 2] if len(inside) else 0.5 * (t0 + t1)
    return [(cut, t1), (t0, cut)]


# From a border on.


@pytest.mark.parametrize("max_points", [1, 30, 150])
def test_a_line_is_taken_up_at_a_border(digits, little_memory, max_points):
    """From the border of any part, what it has not is what follows; near-ties add up, and the largest error stays."""
    line = line_of(digits, 1)
    parts = parts_of(digits, *line, max_points)
    borders = sorted({part.boundary for part in parts})
    assert len(borders) > (5 if max_points < 100 else 1)
    settings = Settings(digits, DEFAULT, 2**30, 3, None)
    for k in range(0, len(parts), max(1, len(parts) // 25)):
        resume_point, after = ResumePoint(parts[k].boundary, parts[k].ambiguous, parts[k].t_error), parts[k].t[-1]
        assert resume_point.boundary <= parts[k + 1].t[0] if k + 1 < len(parts) else resume_point.boundary == 1.0
        rest = list(LineStream(settings, *line, threads=1).chunks(max_points, resume_point, after))
        t = np.concatenate([np.zeros(0), *(part.t for part in rest)])
        assert np.array_equal(t, np.concatenate([np.zeros(0), *(part.t for part in parts[k + 1 :])]))
        neurons = [np.concatenate([np.zeros(0), *(part.flip_neurons for part in of)]) for of in (rest, parts[k + 1 :])]
        assert np.array_equal(*neurons)
        assert not rest or (rest[-1].ambiguous, rest[-1].t_error) == (parts[-1].ambiguous, parts[-1].t_error)


@pytest.mark.parametrize(("resume_point", "after", "message"), [
    (ResumePoint(0.3, 0, 0.0), 0.4, "t = 0.3 is not a window boundary of this line"),
    (ResumePoint(0.0, 0, 0.0), 0.4, "t = 0.4 is not a breakpoint of this line; resume with the same line and the same memory"),
])  # fmt: skip
def test_another_line_is_not_taken_up(digits, resume_point, after, message):
    stream = LineStream(Settings(digits, DEFAULT, 2**30, 3, None), *line_of(digits, 0))
    with pytest.raises(DigestMismatchError, match=message):
        list(stream.chunks(100, resume_point, after))


# Limits and errors.


def test_few_windows_are_held(digits, little_memory, monkeypatch):
    """One thread traces a window when the breakpoints before it have been handed out, but for the next one."""
    traced, trace = [], tracing.Tracer.iter_window

    def iter_window(self, start, end, t0, t1, number=0):
        traced.append(t0)
        return trace(self, start, end, t0, t1, number)

    monkeypatch.setattr(tracing.Tracer, "iter_window", iter_window)
    for part in pwlnet.iter_line_chunks(digits, *line_of(digits, 2), max_points=1, threads=1):
        assert np.count_nonzero(np.array(traced) > part.t[0]) <= 2
    assert len(traced) > 4


@pytest.mark.parametrize("threads", [1, 2])
def test_leaving_the_loop_stops_the_threads(digits, little_memory, threads, monkeypatch):
    traced, name = [], "iter_window" if threads == 1 else "trace_windows"
    trace = getattr(tracing.Tracer, name)
    monkeypatch.setattr(tracing.Tracer, name, lambda *window: traced.append(window) or trace(*window))
    monkeypatch.setattr(rounds, "FIRST_SECONDS", 0.0)  # a window for each thread at a time
    monkeypatch.setattr(rounds, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(chunks, "waiting_bytes", lambda max_points: 1)  # nothing is traced while anything waits
    line = line_of(digits, 0)
    n_windows = len(windows.plan_lines(digits, *(x[None] for x in line))[0].cuts) - 1
    parts = pwlnet.iter_line_chunks(digits, *line, max_points=1, threads=threads)
    for _ in range(2):  # the start, then a breakpoint
        next(parts)
    assert len(pwlnet_threads()) == (1 if threads > 1 else 0)
    parts.close()
    assert pwlnet_threads() == []
    assert 2 <= len(traced) < n_windows // threads


def test_too_many_segments_are_noticed_on_the_way(digits, little_memory):
    line = line_of(digits, 0)
    n = int(pwlnet.partition_lines(digits, *line).n_segments[0])
    assert parts_of(digits, *line, 10, max_segments=n)
    for most in (n - 1, 50):
        parts = pwlnet.iter_line_chunks(digits, *line, max_points=10, max_segments=most, threads=1)
        with pytest.raises(CapacityError, match=rf"line 0 has at least \d+ segments, more than max_segments={most}; raise"):
            for _ in parts:
                pass
    assert n > 100


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"start": np.zeros(63)}, ShapeError, r"start has shape \(63,\), but the network takes 64 inputs"),
        ({"end": np.zeros((2, 64))}, ShapeError, "end holds 2 points, but iter_line_chunks takes one line"),
        ({"end": np.full(64, np.nan)}, InputError, "end has 1 rows with NaN or infinite entries"),
        ({"max_points": 0}, InputError, "max_points is 0; a positive integer is needed"),
        ({"memory": 1}, InputError, "memory is 1; an integer of at least 1048576"),
        ({"threads": 0}, InputError, "threads is 0; a positive integer"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_part(digits, change, error, message):
    with pytest.raises(error, match=message):
        pwlnet.iter_line_chunks(digits, **({"start": np.zeros(64), "end": np.ones(64)} | change))


def test_values_that_overflow_are_refused_before_the_first_part(digits):
    with pytest.raises(pwlnet.errors.NumericalError, match="line 0 has pre-activations that overflow"):
        pwlnet.iter_line_chunks(digits, np.zeros(64), np.full(64, 1e308))


def test_the_bar_moves_from_window_to_window(digits, little_memory, capsys):
    assert parts_of(digits, *line_of(digits, 0), 100, progress=True)
    assert "1/1" in capsys.readouterr().err


def test_a_line_without_length_is_one_part(digits):
    (part,) = pwlnet.iter_line_chunks(digits, np.ones(64), np.ones(64))
    assert part.t.tolist() == [0.0, 1.0] and part.flip_offsets.tolist() == [0, 0, 0] and part.residual == 0.0
