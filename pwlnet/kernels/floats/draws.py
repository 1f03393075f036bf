"""Random points of a set, each a function of the seed, the number of the set and the number of the draw.

Kinds: Gaussian noise, the uniform distribution on a box, its corners with equal probability, the uniform distribution on a ball
of the norm 1 or 2. Balls by Barthe et al., "A probabilistic approach to the geometry of the l_p^n-ball", Ann. Probab. 33 (2005),
Theorem 1: with g_i of density proportional to exp(-|t|^p) and z exponential, g / (sum |g_i|^p + z)^(1/p) is uniform on the ball.

Legend: B sets, D inputs.
"""

from typing import NamedTuple

import numpy as np

from .._jit import ZERO, entry_kernel, kernel
from .philox import CHUNK, fill_exponentials, fill_normals, fill_words, uniform

GAUSSIAN, BOX, CORNERS, BALL_1, BALL_2 = range(5)
COORDINATES, RADII = np.int64(0), np.int64(1)  # streams
_TOP_BIT = np.uint64(31)


class Draws(NamedTuple):
    """How points are drawn from B sets."""

    kind: np.ndarray  # int64[1]
    key: np.ndarray  # uint64[2] the seed
    first_set: np.ndarray  # int64[1] number of the first set
    centers: np.ndarray  # float64[B, D]; lower bounds of boxes
    uppers: np.ndarray  # float64[B, D] upper bounds of boxes; no rows for the others
    scales: np.ndarray  # float64[B] standard deviation or radius
    limits: np.ndarray  # float64[2] points are clipped to this range


class Scratch(NamedTuple):
    """What drawing a point works with."""

    words: np.ndarray  # uint64[CHUNK]
    values: np.ndarray  # float64[2 * CHUNK]
    bits: np.ndarray  # int64[2 * CHUNK] the memory of ``values``
    numbers: np.ndarray  # float64[CHUNK]
    point: np.ndarray  # float64[D]


@kernel
def _fill_chunk(draws, scratch, b, draw, chunk, stream):
    """Compute the numbers of one chunk, by the kind of draws. Out: scratch.numbers."""
    kind = draws.kind[0]
    fill_words(draws.key, chunk, draw, draws.first_set[0] + b, stream, scratch.words)
    if kind == BALL_1 or stream == RADII:
        fill_exponentials(scratch.words, scratch.values, scratch.bits, scratch.numbers)
    elif kind == GAUSSIAN or kind == BALL_2:
        fill_normals(scratch.words, scratch.values, scratch.bits, scratch.numbers)
    elif kind == BOX:
        for j in range(CHUNK):
            scratch.numbers[j] = uniform(scratch.words[j])
    else:
        for j in range(CHUNK):
            scratch.numbers[j] = float(scratch.words[j] >> _TOP_BIT)


@kernel
def _ball_factor(draws, scratch, b, draw):
    """Return the factor that makes the numbers of scratch.point a point of the ball of radius 1."""
    _fill_chunk(draws, scratch, b, draw, ZERO, RADII)
    z = abs(scratch.numbers[0])
    if draws.kind[0] == BALL_1:
        total = 0.0
        for d in range(scratch.point.shape[0]):
            total += abs(scratch.point[d])
        return 1.0 / (total + z)
    total = 0.0
    for d in range(scratch.point.shape[0]):
        total += scratch.point[d] * scratch.point[d]
    return 1.0 / np.sqrt(total + 2.0 * z)  # g = n / sqrt 2 has the density exp(-t**2)


@kernel
def draw_point(draws, scratch, b, draw):
    """Compute draw number ``draw`` of set b. Out: scratch.point float64[D]."""
    kind, point, n = draws.kind[0], scratch.point, scratch.point.shape[0]
    for first in range(0, n, CHUNK):
        _fill_chunk(draws, scratch, b, draw, first // CHUNK, COORDINATES)
        for j in range(min(CHUNK, n - first)):
            point[first + j] = scratch.numbers[j]
    if kind == BOX or kind == CORNERS:
        for d in range(n):
            low, high = draws.centers[b, d], draws.uppers[b, d]
            x = low + point[d] * (high - low)
            x = high if (kind == CORNERS and point[d] > 0.5) or x > high else x
            point[d] = low if x < low else x
    else:
        scale = draws.scales[b]
        if kind != GAUSSIAN:
            scale *= _ball_factor(draws, scratch, b, draw)
        for d in range(n):
            point[d] = draws.centers[b, d] + scale * point[d]
    low, high = draws.limits[0], draws.limits[1]
    if low > -np.inf or high < np.inf:
        for d in range(n):
            x = point[d] if point[d] > low else low
            point[d] = x if x < high else high


@entry_kernel
def draw_points(draws, scratch, sets, numbers, points_out):
    """Compute draws with the given numbers int64[n] of the given sets int64[n]. Out: points_out float64[n, D]."""
    for n in range(numbers.shape[0]):
        draw_point(draws, scratch, sets[n], numbers[n])
        for d in range(points_out.shape[1]):
            points_out[n, d] = scratch.point[d]


@kernel
def is_in_order(code_inputs):
    """Return whether input d fills entry d, for all d."""
    in_order = True
    for d in range(code_inputs.shape[0]):
        in_order = in_order and code_inputs[d] == d
    return in_order


@kernel
def load_draws(code_inputs, draws, scratch, b, first, last, x_out):
    """Put draws ``first`` to ``last`` of set b into rows: code_inputs int64[D] entry of each input.

    Out: x_out float64[T, n] or float32[T, n]; its other entries are unchanged.
    """
    in_order = is_in_order(code_inputs)
    for r in range(last - first):
        draw_point(draws, scratch, b, first + r)
        if in_order:
            for d in range(scratch.point.shape[0]):
                x_out[r, d] = scratch.point[d]
        else:
            for d in range(scratch.point.shape[0]):
                x_out[r, code_inputs[d]] = scratch.point[d]
