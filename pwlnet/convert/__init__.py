"""Conversion of torch modules and network files to a Network; each conversion is compared with its source."""

from collections.abc import Sequence

from ..network import Network
from ..tolerances import DEFAULT
from .check import Referee, check_conversion, checked_level
from .choice import checked_outputs
from .lower import lower

__all__ = ["from_torch", "read_network"]


def from_torch(
    module,
    input_shape,
    *,
    outputs: int | str | Sequence[int | str] | None = None,
    check: str = "strict",
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
    outputs : int, str or sequence of these, optional
        Which output of a module that returns a tuple, list, dict or dataclass: its index or key. Several are flattened and
        joined in the given order. What the chosen outputs do not depend on is not converted.
    check : {"strict", "warn", "off"}, optional
        What happens if the conversion disagrees with the module on random inputs by more than rounding: raise, warn, or no
        comparison.

    Returns
    -------
    Network

    Raises
    ------
    UnsupportedOperationError
        An operation that the outputs depend on is not piecewise linear or not supported; the message names it.
    ConversionError
        The module cannot be traced, or the conversion disagrees with the module.
    InputError
        A weight is not finite; the module is not a torch.nn.Module.
    ShapeError
        ``input_shape`` is not a shape.

    Warns
    -----
    PwlnetWarning
        A softmax or sigmoid at the end was dropped: the outputs are the logits.
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
    from .torch.fx import read_with_batch, source_forward

    level, chosen = checked_level(check), checked_outputs(outputs)
    graph, batch = read_with_batch(module, input_shape, chosen)
    network = lower(graph)
    if level != "off":
        batch.check(network)
        referee = Referee("torch in float64", source_forward(module, chosen), DEFAULT.conversion)
        check_conversion(network, [referee], type(module).__name__, level)
    return network


def read_network(path, kind, input_shape=None, outputs=None, check="strict"):
    """Read and convert a network file of a kind ("onnx", "nnet", "eran"); ``pwlnet.load_network`` is the public function.

    Raises
    ------
    ConversionError, UnsupportedOperationError, ShapeError, InputError
        As documented for the readers.
    """
    level, chosen = checked_level(check), checked_outputs(outputs)
    if kind == "onnx":
        from .onnx.file import convert_model
        from .onnx.model import open_model
        from .onnx.referees import referees

        model = open_model(path, input_shape, chosen)
        network = lower(convert_model(path, model))
        check_conversion(network, referees(path, model), str(path), level)
        return network
    if kind == "nnet":
        from .text.nnet import read_nnet as read
    else:
        from .text.eran import read_eran as read
    return lower(read(path))
