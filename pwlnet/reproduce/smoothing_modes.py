"""Classifiers that are smoothed in experiments: plain, with repressed float paths, and denoised.

Noise has the standard deviation with which the network was trained. The denoiser is the posterior mean over the training
images for the digits networks, and the denoiser of the subject for others. All modes use the same noise (common random
numbers): draw j of image i with the seed of the run is the same for each.

Nominal and conditional certificates have the same votes, since the image itself is the reference of both when it is certified;
they differ in what is deployed.
"""

import dataclasses
import functools
import hashlib
from typing import NamedTuple

from .. import datasets
from ..errors import InputError

PARAMETERS = {"n": 10_000, "n0": 100, "alpha": 0.001, "sigma": 0.0, "modes": "default"}
DESCRIBED = {  # of PARAMETERS, for docstrings and notes
    "sigma": "standard deviation of the noise, in pixels; 0: that of the training",
    "modes": "names separated by commas, or 'default'; plain, denoised and both averages are always among them",
}
_FREQUENCY_IMAGES = 500  # training images of reference "global"
_KEPT = 8  # batches of denoised points


class Mode(NamedTuple):
    """What is smoothed.

    Attributes
    ----------
    title : str
    guarantee : {"sound", "conditional", "nominal"}
    reference : str
        Of ``repress_float_paths``; "" for a classifier without repression.
    eta : float
    passes : int
    average : str
        Of ``denoise_inputs``; "" for a classifier without a denoiser before it.
    """

    title: str
    guarantee: str = "sound"
    reference: str = ""
    eta: float = 0.0
    passes: int = 2
    average: str = ""


MODES = (
    Mode("plain"),
    Mode("denoised", average="none"),
    Mode("mean input", average="inputs"),
    Mode("mean probability", average="probabilities"),
    Mode("nominal -0.1", "nominal", "clean", -0.1),
    Mode("nominal -0.25", "nominal", "clean", -0.25),
    Mode("nominal -0.5", "nominal", "clean", -0.5),
    Mode("nominal -0.25 one pass", "nominal", "clean", -0.25, 1),
    Mode("conditional -0.1", "conditional", "frozen", -0.1),
    Mode("conditional -0.25", "conditional", "frozen", -0.25),
    Mode("conditional -0.5", "conditional", "frozen", -0.5),
    Mode("denoiser -0.1", reference="denoiser", eta=-0.1),
    Mode("denoiser -0.25", reference="denoiser", eta=-0.25),
    Mode("denoiser -0.25 one pass", reference="denoiser", eta=-0.25, passes=1),
    Mode("self-noise -0.25", reference="self_noise", eta=-0.25),
    Mode("global -0.25", reference="global", eta=-0.25),
    Mode("margin -0.25", reference="margin", eta=-0.25),
    Mode("denoiser -0.5 one pass", reference="denoiser", eta=-0.5, passes=1),
)
BASELINES = ("plain", "denoised", "mean input", "mean probability")
_BY_TITLE = {mode.title: mode for mode in MODES}


def find_mode(title):
    """Return the Mode of a title."""
    return _BY_TITLE[title]


def chosen_modes(options, default):
    """Return the modes of a run, in the order of MODES: list of Mode.

    Parameters
    ----------
    options : Options
        With the parameter "modes".
    default : tuple of str
        Titles that "default" stands for.

    Raises
    ------
    InputError
        The parameter has an unknown name.
    """
    wanted = [name.strip() for name in options.parameters["modes"].split(",")]
    wanted = default if wanted == ["default"] else wanted
    for name in wanted:
        if name not in _BY_TITLE:
            raise InputError(f"parameter modes has {name!r}; give names among {', '.join(_BY_TITLE)}, separated by commas")
    return [mode for mode in MODES if mode.title in wanted or mode.title in BASELINES]


def noise_level(subject, options):
    """Return the standard deviation of the noise of a run: the parameter "sigma", or that of the training.

    Parameters
    ----------
    subject : Subject or Measured
    options : Options

    Returns
    -------
    float

    Raises
    ------
    InputError
        The network was not trained with noise, and the parameter is 0.
    """
    if options.parameters["sigma"]:
        return options.parameters["sigma"]
    try:
        return float(subject.training.split()[-1])
    except ValueError:
        raise InputError(f"{subject.title} was not trained with noise; give the parameter sigma") from None


@functools.lru_cache(maxsize=64)
def make_smoothed(subject, mode, sigma, threads, *, remember=False):
    """Make the smoothed classifier of a mode.

    Parameters
    ----------
    subject : Subject
    mode : Mode
    sigma : float
    threads : int or None
    remember : bool, optional
        Keep the last denoised points for other modes; without gradients, so not for attacks.

    Returns
    -------
    smoothing.SmoothedClassifier
    """
    from .. import smoothing
    from ..smoothing.bases import as_base

    network = subject.network
    if mode.average:
        base = smoothing.denoise_inputs(network, _denoiser(subject, sigma, remember), average=mode.average, threads=threads)
    elif mode.reference:
        base = smoothing.repress_float_paths(
            network, mode.eta, reference=mode.reference, passes=mode.passes, threads=threads,
            **_reference_options(subject, mode, sigma, threads, remember),
        )  # fmt: skip
    else:
        base = as_base(network, threads=threads)
    return smoothing.SmoothedClassifier(base, sigma)


def _reference_options(subject, mode, sigma, threads, remember):
    """Return the options of the reference of a mode: dict."""
    if mode.reference == "denoiser":
        return {"denoiser": _denoiser(subject, sigma, remember)}
    if mode.reference == "global":
        return {"frequency": _frequency(subject, sigma, threads)}
    return {"tau": sigma} if mode.reference in ("self_noise", "margin") else {}


def certify(subject, mode, i, options, *, region_radius=float("nan")):
    """Certify an image in a mode: smoothing.Certificate.

    Parameters
    ----------
    subject : Subject
    mode : Mode
    i : int
    options : Options
        With PARAMETERS.
    region_radius : float, optional
        Stored in the certificate, which does not compute it.
    """
    sigma, parameters = noise_level(subject, options), options.parameters
    certified = find_mode(mode.title.replace("conditional", "nominal"))  # the same votes
    smoothed = make_smoothed(subject, certified, sigma, options.threads, remember=True)
    draws = {name: parameters[name] for name in ("n", "n0", "alpha")}
    found = smoothed.certify(subject.images[i], image=i, rng=options.seed, region_radii=False, **draws)
    return dataclasses.replace(found, guarantee=mode.guarantee, r_region=region_radius)


def region_radius(subject, i):
    """Return the radius of the largest ball in the activation region of an image: float."""
    from ..partition.regions.radii import stable_radii

    return float(stable_radii(subject.network, subject.images[i].reshape(1, -1)).lower[0])


@functools.lru_cache(maxsize=4)
def _denoiser(subject, sigma, remember):
    """Return the denoiser of a subject for a standard deviation."""
    if remember:
        return _Remembered(_denoiser(subject, sigma, False))
    if subject.denoiser is not None:
        return subject.denoiser
    from ..smoothing import PosteriorMean

    return PosteriorMean(_training_images(subject), sigma)


def _training_images(subject, most=None):
    """Return training images: float64[N, D]."""
    if subject.dataset == "digits":
        images = datasets.digits_training_images()[0][:most]
    else:
        images = datasets.load_images(subject.dataset, split="train")[0][:most] / 255.0
    return images.reshape(len(images), -1)


@functools.lru_cache(maxsize=4)
def _frequency(subject, sigma, threads):
    """Return how often each neuron floats on training images."""
    from ..smoothing import float_frequency

    return float_frequency(subject.network, _training_images(subject, _FREQUENCY_IMAGES), sigma, threads=threads)


class _Remembered:
    """A denoiser that keeps its last results: several modes denoise the same points."""

    def __init__(self, denoiser):
        from ..smoothing.denoisers import as_denoiser

        self.denoiser, self._kept = as_denoiser(denoiser), {}

    def settings(self):
        """Return what identifies the denoiser."""
        return self.denoiser.settings()

    def __call__(self, points):
        """Denoise: float64[n, *S] -> float64[n, *S]."""
        key = hashlib.blake2b(points.tobytes()).digest()
        if key not in self._kept:
            if len(self._kept) == _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self.denoiser(points)
        return self._kept[key]
