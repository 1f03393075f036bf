"""Linearity of a network along lines: density of segments, change of the gradient, error of the first-order expansion.

Legend: L lines, C outputs of a line, D inputs of the network, K neurons.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import scheduling
from .._types import ArrayLike, FloatArray, IntArray
from ..kernels.gradients import linearity as kernels
from ..kernels.gradients import rank_one
from ..tolerances import GRADIENT_OFFSET
from ..validation import as_targets, check_lines
from .line_flips import line_flips

if TYPE_CHECKING:
    from ..partition.lines.partitions import LinePartitions


class GradientChange(NamedTuple):
    """Difference of the gradient g of an output from the gradient g0 at the start; all measures are 0 if g = g0.

    float64[L, C] with C outputs per line, else float64[L].

    Attributes
    ----------
    l1, l2, linf : float64[L, C]
        Norm of g - g0 divided by the norm of g0; inf if g0 is 0 and g is not.
    angle : float64[L, C]
        Angle between g and g0 in radians, 0 to pi; pi / 2 if exactly one of them is 0.
    sign : float64[L, C]
        Fraction of the non-zero entries of g0 for which g has the opposite sign, 0 to 1.
    symmetric : float64[L, C]
        Mean over entries of |g - g0| / (|g| + |g0|), with 0 for entries that are both 0: always 0 to 1.
    relative : float64[L, C]
        Mean over entries of |(g0 - g) / (g + 1e-12)|, as in [2]_. An entry of g that is nearly 0, but not at the start, makes
        it very large: use medians over lines, or ``symmetric``.
    """

    l1: FloatArray
    l2: FloatArray
    linf: FloatArray
    angle: FloatArray
    sign: FloatArray
    symmetric: FloatArray
    relative: FloatArray


class TangentError(NamedTuple):
    """Error of the tangent plane at the start (first-order expansion), f(start) + g0 . (x - start), along a line.

    float64[L, C] with C outputs per line, else float64[L]; in units of the output.

    Attributes
    ----------
    largest : float64[L, C]
        Largest absolute error on the line; it occurs at a breakpoint or at the end.
    largest_at : float64[L, C]
        Line parameter of the largest error, from 0 to 1.
    mean : float64[L, C]
        Mean absolute error over the line (integral over t).
    at_end : float64[L, C]
        Signed error at the end: value of the tangent plane minus that of the network.
    predicted : float64[L, C]
        Change of the output from start to end according to the tangent plane. The true change is ``predicted - at_end``.
    variation : float64[L, C]
        Largest absolute change of the output from its value at the start, on the line.
    """

    largest: FloatArray
    largest_at: FloatArray
    mean: FloatArray
    at_end: FloatArray
    predicted: FloatArray
    variation: FloatArray


@dataclass(frozen=True, eq=False)
class LinearityMeasures:
    """Linearity of outputs along lines; the result of ``measure_linearity``.

    Arrays have one row per line. With C targets per line, arrays of single outputs have C columns.

    Attributes
    ----------
    n_segments : int64[L]
        Number of segments.
    length : float64[L]
        Euclidean length, in input units.
    density : float64[L]
        Segments per unit length; inf for a line of length zero.
    targets : int64[L] or int64[L, C]
        Indices of the outputs.
    mean, largest, at_end : GradientChange
        Change of the gradient from the start: mean over the line weighted by length, maximum over the line (separately for
        each measure), and value on the last segment.
    tangent : TangentError
    gradient_norm : float64[L] or float64[L, C]
        Euclidean norm of the gradient at the start, in units of output per input.
    residual : float64[L]
        The larger of two differences: of updated gradients from recomputed ones, relative to the largest entry; of
        ``tangent.at_end`` from the value by forward passes at both ends, relative to the largest of the three values.
    """

    n_segments: IntArray = field(repr=False)
    length: FloatArray = field(repr=False)
    density: FloatArray = field(repr=False)
    targets: IntArray = field(repr=False)
    mean: GradientChange = field(repr=False)
    largest: GradientChange = field(repr=False)
    at_end: GradientChange = field(repr=False)
    tangent: TangentError = field(repr=False)
    gradient_norm: FloatArray = field(repr=False)
    residual: FloatArray = field(repr=False)

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.n_segments)

    def __repr__(self) -> str:
        return f"LinearityMeasures({len(self)} lines, {self.n_segments.sum()} segments)"


def measure_linearity(lines: LinePartitions, targets: ArrayLike, *, threads: int | None = None) -> LinearityMeasures:
    """Measure the linearity of network outputs along lines, relative to the gradient at the start of each line.

    Exact up to rounding: every segment is weighted by its length, nothing is sampled; ``residual`` checks the rounding.

    Parameters
    ----------
    lines : LinePartitions
        Result of ``partition_lines``; the gradient at the start is that of the first segment.
    targets : int, int64[L] or int64[L, C]
        Index of the output to measure: one for all lines, one per line, or C per line.
    threads : int, optional
        Number of threads; all processors by default. Results do not depend on it.

    Returns
    -------
    LinearityMeasures

    Raises
    ------
    ShapeError
        The number of rows of ``targets`` is not the number of lines.
    InputError
        An output does not exist.

    See Also
    --------
    integrate_gradients : the mean gradient along a line, for attributions.

    Notes
    -----
    Cost: for each flip, one backward pass of a single row through the layers before the neuron, for all C outputs; for each
    segment, C comparisons of D entries. The measures by entry (``sign``, ``symmetric``, ``relative``) treat entries within
    rounding of 0 as 0: within ``tolerances.ambiguous`` roundoff units of the largest entry so far. A line of length zero has
    no change and no error.

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
    >>> result = pwlnet.measure_linearity(lines, labels[:4])
    >>> bool((result.mean.l2 <= result.largest.l2).all() and result.residual.max() < 1e-12)
    True
    """
    network = check_lines(lines).network
    targets = as_targets(targets, len(lines), network.n_outputs)
    outputs = targets if targets.ndim == 2 else targets[:, None]
    shape = outputs.shape
    change, tangent = np.empty((*shape, 3, kernels.N_MEASURES)), np.empty((*shape, kernels.N_TANGENT))
    residual, static = np.empty(len(lines)), np.arange(len(network.program.op)) == 0
    work = functools.partial(_measure_lines, lines, static, outputs, change, tangent, residual)
    scheduling.run_chunks(work, len(lines), 1, threads)
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
    """Measure lines ``first`` to ``last``."""
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
    """Compare the error at the end with forward passes, relative to the largest value: float64[L]."""
    before, after = (
        np.take_along_axis(lines.network.forward(points, threads=threads), outputs, axis=1)
        for points in (lines.starts, lines.ends)
    )
    predicted = before + tangent[..., kernels.PREDICTED]
    scale = np.max(np.abs([before, after, predicted]), axis=0)
    difference = np.abs(predicted - after - tangent[..., kernels.END_ERROR])
    return np.max(np.divide(difference, scale, out=difference.copy(), where=scale > 0.0), axis=1, initial=0.0)


def _gradient_change(measures):
    """Split float64[..., N_MEASURES] into named measures: GradientChange."""
    columns = (kernels.L1, kernels.L2, kernels.LINF, kernels.ANGLE, kernels.SIGN, kernels.SYMMETRIC, kernels.RELATIVE)
    return GradientChange(*(measures[..., k] for k in columns))
