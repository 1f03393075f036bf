"""Validation of a program's arrays, once, when a Network is made; kernels trust them afterwards."""

import numpy as np

from .errors import InputError
from .kernels.ir import program as ir

_N_OPERANDS = {ir.INPUT: 0, ir.ADD: 2, ir.CONCAT: None}
_SAME_SHAPE = (ir.SCALE, ir.ADD, ir.RELU, ir.LEAKY_RELU, ir.CLIP)
_AXIS_COLUMNS = (ir.KERNEL_H, ir.STRIDE_H, ir.PAD_TOP, ir.DILATION_H)  # those of the width follow each
_WINDOWED = (ir.CONV2D, ir.AVG_POOL, ir.MAX_POOL)


def check_program(program):
    """Check dtypes, offsets, topological order, sizes and finiteness.

    Raises
    ------
    InputError
        Naming the op and what is wrong with it.
    """
    _check_arrays(program)
    for i, code in enumerate(program.op):
        problem = _op_problem(program, i, int(code))
        if problem:
            raise InputError(f"op {i} of the program ({_op_name(code)}) {problem}; convert the source again")


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


def _op_name(code):
    return ir.OP_NAMES[code] if 0 <= code < len(ir.OP_NAMES) else f"code {code}"


def _check_arrays(program):
    n = len(program.op)
    for name, array in zip(program._fields, program, strict=True):
        wanted = np.float64 if name in ("coefficients", "weights", "biases") else np.int64
        if array.dtype != wanted:
            raise InputError(f"{name} has dtype {array.dtype}; {np.dtype(wanted)} is needed, convert the source again")
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
            raise InputError(f"{name} are no offsets into their array for {n} ops; convert the source again")
    for name in ("weights", "biases"):
        bad = int(np.count_nonzero(~np.isfinite(getattr(program, name))))
        if bad:
            raise InputError(
                f"{name} holds {bad} entries that are not finite; a network needs finite weights, check the source"
            )
    if n == 0 or program.op[0] != ir.INPUT:
        raise InputError("the program doesn't start with its input; convert the source again")
    _check_ends(program)


def _check_ends(program):
    """Inputs must fill op 0 once each, outputs must lie in the last op."""
    sizes = np.diff(program.value_offsets)
    for name, size in (("input_index", sizes[0]), ("output_index", sizes[-1])):
        index = getattr(program, name)
        if index.size == 0 or index.min() < 0 or index.max() >= size:
            raise InputError(f"{name} points outside its op; convert the source again")
    if not np.array_equal(np.sort(program.input_index), np.arange(sizes[0])):
        raise InputError("input_index doesn't fill each entry of the input once; convert the source again")


def _op_problem(program, i, code):
    """What is wrong with op i, or None."""
    if not 0 <= code < len(ir.OP_NAMES) or (code == ir.INPUT) != (i == 0):
        return "has an op code that doesn't exist or stands in the wrong place"
    operands = program.operands[program.operand_offsets[i] : program.operand_offsets[i + 1]]
    wanted = _N_OPERANDS.get(code, 1)
    if (wanted is not None and len(operands) != wanted) or (operands < 0).any() or (operands >= i).any():
        return f"reads ops {operands.tolist()}, which is not a topological order or not the right number"
    size = int(np.prod(program.shapes[i]))
    if (program.shapes[i] < 1).any() or program.value_offsets[i + 1] - program.value_offsets[i] != size:
        return f"has shape {program.shapes[i].tolist()}, which doesn't fit its place among the values"
    neurons = program.neuron_offsets[i + 1] - program.neuron_offsets[i]
    if neurons != (size if code >= ir.FIRST_SWITCHING else 0):
        return f"has {neurons} neurons, but {size} values"
    sizes = _expected_sizes(program, i, code, operands, size)
    found = tuple(int(o[i + 1] - o[i]) for o in (program.weight_offsets, program.bias_offsets, program.index_offsets))
    if found not in sizes:
        return f"has {found} weights, biases and indices; one of {sorted(sizes)} is needed"
    problem = _shape_problem(program, i, code, operands)
    if problem:
        return problem
    if code == ir.GATHER:
        index = program.indices[program.index_offsets[i] : program.index_offsets[i + 1]]
        if index.min(initial=0) < -1 or index.max(initial=-1) >= int(np.prod(program.shapes[operands[0]])):
            return "copies entries that its operand doesn't have"
    return None


def _shape_problem(program, i, code, operands):
    """What is wrong with op i's shape, window or coefficients, given its operands' shapes; or None."""
    shape, inputs, attributes = program.shapes[i], program.shapes[operands], program.attributes[i]
    first, second = (float(c) for c in program.coefficients[i, :2])
    if code in _SAME_SHAPE and (inputs != shape).any():
        return f"has shape {shape.tolist()}, but reads shapes {inputs.tolist()}"
    if code == ir.CONCAT and ((inputs[:, 1:] != shape[1:]).any() or inputs[:, 0].sum() != shape[0]):
        return f"has shape {shape.tolist()}, but joins shapes {inputs.tolist()}"
    if code == ir.ADD and not np.isfinite([first, second]).all():
        return f"has coefficients {first} and {second}, which must be finite"
    if code == ir.CLIP and not first < second:
        return f"clips to [{first}, {second}], which is empty"
    return _window_problem(code, shape, inputs[0], attributes) if code in _WINDOWED else None


def _window_problem(code, shape, input_shape, attributes):
    """What is wrong with a sliding window, or None."""
    sizes = attributes[[ir.KERNEL_H, ir.KERNEL_W, ir.STRIDE_H, ir.STRIDE_W, ir.DILATION_H, ir.DILATION_W, ir.GROUPS]]
    if (sizes < 1).any() or (attributes < 0).any():
        return f"has a window with attributes {attributes.tolist()}, where sizes must be positive"
    groups, (c_in, c_out) = int(attributes[ir.GROUPS]), (int(input_shape[0]), int(shape[0]))
    if (c_in % groups or c_out % groups) if code == ir.CONV2D else c_in != c_out:
        return f"has {groups} groups, {c_in} channels before and {c_out} after it"
    averages_input = code == ir.AVG_POOL and not attributes[ir.COUNT_PAD] and not attributes[ir.DIVISOR]
    if (code == ir.MAX_POOL or averages_input) and not windows_meet_input(input_shape, shape, attributes):
        return "has a window that lies in the padding"
    return None


def _expected_sizes(program, i, code, operands, size):
    """Allowed (weights, biases, indices) of op i."""
    channels = int(program.shapes[i, 0])
    n_in = int(np.prod(program.shapes[operands[0]])) if len(operands) else 0
    if code == ir.AFFINE:
        return {(n_in * size, size, 0)}
    if code == ir.CONV2D:
        a = program.attributes[i]
        taps = int(a[ir.KERNEL_H] * a[ir.KERNEL_W])
        return {(taps * int(program.shapes[operands[0], 0]) * channels // max(1, int(a[ir.GROUPS])), channels, 0)}
    if code == ir.SCALE:
        return {(channels, channels, 0), (size, size, 0)}
    if code == ir.LEAKY_RELU:
        return {(channels, 0, 0), (size, 0, 0)}
    if code == ir.GATHER:
        return {(0, 0, size), (0, size, size)}
    return {(0, 0, 0)}
