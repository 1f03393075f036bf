"""Classifiers whose float paths are repressed: SC-RFP, and constructions whose certificates hold.

Legend: n votes, S shape of an input, K neurons, O classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._types import ArrayLike, Dtype, FloatArray, Guarantee
from ..errors import InputError
from ..network import Network
from ..validation import check_choice, check_count, check_number
from . import references
from .bases import BaseClassifier, DerivedClassifier, as_base
from .certificates import GUARANTEES
from .nested import NestedClassifier
from .noise import TRAINING, Query
from .voted import VotedClassifier

if TYPE_CHECKING:
    import torch

_OPTIONS = {  # of each reference, in the order of its arguments
    "clean": (references.Clean, ()),
    "frozen": (references.Frozen, ("center",)),
    "denoiser": (references.Denoised, ("denoiser",)),
    "self_noise": (references.SelfNoise, ("tau",)),
    "global": (references.Global, ("frequency",)),
    "margin": (references.Margin, ("tau",)),
}
_NOT_NEEDED = ("center",)
_OWN_CLASSES: dict[str, Any] = {  # experimental references that are classifiers of their own
    "voted": (VotedClassifier, ("denoiser", "weighting", "layers", "m", "gamma", "reference_sigma")),
    "nested": (NestedClassifier, ("denoiser", "m", "beta", "gamma", "inner_sigma")),
}


class RepressedClassifier(DerivedClassifier):
    """A classifier whose float neurons are multiplied by ``1 + eta``; made by ``repress_float_paths``.

    Attributes
    ----------
    eta : float
    passes : int
    reference : str
    guarantee : {"sound", "conditional", "nominal"}
    """

    def __init__(self, base: BaseClassifier, eta: float, rule: Any, passes: int) -> None:
        super().__init__(base)
        self.eta, self.rule, self.passes = eta, rule, passes
        self.guarantee, self.reference = rule.guarantee, rule.name
        self.needs_reference = rule.name == "frozen" and rule.center is None

    def _options(self, options):
        if "factors" in options:
            return {"factors": options["factors"](self.eta)}
        return {"eta": self.eta, "passes": self.passes}

    def scores(self, query: Query) -> FloatArray:
        """Compute the scores of the noisy points of a Query: float64[n, O]."""
        points = query.points(threads=self.threads)
        reference, options = self.rule.arguments(self.base, points, query)
        return self.base.scores_at(points, reference, **self._options(options))

    def torch_scores(self, points: torch.Tensor, query: Query, centers: torch.Tensor | None = None) -> torch.Tensor:
        """Compute scores with gradients: tensor [n, *S] -> tensor [n, O]; states carry no gradient."""
        import torch

        if centers is None:
            centers = torch.from_numpy(query.center[None])
        reference, options = self.rule.torch_arguments(self.base, points, query, centers)
        return self.base.torch_scores_at(points, reference, **self._options(options))

    def settings(self) -> dict[str, Any]:
        """Return what identifies the classifier in logs and stores."""
        named = {"eta": self.eta, "reference": self.reference, "passes": self.passes}
        return {**self.base.settings(), "guarantee": self.guarantee, **named, **self.rule.settings()}

    def __repr__(self) -> str:
        return f"RepressedClassifier({self.reference!r}, eta={self.eta:g}, passes={self.passes}, guarantee {self.guarantee!r})"


def repress_float_paths(
    network_or_module: Network | torch.nn.Module,
    eta: float,
    *,
    reference: Literal["clean", "frozen", "denoiser", "self_noise", "global", "margin", "voted", "nested"],
    passes: Literal[1, 2] = 2,
    guarantee: Guarantee | None = None,
    dtype: Dtype | None = None,
    threads: int | None = None,
    **options: Any,
) -> RepressedClassifier | VotedClassifier | NestedClassifier:
    """Make a classifier whose float neurons are multiplied by ``1 + eta``, for ``SmoothedClassifier``.

    A neuron of a noisy point z floats if its state differs from that at the reference (scope "pair": a pre-activation at its
    threshold floats). Its output is multiplied by ``1 + eta``, so a path with k float neurons is multiplied by
    ``(1 + eta)**k``: negative eta represses float paths.

    Parameters
    ----------
    network_or_module : Network or torch.nn.Module
    eta : float
        In [-1, 0] to repress; 0 gives the classifier itself, bit for bit.
    reference : {"clean", "frozen", "denoiser", "self_noise", "global", "margin", "voted", "nested"}
        "clean": the image without noise, SC-RFP as published [1]_. The classifier then depends on the image, so its
        certificates are **nominal**: they do not say that the class is constant in the ball. "frozen": the stored image of
        the certificate; **conditional** on every query near it being evaluated with it. The others are **sound**:
        "denoiser": the denoised noisy point; "self_noise": the noisy point with more noise; "global": factors
        ``1 + eta q`` with the frequency q of each neuron on a training set; "margin": factors ``1 + eta Phi(-r / tau)`` with
        the distance r of the neuron's threshold, by the affine map at z. Experimental and sound, with certificates of their
        own: "voted": draws around the image decide the factors of all its votes (see ``VotedClassifier``); "nested": each
        vote is the majority for one drawn reference (see ``NestedClassifier``).
    passes : {1, 2}, optional
        2: states are those of a forward pass without repression. 1: those of the repressed pass itself.
    guarantee : {"sound", "conditional", "nominal"}, optional
        Checked: an error if the reference does not give it.
    dtype : {"float32", "float64"}, optional
        Type in which a Network is evaluated, "float32" by default. A module is evaluated in the type of its weights.
    threads : int, optional
        For a Network; all processors by default.
    **options
        ``denoiser`` of "denoiser": PosteriorMean, Network, torch.nn.Module or function; ``tau`` float of "self_noise" and
        "margin", in units of the image; ``frequency`` float64[K] of "global"; ``center`` of "frozen", a stored image for all
        queries. All options of "voted" and "nested" have defaults: ``denoiser``, ``m`` draws, ``gamma``; ``weighting``,
        ``layers``, ``reference_sigma``; ``beta``, ``inner_sigma``.

    Returns
    -------
    RepressedClassifier, VotedClassifier or NestedClassifier
        It knows its guarantee.

    Raises
    ------
    InputError
        An unknown reference; an option that it does not have or that is missing; a guarantee that it does not give.

    See Also
    --------
    SmoothedClassifier : votes and certificates.
    denoise_inputs : the denoised classifier, which a denoised reference is compared with.

    Notes
    -----
    Certificates of "denoiser" and the other sound references need no assumption beyond those of plain smoothing: with a map
    r, f(z, u) = argmax of the network with factors from the states of z and r(z, u) is one fixed randomized classifier, so the
    theorem of Cohen et al. applies to it. For LeakyReLU with ``eta < -1``, and for Clip and MaxPool, multiplying outputs is not
    multiplying pre-activations.

    References
    ----------
    .. [1] Jiang, "On Explaining Neural Network Robustness with Activation Path", ICLR 2023 (SC-RFP). The labels, the
       references other than "clean", and statements on soundness are ours.
    .. [2] Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019,
       Lemma 2 (the smoothed score of any measurable function is Lipschitz after Phi^-1).

    Examples
    --------
    >>> import pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp15_noise25"))
    >>> pwlnet.smoothing.repress_float_paths(network, -0.1, reference="clean")
    RepressedClassifier('clean', eta=-0.1, passes=2, guarantee 'nominal')
    """
    kind, names = (_OPTIONS | _OWN_CLASSES)[check_choice(reference, [*_OPTIONS, *_OWN_CLASSES], "reference")]
    unknown = sorted(set(options) - set(names))
    if unknown:
        takes = ", ".join(names) or "no further options"
        raise InputError(f"reference {reference!r} was given {unknown[0]!r}, which it does not have; it takes {takes}")
    own = reference in _OWN_CLASSES
    missing = [] if own else [name for name in names if name not in options and name not in _NOT_NEEDED]
    if missing:
        raise InputError(f"reference {reference!r} needs {missing[0]}; give it")
    if guarantee is not None and check_choice(guarantee, GUARANTEES, "guarantee") != kind.guarantee:
        raise InputError(_wrong_guarantee(reference, kind.guarantee, guarantee))
    eta = check_number(eta, "eta", least=-np.inf)
    if passes not in (1, 2) or isinstance(passes, bool):
        raise InputError(f"passes is {passes!r}; the choices are 1 and 2")
    if reference == "voted" and isinstance(network_or_module, Network):
        dtype = "float64" if dtype is None else dtype
    base = as_base(network_or_module, dtype=dtype, threads=threads)
    if isinstance(base, DerivedClassifier):
        raise InputError("the classifier is repressed or denoised already; give a pwlnet.Network or a torch.nn.Module")
    if own:
        return kind(base, eta, **options, **({"passes": passes} if reference == "nested" else {}))
    return RepressedClassifier(base, eta, kind(**options), passes)


def _wrong_guarantee(reference, actual, wanted):
    why = {
        "clean": "the classifier depends on the image, so another image in the ball has another classifier",
        "frozen": "it holds only if every query in the ball is evaluated with the stored image",
    }.get(reference, "the rule depends on the noisy point only")
    return (
        f"guarantee is {wanted!r}, but reference {reference!r} gives certificates that are {actual}: {why}; leave it out, or "
        'use reference="denoiser"'
    )


def float_frequency(
    network: Network,
    images: ArrayLike,
    sigma: float,
    *,
    n_draws: int = 10,
    rng: int | np.random.Generator = 0,
    threads: int | None = None,
) -> FloatArray:
    """Estimate how often each neuron floats between an image and the same image with noise, for reference "global".

    Estimate: the share of pairs (x, x + sigma n) over a training set.

    Parameters
    ----------
    network : Network
    images : float64[N, D] or float64[N, *input_shape]
        A training set; images that are certified later must not be in it.
    sigma : float
    n_draws : int, optional
        Noisy copies of each image.
    rng : int or numpy.random.Generator, optional
    threads : int, optional

    Returns
    -------
    float64[K]

    Raises
    ------
    ShapeError, InputError
        Images of another shape, or a bad number.
    """
    from ..analysis.float_counts import compare_pairs
    from .noise import make_seed

    points, sigma = network.as_points(images, "images"), check_number(sigma, "sigma", above=True)
    n_draws, seed = check_count(n_draws, "n_draws"), make_seed(rng)
    total = np.zeros(network.n_neurons)
    for i, point in enumerate(points):
        noisy = Query(point, sigma, seed, TRAINING, i, 0, n_draws).points(threads=threads)
        first = np.repeat(point[None], n_draws, axis=0)
        total += compare_pairs(network, first, noisy, dtype="float32", states=False, threads=threads)[0].sum(axis=0)
    return total / max(1, len(points) * n_draws)
