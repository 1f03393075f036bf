"""Scores whose gradients are amplified at float neurons: the training of the second variant of SC-RFP.

Legend: B images, S shape of an image, O classes.
"""

import contextlib

import torch

from .switching_modes import RecordingMode, SwitchingMode, check_module, compare


class _AmplifyingMode(SwitchingMode):
    """Multiply gradients of outputs of float neurons by 1 + amplification; values are unchanged."""

    def __init__(self, points, reference, amplification):
        super().__init__(points, training=True)
        self.reference, self.amplification = reference, amplification

    def switch(self, call):
        extra = self.amplification * compare(call, self.reference).to(call.output.dtype)
        return call.output + extra * (call.output - call.output.detach())


@contextlib.contextmanager
def _restoring(module, device):
    """Restore the buffers of a module and torch's random state after the context."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        yield
        for buffer, values in kept:
            buffer.copy_(values)


def amplified_scores(module, x, references, amplification):
    """Compute scores with a gradient that is larger through the float neurons of the pairs (x, reference).

    Exact up to rounding: the scores are those of the module, bit for bit, except that a zero may change its sign. In the
    gradient, the output y of a float neuron is (1 + amplification) y - amplification stopgrad(y).

    Parameters
    ----------
    module : torch.nn.Module
        A classifier, in training or in evaluation mode; both passes are in that mode, with the same dropout. The pass of the
        references leaves running statistics unchanged.
    x, references : tensor [B, *S]
    amplification : float

    Returns
    -------
    tensor [B, O]

    Raises
    ------
    UnsupportedOperationError
        The module is not piecewise linear, apart from normalisations; the message names the function.
    """
    check_module(module)
    with _restoring(module, x.device), RecordingMode(references, training=True) as first:
        module(references)
    with _AmplifyingMode(x, first.statuses, amplification) as second:
        scores = module(x)
    second.check_output(scores)
    return scores
