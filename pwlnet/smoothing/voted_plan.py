"""Certification of classifiers with voted factors: which radii leave the class of a noisy point unchanged, and their test.

Legend: B images, n votes, S shape of an image, K neurons, G radii, P points.
"""

import time

import numpy as np

from ..errors import InputError
from ..scheduling import run_chunks
from .factor_bounds import FactorBounds
from .fixed_sequence import largest_radius, radius_grid
from .noise import ESTIMATE, Query
from .plans import CertificationPlan

_RADII = 1024
REFERENCE_SHARE = 0.125  # of alpha, for the probabilities of the reference draws; they need less than the votes
_ROWS = 512  # points at once


class GridPlan(CertificationPlan):
    """How images are certified by a grid of radii, with all votes at all radii; subclasses count the votes.

    Attributes
    ----------
    name : str
        Method of the certificates.
    """

    name = ""

    def __init__(self, smoothed, n0, n, alpha, seed, method, radius, max_loss, batch_size, region_radii):
        super().__init__(smoothed, n0, n, alpha, seed, method, radius, max_loss, batch_size, region_radii)
        if method != "clopper_pearson":
            raise InputError(f"method is {method!r}, but reference {self.name!r} has a method of its own; leave it out")
        self.method = self.name

    def _certify_block(self, points, images, batch):
        """Certify one image: list of Certificate."""
        (x,), (image,), started = points, images, time.perf_counter()
        ((candidate, _),) = self.select(points, images, batch)
        found = self.search(x, image, candidate)
        return [self.make(x, image, candidate, time.perf_counter() - started, **found)]

    def search(self, x, image, candidate):
        """Find the largest confirmed radius of one image: dict of radius, p_low, k, n."""
        raise NotImplementedError


class VotedPlan(GridPlan):
    """How images are certified with voted factors; made by ``SmoothedClassifier.plan``. See ``VotedClassifier``."""

    name = "voted"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.bounds = FactorBounds(self.smoothed.base.network)

    def search(self, x, image, candidate):
        """Find the largest confirmed radius of one image: dict of radius, p_low, k, n."""
        smoothed, n, alpha = self.smoothed, self.n, (1.0 - REFERENCE_SHARE) * self.alpha
        grid = radius_grid(smoothed.sigma, n, alpha, _RADII)
        query = Query(x, smoothed.sigma, self.seed, ESTIMATE, image, 0, n)
        boxes = smoothed.base.boxes(query, smoothed.base.m, REFERENCE_SHARE * self.alpha, grid)
        survived = last_survived(self.bounds, query, boxes, candidate, min(smoothed.base.layers, default=self.bounds.n_blocks))
        hits = (survived[None] >= np.arange(len(grid))[:, None]).sum(axis=1)
        return found_radius(hits, n, alpha, smoothed.sigma, grid)


def found_radius(hits, n, alpha, sigma, grid, **options):
    """Return what ``largest_radius`` finds as fields of a Certificate: dict of radius, p_low, k, n."""
    index, p_low = largest_radius(hits, n, alpha, sigma, grid, **options)
    return {"radius": float(grid[index]) if index >= 0 else 0.0, "p_low": p_low, "k": int(hits[max(index, 0)]), "n": n}


def last_survived(bounds, query, boxes, label, first):
    """Find how many boxes, each within the next one, leave a class the winner at the noisy points of a query.

    Sound bound: the class wins for all factors of the box of the index.

    Parameters
    ----------
    bounds : FactorBounds
    query : Query
    boxes : (float64[G, K], float64[G, K])
        Increasing.
    label : int
    first : int
        The factors are 1 before this layer.

    Returns
    -------
    int64[n]
        Index of the last box, by bisection; -1 where the class does not win for the first one.
    """
    lower, upper = boxes
    survived = np.full(query.last - query.first, -1)

    def search(begin, end):
        part = query._replace(first=query.first + begin, last=query.first + end)
        ranges = bounds.start(part.points().reshape(end - begin, -1))
        bounds.advance(ranges, 0, first)
        low, high = np.full(end - begin, -1), np.full(end - begin, len(lower))
        tried = np.zeros(end - begin, np.int64)  # the first one first, since many points fail there
        while (low + 1 < high).any():
            bounds.advance(ranges, first, bounds.n_blocks, lower[tried], upper[tried])
            won = bounds.margins(ranges, label) > 0.0
            low, high = np.where(won, np.maximum(low, tried), low), np.where(won, high, np.minimum(high, tried))
            tried = np.clip((low + high) // 2, 0, len(lower) - 1)
        survived[begin:end] = low

    run_chunks(search, len(survived), _ROWS)
    return survived
