"""Going on, repairing, merging: the same content digest as one write, and refusals that say what differs."""

import itertools
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pwlnet import file_locks, store
from pwlnet.errors import ChecksumError, DigestMismatchError, InputError, StoreError
from pwlnet.partition.lines.summary import LineSummary
from pwlnet.store import schema
from pwlnet.tolerances import DEFAULT
from tests.checksums import changing


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.h5"


def digest(path):
    with store.open(path) as opened:
        assert opened.verify() == []
        return opened.digest()


def test_one_write_batches_resuming_and_merging_give_one_digest(tmp_path, network, make_lines):
    store.save_lines(tmp_path / "one.h5", make_lines(60))
    with store.open(tmp_path / "one.h5") as one:
        wanted = one.digest()
        cuts = (0, 1, 17, 18, 40, 60)
        with store.create(tmp_path / "batches.h5", network) as writer:
            for first, last in itertools.pairwise(cuts):
                writer.append_lines(one.lines(first, last))
        for first, last in itertools.pairwise(cuts):
            resumed = tmp_path / "resumed.h5"
            with store.resume(resumed, network) if resumed.exists() else store.create(resumed, network) as writer:
                assert writer.n_lines == first
                writer.append_lines(one.lines(first, last))
            store.save_lines(tmp_path / f"{first}.h5", one.lines(first, last), compression="lzf" if first else "gzip")
    assert store.merge([tmp_path / f"{first}.h5" for first in cuts[:-1]], tmp_path / "merged.h5").n_lines == 60
    assert {digest(tmp_path / f"{name}.h5") for name in ("batches", "resumed", "merged")} == {wanted}


@pytest.mark.parametrize("compression", ["gzip", "lzf", "none", "zstd", "blosc"])
def test_every_compression_holds_the_same(path, make_lines, compression):
    lines = make_lines(300)
    store.save_lines(path, iter([lines, make_lines(3, seed=1)]), compression=compression)
    with store.resume(path) as writer:
        writer.append_lines(make_lines(40, seed=2))
    with store.open(path) as opened:
        assert (opened.compression, opened.verify()) == (compression, [])
        assert np.array_equal(opened.lines(0, 300).t, lines.t)
        assert np.array_equal(opened.lines(303, 343).flip_neurons, make_lines(40, seed=2).flip_neurons)


def test_an_unknown_compression_is_refused(path, network):
    with pytest.raises(InputError, match=r"compression is 'rar'; give one of gzip, lzf, none, zstd, blosc"):
        store.create(path, network, compression="rar")
    assert not path.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parameters": {"a": [1, 2], "b": {"c": 4}}}, r"other parameters: b.c is 3 there, 4 here; give the same"),
        ({"parameters": {"a": [1, 2]}}, r"other parameters: b is given there only"),
        ({"seeds": {"x": 8}}, r"other seeds: x is 7 there, 8 here"),
        ({"tolerances": DEFAULT._replace(rounding=2.0)}, r"other tolerances: rounding is 16.0 there, 2.0 here"),
    ],
)
def test_other_parameters_are_refused_by_name(path, network, changed, message):
    made_with = {"parameters": {"a": (1, 2), "b": {"c": 3}}, "seeds": {"x": 7}, "tolerances": DEFAULT}
    store.create(path, network, **made_with).close()
    store.resume(path, network, **made_with).close()
    store.resume(path).close()
    with pytest.raises(DigestMismatchError, match=message):
        store.resume(path, network, **{**made_with, **changed})


def test_another_network_is_refused_by_name(path, network, other_network, make_lines):
    store.save_lines(path, make_lines(3))
    with pytest.raises(DigestMismatchError, match=f"is for the network {network.digest[:12]}, but network is"):
        store.resume(path, other_network)
    store.save_lines(path.with_name("other.h5"), make_lines(3, network=other_network))
    with pytest.raises(DigestMismatchError, match=f"is for the network {other_network.digest[:12]}, but network is"):
        store.merge([path, path.with_name("other.h5")], path.with_name("all.h5"))
    assert not path.with_name("all.h5").exists()


def test_a_network_file_is_not_resumed(path, network):
    network.save(path)
    with pytest.raises(StoreError, match="holds a network only; create a new store for results"):
        store.resume(path)


def test_a_store_that_can_not_be_written_can_be_read_and_says_why(make_lines):
    folder = Path(tempfile.mkdtemp(prefix="pwlnet-read-only-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("root can't make a file that it can't write")
    try:
        store.save_lines(folder / "lines.h5", make_lines(3))
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(StoreError, match=r"can't be opened for writing \(Read-only file system\); check the file's perm"):
            store.resume(folder / "lines.h5")
        assert len(store.load_lines(folder / "lines.h5")) == 3
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def test_a_damaged_last_batch_is_not_built_upon(path, make_lines):
    store.save_lines(path, iter([make_lines(3), make_lines(3, seed=1)]))
    with changing(path) as file:
        file["breakpoints/t"][-2] *= 0.5
    with pytest.raises(StoreError, match=r"batch 1 \(lines 3..5\) .* does not match its checksum.*; repair the store before"):
        store.resume(path)


def flip(path, place):
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 64]))


@pytest.mark.parametrize("place", [3, 600, 1030, 2070, "trailer"])
def test_damaged_header_and_trailer_are_refused_and_repaired(path, make_lines, place):
    store.save_lines(path, iter([make_lines(3), make_lines(3, seed=1)]))
    wanted = digest(path)
    flip(path, path.stat().st_size - 2 if place == "trailer" else place)
    with pytest.raises(ChecksumError, match=r"bytes \d+\.\.\d+ \(its (header|trailer)\) of .* do not match their checksum"):
        store.open(path)
    found = store.repair(path, in_place=True)
    assert (found.path, found.n_batches, found.n_lines, found.n_batches_lost) == (path, 2, 6, 0)
    assert digest(path) == wanted


def test_the_batches_before_a_damaged_chunk_are_kept(path, make_lines, monkeypatch):
    monkeypatch.setattr(schema, "CHUNK_BYTES", 2000)
    batches = [make_lines(40, seed=k) for k in range(5)]
    store.save_lines(path, iter(batches), parameters={"a": 1})
    import h5py

    with h5py.File(path) as file:
        row = file["breakpoints/offsets"][100]
        stored = file["breakpoints/t"]
        chunk = stored.id.get_chunk_info_by_coord((row - row % stored.chunks[0],))
    flip(path, chunk.byte_offset + chunk.size // 2)
    left = path.read_bytes()
    dry = store.repair(path)
    assert (dry.path, dry.n_batches, dry.n_lines, dry.n_batches_lost) == (None, 2, 80, 3)
    assert f"bytes {chunk.byte_offset // 2**14 * 2**14}.." in dry.problems[0]
    out = path.with_name("repaired.h5")
    store.repair(path, out)
    assert path.read_bytes() == left
    with store.open(out) as opened:
        assert opened.provenance["parameters"] == {"a": 1}
    with store.resume(out) as writer:
        for batch in batches[2:]:
            writer.append_lines(batch)
    store.save_lines(path, iter(batches), overwrite=True)
    assert digest(out) == digest(path)


def test_a_damaged_network_is_taken_from_the_caller(path, make_lines, network, other_network):
    store.save_lines(path, make_lines(3))
    wanted = digest(path)
    with changing(path) as file:
        file["network/weights"][5] += 1.0
    with pytest.raises(ChecksumError, match=r"/network of .* does not match its digest"):
        store.repair(path, in_place=True)
    with pytest.raises(DigestMismatchError):
        store.repair(path, in_place=True, network=other_network)
    store.repair(path, in_place=True, network=network)
    assert digest(path) == wanted


def test_stores_of_other_parameters_are_not_merged(tmp_path, make_lines):
    for k in range(2):
        store.save_lines(tmp_path / f"{k}.h5", make_lines(3), parameters={"a": k})
    with pytest.raises(DigestMismatchError, match=r"1.h5 was made with other parameters: a is 1 there, 0 here"):
        store.merge([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "all.h5")
    with pytest.raises(InputError, match="which is one of the stores to merge"):
        store.merge([tmp_path / "0.h5"], tmp_path / "0.h5")
    with pytest.raises(InputError, match="paths is empty"):
        store.merge([], tmp_path / "0.h5")


def test_a_damaged_shard_is_named_and_nothing_is_left(tmp_path, make_lines):
    for k in range(2):
        store.save_lines(tmp_path / f"{k}.h5", make_lines(3, seed=k))
    with changing(tmp_path / "1.h5") as file:
        file["flips/neuron"][0] = 7
    with pytest.raises(StoreError, match=r"batch 0 .* of .*1.h5 does not match its checksum.*; nothing was merged"):
        store.merge([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "all.h5")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.h5", "1.h5"]


def test_seeds_of_shards_become_lists(tmp_path, network, make_lines):
    for k in range(3):
        with store.create(tmp_path / f"{k}.h5", network, seeds={"lines": k}) as writer:
            writer.append_lines(make_lines(2, seed=k))
    store.merge([tmp_path / f"{k}.h5" for k in range(3)], tmp_path / "all.h5")
    with store.open(tmp_path / "all.h5") as opened:
        assert opened.provenance["seeds"] == {"lines": [0, 1, 2]}
        assert (opened.n_lines, opened.verify()) == (6, [])


def test_summaries_of_lines_are_those_of_line_summary(path, make_lines):
    lines = make_lines(30)
    store.save_lines(path, iter([lines]))
    with store.open(path) as opened:
        found = opened.read("lines", 3, 20, derived=True)
    wanted = LineSummary.of(lines)
    assert set(found) == {"length", "shortest_t", "longest_t", "op_flips"}
    for name, rows in found.items():
        assert np.array_equal(rows, getattr(wanted, name)[3:20])


# Kinds other than lines.


def rows_of(kind, n_rows, network, seed=0):
    """Random arrays that fit the schema of a kind."""
    from pwlnet.store.results import axis_sizes

    rng = np.random.default_rng(seed)
    sizes = {**axis_sizes(network), "*": network.n_neurons if kind is schema.FLOAT_SETS else 3}
    arrays = {}
    for dataset in kind.datasets:
        shape = (n_rows, *(sizes[dim] for dim in dataset.dims[1:]))
        arrays[dataset.field] = rng.integers(0, 2, shape).astype(dataset.dtype)
    if "upper" in arrays:  # masks of float neurons: lower within upper, and no neuron of it is always on
        arrays["lower"] &= arrays["upper"]
        arrays["always_on"] &= ~arrays["upper"]
    if kind is schema.CERTIFICATES:  # of class 1, or abstentions
        arrays["labels"] = np.where(arrays["radii"] > 0.0, 1, -1)
        arrays |= {name: np.ones_like(arrays[name]) for name in ("sigma", "n", "candidates", "p_low")}
        arrays["alpha"][:] = 0.001
    return arrays


@pytest.mark.parametrize("name", ["attributions", "measures", "float_sets", "certificates"])
def test_results_of_every_kind_come_back(path, tmp_path, network, make_lines, name):
    kind = schema.KINDS[name]
    batches = [rows_of(kind, n, network, seed=n) for n in (2, 0, 5)]
    with store.create(path, network) as writer:
        writer.append(name, batches[0])
        writer.append_lines(make_lines(3))
        writer.append(name, batches[1])
    with store.resume(path) as writer:
        assert writer.n_rows(name) == 2
        writer.append(name, batches[2])
    with store.open(path) as opened:
        assert opened.verify() == []
        assert (opened.n_rows(name), opened.n_lines, opened.n_batches) == (7, 3, 3)
        assert opened.info()["rows"] == {"lines": 3, name: 7}
        back = opened.read(name, 2, 7)
    for field, array in batches[2].items():
        assert np.array_equal(back[field], array), field
    store.merge([path, path.with_name("lines.h5")], tmp_path / "twice.h5")
    with store.open(tmp_path / "twice.h5") as opened:
        assert (opened.n_rows(name), opened.verify()) == (14, [])
        assert np.array_equal(opened.read(name, 9, 14)[kind.datasets[0].field], batches[2][kind.datasets[0].field])


def test_results_that_do_not_fit_are_refused(path, network):
    good = rows_of(schema.ATTRIBUTIONS, 2, network)
    bad = {
        "attributions were given with .*; give exactly baselines, inputs": {"inputs": good["inputs"]},
        r"inputs has dtype float32, not float64": {**good, "inputs": good["inputs"].astype(np.float32)},
        r"values has shape \(2, 3, 4\), not \(2, 3, 5\)": {**good, "values": good["values"][..., :4]},
        r"n_segments has shape \(2, 1\), not B": {**good, "n_segments": good["n_segments"][:, None]},
    }
    with store.create(path, network) as writer:
        with pytest.raises(InputError, match="'moons' is not a kind of result; give one of lines, attributions"):
            writer.append("moons", {})
        for message, arrays in bad.items():
            with pytest.raises(InputError, match=message):
                writer.append("attributions", arrays)
        writer.append("attributions", good)
    with store.open(path) as opened, pytest.raises(InputError, match="'moons' is not a kind of result"):
        opened.read("moons")


@pytest.mark.parametrize("seeds", [{"a": 1.5}, {"a": "x"}, [3]])
def test_seeds_are_whole_numbers(path, network, seeds):
    with pytest.raises(InputError, match="seeds"):
        store.create(path, network, seeds=seeds)
    assert not path.exists()


@pytest.mark.parametrize("n_commits", [1, 2, 5])
def test_a_reader_of_a_growing_store_keeps_what_it_saw_or_says_so(path, network, make_lines, n_commits):
    with store.create(path, network) as writer:
        writer.append_lines(make_lines(30))
        with store.open(path) as opened:
            assert len(opened.lines()) == 30
            for k in range(n_commits):
                writer.append_lines(make_lines(300, seed=k))
            with pytest.raises(StoreError, match="has grown while it was read; open it again"):
                opened.verify()
        with store.open(path) as opened:
            assert (opened.n_lines, opened.verify()) == (30 + 300 * n_commits, [])
            assert opened.info()["closed"] is False
    with store.open(path) as opened:
        assert opened.info()["closed"] is True


def test_a_writer_without_locks_notices_another_one(path, network, make_lines, monkeypatch):
    monkeypatch.setattr(file_locks.fcntl, "flock", lambda descriptor, operation: None)
    with store.create(path, network) as writer, store.resume(path) as other:
        other.append_lines(make_lines(3))
        with pytest.raises(StoreError, match="another program has written to it"):
            writer.append_lines(make_lines(5))
    with store.open(path) as opened:
        assert (opened.n_lines, opened.verify()) == (3, [])


def test_a_store_that_is_being_written_is_not_repaired(path, network):
    with store.create(path, network), pytest.raises(StoreError, match="is being written by"):
        store.repair(path, in_place=True)
