"""Passes that find fixed and float neurons: counts of states over draws, and comparisons of pairs of points.

Slots take items in turn, and each item has its own rows of the results, so these depend neither on the number of slots nor on
how draws are divided into items, as long as items start at multiples of TILE. With values in float32
(``PackedProgram.row_weights`` in float32), states near a threshold may be wrong; ``out_of_range`` tells where values leave the
range of float32.

Legend: B sets or pairs, D inputs, K neurons, N ops, I items, S counters of states, T rows.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ONE, TWO, ZERO, allocating_kernel, inline_view, kernel, slot_kernel
from ..arrays import copy_into
from ..ir import program as ir
from ..ir.affine import n_ops, operand, rows_of
from ..ir.passes import TILE
from ..ir.switching import to_source_order
from .draws import Draws, Scratch, is_in_order, load_draws
from .states import count_states, is_out_of_range
from .switching import find_states, mark_floats, switch_rows
from .values import Buffers, apply_affine


@inline_view
def _inputs_of(code):
    """View the entry of the first op's value that each input fills: int64[D]."""
    return code.indices[code.op_table[-1, ir.INPUTS] : code.op_table[-1, ir.INPUTS] + code.op_table[-1, ir.N_INPUTS]]


class SampleSlot(NamedTuple):
    """What one slot works with to count states over draws."""

    code: ir.PackedProgram
    draws: Draws
    items: np.ndarray  # int64[I, 3] set, first draw (a multiple of TILE), last draw (not included)
    counts: np.ndarray  # int32[I, S] out: draws with each state, and at a threshold
    firsts: np.ndarray  # int32[I, S] out: number of the first draw of each state; unchanged where there is none
    out_of_range: np.ndarray  # int64[I] out
    state_offsets: np.ndarray  # int64[N+1]
    limits: np.ndarray  # float64[2] of the sum of the sizes of an op's pre-activations
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown
    next_item: np.ndarray  # int64[1] counter
    scratch: Scratch
    buffers: Buffers
    seen: np.ndarray  # int32[3 * largest number of neurons of an op]


@allocating_kernel
def _count_tile(slot, item, first, last):
    """Count the states over draws ``first`` to ``last`` (at most TILE)."""
    code, buffer, filled = slot.code, slot.buffers.values, last - first
    load_draws(_inputs_of(code), slot.draws, slot.scratch, slot.items[item, 0], first, last, rows_of(code, ZERO, TILE, buffer))
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            if not apply_affine(code, i, TILE, filled, slot.buffers):
                slot.unknown[0] = 1
            continue
        x, y = rows_of(code, operand(code, i, 0), TILE, buffer), rows_of(code, i, TILE, buffer)
        counts, firsts = slot.counts[item], slot.firsts[item]
        if not count_states(code, i, filled, first, x, y, slot.seen, slot.state_offsets[i], counts, firsts):
            slot.unknown[0] = 1
        if is_out_of_range(x, filled, slot.limits):
            slot.out_of_range[item] = 1


@slot_kernel
def sample_slot(slot):
    """Count the states of the draws of items, each time the next one that no slot has taken. Out: counts, firsts."""
    item = take_next(slot.next_item)
    while item < slot.items.shape[0]:
        first, last = slot.items[item, 1], slot.items[item, 2]
        while first < last:
            _count_tile(slot, item, first, min(first + TILE, last))
            first += TILE
        item = take_next(slot.next_item)


class PairSlot(NamedTuple):
    """What one slot works with to compare the states at pairs of points."""

    code: ir.PackedProgram
    first: np.ndarray  # float64[B, D]
    second: np.ndarray  # float64[B, D]
    floats: np.ndarray  # bool[B, K] out
    states: np.ndarray  # int32[B, K] out: at the first points; not filled if it has no rows
    out_of_range: np.ndarray  # int64[B] out
    limits: np.ndarray  # float64[2] as in SampleSlot
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown
    next_tile: np.ndarray  # int64[1] counter
    buffers: Buffers
    flags: np.ndarray  # bool[*] scratch: one op, stored order
    numbers: np.ndarray  # int32[*] likewise


@kernel
def _load_pairs(code_inputs, slot, begin, pairs, x):
    """Put pairs of points into consecutive rows: code_inputs int64[D] entry of each input. Out: x [T, n]."""
    if is_in_order(code_inputs):
        for b in range(pairs):
            copy_into(slot.first[begin + b], x[TWO * b])
            copy_into(slot.second[begin + b], x[TWO * b + ONE])
        return
    for b in range(pairs):
        for d in range(slot.first.shape[1]):
            x[TWO * b, code_inputs[d]] = slot.first[begin + b, d]
            x[TWO * b + ONE, code_inputs[d]] = slot.second[begin + b, d]


@allocating_kernel
def _compare_tile(slot, begin, pairs):
    """Compare the states of some pairs."""
    code, buffer = slot.code, slot.buffers.values
    _load_pairs(_inputs_of(code), slot, begin, pairs, rows_of(code, ZERO, TILE, buffer))
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            if not apply_affine(code, i, TILE, TWO * pairs, slot.buffers):
                slot.unknown[0] = 1
            continue
        x, y = rows_of(code, operand(code, i, 0), TILE, buffer), rows_of(code, i, TILE, buffer)
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        known = switch_rows(code, i, TWO * pairs, x, y)
        for b in range(pairs):
            first = TWO * b
            known = mark_floats(code, i, x[first], x[first + ONE], slot.flags[: hi - lo]) and known
            to_source_order(code, i, slot.flags, slot.floats[begin + b, lo:hi])
            if slot.states.shape[0] > 0:
                known = find_states(code, i, x[first], slot.numbers[: hi - lo]) and known
                to_source_order(code, i, slot.numbers, slot.states[begin + b, lo:hi])
            if is_out_of_range(x[first : first + TWO], TWO, slot.limits):
                slot.out_of_range[begin + b] = 1
        if not known:
            slot.unknown[0] = 1


@slot_kernel
def pair_slot(slot):
    """Compare the states of pairs of points, each time the next ones that no slot has taken. Out: floats, states."""
    half = TILE // TWO
    begin = take_next(slot.next_tile) * half
    while begin < slot.first.shape[0]:
        _compare_tile(slot, begin, min(half, slot.first.shape[0] - begin))
        begin = take_next(slot.next_tile) * half
