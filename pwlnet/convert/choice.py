"""Choice among the outputs of a module or file: ``outputs=`` of ``from_torch`` and ``load_network``."""

import dataclasses

from ..errors import ConversionError, InputError


def checked_outputs(outputs):
    """Return ``outputs`` as None or a tuple of integers and strings.

    Raises
    ------
    InputError
        It is not None, an integer, a string or a sequence of these.
    """
    if outputs is None:
        return None
    chosen = tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,)
    if not chosen or any(isinstance(key, bool) or not isinstance(key, (str, int)) for key in chosen):
        raise InputError(
            f"outputs is {outputs!r}; give the index or the name of an output, such as outputs=0, or a list of them"
        )
    return chosen


def choose(result, outputs, what, describe):
    """Return the chosen entries of what a module returns, as a list.

    Parameters
    ----------
    result : object
        A single output, or a tuple, list, dict or dataclass of outputs.
    outputs : tuple of int or str, or None
        As ``checked_outputs`` returns it; None for a single output.
    what : str
        What gives the outputs, for messages: "the module".
    describe : callable
        From an entry to a few words for messages.

    Raises
    ------
    ConversionError
        There are several outputs and none is chosen, or there is no such output.
    """
    keys, values = entries(result)
    if keys is None:
        if outputs is None or outputs == (0,) or outputs == (-1,):
            return [result]
        raise ConversionError(f"{what} has a single output, but outputs is {_shown(outputs)}; leave outputs out")
    listed = ", ".join(f"{key!r}: {describe(value)}" for key, value in zip(keys, values, strict=True))
    if outputs is None:
        if len(values) == 1 and entries(values[0])[0] is None:
            return values
        first = keys[0] if keys else 0
        raise ConversionError(
            f"{what} returns a {type(result).__name__} of {len(values)} entries ({listed}); "
            f"choose one, such as outputs={first!r}, or a list of them"
        )
    chosen = []
    for key in outputs:
        position = keys.index(key) if key in keys else key
        if not isinstance(position, int) or not -len(values) <= position < len(values):
            raise ConversionError(f"{what} has no output {key!r}; its outputs are {listed}")
        if entries(values[position])[0] is not None:
            raise ConversionError(
                f"output {key!r} of {what} is itself a {type(values[position]).__name__}; wrap the module in one that "
                "returns the tensor of interest"
            )
        chosen.append(values[position])
    return chosen


def entries(result):
    """Return the keys and values of a container of outputs, (None, None) for anything else."""
    if isinstance(result, dict):
        return list(result), list(result.values())
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return list(result._fields), list(result)
    if isinstance(result, (tuple, list)):
        return list(range(len(result))), list(result)
    ours = type(result).__module__.startswith(__package__)  # a value of a reader
    if dataclasses.is_dataclass(result) and not isinstance(result, type) and not ours:
        values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        values = {key: value for key, value in values.items() if value is not None}
        return list(values), list(values.values())
    return None, None


def _shown(outputs):
    return repr(outputs[0] if len(outputs) == 1 else list(outputs))
