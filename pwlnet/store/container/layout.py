"""The layout of the checksummed container: a header, the HDF5 content, and a trailer with a checksum for every page.

HDF5 detects little damage, and a program that is killed while HDF5 updates its own tables leaves a file that cannot be
opened. The container solves both: HDF5 never sees bytes that do not match their checksum, and a batch is committed at the
moment when the older of the header's two superblocks is overwritten.

    header    bytes 0 to 4095: MAGIC, TEXT, superblocks at 1024 and 2048, zeros elsewhere; the user block of HDF5
    HDF5      from 4096 to the superblock's hdf5_end
    trailer   where the superblock says; directly after the HDF5 content in a file that was closed

Checksums are CRC-32 (as in zlib) of pages of 16 KiB, counted from the start of the file, without the header and without
what lies after hdf5_end. The trailer holds them, and the patches: bytes of the HDF5 content that the last batch changed in
place. Applying patches twice is harmless, so it does not matter whether the program that wrote them could apply them.
"""

import os
import struct
import zlib
from typing import NamedTuple

import numpy as np

HEADER_SIZE = 4096
PAGE = 2**14
MAGIC = b"\x89PWL\r\n\x1a\n"
TEXT = b"A store of pwlnet: HDF5 from byte 4096 on (its user block is this head), checksums behind it.\n"
SUPERBLOCK_OFFSETS = (1024, 2048)
_SUPERBLOCK = struct.Struct("<QQQQI")
_CRC = struct.Struct("<I")
_TRAILER = struct.Struct("<8sQQ")  # TRAILER_MAGIC, number of pages, number of patches
_TRAILER_MAGIC = b"PWLSEAL\n"
SUPERBLOCK_SIZE = _SUPERBLOCK.size + _CRC.size


class Superblock(NamedTuple):
    """A state of the file: its sequence number, the end of its HDF5 content, and the place of its trailer."""

    sequence: int
    hdf5_end: int
    trailer_at: int
    trailer_size: int
    trailer_crc: int

    @property
    def trailer_end(self):
        """The end of the trailer."""
        return self.trailer_at + self.trailer_size

    @property
    def index(self):
        """Which of the header's two superblocks holds this state: 0 or 1."""
        return self.sequence % 2


class Patch(NamedTuple):
    """Bytes of the HDF5 content, by their offset in the file."""

    offset: int
    content: bytes


def encode_superblock(superblock):
    """Encode a superblock and its checksum: bytes."""
    content = _SUPERBLOCK.pack(*superblock)
    return content + _CRC.pack(zlib.crc32(content))


def decode_superblock(content):
    """Decode a superblock; None if its checksum is wrong."""
    fields, crc = content[: _SUPERBLOCK.size], content[_SUPERBLOCK.size : SUPERBLOCK_SIZE]
    if len(crc) < _CRC.size or _CRC.pack(zlib.crc32(fields)) != crc:
        return None
    return Superblock(*_SUPERBLOCK.unpack(fields))


def encode_header(superblocks):
    """Encode a header with two superblocks: bytes."""
    header = bytearray(HEADER_SIZE)
    header[: len(MAGIC) + len(TEXT)] = MAGIC + TEXT
    for at, superblock in zip(SUPERBLOCK_OFFSETS, superblocks, strict=True):
        header[at : at + SUPERBLOCK_SIZE] = encode_superblock(superblock)
    return bytes(header)


def decode_header(header):
    """Decode a header.

    Parameters
    ----------
    header : bytes

    Returns
    -------
    (list of Superblock or None, (int, int) or None)
        The two superblocks, None for a damaged one; and the first damaged bytes: from, to (included).
    """
    superblocks = [decode_superblock(header[at : at + SUPERBLOCK_SIZE]) for at in SUPERBLOCK_OFFSETS]
    for at, superblock in zip(SUPERBLOCK_OFFSETS, superblocks, strict=True):
        if superblock is None:
            return superblocks, (at, at + SUPERBLOCK_SIZE - 1)
    expected = np.frombuffer(encode_header(superblocks), np.uint8)
    differ = np.flatnonzero(np.frombuffer(header.ljust(HEADER_SIZE, b"\0")[:HEADER_SIZE], np.uint8) != expected)
    return superblocks, (int(differ[0]), int(differ[0])) if differ.size else None


def encode_trailer(crcs, patches):
    """Encode a trailer.

    Parameters
    ----------
    crcs : uint32[pages]
    patches : list of Patch

    Returns
    -------
    bytes
    """
    ranges = np.array([(patch.offset, len(patch.content)) for patch in patches], "<u8").reshape(-1, 2)
    start = _TRAILER.pack(_TRAILER_MAGIC, len(crcs), len(patches))
    return b"".join([start, ranges.tobytes(), crcs.astype("<u4").tobytes(), *(patch.content for patch in patches)])


def decode_trailer(content):
    """Decode a trailer whose checksum was right.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    (uint32[pages], list of Patch)

    Raises
    ------
    ValueError
        It is not a trailer.
    """
    magic, n_pages, n_patches = _TRAILER.unpack_from(content)
    at = _TRAILER.size
    if magic != _TRAILER_MAGIC or max(n_pages, n_patches) > len(content):
        raise ValueError("it is not a trailer")
    ranges = np.frombuffer(content, "<u8", 2 * n_patches, at).reshape(-1, 2)
    at += 16 * n_patches
    crcs = np.frombuffer(content, "<u4", n_pages, at).astype(np.uint32)
    at += 4 * n_pages
    patches = []
    for offset, size in ranges.tolist():
        if offset < HEADER_SIZE or size > len(content) - at:
            raise ValueError("a patch lies outside")
        patches.append(Patch(offset, content[at : at + size]))
        at += size
    return crcs, patches


def page_crc(content, page, end):
    """Compute the CRC-32 of a page without the header and without what lies at ``end`` and after it.

    Parameters
    ----------
    content : bytes
        Of the page, PAGE bytes.
    page : int
        Its number.
    end : int
        The end of the HDF5 content.

    Returns
    -------
    int
    """
    low = max(HEADER_SIZE - page * PAGE, 0)
    return zlib.crc32(memoryview(content)[low : max(low, end - page * PAGE)])


def n_pages(end):
    """Count the pages of HDF5 content with this end."""
    return -(-end // PAGE)


def write_container(file):
    """Write the header and the trailer of a finished HDF5 file.

    Parameters
    ----------
    file : binary file
        Open for reading and writing; HDF5 with a user block of HEADER_SIZE bytes, and nothing after it.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    crcs = [page_crc(file.read(PAGE), page, end) for page in range(n_pages(end))]
    trailer = encode_trailer(np.array(crcs, np.uint32), [])
    superblock = Superblock(1, end, end, len(trailer), zlib.crc32(trailer))
    file.seek(end)
    file.write(trailer)
    file.seek(0)
    file.write(encode_header((superblock, superblock)))
