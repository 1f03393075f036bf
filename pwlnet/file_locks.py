"""Locks of files that are being written: one writer per file, and no lock that outlives its writer.

A lock of ``flock`` belongs to the open file, which forked processes share: one worker that lives on would keep it. So a forked
child replaces its descriptors of locked files by the null device, which it does without unlocking, and the writer unlocks
before it closes. On file systems without locks, files are not locked.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time
import weakref
from pathlib import Path

from .errors import StoreError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_LOCKS: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """The exclusive lock on a file that is open for writing.

    Parameters
    ----------
    descriptor : int
        Of the open file; the caller closes it after ``release``.
    path : pathlib.Path
    writer : object
        What users close: it has a method ``close``. Kept as a weak reference; it can be set later.

    Raises
    ------
    BlockingIOError
        Somebody else has locked it.
    """

    def __init__(self, descriptor, path, writer=None):
        self.descriptor, self.path = descriptor, path
        self.since, self.thread, self._process = time.strftime("%H:%M:%S"), threading.get_ident(), os.getpid()
        self.set_writer(writer)
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:
                pass  # file systems without locks
        self._file = _identity(descriptor)
        _LOCKS.add(self)

    @property
    def is_ours(self):
        """Whether this process took the lock; False in a process forked from the one that did."""
        return self._process == os.getpid()

    @property
    def writer(self):
        """The object that users close, or None."""
        return self._writer and self._writer()

    def set_writer(self, writer):
        """Set the object that users close."""
        self._writer = None if writer is None else weakref.ref(writer)

    def holds(self, path):
        """Return whether this lock is this process's, and on the file at a path."""
        with contextlib.suppress(OSError):
            return self.descriptor is not None and self.is_ours and _identity(path) == self._file
        return False

    def check_process(self):
        """Raise StoreError in a process that was forked from the one with the lock."""
        if not self.is_ours:
            raise StoreError(
                f"{self.path} is being written by process {self._process}, from which this one was forked; append there, or "
                "write to another file here"
            )

    def release(self):
        """Unlock the file, also for forked processes that still have it open; no-op in these, and the second time."""
        if self.is_ours and self.descriptor is not None and fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.descriptor = None

    def leave_to_parent(self):
        """In a forked child: let go of the open file without unlocking it."""
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, self.descriptor, inheritable=False)
                os.close(null)


def _identity(file):
    status = os.stat(file)
    return status.st_dev, status.st_ino


def _leave_all_to_parent():
    for lock in list(_LOCKS):
        lock.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)


def refuse_locked(path):
    """Raise an error if a file is being written.

    Writers of this process that nobody can use any more are closed first: those in reference cycles, and those that a failed
    notebook cell left (``close_failed``).

    Parameters
    ----------
    path : str or path

    Raises
    ------
    StoreError
        A program writes to it; the message names it. A file that can't be opened is no error here.
    """
    if _is_locked(path):
        if any(lock.holds(path) for lock in list(_LOCKS)):
            gc.collect()
            close_failed(path)
            if not _is_locked(path):
                return
        raise locked_error(path)


def _is_locked(path):
    """Return whether a file has a lock of any kind."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # file systems without locks
        return False
    finally:
        os.close(descriptor)
    return False


def locked_error(path):
    """Describe who has locked a file, as far as the system reports it: StoreError."""
    lock = next((lock for lock in list(_LOCKS) if lock.holds(path)), None)
    if lock is not None:
        return StoreError(
            f"{path} is being written by this process, which opened it at {lock.since}; call close() of that writer, delete "
            "all references to it, or restart Python"
        )
    process, is_shared = _holder(path)
    if process == os.getpid():
        return StoreError(f"{path} is open in this process by another library, such as h5py; close it there")
    name = "another program" if process is None else f"process {process}"
    return StoreError(f"{path} is being {'read' if is_shared else 'written'} by {name}; wait for it, or stop it")


def _holder(path):
    """Return the process that has locked a file, None if the system does not tell, and whether the lock is shared."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = str(os.stat(path).st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "FLOCK" in fields and fields[5].split(":")[-1] == inode and int(fields[4]) > 0:
                return int(fields[4]), fields[3] == "READ"
    return None, False


def close_failed(path):
    """Close the writers of a file that a failed notebook cell, or line of an interactive session, left open.

    Python keeps the frames of the last failure for debuggers (``sys.last_value``), and with them a writer that was not closed.
    A writer of another thread that is alive is left alone.

    Parameters
    ----------
    path : str or path
    """
    alive = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    for lock in list(_LOCKS):
        writer = lock.writer
        if writer is not None and lock.holds(path) and lock.thread not in alive and _is_in_failed_frame(writer):
            writer.close()


def _is_in_failed_frame(thing):
    """Return whether a frame of the last failure has a thing as a variable, and does not run any more."""
    running, frame = set(), sys._getframe()
    while frame is not None:
        running.add(frame)
        frame = frame.f_back
    return any(value is thing for frame in _failed_frames() - running for value in list(frame.f_locals.values()))


def _failed_frames():
    """Return the frames of the last failure, and of the failures during which or from which it arose: set of frame."""
    frames, seen = set(), set()
    pending = [getattr(sys, name, None) for name in ("last_exc", "last_value")]
    traces = [getattr(sys, "last_traceback", None)]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseException) and id(error) not in seen:
            seen.add(id(error))
            traces.append(error.__traceback__)
            pending += [error.__context__, error.__cause__]
    for trace in traces:
        while trace is not None:
            frames.add(trace.tb_frame)
            trace = trace.tb_next
    return frames
