"""A softmax, sigmoid or arg-max at the end of a network: dropped, with a warning that says what the outputs then are.

What follows and only moves entries (reshape, transpose, a slice of sigmoids) stays in force.
"""

from dataclasses import dataclass, replace

import numpy as np

from .graph import Tensor, refuse

AFTER = frozenset(("log", "exp"))  # increasing functions: they may follow a softmax or sigmoid at the end
SELECTED = (
    "of which only some entries are returned, and a probability depends on all scores; return the scores before it, or all "
    "probabilities"
)
_MEANS = {
    "softmax": "the values before it (logits), which have the same arg-max",
    "sigmoid": "the values before it (logits): a logit above 0 is a probability above 1/2",
    "argmax": "the scores before it, whose arg-max it is",
}


@dataclass(frozen=True)
class Ending:
    """The result of a softmax, sigmoid or arg-max, which only the output of the network may be.

    Attributes
    ----------
    name, kind : str
        Of the node in the source.
    family : str
        "softmax", "sigmoid" or "argmax".
    tensor : Tensor
        The values before it, with the layout of the result.
    """

    name: str
    kind: str
    family: str
    tensor: Tensor

    def refuse(self):
        """Raise the error for a function that is not at the end."""
        refuse(
            self.name,
            self.kind,
            "which is not piecewise linear; it is dropped only at the end, where nothing but moves of entries may follow",
        )

    def moved(self, graph, tensor):
        """Return the ending with its entries moved: ``tensor`` is a layout of this ending's tensor.

        Raises
        ------
        UnsupportedOperationError
            Entries are left out of a softmax, or filled in.
        """
        if tensor.node != self.tensor.node:
            node = graph.nodes[tensor.node]
            if node.kind != "layout" or node.inputs != (self.tensor.node,):
                self.refuse()
            index = node.attributes["index"].ravel()
            complete = np.array_equal(np.sort(index), np.arange(self.tensor.size))
            if self.family == "argmax" or (index < 0).any():
                self.refuse()
            if self.family == "softmax" and not complete:
                refuse(self.name, self.kind, SELECTED)
        return replace(self, tensor=tensor)

    def warning(self, where=""):
        """Return the text that says what the network's outputs are."""
        return (
            f"node {self.name!r} is {self.kind} at the end{where} and was dropped: the network's outputs are "
            f"{_MEANS[self.family]}"
        )


def check_axis(name, kind, count):
    """Refuse a softmax over one entry, which is the constant 1."""
    if count == 1:
        refuse(name, kind, "over an axis with one entry, so its output is the constant 1; return the score before it")
