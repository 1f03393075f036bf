"""The parts of regions where a condition on the outputs holds.

Legend: D inputs, O outputs, Q parts, R regions, U polytopes.
"""

from typing import NamedTuple

import numpy as np

from ...conditions import HalfSpaces
from ...errors import InputError
from ...kernels.regions import state as st
from ...scheduling import n_threads
from .blocks import RegionBlock
from .enumerating import Enumeration
from .locating import as_keys


class MetParts(NamedTuple):
    """Where a condition holds."""

    regions: np.ndarray  # int64[Q] the region that each part belongs to
    witnesses: np.ndarray  # float64[Q, D] a point inside each part
    volumes: np.ndarray  # float64[Q]
    boundary_points: np.ndarray  # float64[*, D] points where it holds in faces of regions at most


def parts_that_meet(regions, union, *, threads=None):
    """Cut regions by conditions on the outputs; parts that earlier conditions have are left out.

    Exact: signs are decided as those of the regions are.

    Parameters
    ----------
    regions : Regions
        All of them.
    union : list of HalfSpaces
    threads : int, optional

    Returns
    -------
    MetParts

    Raises
    ------
    InputError
        The regions are not complete.
    """
    if not regions.complete:
        raise InputError(f"the regions are not complete (stopped by {regions.stopped_by}); enumerate all of them")
    parts, boundary = [], [np.zeros((0, regions.network.n_inputs))]
    for u, condition in enumerate(union):
        for rows in _without(union[:u], condition):
            part, points = _met(regions, rows, threads)
            parts += part
            if rows is condition:
                boundary.append(points)
        if u:
            boundary.append(_met(regions, condition, threads)[1])
    block = RegionBlock.join(parts) if parts else None
    if block is None:
        nothing = np.zeros(0, np.int64), np.zeros((0, regions.network.n_inputs)), np.zeros(0)
        return MetParts(*nothing, np.concatenate(boundary))
    return MetParts(_regions_of(regions, block), block.witnesses, block.volumes, np.concatenate(boundary))


def _without(earlier, condition):
    """Return the rows of a condition outside the earlier ones, as polytopes without common interior: list of HalfSpaces."""
    parts = [condition]
    for other in earlier:
        cut = []
        for part in parts:
            for m in range(len(other.b)):  # the first m rows hold, and row m does not
                matrix = np.concatenate([part.A, other.A[:m], -other.A[m : m + 1]])
                shift = np.concatenate([part.b, other.b[:m], -other.b[m : m + 1]])
                cut.append(HalfSpaces(matrix, shift))
        parts = cut
    return parts


def _met(regions, condition, threads):
    """Return the blocks of the parts where one condition holds, and points where it holds on boundaries only."""
    enumeration = Enumeration(
        regions.network, regions.lower, regions.upper, polytope=regions.polytope, condition=condition, want=("volumes",)
    )
    blocks = [block for block, _ in enumeration.blocks(n_threads(threads))]
    slots = enumeration.search.slots
    points = [slot.results.boundary_points[: int(slot.work.at[st.N_BOUNDARY_POINTS])] for slot in slots]
    return blocks, enumeration.points.inputs(np.concatenate(points))


def _regions_of(regions, block):
    """Return the region of each part: int64[Q]."""
    order = np.argsort(as_keys(regions.packed), kind="stable")
    keys = as_keys(regions.packed)[order]
    return order[np.searchsorted(keys, as_keys(block.packed))]
