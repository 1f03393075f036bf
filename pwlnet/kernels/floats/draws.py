"""Random points of a set, each a function of the seed, the number of the set and the number of the draw.

Kinds: Gaussian noise, the uniform distribution on a box, its corners with equal probability, the uniform distribution on a
ball of the norm 1 or 2. Balls by Barthe et al., "A probabilistic approach to the geometry of the l_p^n-ball", Ann. Probab. 33
(2005), Theorem 1: with g_i of density proportional to exp(-|t|^p) and z exponential, g / (sum |g_i|^p + z)^(1/p) is uniform on
the ball.

Legend: B sets, D inputs.
"""

from typing import NamedTuple

import numpy as np

from .._jit import ZERO, entry_kernel, kernel
from .philox import CHUNK, fill_exponentials, fill_normals, fill_words, uniform

GAUSSIAN, BOX, CORNERS, BALL_1, BALL_2 = range(5)
COORDINATES, RADII = np.int64(0), np.int64(1)  # streams
_NONE, _TOP_BIT = np.uint64(0), np.uint64(1 << 31)


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
    numbers: np.ndarray  # float64[CHUNK]
    point: np.ndarray  # float64[D]


@kernel
def _fill_chunk(draws, words, b, draw, chunk, stream, numbers_out):
    """Compute the numbers of one chunk, by the kind of draws; words uint64[CHUNK] is scratch. Out: numbers_out[CHUNK]."""
    kind = draws.kind[0]
    fill_words(draws.key, chunk, draw, draws.first_set[0] + b, stream, words)
    if kind == BALL_1 or stream == RADII:
        fill_exponentials(words, numbers_out)
    elif kind in (GAUSSIAN, BALL_2):
        fill_normals(words, numbers_out)
    elif kind == BOX:
        for j in range(CHUNK):
            numbers_out[j] = uniform(words[j])
    else:
        for j in range(CHUNK):
            numbers_out[j] = 1.0 if (words[j] & _TOP_BIT) != _NONE else 0.0


@kernel
def _ball_factor(draws, scratch, b, draw, point):
    """Return the factor that makes the numbers of a point float64[D] a point of the ball of radius 1."""
    _fill_chunk(draws, scratch.words, b, draw, ZERO, RADII, scratch.numbers)
    z = abs(scratch.numbers[0])
    if draws.kind[0] == BALL_1:
        total = 0.0
        for d in range(point.shape[0]):
            total += abs(point[d])
        return 1.0 / (total + z)
    total = 0.0
    for d in range(point.shape[0]):
        total += point[d] * point[d]
    return 1.0 / np.sqrt(total + 2.0 * z)  # g = n / sqrt 2 has the density exp(-t**2)


@kernel
def _put_into_box(low, high, to_corners, point):
    """Turn numbers in [0, 1] into a point between low and high float64[D], or into the corner where they are 1. In place."""
    for d in range(point.shape[0]):
        x = low[d] + point[d] * (high[d] - low[d])
        x = high[d] if (to_corners and point[d] > 0.5) or x > high[d] else x
        point[d] = low[d] if x < low[d] else x


@kernel
def _scale_and_move(center, scale, point):
    """Compute center + scale * point, in place."""
    for d in range(point.shape[0]):
        point[d] = center[d] + scale * point[d]


@kernel
def _clip(low, high, point):
    """Clip the entries of a point to [low, high], in place."""
    for d in range(point.shape[0]):
        x = point[d] if point[d] > low else low
        point[d] = x if x < high else high


@kernel
def draw_point(draws, scratch, b, draw, point_out):
    """Compute draw number ``draw`` of set b. Out: point_out float64[D].

    Chunks are written in place. Loops are kernels of arrays: within loops on fields of a NamedTuple, which is a pointer here,
    a store may change the fields, and no vector instructions are used.
    """
    kind, n = draws.kind[0], point_out.shape[0]
    for first in range(0, n, CHUNK):
        is_whole = n - first >= CHUNK
        numbers = point_out[first : first + CHUNK] if is_whole else scratch.numbers
        _fill_chunk(draws, scratch.words, b, draw, first // CHUNK, COORDINATES, numbers)
        if not is_whole:
            for j in range(n - first):
                point_out[first + j] = numbers[j]
    if kind in (BOX, CORNERS):
        _put_into_box(draws.centers[b], draws.uppers[b], kind == CORNERS, point_out)
    else:
        scale = draws.scales[b]
        if kind != GAUSSIAN:
            scale *= _ball_factor(draws, scratch, b, draw, point_out)
        _scale_and_move(draws.centers[b], scale, point_out)
    low, high = draws.limits[0], draws.limits[1]
    if low > -np.inf or high < np.inf:
        _clip(low, high, point_out)


@entry_kernel
def draw_points(draws, scratch, sets, numbers, points_out):
    """Compute draws with the given numbers int64[n] of the given sets int64[n]. Out: points_out float64[n, D]."""
    for n in range(numbers.shape[0]):
        draw_point(draws, scratch, sets[n], numbers[n], points_out[n])


@kernel
def is_in_order(code_inputs):
    """Return whether input d fills entry d, for all d."""
    in_order = True
    for d in range(code_inputs.shape[0]):
        in_order = in_order and code_inputs[d] == d
    return in_order


@kernel
def _copy(point, r, x_out):
    """Copy point float64[D] to the beginning of row r of x_out float64[T, n] or float32[T, n]."""
    for d in range(point.shape[0]):
        x_out[r, d] = point[d]


@kernel
def _scatter(point, places, r, x_out):
    """Put point float64[D] into the places int64[D] of row r of x_out."""
    for d in range(point.shape[0]):
        x_out[r, places[d]] = point[d]


@kernel
def load_draws(code_inputs, draws, scratch, b, first, last, x_out):
    """Put draws ``first`` to ``last`` of set b into rows: code_inputs int64[D] entry of each input.

    Out: x_out float64[T, n] or float32[T, n]; its other entries are unchanged.
    """
    in_order, point = is_in_order(code_inputs), scratch.point
    for r in range(last - first):
        draw_point(draws, scratch, b, first + r, point)
        if in_order:
            _copy(point, r, x_out)
        else:
            _scatter(point, code_inputs, r, x_out)
