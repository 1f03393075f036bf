"""Opening and publishing files; h5py's and the system's errors as one sentence each."""

import contextlib
import fcntl
import io
import os
import secrets
from pathlib import Path

import h5py

from ..errors import ChecksumError, PwlnetError, StoreError
from .container.seal import HEAD, sealed
from .container.sealed_file import PageError, SealedFile

_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, MemoryError)
_INDEX_BYTES = 8  # at least, of a chunk in the index
LIBVER = ("v110", "v110")  # of what lies in a file: everything has a checksum; read by every HDF5 since 1.10


class ReadFile(h5py.File):
    """An HDF5 file that is open for reading; ``disk`` is the SealedFile below it."""

    def __init__(self, disk):
        self.disk = disk
        super().__init__(disk, "r")

    def close(self):
        """Close both."""
        super().close()
        self.disk.close()


def reason(error):
    """The shortest text that says why: the system's words for a number, else the first line of the message."""
    if isinstance(error, OSError) and error.strerror and error.errno:
        return os.strerror(error.errno)
    return (str(error).splitlines() or [type(error).__name__])[0].strip("'\"")


@contextlib.contextmanager
def reading(path, what):
    """Turn h5py's errors while reading ``what`` into StoreError, or ChecksumError where a checksum is wrong."""
    try:
        yield
    except PageError as error:
        raise ChecksumError(
            f"{what} of {path} does not match its checksum ({error.place}); the file is damaged, restore a copy, "
            "or keep its sound batches with pwlnet repair"
        ) from error
    except PwlnetError:
        raise
    except _H5PY_ERRORS as error:
        if any(word in str(error) for word in ("checksum", "filter")):  # fletcher32, or gzip before it
            raise ChecksumError(
                f"{what} of {path} does not match its checksum; the file is damaged, restore a copy or compute it again"
            ) from error
        raise StoreError(
            f"{what} of {path} can't be read ({reason(error)}); the file is damaged or incomplete, "
            "restore a copy or compute it again"
        ) from error


def refuse_locked(path):
    """Refuse a file that is being written.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    StoreError
        Another program writes to it. A file that can't be opened is left to who opens it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(f"{path} is being written by {_lock_holder(path)}; wait for it, or stop it") from None
    except OSError:
        return  # file systems without locks
    finally:
        os.close(descriptor)


def _lock_holder(path):
    """Who has locked a file, as far as the system tells: "process 123", or "another program"."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = str(os.stat(path).st_ino)
        for lock in Path("/proc/locks").read_text().splitlines():
            fields = lock.split()
            if "FLOCK" in fields and fields[5].split(":")[-1] == inode and int(fields[4]) > 0:
                return f"process {int(fields[4])}"
    return "another program"


def check_rows(stored, last):
    """Refuse to read rows that no chunk holds: a damaged shape must not fill the memory with zeros.

    Parameters
    ----------
    stored : h5py.Dataset
    last : int
        Rows before this are to be read.

    Raises
    ------
    ValueError
        There are no such rows.
    """
    held = len(stored)
    if stored.chunks and stored.size:
        if held // stored.chunks[0] > stored.file.id.get_filesize() // _INDEX_BYTES:  # HDF5 would look at each of them
            raise ValueError(f"it says that it has {held} rows, more than the file has room for")
        held = min(held, stored.id.get_num_chunks() * stored.chunks[0])
    if last > held:
        raise ValueError(f"it has {held} rows")


def open_for_reading(path, *, checked=True):
    """Open an HDF5 file.

    Parameters
    ----------
    path : str or path
    checked : bool, optional
        As for SealedFile.

    Returns
    -------
    ReadFile

    Raises
    ------
    StoreError
        There is no such file, it can't be read, pwlnet didn't write it, it is cut off or damaged.
    """
    path = Path(path)
    try:
        disk = SealedFile(path, checked=checked)
    except PwlnetError:
        raise
    except OSError as error:
        raise StoreError(f"{path} can't be read ({reason(error)}); give the path of a store") from error
    try:
        with reading(path, "its HDF5 part"):
            return ReadFile(disk)
    except BaseException:
        disk.close()
        raise


def new_image(write):
    """Make an HDF5 file in memory.

    Parameters
    ----------
    write : callable
        Called with the h5py.File, empty.

    Returns
    -------
    bytes
        Of the whole file, sealed.
    """
    image = _Image()
    with h5py.File(image, "w", libver=("v108", "v108"), userblock_size=HEAD):  # v110 would mark a file that is open
        pass
    with h5py.File(image, "r+", libver=LIBVER) as file:
        write(file)
    return sealed(image.getvalue())


class _Image(io.BytesIO):
    """Memory that can be made longer, as a file can."""

    def truncate(self, size=None):
        if size is not None and size > len(self.getbuffer()):
            self.seek(0, os.SEEK_END)
            self.write(bytes(size - self.tell()))
        return super().truncate(size)


def replace_durably(temporary, path):
    """Move a file to its place, and the folder's entry to the disk; OSError where that fails."""
    os.replace(temporary, path)
    with contextlib.suppress(OSError):  # not every file system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def publish(path, content, *, overwrite=False):
    """Write a whole file beside its place and move it there, so that it is there in full or not at all.

    Parameters
    ----------
    path : str or path
    content : bytes
    overwrite : bool, optional
        Replace an existing file.

    Raises
    ------
    StoreError
        The file exists, or can't be written.
    """
    path = Path(path)
    exists = StoreError(f"{path} exists; give another path, or remove it first")
    if path.exists() and not overwrite:
        raise exists
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not overwrite and path.exists():
                raise exists
            replace_durably(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except StoreError:
        raise
    except OSError as error:
        advice = "make the folder first" if not path.parent.exists() else "free space or choose another folder"
        raise StoreError(f"{path} can't be written ({reason(error)}); nothing was left there, {advice}") from error
