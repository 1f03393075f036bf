"""Fast search for a point of a box at which a condition holds: random points, then steps by exact affine maps.

Legend: S points, U polytopes, M rows, O outputs, D inputs, T trial steps.
"""

import numpy as np

_STEPS = np.append(2.0 ** -np.arange(12), 0.0)  # of the way to a corner of the box
_WORK_OF_THREAD = 2**22  # multiplications: some milliseconds
_SHARPNESS = 8.0  # of the weights of rows: relative to the spread of their margins


def few_threads(network, n, factor, threads):
    """Return the number of threads for n rows with ``factor`` passes each: one, where starting others takes too long."""
    work = n * factor * max(1, int(network.program.weights.size))
    return 1 if work < _WORK_OF_THREAD else threads


def falsify(network, rows, lower, upper, *, rng, n_points=512, n_starts=8, n_steps=12, target=0.0, stop=None, threads=None):
    """Search a box for a point at which a condition holds.

    The points with the smallest margins are moved towards the corner of the box that the affine map of their piece gives,
    over all lengths in `_STEPS`, until no step is better. Estimate: a negative answer means nothing.

    Parameters
    ----------
    network : Network
    rows : Rows
    lower, upper : float64[D]
    rng : numpy.random.Generator
    n_points, n_starts, n_steps : int, optional
    target : float, optional
        The margin at which the search ends.
    stop : callable, optional
        Returns whether time is up.
    threads : int, optional

    Returns
    -------
    point : float64[D]
        The one with the smallest margin that was found.
    margin : float
        By a float64 forward pass.
    """
    width = upper - lower
    points = lower + width * rng.random((n_points, len(lower)))
    points[0] = lower + width / 2
    corners = n_points // 4
    points[1 : 1 + corners] = np.where(rng.random((corners, len(lower))) < 0.5, lower, upper)
    points = np.clip(points, lower, upper)
    margins = rows.margins(network.forward(points, threads=few_threads(network, n_points, 1, threads)))
    best = margins.min(axis=1)
    k = int(best.argmin())
    point, margin = points[k], float(best[k])
    for u in np.argsort(margins.min(axis=0), kind="stable")[:16]:
        if margin <= target or (stop is not None and stop()):
            break
        chosen = np.argsort(margins[:, u], kind="stable")[:n_starts]
        how = {"n_steps": n_steps, "target": target, "stop": stop, "threads": threads}
        found, value = descend(network, rows, int(u), points[chosen], lower, upper, **how)
        if value < margin:
            point, margin = found, value
    return point, margin


def descend(network, rows, u, points, lower, upper, *, n_steps=40, target=0.0, stop=None, threads=None):
    """Move points of a box so that the margin of polytope ``u`` decreases until one has the target.

    Returns the point with the smallest margin, float64[D], and its margin.
    """
    part = slice(int(rows.starts[u]), int(rows.starts[u + 1]))
    matrix, shift = rows.A[part], rows.b[part]
    points = points.copy()
    margins = _margins(network, matrix, shift, points, threads).max(axis=1)
    active = np.ones(len(points), bool)
    for _ in range(n_steps):
        if margins.min() <= target or not active.any() or (stop is not None and stop()):
            break
        at = np.flatnonzero(active)
        moved, value = _step(network, matrix, shift, points[at], lower, upper, threads)
        better = value < margins[at]
        active[at] = better
        points[at[better]], margins[at[better]] = moved[better], value[better]
    k = int(margins.argmin())
    return points[k], float(margins[k])


def _margins(network, matrix, shift, points, threads):
    return network.forward(points, threads=few_threads(network, len(points), 1, threads)) @ matrix.T - shift


def _step(network, matrix, shift, points, lower, upper, threads):
    """Return the best point on the way from each point to a corner, and its margin: float64[S, D], float64[S]."""
    values = _margins(network, matrix, shift, points, threads)
    jacobians = network.jacobian(points, threads=few_threads(network, len(points), network.n_outputs, threads))
    slopes = np.einsum("sm,mo,sod->sd", _weights(values), matrix, jacobians, optimize=True)
    corners = np.where(slopes > 0.0, lower, np.where(slopes < 0.0, upper, points))
    trials = points[:, None, :] + _STEPS[:, None] * (corners - points)[:, None, :]
    trials[:, 0] = corners
    one = np.abs(slopes * (corners - points)).argmax(axis=1)  # the input that matters most, moved alone
    alone = points.copy()
    alone[np.arange(len(points)), one] = corners[np.arange(len(points)), one]
    trials = np.clip(np.concatenate([trials, alone[:, None]], axis=1), lower, upper)
    found = _margins(network, matrix, shift, trials.reshape(-1, points.shape[1]), threads).max(axis=1).reshape(len(points), -1)
    best = found.argmin(axis=1)
    return trials[np.arange(len(points)), best], found[np.arange(len(points)), best]


def _weights(values):
    """Weight the rows of a polytope by how much they are violated: float64[S, M], with sum 1."""
    spread = np.maximum(np.ptp(values, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    weights = np.exp(_SHARPNESS * (values - values.max(axis=1, keepdims=True)) / spread)
    return weights / weights.sum(axis=1, keepdims=True)


def likely_points(network, rows, alive, lower, upper, threads=None):
    """Return a point of each of B boxes at which a condition is likely to hold, by the affine map of the piece at its centre.

    Parameters
    ----------
    network : Network
    rows : Rows
    alive : bool[B, U]
        Polytopes that may hold in each box.
    lower, upper : float64[B, D]
    threads : int, optional

    Returns
    -------
    points : float64[2 B, D]
        The centres, then the corners where the map's rows, weighted, are smallest.
    margins : float64[2 B]
        The smallest margin of a polytope, by a float64 forward pass.
    """
    centers = np.clip(lower + (upper - lower) / 2, lower, upper)
    values = _margins(network, rows.A, rows.b, centers, threads)
    of_polytopes = np.where(alive, np.maximum.reduceat(values, rows.starts[:-1], axis=1), np.inf)
    chosen = of_polytopes.argmin(axis=1)
    weights = np.zeros_like(values)
    for u in np.unique(chosen):
        part = slice(int(rows.starts[u]), int(rows.starts[u + 1]))
        weights[chosen == u, part] = _weights(values[chosen == u, part])
    jacobians = network.jacobian(centers, threads=few_threads(network, len(centers), network.n_outputs, threads))
    slopes = np.einsum("bm,mo,bod->bd", weights, rows.A, jacobians, optimize=True)
    corners = np.where(slopes > 0.0, lower, upper)
    points = np.concatenate([centers, corners])
    margins = rows.margins(network.forward(points, threads=few_threads(network, len(points), 1, threads))).min(axis=1)
    return points, margins
