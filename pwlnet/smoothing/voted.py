"""Float-path repression with a reference that the votes of the image itself decide: one set of factors for all votes.

Legend: n votes, m reference draws, S shape of an image, K neurons, G radii, P points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._types import FloatArray, IntArray
from ..binomial import clopper_pearson
from ..errors import InputError, UnsupportedOperationError
from ..float_sets import pool_neurons
from ..validation import check_choice, check_count, check_number
from .bases import BaseClassifier, DerivedClassifier
from .denoisers import as_denoiser

if TYPE_CHECKING:
    import torch

    from ..network import Network
    from .noise import Query

WEIGHTINGS = ("hard", "linear")
REFERENCE_PURPOSE = 200  # added to a purpose: the reference draws of a query
_ROWS = 1000  # reference draws at once
_SLACK = 2.0**-40  # of normal quantiles, far above the errors of scipy's


def check_layers(network, layers):
    """Return the switching ops whose neurons are repressed: positions in ``neuron_layers``, increasing.

    Parameters
    ----------
    network : Network
    layers : {"last", "all"} or sequence of int or str
        Positions or names.

    Raises
    ------
    InputError
        There is no such layer.
    """
    n, names = len(network.neuron_layers), [layer[0] for layer in network.neuron_layers]
    if isinstance(layers, str):
        layers = {"last": range(max(0, n - 1), n), "all": range(n)}.get(layers, [layers])
    chosen = []
    for layer in layers:
        at = names.index(layer) if layer in names else layer
        if isinstance(at, bool) or not isinstance(at, int | np.integer) or not -n <= at < n:
            raise InputError(f"layers has {layer!r}; give 'last', 'all', or positions or names among {', '.join(names)}")
        chosen.append(int(at) % n)
    return sorted(set(chosen))


def layer_mask(network, layers):
    """Return the neurons of layers, without windows of MaxPool: bool[K]."""
    mask = np.zeros(network.n_neurons, bool)
    for layer in layers:
        _, first, last = network.neuron_layers[layer]
        mask[first:last] = True
    return mask & ~pool_neurons(network)


def shift_probability(p, shift, *, upper):
    """Bound ``Phi(Phi^-1(p) + shift)`` from above or below: float64[...]."""
    from scipy.special import ndtr, ndtri

    with np.errstate(invalid="ignore"):
        t = ndtri(p)
        moved = t + shift
    error = _SLACK * (1.0 + np.where(np.isfinite(t), np.abs(t), 0.0) + abs(shift))
    q = ndtr(moved + error) * (1.0 + _SLACK) if upper else ndtr(moved - error) * (1.0 - _SLACK)
    return np.clip(np.where(np.isnan(q), p, q), 0.0, 1.0)


class VotedClassifier(DerivedClassifier):
    """A classifier whose neurons have factors that reference draws around the image decide; made by ``repress_float_paths``.

    With p_i(x) = Pr[neuron i is active at r(x + sigma1 n)], r the identity or a denoiser, the factor of neuron i in all votes
    at x is lam_i(x) = 1 + eta g(p_i(x)). A neuron is active where its slope is 1 (Clip: between its limits). Windows of MaxPool
    have the factor 1. Float64, since certificates bound the rounding of float64 evaluations.

    **Statement.** Let g be non-increasing, p_i^-+(R) = Phi(Phi^-1(p_i(x)) -+ R / sigma1), and h_R(z) = 1 only if class c wins
    at z with all factors 1 + eta g_i, g_i between g(p_i^+) and g(p_i^-). If sigma Phi^-1(E h_R(x + sigma n)) > R, then at every
    x' with ``|x' - x| <= R``, class c has more than half of the votes of the deployed rule, with its factors lam(x').

    *Proof.* p_i is the Gaussian mean of a function to [0, 1], so Phi^-1 of it is 1 / sigma1-Lipschitz [1]_; hence p_i(x') is in
    [p_i^-, p_i^+], and lam(x') is among the factors of h_R. Where h_R(z) = 1, the network with factors lam(x') gives c at z.
    So Pr[vote of x' is c] >= E h_R(x' + sigma n) >= Phi(Phi^-1(E h_R(x + sigma n)) - R / sigma) > 1/2, again by [1]_, for the
    one fixed function h_R. Reference noise and noise of votes are not composed.

    **Finite samples**, with confidence 1 - alpha: m reference draws and Clopper-Pearson intervals for all p_i together (an
    eighth of alpha, by the union bound over neurons) give a box of factors that contains the true one; n fresh votes test the
    radii of a fixed grid in increasing order (the rest of alpha; see fixed_sequence.py). The class is selected by other draws.
    At an edge of a hard g, both one-sided values are in the box.

    **Deployment.** The deployed rule estimates p_i(x') by m draws of its own, which all votes of a query share. By Hoeffding's
    inequality and the union bound, all estimates are within tau = sqrt(log(2 M / gamma) / (2 m)) of p_i(x'), M neurons, with
    probability 1 - gamma; the box is widened by tau. So with probability at least 1 - gamma over the reference draws of a
    query in the ball, class c has more than half of its votes. With ``gamma=0``, the statement is about exact p_i.

    Attributes
    ----------
    eta : float
    weighting : {"hard", "linear"}
        g(p) = 1 for p < 1/2 and 0 from there on; or g(p) = 1 - p.
    layers : list of int
        Positions in ``neuron_layers`` of the layers whose neurons have factors.
    m : int
    gamma : float

    References
    ----------
    .. [1] Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019,
       Lemma 2. The statement, its proof and the procedure are ours.
    """

    guarantee, reference = "sound", "voted"

    network: Network

    def __init__(
        self,
        base: BaseClassifier,
        eta: float,
        *,
        denoiser: Any = None,
        weighting: Literal["hard", "linear"] = "hard",
        layers: Literal["last", "all"] | Sequence[int] = "last",
        m: int = 10_000,
        gamma: float = 0.001,
        reference_sigma: float | None = None,
    ) -> None:
        if base.network is None:
            raise UnsupportedOperationError(
                "reference 'voted' needs the neurons of a network, but the classifier is a torch module; convert it by "
                "pwlnet.from_torch"
            )
        if base.dtype != "float64":
            raise InputError(f"reference 'voted' is evaluated in float64, but dtype is {base.dtype!r}; give dtype='float64'")
        super().__init__(base)
        self.eta = eta
        self.denoiser = None if denoiser is None else as_denoiser(denoiser)
        self.weighting = check_choice(weighting, WEIGHTINGS, "weighting")
        self.layers, self.m = check_layers(base.network, layers), check_count(m, "m")
        self.gamma = check_number(gamma, "gamma")
        if self.gamma >= 1.0:
            raise InputError(f"gamma is {gamma!r}; a probability below 1 is needed")
        self.reference_sigma = reference_sigma
        if reference_sigma is not None:
            check_number(reference_sigma, "reference_sigma", above=True)
        self.mask = layer_mask(base.network, self.layers)
        self._factors: tuple[Any, Any] = None, None

    @property
    def plan_type(self) -> type[Any]:
        """How its certificates are made: the class VotedPlan."""
        from .voted_plan import VotedPlan

        return VotedPlan

    def sigma1(self, sigma: float) -> float:
        """Return the standard deviation of the reference noise; by default, that of the votes."""
        return float(sigma if self.reference_sigma is None else self.reference_sigma)

    def count_active(self, query: Query, first: int, last: int) -> IntArray:
        """Count the reference draws of a query at which each neuron is active: int64[K]."""
        counts = np.zeros(self.network.n_neurons, np.int64)
        draws = query._replace(purpose=query.purpose + REFERENCE_PURPOSE, sigma=self.sigma1(query.sigma))
        for a in range(first, last, _ROWS):
            points = draws._replace(first=a, last=min(a + _ROWS, last)).points(threads=self.base.threads)
            points = points if self.denoiser is None else self.denoiser(points)
            counts += (self.network.states(points, threads=self.base.threads) == 1).sum(axis=0)
        return counts

    def factors(self, query: Query, m: int | None = None) -> FloatArray:
        """Return the factors of all votes of a query, from m reference draws: float64[K]."""
        m = self.m if m is None else m
        key = query.seed, query.purpose, query.image, query.sigma, m, query.center.tobytes()
        if self._factors[0] != key:
            p = self.count_active(query, 0, m) / m
            g = (p < 0.5).astype(np.float64) if self.weighting == "hard" else 1.0 - p
            self._factors = key, np.where(self.mask, 1.0 + self.eta * g, 1.0)
        return self._factors[1]

    def factor_box(self, p_low: FloatArray, p_high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Bound the factors where probabilities are between ``p_low`` and ``p_high``: (float64[..., K], float64[..., K])."""
        if self.weighting == "hard":  # both one-sided values at the edge
            ends = (p_high < 0.5).astype(np.float64), (p_low <= 0.5).astype(np.float64)
        else:
            ends = np.nextafter(1.0 - p_high, -1.0), np.nextafter(1.0 - p_low, 2.0)
        ends = [1.0 + self.eta * g for g in ends]
        lower, upper = np.minimum(*ends), np.maximum(*ends)
        if self.weighting != "hard":
            slack = 2.0**-50 * (1.0 + abs(self.eta))
            lower, upper = lower - slack, upper + slack
        return np.where(self.mask, lower, 1.0), np.where(self.mask, upper, 1.0)

    def slack(self) -> float:
        """Return tau, the largest error of all estimates of probabilities with probability 1 - gamma."""
        n = int(self.mask.sum())
        return float(np.sqrt(np.log(2.0 * n / self.gamma) / (2.0 * self.m))) if self.gamma > 0.0 and n else 0.0

    def boxes(self, query: Query, m: int, alpha: float, grid: Any) -> tuple[FloatArray, FloatArray]:
        """Bound the factors of all queries within each radius, with confidence 1 - alpha.

        Returns
        -------
        lower, upper : float64[G, K]
        """
        counts, n, sigma, tau = self.count_active(query, 0, m), int(self.mask.sum()), self.sigma1(query.sigma), self.slack()
        low, high = clopper_pearson(counts, m, alpha / max(1, n), side="both")
        ends = []
        for radius in grid:
            p_low = shift_probability(low, -np.nextafter(radius / sigma, np.inf), upper=False)
            p_high = shift_probability(high, np.nextafter(radius / sigma, np.inf), upper=True)
            ends.append(self.factor_box(np.maximum(p_low - tau, 0.0), np.minimum(p_high + tau, 1.0)))
        lower, upper = (np.array(x) for x in zip(*ends, strict=True))
        return lower, upper

    def scores(self, query: Query) -> FloatArray:
        """Compute the scores of the noisy points of a Query: float64[n, O]."""
        return self.base.scores_at(query.points(threads=self.base.threads), factors=self.factors(query))

    def torch_scores(self, points: torch.Tensor, query: Query, centers: torch.Tensor | None = None) -> torch.Tensor:
        """Compute scores with gradients: tensor [n, *S] -> tensor [n, O]; factors are constants, from fewer draws."""
        return self.base.torch_scores_at(points, factors=self.factors(query, min(self.m, _ROWS)))

    def settings(self) -> dict[str, Any]:
        """Return what identifies the classifier in logs and stores."""
        named = {"eta": self.eta, "reference": "voted", "weighting": self.weighting, "m": self.m, "gamma": self.gamma}
        more = {"layers": ",".join(map(str, self.layers)), "reference_sigma": self.reference_sigma or 0.0}
        denoiser = {"denoiser": "none"} if self.denoiser is None else self.denoiser.settings()
        return {**self.base.settings(), **named, **more, **denoiser}

    def __repr__(self) -> str:
        return f"VotedClassifier(eta={self.eta:g}, {self.weighting}, layers {self.layers}, guarantee 'sound')"
