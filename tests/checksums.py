"""Changing a store behind pwlnet's back: as an expert with HDF5's own tools, who computes the file's checksums again."""

import contextlib
from pathlib import Path

import h5py

from pwlnet.store.container import layout


@contextlib.contextmanager
def changing(path):
    """The h5py.File of a store, which gets a right seal after the block."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        yield file
    Path(path).write_bytes(layout.add_container(Path(path).read_bytes()))
