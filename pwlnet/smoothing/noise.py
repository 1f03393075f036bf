"""Noise of votes, as a function of seed, purpose, image number and draw number only.

The numbers come from the counter-based generator of ``kernels/floats/philox.py``: they depend neither on batches nor on
threads, every draw of every image has noise of its own, and any draw can be made again.

Legend: n votes, S shape of an input.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._types import FloatArray
from ..draws import draw_points
from ..errors import InputError
from ..kernels.floats import draws as kinds
from ..validation import check_count

SELECT, ESTIMATE, PREDICT, REFERENCE, NESTED, TRAINING, ATTACK, CHECK = range(8)  # purposes of draws
_OWN = 100  # added to a purpose: the randomness that a classifier has of its own at each vote
_MOST = 2**32
_NO_LIMITS = (-np.inf, np.inf)


def make_seed(rng):
    """Return the seed that a call uses: an integer, or a number drawn from a ``numpy.random.Generator``.

    Raises
    ------
    InputError
        It is neither.
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer) or not 0 <= rng < 2**63:
        raise InputError(f"rng is {rng!r}; give a seed, an integer from 0 to 2**63 - 1, or a numpy.random.Generator")
    return int(rng)


def unit_noise(
    seed: int, purpose: int, image: int, first: int, last: int, shape: tuple[int, ...], *, threads: int | None = None
) -> FloatArray:
    """Draw independent standard normal numbers.

    Estimate: normal up to their resolution: 2**32 different radii and angles (Box and Muller's method), so none is beyond 6.7.

    Parameters
    ----------
    seed : int
    purpose : int
        Such as ``SELECT``; draws for different purposes are independent.
    image : int
        Number of the image, below 2**32.
    first, last : int
        Numbers of the draws, ``last`` not included.
    shape : tuple of int
        Of the numbers of one draw.
    threads : int, optional
        The numbers do not depend on it. All processors by default.

    Returns
    -------
    float64[last - first, *shape]
    """
    return _noisy_points(seed, purpose, image, first, last, np.zeros(shape), 1.0, threads)


def _noisy_points(seed, purpose, image, first, last, center, sigma, threads):
    """Draw points of the normal distribution around float64[*S] with standard deviation sigma: float64[last - first, *S]."""
    image, last = check_count(image, "image", least=0), check_count(last, "the number of draws", least=0)
    if image >= _MOST or last >= _MOST:
        raise InputError(f"image is {image} and the number of draws {last}; numbers below 2**32 are needed")
    key = np.random.SeedSequence([seed, purpose]).generate_state(2).astype(np.uint64)
    row = np.ascontiguousarray(center, np.float64).reshape(1, -1)
    scale, limits = np.array([sigma], np.float64), np.array(_NO_LIMITS)
    draws = kinds.Draws(np.array([kinds.GAUSSIAN]), key, np.array([image]), row, np.zeros((0, row.size)), scale, limits)
    points = draw_points(draws, np.zeros(last - first, np.int64), np.arange(first, last), threads=threads)
    return points.reshape(last - first, *center.shape)


class Query(NamedTuple):
    """Draws ``first`` to ``last`` of the noise around one input.

    Attributes
    ----------
    center : float64[*S]
        The input.
    sigma : float
        Standard deviation of the noise, in the units of the input.
    seed, purpose, image : int
        Which noise: see ``unit_noise``.
    first, last : int
        Numbers of the draws, ``last`` not included.
    reference : float64[*S], optional
        The stored point whose pattern the votes are compared with, if it is not ``center``.
    """

    center: FloatArray
    sigma: float
    seed: int
    purpose: int
    image: int
    first: int
    last: int
    reference: FloatArray | None = None

    def points(self, *, threads: int | None = None) -> FloatArray:
        """Return the noisy points: float64[n, *S]. They do not depend on the number of threads."""
        draws = self.purpose, self.image, self.first, self.last
        return _noisy_points(self.seed, *draws, self.center, self.sigma, threads)

    def own_noise(self, *, threads: int | None = None) -> FloatArray:
        """Return standard normal numbers that each vote has for itself, independent of its noise: float64[n, *S]."""
        draws = self.purpose + _OWN, self.image, self.first, self.last
        return unit_noise(self.seed, *draws, self.center.shape, threads=threads)
