"""The self-check of conversions: a network is compared with evaluations of its source, within the errors of rounding.

Two programs of the same function differ by the rounding of their operations. How much that may be is estimated by Monte Carlo
arithmetic: every weight and every input is multiplied by 1 + d g, with g of mean 0 and variance 1 and a small d, and the
change of the outputs is divided by d / u, where u is the unit roundoff. Why that is the right size: each product w x of a sum
changes by d w x g, so the sum changes by d sqrt(sum (w x)^2), the standard deviation of the rounding errors of its products
at d = u; the changes of all layers go through the rest of the network as its rounding errors do, and their sum is of the order
of the sum of all. The errors of adding up n terms are larger by a factor between 1 and sqrt(n), which multiplies the estimate.
So outputs that cancel to (nearly) zero are measured against what was added up, and dead neurons pass no errors on. Underflow
is an absolute error of half the least number: each parameter also changes by that number, times d / u.

A single weight or bias of a network of two to twenty layers is found to be wrong if it is off by a relative 1e-12 to 1e-8
(compared in float64), or by 1e-3 to 1e-1 (if the source can be evaluated in float32 only), unless no test point reaches it.

No evaluator is trusted alone: a conversion is refused if every one that can evaluate the source disagrees with it.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from .. import evaluate
from .._types import Check
from ..errors import ConversionError, PwlnetWarning
from ..kernels.ir import program as ir
from ..tolerances import CONVERSION_ERRORS, SINGLE_ROUNDOFF, UNIT_ROUNDOFF
from ..validation import check_choice

__all__ = ["CHECKS", "Referee", "check_conversion", "largest_excess", "rounding_bound"]

CHECKS = get_args(Check)
_POINTS = 16
_LEAST_POINTS = 2
_MOST_ENTRIES = 2**24  # of all points together
_WORK = 2**33  # multiplications of all points together: seconds
_DRAWS = 2  # perturbed copies of the network; the largest change over all points and draws counts
_SOURCE_DRAWS = 8  # of the source, where the first estimate says that they differ
_CHUNK = 2**20
_SHRINK = 2.0**-256  # of points at which a source overflows
_PATIENCE = 10.0  # seconds for a referee's first rows; a slower one is asked for no more
_LEAST = {UNIT_ROUNDOFF: 2.0**-1074, SINGLE_ROUNDOFF: 2.0**-149, 2.0**-11: 2.0**-24}  # least number by unit roundoff


@dataclass(frozen=True)
class Referee:
    """An evaluator of a network's source.

    Attributes
    ----------
    name : str
        For messages: "onnx.reference in float64".
    forward : callable
        float64[B, *input_shape] -> float64[B, O].
    roundoff : float
        Unit roundoff of its arithmetic.
    perturbed : callable, optional
        (size, rng) -> a function like ``forward`` that evaluates the source with every weight changed by that relative size.
    """

    name: str
    forward: Any
    roundoff: float = UNIT_ROUNDOFF
    perturbed: Any = None


def check_conversion(network, referees, name, check="strict"):
    """Compare a converted network with its source at random points: normal and uniform ones, fewer for large networks.

    Parameters
    ----------
    network : Network
    referees : sequence of Referee
        In the order in which they are asked, until one agrees.
    name : str
        Of the source, for messages.
    check : {"strict", "warn", "off"}
        Refuse a conversion with which no referee agrees; warn; or evaluate nothing.

    Raises
    ------
    ConversionError
        No referee agrees, and one or more disagree.
    InputError
        ``check`` is none of the three.

    Warns
    -----
    PwlnetWarning
        No referee can evaluate the source; or, with ``check="warn"``, none agrees.
    """
    check_choice(check, CHECKS, "check")
    if check == "off":
        return
    points, findings = _points(network), []
    with np.errstate(all="ignore"):
        for referee in referees:
            findings.append(_ask(network, referee, points))
            if findings[-1].agrees:
                break
    refused = [finding for finding in findings if finding.differs]
    if findings and findings[-1].agrees:
        for finding in refused:
            text = f"the conversion of {name} agrees with {findings[-1].name}, but not with {finding.name} ({finding.text})"
            warnings.warn(f"{text}; that evaluator is probably wrong", PwlnetWarning, stacklevel=4)
        return
    said = "; ".join(f"{finding.name}: {finding.text}" for finding in findings) or "nothing can evaluate it"
    if not refused:
        text = f"{name} was converted, but not compared with its source ({said}); compare some outputs yourself"
        warnings.warn(text, PwlnetWarning, stacklevel=4)
        return
    text = f"{name} and its conversion differ ({said}); report this as a bug, or use check='warn' to take the network anyway"
    if check == "strict":
        raise ConversionError(text)
    warnings.warn(text, PwlnetWarning, stacklevel=4)


@dataclass(frozen=True)
class _Finding:
    """What a referee says: it agrees, it differs, or (neither) it cannot evaluate the source."""

    name: str
    agrees: bool = False
    differs: bool = False
    text: str = ""


def _ask(network, referee, points):
    """Compare the network with one referee; errors of the referee are its answer, not ours."""
    try:
        points, expected = _evaluated(referee, points)
    except Exception as error:
        return _Finding(referee.name, text=_first_line(error))
    if expected is None:
        return _Finding(referee.name, text="its outputs overflow")
    if expected.shape[1] != network.n_outputs:
        text = f"{expected.shape[1]} outputs, the conversion {network.n_outputs}"
        return _Finding(referee.name, differs=True, text=text)
    actual = network.forward(points)
    bound = rounding_bound(network, points, referee.roundoff)
    excess, text = largest_excess(actual, expected, bound)
    if excess > 1.0 and referee.perturbed is not None:
        bound = np.fmax(bound, _source_bound(network, referee, points, expected))
        excess, text = largest_excess(actual, expected, bound)
    return _Finding(referee.name, agrees=excess <= 1.0, differs=excess > 1.0, text=text)


def _points(network):
    """Return the points float64[B, *input_shape], whose entries are also float32 numbers."""
    rng, most = np.random.default_rng(0), _WORK // max(1, evaluate._work_per_row(network.code))
    most = min(most, _MOST_ENTRIES // max(1, network.n_inputs, network.n_outputs))
    half = int(np.clip(most, _LEAST_POINTS, _POINTS)) // 2
    shape = (half, *network.input_shape)
    points = np.stack([rng.standard_normal(shape), rng.random(shape)], axis=1)  # one of each among the first two
    return points.reshape(2 * half, *network.input_shape).astype(np.float32).astype(np.float64)


def _evaluated(referee, points):
    """Return points and the referee's outputs there; the points are scaled down where it overflows, None if always."""
    for _ in range(4):
        start = time.monotonic()
        expected = _outputs(referee.forward, points[:_LEAST_POINTS])
        if time.monotonic() - start > _PATIENCE:
            points = points[:_LEAST_POINTS]
        elif np.isfinite(expected).all() and len(points) > _LEAST_POINTS:
            expected = np.concatenate([expected, _outputs(referee.forward, points[_LEAST_POINTS:])])
        if np.isfinite(expected).all():
            return points, expected
        if referee.roundoff != UNIT_ROUNDOFF:  # float32 has no room for that
            return points, None
        points = points * _SHRINK
    return points, None


def _outputs(forward, points):
    return np.asarray(forward(points), np.float64).reshape(len(points), -1)


def rounding_bound(network, points, roundoff=UNIT_ROUNDOFF):
    """Estimate how much two programs of a network's function may differ by rounding.

    Estimate, by perturbation of all weights and inputs (the module's docstring); CONVERSION_ERRORS such standard errors.

    Parameters
    ----------
    network : Network
    points : float64[B, *input_shape]
    roundoff : float
        Unit roundoff of the less precise program.

    Returns
    -------
    float64[O]
        The bound for each output, over all points.

    References
    ----------
    .. [1] D. S. Parker, "Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic", UCLA 1997, Section 5.
    .. [2] N. J. Higham, T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41(5), 2019,
       Section 3 (errors grow with sqrt(n)).
    """
    size, rng = perturbation_size(roundoff), np.random.default_rng(1)
    least = _LEAST.get(roundoff, _LEAST[SINGLE_ROUNDOFF])
    plain, largest = network.forward(points), np.zeros(network.n_outputs)
    for _ in range(_DRAWS):
        moved = np.ascontiguousarray(points * (1.0 + size * _noise(rng, points.shape))).reshape(len(points), -1)
        copy = perturbed_code(network.code, size, size / roundoff * least, rng)
        changed = evaluate.forward(copy, moved, outputs=True).outputs
        del copy  # before the next is made: that of a large network takes gigabytes
        largest = np.fmax(largest, np.abs(changed - plain).max(axis=0, initial=0.0))
    return CONVERSION_ERRORS * np.sqrt(_terms(network.code)) * (roundoff / size * largest + least)


def _source_bound(network, referee, points, expected):
    """Estimate the same from the source itself, whose parameters may be larger than what the conversion made of them."""
    size, rng = perturbation_size(referee.roundoff), np.random.default_rng(2)
    largest = np.zeros(network.n_outputs)
    for _ in range(_SOURCE_DRAWS):
        try:
            changed = np.asarray(referee.perturbed(size, rng)(points), np.float64).reshape(expected.shape)
        except Exception:
            return largest
        change = np.abs(changed - expected)
        largest = np.fmax(largest, np.where(np.isfinite(change), change, 0.0).max(axis=0, initial=0.0))
    return CONVERSION_ERRORS * np.sqrt(_terms(network.code)) * referee.roundoff / size * largest


def largest_excess(actual, expected, bound):
    """Return the largest difference in units of the bound of its output, and a text that gives both numbers.

    Parameters
    ----------
    actual, expected : float64[B, O]
    bound : float64[O]

    Returns
    -------
    excess : float
        More than 1 if some difference is more than rounding; infinite if one is not a number.
    text : str
    """
    difference = np.where(actual == expected, 0.0, np.abs(actual - expected))
    share = np.where(difference == 0.0, 0.0, difference / bound)
    share = np.where(np.isnan(share), np.inf, share)
    if not share.size:
        return 0.0, "no outputs"
    row, output = np.unravel_index(np.argmax(share), share.shape)
    text = f"output {output} differs by {difference[row, output]:.1e} of {abs(expected[row, output]):.1e}"
    return float(share[row, output]), f"{text}, rounding explains {bound[output]:.0e}"


def perturbation_size(roundoff):
    """Return the relative size of perturbations: large against the roundoff, small against one."""
    return max(2.0**-26, 16.0 * roundoff)


def perturbed_code(code, size, least, rng):
    """Return a packed program whose parameters are perturbed by a relative size, and its biases also by ``least``."""
    parameters, n_weights = np.empty_like(code.parameters), int(code.op_table[0, ir.BIAS])
    factors = size * _noise(rng, min(len(parameters), _CHUNK))
    for first in range(0, len(parameters), _CHUNK):  # each part takes the same numbers, shifted: to draw more takes longer
        part = code.parameters[first : first + _CHUNK]
        shift = int(rng.integers(len(factors))) if first else 0
        parameters[first : first + _CHUNK] = part + part * np.roll(factors, shift)[: len(part)]
    parameters[n_weights:] += least * _noise(rng, len(parameters) - n_weights)
    parameters.setflags(write=False)  # as in ``code``: kernels are compiled for read-only arrays
    return code._replace(parameters=parameters, row_weights=parameters)


def _noise(rng, shape):
    """Return independent numbers of mean 0 and variance 1, none beyond 1.8."""
    return (rng.random(shape) - 0.5) * np.sqrt(12.0)


def _terms(code):
    """Return the largest number of terms that an op adds up."""
    table = code.op_table[:-1]
    window = table[:, ir.KERNEL_H] * table[:, ir.KERNEL_W]
    positions = np.where(window > 0, 1, table[:, ir.HEIGHT] * table[:, ir.WIDTH])
    per_output = table[:, ir.N_WEIGHTS] // np.maximum(1, table[:, ir.CHANNELS] * positions)
    return int(max(1, window.max(initial=0), per_output.max(initial=0)))


def _first_line(error):
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:80]
