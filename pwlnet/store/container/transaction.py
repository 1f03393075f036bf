"""Change a file in the checksummed container atomically: the last commit is complete, whenever the program is stopped.

All writes stay in memory, as pages, until ``commit``. What no reader uses yet goes to the disk first: bytes after the
published HDF5 content, and a trailer with all checksums, which also holds the bytes to be changed in place. When these are
flushed, one superblock of the header is overwritten: this publishes the batch. Then the changes are made in place; until the
next commit readers take them from the trailer, too. A published trailer is never overwritten.

h5py calls the methods from inside HDF5, where an exception while writing does harm: they keep it for ``commit``, which
raises it, and ``interrupts_deferred`` keeps Ctrl-C and SIGTERM out of them.
"""

import contextlib
import os
import signal
import threading
import zlib

import numpy as np

from ...errors import StoreError
from ...file_locks import FileLock
from . import layout
from .checksummed_file import ChecksummedFile
from .layout import HEADER_SIZE, PAGE, Patch, Superblock

_WRITE_BYTES = 2**22  # at most, per call
_WORD = 8
_GAP = 64  # words: changes that are closer to each other than this become one patch


class TransactionFile(ChecksummedFile):
    """A file object (for ``h5py.File``) whose writes stay in memory until ``commit``; without it they are discarded.

    Attributes
    ----------
    failure : BaseException or None
        The exception that a method kept for ``commit``.
    lock : FileLock

    Raises
    ------
    BlockingIOError
        Another process has locked the file.
    OSError
        It can't be opened for writing.
    StoreError
        It is damaged, or has no checksums.
    """

    def __init__(self, path):
        self._pages, self._size, self.failure, self.lock = {}, 0, None, None
        super().__init__(path, mode=os.O_RDWR)
        try:  # complete the last commit of a program that was stopped
            self._apply([patch for patches in self._patches.values() for patch in patches])
            if self.disk_size > self.superblock.trailer_end:
                os.ftruncate(self._descriptor, self.superblock.trailer_end)
        except BaseException:
            self._unlock_and_close()
            raise

    @property
    def size(self):
        """The end of the HDF5 content after the next commit."""
        return max(self._size, self.superblock.hdf5_end)

    def readinto(self, buffer):
        """Fill a buffer from the position on, with zeros after the end."""
        with self._failures_kept():
            return super().readinto(buffer)
        return len(buffer)

    def write(self, data):
        """Keep bytes for the next commit."""
        view = memoryview(data).cast("B")
        with self._failures_kept():
            for page, low, high, at in self._spans(len(view)):
                self._writable_page(page)[low:high] = view[at : at + high - low]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size):
        """Set the length; never less than the published one: HDF5 knows its end."""
        self._size = size
        return size

    def commit(self):
        """Write everything since the last commit to the disk, or nothing of it.

        Raises
        ------
        OSError
            The disk is full, or failed; the file is as it was.
        """
        self.lock.check_process()
        if self.failure is not None:
            raise self.failure
        if not self._pages and self.size == self.superblock.hdf5_end:
            return
        end = self.size
        for page in range(self.superblock.hdf5_end // PAGE, layout.n_pages(end)):
            self._writable_page(page)
        self._pages = {page: content for page, content in self._pages.items() if page * PAGE < end}
        crcs = np.zeros(layout.n_pages(end), np.uint32)
        crcs[: len(self._crcs)] = self._crcs
        for page, content in self._pages.items():
            crcs[page] = layout.page_crc(content, page, end)
        patches = [patch for page in sorted(self._pages) for patch in self._patches_of(page, end)]
        self._publish(end, crcs, patches, self._unpublished_ranges(end))
        for page in self._pages:
            self._cache.pop(page, None)
        self._pages.clear()
        try:
            self._apply(patches)
        except BaseException as error:  # the batch is published: readers take its patches from the trailer
            self._index_patches(patches)
            self.failure = error

    def finalize(self):
        """Give the file the form of a closed one: trailer directly after the HDF5 content, no patches, equal superblocks.

        Raises
        ------
        OSError
            The disk is full, or failed; the file is intact, but larger.
        """
        if self.failure is not None or self.is_closed:
            return
        self._pages.clear()
        self._size = 0
        while True:
            self._publish(self.superblock.hdf5_end, self._crcs, [], ())
            if self.superblock.trailer_at == self.superblock.hdf5_end:
                break
        self._write_superblock(self.superblock, 1 - self.superblock.index)
        os.ftruncate(self._descriptor, self.superblock.trailer_end)
        os.fsync(self._descriptor)
        self.is_closed = True

    def close(self):
        """Discard what was not committed, finalize and unlock; in a forked process, leave the file to the one that wrote it."""
        if self._descriptor is not None:
            try:
                with contextlib.suppress(OSError):
                    if self.lock and self.lock.is_ours and getattr(self, "superblock", None):
                        self.finalize()
            finally:
                self._unlock_and_close()

    def _unlock_and_close(self):
        if self.lock is not None:
            self.lock.release()
        super().close()

    def _load(self):
        self.lock = FileLock(self._descriptor, self.path)
        super()._load()
        if not self.is_verified:
            self.superblock = None  # nothing to finalize
            raise StoreError(f"{self.path} has no valid checksums, so nothing can be appended; run pwlnet repair first")

    def _page(self, page):
        return self._pages[page] if page in self._pages else super()._page(page)

    def _writable_page(self, page):
        """Return a page that is kept for the next commit."""
        if page not in self._pages:
            self._pages[page] = bytearray(self._page(page))
        return self._pages[page]

    def _read_page(self, page):
        """Read a published page: what is kept for the next commit does not move the end."""
        size, self._size = self._size, 0
        try:
            return super()._read_page(page)
        finally:
            self._size = size

    def _publish(self, end, crcs, patches, unpublished):
        """Write what no reader uses yet, then the superblock that publishes it."""
        old = self.superblock
        self._check_alone()
        trailer = layout.encode_trailer(crcs, patches)
        at = end if end + len(trailer) <= old.trailer_at or end >= old.trailer_end else old.trailer_end
        new = Superblock(old.sequence + 1, end, at, len(trailer), zlib.crc32(trailer))
        try:
            for offset, content in unpublished:
                _write_at(self._descriptor, content, offset)
            _write_at(self._descriptor, trailer, at)
            os.fsync(self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, old.trailer_end)
            raise
        try:
            self._write_superblock(new, new.index)
            os.fsync(self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                self._write_superblock(old, new.index)
            raise
        self.superblock, self._crcs, self._patches, self.is_closed = new, crcs, {}, False

    def _write_superblock(self, superblock, index):
        _write_at(self._descriptor, layout.encode_superblock(superblock), layout.SUPERBLOCK_OFFSETS[index])

    def _check_alone(self):
        """Raise OSError if another program has written: not every file system has locks."""
        if self._has_changed():
            raise OSError("another program has written to it")

    def _unpublished_ranges(self, end):
        """Yield what lies outside published bytes: (offset, content), in order."""
        for low, high in ((self.superblock.hdf5_end, self.superblock.trailer_at), (self.superblock.trailer_end, end)):
            for first in range(low, min(high, end), _WRITE_BYTES):
                last = min(first + _WRITE_BYTES, high, end)
                pages = range(first // PAGE, layout.n_pages(last))
                content = memoryview(b"".join(self._pages[page] for page in pages))
                yield first, content[first - pages.start * PAGE : last - pages.start * PAGE]

    def _patches_of(self, page, end):
        """Yield what a page changes in published bytes: in the HDF5 content, and where the trailer lies."""
        start, content = page * PAGE, self._pages[page]
        if start < self.superblock.hdf5_end:
            new, old = (np.frombuffer(part, np.uint64) for part in (content, super()._page(page)))
            changed = np.flatnonzero(new != old)
            for run in np.split(changed, np.flatnonzero(np.diff(changed) > _GAP) + 1) if changed.size else ():
                low = max(start + _WORD * int(run[0]), HEADER_SIZE)
                high = min(start + _WORD * int(run[-1]) + _WORD, self.superblock.hdf5_end)
                if low < high:
                    yield Patch(low, bytes(content[low - start : high - start]))
        low = max(start, self.superblock.trailer_at)
        high = min(start + PAGE, self.superblock.trailer_end, end)
        if low < high:
            yield Patch(low, bytes(content[low - start : high - start]))

    def _apply(self, patches):
        """Write patches in place."""
        for patch in patches:
            _write_at(self._descriptor, patch.content, patch.offset)

    @contextlib.contextmanager
    def _failures_kept(self):
        try:
            yield
        except BaseException as error:
            self.failure = self.failure or error


@contextlib.contextmanager
def interrupts_deferred():
    """Defer Ctrl-C and SIGTERM to the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield
        return
    with _deferred(signal.SIGINT), _deferred(signal.SIGTERM):
        yield


@contextlib.contextmanager
def _deferred(number):
    caught = []
    before = signal.signal(number, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL if before is None else before)
        if caught:
            signal.raise_signal(number)


def _write_at(descriptor, content, offset):
    view = memoryview(content)
    while view:
        n = os.pwrite(descriptor, view, offset)
        view, offset = view[n:], offset + n
