"""How the half-spaces of regions are computed for a network: bounds on its roundings, and the cheaper direction of passes.

Legend: D inputs, K neurons, M rows, N ops.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ...errors import UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.ir import switching
from ...kernels.ir.passes import TILE
from ...kernels.regions import halfspaces
from ...kernels.regions.halfspaces import RegionSlot, Rows
from ...tolerances import UNIT_ROUNDOFF


class Plan(NamedTuple):
    """What all points of a network share.

    Attributes
    ----------
    code, absolute : PackedProgram
        The program, and the same with absolute parameters.
    roundings : float64[N, 2]
    n_rows : int
        Largest number of rows.
    by_rows : bool
        Whether backward passes are cheaper than forward ones.
    last : int
        The last switching op.
    """

    code: ir.PackedProgram
    absolute: ir.PackedProgram
    roundings: np.ndarray
    n_rows: int
    by_rows: bool
    last: int


def make_plan(network, by_rows=None):
    """Plan the computation of rows.

    Parameters
    ----------
    network : Network
        With at least one neuron.
    by_rows : bool, optional
        Whether to use backward passes; by default where they are cheaper.

    Returns
    -------
    Plan
    """
    code = network.code
    parameters = np.abs(code.parameters)
    parameters.setflags(write=False)
    absolute = code._replace(parameters=parameters, row_weights=parameters)
    graph, _ = network.op_graph, network.pattern_layout  # which refuses ops without states
    counts = [
        int(n) * (switching.n_states(code, i) - 1) for i, n in zip(graph.switching.tolist(), graph.neuron_counts, strict=True)
    ]
    if by_rows is None:
        by_rows = _backward_work(network, counts) < _forward_work(network)
    return Plan(code, absolute, roundings(network), int(sum(counts)), bool(by_rows), int(graph.switching[-1]))


def _work(network):
    """Return the number of multiplications and copies of each op: int64[N]."""
    table = network.code.op_table[:-1]
    positions = table[:, ir.HEIGHT] * table[:, ir.WIDTH]
    return table[:, ir.N_WEIGHTS] * np.where(table[:, ir.KERNEL_H] > 0, positions, 1) + positions * table[:, ir.CHANNELS]


def _forward_work(network):
    """Return the work of passes from all inputs to the last switching op."""
    tiles = -(-network.n_inputs // int(TILE))
    return tiles * int(_work(network)[: network.op_graph.switching[-1] + 1].sum())


def _backward_work(network, counts):
    """Return the work of passes from all rows to the input; measured, a multiplication takes as long as in a forward pass."""
    below, graph = np.cumsum(_work(network)), network.op_graph
    tops = [int(graph.operands[i][0]) for i in graph.switching.tolist()]
    return sum(-(-n // int(TILE)) * int(below[top]) for n, top in zip(counts, tops, strict=True))


def n_terms(network, i):
    """Bound the number of terms that op i adds up for a value, or its adjoint for a gradient, with its roundings."""
    p, graph = network.program, network.op_graph
    taps = int(p.attributes[i, ir.KERNEL_H] * p.attributes[i, ir.KERNEL_W])
    sizes = np.diff(p.value_offsets)
    if p.op[i] == ir.AFFINE:
        most = max(int(sizes[i]), int(sizes[graph.operands[i][0]]))
    elif p.op[i] == ir.CONV2D:
        most = taps * max(int(p.shapes[i, 0]), int(p.shapes[graph.operands[i][0], 0]))
    else:
        most = max(taps, 2)
    return most + len(graph.readers[i]) + 3


def roundings(network):
    """Bound the relative roundings of the sums of each op, and of the paths that end there.

    Parameters
    ----------
    network : Network

    Returns
    -------
    float64[N, 2]
        gamma_n = n u / (1 - n u), with twice the number n of terms: that covers the roundings of the bounds, too.
    """
    n = len(network.program.op)
    terms, paths = np.zeros(n), np.zeros(n)
    paths[0] = len(network.op_graph.readers[0]) + 1
    for i in range(1, n):
        terms[i] = n_terms(network, i)
        paths[i] = terms[i] + max(paths[j] for j in network.op_graph.operands[i].tolist())
    products = 2.0 * UNIT_ROUNDOFF * np.column_stack([terms, paths])
    return products / (1.0 - products)


def make_slots(plan, points, phase, n_slots, *, norm=2, kept=None, tiles=None):
    """Allocate slots of the kernel ``halfspaces.region_slot``.

    Parameters
    ----------
    plan : Plan
    points : float64[B, D]
    phase : {halfspaces.DESCRIBE, GRADIENTS, RADII}
    n_slots : int
    norm : {1, 2, inf}
        Of the balls.
    kept : (RegionSlot, float64[M, D]), optional
        For GRADIENTS: a slot that has described the point, and where to write the gradients.
    tiles : int64[*], optional
        For GRADIENTS: first item of each tile.

    Returns
    -------
    list of RegionSlot
    """
    size, n_neurons = (int(plan.code.op_table[-1, column]) for column in (ir.VALUE, ir.NEURON))
    options = np.array([phase, plan.by_rows, 0 if norm == np.inf else int(norm), plan.last], np.int64)
    counter, unknown, none = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(0, np.int64)
    radii, nearest = np.empty((len(points), 2)), np.empty(len(points), np.int64)
    slots = []
    for _ in range(n_slots):
        own = {
            "rows": Rows(*(np.empty(plan.n_rows, np.int64) for _ in range(5)), np.empty(plan.n_rows)),
            "n_rows": np.zeros(1, np.int64), "states": np.empty((1, n_neurons), np.int32),
            "stored": np.empty(n_neurons, np.int32), "margins": np.empty(plan.n_rows),
            "margin_errors": np.empty(plan.n_rows), "gradient_errors": np.empty(plan.n_rows),
            "norms": np.zeros((plan.n_rows, 3)), "gradients": np.empty((0, points.shape[1])),
        }  # fmt: skip
        if kept is not None:
            own = {name: getattr(kept[0], name) for name in own} | {"gradients": kept[1]}
        slots.append(
            RegionSlot(
                code=plan.code, absolute=plan.absolute, roundings=plan.roundings, options=options, points=points,
                tiles=none if tiles is None else tiles, next_item=counter, unknown=unknown,
                buffer=np.zeros(int(TILE) * size), bounds=np.empty(3 * size),
                reached=np.empty(len(plan.roundings), np.int64), radii=radii, nearest=nearest, **own,
            )
        )  # fmt: skip
    return slots


def check_known(slots):
    """Refuse results of a network with an op that the kernels do not know.

    Raises
    ------
    UnsupportedOperationError
    """
    if slots[0].unknown[0]:
        raise UnsupportedOperationError(
            "the network has an op that the kernels do not handle; every chain of ops must handle it, see CONTRIBUTING.md"
        )


def tile_starts(plan, operands, n_inputs):
    """Return the first item of each tile: of rows with the operands int64[M], or of input directions: int64[*]."""
    if not plan.by_rows:
        return np.arange(0, n_inputs if len(operands) else 0, int(TILE))
    bounds = np.flatnonzero(np.diff(operands, prepend=-1, append=-1))
    return np.concatenate([np.arange(a, b, int(TILE)) for a, b in pairwise(bounds)] + [bounds[:0]])


DESCRIBE, GRADIENTS, RADII = halfspaces.DESCRIBE, halfspaces.GRADIENTS, halfspaces.RADII
