"""Integrated gradients: exact, from the partition of the line from baseline to input, or by a sampling rule.

Legend: B inputs, D inputs of the network, O outputs, C outputs asked for, K neurons, n points.
"""

import functools
from dataclasses import dataclass, field

import numpy as np

from .. import evaluate
from ..errors import InputError, ShapeError
from ..kernels.gradients import integral, rank_one
from ..kernels.ir import program as ir
from ..partition.lines.check import points_at
from ..partition.lines.partitions import iter_line_partitions
from ..tolerances import DEFAULT
from .line_flips import iter_line_flips
from .quadrature import RULES, quadrature_rule

_LINES_AT_ONCE, _STATES_AT_ONCE = 16, 2**22  # lines whose first states are found together, and states of them
_GRADIENT_BYTES = 2**28  # gradients and their integrals that a thread holds
_BATCH_BYTES = 2**26  # Jacobians at sampled points that are held at a time


@dataclass(frozen=True, eq=False)
class Attributions:
    """Integrated gradients of some outputs for many inputs; made by ``integrate_gradients``.

    Exact up to rounding with ``method="exact"``; with a sampling rule an estimate. ``residual`` tells how well they add up.

    Attributes
    ----------
    values : float64[B, C, D]
        Contribution of each input entry to each output's change from baseline to input, in units of the output.
    residual : float64[B, C]
        Completeness: sum of the contributions minus that change, relative to the larger absolute value of the output at both
        ends; absolute where the output is 0 at both.
    outputs : int64[C]
        Which outputs of the network.
    method : str
        ``exact``, or the sampling rule.
    n_segments : int64[B] or None
        Segments of each line, with ``method="exact"``.
    n_samples : int or None
        Points of the sampling rule.
    """

    values: np.ndarray = field(repr=False)
    residual: np.ndarray = field(repr=False)
    outputs: np.ndarray
    method: str
    n_segments: np.ndarray | None = field(repr=False)
    n_samples: int | None

    def __len__(self):
        """Return the number of inputs."""
        return len(self.values)


def integrate_gradients(
    network,
    baselines,
    inputs,
    *,
    outputs=None,
    method="exact",
    n_samples=None,
    progress=False,
    threads=None,
    tolerances=DEFAULT,
):
    """Integrated gradients of network outputs along the lines from baselines to inputs, for all outputs at once.

    Exact up to rounding with ``method="exact"``; an estimate with a sampling rule.

    Parameters
    ----------
    network : Network
    baselines, inputs : float64[B, D] or float64[B, *input_shape]
        In the network's input units. One baseline or input is used for all of the other.
    outputs : sequence of int, optional
        Outputs to attribute; all by default.
    method : str
        ``exact``, or a sampling rule (``pwlnet.analysis.quadrature``): left, right, midpoint, trapezoid, simpson,
        gauss_legendre, captum_trapezoid.
    n_samples : int, optional
        Points of a sampling rule; needed there, and refused with ``exact``.
    progress : bool
        Show a progress bar on stderr (exact).
    threads : int, optional
        All processors by default. Results don't depend on it.
    tolerances : Tolerances, optional
        Of the partition.

    Returns
    -------
    Attributions

    Raises
    ------
    ShapeError
        ``baselines`` and ``inputs`` don't hold the same number of points of the network.
    InputError
        They hold NaN, infinities or something else than real numbers; an output or a method that doesn't exist; ``n_samples``
        is missing or can't be used.
    NumericalError
        Values overflow float64 along a line.

    Notes
    -----
    Exact: the Jacobian is constant on each segment of the line, and changes by a rank-one matrix where a neuron flips, so
    the integral costs the partition and one backward pass of a single row per flip, through the layers below the neuron.
    Flips of the first switching layer cost one column of the weights behind it. Memory: gradients with respect to all values
    of the network, and as much again, of as many outputs at a time as fit into 256 MiB per thread (one at least), and the
    partition of the lines of a batch. Where the gradient jumps, at the ends of a line, the sampling rules take the piece that
    ``Network.jacobian`` takes.

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
    >>> found = pwlnet.integrate_gradients(network, np.zeros(64), images[:2])
    >>> found.values.shape, bool(np.abs(found.residual).max() < 1e-12)
    ((2, 10, 64), True)
    """
    baselines, inputs = network.as_points(baselines, "baselines"), network.as_points(inputs, "inputs")
    starts, ends = _common_rows(network, baselines, inputs)
    chosen = _chosen_outputs(network, outputs)
    n_segments = None
    if method == "exact":
        if n_samples is not None:
            raise InputError(f"n_samples is {n_samples!r}, but the exact method takes no samples; leave it out or name a rule")
        integrals, n_segments = _exact_integrals(network, starts, ends, chosen, progress, threads, tolerances)
    elif method in RULES:
        nodes, weights = quadrature_rule(method, n_samples)
        integrals = _sampled_integrals(network, starts, ends, chosen, nodes, weights, threads)
    else:
        raise InputError(f"method is {method!r}; use 'exact' or one of {', '.join(RULES)}")
    integrals *= (ends - starts)[:, None, :]
    before, after = (network.forward(x, threads=threads)[:, chosen] for x in (baselines, inputs))
    scale = np.maximum(np.abs(before), np.abs(after))
    residual = (integrals.sum(axis=2) - (after - before)) / np.where(scale > 0.0, scale, 1.0)
    for array in (integrals, residual, chosen):
        array.setflags(write=False)
    return Attributions(integrals, residual, chosen, method, n_segments, None if method == "exact" else int(n_samples))


def _common_rows(network, starts, ends):
    """Use one start or end for all of the other."""
    if 1 != len(starts) != len(ends) != 1:
        raise ShapeError(
            f"there are {len(starts)} baselines and {len(ends)} inputs of {network.n_inputs} numbers; "
            "give as many of both, or one baseline"
        )
    n = len(ends) if len(starts) == 1 else len(starts)
    return np.broadcast_to(starts, (n, starts.shape[1])), np.broadcast_to(ends, (n, ends.shape[1]))


def _chosen_outputs(network, outputs):
    """Which outputs to attribute: int64[C]."""
    if outputs is None:
        return np.arange(network.n_outputs)
    chosen = np.atleast_1d(np.asarray(outputs))
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
        raise InputError(f"outputs is {outputs!r}; whole numbers below {network.n_outputs} are needed, or None for all")
    bad = chosen[(chosen < 0) | (chosen >= network.n_outputs)]
    if bad.size:
        raise InputError(f"output {bad[0]} was asked for, but the network has {network.n_outputs} outputs; count from 0")
    return chosen.astype(np.int64)


def _roles(network):
    """Roles of the ops in ``integral``: int64[ops]."""
    program, n = network.program, len(network.program.op)
    reads = [program.operands[program.operand_offsets[i] : program.operand_offsets[i + 1]] for i in range(n)]
    roles = np.full(n, rank_one.EAGER)
    for i in range(n):
        if program.op[i] < ir.FIRST_SWITCHING and np.all(roles[reads[i]] == rank_one.STATIC):
            roles[i] = rank_one.STATIC
    for i in np.flatnonzero(program.op[: n - 1] >= ir.FIRST_SWITCHING):
        readers = [j for j in range(n) if i in reads[j]]
        if roles[reads[i]] == rank_one.STATIC and np.isin(program.op[readers], (ir.AFFINE, ir.CONV2D)).all():
            roles[i], roles[readers] = rank_one.FIRST, rank_one.KEPT
    return roles


def _exact_integrals(network, starts, ends, outputs, progress, threads, tolerances):
    """Integrals of the Jacobian: (float64[B, C, D], segments int64[B])."""
    integrals, n_segments = np.empty((len(starts), len(outputs), network.n_inputs)), np.empty(len(starts), np.int64)
    roles, first = _roles(network), 0
    options = {"progress": progress, "threads": threads, "tolerances": tolerances}
    for lines in iter_line_partitions(network, starts, ends, **options):
        here = slice(first, first + len(lines))
        n_segments[here] = lines.n_segments
        work = functools.partial(_integrate_lines, lines, roles, outputs, integrals[here])
        at_once = min(_LINES_AT_ONCE, max(1, _STATES_AT_ONCE // max(1, network.n_neurons)))
        chunk = min(at_once, -(-len(lines) // evaluate.n_threads(threads)))
        evaluate.run_chunks(work, len(lines), chunk, threads)
        first += len(lines)
    return integrals, n_segments


def _integrate_lines(lines, roles, outputs, integrals_out, first, last):
    """Integrals of lines ``first`` to ``last``: float64[L, C, D]."""
    code = lines.network.code
    at_once = max(1, _GRADIENT_BYTES // int(16 * code.op_table[-1, ir.VALUE]))
    for out, (t, states, flips) in zip(integrals_out[first:last], iter_line_flips(lines, first, last), strict=True):
        for c in range(0, len(outputs), at_once):
            part = slice(c, c + at_once)
            sweep = rank_one.make_sweep(code, len(outputs[part]))
            integral.integrate_jacobian(code, roles, states, t, flips, outputs[part], sweep, out[part])


def _sampled_integrals(network, starts, ends, outputs, nodes, weights, threads):
    """Weighted sums of Jacobians at nodes of each line: float64[B, C, D]."""
    integrals = np.zeros((len(starts), len(outputs), network.n_inputs))
    at_once = max(1, _BATCH_BYTES // (8 * max(1, len(outputs)) * network.n_inputs))
    code = evaluate.select_outputs(network.code, outputs)
    for b in range(len(starts)):
        for first in range(0, len(nodes), at_once):
            part = slice(first, first + at_once)
            states = network.states(points_at(starts[b], ends[b], nodes[part]), threads=threads)
            integrals[b] += np.tensordot(weights[part], evaluate.jacobians(code, states, threads), axes=1)
    return integrals
