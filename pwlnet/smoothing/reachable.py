"""Sound certificates of SC-RFP with a clean centre: votes that are right for all patterns that images in a ball can have.

Legend: n votes, S shape of an image, K neurons, G radii, P points.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from .._types import ArrayLike, BoundMethod, IntArray
from ..bounds.elimination import INFLATION, TINY
from ..bounds.preactivations import bound_preactivations
from ..domains import Ball
from ..errors import InputError
from ..float_sets import pool_neurons
from ..scheduling import run_chunks
from ..tolerances import UNIT_ROUNDOFF
from ..validation import check_choice
from .certificates import Certificate, Certificates
from .factor_bounds import FactorBounds
from .fixed_sequence import is_confirmed, lower_bound
from .noise import ESTIMATE
from .radii import radius_of

if TYPE_CHECKING:
    from .classifier import SmoothedClassifier

METHODS = get_args(BoundMethod)
UNDECIDED = -1
_ROWS = 512
_PER_OCTAVE, _OCTAVES = 8, 12  # of the grid of radii
_INSIDE = 1.0 - 2.0**-10  # share of the radius of a region at which bounds, with rounding, prove that it is the region


def certify_reachable(
    smoothed: SmoothedClassifier,
    x: ArrayLike,
    *,
    n0: int = 100,
    n: int = 10_000,
    alpha: float = 0.001,
    rng: int | np.random.Generator = 0,
    image: int = 0,
    radii: ArrayLike | None = None,
    bounds: BoundMethod = "crown",
    batch_size: int | None = None,
) -> Certificate | Certificates:
    """Certify SC-RFP with a clean centre soundly, by bounds of the patterns that images in a ball can have.

    Estimate: with confidence 1 - alpha, the deployed rule, which compares votes at x' with the pattern of x' itself, gives the
    class of the certificate more than half of its votes at every x' in the ball.

    Parameters
    ----------
    smoothed : SmoothedClassifier
        Of ``repress_float_paths(network, eta, reference="clean", dtype="float64")``.
    x : float64[*S] or float64[B, *S]
    n0 : int, optional
        Votes that select the class.
    n : int, optional
        Fresh votes.
    alpha : float, optional
        For each image.
    rng : int or numpy.random.Generator, optional
    image : int, optional
        Number of the first image; part of the counters of its noise.
    radii : float64[G], optional
        Radii that are tested, in increasing order, up to the first that the votes do not confirm. By default eight per octave
        up to what n equal votes certify, and just below the radius of the region of the image.
    bounds : {"crown", "alpha_crown", "crown_ibp", "ibp"}, optional
        How states of neurons are proved over balls.
    batch_size : int, optional
        Noisy points that are evaluated together when the class is selected.

    Returns
    -------
    Certificate or Certificates
        With guarantee "sound" and method "reachable"; k counts the votes that are right for all patterns at this radius.

    Raises
    ------
    InputError, ShapeError
        The classifier is not such a rule, the radii do not increase, or a number is bad.

    Notes
    -----
    **Statement.** At x', the deployed rule multiplies the output of neuron i at the noisy point z by lam_i(x', z): 1 if the
    neuron has the same strict state at x' and z, else 1 + eta. Let S_R be a set of vectors of factors that contains
    lam(x', z) for all x' with ``|x' - x| <= R``, and h_R(z) = 1 only if c wins at z with all of them. If
    sigma Phi^-1(E h_R(x + sigma n)) > R, then c has more than half of the votes of the deployed rule at all x' in the ball.

    *Proof.* x and R fixed, h_R is one function of z. Where h_R(z) = 1, the vote at z of the rule with centre x' is c, for each
    x' in the ball. So Pr[vote of x' at x' + sigma n is c] >= E h_R(x' + sigma n) >= Phi(Phi^-1(E h_R(x + sigma n)) - R / sigma)
    > 1/2: the second step is the Lipschitz property of Gaussian means of h_R [1]_.

    Here, S_R is a box: a neuron whose state ``bound_preactivations`` proves strictly on the ball, beyond the rounding errors
    of forward passes, has a known factor; all others, and windows of MaxPool, one between 1 and 1 + eta. Whether c wins
    for the box is decided by an interval pass at z. Where the ball is in one region, all states are known, and the result
    is the certificate min(radius, r_region) of a "nominal" rule, but for a thousandth, and for rounding in deep networks, which
    r_region does not include; with more patterns in reach, it goes beyond.

    h_R decreases in R (it is 1 only if it is for the radii before), so radii are tested in increasing order by the same votes,
    without correction (see fixed_sequence.py).

    References
    ----------
    .. [1] Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019,
       Lemma 2. The rule is SC-RFP of Jiang, ICLR 2023; the statement, its proof and the procedure are ours.

    Examples
    --------
    >>> import pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp3_noise25"))
    >>> rule = pwlnet.smoothing.repress_float_paths(network, -0.1, reference="clean", dtype="float64")
    >>> smoothed = pwlnet.smoothing.SmoothedClassifier(rule, 0.25)
    >>> images, labels = pwlnet.datasets.digits_images()
    >>> certificate = pwlnet.smoothing.certify_reachable(smoothed, images[0], n=300)
    >>> certificate.guarantee, bool(certificate.label == labels[0])
    ('sound', True)
    >>> certificate.r_region < 0.02, certificate.radius > 0.2
    (True, True)
    """
    rule: Any = smoothed.base
    if getattr(rule, "reference", None) != "clean" or rule.network is None or rule.dtype != "float64" or rule.passes != 2:
        raise InputError(
            f"the classifier is {rule!r}; reachable patterns are those of a network with reference='clean', passes=2 and "
            "dtype='float64'"
        )
    points, single = smoothed._as_images(x)
    check_choice(bounds, METHODS, "bounds")
    plan = smoothed.plan(n0=n0, n=n, alpha=alpha, rng=rng, batch_size=batch_size)
    certifier = _Certifier(plan, bounds, _check_radii(radii))
    results = [certifier.certify(point, image + b) for b, point in enumerate(points)]
    return results[0] if single else Certificates.from_list(results)


def _check_radii(radii):
    if radii is None:
        return None
    radii = np.atleast_1d(np.asarray(radii, np.float64))
    if radii.ndim != 1 or not (np.isfinite(radii).all() and (radii > 0).all() and (np.diff(radii) > 0).all()):
        raise InputError("radii must be positive, finite and increasing; sort them")
    return radii


def reachable_states(bounds: FactorBounds, center: ArrayLike, radius: float, method: BoundMethod = "crown") -> IntArray:
    """Find the states of neurons that are proved, strictly, for all float64 forward passes of the points of a ball.

    Sound bound: of a neuron with a state, every point of the ball has this state, not at a threshold.

    Parameters
    ----------
    bounds : FactorBounds
    center : float64[D]
    radius : float
    method : str
        Of ``bound_preactivations``.

    Returns
    -------
    int64[K]
        The piece of each neuron (for ReLU and LeakyReLU 0 or 1), -1 where it is not proved, and for MaxPool.
    """
    network, elimination = bounds.network, bounds.elimination
    found = bound_preactivations(network, Ball(center, radius, norm=2), method=method)
    low, high = found.lower[0], found.upper[0]
    size, error = np.zeros((2, elimination.n_entries))
    size[: elimination.n_inputs] = elimination.load(np.abs(center)[None] + radius)[:, 0]
    pieces = np.full(network.n_neurons, UNDECIDED)
    for layer in bounds.layers[:-1]:
        block = layer.block
        S = layer.absolute if layer.S is None else layer.S
        own = (layer.absolute @ error + layer.rounding * (S @ (size + error) + layer.s)) * INFLATION + TINY * len(size)
        rows, numbers = slice(block.first, block.first + block.n), block.numbers
        z_low, z_high = low[numbers], high[numbers]
        if block.windows is None:
            z_low, z_high = z_low - own, z_high + own
            pieces[numbers] = certain_pieces(block, z_low[:, None], z_high[:, None])[:, 0]
            ends = [np.abs(_values(block, z)) for z in (z_low, z_high, *(np.clip(t, z_low, z_high) for t in block.thresholds))]
            size[rows] = np.max(ends, axis=0) * INFLATION + TINY
            error[rows] = (np.abs(block.slopes).max(axis=0) * own + 4 * UNIT_ROUNDOFF * size[rows]) * INFLATION + TINY
        else:
            taps = np.where(block.windows >= 0, own[block.windows], 0.0).max(axis=1)
            size[rows], error[rows] = (np.maximum(np.abs(z_low), np.abs(z_high)) + taps) * INFLATION, taps
    return pieces


def certain_pieces(block, low, high):
    """Return the pieces of elementwise neurons whose inputs are in intervals without a threshold, else -1: int64[n, P]."""
    below = (high[None] < block.thresholds[:, None, None]).sum(axis=0)
    above = (low[None] > block.thresholds[:, None, None]).sum(axis=0)
    return np.where(below + above == len(block.thresholds), above, UNDECIDED)


def _values(block, z):
    piece = (z[None] > block.thresholds[:, None]).sum(axis=0)
    return block.slopes[piece, np.arange(block.n)] * z + block.intercepts[piece]


class _Certifier:
    """How images are certified one by one."""

    def __init__(self, plan, method, radii):
        self.plan, self.method, self.radii = plan, method, radii
        self.smoothed, self.bounds = plan.smoothed, FactorBounds(plan.smoothed.base.network)

    def certify(self, x, image):
        """Certify one image: Certificate."""
        started, plan, flat = time.perf_counter(), self.plan, x.reshape(-1)
        ((candidate, _),) = plan.select([x], [image], self.smoothed.batch_rows(plan.batch_size, x.size))
        r_region = plan.region_radius(x)
        points = plan.query(x, image, ESTIMATE, plan.n).points().reshape(plan.n, -1)
        own, alive = self._pieces(points), np.ones(plan.n, bool)
        grid = self._grid(r_region * _INSIDE)
        found, proved, inside = None, 0.0, min(r_region * _INSIDE, float(grid[-1]))
        for radius in grid:
            if radius > proved:  # within the region, patterns are the same for all radii
                proved, states = self._states(flat, float(radius), inside)
                alive[alive] = self._wins(points[alive], own[alive], states, candidate)
            k = int(alive.sum())
            p_low = lower_bound(k, plan.n, plan.alpha)
            confirmed = is_confirmed(p_low, radius, self.smoothed.sigma)
            if found is None or confirmed:
                found = (float(radius) if confirmed else 0.0), p_low, k
            if not confirmed:
                break
        radius, p_low, k = found
        made = plan.make(x, image, candidate, time.perf_counter() - started, radius=radius, p_low=p_low, k=k, n=plan.n)
        return replace(made, guarantee="sound", method="reachable")

    def _states(self, x, radius, inside):
        """Find the states that are proved on a ball: its radius, larger than asked for if all states are, and the states."""
        if inside > radius:
            states = reachable_states(self.bounds, x, inside, self.method)
            if ((states != UNDECIDED) | pool_neurons(self.bounds.network)).all():
                return inside, states
        return radius, reachable_states(self.bounds, x, radius, self.method)

    def _grid(self, inside):
        """Return the radii that are tested: float64[G], increasing."""
        if self.radii is not None:
            return self.radii
        largest = float(radius_of(self.plan.alpha ** (1.0 / self.plan.n), self.smoothed.sigma))
        grid = largest * 2.0 ** (np.arange(-_OCTAVES * _PER_OCTAVE, 1) / _PER_OCTAVE)
        grid[-1] = largest
        return np.unique(np.append(grid, inside)) if 0.0 < inside <= largest else grid

    def _pieces(self, points):
        """Find the pieces of the neurons of an unrepressed pass of points, -1 where rounding decides: int64[P, K]."""
        pieces = np.full((len(points), self.bounds.network.n_neurons), UNDECIDED, np.int8)

        def find(first, last):
            ranges = self.bounds.start(points[first:last])
            for s, layer in enumerate(self.bounds.layers[:-1]):
                if layer.block.windows is None:
                    low, high = self.bounds.inputs(ranges, layer)
                    pieces[first:last, layer.block.numbers] = certain_pieces(layer.block, low, high).T
                self.bounds.advance(ranges, s, s + 1)

        run_chunks(find, len(points), _ROWS)
        return pieces

    def _wins(self, points, own, states, label):
        """Return at which points the class wins for all patterns that are left: bool[P]."""
        factor, won = 1.0 + self.smoothed.base.eta, np.zeros(len(points), bool)

        def check(first, last):
            known = (own[first:last] != UNDECIDED) & (states != UNDECIDED)
            same = known & (own[first:last] == states)
            lower = np.where(same, 1.0, np.where(known, factor, min(1.0, factor)))
            upper = np.where(same, 1.0, np.where(known, factor, max(1.0, factor)))
            won[first:last] = self.bounds.verify(points[first:last], lower, upper, label)

        for first in range(0, len(points), _ROWS):
            check(first, min(first + _ROWS, len(points)))
        return won
