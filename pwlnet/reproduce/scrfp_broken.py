"""Attacks on claimed radii of smoothing with repressed float paths: which claims of ``scrfp`` are false.

Each image is certified in all modes. ``smoothing.attack_smoothed`` then looks inside the claimed radius for a point where the
deployed classifier gives the class less than half of the votes, and confirms it by fresh votes. With the clean image as the
reference, the deployed classifier compares the noisy copies of the attacked point with the attacked point, whereas the
certificate is for comparisons with the image: a claim can be false. A conditional claim must hold if the deployed classifier
has the stored image ("stored"); with the attacked point as its reference ("own"), it is the nominal claim again.

A row for each claim: "claim" is an index of CLAIMS; the numbers of the attack are NaN if the mode abstains. "broken" is 1 if
the upper confidence bound of the probability of the class at the point is below 1/2.
"""

from typing import NamedTuple

import numpy as np

from ..binomial import clopper_pearson
from . import subjects
from .experiment import Experiment
from .smoothing_modes import MODES, PARAMETERS, Mode, certify, chosen_modes, make_smoothed, noise_level
from .tables import Interval, Table

COLUMNS = ("image", "claim", "true", "label", "radius", "p_low", "distance", "k", "n", "p_high", "broken")
LEFT_OUT = ("margin -0.25", "nominal -0.25 one pass", "denoiser -0.25 one pass")
DEFAULT = tuple(mode.title for mode in MODES if mode.title not in LEFT_OUT)
_ATTACK = {"steps": 40, "draws": 64, "restarts": 1}


class Claim(NamedTuple):
    """A claim that is attacked: what was certified, and the mode that is deployed."""

    title: str
    certified: Mode
    deployed: Mode


def _claims():
    for mode in MODES:
        if mode.guarantee == "conditional":
            yield Claim(f"{mode.title}, stored", mode, mode)
            yield Claim(f"{mode.title}, own", mode, mode._replace(title=mode.title.replace("conditional", "nominal"),
                                                                  guarantee="nominal", reference="clean"))  # fmt: skip
        else:
            yield Claim(mode.title, mode, mode)


CLAIMS = tuple(_claims())


def measure(subject, i, options):
    """Certify and attack an image in all modes: a row for each claim."""
    modes, certificates, attacks, rows = chosen_modes(options, DEFAULT), {}, {}, []
    for number, claim in enumerate(CLAIMS):
        if claim.certified not in modes:
            continue
        votes = claim.certified._replace(title="", guarantee="", reference=claim.certified.reference.replace("frozen", "clean"))
        if votes not in certificates:
            certificates[votes] = certify(subject, claim.certified, i, options)
        found = certificates[votes]
        if found.abstained:
            rows.append([i, number, subject.labels[i], found.label, 0.0, found.p_low, *[np.nan] * 5])
            continue
        if claim.deployed not in attacks:  # "own" and nominal are the same attack
            attacks[claim.deployed] = _attack(subject, claim.deployed, i, found, options)
        rows.append([i, number, subject.labels[i], found.label, found.radius, found.p_low, *attacks[claim.deployed]])
    return rows


def _attack(subject, mode, i, certificate, options):
    """Attack a certificate: distance, votes for its class at the point, n, upper bound of the probability, broken."""
    from ..smoothing import attack_smoothed

    p = options.parameters
    smoothed = make_smoothed(subject, mode, noise_level(subject, options), options.threads)
    found = attack_smoothed(
        smoothed, subject.images[i : i + 1], np.array([certificate.label]), certificate.radius, n=p["n"], alpha=p["alpha"],
        rng=options.seed, image=i, **{name: p[name] for name in _ATTACK},
    )  # fmt: skip
    return [found.distance[0], found.k[0], found.n, found.p_high[0], found.broken[0]]


def tabulate(measured, options):
    """Tabulate broken claims by network and mode, and by mode over all networks."""
    p, networks = options.parameters, list(measured.values())
    headings = ("mode", "guarantee", "eta", "images", "certified", "broken", "share broken", "smallest Pr[class] found",
                "median radius", "median distance of broken")  # fmt: skip
    notes = (
        f"Attacks: EOT-PGD of {p['steps']} steps with {p['draws']} noisy copies and {p['restarts']} runs, inside the claimed "
        f"radius, on the deployed classifier; then {p['n']} fresh votes. Broken: the class has less than half of the votes "
        f"there with confidence {1 - p['alpha']:g}. Shares of certified images with 95 % Clopper-Pearson intervals. A claim "
        "that is not broken is not proved by that.",
        "A sound radius is false with probability at most alpha for each image, and a true one counts as broken with "
        "probability at most alpha. Nominal radii are not certificates. Conditional ones hold with the stored image as the "
        "reference (stored), and need not with the attacked point (own).",
    )
    table = Table(
        "Attacked certificates",
        ("network", *headings),
        [(m.title, *_row([m], number)) for m in networks for number in np.unique(m["claim"]).astype(np.int64)],
        notes,
    )
    if len(networks) == 1:
        return [table]
    numbers = sorted({int(number) for m in networks for number in np.unique(m["claim"])})
    note = ("Images of one dataset are the same for all its networks, so that the claims are not independent; intervals are as "
            "if they were.",)  # fmt: skip
    return [table, Table("Attacked certificates of all networks", headings, [_row(networks, each) for each in numbers], note)]


def _row(networks, number):
    """Return the cells of a claim."""
    claim = CLAIMS[number]
    values = {name: np.concatenate([m[name][m["claim"] == number] for m in networks]) for name in COLUMNS}
    attacked = ~np.isnan(values["broken"])
    broken, n = values["broken"] == 1.0, int(attacked.sum())
    k = int(broken.sum())
    share, least, radius = None, None, None
    if n:
        low, high = clopper_pearson(k, n, 0.05)
        share = Interval(k / n, float(low), float(high))
        least = float((values["k"][attacked] / values["n"][attacked]).min())
        radius = float(np.median(values["radius"][attacked]))
    eta = claim.certified.eta if claim.certified.reference else None
    distance = float(np.median(values["distance"][broken])) if k else None
    return (claim.title, claim.certified.guarantee, eta, len(broken), n, k, share, least, radius, distance)


def draw(measured, options):
    """Draw the claimed radius and the smallest share of votes that was found: a point for each attacked claim of some modes."""
    from .. import plot

    drawn = ("plain", "nominal -0.25", "conditional -0.25, stored", "denoised", "denoiser -0.25")
    columns = min(3, len(measured))
    n_rows = -(-len(measured) // columns)
    figure = plot.new_figure((4.0 * columns + 0.3, 3.0 * n_rows + 0.2))
    axes = figure.subplots(n_rows, columns, squeeze=False)
    for ax in axes.flat[len(measured) :]:
        ax.set_visible(False)
    for ax, m in zip(axes.flat, measured.values()):
        for number, claim in enumerate(CLAIMS):
            rows = (m["claim"] == number) & ~np.isnan(m["broken"])
            if claim.title in drawn and rows.any():
                marker = "x" if claim.certified.guarantee == "nominal" else "o"
                ax.plot(m["radius"][rows], m["k"][rows] / m["n"][rows], marker, ms=3, mfc="none", label=claim.title)
        ax.axhline(0.5, color="0.6", lw=0.8)
        ax.set(xlabel="claimed radius", ylabel="share of votes at the attacked point", ylim=(0.0, 1.02))
        ax.set_title(m.title, fontsize="small")
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_legend_handles_labels()[1]:
            ax.legend(frameon=False, fontsize="x-small")
    return {"scrfp_broken.png": figure}


EXPERIMENT = Experiment(
    "scrfp-broken",
    "Attacks inside claimed radii of smoothing with repressed float paths, by mode",
    "Jiang, ICLR 2023: SC-RFP; the attack is that of Salman et al., NeurIPS 2019",
    ("digits_mlp15_noise25", "digits_mlp8_noise25", "digits_mlp3_noise25", *subjects.NOISE),
    COLUMNS,
    measure,
    tabulate,
    draw,
    {**PARAMETERS, **_ATTACK},
)
