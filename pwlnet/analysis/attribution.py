"""Integrated gradients: exact, from the partition of the line from baseline to input, or by a sampling rule.

Legend: B inputs, D inputs of the network, O outputs, C attributed outputs, K neurons, n points.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .. import evaluate, scheduling
from .._types import ArrayLike, FloatArray, IntArray, Integers
from ..errors import InputError, NumericalError, ShapeError
from ..kernels.gradients import integral, rank_one
from ..kernels.ir import program as ir
from ..partition.lines.ends import points_at
from ..partition.lines.partitions import iter_line_partitions
from ..partition.lines.scaling import always_rescaled, rescaled_line
from ..tolerances import DEFAULT, Tolerances
from ..validation import as_outputs, check_network
from .line_flips import iter_line_flips
from .quadrature import RULES, quadrature_rule

if TYPE_CHECKING:
    from ..network import Network

_LINES_AT_ONCE, _STATES_AT_ONCE = 16, 2**22  # lines whose first states are computed together, and the number of these states
_GRADIENT_BYTES = 2**28  # gradients and their integrals in memory per thread
_BATCH_BYTES = 2**26  # Jacobians at sampled points in memory at a time


@dataclass(frozen=True, eq=False)
class Attributions:
    """Integrated gradients of some outputs for many inputs; made by ``integrate_gradients``.

    Exact up to rounding with ``method="exact"``; an estimate with a sampling rule. ``residual`` is the completeness error.

    Attributes
    ----------
    values : float64[B, C, D]
        Contribution of each input entry to the change of each output from baseline to input, in units of the output.
    residual : float64[B, C]
        Completeness error: sum of the contributions minus that change, relative to the larger absolute value of the output at
        the two ends; absolute if both are 0.
    outputs : int64[C]
        Indices of the attributed outputs.
    method : str
        ``exact``, or the sampling rule.
    n_segments : int64[B] or None
        Number of segments of each line with ``method="exact"``.
    n_samples : int or None
        Number of points of the sampling rule.
    """

    values: FloatArray = field(repr=False)
    residual: FloatArray = field(repr=False)
    outputs: IntArray
    method: str
    n_segments: IntArray | None = field(repr=False)
    n_samples: int | None

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.values)


def integrate_gradients(
    network: Network,
    baselines: ArrayLike,
    inputs: ArrayLike,
    *,
    outputs: Integers | None = None,
    method: str = "exact",
    n_samples: int | None = None,
    progress: bool = False,
    threads: int | None = None,
    tolerances: Tolerances = DEFAULT,
) -> Attributions:
    """Compute integrated gradients of network outputs along the lines from baselines to inputs, for all outputs at once.

    Exact up to rounding with ``method="exact"``; an estimate with a sampling rule.

    Parameters
    ----------
    network : Network
    baselines, inputs : float64[B, D] or float64[B, *input_shape]
        In the network's input units. A single baseline is used for all inputs, and a single input for all baselines.
    outputs : sequence of int, optional
        Outputs to attribute; all by default.
    method : str
        ``exact``, or a sampling rule (``pwlnet.analysis.quadrature``): left, right, midpoint, trapezoid, simpson,
        gauss_legendre, captum_trapezoid.
    n_samples : int, optional
        Number of points of a sampling rule; required with a rule, and not allowed with ``exact``.
    progress : bool
        Show a progress bar on stderr (exact).
    threads : int, optional
        Number of threads; all processors by default. Results do not depend on it.
    tolerances : Tolerances, optional
        Tolerances of the partition.

    Returns
    -------
    Attributions

    Raises
    ------
    ShapeError
        ``baselines`` and ``inputs`` do not have the same number of points of the network.
    InputError
        They have entries that are not finite real numbers; an output or a method does not exist; ``n_samples`` is missing or
        invalid.
    NumericalError
        Values overflow float64 along a line, or attributions do; values or weights are too far apart in size.

    Notes
    -----
    Exact: the Jacobian is constant on each segment of the line, and changes by a rank-one matrix at a flip, so the cost is
    that of the partition and one backward pass of a single row per flip, through the layers before the neuron. A flip in the
    first switching layer costs one column of the weights after it. Memory: twice the gradients with respect to all values of
    the network, for as many outputs at a time as fit into 256 MiB per thread (at least one), and the partition of a batch of
    lines. If the gradient is discontinuous at an end of a line, the sampling rules use the piece of ``Network.jacobian``.

    References
    ----------
    .. [1] Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, Equation 1.
    .. [2] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 4 (exact, by a
       backward pass per segment).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> result = pwlnet.integrate_gradients(network, np.zeros(64), images[:2])
    >>> result.values.shape, bool(np.abs(result.residual).max() < 1e-12)
    ((2, 10, 64), True)
    """
    baselines, inputs = (
        check_network(network).as_points(baselines, "baselines"),
        network.as_points(inputs, "inputs"),
    )
    starts, ends = _common_rows(network, baselines, inputs)
    chosen = as_outputs(outputs, network.n_outputs)
    n_segments = None
    if method == "exact":
        if n_samples is not None:
            raise InputError(f"n_samples is {n_samples!r}, but the exact method takes no samples; omit it or give a rule")
        if always_rescaled(network):
            return _rescaled_attributions(network, starts, ends, chosen, progress, threads, tolerances)
        integrals, n_segments = _exact_integrals(network, starts, ends, chosen, progress, threads, tolerances)
    elif method in RULES:
        nodes, weights = quadrature_rule(method, n_samples)
        integrals = _sampled_integrals(network, starts, ends, chosen, nodes, weights, threads)
    else:
        raise InputError(f"method is {method!r}; use 'exact' or one of {', '.join(RULES)}")
    integrals *= (ends - starts)[:, None, :]
    residual = _residual(network, baselines, inputs, chosen, integrals, threads)
    return _attributions(
        integrals, residual, chosen, method, n_segments, None if n_samples is None or method == "exact" else int(n_samples)
    )


def _residual(network, baselines, inputs, chosen, values, threads):
    """Compute the completeness error of contributions: float64[B, C]."""
    before, after = (network.forward(x, threads=threads)[:, chosen] for x in (baselines, inputs))
    scale = np.maximum(np.abs(before), np.abs(after))
    with np.errstate(invalid="ignore", over="ignore"):  # refused by ``_attributions``
        return (values.sum(axis=2) - (after - before)) / np.where(scale > 0.0, scale, 1.0)


def _attributions(values, residual, chosen, method, n_segments, n_samples):
    """Create Attributions with read-only arrays; raise NumericalError for those that are not finite."""
    bad = np.flatnonzero(~(np.isfinite(values).all(axis=(1, 2)) & np.isfinite(residual).all(axis=1)))
    if bad.size:
        raise NumericalError(
            f"the attributions of input {bad[0]} overflow float64, or outputs do; rescale the last layers of the network"
        )
    for array in (values, residual, chosen):
        array.setflags(write=False)
    return Attributions(values, residual, chosen, method, n_segments, n_samples)


def _rescaled_attributions(network, starts, ends, chosen, progress, threads, tolerances):
    """Compute exact Attributions of a network with extreme weights: each line in a network that is rescaled for it."""
    values, residual = np.empty((len(starts), len(chosen), network.n_inputs)), np.empty((len(starts), len(chosen)))
    n_segments = np.empty(len(starts), np.int64)
    for b in range(len(starts)):
        other, start, end, exponents = rescaled_line(network, starts[b], ends[b], b)
        line = start[None], end[None]
        integrals, n_segments[b : b + 1] = _exact_integrals(other, *line, chosen, progress, threads, tolerances)
        integrals *= (end - start)[None, None, :]
        residual[b] = _residual(other, *line, chosen, integrals, threads)[0]
        with np.errstate(over="ignore", under="ignore"):
            values[b] = np.ldexp(integrals[0], exponents[chosen][:, None])
    return _attributions(values, residual, chosen, "exact", n_segments, None)


def _common_rows(network, starts, ends):
    """Repeat a single start or end for all rows of the other."""
    if 1 != len(starts) != len(ends) != 1:
        raise ShapeError(
            f"there are {len(starts)} baselines and {len(ends)} inputs; give the same number of both, or a single one of either"
        )
    n = len(ends) if len(starts) == 1 else len(starts)
    return np.broadcast_to(starts, (n, starts.shape[1])), np.broadcast_to(ends, (n, ends.shape[1]))


def _roles(network):
    """Return the role of each op in ``kernels.gradients.integral``: int64[ops]."""
    graph, op = network.op_graph, network.program.op
    roles = np.full(len(op), rank_one.EAGER)
    for i in np.flatnonzero(~graph.is_switching):
        if np.all(roles[graph.operands[i]] == rank_one.STATIC):
            roles[i] = rank_one.STATIC
    for i in graph.switching:
        readers = graph.readers[i]
        of_static = roles[graph.operands[i]] == rank_one.STATIC
        if len(readers) and of_static.all() and np.isin(op[readers], (ir.AFFINE, ir.CONV2D)).all():
            roles[i], roles[readers] = rank_one.FIRST, rank_one.KEPT
    return roles


def _exact_integrals(network, starts, ends, outputs, progress, threads, tolerances):
    """Integrate the Jacobian exactly: (float64[B, C, D], number of segments int64[B])."""
    integrals, n_segments = np.empty((len(starts), len(outputs), network.n_inputs)), np.empty(len(starts), np.int64)
    roles, first = _roles(network), 0
    options = {"progress": progress, "threads": threads, "tolerances": tolerances}
    for lines in iter_line_partitions(network, starts, ends, **options):
        batch = slice(first, first + len(lines))
        n_segments[batch] = lines.n_segments
        work = functools.partial(_integrate_lines, lines, roles, outputs, integrals[batch])
        at_once = min(_LINES_AT_ONCE, max(1, _STATES_AT_ONCE // max(1, network.n_neurons)))
        chunk = min(at_once, -(-len(lines) // scheduling.n_threads(threads)))
        scheduling.run_chunks(work, len(lines), chunk, threads)
        first += len(lines)
    return integrals, n_segments


def _integrate_lines(lines, roles, outputs, integrals_out, first, last):
    """Integrate the Jacobian along lines ``first`` to ``last``. Out: float64[L, C, D]."""
    code = lines.network.code
    at_once = max(1, _GRADIENT_BYTES // int(16 * code.op_table[-1, ir.VALUE]))
    for out, (t, states, flips) in zip(integrals_out[first:last], iter_line_flips(lines, first, last), strict=True):
        for c in range(0, len(outputs), at_once):
            chunk = slice(c, c + at_once)
            sweep = rank_one.make_sweep(code, len(outputs[chunk]))
            integral.integrate_jacobian(code, roles, states, t, flips, outputs[chunk], sweep, out[chunk])


def _sampled_integrals(network, starts, ends, outputs, nodes, weights, threads):
    """Compute weighted sums of Jacobians at the nodes of each line: float64[B, C, D]."""
    integrals = np.zeros((len(starts), len(outputs), network.n_inputs))
    at_once = max(1, _BATCH_BYTES // (8 * max(1, len(outputs)) * network.n_inputs))
    code = evaluate.select_outputs(network.code, outputs)
    for b in range(len(starts)):
        for first in range(0, len(nodes), at_once):
            chunk = slice(first, first + at_once)
            states = network.states(points_at(starts[b], ends[b], nodes[chunk]), threads=threads)
            integrals[b] += np.tensordot(weights[chunk], evaluate.jacobians(code, states, threads), axes=1)
    return integrals
