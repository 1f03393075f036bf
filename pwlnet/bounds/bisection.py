"""Bisection of a box with few inputs: bounds on ever smaller boxes decide all neurons at once.

On a box on which the neurons below have one state, backward bounds are exact, so that each neuron whose least or largest value
is not exactly at a threshold is decided after finitely many bisections.

Legend: B boxes, D inputs, K neurons.
"""

import time

import numpy as np

_BATCH = 128  # boxes that are bounded at a time


class Bisection:
    """Boxes that cover a box, with the neurons that are open on each.

    Parameters
    ----------
    bound : callable
        (lower, upper float64[B, D]) -> lower, upper float64[B, K], states int32[B, K] (-1 unknown).
    lower, upper : float64[D]
    is_open : callable
        (lower, upper, states) of B boxes -> bool[B, K]: the neurons that may be fixed, but are not proved to be on each box.
    """

    def __init__(self, bound, lower, upper, is_open):
        self._bound, self._is_open, self._width = bound, is_open, upper - lower
        self._width[self._width == 0.0] = np.inf
        self._boxes = [(lower, upper, None)]  # with the neurons that are open on the box it is a half of
        self.n_boxes = 0

    def run(self, look, deadline, most):
        """Bisect until no neuron is open on any box, or until the deadline, or until ``most`` boxes were bounded.

        Parameters
        ----------
        look : callable
            Takes points float64[P, D] into account.
        deadline : float
        most : int

        Returns
        -------
        bool[K] or None
            The neurons that are open on boxes which are left; None if nothing is known.
        """
        while self._boxes and self.n_boxes < most and time.monotonic() < deadline:
            batch, self._boxes = self._boxes[-_BATCH:], self._boxes[:-_BATCH]
            lower, upper = (np.array([box[side] for box in batch]) for side in (0, 1))
            look(np.clip(0.5 * lower + 0.5 * upper, lower, upper))
            self.n_boxes += len(batch)
            is_open = self._is_open(*self._bound(lower, upper))
            for b in np.flatnonzero(is_open.any(axis=1)):
                self._boxes += self._halves(lower[b], upper[b], is_open[b])
        left = [box[2] for box in self._boxes]
        if any(mask is None for mask in left):
            return None
        return np.any(left, axis=0) if left else np.zeros(is_open.shape[1], bool)

    def _halves(self, lower, upper, is_open):
        """Return the halves of a box across its longest side, relative to the whole box."""
        d = int(((upper - lower) / self._width).argmax())
        middle = 0.5 * lower[d] + 0.5 * upper[d]
        left, right = upper.copy(), lower.copy()
        left[d] = right[d] = middle
        return [(lower, left, is_open), (right, upper, is_open)]
