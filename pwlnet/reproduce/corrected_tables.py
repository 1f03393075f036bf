"""Tables and figures of flips that smoothing corrects, by kind: for each network, and for families of networks."""

import numpy as np

from ..analysis.vulnerability import KINDS
from ..binomial import clopper_pearson
from .attacked_pairs import TITLES
from .paired import DIFFERENCES, difference_cells
from .tables import Interval, Table
from .trainings import draw_bars_by_training, draw_families, families

ATTACKS = ("l2", "linf")
SIGMAS = (0.1, 0.25)
MODES = ("plain", "nominal -0.25", "denoiser -0.25")
OUTCOMES = ("wrong", "right", "abstained")
RULES = ("A", "B", "C", "D", "control")
COLUMNS = ("image", "attack", "sigma", "mode", *RULES, "share", "outcome", "clean")
_RESAMPLES = 2000
_NOTES = (
    "Attacks: by default, PGD with 40 steps, l_2 radius 0.5 (MNIST: 1.5), l_inf radius 0.1 (CIFAR-10: 8/255). Corrected: the "
    "smoothed classifier gives the true class at the attacked point, by 1000 votes and alpha 0.001; an abstention is not a "
    "correction. Shares with 95 % Clopper-Pearson intervals.",
    "Deep networks with batch normalisation have no or few Lipschitz flips, and most convolutional ones no or few float flips: "
    "then there is nothing to compare, and a large p says nothing.",
)


def select(m, attack, sigma, mode):
    """Return the rows of flips of an attack for a standard deviation and a mode: dict of columns."""
    rows = (m["attack"] == ATTACKS.index(attack)) & (m["sigma"] == sigma) & (m["mode"] == MODES.index(mode))
    rows &= ~np.isnan(m["outcome"])
    return {name: m[name][rows] for name in COLUMNS}


def counts(flips, rule):
    """Count flips and corrected flips: (corrected float, float, corrected Lipschitz, Lipschitz), int."""
    right = flips["outcome"] == OUTCOMES.index("right")
    kinds = (flips[rule] == KINDS.index(kind) for kind in ("float", "lipschitz"))
    return [int(x) for kind in kinds for x in ((kind & right).sum(), kind.sum())]


def tabulate(measured, options):
    """Tabulate corrected shares by kind: of networks, of families; and by mode."""
    networks = list(measured.values())
    by_kind = ("float flips", "float, corrected", "Lipschitz flips", "Lipschitz, corrected", "difference")
    single = Table(
        "Flips that plain smoothing corrects, by kind (rule B)",
        ("network", "attack", "sigma", *by_kind, "Fisher's exact test p", "all corrected", "abstained", "image right"),
        [_network_row(m, attack, sigma) for m in networks for attack in ATTACKS for sigma in SIGMAS],
        (*_NOTES, "p: two-sided, not corrected for multiple testing. Image right: share of the flips' images that the smoothed "
         "classifier classifies correctly without an attack."),
    )  # fmt: skip
    groups = families(measured)
    cases = [(mode, rule) for mode in MODES for rule in RULES if mode == "plain" or rule == "B"]
    pooled = Table(
        "The same for families of networks that differ in their training, PGD in the l_2 norm",
        ("family", "networks", "sigma", "mode", "rule", *by_kind[:-1], "difference within networks", "Mantel-Haenszel test p"),
        [_family_row(name, group, sigma, mode, rule, options.seed)
         for name, group in groups.items() for sigma in SIGMAS for mode, rule in cases if _has_mode(group, mode)],
        ("The difference (float minus Lipschitz) is one within networks, weighted as by Mantel and Haenszel (1959), so that "
         "networks with more flips of one kind and an easier correction do not count for the kind; with a 95 % percentile "
         "interval from a bootstrap over images. The test takes flips of one image in several networks as independent. Rule C: "
         "flips for which one part alone suffices. Control: rule B with as many random neurons.",),
    )  # fmt: skip
    modes = Table(
        "Flips that smoothing with repressed float paths corrects, less plain smoothing",
        ("network", "sigma", "mode", "abstained", *DIFFERENCES),
        [_mode_row(m, sigma, mode, options.seed) for m in networks for sigma in SIGMAS for mode in MODES[1:]
         if _has_mode([m], mode)],
        ("PGD in the l_2 norm. Shares of flips, paired. First: the mode of the row, second: plain; images: flips.",),
    )  # fmt: skip
    return [single, pooled, modes]


def _has_mode(group, mode):
    return any((m["mode"] == MODES.index(mode)).any() for m in group)


def _share(k, n):
    """Return a share with its Clopper-Pearson interval, None of nothing."""
    return Interval(k / n, *(float(end) for end in clopper_pearson(k, n, 0.05))) if n else None


def _network_row(m, attack, sigma):
    from scipy.stats import fisher_exact

    flips = select(m, attack, sigma, "plain")
    a, n_float, c, n_lipschitz = counts(flips, "B")
    difference = p = None
    if n_float and n_lipschitz:
        difference = a / n_float - c / n_lipschitz
        p = float(fisher_exact([[a, n_float - a], [c, n_lipschitz - c]]).pvalue)
    n, outcome = len(flips["outcome"]), flips["outcome"]
    shares = (_share(int((outcome == OUTCOMES.index(name)).sum()), n) for name in ("right", "abstained"))
    clean = float((flips["clean"] == OUTCOMES.index("right")).mean()) if n else None
    return (m.title, TITLES[attack], sigma, n_float, _share(a, n_float), n_lipschitz, _share(c, n_lipschitz), difference, p,
            *shares, clean)  # fmt: skip


def _family_row(name, group, sigma, mode, rule, seed):
    table = np.array([counts(select(m, "l2", sigma, mode), rule) for m in group])
    a, n_float, c, n_lipschitz = table.sum(axis=0).tolist()
    difference = within_networks(group, sigma, mode, rule, seed)
    return (name, len(group), sigma, mode, rule, n_float, _share(a, n_float), n_lipschitz, _share(c, n_lipschitz), difference,
            mantel_haenszel(table))  # fmt: skip


def _mode_row(m, sigma, mode, seed):
    flips, plain = (select(m, "l2", sigma, each) for each in (mode, "plain"))
    right = [(each["outcome"] == OUTCOMES.index("right")).astype(np.float64) for each in (flips, plain)]
    abstained = _share(int((flips["outcome"] == OUTCOMES.index("abstained")).sum()), len(right[0]))
    return (m.title, sigma, mode, abstained, *difference_cells(*right, seed))


def mantel_haenszel(table):
    """Test whether float and Lipschitz flips of the same network are corrected equally often: p, None without both kinds.

    Parameters
    ----------
    table : int[networks, 4]
        Rows of ``counts``.

    Notes
    -----
    The two-sided test of Cochran, Mantel and Haenszel, with continuity correction.

    References
    ----------
    .. [1] Mantel and Haenszel, "Statistical Aspects of the Analysis of Data From Retrospective Studies of Disease", Journal of
       the National Cancer Institute 22, 1959.
    """
    from scipy.stats import chi2

    a, n1, c, n0 = np.asarray(table, np.float64).T
    n, right = n1 + n0, a + c
    both = (n1 > 0) & (n0 > 0)
    if not both.any():
        return None
    a, n1, n0, n, right = (each[both] for each in (a, n1, n0, n, right))
    variance = (n1 * n0 * right * (n - right) / (n * n * (n - 1.0))).sum()
    if variance == 0.0:
        return 1.0
    excess = max(0.0, abs((a - n1 * right / n).sum()) - 0.5)
    return float(chi2.sf(excess * excess / variance, 1))


def within_networks(group, sigma, mode, rule, seed):
    """Estimate the difference of corrected shares, float minus Lipschitz, within networks: Interval; None without both."""
    n = 1 + max(int(m["image"].max()) for m in group)
    of_image = np.zeros((n, 4, len(group)))  # as counts, of each image
    for k, m in enumerate(group):
        flips = select(m, "l2", sigma, mode)
        right, images = flips["outcome"] == OUTCOMES.index("right"), flips["image"].astype(np.int64)
        for j, kind in enumerate(("float", "lipschitz")):
            is_kind = flips[rule] == KINDS.index(kind)
            of_image[images, 2 * j, k], of_image[images, 2 * j + 1, k] = is_kind & right, is_kind
    value = _weighted_difference(of_image.sum(axis=0)[None])[0]
    if np.isnan(value):
        return None
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=_RESAMPLES)
    resampled = _weighted_difference((weights @ of_image.reshape(n, -1)).reshape(_RESAMPLES, 4, -1))
    low, high = np.nanquantile(resampled, (0.025, 0.975))
    return Interval(float(value), float(low), float(high))


def _weighted_difference(table):
    """Return differences of shares weighted by Mantel and Haenszel: float64[B, 4, networks] -> float64[B], NaN without both."""
    a, n1, c, n0 = np.moveaxis(table, 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(n1 + n0 > 0, n1 * n0 / (n1 + n0), 0.0)
        difference = np.where(weight > 0, a / n1 - c / n0, 0.0)
        return (weight * difference).sum(axis=-1) / weight.sum(axis=-1)


def draw(measured, options):
    """Draw the corrected shares of float and Lipschitz flips (rule B, PGD in the l_2 norm, plain): axes for each family."""

    def draw_one(ax, networks):
        groups = {}
        for sigma in SIGMAS:
            table = [counts(select(m, "l2", sigma, "plain"), "B") for m in networks]
            nothing = Interval(np.nan, np.nan, np.nan)
            groups[f"float, {sigma:g}"] = [_share(a, n) or nothing for a, n, _, _ in table]
            groups[f"Lipschitz, {sigma:g}"] = [_share(c, n) or nothing for _, _, c, n in table]
        draw_bars_by_training(ax, networks, groups)
        ax.set_ylim(0.0, 1.05)

    return {"smoothing_corrects.png": draw_families(measured, draw_one, "share of flips that smoothing corrects")}
