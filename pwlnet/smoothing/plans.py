"""How images are certified one by one: votes that select a class, fresh votes that estimate its probability.

Legend: n votes, S shape of an image.
"""

import time

import numpy as np

from ..binomial import clopper_pearson
from ..errors import InputError, NumericalError
from ..validation import check_choice, check_count, check_number
from .certificates import Certificate
from .noise import ESTIMATE, SELECT, Query
from .radii import probability_for, radius_of
from .sample_size import choose_n
from .sequential import SequentialTest

METHODS = ("clopper_pearson", "sequential", "two_stage")
ABSTAIN = -1


def progress_bar(progress, total):
    """Return a progress bar of images on stderr; one that shows nothing where ``progress`` is False."""
    from tqdm import tqdm

    return tqdm(total=total, unit="image", disable=not progress)


def check_alpha(alpha):
    if not 0.0 < check_number(alpha, "alpha") < 1.0:
        raise InputError(f"alpha is {alpha!r}; a number between 0 and 1 is needed")
    return float(alpha)


class CertificationPlan:
    """How images are certified one by one; made by ``SmoothedClassifier.plan``."""

    def __init__(self, smoothed, n0, n, alpha, seed, method, radius, max_loss, batch_size, region_radii):
        self.smoothed, self.seed, self.batch_size = smoothed, seed, batch_size
        self.n0, self.n, self.alpha = check_count(n0, "n0"), check_count(n, "n"), check_alpha(alpha)
        self.method = check_choice(method, METHODS, "method")
        self.radius = None if radius is None else check_number(radius, "radius", above=True)
        self.max_loss = check_number(max_loss, "max_loss")
        wanted = smoothed.guarantee != "sound" if region_radii is None else bool(region_radii)
        self._network = smoothed.base.network if wanted else None
        if (method == "sequential") != (radius is not None):
            raise InputError(f"method is {method!r} and radius {radius!r}; 'sequential' needs the radius, and the others none")
        least = int(np.floor(np.log(self.alpha) / np.log(0.5))) + 1
        if self.n < least:
            raise InputError(
                f"n is {n} and alpha {alpha:g}: even if all votes agree, no class is certified; give n of at least {least}, "
                "and thousands for useful radii"
            )

    def settings(self):
        """Return what the results depend on, besides images and their numbers: dict."""
        named = {"sigma": self.smoothed.sigma, "n0": self.n0, "n": self.n, "alpha": self.alpha, "seed": self.seed}
        options = {"method": self.method}
        if self.radius is not None:
            options["radius"] = self.radius
        if self.method == "two_stage":
            options["max_loss"] = self.max_loss
        return {**named, **options, **self.smoothed.base.settings()}

    def certify(self, x, image):
        """Certify one image: Certificate.

        Parameters
        ----------
        x : float64[*S]
        image : int
            Number of the image.

        Returns
        -------
        Certificate
        """
        started, smoothed = time.perf_counter(), self.smoothed
        batch = smoothed._batch(self.batch_size, x.size)
        query = Query(x, smoothed.sigma, self.seed, SELECT, image, 0, self.n0)
        counts = smoothed._counts(smoothed._classes(query, batch))
        if not counts.any():
            raise NumericalError(
                f"all scores of image {image} with noise are NaN; check the weights and the range of the image"
            )
        candidate = int(counts.argmax())
        query = query._replace(purpose=ESTIMATE)
        if self.method == "sequential":
            k, n, p_low = self._sequential(query, candidate, batch)
        else:
            n = self.n
            if self.method == "two_stage":
                n = choose_n(int(counts[candidate]), self.n0, n_max=self.n, alpha=self.alpha, max_loss=self.max_loss)
            k = self._hits(query, candidate, n, batch)
            p_low = float(clopper_pearson(k, n, self.alpha, side="lower")[0])
        radius = float(radius_of(p_low, smoothed.sigma))
        return Certificate(
            label=candidate if radius > 0.0 else ABSTAIN,
            radius=radius,
            p_low=p_low,
            k=k,
            n=n,
            alpha=self.alpha,
            guarantee=smoothed.guarantee,
            r_region=self._region_radius(x),
            seed=self.seed,
            sigma=smoothed.sigma,
            n0=self.n0,
            image=image,
            candidate=candidate,
            method=self.method,
            seconds=time.perf_counter() - started,
        )

    def _region_radius(self, x):
        """Return the radius of the largest ball in the activation region of an image; NaN where it is not wanted."""
        if self._network is None:
            return float("nan")
        from ..partition.regions.radii import stable_radii

        return float(stable_radii(self._network, x.reshape(1, -1)).lower[0])

    def _hits(self, query, candidate, n, batch):
        """Count the votes for the candidate among n draws, in bounded memory."""
        k = 0
        for first in range(0, n, batch):
            votes = self.smoothed.base.classes(query._replace(first=first, last=min(first + batch, n)))
            k += int((votes == candidate).sum())
        return k

    def _sequential(self, query, candidate, batch):
        """Vote until the test has decided: votes for the candidate, all votes, lower bound."""
        p0 = float(probability_for(self.radius, self.smoothed.sigma))
        test = SequentialTest(p0, self.alpha, beta=self.alpha, max_n=self.n)
        while not test.finished:
            block = max(test.draws_to_next_check(), min(batch, test.n // 2))
            votes = self.smoothed.base.classes(query._replace(first=test.n, last=min(test.n + block, self.n)))
            test.update(votes == candidate)
        return test.hits, test.n, p0 if test.decision == "yes" else 0.0
