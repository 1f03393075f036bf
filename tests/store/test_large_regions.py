"""Enumerations that are written as they are found: in parts, by several threads, after a kill; always with the same digest."""

import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.errors import DigestMismatchError, InputError, UnsupportedOperationError
from tests.described import to_network
from tests.partition.regions.degenerate import degenerate
from tests.partition.regions.test_exact import random_relu

WANT = ("patterns", "facets", "affine_maps")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr("pwlnet.partition.regions.buffers._ROWS", 64)
    monkeypatch.setattr("pwlnet.partition.regions.cell_search._BUDGET", 2**14)
    monkeypatch.setattr("pwlnet.store.region_appending.ROWS", 100)


def digest(path):
    with store.open(path) as opened:
        assert opened.verify() == []
        return opened.digest()


def box(network):
    return -np.ones(network.n_inputs), np.ones(network.n_inputs)


def test_a_store_has_the_regions_of_memory(tmp_path):
    network = random_relu(4, [3, 12, 9, 2])
    expected = pwlnet.enumerate_regions(network, *box(network), want=WANT, threads=1)
    digests = set()
    for threads in (1, 2):
        path = tmp_path / f"{threads}.h5"
        with store.save_large_regions(path, network, *box(network), want=WANT, threads=threads) as rows:
            assert rows.complete and rows.certified and rows.n_regions == expected.n_regions > 400
            for name in ("packed", "witnesses", "facet_offsets", "facet_neurons", "facet_states"):
                assert np.array_equal(getattr(rows, name), getattr(expected, name)), name
            assert np.array_equal(rows.affine_maps().A, expected.affine_maps().A)
            back = rows.read()
        assert np.array_equal(back.locate(expected.witnesses), np.arange(expected.n_regions))
        digests.add(digest(path))
    store.save_regions(tmp_path / "memory.h5", expected)
    assert digests == {digest(tmp_path / "memory.h5")}


@pytest.mark.parametrize("kind", ["generic", "degenerate"])
def test_an_enumeration_that_was_stopped_anywhere_is_continued_to_the_same_digest(tmp_path, monkeypatch, kind):
    if kind == "generic":
        network = random_relu(4, [3, 16, 12, 2])
    else:
        network = to_network(degenerate(1, 3)[0])
    lower, upper = box(network)
    with store.save_large_regions(tmp_path / "whole.h5", network, lower, upper) as rows:
        n, n_exact = rows.n_regions, rows.n_exact
    assert n_exact > 0 or kind == "generic"
    expected, path = digest(tmp_path / "whole.h5"), tmp_path / "parts.h5"
    runs = 0
    with monkeypatch.context() as patch:
        from pwlnet.partition.regions.cell_search import CellSearch

        is_stopped, calls = CellSearch._is_stopped, []

        def stop_often(self):
            calls.append(0)
            if len(calls) > 3 * runs:
                raise KeyboardInterrupt
            return is_stopped(self)

        patch.setattr(CellSearch, "_is_stopped", stop_often)
        for _ in range(200):
            runs += 1
            calls.clear()
            try:
                store.save_large_regions(path, network, lower, upper, resume=True, threads=1 + runs % 2).close()
                break
            except KeyboardInterrupt:
                continue
    assert runs > 1 and digest(path) == expected
    with store.load_regions(path) as rows:
        assert (rows.n_regions, rows.n_exact, rows.complete) == (n, n_exact, True)


def test_a_limit_keeps_the_first_regions_and_a_time_limit_can_be_continued(tmp_path):
    network = random_relu(4, [3, 10, 8, 2])
    lower, upper = box(network)
    whole = pwlnet.enumerate_regions(network, lower, upper, threads=1)
    with store.save_large_regions(tmp_path / "some.h5", network, lower, upper, max_regions=150) as rows:
        assert not rows.complete and rows.stopped_by == "max_regions" and rows.n_regions == 150
        assert np.array_equal(rows.packed, whole.packed[:150])
    with store.save_large_regions(tmp_path / "all.h5", network, lower, upper, max_regions=whole.n_regions) as rows:
        assert rows.complete
    with store.save_large_regions(tmp_path / "late.h5", network, lower, upper, time_limit=0.0, threads=1) as rows:
        assert not rows.is_finished and rows.n_regions < whole.n_regions
    with store.save_large_regions(tmp_path / "late.h5", network, lower, upper, resume=True) as rows:
        assert rows.is_finished and rows.complete and rows.n_regions == whole.n_regions


def test_what_cannot_be_written_is_refused(tmp_path):
    network = random_relu(4, [3, 5, 3])
    lower, upper = box(network)
    with pytest.raises(UnsupportedOperationError, match="joined in memory; use enumerate_regions and save_regions"):
        store.save_large_regions(tmp_path / "a.h5", network, lower, upper, classes="max")
    with pytest.raises(InputError, match="want is empty"):
        store.save_large_regions(tmp_path / "a.h5", network, lower, upper, want=())
    assert not (tmp_path / "a.h5").exists()
    store.save_large_regions(tmp_path / "a.h5", network, lower, upper).close()
    with pytest.raises(DigestMismatchError, match="another enumeration"):
        store.save_large_regions(tmp_path / "a.h5", network, lower, 2.0 * upper, resume=True)
    joined = pwlnet.enumerate_regions(network, lower, upper, classes="max")
    store.save_regions(tmp_path / "b.h5", joined)
    with store.load_regions(tmp_path / "b.h5") as rows:
        assert np.array_equal(rows.classes, joined.classes) and rows.header.classes == "max"
