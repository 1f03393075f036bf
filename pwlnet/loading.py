"""Loading of network files of every kind."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from ._types import Check, PathLike
from .errors import ConversionError, InputError, ShapeError, StoreError
from .network import Network
from .validation import check_choice

_SUFFIXES = {".onnx": "onnx", ".nnet": "nnet", ".eran": "eran", ".tf": "eran", ".h5": "h5", ".hdf5": "h5"}
_TORCH = "load the module with torch (a state_dict into a module of its class) and pass it to pwlnet.from_torch"
_KERAS = "export it to ONNX with tf2onnx or keras' model.export(format='onnx')"
_FOREIGN = {
    ".pt": f"a file of PyTorch; {_TORCH}",
    ".torchscript": "a TorchScript archive, whose compiled code pwlnet does not read; pass the module to pwlnet.from_torch or "
    "export it to ONNX",
    ".pt2": "an archive of torch.export; pass the module that was exported to pwlnet.from_torch, or export it to ONNX",
    ".safetensors": "a file of weights without a network; load them into the torch module and pass it to pwlnet.from_torch",
    ".keras": f"a file of Keras; {_KERAS}",
    ".pb": "a file of TensorFlow; export it to ONNX with tf2onnx",
    ".tflite": "a file of TensorFlow Lite; export the network to ONNX with tf2onnx --tflite",
    ".npz": "an archive of NumPy arrays without a network; export the network to ONNX",
    ".npy": "a NumPy array without a network; export the network to ONNX",
    ".vnnlib": "a property and not a network; load the .onnx file that it belongs to",
    ".json": "a description without weights; export the network to ONNX",
    ".zip": "a zip archive; unpack it and load the network file in it",
    ".gz": "compressed; unpack it with gunzip and load what comes out",
}
_HEADER_BYTES = 1 << 16  # which hold the attributes of the root of a file of Keras
HDF5_MAGICS = (b"\x89PWL\r\n\x1a\n", b"\x89HDF\r\n\x1a\n")  # with the header of pwlnet's container, and without


def load_network(
    path: PathLike,
    *,
    input_shape: int | Sequence[int] | None = None,
    outputs: int | str | Sequence[int | str] | None = None,
    check: Check = "strict",
) -> Network:
    """Read a network from a file: ONNX, .nnet, .eran, or pwlnet's HDF5 format.

    Exact up to rounding: weights are read exactly. ONNX conversions are compared with a reference evaluation of the file.

    Parameters
    ----------
    path : str or path
        Recognized by its content (HDF5) or its suffix: .onnx, .nnet, .eran, .tf (ERAN's text format), .h5.
    input_shape : tuple of int, optional
        Shape of one input without a batch axis, if an ONNX file leaves it open.
    outputs : int, str, or sequence of them, optional
        Which output to convert if an ONNX file has several, by position or name. Several are flattened and joined in this
        order.
    check : {"strict", "warn", "off"}, optional
        What to do if an ONNX file, as every evaluator of ONNX files that is installed computes it, differs from the network by
        more than rounding: refuse it, warn, or do not evaluate the file. Other kinds have no second evaluator.

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
        Weights that are not finite; an input_shape that contradicts the file; a ``check`` that is none of the three.
    CapacityError
        The network does not fit into memory.
    StoreError
        A damaged HDF5 file.

    See Also
    --------
    from_torch : convert a torch module.
    """
    check_choice(check, get_args(Check), "check")
    try:
        path = Path(path)
    except TypeError:
        hint = "pass modules to pwlnet.from_torch" if hasattr(path, "state_dict") else "give the path of a network file"
        raise InputError(f"path is a {type(path).__name__} and not a path; {hint}") from None
    if path.is_dir():
        raise ConversionError(f"{path} is a folder; {_folder_advice(path)}")
    if not path.is_file():
        raise ConversionError(f"{path} is not a file; give the path of a network file ({', '.join(_SUFFIXES)})")
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise ConversionError(f"{path} can't be read ({error.strerror}); check its permissions") from error
    kind = "h5" if magic in HDF5_MAGICS else _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ConversionError(f"{path} is {_other_kind(path, magic)}")
    if kind == "onnx":
        from .convert import read_network

        return read_network(path, kind, input_shape, outputs, check)
    if outputs not in (None, 0):
        raise ConversionError(f"outputs is {outputs!r}, but {path} has one output; leave outputs out")
    network = _read_fixed_shape(path, kind)
    requested = network.input_shape if input_shape is None else tuple(np.atleast_1d(input_shape).tolist())
    if requested != network.input_shape:
        raise ShapeError(
            f"input_shape is {requested}, but {path} has inputs of shape {network.input_shape}; leave input_shape out"
        )
    return network


def _folder_advice(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return "it is a SavedModel of TensorFlow, export it to ONNX with tf2onnx"
    return f"give the path of a network file ({', '.join(_SUFFIXES)})"


def _other_kind(path: Path, magic: bytes) -> str:
    """Return what a file of no readable kind is, by its content or else its suffix, and what to do with it."""
    suffix = path.suffix.lower()
    if magic.startswith(b"PK") and suffix not in _FOREIGN:
        suffix = _kind_of_archive(path)
    elif suffix in (".pt", ".pth", ".ckpt", ".pkl", ".bin"):
        suffix = ".pt"
        if magic.startswith(b"PK"):
            suffix = _kind_of_archive(path)
    if suffix in _FOREIGN:
        return _FOREIGN[suffix]
    known = ", ".join(_SUFFIXES)
    return (
        f"of no known kind (suffix {path.suffix!r}); export the network to ONNX, or give its file one of the suffixes {known}"
    )


def _kind_of_archive(path: Path) -> str:
    """Return the suffix that tells the kind of a zip archive, from the names in it; nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return ".pt"
    if any(name.endswith("constants.pkl") for name in names):
        return ".torchscript"
    if any("models/" in name or "serialized_exported_program" in name for name in names):
        return ".pt2"
    if any(name.endswith("data.pkl") for name in names):
        return ".pt"
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return ".keras"
    return ".npz" if any(name.endswith(".npy") for name in names) else ".zip"


def _read_fixed_shape(path: Path, kind: str) -> Network:
    """Read a file of a kind that always contains the shape of its inputs."""
    if kind == "h5":
        from .store.network_file import read_network_file

        try:
            return read_network_file(path)
        except StoreError:
            with path.open("rb") as file:
                if b"keras" in file.read(_HEADER_BYTES):
                    raise ConversionError(f"{path} is {_FOREIGN['.keras']}") from None
            raise
    from .convert import read_network

    return read_network(path, kind)
