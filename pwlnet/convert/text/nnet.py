"""Read ``.nnet`` files, the text format of SISL (Stanford) for fully connected ReLU networks.

Comment lines (``//``); the number of layers; the layer sizes; a flag; minima, maxima, means and ranges of the inputs,
the last two with one entry more for the outputs; then for each layer its weight rows and one bias per line. All hidden
layers are ReLU, the last one is linear.
"""

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ConversionError, PwlnetWarning
from ...publishing import decode_text
from ..graph import Graph
from .words import parse_count, parse_numbers, shown, shown_counts

N_HEADER_LINES = 5  # flag, minima, maxima, means, ranges: after the layer sizes


def read_nnet(path, *, clip_inputs=False):
    """Read a ``.nnet`` file into a neutral graph.

    Exact up to rounding: weights are the float64 nearest to the file's decimals.

    Parameters
    ----------
    path : str or Path
    clip_inputs : bool, optional
        Clip raw inputs to the header's minima and maxima first, as SISL's evaluation code does. Off by default: it adds
        one neuron for each input, which stays in its linear state on all inputs within the header's box.

    Returns
    -------
    Graph
        The function of *raw* inputs x: layers applied to (x - mean) / range, then times the output's range, plus its
        mean. The header is used only if it is complete: a mean and a range for each input and one for the outputs,
        all ranges positive. Many files hold zeros or other placeholders there; then the layers act on x
        itself.

    Raises
    ------
    ConversionError
        The text is not such a file; the message names the line.
    InputError
        A number is not finite; the message names the line.

    Warns
    -----
    PwlnetWarning
        The header holds positive ranges, but of the wrong number; they were ignored.
    """
    file = _parse(path)
    graph = Graph((file.sizes[0],), batched=False)
    x = graph.input
    if clip_inputs:
        x = _clipped(graph, x, file, path)
    means, ranges = _normalization(file, path)
    if means is not None:
        x = graph.scale_shift(x, 1.0 / ranges[:-1], -means[:-1] / ranges[:-1], name="normalize_inputs")
    for k, (weight, bias) in enumerate(file.layers, start=1):
        x = graph.linear(x, weight, bias, name=f"layer{k}")
        if k < len(file.layers):
            x = graph.relu(x, name=f"relu{k}")
    if means is not None:
        x = graph.scale_shift(x, ranges[-1], means[-1], name="restore_outputs")
    graph.output = x
    return graph


@dataclass(frozen=True)
class _File:
    """Parsed content: sizes, header lines as (line number, text), layers as (weight, bias)."""

    sizes: tuple
    header: list
    layers: list


def _parse(path):
    try:
        text = decode_text(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConversionError(f"{path} is not a readable .nnet file ({error}); check the path") from error
    lines = [(k, line.strip()) for k, line in enumerate(text.splitlines(), start=1)]
    lines = [(k, line) for k, line in lines if line and not line.startswith("//")]
    if len(lines) < 2 + N_HEADER_LINES:
        raise ConversionError(f"{path} is not a .nnet file: it has {len(lines)} lines, too few for a header; check the file")
    counts, sizes = _sizes(path, lines[0]), _sizes(path, lines[1])
    if len(sizes) != counts[0] + 1 or counts[1:3] not in ((), sizes[:1], (sizes[0], sizes[-1])):
        raise ConversionError(
            f"line {lines[0][0]} of {path} announces {shown_counts(counts)}, but line {lines[1][0]} has the layer "
            f"sizes {shown_counts(sizes)}; the number of layers, of inputs and of outputs must agree"
        )
    header, body = lines[2 : 2 + N_HEADER_LINES], lines[2 + N_HEADER_LINES :]
    needed, last = 2 * sum(sizes[1:]), lines[-1][0]
    if len(body) != needed:
        raise ConversionError(
            f"{path} ends at line {last} after {len(body)} rows of weights and biases; layer sizes {shown_counts(sizes)} need "
            f"{needed}, so the file is cut off or damaged"
        )
    layers, start = [], 0
    for n_in, n_out in itertools.pairwise(sizes):
        weight = np.array([_numbers(path, line, n_in) for line in body[start : start + n_out]])
        bias = np.array([_numbers(path, line, 1)[0] for line in body[start + n_out : start + 2 * n_out]])
        layers.append((weight, bias))
        start += 2 * n_out
    return _File(sizes, header, layers)


def _sizes(path, line):
    """Parse a header line of positive integers."""
    number, text = line
    values = tuple(parse_count(word) for word in _words(text))
    if not all(values):
        raise ConversionError(
            f"line {number} of {path} is {shown(text)}, where a .nnet file has positive integers: the number of "
            "layers, then their sizes; check that it is such a file"
        )
    return values


def _words(text):
    return [word.strip() for word in text.rstrip(", \t").split(",")]


def _numbers(path, line, n=None):
    """Parse the ``n`` finite numbers of a line."""
    number, text = line
    values = parse_numbers(path, number, _words(text))
    if n is not None and len(values) != n:
        raise ConversionError(f"line {number} of {path} has {len(values)} numbers; the layer sizes ask for {n}")
    return values


def _normalization(file, path):
    """Return means and ranges of inputs and outputs, or (None, None) if the header has none or they change nothing."""
    means, ranges = (np.array(_numbers(path, line)) for line in file.header[3:])
    if (ranges <= 0.0).all():
        return None, None
    expected = file.sizes[0] + 1
    if len(means) != expected or len(ranges) != expected:
        warnings.warn(
            f"lines {file.header[3][0]} and {file.header[4][0]} of {path} hold {len(means)} means and {len(ranges)} "
            "ranges, "
            f"not {expected} (inputs and one for the outputs); they were ignored, so the network takes inputs as its "
            "layers do",
            PwlnetWarning,
            stacklevel=5,
        )
        return None, None
    if (ranges <= 0.0).any():
        raise ConversionError(
            f"line {file.header[4][0]} of {path} has the range {ranges[ranges <= 0.0][0]} among positive ones; a "
            "range divides, so all must be positive, or all zero for no normalization"
        )
    if not means.any() and (ranges == 1.0).all():
        return None, None
    return means, ranges


def _clipped(graph, x, file, path):
    """Compute min(max(x, minimum), maximum) per input, by mapping to the unit interval and back."""
    lower, upper = (np.array(_numbers(path, line)) for line in file.header[1:3])
    if lower.shape != x.shape or upper.shape != x.shape or not (lower < upper).all():
        raise ConversionError(
            f"lines {file.header[1][0]} and {file.header[2][0]} of {path} give no box: clip_inputs needs a minimum "
            f"and a larger maximum for each of the {file.sizes[0]} inputs; leave clip_inputs off"
        )
    width = upper - lower
    unit = graph.scale_shift(x, 1.0 / width, -lower / width, name="to_unit_box")
    unit = graph.clip(unit, 0.0, 1.0, name="clip_inputs")
    return graph.scale_shift(unit, width, lower, name="from_unit_box")
