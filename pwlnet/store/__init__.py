"""Results in HDF5: the only package of pwlnet that imports h5py. ``schema.py`` defines the format.

``create`` makes a store for batches of results, ``resume`` appends to one, ``open`` reads and verifies one, ``repair`` keeps
the intact batches of a damaged one, ``merge`` joins several, ``link`` joins them without copying.

The format as data: ``schema``, ``header``, ``provenance``, ``digest``, and ``format_page``, which documents it. The file:
``container``, ``image`` (new HDF5 files), ``access`` (opening). Writing: ``creation``, ``appending``, ``writer``,
``chunk_writer`` and ``long_line`` (lines and planes in chunks), ``region_appending`` and ``region_writer`` (regions in blocks),
``results``, ``chunks`` (of HDF5). Reading: ``reader``, ``partition_reader``, ``region_rows``, ``live_read``, ``checks``,
``plane_check``, ``region_check``, ``export``. Both: ``in_chunks``, ``planes``, ``regions``, ``float_sets``, ``certificates``,
``consistency``, ``region_consistency``, ``summary``, ``network_file``, ``merge``, ``linking``, ``repair``.
"""

from .appending import append_lines_by_length, append_planes_in_batches
from .creation import create, resume, save_large_plane, save_lines, save_long_line, save_planes
from .large_regions import save_large_regions
from .linking import link
from .merge import merge
from .network_file import read_network_file, save_network
from .reader import RegionStore, load_lines, load_planes, open
from .region_appending import WrittenRegions, append_regions, finish_regions, save_regions
from .region_rows import RegionRows, load_regions
from .repair import Repaired, repair
from .summary import PlaneSummary
from .writer import StoreWriter, Written, WrittenPlanes

__all__ = [
    "PlaneSummary",
    "RegionRows",
    "RegionStore",
    "Repaired",
    "StoreWriter",
    "Written",
    "WrittenPlanes",
    "WrittenRegions",
    "append_lines_by_length",
    "append_planes_in_batches",
    "append_regions",
    "create",
    "finish_regions",
    "link",
    "load_lines",
    "load_planes",
    "load_regions",
    "merge",
    "open",
    "read_network_file",
    "repair",
    "resume",
    "save_large_plane",
    "save_large_regions",
    "save_lines",
    "save_long_line",
    "save_network",
    "save_planes",
    "save_regions",
]
