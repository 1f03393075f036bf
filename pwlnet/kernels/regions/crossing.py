"""Regions in many dimensions, found by crossing the facets of regions that are known.

Coordinates z are those of the unit box: input d is ``lower[d] + width[d] * z``. Rows are half-spaces ``g z <= h`` with g of
unit length: first the box (all lower sides, then all upper ones), then a polytope, then the thresholds of neurons under the
states of the region, as far as these can be reached in the box.

Legend: D inputs, F free inputs, B regions or facets, K neurons, M rows, T tile rows, X facets.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ZERO, allocating_kernel, entry_kernel, inlined_kernel, kernel, slot_kernel
from ..ir import program as ir
from ..ir.affine import n_ops, rows_of
from ..ir.passes import TILE, load_inputs, run_ops
from ..ir.switching import from_source_order
from ..planes.words import mix_key
from . import dictionary as dc
from .halfspaces import Rows, list_rows, push_directions

RELAXATION = 2.0**-41  # of slacks, up to twice as much
FIRST_STEP, STEP_RATIO, N_STEPS = 2.0**-4, 2.0**-3, 12  # beyond a facet, in units of the box
NO_GRADIENT = 2.0**-44  # length of a gradient that is rounding errors, relative to the largest one of the op
NO_DOMAIN = -1  # neuron of a row that belongs to the domain
DESCRIBE, CROSS = 0, 1  # phases

# Entries of ``options``.
PHASE, LAST, N_DOMAIN = 0, 1, 2
# Entries of ``counts``.
N_FACETS, PENDING, N_OPEN, UNKNOWN, N_PIVOTS, N_PROGRAMS = 0, 1, 2, 3, 4, 5
# Values of ``found``.
CROSSED, SEVERAL, FAILED = 0, 1, 2


class CrossingSlot(NamedTuple):
    """What one slot works with; B is the number of regions to describe, or of facets to cross."""

    code: ir.PackedProgram
    options: np.ndarray  # int64[3]
    free: np.ndarray  # int64[F]
    lower: np.ndarray  # float64[D] values of fixed inputs, too
    width: np.ndarray  # float64[F]
    domain: np.ndarray  # float64[M0, F + 1] rows [g, h]
    points: np.ndarray  # float64[B, F] inside regions, or on facets
    normals: np.ndarray  # float64[B, F] of the facets to cross, outward
    neurons: np.ndarray  # int64[B] of these facets
    others: np.ndarray  # int64[B] their states on the other sides
    states_before: np.ndarray  # int32[B, K]
    centers: np.ndarray  # float64[B, F] out: a point inside each region, or beyond each facet
    found: np.ndarray  # int8[B] out
    next_item: np.ndarray  # int64[1] counter
    rows: Rows
    row_of: np.ndarray  # int64[M] row of ``rows``, or NO_DOMAIN - row of the domain
    g: np.ndarray  # float64[M, F + 1]
    dictionary: dc.Dictionary
    inputs: np.ndarray  # float64[T, D]
    states: np.ndarray  # int32[T, K] source order
    stored: np.ndarray  # int32[K] stored order
    buffer: np.ndarray  # float64[T * n_values]
    counts: np.ndarray  # int64[6]
    region: np.ndarray  # int64[X] out: of each facet; and the next four
    neuron: np.ndarray  # int32[X] its neuron, or NO_DOMAIN - row of the domain
    other: np.ndarray  # int32[X] state on the other side
    point: np.ndarray  # float64[X, F]
    normal: np.ndarray  # float64[X, F + 1] g and h


@kernel
def _to_inputs(slot, z, step, normal, row):
    """Write the input of a point, moved along a normal, to a row of slot.inputs."""
    for d in range(slot.lower.shape[0]):
        slot.inputs[row, d] = slot.lower[d]
    for k in range(slot.free.shape[0]):
        at = min(max(z[k] + step * normal[k], 0.0), 1.0)
        slot.inputs[row, slot.free[k]] += slot.width[k] * at


@kernel
def _gather_slopes(slot, n_rows, first, filled):
    """Read the slopes of rows in a tile of input directions. Out: slot.g."""
    code, rows = slot.code, slot.rows
    for m in range(n_rows):
        y = rows_of(code, rows.operand[m], TILE, slot.buffer)
        for k in range(slot.free.shape[0]):
            r = slot.free[k] - first
            if 0 <= r < filled:
                plus = y[r, rows.plus[m]] if rows.plus[m] >= 0 else 0.0
                minus = y[r, rows.minus[m]] if rows.minus[m] >= 0 else 0.0
                slot.g[m, k] = (plus - minus) * slot.width[k]


@allocating_kernel
def _evaluate_rows(slot, b):
    """Compute the rows of all neurons at a point; returns their number, -1 for unknown ops. Out: slot.g, [slopes, margin]."""
    code, rows, f = slot.code, slot.rows, slot.free.shape[0]
    _to_inputs(slot, slot.points[b], 0.0, slot.points[b], 0)
    load_inputs(code, slot.inputs[:1], ZERO, TILE, slot.buffer)
    if not run_ops(code, TILE, 1, slot.buffer, slot.states):
        return -1
    n_rows = list_rows(code, slot.states[0], rows)
    for m in range(n_rows):
        v = rows_of(code, rows.operand[m], TILE, slot.buffer)
        plus = v[0, rows.plus[m]] if rows.plus[m] >= 0 else 0.0
        minus = v[0, rows.minus[m]] if rows.minus[m] >= 0 else 0.0
        slot.g[m, f] = rows.threshold[m] - (plus - minus)
    for i in range(1, n_ops(code)):
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        if hi > lo:
            from_source_order(code, i, slot.states[0, lo:hi], slot.stored[lo:hi])
    first, n_inputs = 0, slot.lower.shape[0]
    while first < n_inputs:
        filled = push_directions(code, slot.options[LAST], slot.stored, first, n_inputs, slot.buffer)
        _gather_slopes(slot, n_rows, first, filled)
        first += filled
    return n_rows


@kernel
def _add_row(w, label, slack, n):
    """Append a row of the dictionary with relaxed slack; its coefficients are there already."""
    f = w.tight.shape[0]
    w.a[f, label] = max(slack, 0.0) + RELAXATION * (1.0 + label / n)
    w.labels[label], w.places[label] = label, label
    w.status[label], w.margins[label] = dc.UNDECIDED, dc.TOUCHING


@inlined_kernel
def _norm(row, f):
    """Return the length of the first f entries of a row."""
    total = 0.0
    for d in range(f):
        total += row[d] * row[d]
    return np.sqrt(total)


@kernel
def _begin_dictionary(slot, b, n_rows):
    """Write the rows that can be reached in the box as a dictionary around point b; returns their number."""
    w, z, f, n_domain = slot.dictionary, slot.points[b], slot.free.shape[0], slot.options[N_DOMAIN]
    most = w.status.shape[0]
    for label in range(n_domain):
        slack = slot.domain[label, f]
        for d in range(f):
            slack -= slot.domain[label, d] * z[d]
            w.a[d, label] = -slot.domain[label, d]
        slot.row_of[label] = NO_DOMAIN - label
        _add_row(w, label, slack, 1.0e9)
    label, largest, end = n_domain, 0.0, 0
    for m in range(n_rows):
        if m == end:  # the first row of an op
            largest = 0.0
            while end < n_rows and slot.rows.operand[end] == slot.rows.operand[m]:
                largest = max(largest, _norm(slot.g[end], f))
                end += 1
        norm = _norm(slot.g[m], f)
        if norm <= NO_GRADIENT * largest:
            continue
        slack, reach = slot.g[m, f] / norm, 0.0
        for d in range(f):
            slope = slot.g[m, d] / norm
            reach += max(slope * (1.0 - z[d]), -slope * z[d])
            w.a[d, label] = -slope
        if slack > reach:
            continue
        slot.row_of[label] = m
        _add_row(w, label, slack, n_domain + n_rows)
        label += 1
    for d in range(f):
        w.tight[d], w.places[most + d] = most + d, -1 - d
    for k in range(w.counts.shape[0]):
        w.counts[k] = 0
    w.counts[dc.N_LEFT], w.n_rows[0] = label, label
    return label


@kernel
def _note_facets(slot, b, n):
    """Append the facets of region b. Out: slot.region and the next ones, slot.counts."""
    w, f, rows = slot.dictionary, slot.free.shape[0], slot.rows
    for label in range(n):
        if w.status[label] != dc.FACET:
            continue
        k, m = slot.counts[N_FACETS], slot.row_of[label]
        slot.region[k] = b
        slot.neuron[k] = rows.neuron[m] if m >= 0 else m
        slot.other[k] = rows.other[m] if m >= 0 else 0
        norm, h = 0.0, 0.0
        for d in range(f):
            slot.normal[k, d] = slot.g[m, d] if m >= 0 else slot.domain[label, d]
            norm += slot.normal[k, d] * slot.normal[k, d]
        norm = np.sqrt(norm)
        for d in range(f):
            slot.normal[k, d] /= norm
            slot.point[k, d] = w.facet_points[label, d]
            h += slot.normal[k, d] * (slot.points[b, d] if m >= 0 else 0.0)
        slot.normal[k, f] = h + slot.g[m, f] / norm if m >= 0 else slot.domain[label, f]
        slot.counts[N_FACETS] = k + 1


@kernel
def _describe(slot, b):
    """Find the facets of region b, and a point inside; returns whether there was room for them."""
    if slot.counts[N_FACETS] + slot.dictionary.status.shape[0] > slot.region.shape[0]:
        return False
    n_rows = _evaluate_rows(slot, b)
    if n_rows < 0:
        slot.counts[UNKNOWN] = 1
        return True
    n = _begin_dictionary(slot, b, n_rows)
    w = slot.dictionary
    dc.decide_rows(w, slot.points[b], 64 * (n + 8))
    slot.counts[N_OPEN] += w.counts[dc.N_UNDECIDED]
    slot.counts[N_PIVOTS] += w.counts[dc.N_PIVOTS]
    slot.counts[N_PROGRAMS] += w.counts[dc.N_PROGRAMS]
    _note_facets(slot, b, n)
    for d in range(slot.free.shape[0]):
        total, n_points = slot.points[b, d], 1
        for label in range(n):
            if w.status[label] == dc.FACET:
                total += w.facet_points[label, d]
                n_points += 1
        slot.centers[b, d] = total / n_points
    return True


@kernel
def _in_domain(slot, b, step):
    """Return whether a point beyond facet b is inside the box and the polytope."""
    f = slot.free.shape[0]
    for m in range(slot.options[N_DOMAIN]):
        slack = slot.domain[m, f]
        for d in range(f):
            slack -= slot.domain[m, d] * (slot.points[b, d] + step * slot.normals[b, d])
        if slack <= 0.0:
            return False
    return True


@kernel
def _n_changed(slot, b, r):
    """Return how many neurons have changed at step r; -1 if the facet's own has not."""
    before, changed = slot.states_before[b], 0
    if slot.states[r, slot.neurons[b]] == before[slot.neurons[b]]:
        return -1
    for k in range(before.shape[0]):
        changed += slot.states[r, k] != before[k]
    return changed


@kernel
def _choose_step(slot, b):
    """Return the step beyond facet b at which the region behind it is, and CROSSED, SEVERAL or FAILED.

    That is the largest step at which the facet's neuron alone has changed to its other state. Where there is none, several
    neurons change on the facet: it is the largest step up to which the states are those of the smallest one.
    """
    step, neuron = FIRST_STEP, slot.neurons[b]
    for r in range(N_STEPS):
        if _n_changed(slot, b, r) == 1 and slot.states[r, neuron] == slot.others[b] and _in_domain(slot, b, step):
            return r, CROSSED
        step *= STEP_RATIO
    r = N_STEPS - 1
    while r >= 0 and _n_changed(slot, b, r) < 0:
        r -= 1
        step /= STEP_RATIO
    if r < 0 or not _in_domain(slot, b, step / STEP_RATIO):
        return max(r, 0), FAILED
    while r > 0 and _in_domain(slot, b, step / STEP_RATIO / STEP_RATIO):
        for k in range(slot.states.shape[1]):
            if slot.states[r - 1, k] != slot.states[r, k]:
                return r, SEVERAL
        r -= 1
        step /= STEP_RATIO
    return r, SEVERAL


@allocating_kernel
def _cross(slot, b):
    """Find a point in the region behind facet b. Out: slot.centers, found."""
    step = FIRST_STEP
    for r in range(N_STEPS):
        _to_inputs(slot, slot.points[b], step, slot.normals[b], r)
        step *= STEP_RATIO
    load_inputs(slot.code, slot.inputs[:N_STEPS], ZERO, TILE, slot.buffer)
    slot.counts[UNKNOWN] += not run_ops(slot.code, TILE, N_STEPS, slot.buffer, slot.states)
    chosen, slot.found[b] = _choose_step(slot, b)
    step = FIRST_STEP
    for _ in range(chosen):
        step *= STEP_RATIO
    for d in range(slot.free.shape[0]):
        slot.centers[b, d] = slot.points[b, d] + step * slot.normals[b, d]


@slot_kernel
def crossing_slot(slot):
    """Describe regions, or cross facets, each time the next one that no slot has taken; stops where there is no room."""
    b = slot.counts[PENDING] if slot.counts[PENDING] >= 0 else take_next(slot.next_item)
    slot.counts[PENDING] = -1
    while b < slot.points.shape[0]:
        if slot.options[PHASE] == CROSS:
            _cross(slot, b)
        elif not _describe(slot, b):
            slot.counts[PENDING] = b
            return
        b = take_next(slot.next_item)


@kernel
def _key(words, r):
    """Return the hash of a row of words."""
    key = np.uint64(0)
    for w in range(words.shape[1]):
        key = mix_key(key, words[r, w], np.uint64(w + 1))
    return key


@kernel
def _is_equal(a, r, b, s):
    """Return whether two rows of words are equal."""
    equal = True
    for w in range(a.shape[1]):
        equal = equal and a[r, w] == b[s, w]
    return equal


@entry_kernel
def admit(words, count, table, candidates, ids_out, first_out):
    """Give candidates the numbers of equal rows of words; the others are appended.

    Parameters
    ----------
    words : uint64[N, W]
        Rows so far; with room for all candidates.
    count : int64[1]
        Number of rows; updated.
    table : int64[T]
        Row numbers by hash, -1 where there is none; T a power of two, above the number of rows.
    candidates : uint64[C, W]
    ids_out : int64[C]
    first_out : int64[C]
        The first candidate of each new row, in order.
    """
    mask, n_new = np.uint64(table.shape[0] - 1), 0
    for c in range(candidates.shape[0]):
        t = _key(candidates, c) & mask
        while table[t] >= 0 and not _is_equal(words, table[t], candidates, c):
            t = (t + np.uint64(1)) & mask
        if table[t] < 0:
            n = count[0]
            for w in range(words.shape[1]):
                words[n, w] = candidates[c, w]
            table[t], count[0], first_out[n_new] = n, n + 1, c
            n_new += 1
        ids_out[c] = table[t]
