"""Sequential tests and confidence sequences of the probability of a class, from votes that arrive in blocks.

They stop as soon as the votes decide, where a fixed number of draws is the same for easy and hard inputs. All statements hold
for the path draw by draw, so the sizes of the blocks do not matter.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from .._types import ArrayLike, FloatArray
from ..binomial import as_counts, check_level
from ..errors import InputError
from ..validation import check_choice, check_count, check_number
from .boundaries import METHODS, log_evidence, rejection_boundary, rounding_margin

DECISIONS: tuple[Literal["open", "yes", "no"], ...] = ("open", "yes", "no")
_LARGEST_ALPHA = 0.36  # below 1 / e: see the Notes of ConfidenceSequence


class SequentialTest:
    """Test "the probability of a hit exceeds p0" with as few draws as the draws allow.

    Sound bound: "yes" has a probability of at most alpha if p <= p0, over all numbers of draws together.

    Parameters
    ----------
    p0 : float
        In [0, 1]: ``probability_for(radius, sigma)`` to certify a radius.
    alpha : float
        Largest probability of a wrong "yes".
    beta : float, optional
        Largest probability of a "no" if p >= p0. It ends hopeless tests early and costs nothing of alpha. By default, there is
        no "no": the test ends when "yes" is out of reach or ``max_n`` draws are used.
    max_n : int, optional
    method : {"group_sequential", "beta_binomial", "checkpoints"}, optional
        See ``pwlnet.smoothing.boundaries``; the choice must not depend on the votes.

    Attributes
    ----------
    decision : {"open", "yes", "no"}
    hits, n : int
        Of the votes that were used; those after the end of the test are ignored.
    finished : bool
        There is a decision, ``max_n`` draws were used, or "yes" cannot be reached with the draws that are left.

    Raises
    ------
    InputError
        A parameter is outside its range.

    Notes
    -----
    The votes must be independent draws with one probability p, and not those by which the class was selected.

    Mean draws until "yes" and, if below 1, its probability, for p0 = Phi(1), alpha = 0.001, max_n = 100 000
    (``boundaries.operating_characteristics``). The last column is the probability for Clopper-Pearson with all 100 000.

    ======  ================  ==============  ==============  ===============
    p       group_sequential  beta_binomial   checkpoints     Clopper-Pearson
    ======  ================  ==============  ==============  ===============
    0.845   92 835 (0.39)     96 353 (0.12)   94 492 (0.22)   0.53
    0.848   49 808 (0.99)     58 035 (0.91)   54 475 (0.97)   1.00
    0.86    6285              6642            6982            1
    0.9     590               547             669             1
    0.99    71                62              76              1
    ======  ================  ==============  ==============  ===============

    References
    ----------
    .. [1] Voracek, "Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial Robustness", NeurIPS
       2024 (arXiv:2406.17830): deciding a radius with confidence sequences. "group_sequential" is not from there: its
       boundaries are exact for checks at given numbers of draws, as in group sequential clinical trials.
    .. [2] Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983): spending of alpha.

    Examples
    --------
    >>> import numpy as np
    >>> from pwlnet.smoothing.sequential import SequentialTest
    >>> test = SequentialTest(0.8413, 0.001)
    >>> test.update(np.ones(30, bool)), test.update(np.ones(1000, bool))
    ('open', 'yes')
    >>> test.n < 100
    True
    """

    def __init__(
        self,
        p0: float,
        alpha: float,
        *,
        beta: float | None = None,
        max_n: int = 100_000,
        method: Literal["group_sequential", "beta_binomial", "checkpoints"] = "group_sequential",
    ) -> None:
        self.p0 = check_number(p0, "p0")
        if self.p0 > 1.0:
            raise InputError(f"p0 is {p0!r}; a probability is needed")
        self.alpha = check_level(alpha)
        self.beta = None if beta is None else check_level(beta, "beta")
        self.max_n = check_count(max_n, "max_n")
        self.method = check_choice(method, METHODS, "method")
        self.hits = self.n = 0
        self.decision: Literal["open", "yes", "no"] = "open"
        self._yes = rejection_boundary(self.p0, self.alpha, self.max_n, method)
        self._no = None if beta is None else rejection_boundary(1.0 - self.p0, self.beta, self.max_n, method)
        self._affordable = _affordable_misses(self._yes)
        self.finished = bool(self._affordable[0] < 0)

    def update(self, votes: ArrayLike) -> Literal["open", "yes", "no"]:
        """Use a block of votes, in the order in which they were drawn.

        Parameters
        ----------
        votes : bool[n]
            Whether each draw was a hit.

        Returns
        -------
        {"open", "yes", "no"}

        Raises
        ------
        InputError
            ``votes`` is not a vector of booleans.
        """
        votes = np.asarray(votes)
        if votes.dtype != np.bool_ or votes.ndim != 1:
            raise InputError(f"votes has dtype {votes.dtype} and shape {votes.shape}; a vector of booleans is needed")
        votes = votes[: self.max_n - self.n]
        if self.finished or not votes.size:
            return self.decision
        n = np.arange(self.n + 1, self.n + votes.size + 1)
        hits = self.hits + np.cumsum(votes)
        outcome = self._outcomes(hits, n)
        ends = np.flatnonzero(outcome)
        last = ends[0] if ends.size else votes.size - 1
        self.hits, self.n = int(hits[last]), int(n[last])
        self.decision = DECISIONS[max(outcome[last], 0)]
        self.finished = bool(ends.size) or self.n == self.max_n
        return self.decision

    def draws_to_next_check(self) -> int:
        """Return the least number of further draws after which the test can end: a size of block that wastes none.

        Returns
        -------
        int
            0 if the test is finished.
        """
        if self.finished:
            return 0
        more = np.arange(1, self.max_n - self.n + 1)
        n = self.n + more
        can_end = (self.hits + more >= self._yes[n]) | (n - self.hits > self._affordable[n])
        if self._no is not None:
            can_end |= n - self.hits >= self._no[n]
        return int(more[np.argmax(can_end)]) if can_end.any() else int(more[-1])

    def _outcomes(self, hits, n):
        """After each draw: 1 "yes", 2 "no", -1 "yes" is out of reach, 0 none of these."""
        outcome = np.where(n - hits > self._affordable[n], -1, 0)
        if self._no is not None:
            outcome[n - hits >= self._no[n]] = 2
        outcome[hits >= self._yes[n]] = 1
        return outcome


def _affordable_misses(boundary):
    """Most misses after n draws with which the boundary can still be reached later: int64[max_n + 1], -1 if none."""
    slack = np.where(boundary < boundary.size, np.arange(boundary.size) - boundary, -1)
    later = np.maximum.accumulate(slack[::-1])[::-1]
    return np.append(later[1:], -1)


class ConfidenceSequence:
    """Bounds of the probability of a hit that hold after all numbers of draws at once.

    Sound bound: with probability 1 - alpha, ``lower(hits, n) < p`` for all n >= 1 together; the number of draws may be chosen
    by looking at them, without a limit set before. The same for ``upper``; for both at once give each alpha / 2.

    Parameters
    ----------
    alpha : float
        In (0, 0.36].

    Raises
    ------
    InputError
        alpha is outside its range.

    Notes
    -----
    ``lower`` is the largest p0 < hits / n with an evidence M(p0) >= 1 / alpha (``boundaries.log_evidence``); the p0 with
    less evidence are not rejected, so p is one of them with probability 1 - alpha. All p0 below it are rejected too:
    with L(q) = q**k (1 - q)**(n - k), (1 - p0) d log M / d p0 = 1 - 1 / M - (k - n p0) / p0, which is negative unless
    k - n p0 < p0, and then M <= L(k / n) / L(p0) <= exp((k - n p0)**2 / (n p0 (1 - p0))) < e <= 1 / alpha. So M cannot rise
    to 1 / alpha again once it was below. For p0 >= hits / n, M <= 1.

    References
    ----------
    .. [1] Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970).
    .. [2] Voracek, arXiv:2406.17830, on confidence sequences for randomized smoothing.

    Examples
    --------
    >>> from pwlnet.smoothing.sequential import ConfidenceSequence
    >>> ConfidenceSequence(0.001).lower([0, 90, 900, 9000], [100, 100, 1000, 10000]).round(3).tolist()
    [0.0, 0.739, 0.856, 0.886]
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = check_level(alpha)
        if self.alpha > _LARGEST_ALPHA:
            raise InputError(f"alpha is {alpha!r}; at most {_LARGEST_ALPHA} is needed")

    def lower(self, hits: ArrayLike, n: int | ArrayLike) -> FloatArray:
        """Compute the lower bounds.

        Sound bound, see the class; the largest of the bounds along one path of draws is one as well.

        Parameters
        ----------
        hits : int[...]
        n : int or int[...]

        Returns
        -------
        float64[...]

        Raises
        ------
        InputError
            n is not a positive integer, or a count is negative or above n.
        """
        hits, n = as_counts(hits, n)
        low, high = np.zeros(hits.shape), hits / n
        needed = math.log(1.0 / self.alpha) + rounding_margin(n)
        for _ in range(64):
            middle = 0.5 * (low + high)
            inside = (middle > low) & (middle < high)
            if not inside.any():
                break
            rejected = inside & (log_evidence(hits, n, np.where(inside, middle, 0.5)) >= needed)
            low, high = np.where(rejected, middle, low), np.where(inside & ~rejected, middle, high)
        return low

    def upper(self, hits: ArrayLike, n: int | ArrayLike) -> FloatArray:
        """Compute the upper bounds, from the lower bounds of the probability of a miss.

        Sound bound, see the class.

        Parameters
        ----------
        hits : int[...]
        n : int or int[...]

        Returns
        -------
        float64[...]

        Raises
        ------
        InputError
            n is not a positive integer, or a count is negative or above n.
        """
        hits, n = as_counts(hits, n)
        return 1.0 - self.lower(n - hits, n.astype(np.int64))
