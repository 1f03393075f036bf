"""What the nodes of a traced torch graph compute: values with their memory, results that are refused, calls of handlers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...errors import InputError
from ..graph import Graph, Tensor, refuse
from .names import NOT_CONTINUOUS, NOT_PIECEWISE_LINEAR, VALUES
from .precise import in_float64


class InPlaceViewWrite(Exception):
    """The trace writes in place through a view; only a functional trace can represent that."""


class StaleRead(InPlaceViewWrite):
    """The trace reads a value whose memory was overwritten through another one."""


class Storage:
    """Memory shared by values; its version increases with every in-place write."""

    def __init__(self):
        self.version = 0


class Value:
    """A tensor that depends on the input: the tensor of the neutral graph, and its memory."""

    def __init__(self, tensor, storage=None):
        self.tensor = tensor
        self.storage = storage or Storage()
        self.version = self.storage.version
        self.failed = None

    def write(self, tensor):
        """Overwrite the value in place; other values in the same memory become stale."""
        if tensor.shape != self.tensor.shape:
            raise InPlaceViewWrite
        self.storage.version += 1
        self.tensor, self.version = tensor, self.storage.version

    def fail(self, failed):
        """Overwrite the value in place by an unsupported result."""
        self.storage.version += 1
        self.version, self.failed = self.storage.version, failed


@dataclass(frozen=True)
class Unsupported:
    """A result without exact conversion, such as the indices of a maximum.

    ``tensor`` holds the logits of a softmax or sigmoid, which replace it in the output, and where ``final`` only there;
    ``error`` is what else to raise.
    """

    name: str
    kind: str
    reason: str
    tensor: Tensor | None = None
    error: Exception | None = None
    final: bool = False

    def refuse(self):
        """Raise the error that this result stands for."""
        if self.error is not None:
            raise self.error
        refuse(self.name, self.kind, self.reason)


@dataclass(frozen=True)
class Call:
    """What a handler needs to know about the node that it converts."""

    graph: Graph
    name: str
    kind: str
    operation: str
    run: Any

    def refuse(self, reason=None):
        """Raise the error for this node; the default reason depends on whether its kind is known."""
        plain = self.kind.lower().replace("_", "")
        if reason is None and plain in NOT_CONTINUOUS:
            reason = "which is not continuous"
        elif reason is None and plain in VALUES:
            reason = "which takes a value out of the computation that its output needs; keep it a tensor"
        elif reason is None and plain not in NOT_PIECEWISE_LINEAR:
            reason = "which has no exact conversion"
        refuse(self.name, self.kind, reason)

    def is_known_nonlinear(self):
        """Return whether the node's kind is one that is not piecewise linear."""
        return self.kind.lower().replace("_", "") in NOT_PIECEWISE_LINEAR

    def evaluate(self, *args, **kwargs):
        """Run the node's operation on torch tensors, in float64."""
        return in_float64(self.operation, self.run, args, kwargs)

    def array(self, constant):
        """Return a constant as a float64 array, exactly."""
        if isinstance(constant, Tensor):
            self.refuse("which needs a constant where the network computes an activation")
        constant = torch.as_tensor(np.asarray(constant) if isinstance(constant, float) else constant).detach()
        if constant.is_complex() or constant.is_quantized or constant.layout != torch.strided or constant.is_meta:
            self.refuse(f"with a constant of {constant.dtype}, {constant.layout}, on {constant.device}")
        array = constant.to("cpu", torch.float64).numpy()
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise InputError(
                f"node {self.name!r} uses a constant that holds {bad} values that are not finite; "
                "a network needs finite constants, check the source"
            )
        return array


def probe(tensor):
    """Return a torch tensor of zeros with the shape of a graph tensor, expanded from one entry."""
    return torch.zeros((), dtype=torch.float64).expand(tensor.shape)


def first_line(error):
    """Return the first line of an error's message, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ;")
