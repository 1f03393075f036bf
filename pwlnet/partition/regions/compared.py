"""A network whose last switching op compares its outputs, so that regions are divided by which output is the largest one.

Legend: O outputs, K neurons.
"""

import numpy as np

from ...errors import InputError
from ...kernels.ir import program as ir
from ...network import Network

CLASSES = ("max", "min")


def with_comparison(network, classes):
    """Append a MaxPool over the outputs, or over their negatives; the outputs stay the first ones.

    Parameters
    ----------
    network : Network
    classes : {"max", "min"}
        Whether the state of the added neuron, the last one, is the largest or the smallest output.

    Returns
    -------
    Network
        With O + 1 outputs.

    Raises
    ------
    InputError
        ``classes`` has another value, or the network has one output only.
    """
    if classes not in CLASSES:
        raise InputError(f"classes is {classes!r}; give 'max', 'min' or None")
    n = network.n_outputs
    if n < 2:
        raise InputError("the network has one output, so there is none to compare it with; leave classes out")
    p, last = network.program, len(network.program.op) - 1
    sign = 1.0 if classes == "max" else -1.0
    column, row, negative, pool = last + 1, last + 2, last + 3, last + 4
    ops = [
        (ir.GATHER, [last], (n, 1, 1), {}, [], [], p.output_index),
        (ir.GATHER, [last], (1, n, 1), {}, [], [], p.output_index),
        (ir.SCALE, [row], (1, n, 1), {}, [sign], [0.0], []),
        (ir.MAX_POOL, [negative], (1, 1, 1), _WINDOW | {ir.KERNEL_H: n, ir.STRIDE_H: n}, [], [], []),
        (ir.CONCAT, [column, pool], (n + 1, 1, 1), {}, [], [], []),
    ]
    extended = p
    for op in ops:
        extended = _appended(extended, *op)
    extended = extended._replace(output_index=np.arange(n + 1))
    for array in extended:
        array.setflags(write=False)
    return Network(extended, input_shape=network.input_shape)


_WINDOW = {ir.KERNEL_W: 1, ir.STRIDE_W: 1, ir.DILATION_H: 1, ir.DILATION_W: 1, ir.GROUPS: 1}


def _appended(p, code, operands, shape, attributes, weights, biases, indices):
    """Return a program with one more op."""
    size = int(np.prod(shape))
    row = np.zeros((1, ir.N_ATTRIBUTES), np.int64)
    for column, value in attributes.items():
        row[0, column] = value

    def ended(offsets, n):
        return np.append(offsets, offsets[-1] + n)

    return p._replace(
        op=np.append(p.op, code),
        operands=np.append(p.operands, operands).astype(np.int64),
        operand_offsets=ended(p.operand_offsets, len(operands)),
        shapes=np.concatenate([p.shapes, [shape]]),
        value_offsets=ended(p.value_offsets, size),
        neuron_offsets=ended(p.neuron_offsets, size if code >= ir.FIRST_SWITCHING else 0),
        attributes=np.concatenate([p.attributes, row]),
        coefficients=np.concatenate([p.coefficients, np.zeros((1, p.coefficients.shape[1]))]),
        weights=np.append(p.weights, weights),
        weight_offsets=ended(p.weight_offsets, len(weights)),
        biases=np.append(p.biases, biases),
        bias_offsets=ended(p.bias_offsets, len(biases)),
        indices=np.append(p.indices, indices).astype(np.int64),
        index_offsets=ended(p.index_offsets, len(indices)),
    )
