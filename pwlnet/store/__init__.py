"""Results in HDF5: the only part of pwlnet that imports h5py. The format is in ``schema.py``.

``create`` makes a store and appends batches; ``open`` reads one, row by row, and verifies it.
"""

from .network_file import read_network_file, save_network
from .reader import RegionStore, load_lines, open
from .writer import StoreWriter, Written, create, resume, save_lines

__all__ = [
    "RegionStore",
    "StoreWriter",
    "Written",
    "create",
    "load_lines",
    "open",
    "read_network_file",
    "resume",
    "save_lines",
    "save_network",
]
