"""The facets of a polytope by walking over its vertices with a dictionary of the simplex method.

A *dictionary* writes the slack of each row of ``G z <= h`` as an affine function of F slacks that are 0 at the current vertex:
``slack_m = a[F, m] + sum_j a[j, m] t_j``, all t_j >= 0. A row without negative coefficients is redundant, whatever the others
are; each t_j is a facet, if the point between the other ends of the vertex's edges is inside all other rows by a margin. A walk
to where an undecided row has its least slack decides it, and on its way all rows that the vertices decide. Slacks are relaxed
by tiny amounts that grow with the number of the row, so that vertices are simple, walks end, and of rows that are the same
half-space the first one is the facet.

Related: Avis, "lrs: a revised implementation of the reverse search vertex enumeration algorithm", 2000, for dictionaries;
Clarkson, "More output-sensitive geometric algorithms", FOCS 1994, for deciding redundancy against what is known.

Legend: F dimensions, M rows, n rows that are left in the dictionary.
"""

from typing import NamedTuple

import numpy as np

from .._jit import kernel

UNDECIDED, FACET, REDUNDANT, SEEN = 0, 1, 2, 3  # SEEN: at a vertex, but its facet had no point with a margin there
ZERO_COEFFICIENT = 2.0**-36
MARGIN = 2.0**-30  # of points on facets, in units of the box
TOUCHING = 2.0**-34  # margin below which a face is taken as one of lower dimension
LONG = 2.0**60


class Dictionary(NamedTuple):
    """The dictionary of one polytope, and what is known about its rows."""

    a: np.ndarray  # float64[F + 1, M + F] coefficients of t_j, and constants
    labels: np.ndarray  # int64[M + F] the row of each column of ``a``; M + d: coordinate d, which is free
    tight: np.ndarray  # int64[F] the row of each t_j; M + d: coordinate d
    places: np.ndarray  # int64[M + F] the column of a row in ``a``; -1 - j if it is t_j
    status: np.ndarray  # int64[M]
    lengths: np.ndarray  # float64[F] of the edges of the current vertex
    at: np.ndarray  # float64[F + 1, F] the current vertex, and the ends of its edges
    facet_points: np.ndarray  # float64[M, F]
    margins: np.ndarray  # float64[M] of these points
    counts: np.ndarray  # int64[4]
    scratch: np.ndarray  # float64[M + F]
    factors: np.ndarray  # float64[F + 1]
    face_sums: np.ndarray  # float64[M] slacks of rows, summed over vertices of one face
    face_point: np.ndarray  # float64[F] sum of these vertices
    n_rows: np.ndarray  # int64[1] M of this polytope


# Entries of ``counts``: columns in use, exchanges, rows left undecided, rows for which the least slack was searched.
N_LEFT, N_PIVOTS, N_UNDECIDED, N_PROGRAMS = 0, 1, 2, 3


@kernel
def pivot(w, r, j):
    """Exchange the row in column r and t_j."""
    a, n, f = w.a, w.counts[N_LEFT], w.tight.shape[0]
    inverse = 1.0 / a[j, r]
    for i in range(f + 1):
        w.factors[i] = -a[i, r] * inverse
    slopes = a[j]
    for i in range(f + 1):
        if i == j:
            continue
        factor, row = w.factors[i], a[i]
        for m in range(n):
            row[m] += factor * slopes[m]
        row[r] = factor
    for m in range(n):
        slopes[m] *= inverse
    slopes[r] = inverse
    label = w.labels[r]
    w.labels[r], w.tight[j] = w.tight[j], label
    w.places[label], w.places[w.labels[r]] = -1 - j, r
    w.counts[N_PIVOTS] += 1


@kernel
def remove(w, r):
    """Remove column r from the dictionary."""
    last = w.counts[N_LEFT] - 1
    if r != last:
        for i in range(w.a.shape[0]):
            w.a[i, r] = w.a[i, last]
        w.labels[r] = w.labels[last]
        w.places[w.labels[r]] = r
    w.counts[N_LEFT] = last


@kernel
def first_hit(w, j, sign):
    """Return the column whose slack is 0 first when t_j grows (sign 1) or falls (sign -1), -1 if none, and how far that is."""
    slopes, slacks, best, length = w.a[j], w.a[w.tight.shape[0]], -1, LONG
    for m in range(w.counts[N_LEFT]):
        fall = -sign * slopes[m]
        if fall > ZERO_COEFFICIENT and slacks[m] < length * fall:
            best, length = m, slacks[m] / fall
    return best, max(length, 0.0)


@kernel
def shoot_rays(w, z):
    """Find facets by rays from the interior point z along the normals of all rows, before any exchange.

    The row that a ray meets first is a facet, if the point there is inside the others by a margin.
    Out: w.status, w.facet_points, w.margins.
    """
    a, f, n, speeds = w.a, w.tight.shape[0], w.counts[N_LEFT], w.scratch
    slacks = a[f]
    for ray in range(n):
        for m in range(n):
            speeds[m] = 0.0
        for d in range(f):
            g, row = a[d, ray], a[d]
            for m in range(n):
                speeds[m] += g * row[m]
        hit, t = ray, slacks[ray] / speeds[ray]
        for m in range(n):
            if slacks[m] < t * speeds[m]:
                hit, t = m, slacks[m] / speeds[m]
        margin = LONG
        for m in range(n):
            if m != hit:
                margin = min(margin, slacks[m] - t * speeds[m])
        if margin > w.margins[hit] and margin > MARGIN:
            w.status[hit], w.margins[hit] = FACET, margin
            for d in range(f):
                w.facet_points[hit, d] = z[d] - t * a[d, ray]


@kernel
def go_to_vertex(w):
    """Exchange all coordinates for rows; returns whether there is a vertex."""
    for j in range(w.tight.shape[0]):
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
    f = w.tight.shape[0]
    for j in range(f):
        _, w.lengths[j] = first_hit(w, j, 1.0)
    for d in range(f):
        place = w.places[d]
        base = w.a[f, place] if place >= 0 else 0.0
        w.at[0, d] = base
        for j in range(f):
            slope = w.a[j, place] if place >= 0 else (1.0 if place == -1 - j else 0.0)
            w.at[1 + j, d] = base + slope * w.lengths[j]


@kernel
def _sum_edges(w):
    """Compute the slacks at the mean of the vertex and the ends of its edges, with weight 1 / F each. Out: w.scratch."""
    f, n, sums = w.tight.shape[0], w.counts[N_LEFT], w.scratch
    for m in range(n):
        sums[m] = w.a[f, m]
    for i in range(f):
        step, row = w.lengths[i] / f, w.a[i]
        for m in range(n):
            sums[m] += step * row[m]


@kernel
def _margin(w, j):
    """Return how far the mean of the vertex and the ends of all edges but edge j is inside the rows other than t_j."""
    f, margin = w.tight.shape[0], np.inf
    for i in range(f):
        if i != j:
            margin = min(margin, w.lengths[i] / f)
    step, row = w.lengths[j] / f, w.a[j]
    for m in range(w.counts[N_LEFT]):
        margin = min(margin, w.scratch[m] - step * row[m])
    return margin


@kernel
def look_around(w):
    """Decide the rows that are tight at the current vertex. Out: w.status, w.facet_points, w.margins."""
    f, fresh = w.tight.shape[0], False
    for j in range(f):
        fresh = fresh or w.status[w.tight[j]] != FACET
    if not fresh:
        return
    _locate(w)
    _sum_edges(w)
    for j in range(f):
        label = w.tight[j]
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


@kernel
def drop_redundant(w):
    """Remove the rows without negative coefficients; the first F are kept, for coordinates. Out: w.status."""
    f, n, least = w.tight.shape[0], w.counts[N_LEFT], w.scratch
    for m in range(n):
        least[m] = 0.0
    for i in range(f):
        row = w.a[i]
        for m in range(n):
            least[m] = min(least[m], row[m])
    for m in range(n - 1, -1, -1):
        label = w.labels[m]
        if least[m] < -ZERO_COEFFICIENT or w.status[label] == FACET or w.status[label] == REDUNDANT:
            continue
        if w.status[label] == UNDECIDED:
            w.status[label] = REDUNDANT
        if label >= f and w.status[label] == REDUNDANT:
            remove(w, m)


@kernel
def _next_target(w):
    """Return the undecided row with the least slack; -1 if all are decided."""
    best, least, f = -1, np.inf, w.tight.shape[0]
    for m in range(w.counts[N_LEFT]):
        label = w.labels[m]
        if w.status[label] == UNDECIDED and w.a[f, m] < least:
            best, least = label, w.a[f, m]
    return best


@kernel
def _add_vertex(w):
    """Add the current vertex to the sums of a face."""
    f = w.tight.shape[0]
    for m in range(w.counts[N_LEFT]):
        w.face_sums[w.labels[m]] += w.a[f, m]
    for d in range(f):
        place = w.places[d]
        w.face_point[d] += w.a[f, place] if place >= 0 else 0.0


@kernel
def _step(w, label, kept, sign):
    """Do the next exchange that makes the slack of a row grow (sign 1) or fall (-1); returns whether there was one.

    The row ``kept`` stays tight; -1 for none.
    """
    best, j, place = ZERO_COEFFICIENT, -1, w.places[label]
    for i in range(w.tight.shape[0]):
        if w.tight[i] == kept:
            continue
        slope = sign * w.a[i, place] if place >= 0 else (sign if i == -1 - place else 0.0)
        if slope > best:
            best, j = slope, i
    if j < 0:
        return False
    r, _ = first_hit(w, j, 1.0)
    if r < 0:
        return False
    pivot(w, r, j)
    return True


@kernel
def _is_multiple(w, label, of):
    """Return whether the slack of a row is a multiple of that of a tight row, within rounding."""
    place = w.places[label]
    if place < 0:
        return False
    for i in range(w.tight.shape[0]):
        if w.tight[i] != of and abs(w.a[i, place]) > TOUCHING:
            return False
    return abs(w.a[w.tight.shape[0], place]) <= TOUCHING


@kernel
def _nearest_row(w, label):
    """Return the row, other than one and its multiples, with the least slack at the mean of the vertices of a face."""
    best, least = -1, LONG
    for m in range(w.counts[N_LEFT]):
        other = w.labels[m]
        if other != label and w.face_sums[other] < least and not _is_multiple(w, other, label):
            best, least = other, w.face_sums[other]
    for i in range(w.tight.shape[0]):
        other = w.tight[i]
        if other != label and w.face_sums[other] < least:
            best, least = other, w.face_sums[other]
    return best


@kernel
def decide_face(w, label, most_pivots):
    """Decide a row that was seen at vertices where many hyperplanes meet: is there a point with a margin on its face?

    The mean of vertices of the face is moved, again and again, by the vertex at which the row nearest to it is farthest.
    """
    f = w.tight.shape[0]
    while w.places[label] >= 0 and w.counts[N_PIVOTS] < most_pivots:
        if not _step(w, label, -1, -1.0):
            break
    if w.places[label] >= 0:
        w.status[label] = REDUNDANT if w.a[f, w.places[label]] > 0.0 else UNDECIDED
        return
    for m in range(w.status.shape[0]):
        w.face_sums[m] = 0.0
    for d in range(f):
        w.face_point[d] = 0.0
    for n in range(1, 4 * f + 8):
        _add_vertex(w)
        other = _nearest_row(w, label)
        margin = w.face_sums[other] / n
        if margin > MARGIN:
            w.status[label], w.margins[label] = FACET, margin
            for d in range(f):
                w.facet_points[label, d] = w.face_point[d] / n
            return
        while w.counts[N_PIVOTS] < most_pivots and _step(w, other, label, 1.0):
            pass
        place = w.places[other]
        if (w.a[f, place] if place >= 0 else 0.0) <= TOUCHING:  # the face is in another row's hyperplane
            w.status[label] = REDUNDANT
            return
    w.status[label] = UNDECIDED


@kernel
def decide_rows(w, z, most_pivots):
    """Decide all rows, from an interior point z. Out: w; UNDECIDED is left only where ``most_pivots`` were not enough."""
    f = w.tight.shape[0]
    shoot_rays(w, z)
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
                break
            w.counts[N_PROGRAMS] += 1
        m, j, least = w.places[target], 0, 0.0
        for i in range(f):
            if w.a[i, m] < least:
                j, least = i, w.a[i, m]
        r, _ = first_hit(w, j, 1.0)
        if r < 0 or least >= -ZERO_COEFFICIENT:
            w.status[target] = REDUNDANT
            continue
        pivot(w, r, j)
    for label in range(w.n_rows[0]):
        if w.status[label] == SEEN:
            decide_face(w, label, most_pivots)
        w.counts[N_UNDECIDED] += w.status[label] == UNDECIDED
