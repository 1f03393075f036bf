"""Loading of network files of every kind."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .errors import ConversionError, ShapeError
from .network import Network

_SUFFIXES = {".onnx": "onnx", ".nnet": "nnet", ".eran": "eran", ".tf": "eran", ".h5": "h5", ".hdf5": "h5"}
HDF5_MAGICS = (b"\x89PWL\r\n\x1a\n", b"\x89HDF\r\n\x1a\n")  # with the header of pwlnet's container, and without


def load_network(
    path,
    *,
    input_shape=None,
    outputs: int | str | Sequence[int | str] | None = None,
    check: str = "strict",
) -> Network:
    """Read a network from a file: ONNX, .nnet, .eran, or pwlnet's HDF5 format.

    Exact up to rounding: weights are read exactly. ONNX conversions are compared with a reference evaluation of the file.

    Parameters
    ----------
    path : str or path
        Recognized by its content (HDF5) or its suffix: .onnx, .nnet, .eran, .tf (ERAN's text format), .h5.
    input_shape : tuple of int, optional
        Shape of one input without a batch axis, if an ONNX file leaves it open.
    outputs : int, str or sequence of these, optional
        Which output of an ONNX file that has several: its index or name. Several are flattened and joined in the given order.
        What the chosen outputs do not depend on is not converted.
    check : {"strict", "warn", "off"}, optional
        What happens if the conversion of an ONNX file disagrees with every evaluation of the file (ONNX's reference
        implementation, and onnxruntime where it is installed) on random inputs by more than rounding: raise, warn, or no
        comparison.

    Returns
    -------
    Network

    Raises
    ------
    ConversionError
        There is no such file, its kind is unknown, or it is damaged.
    UnsupportedOperationError
        The network contains an operation that cannot be converted exactly; the message names it.
    InputError, ShapeError
        Weights that are not finite; an input_shape that contradicts the file.
    StoreError
        A damaged HDF5 file.

    See Also
    --------
    from_torch : convert a torch module.
    """
    path = Path(path)
    if not path.is_file():
        raise ConversionError(f"{path} is not a file; give the path of a network file ({', '.join(_SUFFIXES)})")
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise ConversionError(f"{path} can't be read ({error.strerror}); check its permissions") from error
    kind = "h5" if magic in HDF5_MAGICS else _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ConversionError(
            f"{path} has the suffix {path.suffix!r}, which is not a known kind of network file; "
            f"rename it to one of {', '.join(_SUFFIXES)}"
        )
    if kind == "onnx":
        from .convert import read_network

        return read_network(path, kind, input_shape, outputs, check)
    network = _read_fixed_shape(path, kind)
    requested = network.input_shape if input_shape is None else tuple(np.atleast_1d(input_shape).tolist())
    if requested != network.input_shape:
        raise ShapeError(
            f"input_shape is {requested}, but {path} has inputs of shape {network.input_shape}; leave input_shape out"
        )
    return network


def _read_fixed_shape(path, kind):
    """Read a file of a kind that always contains the shape of its inputs."""
    if kind == "h5":
        from .store.network_file import read_network_file

        return read_network_file(path)
    from .convert import read_network

    return read_network(path, kind)
