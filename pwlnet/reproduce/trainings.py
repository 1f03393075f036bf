"""Networks that differ in their training only: families of networks, and figures with axes for each family."""

import numpy as np

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:gray")
SHORT = {"standard": "standard", "noise 0.1": "noise\n0.1", "noise 0.25": "noise\n0.25", "pgd": "PGD", "diffai": "DiffAI"}
_IN_ROW = 3


def families(measured):
    """Group networks by their architecture: dict of its name to a list of Measured, with standard training first.

    Parameters
    ----------
    measured : dict of str to Measured
    """
    groups = {}
    for m in measured.values():
        groups.setdefault(family(m), []).append(m)
    return groups


def family(m):
    """Return the title of a network without its training."""
    return m.title.partition(", ")[0]


def with_standard(measured):
    """Pair each network with that of standard training and the same architecture: list of (standard, other) Measured."""
    pairs = []
    for networks in families(measured).values():
        standard = [m for m in networks if m.training == "standard"]
        pairs += [(standard[0], other) for other in networks if standard and other.training != "standard"]
    return pairs


def mean(values):
    """Return the mean of the values without NaN: float, NaN if there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else np.nan


def draw_families(measured, draw_one, what, *, height=2.3):
    """Create a figure with axes for each family.

    Parameters
    ----------
    measured : dict of str to Measured
    draw_one : callable
        Takes axes and the list of Measured of a family.
    what : str
        Label of the y axes.
    height : float, optional
        Of a row of axes, in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from .. import plot

    groups = families(measured)
    columns = min(_IN_ROW, len(groups))
    n_rows = -(-len(groups) // columns)
    figure = plot.new_figure((2.4 * columns + 0.4, height * n_rows + 0.2))
    axes = figure.subplots(n_rows, columns, squeeze=False, sharey=True)
    for ax, (name, networks) in zip(axes.flat, groups.items()):
        draw_one(ax, networks)
        ax.set_title(name, fontsize="small")
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    figure.supylabel(what, fontsize="small")
    if axes[0, 0].get_legend_handles_labels()[1]:
        axes[0, 0].legend(fontsize="x-small")
    return figure


def draw_boxes_by_training(ax, networks, groups):
    """Draw boxes of several groups of values for each network of a family: quartiles, whiskers to the 5th and 95th percentile.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    networks : list of Measured
    groups : dict of str to list of float64[n]
        Values of each network by the name of the group; NaN is left out.
    """
    places, width = np.arange(len(networks)), 0.8 / len(groups)
    for k, (name, values) in enumerate(groups.items()):
        values = [each[~np.isnan(each)] for each in values]
        at = places + (k - 0.5 * (len(groups) - 1)) * width
        style = {"widths": 0.85 * width, "whis": (5, 95), "showfliers": False, "medianprops": {"color": "black"}}
        boxes = ax.boxplot(values, positions=at, patch_artist=True, **style)["boxes"]
        for box in boxes:
            box.set_facecolor(COLOURS[k])
        boxes[0].set_label(name)
    label_trainings(ax, networks)


def draw_bars_by_training(ax, networks, groups):
    """Draw bars with intervals of several groups for each network of a family.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    networks : list of Measured
    groups : dict of str to list of tables.Interval
        Of each network by the name of the group.
    """
    places, width = np.arange(len(networks)), 0.8 / len(groups)
    for k, (name, intervals) in enumerate(groups.items()):
        value, low, high = np.nan_to_num(np.array(intervals, np.float64).T)
        errors = np.maximum(np.stack([value - low, high - value]), 0.0)
        at = places + (k - 0.5 * (len(groups) - 1)) * width
        ax.bar(at, value, 0.9 * width, yerr=errors, color=COLOURS[k], label=name, error_kw={"linewidth": 0.8})
    label_trainings(ax, networks)


def label_trainings(ax, networks):
    """Label the positions 0, 1, ... of a family's networks."""
    ax.set_xticks(range(len(networks)), [SHORT[m.training] for m in networks], fontsize="x-small")
