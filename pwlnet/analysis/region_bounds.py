"""How many activation regions a network can have: bounds from its widths, its fixed neurons, and the number of free inputs.

Counts are of regions with interior points, in any convex set of F dimensions. All numbers are Python integers: they are often
beyond float64.

Legend: F free inputs, K neurons, L switching layers.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._types import ArrayLike, Integers
from ..errors import InputError, ShapeError
from ..kernels.ir import program as ir
from ..kernels.ir import switching
from ..validation import check_count, check_network, check_number

if TYPE_CHECKING:
    from ..float_sets import FloatSet
    from ..network import Network


class RegionCountBounds(NamedTuple):
    """Upper bounds on the number of activation regions; made by ``bound_region_count``.

    Attributes
    ----------
    upper : int
        The lowest of them.
    montufar : int
        By the smallest width before each layer.
    serra : int
        Also by the number of active neurons: an inactive ReLU takes a dimension from its layer's image.
    states : int
        The product of the numbers of states of all neurons that are not fixed.
    n_free : int
        F.
    """

    upper: int
    montufar: int
    serra: int
    states: int
    n_free: int


class _Layer(NamedTuple):
    """The hyperplanes of a switching layer in a region of all layers before it."""

    hyperplanes: int  # number of them
    active: int  # neurons that are known to be active everywhere
    width: int  # dimension of its image at most
    drops: bool  # whether each inactive neuron takes a dimension from the image
    before: int  # dimension of its input at most


def bound_region_count(
    network: Network | Integers, *, n_free: int | None = None, float_set: FloatSet | ArrayLike | None = None
) -> RegionCountBounds:
    """Bound the number of activation regions of a network from above, in any box or polytope.

    Sound bound: with integers. A layer of n neurons divides a region of dimension d into at most as many parts as n hyperplanes
    in general position; the bounds multiply these numbers over the layers [1]_ [2]_. MaxPool counts a hyperplane for each
    pair of taps, Clip one for each finite limit. In networks with branches, dimensions are not reduced.

    Parameters
    ----------
    network : Network, or sequence of int
        A network; or the widths F, n_1, ..., n_L of a fully connected ReLU network, without its outputs.
    n_free : int, optional
        Number of inputs that vary; by default all of them.
    float_set : FloatSet, or int32[K], optional
        Neurons that are proved to be fixed on the box, or their states, with -1 for neurons that are not: these have no
        hyperplanes there [3]_.

    Returns
    -------
    RegionCountBounds

    Raises
    ------
    InputError
        ``n_free`` is more than the number of inputs, or widths are not positive integers.
    ShapeError
        ``float_set`` is not of one set of this network.

    See Also
    --------
    largest_region_count : what is possible for the best weights.
    enumerate_regions : the number itself.

    References
    ----------
    .. [1] Montufar, "Notes on the number of linear regions of deep neural networks", SampTA 2017 (``montufar``).
    .. [2] Serra, Tjandraatmadja and Ramalingam, "Bounding and counting linear regions of deep neural networks", ICML 2018
       (``serra``).
    .. [3] Serra and Ramalingam, "Empirical bounds on linear regions of deep rectifier networks", AAAI 2020, for stable neurons.

    Examples
    --------
    >>> import pwlnet
    >>> pwlnet.bound_region_count((2, 3, 3))
    RegionCountBounds(upper=40, montufar=49, serra=40, states=64, n_free=2)
    """
    if isinstance(network, tuple | list | np.ndarray):
        n_inputs, layers, states = _of_widths(network, float_set)
    else:
        n_inputs = check_network(network).n_inputs
        layers, states = _of_network(network, _states(network, float_set))
    n_free = n_inputs if n_free is None else check_count(n_free, "n_free", least=0)
    if n_free > n_inputs:
        raise InputError(f"n_free is {n_free}, but the network has {n_inputs} inputs; give at most {n_inputs}")
    montufar = _product(n_free, [layer._replace(drops=False) for layer in layers])
    serra = _product(n_free, layers)
    return RegionCountBounds(min(montufar, serra, states), montufar, serra, states, n_free)


def largest_region_count(widths: Integers) -> tuple[int, int]:
    """Bound from both sides the largest number of regions that a fully connected ReLU network of given widths can have.

    Sound bound: ``lower`` is attained by a layer in general position, by folding the input [1]_, or by the folds of [2]_, where
    all layers before the last one have 3 F neurons or more; with fewer inputs than F, where layers are narrower. ``upper`` is
    that of ``bound_region_count``. Neither says much about given weights.

    Parameters
    ----------
    widths : sequence of int
        F, n_1, ..., n_L, without the outputs.

    Returns
    -------
    lower, upper : int

    Raises
    ------
    InputError
        Widths are not positive integers.

    References
    ----------
    .. [1] Montufar, Pascanu, Cho and Bengio, "On the number of linear regions of deep neural networks", NeurIPS 2014.
    .. [2] Serra, Tjandraatmadja and Ramalingam, "Bounding and counting linear regions of deep neural networks", ICML 2018.

    Examples
    --------
    >>> largest_region_count((1, 3, 3))
    (16, 16)
    """
    n, *hidden = _check_widths(widths)
    upper = bound_region_count(widths).upper
    if not hidden:
        return 1, upper
    candidates = [arrangement_count(k, min(n, *hidden[:i])) if i else arrangement_count(k, n) for i, k in enumerate(hidden)]
    n = min(n, *hidden)  # the folds use so many inputs
    last = arrangement_count(hidden[-1], n)
    candidates.append(last * math.prod((k // n) ** n for k in hidden[:-1]))
    if all(k >= 3 * n for k in hidden[:-1]):
        candidates.append(last * math.prod((k // n + 1) ** n for k in hidden[:-1]))
    return max(candidates), upper


def arrangement_count(n_hyperplanes: int, dimension: int) -> int:
    """Compute the number of regions of hyperplanes in general position: those of one layer, if all their vertices are inside.

    Exact up to rounding: integers. The sum of the binomial coefficients C(n, k) for k <= d [1]_.

    Parameters
    ----------
    n_hyperplanes, dimension : int

    Returns
    -------
    int

    References
    ----------
    .. [1] Zaslavsky, "Facing up to arrangements", Memoirs of the American Mathematical Society 154, 1975.

    Examples
    --------
    >>> arrangement_count(16, 3)
    697
    """
    n, d = check_count(n_hyperplanes, "n_hyperplanes", least=0), check_count(dimension, "dimension", least=0)
    return _prefix_sums(n, d)[-1]


def expected_region_count(n_inputs: int, n_neurons: int, *, volume: float = 1.0, scale: float = 1.0) -> float:
    """Estimate the number of activation regions of a random ReLU network, which does not depend on its depth.

    Estimate: volume (T N)^F / F! for N >= F neurons, and 2^N for fewer. For networks without tied weights whose weights and
    biases are random with densities, the mean number of regions that meet a cube with sides of at least 1 / T is at most this
    number, with a T that depends on bounds on the gradients and on the densities of the biases [1]_. Without such a T it is an
    order of magnitude: measured numbers are compared by the T that they imply, ``implied_scale``.

    Parameters
    ----------
    n_inputs : int
        F.
    n_neurons : int
        N.
    volume : float, optional
        Of the box, in the units of the inputs.
    scale : float, optional
        T, in hyperplanes that meet a unit of length, for each neuron.

    Returns
    -------
    float
        inf if it is beyond float64.

    References
    ----------
    .. [1] Hanin and Rolnick, "Deep ReLU networks have surprisingly few activation patterns", NeurIPS 2019, the theorem on the
       number of activation regions in cubes.

    Examples
    --------
    >>> round(expected_region_count(2, 32, volume=4.0))
    2048
    """
    n, count = check_count(n_inputs, "n_inputs", least=0), check_count(n_neurons, "n_neurons", least=0)
    volume, scale = check_number(volume, "volume", above=True), check_number(scale, "scale", above=True)
    if count < n:
        return _exp(count * math.log(2.0))
    return _exp(math.log(volume) + (n * math.log(scale * count) if n else 0.0) - math.lgamma(n + 1))


def implied_scale(n_regions: int, n_inputs: int, n_neurons: int, *, volume: float = 1.0) -> float:
    """Compute the T for which ``expected_region_count`` gives a number of regions that was counted.

    Exact up to rounding: (R F! / volume)^(1 / F) / N.

    Parameters
    ----------
    n_regions, n_inputs, n_neurons : int
        R, F and N; F and N at least 1.
    volume : float, optional

    Returns
    -------
    float

    Examples
    --------
    >>> round(implied_scale(2048, 2, 32, volume=4.0), 12)
    1.0
    """
    count, n = check_count(n_regions, "n_regions"), check_count(n_inputs, "n_inputs")
    n_neurons, volume = check_count(n_neurons, "n_neurons"), check_number(volume, "volume", above=True)
    return _exp((math.log(count) + math.lgamma(n + 1) - math.log(volume)) / n) / n_neurons


def _exp(x):
    """Return exp(x), inf where it is beyond float64."""
    return math.exp(x) if x < math.log(np.finfo(np.float64).max) else math.inf


def _check_widths(widths):
    """Validate widths: list of int, the number of inputs first."""
    if not isinstance(widths, tuple | list | np.ndarray) or not len(widths):
        raise InputError(f"widths is {type(widths).__name__}; a sequence of integers is needed: inputs, n_1, ..., n_L")
    return [check_count(n.item() if isinstance(n, np.integer) else n, f"widths[{k}]") for k, n in enumerate(widths)]


def _of_widths(widths, float_set):
    """Return the number of inputs, the layers and the number of combinations of states, of a fully connected ReLU network."""
    n_inputs, *hidden = _check_widths(widths)
    if float_set is not None:
        raise InputError("float_set was given with widths; give it with the network that it belongs to")
    layers = [_Layer(n, 0, n, True, before) for before, n in itertools.pairwise([n_inputs, *hidden])]
    return n_inputs, layers, 2 ** sum(hidden)


def _states(network, float_set):
    """Return the states int32[K] of fixed neurons, -1 for others."""
    if float_set is None:
        return np.full(network.n_neurons, -1, np.int32)
    states = np.asarray(getattr(float_set, "states", float_set))
    states = states[0] if states.ndim == 2 and len(states) == 1 else states
    if states.shape != (network.n_neurons,):
        raise ShapeError(f"float_set has states of shape {states.shape}; ({network.n_neurons},) is needed: those of one set")
    return states


def _of_network(network, states):
    """Return the layers of a network, and the number of combinations of states of its neurons that are not fixed."""
    graph, program = network.op_graph, network.program
    is_chain = all(list(graph.operands[i]) == [i - 1] for i in range(1, len(program.op)))
    layers, n_combinations, least = [], 1, network.n_inputs
    for i in range(len(program.op)):
        size = int(program.value_offsets[i + 1] - program.value_offsets[i])
        if not graph.is_switching[i]:
            least = min(least, size) if is_chain else least
            continue
        here = states[program.neuron_offsets[i] : program.neuron_offsets[i + 1]]
        n_varying, n_states = int((here < 0).sum()), int(switching.n_states(network.code, i))
        drops, each = _hyperplanes(program, i, n_states)
        n_active = int((here > 0).sum()) if drops else 0
        width = size if is_chain else network.n_inputs
        layers.append(_Layer(each * n_varying, n_active, width, drops and is_chain, least))
        least = min(least, width)
        n_combinations *= n_states**n_varying
    return layers, n_combinations


def _hyperplanes(program, i, n_states):
    """Return whether inactive neurons of switching op i are 0, and the number of hyperplanes of a neuron."""
    if program.op[i] == ir.RELU:
        return True, 1
    if program.op[i] == ir.CLIP:
        return False, int(np.isfinite(program.coefficients[i, :2]).sum())
    return False, n_states * (n_states - 1) // 2  # pairs of taps; LeakyReLU has two states


def _prefix_sums(n, most):
    """Return the sums of C(n, j) for j <= k, for k = 0 to ``most``: list of int."""
    sums, term = [1], 1
    for j in range(1, most + 1):
        term = term * (n - j + 1) // j if j <= n else 0
        sums.append(sums[-1] + term)
    return sums


def _product(n_free, layers):
    """Bound the number of regions, from the last layer to the first one.

    ``parts[d]`` is the number into which the layers that follow divide a region whose image has d dimensions; it grows with
    d. At most C(u, j) regions of u hyperplanes have j neurons inactive, and there are at most as many regions as the sum of
    C(u, j) for j <= d: the product is largest where these j occur. Such images have at most min(d, active + u - j)
    dimensions. The sums over j are differences of prefix sums.
    """
    parts = [1] * (n_free + 1)
    for layer in reversed(layers):
        u, room = layer.hyperplanes, layer.active + layer.hyperplanes
        sums, top = _prefix_sums(u, n_free), [min(d, layer.before, u) for d in range(n_free + 1)]
        if not layer.drops:
            parts = [sums[top[d]] * parts[min(d, layer.before, layer.width)] for d in range(n_free + 1)]
            continue
        terms = [sums[0], *(b - a for a, b in itertools.pairwise(sums))]
        tails = [0, *itertools.accumulate(terms[j] * parts[min(n_free, room - j)] for j in range(min(u, n_free) + 1))]
        result = []
        for d in range(n_free + 1):
            kept = min(top[d], room - min(d, layer.before))  # up to this j, no dimension is lost
            whole = sums[kept] * parts[min(d, layer.before)] if kept >= 0 else 0
            result.append(whole + tails[top[d] + 1] - tails[max(kept, -1) + 1])
        parts = result
    return parts[n_free]
