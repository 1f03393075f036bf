"""A file in the checksummed container, for h5py: HDF5 never sees bytes that do not match their checksum."""

import os
import zlib

import numpy as np

from ...errors import ChecksumError, StoreError
from . import layout
from .hdf5_superblock import was_closed_by_hdf5
from .layout import HEADER_SIZE, PAGE

_CACHED_PAGES = 128
_MAX_RETRIES = 20  # of reading header and trailer while a writer commits
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class PageError(ChecksumError):
    """Bytes ``first`` to ``last`` of a file do not match their checksum; ``location`` describes them."""

    def __init__(self, path, first, last, name=""):
        location = f"bytes {first}..{last}{name and f' ({name})'}"
        super().__init__(
            f"{location} of {path} do not match their checksum; the file is damaged, restore a copy, "
            "or keep its intact batches with pwlnet repair"
        )
        self.location, self.first, self.last = location, first, last


class ChecksummedFile:
    """A file object (for ``h5py.File``) that returns the HDF5 content of a file, compared with its checksums.

    A file without a valid container that plain HDF5 closed (``hdf5_superblock``) is read as it is: ``is_verified`` is False.

    Parameters
    ----------
    path : pathlib.Path
    mode : int, optional
        Flags of ``os.open``.
    checked : bool, optional
        False: return what is in the file, damaged or not. For ``repair``, which compares with other checksums.

    Attributes
    ----------
    superblock : Superblock or None
        The state that is read. None for a file without a container, or whose header can't be read.
    is_verified : bool
        Whether all bytes have checksums.
    is_closed : bool
        False while a writer has it open, and after one was stopped.

    Raises
    ------
    OSError
        It can't be opened.
    StoreError
        It is not a file of pwlnet, or its header or its trailer is damaged.
    """

    def __init__(self, path, *, mode=os.O_RDONLY, checked=True):
        self.path = path
        self._checked = checked
        self._position = 0
        self._cache = {}
        self._descriptor = os.open(path, mode | getattr(os, "O_CLOEXEC", 0))
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def disk_size(self):
        """Bytes of the whole file."""
        return os.fstat(self._descriptor).st_size

    @property
    def size(self):
        """The end of the HDF5 content."""
        return self.superblock.hdf5_end if self.superblock else self.disk_size

    def seek(self, offset, whence=os.SEEK_SET):
        """Set the position, as for any file."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def tell(self):
        """Return the position."""
        return self._position

    def readinto(self, buffer):
        """Fill a buffer from the position on, with zeros after the end; PageError if the file is damaged."""
        view = memoryview(buffer).cast("B")
        for page, low, high, at in self._spans(len(view)):
            view[at : at + high - low] = memoryview(self._page(page))[low:high]
        self._position += len(view)
        return len(view)

    def read(self, size):
        """Return bytes from the position on."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def write(self, data):
        """Raise StoreError: the file is open for reading."""
        raise StoreError(f"{self.path} is open for reading only; use resume to append")

    def truncate(self, size):
        """No-op: nothing is written."""

    def flush(self):
        """No-op: nothing is written."""

    def close(self):
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def iter_damage(self):
        """Compare every byte that has a checksum.

        Yields
        ------
        PageError
        """
        for page in range(layout.n_pages(self.size)):
            self._cache.clear()
            try:
                self._page(page)
            except PageError as error:
                yield error

    def unused_bytes(self):
        """Count the bytes that belong to nothing: 0 in a file that was closed.

        Returns
        -------
        int
            Between HDF5 content and trailer, and after the trailer, where a program was stopped.
        """
        return self.disk_size - self.size - (self.superblock.trailer_size if self.superblock else 0)

    def _load(self):
        """Read header and trailer, and retry if a writer changes them meanwhile."""
        for left in reversed(range(_MAX_RETRIES)):
            header = self._pread(HEADER_SIZE, 0)
            try:
                self._load_state(header)
                return
            except StoreError:
                if self._pread(HEADER_SIZE, 0) == header or not left:
                    plain = was_closed_by_hdf5(self._descriptor)
                    if self._checked and not plain:
                        raise
                    superblocks = [] if plain else [found for found in layout.decode_header(header)[0] if found]
                    self.superblock, self._crcs = max(superblocks, default=None), np.zeros(0, np.uint32)
                    self._patches, self.is_closed, self.is_verified = {}, plain, not plain
                    return

    def _load_state(self, header):
        """Load the newer superblock of a header, and its trailer."""
        if header[: len(layout.MAGIC)] != layout.MAGIC:
            if header.startswith(_HDF5_MAGIC):
                raise StoreError(f"{self.path} is HDF5, but without the header of a store; give a file that pwlnet wrote")
            if header[len(layout.MAGIC) :].startswith(layout.TEXT[:16]):
                raise PageError(self.path, 0, len(layout.MAGIC) - 1, "its header")
            raise StoreError(f"{self.path} is not a store; give a file that pwlnet wrote")
        if len(header) < HEADER_SIZE:
            raise self._cut_off()
        superblocks, problem = layout.decode_header(header)
        if problem is not None:
            raise PageError(self.path, *problem, "its header")
        old, new = sorted(superblocks)
        if old != new and old.sequence != new.sequence - 1:
            raise PageError(self.path, 0, HEADER_SIZE - 1, "its header")
        if new.trailer_end > self.disk_size:
            raise self._cut_off()
        trailer = self._pread(new.trailer_size, new.trailer_at)
        damage = (self.path, new.trailer_at, new.trailer_end - 1, "its trailer")
        if zlib.crc32(trailer) != new.trailer_crc:
            raise PageError(*damage)
        try:
            crcs, patches = layout.decode_trailer(trailer)
        except Exception as error:  # of struct and numpy: nonsense with a right checksum
            raise PageError(*damage) from error
        if len(crcs) != layout.n_pages(new.hdf5_end) or new.hdf5_end < HEADER_SIZE or new.trailer_at < new.hdf5_end:
            raise PageError(*damage)
        self.superblock, self._crcs, self.is_closed, self.is_verified = new, crcs, old == new, True
        self._index_patches(patches)

    def _index_patches(self, patches):
        """Index patches by the pages that they lie on."""
        self._patches = {}
        for patch in patches:
            for page in range(patch.offset // PAGE, layout.n_pages(patch.offset + len(patch.content))):
                self._patches.setdefault(page, []).append(patch)

    def _cut_off(self):
        return StoreError(f"{self.path} is cut off after {self.disk_size} bytes; restore a copy or compute it again")

    def _page(self, page):
        """Return a page of the HDF5 content, checked; zeros after its end."""
        content = self._cache.get(page)
        if content is None:
            content = self._read_page(page)
            while len(self._cache) >= _CACHED_PAGES:
                self._cache.pop(next(iter(self._cache)))
            self._cache[page] = content
        return content

    def _read_page(self, page):
        """Read a page from the disk, apply its patches and check it."""
        low = page * PAGE
        content = bytearray(self._pread(max(0, min(PAGE, self.size - low)), low)).ljust(PAGE, b"\0")
        for patch in self._patches.get(page, ()):
            at = max(patch.offset - low, 0)
            part = patch.content[max(low - patch.offset, 0) :][: PAGE - at]
            content[at : at + len(part)] = part
        if self._checked and page < len(self._crcs) and layout.page_crc(content, page, self.size) != self._crcs[page]:
            raise self._mismatch(page)
        return content

    def _mismatch(self, page):
        """Return the error for a page that is not what it was when the file was opened: a writer committed, or damage."""
        if self._has_changed():
            return StoreError(f"{self.path} has grown while it was read; open it again")
        return PageError(self.path, max(page * PAGE, HEADER_SIZE), min((page + 1) * PAGE, self.size) - 1)

    def _has_changed(self):
        """Return whether a writer committed since the file was opened: the next commit replaces the other superblock."""
        superblocks, _ = layout.decode_header(self._pread(HEADER_SIZE, 0))
        return None in superblocks or max(superblocks) != self.superblock

    def _pread(self, size, offset):
        return os.pread(self._descriptor, size, offset)

    def _spans(self, size):
        """Split [position, position + size) at pages: yields (page, from, to in the page, offset in the buffer)."""
        at = 0
        while at < size:
            page, low = divmod(self._position + at, PAGE)
            high = min(PAGE, low + size - at)
            yield page, low, high, at
            at += high - low
