"""How much the outputs of a torch module may change by rounding: Monte Carlo arithmetic on the module itself.

The parameters, the input and the result of each operation are multiplied by 1 + d g, with g of mean 0 and variance 1; the
change of the outputs, divided by d / u, is the size of their rounding errors (`convert.check` has the same for networks).
"""

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ...tolerances import CONVERSION_ERRORS, UNIT_ROUNDOFF

SIZE = 2.0**-26
_DRAWS = 16  # at most: a ReLU at zero passes the noise of half of them
_SUMMED = 2.0**5  # square root of the number of terms of a sum, about a thousand


class _Noise(TorchFunctionMode):
    """Perturb the floating-point result of each operation, unless it shares memory with an argument that is only read."""

    def __init__(self, size, generator):
        super().__init__()
        self.size, self.generator = size, generator

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            read = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
            if result.untyped_storage().data_ptr() not in read and 0 not in result.stride():
                perturb(result, self.size, self.generator)
        return result


def perturb(tensor, size, generator):
    """Multiply a floating-point tensor by 1 + size g in place, with independent g of mean 0 and variance 1."""
    with torch._C.DisableTorchFunction():
        noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).sub_(0.5).mul_(size * 12.0**0.5)
        tensor.mul_(noise.add_(1.0))


def perturbed_run(module, run, x, size, seed):
    """Run a float64 module with perturbed parameters, input and operations; its parameters are restored.

    Parameters
    ----------
    module : torch.nn.Module
    run : callable
        (module, x) -> outputs.
    x : torch.Tensor
        float64, of the module's input shape.
    size : float
        Relative size of the perturbations.
    seed : int

    Returns
    -------
    torch.Tensor
    """
    generator = torch.Generator().manual_seed(seed)
    states = [s for s in (*module.parameters(), *module.buffers()) if s.is_floating_point() and 0 not in s.stride()]
    saved = [state.clone() for state in states]
    with torch.no_grad():
        try:
            for state in states:
                perturb(state, size, generator)
            x = x.clone()
            perturb(x, size, generator)
            with _Noise(size, generator):
                return run(module, x)
        finally:
            for state, value in zip(states, saved, strict=True):
                state.copy_(value)


def differ_by_rounding(module, run, rows, actual, expected):
    """Return whether outputs of a module for the same rows, computed in two ways, differ by rounding only.

    Parameters
    ----------
    module : torch.nn.Module
        In float64.
    run : callable
        (module, x) -> outputs.
    rows : float64[B, 1, *input_shape]
    actual, expected : torch.Tensor
        float64[B, O].

    Returns
    -------
    bool
    """
    actual, expected = (a.numpy().astype(np.float64).reshape(len(rows), -1) for a in (actual, expected))
    with np.errstate(all="ignore"):
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        difference = np.where(same, 0.0, np.abs(actual - expected))
        quick = CONVERSION_ERRORS * _SUMMED * UNIT_ROUNDOFF
        if (difference <= quick * np.abs(expected).max(axis=1, initial=0.0, keepdims=True)).all():
            return True
        changes, least = np.zeros(expected.shape[1]), np.finfo(np.float64).smallest_subnormal
        for k in range(_DRAWS):
            for row, before in zip(rows, expected, strict=True):
                after = perturbed_run(module, run, torch.from_numpy(row.copy()), SIZE, k).numpy().ravel()
                changes = np.fmax(changes, np.abs(after - before))
            bound = CONVERSION_ERRORS * _SUMMED * (UNIT_ROUNDOFF / SIZE * changes + least)
            if (difference <= bound).all():
                return True
        return False
