"""Fixed and float paths: the decomposition of outputs, repressed float paths, contributions and numbers of paths.

Legend: B rows, D inputs, O outputs, K neurons, M numbers of float neurons of a path.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .._types import ArrayLike, BoolArray, FloatArray, Gates, Int32Array
from ..errors import ShapeError
from ..validation import check_network, check_number
from . import path_passes as passes
from .path_counts import PathCounts as PathCounts
from .path_counts import count_by_floats

if TYPE_CHECKING:
    from ..float_sets import FloatSet
    from ..network import Network


@dataclass(frozen=True, eq=False)
class PathDecomposition:
    """Outputs as the sum over fixed paths plus the sum over float paths; made by ``decompose_paths``.

    Attributes
    ----------
    network : Network
    fixed : float64[B, O]
        Sum over the paths all of whose neurons are fixed.
    float_ : float64[B, O]
        Sum over the paths with at least one float neuron.
    outputs : float64[B, O]
        Of the forward pass; ``fixed + float_`` up to rounding.
    states : int32[B, K]
        The gates of the fixed part: the states of the forward pass, or, with live gates, those of the fixed part's own pass.
    float_mask : bool[B, K] or bool[1, K]
    gates : {"frozen", "live"}
    """

    network: Network = field(repr=False)
    fixed: FloatArray = field(repr=False)
    float_: FloatArray = field(repr=False)
    outputs: FloatArray = field(repr=False)
    states: Int32Array = field(repr=False)
    float_mask: BoolArray = field(repr=False)
    gates: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.fixed)

    @functools.cached_property
    def _maps(self):
        result = passes.fixed_maps(self.network, self.states, self.float_mask.view(np.uint8))
        for array in result:
            array.setflags(write=False)
        return result

    @property
    def A(self) -> FloatArray:
        """Matrix of the affine map of the fixed part: float64[B, O, D], computed on first use (8 B O D bytes)."""
        return self._maps[0]

    @property
    def c(self) -> FloatArray:
        """Constant of the affine map of the fixed part, float64[B, O]: ``fixed = A x + c`` for each row."""
        return self._maps[1]

    def __repr__(self) -> str:
        return f"PathDecomposition({len(self)} rows, gates {self.gates!r}, {self.network!r})"


def decompose_paths(
    network: Network,
    X: ArrayLike,
    float_mask: ArrayLike | FloatSet,
    *,
    gates: Gates = "frozen",
    maps: bool = False,
    threads: int | None = None,
) -> PathDecomposition:
    """Split outputs into the sum over fixed paths and the sum over float paths.

    Exact up to rounding. A path is a choice of one entry per op from an input, or from a constant, to an output; its
    contribution is the product of the weights and slopes along it with the input, or the constant. It is fixed if all of its
    neurons are.

    Parameters
    ----------
    network : Network
    X : float64[B, D] or float64[B, *input_shape]
    float_mask : bool[K], bool[B, K] or FloatSet
        True for float neurons, for all rows or for each. Of a FloatSet, ``upper`` is used: neurons that are not proved to be
        fixed count as float.
    gates : {"frozen", "live"}
        "frozen": the slopes are those of the forward pass at the row, and ``float_`` is computed by its own recursion, so that
        both parts are sums over paths. "live": the network is evaluated with the outputs of float neurons set to 0, where the
        neurons after them may change their states, and ``float_`` is the difference; it is not a sum over paths.
    maps : bool
        Compute ``A`` and ``c`` now, not on first use.
    threads : int, optional

    Returns
    -------
    PathDecomposition

    Raises
    ------
    ShapeError
        X or the mask has the wrong shape.
    InputError
        X is not finite, the mask is not boolean, or the gates have another name.

    See Also
    --------
    scale_float_paths : the outputs where float paths are repressed.
    path_polynomial : the sums over paths with 0, 1, 2, ... float neurons.

    Notes
    -----
    Constants start paths: biases, constants of Gather, and the value of a saturated Clip, which is a constant of that neuron
    (a path from it contains the neuron, so it is float if the neuron is). At a window of MaxPool, paths go through the winning
    tap; no fixed path goes through a float window. At an Add, a path goes through one operand. Cost: three forward passes.

    References
    ----------
    .. [1] Jiang, "On Explaining Neural Network Robustness with Activation Path", ICLR 2023 (fixed and float paths). How
       clips, pools and constants are assigned is defined here, not there.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> floats = network.states(images[:1])[0] != network.states(images[1:2])[0]
    >>> parts = pwlnet.decompose_paths(network, images[:2], floats)
    >>> bool(np.abs(parts.fixed + parts.float_ - parts.outputs).max() < 1e-12)
    True
    """
    points = check_network(network).as_points(X)
    mask = passes.as_float_mask(network, float_mask, len(points))
    parts = passes.split(network, points, mask, gates=gates, with_rest=gates == "frozen", threads=threads)
    float_ = parts.rest if gates == "frozen" else parts.outputs - parts.scaled
    arrays = parts.scaled, float_, parts.outputs, parts.states, mask.view(bool)
    for array in arrays:
        array.setflags(write=False)
    result = PathDecomposition(network, *arrays, gates)
    if maps:
        result._maps  # noqa: B018  computed on first use
    return result


def scale_float_paths(
    network: Network,
    X: ArrayLike,
    float_mask: ArrayLike | FloatSet,
    lam: float,
    *,
    gates: Gates = "frozen",
    threads: int | None = None,
) -> FloatArray:
    """Evaluate a network with the output of each float neuron multiplied by a factor.

    Exact up to rounding. With frozen gates, a path with k float neurons is multiplied by ``lam**k``.

    Parameters
    ----------
    network : Network
    X : float64[B, D] or float64[B, *input_shape]
    float_mask : bool[K], bool[B, K] or FloatSet
        As for ``decompose_paths``.
    lam : float
        0 leaves the fixed paths, 1 is the network. For ReLU and LeakyReLU and ``lam >= 0``, multiplying the pre-activation is
        the same.
    gates : {"frozen", "live"}
        Whether all neurons keep the slopes of the forward pass at the row, or those of the scaled values.
    threads : int, optional

    Returns
    -------
    float64[B, O]

    Raises
    ------
    ShapeError, InputError
        As for ``decompose_paths``; also for a ``lam`` that is not finite.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> floats = np.ones(network.n_neurons, bool)
    >>> x = np.full((1, 64), 0.5)
    >>> bool(np.array_equal(pwlnet.scale_float_paths(network, x, floats, 1.0), network.forward(x)))
    True
    """
    points = check_network(network).as_points(X)
    mask = passes.as_float_mask(network, float_mask, len(points))
    factor = check_number(lam, "lam", least=-np.inf)
    return passes.split(network, points, mask, gates=gates, factor=factor, threads=threads).scaled


def path_polynomial(
    network: Network, X: ArrayLike, float_mask: ArrayLike | FloatSet, *, threads: int | None = None
) -> FloatArray:
    """Sum the paths by the number of float neurons on them.

    Exact up to rounding: the sums are carried through the network, nothing is fitted. They are the coefficients of the outputs
    with frozen gates as a polynomial in the factor of ``scale_float_paths``.

    Parameters
    ----------
    network : Network
    X : float64[B, D] or float64[B, *input_shape]
    float_mask : bool[K], bool[B, K] or FloatSet
        As for ``decompose_paths``.
    threads : int, optional

    Returns
    -------
    float64[B, M, O]
        Entry ``[b, k]``: the sum over paths with exactly k float neurons. M - 1 is the number of switching ops on the longest
        path.

    Raises
    ------
    ShapeError, InputError
        As for ``decompose_paths``.

    Notes
    -----
    Cost: M forward passes per row, and the values of all ops for M rows in memory per thread.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> x, floats = np.full((1, 64), 0.5), np.arange(network.n_neurons) % 2 == 0
    >>> coefficients = pwlnet.path_polynomial(network, x, floats)
    >>> bool(np.abs(coefficients.sum(axis=1) - network.forward(x)).max() < 1e-12)
    True
    """
    points = check_network(network).as_points(X)
    mask = passes.as_float_mask(network, float_mask, len(points))
    degree = int(passes.switching_depths(network)[-1])
    return passes.polynomials(network, points, network.states(points, threads=threads), mask, degree, threads)


def count_paths(network: Network, float_mask: ArrayLike | FloatSet) -> PathCounts:
    """Count the paths of a network, by the number of float neurons on them.

    Exact up to rounding, without any: Python integers. Connections are counted, not values: a weight that is zero is a
    connection, a closed gate does not end a path, and all taps of a MaxPool window are connected; padding is not.

    Parameters
    ----------
    network : Network
    float_mask : bool[K] or FloatSet
        As for ``decompose_paths``, for one set.

    Returns
    -------
    PathCounts
        From inputs, and from constants (biases, constants of Gather, one of each Clip neuron), to all outputs.

    Raises
    ------
    ShapeError
        The mask is not (K,) or (1, K).
    InputError
        It is not boolean.

    Notes
    -----
    The ops are those of ``network.summary()``: a batch normalization that was folded into a convolution is part of it, and so
    is a layout op that was folded into a fully connected layer. For a fully connected network, the share of fixed paths from
    inputs is the product over layers of the share of fixed neurons.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> counts = pwlnet.count_paths(network, np.zeros(network.n_neurons, bool))
    >>> counts.inputs.fixed == counts.inputs.total, counts.inputs.float_
    (True, 0)
    """
    mask = passes.as_float_mask(network, float_mask, 1)
    if len(mask) != 1:
        raise ShapeError(f"float_mask has {len(mask)} rows; count_paths takes one set, so give (K,)")
    return count_by_floats(network, mask[0] != 0, int(passes.switching_depths(network)[-1]))
