"""Make the HDF5 files of new stores, and copies in the format of files that other programs made."""

import io
import os
import shutil

import h5py

from . import schema
from .container.hdf5_superblock import find_content
from .container.layout import HEADER_SIZE, write_container

LIBVER = ("v110", "v110")  # of the content: everything has a checksum; read by every HDF5 since 1.10
OF_FILE = {"libver": ("v108", "v108"), "userblock_size": HEADER_SIZE}  # v110 would mark a file that is open for writing
_SUPERBLOCK_VERSION = 2  # that of OF_FILE


def new_image(write):
    """Make an HDF5 file in memory, in its container.

    Parameters
    ----------
    write : callable
        Called with the empty h5py.File.

    Returns
    -------
    bytes
        The whole file.
    """
    image = _Image()
    with h5py.File(image, "w", **OF_FILE):
        pass
    with h5py.File(image, "r+", libver=LIBVER) as file:
        write(file)
    write_container(image)
    return image.getvalue()


class _Image(io.BytesIO):
    """A file in memory that can be extended by ``truncate``, as a file on the disk."""

    def truncate(self, size=None):
        if size is not None and size > len(self.getbuffer()):
            self.seek(0, os.SEEK_END)
            self.write(bytes(size - self.tell()))
        return super().truncate(size)


def copy_into_container(file, path):
    """Copy a file without a valid container, annotations included, and write the container of the copy.

    The bytes of the HDF5 content stay as they are if it is in the format, as after changes by plain HDF5. Otherwise (copies by
    h5copy and h5repack) its objects are copied: their chunks as they are, but no object references.

    Parameters
    ----------
    file : ReadFile
    path : pathlib.Path
        Of the copy.
    """
    with file.container.path.open("rb") as source:
        content = find_content(source.fileno())
        if (content.start, content.version) == (HEADER_SIZE, _SUPERBLOCK_VERSION) and "pwlnet-format" in file.attrs:
            with path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
        else:
            _copy_objects(file, path)
    with path.open("r+b") as copy:
        write_container(copy)


def _copy_objects(file, path):
    """Copy all objects and attributes of a store to a new file without a container."""
    with h5py.File(path, "w", **OF_FILE):
        pass
    with h5py.File(path, "r+", libver=LIBVER) as copy:
        store = file.member("/")
        for name in store:
            store.copy(name, copy, name=name)
        _copy_attributes(file.header, [attribute.name for attribute in schema.ATTRIBUTES], copy.attrs)
        _copy_attributes(store.attrs, list(store.attrs), copy.attrs)


def _copy_attributes(attributes, names, copy):
    for name in names:
        dtype = attributes.get_id(name).dtype
        if h5py.check_ref_dtype(dtype) is None:
            copy.create(name, attributes[name], dtype=dtype)
