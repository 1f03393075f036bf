"""Results in HDF5: the only package of pwlnet that imports h5py. ``schema.py`` defines the format.

``create`` makes a store for batches of results, ``resume`` appends to one, ``open`` reads and verifies one, ``repair`` keeps
the intact batches of a damaged one, ``merge`` joins several.

The format as data: ``schema``, ``header``, ``provenance``, ``digest``, and ``format_page``, which documents it. The file:
``container``, ``image`` (new HDF5 files), ``access`` (opening). Writing: ``creation``, ``writer``, ``long_line``, ``results``,
``chunks``, ``consistency``, ``summary``. Reading: ``reader``, ``live_read``, ``checks``, ``export``. Both: ``network_file``,
``merge``, ``repair``.
"""

from .appending import append_lines_by_length
from .creation import create, resume, save_lines, save_long_line
from .merge import merge
from .network_file import read_network_file, save_network
from .reader import RegionStore, load_lines, open
from .repair import Repaired, repair
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
