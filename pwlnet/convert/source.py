"""Evaluation of the source of a network at points, in the precision of the source.

Legend: D inputs, O outputs.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConversionError, InputError, ShapeError


@dataclass(frozen=True)
class Source:
    """The function of the source of a network, callable on one point.

    Attributes
    ----------
    evaluate : callable
        From one input float64[*input_shape] to its outputs.
    input_shape : tuple of int
    n_outputs : int
    name : str
        What evaluates it, for results and messages.
    """

    evaluate: object
    input_shape: tuple
    n_outputs: int
    name: str

    def __call__(self, point):
        """Evaluate one point float64[D]: float64[1, O].

        Raises
        ------
        ShapeError
            The source gives another number of outputs than the network.
        """
        outputs = np.asarray(self.evaluate(point.reshape(self.input_shape)), np.float64).reshape(1, -1)
        if outputs.shape[1] != self.n_outputs:
            raise ShapeError(
                f"confirm gives {outputs.shape[1]} outputs ({self.name}), but the network has {self.n_outputs}; "
                "give the source of this network"
            )
        return outputs


def open_source(source, network):
    """Return the source of a network as a function of one point: Source.

    Parameters
    ----------
    source : torch.nn.Module, str, Path, or callable
        A module, in any mode; the path of an ONNX file; or a function of float32[1, *input_shape].
    network : Network

    Raises
    ------
    InputError
        It is none of them.
    ConversionError
        The file cannot be read or evaluated.
    """
    if isinstance(source, str | Path):
        evaluate, name = _of_file(Path(source), network)
    elif hasattr(source, "state_dict") and hasattr(source, "parameters"):
        evaluate, name = _of_module(source)
    elif callable(source):
        evaluate, name = (lambda x: source(x[None].astype(np.float32))), "a function of float32"
    else:
        raise InputError(f"confirm is a {type(source).__name__}; give a torch module, the path of an ONNX file, or a function")
    return Source(evaluate, network.input_shape, network.n_outputs, name)


def _of_file(path, network):
    """Return a function that evaluates an ONNX file in its own precision."""
    from .onnx.referees import source_in_own_precision

    if path.suffix.lower() != ".onnx" or not path.is_file():
        raise ConversionError(f"confirm is {path}, which is not an ONNX file; give the file that the network was read from")
    source, name = source_in_own_precision(path, network.input_shape)
    return (lambda x: source(x[None])), name


def _of_module(module):
    """Return a function that evaluates a torch module in evaluation mode, in the precision of its parameters."""
    import torch

    module = copy.deepcopy(module).eval()
    dtypes = [p.dtype for p in [*module.parameters(), *module.buffers()] if p.is_floating_point()]
    dtype = dtypes[0] if dtypes else torch.get_default_dtype()

    def evaluate(x):
        with torch.no_grad():
            return module(torch.as_tensor(x[None]).to(dtype)).to(torch.float64).numpy()

    return evaluate, f"torch in {str(dtype).removeprefix('torch.')}"
