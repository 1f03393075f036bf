"""Conversion of torch modules and network files to a Network; each conversion is compared with its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._types import AnyArray, Check
from ..errors import CapacityError
from ..network import Network
from ..validation import check_choice
from .check import CHECKS, Referee, check_conversion
from .lower import lower

if TYPE_CHECKING:
    from torch import Tensor, nn  # the name torch is a module of this package

__all__ = ["check_conversion", "from_torch", "read_network"]


def from_torch(
    module: nn.Module,
    input_shape: Sequence[int] | Tensor | AnyArray,
    *,
    outputs: int | str | Sequence[int | str] | None = None,
    check: Check = "strict",
) -> Network:
    """Convert a torch module to a network.

    Exact up to rounding: weights are cast to float64 exactly, and BatchNorm is folded into the preceding weights in float64.
    The result is compared with a float64 copy of the module on random inputs.

    Parameters
    ----------
    module : torch.nn.Module
        In any mode; converted as in evaluation mode, and not changed.
    input_shape : tuple of int, torch.Tensor or ndarray
        Shape of one input, without a batch axis; or an example batch of inputs, whose shape is taken, without its first axis.
    outputs : int, str, or sequence of them, optional
        Which output to convert if the module returns several: a position or key, or a path such as "aux.0". Several are
        flattened and joined in this order. By default, the only tensor that the module returns.
    check : {"strict", "warn", "off"}, optional
        What to do if the network's outputs differ from the module's by more than rounding: refuse it, warn, or do not
        compare them.

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
        A weight is not finite; or ``check`` is none of the three.
    ImportError
        torch is not installed.

    Warns
    -----
    PwlnetWarning
        With ``check="warn"``, the conversion disagrees with the module.

    Examples
    --------
    >>> import torch, pwlnet
    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> pwlnet.from_torch(module, (2,)).n_neurons
    3
    """
    from .._optional import require

    check_choice(check, CHECKS, "check")
    require("torch", "torch", "converting a torch module")
    from .torch.depth import with_deep_stack
    from .torch.fx import perturbed_source, read_module, source_forward

    def convert():
        network = lower(read_module(module, input_shape, outputs))
        if check != "off":
            referee = Referee("torch in float64", source_forward(module, outputs), perturbed=perturbed_source(module, outputs))
            check_conversion(network, [referee], type(module).__name__, check)
        return network

    return with_deep_stack(module, convert)


def read_network(path, kind, input_shape=None, outputs=None, check="strict"):
    """Read and convert a network file of a kind ("onnx", "nnet", "eran"); ``pwlnet.load_network`` is the public function.

    Raises
    ------
    ConversionError, UnsupportedOperationError, ShapeError, InputError
        As documented for the readers.
    CapacityError
        The network does not fit into memory.
    """
    try:
        with np.errstate(all="ignore"):  # what is not finite in the end is refused by the name of its node
            return _read(path, kind, input_shape, outputs, check)
    except MemoryError as error:
        raise CapacityError(
            f"{path} makes a network that needs more memory than there is ({error or 'out of memory'}); check that it is not "
            "damaged, or read it on a larger machine"
        ) from error


def _read(path, kind, input_shape, outputs, check):
    if kind == "onnx":
        from .onnx.file import read_onnx
        from .onnx.referees import referees

        network = lower(read_onnx(path, input_shape, outputs))
        if check != "off":
            check_conversion(network, referees(path, input_shape, outputs), str(path), check)
        return network
    if kind == "nnet":
        from .text.nnet import read_nnet as read
    else:
        from .text.eran import read_eran as read
    return lower(read(path))
