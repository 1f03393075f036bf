"""Similarity of activation patterns: between inputs of a network, and between networks on the same inputs.

Legend: B points, D inputs, L layers (switching ops).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from .._types import ArrayLike, FloatArray
from ..errors import InputError, ShapeError
from ..float_sets import pool_neurons
from ..kernels.ir.pattern_counts import EQUAL, JACCARD, ROWS_AT_ONCE, SimilaritySlot, similarity_slot
from ..scheduling import n_threads, run_slots
from ..validation import check_choice, check_network
from .bootstrap import bootstrap_interval

if TYPE_CHECKING:
    from ..network import Network

_MEASURES = {"hamming": EQUAL, "jaccard": JACCARD}
_BYTES_PER_CALL = 2**25  # of similarities, before Ctrl-C is noticed


class NetworkSimilarity(NamedTuple):
    """Similarity of the patterns of two networks on the same inputs, layer by layer.

    Attributes
    ----------
    layers : tuple of str
        Names of the switching ops of the first network.
    mean : float64[L]
        Over the inputs.
    low, high : float64[L]
        Bootstrap confidence interval of the mean.
    per_input : float64[L, B]
    """

    layers: tuple[str, ...]
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    per_input: FloatArray


def pattern_similarity(
    network: Network,
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    measure: Literal["hamming", "jaccard"] = "hamming",
    by_layer: bool = False,
    out: FloatArray | None = None,
    threads: int | None = None,
) -> FloatArray:
    """Compute the similarity of the activation patterns of all pairs of inputs.

    Exact up to rounding: patterns are those of float64 forward passes; the counts are exact.

    Parameters
    ----------
    network : Network
    X : float64[B1, D] or float64[B1, *input_shape]
    Y : float64[B2, D] or float64[B2, *input_shape], optional
        X by default.
    measure : {"hamming", "jaccard"}, optional
        ``"hamming"``: share of the neurons with equal states. ``"jaccard"``: size of the intersection of the sets of active
        pieces over that of their union. Active pieces are the neurons in state 1 (ReLU, LeakyReLU, Clip), and the pairs of a
        MaxPool window and its winning tap.
    by_layer : bool, optional
        Compare each switching op separately.
    out : float64[B1, B2] or float64[L, B1, B2], optional
        Array for the result, such as a memory map.
    threads : int, optional

    Returns
    -------
    float64[B1, B2], or float64[L, B1, B2] where ``by_layer``
        Between 0 and 1; 1 where there are no neurons, or no active piece in either.

    Raises
    ------
    ShapeError
        X or Y do not have the network's number of inputs, or ``out`` has another shape or type.
    InputError
        X or Y hold NaN, infinities or entries that are not real numbers, or the measure is another one.

    Notes
    -----
    Compares packed words in blocks; memory beyond the result is that of the packed patterns. Time is proportional to
    B1 B2 and the number of words.

    References
    ----------
    .. [1] Jaccard, "The Distribution of the Flora in the Alpine Zone", New Phytologist 11, 1912, p. 44 (the coefficient of
       community).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> similarity = pwlnet.pattern_similarity(network, images[:3])
    >>> similarity.shape, similarity.diagonal().tolist()
    ((3, 3), [1.0, 1.0, 1.0])
    """
    measure = _MEASURES[check_choice(measure, _MEASURES, "measure")]
    first = check_network(network).patterns(network.as_points(X, "X"), threads=threads).packed
    second = first if Y is None else network.patterns(network.as_points(Y, "Y"), threads=threads).packed
    layout = _Layout(network, by_layer)
    shape = (layout.n_layers, len(first), len(second))
    result = _output(out, shape if by_layer else shape[1:])
    rows = max(1, _BYTES_PER_CALL // (8 * max(1, len(second))))
    for start in range(0, len(first), rows):
        part = first[start : start + rows]
        block = np.empty((shape[0], len(part), len(second)))
        _run(layout, part, second, measure, False, block, threads)
        if by_layer:
            result[:, start : start + rows] = block
        else:
            result[start : start + rows] = block[0]
    return result


def _output(out, shape):
    """Return the array for the result.

    Raises
    ------
    ShapeError
    """
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != np.float64:
        given = f"shape {out.shape} and dtype {out.dtype}" if isinstance(out, np.ndarray) else f"type {type(out).__name__}"
        raise ShapeError(f"out has {given}, but the result is float64 of shape {shape}; give such an array")
    return out


class _Layout:
    """Which words belong to which switching op, and which of these to which layer: to one each, or all to one."""

    def __init__(self, network, by_layer):
        layout, graph = network.pattern_layout, network.op_graph
        ops = graph.switching
        self.n_layers = len(ops) if by_layer else 1
        words = np.append(layout.word_offsets[ops], layout.word_offsets[-1])
        pools = pool_neurons(network)[graph.neuron_starts[:-1]].astype(np.int64)
        layers = np.arange(len(ops) + 1) if by_layer else np.array([0, len(ops)])
        self.arrays = words, graph.neuron_counts, layout.widths[ops], pools, layers


def _run(layout, first, second, measure, paired, similarity, threads):
    """Compare packed patterns. Out: similarity."""
    options, counter = np.array([measure, paired], np.int64), np.zeros(1, np.int64)
    slot = SimilaritySlot(first, second, *layout.arrays, options, similarity, counter)
    n_slots = max(1, min(n_threads(threads), -(-len(first) // ROWS_AT_ONCE)))
    run_slots(similarity_slot, [slot] * n_slots)


def network_similarity(
    network: Network,
    other: Network,
    X: ArrayLike,
    *,
    measure: Literal["hamming", "jaccard"] = "hamming",
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
    threads: int | None = None,
) -> NetworkSimilarity:
    """Compare the activation patterns of two networks of one architecture on the same inputs, layer by layer.

    Estimate: means over the inputs, with bootstrap confidence intervals over inputs; exact for the given inputs themselves.

    Parameters
    ----------
    network, other : Network
        With the same switching ops in the same order.
    X : float64[B, D] or float64[B, *input_shape]
    measure : {"hamming", "jaccard"}, optional
        As for ``pattern_similarity``.
    level : float, optional
        Of the confidence intervals.
    n_resamples, seed : int, optional
        Of the bootstrap (BCa).
    threads : int, optional

    Returns
    -------
    NetworkSimilarity

    Raises
    ------
    ShapeError
        The networks have other neurons or inputs, or X has another number of inputs.
    InputError
        X holds no rows, NaN, infinities or entries that are not real numbers; an option is not accepted.

    References
    ----------
    .. [1] Efron, "Better Bootstrap Confidence Intervals", Journal of the American Statistical Association 82, 1987,
       Section 3.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> float(pwlnet.network_similarity(network, network, images[:4]).mean.min())
    1.0
    """
    measure = _MEASURES[check_choice(measure, _MEASURES, "measure")]
    points, layout = check_network(network).as_points(X), _Layout(network, True)
    check_network(other, "other")
    if network.n_inputs != other.n_inputs or not _alike(network, other):
        raise ShapeError(
            f"other has {other.n_inputs} inputs and {other.n_neurons} neurons, network {network.n_inputs} and "
            f"{network.n_neurons}, or their ops differ; give networks with the same switching ops in the same order"
        )
    if not len(points):
        raise InputError("X has no rows, but a mean needs at least one input; give more")
    first, second = (net.patterns(points, threads=threads).packed for net in (network, other))
    similarity = np.empty((layout.n_layers, len(points), 1))
    _run(layout, first, second, measure, True, similarity, threads)
    per_input = similarity[:, :, 0].copy()
    options = {"level": level, "n_resamples": n_resamples, "seed": seed}
    intervals = np.array([bootstrap_interval(row, **options) for row in per_input]).reshape(-1, 2)
    names = tuple(name for name, _, _ in network.neuron_layers)
    return NetworkSimilarity(names, per_input.mean(axis=1), intervals[:, 0].copy(), intervals[:, 1].copy(), per_input)


def _alike(network, other):
    """Return whether two networks have the same switching ops, with the same numbers of neurons and states."""
    pairs = []
    for net in (network, other):
        ops, layout = net.op_graph.switching, net.pattern_layout
        pairs.append((net.program.op[ops], net.op_graph.neuron_counts, layout.widths[ops]))
    return all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True))
