"""Sound bounds of all pre-activations and outputs of a network over boxes and balls.

Legend: B sets, D inputs, K neurons, O outputs, M rows of a specification, J neurons of a layer, V values of all ops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._types import ArrayLike, BoolArray, BoundMethod, FloatArray, Int32Array
from ..domains import Ball, Box, ball_rows, box_rows, check_domain
from ..errors import InputError, ShapeError, UnsupportedOperationError
from ..float_sets import FloatSet, Scope
from ..kernels.bounds import slot as bs
from ..kernels.bounds import sweep
from ..kernels.ir import program as ir
from ..kernels.ir import switching
from ..scheduling import n_threads, run_slots
from ..validation import check_choice, check_count, check_network, refuse_not_finite
from .plan import block_size, plan_of

if TYPE_CHECKING:
    from ..network import Network

METHODS = {"ibp": bs.IBP, "crown_ibp": bs.CROWN_IBP, "crown": bs.CROWN, "alpha_crown": bs.CROWN}
_STEPS = 20  # of the optimisation of slopes
_WORK_PER_CALL = 2**33  # multiplications of a call of the kernels: a few seconds at most, so that Ctrl-C is noticed


class LayerBounds(NamedTuple):
    """Bounds of the neurons of one layer (a switching op)."""

    name: str
    neurons: slice
    lower: FloatArray  # float64[B, J]
    upper: FloatArray  # float64[B, J]
    states: Int32Array  # int32[B, J]


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds of all values of a network over B sets.

    Attributes
    ----------
    lower, upper : float64[B, K]
        Bounds of the pre-activations; for MaxPool, of the maximum of the window.
    states : int32[B, K]
        The state of each neuron that is proved to be fixed; -1 for the others. A neuron that only touches a threshold is fixed.
    output_lower, output_upper : float64[B, O]
    spec_lower, spec_upper : float64[B, M]
        Bounds of ``C y + d`` for the rows of ``spec``; no columns without it.
    spec_slopes : float64[B, M, D] or None
        Coefficients of the inputs in the linear lower bounds of these rows; for "alpha_crown", in those of the last step.
    empty : bool[B]
        Where the states and bounds that were given as known exclude all points of the set; the bounds mean nothing then.
    method : str
    layers : tuple of (str, int, int)
        Name, first and last-plus-one neuron of each switching op.
    """

    lower: FloatArray
    upper: FloatArray
    states: Int32Array
    output_lower: FloatArray
    output_upper: FloatArray
    spec_lower: FloatArray
    spec_upper: FloatArray
    spec_slopes: FloatArray | None
    empty: BoolArray
    method: str
    layers: tuple[tuple[str, int, int], ...]

    def by_layer(self) -> tuple[LayerBounds, ...]:
        """Return the bounds layer by layer: tuple of LayerBounds."""
        return tuple(
            LayerBounds(name, slice(a, b), self.lower[:, a:b], self.upper[:, a:b], self.states[:, a:b])
            for name, a, b in self.layers
        )

    @property
    def float_mask(self) -> BoolArray:
        """Neurons that are not proved to be fixed: bool[B, K]."""
        return self.states < 0

    def __repr__(self) -> str:
        b, k = self.lower.shape
        return (
            f"Bounds({b} sets, {k} neurons, {int(self.float_mask.sum())} of {b * k} not proved fixed; method {self.method!r})"
        )


def bound_preactivations(
    network: Network,
    domain: Box | Ball,
    *,
    method: BoundMethod = "crown",
    known: ArrayLike | FloatSet | Bounds | None = None,
    spec: tuple[ArrayLike, ArrayLike] | None = None,
    n_steps: int = _STEPS,
    only_open: bool = False,
    slopes: bool = False,
    threads: int | None = None,
) -> Bounds:
    """Bound all pre-activations and outputs of a network over boxes or balls.

    Sound bound, in floating point and for every order of summation: errors of the arithmetic are bounded and added outward.
    The methods, from fast to tight:

    - "ibp": intervals, layer by layer [1]_;
    - "crown_ibp": intervals, and linear bounds of the outputs [2]_;
    - "crown": linear bounds of every layer, pushed back to the inputs [3]_ [4]_, intersected with intervals;
    - "alpha_crown": the same with optimised slopes, for each bound its own [5]_, intersected with "crown".

    Parameters
    ----------
    network : Network
    domain : Box or Ball
        One set, or B sets.
    method : str, optional
    known : int[K], int[B, K], FloatSet or Bounds, optional
        States that are imposed, -1 for none: the bounds hold on the part of the set where the neurons have them. Of a
        FloatSet (of scope "region") or Bounds: what is proved there for the same sets, or for larger ones.
    spec : (float64[M, O], float64[M]), optional
        Bound ``C y + d`` as well, where y are the outputs.
    n_steps : int, optional
        Steps of "alpha_crown".
    only_open : bool, optional
        Compute no linear bounds of neurons whose intervals decide their states. Faster; states do not change much. The results
        may exceed those of "ibp" by rounding errors.
    slopes : bool, optional
        Keep the coefficients of the linear lower bounds of ``spec``.
    threads : int, optional

    Returns
    -------
    Bounds

    Raises
    ------
    InputError
        An unknown method, or another kind of domain; known states that do not exist.
    ShapeError
        Arrays that do not fit the network or each other.

    References
    ----------
    .. [1] Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models", 2018,
       Section 3.
    .. [2] Zhang et al., "Towards Stable and Efficient Training of Verifiably Robust Neural Networks", ICLR 2020, Section 3.
    .. [3] Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions", NeurIPS 2018.
    .. [4] Singh et al., "An Abstract Domain for Certifying Neural Networks", POPL 2019, Section 4.
    .. [5] Xu et al., "Fast and Complete", ICLR 2021, Section 3.1.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> box = pwlnet.Box.around(images[:2], 0.01, limits=(0.0, 1.0))
    >>> ibp, crown = (pwlnet.bound_preactivations(network, box, method=m) for m in ("ibp", "crown"))
    >>> bool((crown.lower >= ibp.lower).all()), bool((crown.upper <= ibp.upper).all())
    (True, True)
    """
    check_network(network)
    check_domain(domain, (Box, Ball))
    check_choice(method, METHODS, "method")
    n_steps = check_count(n_steps, "n_steps", least=0)
    *sets, norm = _sets(network, domain)
    sets = [np.array(x) for x in sets]  # writable: kernels are compiled again for read-only arrays
    given = _known(network, known, len(sets[0]))
    rows = _specification(network, spec)
    results = None
    for code, steps in _passes(method, n_steps, only_open):
        part = rows if code == METHODS[method] else _specification(network, None)
        options = np.zeros(bs.N_OPTIONS, np.int64)
        options[[bs.METHOD, bs.NORM, bs.N_STEPS, bs.ONLY_OPEN]] = code, norm, steps, bool(only_open)
        options[bs.LEAN] = code == bs.IBP and norm == 0 and not len(part[1])
        options[bs.BLOCK] = 1 if options[bs.LEAN] else block_size(network, optimised=steps > 0)
        known_now = given if results is None else (results.states, results.lower, results.upper)
        found = _allocate(network, len(sets[0]), rows, slopes)
        _run(network, options, (*sets, *known_now), part, found, threads)
        results = found if results is None else _intersect(results, found)
    return _result(network, results, method, slopes)


def _passes(method, n_steps, only_open):
    """Return the passes of a method, each of which uses what those before it proved: pairs (method of the kernels, steps)."""
    code = METHODS[method]
    passes = [(bs.IBP, 0)] if code != bs.IBP and not only_open else []
    passes.append((code, 0))
    return [*passes, (code, n_steps)] if method == "alpha_crown" and n_steps else passes


def _intersect(first, second):
    """Return the results of the second run, intersected with those of the first: Results."""
    for low in ("lower", "output_lower", "spec_lower"):
        np.maximum(getattr(first, low), getattr(second, low), out=getattr(second, low))
    for high in ("upper", "output_upper", "spec_upper"):
        np.minimum(getattr(first, high), getattr(second, high), out=getattr(second, high))
    return second._replace(empty=first.empty | second.empty)


def _result(network, results, method, slopes):
    """Return the results as read-only Bounds."""
    for array in results:
        array.setflags(write=False)
    fields = results._asdict() | {"spec_slopes": results.slopes if slopes else None, "empty": results.empty.astype(bool)}
    del fields["slopes"]
    return Bounds(**fields, method=method, layers=network.neuron_layers)


def _sets(network, domain):
    """Return boxes, centres, radii and the number of the norm that kernels use."""
    nothing = np.zeros((0, network.n_inputs)), np.zeros(0)
    if isinstance(domain, Box):
        lower, upper = box_rows(network, domain)
        if len(lower) != len(upper):
            raise ShapeError(f"lower has {len(lower)} rows and upper {len(upper)}; give the same number")
        return lower, upper, *nothing, 0
    centers, radii = ball_rows(network, domain)
    lower = np.nextafter(centers - radii[:, None], -np.inf)
    upper = np.nextafter(centers + radii[:, None], np.inf)
    lower, upper = (np.where(radii[:, None] > 0.0, x, centers) for x in (lower, upper))
    refuse_not_finite(lower, "center minus radius")
    refuse_not_finite(upper, "center plus radius")
    if domain.norm == np.inf:
        return lower, upper, *nothing, 0
    return lower, upper, centers, radii, int(domain.norm)


class Results(NamedTuple):
    """Arrays of results, in the order of BoundSlot."""

    lower: FloatArray
    upper: FloatArray
    states: Int32Array
    output_lower: FloatArray
    output_upper: FloatArray
    spec_lower: FloatArray
    spec_upper: FloatArray
    slopes: FloatArray
    empty: BoolArray


def _allocate(network, n, specification, slopes):
    """Return the arrays for the results of n sets: Results."""
    k, o, m = network.n_neurons, network.n_outputs, len(specification[1])
    shapes = (n, k), (n, k), (n, k), (n, o), (n, o), (n, m), (n, m), (n if slopes else 0, m, network.n_inputs), (n,)
    types = (np.float64, np.float64, np.int32, *(np.float64,) * 5, np.int64)
    results = Results(*(np.zeros(shape, dtype) for shape, dtype in zip(shapes, types, strict=True)))
    results.spec_lower.fill(-np.inf)
    results.spec_upper.fill(np.inf)
    return results


def _known(network, known, n):
    """Return known states, lower and upper bounds: arrays with n rows, or none."""
    k = network.n_neurons
    states, lower, upper = np.zeros((0, k), np.int32), np.zeros((0, k)), np.zeros((0, k))
    if known is None:
        return states, lower, upper
    if isinstance(known, FloatSet) and known.scope is not Scope.REGION:
        raise InputError(
            f"known is a FloatSet of scope {known.scope.value!r}; one of scope 'region' is needed, or plain states"
        )
    if isinstance(known, Bounds):
        lower, upper, given = known.lower, known.upper, known.states
    else:
        given = known.states if isinstance(known, FloatSet) else np.asarray(known)
    if given.dtype.kind not in "iu":
        raise InputError(f"known has dtype {given.dtype}; give states as integers, -1 where unknown, or a FloatSet or Bounds")
    rows = np.atleast_2d(given)
    if rows.ndim != 2 or rows.shape[1] != k or len(rows) not in (1, n):
        raise ShapeError(f"known has shape {given.shape}; ({k},) or ({n}, {k}) is needed")
    graph = network.op_graph
    counts = np.repeat([_n_states(network, i) for i in graph.switching], graph.neuron_counts)
    bad = np.argwhere((rows < -1) | (rows >= counts))
    if len(bad):
        b, j = bad[0]
        raise InputError(f"known has state {rows[b, j]} for neuron {j}, which has states 0 to {counts[j] - 1}; -1 is unknown")

    def repeated(x, dtype):
        return np.array(np.broadcast_to(np.atleast_2d(x), (n, k)), dtype, order="C")

    states = repeated(given, np.int32)
    return states, *(repeated(x, np.float64) if len(x) else x for x in (lower, upper))


def _n_states(network, i):
    return switching.n_states(network.code, i)


def _specification(network, spec):
    """Return the rows of a specification: (float64[M, O], float64[M])."""
    if spec is None:
        return np.zeros((0, network.n_outputs)), np.zeros(0)
    matrix, shift = (np.array(x, np.float64, order="C") for x in spec)
    matrix, shift = np.atleast_2d(matrix), np.atleast_1d(shift)
    if matrix.ndim != 2 or matrix.shape[1] != network.n_outputs or shift.shape != matrix.shape[:1]:
        raise ShapeError(
            f"spec has shapes {matrix.shape} and {shift.shape}; (rows, {network.n_outputs}) and (rows,) are needed"
        )
    refuse_not_finite(matrix, "spec")
    refuse_not_finite(shift, "spec")
    return matrix, shift


def _run(network, options, sets, specification, results, threads):
    """Run the kernels on several threads, some sets at a time."""
    plan, code = plan_of(network), network.code
    n, size, n_ops = len(sets[0]), int(code.op_table[-1, ir.VALUE]), len(network.program.op)
    rows = max(2 * int(options[bs.BLOCK]), 2)
    steps = int(options[bs.N_STEPS])
    work = max(1, int(network.program.weights.size)) * (1 + network.n_neurons * (1 + steps) // 4)
    at_once = max(1, _WORK_PER_CALL // work)
    n_slots = max(1, min(n_threads(threads), n))
    scratch = [_scratch(size, rows, n_ops, steps) for _ in range(n_slots)]
    unknown = np.zeros(1, np.int64)
    for first in range(0, n, at_once * n_slots):
        part = slice(first, first + at_once * n_slots)
        here = [x[part] if len(x) else x for x in sets]
        out = [x[part] if len(x) else x for x in results]
        arrays = (code, *plan, options, *here, *specification, *out, unknown, np.zeros(1, np.int64))
        run_slots(sweep.bound_slot, [bs.BoundSlot(*arrays, *own) for own in scratch])
        if unknown[0]:
            raise UnsupportedOperationError(
                "the network has an op that the kernels do not handle; every chain of ops must handle it, see CONTRIBUTING.md"
            )


def _scratch(size, rows, n_ops, steps):
    """Return the arrays of a slot, in the order of BoundSlot."""
    free = rows * size if steps else 0
    return (
        np.zeros(size),
        np.zeros(2 * size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros((bs.N_RELAXATION, size)),
        np.zeros(size, np.int64),
        np.full(size, -1),
        np.zeros(rows * size),
        np.zeros((n_ops, 4), np.int64),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows, np.int64),
        np.zeros((2, free)),
        np.zeros(free),
    )
