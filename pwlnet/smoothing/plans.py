"""How images are certified one by one: votes that select a class, fresh votes that estimate its probability.

Legend: n votes, S shape of an image.
"""

from __future__ import annotations

import time
from typing import get_args

import numpy as np

from .._types import VoteMethod
from ..binomial import check_level, clopper_pearson
from ..errors import InputError, NumericalError
from ..validation import check_choice, check_count, check_number
from .certificates import ABSTAINED, Certificate
from .noise import ESTIMATE, SELECT, Query
from .radii import probability_for, radius_of
from .sample_size import choose_n
from .sequential import SequentialTest

METHODS = get_args(VoteMethod)


def progress_bar(progress, total):
    """Return a progress bar of images on stderr; one that shows nothing where ``progress`` is False."""
    from tqdm import tqdm

    return tqdm(total=total, unit="image", disable=not progress)


class CertificationPlan:
    """How images are certified one by one; made by ``SmoothedClassifier.plan``."""

    def __init__(self, smoothed, n0, n, alpha, seed, method, radius, max_loss, batch_size, region_radii):
        self.smoothed, self.seed, self.batch_size = smoothed, seed, batch_size
        self.n0, self.n, self.alpha = check_count(n0, "n0"), check_count(n, "n"), check_level(alpha)
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

    def certify(self, points, images):
        """Certify images; those whose draws fit into one batch together are evaluated together.

        Parameters
        ----------
        points : float64[B, *S]
        images : int64[B]
            Numbers of the images.

        Yields
        ------
        Certificate
        """
        if not len(points):
            return
        batch = self.smoothed.batch_rows(self.batch_size, points[0].size)
        together = max(1, batch // (self.n0 + self.n)) if self.method == "clopper_pearson" else 1
        for first in range(0, len(points), together):
            rows = slice(first, first + together)
            yield from self._certify_block(points[rows], np.asarray(images)[rows].tolist(), batch)

    def _certify_block(self, points, images, batch):
        """Certify some images: list of Certificate."""
        started = time.perf_counter()
        selected = self.select(points, images, batch)
        queries = [self.query(x, image, ESTIMATE, self.n) for x, image in zip(points, images, strict=True)]
        if self.method == "sequential":
            results = [self._sequential(queries[0], selected[0][0], batch)]
        else:
            if self.method == "two_stage":
                k0 = selected[0][1]
                last = choose_n(k0, self.n0, n_max=self.n, alpha=self.alpha, max_loss=self.max_loss)
                queries[0] = queries[0]._replace(last=last)
            results = [
                self._fixed(candidate, votes)
                for (candidate, _), votes in zip(selected, self._votes(queries, batch), strict=True)
            ]
        seconds = (time.perf_counter() - started) / len(points)
        rows = zip(points, images, selected, results, strict=True)
        return [self.make(x, image, candidate, seconds, **result) for x, image, (candidate, _), result in rows]

    def select(self, points, images, batch):
        """Select the class of each image by n0 votes, which are not used again: list of (class, votes for it)."""
        queries = [self.query(x, image, SELECT, self.n0) for x, image in zip(points, images, strict=True)]
        counts = [self.smoothed.count_classes(votes) for votes in self._votes(queries, batch)]
        for image, of_image in zip(images, counts, strict=True):
            if not of_image.any():
                raise NumericalError(f"all scores of image {image} with noise are NaN; check the weights and the image")
        return [(int(of_image.argmax()), int(of_image.max())) for of_image in counts]

    def query(self, x, image, purpose, n):
        """Return the first n draws around an image: Query."""
        return Query(x, self.smoothed.sigma, self.seed, purpose, image, 0, n)

    def _fixed(self, candidate, votes):
        """Estimate by a number of votes that does not depend on them: dict of radius, p_low, k, n."""
        k, n = int((votes == candidate).sum()), len(votes)
        p_low = float(clopper_pearson(k, n, self.alpha, side="lower")[0])
        return {"radius": float(radius_of(p_low, self.smoothed.sigma)), "p_low": p_low, "k": k, "n": n}

    def _votes(self, queries, batch):
        """Return the votes of queries: several that fit into a batch, or one in pieces; list of int64[n]."""
        if len(queries) > 1:
            return self.smoothed.base.classes_of(queries)
        return [self.smoothed.vote(queries[0], batch)]

    def make(self, x, image, candidate, seconds, *, radius, p_low, k, n):
        """Make the Certificate of an image."""
        return Certificate(
            label=candidate if radius > 0.0 else ABSTAINED,
            radius=radius,
            p_low=p_low,
            k=k,
            n=n,
            alpha=self.alpha,
            guarantee=self.smoothed.guarantee,
            r_region=self.region_radius(x),
            seed=self.seed,
            sigma=self.smoothed.sigma,
            n0=self.n0,
            image=image,
            candidate=candidate,
            method=self.method,
            seconds=seconds,
        )

    def region_radius(self, x):
        """Return the radius of the largest ball in the activation region of an image; NaN where it is not wanted."""
        if self._network is None:
            return float("nan")
        from ..partition.regions.radii import stable_radii

        return float(stable_radii(self._network, x.reshape(1, -1)).lower[0])

    def _sequential(self, query, candidate, batch):
        """Vote until the test has decided: dict of radius, p_low, k, n; the radius that was asked for, or 0."""
        p0 = float(probability_for(self.radius, self.smoothed.sigma))
        test = SequentialTest(p0, self.alpha, beta=self.alpha, max_n=self.n)
        while not test.finished:
            block = max(test.draws_to_next_check(), min(batch, test.n // 2))
            votes = self.smoothed.base.classes(query._replace(first=test.n, last=min(test.n + block, self.n)))
            test.update(votes == candidate)
        is_yes = test.decision == "yes"
        return {"radius": self.radius if is_yes else 0.0, "p_low": p0 if is_yes else 0.0, "k": test.hits, "n": test.n}
