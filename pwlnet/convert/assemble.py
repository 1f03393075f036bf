"""The ops of a program under construction: remove unused ops, fold scalings, write the flat arrays."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..kernels.ir import program as ir


@dataclass
class Op:
    """One op of the program under construction."""

    code: int
    name: str
    operands: tuple
    shape: tuple
    attributes: dict = field(default_factory=dict)
    coefficients: tuple = ()
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))
    biases: np.ndarray = field(default_factory=lambda: np.empty(0))
    indices: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def size(self):
        """Number of values."""
        return int(np.prod(self.shape))


def prune(ops, output):
    """Return the ops that the output depends on, renumbered, and the new index of the output."""
    if output == 0 and len(ops) > 0:
        return ops[:1], output
    needed, stack = {0}, [output]
    while stack:
        i = stack.pop()
        if i not in needed:
            needed.add(i)
            stack.extend(ops[i].operands)
    order = sorted(needed)
    number = {old: new for new, old in enumerate(order)}
    kept = [replace(ops[i], operands=tuple(number[k] for k in ops[i].operands)) for i in order]
    return kept, number[output]


def fold_scales(ops, output):
    """Fold each Scale into the Affine, Conv2d or Scale before it if nothing else reads that op."""
    ops = list(ops)
    readers = Counter(i for op in ops for i in op.operands)
    for i, op in enumerate(ops):
        if op.code != ir.SCALE:
            continue
        before = op.operands[0]
        if readers[before] == 1 and ops[before].code in (ir.AFFINE, ir.CONV2D, ir.SCALE) and before != output:
            fused = _fuse_scale(ops[before], op)
            if fused is not None:  # it reads what the op before reads, which is then pruned: the numbers of readers stay
                ops[i] = fused
    return prune(ops, output)


def _fuse_scale(op, scale):
    """Return ``op`` followed by ``scale`` as one op, or None if the scale varies over the positions of a convolution."""
    w, b = scale.weights, scale.biases
    if op.code == ir.CONV2D:
        if w.size != op.shape[0]:
            return None
        groups = op.attributes[ir.GROUPS]
        stored = op.weights.reshape(groups, -1, op.shape[0] // groups) * w.reshape(groups, 1, -1)
    elif op.code == ir.AFFINE:
        stored = op.weights.reshape(-1, op.size) * w
    else:
        size = max(op.weights.size, w.size)
        inner_w, inner_b, w, b = (np.resize(x, size) for x in (op.weights, op.biases, w, b))
        return replace(op, weights=inner_w * w, biases=inner_b * w + b)
    return replace(op, weights=stored.ravel(), biases=op.biases * w + b)


def assemble(ops, *, input_index, output_index):
    """Write the ops as the flat, read-only arrays of a Program; the ops lose their weights, so that these exist only once."""

    def ragged(parts, dtype):
        offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
        flat = np.empty(offsets[-1], dtype)
        for k in range(len(parts)):
            flat[offsets[k] : offsets[k + 1]] = parts[k]
        return flat, offsets

    for op in ops:
        for what, values in (("weights", op.weights), ("biases", op.biases)):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            if bad:
                raise InputError(
                    f"node {op.name!r} has {bad} {what} that are not finite; a network needs finite weights, "
                    "check how it was trained or saved"
                )
    attributes = np.zeros((len(ops), ir.N_ATTRIBUTES), np.int64)
    coefficients = np.zeros((len(ops), 4))
    for i, op in enumerate(ops):
        for column, value in op.attributes.items():
            attributes[i, column] = value
        coefficients[i, : len(op.coefficients)] = op.coefficients
    operands, operand_offsets = ragged([op.operands for op in ops], np.int64)
    weights, weight_offsets = _taken_weights(ops)
    biases, bias_offsets = ragged([op.biases for op in ops], np.float64)
    indices, index_offsets = ragged([op.indices for op in ops], np.int64)
    sizes = np.array([op.size for op in ops], np.int64)
    switching = np.array([op.code >= ir.FIRST_SWITCHING for op in ops])
    program = ir.Program(
        op=np.array([op.code for op in ops], np.int64),
        operands=operands,
        operand_offsets=operand_offsets,
        shapes=np.array([op.shape for op in ops], np.int64).reshape(-1, 3),
        value_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        neuron_offsets=np.concatenate([[0], np.cumsum(np.where(switching, sizes, 0))]).astype(np.int64),
        attributes=attributes,
        coefficients=coefficients,
        weights=weights,
        weight_offsets=weight_offsets,
        biases=biases,
        bias_offsets=bias_offsets,
        indices=indices,
        index_offsets=index_offsets,
        input_index=np.array(input_index, np.int64),
        output_index=np.array(output_index, np.int64),
    )
    for array in program:
        array.setflags(write=False)
    return program


def _taken_weights(ops):
    """Return the weights of all ops in one array, and the offsets; each op loses its weights once they are copied."""
    offsets = np.concatenate([[0], np.cumsum([len(op.weights) for op in ops])]).astype(np.int64)
    flat = np.empty(offsets[-1])
    for op, first, last in zip(ops, offsets, offsets[1:], strict=False):
        flat[first:last] = op.weights
        op.weights = np.empty(0)
    return flat, offsets
