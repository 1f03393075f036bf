"""Results in HDF5: the only part of pwlnet that imports h5py. The format is in ``schema.py``.

``create`` makes a store and appends batches; ``resume`` goes on with one; ``open`` reads one, row by row, and verifies it;
``repair`` keeps the sound batches of a damaged one; ``merge`` joins several.
"""

from .appending import append_lines_by_length
from .creation import create, resume, save_lines, save_long_line
from .network_file import read_network_file, save_network
from .reader import RegionStore, load_lines, open
from .repair import Repaired, merge, repair
from .writer import StoreWriter, Written

__all__ = [
    "RegionStore",
    "Repaired",
    "StoreWriter",
    "Written",
    "append_lines_by_length",
    "create",
    "load_lines",
    "merge",
    "open",
    "read_network_file",
    "repair",
    "resume",
    "save_lines",
    "save_long_line",
    "save_network",
]
