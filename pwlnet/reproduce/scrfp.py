"""Certified radii of randomized smoothing with repressed float paths (SC-RFP), and of what it must be compared with.

Float neurons are those whose state differs from that at a reference; their outputs are multiplied by 1 + eta. With the clean
image as the reference, as published, the classifier depends on the image, and its radius is *nominal*: not a certificate
(``scrfp-broken`` attacks it). It is *conditional* with a stored image, and *sound* with a reference that depends on the noisy
point only. The sound modes have to be compared with the denoised classifier, and with two averages of the plain and the
denoised one that know nothing of neurons.

A row for each mode of an image: "mode" is an index of ``smoothing_modes.MODES``, "true" the true class, the others are fields
of ``smoothing.Certificate``.
"""

from . import scrfp_tables, subjects
from .experiment import Experiment
from .smoothing_modes import MODES, PARAMETERS, certify, chosen_modes, region_radius

COLUMNS = scrfp_tables.COLUMNS
_ON_REQUEST = ("margin -0.25", "nominal -0.5", "conditional -0.5")  # the first takes minutes for an image
DEFAULT = tuple(mode.title for mode in MODES if mode.title not in _ON_REQUEST)


def measure(subject, i, options):
    """Certify an image in all modes: a row for each."""
    modes, found = chosen_modes(options, DEFAULT), {}
    needs_region = any(mode.guarantee != "sound" for mode in modes)
    radius = region_radius(subject, i) if needs_region else float("nan")
    rows = []
    for mode in modes:
        votes = (mode.eta, mode.passes) if mode.guarantee != "sound" else mode.title  # conditional: those of nominal
        if votes not in found:
            found[votes] = certify(subject, mode, i, options)
        rows.append(scrfp_tables.row_of(mode, subject.labels[i], found[votes], radius))
    return rows


EXPERIMENT = Experiment(
    "scrfp",
    "Certified accuracy of smoothing with repressed float paths, and of denoised classifiers and averages as controls",
    "Jiang, ICLR 2023: SC-RFP",
    ("digits_mlp15_noise25", "digits_mlp8_noise25", "digits_mlp3_noise25", *subjects.NOISE),
    COLUMNS,
    measure,
    scrfp_tables.tabulate,
    scrfp_tables.draw,
    PARAMETERS,
)
