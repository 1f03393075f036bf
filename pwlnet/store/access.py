"""Opening and publishing files; h5py's and the system's errors as one sentence each."""

import contextlib
import os
import secrets
from pathlib import Path

import h5py

from ..errors import ChecksumError, PwlnetError, StoreError

MAGIC = b"\x89HDF\r\n\x1a\n"
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)


def reason(error):
    """The shortest text that says why: the system's words for a number, else the first line of the message."""
    if isinstance(error, OSError) and error.strerror and error.errno:
        return os.strerror(error.errno)
    return (str(error).splitlines() or [type(error).__name__])[0].strip("'\"")


@contextlib.contextmanager
def reading(path, what):
    """Turn h5py's errors while reading ``what`` into StoreError, or ChecksumError where a chunk's checksum is wrong."""
    try:
        yield
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


def open_for_reading(path):
    """Open an HDF5 file.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    h5py.File

    Raises
    ------
    StoreError
        There is no such file, it can't be read, is no HDF5 file, is cut off, or is being written.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise StoreError(f"{path} can't be read ({reason(error)}); give the path of a store") from error
    if magic != MAGIC:
        raise StoreError(f"{path} is not an HDF5 file; give a file that pwlnet wrote")
    try:
        return h5py.File(path, "r")
    except _H5PY_ERRORS as error:
        if "truncated" in str(error):
            problem = f"{path} is cut off after {size} bytes; restore a copy or compute it again"
        elif "lock" in str(error):
            problem = f"{path} is being written; close its writer, or wait until it is finished"
        else:
            problem = f"{path} can't be opened as HDF5 ({reason(error)}); the file is damaged, restore a copy"
        raise StoreError(problem) from error


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
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except StoreError:
        raise
    except OSError as error:
        advice = "make the folder first" if not path.parent.exists() else "free space or choose another folder"
        raise StoreError(f"{path} can't be written ({reason(error)}); nothing was left there, {advice}") from error
