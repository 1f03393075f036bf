"""Enumerations of regions as a job: the cells after the first cuts of the box are its items.

Legend: D inputs, M rows of a polytope.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..errors import CapacityError, DigestMismatchError, InputError
from ..network import Network
from ..partition.regions.blocks import RegionHeader
from ..partition.regions.enumerating import Enumeration
from ..store import append_regions, finish_regions
from ..store.large_regions import append_enumeration, refuse_merged
from ..store.regions import block_from_arrays, counts_from_arrays
from ..validation import check_network
from .jobs import Job


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RegionsJob(Job):
    """The regions of a box, by subdivision; items are the cells after its first cuts, whose regions follow each other."""

    kind: ClassVar[str] = "regions"
    unit: ClassVar[str] = "cell"

    lower: np.ndarray = dataclasses.field(repr=False)
    upper: np.ndarray = dataclasses.field(repr=False)
    polytope: tuple[np.ndarray, np.ndarray] | None = dataclasses.field(repr=False)
    classes: str | None
    want: tuple[str, ...]
    n_cells: int  # of the whole job
    n_exact_at_start: int  # signs that were decided with integers before there were cells

    @property
    def steps(self):
        """Names of the steps of ``pwlnet.warmup`` that compile its kernels."""
        return ("forward", "regions")

    def compute(self, first, last, *, threads=None):
        """Refuse: there may be more regions than fit into memory."""
        raise CapacityError("regions are written as they are found and not returned; use enumerate_regions")

    def n_done(self, writer):
        """Return the number of cells whose regions a store has."""
        header = writer.unfinished_header
        if header is None:
            return self.n_items if writer.n_enumerations else 0
        if header.key != self.header().key:
            raise DigestMismatchError(f"{writer.path} has another enumeration of regions; write to a new store")
        state = writer.region_resume_state
        return 0 if state is None else state.get("item", state["position"][0] // 2)

    def finish_started(self, writer):
        """Refuse a store that can be continued in one process only: InputError."""
        if writer.unfinished_header is not None and "item" not in (writer.region_resume_state or {"item": 0}):
            raise InputError(f"{writer.path} was begun without a client, or by save_large_regions; continue it without one")

    def append(self, writer, *, threads=None):
        """Append all regions that a store does not have; of a part, to an empty store."""
        if writer.n_enumerations and writer.unfinished_header is None:
            return
        if self.n_items == self.n_cells:
            append_enumeration(writer, self.header(), self._enumeration(), threads=threads)
        else:
            enumeration, first = self._enumeration(), self.first_item
            found = enumeration.blocks(threads, tasks=True, start=(2 * first, 0), last_task=first + self.n_items)
            append_regions(writer, self.header(), ((block, None) for block, _ in found))
            n_exact = enumeration.search.exact_before(2 * self.n_cells + 2)
            finish_regions(writer, complete=False, stopped_by="interrupted", certified=True, n_exact=n_exact)
        yield self.n_items

    def copy(self, stored, writer, first, last, state=None):
        """Append the regions of a shard of cells to those of the shards before.

        The state has the number of regions before the shard, and of signs that were decided with integers. It is stored with
        each batch, so that an interrupted merge continues in the middle of a shard.
        """
        if writer.unfinished_header is None:
            writer.begin_regions(self.header())
        before = state or writer.region_resume_state or self._state(0, 0, 0)
        counts = counts_from_arrays(stored.read("enumeration_ends"))
        after = self._state(last, before["first_row"] + counts.n_rows, before["n_exact"] + counts.n_exact)
        done = writer.unfinished_regions - before["first_row"]
        for commit in stored.commits[stored.commits["kind"] == b"regions"]:
            low, high = max(done, int(commit["first"][0])), int(commit["last"][0])
            if low < high:
                block = block_from_arrays(stored.read("regions", low, high), self.header())
                writer.append_region_block(block, resume_state=after if high == counts.n_rows else before)
        if last == self.n_items:
            finish_regions(writer, complete=True, certified=True, n_exact=after["n_exact"] + self.n_exact_at_start)
        return after

    @staticmethod
    def _state(item, first_row, n_exact):
        """Return what is needed to continue at an item: dict of JSON values."""
        return {"item": item, "position": [2 * item, 0], "first_row": first_row, "n_exact": n_exact}

    def header(self) -> RegionHeader:
        """Return what the enumeration is requested with."""
        return RegionHeader(self.lower, self.upper, self.polytope, self.want, self.classes, "subdivision")

    def settings(self):
        """Return what results depend on besides the network and the inputs: dict of JSON values."""
        return {"want": list(self.want), "classes": self.classes}

    def _enumeration(self):
        how = {"polytope": self.polytope, "classes": self.classes, "want": self.want}
        return Enumeration(self.network, self.lower, self.upper, **how)

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        return {}

    def _inputs(self, first, last):
        same = (self.lower, self.upper, *(self.polytope or ()))
        return [[array] if first == 0 else [] for array in same]


def regions_job(
    network: Network,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    polytope: Any = None,
    classes: str | None = None,
    want: str | Sequence[str] = ("patterns", "facets"),
    parameters: Mapping[str, Any] | None = None,
) -> Job:
    """Describe the enumeration of the regions of a box as a job.

    Exact up to rounding, and the same regions in the same order as ``store.save_large_regions``.

    Parameters
    ----------
    network : Network
    lower, upper, polytope, classes, want
        As for ``save_large_regions``.
    parameters
        As for ``lines_job``.

    Returns
    -------
    Job
        Items are the cells after the first nine cuts, up to 512; they hold very different numbers of regions.

    Raises
    ------
    UnsupportedOperationError, InputError, ShapeError, InfeasibleError, CapacityError
        As for ``save_large_regions``.
    """
    enumeration = Enumeration(check_network(network), lower, upper, polytope=polytope, classes=classes, want=want)
    refuse_merged(enumeration)
    n_cells = max(1, enumeration.search.make_tasks()[0])
    rows = enumeration.polytope if len(enumeration.polytope[1]) else None
    box = {"lower": enumeration.lower, "upper": enumeration.upper, "polytope": rows}
    what = {"classes": classes, "want": enumeration.wants, "n_cells": n_cells, "n_items": n_cells}
    job = RegionsJob(network=network, n_exact_at_start=enumeration.n_exact_at_start, **box, **what)
    return job._finished(parameters)
