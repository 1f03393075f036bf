"""The regions of an enumeration in a store: read when they are asked for, a bounded number of them at a time.

Legend: as in ``schema.py``; n regions of the enumeration that are stored, F free inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from .._types import FloatArray, Int32Array, IntArray, PathLike, StopReason, WordArray
from ..errors import InputError, StoreError
from ..patterns import ActivationPatterns
from ..validation import check_count
from . import schema
from .reader import RegionStore, _open
from .region_consistency import row_range
from .regions import RegionCounts, block_from_arrays, counts_from_arrays, empty_block, header_from_arrays
from .results import axis_sizes

if TYPE_CHECKING:
    import pandas

    from ..network import Network
    from ..partition.regions.blocks import RegionBlock, RegionHeader
    from ..partition.regions.regions import AffineMaps, HalfSpaceRows, Regions, RegionVertices

_AT_ONCE = 2**24  # bytes of the widest dataset in a block, by default


def load_regions(path: PathLike, network: Network | None = None, *, number: int = -1) -> RegionRows:
    """Open the regions of an enumeration in a store.

    Parameters
    ----------
    path : str or path
    network : Network, optional
        Refuse a store of another network.
    number : int, optional
        Of the enumeration; negative numbers count from the end.

    Returns
    -------
    RegionRows
        A context manager, with the attributes of Regions; arrays are read when they are asked for.

    Raises
    ------
    InputError
        There is no such enumeration.
    StoreError, ChecksumError, DigestMismatchError
        As for ``open``.

    Warns
    -----
    UnverifiedStoreWarning
        As for ``open``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> radius = np.full(network.n_inputs, 0.05)
    >>> regions = pwlnet.enumerate_regions(network, -radius, radius)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "regions.h5"
    ...     written = pwlnet.store.save_regions(path, regions)
    ...     with pwlnet.store.load_regions(path) as rows:
    ...         same = np.array_equal(rows.packed, regions.packed), rows[:2].witnesses.shape == (2, network.n_inputs)
    >>> same, len(rows) == regions.n_regions
    ((True, True), True)
    """
    store = _open(path, network)
    try:
        rows = store.regions(number)
    except BaseException:
        store.close()
        raise
    rows.owns_store = True
    return rows


def _column(field: str, meaning: str) -> Any:
    """Make a property that reads an array of all regions."""
    return property(lambda rows: rows._array(field), doc=meaning)


class RegionRows:
    """The regions of an enumeration in a store; made by ``load_regions`` and ``RegionStore.regions``.

    It has the attributes of Regions. Each array is read from the file, whole, whenever its attribute is read; slices
    (``rows[first:last]``) and ``blocks`` read some regions only.

    Attributes
    ----------
    header : RegionHeader
        What was requested.
    lower, upper, polytope, method, free
        As in Regions, those of ``header``.
    n_regions : int
        Number of regions that were found; ``len``: of those that are stored, 0 if they were only counted.
    complete, stopped_by, certified, n_exact
        As in Regions; of an enumeration that is not finished, ``stopped_by`` is "interrupted".
    is_finished : bool
        False while it is being written, or after that was interrupted.
    """

    header: RegionHeader
    lower: FloatArray
    upper: FloatArray
    polytope: tuple[FloatArray, FloatArray] | None
    method: str
    free: IntArray
    n_regions: int
    complete: bool
    stopped_by: StopReason | None
    certified: bool
    n_exact: int
    is_finished: bool

    def __init__(self, store: RegionStore, number: int = -1) -> None:
        n = store.n_rows("enumerations")
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not -n <= number < n:
            raise InputError(f"number is {number!r}, but {store.path} has {n} enumerations of regions; count from 0")
        self.store, self.number, self.owns_store = store, int(number) % n, False
        self.header = header_from_arrays(store.read("enumerations", self.number, self.number + 1))
        self._first, self._last = row_range(store, self.number)
        self.is_finished = self.number < store.n_rows("enumeration_ends")
        n_rows = self._last - self._first
        counts = RegionCounts(n_rows, n_rows, False, "interrupted", False, 0)
        if self.is_finished:
            counts = counts_from_arrays(store.read("enumeration_ends", self.number, self.number + 1))
        for name in ("lower", "upper", "polytope", "method", "free"):
            setattr(self, name, getattr(self.header, name))
        for name in ("n_regions", "complete", "stopped_by", "certified", "n_exact"):
            setattr(self, name, getattr(counts, name))

    packed: WordArray | None = _column("packed", "Activation patterns, uint64[n, W], or None.")
    witnesses: FloatArray | None = _column("witnesses", "A point inside each region, float64[n, D], or None.")
    facet_offsets: IntArray | None = _column("facet_offsets", "Range of facets of each region, int64[n+1], or None.")
    facet_neurons: Int32Array | None = _column("facet_neurons", "What each facet belongs to, int32[N], or None.")
    facet_states: Int32Array | None = _column("facet_states", "The state on the other side of each facet, int32[N], or None.")
    classes: Int32Array | None = _column("classes", "The largest (smallest) outputs, int32[n], or None.")

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, rows: slice) -> RegionBlock:
        """Read the regions of a slice with step 1: RegionBlock."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise InputError(f"rows is {rows!r}; give a slice with step 1")
        first, last, _ = rows.indices(len(self))
        return self._read(first, max(first, last), schema.REGIONS.datasets)

    def blocks(self, rows: int | None = None) -> Iterator[RegionBlock]:
        """Read the regions block by block, a bounded number of them in memory.

        Parameters
        ----------
        rows : int, optional
            Regions of a block; by default as many as have 16 MiB in the widest of their datasets.

        Yields
        ------
        RegionBlock
        """
        step: int = check_count(rows, "rows", or_none="a choice by size") or self._rows_at_once()
        for first in range(0, len(self), step):
            yield self[first : first + step]

    def read(self) -> Regions:
        """Read all of it into memory: Regions."""
        from ..partition.regions.regions import Regions

        domain, names = (self.lower, self.upper, self.polytope), ("complete", "stopped_by", "method", "certified", "n_exact")
        facts = {name: getattr(self, name) for name in names} | {"class_rule": self.header.classes}
        return Regions.of_block(self.network, domain, self.n_regions, self[:], **facts)

    def to_dataframe(
        self,
        table: Literal["regions", "facets", "region_vertices"] = "regions",
        first: int = 0,
        last: int | None = None,
        **options: Any,
    ) -> pandas.DataFrame:
        """Read a table of these regions as a DataFrame.

        Parameters
        ----------
        table : {"regions", "facets", "region_vertices"}, optional
        first, last : int, optional
            Regions of the enumeration; all by default.
        **options
            As for ``RegionStore.to_dataframe``.

        Returns
        -------
        pandas.DataFrame
        """
        return self.store.to_dataframe(*self._table_arguments(table, first, last), **options)

    def iter_dataframes(
        self, table: str = "regions", first: int = 0, last: int | None = None, **options: Any
    ) -> Iterator[pandas.DataFrame]:
        """Read a table as DataFrames, a bounded number of rows in memory: iterator, as ``RegionStore.iter_dataframes``."""
        return self.store.iter_dataframes(*self._table_arguments(table, first, last), **options)

    def _table_arguments(self, table, first, last):
        if table not in ("regions", "facets", "region_vertices"):
            raise InputError(f"table is {table!r}; give 'regions', 'facets' or 'region_vertices'")
        last = len(self) if last is None else last
        if not 0 <= first <= last <= len(self):
            raise InputError(f"first is {first} and last is {last}, but there are {len(self)} regions; give a range of them")
        return table, self._first + first, self._first + last

    def patterns(self, first: int = 0, last: int | None = None) -> ActivationPatterns:
        """Read the activation patterns of regions ``first`` to ``last`` (not included): ActivationPatterns."""
        if "packed" not in self.header.fields:
            raise StoreError(f"the regions of {self.store.path} were enumerated without patterns; request them in want")
        first, last, _ = slice(first, last).indices(len(self))
        block = self._read(first, max(first, last), schema.REGIONS.datasets[:1])
        return ActivationPatterns(block.packed, self.network.pattern_layout)

    def volumes(self) -> FloatArray:
        """Read the volumes of all regions: float64[n]."""
        return self._requested("volumes", "volumes")[0]

    def halfspaces(self) -> HalfSpaceRows:
        """Read the facets of all regions as half-spaces: HalfSpaceRows."""
        from ..partition.regions.regions import HalfSpaceRows

        return HalfSpaceRows(*self._requested("halfspaces", "facet_G", "facet_h"))

    def affine_maps(self) -> AffineMaps:
        """Read the network on each region: AffineMaps."""
        from ..partition.regions.regions import AffineMaps

        return AffineMaps(*self._requested("affine_maps", "affine_maps_A", "affine_maps_c"))

    def vertices(self) -> RegionVertices:
        """Read the corners of all regions: RegionVertices."""
        from ..partition.regions.regions import RegionVertices

        return RegionVertices(*self._requested("vertices", "vertex_offsets", "vertices", "vertex_facets"))

    def _requested(self, column, *fields):
        if column not in self.header.want:
            raise StoreError(f"the regions of {self.store.path} were enumerated without {column}; request them in want")
        return [self._array(field) for field in fields]

    def close(self) -> None:
        """Close the store, if ``load_regions`` opened it."""
        if self.owns_store:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self.is_finished else ", not finished"
        return f"RegionRows({str(self.store.path)!r}, {self.n_regions} regions{state})"

    @property
    def network(self) -> Network:
        """The network: Network."""
        return self.store.network

    def _array(self, field):
        """Read an array of all regions; None if it was not requested."""
        if field not in self.header.fields:
            return None
        dataset = next(dataset for dataset in schema.REGIONS.datasets if dataset.field == field)
        return getattr(self._read(0, len(self), [dataset]), field)

    def _read(self, first, last, datasets):
        """Read some datasets of regions ``first`` to ``last``: RegionBlock, in which the others are missing."""
        chosen = {dataset.field for dataset in datasets}
        if first == last:
            block = empty_block(self.header, axis_sizes(self.network))
        else:
            wanted = [dataset for dataset in datasets if dataset.field in self.header.fields]
            low, high = self._first + first, self._first + last
            arrays = self.store.read_datasets(schema.REGIONS, low, high, wanted)
            block = block_from_arrays(arrays, self.header)
        return type(block)(**{name: array for name, array in block.arrays().items() if name in chosen})

    def _rows_at_once(self):
        """Return how many regions have 16 MiB in the widest of their datasets."""
        if not len(self):
            return 1
        ranges, widest = self.store.axis_ranges(schema.REGIONS, self._first, self._last), 1
        for dataset in schema.REGIONS.datasets:
            stored = self.store.open_dataset(dataset)
            first, last = ranges[dataset.axis]
            row = stored.dtype.itemsize
            for n in stored.shape[1:]:
                row *= n
            widest = max(widest, row * (last - first) // len(self))
        return max(1, _AT_ONCE // widest)
