"""Open stores and other HDF5 files of pwlnet for reading, and report errors of h5py and of the system in one sentence each."""

import contextlib
import hashlib
import json
import os
import warnings

import h5py

from ..errors import ChecksumError, PwlnetError, StoreError, UnverifiedStoreWarning
from ..publishing import reason
from ..validation import as_path
from .container.checksummed_file import ChecksummedFile, PageError
from .container.layout import HEADER_SIZE

_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, MemoryError)
_INDEX_BYTES = 8  # at least, of a chunk in the index
LINKS = "/links"  # of a store whose rows are in other files


class ReadFile(h5py.File):
    """An HDF5 file that is open for reading; its store is in the root group.

    In a file without a valid container, which another program made, the store may be in another group: h5copy can't copy a
    root group to a root group. Nor does it copy the root's attributes; those of /network are the same.

    Attributes
    ----------
    container : ChecksummedFile
        The file below it.
    links : list of dict
        The files that hold the rows of a linked store: their names, relative to the folder, sizes and headers.
    """

    def __init__(self, container):
        self.container, self._plain = container, None
        super().__init__(container, "r")
        self._prefix = "" if container.is_verified else _group_with_network(self)
        self.links = json.loads(self[LINKS].attrs["files"]) if LINKS in self else []

    @property
    def header(self):
        """The attributes that describe the store: h5py.AttributeManager."""
        root = self[self._prefix or "/"]
        if "pwlnet-format" not in root.attrs and isinstance(root.get("network"), h5py.Group):
            return root["network"].attrs
        return root.attrs

    def member(self, path):
        """Return an object of the store by its path in the schema."""
        stored = self[self._prefix + path]
        if isinstance(stored, h5py.Dataset) and stored.is_virtual:
            return self._plain_file()[self._prefix + path]
        return stored

    def _plain_file(self):
        """Open the file once more, without the container: HDF5 opens the files of virtual datasets as it opened this one."""
        if self._plain is None:
            for entry in self.links:
                _check_link(self.container.path, entry)
            self._plain = h5py.File(self.container.path, "r")
        return self._plain

    def has(self, path):
        """Return whether the store has an object, by its path in the schema."""
        return self._prefix + path in self

    def close(self):
        """Close both."""
        if self._plain is not None:
            self._plain.close()
        super().close()
        self.container.close()


def link_to(path, folder):
    """Describe a file that a linked store in a folder names: dict of JSON values.

    Parameters
    ----------
    path, folder : pathlib.Path
    """
    with path.open("rb") as file:
        header = hashlib.sha256(file.read(HEADER_SIZE)).hexdigest()
    name = os.path.relpath(path.resolve(), folder.resolve())
    return {"name": name, "bytes": path.stat().st_size, "header": header}


def _check_link(path, entry):
    """Refuse a file of a linked store that is missing or has changed since: HDF5 would read zeros."""
    source = path.parent / entry["name"]
    try:
        now = link_to(source, path.parent)
    except OSError as error:
        raise StoreError(f"{path} has rows in {source}, which can't be read ({reason(error)}); restore that file") from None
    if now != entry:
        raise StoreError(f"{path} has rows in {source}, which was changed; restore that file, or link the stores again")


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
