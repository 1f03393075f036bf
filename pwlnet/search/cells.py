"""Decisions by the cells of a box on which a network is affine, for boxes with few sides of positive width.

Legend: D inputs.
"""

from typing import NamedTuple

import numpy as np

from ..partition.regions.exploring import explore

SAT, UNSAT, UNDECIDED = "sat", "unsat", "undecided"
MOST_FREE = 6  # sides of positive width; of more, up to layers.MOST_FREE, boxes have too many cells for a decision


class CellAnswer(NamedTuple):
    """What the cells of a box say about a union of conditions."""

    status: str
    witness: np.ndarray | None  # float64[D]
    n_cells: int
    open: tuple  # numbers of the polytopes that are not decided


def decide_cells(network, union, polytopes, lower, upper, confirmer, clock, *, max_cells=None, threads=None, domain=None):
    """Decide whether conditions hold in a box, by its cells.

    Parameters
    ----------
    network : Network
    union : sequence of HalfSpaces
    polytopes : sequence of int
        Those to decide.
    lower, upper : float64[D]
        At most six of the sides have a positive width.
    confirmer : Confirmer
    clock : Clock
    max_cells : int, optional
        For all polytopes together.
    threads : int, optional
    domain : (float64[M, D], float64[M]), optional
        Rows ``A x <= b`` of inputs that cut the box.

    Returns
    -------
    CellAnswer
        "unsat" if all cells exclude all polytopes, by more than the bounds of rounding errors or by signs that integers decide.
    """
    n_cells, left = 0, []
    for u in polytopes:
        if clock.is_up() or (max_cells is not None and n_cells >= max_cells):
            left.append(u)
            continue
        limits = {"max_cells": None if max_cells is None else max_cells - n_cells, "time_limit": clock.left, "threads": threads}
        how = {"condition": union[u], "polytope": domain, "certify": "exact", "stop_when_met": True}
        run = explore(network, lower, upper, **how, **limits)
        n_cells, found = n_cells + run.n_cells, run.condition
        witness = confirmer.first([*found.witnesses, *found.boundary_points])
        if witness is not None:
            return CellAnswer(SAT, witness, n_cells, ())
        is_excluded = run.complete and not (found.n_met or found.n_boundary)
        if not is_excluded:
            left.append(u)
    return CellAnswer(UNDECIDED if left else UNSAT, None, n_cells, tuple(left))
