"""The parts of regions where a condition on the outputs holds.

Legend: D inputs, O outputs, Q parts.
"""

from typing import NamedTuple

import numpy as np

from ...kernels.regions import state as st
from ...scheduling import n_threads
from .enumerating import Enumeration
from .region_rows import RegionBlock, join_blocks


class MetParts(NamedTuple):
    """Where a condition holds."""

    block: RegionBlock | None  # parts with interior: patterns, witnesses, vertices
    volumes: np.ndarray  # float64[Q]
    boundary_points: np.ndarray  # float64[*, D] where it holds at single points, or on faces, of regions at most
    complete: bool
    n_exact: int


def parts_that_meet(regions, condition, *, first=False, want=("volumes",), threads=None):
    """Cut the regions by a condition.

    Exact: signs are decided as those of the regions are.

    Parameters
    ----------
    regions : Regions
    condition : HalfSpaces
        On the outputs.
    first : bool
        Stop at the first part.
    want : tuple of str
    threads : int, optional

    Returns
    -------
    MetParts
    """
    enumeration = Enumeration(
        regions.network, regions.lower, regions.upper, polytope=regions.polytope, condition=condition, want=want, first=first
    )
    blocks = list(enumeration.blocks(n_threads(threads)))
    search = enumeration.search
    points = [
        slot.results.boundary_points[: int(slot.work.at[st.N_BOUNDARY_POINTS])] for slot in search.slots
    ]  # fmt: skip
    boundary = enumeration.points.inputs(np.concatenate(points))
    block = join_blocks(blocks) if blocks else None
    volumes = np.zeros(0) if block is None or block.volumes is None else block.volumes
    return MetParts(block, volumes, boundary, search.stopped_by is None, search.total(st.N_EXACT) + enumeration.n_exact)
