"""Smoothed classifiers: prediction and certificates by Monte Carlo votes.

Legend: B images, n votes, S shape of an image, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._types import ArrayLike, Dtype, IntArray, VoteMethod
from ..binomial import check_level
from ..errors import InputError, ShapeError
from ..validation import as_array, check_count, check_number, refuse_not_finite
from .bases import NO_CLASS, BaseClassifier, as_base
from .certificates import ABSTAINED, Certificate, Certificates
from .noise import ESTIMATE, PREDICT, Query, make_seed
from .plans import CertificationPlan, progress_bar

if TYPE_CHECKING:
    import torch

    from ..network import Network

_BATCH_ROWS = (256, 2**16)


class SmoothedClassifier:
    """The class that a classifier gives most often to noisy copies of an image, with certified radii.

    Estimate: classes and radii hold with confidence 1 - alpha over the draws of one call; see ``guarantee`` for what a radius
    says. Draws are independent, each with noise of its own, and are functions of the seed, the number of the image and that of
    the draw: results depend neither on batches nor on threads (scores of torch modules up to the rounding of torch).

    Parameters
    ----------
    base : Network, torch.nn.Module or BaseClassifier
        The classifier that is smoothed, evaluated in evaluation mode; also the result of ``repress_float_paths`` or
        ``denoise_inputs``. Pixels are in the units of its input: a normalisation belongs into the classifier, after the noise.
    sigma : float
        Standard deviation of the noise, in the units of the image. For images in [-1, 1], it is twice that for [0, 1].
    n_classes : int, optional
        Validated; by default, the number of scores.
    input_shape : tuple of int, optional
        Shape of one image. By default that of the Network; for modules, an array with one or three axes is one image, one with
        two or four axes several.
    dtype : {"float32", "float64"}, optional
        Type in which a Network is evaluated, "float32" by default. Noise is added in float64, and the sum is rounded to it.
    threads : int, optional
        For noise, and for the scores of a Network; all processors by default.

    Attributes
    ----------
    guarantee : {"sound", "conditional", "nominal"}

    Raises
    ------
    InputError
        An argument has the wrong type, sigma is not positive, or the module's weights are in half precision.

    See Also
    --------
    repress_float_paths : classifiers with repressed float paths.
    certified_accuracy, average_certified_radius : evaluation.

    Notes
    -----
    Certificates are those of Cohen et al. [1]_ for the function that the computer evaluates, and for noise that is normal in
    exact arithmetic. The noise here has 2**32 radii and angles, and ``x + sigma n`` is rounded; Voracek and Hein [2]_ show
    how a classifier could exploit rounding. No classifier that was trained as usual is known to do so.

    References
    ----------
    .. [1] Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Section 3.2
       (Algorithms for prediction and certification).
    .. [2] Voracek and Hein, "Sound Randomized Smoothing in Floating-Point Arithmetics", ICLR 2023.

    Examples
    --------
    >>> import pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp15_noise25"))
    >>> images, labels = pwlnet.datasets.digits_images()
    >>> smoothed = pwlnet.smoothing.SmoothedClassifier(network, 0.25)
    >>> certificate = smoothed.certify(images[0], n=1000, rng=0)
    >>> certificate.correct(labels[0]), 0.2 < certificate.radius < 0.62
    (True, True)
    """

    base: BaseClassifier
    sigma: float
    guarantee: str

    def __init__(
        self,
        base: Network | torch.nn.Module | BaseClassifier,
        sigma: float,
        n_classes: int | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        dtype: Dtype | None = None,
        threads: int | None = None,
    ) -> None:
        self.base = as_base(base, input_shape=input_shape, dtype=dtype, threads=threads)
        self.sigma = check_number(sigma, "sigma", above=True)
        self.guarantee = self.base.guarantee
        shape = self.base.input_shape if input_shape is None else input_shape
        self._shape = None if shape is None else tuple(int(n) for n in shape)
        self._n_classes = None if n_classes is None else check_count(n_classes, "n_classes")

    def __repr__(self) -> str:
        return f"SmoothedClassifier({self.base!r}, sigma={self.sigma:g}, guarantee {self.guarantee!r})"

    def _as_images(self, x):
        """Return images float64[B, *S] and whether x was one image."""
        x = as_array(x, "x")
        if x.dtype.kind not in "fiub" or x.ndim == 0:
            raise InputError(f"x has dtype {x.dtype} and shape {x.shape}; give images as arrays of numbers")
        x, shape = x.astype(np.float64), self._shape
        refuse_not_finite(np.atleast_2d(x), "x")
        if shape is None:
            single = x.ndim in (1, 3)
            return (x[None] if single else x), single
        size = int(np.prod(shape))
        if x.shape in (shape, (size,)):
            return x.reshape(1, *shape), True
        if x.ndim > 1 and x.shape[1:] in (shape, (size,)):
            return x.reshape(len(x), *shape), False
        raise ShapeError(f"x has shape {x.shape}, but images have shape {shape}; give {shape} or {('B', *shape)}")

    def batch_rows(self, batch_size: int | None, n_inputs: int) -> int:
        """Return the number of noisy points that are evaluated together: the argument, or what fits into some memory."""
        if batch_size is not None:
            return check_count(batch_size, "batch_size")
        return int(np.clip(self.base.batch_bytes // (8 * max(1, n_inputs)), *_BATCH_ROWS))

    def votes(
        self,
        x: ArrayLike,
        first: int,
        last: int,
        *,
        rng: int | np.random.Generator = 0,
        image: int = 0,
        purpose: int = ESTIMATE,
        batch_size: int | None = None,
        center: ArrayLike | None = None,
    ) -> IntArray:
        """Return the classes of draws ``first`` to ``last`` (not included) around one image.

        Estimate: each is an independent draw of the classifier's class at ``x + sigma n``.

        Parameters
        ----------
        x : float64[*S]
        first, last : int
            Numbers of draws; the same number gives the same draw.
        rng : int or numpy.random.Generator, optional
        image : int, optional
            Number of the image, which other images do not have.
        purpose : int, optional
            A constant of ``smoothing.noise``: draws of different purposes are independent.
        batch_size : int, optional
        center : float64[*S], optional
            The stored image of a frozen centre; x by default.

        Returns
        -------
        int64[last - first]
            -1 where a score is NaN.
        """
        (x,), _ = self._as_images(x)
        reference = None if center is None else self._as_images(center)[0][0]
        query = Query(x, self.sigma, make_seed(rng), purpose, image, first, last, reference)
        return self.vote(query, self.batch_rows(batch_size, x.size))

    def vote(self, query: Query, batch: int) -> IntArray:
        """Return the votes of a Query in batches: int64[n]."""
        parts = [
            self.base.classes(query._replace(first=a, last=min(a + batch, query.last)))
            for a in range(query.first, query.last, batch)
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def count_classes(self, votes: IntArray) -> IntArray:
        """Count votes by class: int64[C]."""
        n = self.base.n_scores
        if self._n_classes is not None and n != self._n_classes:
            raise InputError(f"n_classes is {self._n_classes}, but the classifier gives {n} scores; give their number")
        return np.bincount(votes[votes != NO_CLASS], minlength=n or 0)

    def predict(
        self,
        x: ArrayLike,
        *,
        n: int = 1000,
        alpha: float = 0.001,
        rng: int | np.random.Generator = 0,
        batch_size: int | None = None,
        image: int = 0,
        center: ArrayLike | None = None,
    ) -> int | IntArray:
        """Return the most likely class of each image, or -1 (abstain) where the votes do not tell with confidence 1 - alpha.

        Estimate: a class other than the most likely one is returned with probability at most alpha, for each image [1]_.

        Parameters
        ----------
        x : float64[*S] or float64[B, *S]
        n : int, optional
            Votes of each image.
        alpha : float, optional
        rng : int or numpy.random.Generator, optional
            Seed of all noise of this call.
        batch_size : int, optional
            Noisy points that are evaluated together.
        image : int, optional
            Number of the first image.
        center : float64[*S] or float64[B, *S], optional
            The stored images of a frozen centre, which needs them.

        Returns
        -------
        int or int64[B]

        Raises
        ------
        InputError, ShapeError
            Images of another shape, or a bad number.

        References
        ----------
        .. [1] Cohen, Rosenfeld, Kolter, ICML 2019, Section 3.2.1 (Predict) and Proposition 1.
        """
        from scipy.stats import binomtest

        images, single = self._as_images(x)
        n, seed, alpha = check_count(n, "n"), make_seed(rng), check_level(alpha)
        if self.base.needs_reference and center is None:
            raise InputError('the centre is frozen: give center, the image that was certified, or use reference="denoiser"')
        centers = images if center is None else np.broadcast_to(self._as_images(center)[0], images.shape)
        labels = np.full(len(images), ABSTAINED)
        for b, each in enumerate(images):
            query = Query(each, self.sigma, seed, PREDICT, image + b, 0, n, None if center is None else centers[b])
            counts = self.count_classes(self.vote(query, self.batch_rows(batch_size, each.size)))
            first, second = np.sort(np.append(counts, 0))[::-1][:2]
            if first and binomtest(int(first), int(first + second), 0.5).pvalue <= alpha:
                labels[b] = counts.argmax()
        return int(labels[0]) if single else labels

    def certify(
        self,
        x: ArrayLike,
        *,
        n0: int = 100,
        n: int = 10_000,
        alpha: float = 0.001,
        rng: int | np.random.Generator = 0,
        batch_size: int | None = None,
        method: VoteMethod = "clopper_pearson",
        radius: float | None = None,
        max_loss: float = 0.05,
        image: int = 0,
        images: ArrayLike | None = None,
        region_radii: bool | None = None,
        progress: bool = False,
    ) -> Certificate | Certificates:
        """Certify l2 balls in which the smoothed classifier has one class.

        Estimate: each radius is too large, or its class not the most likely one, with probability at most alpha. What the
        radius says of the deployed classifier is its ``guarantee``: "sound" that its class does not change in the ball;
        "conditional" that this holds if every query is evaluated with the stored image; "nominal" nothing, except within
        ``min(radius, r_region)``.

        Parameters
        ----------
        x : float64[*S] or float64[B, *S]
        n0 : int, optional
            Votes that select the class.
        n : int, optional
            Fresh votes that estimate its probability; the largest number for other methods.
        alpha : float, optional
            For each image.
        rng : int or numpy.random.Generator, optional
            Seed of all noise of this call.
        batch_size : int, optional
            Noisy points that are evaluated together.
        method : {"clopper_pearson", "sequential", "two_stage"}, optional
            "clopper_pearson": n votes [1]_. "sequential": votes until it is decided whether the radius is at least ``radius``
            [2]_; the result is that radius or none. "two_stage": n is chosen from the first n0 votes [3]_ so that the expected
            loss of radius is at most ``max_loss``, in units of sigma.
        radius : float, optional
            Of "sequential".
        max_loss : float, optional
            Of "two_stage".
        image : int, optional
            Number of the first image; part of the counters of its noise.
        images : int64[B], optional
            Numbers of the images, instead.
        region_radii : bool, optional
            Whether to compute ``r_region``, the radius of the largest ball in the image's activation region; by default for
            guarantees that are not sound, where the network is known.
        progress : bool, optional
            Show a progress bar with the time left on stderr.

        Returns
        -------
        Certificate or Certificates
            For one image, or several.

        Raises
        ------
        InputError, ShapeError
            Images of another shape, or a bad number: such as n too small for any certificate at this alpha.
        NumericalError
            All scores of an image are NaN.

        References
        ----------
        .. [1] Cohen, Rosenfeld, Kolter, ICML 2019, Section 3.2.2 (Certify) and Proposition 2.
        .. [2] Voracek, "Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial Robustness",
           NeurIPS 2024; the boundaries used here are described in ``SequentialTest``.
        .. [3] Chen et al., "Input-Specific Robustness Certification for Randomized Smoothing", AAAI 2022.
        """
        points, single = self._as_images(x)
        numbers = image + np.arange(len(points)) if images is None else np.asarray(images)
        if numbers.shape != (len(points),):
            raise ShapeError(f"images has shape {numbers.shape}, but there are {len(points)} images; give one number for each")
        plan = self.plan(n0=n0, n=n, alpha=alpha, rng=rng, batch_size=batch_size, method=method, radius=radius,
                         max_loss=max_loss, region_radii=region_radii)  # fmt: skip
        results = []
        with progress_bar(progress, len(points)) as bar:
            for certificate in plan.certify(points, numbers):
                results.append(certificate)
                bar.update()
        return results[0] if single else Certificates.from_list(results)

    def plan(
        self,
        *,
        n0: int = 100,
        n: int = 10_000,
        alpha: float = 0.001,
        rng: int | np.random.Generator = 0,
        batch_size: int | None = None,
        method: VoteMethod = "clopper_pearson",
        radius: float | None = None,
        max_loss: float = 0.05,
        region_radii: bool | None = None,
    ) -> CertificationPlan:
        """Validate the options of ``certify``: a CertificationPlan (or that of the base), which certifies images one by one."""
        arguments = n0, n, alpha, make_seed(rng), method, radius, max_loss, batch_size, region_radii
        return (self.base.plan_type or CertificationPlan)(self, *arguments)
