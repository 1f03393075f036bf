"""A sealed file for h5py: whatever HDF5 reads was compared with its checksum before."""

import os
import zlib

import numpy as np

from ...errors import ChecksumError, StoreError
from . import seal
from .seal import HEAD, PAGE

_CACHED_PAGES = 128
_TRIES = 20  # to read head and trailer while a writer commits
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class PageError(ChecksumError):
    """A part of the file does not match its checksum: bytes ``first`` to ``last``; ``place`` says which."""

    def __init__(self, path, first, last, name=""):
        place = f"bytes {first}..{last}{name and f' ({name})'}"
        super().__init__(
            f"{place} of {path} do not match their checksum; the file is damaged, restore a copy, "
            "or keep its sound batches with pwlnet repair"
        )
        self.place, self.first, self.last = place, first, last


class SealedFile:
    """A file object (for ``h5py.File``) that gives the HDF5 part of a sealed file, checked.

    Parameters
    ----------
    path : pathlib.Path
    mode : int, optional
        Flags of ``os.open``.
    checked : bool, optional
        False: give what is there, damaged or not. For ``repair``: it looks at nothing that has no checksum of its own.

    Attributes
    ----------
    slot : Slot
        The state that is read. None where nothing is checked, and the head can't be read.
    is_closed : bool
        False while a writer has it open, and where one was stopped.

    Raises
    ------
    OSError
        It can't be opened.
    StoreError
        It is no sealed file, or its head or its trailer is damaged.
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
        """Where the HDF5 part ends."""
        return self.slot.hdf5_end if self.slot else self.disk_size

    def seek(self, offset, whence=os.SEEK_SET):
        """Move; as for any file."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def tell(self):
        """Return the position."""
        return self._position

    def readinto(self, buffer):
        """Fill a buffer from the position on, with zeros past the end; PageError where the file is damaged."""
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
        """Refuse."""
        raise StoreError(f"{self.path} is open for reading only; resume it to append")

    def truncate(self, size):
        """Nothing: nothing is written."""

    def flush(self):
        """Nothing: nothing is written."""

    def close(self):
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def damaged(self):
        """Look at every byte that has a checksum.

        Yields
        ------
        PageError
        """
        for page in range(seal.n_pages(self.size)):
            self._cache.clear()
            try:
                self._page(page)
            except PageError as error:
                yield error

    def slack(self):
        """Count the bytes behind which nothing stands: none in a file that was closed.

        Returns
        -------
        int
            Between HDF5 part and trailer, and behind the trailer, where a program was stopped.
        """
        return self.disk_size - self.size - self.slot.trailer_size

    def _load(self):
        """Read head and trailer, again where a writer changes them meanwhile."""
        for left in reversed(range(_TRIES)):
            head = self._pread(HEAD, 0)
            try:
                self._load_state(head)
                return
            except StoreError:
                if self._pread(HEAD, 0) == head or not left:
                    if self._checked:
                        raise
                    slots = [slot for slot in seal.decode_head(head)[0] if slot]
                    self.slot, self._crcs = max(slots, default=None), np.zeros(0, np.uint32)
                    self._patches, self.is_closed = {}, False
                    return

    def _load_state(self, head):
        """Take over the newer slot of a head, and its trailer."""
        if head[: len(seal.MAGIC)] != seal.MAGIC:
            if head.startswith(_HDF5_MAGIC):
                raise StoreError(f"{self.path} is HDF5, but has no head of pwlnet's; give a file that pwlnet wrote")
            if head[len(seal.MAGIC) :].startswith(seal.TEXT[:16]):
                raise PageError(self.path, 0, len(seal.MAGIC) - 1, "its head")
            raise StoreError(f"{self.path} is not a store; give a file that pwlnet wrote")
        if len(head) < HEAD:
            raise self._cut_off()
        slots, problem = seal.decode_head(head)
        if problem is not None:
            raise PageError(self.path, *problem, "its head")
        old, new = sorted(slots)
        if old != new and old.sequence != new.sequence - 1:
            raise PageError(self.path, 0, HEAD - 1, "its head")
        if new.trailer_end > self.disk_size:
            raise self._cut_off()
        trailer = self._pread(new.trailer_size, new.trailer_at)
        place = (self.path, new.trailer_at, new.trailer_end - 1, "its trailer")
        if zlib.crc32(trailer) != new.trailer_crc:
            raise PageError(*place)
        try:
            crcs, patches = seal.decode_trailer(trailer)
        except Exception as error:  # struct's and numpy's: a right checksum around nonsense
            raise PageError(*place) from error
        if len(crcs) != seal.n_pages(new.hdf5_end) or new.hdf5_end < HEAD or new.trailer_at < new.hdf5_end:
            raise PageError(*place)
        self.slot, self._crcs, self.is_closed = new, crcs, old == new
        self._take_patches(patches)

    def _take_patches(self, patches):
        """Keep patches by the pages that they lie on."""
        self._patches = {}
        for patch in patches:
            for page in range(patch.offset // PAGE, seal.n_pages(patch.offset + len(patch.content))):
                self._patches.setdefault(page, []).append(patch)

    def _cut_off(self):
        return StoreError(f"{self.path} is cut off after {self.disk_size} bytes; restore a copy or compute it again")

    def _page(self, page):
        """A page of the HDF5 part, checked; zeros past its end."""
        content = self._cache.get(page)
        if content is None:
            content = self._stored(page)
            while len(self._cache) >= _CACHED_PAGES:
                self._cache.pop(next(iter(self._cache)))
            self._cache[page] = content
        return content

    def _stored(self, page):
        """A page from the disk, with its patches, checked."""
        low = page * PAGE
        content = bytearray(self._pread(max(0, min(PAGE, self.size - low)), low)).ljust(PAGE, b"\0")
        for patch in self._patches.get(page, ()):
            at = max(patch.offset - low, 0)
            part = patch.content[max(low - patch.offset, 0) :][: PAGE - at]
            content[at : at + len(part)] = part
        if self._checked and page < len(self._crcs) and seal.page_crc(content, page, self.size) != self._crcs[page]:
            raise self._mismatch(page)
        return content

    def _mismatch(self, page):
        """Say why a page is not what it was when the file was opened: a writer went on, or damage."""
        if self._has_changed():
            return StoreError(f"{self.path} has grown while it was read; open it again")
        return PageError(self.path, max(page * PAGE, HEAD), min((page + 1) * PAGE, self.size) - 1)

    def _has_changed(self):
        """Whether somebody has committed since the file was opened: the next commit goes to the other slot."""
        slots, _ = seal.decode_head(self._pread(HEAD, 0))
        return None in slots or max(slots) != self.slot

    def _pread(self, size, offset):
        return os.pread(self._descriptor, size, offset)

    def _spans(self, size):
        """Cut [position, position + size) at pages: (page, from, to in the page, offset in the buffer)."""
        at = 0
        while at < size:
            page, low = divmod(self._position + at, PAGE)
            high = min(PAGE, low + size - at)
            yield page, low, high, at
            at += high - low
