"""Find the regions on the other side of facets by their patterns.

Where one neuron changes its state across a facet, the other region has the pattern with that state: it is looked up by a hash,
and the words are compared. No other region has that pattern, so nothing else has to be checked. Where hyperplanes of several
neurons coincide, more states change, and no region has the pattern: the other side of the facet is found among the facets of
the same neuron on the same hyperplane (partition/regions/matching.py).

Legend: R regions, W words of a pattern, N facets, K neurons, T places of the hash table (a power of two), M facets to match.
"""

import numpy as np

from .._jit import entry_kernel, inlined_kernel, kernel
from ..planes.words import lowest_bit, mix_key

OUTSIDE = -1
NOT_FOUND = -2


@inlined_kernel
def _hash_of(words, r):
    """Return the hash of a pattern: of each word with its position, combined by exclusive or."""
    key = np.uint64(0)
    for w in range(words.shape[1]):
        key ^= mix_key(words[r, w], np.uint64(0), np.uint64(w + 1))
    return key


@kernel
def _is_changed(words, r, other, at, word):
    """Return whether region ``other`` has the pattern of region r with another word at one place."""
    difference = np.uint64(0)
    for w in range(words.shape[1]):
        difference |= words[other, w] ^ (word if w == at else words[r, w])
    return difference == np.uint64(0)


@entry_kernel
def fill_table(words, keys_out, table_out):
    """Put all regions into the hash table.

    Parameters
    ----------
    words : uint64[R, W]
    keys_out : uint64[R]
        Out: hashes of the patterns.
    table_out : int32[T]
        Out: regions, or -1.
    """
    mask = np.uint64(table_out.shape[0] - 1)
    for t in range(table_out.shape[0]):
        table_out[t] = -1
    for r in range(words.shape[0]):
        keys_out[r] = _hash_of(words, r)
        t = keys_out[r] & mask
        while table_out[t] >= 0:
            t = (t + np.uint64(1)) & mask
        table_out[t] = r


@entry_kernel
def find_neighbours(words, keys, table, first, last, facet_offsets, neurons, states, places, neighbours_out):
    """Look up the patterns with one state changed, for the facets of regions ``first`` to ``last``.

    Parameters
    ----------
    words : uint64[R, W]
    keys : uint64[R]
    table : int32[T]
    first, last : int
    facet_offsets : int64[R+1]
    neurons, states : int32[N]
    places : int64[K, 3]
        Word, lowest bit, and number of bits of each neuron's state.
    neighbours_out : int64[N]
        Out: the region; -1 where the neuron is negative, -2 where there is none.
    """
    mask = np.uint64(table.shape[0] - 1)
    for r in range(first, last):
        for k in range(facet_offsets[r], facet_offsets[r + 1]):
            neighbours_out[k] = OUTSIDE
            if neurons[k] < 0:
                continue
            neighbours_out[k] = NOT_FOUND
            at, shift, width = places[neurons[k], 0], np.uint64(places[neurons[k], 1]), places[neurons[k], 2]
            field = ~np.uint64(0) >> np.uint64(64 - width)
            old = words[r, at]
            word = (old & ~(field << shift)) | (np.uint64(states[k]) << shift)
            label = np.uint64(at + 1)
            key = keys[r] ^ mix_key(old, np.uint64(0), label) ^ mix_key(word, np.uint64(0), label)
            t = key & mask
            while table[t] >= 0:
                other = table[t]
                if keys[other] == key and _is_changed(words, r, other, at, word):
                    neighbours_out[k] = other
                    break
                t = (t + np.uint64(1)) & mask


@kernel
def _first_difference(a, b):
    """Return the lowest bit, counted over all words, at which two rows of words differ; -1 where they are equal."""
    for w in range(a.shape[0]):
        x = a[w] ^ b[w]
        if x != np.uint64(0):
            return 64 * w + lowest_bit(x)
    return -1


@entry_kernel
def match_facets(rows, widths, first, last, sides, partners_out):
    """Find the partner of facets on the same hyperplane, each on the other side of its group.

    The candidates of a facet are the facets of its group on the other side. They differ in neurons that do not vanish on the
    hyperplane, and the facet's own state there is that of its partner; so the rows, which are sorted by the bits in the order
    of the neurons, are searched like a tree.

    Parameters
    ----------
    rows : uint64[M, W]
        Patterns, sorted within each group and side; bits of the neuron of the facet are 0.
    widths : int64[W]
        Bits per state, of each word.
    first, last : int64[M]
        The candidates of each facet: rows ``first`` to ``last``.
    sides : uint64[W]
        Scratch memory.
    partners_out : int64[M]
        Out: a row; -1 where there is no candidate; -2 - row where a neuron with several states leaves it open.
    """
    for m in range(rows.shape[0]):
        a, b, is_open = first[m], last[m], False
        for w in range(rows.shape[1]):
            sides[w] = np.uint64(0)
        while b - a > 1:
            bit = _first_difference(rows[a], rows[b - 1])
            if bit < 0:
                is_open = True
                break
            w, position = bit // 64, np.uint64(bit % 64)
            own = (rows[m, w] >> position) & np.uint64(1)
            low, high = a, b  # the first row with the bit
            while low < high:
                middle = (low + high) // 2
                if (rows[middle, w] >> position) & np.uint64(1) == np.uint64(0):
                    low = middle + 1
                else:
                    high = middle
            a, b = (low, b) if own == np.uint64(1) else (a, low)
            if widths[w] > 1:
                start = (bit % 64) // widths[w] * widths[w]
                sides[w] |= (~np.uint64(0) >> np.uint64(64 - widths[w])) << np.uint64(start)
        if a == b:
            partners_out[m] = -1
            continue
        partners_out[m] = a
        for w in range(rows.shape[1]):
            if (rows[a, w] ^ rows[m, w]) & sides[w] != np.uint64(0):
                is_open = True
        if is_open:
            partners_out[m] = -2 - a
