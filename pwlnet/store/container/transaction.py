"""A sealed file for h5py that changes on disk only when told to, and then as a whole, whenever the program is stopped.

All writes stay in memory, as pages, until ``commit``. What nobody reads yet goes to the disk first: bytes past the HDF5
part that counts, and a trailer with all checksums, which also holds the bytes to be changed in place. When this is safe
on the disk, one slot of the head is overwritten: from here on the batch counts. Then the changes in place are made; until
the next commit everybody reads them from the trailer, too. No trailer that counts is ever overwritten.

h5py calls the methods from inside HDF5, where an exception while writing does harm: they keep it for ``commit``, which
raises it, and ``interrupts_deferred`` keeps Ctrl-C and SIGTERM out of them.
"""

import contextlib
import fcntl
import os
import signal
import threading
import zlib

import numpy as np

from . import seal
from .seal import HEAD, PAGE, Patch, Slot
from .sealed_file import SealedFile

_AT_ONCE = 2**22  # bytes per write
_WORD = 8
_GAP = 64  # words: changes that are nearer than this become one patch


class TransactionFile(SealedFile):
    """A file object (for ``h5py.File``) whose writes are kept in memory until ``commit``; what is not is forgotten.

    Attributes
    ----------
    failure : BaseException or None
        What a method kept for ``commit``.

    Raises
    ------
    BlockingIOError
        Another process has locked the file.
    OSError
        It can't be opened for writing.
    StoreError
        It is damaged.
    """

    def __init__(self, path):
        self._pages, self._size, self.failure = {}, 0, None
        super().__init__(path, mode=os.O_RDWR)
        try:  # where a program was stopped half-way
            self._apply([patch for patches in self._patches.values() for patch in patches])
            if self.disk_size > self.slot.trailer_end:
                os.ftruncate(self._descriptor, self.slot.trailer_end)
        except BaseException:
            super().close()
            raise

    @property
    def size(self):
        """Where the HDF5 part will end."""
        return max(self._size, self.slot.hdf5_end)

    def readinto(self, buffer):
        """Fill a buffer from the position on, with zeros past the end."""
        with self._failures_kept():
            return super().readinto(buffer)
        return len(buffer)

    def write(self, data):
        """Keep bytes for the next commit."""
        view = memoryview(data).cast("B")
        with self._failures_kept():
            for page, low, high, at in self._spans(len(view)):
                self._dirty(page)[low:high] = view[at : at + high - low]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size):
        """Set the length; never less than what counts already: HDF5 knows its end."""
        self._size = size
        return size

    def commit(self):
        """Bring all that was written since the last commit to the disk, or nothing of it.

        Raises
        ------
        OSError
            The disk is full, or failed; the file is as it was.
        """
        if self.failure is not None:
            raise self.failure
        if not self._pages and self.size == self.slot.hdf5_end:
            return
        end = self.size
        for page in range(self.slot.hdf5_end // PAGE, seal.n_pages(end)):
            self._dirty(page)
        self._pages = {page: content for page, content in self._pages.items() if page * PAGE < end}
        crcs = np.zeros(seal.n_pages(end), np.uint32)
        crcs[: len(self._crcs)] = self._crcs
        for page, content in self._pages.items():
            crcs[page] = seal.page_crc(content, page, end)
        patches = [patch for page in sorted(self._pages) for patch in self._patches_of(page, end)]
        self._publish(end, crcs, patches, self._fresh(end))
        for page in self._pages:
            self._cache.pop(page, None)
        self._pages.clear()
        try:
            self._apply(patches)
        except BaseException as error:  # the batch counts: its patches are in the trailer, and are read from there
            self._take_patches(patches)
            self.failure = error

    def settle(self):
        """Bring the file into the form of a closed one: trailer right behind the HDF5 part, no patches, equal slots.

        Raises
        ------
        OSError
            The disk is full, or failed; the file is as good as before, but larger.
        """
        if self.failure is not None or self.is_closed:
            return
        self._pages.clear()
        self._size = 0
        while True:
            self._publish(self.slot.hdf5_end, self._crcs, [], ())
            if self.slot.trailer_at == self.slot.hdf5_end:
                break
        self._put_slot(self.slot, 1 - self.slot.place)
        os.ftruncate(self._descriptor, self.slot.trailer_end)
        os.fsync(self._descriptor)
        self.is_closed = True

    def close(self):
        """Forget what was not committed, settle and unlock."""
        if self._descriptor is not None:
            try:
                with contextlib.suppress(OSError):
                    if getattr(self, "slot", None):
                        self.settle()
            finally:
                super().close()

    def _load(self):
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass  # file systems without locks
        super()._load()

    def _page(self, page):
        return self._pages[page] if page in self._pages else super()._page(page)

    def _dirty(self, page):
        """A page that is kept for the next commit."""
        if page not in self._pages:
            self._pages[page] = bytearray(self._page(page))
        return self._pages[page]

    def _stored(self, page):
        """A page as it counts: what is kept for the next commit does not move the end."""
        size, self._size = self._size, 0
        try:
            return super()._stored(page)
        finally:
            self._size = size

    def _publish(self, end, crcs, patches, fresh):
        """Write what nobody reads yet, then the slot that makes it count."""
        old = self.slot
        self._check_alone()
        trailer = seal.encode_trailer(crcs, patches)
        at = end if end + len(trailer) <= old.trailer_at or end >= old.trailer_end else old.trailer_end
        new = Slot(old.sequence + 1, end, at, len(trailer), zlib.crc32(trailer))
        try:
            for offset, content in fresh:
                _write_at(self._descriptor, content, offset)
            _write_at(self._descriptor, trailer, at)
            os.fsync(self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, old.trailer_end)
            raise
        try:
            self._put_slot(new, new.place)
            os.fsync(self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                self._put_slot(old, new.place)
            raise
        self.slot, self._crcs, self._patches, self.is_closed = new, crcs, {}, False

    def _put_slot(self, slot, place):
        _write_at(self._descriptor, seal.encode_slot(slot), seal.SLOTS[place])

    def _check_alone(self):
        """Refuse to go on when somebody else has written: not every file system has locks."""
        if self._has_changed():
            raise OSError("another program has written to it")

    def _fresh(self, end):
        """What lies where nothing lies that counts: (offset, content), in order."""
        for low, high in ((self.slot.hdf5_end, self.slot.trailer_at), (self.slot.trailer_end, end)):
            for first in range(low, min(high, end), _AT_ONCE):
                last = min(first + _AT_ONCE, high, end)
                pages = range(first // PAGE, seal.n_pages(last))
                content = memoryview(b"".join(self._pages[page] for page in pages))
                yield first, content[first - pages.start * PAGE : last - pages.start * PAGE]

    def _patches_of(self, page, end):
        """What a page changes where something counts: in the HDF5 part, and where the trailer lies."""
        start, content = page * PAGE, self._pages[page]
        if start < self.slot.hdf5_end:
            new, old = (np.frombuffer(part, np.uint64) for part in (content, super()._page(page)))
            changed = np.flatnonzero(new != old)
            for run in np.split(changed, np.flatnonzero(np.diff(changed) > _GAP) + 1) if changed.size else ():
                low = max(start + _WORD * int(run[0]), HEAD)
                high = min(start + _WORD * int(run[-1]) + _WORD, self.slot.hdf5_end)
                if low < high:
                    yield Patch(low, bytes(content[low - start : high - start]))
        low = max(start, self.slot.trailer_at)
        high = min(start + PAGE, self.slot.trailer_end, end)
        if low < high:
            yield Patch(low, bytes(content[low - start : high - start]))

    def _apply(self, patches):
        """Change in place."""
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
    """Let Ctrl-C, and SIGTERM likewise, take effect at the end of the block only."""
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
