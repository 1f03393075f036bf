"""Activation patterns: the states of all neurons at many points, packed.

Legend: B rows, K neurons, W words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._types import ArrayLike, Int32Array, IntArray, WordArray
from .errors import CapacityError, InputError, ShapeError, UnsupportedOperationError
from .kernels.ir import bits

_WIDTHS = (1, 2, 4, 8, 16)


class PatternLayout(NamedTuple):
    """Position of each neuron's state in the packed words, by the rule of kernels/ir/bits.py."""

    neuron_offsets: IntArray  # int64[N+1]
    word_offsets: IntArray  # int64[N+1]
    widths: IntArray  # int64[N] bits per neuron of each op, 0 for affine ops
    word_widths: IntArray  # int64[W]


def pattern_layout(neuron_offsets: IntArray, n_states: IntArray) -> PatternLayout:
    """Compute the layout of the states of a network's neurons.

    Parameters
    ----------
    neuron_offsets : int64[N+1]
    n_states : int64[N]
        Number of states of each op's neurons.

    Returns
    -------
    PatternLayout

    Raises
    ------
    CapacityError
        A neuron has more states than the largest field holds.
    UnsupportedOperationError
        An op has neurons, but no states.
    """
    counts = np.diff(neuron_offsets)
    largest = int(np.max(n_states, initial=0))
    if largest > 2 ** _WIDTHS[-1]:
        raise CapacityError(
            f"a MaxPool window has {largest} taps, but patterns hold at most {2 ** _WIDTHS[-1]} states per neuron; "
            "pool in two steps"
        )
    stateless = np.flatnonzero((counts > 0) & (np.asarray(n_states) < 1))
    if stateless.size:
        raise UnsupportedOperationError(
            f"op {stateless[0]} has neurons without states; every chain of ops must handle it, see CONTRIBUTING.md"
        )
    widths = np.array(
        [0 if c == 0 else next(w for w in _WIDTHS if 2**w >= s) for c, s in zip(counts, n_states, strict=True)],
        np.int64,
    )
    words = np.array([-(-c * w // 64) if w else 0 for c, w in zip(counts, widths, strict=True)], np.int64)
    offsets = np.concatenate([[0], np.cumsum(words)]).astype(np.int64)
    return PatternLayout(neuron_offsets, offsets, widths, np.repeat(widths, words))


class ActivationPatterns:
    """States of all neurons of a network at B points, packed into ``uint64[B, W]``.

    Exact up to rounding: a state is the sign (or the piece, or the winner) of the float64 pre-activation.

    States: ReLU, LeakyReLU, PReLU, Abs: 0 inactive (z <= 0), 1 active. Clip (HardTanh, ReLU6): 0 lower, 1 linear, 2 upper.
    MaxPool: index ``row * kernel_width + column`` of the winning tap in the window; the lowest index wins ties.

    Attributes
    ----------
    packed : uint64[B, W]
        One field per neuron; fields never cross words. Positions: ``layout``.
    layout : PatternLayout

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> patterns = network.patterns(np.zeros((2, 64)))
    >>> int(patterns.hamming(patterns)[0]), len(patterns.unique())
    (0, 1)
    """

    __slots__ = ("layout", "packed")

    packed: WordArray
    layout: PatternLayout

    def __init__(self, packed: ArrayLike, layout: PatternLayout) -> None:
        packed = np.ascontiguousarray(packed, np.uint64)
        packed.setflags(write=False)
        object.__setattr__(self, "packed", packed)
        object.__setattr__(self, "layout", layout)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"ActivationPatterns are immutable, so {name!r} cannot be set; build new ones from states")

    def __reduce__(self) -> tuple[Any, ...]:
        return ActivationPatterns, (self.packed, self.layout)

    @classmethod
    def from_states(cls, states: ArrayLike, layout: PatternLayout) -> ActivationPatterns:
        """Pack states int[B, K].

        Raises
        ------
        ShapeError
            There is not one column per neuron.
        InputError
            A state is negative, or too large for its neuron's field.
        """
        states = np.ascontiguousarray(states, np.int32)
        n_neurons = int(layout.neuron_offsets[-1])
        if states.ndim != 2 or states.shape[1] != n_neurons:
            raise ShapeError(f"states has shape {states.shape}, but there are {n_neurons} neurons; give (rows, {n_neurons})")
        largest = 2 ** np.repeat(layout.widths, np.diff(layout.neuron_offsets)) - 1
        if states.size and (states.min() < 0 or (states.max(axis=0) > largest).any()):
            raise InputError(
                f"states holds values from {states.min()} to {states.max()}, which these neurons do not have; give "
                "states of this network"
            )
        packed = np.zeros((states.shape[0], layout.word_offsets[-1]), np.uint64)
        bits.pack(states, layout.neuron_offsets, layout.word_offsets, layout.widths, packed)
        return cls(packed, layout)

    def unpack(self) -> Int32Array:
        """Return the states, int32[B, K]."""
        states = np.zeros((len(self), self.layout.neuron_offsets[-1]), np.int32)
        bits.unpack(self.packed, self.layout.neuron_offsets, self.layout.word_offsets, self.layout.widths, states)
        return states

    def hamming(self, other: ActivationPatterns) -> IntArray:
        """Count the neurons in different states, row by row, or one row against many: int64[B].

        Raises
        ------
        ShapeError
            The patterns are of networks with other neurons, or the numbers of rows do not match.
        """
        if not self._comparable(other):
            raise ShapeError(
                f"other has patterns of {other.layout.neuron_offsets[-1]} neurons in {other.packed.shape[1]} words, "
                f"these of {self.layout.neuron_offsets[-1]} in {self.packed.shape[1]}; compare patterns of one network"
            )
        if len(self) != len(other) and 1 not in (len(self), len(other)):
            raise ShapeError(f"other has {len(other)} rows, but these are {len(self)}; give the same number, or one")
        first, second = np.broadcast_arrays(self.packed, other.packed)
        distances = np.empty(first.shape[0], np.int64)
        first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
        bits.hamming(first, second, self.layout.word_widths, distances)
        return distances

    def unique(self) -> ActivationPatterns:
        """Return the distinct patterns, in order of first appearance."""
        _, first = np.unique(self.packed, axis=0, return_index=True)
        return self[np.sort(first)]

    def _comparable(self, other: ActivationPatterns) -> bool:
        """Return whether the layouts of both are equal."""
        pairs = zip(self.layout, other.layout, strict=True)
        return self.layout is other.layout or all(np.array_equal(first, second) for first, second in pairs)

    def __len__(self) -> int:
        return self.packed.shape[0]

    def __getitem__(self, rows: Any) -> ActivationPatterns:
        return ActivationPatterns(np.atleast_2d(self.packed[rows]), self.layout)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActivationPatterns):
            return NotImplemented
        return self._comparable(other) and np.array_equal(self.packed, other.packed)

    def __hash__(self) -> int:
        return hash((self.packed.shape, self.packed.tobytes()))

    def __repr__(self) -> str:
        return f"ActivationPatterns({len(self)} points, {self.layout.neuron_offsets[-1]} neurons)"
