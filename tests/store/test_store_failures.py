"""Whatever goes wrong, a store keeps its finished batches, and damage is found and named."""

import collections
import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from pwlnet import store
from pwlnet.errors import ChecksumError, DigestMismatchError, InputError, StoreError
from pwlnet.store import schema
from pwlnet.store.container.transaction import TransactionFile
from pwlnet.tolerances import DEFAULT
from tests.checksums import changing
from tests.counts import few


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.h5"


@pytest.fixture
def written(path, network, make_lines):
    """A store of three batches: lines 0..4, 5..9, 10..14."""
    with store.create(path, network) as writer:
        for seed in range(3):
            writer.append_lines(make_lines(5, seed=seed))
    return path


def problems(path):
    with store.open(path) as opened:
        return opened.verify()


# Writing.


def fail_at(monkeypatch, name, call, error):
    """Let a function of ``os`` fail at a call, half-way where it writes; returns the list of calls."""
    real, calls = getattr(os, name), []

    def fails(descriptor, *arguments):
        calls.append(name)
        if len(calls) != call:
            return real(descriptor, *arguments)
        if name == "pwrite":
            real(descriptor, bytes(arguments[0])[: len(arguments[0]) // 2], arguments[1])
        raise error

    monkeypatch.setattr(os, name, fails)
    return calls


@pytest.mark.parametrize("chunk_bytes", [10_000, schema.CHUNK_BYTES])
@pytest.mark.parametrize("name", ["pwrite", "fsync", "pread"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), MemoryError()])
def test_a_write_that_fails_anywhere_keeps_the_batches_before(path, network, make_lines, monkeypatch, chunk_bytes, name, error):
    monkeypatch.setattr(schema, "CHUNK_BYTES", chunk_bytes)
    small, large = make_lines(3), make_lines(200, seed=1)
    outcomes = []
    for call in range(1, 100, few(1, quick=3)):
        n_lines = 3
        with store.create(path, network, overwrite=True) as writer:
            writer.append_lines(small)
            with monkeypatch.context() as patch:
                calls = fail_at(patch, name, call, error)
                with contextlib.suppress(StoreError, MemoryError):
                    writer.append_lines(large)
                    n_lines = 203  # a failure after the slot was written does no harm
            assert writer.n_lines == n_lines
        with store.open(path) as opened:
            assert opened.n_lines == n_lines
            assert opened.verify() == []
        with store.resume(path) as writer:
            writer.append_lines(small)
        assert problems(path) == []
        outcomes.append(n_lines)
        if len(calls) < call:
            break
    assert 3 in outcomes
    assert outcomes[-1] == 203


def test_a_full_disk_says_what_is_kept(path, network, make_lines, monkeypatch):
    with store.create(path, network) as writer:
        writer.append_lines(make_lines(3))
        fail_at(monkeypatch, "pwrite", 1, OSError(errno.ENOSPC, "full"))
        with pytest.raises(StoreError) as caught:
            writer.append_lines(make_lines(3))
        assert str(caught.value) == (
            f"{path} can't be extended (No space left on device); its first 3 lines are kept and can be read, "
            "free space and resume it"
        )
        assert caught.value.__cause__.errno == errno.ENOSPC
        with pytest.raises(StoreError, match="is closed with 3 lines"):
            writer.append_lines(make_lines(3))


@pytest.fixture
def small_disk():
    """A folder on a disk of 400 KB."""
    folder = Path(tempfile.mkdtemp(prefix="pwlnet-small-disk-"))  # not pytest's, which a mount left by a killed run breaks
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_a_really_full_disk_keeps_the_batches_before_and_the_rest_follows_when_there_is_room(small_disk, network, make_lines):
    path = small_disk / "lines.h5"
    with store.create(path, network) as writer:
        with pytest.raises(StoreError, match="No space left on device") as caught:
            collections.deque((writer.append_lines(make_lines(50, seed=k)) for k in range(1000)), maxlen=0)
        n_lines = writer.n_lines
    assert f"its first {n_lines} lines are kept and can be read, free space and resume it" in str(caught.value)
    with store.open(path) as opened:
        assert 0 < n_lines == opened.n_lines
        assert opened.verify() == []
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize))
    with pytest.raises(StoreError, match=r"No space left on device\); nothing was left there"):
        store.create(small_disk / "second.h5", network)
    assert {file.name for file in small_disk.iterdir()} == {"lines.h5", "filler"}
    with store.resume(path) as writer, pytest.raises(StoreError, match="No space left on device"):
        writer.append_lines(make_lines(500))
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    with store.resume(path) as writer:
        for k in range(n_lines // 50, 20):
            writer.append_lines(make_lines(50, seed=k))
    with store.create(small_disk / "whole.h5", network) as writer:
        for k in range(20):
            writer.append_lines(make_lines(50, seed=k))
    with store.open(path) as resumed, store.open(small_disk / "whole.h5") as whole:
        assert resumed.verify() == []
        assert resumed.digest() == whole.digest()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_batch(path, network, make_lines, monkeypatch, interruptible, number):
    real = TransactionFile.write

    def interrupted(file, data):
        os.kill(os.getpid(), number)
        return real(file, data)

    with store.create(path, network) as writer:
        monkeypatch.setattr(TransactionFile, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.append_lines(make_lines(3))
        monkeypatch.undo()
        assert writer.n_lines == 3
        writer.append_lines(make_lines(3))
    assert problems(path) == []


def test_an_exception_between_batches_keeps_them(path, network, make_lines):
    with contextlib.suppress(KeyboardInterrupt), store.create(path, network) as writer:
        writer.append_lines(make_lines(3))
        raise KeyboardInterrupt
    assert len(store.load_lines(path).starts) == 3


def test_an_iterator_that_fails_leaves_the_batches_before_and_says_so(path, make_lines):
    def give():
        yield make_lines(3)
        yield make_lines(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        store.save_lines(path, give())
    assert caught.value.__notes__ == [f"{path} holds the first 7 lines"]
    with store.open(path) as opened:
        assert (opened.n_lines, opened.verify()) == (7, [])


@pytest.mark.parametrize("call", [1, 30])
def test_an_iterator_is_closed_when_its_batches_can_not_be_written(path, make_lines, monkeypatch, call):
    closed = []

    def give():
        try:
            while True:
                yield make_lines(3)
        finally:
            closed.append(True)

    fail_at(monkeypatch, "fsync", call, OSError(errno.ENOSPC, "full"))
    with pytest.raises(StoreError, match="No space left on device"):
        store.save_lines(path, give())
    assert closed


APPEND_FOREVER = """
import sys
from pwlnet import store
lines = store.load_lines(sys.argv[1])
with store.create(sys.argv[2], lines.network) as writer:
    while True:
        writer.append_lines(lines)
        print(writer.n_lines, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.031])
def test_a_killed_program_leaves_its_finished_batches(tmp_path, written, delay):
    arguments = [sys.executable, "-c", APPEND_FOREVER, str(written), str(tmp_path / "killed.h5")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            process.stdout.readline()
        time.sleep(delay)
        process.kill()
        said = int(["45", *process.stdout.read().split()][-1])
    with store.open(tmp_path / "killed.h5") as opened:
        assert opened.n_lines >= said
        assert opened.verify() == []


def test_a_store_has_one_writer(path, network, make_lines):
    with store.create(path, network) as writer:
        with pytest.raises(StoreError, match=r"lines.h5 is being written by this process, which opened it at [\d:]{8}; call"):
            store.resume(path)
        writer.append_lines(make_lines(2))
    assert problems(path) == []


# What must not be appended.


def test_lines_of_another_network_are_refused(path, network, other_network, make_lines):
    with store.create(path, network) as writer:
        with pytest.raises(DigestMismatchError) as caught:
            writer.append_lines(make_lines(3, network=other_network))
        writer.append_lines(make_lines(3))
    assert str(caught.value) == (
        f"lines belong to the network {other_network.digest[:12]}, but {path} is for the network "
        f"{network.digest[:12]}; append them to another store"
    )
    assert problems(path) == []


def test_lines_of_other_tolerances_are_refused(path, network, make_lines):
    with store.create(path, network) as writer, pytest.raises(DigestMismatchError, match="create the store with tol"):
        writer.append_lines(make_lines(3, tolerances=DEFAULT._replace(rounding=2.0)))


@pytest.mark.parametrize(
    ("field", "change", "problem"),
    [
        ("t", lambda t: t[::-1], "t does not go from 0 to 1 on line 0"),
        ("t", lambda t: np.where(t < 1.0, 0.0, t), "t does not increase from breakpoint"),
        ("t", lambda t: t[:-1], r"flip_offsets has shape"),
        ("residual", lambda r: r[:-1], r"residual has shape \(4,\), not \(5,\)"),
        ("residual", lambda r: r + np.nan, "residual holds entries that are not finite"),
        ("t_error", lambda e: e + np.nan, r"t_error holds entries that are not in \[0, 1\]"),
        ("t_error", lambda e: e - 1.0, r"t_error holds entries that are not in \[0, 1\]"),
        ("t_error", lambda e: e + np.inf, r"t_error holds entries that are not in \[0, 1\]"),
        ("starts", lambda s: s.astype(np.float32), "starts has dtype float32, not float64"),
        ("flip_neurons", lambda n: n + 200, r"flip_neurons holds \d+, but the network has neurons 0 to 199"),
        ("offsets", lambda o: o[::-1], "offsets do not split the 111 rows into consecutive ranges"),
    ],
)
def test_lines_that_contradict_themselves_are_refused(path, network, make_lines, field, change, problem):
    good = make_lines(5)
    arrays = {dataset.field: getattr(good, dataset.field) for dataset in schema.LINES.datasets}

    class Lines:
        tolerances = good.tolerances

    bad = Lines()
    bad.network = network
    vars(bad).update(arrays, **{field: change(arrays[field])})
    with store.create(path, network) as writer, pytest.raises(InputError, match=f"lines can't be appended: {problem}"):
        writer.append_lines(bad)
    assert problems(path) == []


# Reading what is damaged.


def test_an_array_changed_behind_the_checksums_of_hdf5_is_found(written):
    with changing(written) as file:
        file["breakpoints/t"][file["breakpoints/offsets"][7] + 1] *= 0.999
    assert problems(written) == [
        f"batch 1 (lines 5..9) of {written} does not match its checksum; the file is damaged, restore a copy or "
        "compute it again"
    ]


def test_a_damaged_chunk_is_refused_when_it_is_read(written, make_lines):
    store.save_lines(written, make_lines(2000), overwrite=True)
    with h5py.File(written) as file:
        chunk = file["breakpoints/t"].id.get_chunk_info(0)
    with written.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 16]))
    with store.open(written) as opened, pytest.raises(ChecksumError) as caught:
        opened.lines(1, 3)
    assert "/breakpoints/t rows" in str(caught.value)
    assert "does not match its checksum (bytes " in str(caught.value)
    assert problems(written)[0].endswith("(it holds parts of /breakpoints/t)")
    assert "batch 0 (lines 0..1999)" in problems(written)[1]


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_store_cut_off_is_refused(written, part):
    content = written.read_bytes()
    written.write_bytes(content[: int(part * len(content))])
    with pytest.raises(StoreError, match="is cut off after"):
        store.open(written)


def test_rows_after_the_last_commit_do_not_count(written):
    with changing(written) as file:
        file["breakpoints/t"].resize(len(file["breakpoints/t"]) + 9, axis=0)
        file["lines/residual"].resize(17, axis=0)
    with store.open(written) as opened:
        assert opened.n_lines == 15
        assert opened.verify() == []


def test_a_commit_that_is_missing_is_found(written):
    with changing(written) as file:
        commits = file["commits"][()]
        file["commits"][:2] = commits[1:]
        file["commits"].resize(2, axis=0)
    assert problems(written) == [
        f"batch 0 (lines 5..9) of {written} does not start where the one before it ends; restore a copy of the file"
    ]


def test_a_missing_dataset_is_named(written):
    with changing(written) as file:
        del file["flips/state"]
    assert all("/flips/state" in problem for problem in problems(written))
    assert len(problems(written)) == 4


def test_results_of_a_later_minor_version_are_left_alone(written):
    with changing(written) as file:
        file["commits"].resize(4, axis=0)
        row = np.zeros((), schema.COMMIT)
        row["kind"] = "moons"
        file["commits"][-1] = row
    assert problems(written) == []
