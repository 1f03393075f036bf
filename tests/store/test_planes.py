"""Planes in a store: what goes in comes out bit for bit, however it was cut into batches or chunks, stopped or merged."""

import re
import types
import warnings

import h5py
import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.errors import DigestMismatchError, InputError, StoreError, UnverifiedStoreWarning
from pwlnet.partition.planes import dividing
from pwlnet.store import in_chunks, planes, schema
from tests.checksums import changing
from tests.store.conftest import same_planes
from tests.store.test_line_chunks import digest

SQUARE = np.array([[-2.0, -2.0], [2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "planes.h5"


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).normal(size=(3, 4, 5))


@pytest.fixture(scope="module")
def cut(network, frames):
    """Planes as the partition gives them: two with interior, a segment, a point."""
    outlines = [SQUARE, SQUARE[:3], SQUARE[[0, 2]], SQUARE[[1, 1]]]
    return pwlnet.partition_planes(network, *frames, outlines)


def in_pieces(part, size):
    """Split a plane into chunks of so many polygons, each with the vertices up to the last one that it needs."""
    done = 0
    for first in range(0, part.n_polygons, size):
        last = min(first + size, part.n_polygons)
        numbers = part.vertex_numbers[part.offsets[first] : part.offsets[last]]
        end = len(part.shared_vertices) if last == part.n_polygons else max(done, int(numbers.max()) + 1)
        vertices = {name: getattr(part, name)[done:end] for name in ("shared_vertices", "outputs", "error")}
        offsets = part.offsets[first : last + 1] - part.offsets[first]
        of_polygons = {"packed": part.packed[first:last], "areas": part.areas[first:last], "offsets": offsets}
        yield types.SimpleNamespace(**vertices, **of_polygons, vertex_numbers=numbers)
        done = end


def arrays_of(chunk):
    return {dataset.field: getattr(chunk, dataset.field) for dataset in schema.PLANES.chunk_datasets}


@pytest.fixture
def whole(path, cut):
    """The digest of a store of one write."""
    store.save_planes(path.with_name("whole.h5"), cut)
    return digest(path.with_name("whole.h5"))


def test_planes_come_back_bit_for_bit(path, cut, network):
    assert store.save_planes(path, cut, parameters={"a": 1}) == (4, cut.n_polygons.sum())
    back = store.load_planes(path, network)
    assert same_planes(back, cut)
    assert back.network == network
    part = back.parts[0]
    points = part.centroids()
    assert np.array_equal(part.locate(points[::50]), np.arange(part.n_polygons)[::50])
    assert part.adjacency().polygons.tobytes() == cut.parts[0].adjacency().polygons.tobytes()
    assert part.patterns() == cut.parts[0].patterns()
    with pytest.raises(ValueError, match="read-only"):
        part.offsets[0] = 1


def test_batches_make_the_same_store_as_one_write(path, make_planes):
    batches = [make_planes(n, seed=n) for n in (4, 0, 1, 7)]
    assert store.save_planes(path, iter(batches)).n_planes == 12
    with store.open(path) as opened:
        assert (opened.n_planes, opened.n_batches, opened.verify()) == (12, 3, [])
        assert opened.n_polygons == sum(batch.n_polygons.sum() for batch in batches)
        assert same_planes(opened.planes(5, 12), batches[3])
        assert [len(batch) for batch in opened.plane_batches()] == [4, 1, 7]
        assert all(np.array_equal(*pair) for pair in zip(opened.plane(4), batches[2].planes[0], strict=True))
        summary = opened.plane_summary(5, 12)
        store.save_planes(path.with_name("once.h5"), opened.planes())
    assert np.array_equal(summary.n_polygons, batches[3].n_polygons)
    assert np.array_equal(summary.smallest_area, [part.areas.min() for part in batches[3].parts])
    assert np.array_equal(summary.residual, batches[3].residual)
    assert digest(path.with_name("once.h5")) == digest(path)


def test_merged_stores_are_the_store_of_one_write(path, make_planes, make_lines, monkeypatch):
    """Lines and planes may be in the same store."""
    first, second = path.with_name("a.h5"), path.with_name("b.h5")
    a, b = make_planes(5, seed=1), make_planes(1, seed=2, n_polygons=400)
    store.save_planes(first, iter([a, b]))
    store.save_planes(second, b)
    monkeypatch.setattr(in_chunks, "_AT_ONCE", 50)
    store.merge([first, second], path)
    with store.create(path.with_name("all.h5"), a.network) as writer:
        writer.append_planes(a)
        writer.append_lines(make_lines(3))
        writer.append_planes(b)
        writer.append_planes(b)
        assert (writer.n_lines, writer.n_planes) == (3, 7)
    with store.open(path) as opened, store.open(path.with_name("all.h5")) as other:
        assert (opened.verify(), other.verify()) == ([], [])
        assert same_planes(opened.planes(), other.planes())
        assert same_planes(opened.planes(6, 7), b)
        chunks = list(opened.plane_chunks(6))
    assert len(chunks) > 20
    for name in ("shared_vertices", "vertex_numbers", "areas"):
        assert np.array_equal(np.concatenate([chunk[name] for chunk in chunks]), getattr(b.parts[0], name))


@pytest.mark.parametrize("size", [1, 30, 10**6])
def test_planes_in_chunks_are_the_store_of_one_write(path, cut, network, whole, size):
    with store.create(path, network) as writer:
        for part in cut.parts:
            planes.append_large_plane(writer, part.plane, in_pieces(part, max(size, part.n_polygons // 9)), 16)
        assert (writer.n_planes, writer.unfinished_polygons, writer.plane_resume_state) == (4, None, None)
    assert digest(path) == whole


def test_readers_do_not_see_a_plane_before_it_is_finished(path, cut, network, make_lines, whole):
    part = cut.parts[0]
    chunks = list(in_pieces(part, part.n_polygons // 3))
    with store.create(path, network) as writer:
        writer.append_chunk("planes", arrays_of(chunks[0]))
        with store.open(path) as opened:
            assert (opened.n_planes, opened.n_polygons, opened.verify(), len(opened.planes())) == (0, 0, [], 0)
        assert writer.unfinished_polygons == len(chunks[0].areas)
        with pytest.raises(InputError, match=r"plane 0 of .* is not finished; append its chunks and finish it first"):
            writer.append_planes(cut)
        writer.append_lines(make_lines(2))
    with store.resume(path) as writer:
        for chunk in chunks[1:]:
            writer.append_chunk("planes", arrays_of(chunk), resume_state={"any": 1})
        assert writer.plane_resume_state == {"any": 1}
        writer.finish_plane(part.plane, residual=part.residual)
    with store.open(path) as opened:
        assert (opened.n_planes, opened.n_lines, opened.verify()) == (1, 2, [])
        assert same_planes(opened.planes(), pwlnet.PlanePartitions(network, (part.plane,), (part,)))
    store.merge([path], path.with_name("merged.h5"))
    assert digest(path.with_name("merged.h5")) == digest(path)


class Stop(Exception):
    pass


@pytest.mark.parametrize("n_chunks", [0, 1, 2, None])
def test_a_large_plane_that_was_stopped_is_continued(path, monkeypatch, n_chunks):
    """Stopped after so many chunks, or between the last one and the plane (None)."""
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    a, b, c = pwlnet.datasets.digits_images()[0][:3]
    plane, other = (a, b - a, c - a, SQUARE[:3] / 8.0), (b, b - a, c - a, SQUARE[:3] / 8.0)
    for name in ("MOST_FACES", "FIRST_FACES"):
        monkeypatch.setattr(dividing, name, 64)
    append, left = store.StoreWriter.append_chunk, [n_chunks]

    def append_chunk(writer, *chunk, **options):
        if left[0] == 0:
            raise Stop
        left[0] = left[0] and left[0] - 1
        append(writer, *chunk, **options)

    def finish(*_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(store.StoreWriter, "append_chunk", append_chunk)
        patch.setattr(store.StoreWriter, "finish", finish if n_chunks is None else store.StoreWriter.finish)
        with pytest.raises(Stop) as stopped:
            store.save_large_plane(path, network, *plane, max_polygons=50)
    assert re.fullmatch(r".*planes.h5 holds [0-9]+ polygons of the plane; resume=True continues it", stopped.value.__notes__[0])
    if n_chunks != 0:
        with store.resume(path) as writer, pytest.raises(DigestMismatchError, match="was started with another origin"):
            writer.append_large_plane(*other)
    written = store.save_large_plane(path, network, *plane, resume=True, max_polygons=70, threads=2)
    assert store.save_large_plane(path, network, *plane, resume=True) == written
    store.save_large_plane(path.with_name("whole.h5"), network, *plane, max_polygons=10**6)
    assert digest(path) == digest(path.with_name("whole.h5"))
    with store.open(path) as opened:
        assert opened.n_batches > 3
        assert opened.verify(n_samples=5) == []
    with pytest.raises(DigestMismatchError, match="holds 1 planes, and not only the given one"):
        store.save_large_plane(path, network, *other, resume=True)


def test_planes_are_partitioned_batch_by_batch_and_those_of_the_store_are_skipped(path, network, frames, cut):
    outlines = [plane.polygon for plane in cut.planes[:3]]
    with store.create(path, network) as writer:
        batches = store.append_planes_in_batches(writer, *frames[:, :3], outlines, max_planes=2)
        assert next(batches) >= 0
        batches.close()
        assert writer.n_planes == 2
        assert len(list(store.append_planes_in_batches(writer, *frames[:, :3], outlines, max_planes=2))) == 1
    chunked = path.with_name("chunked.h5")
    with store.create(chunked, network) as writer:
        assert list(store.append_planes_in_batches(writer, *frames[:, :3], outlines, stream=True)) == [None, None, 0]
    for back in (store.load_planes(path), store.load_planes(chunked)):
        for part, expected in zip(back.parts, cut.parts):
            assert part.packed.tobytes() == expected.packed.tobytes()
            assert part.shared_vertices.tobytes() == expected.shared_vertices.tobytes()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"areas": np.full(2, np.nan)}, "areas holds entries that are not finite"),
        ({"error": np.full((3, 2), -1.0)}, "error holds entries that are negative"),
        (
            {"vertex_numbers": np.array([0, 1, 2, 0, 1, 3], np.int32)},
            "vertex_numbers holds 3, but the plane has vertices 0 to 2",
        ),
        ({"offsets": np.array([0, 0, 6])}, "offsets give polygon 0 no corners"),
        ({"offsets": np.array([0, 3, 5])}, "offsets do not split the 6 rows into consecutive ranges"),
        ({"packed": np.zeros((2, 3), np.uint64)}, r"packed has shape \(2, 3\), not \(2, 4\)"),
        ({"outputs": np.zeros((3, 2), np.float32)}, "outputs has dtype float32, not float64"),
    ],
)
def test_planes_that_do_not_fit_are_refused(path, network, make_planes, change, problem):
    arrays = {
        "offsets": np.array([0, 3, 6]), "vertex_numbers": np.array([0, 1, 2, 0, 1, 2], np.int32), "areas": np.ones(2),
        "shared_vertices": np.zeros((3, 2)), "outputs": np.zeros((3, 2)), "error": np.zeros((3, 2)),
        "packed": np.zeros((2, 4), np.uint64), **change,
    }  # fmt: skip
    (plane,), part = make_planes(1).planes, pwlnet.PlanePartition
    bad = pwlnet.PlanePartitions(network, (plane,), (part(network, plane, **arrays, residual=0.0),))
    with store.create(path, network) as writer:
        with pytest.raises(InputError, match=f"planes can't be appended: {problem}; give the result of partition_planes"):
            writer.append_planes(bad)
        with pytest.raises(InputError, match=f"the chunk can't be appended: {problem}; give the chunks of one plane in order"):
            writer.append_chunk("planes", arrays)
        with pytest.raises(InputError, match="the chunks have no polygons; append those of the plane before finish_plane"):
            writer.finish_plane(plane, residual=0.0)
        assert (writer.n_planes, writer.unfinished_polygons) == (0, None)


def test_planes_of_another_network_are_refused(path, network, other_network, make_planes):
    with store.create(path, network) as writer:
        with pytest.raises(DigestMismatchError, match=r"planes belong to the network .*; append them to another store"):
            writer.append_planes(make_planes(1, network=other_network))
        writer.append_planes(make_planes(1))
    with pytest.raises(DigestMismatchError, match="is for the network"):
        store.load_planes(path, other_network)
    with pytest.raises(InputError, match="planes gave no plane partitions, so the network is not known; give at least one"):
        store.save_planes(path, iter([]))
    network.save(path.with_name("network.h5"))
    with store.open(path.with_name("network.h5")) as opened, pytest.raises(StoreError, match="network, but no planes; compute"):
        opened.planes()


@pytest.mark.parametrize("name", [dataset.path for dataset in schema.PLANES.stored])
def test_damage_is_found_and_the_batches_before_it_are_kept(path, make_planes, name):
    batches = [make_planes(3, seed=seed) for seed in range(2)]
    store.save_planes(path, iter(batches))
    with changing(path) as file:
        file[name][-1] = np.nan_to_num(file[name][-1]) + np.array(1, file[name].dtype)
    with store.open(path) as opened:
        assert same_planes(opened.planes(0, 3), batches[0])
        (problem,) = opened.verify()
    assert "batch 1 (planes 3..5)" in problem
    repaired = store.repair(path, path.with_name("new.h5"))
    assert (repaired.n_planes, repaired.n_lines, repaired.n_batches_lost) == (3, 0, 1)
    assert same_planes(store.load_planes(path.with_name("new.h5")), batches[0])


def test_an_annotated_store_is_read_and_repaired(path, make_planes):
    expected = make_planes(3)
    store.save_planes(path, expected)
    before = digest(path)
    with h5py.File(path, "r+") as file:
        file["polygons/area"].attrs["unit"] = "square"
    with pytest.warns(UnverifiedStoreWarning):
        assert same_planes(store.load_planes(path), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnverifiedStoreWarning)
        store.repair(path, in_place=True)
    assert digest(path) == before


def test_planes_that_the_network_does_not_confirm_do_not_verify(path, cut, network):
    part = cut.parts[0]
    fields = {name: getattr(part, name) for name in part.__dataclass_fields__ if not name.startswith("_")}
    wrong = {
        "the areas of the polygons sum to": {"areas": 1.5 * part.areas},
        "polygon 0: its outputs differ from forward passes by": {"outputs": part.outputs + 1.0},
        "its outputs differ from the affine map of its activation pattern by": {"packed": ~part.packed & np.uint64(2**60 - 1)},
    }
    for message, change in wrong.items():
        bad = pwlnet.PlanePartition(**{**fields, **change})
        store.save_planes(path, pwlnet.PlanePartitions(network, (part.plane,), (bad,)), overwrite=True)
        with store.open(path) as opened:
            assert opened.verify() == []
            (problem,) = opened.verify(n_samples=4)
        assert message in problem and "counted from plane 0 of" in problem
    store.save_planes(path, cut, overwrite=True)
    with store.open(path) as opened:
        assert opened.verify(n_samples=50) == []
