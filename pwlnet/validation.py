"""Validation of arguments that many functions share: integers, points, targets and outputs; each check once.

Each function returns the argument in the form in which it is used. Messages name the caller's argument.

Legend: B points, D inputs, L lines, C outputs of a line.
"""

import numbers
from pathlib import Path
from typing import Any

import numpy as np

from ._types import AnyArray, FloatArray, IntArray, PathLike
from .errors import InputError, ShapeError


def check_count(value: Any, name: str, *, least: int = 1, or_none: str | None = None) -> Any:
    """Validate an integer.

    Parameters
    ----------
    value : int or None
    name : str
        Of the argument, for messages.
    least : int, optional
    or_none : str, optional
        What None means, such as "no limit"; None is refused by default.

    Returns
    -------
    int or None

    Raises
    ------
    InputError
        It is not an integer, or too small.
    """
    if value is None and or_none is not None:
        return None
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral) or value < least:
        needed = "a positive integer" if least == 1 else f"an integer of at least {least}"
        otherwise = f", or None for {or_none}" if or_none is not None else ""
        given = _kind(value) if hasattr(value, "shape") else repr(value)
        raise InputError(f"{name} is {given}; {needed} is needed{otherwise}")
    return int(value)


def check_number(value: Any, name: str, *, least: float = 0.0, above: bool = False) -> float:
    """Validate a finite number of at least ``least``, or above it.

    Parameters
    ----------
    value : float
    name : str
        Of the argument, for messages.
    least : float, optional
    above : bool, optional
        Refuse ``least`` itself.

    Returns
    -------
    float

    Raises
    ------
    InputError
        It is not such a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name} is {value!r}; a number is needed")
    if not np.isfinite(value) or value < least or (above and value == least):
        raise InputError(f"{name} is {value!r}; a finite number {'above' if above else 'of at least'} {least:g} is needed")
    return float(value)


def check_choice(value: Any, choices: Any, name: str) -> Any:
    """Validate a string that must be one of ``choices``.

    Raises
    ------
    InputError
        It is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is {value!r}; the choices are {', '.join(map(repr, choices))}")
    return value


def check_index(value: Any, name: str, n: int, what: str, of: str = "the network") -> int:
    """Validate the number of one of ``n`` things, counted from 0.

    Parameters
    ----------
    value : int
    name : str
        Of the argument, for messages.
    n : int
    what : str
        Plural, for messages: "neurons", "outputs".
    of : str, optional
        What has them.

    Returns
    -------
    int

    Raises
    ------
    InputError
        There is no such thing.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral) or not 0 <= int(value) < n:
        raise InputError(f"{name} is {value!r}, but {of} has {what} 0 to {n - 1}; give one of these")
    return int(value)


def check_points_shape(shape: tuple[int, ...], n_inputs: int, input_shape: tuple[int, ...], name: str) -> None:
    """Validate the shape of points: [B, D] or [B, *input_shape].

    Raises
    ------
    ShapeError
        It is neither.
    """
    allowed = {(n_inputs,), tuple(input_shape)}
    if not shape or tuple(shape[1:]) not in allowed:
        forms = " or ".join(str(("rows", *form)).replace("'", "") for form in sorted(allowed, key=len))
        raise ShapeError(f"{name} has shape {tuple(shape)}, but the network takes {n_inputs} inputs; give {forms}")


def as_array(value: Any, name: str, needed: str = "an array with equally long rows") -> AnyArray:
    """Convert what users call an array to one: arrays, nested lists, data frames and torch tensors of every real type.

    Tensors are detached and moved to the processor; half precision is converted exactly.

    Parameters
    ----------
    value : array_like
    name : str
        Of the argument, for messages.
    needed : str, optional
        What to give instead of lists of different lengths.

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        It is no dense array of numbers: a string, a network, a sparse or quantised tensor, masked entries, ragged lists.
    """
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise InputError(f"{name} is a masked array with masked entries; fill or remove them first")
        value = value.data
    elif _is_tensor(value):
        value = _dense_tensor(value, name)
    elif isinstance(value, list | tuple) and any(map(_is_tensor, value)):
        value = [_dense_tensor(entry, name) if _is_tensor(entry) else entry for entry in value]
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, and whatever a class's own conversion raises
        if isinstance(value, list | tuple):
            raise InputError(f"{name} has rows of different lengths; give {needed}") from None
        raise InputError(f"{name} is {_kind(value)}, which NumPy can't convert; give an array of real numbers") from error
    if array.dtype.kind in "OUSV" and not array.ndim and value is not None:
        raise InputError(f"{name} is {_kind(value)}; give an array of real numbers")
    return array


def _is_tensor(value: object) -> bool:
    """Return whether a value is a torch tensor, without importing torch."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "is_quantized")


def _dense_tensor(tensor: Any, name: str) -> AnyArray:
    """Convert a torch tensor to an array."""
    problems = {
        "is_quantized": "quantised tensor; give tensor.dequantize()",
        "is_sparse": "sparse tensor; give tensor.to_dense()",
        "is_nested": "nested tensor; give a tensor whose rows have one length",
        "is_meta": "meta tensor, which has no values; give one on the processor",
    }
    for attribute, problem in problems.items():
        if getattr(tensor, attribute, False):
            raise InputError(f"{name} is a {problem}")
    if str(tensor.layout) != "torch.strided":
        raise InputError(f"{name} is a tensor with layout {tensor.layout}; give tensor.to_dense()")
    tensor = tensor.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor.resolve_conj()).numpy()


def _kind(value: object) -> str:
    """Describe a value for messages: its text if it is a short one, else its type."""
    text = repr(value)
    return text if isinstance(value, str | bytes) and len(text) <= 60 else f"of type {type(value).__name__}"


def check_network(network: Any, name: str = "network") -> Any:
    """Refuse what is no Network: a module of torch or a path, which have to be converted first, and anything else.

    Parameters
    ----------
    network : Network
    name : str, optional
        Of the argument, for messages.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        It is no Network.
    """
    if hasattr(network, "as_points"):
        return network
    if isinstance(network, str) or hasattr(network, "__fspath__"):
        advice = "give pwlnet.load_network(path)"
    elif hasattr(network, "state_dict"):
        advice = "give pwlnet.from_torch(module, input_shape)"
    else:
        advice = "give a Network, as pwlnet.load_network and pwlnet.from_torch return it"
    raise InputError(f"{name} is {_kind(network)}, not a Network; {advice}")


def check_lines(lines: Any, name: str = "lines") -> Any:
    """Refuse what is no result of ``partition_lines``, and return it.

    Raises
    ------
    InputError
        It is something else.
    """
    return check_result(lines, name, ("network", "t_error", "flip_neurons"), "pwlnet.partition_lines")


def check_result(value: Any, name: str, attributes: tuple[str, ...], maker: str) -> Any:
    """Refuse what is no result of ``maker``, by the attributes that such a result has, and return it.

    Raises
    ------
    InputError
        It is something else.
    """
    if isinstance(value, type) or not all(hasattr(value, attribute) for attribute in attributes):
        raise InputError(f"{name} is {_kind(value)}; give what {maker} returns")
    return value


def as_path(path: PathLike, name: str = "path") -> Path:
    """Return a path, given as a string or path object.

    Raises
    ------
    InputError
        It is something else.
    """
    try:
        return Path(path)
    except TypeError:
        raise InputError(f"{name} is {_kind(path)}; give the path of a file") from None


def sliceable_tensor(points: Any, name: str) -> Any:
    """Return points unchanged unless they are a tensor, which is converted as ``as_array`` does."""
    return as_array(points, name) if _is_tensor(points) else points


def as_points(points: Any, n_inputs: int, input_shape: tuple[int, ...], name: str, first_row: int = 0) -> FloatArray:
    """Convert points [B, D], [B, *input_shape], or one point of either form, to float64[B, D].

    Parameters
    ----------
    points : array_like
    n_inputs : int
    input_shape : tuple of int
    name : str
        Of the argument, for messages.
    first_row : int, optional
        Number of the first point in messages.

    Returns
    -------
    float64[B, D]

    Raises
    ------
    InputError
        Not real numbers, or not finite.
    ShapeError
        Another number of inputs.
    """
    array = as_array(points, name, f"an array with {n_inputs} numbers per row")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; real numbers are needed, convert it to float64")
    if array.shape in (tuple(input_shape), (n_inputs,)) and array.ndim:
        array = array[None]
    check_points_shape(array.shape, n_inputs, input_shape, name)
    rows = np.require(array.reshape(array.shape[0], n_inputs), np.float64, ["C_CONTIGUOUS", "ALIGNED"])
    refuse_not_finite(rows, name, first_row)
    return rows


def refuse_not_finite(array: AnyArray, name: str, first_row: int = 0) -> None:
    """Refuse rows with NaN or infinite entries.

    Parameters
    ----------
    array : float64[B, ...]
    name : str
        Of the argument, for messages.
    first_row : int, optional
        Number of the first row in messages.

    Raises
    ------
    InputError
        Naming the number of such rows, and the first.
    """
    bad = np.flatnonzero(~np.isfinite(array).all(axis=tuple(range(1, array.ndim))))
    if bad.size:
        raise InputError(
            f"{name} has {bad.size} rows with NaN or infinite entries, the first is row {first_row + bad[0]}; remove them"
        )


def as_targets(targets: Any, n_lines: int, n_outputs: int) -> IntArray:
    """Convert targets to read-only int64[L] or int64[L, C]: one output for all lines, one per line, or C per line.

    Parameters
    ----------
    targets : int, int[L] or int[L, C]
    n_lines, n_outputs : int

    Returns
    -------
    int64[L] or int64[L, C]

    Raises
    ------
    ShapeError
        There are not as many rows as lines.
    InputError
        Not integers, or an output that does not exist.
    """
    array = as_array(targets, "targets")
    if array.dtype.kind not in "iu" and array.size:
        raise InputError(f"targets has dtype {array.dtype}; integers below {n_outputs} are needed, one per line")
    if array.ndim == 0:
        array = np.full(n_lines, array)
    if array.ndim > 2 or len(array) != n_lines:
        raise ShapeError(f"targets has shape {array.shape}, but there are {n_lines} lines; give one output per line, or [L, C]")
    refuse_missing_outputs(array, n_outputs, "target")
    copy = np.array(array, np.int64, order="C")
    copy.setflags(write=False)
    return copy


def as_outputs(outputs: Any, n_outputs: int) -> IntArray:
    """Convert a choice of outputs to int64[C]; None stands for all.

    Parameters
    ----------
    outputs : int, sequence of int or None
    n_outputs : int

    Returns
    -------
    int64[C]

    Raises
    ------
    InputError
        Not integers, or an output that does not exist.
    """
    if outputs is None:
        return np.arange(n_outputs)
    array = np.atleast_1d(as_array(outputs, "outputs"))
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputError(f"outputs is {outputs!r}; integers below {n_outputs} are needed, or None for all")
    refuse_missing_outputs(array, n_outputs, "output")
    return array.astype(np.int64)


def refuse_missing_outputs(array: AnyArray, n_outputs: int, what: str) -> None:
    """Refuse numbers of outputs that a network does not have.

    Raises
    ------
    InputError
        Naming the first one.
    """
    missing = array[(array < 0) | (array >= n_outputs)]
    if missing.size:
        raise InputError(f"{what} {missing.flat[0]} was given, but the network has {n_outputs} outputs; count from 0")
