"""Read the text form of fully connected networks that ERAN and SyReNN use (``.eran``, ``.tf``).

Each layer is three lines: the activation (ReLU, HardTanh or Affine), the weight matrix as a Python list of rows, the
bias as a Python list. A line ``Normalize mean=[...] std=[...]`` before the first layer stands for (x - mean) / std.
"""

import re
import warnings
from pathlib import Path

import numpy as np

from ...errors import ConversionError, InputError, PwlnetWarning
from ...publishing import decode_text
from ..graph import Graph, refuse
from .words import parse_numbers, shown

LAYERS = ("ReLU", "HardTanh", "Affine")
LAST_RELU = ("keep", "drop")
_SHOWN, _FEW = 40, 8  # letters and numbers in errors


def read_eran(path, *, last_relu=None):
    """Read an ``.eran`` or ``.tf`` text file into a neutral graph.

    Exact up to rounding: weights are the float64 nearest to the file's decimals.

    Parameters
    ----------
    path : str or Path
    last_relu : {"keep", "drop"}, optional
        What to do where the *last* layer is labelled ReLU. The format has labels for all layers, and the public files
        of classifiers (ACAS Xu among them) say ReLU on the last one too, though the networks were trained and are used
        with a linear last layer: applied, it would cut off scores below 0 and change which is smallest. Default: drop
        it and warn. An Affine or HardTanh last layer is always taken as it is.

    Returns
    -------
    Graph

    Raises
    ------
    ConversionError
        The text is not such a file; the message names the line.
    InputError
        A number is not finite, or ``last_relu`` is not one of its choices.
    UnsupportedOperationError
        A layer of another type, such as Conv2D or Sigmoid.

    Warns
    -----
    PwlnetWarning
        The ReLU of the last layer was dropped and ``last_relu`` was not given.
    """
    if last_relu not in (None, *LAST_RELU):
        raise InputError(f"last_relu is {last_relu!r}; it must be one of {LAST_RELU}")
    normalization, layers = _parse(path)
    graph = Graph((layers[0][1].shape[1],), batched=False)
    x = graph.input
    if normalization is not None:
        mean, std = normalization
        x = graph.scale_shift(x, 1.0 / std, -mean / std, name="normalize_inputs")
    for k, (kind, weight, bias) in enumerate(layers, start=1):
        x = graph.linear(x, weight, bias, name=f"layer{k}")
        if kind == "HardTanh":
            x = graph.clip(x, -1.0, 1.0, name=f"hardtanh{k}")
        elif kind == "ReLU" and (k < len(layers) or last_relu == "keep"):
            x = graph.relu(x, name=f"relu{k}")
    if layers[-1][0] == "ReLU" and last_relu is None:
        warnings.warn(
            f"the last layer of {path} is labelled ReLU, which was dropped, as in the networks that such files come "
            "from; read_eran(path, last_relu='keep') applies it",
            PwlnetWarning,
            stacklevel=4,
        )
    graph.output = x
    return graph


def _parse(path):
    """Return the (mean, std) for normalization or None, and the layers as (kind, weight, bias)."""
    try:
        text = decode_text(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConversionError(f"{path} is not a readable ERAN text file ({error}); check the path") from error
    lines = [(k, line.strip()) for k, line in enumerate(text.splitlines(), start=1) if line.strip()]
    normalization = None
    if lines and lines[0][1].startswith("Normalize"):
        normalization = _normalize(path, lines.pop(0))
    layers = []
    for start in range(0, len(lines), 3):
        layers.append(_layer(path, lines[start : start + 3], layers[-1][1].shape[0] if layers else None))
    if not layers:
        raise ConversionError(f"{path} has no layers; an ERAN text file has ReLU, HardTanh or Affine lines with matrices")
    n_inputs = layers[0][1].shape[1]
    if normalization is not None and any(values.size not in (1, n_inputs) for values in normalization):
        sizes = tuple(values.size for values in normalization)
        raise ConversionError(
            f"{path} normalizes by {sizes[0]} means and {sizes[1]} standard deviations, but takes {n_inputs} inputs; "
            "there must be one of each, or one per input"
        )
    return normalization, layers


def _layer(path, lines, n_before):
    """Parse one layer from its three lines."""
    number, kind = lines[0]
    if kind not in LAYERS:
        if re.fullmatch(r"[A-Za-z]\w*(\s.*|,.*)?", kind) is None:
            raise ConversionError(
                f"line {number} of {path} is {shown(kind)}, where an ERAN text file has a layer's type: one of {LAYERS}"
            )
        refuse(
            f"line {number}",
            re.match(r"\w+", kind)[0][:_SHOWN],
            f"which is not a layer type that is read; it must be one of {LAYERS}",
        )
    if len(lines) < 3:
        raise ConversionError(f"{path} ends after the {kind} of line {number}; a weight matrix and a bias must follow")
    rows, bias = _matrix(path, lines[1]), _matrix(path, lines[2])
    if len(bias) != 1 or len(bias[0]) != len(rows) or len({len(row) for row in rows}) != 1:
        raise ConversionError(
            f"lines {lines[1][0]} and {lines[2][0]} of {path} have {len(rows)} rows of weights of lengths "
            f"{sorted({len(row) for row in rows})[:_FEW]} and {sum(map(len, bias))} biases; all rows must be equally long, "
            "with one bias each"
        )
    weight = np.array(rows)
    if n_before not in (None, weight.shape[1]):
        raise ConversionError(
            f"line {lines[1][0]} of {path} has rows of {weight.shape[1]} weights; the layer before has {n_before} outputs"
        )
    return kind, weight, np.array(bias[0])


def _matrix(path, line):
    """Parse the rows of ``[[1, 2], [3, 4]]``, or the one row of ``[1, 2]``; a comma may follow the last number."""
    number, text = line
    nested = re.fullmatch(r"\[\s*\[(.*)\]\s*(,\s*)?\]", text)
    flat = re.fullmatch(r"\[([^\[\]]*)\]", text)
    if nested is None and flat is None:
        raise ConversionError(f"line {number} of {path} is {shown(text)}, where a list [...] must be; the file is damaged")
    rows = re.split(r"\]\s*,\s*\[", nested[1]) if nested else [flat[1]]
    return [_numbers(path, number, row) for row in rows]


def _numbers(path, number, text):
    words = [word.strip() for word in text.strip().rstrip(",").split(",")]
    return parse_numbers(path, number, words)


def _normalize(path, line):
    """Parse the mean and standard deviation of ``Normalize mean=[...] std=[...]``."""
    number, text = line
    match = re.fullmatch(r"Normalize\s+mean\s*=\s*\[([^\]]*)\][\s,]*std\s*=\s*\[([^\]]*)\]", text)
    if match is None:
        raise ConversionError(f"line {number} of {path} is {shown(text)}; it must be Normalize mean=[...] std=[...]")
    mean, std = (np.array(_numbers(path, number, part)) for part in match.groups())
    if not (std > 0.0).all():
        raise ConversionError(f"line {number} of {path} divides by the std {std.min()}; standard deviations must be positive")
    return mean, std
