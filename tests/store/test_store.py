"""The store: what goes in comes out, however it was cut into batches."""

import json
import platform
import shutil

import h5py
import numpy as np
import pytest

from pwlnet import store
from pwlnet.errors import DigestMismatchError, InputError, StoreError
from pwlnet.store import schema

FIELDS = [dataset.field for dataset in schema.LINES.datasets]


def same(lines, others):
    """Whether two line partitions are equal bit for bit, dtypes included."""
    pairs = [(getattr(lines, field), getattr(others, field)) for field in FIELDS]
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in pairs)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.h5"


def test_lines_come_back_bit_for_bit(path, make_lines, network):
    lines = make_lines(20)
    store.save_lines(path, lines)
    back = store.load_lines(path)
    assert same(back, lines)
    assert back.network == network
    assert back.tolerances == lines.tolerances


def test_batches_make_the_same_store_as_one_write(tmp_path, make_lines):
    whole = make_lines(30)
    store.save_lines(tmp_path / "one.h5", whole)
    with (
        store.open(tmp_path / "one.h5") as opened,
        store.create(tmp_path / "three.h5", opened.network) as writer,
    ):
        for first, last in ((0, 1), (1, 17), (17, 17), (17, 30)):
            writer.append_lines(opened.lines(first, last))
        digest = opened.digest()
    with store.open(tmp_path / "three.h5") as opened:
        assert (opened.n_lines, opened.n_batches) == (30, 3)
        assert opened.verify() == []
        assert same(opened.lines(), whole)
        assert opened.digest() == digest


@pytest.mark.parametrize("chunk_bytes", [64, 1000])
def test_batches_across_chunks_come_back(path, make_lines, network, monkeypatch, chunk_bytes):
    monkeypatch.setattr(schema, "CHUNK_BYTES", chunk_bytes)
    with store.create(path, network) as writer:
        for seed in range(4):
            writer.append_lines(make_lines(5, seed=seed))
    with store.open(path) as opened:
        assert opened.verify() == []
        for seed in range(4):
            assert same(opened.lines(5 * seed, 5 * seed + 5), make_lines(5, seed=seed))


def test_an_iterator_is_written_batch_by_batch(path, make_lines):
    batches = [make_lines(n, seed=n) for n in (4, 0, 7)]

    def give():
        for k, batch in enumerate(batches):
            if k == 2:
                assert len(read_while_written(path).starts) == 4
            yield batch

    written = store.save_lines(path, give(), parameters={"seed": 1})
    assert written == (11, sum(batch.n_segments.sum() for batch in batches))
    with store.open(path) as opened:
        assert opened.verify() == []
        assert opened.provenance["parameters"] == {"seed": 1}
        assert same(opened.lines(0, 4), batches[0])
        assert same(opened.lines(4, 11), batches[2])


def read_while_written(path):
    """The lines of a copy of a store that a writer holds open."""
    return store.load_lines(shutil.copy(path, path.with_suffix(".copy")))


def test_what_was_written_is_told(path, make_lines):
    lines = make_lines(20)
    written = store.save_lines(path, lines)
    assert (written.n_lines, written.n_segments) == (20, lines.n_segments.sum())


def test_an_iterator_without_lines_is_refused(path):
    with pytest.raises(InputError, match=r"lines gave no line partitions, so the network is not known; give at least one"):
        store.save_lines(path, iter([]))
    assert not path.exists()


def test_a_store_is_read_in_the_batches_that_it_was_written_in(path, make_lines):
    batches = [make_lines(n, seed=n) for n in (4, 1, 7)]
    store.save_lines(path, iter(batches))
    with store.open(path) as opened:
        assert all(same(a, b) for a, b in zip(opened.batches(), batches, strict=True))


@pytest.mark.parametrize("chunk_bytes", [1000, 2**18])
def test_the_number_of_threads_changes_no_byte_of_the_file(tmp_path, make_lines, monkeypatch, chunk_bytes):
    monkeypatch.setattr(schema, "CHUNK_BYTES", chunk_bytes)
    for module in ("header", "writer"):
        monkeypatch.setattr(f"pwlnet.store.{module}.now", lambda: "2000-01-01T00:00:00Z")
    for threads in (1, 4):
        store.save_lines(tmp_path / f"{threads}.h5", iter([make_lines(50), make_lines(50, seed=1)]), threads=threads)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "4.h5").read_bytes()


def test_an_empty_range_gives_no_lines(path, make_lines):
    store.save_lines(path, make_lines(3))
    with store.open(path) as opened:
        assert len(opened.lines(2, 2).starts) == 0


def test_lines_that_do_not_exist_are_refused(path, make_lines):
    store.save_lines(path, make_lines(3))
    with store.open(path) as opened, pytest.raises(InputError, match=r"first is 2 and last is 4, but .* has 3 lines"):
        opened.lines(2, 4)


def test_an_empty_store_is_sound(path, network):
    store.create(path, network).close()
    with store.open(path) as opened:
        assert (opened.n_lines, opened.verify(), len(opened.lines().starts)) == (0, [], 0)


def test_a_network_file_has_no_lines_to_read(path, network):
    network.save(path)
    with store.open(path) as opened, pytest.raises(StoreError, match="holds a network, but no lines"):
        opened.lines()


def test_provenance_says_how_and_not_where(path, network):
    store.create(path, network, parameters={"seed": 3}).close()
    with store.open(path) as opened:
        assert opened.provenance["parameters"] == {"seed": 3}
        assert opened.provenance["environment"]["python"] == platform.python_version()
        assert {"pwlnet", "numpy", "numba", "h5py", "hdf5"} == set(opened.provenance["software"])
        assert platform.node() not in json.dumps(opened.provenance).replace('"', " ").split()


def test_large_parameters_are_kept(path, network):
    parameters = {"list": list(range(50000))}
    store.create(path, network, parameters=parameters).close()
    with store.open(path) as opened:
        assert opened.provenance["parameters"] == parameters


@pytest.mark.parametrize("parameters", [{"a": object()}, [1], {"a": b"x"}])
def test_parameters_that_json_can_not_hold_are_refused(path, network, parameters):
    with pytest.raises(InputError, match=r"parameters can't be written as JSON .*; give a dict of texts, numbers"):
        store.create(path, network, parameters=parameters)
    assert not path.exists()


def test_info_is_json(path, make_lines, network):
    store.save_lines(path, make_lines(3))
    with store.open(path) as opened:
        info = json.loads(json.dumps(opened.info()))
    assert info["n_lines"] == 3
    assert info["n_segments"] == len(make_lines(3).t) - 3
    assert info["network"]["digest"] == network.digest
    assert info["bytes"] == path.stat().st_size


def test_an_existing_store_is_replaced_only_on_demand(path, make_lines, network):
    store.save_lines(path, make_lines(3))
    with pytest.raises(StoreError, match=r"lines.h5 exists; give another path, or remove it first"):
        store.create(path, network)
    assert len(store.load_lines(path).starts) == 3
    store.save_lines(path, make_lines(4), overwrite=True)
    assert len(store.load_lines(path).starts) == 4


def test_a_store_of_another_network_is_refused_on_opening(path, make_lines, network, other_network):
    store.save_lines(path, make_lines(3))
    store.open(path, network=network).close()
    with pytest.raises(DigestMismatchError, match=f"is for the network {network.digest[:12]}, but network is"):
        store.open(path, network=other_network)


def test_every_dataset_and_its_dtype_is_in_the_schema(path, make_lines):
    store.save_lines(path, make_lines(3))
    items = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: items.update({f"/{name}": getattr(item, "dtype", None)}))
    found = {name: dtype for name, dtype in items.items() if dtype is not None}
    wanted = {d.path: np.dtype(d.dtype) for d in (*schema.NETWORK, *schema.LINES.stored) if d.dtype != "text"}
    labels = {d.path: found[d.path] for d in schema.NETWORK_LABELS}
    assert found == {**wanted, **labels, schema.COMMITS: schema.COMMIT}


def test_other_tools_read_the_ragged_arrays_as_they_stand(path, make_lines, network):
    with store.create(path, network) as writer:
        writer.append_lines(make_lines(4, seed=1))
        writer.append_lines(make_lines(4, seed=2))
    second = make_lines(4, seed=2)
    with h5py.File(path) as file:
        low, high = file["breakpoints/offsets"][5:7]
        assert np.array_equal(file["breakpoints/t"][low:high], second.t[second.offsets[1] : second.offsets[2]])
        low, high = file["flips/offsets"][low], file["flips/offsets"][high]
        part = slice(second.flip_offsets[second.offsets[1]], second.flip_offsets[second.offsets[2]])
        assert np.array_equal(file["flips/neuron"][low:high], second.flip_neurons[part])


def test_a_closed_store_says_so(path, make_lines, network):
    writer = store.create(path, network)
    writer.close()
    writer.close()
    with pytest.raises(StoreError, match=r"lines.h5 is closed with 0 lines; append before close, or resume it"):
        writer.append_lines(make_lines(2))
    opened = store.open(path)
    opened.close()
    with pytest.raises(StoreError, match=r"lines.h5 is closed; open it again"):
        opened.lines()
