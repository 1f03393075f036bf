"""How linear a network is along lines: regions, change of the gradient, error of the tangent plane at the start.

Legend: L lines, C outputs of a line, D inputs of the network, K neurons.
"""

import functools
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .. import evaluate
from ..kernels.gradients import linearity as kernels
from ..kernels.gradients import rank_one
from ..tolerances import GRADIENT_OFFSET
from ..validation import checked_targets
from .line_flips import line_flips


class GradientChange(NamedTuple):
    """How the gradient g of an output differs from g0, the one at the start; all are 0 where it doesn't.

    float64[L, C] with C outputs per line, else float64[L].

    Attributes
    ----------
    l1, l2, linf : float64[L, C]
        Norm of g - g0 divided by that of g0; inf where g0 is 0 and g isn't.
    angle : float64[L, C]
        Between g and g0, in radians: 0 to pi; pi / 2 where one of them is 0 and the other isn't.
    sign : float64[L, C]
        Share of the entries of g0 that aren't 0 for which g has the opposite sign; 0 to 1.
    symmetric : float64[L, C]
        Mean over entries of |g - g0| / (|g| + |g0|), 0 where both are 0: 0 to 1, whatever the entries are.
    relative : float64[L, C]
        Mean over entries of |(g0 - g) / (g + 1e-12)|, as in [2]_. An entry of g that is 0 or nearly so, and was not at the
        start, makes it huge: take medians over lines, or ``symmetric``.
    """

    l1: np.ndarray
    l2: np.ndarray
    linf: np.ndarray
    angle: np.ndarray
    sign: np.ndarray
    symmetric: np.ndarray
    relative: np.ndarray


class TangentError(NamedTuple):
    """Error of the tangent plane at the start, f(start) + g0 . (x - start), along a line.

    float64[L, C] with C outputs per line, else float64[L]; in units of the output.

    Attributes
    ----------
    largest : float64[L, C]
        Largest absolute error on the line; at a breakpoint, or at the end.
    largest_at : float64[L, C]
        Where that is, as a line parameter from 0 to 1.
    mean : float64[L, C]
        Integral over t of the absolute error: its mean over the line.
    at_end : float64[L, C]
        Error at the end, with its sign: the tangent plane's value minus the network's.
    predicted : float64[L, C]
        Change of the output from start to end by the tangent plane. The true change is ``predicted - at_end``.
    variation : float64[L, C]
        Largest absolute change of the output from the start's value on the line.
    """

    largest: np.ndarray
    largest_at: np.ndarray
    mean: np.ndarray
    at_end: np.ndarray
    predicted: np.ndarray
    variation: np.ndarray


@dataclass(frozen=True, eq=False)
class LinearityMeasures:
    """How linear outputs are along lines; made by ``measure_linearity``.

    Arrays have a row per line; with C outputs per line asked for, those of single outputs have C columns.

    Attributes
    ----------
    n_segments : int64[L]
    length : float64[L]
        Euclidean length, in input units.
    density : float64[L]
        Segments per unit length; inf for a line of length zero.
    targets : int64[L] or int64[L, C]
        The outputs.
    mean, largest, at_end : GradientChange
        Of the gradient from the one at the start: averaged over the line by length, its largest value on the line (each
        measure where it is largest), and on the last segment.
    tangent : TangentError
    gradient_norm : float64[L] or float64[L, C]
        Euclidean norm of the gradient at the start, in units of output per input.
    residual : float64[L]
        The larger of two: how far gradients that were updated from breakpoint to breakpoint had come away from fresh ones,
        relative to the largest entry; how far ``tangent.at_end`` is from what forward passes at both ends give, relative to
        the largest of the three values.
    """

    n_segments: np.ndarray = field(repr=False)
    length: np.ndarray = field(repr=False)
    density: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    mean: GradientChange = field(repr=False)
    largest: GradientChange = field(repr=False)
    at_end: GradientChange = field(repr=False)
    tangent: TangentError = field(repr=False)
    gradient_norm: np.ndarray = field(repr=False)
    residual: np.ndarray = field(repr=False)

    def __len__(self):
        """Return the number of lines."""
        return len(self.n_segments)

    def __repr__(self):
        return f"LinearityMeasures({len(self)} lines, {self.n_segments.sum()} segments)"


def measure_linearity(lines, targets, *, threads=None):
    """Measure how linear outputs of a network are along lines, against the gradient at the lines' starts.

    Exact up to rounding: every segment counts by its length, none is sampled; ``residual`` tells the rounding.

    Parameters
    ----------
    lines : LinePartitions
        Of ``partition_lines``; the gradient at the start is that of the first segment.
    targets : int, int64[L] or int64[L, C]
        The output to measure: one for all lines, one per line, or C per line.
    threads : int, optional
        All processors by default. Results don't depend on it.

    Returns
    -------
    LinearityMeasures

    Raises
    ------
    ShapeError
        There are not as many rows of ``targets`` as lines.
    InputError
        An output that doesn't exist.

    See Also
    --------
    integrate_gradients : the mean gradient of a line, for attributions.

    Notes
    -----
    A flip costs one backward pass of a single row, from its neuron down, for all C outputs, and a segment C comparisons of D
    entries. In the measures that go entry by entry (``sign``, ``symmetric``, ``relative``), entries within rounding of 0,
    ``tolerances.ambiguous`` units of the largest entry met, count as 0. A line of length zero has no change and no error.

    References
    ----------
    .. [1] Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, Section 3 (the
       linear explanation of adversarial examples, which these measures test).
    .. [2] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 5 (density, and
       the relative change of the gradient, there by a backward pass per segment).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, labels = pwlnet.datasets.digits_images()
    >>> lines = pwlnet.partition_lines(network, images[:4], np.clip(images[:4] + 0.1, 0.0, 1.0))
    >>> found = pwlnet.measure_linearity(lines, labels[:4])
    >>> bool((found.mean.l2 <= found.largest.l2).all() and found.residual.max() < 1e-12)
    True
    """
    network = lines.network
    targets = checked_targets(targets, len(lines), network.n_outputs)
    outputs = targets if targets.ndim == 2 else targets[:, None]
    shape = outputs.shape
    change, tangent = np.empty((*shape, 3, kernels.N_MEASURES)), np.empty((*shape, kernels.N_TANGENT))
    residual, static = np.empty(len(lines)), np.arange(len(network.program.op)) == 0
    work = functools.partial(_measure_lines, lines, static, outputs, change, tangent, residual)
    evaluate.run_chunks(work, len(lines), 1, threads)
    np.maximum(residual, _value_residual(lines, outputs, tangent, threads), out=residual)
    change, tangent = (x.reshape(*targets.shape, *x.shape[2:]) for x in (change, tangent))
    for array in (change, tangent, residual):
        array.setflags(write=False)
    mean, largest, at_end = (_gradient_change(change[..., row, :]) for row in (kernels.MEAN, kernels.LARGEST, kernels.AT_END))
    columns = (kernels.LARGEST_ERROR, kernels.LARGEST_AT, kernels.MEAN_ERROR, kernels.END_ERROR, kernels.PREDICTED,
               kernels.VARIATION)  # fmt: skip
    errors = TangentError(*(tangent[..., k] for k in columns))
    norm = tangent[..., kernels.GRADIENT_NORM]
    return LinearityMeasures(
        lines.n_segments, lines.length, lines.density, targets, mean, largest, at_end, errors, norm, residual
    )


def _measure_lines(lines, static, outputs, change_out, tangent_out, residual_out, first, last):
    """Measures of lines ``first`` to ``last``."""
    noise = lines.tolerances.ambiguous * np.finfo(np.float64).eps
    for i in range(first, last):
        t, states, flips = line_flips(lines, i)
        direction = lines.ends[i] - lines.starts[i]
        code = lines.network.code
        sweep, fresh = (rank_one.make_sweep(code, outputs.shape[1]) for _ in range(2))
        residual_out[i] = kernels.sweep_linearity(
            code, static, states, t, flips, outputs[i], direction, noise, GRADIENT_OFFSET,
            sweep, fresh, change_out[i], tangent_out[i],
        )  # fmt: skip


def _value_residual(lines, outputs, tangent, threads):
    """Distance of the error at the end from what forward passes give, relative to the largest value: float64[L]."""
    before, after = (
        np.take_along_axis(lines.network.forward(points, threads=threads), outputs, axis=1)
        for points in (lines.starts, lines.ends)
    )
    predicted = before + tangent[..., kernels.PREDICTED]
    scale = np.max(np.abs([before, after, predicted]), axis=0)
    apart = np.abs(predicted - after - tangent[..., kernels.END_ERROR])
    return np.max(np.divide(apart, scale, out=apart.copy(), where=scale > 0.0), axis=1, initial=0.0)


def _gradient_change(measures):
    """Name the measures: GradientChange of float64[..., N_MEASURES]."""
    columns = (kernels.L1, kernels.L2, kernels.LINF, kernels.ANGLE, kernels.SIGN, kernels.SYMMETRIC, kernels.RELATIVE)
    return GradientChange(*(measures[..., k] for k in columns))
