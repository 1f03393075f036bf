"""Float-path repression with a drawn reference: each vote is the majority of inner votes for one reference.

Legend: J outer draws, m inner draws, S shape of an image, O classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import IntArray
from ..errors import InputError
from ..validation import check_count, check_number
from .bases import NO_CLASS, BaseClassifier, DerivedClassifier, votes_of
from .denoisers import as_denoiser

if TYPE_CHECKING:
    import torch

    from ..network import Network
    from .noise import Query

INNER_PURPOSE = 300  # added to a purpose: the inner draws of a query
_ROWS = 4096  # inner draws at once


class NestedClassifier(DerivedClassifier):
    """A classifier with a reference that each vote draws; made by ``repress_float_paths``.

    One vote at x: draw z1 = x + sigma1 n1; the rule of SC-RFP runs with the reference r(z1), the identity or a denoiser, held
    fixed; the vote is its class, g_{z1}(x) = argmax_c Pr_{n2}[f(r(z1), x + sigma2 n2) = c]. sigma1 is the sigma of the
    SmoothedClassifier, and ``inner_sigma`` is sigma2.

    **Statement.** Let p(z1) = Pr_{n2}[f(r(z1), x + sigma2 n2) = c] and q_R = Pr_{z1}[p(z1) > Phi(R / sigma2)]. If
    q_R > Phi(R / sigma1), then at every x' with ``|x' - x| <= R``, class c has more than half of the votes.

    *Proof.* H = {z1 : p(z1) > Phi(R / sigma2)} is one fixed set. For z1 in H, the theorem of Cohen et al. [1]_ for the fixed
    classifier f(r(z1), .) gives g_{z1}(x') = c for all x' in the ball. So Pr[vote of x' is c] >= Pr[x' + sigma1 n1 in H] >=
    Phi(Phi^-1(q_R) - R / sigma1) > 1/2 [2]_.

    **Finite samples.** J outer draws (``n`` of ``certify``) with m inner draws each; k_j of these are for c. With the least K
    for which Pr[Bin(m, Phi(R / sigma2)) >= K] <= beta, the share of draws with k_j >= K has a mean of at most
    q_R + (1 - q_R) beta, so q_R >= (p_low - beta) / (1 - beta) for its lower bound p_low. There is no union bound over the
    draws. Radii of a fixed grid are tested in increasing order (see fixed_sequence.py).

    **Deployment.** A deployed vote is the majority of m inner draws, and not of infinitely many. With gamma > 0, the set is
    p(z1) > Phi(R / sigma2 + Phi^-1(1/2 + tau)), tau = sqrt(log(1 / gamma) / (2 m)): at x' the class then has an inner
    probability above 1/2 + tau, so the majority of m draws is c with probability 1 - gamma at least (Hoeffding); and
    Phi(Phi^-1(q_R) - R / sigma1) > 1 / (2 (1 - gamma)) is demanded. With gamma = 0, it is about exact inner majorities.

    Attributes
    ----------
    eta : float
    m : int
    beta, gamma : float

    References
    ----------
    .. [1] Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Theorem 1.
    .. [2] Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019,
       Lemma 2. The statement, its proof and the procedure are ours.
    """

    guarantee, reference = "sound", "nested"

    network: Network

    def __init__(
        self,
        base: BaseClassifier,
        eta: float,
        *,
        denoiser: Any = None,
        m: int = 100,
        beta: float = 0.2,
        gamma: float = 0.01,
        inner_sigma: float | None = None,
        passes: int = 2,
    ) -> None:
        super().__init__(base)
        self.eta, self.passes = eta, passes
        self.denoiser, self.m = None if denoiser is None else as_denoiser(denoiser), check_count(m, "m")
        self.beta, self.gamma = check_number(beta, "beta", above=True), check_number(gamma, "gamma")
        if self.beta >= 1.0 or self.gamma >= 0.5:
            raise InputError(f"beta is {beta!r} and gamma {gamma!r}; beta below 1 and gamma below 1/2 are needed")
        self.inner_sigma = None if inner_sigma is None else check_number(inner_sigma, "inner_sigma", above=True)

    @property
    def plan_type(self) -> type[Any]:
        """How its certificates are made: the class NestedPlan."""
        from .nested_plan import NestedPlan

        return NestedPlan

    def sigma2(self, sigma: float) -> float:
        """Return the standard deviation of the inner noise; by default, that of the outer one."""
        return float(sigma if self.inner_sigma is None else self.inner_sigma)

    def slack(self) -> float:
        """Return tau: what the inner probability of a deployed majority must exceed 1/2 by."""
        return float(np.sqrt(np.log(1.0 / self.gamma) / (2.0 * self.m))) if self.gamma > 0.0 else 0.0

    def inner_votes(self, query: Query) -> IntArray:
        """Return the inner votes of each outer draw of a query: int64[J, m]."""
        threads, at_once = self.base.threads, max(1, _ROWS // self.m)
        outer = query.points(threads=threads)
        references = outer if self.denoiser is None else self.denoiser(outer)
        inner = query._replace(purpose=query.purpose + INNER_PURPOSE, sigma=self.sigma2(query.sigma))
        votes = np.empty((len(outer), self.m), np.int64)
        for a in range(0, len(outer), at_once):
            b = min(a + at_once, len(outer))
            points = inner._replace(first=(query.first + a) * self.m, last=(query.first + b) * self.m).points(threads=threads)
            repeated = np.repeat(references[a:b], self.m, axis=0)
            scores = self.base.scores_at(points, repeated, eta=self.eta, passes=self.passes)
            votes[a:b] = votes_of(scores).reshape(b - a, self.m)
            self.n_scores = scores.shape[1]
        return votes

    def classes(self, query: Query) -> IntArray:
        """Return the votes, majorities of inner votes: int64[J], ``NO_CLASS`` where all of them are."""
        votes = self.inner_votes(query)
        counts = np.stack([(votes == c).sum(axis=1) for c in range(int(votes.max(initial=0)) + 1)], axis=1)
        return np.where(counts.any(axis=1), counts.argmax(axis=1), NO_CLASS)

    def torch_scores(self, points: torch.Tensor, query: Query, centers: torch.Tensor | None = None) -> torch.Tensor:
        """Compute scores of one inner draw per outer draw with gradients: tensor [n, *S] -> tensor [n, O]."""
        import torch

        outer = points.detach()
        references = outer if self.denoiser is None else self.denoiser.torch(outer)
        inner = query._replace(purpose=query.purpose + INNER_PURPOSE, sigma=self.sigma2(query.sigma)).points()
        inner = points + torch.from_numpy(inner - query.points()).to(points)
        return self.base.torch_scores_at(inner, references, eta=self.eta, passes=self.passes)

    def settings(self) -> dict[str, Any]:
        """Return what identifies the classifier in logs and stores."""
        named = {"eta": self.eta, "reference": "nested", "passes": self.passes, "m": self.m, "beta": self.beta}
        more = {"gamma": self.gamma, "inner_sigma": self.inner_sigma or 0.0}
        denoiser = {"denoiser": "none"} if self.denoiser is None else self.denoiser.settings()
        return {**self.base.settings(), **named, **more, **denoiser}

    def __repr__(self) -> str:
        return f"NestedClassifier(eta={self.eta:g}, m={self.m}, guarantee 'sound')"
