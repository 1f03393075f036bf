"""Random points of domains, each a function of the seed, the number of the set and the number of the draw.

Legend: B sets, D inputs.
"""

import numpy as np

from .domains import Ball, Box, ball_rows, box_rows, gaussian_rows
from .errors import InputError
from .kernels.floats import draws as kinds
from .kernels.floats import philox
from .scheduling import map_chunks

_NO_LIMITS = (-np.inf, np.inf)
_NUMBERS_PER_CHUNK = 2**19  # about a millisecond: longer than it takes to start threads


def make_draws(network, domain, *, draws="uniform", seed=0, first_set=0, limits=None):
    """Describe how points of a domain are drawn, for the kernels.

    Parameters
    ----------
    network : Network
    domain : Box, Ball or Gaussian
    draws : {"uniform", "corners"}
        Of a box: uniformly distributed points, or corners.
    seed : int
    first_set : int
        Number of the first set.
    limits : (float, float), optional
        Points are clipped to this range.

    Returns
    -------
    Draws
    """
    scales, uppers = np.zeros(0), np.zeros((0, network.n_inputs))
    if isinstance(domain, Ball) and domain.norm == np.inf:
        centers, radii = ball_rows(network, domain)
        inner = np.nextafter(centers - radii[:, None], np.inf), np.nextafter(centers + radii[:, None], -np.inf)
        domain = Box(np.minimum(inner[0], centers), np.maximum(inner[1], centers))  # within the ball, whatever the rounding
    if isinstance(domain, Box):
        centers, uppers = box_rows(network, domain)
        kind = kinds.CORNERS if draws == "corners" else kinds.BOX
    elif draws == "corners":
        raise InputError("draws is 'corners', but the domain has none; give a pwlnet.Box, or draws='uniform'")
    elif isinstance(domain, Ball):
        centers, scales = ball_rows(network, domain)
        kind = kinds.BALL_1 if domain.norm == 1 else kinds.BALL_2
    else:
        centers, scales = gaussian_rows(network, domain)
        kind = kinds.GAUSSIAN
    key = np.array([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF], np.uint64)
    range_ = np.array(_NO_LIMITS if limits is None else limits, np.float64)
    return kinds.Draws(np.array([kind]), key, np.array([first_set]), centers, uppers, np.ascontiguousarray(scales), range_)


def draw_points(draws, sets, numbers, *, threads=None):
    """Compute draws again: float64[n, D].

    Parameters
    ----------
    draws : Draws
    sets, numbers : int64[n]
        Sets, from 0, and numbers of draws.
    threads : int, optional
        The result does not depend on it. All processors by default; a few points are drawn on one.
    """
    sets, numbers = (np.ascontiguousarray(x, np.int64) for x in (sets, numbers))
    n, n_inputs = len(sets), draws.centers.shape[1]
    points = np.empty((n, n_inputs))

    def draw(first, last):
        rows = slice(first, last)
        kinds.draw_points(draws, make_scratch(draws), sets[rows], numbers[rows], points[rows])

    for _ in map_chunks(draw, n, max(1, _NUMBERS_PER_CHUNK // max(n_inputs, philox.CHUNK)), threads):
        pass
    return points


def philox_words(counters, key):
    """Compute words of Philox4x32-10: uint64[n, 4] of counters uint64[n, 4] and a key uint64[2], all words below 2**32."""
    words = np.empty((len(counters), 4), np.uint64)
    philox.philox_blocks(np.ascontiguousarray(counters, np.uint64), np.ascontiguousarray(key, np.uint64), words)
    return words


def make_scratch(draws):
    """Allocate what drawing a point works with: Scratch."""
    chunk = philox.CHUNK
    return kinds.Scratch(np.empty(chunk, np.uint64), np.empty(chunk), np.empty(draws.centers.shape[1]))
