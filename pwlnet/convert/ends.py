"""Functions at the end of a classifier that do not change its decision: softmax, sigmoid, their logarithms, arg-max.

They are not piecewise linear, and are dropped with a warning: the network then computes the logits. Operations after them
that move entries stay in force. What is dropped is recorded in ``graph.ends``; `drop_ends` decides whether the output of the
graph is a rearrangement of their inputs with the same decision.
"""

from dataclasses import dataclass

import numpy as np

from .graph import Tensor, refuse


@dataclass(frozen=True)
class End:
    """A function that is the identity in the network if it is at the end.

    Attributes
    ----------
    name, kind : str
        Of the node in the source.
    tensor : Tensor
        Its input, as a node of its own: the logits.
    axes : tuple of int
        Axes over whose entries it normalises; empty for functions of single entries.
    indices : bool
        Whether the source returns the indices of the largest entries.
    """

    name: str
    kind: str
    tensor: Tensor
    axes: tuple
    indices: bool


def add_end(graph, x, axes, *, name, kind, indices=False):
    """Record a function of the logits ``x`` in the graph, and return it: End.

    Parameters
    ----------
    graph : Graph
    x : Tensor
    axes : sequence of int
        Axes over whose entries the function normalises or compares; empty for functions of single entries.
    name, kind : str
    indices : bool, optional
        Whether it returns the indices of the largest entries.

    Raises
    ------
    UnsupportedOperationError
        It normalises over one entry, which is a constant.
    """
    rank, normalises = len(x.shape), len(axes) > 0
    axes = tuple(sorted({int(a) % rank for a in axes})) if rank else ()
    if normalises and int(np.prod([x.shape[a] for a in axes])) == 1:
        shown = axes[0] if len(axes) == 1 else axes
        refuse(name, kind, f"which over one entry is a constant (axis {shown} of shape {x.shape}); remove it from the network")
    end = End(name, kind, graph.layout(x, x.indices(), name=name), axes, indices)
    graph.ends.append(end)
    return end


def drop_ends(graph, output):
    """Check that ``output`` rearranges the inputs of the recorded ends without a change of the decision.

    Parameters
    ----------
    graph : Graph
    output : Tensor
        A rearrangement of the tensors of some ends.

    Returns
    -------
    str
        The text of a warning: what was dropped, and what the network computes.

    Raises
    ------
    UnsupportedOperationError
        The output pads them, mixes them with other values, or takes a part of what a softmax normalises.
    """
    moved, stack = set(), [output.node]
    while stack:
        i = stack.pop()
        if i not in moved and graph.nodes[i].kind in ("layout", "concat"):
            moved.add(i)
            stack.extend(graph.nodes[i].inputs)
    last = [end for end in graph.ends if end.indices and end.tensor.node == output.node]
    ends = [end for end in graph.ends if not end.indices and end.tensor.node in moved]
    origins = _origins(graph, ends, output) if ends else None
    first = groups = 0
    dropped = []
    for end in ends:
        if origins is None or (origins < 0).any():
            refuse(end.name, end.kind, "whose results are padded or joined with other values; return them alone")
        present = np.zeros(end.tensor.size, bool)
        present[origins[(origins >= first) & (origins < first + present.size)] - first] = True
        first += present.size
        if not present.any():
            continue
        dropped.append(end)
        counts = present.reshape(end.tensor.shape).sum(axis=end.axes)
        if not np.isin(counts, (0, int(np.prod([end.tensor.shape[a] for a in end.axes])))).all():
            refuse(
                end.name,
                end.kind,
                "of whose entries the output takes a part; a probability depends on all logits, so return all of them, or for "
                "two classes the difference of their logits",
            )
        groups += int(np.count_nonzero(counts)) if end.axes else 0
    for end in last:  # an arg-max of softmaxes: over the entries of one of them each, or their logits are not comparable
        compared = end.tensor.size // int(np.prod([end.tensor.shape[a] for a in end.axes]))
        if groups and compared != groups:
            refuse(end.name, end.kind, "which compares probabilities of different softmaxes; return them alone")
        groups = compared
    return _message(dropped + last, groups)


def _origins(graph, ends, output):
    """Return for each entry of ``output`` the entry of the ends that it copies (counted on), -1 for a constant, or None."""
    known, first = {}, 0
    for end in ends:
        known[end.tensor.node] = end.tensor.indices() + first
        first += end.tensor.size
    for i in range(min(known), output.node + 1):
        node = graph.nodes[i]
        if i in known or not node.inputs or any(k not in known for k in node.inputs):
            continue
        if node.kind == "layout":
            index = node.attributes["index"]
            entries = np.append(known[node.inputs[0]].ravel(), -1)
            known[i] = entries[np.where(index < 0, entries.size - 1, index)]
        elif node.kind == "concat":
            known[i] = np.concatenate([known[k] for k in node.inputs], axis=node.attributes["axis"])
    return known.get(output.node)


def _message(dropped, groups):
    """Return the text of the warning: what was dropped, what is computed, how the decision follows from it.

    ``groups`` is the number of classifications in the output: of pixels, or of heads that were joined. Logits of different
    groups are not comparable, so an arg-max over all of them is none of the source's.
    """
    shown = " and ".join(f"node {end.name!r} ({end.kind})" for end in dropped[:3])
    if len(dropped) > 3:
        shown += f" and {len(dropped) - 3} more"
    decisions = []
    if any(end.axes for end in dropped):
        largest = "the largest" if groups == 1 else f"in each of the {groups} groups that were normalised alone, the largest"
        decisions.append(f"{largest} is the predicted class, as before")
    sigmoids = [end for end in dropped if not end.axes]
    if sigmoids:
        several = sum(end.tensor.size for end in sigmoids) > 1
        decisions.append(
            "each label is predicted where its output is above 0 (probability above 1/2)"
            if several
            else "class 1 is predicted where the output is above 0 (probability above 1/2)"
        )
    return (
        f"{shown} at the end {'was' if len(dropped) == 1 else 'were'} dropped; the network computes the logits: "
        + ", ".join(decisions)
    )
