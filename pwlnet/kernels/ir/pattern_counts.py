"""Counts of states over points, and similarities of packed activation patterns.

A pattern is compared by its *active pieces*: for an elementwise neuron its state, if that is 1; for a window of MaxPool its
winning tap, whatever it is. Packed words are those of ``bits.py``.

Legend: B points, K neurons, N switching ops, W words, L layers, S states of all neurons together.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import kernel, slot_kernel
from .bits import popcount

BLOCK = 1024  # neurons that a slot counts at a time
ROWS_AT_ONCE = 64  # second patterns that stay in the cache while a slot compares them with one first pattern
EQUAL, JACCARD = 0, 1  # measures
_LOWEST = (
    np.uint64(0xFFFFFFFFFFFFFFFF),  # the lowest bit of each field of 1, 2, 4, 8, 16 bits
    np.uint64(0x5555555555555555),
    np.uint64(0x1111111111111111),
    np.uint64(0x0101010101010101),
    np.uint64(0x0001000100010001),
)


class CountSlot(NamedTuple):
    """What one slot works with; all slots share the arrays, and write the counts of different neurons."""

    states: np.ndarray  # int32[B, K]
    offsets: np.ndarray  # int64[K+1] first state of each neuron
    counts: np.ndarray  # int64[S] in and out
    next_block: np.ndarray  # int64[1] counter


@slot_kernel
def count_slot(slot):
    """Add the points in each state of each neuron to the counts."""
    states, offsets, counts = slot.states, slot.offsets, slot.counts
    first = take_next(slot.next_block) * BLOCK
    while first < states.shape[1]:
        last = min(first + BLOCK, states.shape[1])
        for b in range(states.shape[0]):
            for k in range(first, last):
                counts[offsets[k] + states[b, k]] += 1
        first = take_next(slot.next_block) * BLOCK


class SimilaritySlot(NamedTuple):
    """What one slot works with; all slots share the arrays, and write different rows of ``similarity``."""

    first: np.ndarray  # uint64[B1, W]
    second: np.ndarray  # uint64[B2, W]
    op_words: np.ndarray  # int64[N+1] first word of each switching op
    op_neurons: np.ndarray  # int64[N]
    op_widths: np.ndarray  # int64[N] bits per neuron
    op_pools: np.ndarray  # int64[N] 1 for MaxPool
    layer_ops: np.ndarray  # int64[L+1] first switching op of each layer
    options: np.ndarray  # int64[2] measure; 1 to compare row b with row b only
    similarity: np.ndarray  # float64[L, B1, B2] or float64[L, B1, 1] out
    next_row: np.ndarray  # int64[1] counter


@kernel
def _fold(word, width):
    """Return the lowest bit of each field that is not 0."""
    level, shift = 0, 1
    while shift < width:
        word |= word >> np.uint64(shift)
        shift *= 2
        level += 1
    if level == 0:
        return word
    if level == 1:
        return word & _LOWEST[1]
    if level == 2:
        return word & _LOWEST[2]
    return word & (_LOWEST[3] if level == 3 else _LOWEST[4])


@kernel
def _count_different(a, b, first, last, width):
    """Return the number of neurons with different states in the words from ``first`` to ``last``."""
    different = np.int64(0)
    if width == 1:  # a loop of its own, for the processor's vectors
        for w in range(first, last):
            different += popcount(a[w] ^ b[w])
    else:
        for w in range(first, last):
            different += popcount(_fold(a[w] ^ b[w], width))
    return different


@kernel
def _count_active(a, b, first, last, width):
    """Return the number of neurons in state 1 in both, and in at least one of two patterns; fields of one or two bits."""
    both, either = np.int64(0), np.int64(0)
    if width == 1:
        for w in range(first, last):
            both += popcount(a[w] & b[w])
            either += popcount(a[w] | b[w])
    else:
        for w in range(first, last):
            x, y = a[w] & ~(a[w] >> np.uint64(1)), b[w] & ~(b[w] >> np.uint64(1))
            both += popcount(x & y & _LOWEST[1])
            either += popcount((x | y) & _LOWEST[1])
    return both, either


@kernel
def _compare(slot, a, b, layer):
    """Return the similarity of two patterns on a layer; 1 where there is nothing to compare."""
    both, either = np.int64(0), np.int64(0)
    for i in range(slot.layer_ops[layer], slot.layer_ops[layer + 1]):
        first, last, width, n = slot.op_words[i], slot.op_words[i + 1], slot.op_widths[i], slot.op_neurons[i]
        if slot.options[0] == EQUAL:
            both += n - _count_different(a, b, first, last, width)
            either += n
        elif slot.op_pools[i] == 1:
            different = _count_different(a, b, first, last, width)
            both += n - different
            either += n + different
        else:
            x, y = _count_active(a, b, first, last, width)
            both += x
            either += y
    return both / either if either > 0 else 1.0


@slot_kernel
def similarity_slot(slot):
    """Compare patterns, each time the next ``ROWS_AT_ONCE`` first ones with all second ones. Out: similarity."""
    first, second, paired = slot.first, slot.second, slot.options[1] == 1
    start = take_next(slot.next_row) * ROWS_AT_ONCE
    while start < first.shape[0]:
        end = min(start + ROWS_AT_ONCE, first.shape[0])
        for layer in range(slot.layer_ops.shape[0] - 1):
            if paired:
                for r in range(start, end):
                    slot.similarity[layer, r, 0] = _compare(slot, first[r], second[r], layer)
                continue
            for column in range(0, second.shape[0], ROWS_AT_ONCE):
                for r in range(start, end):
                    for c in range(column, min(column + ROWS_AT_ONCE, second.shape[0])):
                        slot.similarity[layer, r, c] = _compare(slot, first[r], second[c], layer)
        start = take_next(slot.next_row) * ROWS_AT_ONCE
