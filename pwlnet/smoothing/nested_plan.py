"""Certification of classifiers with nested votes.

Legend: J outer draws, m inner draws, G radii.
"""

import numpy as np

from .fixed_sequence import radius_grid
from .noise import ESTIMATE, Query
from .radii import probability_for
from .voted_plan import GridPlan, found_radius

_RADII = 1024
_SLACK = 2.0**-40  # relative, far above the rounding errors that it covers


def least_hits(m, p, beta):
    """Return the least K with Pr[Bin(m, p) >= K] <= beta; above m if there is none: int."""
    from scipy.stats import binom

    tail = binom.sf(np.arange(-1, m), m, p) * (1.0 + _SLACK)  # Pr[X >= K] for K from 0 to m
    return int(np.flatnonzero(np.append(tail <= beta, True))[0])


class NestedPlan(GridPlan):
    """How images are certified with nested votes; made by ``SmoothedClassifier.plan``. See ``NestedClassifier``."""

    name = "nested"

    def search(self, x, image, candidate):
        """Find the largest confirmed radius of one image: dict of radius, p_low, k, n."""
        from scipy.special import ndtri

        base, sigma, n = self.smoothed.base, self.smoothed.sigma, self.n
        grid = radius_grid(sigma, n, self.alpha, _RADII)
        query = Query(x, sigma, self.seed, ESTIMATE, image, 0, n)
        batch = max(1, self.smoothed.batch_rows(self.batch_size, x.size) // base.m)
        inner = np.concatenate(
            [
                (base.inner_votes(query._replace(first=a, last=min(a + batch, n))) == candidate).sum(axis=1)
                for a in range(0, n, batch)
            ]
        )
        sigma2, tau, hits = base.sigma2(sigma), base.slack(), np.zeros(len(grid), np.int64)
        if tau < 0.5:  # else no number of inner votes is enough
            moved = grid + sigma2 * float(ndtri(0.5 + tau)) * (1.0 + _SLACK)
            least = [least_hits(base.m, float(p), base.beta) for p in probability_for(moved, sigma2)]
            hits = (inner[None] >= np.array(least)[:, None]).sum(axis=1)
        return found_radius(hits, n, self.alpha, sigma, grid, floor=0.5 / (1.0 - base.gamma), inner_error=base.beta)
