"""Curves of certified accuracy, and distributions of the probability of the most likely class under noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .._types import ArrayLike
from ..errors import InputError
from .colours import CLASS_COLOURS
from .figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from ..smoothing.certificates import Certificates
    from ..smoothing.logs import CertificationLog

_STYLES = {"sound": "-", "conditional": ":", "nominal": "--"}  # by guarantee


def certified_accuracy(
    curves: Mapping[str, tuple[Certificates, ArrayLike] | CertificationLog], ax: Axes | None = None
) -> dict[str, Line2D]:
    """Plot certified accuracy against the radius: exact step functions, a curve per certification.

    Curves of nominal radii, which certify nothing, are dashed and labelled "nominal"; those that hold under a condition are
    dotted and labelled "conditional". Curves of logs that do not say what they guarantee are solid.

    Parameters
    ----------
    curves : dict of str to (Certificates, int64[B]) or CertificationLog
        By name: certificates with true classes, or a log.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.

    Returns
    -------
    dict of str to Line2D
        By name. A point (r, a) is at the right end of its step: up to the radius r, included, the accuracy is a.

    Raises
    ------
    InputError
        ``curves`` is empty, or an entry is something else.
    ShapeError
        There is not one label for each image.
    ImportError
        matplotlib is not installed.

    References
    ----------
    .. [1] Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Section 4.
    """
    from ..smoothing.evaluation import certified_accuracy as accuracy

    curves = _checked(curves)
    ax = new_figure((5.0, 3.2)).add_subplot() if ax is None else ax
    drawn = {}
    for number, (name, (results, labels)) in enumerate(curves.items()):
        correct = results.correct if labels is None else results.correct(labels)
        radii = np.unique(results.radius[correct & (results.radius > 0.0)])
        radii = np.concatenate([[0.0], radii])
        heights = accuracy(results, labels, radii)
        style = _style(number, results.guarantee)
        label = _label(name, results.guarantee)
        (drawn[name],) = ax.plot(
            np.append(radii, radii[-1]), np.append(heights, 0.0), drawstyle="steps-pre", label=label, **style
        )
    ax.set(xlabel="radius (l2)", ylabel="certified accuracy", ylim=(0.0, 1.0))
    ax.set_xlim(left=0.0)
    _finish(ax)
    return drawn


def vote_probabilities(curves: Mapping[str, Certificates], ax: Axes | None = None) -> dict[str, Line2D]:
    """Plot the distribution of the lower bounds of the probability of the most likely class, over images.

    Each curve is the share of images whose ``p_low`` is at most p. Images left of 1/2 abstain. An average certified radius is
    dominated by the images at the right end [1]_.

    Parameters
    ----------
    curves : dict of str to Certificates
        Or to pairs of Certificates and labels, as for ``certified_accuracy``; labels are not used.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.

    Returns
    -------
    dict of str to Line2D
        By name.

    Raises
    ------
    InputError
        ``curves`` is empty, or an entry is something else, or has no images.
    ImportError
        matplotlib is not installed.

    References
    ----------
    .. [1] Sun et al., "Average Certified Radius is a Poor Metric for Randomized Smoothing", arXiv:2410.06895, 2024, Section 4.
    """
    from ..smoothing.certificates import Certificates

    curves = _as_curves(curves)
    pairs = {name: entry[0] if isinstance(entry, tuple) and len(entry) == 2 else entry for name, entry in curves.items()}
    for name, certificates in pairs.items():
        if not isinstance(certificates, Certificates) or not len(certificates):
            raise InputError(f"curves[{name!r}] is a {type(certificates).__name__}; give Certificates of at least one image")
    ax = new_figure((5.0, 3.2)).add_subplot() if ax is None else ax
    drawn = {}
    for number, (name, certificates) in enumerate(pairs.items()):
        p, counts = np.unique(certificates.p_low, return_counts=True)
        shares = np.cumsum(counts) / len(certificates)
        style = _style(number, certificates.guarantee)
        (drawn[name],) = ax.plot(
            np.concatenate([[0.0], p, [1.0]]), np.concatenate([[0.0], shares, [1.0]]),
            drawstyle="steps-post", label=_label(name, certificates.guarantee), **style,
        )  # fmt: skip
    ax.axvline(0.5, color="0.6", lw=0.8)
    ax.set(xlabel="lower bound p of the probability of the class", ylabel="share of images up to p")
    ax.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    _finish(ax)
    return drawn


def _as_curves(curves):
    if not isinstance(curves, dict) or not curves:
        raise InputError(f"curves is {curves!r:.80}; a dict of at least one curve by name is needed")
    return curves


def _checked(curves):
    """Validate the curves: dict of (Certificates, labels) or (CertificationLog, None) by name."""
    from ..smoothing.certificates import Certificates
    from ..smoothing.logs import CertificationLog

    checked = {}
    for name, entry in _as_curves(curves).items():
        if isinstance(entry, CertificationLog):
            checked[name] = (entry, None)
        elif isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], Certificates):
            checked[name] = entry
        else:
            raise InputError(f"curves[{name!r}] is a {type(entry).__name__}; give (Certificates, labels) or a CertificationLog")
    return checked


def _style(number, guarantee):
    """Choose colour and dashes of a curve."""
    return {"color": CLASS_COLOURS[number % len(CLASS_COLOURS)], "lw": 1.4, "ls": _STYLES.get(guarantee, "-")}


def _label(name, guarantee):
    """Add what the radii of a curve guarantee, where it is not a certificate of the deployed classifier."""
    return f"{name} ({guarantee})" if guarantee in ("nominal", "conditional") else str(name)


def _finish(ax):
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
