"""Lines as a stream: batches, sources read by slices, windows side by side, threads that stop, errors in their place."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import threadpoolctl

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.partition.lines import rounds, tracing, windows
from pwlnet.partition.lines.ends import LineEnds
from pwlnet.partition.lines.rounds import Progress
from pwlnet.partition.lines.windows import TraceResult, Window, boundary_is_close, join_windows, largest_errors
from pwlnet.scheduling import look_ahead
from pwlnet.tolerances import DEFAULT
from tests.counts import few
from tests.described import live, to_network
from tests.reference.random_lines import random_line
from tests.reference.random_networks import random_network

FIELDS = ("starts", "ends", "t", "flip_neurons", "flip_states", "residual", "ambiguous", "t_error")
TIES = 1e-12  # the largest distance between two spellings of a breakpoint


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(5)
    nodes = [{"kind": "input", "inputs": [], "shape": (1, 8, 8)}, {"kind": "reshape", "inputs": [0], "shape": (64,)}]
    for n_in, n_out in ((64, 60), (60, 60)):
        weight, bias = rng.standard_normal((n_out, n_in)), rng.standard_normal(n_out)
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
        nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": rng.standard_normal((3, 60)), "bias": np.zeros(3)})
    return to_network(nodes)


def draw_lines(n, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 2.0, (2, n, 64))


def pwlnet_threads():
    return [thread for thread in threading.enumerate() if thread.name == "pwlnet"]


def keep(iterator, found):
    """Append everything to ``found``, which then has it also if an error comes."""
    for item in iterator:
        found.append(item)


def assert_equal_bits(batches, whole):
    for name in FIELDS:
        assert np.array_equal(np.concatenate([getattr(lines, name) for lines in batches]), getattr(whole, name)), name
    assert np.array_equal(np.concatenate([lines.n_segments for lines in batches]), whole.n_segments)
    flips = [np.diff(lines.flip_offsets) for lines in batches]
    assert np.array_equal(np.concatenate(flips), np.diff(whole.flip_offsets))
    assert all(lines.flip_offsets[0] == 0 == lines.offsets[0] for lines in batches)


# Batches.


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("max_points", [1, 700, 2**20])
def test_batches_put_together_are_the_whole_partition_bit_for_bit(network, threads, max_points):
    starts, ends = draw_lines(23)
    whole = pwlnet.partition_lines(network, starts, ends, threads=1)
    assert_equal_bits(list(pwlnet.iter_line_partitions(network, starts, ends, max_points=max_points, threads=threads)), whole)


def test_a_batch_is_as_long_as_max_points_allows(network):
    starts, ends = draw_lines(40)
    sizes = np.diff(pwlnet.partition_lines(network, starts, ends).offsets)
    for most in (1, int(sizes.max()) + 1, 1000, 5000):
        batches = list(pwlnet.iter_line_partitions(network, starts, ends, max_points=most))
        first = np.cumsum([0] + [len(lines) for lines in batches])
        for k, lines in enumerate(batches):
            assert len(lines.t) <= most or len(lines) == 1
            if k + 1 < len(batches):
                assert len(lines.t) + sizes[first[k + 1]] > most


def test_no_lines_give_no_batches(network):
    assert list(pwlnet.iter_line_partitions(network, np.empty((0, 64)), np.empty((0, 64)))) == []


def test_inputs_of_a_batch_are_bounded_too(network, monkeypatch):
    monkeypatch.setattr(rounds, "_LEAST_BYTES", 5 * 64 * 8)
    lengths = [len(lines) for lines in pwlnet.iter_line_partitions(network, np.zeros(64), np.zeros((12, 64)), max_points=40)]
    assert lengths == [5, 5, 2]


# Sources.


class Slices:
    """Rows that can only be sliced, and remember what was asked for."""

    def __init__(self, rows):
        self.rows, self.shape, self.last = rows, rows.shape, 0

    def __getitem__(self, part):
        assert isinstance(part, slice) and part.step is None
        self.last = max(self.last, part.stop)
        return self.rows[part]


def test_files_are_read_by_slices_as_the_lines_are_traced(network, tmp_path):
    starts, ends = draw_lines(30)
    whole = pwlnet.partition_lines(network, starts, ends)
    np.save(tmp_path / "starts.npy", starts)
    with h5py.File(tmp_path / "ends.h5", "w") as file:
        file["ends"] = ends.reshape(30, 1, 8, 8)
        mapped = np.load(tmp_path / "starts.npy", mmap_mode="r")
        assert_equal_bits(list(pwlnet.iter_line_partitions(network, mapped, file["ends"], max_points=2000)), whole)


def test_rows_are_not_read_long_before_their_turn(network, monkeypatch):
    monkeypatch.setattr(rounds, "MOST_LINES", 3)
    for threads in (1, 2):
        source = Slices(np.ones((500, 64)))
        batches = pwlnet.iter_line_partitions(network, np.zeros(64), source, threads=threads, max_points=1)
        next(batches)
        batches.close()
        assert source.last < 500
    assert source.last >= 1


def test_a_common_start_is_read_once_and_serves_all_lines(network):
    starts, ends = draw_lines(9)
    lines = next(pwlnet.iter_line_partitions(network, Slices(starts[:1]), Slices(ends)))
    assert np.array_equal(lines.starts, np.repeat(starts[:1], 9, axis=0))
    assert_equal_bits([lines], pwlnet.partition_lines(network, starts[0], ends))


# Errors.


@pytest.mark.parametrize("threads", [1, 2])
def test_a_bad_row_is_reported_in_its_turn_and_by_its_number(network, threads, monkeypatch):
    monkeypatch.setattr(rounds, "MOST_LINES", 4)
    ends = np.ones((40, 64))
    ends[33, 5] = np.nan
    batches = pwlnet.iter_line_partitions(network, np.zeros(64), Slices(ends), threads=threads, max_points=1)
    found = []
    with pytest.raises(pwlnet.errors.InputError, match="the first is row 33"):
        keep(batches, found)
    assert 28 <= len(found) <= 33
    assert pwlnet_threads() == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"starts": np.zeros((2, 63))},
            pwlnet.errors.ShapeError,
            r"starts has shape \(2, 63\), but the network takes 64 inputs",
        ),
        ({"ends": np.zeros((3, 64))}, pwlnet.errors.ShapeError, "starts has 2 rows, but ends has 3"),
        ({"max_points": 0}, pwlnet.errors.InputError, "max_points is 0; a positive integer is needed"),
        ({"max_points": 2.5}, pwlnet.errors.InputError, "max_points is 2.5; a positive integer is needed"),
        ({"n_checked": -1}, pwlnet.errors.InputError, "n_checked is -1; an integer of at least 0 is needed"),
        ({"threads": 0}, pwlnet.errors.InputError, "threads is 0; a positive integer"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_batch(network, change, error, message):
    arguments = {"starts": np.zeros((2, 64)), "ends": np.ones((2, 64))} | change
    with pytest.raises(error, match=message):
        pwlnet.iter_line_partitions(network, **arguments)


@pytest.mark.parametrize("threads", [1, 2])
def test_too_many_segments_are_reported_with_the_number_of_the_first_such_line(network, threads):
    starts, ends = draw_lines(60)
    counts = pwlnet.partition_lines(network, starts, ends).n_segments
    most = int(np.sort(counts)[-3])
    first = int(np.flatnonzero(counts > most)[0])
    with pytest.raises(pwlnet.errors.CapacityError, match=f"line {first} has {counts[first]} segments"):
        pwlnet.partition_lines(network, starts, ends, max_segments=most, threads=threads)


# Threads.


@pytest.mark.parametrize("leave", ["close", "break", "forget"])
def test_an_iterator_that_is_left_stops_its_threads(network, leave, monkeypatch):
    monkeypatch.setattr(rounds, "MOST_LINES", 1)
    batches = pwlnet.iter_line_partitions(network, np.zeros(64), np.ones((3000, 64)), threads=2, max_points=1)
    if leave == "break":
        for _ in batches:
            break
    else:
        next(batches)
    assert len(pwlnet_threads()) == 1
    if leave == "close":
        batches.close()
        assert pwlnet_threads() == []
    del batches
    assert pwlnet_threads() == []


def test_a_program_ends_with_an_iterator_that_nobody_closed():
    code = (
        "import numpy as np, pwlnet; from pwlnet.warmup import toy_network;"
        "lines = np.zeros(72), np.ones((2000, 72));"
        "batches = pwlnet.iter_line_partitions(toy_network(), *lines, threads=2, max_points=1); print(len(next(batches)))"
    )
    command, environment = [sys.executable, "-W", "ignore", "-c", code], {**os.environ, "PWLNET_QUIET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert done.stdout.strip() == "1" and done.stderr == ""


def test_an_error_in_a_thread_drops_the_lines_behind_it(network, monkeypatch):
    seen = []

    def trace_lines(self, starts, ends, first_line=0):
        seen.append(first_line)
        raise MemoryError

    monkeypatch.setattr(rounds, "MOST_LINES", 1)
    monkeypatch.setattr(tracing.Tracer, "trace_lines", trace_lines)
    with pytest.raises(MemoryError):
        pwlnet.partition_lines(network, np.zeros(64), np.ones((100, 64)), threads=2)
    assert len(seen) == 1 and pwlnet_threads() == []


class Items:
    """A source of n items that counts those it was asked for."""

    def __init__(self, n, work=lambda k: None, nbytes=1):
        self.n, self.work, self.nbytes, self.begun, self.stopped = n, work, nbytes, 0, 0

    def __iter__(self):
        for k in range(self.n):
            self.begun += 1
            self.work(k)
            yield SimpleNamespace(number=k, nbytes=self.nbytes)

    def stop(self):
        self.stopped += 1

    def ahead(self, max_bytes):
        return look_ahead(iter(self), max_bytes, self.stop)


def test_items_come_in_order_and_are_computed_by_another_thread():
    threads = []
    items = Items(40, lambda k: threads.append(threading.current_thread()))
    assert [item.number for item in items.ahead(10**9)] == list(range(40))
    assert len(set(threads)) == 1 and threading.current_thread() not in threads and pwlnet_threads() == []


def test_nothing_is_computed_while_enough_finished_items_wait():
    items = Items(1000, nbytes=100)
    results = items.ahead(1000)
    assert next(results).number == 0
    time.sleep(0.3)
    assert items.begun <= 1 + 1000 // 100 + 2
    assert [item.number for item in results] == list(range(1, 1000))


def test_one_item_is_computed_however_large_it_is():
    assert [item.number for item in Items(5, nbytes=10**6).ahead(1)] == list(range(5))


def test_items_before_an_error_come_first():
    def work(k):
        if k == 6:
            raise KeyError(k)

    items, found = Items(500, work), []
    with pytest.raises(KeyError, match="6"):
        keep(items.ahead(10**9), found)
    assert [item.number for item in found] == list(range(6)) and items.begun == 7 and pwlnet_threads() == []


def test_ctrl_c_in_the_consumer_stops_the_item_at_hand():
    def consume(results):
        for item in results:
            if item.number == 5:
                raise KeyboardInterrupt

    items = Items(10**6, lambda k: time.sleep(0.001))
    with pytest.raises(KeyboardInterrupt):
        consume(items.ahead(10**12))
    assert pwlnet_threads() == [] and items.begun < 1000 and items.stopped == 1


def test_ctrl_c_ends_a_line_that_takes_long_at_once(monkeypatch, interruptible):
    """The kernels leave between two positions of a layer, also in the middle of a window."""
    rng = np.random.default_rng(0)
    graph = Graph((1, 3, 32, 32), batched=True)
    x = graph.relu(graph.conv(graph.input, rng.normal(size=(32, 3, 3, 3)), padding=(1, 1, 1, 1), name="conv1"), name="relu1")
    x = graph.relu(graph.conv(x, rng.normal(size=(32, 32, 3, 3)), padding=(1, 1, 1, 1), name="conv2"), name="relu2")
    graph.output = graph.linear(graph.reshape(x, (1, -1), name="flatten"), rng.normal(size=(2, 32768)), name="full")
    network, ends = lower(graph), 3.0 * rng.normal(size=(2, 100, 3072))  # a hundred lines, half a second each
    monkeypatch.setattr(windows, "MOST_WINDOWS", 2)
    pwlnet.partition_lines(network, ends[0, 0], ends[0, 0])
    interrupted = []

    def interrupt():
        interrupted.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.7, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pwlnet.partition_lines(network, *ends, threads=2)
    assert time.perf_counter() - interrupted[0] < 0.5 and pwlnet_threads() == []


# Progress.


def test_the_bar_moves_with_parts_of_lines_and_ends_at_the_total(capsys):
    bar = Progress(3, shown=True)
    shown = []
    for n in (1, *[1 / 7] * 7, 1 / 3, 1 / 3, 1 / 3):
        bar.advance(n)
        shown.append(bar._bar.n)
    bar.close()
    assert shown[1] == 1.14 and shown[7] == 2 and shown[-1] == 3 and isinstance(shown[-1], int)
    assert "3/3" in capsys.readouterr().err


def test_the_bar_is_closed_after_an_error(network, capsys):
    with pytest.raises(pwlnet.errors.CapacityError):
        pwlnet.partition_lines(network, np.zeros(64), np.ones((5, 64)), max_segments=1, progress=True)
    captured = capsys.readouterr()
    assert captured.err.endswith("\n") and "line/s" in captured.err and captured.out == ""


# Windows.


def force_cuts(monkeypatch, cuts):
    """Cut every line at the same places."""
    borders = np.unique([0.0, *(c for c in cuts if 0.0 < c < 1.0), 1.0])
    monkeypatch.setattr(windows, "WINDOW_POINTS", 0)
    monkeypatch.setattr(windows, "_cuts", lambda *_: borders)


def assert_same_partition(found, wanted, name=""):
    for field in ("offsets", "flip_offsets", "flip_neurons", "flip_states"):
        assert np.array_equal(getattr(found, field), getattr(wanted, field)), (name, field)
    assert np.abs(found.t - wanted.t).max() <= TIES, name
    first = [part.states()[0] for part in found.parts], [part.states()[0] for part in wanted.parts]
    assert np.array_equal(*first), name


def places(t, rng):
    """Borders at, beside and far from breakpoints."""
    return {
        "on breakpoints": t,
        "one rounding above": np.nextafter(t, 2.0),
        "one rounding below": np.nextafter(t, -1.0),
        "hundred roundings above": t + 1e-14,
        "near by": np.concatenate([t - 1e-13, t + 1e-10]),
        "eighths and thirds": np.concatenate([np.arange(1, 8) / 8, np.arange(1, 3) / 3]),
        "anywhere": rng.random(9),
    }


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_windows_change_nothing_on_degenerate_networks(first, monkeypatch):
    """Lines along zero sets, duplicate neurons, ties of many neurons: with borders in the worst places."""
    for seed in range(first, first + few(20)):
        rng = np.random.default_rng(seed)
        description = live(random_network(rng, degenerate=seed % 2 == 1))
        start, end = random_line(rng, description, seed % 2 == 1)
        network = to_network(description)
        whole = pwlnet.partition_lines(network, start, end)
        for name, cuts in places(whole.t[1:-1], rng).items():
            with monkeypatch.context() as patch:
                force_cuts(patch, cuts)
                assert_same_partition(pwlnet.partition_lines(network, start, end, threads=1), whole, (seed, name))


def test_windows_change_nothing_on_lines_from_a_black_image(monkeypatch):
    """Where patches of the image are of one grey, neurons cross at the same t exactly."""
    digits = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    images = np.random.default_rng(0).integers(0, 5, (few(8), 2, 2)) / 4.0
    images = np.kron(images, np.ones((1, 4, 4))).reshape(-1, 64)
    whole = pwlnet.partition_lines(digits, np.zeros(64), images)
    assert np.count_nonzero(np.diff(whole.flip_offsets) > 1) > few(100)
    monkeypatch.setattr(windows, "WINDOW_POINTS", 8)
    cut = pwlnet.partition_lines(digits, np.zeros(64), images, threads=2)
    assert_same_partition(cut, whole)
    assert cut.residual.shape == (len(images),) and cut.residual.max() <= 1e-13
    assert cut.check() == []


@pytest.fixture
def many_windows(network, monkeypatch):
    """Cut lines into windows of few breakpoints, and count the windows that are traced."""
    monkeypatch.setattr(windows, "WINDOW_POINTS", 10)
    traced, trace = [], tracing.Tracer.trace_windows

    def trace_windows(self, starts, ends, lines, t0, t1, first_line=0):
        traced.extend(zip((first_line + lines).tolist(), t0.tolist(), t1.tolist(), strict=True))
        return trace(self, starts, ends, lines, t0, t1, first_line)

    monkeypatch.setattr(tracing.Tracer, "trace_windows", trace_windows)
    return traced


def test_windows_depend_neither_on_threads_nor_on_the_other_lines(network, many_windows):
    starts, ends = draw_lines(7)
    one = pwlnet.partition_lines(network, starts, ends, threads=1)
    plan = sorted(many_windows)
    many_windows.clear()
    many = pwlnet.partition_lines(network, starts, ends, threads=4)
    assert sorted(many_windows) == plan and len(plan) > 20
    assert_equal_bits([many], one)
    for k in (0, 6):
        assert_equal_bits([pwlnet.partition_lines(network, starts[k], ends[k], memory=2**24)], pwlnet.partition_lines(
            network, starts[k : k + 1], ends[k : k + 1]
        ))  # fmt: skip
        assert np.array_equal(pwlnet.partition_lines(network, starts[k], ends[k]).t, one.parts[k].t)


def test_short_lines_beside_long_ones_are_not_cut(network, many_windows):
    starts, ends = draw_lines(6)
    ends[[0, 2, 3]] = starts[[0, 2, 3]] + 0.001
    lines = pwlnet.partition_lines(network, starts, ends)
    assert {number for number, _, _ in many_windows} == {1, 4, 5}
    alone = [pwlnet.partition_lines(network, *pair) for pair in zip(starts, ends, strict=True)]
    assert_equal_bits(alone, lines)


def test_long_lines_of_a_round_are_returned_one_by_one(network, many_windows, monkeypatch):
    """A round can have as many as the round before had short lines: much memory, and a long wait for the first one."""
    sizes = [6]  # one round of six lines, and of one window each
    monkeypatch.setattr(rounds.Pace, "n_items", lambda self: sizes.pop() if sizes else 1)
    settings, ends = rounds.Settings(network, DEFAULT, 2**30, 3, None), LineEnds(network, *draw_lines(6))
    blocks = rounds.trace_blocks(settings, ends, 1, lambda n: None, np.zeros(1, np.int64))
    assert len(next(blocks).starts) == 1
    assert {number for number, _, _ in many_windows} <= {0, 1}
    assert [len(block.starts) for block in blocks] == [1] * 5
    n_segments = int(pwlnet.partition_lines(network, *ends.read(0, 1)).n_segments[0])
    many_windows.clear()
    sizes.append(6)
    with pytest.raises(pwlnet.errors.CapacityError, match="line 0 has"):
        pwlnet.partition_lines(network, *ends.read(0, 6), max_segments=n_segments - 1, threads=1)
    assert {number for number, _, _ in many_windows} <= {0, 1}


def test_windows_are_cut_further_where_memory_is_short(network, many_windows, monkeypatch):
    starts, ends = draw_lines(3)
    whole = pwlnet.partition_lines(network, starts, ends)
    joins, join = [], rounds.join_windows

    def count(parts):
        joins.append(len(parts))
        return parts

    monkeypatch.setattr(rounds, "join_windows", lambda parts: join(count(list(parts))))
    monkeypatch.setattr(windows, "WINDOW_POINTS", 20)
    monkeypatch.setattr(tracing, "FIRST_IDS", 12)
    monkeypatch.setitem(tracing.SHARES, tracing.workspace.FULL_IDS, 0.0)
    monkeypatch.setitem(network.__dict__, "_idle_buffers", [])
    many_windows.clear()
    assert_same_partition(pwlnet.partition_lines(network, starts, ends), whole)
    assert len(joins) == 3 and sum(joins) >= len(many_windows) + 3


def test_cuts_are_where_many_neurons_change(network, monkeypatch):
    monkeypatch.setattr(windows, "WINDOW_POINTS", 8)
    start, end = draw_lines(1)
    (plan,) = windows.plan_lines(network, start, end)
    assert plan.cuts[0] == 0.0 and plan.cuts[-1] == 1.0 and (np.diff(plan.cuts) > 0.0).all()
    t = pwlnet.partition_lines(network, start, end).t
    counts = np.diff(np.searchsorted(t, plan.cuts))
    assert len(counts) >= 4 and counts.min() >= 4 and counts.max() <= 16


def test_networks_with_few_neurons_are_not_evaluated_for_a_plan(network, monkeypatch):
    monkeypatch.setattr(windows, "plan_lines", None)
    assert len(pwlnet.partition_lines(network, *draw_lines(2))) == 2


# Joins.


def window(t0, points, start, end, error=1e-15):
    """A window of one line: points are (t, [(neuron, old, new), ...])."""
    flips = [flip for _, group in points for flip in group]
    neuron, old, new = (np.array([flip[k] for flip in flips], np.int64) for k in range(3))
    t, counts = np.array([t for t, _ in points], float), np.array([len(group) for _, group in points], np.int64)
    one = [np.array([n]) for n in (len(t), len(neuron), 1, error if points else 0.0)]
    return Window(t0, TraceResult(*one, t, counts, neuron, new.astype(np.int32)), np.full(len(t), error), old.astype(np.int32),
                  np.array(start), np.array(end))  # fmt: skip


def joined(*windows):
    found = join_windows(windows)
    ends = np.cumsum([0, *found.flips_per_point])
    flips = [
        list(zip(found.neuron[a:b].tolist(), found.new_state[a:b].tolist(), strict=True)) for a, b in itertools.pairwise(ends)
    ]
    assert found.n_points.tolist() == [len(found.t)] and found.n_flips.tolist() == [len(found.neuron)]
    assert found.ambiguous.tolist() == [len(windows)]
    return list(zip(found.t.tolist(), flips, strict=True))


def test_a_border_away_from_breakpoints_leaves_no_trace():
    left, right = window(0.0, [(0.2, [(0, 0, 1)])], [0, 0], [1, 0]), window(0.5, [(0.7, [(1, 0, 1)])], [1, 0], [1, 1])
    assert not boundary_is_close(left, right)
    assert joined(left, right) == [(0.2, [(0, 1)]), (0.7, [(1, 1)])]


def test_a_neuron_that_crosses_on_a_border_flips_there():
    left, right = window(0.0, [], [0, 1, 0], [0, 1, 0]), window(0.5, [], [1, 1, 1], [1, 1, 1])
    assert boundary_is_close(left, right)
    assert joined(left, right) == [(0.5, [(0, 1), (2, 1)])]


def test_one_breakpoint_on_both_sides_of_a_border_is_one():
    left = window(0.0, [(0.5 - 4e-16, [(2, 0, 1)])], [0, 0, 0], [0, 0, 1])
    right = window(0.5, [(0.5 + 2e-16, [(1, 0, 1)])], [0, 0, 1], [0, 1, 1], error=5e-16)
    assert boundary_is_close(left, right)
    assert joined(left, right) == [(0.5 + 2e-16, [(1, 1), (2, 1)])]
    right = window(0.5, [(0.5 + 2e-16, [(1, 0, 1)])], [1, 0, 1], [1, 1, 1])
    assert joined(left, right) == [(0.5, [(0, 1), (1, 1), (2, 1)])]


def test_a_crossing_that_is_reported_on_both_sides_counts_once():
    left = window(0.0, [(0.25, [(0, 1, 0)]), (0.5 - 1e-16, [(1, 0, 1)])], [1, 0], [0, 1])
    right = window(0.5, [(0.5 + 1e-16, [(1, 0, 1)]), (0.75, [(0, 0, 1)])], [0, 0], [1, 1])
    assert joined(left, right) == [(0.25, [(0, 0)]), (0.5, [(1, 1)]), (0.75, [(0, 1)])]


def test_flips_at_a_border_that_undo_each_other_are_no_breakpoint():
    left = window(0.0, [(0.5, [(0, 0, 1)])], [0], [1])
    assert joined(left, window(0.5, [], [0], [0])) == []


def test_the_error_of_a_line_is_the_largest_of_the_breakpoints_that_it_keeps():
    left = window(0.0, [(0.2, [(0, 0, 1)])], [0, 0], [1, 0], error=3e-15)
    right = window(0.5, [(0.7, [(1, 0, 1)])], [1, 0], [1, 1])
    assert join_windows([left, right]).t_error.tolist() == [3e-15]
    assert join_windows([right]).t_error.tolist() == [1e-15]
    for unknown in (1.5, np.inf, np.nan):
        assert join_windows([left, right._replace(error=np.array([unknown]))]).t_error.tolist() == [1.0]
    assert join_windows([window(0.0, [], [0], [0]), window(0.5, [], [0], [0])]).t_error.tolist() == [0.0]
    undone = window(0.0, [(0.5, [(0, 0, 1)])], [0], [1])
    assert join_windows([undone, window(0.5, [], [0], [0])]).t_error.tolist() == [0.0]


def test_the_error_of_a_breakpoint_on_both_sides_of_a_border_reaches_to_both():
    left = window(0.0, [(0.5 - 1e-15, [(2, 0, 1)])], [0, 0, 0], [0, 0, 1], error=2e-15)
    right = window(0.5, [(0.5 + 1e-15, [(1, 0, 1)])], [0, 0, 1], [0, 1, 1], error=1e-15)
    found = join_windows([left, right])
    assert found.t.tolist() == [0.5 + 1e-15]
    assert 3.9e-15 < found.t_error[0] < 4.3e-15


def test_of_a_neuron_that_crosses_on_a_border_no_error_is_known():
    """The rounding of the border's own t, 4e-16, does not bound it: exact arithmetic has such crossings 3e-14 away."""
    left, right = window(0.0, [], [0], [0]), window(0.5, [], [1], [1])
    assert join_windows([left, right]).t_error.tolist() == [1.0]


def test_largest_errors_belong_to_their_lines():
    counts = np.array([0, 2, 0, 0, 3, 1, 0, 1])
    errors = np.array([1e-15, 2e-15, 5e-15, 4e-15, 3e-15, np.inf, np.nan])
    assert largest_errors(errors, counts).tolist() == [0.0, 2e-15, 0.0, 0.0, 5e-15, 1.0, 0.0, 1.0]
    assert largest_errors(errors[:0], counts[:1]).tolist() == [0.0]
    assert largest_errors(errors[:0], counts[:0]).tolist() == []


def test_breakpoints_that_are_near_each_other_but_not_a_border_stay_apart():
    """A window's own breakpoints are the kernel's decision, also where their bounds overlap."""
    left = window(0.0, [(0.2, [(0, 0, 1)]), (0.2 + 1e-15, [(1, 0, 1)])], [0, 0], [1, 1])
    assert joined(left, window(0.5, [], [1, 1], [1, 1])) == [(0.2, [(0, 1)]), (0.2 + 1e-15, [(1, 1)])]


def test_blas_is_held_to_one_thread_from_the_first_batch_to_the_last(network):
    before = [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    seen = []
    ends = np.random.default_rng(0).random((20, network.n_inputs))
    for _ in pwlnet.iter_line_partitions(network, np.zeros(network.n_inputs), ends, max_points=1, threads=2):
        seen += [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    assert set(seen) == {1}
    after = [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    assert after == before
