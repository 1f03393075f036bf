"""Append rows to datasets: their chunks are encoded here, on threads, and HDF5 writes them as they are.

HDF5 encodes one chunk after the other, and its gzip searches repetitions everywhere: for line parameters, whose mantissas
have none, that takes most of the time of a batch and gains nothing. HDF5's filters (shuffle, gzip, fletcher32) read these
chunks nevertheless: the format of gzip allows uncompressed blocks.
"""

import functools
import itertools
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from h5py import h5z

from .schema import CREATION

_SAMPLE = 2**11  # bytes of a plane from which it is estimated whether gzip would shrink it ...
_SHRINKS = 0.9  # ... to less than this share: above, it costs five times the time of storing it and gains little
_FILTERS = (h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE, h5z.FILTER_FLETCHER32)  # of CREATION, in the order of writing
_ZLIB_HEADER = b"\x78\x01"  # deflate, window of 32 KiB
_LAST_BLOCK = b"\x03\x00"  # an empty block
_BLOCK = 2**17  # words whose weighted sum float64 holds exactly: at most 2^16 * 2^17 * 2^17
_MODULUS = 2**16 - 1


class ChunkAppender:
    """Append rows to a dataset.

    Parameters
    ----------
    stored : h5py.Dataset
        Nothing else writes to it. Its chunks are encoded here if it has the filters of ``schema.CREATION`` and is chunked
        along its first axis only, and by HDF5 otherwise.
    """

    def __init__(self, stored):
        self._stored = stored
        creation = stored.id.get_create_plist()
        filters = tuple(creation.get_filter(k)[0] for k in range(creation.get_nfilters()))
        self._encodes = filters == _FILTERS and stored.chunks[1:] == stored.shape[1:]
        self._rows_per_chunk = stored.chunks[0]
        if self._encodes:
            self._tail = stored[len(stored) - len(stored) % self._rows_per_chunk :]  # rows of a last chunk that is not full

    def append(self, rows, threads):
        """Append rows.

        Parameters
        ----------
        rows : ndarray
        threads : int
        """
        if not len(rows):
            return
        stored, size = self._stored, self._rows_per_chunk
        rows = np.ascontiguousarray(rows, stored.dtype)
        if not self._encodes:
            stored.resize(len(stored) + len(rows), axis=0)
            stored[len(stored) - len(rows) :] = rows
            return
        first = len(stored) - len(self._tail)
        missing = size - len(self._tail)
        chunks = [np.concatenate([self._tail, rows[:missing]])]
        chunks += [rows[k : k + size] for k in range(missing, len(rows), size)]
        stored.resize(len(stored) + len(rows), axis=0)
        for k, content in enumerate(_encoded(chunks, size, threads)):
            stored.id.write_direct_chunk((first + k * size, *(0 for _ in rows.shape[1:])), content)
        self._tail = chunks[-1].copy() if len(chunks[-1]) < size else rows[:0].copy()


def _encoded(chunks, size, threads):
    """Encode chunks, several at a time: iterator of bytes."""
    if len(chunks) == 1 or threads == 1:
        yield from (encode_chunk(chunk, size) for chunk in chunks)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda chunk: encode_chunk(chunk, size), chunks)


def encode_chunk(rows, n_rows):
    """Encode the rows of a chunk as HDF5 does: shuffle, gzip, fletcher32.

    Parameters
    ----------
    rows : ndarray
        C-contiguous, at least one.
    n_rows : int
        Of the whole chunk; missing ones are zeros.

    Returns
    -------
    bytes
    """
    planes = np.zeros((rows.itemsize, n_rows * rows[0].size), np.uint8)
    planes[:, : rows.size] = rows.reshape(-1).view(np.uint8).reshape(-1, rows.itemsize).T  # k: byte k of all numbers
    content = _zlib_stream(planes, rows.size, max(_SAMPLE, 4 * rows[0].size))  # so that repeated rows show
    return content + fletcher32(content).to_bytes(4, "little")


def _zlib_stream(planes, n_given, sample):
    """Compress planes that shrink, adjacent ones together, and store the others; all from ``n_given`` on are zeros."""
    level = CREATION["compression_opts"]
    pieces = []
    for plane in planes:
        given, missing = plane[:n_given], plane[n_given:]
        pieces.append((_shrinks(given[:sample], level), given))
        if len(missing):
            pieces.append((True, missing))
    blocks = [_ZLIB_HEADER]
    for shrinks, run in itertools.groupby(pieces, lambda piece: piece[0]):
        deflate = zlib.compressobj(level if shrinks else 0, wbits=-zlib.MAX_WBITS)
        blocks += [deflate.compress(piece) for _, piece in run]
        blocks.append(deflate.flush(zlib.Z_SYNC_FLUSH))
    return b"".join([*blocks, _LAST_BLOCK, zlib.adler32(planes.reshape(-1)).to_bytes(4, "big")])


def _shrinks(sample, level):
    return len(zlib.compress(sample, level)) < _SHRINKS * len(sample)


def fletcher32(content):
    """Compute HDF5's checksum of a chunk: Fletcher's sums of 16-bit words, big-endian, modulo 2^16 - 1.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    int
        32 bits: the sum of the sums, then the sum. A sum that is a multiple of the modulus, but not 0, is the modulus.
    """
    words = np.frombuffer(content + bytes(len(content) % 2), "<u2")
    low = high = 0
    for k in range(0, len(words), _BLOCK):
        block = words[k : k + _BLOCK].astype(np.float64)
        high += len(block) * low
        low += int(block.sum())
        block *= _weights()[_BLOCK - len(block) :]
        high += int(block.sum())
    low, high = (_folded(2**8 * total) for total in (low, high))  # 2^8: swaps the bytes of a word, modulo 2^16 - 1
    return high << 16 | low


def _folded(total):
    return (total - 1) % _MODULUS + 1 if total else 0


@functools.cache
def _weights():
    """Return the number of a block's sums that hold each word: n, ..., 2, 1."""
    return np.arange(float(_BLOCK), 0.0, -1.0)
