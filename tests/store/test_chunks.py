"""Chunks that are encoded here: HDF5 reads them with its own filters, and finds its own checksum in them."""

import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pwlnet.store import chunks, schema
from tests.counts import few


def fletcher32_of_hdf5(content):
    """H5_checksum_fletcher32 as its source has it: sums of big-endian words, folded every 360 words."""
    words = [content[k] << 8 | content[k + 1] for k in range(0, len(content) - 1, 2)]
    words += [content[-1] << 8] if len(content) % 2 else []
    low = high = 0
    for first in range(0, len(words), 360):
        for word in words[first : first + 360]:
            low += word
            high += low
        low, high = (low & 0xFFFF) + (low >> 16), (high & 0xFFFF) + (high >> 16)
    low, high = (low & 0xFFFF) + (low >> 16), (high & 0xFFFF) + (high >> 16)
    return high << 16 | low


@settings(max_examples=few(200), deadline=None)
@given(st.binary(max_size=3000))
def test_the_checksum_is_that_of_hdf5(content):
    assert chunks.fletcher32(content) == fletcher32_of_hdf5(content)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0", b"\xff\xff", b"\xff\xff\0", b"\x80\x00\x7f\xff", b"\0" * 4001, b"\xff" * 4001]
)
def test_the_checksum_tells_zero_from_the_modulus_as_hdf5_does(content):
    assert chunks.fletcher32(content) == fletcher32_of_hdf5(content)


def test_the_checksum_of_more_than_a_block_is_exact():
    content = np.random.default_rng(0).bytes(2 * 2**17 + 2 * 2**17 + 4321)
    assert chunks.fletcher32(content) == fletcher32_of_hdf5(content)
    assert chunks.fletcher32(b"\xff" * len(content)) == fletcher32_of_hdf5(b"\xff" * len(content))


def drawn_rows(rng, kind, n_rows):
    """Rows as results have them: random mantissas, repeated rows, counters, small integers, zeros."""
    return {
        "parameters": lambda: np.sort(rng.random(n_rows)),
        "offsets": lambda: np.cumsum(rng.integers(0, 3, n_rows)),
        "neurons": lambda: rng.integers(0, 60000, n_rows),
        "states": lambda: rng.integers(0, 2, n_rows).astype(np.int32),
        "zeros": lambda: np.zeros((n_rows, 7)),
        "points": lambda: rng.random((n_rows, 7)),
        "one point": lambda: np.tile(rng.random(7), (n_rows, 1)),
        "images": lambda: rng.integers(0, 256, (n_rows, 7)) / 255,
    }[kind]()


KINDS = ("parameters", "offsets", "neurons", "states", "zeros", "points", "one point", "images")


@settings(max_examples=few(60), deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=5),
    rows_per_chunk=st.sampled_from([1, 2, 100, 257, 2048]),
    threads=st.integers(1, 3),
)
def test_rows_come_back_from_hdf5_however_they_were_appended(tmp_path_factory, kind, sizes, rows_per_chunk, threads):
    rows = drawn_rows(np.random.default_rng(sum(sizes)), kind, sum(sizes))
    path = tmp_path_factory.mktemp("chunks") / "rows.h5"
    ends = np.cumsum(sizes)
    with h5py.File(path, "w") as file:
        options = {"maxshape": (None, *rows.shape[1:]), "chunks": (rows_per_chunk, *rows.shape[1:]), **schema.CREATION}
        stored = file.create_dataset("rows", (0, *rows.shape[1:]), rows.dtype, **options)
        growing = chunks.ChunkAppender(stored)
        for first, last in zip(ends - sizes, ends):
            growing.append(rows[first:last], threads)
            file.flush()
    with h5py.File(path) as file:
        back = file["rows"][()]
    assert back.dtype == rows.dtype
    assert back.tobytes() == rows.tobytes()


def test_rows_are_appended_to_what_a_file_holds(tmp_path):
    rows = np.random.default_rng(0).random((50, 3))
    for first, last in ((0, 13), (13, 20), (20, 50)):
        with h5py.File(tmp_path / "rows.h5", "a") as file:
            options = {"maxshape": (None, 3), "chunks": (10, 3), **schema.CREATION}
            stored = file["rows"] if "rows" in file else file.create_dataset("rows", (0, 3), "<f8", **options)
            chunks.ChunkAppender(stored).append(rows[first:last], 2)
    with h5py.File(tmp_path / "rows.h5") as file:
        assert np.array_equal(file["rows"][()], rows)


@pytest.mark.parametrize("place", [-1, -4])
def test_a_wrong_checksum_is_found_by_hdf5(tmp_path, place):
    content = bytearray(chunks.encode_chunk(np.random.default_rng(0).random(500), 500))
    content[place] ^= 1
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        stored = file.create_dataset("rows", (500,), "<f8", chunks=(500,), **schema.CREATION)
        stored.id.write_direct_chunk((0,), bytes(content))
    with h5py.File(tmp_path / "rows.h5") as file, pytest.raises(OSError, match="filter returned failure"):
        file["rows"][()]


@pytest.mark.parametrize("part", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_encoded_chunks_are_hardly_larger_than_those_of_gzip_alone(kind, part):
    rows = drawn_rows(np.random.default_rng(0), kind, 2**12)
    given = rows[: int(part * len(rows))]
    rows[len(given) :] = 0
    shuffled = np.ascontiguousarray(rows.reshape(-1).view(np.uint8).reshape(-1, rows.itemsize).T)
    level = schema.CREATION["compression_opts"]
    assert len(chunks.encode_chunk(given, len(rows))) < 1.12 * len(zlib.compress(shuffled, level)) + 100
