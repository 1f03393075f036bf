"""Paired statistics over images: ratios or differences with confidence intervals, tests, and box plots."""

import numpy as np

from .tables import estimate

RATIOS = ("images", "mean ratio", "25 %", "median", "75 %", "above 1", "sign test p", "Wilcoxon p")
DIFFERENCES = ("images", "first", "second", "difference", "first is more", "sign test p", "Wilcoxon p")
NOTE = (
    "Means over images, with 95 % bootstrap intervals; fractions of images. p: two-sided tests of each row, not corrected for "
    "multiple testing; sign test: images with more against images with less; Wilcoxon: signed-rank test, for ratios on their "
    "logarithms."
)


def ratio_cells(above, below, seed):
    """Compute the cells of RATIOS for two numbers per image.

    Parameters
    ----------
    above, below : float64[n]
        Positive numbers; NaN for excluded images.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    list
        Numbers and an Interval; None if there are no images.
    """
    n = min(len(above), len(below))
    ratios = above[:n] / below[:n]
    ratios = ratios[~np.isnan(ratios)]
    if not len(ratios):
        return [0, *[None] * (len(RATIOS) - 1)]
    return [len(ratios), estimate(ratios, seed=seed), *np.quantile(ratios, (0.25, 0.5, 0.75)), np.mean(ratios > 1.0),
            *_p_values(np.log(ratios))]  # fmt: skip


def difference_cells(first, second, seed):
    """Compute the cells of DIFFERENCES for two numbers per image, which may be 0.

    Parameters
    ----------
    first, second : float64[n]
        NaN for excluded images.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    list
        Numbers and Intervals; None if there are no images.
    """
    n = min(len(first), len(second))
    first, second = first[:n], second[:n]
    both = ~np.isnan(first + second)
    if not both.any():
        return [0, *[None] * (len(DIFFERENCES) - 1)]
    difference = (first - second)[both]
    values = (first[both], second[both], difference)
    return [len(difference), *(estimate(each, seed=seed) for each in values), np.mean(difference > 0.0), *_p_values(difference)]


def _p_values(differences):
    """Compute two-sided p-values of the sign test and of Wilcoxon's signed-rank test; 1 if all differences are 0."""
    from scipy import stats

    more, less = np.count_nonzero(differences > 0.0), np.count_nonzero(differences < 0.0)
    if more + less == 0:
        return 1.0, 1.0
    return stats.binomtest(more, more + less).pvalue, stats.wilcoxon(differences[differences != 0.0]).pvalue


def draw_boxes(groups, labels, ax):
    """Draw box plots of values of images without NaN: quartiles, whiskers to the 5th and 95th percentile, the mean as a dot.

    Parameters
    ----------
    groups : list of float64[n]
    labels : list of str
    ax : matplotlib.axes.Axes

    Returns
    -------
    dict
        The result of ``Axes.boxplot``.
    """
    values = [group[~np.isnan(group)] for group in groups]
    style = {"marker": ".", "markerfacecolor": "black", "markeredgecolor": "black"}
    artists = ax.boxplot(values, whis=(5, 95), showfliers=False, showmeans=True, meanprops=style, widths=0.6)
    ax.set_xticks(range(1, 1 + len(labels)), labels)
    return artists


def draw_networks(measured, values, labels, what):
    """Draw box plots of values of images for each network, with a row of axes for each dataset.

    Parameters
    ----------
    measured : dict of str to Measured
    values : callable
        Maps a Measured to a list of float64[n], one per box.
    labels : list of str
        Names of the boxes.
    what : str
        Label of the axes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from .. import plot

    rows = {}
    for m in measured.values():
        rows.setdefault(m.dataset, []).append(m)
    columns = max(map(len, rows.values()))
    figure = plot.new_figure((2.5 * columns + 0.5, 2.5 * len(rows)))
    axes = figure.subplots(len(rows), columns, squeeze=False, sharey="row")
    for row, networks in zip(axes, rows.values()):
        for ax, m in zip(row, networks):
            draw_boxes(values(m), labels, ax)
            ax.set_title(m.title, fontsize="small")
        for ax in row[len(networks) :]:
            ax.set_visible(False)
        row[0].set_ylim(bottom=0.0)  # for the whole row, after all of it has been drawn
        row[0].set_ylabel(what)
    return figure
