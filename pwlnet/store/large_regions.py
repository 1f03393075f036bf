"""Enumerate the regions of a box into a store, a bounded number of them in memory.

Legend: as in ``schema.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._types import ArrayLike, PathLike
from ..errors import DigestMismatchError, InputError, UnsupportedOperationError
from ..kernels.regions.state import NO_KEY
from ..partition.lines.rounds import Progress
from ..partition.regions.blocks import RegionHeader
from ..partition.regions.enumerating import Enumeration
from ..validation import check_count
from .creation import open_or_create
from .in_chunks import closing
from .region_appending import append_regions, finish_regions
from .region_rows import RegionRows, load_regions

if TYPE_CHECKING:
    from ..conditions import HalfSpaces
    from ..network import Network


def save_large_regions(
    path: PathLike,
    network: Network,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    polytope: HalfSpaces | tuple[ArrayLike, ArrayLike] | None = None,
    classes: str | None = None,
    want: str | Sequence[str] = ("patterns", "facets"),
    max_regions: int | None = None,
    time_limit: float | None = None,
    resume: bool = False,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    compression: str = "gzip",
    threads: int | None = None,
    progress: bool = False,
) -> RegionRows:
    """Enumerate the regions of a box, by subdivision, and write them to a store as they are found.

    Exact up to rounding, as ``enumerate_regions``. Whatever stops the program, Ctrl-C included, at most the regions of the last
    seconds are lost; ``resume=True`` continues, and the store is then the same as one that was written at once.

    Parameters
    ----------
    path : str or path
    network : Network
    lower, upper, polytope, classes, max_regions, threads, progress
        As for ``enumerate_regions``.
    want : str or sequence of str, optional
        As for ``enumerate_regions``.
    time_limit : float, optional
        Seconds; the enumeration is left unfinished then, and can be resumed.
    resume : bool, optional
        Continue a store that exists.
    parameters, overwrite, compression
        As for ``pwlnet.store.create``.

    Returns
    -------
    RegionRows
        Reads from the store; it is to be closed, or used in a ``with`` statement.

    Raises
    ------
    UnsupportedOperationError
        Regions consist of several cells: a MaxPool with three taps or more, or classes of three outputs or more.
        ``enumerate_regions`` joins them in memory, and ``save_regions`` writes the result.
    StoreError
        As for ``create`` and ``resume``.
    DigestMismatchError
        The store belongs to another network, or to another enumeration.
    InputError, ShapeError, InfeasibleError, CapacityError
        As for ``enumerate_regions``.

    See Also
    --------
    load_regions : read them later.

    Notes
    -----
    Cells after the first nine cuts are tasks. Regions are written in the order of the tasks, so that a run is continued from
    any region by finishing its task once more. A bounded number of regions of later tasks wait in memory.
    """
    max_regions = check_count(max_regions, "max_regions", or_none="no limit")
    enumeration = Enumeration(network, lower, upper, polytope=polytope, classes=classes, want=want, time_limit=time_limit)
    refuse_merged(enumeration)
    header = RegionHeader(
        enumeration.lower, enumeration.upper, enumeration.polytope, enumeration.wants, classes, "subdivision"
    )  # fmt: skip
    made_with = {"parameters": parameters, "threads": threads}
    with open_or_create(path, network, resume, overwrite, compression, made_with) as writer:
        if not writer.n_enumerations or writer.unfinished_header is not None:
            append_enumeration(writer, header, enumeration, max_regions=max_regions, threads=threads, progress=progress)
    rows = load_regions(path, network)
    if rows.header.key != header.key:
        rows.close()
        raise DigestMismatchError(f"{path} holds another enumeration of regions; give another path")
    return rows


def refuse_merged(enumeration):
    """Refuse an enumeration that can't be written as its regions are found.

    Parameters
    ----------
    enumeration : Enumeration

    Raises
    ------
    InputError
        Nothing is wanted of the regions.
    UnsupportedOperationError
        Regions consist of several cells.
    """
    if not enumeration.wants:
        raise InputError("want is empty, so there is nothing to store; use enumerate_regions to count regions")
    if enumeration.layers.merges:
        raise UnsupportedOperationError(
            "regions of this network consist of several cells (MaxPool, or classes, with three or more entries), which are "
            "joined in memory; use enumerate_regions and save_regions"
        )


def append_enumeration(writer, header, enumeration, *, max_regions=None, threads=None, progress=False):
    """Append what is missing of an enumeration, and complete it.

    Parameters
    ----------
    writer : StoreWriter
    header : RegionHeader
    enumeration : Enumeration
    max_regions, threads, progress
        As for ``save_large_regions``.
    """
    state, first = writer.region_resume_state, writer.unfinished_regions or 0
    if state is None:
        state, first = {"position": [0, 0], "n_exact": 0}, 0
    first = state.get("first_row", first)  # of a merge that was interrupted in the middle of a shard
    search = enumeration.search
    with contextlib.closing(Progress(max_regions, progress, "region")) as bar:
        bar.reach(first)
        blocks = _blocks(enumeration, state, first, max_regions, threads, bar)
        append_regions(writer, header, blocks, first_row=first)
    if search.stopped_by in (None, "max_regions"):
        done = state["last"] if search.stopped_by else NO_KEY
        n_exact = state["n_exact"] + search.exact_before(done) + enumeration.n_exact_at_start
        complete = search.stopped_by is None
        finish_regions(writer, complete=complete, stopped_by=search.stopped_by, certified=True, n_exact=n_exact)


def _blocks(enumeration, state, n, max_regions, threads, bar):
    """Yield RegionBlocks from a position on, each with the state after it."""
    search = enumeration.search
    with closing(enumeration.blocks(threads, tasks=True, start=tuple(state["position"]))) as blocks:
        for block, (key, rows) in blocks:
            n += len(block)
            after = {"position": [key, rows], "n_exact": state["n_exact"] + search.exact_before(key)}
            if max_regions is not None and n >= max_regions:
                search.stopped_by = "max_regions" if n > max_regions else search.stopped_by
                state["last"] = key
                block = block[: len(block) - (n - max_regions)]
            bar.advance(len(block))
            yield block, after
            if max_regions is not None and n > max_regions:
                return
