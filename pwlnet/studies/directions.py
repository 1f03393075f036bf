"""Lines, planes, boxes and other sets of inputs, made from the images of a study.

Legend: n images, L lines, P planes, D inputs of the network.
"""

import numpy as np

from ..domains import Ball, Box, Gaussian, Segment
from ..errors import CapacityError, InputError, ShapeError
from ..validation import check_index

_MOST_BYTES = 2**31  # of the points of an analysis
TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def _check_size(inputs, n, what):
    """Refuse more points than fit into memory."""
    if n * inputs.network.n_inputs * 8 > _MOST_BYTES:
        raise CapacityError(
            f"there are {n} {what} of {inputs.network.n_inputs} inputs, more than {_MOST_BYTES >> 30} GiB; use fewer images or "
            "a smaller count, or several analyses"
        )


def _need(inputs, n, what):
    """Refuse fewer images than an analysis needs."""
    if len(inputs.images) < n:
        raise InputError(f"{what} need {n} images or more, and rows has {len(inputs.images)}; use more rows")


def _clip(inputs, points):
    return points if inputs.limits is None else np.clip(points, *inputs.limits)


def _pairs(inputs, pairs):
    """Return the images of pairs, by default of consecutive ones: first and second rows int64[L]."""
    if pairs is None:
        _need(inputs, 2, "pairs of consecutive images")
        first = np.arange(len(inputs.images) - 1)
        return first, first + 1
    rows = inputs.rows_of(pairs, "pairs")
    return rows[:, 0], rows[:, 1]


def _units(inputs, shape):
    """Draw directions of length 1: float64[*shape, D]."""
    drawn = inputs.rng.standard_normal((*shape, inputs.network.n_inputs))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def make_lines(inputs, settings):
    """Make the lines of an analysis.

    Parameters
    ----------
    inputs : Inputs
    settings : dict
        Of the analysis, with the key "along".

    Returns
    -------
    starts, ends : float64[L, D]
    images : int64[L] or None
        Positions of the images to which the lines belong: their starts, or ends if they start at the baseline.
    """
    way, n = settings["along"], len(inputs.images)
    if way == "baseline":
        return np.broadcast_to(inputs.baseline, inputs.images.shape), inputs.images, np.arange(n)
    if way == "pairs":
        first, second = _pairs(inputs, settings["pairs"])
        _check_size(inputs, 2 * len(first), "ends of lines")
        return inputs.images[first], inputs.images[second], first
    if way == "random":
        rows = n * settings["count"]
        _check_size(inputs, 2 * rows, "ends of lines")
        starts = np.repeat(inputs.images, settings["count"], axis=0)
        ends = _clip(inputs, starts + settings["length"] * _units(inputs, (rows,)))
        return starts, ends, np.repeat(np.arange(n), settings["count"])
    if way == "uniform":
        _check_size(inputs, 2 * settings["count"], "ends of lines")
        drawn = inputs.rng.uniform(*settings["range"], (2, settings["count"], inputs.network.n_inputs))
        return drawn[0], drawn[1], None
    return inputs.read_points(settings["starts"], "starts"), inputs.read_points(settings["ends"], "ends"), None


def make_planes(inputs, settings):
    """Make the planes of an analysis.

    Parameters
    ----------
    inputs : Inputs
    settings : dict
        Of the analysis, with the key "through".

    Returns
    -------
    origins, e1, e2 : float64[P, D]
    polygon : sequence of (u, v)
        Of all planes.
    """
    way = settings["through"]
    if way == "images":
        frames = _through_images(inputs, settings["triples"])
    elif way == "random":
        frames = _random_planes(inputs, settings["count"], settings["length"])
    elif way == "axes":
        frames = _along_axes(inputs, settings["axes"], settings["at"])
    else:
        frames = tuple(inputs.read_points(settings[name], name) for name in ("origins", "e1", "e2"))
    return *frames, _outline(settings, TRIANGLE if way == "images" else SQUARE)


def _through_images(inputs, triples):
    """Return planes through three images each: (u, v) is (0, 0), (1, 0) and (0, 1) there."""
    if triples is None:
        _need(inputs, 3, "planes through images")
        chosen = np.arange(len(inputs.images) // 3 * 3).reshape(-1, 3)
    else:
        chosen = inputs.rows_of(triples, "triples")
    _check_size(inputs, 3 * len(chosen), "points of planes")
    origins, first, second = (inputs.images[chosen[:, k]] for k in range(3))
    return origins, first - origins, second - origins


def _random_planes(inputs, count, length):
    """Return planes through images along two random directions of a length, orthogonal to each other."""
    n = len(inputs.images) * count
    if inputs.network.n_inputs < 2:
        raise InputError(f"the network has {inputs.network.n_inputs} inputs; random planes need two or more")
    _check_size(inputs, 3 * n, "points of planes")
    drawn = _units(inputs, (n, 2))
    first, second = drawn[:, 0], drawn[:, 1]
    second = second - (first * second).sum(axis=1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    return np.repeat(inputs.images, count, axis=0), length * first, length * second


def _along_axes(inputs, axes, at):
    """Return planes in which inputs I and J are u and v, and the others have the values of ``at``, or of the images."""
    n = inputs.network.n_inputs
    if axes[0] == axes[1] or max(axes) >= n:
        raise InputError(f"axes is {axes}; give two different inputs from 0 to {n - 1}")
    if at is None or at == "mean":
        origins = inputs.images.copy() if at is None else inputs.images.mean(axis=0)[None]
    elif isinstance(at, str) and at != "zero":
        origins = np.array(inputs.read_points(at, "at"))
    else:
        origins = np.full((1, n), 0.0 if at == "zero" else at)
    origins[:, axes] = 0.0
    frames = np.eye(n)[axes]
    return origins, *(np.broadcast_to(frames[k], origins.shape) for k in range(2))


def _outline(settings, default):
    """Return the polygon of all planes: corners (u, v)."""
    if settings["polygon"] is not None and settings["box"] is not None:
        raise InputError("polygon and box were given; give one of them")
    if settings["polygon"] is not None:
        return settings["polygon"]
    if settings["box"] is None:
        return default
    u0, u1, v0, v1 = settings["box"]
    if not (u0 <= u1 and v0 <= v1):
        raise InputError(f"box is {settings['box']}; U0 must not be above U1, nor V0 above V1")
    return (u0, v0), (u1, v0), (u1, v1), (u0, v1)


def make_boxes(inputs, settings):
    """Make boxes around images, or one box: lower and upper bounds float64[n, D]; with "inputs", the other inputs are fixed."""
    n_inputs = inputs.network.n_inputs
    if settings["domain"] == "box":
        given = {name: settings[name] for name in ("lower", "upper")}
        for name, value in given.items():
            if np.size(value) not in (1, n_inputs):
                raise ShapeError(f"{name} has {np.size(value)} numbers; give one, or {n_inputs} for the inputs in order")
        return tuple(np.array(np.broadcast_to(np.array(value, np.float64), (1, n_inputs))) for value in given.values())
    box = Box.around(inputs.images, settings["epsilon"], limits=_limits(inputs, settings))
    lower, upper = (np.array(bound, np.float64).reshape(-1, n_inputs) for bound in (box.lower, box.upper))
    if settings.get("inputs") is not None:
        free = np.zeros(n_inputs, bool)
        free[[check_index(k, "inputs", n_inputs, "inputs") for k in settings["inputs"]]] = True
        lower, upper = (np.where(free, bound, inputs.images) for bound in (lower, upper))
    return lower, upper


def _limits(inputs, settings):
    """Return the range of valid inputs: that of the analysis, else that of [data]."""
    given = settings.get("limits")
    return inputs.limits if given is None else tuple(given)


def make_sets(inputs, settings):
    """Make the sets of inputs of an analysis of float neurons.

    Parameters
    ----------
    inputs : Inputs
    settings : dict
        Of the analysis, with the key "domain".

    Returns
    -------
    domain : Box, Ball, Gaussian or list of Segment
    items : int64[B] or None
        Numbers of the images.
    limits : (float, float) or None
    """
    way, limits = settings["domain"], _limits(inputs, settings)
    if way == "segments_to_baseline":
        return [Segment(image, inputs.baseline) for image in inputs.images], inputs.numbers, None
    if way == "segments_of_pairs":
        first, second = _pairs(inputs, settings["pairs"])
        ends = zip(inputs.images[first], inputs.images[second], strict=True)
        return [Segment(a, b) for a, b in ends], inputs.numbers[first], None
    if way == "gaussian":
        return Gaussian(inputs.images, settings["sigma"]), inputs.numbers, limits
    if way == "around" and settings["norm"] != "inf":
        return Ball(inputs.images, settings["epsilon"], float(settings["norm"])), inputs.numbers, limits
    return Box(*make_boxes(inputs, settings)), None if way == "box" else inputs.numbers, limits
