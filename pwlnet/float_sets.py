"""FloatSet: which neurons are fixed and which float over a set of inputs.

Legend: B sets, K neurons, D inputs.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ._types import ArrayLike, BoolArray, FloatArray, Int32Array, IntArray, WordArray
from .binomial import clopper_pearson
from .draws import draw_points
from .errors import InputError, ShapeError
from .kernels.ir import program as ir

if TYPE_CHECKING:
    from .network import Network


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
    lower: BoolArray  # bool[J] or bool[B, J]
    upper: BoolArray
    always_on: BoolArray
    always_off: BoolArray
    undecided: BoolArray


class Sampling(NamedTuple):
    """How the points of a sampled FloatSet were drawn, and for each float neuron the numbers of two draws that show it."""

    draws: Any  # Draws
    sets: IntArray  # int64[n]
    neurons: IntArray  # int64[n]
    numbers: IntArray  # int64[n, 2] of draws, the smaller first


class PackedMasks(NamedTuple):
    """Masks of neurons as bits: neuron k is bit ``k % 64`` of word ``k // 64``; each uint64[W] or uint64[B, W]."""

    lower: WordArray
    upper: WordArray
    always_on: WordArray


class Comparison(NamedTuple):
    """How the float neurons of two FloatSets differ: counts int64 or int64[B], and the Jaccard index (1.0 for empty sets)."""

    both: IntArray
    only_first: IntArray
    only_second: IntArray
    jaccard: FloatArray


@dataclass(frozen=True, eq=False)
class FloatSet:
    """Fixed and float neurons over a set of inputs, or over B sets.

    ``lower`` is within the set of float neurons, which is within ``upper``; both are equal where the method is exact and has
    finished. The neurons of ``always_on`` have one state with a slope of 1 on the whole set (ReLU: active; Clip: linear;
    MaxPool: one tap wins); those of ``always_off`` one state with another slope (ReLU: inactive; Clip: lower or upper). Both
    are disjoint and, together, the complement of ``upper`` (but for neurons of a given mask, whose states may not be known).

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
    sampling : Sampling or None
        Of draws; ``with_witnesses`` computes the points.
    """

    lower: BoolArray
    upper: BoolArray
    states: Int32Array
    method: str
    scope: Scope
    always_on: BoolArray
    always_off: BoolArray
    layers: tuple[tuple[str, int, int], ...]
    active_share: FloatArray | None = None
    minority_share: FloatArray | None = None
    n_samples: int | None = None
    witness_neurons: IntArray | None = None
    witness_sets: IntArray | None = None
    witnesses: FloatArray | None = None
    sampling: Sampling | None = None

    @property
    def undecided(self) -> BoolArray:
        """Neurons that are neither seen to float nor proved to be fixed: bool[K] or bool[B, K]."""
        return self.upper & ~self.lower

    def by_layer(self) -> tuple[LayerFloats, ...]:
        """Return the neurons layer by layer: tuple of LayerFloats."""
        return tuple(
            LayerFloats(
                name,
                slice(first, last),
                *(x[..., first:last] for x in (self.lower, self.upper, self.always_on, self.always_off, self.undecided)),
            )
            for name, first, last in self.layers
        )

    def pack(self) -> PackedMasks:
        """Return the masks as bits: PackedMasks; ``unpack_masks`` is the inverse."""
        return PackedMasks(*(pack_masks(x) for x in (self.lower, self.upper, self.always_on)))

    def refine(self, other: FloatSet) -> FloatSet:
        """Combine two analyses of the same sets, such as draws and bounds: what either of them has decided.

        Parameters
        ----------
        other : FloatSet
            Of the same network and sets. Of scopes "pair" and "samples", only ``lower`` holds for the whole sets.

        Returns
        -------
        FloatSet
            Shares, numbers of draws and witnesses are those of this one, or else of the other.

        Raises
        ------
        ShapeError
            They have other neurons or numbers of sets.
        InputError
            A neuron floats by one and is fixed by the other.
        """
        self._check_alike(other)
        whole = [x for x in (self, other) if x.scope not in (Scope.PAIR, Scope.SAMPLES)]
        lower, upper, states = self.lower | other.lower, np.ones_like(self.upper), np.full_like(self.states, -1)
        for x in whole:
            upper = upper & x.upper
            states = np.where(x.upper, states, x.states)
        if (lower & ~upper).any():
            raise InputError(
                f"other disagrees at {int((lower & ~upper).sum())} neurons, which float by one analysis and are fixed by the "
                "other; give analyses of the same sets, of scope 'pair' not together with others"
            )
        names = ("active_share", "minority_share", "n_samples", "witness_neurons", "witness_sets", "witnesses", "sampling")
        more = {name: getattr(other if getattr(self, name) is None else self, name) for name in names}
        scope = Scope.REGION if whole else self.scope
        method = self.method if self.method == other.method else f"{self.method}+{other.method}"
        return _from_masks(self, lower, upper, states, self._passes(states, other), method=method, scope=scope, **more)

    def union(self) -> FloatSet:
        """Return the float neurons over the union of all sets: a FloatSet of one set.

        A neuron that is fixed in different states on two sets floats on the union, or is at a threshold on all of one of them:
        it is undecided ("pair", "samples": it floats).
        """
        if self.lower.ndim == 1:
            return self
        lower, upper, on = (np.asarray(x.any(axis=0)) for x in (self.lower, self.upper, self.always_on))
        known = np.where(self.upper, -1, self.states)
        first = known.max(axis=0, initial=-1)
        differ = ((known >= 0) & (known != first)).any(axis=0)
        lower = lower | differ if self.scope in (Scope.PAIR, Scope.SAMPLES) else lower
        states = np.where(upper | differ, -1, first)
        return _from_masks(self, lower, upper | differ, states, on, method=self.method, scope=self.scope)

    def intersection(self) -> tuple[BoolArray, BoolArray]:
        """Return the neurons that float on every one of the sets: bool[K], by ``lower`` and by ``upper``."""
        lower, upper = (np.all(np.atleast_2d(x), axis=0) for x in (self.lower, self.upper))
        return lower, upper

    def compare(self, other: FloatSet, *, mask: Literal["lower", "upper"] = "lower") -> Comparison:
        """Compare the float neurons of two analyses, set by set.

        Parameters
        ----------
        other : FloatSet
        mask : {"lower", "upper"}

        Returns
        -------
        Comparison

        Raises
        ------
        ShapeError
            They have other neurons or numbers of sets.
        """
        self._check_alike(other)
        first, second = getattr(self, mask), getattr(other, mask)
        both, one, other_one = (x.sum(axis=-1) for x in (first & second, first & ~second, second & ~first))
        total = both + one + other_one
        return Comparison(both, one, other_one, np.where(total > 0, both / np.maximum(total, 1), 1.0))

    def is_consistent_with(self, other: FloatSet) -> bool:
        """Return whether two analyses of the same sets can both be right: no neuron floats by one and is fixed by the other."""
        self._check_alike(other)
        return not ((self.lower & ~other.upper) | (other.lower & ~self.upper)).any()

    def confidence(self, alpha: float = 0.05, *, side: Literal["both", "upper"] = "both") -> tuple[FloatArray, FloatArray]:
        """Compute confidence intervals of Clopper and Pearson (1934) for the flip probability of each neuron.

        Estimate: the probability of all states but the most frequent one, from numbers of draws; each interval holds the
        probability with confidence 1 - alpha, if the most frequent state was known before.

        Parameters
        ----------
        alpha : float
            In (0, 1).
        side : {"both", "upper"}
            "upper": lower ends are 0. Without a flip in m draws, the upper end is ``1 - alpha**(1/m)``.

        Returns
        -------
        (float64[K], float64[K]) or (float64[B, K], float64[B, K])

        Raises
        ------
        InputError
            The FloatSet is not from draws, or alpha or side are not as above.
        """
        if self.n_samples is None or self.minority_share is None:
            raise InputError(f"the FloatSet has method {self.method!r}, which draws nothing; use method 'sampled'")
        return clopper_pearson(np.rint(self.minority_share * self.n_samples), self.n_samples, alpha, side=side)

    def with_witnesses(self, neurons: int | ArrayLike | None = None, *, sets: int | ArrayLike | None = None) -> FloatSet:
        """Compute pairs of draws at which float neurons have different states.

        Parameters
        ----------
        neurons, sets : int or int[n], optional
            Of these neurons and sets only; all by default.

        Returns
        -------
        FloatSet
            With ``witness_neurons``, ``witness_sets`` and ``witnesses``.

        Raises
        ------
        InputError
            The FloatSet is not from draws.
        """
        if self.sampling is None:
            raise InputError(f"the FloatSet has method {self.method!r}, which draws nothing; use method 'sampled'")
        chosen = np.ones(len(self.sampling.neurons), bool)
        for values, name in ((self.sampling.neurons, neurons), (self.sampling.sets, sets)):
            chosen &= True if name is None else np.isin(values, name)
        which, numbers = self.sampling.sets[chosen], self.sampling.numbers[chosen]
        points = [draw_points(self.sampling.draws, which, numbers[:, k]) for k in (0, 1)]
        arrays: dict[str, Any] = {
            "witness_neurons": self.sampling.neurons[chosen],
            "witness_sets": which,
            "witnesses": np.stack(points, axis=1),
        }
        for array in arrays.values():
            array.setflags(write=False)
        return replace(self, **arrays)

    def summary(self) -> str:
        """Return a table as text: neurons of each layer, shares that float, are always on, always off, undecided (means)."""
        rows = [
            (x.name, x.neurons.stop - x.neurons.start, x.lower, x.always_on, x.always_off, x.undecided) for x in self.by_layer()
        ]
        rows.append(("all", self.lower.shape[-1], self.lower, self.always_on, self.always_off, self.undecided))
        lines = [f"{'layer':<24} {'neurons':>8} {'float':>8} {'on':>8} {'off':>8} {'undecided':>10}"]
        for name, n, *masks in rows:
            shares = [f"{mask.mean() if mask.size else 0.0:.4f}" for mask in masks]
            lines.append(f"{name[:24]:<24} {n:>8} {shares[0]:>8} {shares[1]:>8} {shares[2]:>8} {shares[3]:>10}")
        return "\n".join(lines)

    def _check_alike(self, other: FloatSet) -> None:
        if self.layers != other.layers or self.lower.shape != other.lower.shape:
            raise ShapeError(
                f"other has masks of shape {other.lower.shape} and {len(other.layers)} layers, this one {self.lower.shape} and "
                f"{len(self.layers)}; give analyses of the same network and sets"
            )

    def _passes(self, states: Int32Array, other: FloatSet) -> BoolArray:
        """Return which neurons have a state with slope 1, from those of two FloatSets."""
        return np.where(states == self.states, self.always_on, other.always_on)

    def __repr__(self) -> str:
        sets = f"{len(self.lower)} sets, " if self.lower.ndim > 1 else ""
        counts = ", ".join(f"{name} {int(getattr(self, name).sum())}" for name in ("lower", "upper", "undecided"))
        return f"FloatSet({sets}{self.lower.shape[-1]} neurons: {counts}; method {self.method!r}, scope {self.scope.value!r})"


def _from_masks(
    like: FloatSet, lower: BoolArray, upper: BoolArray, states: Int32Array, passes_slope: BoolArray, **more: Any
) -> FloatSet:
    """Make a FloatSet of the layers of another one; passes_slope: bool, where the state of a fixed neuron has slope 1."""
    states = np.where(upper, -1, states).astype(np.int32)
    arrays: dict[str, Any] = {"lower": lower, "upper": upper, "states": states}
    known = states >= 0
    arrays |= {"always_on": known & passes_slope, "always_off": known & ~passes_slope}
    for array in arrays.values():
        array.setflags(write=False)
    return FloatSet(**arrays, layers=like.layers, **more)


def stack_float_sets(float_sets: Sequence[FloatSet]) -> FloatSet:
    """Return one FloatSet of the sets of several, which have the same network, method and scope; without witnesses."""
    first = float_sets[0]
    arrays: dict[str, Any] = {}
    for name in ("lower", "upper", "states", "always_on", "always_off", "active_share", "minority_share"):
        parts = [getattr(x, name) for x in float_sets]
        arrays[name] = None if any(part is None for part in parts) else np.concatenate([np.atleast_2d(part) for part in parts])
        if arrays[name] is not None:
            arrays[name].setflags(write=False)
    return FloatSet(**arrays, method=first.method, scope=first.scope, layers=first.layers, n_samples=first.n_samples)


def pack_masks(masks: BoolArray) -> WordArray:
    """Pack masks bool[..., K] into words uint64[..., W]: neuron k is bit ``k % 64`` of word ``k // 64``."""
    words = -(-masks.shape[-1] // 64)
    padded = np.zeros((*masks.shape[:-1], 64 * words), bool)
    padded[..., : masks.shape[-1]] = masks
    return np.packbits(padded, axis=-1, bitorder="little").view("<u8").astype(np.uint64)


def unpack_masks(words: WordArray, n_neurons: int) -> BoolArray:
    """Return the masks that ``pack_masks`` has packed: bool[..., K]."""
    octets = np.ascontiguousarray(words, "<u8").view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :n_neurons].astype(bool)


def make_float_set(
    network: Network, lower: ArrayLike, upper: ArrayLike, states: ArrayLike, *, method: str, scope: Scope, **more: Any
) -> FloatSet:
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
    known = states >= 0
    arrays: dict[str, Any] = {"lower": lower, "upper": upper, "states": states}
    arrays |= {"always_on": known & passes_slope, "always_off": known & ~passes_slope}
    for array in [*arrays.values(), *(x for x in more.values() if isinstance(x, np.ndarray))]:
        array.setflags(write=False)
    return FloatSet(**arrays, method=method, scope=scope, layers=network.neuron_layers, **more)


def pool_neurons(network: Network) -> BoolArray:
    """Return which neurons are windows of MaxPool: bool[K]."""
    graph = network.op_graph
    return np.repeat(network.program.op[graph.switching] == ir.MAX_POOL, graph.neuron_counts)
