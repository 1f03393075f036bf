"""FloatSet: which neurons are fixed and which float over a set of inputs.

Legend: B sets, K neurons, D inputs.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .kernels.ir import program as ir


class Scope(enum.Enum):
    """What "fixed" refers to."""

    PAIR = "pair"  # the same strict state at two points: a neuron at a threshold of either floats
    SAMPLES = "samples"  # the same state at all of finitely many points
    REGION = "region"  # one state is right on the whole set; a neuron that touches a threshold is fixed
    PROB = "prob"  # the probability of all states but the most likely one is at most delta
    GIVEN = "given"  # a mask by the user


class LayerFloats(NamedTuple):
    """The neurons of one layer (a switching op); masks are views of the columns of those of the FloatSet."""

    name: str
    neurons: slice
    lower: np.ndarray  # bool[J] or bool[B, J]
    upper: np.ndarray
    always_on: np.ndarray
    always_off: np.ndarray
    undecided: np.ndarray


@dataclass(frozen=True, eq=False)
class FloatSet:
    """Fixed and float neurons over a set of inputs, or over B sets.

    ``lower`` is within the set of float neurons, which is within ``upper``; both are equal where the method is exact and has
    finished. The neurons of ``always_on`` have one state with a slope of 1 on the whole set (ReLU: active; Clip: linear;
    MaxPool: one tap wins); those of ``always_off`` one state with another slope (ReLU: inactive; Clip: lower or upper). Both
    are disjoint and, together, the complement of ``upper``.

    Attributes
    ----------
    lower : bool[K] or bool[B, K]
        Neurons that were seen or proved to float.
    upper : bool[K] or bool[B, K]
        Neurons that are not proved to be fixed. For the scopes "pair" and "samples", equal to ``lower``: what they say holds
        for these points only.
    states : int32[K] or int32[B, K]
        The state of each fixed neuron; -1 for the neurons of ``upper``.
    method : str
    scope : Scope
    always_on, always_off : bool[K] or bool[B, K]
    layers : tuple of (str, int, int)
        Name, first and last-plus-one neuron of each switching op.
    active_share, minority_share : float64[K] or float64[B, K], or None
        Share of the set (of length, area or draws) on which the neuron is active (state 1; MaxPool: its most common state),
        and on which it is not in its most common state.
    n_samples : int or None
        Number of draws, where the method draws.
    witness_neurons : int64[n], witness_sets : int64[n], witnesses : float64[n, 2, D]; or None
        Pairs of points at which a neuron has different states, for neurons of ``lower``, with the number of the set (0 for
        a single one).
    """

    lower: np.ndarray
    upper: np.ndarray
    states: np.ndarray
    method: str
    scope: Scope
    always_on: np.ndarray
    always_off: np.ndarray
    layers: tuple
    active_share: np.ndarray | None = None
    minority_share: np.ndarray | None = None
    n_samples: int | None = None
    witness_neurons: np.ndarray | None = None
    witness_sets: np.ndarray | None = None
    witnesses: np.ndarray | None = None

    @property
    def undecided(self):
        """Neurons that are neither seen to float nor proved to be fixed: bool[K] or bool[B, K]."""
        return self.upper & ~self.lower

    def by_layer(self):
        """Return the neurons layer by layer: tuple of LayerFloats."""
        return tuple(
            LayerFloats(
                name,
                slice(first, last),
                *(x[..., first:last] for x in (self.lower, self.upper, self.always_on, self.always_off, self.undecided)),
            )
            for name, first, last in self.layers
        )

    def __repr__(self):
        sets = f"{len(self.lower)} sets, " if self.lower.ndim > 1 else ""
        counts = ", ".join(f"{name} {int(getattr(self, name).sum())}" for name in ("lower", "upper", "undecided"))
        return f"FloatSet({sets}{self.lower.shape[-1]} neurons: {counts}; method {self.method!r}, scope {self.scope.value!r})"


def make_float_set(network, lower, upper, states, *, method, scope, **more):
    """Make a FloatSet; the masks of neurons that are always on or off follow from the states.

    Parameters
    ----------
    network : Network
    lower, upper : bool[K] or bool[B, K]
    states : int32[K] or int32[B, K]
        States of the fixed neurons; entries of neurons of ``upper`` are ignored.
    method : str
    scope : Scope
    **more
        Further fields of FloatSet.

    Returns
    -------
    FloatSet
        Its arrays are read-only.
    """
    upper, lower = np.array(upper, bool), np.array(lower, bool)
    states = np.where(upper, -1, states).astype(np.int32)
    passes_slope = (states == 1) | ((states >= 0) & pool_neurons(network))
    graph = network.op_graph
    starts = graph.neuron_starts.tolist()
    layers = tuple((network.names[i], starts[k], starts[k + 1]) for k, i in enumerate(graph.switching.tolist()))
    always_on = ~upper & passes_slope
    arrays = {"lower": lower, "upper": upper, "states": states, "always_on": always_on, "always_off": ~upper & ~passes_slope}
    for array in [*arrays.values(), *(x for x in more.values() if isinstance(x, np.ndarray))]:
        array.setflags(write=False)
    return FloatSet(**arrays, method=method, scope=scope, layers=layers, **more)


def pool_neurons(network):
    """Return which neurons are windows of MaxPool: bool[K]."""
    graph = network.op_graph
    return np.repeat(network.program.op[graph.switching] == ir.MAX_POOL, graph.neuron_counts)
