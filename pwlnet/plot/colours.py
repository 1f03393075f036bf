"""Colours that people with colour vision deficiencies can tell apart, and the colours of patterns, classes and values.

In CIELAB, any two colours of ``PATTERN_COLOURS`` or of ``CLASS_COLOURS`` differ by more than 15 for normal vision and for
simulated deuteranopia, protanopia and tritanopia (tests/plot/test_colours.py).

References
----------
.. [1] Okabe and Ito, "Color Universal Design", 2008 (PATTERN_COLOURS, without black).
.. [2] Petroff, "Accessible Color Sequences for Data Visualization", arXiv:2107.02270, 2021 (CLASS_COLOURS).
"""

import numpy as np

PATTERN_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
CLASS_COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
_ROWS = 4096  # of patterns at a time, which stay in the processor's cache
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio


def as_bytes(colours):
    """Convert ``#rrggbb`` colours to uint8[C, 4], red, green, blue and opacity."""
    return np.array([[*bytes.fromhex(colour.lstrip("#")), 255] for colour in colours], np.uint8).reshape(-1, 4)


def class_colours(n):
    """Choose colours for n classes: uint8[n, 4]. After the tenth class they are repeated, half-way to white."""
    colours = as_bytes(CLASS_COLOURS)
    turn = np.arange(n) // len(colours)
    pale = 1.0 - 0.5 ** (turn % 3)
    chosen = colours[np.arange(n) % len(colours)].astype(np.float64)
    return np.round(chosen + pale[:, None] * (255.0 - chosen)).astype(np.uint8)


def number_patterns(patterns):
    """Assign one of ``PATTERN_COLOURS`` to each pattern, so that the colour changes if the state of one neuron changes.

    The number is ``sum(weight * state) mod 7`` over all neurons, with weights from 1 to 6 that depend on the neuron only. So
    two polygons that differ in one neuron, by less than 7 states, have different colours, and equal patterns of all planes have
    the same colour. 7 is a prime.

    Parameters
    ----------
    patterns : ActivationPatterns
        B rows.

    Returns
    -------
    uint8[B]
    """
    weights = _bit_weights(patterns.layout)
    digits = weights >> np.arange(3)[:, None, None] & 1  # of the weights, in base 2
    masks = (digits.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
    numbers = np.empty(len(patterns), np.uint8)
    for first in range(0, len(patterns), _ROWS):
        packed = patterns.packed[first : first + _ROWS]
        sums = sum(np.bitwise_count(packed & mask).sum(axis=1, dtype=np.int64) << k for k, mask in enumerate(masks))
        numbers[first : first + _ROWS] = sums % len(PATTERN_COLOURS)
    return numbers


def _bit_weights(layout):
    """Compute the weight of each bit of the packed words: int64[W, 64], from 0 to 6."""
    n = len(PATTERN_COLOURS)
    weights = np.zeros((int(layout.word_offsets[-1]), 64), np.int64)
    for i, width in enumerate(layout.widths.tolist()):
        neurons = np.arange(layout.neuron_offsets[i], layout.neuron_offsets[i + 1]) if width else np.zeros(0, np.int64)
        place = np.arange(len(neurons))
        per_word = 64 // width if width else 1
        mixed = ((neurons.astype(np.uint64) + np.uint64(1)) * _GOLDEN) >> np.uint64(32)
        of_neuron = (mixed % np.uint64(n - 1)).astype(np.int64) + 1
        for bit in range(width):
            weights[layout.word_offsets[i] + place // per_word, (place % per_word) * width + bit] = of_neuron * 2**bit % n
    return weights
