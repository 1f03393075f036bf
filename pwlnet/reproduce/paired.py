"""Statistics of two numbers of the same images: ratios or differences with intervals, tests, boxes to look at."""

import numpy as np

from .tables import estimate

RATIOS = ("images", "mean ratio", "25 %", "median", "75 %", "above 1", "sign test p", "Wilcoxon p")
DIFFERENCES = ("images", "first", "second", "difference", "first is more", "sign test p", "Wilcoxon p")
NOTE = (
    "Means over images, with 95 % bootstrap intervals; shares of images. p: two-sided tests of single rows, not corrected for "
    "the number of rows; sign test: images with more against images with less; Wilcoxon: signed ranks, of ratios those of the "
    "logarithms."
)


def ratio_cells(above, below, seed):
    """Cells of RATIOS for the ratios of two numbers per image.

    Parameters
    ----------
    above, below : float64[n]
        Positive; NaN where an image was left out.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list
        Numbers, an Interval, None where no image is left.
    """
    n = min(len(above), len(below))
    ratios = above[:n] / below[:n]
    ratios = ratios[~np.isnan(ratios)]
    if not len(ratios):
        return [0, *[None] * (len(RATIOS) - 1)]
    return [len(ratios), estimate(ratios, seed=seed), *np.quantile(ratios, (0.25, 0.5, 0.75)), np.mean(ratios > 1.0),
            *_p_values(np.log(ratios))]  # fmt: skip


def difference_cells(first, second, seed):
    """Cells of DIFFERENCES for two numbers per image, which may be 0.

    Parameters
    ----------
    first, second : float64[n]
        NaN where an image was left out.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list
        Numbers, Intervals, None where no image is left.
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
    """Two-sided p of the sign test and of Wilcoxon's signed ranks; 1 where all differences are 0."""
    from scipy import stats

    more, less = np.count_nonzero(differences > 0.0), np.count_nonzero(differences < 0.0)
    if more + less == 0:
        return 1.0, 1.0
    return stats.binomtest(more, more + less).pvalue, stats.wilcoxon(differences[differences != 0.0]).pvalue


def draw_boxes(groups, labels, ax):
    """Draw boxes of values of images, without NaN: quartiles, whiskers to the 5th and the 95th percentile, the mean as a dot.

    Parameters
    ----------
    groups : list of float64[n]
    labels : list of str
    ax : matplotlib.axes.Axes

    Returns
    -------
    dict
        What ``Axes.boxplot`` gives.
    """
    values = [group[~np.isnan(group)] for group in groups]
    style = {"marker": ".", "markerfacecolor": "black", "markeredgecolor": "black"}
    artists = ax.boxplot(values, whis=(5, 95), showfliers=False, showmeans=True, meanprops=style, widths=0.6)
    ax.set_xticks(range(1, 1 + len(labels)), labels)
    return artists


def draw_networks(measured, values, labels, what):
    """Draw boxes of values of images for each network, a row of axes for each kind of images.

    Parameters
    ----------
    measured : dict of str to Measured
    values : function of Measured
        Lists of float64[n], one per box.
    labels : list of str
        Of the boxes.
    what : str
        Name of the values.

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
        row[0].set_ylim(bottom=0.0)  # of the whole row, when all of it is drawn
        row[0].set_ylabel(what)
    return figure
