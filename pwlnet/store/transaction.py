"""A file for h5py that changes on disk only when told to, and then as a whole.

HDF5 leaves a file unreadable when a write fails half-way: disk full, quota, an interrupt between two writes. Here all
writes stay in memory, as pages, until ``commit``; they then go to the disk in two steps: what lies past the end of the
file first (this needs space, and no reader looks there), then the few pages that exist already. When a step fails, the
old pages and the old length come back.

h5py calls the methods from inside HDF5, where an exception does harm: they keep it for ``commit``, which raises it, and
``interrupts_deferred`` keeps Ctrl-C and SIGTERM out of them.
"""

import contextlib
import fcntl
import os
import signal
import threading

PAGE = 2**16


class TransactionFile:
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
    """

    def __init__(self, path):
        self._descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise
        except OSError:
            pass  # file systems without locks
        self._disk_size = self._size = os.fstat(self._descriptor).st_size
        self._pages = {}
        self._position = 0
        self.failure = None

    def seek(self, offset, whence=os.SEEK_SET):
        """Move; as for any file."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self):
        """Return the position."""
        return self._position

    def readinto(self, buffer):
        """Fill a buffer from the position on, with zeros past the end."""
        view = memoryview(buffer).cast("B")
        with self._failures_kept():
            for page, low, high, at in self._spans(len(view)):
                if page in self._pages:
                    view[at : at + high - low] = self._pages[page][low:high]
                else:
                    view[at : at + high - low] = self._stored(page * PAGE + low, high - low)
        self._position += len(view)
        return len(view)

    def read(self, size):
        """Return bytes from the position on."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def write(self, data):
        """Keep bytes for the next commit."""
        view = memoryview(data).cast("B")
        with self._failures_kept():
            for page, low, high, at in self._spans(len(view)):
                if page not in self._pages:
                    self._pages[page] = bytearray(self._stored(page * PAGE, PAGE))
                self._pages[page][low:high] = view[at : at + high - low]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size):
        """Set the length."""
        self._size = size
        return size

    def flush(self):
        """Nothing: only ``commit`` writes."""

    def commit(self):
        """Bring all that was written since the last commit to the disk, or nothing of it.

        Raises
        ------
        OSError
            The disk is full, or failed; the file is as it was.
        """
        if self.failure is not None:
            raise self.failure
        old = {page: self._stored(page * PAGE, PAGE) for page in self._pages if page * PAGE < self._disk_size}
        try:
            for page in sorted(self._pages):
                self._put(page, max(page * PAGE, self._disk_size), self._size)
            if self._size > self._disk_size:  # never shrunk: HDF5 knows its end, and that could not be undone
                os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
            for page in sorted(old):
                self._put(page, page * PAGE, min(self._size, self._disk_size))
            os.fsync(self._descriptor)
        except BaseException:
            self._roll_back(old)
            raise
        self._disk_size = max(self._size, self._disk_size)
        self._pages.clear()

    def close(self):
        """Forget what was not committed, and unlock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextlib.contextmanager
    def _failures_kept(self):
        try:
            yield
        except BaseException as error:
            self.failure = self.failure or error

    def _roll_back(self, old):
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._disk_size)
        for page, content in old.items():
            with contextlib.suppress(OSError):
                _write_at(self._descriptor, content[: self._disk_size - page * PAGE], page * PAGE)

    def _put(self, page, first, last):
        """Write the part of a page that lies in bytes [first, last) of the file."""
        low, high = max(first - page * PAGE, 0), min(last - page * PAGE, PAGE)
        if low < high:
            _write_at(self._descriptor, self._pages[page][low:high], page * PAGE + low)

    def _stored(self, offset, size):
        """Bytes of the disk, zeros past its end."""
        content = os.pread(self._descriptor, size, offset)
        return content + bytes(size - len(content))

    def _spans(self, size):
        """Cut [position, position + size) at pages: (page, from, to in the page, offset in the buffer)."""
        at = 0
        while at < size:
            page, low = divmod(self._position + at, PAGE)
            high = min(PAGE, low + size - at)
            yield page, low, high, at
            at += high - low


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
