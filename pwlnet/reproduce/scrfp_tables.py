"""Tables and figures of certificates by mode: for each network, and pooled over networks that differ in their seed only."""

import dataclasses

import numpy as np

from ..smoothing import certificates as certs
from ..smoothing import evaluation
from .paired import DIFFERENCES, difference_cells
from .smoothing_modes import BASELINES, MODES, noise_level
from .tables import Interval, Table, estimate

COLUMNS = ("image", "mode", "true", "label", "candidate", "radius", "k", "n", "p_low", "r_region", "sound_radius", "seconds")
RADII = (0.0, 0.25, 0.5, 0.75)
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWN = ("plain", "denoised", "mean input", "nominal -0.25", "denoiser -0.25", "self-noise -0.25")
_SEED = "_seed"  # in keys of networks
_NOTES = (
    "Means over images, with 95 % bootstrap intervals (BCa; of certified accuracies in closed form); radii in l_2, in pixels "
    "from 0 to 1. A wrong or abstaining prediction has the radius 0. All modes have the same noise.",
    "Only sound radii are certificates, each with confidence 1 - alpha. A nominal radius is not one: the classifier depends on "
    "the image, so that the deployed one may have another class within the radius; min(radius, r_region) is certified, where "
    "r_region is the largest ball in the activation region of the image. A conditional one holds if every query is evaluated "
    "with the stored image.",
    "Read the modes with a denoiser beside the denoised classifier and the two averages of it and the plain one, (z + D(z)) / "
    "2 and the mean of the probabilities: these know nothing of float paths, so a gain over plain that they also have is no "
    "evidence for paths.",
    "Seconds per image include denoising only for the first of the modes that denoise, which share the denoised points.",
)


def row_of(mode, true, certificate, region_radius):
    """Return the row of a certificate, in the order of COLUMNS: list of float."""
    c = dataclasses.replace(
        certificate, guarantee=mode.guarantee, r_region=np.nan if mode.guarantee == "sound" else region_radius
    )
    return [c.image, MODES.index(mode), true, c.label, c.candidate, c.radius, c.k, c.n, c.p_low, c.r_region, c.sound_radius,
            c.seconds]  # fmt: skip


def modes_of(m):
    """Return the modes that were measured: list of Mode."""
    return [MODES[number] for number in np.unique(m["mode"]).astype(np.int64)]


def certificates_of(m, mode, options):
    """Return the certificates of a mode and the true classes: (smoothing.Certificates, int64[images])."""
    rows = m["mode"] == MODES.index(mode)
    columns = {name: m[name][rows] for name in COLUMNS}
    whole = {name: columns[name].astype(np.int64) for name in ("image", "label", "candidate", "k", "n")}
    real = {name: columns[name] for name in ("radius", "p_low", "r_region", "seconds")}
    p = options.parameters
    settings = {"alpha": p["alpha"], "n0": p["n0"], "seed": options.seed, "sigma": noise_level(m, options)}
    return certs.Certificates(guarantee=mode.guarantee, **whole, **real, **settings), columns["true"].astype(np.int64)


def certified_radii(m, mode, name="radius"):
    """Return radii, 0 where the prediction is wrong or abstains: float64[images]."""
    rows = m["mode"] == MODES.index(mode)
    return np.where(m["label"][rows] == m["true"][rows], m[name][rows], 0.0)


def tabulate(measured, options):
    """Tabulate certified accuracies, differences, votes, and all of it pooled over seeds of the training."""
    networks, seed = list(measured.values()), options.seed
    certified = Table(
        "Certified accuracy",
        ("network", "mode", "guarantee", "images", "ACR", *(f"at {r:g}" for r in RADII), "ACR of min(radius, r_region)",
         "seconds per image"),
        [_accuracies(m, mode, options) for m in networks for mode in modes_of(m)],
        _NOTES,
    )  # fmt: skip
    differences = Table(
        "Differences of radii of the same images",
        ("network", "mode", "guarantee", "second mode", *DIFFERENCES),
        [row for m in networks for row in _differences(m, seed)],
        ("Means over images; 95 % bootstrap intervals of paired differences. p: two-sided tests, not corrected for multiple "
         "testing. Both radii may be nominal.",),
    )  # fmt: skip
    votes = Table(
        "Lower bounds p of the probability of the most likely class, quantiles over images",
        ("network", "mode", "guarantee", *(f"{100 * level:g} %" for level in LEVELS), "abstained", "all votes agree",
         "share of the ACR from the tenth with the largest radii"),
        [_votes(m, mode, options) for m in networks for mode in modes_of(m)],
        ("The ACR can be raised by easy images alone, whose p is close to 1 (Sun et al., 2024).",),
    )  # fmt: skip
    return [certified, differences, votes, *_pooled(networks, seed)]


def _accuracies(m, mode, options):
    found, labels = certificates_of(m, mode, options)
    acr = evaluation.estimate_acr(found, labels, seed=options.seed)
    curve = evaluation.accuracy_curve(found, labels, RADII)
    sound = estimate(certified_radii(m, mode, "sound_radius"), seed=options.seed) if mode.guarantee == "nominal" else None
    cells = (_interval(*each) for each in zip(curve.accuracy, curve.low, curve.high, strict=True))
    seconds = None if mode.guarantee == "conditional" else float(found.seconds.mean())
    return (m.title, mode.title, mode.guarantee, len(found), _interval(*acr[:3]), *cells, sound, seconds)


def _interval(value, low, high):
    """Make an Interval, without ends if they are infinite, as of one image."""
    low, high = (end if np.isfinite(end) else np.nan for end in (low, high))
    return Interval(float(value), float(low), float(high))


def _differences(m, seed):
    """Return the rows of differences of all modes to plain and to denoised, of those with a denoiser to the averages, too."""
    modes = {mode.title: mode for mode in modes_of(m)}
    for mode in modes.values():
        for other in BASELINES if mode.reference == "denoiser" else ("plain", "denoised"):
            if mode.title != other and other in modes and mode.guarantee != "conditional":
                cells = difference_cells(certified_radii(m, mode), certified_radii(m, modes[other]), seed)
                yield (m.title, mode.title, mode.guarantee, other, *cells)


def _votes(m, mode, options):
    found, labels = certificates_of(m, mode, options)
    summary = evaluation.summarize_votes(found, labels, levels=LEVELS)
    shares = summary.abstained, summary.unanimous, summary.easiest_share
    return (m.title, mode.title, mode.guarantee, *summary.p_low, *shares)


def _pooled(networks, seed):
    """Return a table for each group of networks that differ in their seed: list of Table."""
    groups = {}
    for m in networks:
        groups.setdefault(m.key.partition(_SEED)[0], []).append(m)
    tables = []
    for group in groups.values():
        if len(group) > 1:
            n = min(m.n_images for m in group)
            shared = [mode for mode in modes_of(group[0]) if all(mode in modes_of(m) for m in group)]
            tables.append(Table(
                f"{group[0].title}: {len(group)} trainings with different seeds, {n} images each",
                ("mode", "guarantee", "ACR", *(f"at {r:g}" for r in RADII), "ACR minus plain", "ACR minus denoised",
                 "ACR minus mean input",
                 *(f"minus denoised, {m.key.partition(_SEED)[2] or 'first'}" for m in group)),
                [_pooled_row(group, mode, shared, n, seed) for mode in shared],
                ("Means over trainings of each image, then over images, with 95 % bootstrap intervals over images, so not for "
                 "other trainings. The last columns are the differences of each training, by its seed.",),
            ))  # fmt: skip
    return tables


def _pooled_row(group, mode, shared, n, seed):
    radii = np.stack([certified_radii(m, mode)[:n] for m in group])
    right = np.stack([(m["label"] == m["true"])[m["mode"] == MODES.index(mode)][:n] for m in group])
    shares = (estimate((right & (radii >= r)).mean(axis=0), seed=seed) for r in RADII)
    titles, to_other = [each.title for each in shared], []
    for other in ("plain", "denoised", "mean input"):
        is_other = other == mode.title or other not in titles
        to_other.append(None if is_other else radii - [certified_radii(m, shared[titles.index(other)])[:n] for m in group])
    cells = (None if each is None else estimate(each.mean(axis=0), seed=seed) for each in to_other)
    single = [None] * len(group) if to_other[1] is None else to_other[1].mean(axis=1).tolist()
    return (mode.title, mode.guarantee, estimate(radii.mean(axis=0), seed=seed), *shares, *cells, *single)


def draw(measured, options):
    """Draw certified accuracies and distributions of p of some modes: axes for each network."""
    from .. import plot

    figures = {}
    for name, function in (("scrfp.png", plot.certified_accuracy), ("scrfp_votes.png", plot.vote_probabilities)):
        columns = min(3, len(measured))
        n_rows = -(-len(measured) // columns)
        figures[name] = figure = plot.new_figure((4.2 * columns + 0.3, 3.2 * n_rows + 0.2))
        axes = figure.subplots(n_rows, columns, squeeze=False)
        for ax in axes.flat[len(measured) :]:
            ax.set_visible(False)
        for ax, m in zip(axes.flat, measured.values()):
            modes = [mode for mode in modes_of(m) if mode.title in DRAWN]
            function({mode.title: certificates_of(m, mode, options) for mode in modes}, ax)
            ax.set_title(m.title, fontsize="small")
            ax.legend(frameon=False, fontsize="x-small")
    return figures
