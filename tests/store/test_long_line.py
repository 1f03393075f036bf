"""Long lines that are stored chunk by chunk: the store of one write, whatever stops the program on the way."""

import contextlib
import dataclasses
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import pwlnet
from pwlnet import cli, store
from pwlnet.errors import CapacityError, DigestMismatchError
from pwlnet.partition.lines import tracing, windows
from pwlnet.partition.lines.summary import LineSummary
from tests.counts import few


@pytest.fixture(scope="module")
def digits():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))


@pytest.fixture
def short_windows(monkeypatch):
    """Lines are planned in windows of about 40 breakpoints."""
    monkeypatch.setattr(windows, "WINDOW_POINTS", 40)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "line.h5"


def line_of(network, seed):
    return np.random.default_rng(seed).uniform(-1.0, 2.0, (2, network.n_inputs))


def digest(path):
    with store.open(path) as opened:
        assert opened.verify() == []
        return opened.digest()


def digest_of_one_write(path, network, *lines):
    whole = path.with_name("whole.h5")
    whole.unlink(missing_ok=True)
    starts, ends = (np.stack(points) for points in zip(*lines, strict=True))
    store.save_lines(whole, pwlnet.partition_lines(network, starts, ends))
    return digest(whole)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("max_points", [30, 2**20])
def test_the_store_is_that_of_one_write(path, digits, short_windows, threads, max_points):
    lines = [line_of(digits, seed) for seed in range(3)]
    with store.create(path, digits) as writer:
        for line in lines:
            writer.append_long_line(*line, max_points=max_points, threads=threads)
        assert (writer.unfinished_t, writer.resume_state) == (None, None)
    assert digest(path) == digest_of_one_write(path, digits, *lines)


def test_one_call_writes_a_line_and_goes_on_where_it_is_there(path, digits):
    line = line_of(digits, 0)
    written = store.save_long_line(path, digits, *line, max_points=50)
    assert written == store.Written(1, pwlnet.partition_lines(digits, *line).n_segments[0])
    assert store.save_long_line(path, digits, *line, resume=True) == written
    assert digest(path) == digest_of_one_write(path, digits, line)
    with pytest.raises(pwlnet.errors.StoreError, match="exists"):
        store.save_long_line(path, digits, *line)
    with pytest.raises(DigestMismatchError, match="holds 1 lines, and not only the given one"):
        store.save_long_line(path, digits, line[0], line[0], resume=True)


NUMBERS = ("residual", "ambiguous", "t_error")


class Stop(Exception):
    pass


def stop_after(monkeypatch, n_parts):
    """Make a writer fail after so many chunks, or between the last one and the line (None)."""
    append, finish, left = store.StoreWriter.append_line_chunk, store.StoreWriter.finish_line, [n_parts]

    def append_line_chunk(writer, *part, **options):
        if left[0] == 0:
            raise Stop
        left[0] = left[0] and left[0] - 1
        append(writer, *part, **options)

    def finish_line(writer, *line, **options):
        raise Stop

    monkeypatch.setattr(store.StoreWriter, "append_line_chunk", append_line_chunk)
    monkeypatch.setattr(store.StoreWriter, "finish_line", finish_line if n_parts is None else finish)


@pytest.mark.parametrize("max_points", [4, 17, 100])
@pytest.mark.parametrize("n_parts", [0, 1, 2, 3, 5, None])
def test_a_line_that_was_stopped_is_gone_on_with(path, digits, short_windows, monkeypatch, max_points, n_parts):
    line = line_of(digits, 1)
    with monkeypatch.context() as patch:
        stop_after(patch, n_parts)
        with pytest.raises(Stop) as stopped:
            store.save_long_line(path, digits, *line, max_points=max_points)
    assert "resume=True continues it" in stopped.value.__notes__[0]
    with store.open(path) as opened:
        assert (opened.n_lines, opened.verify()) == (0, [])
    store.save_long_line(path, digits, *line, max_points=64, resume=True)
    assert digest(path) == digest_of_one_write(path, digits, line)


def test_windows_that_are_stored_are_not_traced_again(path, digits, short_windows, monkeypatch):
    line = line_of(digits, 1)
    with monkeypatch.context() as patch:
        stop_after(patch, 100)
        with pytest.raises(Stop):
            store.save_long_line(path, digits, *line, max_points=1)
    traced, trace = [], tracing.Tracer.iter_window

    def iter_window(self, start, end, t0, t1, number=0):
        traced.append(t0)
        return trace(self, start, end, t0, t1, number)

    monkeypatch.setattr(tracing.Tracer, "iter_window", iter_window)
    with store.resume(path) as writer:
        state, stored = writer.resume_state, writer.unfinished_t
    assert 0.0 < state["boundary"] <= stored
    store.save_long_line(path, digits, *line, resume=True, threads=1)
    assert min(traced) == state["boundary"]


def test_a_line_without_a_plan_is_computed_again_and_stored_once(path, digits, monkeypatch):
    line = line_of(digits, 1)
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Stop):
            store.save_long_line(path, digits, *line, max_points=40)
    with store.resume(path) as writer:
        assert (writer.resume_state["boundary"], writer.n_rows("lines")) == (0.0, 0)
        n_before = int(writer._ends["lines"][1])
        writer.append_long_line(*line)
    assert n_before == 160
    assert digest(path) == digest_of_one_write(path, digits, line)


def test_chunks_without_a_resume_state_are_continued_too(path, digits):
    line = line_of(digits, 1)
    whole = pwlnet.partition_lines(digits, *line)
    for n in (1, 60, len(whole.t)):
        path.unlink(missing_ok=True)
        with store.create(path, digits) as writer:
            flips = slice(whole.flip_offsets[n])
            writer.append_line_chunk(
                whole.t[:n], whole.flip_offsets[: n + 1], whole.flip_neurons[flips], whole.flip_states[flips]
            )
            assert writer.resume_state is None
            writer.append_long_line(*line)
        assert digest(path) == digest_of_one_write(path, digits, line)


def test_another_line_does_not_go_on_with_the_parts(path, digits, short_windows, monkeypatch):
    line = line_of(digits, 1)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stop):
            store.save_long_line(path, digits, *line, max_points=50)
    with store.resume(path) as writer:
        for change in ({"start": line[1]}, {"memory": 2**25}):
            with pytest.raises(
                DigestMismatchError, match=r"line 0 of .* was started with other ends or another memory; give the"
            ):
                writer.append_long_line(**({"start": line[0], "end": line[1]} | change))
        writer.append_long_line(*line)
    assert digest(path) == digest_of_one_write(path, digits, line)


def test_too_many_segments_are_noticed_behind_stored_parts_too(path, digits, short_windows, monkeypatch):
    line = line_of(digits, 1)
    n = int(pwlnet.partition_lines(digits, *line).n_segments[0])
    with monkeypatch.context() as patch:
        stop_after(patch, n // 20 - 2)
        with pytest.raises(Stop):
            store.save_long_line(path, digits, *line, max_points=20)
    with pytest.raises(CapacityError, match=rf"line 0 has at least {n} segments, more than max_segments={n - 1}"):
        store.save_long_line(path, digits, *line, resume=True, max_segments=n - 1)


def test_a_long_line_is_verified_merged_and_repaired_in_pieces(path, digits, monkeypatch):
    from pwlnet.store import checks, in_chunks

    lines = [line_of(digits, seed) for seed in range(2)]
    with store.create(path, digits) as writer:
        for line in lines:
            writer.append_long_line(*line, max_points=64)
    wanted = digest_of_one_write(path, digits, *lines)
    monkeypatch.setattr(in_chunks, "_AT_ONCE", 50)
    monkeypatch.setattr(store.RegionStore, "read", None)
    with store.open(path) as opened:
        assert opened.verify() == []
    store.resume(path).close()
    store.merge([path], path.with_name("merged.h5"))
    assert digest(path.with_name("merged.h5")) == wanted
    assert store.repair(path, path.with_name("repaired.h5")).n_lines == 2
    assert digest(path.with_name("repaired.h5")) == wanted
    with store.open(path) as opened:
        assert checks.batch_ranges(opened, opened.commits[-1]) == [(1, 2)]


@pytest.mark.parametrize("row", [70, 149, 150, 151])
def test_damage_in_a_long_line_is_found_where_pieces_meet_too(path, digits, monkeypatch, row):
    from pwlnet.store import in_chunks

    monkeypatch.setattr(in_chunks, "_AT_ONCE", 50)
    lines = pwlnet.partition_lines(digits, *line_of(digits, 0))
    t = lines.t.copy()
    t[row] = t[row - 2]
    broken = dataclasses.replace(lines, t=t)
    monkeypatch.setattr("pwlnet.store.writer.batch_problem", lambda *_: None)
    store.save_lines(path, broken)
    with store.open(path) as opened:
        (problem,) = opened.verify()
    assert re.search(
        r"is inconsistent from lines 0 on: t (does not increase up to 1|starts with .*, not after .*); compute it", problem
    )


@pytest.mark.parametrize(
    ("field", "number", "problem"),
    [
        ("residual", np.nan, "residual holds entries that are not finite"),
        ("t_error", np.nan, r"t_error holds entries that are not in \[0, 1\]"),
        ("t_error", 1.5, r"t_error holds entries that are not in \[0, 1\]"),
    ],
)
def test_numbers_of_a_long_line_that_can_not_be_are_found(path, digits, monkeypatch, field, number, problem):
    lines = dataclasses.replace(pwlnet.partition_lines(digits, *line_of(digits, 0)), **{field: np.array([number])})
    monkeypatch.setattr("pwlnet.store.writer.batch_problem", lambda *_: None)
    store.save_lines(path, lines)
    with store.open(path) as opened:
        (found,) = opened.verify()
    assert re.search(f"is inconsistent from lines 0 on: {problem}; compute it", found)


def test_the_summary_of_a_store_needs_no_line_as_a_whole(path, digits, monkeypatch):
    from pwlnet.store import summary

    monkeypatch.setattr(summary, "_AT_ONCE", 100)
    with store.create(path, digits) as writer:
        for seed in range(4):
            writer.append_long_line(*line_of(digits, seed), max_points=64)
        writer.append_lines(pwlnet.partition_lines(digits, np.zeros(64), np.zeros((2, 64))))
    with store.open(path) as opened:
        for first, last in ((0, None), (1, 3), (5, 6)):
            wanted, found = LineSummary.of(opened.lines(first, last)), opened.summary(first, last)
            for name in ("n_segments", "length", "shortest_t", "longest_t", *NUMBERS, "op_flips", "histogram"):
                assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
        assert len(opened.summary(2, 2)) == 0
        with pytest.raises(pwlnet.errors.InputError, match=r"first is 0 and last is 9, but .* has 6 lines"):
            opened.summary(0, 9)


# Programs that are stopped.

PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in a shell's background starts with it ignored
import numpy as np, pwlnet
from pwlnet import store
from pwlnet.partition.lines import windows
windows.WINDOW_POINTS = 40
network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
line = np.random.default_rng(1).uniform(-1.0, 2.0, (2, 64))
pwlnet.partition_lines(network, *line)
print("ready", flush=True)
while True:
    store.save_long_line(sys.argv[1], network, *line, max_points=2)
    os.remove(sys.argv[1])
"""


def send_until_it_ends(process, number):
    """Python drops a KeyboardInterrupt that comes while it runs the callback of a weak reference: then once more."""
    for _ in range(10):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return
    raise AssertionError("the program did not end")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_program_that_is_stopped_leaves_parts_that_can_be_gone_on_with(path, digits, short_windows, number):
    """Stopped at random instants; the program that resumes ends in the store of one write."""
    draw, kept = np.random.default_rng(number), 0
    line = line_of(digits, 1)
    wanted = digest_of_one_write(path, digits, line)
    n_runs = few(4, 1, quick=2)
    for _ in range(n_runs):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", PROGRAM, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout.readline() == "ready\n"
                time.sleep(draw.uniform(0.0, 0.5))
                send_until_it_ends(process, number)
            finally:
                process.kill()
        if path.exists():
            with store.open(path) as opened:
                assert opened.verify() == []
            with store.resume(path) as writer:
                kept += writer.unfinished_t is not None
        store.save_long_line(path, digits, *line, max_points=100, resume=True)
        assert digest(path) == wanted
    assert kept > 0 or n_runs < 4


# The command line.


@pytest.fixture
def folder(tmp_path, digits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits.save("net.h5")
    return tmp_path


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("options", [("--stream", "--batch", 50), ("--batch", 50), ("--stream",)])
def test_the_command_line_stores_lines_in_parts(folder, short_windows, capsys, options):
    """With --stream all, else those with more changes of state than --batch."""
    command = ("lines", "net.h5", "--random", 3, "--seed", 5, "--json")
    assert run(*command, "--out", "parts.h5", *options) == 0
    with store.open("parts.h5") as opened:
        n_parts = np.count_nonzero(opened.commits["first"][:, 0] == opened.commits["last"][:, 0])
        assert n_parts >= (6 if 50 in options else 3)
    assert run(*command, "--out", "whole.h5") == 0
    assert digest("parts.h5") == digest("whole.h5")
    in_parts, whole = (json.loads(part) for part in capsys.readouterr().out.replace("}\n{", "}\0{").split("\0"))
    for different in ("store", "seconds", "microseconds_per_breakpoint"):
        assert in_parts.pop(different) != whole.pop(different)
    assert in_parts == whole


def test_short_lines_between_long_ones_are_stored_in_batches(folder, digits, short_windows):
    starts, ends = np.random.default_rng(0).uniform(-1.0, 2.0, (2, 40, 64))
    short = np.arange(40) % 7 != 3
    ends[short] = starts[short] + 1e-3
    np.save("starts.npy", starts)
    np.save("ends.npy", ends)
    assert run("lines", "net.h5", "--starts", "starts.npy", "--ends", "ends.npy", "--batch", 100, "--out", "out.h5") == 0
    with store.open("out.h5") as opened:
        assert np.count_nonzero(opened.commits["first"][:, 0] == opened.commits["last"][:, 0]) > 6
        assert opened.n_batches < 40 + 40
    assert digest("out.h5") == digest_of_one_write(folder / "x", digits, *zip(starts, ends, strict=True))


@pytest.mark.parametrize("again", [("--stream",), ()])
def test_resume_goes_on_inside_a_line(folder, short_windows, monkeypatch, capsys, again):
    command = ("lines", "net.h5", "--random", 3, "--seed", 5, "--batch", 50, "--out", "out.h5")
    append, left = store.StoreWriter.append_line_chunk, [12]

    def append_line_chunk(writer, *part, **options):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        append(writer, *part, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store.StoreWriter, "append_line_chunk", append_line_chunk)
        assert run(*command, "--stream") == 130
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"pwlnet: interrupted; out.h5 has the first [12] of 3 lines and the next one up to t = 0\.\d+; --resume continues\n",
        said,
    )
    assert run(*command, *again, "--resume") == 0
    assert run(*command[:-1], "whole.h5", "--batch", 2**20) == 0
    assert digest("out.h5") == digest("whole.h5")


def test_parts_of_a_summary_are_refused(folder, capsys):
    assert run("lines", "net.h5", "--random", 2, "--summary", "--stream") == 2
    assert "--summary was given with --stream, which applies to a store; omit one of them" in capsys.readouterr().err
