"""Entropy of the states of each neuron over a data set or under noise; neurons that never change state.

Legend: B points, D inputs, K neurons, S states of all neurons together, R resamples.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._types import ArrayLike, BoolArray, FloatArray, Int32Array, IntArray
from ..errors import InputError
from ..float_sets import pool_neurons
from ..kernels.ir import switching
from ..kernels.ir.pattern_counts import BLOCK, CountSlot, count_slot
from ..scheduling import n_threads, run_slots
from ..validation import as_array, as_points, check_count, check_network, check_number, check_points_shape, sliceable_tensor

if TYPE_CHECKING:
    from ..network import Network

_STATES_AT_ONCE = 2**24  # states of a batch in memory
_RESAMPLES_AT_ONCE = 2**22


class LayerEntropy(NamedTuple):
    """The neurons of one switching op.

    Attributes
    ----------
    name : str
    neurons : slice
    mean_entropy : float
        Bits per neuron, plug-in.
    n_always_off, n_always_on, n_constant : int
        Neurons in one state at all points: without slope, with slope (as in FloatSet), and both.
    """

    name: str
    neurons: slice
    mean_entropy: float
    n_always_off: int
    n_always_on: int
    n_constant: int


class NeuronEntropy:
    """Counts of the states of each neuron at n points, and the entropies that follow.

    Attributes
    ----------
    network : Network
    n_samples : int
    offsets : int64[K+1]
        Neuron k has the states 0 to ``offsets[k + 1] - offsets[k] - 1``: 2, for Clip 3, for MaxPool the number of taps.
    counts : int64[S]
        Points in state s of neuron k: ``counts[offsets[k] + s]``.
    """

    network: Network
    offsets: IntArray
    counts: IntArray
    n_samples: int

    def __init__(self, network: Network, offsets: IntArray, counts: IntArray, n_samples: int) -> None:
        self.network, self.offsets, self.counts, self.n_samples = network, offsets, counts, n_samples
        for array in (offsets, counts):
            array.setflags(write=False)

    def _sum(self, terms):
        """Add up the terms float64[..., S] of each neuron: [..., K]. Every neuron has at least one state."""
        if len(self.offsets) == 1:
            return np.zeros((*terms.shape[:-1], 0), terms.dtype)
        return np.add.reduceat(terms, self.offsets[:-1], axis=-1)

    def _plug_in(self, counts):
        return np.maximum(0.0, self._sum(_information(counts / self.n_samples)))

    @functools.cached_property
    def entropy(self) -> FloatArray:
        """The entropy of the shares of points in each state, in bits: float64[K] (plug-in, or maximum likelihood)."""
        return self._plug_in(self.counts)

    @functools.cached_property
    def n_states_seen(self) -> IntArray:
        """Number of states of each neuron that occur: int64[K]."""
        return self._sum((self.counts > 0).astype(np.int64))

    @functools.cached_property
    def miller_madow(self) -> FloatArray:
        """The plug-in entropy plus Miller's correction of its bias, (m - 1) / (2 n) nats for m states: float64[K], bits."""
        return self.entropy + (self.n_states_seen - 1) / (2.0 * self.n_samples * np.log(2.0))

    @functools.cached_property
    def standard_error(self) -> FloatArray:
        """The asymptotic standard error of the plug-in entropy in bits: float64[K]; 0 where all states seen are equally common.

        It is the square root of (sum p log2(p)^2 - H^2) / n; ``bootstrap_error`` needs no asymptotics.
        """
        shares = self.counts / self.n_samples
        information = _information(shares)
        squares = np.divide(information**2, shares, out=np.zeros_like(shares), where=shares > 0.0)
        return np.sqrt(np.maximum(0.0, self._sum(squares) - self.entropy**2) / self.n_samples)

    def bootstrap_error(self, *, rng: np.random.Generator, n_resamples: int = 200) -> FloatArray:
        """Compute the standard deviation of the plug-in entropy of resampled points, in bits.

        Estimate: by resampling the counts of each neuron; neurons are resampled independently.

        Parameters
        ----------
        rng : numpy.random.Generator
        n_resamples : int, optional
            At least 2.

        Returns
        -------
        float64[K]

        Raises
        ------
        InputError
            ``rng`` is no generator, or ``n_resamples`` is too small.
        """
        check_rng(rng)
        n_resamples = check_count(n_resamples, "n_resamples", least=2)
        sizes, errors = np.diff(self.offsets), np.zeros(len(self.offsets) - 1)
        for size in np.unique(sizes):
            neurons = np.flatnonzero(sizes == size)
            step = max(1, _RESAMPLES_AT_ONCE // (n_resamples * int(size)))
            for first in range(0, len(neurons), step):
                some = neurons[first : first + step]
                shares = self.counts[self.offsets[some, None] + np.arange(size)] / self.n_samples
                draws = rng.multinomial(self.n_samples, shares, size=(n_resamples, len(some))) / self.n_samples
                errors[some] = _information(draws).sum(axis=-1).std(axis=0, ddof=1)
        return errors

    @property
    def constant_states(self) -> Int32Array:
        """The state of each neuron that has only one: int32[K]; -1 for the others."""
        states = np.full(len(self.offsets) - 1, -1, np.int32)
        full = np.flatnonzero(self.counts == self.n_samples)
        neurons = np.searchsorted(self.offsets, full, side="right") - 1
        states[neurons] = full - self.offsets[neurons]
        return states

    @property
    def always_off(self) -> BoolArray:
        """Neurons that never pass their input on (dead, or saturated): bool[K]."""
        return (self.constant_states >= 0) & ~self.always_on

    @property
    def always_on(self) -> BoolArray:
        """Neurons that always pass their input on by one piece: state 1, or one tap of a MaxPool: bool[K]."""
        states = self.constant_states
        return (states == 1) | ((states >= 0) & pool_neurons(self.network))

    def by_layer(self) -> tuple[LayerEntropy, ...]:
        """Return the entropies and constant neurons of each switching op: tuple of LayerEntropy."""
        off, on, layers = self.always_off, self.always_on, []
        for name, first, last in self.network.neuron_layers:
            part = slice(first, last)
            counts = int(off[part].sum()), int(on[part].sum())
            layers.append(LayerEntropy(name, part, float(self.entropy[part].mean()), *counts, sum(counts)))
        return tuple(layers)

    def __repr__(self) -> str:
        mean = float(self.entropy.mean()) if len(self.entropy) else 0.0
        constant = int((self.constant_states >= 0).sum())
        return f"NeuronEntropy({len(self.entropy)} neurons, {self.n_samples} points: mean {mean:.3f} bits, {constant} constant)"


def _information(shares):
    """Return -p log2(p), 0 for p = 0."""
    return -shares * np.log2(np.where(shares > 0.0, shares, 1.0))


def check_rng(rng):
    """Validate a random generator.

    Raises
    ------
    InputError
    """
    if not isinstance(rng, np.random.Generator):
        raise InputError(f"rng is {rng!r}; a generator is needed, such as numpy.random.default_rng(0)")
    return rng


def neuron_entropy(
    network: Network,
    X: ArrayLike | tuple[str, ArrayLike, float],
    *,
    n: int | None = None,
    rng: np.random.Generator | None = None,
    threads: int | None = None,
) -> NeuronEntropy:
    """Compute the entropy of the state of each neuron over a data set or under noise.

    Estimate: plug-in entropies of the counted states, exact for the given points themselves; for the distribution that they are
    drawn from, ``miller_madow`` corrects the bias, and ``standard_error`` or ``bootstrap_error`` measure the error.

    Parameters
    ----------
    network : Network
    X : float64[B, D], float64[B, *input_shape], callable or ("gaussian", center, sigma)
        Points; any array that can be sliced, such as a memory map. Or noise: a function ``draw(n, rng)`` that returns n
        independent points, or normal noise with standard deviation sigma, a number, around a center.
    n : int, optional
        Number of points to draw; needed for noise.
    rng : numpy.random.Generator, optional
        Needed for noise.
    threads : int, optional

    Returns
    -------
    NeuronEntropy

    Raises
    ------
    ShapeError
        The points do not have the network's number of inputs.
    InputError
        There are no points; they hold NaN, infinities or entries that are not real numbers; noise without ``n`` or ``rng``.

    Notes
    -----
    Points are evaluated in batches, and only the counts of states are kept. A Gaussian sample does not depend on the size of
    the batches.

    References
    ----------
    .. [1] Miller, "Note on the Bias of Information Estimates", Information Theory in Psychology, 1955, p. 95 (the correction).
    .. [2] Basharin, "On a Statistical Estimate for the Entropy of a Sequence of Independent Random Variables", Theory of
       Probability and Its Applications 4, 1959, Theorem 1 (the asymptotic variance).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> noise = ("gaussian", np.full(64, 0.5), 0.25)
    >>> entropy = pwlnet.neuron_entropy(network, noise, n=500, rng=np.random.default_rng(0))
    >>> bool((entropy.entropy <= 1.0).all()), len(entropy.by_layer()) == len(network.op_graph.switching)
    (True, True)
    """
    check_network(network)
    graph, _ = network.op_graph, network.pattern_layout  # which refuses ops without states
    sizes = np.repeat(np.array([switching.n_states(network.code, i) for i in graph.switching], np.int64), graph.neuron_counts)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    totals = np.zeros(offsets[-1], np.int64)
    step, n_points = max(1, min(4096, _STATES_AT_ONCE // max(1, network.n_neurons))), 0
    for points in _batches(network, X, n, rng, step):
        n_points += len(points)
        if not len(sizes):
            continue
        states, counter = network.states(points, threads=threads), np.zeros(1, np.int64)
        n_slots = max(1, min(n_threads(threads), -(-len(sizes) // BLOCK)))
        run_slots(count_slot, [CountSlot(states, offsets, totals, counter)] * n_slots)
    return NeuronEntropy(network, offsets, totals, n_points)


def _batches(network, X, n, rng, step):
    """Yield the points, at most ``step`` rows at a time: float64[*, D]."""
    is_gaussian = isinstance(X, tuple) and len(X) == 3 and isinstance(X[0], str) and X[0] == "gaussian"
    if callable(X) or is_gaussian:
        yield from _draws(network, _gaussian(network, *X[1:]) if is_gaussian else X, n, rng, step)
        return
    if isinstance(X, tuple) and X and isinstance(X[0], str):
        raise InputError(f"X is {X!r:.60}; give points, a function draw(n, rng), or ('gaussian', center, sigma)")
    if n is not None:
        raise InputError(f"n is {n!r}, but X has points; n is for noise, omit it")
    X = sliceable_tensor(X, "X") if hasattr(X, "shape") else as_array(X, "X")
    shape = tuple(X.shape)
    if shape in ((network.n_inputs,), tuple(network.input_shape)):
        X, shape = X[None], (1, *shape)
    check_points_shape(shape, network.n_inputs, network.input_shape, "X")
    if not shape[0]:
        raise InputError("X has no rows, but an entropy needs at least one point; give more")
    for first in range(0, shape[0], step):
        yield as_points(X[first : first + step], network.n_inputs, network.input_shape, "X", first)


def _gaussian(network, center, sigma):
    """Return a function that draws normal noise around a point."""
    center, sigma = check_network(network).as_points(center, "center"), check_number(sigma, "sigma")
    if len(center) != 1:
        raise InputError(f"center has {len(center)} rows; give one point")
    return lambda n, rng: center + sigma * rng.standard_normal((n, network.n_inputs))


def _draws(network, draw, n, rng, step):
    """Yield n points that a function draws."""
    n, rng = check_count(n, "n"), check_rng(rng)
    for first in range(0, n, step):
        size = min(step, n - first)
        points = check_network(network).as_points(draw(size, rng), "the points of draw(n, rng)")
        if len(points) != size:
            raise InputError(f"draw(n, rng) returned {len(points)} points for n = {size}; return n of them")
        yield points
