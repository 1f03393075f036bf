"""Conversion of torch modules and network files to a Network; each conversion is compared with its source."""

import numpy as np

from ..errors import ConversionError
from ..tolerances import DEFAULT
from .lower import lower

__all__ = ["check_conversion", "from_torch", "read_network"]

_N_CHECKED = 16


def from_torch(module, input_shape, *, outputs=None):
    """Convert a torch module to a network.

    Exact up to rounding: weights are cast to float64 exactly, and BatchNorm is folded into the preceding weights in float64.
    The result is compared with a float64 copy of the module on random inputs.

    Parameters
    ----------
    module : torch.nn.Module
        In any mode; converted as in evaluation mode, and not changed.
    input_shape : tuple of int
        Shape of one input, without a batch axis.
    outputs : int, str, or sequence of them, optional
        Which output to convert if the module returns several: a position or key, or a path such as "aux.0". Several are
        flattened and joined in this order. By default, the only tensor that the module returns.

    Returns
    -------
    Network

    Raises
    ------
    UnsupportedOperationError
        An operation is not piecewise linear or not supported; the message names it.
    ConversionError
        The module cannot be traced, or the conversion disagrees with the module.
    InputError
        A weight is not finite.
    ImportError
        torch is not installed.

    Examples
    --------
    >>> import torch, pwlnet
    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> pwlnet.from_torch(module, (2,)).n_neurons
    3
    """
    from .._optional import require

    require("torch", "torch", "converting a torch module")
    from .torch.depth import with_deep_stack
    from .torch.fx import read_module, source_forward

    def convert():
        network = lower(read_module(module, input_shape, outputs))
        check_conversion(network, source_forward(module, outputs), type(module).__name__, DEFAULT.conversion)
        return network

    return with_deep_stack(module, convert)


def read_network(path, kind, input_shape=None, outputs=None):
    """Read and convert a network file of a kind ("onnx", "nnet", "eran"); ``pwlnet.load_network`` is the public function.

    Raises
    ------
    ConversionError, UnsupportedOperationError, ShapeError, InputError
        As documented for the readers.
    """
    if kind == "onnx":
        from .onnx.file import read_onnx, source_forward_onnx

        network = lower(read_onnx(path, input_shape, outputs))
        source = source_forward_onnx(path, input_shape, outputs)
        if source is not None:
            tolerance = DEFAULT.conversion if source.in_float64 else DEFAULT.conversion_single
            check_conversion(network, source, str(path), tolerance)
        return network
    if kind == "nnet":
        from .text.nnet import read_nnet as read
    else:
        from .text.eran import read_eran as read
    return lower(read(path))


def check_conversion(network, source, name, tolerance):
    """Compare a converted network with its source on random inputs.

    Parameters
    ----------
    network : Network
    source : callable
        float64[B, *input_shape] -> float64[B, O].
    name : str
        Of the source, for the message.
    tolerance : float
        Largest difference, relative to the largest output of the input.

    Raises
    ------
    ConversionError
        They differ by more, or the source gives values that are not finite.
    """
    rng = np.random.default_rng(0)
    half = _N_CHECKED // 2
    shape = (half, *network.input_shape)
    points = np.concatenate([rng.standard_normal(shape), rng.random(shape)])
    expected = np.asarray(source(points), np.float64).reshape(len(points), -1)
    actual = network.forward(points)
    if expected.shape != actual.shape:
        raise ConversionError(
            f"{name} gives {expected.shape[1]} outputs, but its conversion {actual.shape[1]}; report this as a bug"
        )
    scale = np.maximum(np.abs(expected).max(axis=1), np.finfo(np.float64).tiny)
    error = float((np.abs(actual - expected).max(axis=1) / scale).max())
    if not error <= tolerance:
        raise ConversionError(
            f"{name} and its conversion differ by {error:.1e} of the largest output on random inputs; at most "
            f"{tolerance:.0e} is rounding, report this as a bug"
        )
