"""Points at which neurons have different states, found by sampling and by local search, and confirmed with error bounds.

Legend: K neurons, D entries of op 0, P points, Q targets.
"""

import numpy as np

_STEPS = (1.0, 0.5, 0.2, 0.05)  # parts of the way to the best point for the gradient
_MASK_TAPS = 62  # taps of a window whose sets are kept as bits


class Evidence:
    """The extreme values of each neuron at the points seen so far, with these points.

    An elementwise neuron floats if a point is strictly below one of its thresholds and another one strictly above. A window of
    MaxPool floats if two points have no common winning tap.

    Parameters
    ----------
    elimination : Elimination
    point_set : PointSet
    exact_products : int
        Largest number of multiplications of an evaluation in rational arithmetic.
    """

    def __init__(self, elimination, point_set, exact_products):
        self.elimination, self.point_set, self.exact_products = elimination, point_set, exact_products
        n = elimination.network.n_neurons
        self.least, self.largest = np.full(n, np.inf), np.full(n, -np.inf)  # proved values that occur
        self.pair = np.full((n, 2), -1)  # the points where they occur, or of the two sets of taps
        self.floats = np.zeros(n, bool)
        self.first_taps = np.zeros(n, np.int64)  # bits of the taps that may win at pair[:, 0]
        self.common_taps = np.full(n, -1, np.int64)  # bits of the taps that may win at all points
        self.points = []

    def add(self, points):
        """Take points float64[P, D] (order of op 0) of the set into account; those outside are ignored."""
        if not self.point_set.is_box:
            points = points[[self.point_set.contains(p) for p in points]]
        if len(points):
            self._add_values(points, self.elimination.evaluate(self.elimination.unload(points.T)))

    def _add_values(self, points, values):
        base, used = len(self.points), np.zeros(len(points), bool)
        for block, z, error in zip(self.elimination.blocks, values.z, values.z_errors, strict=True):
            if block.windows is None:
                used |= self._add_elementwise(
                    block, np.nan_to_num(z + error, nan=np.inf), np.nan_to_num(z - error, nan=-np.inf), base
                )
            else:
                used |= self._add_windows(block, z, error, base)
        kept = np.flatnonzero(used)
        position = np.cumsum(used) - 1
        fresh = self.pair >= base
        self.pair[fresh] = base + position[self.pair[fresh] - base]
        self.points += list(points[kept])

    def _add_elementwise(self, block, top, bottom, base):
        numbers, used = block.numbers, np.zeros(top.shape[1], bool)
        if not top.size:
            return used
        for side, extreme, at, better in (
            (0, top.min(axis=1), top.argmin(axis=1), np.less),
            (1, bottom.max(axis=1), bottom.argmax(axis=1), np.greater),
        ):
            known = (self.least, self.largest)[side]
            found = better(extreme, known[numbers])
            known[numbers[found]] = extreme[found]
            self.pair[numbers[found], side] = base + at[found]
            used[at[found]] = True
        low, high = self.least[numbers], self.largest[numbers]
        self.floats[numbers] = ((low < block.thresholds[:, None]) & (high > block.thresholds[:, None])).any(axis=0)
        return used

    def _add_windows(self, block, z, error, base):
        used = np.zeros(z.shape[1], bool)
        if block.windows.shape[1] > _MASK_TAPS:
            return used
        inside = (block.windows >= 0)[..., None]
        top = np.where(inside, (z + error)[block.windows], -np.inf)
        bottom = np.where(inside, (z - error)[block.windows], -np.inf).max(axis=1)
        bits = ((top >= bottom[:, None]) * (1 << np.arange(block.windows.shape[1]))[:, None]).sum(axis=1)
        self._add_sets(block.numbers, bits, base, used)
        return used

    def _add_sets(self, numbers, bits, base, used):
        """Take sets of possible winners int64[n, P] into account."""
        n_taps = np.bitwise_count(bits)
        for k, number in enumerate(numbers.tolist()):
            self.common_taps[number] &= int(np.bitwise_and.reduce(bits[k]))
            if self.floats[number]:
                continue
            at = int(n_taps[k].argmin())
            if self.pair[number, 0] < 0 or n_taps[k, at] < int(self.first_taps[number]).bit_count():
                self.first_taps[number], self.pair[number, 0] = bits[k, at], base + at
                used[at] = True
            apart = np.flatnonzero((bits[k] & self.first_taps[number]) == 0)
            if len(apart):
                self.pair[number, 1], self.floats[number] = base + apart[0], True
                used[apart[0]] = True

    def add_exactly(self, point, last):
        """Take a point float64[D] into account in rational arithmetic, for blocks up to ``last``, where that is affordable."""
        elimination = self.elimination
        if elimination.n_products > self.exact_products or not self.point_set.contains(point):
            return
        zs = elimination.evaluate_exactly(elimination.unload(point[:, None])[0], last)
        base, used = len(self.points), np.zeros(1, bool)
        for block, z in zip(elimination.blocks, zs, strict=False):
            if block.windows is None:
                low, high = np.array([[_towards(x, 1)] for x in z]), np.array([[_towards(x, -1)] for x in z])
                used |= self._add_elementwise(block, low[: block.n], high[: block.n], base)
            elif block.windows.shape[1] <= _MASK_TAPS:
                bits = np.zeros((block.n, 1), np.int64)
                for k, window in enumerate(block.windows.tolist()):
                    best = max(z[j] for j in window if j >= 0)
                    bits[k, 0] = sum(1 << t for t, j in enumerate(window) if j >= 0 and z[j] == best)
                self._add_sets(block.numbers, bits, base, used)
        if used[0]:
            self.points.append(point)

    def witnesses(self):
        """Return neurons int64[n] that float, and points float64[n, 2, D] in the network's order."""
        neurons = np.flatnonzero(self.floats)
        size = self.elimination.network.n_inputs
        if not len(neurons):
            return neurons, np.zeros((0, 2, size))
        points = self.elimination.unload(np.array(self.points).T)
        return neurons, points[self.pair[neurons]]


def _towards(x, side):
    """Return a float that is not below (side 1) or not above (side -1) a Fraction, and equal to it if it is a float."""
    rounded = float(x)
    return rounded if (rounded - x) * side >= 0 else float(np.nextafter(rounded, side * np.inf))


def descend(elimination, point_set, targets, starts, rounds):
    """Search points at which targets are as small as possible, by steps to the best vertex for the gradient.

    Parameters
    ----------
    elimination : Elimination
    point_set : PointSet
    targets : list of Target
        Of one block; Q of them.
    starts : float64[Q, D]
    rounds : int
        Largest number of steps.

    Returns
    -------
    points : float64[Q, D]
    values : float64[Q]
        Of the targets, in floating point.
    """
    block, points, active = targets[0].block, starts.copy(), np.arange(len(targets))
    thresholds = np.array([target.threshold for target in targets])
    best = np.full(len(targets), np.inf)
    for _ in range(rounds):
        chosen = [targets[q] for q in active]
        values = elimination.evaluate(elimination.unload(points[active].T), errors=False, last=block)
        best[active] = _target_values(chosen, values.z[block])
        seeds = [None] * block + [_seeds(chosen, values.z[block].shape)]
        gradients = elimination.gradients(values, seeds, block).T
        goal = point_set.least(gradients, points[active])
        steps = np.array(_STEPS)[:, None, None]
        trials = point_set.pull((points[active] + steps * (goal - points[active])).reshape(-1, points.shape[1]))
        trials[: len(active)] = goal
        found = elimination.evaluate(elimination.unload(trials.T), errors=False, last=block)
        f = _target_values(chosen * len(_STEPS), found.z[block]).reshape(len(_STEPS), -1)
        at = f.argmin(axis=0)
        least = f[at, np.arange(len(active))]
        improved = least < best[active]
        moved = trials.reshape(len(_STEPS), len(active), -1)[at, np.arange(len(active))]
        points[active[improved]], best[active[improved]] = moved[improved], least[improved]
        active = active[improved & (least >= thresholds[active])]
        if not len(active):
            break
    return points, best


def _target_values(targets, z):
    return np.array([sum(w * z[k, q] for k, w in zip(t.entries, t.weights, strict=True)) for q, t in enumerate(targets)])


def _seeds(targets, shape):
    seeds = np.zeros(shape)
    for q, target in enumerate(targets):
        for k, weight in zip(target.entries, target.weights, strict=True):
            seeds[k, q] += weight
    return seeds
