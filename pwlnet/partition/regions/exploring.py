"""Explore the cells of a box: what each thread works with, and how its results are combined.

Legend: D_in inputs, D free inputs, S stages, H columns of the largest stage.
"""

import time

import numpy as np

from ...errors import InputError
from ...kernels.regions import state as st
from ...scheduling import n_threads
from ...tolerances import UNIT_ROUNDOFF
from .cell_search import CellSearch
from .exact import ExactSigns
from .layers import make_layers
from .polytopes import root_in_polytope
from .results import CellRun, ConditionCells, Points, Ranges, neuron_states, pack_signs

WANTS = ("signs", "ranges", "outputs", "patterns")


def explore(
    network,
    lower,
    upper,
    *,
    condition=None,
    polytope=None,
    want=(),
    certify=None,
    max_cells=None,
    time_limit=None,
    threads=None,
    stop_when_met=False,
    n_witnesses=16,
):
    """Find the cells of a network on a box with at most eight free inputs: the regions of one activation pattern.

    Exact up to rounding: cells are cut in floating point. A value counts as zero within the rounding error of its affine map;
    ``certify`` counts the other signs at vertices that are not proved. With ``certify="exact"``, integers decide all signs that
    floating-point bounds leave open.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D_in]
        The box; sides may have width zero.
    condition : HalfSpaces, optional
        Find the cells that meet it.
    polytope : (float64[M, D_in], float64[M]), optional
        Rows ``A x <= b`` that cut the box; those of ``as_polytope``.
    want : str or tuple of str
        Of "signs", "ranges", "outputs", "patterns": which fields of the result to compute.
    certify : bool or "exact", optional
        By default, where there is a condition.
    max_cells : int, optional
        Stop when more cells have been found.
    time_limit : float, optional
        Stop after so many seconds.
    threads : int, optional
    stop_when_met : bool
        Stop at the first cell that meets the condition.
    n_witnesses : int
        Largest number of witnesses, and of points on the boundary of the condition.

    Returns
    -------
    CellRun
        It does not depend on the number of threads, unless the time limit stops it.

    Raises
    ------
    CapacityError
        More than 8 inputs are free, or a cell has more than 64 facets.
    InputError
        ``want`` has another name.
    """
    wants = (want,) if isinstance(want, str) else tuple(want)
    if set(wants) - set(WANTS):
        raise InputError(f"want is {want!r}; the choices are {', '.join(map(repr, WANTS))}")
    lower, upper = (np.ascontiguousarray(x, np.float64).ravel() for x in (lower, upper))
    layers = make_layers(
        network, lower, upper, condition=condition, outputs="outputs" in wants, ranges="ranges" in wants
    )  # fmt: skip
    lists = "patterns" in wants or layers.merges
    certify = condition is not None if certify is None else certify
    settings = {
        st.CERTIFY: st.EXACT if certify == "exact" else certify,
        st.CONDITION: condition is not None,
        st.SIGNS: "signs" in wants,
        st.RECORD: 1 if "ranges" in wants else len(layers.stages) if "outputs" in wants else 0,
        st.LIST: lists,
        st.COUNT_ONLY: not (wants or lists or condition is not None),
        st.STOP_WHEN_MET: stop_when_met and condition is not None,
    }
    rows = (np.zeros((0, len(lower))), np.zeros(0)) if polytope is None else polytope
    exact = ExactSigns(network, layers, lower, upper, rows, condition) if certify == "exact" else None
    search = CellSearch(layers, lower, upper, settings, n_witnesses=n_witnesses, exact=exact)
    if len(rows[1]):
        search.root, _ = root_in_polytope(network, layers, search.problem, lower, upper, rows)
    search.max_cells = max_cells
    search.deadline = None if time_limit is None else time.monotonic() + time_limit
    search.run(n_threads(threads))
    return _result(network, layers, search, wants, condition, Points(layers, lower, upper))


def _first_of(slots, values, keys):
    """Return, entry by entry, the number of the slot with the least value, and among these the least key."""
    best = np.zeros(values[0].shape, np.int64)
    least, key = values[0].copy(), keys[0].copy()
    for k in range(1, len(slots)):
        better = (values[k] < least) | ((values[k] == least) & (keys[k] < key))
        best[better], least[better], key[better] = k, values[k][better], keys[k][better]
    return best


def _combined_ranges(slots):
    """Return the extremes float64[R, 4] of all slots, and where they are attained, float64[R, 2, D]."""
    results = [slot.results for slot in slots]
    extremes = results[0].extremes.copy()
    at = results[0].extreme_at.copy()
    for side, sign in ((0, 1.0), (1, -1.0)):
        best = _first_of(slots, [sign * r.extremes[:, side] for r in results], [r.extreme_key[:, side] for r in results])
        for k, r in enumerate(results):
            extremes[best == k, side], at[best == k, side] = r.extremes[best == k, side], r.extreme_at[best == k, side]
    extremes[:, 2] = np.min([r.extremes[:, 2] for r in results], axis=0)
    extremes[:, 3] = np.max([r.extremes[:, 3] for r in results], axis=0)
    return extremes, at


def _ranges(combined, columns, shifts, points):
    """Return the Ranges of some recorded columns."""
    extremes, at = combined[0][columns], points.inputs(combined[1][columns])
    lower, upper = extremes[:, 0] + shifts, extremes[:, 1] + shifts
    error = np.maximum(extremes[:, 0] - extremes[:, 2], extremes[:, 3] - extremes[:, 1])
    rounding = 2.0 * float(UNIT_ROUNDOFF) * (np.abs(shifts) + np.maximum(np.abs(lower), np.abs(upper)))
    return Ranges(lower, upper, at[:, 0].copy(), at[:, 1].copy(), error + rounding)


def _signs(layers, slots, points):
    """Return the NeuronStates."""
    results, n = [slot.results for slot in slots], slots[0].results.seen_key.shape[1]
    keys = [r.seen_key for r in results]
    best = _first_of(slots, keys, keys)
    at = results[0].seen_at.copy()
    for k, r in enumerate(results):
        at[best == k] = r.seen_at[best == k]
    words = np.bitwise_or.reduce([r.seen for r in results])
    seen = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little", count=n).astype(bool)
    touched = np.max([r.touched[:n] for r in results], axis=0).astype(bool)
    return neuron_states(layers, seen, points.inputs(at), touched)


def _condition(search, points):
    """Return the ConditionCells."""
    slots, n = search.slots, search.n_witnesses
    found = [(slot.results, int(slot.work.at[st.N_WITNESSES]), int(slot.work.at[st.N_BOUNDARY_POINTS])) for slot in slots]
    margins, keys, at = (
        np.concatenate([getattr(r, name)[:count] for r, count, _ in found])
        for name in ("met_margins", "met_keys", "met_points")
    )
    if search.stopped_by == "met":
        order = np.flatnonzero(keys == keys.min())[:1]
    else:
        order = np.lexsort((keys, margins))[:n]
    boundary_keys, boundary = (
        np.concatenate([getattr(r, name)[:count] for r, _, count in found]) for name in ("boundary_keys", "boundary_points")
    )
    first = np.argsort(boundary_keys, kind="stable")[:n]
    clearance = min(float(slot.work.clearance[0]) for slot in slots)
    return ConditionCells(
        search.total(st.N_MET), points.inputs(at[order]), margins[order], search.total(st.N_BOUNDARY),
        points.inputs(boundary[first]), clearance,
    )  # fmt: skip


def _result(network, layers, search, wants, condition, points):
    """Return the CellRun."""
    n_cells, fields = search.total(st.N_CELLS), {}
    if condition is not None:
        fields["condition"] = _condition(search, points)
    if "signs" in wants:
        fields["signs"] = _signs(layers, search.slots, points)
    if search.settings[st.RECORD]:
        combined = _combined_ranges(search.slots)
        if "ranges" in wants:
            fields["ranges"] = _ranges(combined, layers.sources, layers.shifts, points)
        if "outputs" in wants:
            n = network.n_outputs
            fields["outputs"] = _ranges(combined, layers.first_output + np.arange(n), np.zeros(n), points)
    if search.settings[st.LIST]:
        rows = search.rows()
        packed, at = pack_signs(network, layers, rows.words), rows.points
        if layers.merges:
            _, first = np.unique(packed, axis=0, return_index=True)
            first.sort()
            packed, at, n_cells = packed[first], at[first], len(first)
        if "patterns" in wants:
            fields |= {"packed": packed, "witnesses": points.inputs(at)}
    return CellRun(
        n_cells, search.stopped_by is None, search.stopped_by, search.total(st.N_UNDECIDED), search.total(st.N_TOUCHING),
        layers.free, **fields,
    )  # fmt: skip
