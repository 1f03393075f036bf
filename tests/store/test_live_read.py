"""Reading while a writer commits: the rows of the moment of opening, always; later ones when asked; else it is said."""

import itertools
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pwlnet import store
from pwlnet.errors import InputError, StoreError
from tests.store.conftest import make_partitions, small_network
from tests.store.test_store import same

ROOT = Path(__file__).resolve().parent.parent.parent
LINES_PER_BATCH = 7
WRITE = """
import itertools, sys
from pwlnet import store
from tests.store.conftest import make_partitions, small_network
network = small_network(0)
with store.create(sys.argv[1], network) as writer:
    for seed in itertools.count():
        writer.append_lines(make_partitions(network, 7, seed=seed))
        if seed == 3:
            print("begun", flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.h5"


@pytest.fixture
def busy_writer(path):
    """A program that commits as fast as it can, a few batches at least."""
    with subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout.readline() == b"begun\n"
            yield process
            assert process.poll() is None
        finally:
            process.kill()


def test_rows_read_beside_a_busy_writer_are_those_that_it_wrote(path, busy_writer):
    network, rng = small_network(0), np.random.default_rng(0)
    seen = []
    for _ in range(20):
        with store.open(path, network=network) as opened:
            seen.append(opened.n_batches)
            for batch in rng.integers(0, opened.n_batches, 5):
                first = int(batch) * LINES_PER_BATCH
                lines = opened.lines(first, first + LINES_PER_BATCH)
                assert same(lines, make_partitions(network, LINES_PER_BATCH, seed=int(batch)))
            assert opened.n_batches == seen[-1]
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


def test_a_reader_follows_a_busy_writer(path, busy_writer):
    done = 0
    with store.open(path) as opened:
        while done < 40:
            if opened.refresh():
                found = opened.to_dataframe("lines", done)
                assert found["line"].to_list() == list(range(done, opened.n_lines))
                done = opened.n_lines


def test_what_was_opened_stays_as_it_was_until_it_is_refreshed(path, network, make_lines):
    with store.create(path, network) as writer:
        writer.append_lines(make_lines(5))
        with store.open(path) as opened:
            digest = opened.digest()
            for seed in range(1, 30):
                writer.append_lines(make_lines(5, seed=seed))
                assert opened.digest() == digest
            assert (opened.n_lines, len(opened.lines())) == (5, 5)
            with pytest.raises(InputError, match="has 5 lines"):
                opened.lines(0, 6)
            assert opened.refresh() is True
            assert opened.refresh() is False
            assert opened.n_lines == 150
            assert same(opened.lines(145, 150), make_lines(5, seed=29))
            assert opened.last_batch_problems() == []


def test_another_store_at_the_same_path_is_not_mistaken_for_the_one_that_was_opened(path, network, make_lines):
    store.save_lines(path, make_lines(5))
    with store.open(path) as opened:
        store.save_lines(path, make_lines(6, seed=1), overwrite=True)
        assert same(opened.lines(), make_lines(5))
        with pytest.raises(StoreError, match=r"is another store than the one that was opened, or another program changed it"):
            opened.refresh()
        with pytest.raises(StoreError, match="is closed; open it again"):
            opened.lines()


def test_a_reader_that_never_gets_between_two_commits_says_so(path, network, make_lines, monkeypatch):
    monkeypatch.setattr("pwlnet.store.live_read._PAUSE", 0)
    with store.create(path, network) as writer:
        writer.append_lines(make_lines(5))
        with store.open(path) as opened:
            once = opened._read_once
            seeds = itertools.count(1)

            def read_late(*rows):
                for _ in range(4):
                    writer.append_lines(make_lines(100, seed=next(seeds)))
                opened.file.container._cache.clear()
                return once(*rows)

            monkeypatch.setattr(opened, "_read_once", read_late)
            monkeypatch.setattr("pwlnet.store.live_read.MAX_RETRIES", 3)
            with pytest.raises(StoreError, match="has grown while it was read; open it again"):
                opened.digest()


def test_other_programs_are_locked_out_while_a_writer_is_there(path, network, make_lines):
    with store.create(path, network) as writer:
        writer.append_lines(make_lines(5))
        for swmr in (False, True):
            with pytest.raises(OSError, match="unable to lock file"):
                h5py.File(path, "r", swmr=swmr)
    with h5py.File(path, "r") as file:
        assert len(file["/lines/start"]) == 5
