"""The facets of a polytope by walking over its vertices with a dictionary of the simplex method.

A *dictionary* writes the slack of each row of ``G z <= h`` as an affine function of F slacks that are 0 at the current vertex:
``slack_m = a[m, F] + sum_j a[m, j] t_j``, all t_j >= 0. A row without negative coefficients is redundant, whatever the others
are; each t_j is a facet, if the point between the other ends of the vertex's edges is inside all other rows by a margin. A walk
to where an undecided row has its least slack decides it, and on its way all rows that the vertices decide. Slacks are relaxed
by tiny amounts that grow with the number of the row, so that vertices are simple, walks end, and of rows that are the same
half-space the first one is the facet.

Related: Avis, "lrs: a revised implementation of the reverse search vertex enumeration algorithm", 2000, for dictionaries; Clarkson,
"More output-sensitive geometric algorithms", FOCS 1994, for deciding redundancy against what is known.

Legend: F dimensions, M rows, n rows that are left in the dictionary.
"""

from typing import NamedTuple

import numpy as np

from .._jit import kernel

UNDECIDED, FACET, REDUNDANT, SEEN = 0, 1, 2, 3  # SEEN: at a vertex, but its facet had no point with a margin there
ZERO_COEFFICIENT = 2.0**-36
MARGIN = 2.0**-30  # of points on facets, in units of the box
TOUCHING = 2.0**-34  # margin below which a face is taken as one of lower dimension


class Dictionary(NamedTuple):
    """The dictionary of one polytope, and what is known about its rows."""

    a: np.ndarray  # float64[M + F, F + 1]
    labels: np.ndarray  # int64[M + F] the row that each row of ``a`` is; M + d: coordinate d, which is free
    columns: np.ndarray  # int64[F] the row of each t_j; M + d: coordinate d
    places: np.ndarray  # int64[M + F] where a row is in ``a``; -1 - j in column j; none once it is removed
    status: np.ndarray  # int64[M]
    lengths: np.ndarray  # float64[F] of the edges of the current vertex
    at: np.ndarray  # float64[F + 1, F] the current vertex, and the ends of its edges
    facet_points: np.ndarray  # float64[M, F]
    margins: np.ndarray  # float64[M] of these points
    center: np.ndarray  # float64[F] sum of points inside
    counts: np.ndarray  # int64[4] rows left, pivots, undecided rows, points in ``center``


N_LEFT, N_PIVOTS, N_UNDECIDED, N_POINTS = 0, 1, 2, 3


@kernel
def pivot(w, r, j):
    """Exchange row r of the dictionary and column j."""
    a, n, f = w.a, w.counts[N_LEFT], w.columns.shape[0]
    row = a[r]
    inverse = 1.0 / row[j]
    for i in range(f + 1):
        row[i] *= -inverse
    row[j] = inverse
    for m in range(n):
        factor = a[m, j]
        if m == r or factor == 0.0:
            continue
        other = a[m]
        other[j] = 0.0
        for i in range(f + 1):
            other[i] += factor * row[i]
    label = w.labels[r]
    w.labels[r], w.columns[j] = w.columns[j], label
    w.places[label], w.places[w.labels[r]] = -1 - j, r
    w.counts[N_PIVOTS] += 1


@kernel
def remove(w, r):
    """Remove row r from the dictionary."""
    last = w.counts[N_LEFT] - 1
    if r != last:
        for i in range(w.a.shape[1]):
            w.a[r, i] = w.a[last, i]
        w.labels[r] = w.labels[last]
        w.places[w.labels[r]] = r
    w.counts[N_LEFT] = last


@kernel
def first_hit(w, j, sign):
    """Return the row whose slack is 0 first when t_j grows (sign 1) or falls (sign -1), -1 if none, and how far that is."""
    a, f, best, length = w.a, w.columns.shape[0], -1, np.inf
    for m in range(w.counts[N_LEFT]):
        slope = sign * a[m, j]
        if slope < -ZERO_COEFFICIENT and w.labels[m] < w.status.shape[0]:
            t = max(a[m, f], 0.0) / -slope
            if t < length:
                best, length = m, t
    return best, length


@kernel
def go_to_vertex(w):
    """Exchange all coordinates for rows; returns whether there is a vertex."""
    for j in range(w.columns.shape[0]):
        up, above = first_hit(w, j, 1.0)
        down, below = first_hit(w, j, -1.0)
        r = up if above <= below else down
        if r < 0:
            return False
        pivot(w, r, j)
        remove(w, r)  # the coordinate
    return True


@kernel
def _locate(w):
    """Compute the current vertex and the ends of its edges. Out: w.at, w.lengths.

    The first F rows are the coordinates' distances from their lower bounds, 0.
    """
    f = w.columns.shape[0]
    for j in range(f):
        _, w.lengths[j] = first_hit(w, j, 1.0)
    for d in range(f):
        place = w.places[d]
        base = w.a[place, f] if place >= 0 else 0.0
        w.at[0, d] = base
        for j in range(f):
            slope = w.a[place, j] if place >= 0 else (1.0 if place == -1 - j else 0.0)
            w.at[1 + j, d] = base + slope * w.lengths[j]


@kernel
def _margin(w, j):
    """Return how far the mean of the vertex and the ends of all edges but edge j is inside the rows other than t_j."""
    f, margin = w.columns.shape[0], np.inf
    for i in range(f):
        if i != j:
            margin = min(margin, w.lengths[i] / f)
    for m in range(w.counts[N_LEFT]):
        slack = w.a[m, f]
        for i in range(f):
            if i != j:
                slack += w.a[m, i] * w.lengths[i] / f
        margin = min(margin, slack)
    return margin


@kernel
def look_around(w):
    """Decide the rows that are tight at the current vertex. Out: w.status, w.facet_points, w.margins, w.center."""
    f, fresh = w.columns.shape[0], False
    for j in range(f):
        fresh = fresh or w.status[w.columns[j]] != FACET
    if not fresh:
        return
    _locate(w)
    for j in range(f):
        label = w.columns[j]
        if w.status[label] == FACET:
            continue
        margin = _margin(w, j)
        if margin <= w.margins[label]:
            w.status[label] = SEEN
            continue
        w.margins[label] = margin
        w.status[label] = FACET if margin > MARGIN else SEEN
        for d in range(f):
            total = w.at[0, d]
            for i in range(f):
                if i != j:
                    total += w.at[1 + i, d]
            w.facet_points[label, d] = total / f
    for d in range(f):
        for i in range(f + 1):
            w.center[d] += w.at[i, d]
    w.counts[N_POINTS] += f + 1


@kernel
def drop_redundant(w):
    """Remove the rows without negative coefficients. Out: w.status."""
    f, m = w.columns.shape[0], 0
    while m < w.counts[N_LEFT]:
        label = w.labels[m]
        needed = label < f or w.status[label] == FACET  # coordinates are read from the first rows
        if not needed:
            least = 0.0
            for j in range(f):
                least = min(least, w.a[m, j])
            if least >= -ZERO_COEFFICIENT:
                if w.status[label] != SEEN:
                    w.status[label] = REDUNDANT
                remove(w, m)
                continue
        elif label < f and w.status[label] == UNDECIDED:
            least = 0.0
            for j in range(f):
                least = min(least, w.a[m, j])
            if least >= -ZERO_COEFFICIENT:
                w.status[label] = REDUNDANT
        m += 1


@kernel
def _next_target(w):
    """Return the undecided row with the least slack, as a label; -1 if all are decided."""
    best, least, f = -1, np.inf, w.columns.shape[0]
    for m in range(w.counts[N_LEFT]):
        label = w.labels[m]
        if w.status[label] == UNDECIDED and w.a[m, f] < least:
            best, least = label, w.a[m, f]
    return best


@kernel
def decide_rows(w, most_pivots):
    """Decide all rows. Out: w; status UNDECIDED is left only where ``most_pivots`` were not enough."""
    f = w.columns.shape[0]
    if not go_to_vertex(w):
        w.counts[N_UNDECIDED] = w.status.shape[0]
        return
    target = -1
    while w.counts[N_PIVOTS] < most_pivots:
        look_around(w)
        drop_redundant(w)
        if target < 0 or w.status[target] != UNDECIDED:
            target = _next_target(w)
            if target < 0:
                return
        m, j, least = w.places[target], 0, 0.0
        for i in range(f):
            if w.a[m, i] < least:
                j, least = i, w.a[m, i]
        r, _ = first_hit(w, j, 1.0)
        if r < 0 or least >= -ZERO_COEFFICIENT:
            w.status[target] = REDUNDANT
            continue
        pivot(w, r, j)
    for m in range(w.counts[N_LEFT]):
        w.counts[N_UNDECIDED] += w.status[w.labels[m]] == UNDECIDED
