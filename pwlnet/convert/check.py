"""The self-check of conversions: a network is compared with its source on random inputs before it is returned.

Differences are measured against the size of what is added up (`rounding`), not against the outputs, which may be the small
difference of large sums, or zero. The source is evaluated by one or more *referees*; a referee may itself be wrong, so a
network is refused only if no referee agrees with it.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ..errors import ConversionError, InputError, PwlnetWarning
from ..tolerances import DEFAULT
from .rounding import error_scale

LEVELS = ("strict", "warn", "off")
N_CHECKED = 16
N_VALUES = 1 << 24  # of all points together: a larger network is compared at fewer points, at least two


@dataclass(frozen=True)
class Referee:
    """Something that evaluates the source of a network.

    Attributes
    ----------
    name : str
        For messages: "torch in float64".
    evaluate : callable
        float64[B, *input_shape] -> float64[B, O].
    tolerance : float
        Largest difference that is rounding, relative to the size of what is added up.
    known_faults : bool
        Whether it is known to be wrong about some operators of this source; its disagreement then needs no warning.
    """

    name: str
    evaluate: object
    tolerance: float
    known_faults: bool = False


def checked_level(check):
    """Return ``check`` if it is "strict", "warn" or "off"; raise InputError otherwise."""
    if not isinstance(check, str) or check not in LEVELS:
        raise InputError(f"check is {check!r}; it must be one of {', '.join(map(repr, LEVELS))}")
    return check


def check_conversion(network, referees, name, check="strict"):
    """Compare a converted network with its source on random inputs.

    Parameters
    ----------
    network : Network
    referees : iterable of Referee
        In the order in which they are asked; the first that agrees decides.
    name : str
        Of the source, for messages.
    check : {"strict", "warn", "off"}
        What to do if none agrees: raise, warn, or do not compare at all.

    Raises
    ------
    ConversionError
        No referee agrees (``check="strict"``).

    Warns
    -----
    PwlnetWarning
        No referee agrees (``check="warn"``), none can evaluate the source, or one that should be right disagrees with another
        that agrees.
    """
    if check == "off":
        return
    points = random_points(network)
    actual, scale = network.forward(points), None
    disagreed, failed = [], []
    for referee in referees:
        try:
            expected = np.asarray(referee.evaluate(points), np.float64).reshape(len(points), -1)
        except Exception as error:  # a referee may fail in any way
            failed.append(f"{referee.name} can't evaluate it ({_first_line(error)})")
            continue
        if expected.shape != actual.shape:
            disagreed.append((referee, f"{referee.name} gives {expected.shape[1]} outputs, the network {actual.shape[1]}"))
            continue
        if scale is None:
            scale = error_scale(network, points)
        error = relative_difference(actual, expected, scale)
        if error <= referee.tolerance:
            _warn_of_others(name, referee, disagreed)
            return
        disagreed.append((referee, _difference(referee, error, expected)))
    _report(name, disagreed, failed, check)


def random_points(network):
    """Return normal and uniform random inputs float64[B, *input_shape]: 16, fewer for networks of millions of values."""
    n = max(2, min(N_CHECKED, N_VALUES // max(1, int(network.program.value_offsets[-1]))))
    rng, shape = np.random.default_rng(0), network.input_shape
    return np.concatenate([rng.standard_normal((n - n // 2, *shape)), rng.random((n // 2, *shape))])


def relative_difference(actual, expected, scale):
    """Return the largest difference of outputs relative to the size of what is added up.

    Parameters
    ----------
    actual, expected : float64[B, O]
    scale : float64[B, O]
        From ``error_scale``; where it is not finite or 0, the largest output of the row takes its place.
    """
    with np.errstate(all="ignore"):
        largest = np.abs(expected).max(axis=1, initial=0.0, keepdims=True)
        usable = np.isfinite(scale) & (scale > 0)
        scale = np.where(usable, scale, np.maximum(largest, np.finfo(np.float64).tiny))
        error = np.abs(actual / scale - expected / scale)
        error[(actual == expected)] = 0.0  # also infinite ones
    return float(error.max(initial=0.0)) if not np.isnan(error).any() else np.inf


def _difference(referee, error, expected):
    if not np.isfinite(expected).all():
        return f"{referee.name} gives values that are not finite on random inputs"
    return (
        f"{referee.name} differs by {error:.1e} of the size of what is added up on random inputs, where "
        f"{referee.tolerance:.0e} is rounding"
    )


def _warn_of_others(name, agreed, disagreed):
    serious = [text for referee, text in disagreed if not referee.known_faults]
    if serious:
        warnings.warn(
            f"{name} was converted, and {agreed.name} agrees with the conversion, but {'; '.join(serious)}",
            PwlnetWarning,
            stacklevel=4,
        )


def _report(name, disagreed, failed, check):
    if not disagreed:
        warnings.warn(
            f"{name} was converted, but not compared with its source: {'; '.join(failed) or 'nothing evaluates it'}; compare "
            "some outputs yourself",
            PwlnetWarning,
            stacklevel=4,
        )
        return
    reasons = "; ".join([text for _, text in disagreed] + failed)
    if check == "warn":
        warnings.warn(f"{name} and its conversion differ: {reasons}", PwlnetWarning, stacklevel=4)
        return
    raise ConversionError(
        f"{name} and its conversion differ: {reasons}; report this as a bug, or pass check='warn' to use it all the same"
    )


def check_rows(network, alone, together, rows):
    """Refuse a module whose outputs for two rows in one batch differ from those for each row alone.

    Parameters
    ----------
    network : Network
    alone : float64[2, O]
    together : float64, any shape
        The module's outputs for the batch.
    rows : float64[2, *input_shape]

    Raises
    ------
    ConversionError
        They differ by more than rounding.
    """
    if together.size == alone.size:
        together_rows = together.reshape(alone.shape)
        if relative_difference(together_rows, alone, error_scale(network, rows)) <= DEFAULT.conversion:
            return
    raise ConversionError(
        f"the module gives other outputs for two rows in one batch (shape {together.shape}) than for each row alone; "
        "its forward must not mix the batch axis with the features, keep axis 0 separate"
    )


def _first_line(error):
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return text[:100]
