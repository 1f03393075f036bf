"""HDF5's own superblock: where a file's HDF5 content starts and ends.

HDF5 cuts a file off at the end of its content whenever it closes it after writing. So a file that ends exactly there was
closed by plain HDF5, which drops the trailer of the container; a store of pwlnet's has its trailer after that end, also
while a program writes to it and after one was killed. A changed byte never turns the one into the other: it does not change
the size of the file, and both superblocks have checksums.
"""

import os
import struct
from typing import NamedTuple

_MAGIC = b"\x89HDF\r\n\x1a\n"
_SIZE = 64  # enough bytes for what is read of a superblock
_SIZE_OF_OFFSETS = {0: 13, 1: 13, 2: 9, 3: 9}  # by version of the superblock: where it lies
_ADDRESSES = {0: (24, 40), 1: (28, 44), 2: (12, 28), 3: (12, 28)}  # where base address and end address lie


class Content(NamedTuple):
    """HDF5 content of a file: from byte, to byte (not included), and the version of its superblock."""

    start: int
    end: int
    version: int


def find_content(descriptor):
    """Find the HDF5 content of a file.

    Parameters
    ----------
    descriptor : int
        Of the open file.

    Returns
    -------
    Content or None
        None if the file has no superblock of HDF5 with 8-byte addresses.
    """
    start, size = 0, os.fstat(descriptor).st_size
    while start < size:  # a user block has 512 bytes, or any power of two times as many
        superblock = os.pread(descriptor, _SIZE, start)
        if superblock.startswith(_MAGIC):
            return _decode(superblock, start)
        start = 2 * start or 512
    return None


def was_closed_by_hdf5(descriptor):
    """Return whether a file ends exactly where its HDF5 content ends, as it does after plain HDF5 closed it."""
    content = find_content(descriptor)
    return content is not None and content.end == os.fstat(descriptor).st_size


def _decode(superblock, start):
    version = superblock[len(_MAGIC)] if len(superblock) == _SIZE else None
    if version not in _ADDRESSES or superblock[_SIZE_OF_OFFSETS[version]] != 8:
        return None
    base, end = (struct.unpack_from("<Q", superblock, at)[0] for at in _ADDRESSES[version])
    return Content(start, end - base + start, version)
