"""Lowering of the neutral graph to a Network: layouts become index arrays, scalings are folded into preceding weights.

Every tensor of the graph is a *view*: the op that computes it, and for each logical entry the entry of that op's
position-major value. Reshape, transpose, slice and flatten only change the view; a Gather op is made only where an op
needs a layout that the value does not have. So a network lowers to the same program whichever layout operations its
exporter used.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConversionError
from ..kernels.ir import program as ir
from ..network import Network
from ..program_check import windows_meet_input
from .assemble import Op, assemble, fold_scales, prune

_COLUMNS = 8
_MOST_WEIGHTS = 2**26


@dataclass(frozen=True)
class _View:
    """Entries of an op's value: ``index`` has the logical shape; -1 stands for the constant ``fill``."""

    op: int
    index: np.ndarray
    fill: float = 0.0


def lower(graph):
    """Lower a neutral graph to a network.

    Parameters
    ----------
    graph : Graph
        With ``output`` set.

    Returns
    -------
    Network

    Raises
    ------
    ConversionError
        The graph has no output, or its output does not depend on its input.
    InputError
        A weight is not finite.
    """
    if graph.output is None:
        raise ConversionError("the graph has no output; set graph.output to the tensor that the network computes")
    lowering = _Lowering(graph)
    for node in graph.nodes:
        lowering.views.append(getattr(lowering, node.kind)(node, *(lowering.views[i] for i in node.inputs)))
    output = lowering.views[graph.output.node]
    if not output.index.size:
        raise ConversionError(f"the output has shape {graph.output.shape}, without entries; check input_shape and the source")
    if (output.index < 0).any():
        output = lowering.gathered(output, (output.index.size, 1, 1), np.arange(output.index.size), "output")
    ops, _ = fold_scales(*prune(lowering.ops, output.op))
    shape = graph.output.shape[1:] if graph.batched and graph.output.shape[:1] == (1,) else graph.output.shape
    input_shape = graph.input.shape[1:] if graph.batched else graph.input.shape
    indices = {"input_index": lowering.views[0].index.ravel(), "output_index": output.index.ravel()}
    del lowering  # its ops hold the weights, too
    program = assemble(ops, **indices)
    return Network(program, input_shape=input_shape, output_shape=shape, names=tuple(op.name for op in ops))


def _canonical(shape):
    """Return the entry of the position-major value of each (channel, row, column)."""
    channels, height, width = shape
    return np.arange(channels * height * width, dtype=np.int64).reshape(height, width, channels).transpose(2, 0, 1)


def _image_shape(shape):
    """Return the (channels, height, width) in which a logical shape is stored by default."""
    shape = tuple(shape)
    while len(shape) > 1 and shape[0] == 1 and len(shape) != 3:
        shape = shape[1:]
    if len(shape) == 3:
        return shape
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return int(np.prod(shape, dtype=np.int64)), 1, 1


class _Lowering:
    """One method per node kind of the graph; each returns the view of its output."""

    def __init__(self, graph):
        self.graph = graph
        self.ops = []
        self.views = []

    # Helpers.

    def emit(self, code, node, operands, shape, **fields):
        shape = tuple(int(n) for n in shape)
        self.ops.append(Op(code, node if isinstance(node, str) else node.name, tuple(operands), shape, **fields))
        return len(self.ops) - 1

    def gathered(self, view, shape, canonical, name):
        """Return a view of a new Gather op of ``shape`` whose entry ``canonical[k]`` holds logical entry k."""
        indices = np.empty(view.index.size, np.int64)
        indices[canonical.ravel()] = view.index.ravel()
        biases = np.full(indices.size, view.fill) if (indices < 0).any() else np.empty(0)
        op = self.emit(ir.GATHER, name, (view.op,), shape, indices=indices, biases=biases)
        return _View(op, canonical.reshape(view.index.shape))

    def stored(self, view, shape, name):
        """Return the view stored as ``shape`` (channels, height, width) in canonical order, by a Gather if needed."""
        canonical = _canonical(shape).reshape(view.index.shape)
        if self.ops[view.op].shape == tuple(shape) and np.array_equal(view.index, canonical):
            return view
        return self.gathered(view, shape, canonical, name)

    def bijective(self, view, name):
        """Return the view as one that covers each entry of its op exactly once, by a Gather if needed."""
        index = view.index.ravel()
        if index.size == self.ops[view.op].size and np.array_equal(np.sort(index), np.arange(index.size)):
            return view
        shape = _image_shape(view.index.shape)
        return self.gathered(view, shape, _canonical(shape), name)

    def scattered(self, view, values):
        """Return constants given per logical entry as one per channel if all positions agree, else one per stored entry."""
        out = np.empty(view.index.size)
        out[view.index.ravel()] = np.broadcast_to(np.asarray(values, np.float64), view.index.shape).ravel()
        channels = self.ops[view.op].shape[0]
        rows = out.reshape(-1, channels)
        return rows[0].copy() if (rows == rows[0]).all() else out

    def window_input(self, view, node):
        """Return the operand of a window op, and the rows and columns of zero padding that the view adds around it."""
        shape = view.index.shape[-3:]
        index = view.index.reshape(shape)
        inside = index >= 0
        if view.fill == 0.0 and not inside.all() and inside.any():
            rows, columns = np.flatnonzero(inside.any((0, 2))), np.flatnonzero(inside.any((0, 1)))
            core = index[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            if core.shape == self.ops[view.op].shape and np.array_equal(core, _canonical(core.shape)):
                return view.op, (rows[0], columns[0])
        return self.stored(view, shape, node.name).op, (0, 0)

    # The node kinds.

    def input(self, node):
        shape = _image_shape(node.shape)
        op = self.emit(ir.INPUT, node, (), shape)
        return _View(op, _canonical(shape).reshape(node.shape))

    def layout(self, node, view):
        index = node.attributes["index"]
        flat = view.index.ravel()
        out = np.where(index >= 0, flat[index], -1)
        fills = {view.fill} if (out[index >= 0] < 0).any() else set()
        fills |= {node.attributes["fill"]} if (index < 0).any() else set()
        if len(fills) > 1:  # two different constants: materialize the inner ones first
            view = self.bijective(view, node.name)
            return self.layout(node, view)
        return _View(view.op, out, fills.pop() if fills else 0.0)

    def linear(self, node, view):
        weight = np.asarray(node.attributes["weight"], np.float64)
        bias = np.asarray(node.attributes["bias"], np.float64)
        n_out, n_in = weight.shape
        positions = view.index.size // max(1, n_in)
        if positions != 1:
            return self._pointwise(node, view, weight, bias)
        if self.ops[view.op].size * n_out > max(_MOST_WEIGHTS, 2 * weight.size):  # most of them zero: take the few entries out
            view = self.gathered(view, (n_in, 1, 1), np.arange(n_in), node.name)
        index = view.index.ravel()
        inside = index >= 0
        stored = _weights_of_entries(weight, index, self.ops[view.op].size)
        if not inside.all():
            bias = bias + view.fill * weight[:, ~inside].sum(axis=1)
        op = self.emit(ir.AFFINE, node, (view.op,), (n_out, 1, 1), weights=stored.ravel(), biases=bias)
        return _View(op, np.arange(n_out, dtype=np.int64).reshape(node.shape))

    def _pointwise(self, node, view, weight, bias):
        """Lower a linear map of the last axis at several positions as a 1 x 1 convolution."""
        n_out, n_in = weight.shape
        positions = view.index.size // n_in
        order = np.arange(view.index.size, dtype=np.int64).reshape(view.index.shape)
        operand = self.ops[view.op]
        if operand.shape[0] != n_in or operand.size != view.index.size or not np.array_equal(view.index, order):
            view = self.gathered(view, (n_in, 1, positions), order, node.name)
        shape = (n_out, *self.ops[view.op].shape[1:])
        op = self.emit(ir.CONV2D, node, (view.op,), shape, attributes=_window((1, 1)), weights=weight.T.ravel(), biases=bias)
        return _View(op, np.arange(positions * n_out, dtype=np.int64).reshape(node.shape))

    def conv(self, node, view):
        a = node.attributes
        weight = np.asarray(a["weight"], np.float64)
        operand, (rows, columns) = self.window_input(view, node)
        groups, (n_out, per_group, kh, kw) = a["groups"], weight.shape
        stored = weight.reshape(groups, n_out // groups, per_group, kh * kw).transpose(0, 3, 2, 1)
        attributes = _window((kh, kw), a["stride"], a["padding"], a["dilation"], groups)
        attributes[ir.PAD_TOP] += int(rows)
        attributes[ir.PAD_LEFT] += int(columns)
        shape = node.shape[-3:]
        bias = np.asarray(a["bias"], np.float64)
        op = self.emit(ir.CONV2D, node, (operand,), shape, attributes=attributes, weights=stored.ravel(), biases=bias)
        return _View(op, _canonical(shape).reshape(node.shape))

    def avg_pool(self, node, view):
        a = node.attributes
        counted = {ir.COUNT_PAD: int(a["count_pad"]), ir.DIVISOR: a["divisor"]}
        return self._pool(ir.AVG_POOL, node, view, _window(a["kernel"], a["stride"], a["padding"]) | counted)

    def max_pool(self, node, view):
        a = node.attributes
        attributes = _window(a["kernel"], a["stride"], a["padding"], a["dilation"])
        if not windows_meet_input(view.index.shape[-3:], node.shape[-3:], attributes):
            raise ConversionError(
                f"node {node.name!r} has a window that lies in the padding, so its maximum is undefined; reduce its "
                "padding or dilation"
            )
        return self._pool(ir.MAX_POOL, node, view, attributes)

    def _pool(self, code, node, view, attributes):
        operand = self.stored(view, view.index.shape[-3:], node.name).op
        shape = node.shape[-3:]
        op = self.emit(code, node, (operand,), shape, attributes=attributes)
        return _View(op, _canonical(shape).reshape(node.shape))

    def scale_shift(self, node, view):
        per_channel = self._per_channel(node, view)
        if per_channel is not None:
            weights, biases = per_channel
            op = self.emit(ir.SCALE, node, (view.op,), self.ops[view.op].shape, weights=weights, biases=biases)
            return replace(view, op=op)
        view = self.bijective(view, node.name)
        n = self.ops[view.op].size
        weights = self.scattered(view, node.attributes["scale"])
        biases = self.scattered(view, node.attributes["shift"])
        if weights.size != biases.size:  # one of them varies over positions
            weights, biases = (np.resize(x, n) if x.size != n else x for x in (weights, biases))
        op = self.emit(ir.SCALE, node, (view.op,), self.ops[view.op].shape, weights=weights, biases=biases)
        return replace(view, op=op)

    def _per_channel(self, node, view):
        """Return one scale and one shift per channel if the view leaves out entries of a convolution and they suffice.

        The rows between the blocks of a convolution over three axes are such entries; the Scale then folds into its weights.
        """
        index, conv = view.index.ravel(), self.ops[view.op]
        if conv.code != ir.CONV2D or (index < 0).any() or np.unique(index).size == conv.size:
            return None
        channel, values = index % conv.shape[0], []
        for key, default in (("scale", 1.0), ("shift", 0.0)):
            given = np.broadcast_to(np.asarray(node.attributes[key], np.float64), view.index.shape).ravel()
            of_channel = np.full(conv.shape[0], default)
            of_channel[channel] = given
            if not np.array_equal(of_channel[channel], given):
                return None
            values.append(of_channel)
        return values

    def add(self, node, first, second):
        first = self.bijective(first, node.name)
        shape = self.ops[first.op].shape
        if self.ops[second.op].shape != shape or not np.array_equal(first.index, second.index):
            second = self.gathered(second, shape, first.index, node.name)
        op = self.emit(ir.ADD, node, (first.op, second.op), shape, coefficients=tuple(node.attributes["coefficients"]))
        return _View(op, first.index)

    def concat(self, node, *views):
        axis = node.attributes["axis"]
        image = len(node.shape) in (3, 4) and axis == len(node.shape) - 3 and node.shape[:-3] in ((), (1,))
        if image:
            parts = [self.stored(v, v.index.shape[-3:], node.name) for v in views]
            shape = node.shape[-3:]
            index = _canonical(shape).reshape(node.shape)
        else:
            parts = [self.stored(v, (v.index.size, 1, 1), node.name) for v in views]
            starts = np.cumsum([0] + [v.index.size for v in views])
            shape = (int(starts[-1]), 1, 1)
            orders = [np.arange(v.index.size, dtype=np.int64).reshape(v.index.shape) for v in views]
            index = np.concatenate([o + s for o, s in zip(orders, starts, strict=False)], axis=axis)
        op = self.emit(ir.CONCAT, node, [p.op for p in parts], shape)
        return _View(op, index)

    def relu(self, node, view):
        return self._switch(ir.RELU, node, self.numbered(view, node.name))

    def clip(self, node, view):
        bounds = node.attributes["lower"], node.attributes["upper"]
        if bounds == (-np.inf, np.inf):
            return view
        return self._switch(ir.CLIP, node, self.numbered(view, node.name), coefficients=bounds)

    def leaky_relu(self, node, view):
        view = self.numbered(view, node.name)
        return self._switch(ir.LEAKY_RELU, node, view, weights=self.scattered(view, node.attributes["slope"]))

    def _switch(self, code, node, view, **fields):
        op = self.emit(code, node, (view.op,), self.ops[view.op].shape, **fields)
        return replace(view, op=op)

    def numbered(self, view, name):
        """Return the view in an order in which neurons are numbered as the source flattens the tensor."""
        shape = self.ops[view.op].shape
        if np.array_equal(view.index.ravel(), _canonical(shape).ravel()):
            return view
        shape = _image_shape(view.index.shape)
        return self.gathered(view, shape, _canonical(shape), name)


def _weights_of_entries(weight, index, n_stored):
    """Return the weights [stored entries, outputs] of a linear map of logical entries, each stored at ``index``, or -1."""
    stored, inside = np.zeros((n_stored, weight.shape[0])), index >= 0
    if index.size and inside.all() and np.bincount(index).max() == 1:
        for first in range(0, index.size, _COLUMNS):  # few at a time stay in the cache: four times as fast for large weights
            stored[index[first : first + _COLUMNS]] = np.add(weight[:, first : first + _COLUMNS].T, 0.0, order="C")
        return stored
    np.add.at(stored, index[inside], weight.T[inside])
    return stored


def _window(kernel, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    """Return the attributes of a sliding window as {column: value}."""
    values = (*kernel, *stride, *padding[:2], *dilation, groups)
    return dict(enumerate(int(v) for v in values)) | {ir.PAD_BOTTOM: int(padding[2]), ir.PAD_RIGHT: int(padding[3])}
