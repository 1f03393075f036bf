"""Neutral graph -> Network: layouts become index arrays, BatchNorm and other scalings fold into the weights before them.

Every tensor of the graph is a *view*: the op that computes it, and for each logical entry the entry of that op's
position-major value. Reshape, transpose, slice and flatten only change the view; a Gather op is made only where an op
needs another layout than the value has. So a network lowers to the same program however its exporter spelled Flatten.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import ConversionError, InputError
from ..kernels import program as ir
from ..network import Network
from ..program_check import windows_meet_input


@dataclass(frozen=True)
class _View:
    """Entries of an op's value: ``index`` has the logical shape; -1 stands for the constant ``fill``."""

    op: int
    index: np.ndarray
    fill: float = 0.0


@dataclass
class _Op:
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
        return int(np.prod(self.shape))


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
        The graph has no output, or its output doesn't depend on its input.
    InputError
        A weight is not finite.
    """
    if graph.output is None:
        raise ConversionError("the graph has no output; set graph.output to the tensor that the network computes")
    lowering = _Lowering(graph)
    for node in graph.nodes:
        lowering.views.append(getattr(lowering, node.kind)(node, *(lowering.views[i] for i in node.inputs)))
    output = lowering.views[graph.output.node]
    if (output.index < 0).any() or not output.index.size:
        output = lowering.gathered(output, (output.index.size, 1, 1), np.arange(output.index.size), "output")
    ops, _ = _fold_scales(*_pruned(lowering.ops, output.op))
    shape = graph.output.shape[1:] if graph.batched and graph.output.shape[:1] == (1,) else graph.output.shape
    input_shape = graph.input.shape[1:] if graph.batched else graph.input.shape
    program = _assemble(ops, input_index=lowering.views[0].index.ravel(), output_index=output.index.ravel())
    return Network(program, input_shape=input_shape, output_shape=shape, names=tuple(op.name for op in ops))


def _canonical(shape):
    """Entry of the position-major value of each (channel, row, column)."""
    channels, height, width = shape
    return np.arange(channels * height * width, dtype=np.int64).reshape(height, width, channels).transpose(2, 0, 1)


def _image_shape(shape):
    """(channels, height, width) in which a logical shape is stored when nothing else decides."""
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

    # The tools.

    def emit(self, code, node, operands, shape, **fields):
        shape = tuple(int(n) for n in shape)
        self.ops.append(_Op(code, node if isinstance(node, str) else node.name, tuple(operands), shape, **fields))
        return len(self.ops) - 1

    def gathered(self, view, shape, canonical, name):
        """A view of a new op of ``shape`` whose entry ``canonical[k]`` holds logical entry k."""
        indices = np.empty(view.index.size, np.int64)
        indices[canonical.ravel()] = view.index.ravel()
        biases = np.full(indices.size, view.fill) if (indices < 0).any() else np.empty(0)
        op = self.emit(ir.GATHER, name, (view.op,), shape, indices=indices, biases=biases)
        return _View(op, canonical.reshape(view.index.shape))

    def stored(self, view, shape, name):
        """The view stored as ``shape`` (channels, height, width) in canonical order; a Gather only where needed."""
        canonical = _canonical(shape).reshape(view.index.shape)
        if self.ops[view.op].shape == tuple(shape) and np.array_equal(view.index, canonical):
            return view
        return self.gathered(view, shape, canonical, name)

    def bijective(self, view, name):
        """The view as one that covers each entry of its op exactly once."""
        index = view.index.ravel()
        if index.size == self.ops[view.op].size and np.array_equal(np.sort(index), np.arange(index.size)):
            return view
        shape = _image_shape(view.index.shape)
        return self.gathered(view, shape, _canonical(shape), name)

    def scattered(self, view, values):
        """Constants given per logical entry, per channel where all positions agree, else per stored entry."""
        out = np.empty(view.index.size)
        out[view.index.ravel()] = np.broadcast_to(np.asarray(values, np.float64), view.index.shape).ravel()
        channels = self.ops[view.op].shape[0]
        rows = out.reshape(-1, channels)
        return rows[0].copy() if (rows == rows[0]).all() else out

    def window_input(self, view, node):
        """Operand for a window op, and how many zero rows and columns around it its padding already holds."""
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
        if len(fills) > 1:  # constants of two values: settle the inner ones first
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
        index = view.index.ravel()
        inside = index >= 0
        stored = np.zeros((self.ops[view.op].size, n_out))
        np.add.at(stored, index[inside], weight.T[inside])
        if not inside.all():
            bias = bias + view.fill * weight[:, ~inside].sum(axis=1)
        op = self.emit(ir.AFFINE, node, (view.op,), (n_out, 1, 1), weights=stored.ravel(), biases=bias)
        return _View(op, np.arange(n_out, dtype=np.int64).reshape(node.shape))

    def _pointwise(self, node, view, weight, bias):
        """A linear map of the last axis at several positions: a 1 x 1 convolution."""
        n_out, n_in = weight.shape
        positions = view.index.size // n_in
        order = np.arange(view.index.size, dtype=np.int64).reshape(view.index.shape)
        operand = self.ops[view.op]
        if operand.shape[0] != n_in or operand.size != view.index.size or not np.array_equal(view.index, order):
            view = self.gathered(view, (n_in, 1, positions), order, node.name)
        shape = (n_out, *self.ops[view.op].shape[1:])
        op = self.emit(
            ir.CONV2D, node, (view.op,), shape, attributes=_window((1, 1)), weights=weight.T.ravel(), biases=bias
        )
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
        view = self.bijective(view, node.name)
        n = self.ops[view.op].size
        weights = self.scattered(view, node.attributes["scale"])
        biases = self.scattered(view, node.attributes["shift"])
        if weights.size != biases.size:  # one of them varies over positions
            weights, biases = (np.resize(x, n) if x.size != n else x for x in (weights, biases))
        op = self.emit(ir.SCALE, node, (view.op,), self.ops[view.op].shape, weights=weights, biases=biases)
        return replace(view, op=op)

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
        """The view in an order in which neurons are numbered as the source flattens the tensor."""
        shape = self.ops[view.op].shape
        if np.array_equal(view.index.ravel(), _canonical(shape).ravel()):
            return view
        shape = _image_shape(view.index.shape)
        return self.gathered(view, shape, _canonical(shape), name)


def _window(kernel, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    """Attributes of a sliding window as {column: value}."""
    values = (*kernel, *stride, *padding[:2], *dilation, groups)
    return dict(enumerate(int(v) for v in values)) | {ir.PAD_BOTTOM: int(padding[2]), ir.PAD_RIGHT: int(padding[3])}


def _pruned(ops, output):
    """The ops that the output needs, renumbered."""
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


def _fold_scales(ops, output):
    """Fold each Scale into the Affine, Conv2d or Scale before it, where nothing else reads that."""
    for i, op in enumerate(ops):
        if op.code != ir.SCALE:
            continue
        before = op.operands[0]
        readers = sum(other.operands.count(before) for other in ops)
        if readers == 1 and ops[before].code in (ir.AFFINE, ir.CONV2D, ir.SCALE) and before != output:
            merged = _merged(ops[before], op)
            if merged is not None:
                ops = list(ops)
                ops[i] = merged
                return _fold_scales(*_pruned(ops, output))
    return ops, output


def _merged(op, scale):
    """``op`` followed by ``scale`` as one op, or None where the scale varies over a convolution's positions."""
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


def _assemble(ops, *, input_index, output_index):
    """The flat arrays."""

    def ragged(parts, dtype):
        offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
        return np.concatenate([np.asarray(p, dtype) for p in parts]).astype(dtype), offsets

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
    weights, weight_offsets = ragged([op.weights for op in ops], np.float64)
    biases, bias_offsets = ragged([op.biases for op in ops], np.float64)
    indices, index_offsets = ragged([op.indices for op in ops], np.int64)
    sizes = np.array([op.size for op in ops], np.int64)
    switching = np.array([op.code >= ir.FIRST_SWITCHING for op in ops])
    return ir.Program(
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
        input_index=np.ascontiguousarray(input_index, np.int64),
        output_index=np.ascontiguousarray(output_index, np.int64),
    )
