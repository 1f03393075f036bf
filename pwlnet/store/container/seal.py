"""The seal around the HDF5 part of a file: a head in front, a trailer behind, and a checksum for every byte between.

HDF5 says little about damage, and a program that is killed while HDF5 changes its own tables leaves a file that nobody
can open. The seal answers both: nothing reaches HDF5 that does not match its checksum, and a batch counts from the moment
on at which one of the head's two slots, the older one, is overwritten by a newer one.

    head      bytes 0..4095: MAGIC, TEXT, slots at 1024 and 2048, else zeros; HDF5 calls it the user block
    HDF5      from 4096 to the slot's hdf5_end
    trailer   where the slot says; behind the HDF5 part in a file that was closed

Checksums are CRC-32 (of zlib), of pages of 16 KiB counted from the start of the file, without the head and without what
lies past hdf5_end. The trailer holds them, and the patches: bytes of the HDF5 part that the last batch changed in place.
Applying patches twice does no harm, so it does not matter whether the program that wrote them had the time to.
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np

HEAD = 4096
PAGE = 2**14
MAGIC = b"\x89PWL\r\n\x1a\n"
TEXT = b"A store of pwlnet: HDF5 from byte 4096 on (its user block is this head), checksums behind it.\n"
SLOTS = (1024, 2048)
_SLOT = struct.Struct("<QQQQI")
_CRC = struct.Struct("<I")
_TRAILER = struct.Struct("<8sQQ")  # TRAILER_MAGIC, number of pages, number of patches
_TRAILER_MAGIC = b"PWLSEAL\n"
SLOT_SIZE = _SLOT.size + _CRC.size


class Slot(NamedTuple):
    """A state of the file: how many came before it, where its HDF5 part ends, where its trailer lies."""

    sequence: int
    hdf5_end: int
    trailer_at: int
    trailer_size: int
    trailer_crc: int

    @property
    def trailer_end(self):
        """Where the trailer ends."""
        return self.trailer_at + self.trailer_size

    @property
    def place(self):
        """Which of the head's two slots it belongs to."""
        return self.sequence % 2


class Patch(NamedTuple):
    """Bytes of the HDF5 part, by their offset in the file."""

    offset: int
    content: bytes


def encode_slot(slot):
    """Write a slot and its checksum: bytes."""
    content = _SLOT.pack(*slot)
    return content + _CRC.pack(zlib.crc32(content))


def decode_slot(content):
    """Read a slot; None where its checksum is wrong."""
    fields, crc = content[: _SLOT.size], content[_SLOT.size : SLOT_SIZE]
    if len(crc) < _CRC.size or _CRC.pack(zlib.crc32(fields)) != crc:
        return None
    return Slot(*_SLOT.unpack(fields))


def encode_head(slots):
    """Write a head with two slots: bytes."""
    head = bytearray(HEAD)
    head[: len(MAGIC) + len(TEXT)] = MAGIC + TEXT
    for at, slot in zip(SLOTS, slots, strict=True):
        head[at : at + SLOT_SIZE] = encode_slot(slot)
    return bytes(head)


def decode_head(head):
    """Read a head.

    Parameters
    ----------
    head : bytes

    Returns
    -------
    (list of Slot or None, (int, int) or None)
        The two slots, None for one that is damaged; and the place of the first damage: from byte, to byte (included).
    """
    slots = [decode_slot(head[at : at + SLOT_SIZE]) for at in SLOTS]
    for at, slot in zip(SLOTS, slots, strict=True):
        if slot is None:
            return slots, (at, at + SLOT_SIZE - 1)
    wanted = np.frombuffer(encode_head(slots), np.uint8)
    differ = np.flatnonzero(np.frombuffer(head.ljust(HEAD, b"\0")[:HEAD], np.uint8) != wanted)
    return slots, (int(differ[0]), int(differ[0])) if differ.size else None


def encode_trailer(crcs, patches):
    """Write a trailer.

    Parameters
    ----------
    crcs : uint32[pages]
    patches : list of Patch

    Returns
    -------
    bytes
    """
    places = np.array([(patch.offset, len(patch.content)) for patch in patches], "<u8").reshape(-1, 2)
    head = _TRAILER.pack(_TRAILER_MAGIC, len(crcs), len(patches))
    return b"".join([head, places.tobytes(), crcs.astype("<u4").tobytes(), *(patch.content for patch in patches)])


def decode_trailer(content):
    """Read a trailer whose checksum was right.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    (uint32[pages], list of Patch)

    Raises
    ------
    ValueError
        It is no trailer.
    """
    magic, n_pages, n_patches = _TRAILER.unpack_from(content)
    at = _TRAILER.size
    if magic != _TRAILER_MAGIC or max(n_pages, n_patches) > len(content):
        raise ValueError("it is no trailer")
    places = np.frombuffer(content, "<u8", 2 * n_patches, at).reshape(-1, 2)
    at += 16 * n_patches
    crcs = np.frombuffer(content, "<u4", n_pages, at).astype(np.uint32)
    at += 4 * n_pages
    patches = []
    for offset, size in places.tolist():
        if offset < HEAD or size > len(content) - at:
            raise ValueError("a patch lies outside")
        patches.append(Patch(offset, content[at : at + size]))
        at += size
    return crcs, patches


def page_crc(content, page, end):
    """CRC-32 of a page without the head, and without what lies at ``end`` and behind.

    Parameters
    ----------
    content : bytes
        Of the page, PAGE bytes.
    page : int
        Its number.
    end : int
        Of the HDF5 part.

    Returns
    -------
    int
    """
    low = max(HEAD - page * PAGE, 0)
    return zlib.crc32(memoryview(content)[low : max(low, end - page * PAGE)])


def n_pages(end):
    """Pages that an HDF5 part with this end lies on."""
    return -(-end // PAGE)


def sealed(image):
    """Seal a finished HDF5 file.

    Parameters
    ----------
    image : bytes
        With a user block of HEAD bytes.

    Returns
    -------
    bytes
        The file.
    """
    view, end = memoryview(image), len(image)
    crcs = [page_crc(view[k * PAGE : (k + 1) * PAGE], k, end) for k in range(n_pages(end))]
    trailer = encode_trailer(np.array(crcs, np.uint32), [])
    slot = Slot(1, end, end, len(trailer), zlib.crc32(trailer))
    return b"".join([encode_head((slot, slot)), view[HEAD:], trailer])
