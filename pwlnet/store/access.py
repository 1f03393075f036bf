"""Open stores and other HDF5 files of pwlnet for reading, and report errors of h5py and of the system in one sentence each."""

import contextlib
import warnings

import h5py

from ..errors import ChecksumError, PwlnetError, StoreError, UnverifiedStoreWarning
from ..publishing import reason
from ..validation import as_path
from .container.checksummed_file import ChecksummedFile, PageError

_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, MemoryError)
_INDEX_BYTES = 8  # at least, of a chunk in the index


class ReadFile(h5py.File):
    """An HDF5 file that is open for reading; its store is in the root group.

    In a file without a valid container, which another program made, the store may be in another group: h5copy can't copy a
    root group to a root group. Nor does it copy the root's attributes; those of /network are the same.

    Attributes
    ----------
    container : ChecksummedFile
        The file below it.
    """

    def __init__(self, container):
        self.container = container
        super().__init__(container, "r")
        self._prefix = "" if container.is_verified else _group_with_network(self)

    @property
    def header(self):
        """The attributes that describe the store: h5py.AttributeManager."""
        root = self[self._prefix or "/"]
        if "pwlnet-format" not in root.attrs and isinstance(root.get("network"), h5py.Group):
            return root["network"].attrs
        return root.attrs

    def member(self, path):
        """Return an object of the store by its path in the schema."""
        return self[self._prefix + path]

    def has(self, path):
        """Return whether the store has an object, by its path in the schema."""
        return self._prefix + path in self

    def close(self):
        """Close both."""
        super().close()
        self.container.close()


def _group_with_network(file):
    """Return the path of the only group that holds a network; "" for the root, or if it is not the only one."""
    if "network" in file:
        return ""
    found = [f"/{name}" for name, group in file.items() if isinstance(group, h5py.Group) and "network" in group]
    return found[0] if len(found) == 1 else ""


@contextlib.contextmanager
def reading(path, what):
    """Raise h5py's errors while reading ``what`` as StoreError, or as ChecksumError if a checksum is wrong."""
    try:
        yield
    except PageError as error:
        raise ChecksumError(
            f"{what} of {path} does not match its checksum ({error.location}); the file is damaged, restore a copy, "
            "or keep its intact batches with pwlnet repair"
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


def check_rows(stored, last):
    """Raise an error for rows that no chunk holds: a damaged shape must not fill the memory with zeros.

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
        if held // stored.chunks[0] > stored.file.id.get_filesize() // _INDEX_BYTES:  # HDF5 would visit each of them
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
        As for ChecksummedFile.

    Returns
    -------
    ReadFile

    Raises
    ------
    StoreError
        There is no such file, it can't be read, pwlnet didn't write it, it is cut off or damaged.
    """
    path = as_path(path)
    try:
        container = ChecksummedFile(path, checked=checked)
    except PwlnetError:
        raise
    except OSError as error:
        raise StoreError(f"{path} can't be read ({reason(error)}); give the path of a store") from error
    try:
        with reading(path, "the HDF5 content"):
            return ReadFile(container)
    except BaseException:
        container.close()
        raise


def unverified_problem(path):
    """Describe a file without a valid container: the text of the warning, and what ``verify`` reports."""
    return (
        f"{path} is not verified, since another program changed or copied it and its checksums are missing; batches are "
        "compared with their digests as they are read, pwlnet repair checks everything and adds the checksums"
    )


def warn_unverified(path, *, stacklevel):
    """Issue the warning for a file without a valid container."""
    warnings.warn(unverified_problem(path), UnverifiedStoreWarning, stacklevel=stacklevel + 1)
