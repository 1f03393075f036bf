"""Random points of domains, each a function of the seed, the number of the set and the number of the draw.

Legend: B sets, D inputs.
"""

import numpy as np

from .domains import Ball, Box, ball_rows, box_rows, gaussian_rows
from .errors import InputError
from .kernels.floats import draws as kinds
from .kernels.floats import philox

_NO_LIMITS = (-np.inf, np.inf)


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


def draw_points(draws, sets, numbers):
    """Compute draws again: float64[n, D].

    Parameters
    ----------
    draws : Draws
    sets, numbers : int64[n]
        Sets, from 0, and numbers of draws.
    """
    sets, numbers = (np.ascontiguousarray(x, np.int64) for x in (sets, numbers))
    points = np.empty((len(sets), draws.centers.shape[1]))
    kinds.draw_points(draws, make_scratch(draws), sets, numbers, points)
    return points


def philox_words(counters, key):
    """Compute words of Philox4x32-10: uint64[n, 4] of counters uint64[n, 4] and a key uint64[2], all words below 2**32."""
    words = np.empty((len(counters), 4), np.uint64)
    philox.philox_blocks(np.ascontiguousarray(counters, np.uint64), np.ascontiguousarray(key, np.uint64), words)
    return words


def make_scratch(draws):
    """Allocate what drawing a point works with: Scratch."""
    numbers = np.empty(2 * philox.CHUNK)
    words, point = np.empty(philox.CHUNK, np.uint64), np.empty(draws.centers.shape[1])
    return kinds.Scratch(words, numbers, numbers.view(np.int64), np.empty(philox.CHUNK), point)
