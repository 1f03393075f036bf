"""Outputs of a network at many points with its float neurons repressed: caller of the kernels of ``kernels/smoothing``.

Legend: B draws, D inputs, K neurons, O outputs.
"""

import numpy as np

from ..errors import InputError, ShapeError, UnsupportedOperationError
from ..kernels.ir.passes import TILE
from ..kernels.smoothing import passes as kernels
from ..scheduling import n_threads, run_slots
from ..validation import check_choice, check_number, refuse_not_finite
from ..value_buffers import DTYPES, UNKNOWN, WORK_PER_CALL, fits_single, make_buffers, range_limits, work_per_tile

_WORK_PER_SLOT = 2**22  # least number of multiplications for another thread: about a millisecond


def repressed_outputs(network, points, references=None, *, eta=0.0, passes=2, factors=None, dtype="float32", threads=None):
    """Evaluate a network with the outputs of float neurons, or of all neurons, multiplied by factors.

    Exact up to rounding: a forward pass with values of type ``dtype``, in which every switching op decides by its own values.
    With a reference point, the outputs of the neurons that float between the point and its reference are multiplied by
    ``1 + eta``. A neuron is fixed if both pre-activations have the same strict sign; a Clip, if both are strictly on the same
    piece; a window of MaxPool, if the same tap is larger than all others at both.

    Parameters
    ----------
    network : Network
    points : float64[B, D] or float64[B, *input_shape]
    references : float64[B, D] or float64[1, D], optional
        The reference of each point, or one for all. By default, no neuron is float.
    eta : float
        -0.1 represses by a tenth; 0 gives the bits of the plain forward pass.
    passes : {2, 1}
        Whether the pre-activations that are compared with the reference's are those of a plain forward pass (2), or those of
        the pass in which the neurons before were already repressed (1). The reference's own pass is plain.
    factors : float64[K] or float64[B, K], optional
        Multiply the outputs of all neurons by these instead, neurons in the order of the network.
    dtype : {"float32", "float64"}
        Rows whose values leave the range of float32 are evaluated in float64.
    threads : int, optional

    Returns
    -------
    float64[B, O]
        The bits of a row depend on its point, reference and factors, not on the other rows, its place or ``threads``.

    Raises
    ------
    ShapeError
        An array has another shape.
    InputError
        An array or ``eta`` is not finite; ``references`` and ``factors`` are both given; another ``passes`` or ``dtype``.
    UnsupportedOperationError
        The kernels do not handle an op of the network.

    Notes
    -----
    Cost in plain passes: 1 without references; with a shared reference ``passes``; with one for each point ``passes + 1``.

    References
    ----------
    .. [1] Jiang, "On Explaining Neural Network Robustness with Activation Path", ICLR 2023 (repression of float neurons). How
       clips and pools are treated, and ``factors``, are defined here, not there.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> from pwlnet.smoothing.network_pass import repressed_outputs
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> noisy = images[:1] + 0.25 * np.random.default_rng(0).standard_normal((100, 1, 8, 8))
    >>> plain = repressed_outputs(network, noisy)
    >>> bool(np.array_equal(repressed_outputs(network, noisy, images[:1], eta=0.0), plain))
    True
    >>> bool(np.array_equal(repressed_outputs(network, noisy, images[:1], eta=-0.1), plain))
    False
    """
    points = network.as_points(points, "points")
    check_choice(dtype, DTYPES, "dtype")
    eta = check_number(eta, "eta", least=-np.inf)
    if isinstance(passes, bool) or passes not in (1, 2):
        raise InputError(f"passes is {passes!r}; the choices are 1 and 2")
    if references is not None and factors is not None:
        raise InputError("references and factors are both given; neurons are multiplied by one or the other, omit one")
    references, factors = _as_references(network, references, len(points)), _as_factors(network, factors, len(points))
    if eta == 0.0 or not network.n_neurons:
        references, factors = references[:0], factors if network.n_neurons else factors[:0]
    single = dtype == "float32" and fits_single(network)
    arguments = points, references, factors
    outputs, bad = _evaluate(network, *arguments, 1.0 + eta, int(passes), "float32" if single else "float64", threads)
    if single and bad.any():
        arguments = [x[bad] if len(x) == len(points) else x for x in arguments]
        outputs[bad] = _evaluate(network, *arguments, 1.0 + eta, int(passes), "float64", threads)[0]
    return outputs


def _as_references(network, references, n):
    """Return reference points: float64[0, D] for none, float64[1, D] or float64[n, D]."""
    if references is None:
        return np.empty((0, network.n_inputs))
    references = network.as_points(references, "references")
    if len(references) not in (1, n):
        raise ShapeError(f"references has {len(references)} rows, but there are {n} points; give one for each, or one for all")
    return references


def _as_factors(network, factors, n):
    """Return factors in the stored order of each op: float64[0, K] for none, float64[1, K] or float64[n, K]."""
    k = network.n_neurons
    if factors is None:
        return np.empty((0, k))
    factors = np.asarray(factors)
    if factors.dtype.kind not in "fiub":
        raise InputError(f"factors has dtype {factors.dtype}; real numbers are needed, convert it to float64")
    if factors.shape not in ((k,), (n, k)):
        raise ShapeError(
            f"factors has shape {factors.shape}, but there are {n} points and {k} neurons; give ({k},) or ({n}, {k})"
        )
    factors = factors.astype(np.float64).reshape(-1, k) if k else np.empty((0, 0))
    refuse_not_finite(factors, "factors")
    stored = np.empty_like(factors)
    graph, shapes = network.op_graph, network.program.shapes
    for i, lo, hi in zip(graph.switching, graph.neuron_starts, graph.neuron_starts[1:], strict=False):
        by_channel = factors[:, lo:hi].reshape(len(factors), int(shapes[i, 0]), -1)
        stored[:, lo:hi] = by_channel.swapaxes(1, 2).reshape(len(factors), hi - lo)
    return stored


def _evaluate(network, points, references, factors, gain, passes, dtype, threads):
    """Return the outputs float64[B, O], and which rows have values out of range: bool[B]."""
    code, n = network.code if dtype == "float64" else network.float32_code, len(points)
    outputs, bad, unknown = np.empty((n, network.n_outputs)), np.zeros(n, np.int64), np.zeros(1, np.int64)
    if not n:
        return outputs, bad != 0
    shared, per_draw = int(len(references) == 1), 1
    if len(references):
        per_draw = passes if shared else passes + 1
    rows = np.array([per_draw, shared, (int(TILE) - shared) // per_draw])
    n_slots = max(1, min(n_threads(threads), -(-n // int(rows[2]))))
    if n_slots > 1:
        n_slots = max(1, min(n_slots, -(-n // int(rows[2])) * work_per_tile(code) // _WORK_PER_SLOT))
    with np.errstate(over="ignore"):  # factors that are infinite in float32 make values infinite, which is noticed
        factors, gain = factors.astype(dtype), np.array([gain]).astype(dtype)
    largest = int(network.op_graph.neuron_counts.max(initial=0))
    slots = [(make_buffers(code, int(TILE), dtype), np.empty(largest, bool)) for _ in range(n_slots)]
    step = int(rows[2]) * n_slots * max(1, WORK_PER_CALL // work_per_tile(code))
    for begin in range(0, n, step):
        part = slice(begin, min(n, begin + step))
        own = (x[part] if len(x) == n else x for x in (references, factors))
        arrays = code, points[part], *own, gain, rows, outputs[part], bad[part]
        shared_arrays = *arrays, range_limits(dtype), unknown, np.zeros(1, np.int64)
        run_slots(kernels.repression_slot, [kernels.RepressionSlot(*shared_arrays, *slot) for slot in slots])
        if unknown[0]:
            raise UnsupportedOperationError(UNKNOWN)
    return outputs, bad != 0
