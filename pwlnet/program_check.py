"""Validation of the arrays of a program, once, when a Network is made; kernels trust them afterwards."""

from typing import NamedTuple

import numpy as np

from .errors import InputError
from .kernels.ir import program as ir
from .op_contract import check_op, op_name

_AXIS_COLUMNS = (ir.KERNEL_H, ir.STRIDE_H, ir.PAD_TOP, ir.DILATION_H)  # those of the width follow each


class _Op(NamedTuple):
    """One op of a program, as the rules see it."""

    shape: np.ndarray  # int64[3]
    input_shapes: np.ndarray  # int64[operands, 3]
    attributes: np.ndarray
    coefficients: np.ndarray
    indices: np.ndarray

    @property
    def size(self):
        """Number of values."""
        return int(np.prod(self.shape))

    @property
    def n_channels(self):
        """Number of channels."""
        return int(self.shape[0])

    @property
    def n_inputs(self):
        """Number of values of the first operand."""
        return int(np.prod(self.input_shapes[0]))


class _Rule(NamedTuple):
    """What an op must look like."""

    sizes: object = lambda op: {(0, 0, 0)}  # _Op -> allowed numbers of (weights, biases, indices)
    problem: object = lambda op: None  # _Op -> what is wrong with its shape, window, coefficients or indices, or None
    n_operands: int | None = 1  # None: any number


def check_program(program):
    """Validate dtypes, offsets, topological order, sizes and finiteness, and that every chain of ops knows each op.

    Raises
    ------
    InputError
        Naming the op and what is wrong with it.
    """
    _check_arrays(program)
    for i, code in enumerate(program.op):
        problem = _op_problem(program, i, int(code))
        if problem:
            raise InputError(f"op {i} of the program ({op_name(code)}) {problem}; convert the source again")


def windows_meet_input(in_shape, out_shape, attributes):
    """Whether every sliding window of an op holds at least one entry of its input.

    Parameters
    ----------
    in_shape, out_shape : int[3]
        Channels, height, width.
    attributes : int64[N_ATTRIBUTES] or dict
        By the columns of kernels/ir/program.py.
    """
    for axis, column in ((1, 0), (2, 1)):
        kernel, stride, padding, dilation = (int(attributes[k + column]) for k in _AXIS_COLUMNS)
        entries = np.arange(out_shape[axis])[:, None] * stride - padding + np.arange(kernel) * dilation
        if not ((entries >= 0) & (entries < in_shape[axis])).any(axis=1).all():
            return False
    return True


def _check_arrays(program):
    n = len(program.op)
    for name, array in zip(program._fields, program, strict=True):
        expected = np.float64 if name in ("coefficients", "weights", "biases") else np.int64
        if array.dtype != expected:
            raise InputError(f"{name} has dtype {array.dtype}; {np.dtype(expected)} is needed, convert the source again")
        if array.ndim != 1 and name not in ("shapes", "attributes", "coefficients"):
            raise InputError(f"{name} has shape {array.shape}; one axis is needed, convert the source again")
    shapes = {"shapes": (n, 3), "attributes": (n, ir.N_ATTRIBUTES), "coefficients": (n, 4)}
    for name, shape in shapes.items():
        if getattr(program, name).shape != shape:
            raise InputError(f"{name} has shape {getattr(program, name).shape}; {shape} is needed, convert the source again")
    ragged = {
        "operand_offsets": program.operands.size,
        "weight_offsets": program.weights.size,
        "bias_offsets": program.biases.size,
        "index_offsets": program.indices.size,
        "value_offsets": None,
        "neuron_offsets": None,
    }
    for name, end in ragged.items():
        offsets = getattr(program, name)
        bad_end = end is not None and (offsets.size == 0 or offsets[-1] != end)
        if offsets.shape != (n + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any() or bad_end:
            raise InputError(f"{name} are not offsets into their array for {n} ops; convert the source again")
    for name in ("weights", "biases"):
        bad = int(np.count_nonzero(~np.isfinite(getattr(program, name))))
        if bad:
            raise InputError(
                f"{name} holds {bad} entries that are not finite; a network needs finite weights, check the source"
            )
    if n == 0 or program.op[0] != ir.INPUT:
        raise InputError("the program does not start with its input; convert the source again")
    _check_ends(program)


def _check_ends(program):
    """Refuse inputs that do not fill op 0 once each, and outputs outside the last op."""
    sizes = np.diff(program.value_offsets)
    for name, size in (("input_index", sizes[0]), ("output_index", sizes[-1])):
        index = getattr(program, name)
        if index.size == 0 or index.min() < 0 or index.max() >= size:
            raise InputError(f"{name} points outside its op; convert the source again")
    if not np.array_equal(np.sort(program.input_index), np.arange(sizes[0])):
        raise InputError("input_index does not fill each entry of the input once; convert the source again")


def _op_problem(program, i, code):
    """Return what is wrong with op i, or None."""
    if not 0 <= code < len(ir.OP_NAMES) or (code == ir.INPUT) != (i == 0):
        return "has an op code that does not exist or stands in the wrong place"
    check_op(code, i)
    operands = program.operands[program.operand_offsets[i] : program.operand_offsets[i + 1]]
    rule = _RULES[code]
    if rule.n_operands not in (None, len(operands)) or (operands < 0).any() or (operands >= i).any():
        return f"reads ops {operands.tolist()}, which is not a topological order or not the right number"
    indices = program.indices[program.index_offsets[i] : program.index_offsets[i + 1]]
    op = _Op(program.shapes[i], program.shapes[operands], program.attributes[i], program.coefficients[i], indices)
    if (op.shape < 1).any() or program.value_offsets[i + 1] - program.value_offsets[i] != op.size:
        return f"has shape {op.shape.tolist()}, which does not fit its place among the values"
    neurons = program.neuron_offsets[i + 1] - program.neuron_offsets[i]
    if neurons != (op.size if code >= ir.FIRST_SWITCHING else 0):
        return f"has {neurons} neurons, but {op.size} values"
    sizes = tuple(int(o[i + 1] - o[i]) for o in (program.weight_offsets, program.bias_offsets, program.index_offsets))
    if sizes not in rule.sizes(op):
        return f"has {sizes} weights, biases and indices; one of {sorted(rule.sizes(op))} is needed"
    return rule.problem(op)


def _shape_problem(op):
    """Return what is wrong with an op whose operands have its own shape, or None."""
    if (op.input_shapes != op.shape).any():
        return f"has shape {op.shape.tolist()}, but reads shapes {op.input_shapes.tolist()}"
    return None


def _add_problem(op):
    first, second = (float(c) for c in op.coefficients[:2])
    if not np.isfinite([first, second]).all():
        return _shape_problem(op) or f"has coefficients {first} and {second}, which must be finite"
    return _shape_problem(op)


def _clip_problem(op):
    lower, upper = (float(c) for c in op.coefficients[:2])
    return _shape_problem(op) or (None if lower < upper else f"clips to [{lower}, {upper}], which is empty")


def _concat_problem(op):
    inputs = op.input_shapes
    if (inputs[:, 1:] != op.shape[1:]).any() or inputs[:, 0].sum() != op.shape[0]:
        return f"has shape {op.shape.tolist()}, but joins shapes {inputs.tolist()}"
    return None


def _gather_problem(op):
    if op.indices.min(initial=0) < -1 or op.indices.max(initial=-1) >= op.n_inputs:
        return "copies entries that its operand does not have"
    return None


def _window_problem(op):
    """Return what is wrong with the attributes of a sliding window, or None."""
    sizes = op.attributes[[ir.KERNEL_H, ir.KERNEL_W, ir.STRIDE_H, ir.STRIDE_W, ir.DILATION_H, ir.DILATION_W, ir.GROUPS]]
    if (sizes < 1).any() or (op.attributes < 0).any():
        return f"has a window with attributes {op.attributes.tolist()}, where sizes must be positive"
    return None


def _channel_problem(op, fits):
    if fits:
        return None
    groups, c_in = int(op.attributes[ir.GROUPS]), int(op.input_shapes[0, 0])
    return f"has {groups} groups, {c_in} channels before and {op.n_channels} after it"


def _conv_problem(op):
    groups = max(1, int(op.attributes[ir.GROUPS]))
    fits = op.input_shapes[0, 0] % groups == 0 and op.n_channels % groups == 0
    return _window_problem(op) or _channel_problem(op, fits)


def _max_pool_problem(op):
    problem = _window_problem(op) or _channel_problem(op, op.input_shapes[0, 0] == op.n_channels)
    if problem is None and not windows_meet_input(op.input_shapes[0], op.shape, op.attributes):
        return "has a window that lies in the padding"
    return problem


def _avg_pool_problem(op):
    if op.attributes[ir.COUNT_PAD] or op.attributes[ir.DIVISOR]:  # an average over padding alone is 0
        return _window_problem(op) or _channel_problem(op, op.input_shapes[0, 0] == op.n_channels)
    return _max_pool_problem(op)


def _conv_sizes(op):
    taps = int(op.attributes[ir.KERNEL_H] * op.attributes[ir.KERNEL_W])
    n_weights = taps * int(op.input_shapes[0, 0]) * op.n_channels // max(1, int(op.attributes[ir.GROUPS]))
    return {(n_weights, op.n_channels, 0)}


_RULES = {
    ir.INPUT: _Rule(n_operands=0),
    ir.AFFINE: _Rule(lambda op: {(op.n_inputs * op.size, op.size, 0)}),
    ir.CONV2D: _Rule(_conv_sizes, _conv_problem),
    ir.AVG_POOL: _Rule(problem=_avg_pool_problem),
    ir.SCALE: _Rule(lambda op: {(op.n_channels, op.n_channels, 0), (op.size, op.size, 0)}, _shape_problem),
    ir.ADD: _Rule(problem=_add_problem, n_operands=2),
    ir.CONCAT: _Rule(problem=_concat_problem, n_operands=None),
    ir.GATHER: _Rule(lambda op: {(0, 0, op.size), (0, op.size, op.size)}, _gather_problem),
    ir.RELU: _Rule(problem=_shape_problem),
    ir.LEAKY_RELU: _Rule(lambda op: {(op.n_channels, 0, 0), (op.size, 0, 0)}, _shape_problem),
    ir.CLIP: _Rule(problem=_clip_problem),
    ir.MAX_POOL: _Rule(problem=_max_pool_problem),
}
