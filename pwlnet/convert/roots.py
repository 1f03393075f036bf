"""Views of graph tensors, and the elementwise functions between them.

A `View` is a tensor of the graph, or entries of it; layout nodes that only copy entries are looked through. A view is an
elementwise function of its *ancestors*: each of its entries depends on one entry of the ancestor, the one at the same place.
"""

import numpy as np

from .graph import Tensor

LONGEST_WALK = 64  # elementwise nodes between a value and the root of which it is a function


class View:
    """Entries of a graph tensor: entry k is entry ``index[k]`` of the tensor (None: all, in their order)."""

    def __init__(self, tensor, index=None):
        if index is not None and index.size == tensor.size and np.array_equal(index, np.arange(tensor.size)):
            index = None
        self.tensor, self.index = tensor, index
        self.key = tensor.node, None if index is None else index.tobytes()

    def __eq__(self, other):
        return self.key == other.key

    def __hash__(self):
        return hash(self.key)

    @property
    def size(self):
        """Number of entries."""
        return self.tensor.size if self.index is None else self.index.size

    def taken(self, index):
        """Return the view of the entries ``index`` of this one."""
        return View(self.tensor, index if self.index is None else self.index[index])


def view_of(graph, tensor):
    """Return a tensor as a view, through layout nodes that only copy entries."""
    view = View(tensor)
    while True:
        node = graph.nodes[view.tensor.node]
        if node.kind != "layout" or not node.inputs:
            return view
        index = node.attributes["index"].ravel()
        index = index if view.index is None else index[view.index]
        if (index < 0).any():
            return view
        view = View(tensor_of(graph, node.inputs[0]), index)


def tensor_of(graph, number):
    """Return the tensor that node ``number`` computes."""
    return Tensor(number, graph.nodes[number].shape)


def elementwise_inputs(graph, view):
    """Return the views from which an elementwise node computes ``view``, an empty list for other nodes."""
    node = graph.nodes[view.tensor.node]
    if node.kind not in ("scale_shift", "relu", "leaky_relu", "clip", "add"):
        return []
    inputs = [view_of(graph, tensor_of(graph, number)) for number in node.inputs]
    return inputs if view.index is None else [v.taken(view.index) for v in inputs]


def ancestors(graph, view, limit=LONGEST_WALK):
    """Return the views of which ``view`` is an elementwise function, the nearest first."""
    found = [view]
    while len(found) < limit:
        inputs = elementwise_inputs(graph, found[-1])
        if len(inputs) == 2:
            common = nearest(graph, *inputs, limit=limit // 2)
            inputs = [] if common is None else [common]
        if not inputs:
            break
        found.append(inputs[0])
    return found


def nearest(graph, first, second, limit=LONGEST_WALK):
    """Return the nearest view of which both are elementwise functions, or None."""
    if first == second:
        return first
    if limit < 2:
        return None
    reached = set(ancestors(graph, second, limit))
    return next((view for view in ancestors(graph, first, limit) if view in reached), None)
