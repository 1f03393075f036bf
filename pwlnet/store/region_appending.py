"""Write enumerations of regions: those in memory at once, others block by block as they are made.

Legend: as in ``schema.py``; n regions of a block.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import PathLike, StopReason
from ..errors import DigestMismatchError, InputError
from ..partition.regions.blocks import COLUMNS, FIELDS_OF, STOPS, RegionBlock, RegionHeader
from ..validation import check_choice, check_count, check_result
from . import schema
from .creation import create
from .in_chunks import closing
from .regions import RegionCounts, block_to_arrays

if TYPE_CHECKING:
    from ..partition.regions.regions import Regions
    from .writer import StoreWriter

ROWS = 2**16  # regions of a commit ...
_BYTES = 2**25  # ... unless they have more bytes
_SECONDS = 10.0  # a slow enumeration is committed so often


class WrittenRegions(NamedTuple):
    """What was written: numbers of regions and of facets."""

    n_regions: int
    n_facets: int


def append_regions(
    writer: StoreWriter,
    header: RegionHeader,
    blocks: Iterable[tuple[RegionBlock, dict[str, Any] | None]],
    *,
    first_row: int = 0,
    rows: int | None = None,
) -> WrittenRegions:
    """Append the regions of an enumeration to a store as they are made; ``finish_regions`` completes it.

    A bounded number of them is in memory. Blocks are joined until they have enough rows, and committed with the resume state
    of the last one; readers see them from then on. What stops the enumeration, Ctrl-C included, loses no block that was
    yielded; a program that is killed loses at most those of the last 10 seconds.

    Parameters
    ----------
    writer : StoreWriter
        Of ``create``, or of ``resume``: then ``unfinished_header``, ``unfinished_regions`` and ``region_resume_state`` describe
        what is there.
    header : RegionHeader
        What was requested.
    blocks : iterable of (RegionBlock, dict or None)
        Blocks in order, each with what is needed to continue after it, of JSON values.
    first_row : int, optional
        Number of regions before the first block: of a continued enumeration, at most ``unfinished_regions``. Regions of the
        store that come again are compared, and not stored again.
    rows : int, optional
        Regions of a commit; about 2^16 by default.

    Returns
    -------
    WrittenRegions
        Numbers of regions and facets of the enumeration that are in the store now.

    Raises
    ------
    DigestMismatchError
        The store has the first regions of another enumeration.
    InputError, ShapeError
        Blocks do not have the columns of the header, or ``first_row`` leaves a gap.
    StoreError
        As for ``StoreWriter.append_lines``.
    """
    check_result(writer, "writer", ("unfinished_header", "begin_regions"), "pwlnet.store.create")
    check_result(header, "header", ("key", "fields"), "pwlnet.partition.regions.blocks.RegionHeader")
    if not hasattr(blocks, "__iter__"):
        raise InputError(f"blocks is of type {type(blocks).__name__}; give pairs of a RegionBlock and its resume state")
    rows = ROWS if check_count(rows, "rows", or_none=f"{ROWS}") is None else rows
    if writer.unfinished_header is None:
        if check_count(first_row, "first_row", least=0):
            raise InputError(f"first_row is {first_row}, but {writer.path} has no enumeration to continue; begin with row 0")
        writer.begin_regions(header)
    elif writer.unfinished_header.key != header.key:
        raise DigestMismatchError(
            f"enumeration {writer.n_enumerations - 1} of {writer.path} was started with other bounds, columns or another "
            "method; give the same, or write to a new store"
        )
    stored = writer.unfinished_regions
    if check_count(first_row, "first_row", least=0) > stored:
        raise InputError(f"first_row is {first_row}, but {writer.path} has {stored} regions of the enumeration; begin there")
    pending = _Pending(writer, header, first_row, stored, rows)
    with closing(iter(blocks)) as blocks:
        while True:
            try:
                item = next(blocks, None)
            except BaseException:
                pending.commit()
                raise
            if item is None:
                break
            if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], RegionBlock):
                raise InputError(f"blocks gave a {type(item).__name__}; give pairs of a RegionBlock and its resume state")
            pending.add(*item)
    pending.commit()
    if pending.done < stored:
        raise DigestMismatchError(
            f"the enumeration has {pending.done} regions, but {writer.path} has {stored} of it; write to a new store"
        )
    return _written(writer)


def _written(writer):
    """Count what is stored of the enumeration: WrittenRegions."""
    n = writer.unfinished_regions
    if not n:
        return WrittenRegions(0, 0)
    ends = (writer.read_unfinished_regions("facet_offsets", row, row)[0] for row in (0, n))
    return WrittenRegions(n, -int(np.subtract(*ends)))


class _Pending:
    """Blocks that were made and not yet committed."""

    def __init__(self, writer, header, first_row, stored, rows):
        self._writer, self._header, self._stored, self._rows = writer, header, stored, rows
        self.done = first_row
        self._blocks, self._state, self._since = [], None, time.monotonic()

    def add(self, block, resume_state):
        """Add a block; commit when there is enough."""
        known = min(max(self._stored - self.done, 0), len(block))
        if known:
            self._refuse_other_rows(block[:known])
        self.done += len(block)
        if known < len(block):
            self._blocks.append(block[known:] if known else block)
            self._state = resume_state
        n_bytes = sum(array.nbytes for block in self._blocks for array in block.arrays().values())
        is_enough = sum(map(len, self._blocks)) >= self._rows or n_bytes >= _BYTES
        if is_enough or time.monotonic() - self._since > _SECONDS:
            self.commit()

    def commit(self):
        """Append all blocks as a batch."""
        blocks, self._blocks = self._blocks, []
        if blocks:
            self._writer.append_region_block(RegionBlock.join(blocks), resume_state=self._state)
        self._since = time.monotonic()

    def _refuse_other_rows(self, block):
        """Refuse regions that are not those that the store has in their place."""
        first, writer = self.done, self._writer
        arrays = block_to_arrays(block, self._header, writer.region_sizes)
        ranges = {"Q": (first, first + len(block))}
        for dataset in schema.REGIONS.datasets:
            rows = arrays[dataset.field]
            if dataset.axis not in ranges:
                continue
            stored = writer.read_unfinished_regions(dataset.field, *ranges[dataset.axis])
            if dataset.lead:
                ranges[schema.REGIONS.counts[dataset.path]] = int(stored[0]), int(stored[-1])
                stored = stored - stored[0]
            if rows.tobytes() != stored.tobytes():
                raise DigestMismatchError(
                    f"enumeration {writer.n_enumerations - 1} of {writer.path} was started with other {dataset.field} than "
                    "those of the regions now; write to a new store"
                )


def finish_regions(
    writer: StoreWriter,
    *,
    complete: bool,
    stopped_by: StopReason | None = None,
    certified: bool = False,
    n_exact: int = 0,
    n_regions: int | None = None,
) -> None:
    """Complete the enumeration whose regions were appended.

    Parameters
    ----------
    writer : StoreWriter
    complete : bool
        All regions of the box were found.
    stopped_by : {"max_regions", "time_limit", "interrupted"}, optional
        Needed if the enumeration is not complete.
    certified : bool, optional
    n_exact : int, optional
        As in Regions.
    n_regions : int, optional
        Number of regions, if they were only counted (no columns); by default those that were appended.

    Raises
    ------
    InputError
        There is no enumeration to finish, or the arguments do not agree.
    StoreError
        As for ``StoreWriter.append_lines``.
    """
    if stopped_by is not None:
        check_choice(stopped_by, STOPS, "stopped_by")
    if bool(complete) != (stopped_by is None):
        raise InputError(f"complete is {complete} and stopped_by is {stopped_by!r}; give what stopped it, or None if complete")
    stored = writer.unfinished_regions or 0
    n_regions = stored if n_regions is None else check_count(n_regions, "n_regions", least=0)
    n_exact = check_count(n_exact, "n_exact", least=0)
    writer.end_regions(RegionCounts(n_regions, stored, bool(complete), stopped_by, bool(certified), n_exact))


def save_regions(
    path: PathLike,
    regions: Regions,
    *,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    compression: str = "gzip",
    rows: int | None = None,
) -> WrittenRegions:
    """Write an enumeration of regions to a new store.

    Parameters
    ----------
    path : str or path
    regions : Regions
        Of ``enumerate_regions``: all its columns are written.
    parameters, overwrite, threads, compression
        As for ``create``.
    rows : int, optional
        Regions of a batch, about 2^16 by default; the results and their digest do not depend on it.

    Returns
    -------
    WrittenRegions

    Raises
    ------
    InputError
        These are no regions, or their arrays are inconsistent.
    StoreError
        As for ``create``.

    See Also
    --------
    append_regions : write regions as they are made.
    load_regions : read them.
    """
    check_result(regions, "regions", ("network", "n_regions", "facet_offsets", "complete"), "pwlnet.enumerate_regions")
    header, block = header_of(regions), block_of(regions)
    rows_at_once: int = check_count(rows, "rows", or_none=f"{ROWS}") or ROWS
    options: dict[str, Any] = {"parameters": parameters, "overwrite": overwrite, "threads": threads, "compression": compression}
    with create(path, regions.network, **options) as writer:
        blocks = ((block[low : low + rows_at_once], None) for low in range(0, len(block), rows_at_once))
        written = append_regions(writer, header, blocks, rows=rows)
        n_regions = int(regions.n_regions)
        finish_regions(
            writer,
            complete=regions.complete,
            stopped_by=regions.stopped_by,
            certified=regions.certified,
            n_exact=int(regions.n_exact),
            n_regions=n_regions,
        )
    return written._replace(n_regions=n_regions)


def header_of(regions):
    """Return what Regions were requested with, by the columns that they have: RegionHeader."""
    has = block_of(regions).arrays()
    want = tuple(name for name in COLUMNS if FIELDS_OF[name][0] in has)
    return RegionHeader(regions.lower, regions.upper, regions.polytope, want, regions.class_rule, regions.method)


def block_of(regions):
    """Return the arrays of Regions that a store holds: RegionBlock."""
    return regions.block()
