"""Linked stores: the rows of several stores without copies, and what is refused where HDF5 would read zeros."""

import itertools
import os

import h5py
import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.errors import DigestMismatchError, InputError, StoreError

NETWORK = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
IMAGES = pwlnet.datasets.digits_images()[0]


def write(path, first, last, **options):
    """A store of lines, planes and float sets ``first`` to ``last``; an empty one has neither."""
    rows, others = IMAGES[first:last], IMAGES[40 + first : 40 + last]
    with store.create(path, NETWORK, **options) as writer:
        if first == last:
            return path
        writer.append_lines(pwlnet.partition_lines(NETWORK, rows, others))
        if first:
            triangle = [[0.0, 0.0], [0.05, 0.0], [0.0, 0.05]]
            writer.append_planes(pwlnet.partition_planes(NETWORK, rows, others - rows, IMAGES[20] - rows, triangle))
        box = pwlnet.Box.around(rows, 0.05)
        writer.append_float_sets(pwlnet.find_float_neurons(NETWORK, box, method="ibp"), box)
    return path


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "parts").mkdir()
    cuts = [0, 2, 2, 3, 5]
    return [write(tmp_path / "parts" / f"{k}.h5", *cut) for k, cut in enumerate(itertools.pairwise(cuts))]


@pytest.fixture
def linked(paths, tmp_path):
    store.link(paths, tmp_path / "linked.h5")
    return tmp_path / "linked.h5"


def test_a_linked_store_has_the_rows_and_the_digest_of_a_merged_one(paths, linked, tmp_path):
    store.merge([path for path in paths if path.name != "1.h5"], tmp_path / "merged.h5")
    with store.open(linked) as one, store.open(tmp_path / "merged.h5") as other:
        assert one.is_linked
        assert not other.is_linked
        assert one.is_verified
        assert one.verify(n_samples=2) == []
        assert one.digest() == other.digest()
        for name in ("lines", "planes", "float_sets"):
            for first, last in ((0, None), (1, 2), (2, one.n_rows(name))):
                rows = other.read(name, first, last)
                assert all(array.tobytes() == rows[field].tobytes() for field, array in one.read(name, first, last).items())
        assert np.array_equal(one.lines(1, 5).flip_neurons, other.lines(1, 5).flip_neurons)
        assert one.info()["n_segments"] == other.info()["n_segments"]
    with h5py.File(linked) as file, h5py.File(tmp_path / "merged.h5") as merged:
        assert file["/breakpoints/t"].is_virtual
        assert np.array_equal(file["/breakpoints/t"], merged["/breakpoints/t"])
        assert np.array_equal(file["/breakpoints/offsets"], merged["/breakpoints/offsets"])


def test_a_linked_store_is_small_and_moves_with_its_files(linked, tmp_path):
    parts = tmp_path / "parts"
    (tmp_path / "elsewhere").mkdir()
    os.rename(parts, tmp_path / "elsewhere" / "parts")
    os.rename(linked, tmp_path / "elsewhere" / "linked.h5")
    with store.open(tmp_path / "elsewhere" / "linked.h5") as stored:
        assert stored.verify() == []


@pytest.mark.parametrize("change", ["removed", "changed", "other"])
def test_a_missing_or_changed_file_is_named_instead_of_zeros(change, paths, linked):
    if change == "removed":
        paths[2].unlink()
    elif change == "other":
        paths[2].write_bytes(paths[3].read_bytes())
    else:
        with store.resume(paths[2]) as writer:
            writer.append_lines(pwlnet.partition_lines(NETWORK, IMAGES[:1], IMAGES[1:2]))
    with store.open(linked) as stored:
        with pytest.raises(StoreError, match=r"2\.h5"):
            stored.lines()
        assert any("2.h5" in problem for problem in stored.verify())


def test_a_damaged_file_is_found(paths, linked):
    content = bytearray(paths[3].read_bytes())
    content[len(content) // 2] ^= 1
    paths[3].write_bytes(content)
    with store.open(linked) as stored:
        assert any("3.h5" in problem for problem in stored.verify())


def test_what_can_not_be_linked_is_refused(paths, linked, tmp_path):
    with pytest.raises(StoreError, match="linked to other stores, so nothing can be appended"):
        store.resume(linked)
    with pytest.raises(StoreError, match="linked to other stores itself"):
        store.link([linked], tmp_path / "x.h5")
    with pytest.raises(InputError, match="one of the stores"):
        store.link(paths, paths[0])
    with pytest.raises(InputError, match="paths is empty"):
        store.link([], tmp_path / "x.h5")
    with pytest.raises(DigestMismatchError, match="parameters"):
        store.link([*paths, write(tmp_path / "other.h5", 0, 1, parameters={"a": 1})], tmp_path / "x.h5")
    controller = pwlnet.load_network(pwlnet.datasets.control_network_path())
    store.save_large_regions(tmp_path / "regions.h5", controller, -np.ones(2), np.ones(2)).close()
    with pytest.raises(StoreError, match="regions, which can't be linked"):
        store.link([tmp_path / "regions.h5"], tmp_path / "x.h5")
    with pytest.raises(StoreError, match="exists"):
        store.link(paths, linked)
    assert not (tmp_path / "x.h5").exists()


def test_a_merged_copy_of_a_linked_store_stands_alone(paths, linked, tmp_path):
    store.merge([linked], tmp_path / "copy.h5")
    with store.open(linked) as one:
        digest = one.digest()
    for path in paths:
        path.unlink()
    with store.open(tmp_path / "copy.h5") as copy:
        assert copy.digest() == digest
