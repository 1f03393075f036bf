"""Packed activation patterns: fields of 1, 2, 4, 8 or 16 bits in words of 64, unpacking, Hamming distance.

Each op starts on a new word. A neuron of an op with S states has a field of the smallest width in (1, 2, 4, 8, 16) that
holds S states; neuron j of the op is stored in word ``j // (64 // width)``, at bit ``(j % (64 // width)) * width``.

Legend: B rows, K neurons, W words.
"""

import numpy as np

from .._jit import entry_kernel, kernel

_ONES = np.uint64(0x5555555555555555)
_PAIRS = np.uint64(0x3333333333333333)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x0101010101010101)


@kernel
def popcount(word):
    """Return the number of set bits of a uint64 (SWAR)."""
    word = word - ((word >> np.uint64(1)) & _ONES)
    word = (word & _PAIRS) + ((word >> np.uint64(2)) & _PAIRS)
    word = (word + (word >> np.uint64(4))) & _NIBBLES
    return np.int64((word * _BYTES) >> np.uint64(56))


@entry_kernel
def pack(states, neuron_offsets, word_offsets, widths, packed_out):
    """Pack states int32[B, K] into packed_out uint64[B, W]; fields as in the module's docstring, one width per op."""
    for b in range(states.shape[0]):
        for w in range(packed_out.shape[1]):
            packed_out[b, w] = np.uint64(0)
        for i in range(widths.shape[0]):
            width = widths[i]
            if width == 0:
                continue
            per_word = 64 // width
            for j in range(neuron_offsets[i + 1] - neuron_offsets[i]):
                word = word_offsets[i] + j // per_word
                shift = np.uint64((j % per_word) * width)
                packed_out[b, word] |= np.uint64(states[b, neuron_offsets[i] + j]) << shift


@entry_kernel
def unpack(packed, neuron_offsets, word_offsets, widths, states_out):
    """Unpack what ``pack`` has packed. Out: states_out int32[B, K]."""
    for b in range(packed.shape[0]):
        for i in range(widths.shape[0]):
            width = widths[i]
            if width == 0:
                continue
            per_word = 64 // width
            mask = np.uint64((1 << width) - 1)
            for j in range(neuron_offsets[i + 1] - neuron_offsets[i]):
                word = packed[b, word_offsets[i] + j // per_word]
                states_out[b, neuron_offsets[i] + j] = np.int32((word >> np.uint64((j % per_word) * width)) & mask)


@entry_kernel
def hamming(first, second, word_widths, distances_out):
    """Count the neurons with different states, row by row: first, second uint64[B, W]; word_widths int64[W]."""
    for b in range(first.shape[0]):
        total = np.int64(0)
        for w in range(first.shape[1]):
            difference = first[b, w] ^ second[b, w]
            if difference == np.uint64(0):
                continue
            width = word_widths[w]
            fold = 1
            while fold < width:  # OR each field into its lowest bit
                difference |= difference >> np.uint64(fold)
                fold *= 2
            if width == 2:
                difference &= _ONES
            elif width == 4:
                difference &= np.uint64(0x1111111111111111)
            elif width == 8:
                difference &= _BYTES
            elif width == 16:
                difference &= np.uint64(0x0001000100010001)
            total += popcount(difference)
        distances_out[b] = total
