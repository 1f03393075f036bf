"""Denoisers: fixed maps of noisy points to points nearby, as references of votes or before a classifier.

A denoiser may depend on the noisy point and on constants, such as a training set, and on nothing else: not on the image that is
classified, nor on the other votes. Then a certificate of the smoothed classifier holds for the deployed one.

Legend: n votes, N training inputs, S shape of an input, D its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._types import ArrayLike, Dtype, FloatArray
from ..errors import InputError, ShapeError
from ..network import Network
from ..scheduling import run_chunks
from ..validation import check_choice, check_number, refuse_not_finite
from ..value_buffers import DTYPES
from .bases import BaseClassifier, DerivedClassifier, ModuleBase, NetworkBase, as_base, digest_of

if TYPE_CHECKING:
    import torch

    from .noise import Query

AVERAGES = ("none", "inputs", "probabilities")
_ROWS = 1000  # at once, which limits the memory
_BLOCK = 256


class PosteriorMean:
    """The mean of a training set given a noisy point: the best denoiser, in mean squares, for images of this set.

    Exact up to rounding, for the training set as the distribution of images: ``sum_j w_j x_j`` with weights proportional to
    ``exp(-|z - x_j|^2 / (2 sigma^2))``.

    Parameters
    ----------
    images : float64[N, *S]
    sigma : float
        Standard deviation of the noise, in units of the images.
    dtype : {"float32", "float64"}, optional
        Type of the computation. With "float32", results have errors of about 1e-5, and take a third of the time: either one is
        a fixed map of the noisy point.

    Raises
    ------
    InputError, ShapeError
        The images are not finite, or there are none; sigma is not positive.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> denoiser = pwlnet.smoothing.PosteriorMean(np.array([[0.0], [1.0]]), 0.1)
    >>> denoiser(np.array([[0.1], [0.5]])).round(3)
    array([[0. ],
           [0.5]])
    """

    images: FloatArray
    sigma: float

    def __init__(self, images: ArrayLike, sigma: float, *, dtype: Dtype = "float32") -> None:
        images = np.array(images, np.float64)
        if images.ndim < 2 or not len(images):
            raise ShapeError(f"images has shape {images.shape}; give one row per image, (N, ...) with N at least 1")
        refuse_not_finite(images, "images")
        self.images, self.sigma = images, check_number(sigma, "sigma", above=True)
        self.dtype, flat = check_choice(dtype, DTYPES, "dtype"), images.reshape(len(images), -1)
        shift = 0.5 * np.square(flat / self.sigma).sum(axis=1)
        self._matrix, self._shift, self._flat = (x.astype(dtype) for x in (flat.T / self.sigma**2, shift, flat))

    def __call__(self, points: FloatArray) -> FloatArray:
        """Denoise: float64[n, *S] -> float64[n, *S]."""
        flat = points.reshape(len(points), -1)
        if flat.shape[1] != self._flat.shape[1]:
            raise ShapeError(f"points have {flat.shape[1]} entries, the images of the denoiser {self._flat.shape[1]}")
        out = np.empty_like(flat)

        def denoise(first, last):
            block = np.zeros((_BLOCK, flat.shape[1]), self.dtype)  # of one height: the bits of a row do not depend on its batch
            block[: last - first] = flat[first:last]
            weights = block @ self._matrix - self._shift
            weights -= weights.max(axis=1, keepdims=True)
            np.exp(weights, out=weights)
            mean = weights @ self._flat / weights.sum(axis=1, keepdims=True)
            out[first:last] = mean[: last - first]

        run_chunks(denoise, len(flat), _BLOCK)
        return out.reshape(points.shape)

    def torch(self, points: torch.Tensor) -> torch.Tensor:
        """Denoise with gradients: tensor [n, *S] -> tensor [n, *S]."""
        import torch

        flat = points.reshape(len(points), -1)
        matrix, shift, images = (
            torch.from_numpy(x).to(device=points.device, dtype=points.dtype) for x in (self._matrix, self._shift, self._flat)
        )
        return (torch.softmax(flat @ matrix - shift, dim=1) @ images).reshape(points.shape)

    def settings(self) -> dict[str, Any]:
        """Return what identifies the denoiser in logs and stores: a digest of its images, and sigma."""
        return {"denoiser": f"PosteriorMean({digest_of(self.images)}, sigma={self.sigma!r}, {self.dtype})"}


class _OfBase:
    """A denoiser that is a Network or a torch module."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def __call__(self, points: FloatArray) -> FloatArray:
        """Denoise: float64[n, *S] -> float64[n, *S]."""
        parts = [self.base.scores_at(points[first : first + _ROWS]) for first in range(0, len(points), _ROWS)]
        return np.concatenate(parts).reshape(points.shape)

    def torch(self, points: torch.Tensor) -> torch.Tensor:
        """Denoise with gradients: tensor [n, *S] -> tensor [n, *S]."""
        return self.base.torch_scores_at(points).reshape(points.shape).to(points.dtype)

    def settings(self) -> dict[str, Any]:
        """Return what identifies the denoiser in logs and stores: digests of its weights."""
        settings = self.base.settings()
        return {"denoiser": settings.get("network") or f"{settings['module']}({settings['weights']})"}


class _Module(_OfBase):
    def __call__(self, points):
        """Denoise: float64[n, *S] -> float64[n, *S]."""
        import torch

        with torch.inference_mode():
            parts = [self.base.torch_scores_at(points[first : first + _ROWS]) for first in range(0, len(points), _ROWS)]
        return torch.cat(parts).cpu().numpy().astype(np.float64).reshape(points.shape)


class _Function:
    """A denoiser that is a Python function of arrays; attacks take it as constant."""

    def __init__(self, function):
        self.function = function

    def __call__(self, points):
        """Denoise: float64[n, *S] -> float64[n, *S]."""
        result = np.asarray(self.function(points.copy()), np.float64)
        if result.size != points.size:
            raise ShapeError(f"denoiser gives shape {result.shape} for points of shape {points.shape}; give the same shape")
        return result.reshape(points.shape)

    def torch(self, points):
        """Denoise without gradients."""
        import torch

        result = self(points.detach().cpu().numpy().astype(np.float64))
        return torch.from_numpy(result).to(device=points.device, dtype=points.dtype)

    def settings(self):
        """Return what is known of the denoiser: the name of the function."""
        return {"denoiser": getattr(self.function, "__name__", type(self.function).__name__)}


def as_denoiser(denoiser):
    """Return a denoiser with methods ``__call__`` and ``torch`` of a PosteriorMean, Network, torch module or function.

    Raises
    ------
    InputError
        It is none of these.
    """
    if isinstance(denoiser, PosteriorMean | _OfBase | _Function):
        return denoiser
    if isinstance(denoiser, Network):
        return _OfBase(NetworkBase(denoiser))
    if not callable(denoiser):
        raise InputError(
            f"denoiser is a {type(denoiser).__name__}; give a PosteriorMean, a pwlnet.Network, a torch.nn.Module, or a "
            "function of points [n, ...]"
        )
    import torch

    return _Module(ModuleBase(denoiser)) if isinstance(denoiser, torch.nn.Module) else _Function(denoiser)


class DenoisedClassifier(DerivedClassifier):
    """A classifier after a denoiser; made by ``denoise_inputs``."""

    def __init__(self, base: BaseClassifier, denoiser: Any, average: str) -> None:
        super().__init__(base)
        self.denoiser, self.average, self.network = denoiser, average, None  # the regions of the network are not those of this

    def scores_of(self, points: FloatArray) -> FloatArray:
        """Compute the scores of noisy points: float64[n, *S] -> float64[n, O]."""
        denoised = self.denoiser(points)
        if self.average == "none":
            return self.base.scores_at(denoised)
        if self.average == "inputs":
            return self.base.scores_at(0.5 * (points + denoised))
        return _softmax(self.base.scores_at(points)) + _softmax(self.base.scores_at(denoised))

    def torch_scores(self, points: torch.Tensor, query: Query, centers: torch.Tensor | None = None) -> torch.Tensor:
        """Compute scores with gradients: tensor [n, *S] -> tensor [n, O]."""
        import torch

        denoised = self.denoiser.torch(points)
        if self.average == "none":
            return self.base.torch_scores_at(denoised)
        if self.average == "inputs":
            return self.base.torch_scores_at(0.5 * (points + denoised))
        both = [torch.softmax(self.base.torch_scores_at(x), dim=1) for x in (points, denoised)]
        return torch.log(0.5 * (both[0] + both[1]))

    def settings(self) -> dict[str, Any]:
        """Return what identifies the classifier in logs and stores."""
        return {**self.base.settings(), **self.denoiser.settings(), "average": self.average}


def _softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def denoise_inputs(
    base: Network | torch.nn.Module,
    denoiser: PosteriorMean | Network | torch.nn.Module | Callable[..., Any],
    *,
    average: Literal["none", "inputs", "probabilities"] = "none",
    dtype: Dtype | None = None,
    threads: int | None = None,
) -> BaseClassifier:
    """Put a denoiser before a classifier: the classifier of the denoised noisy point [1]_, or of an average.

    Estimate: certificates of the smoothed result are sound, since it is one fixed classifier of the noisy point. It is what
    float-path repression with a denoised reference is compared with.

    Parameters
    ----------
    base : Network or torch.nn.Module
    denoiser : PosteriorMean, Network, torch.nn.Module or callable
        Takes and gives points [n, *S]. A function is one of arrays of float64, evaluated row by row or not, but without
        dependence between rows.
    average : {"none", "inputs", "probabilities"}
        "none": the classifier at D(z). "inputs": at (z + D(z)) / 2. "probabilities": the mean of the softmax at z and at D(z).
    dtype, threads
        As for ``repress_float_paths``.

    Returns
    -------
    BaseClassifier

    Raises
    ------
    InputError
        An argument has the wrong type, or average is another word.

    References
    ----------
    .. [1] Salman et al., "Denoised Smoothing: A Provable Defense for Pretrained Classifiers", NeurIPS 2020.
    """
    check_choice(average, AVERAGES, "average")
    return DenoisedClassifier(as_base(base, dtype=dtype, threads=threads), as_denoiser(denoiser), average)
