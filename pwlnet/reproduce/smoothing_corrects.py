"""Which flips smoothing corrects: those through float paths, as the paper says, or those through fixed paths as well.

A flip is an attack that changes the class of a correctly classified image (``attacked_pairs``), of a kind by the rules of
``vulnerability`` and by its control with random neurons. It is corrected if the smoothed classifier (``predict``, which may
abstain) gives the true class at the attacked point. Smoothing is plain, or with repressed float paths: with the attacked point
itself as the reference ("nominal", SC-RFP as published), or with the denoised noisy point (for digits).

A row for each attack, standard deviation and mode: "attack" is an index of ATTACKS, "mode" one of MODES; kinds are indices of
``analysis.vulnerability.KINDS``. "outcome" (at the attacked point) and "clean" (at the image) are indices of OUTCOMES, NaN
where there is no flip.
"""

import numpy as np

from . import corrected_tables, subjects
from .attacked_pairs import attacked_pairs
from .corrected_tables import ATTACKS, COLUMNS, MODES, OUTCOMES, SIGMAS
from .experiment import Experiment, skipped
from .smoothing_modes import find_mode, make_smoothed
from .vulnerability import classify_pairs, kind_numbers

PARAMETERS = {"scale": 1.0, "pgd_steps": 40, "n": 1000, "alpha": 0.001}


def measure(subject, i, options):
    """Classify the attacks of an image, and classify the attacked points by smoothing; a row of NaN if it is misclassified."""
    pairs = attacked_pairs(subject, i, options, ATTACKS)
    if pairs is None:
        return skipped(i, COLUMNS)
    results = classify_pairs(subject, i, pairs, options)
    flips, share = results["B"].is_flip, results["B"].share
    kinds = np.transpose([kind_numbers(result) for result in results.values()])
    rows = []
    for sigma in SIGMAS:
        for number, mode in enumerate(map(find_mode, MODES)):
            if mode.reference == "denoiser" and subject.dataset != "digits":
                continue
            outcomes = _outcomes(subject, mode, sigma, i, [*pairs.attacked[flips], subject.images[i]], options)
            clean, of_flips = outcomes[-1] if flips.any() else np.nan, iter(outcomes)
            for attack in range(len(ATTACKS)):
                outcome = next(of_flips) if flips[attack] else np.nan
                rows.append([i, attack, sigma, number, *kinds[attack], share[attack], outcome, clean])
    return rows


def _outcomes(subject, mode, sigma, i, points, options):
    """Return the outcome at points, with the same noise for each: list of int; nothing is computed for the image alone."""
    if len(points) == 1:
        return []
    smoothed, p = make_smoothed(subject, mode, sigma, options.threads), options.parameters
    draws = {"n": p["n"], "alpha": p["alpha"], "rng": options.seed, "image": i}
    labels = [smoothed.predict(point, **draws) for point in points]
    return [OUTCOMES.index("abstained" if y < 0 else "right" if y == subject.labels[i] else "wrong") for y in labels]


EXPERIMENT = Experiment(
    "smoothing-corrects",
    "Share of flips that smoothing corrects, among float and among Lipschitz flips",
    "Jiang, ICLR 2023: randomized smoothing and float vulnerability",
    subjects.DIGITS + subjects.DEPTHS + subjects.CONVSMALL,
    COLUMNS,
    measure,
    corrected_tables.tabulate,
    corrected_tables.draw,
    PARAMETERS,
)
