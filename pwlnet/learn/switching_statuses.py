"""Statuses of torch's switching functions: which of its affine pieces each entry of an output comes from.

A status is 0 where no piece is selected strictly: at a threshold, or where several taps of a pool are the largest. Otherwise
it is -1 or 1, the side of the only threshold; or 1, 2, 3, the piece of a function with two thresholds; or the number of the
winning tap, from 1. int8, for taps int32; of the shape of the output. Two points are on the same piece of an entry if their
statuses are equal and not 0.

Legend: X shape of an input, Y shape of an output.
"""

import itertools
import math

import torch


def _argument(args, kwargs, position, *names, default=None):
    """Return the argument of a call at a position, or with one of some names."""
    if position < len(args):
        return args[position]
    return next((kwargs[name] for name in names if name in kwargs), default)


def _side(x, threshold):
    """Return the side of a threshold: int8[X]."""
    return (x > threshold).to(torch.int8) - (x < threshold).to(torch.int8)


def _piece(x, lower, upper):
    """Return the piece of a function with thresholds at lower <= upper: int8[X]."""
    inside = (x > lower) & (x < upper)
    pieces = (x < lower).to(torch.int8) + 2 * inside.to(torch.int8)
    return torch.where(x > upper, torch.full_like(pieces, 3), pieces)


def _sign(x, output, args, kwargs):
    return torch.sign(x).to(torch.int8)  # five times as fast as two comparisons; 0 for NaN


def _threshold(x, output, args, kwargs):
    return _side(x, _argument(args, kwargs, 1, "threshold"))


def _clamp(x, output, args, kwargs):
    lower, upper = _argument(args, kwargs, 1, "min"), _argument(args, kwargs, 2, "max")
    if lower is None or upper is None:
        return _side(x, upper if lower is None else lower)
    return _piece(x, lower, upper)


def _clamp_min(x, output, args, kwargs):
    return _side(x, _argument(args, kwargs, 1, "min"))


def _clamp_max(x, output, args, kwargs):
    return _side(x, _argument(args, kwargs, 1, "max"))


def _hardtanh(x, output, args, kwargs):
    lower = _argument(args, kwargs, 1, "min_val", default=-1.0)
    return _piece(x, lower, _argument(args, kwargs, 2, "max_val", default=1.0))


def _relu6(x, output, args, kwargs):
    return _piece(x, 0, 6)


def _hardsigmoid(x, output, args, kwargs):
    return _piece(x, -3, 3)


def _softshrink(x, output, args, kwargs):
    threshold = _argument(args, kwargs, 1, "lambd", "lambda", default=0.5)
    return _piece(x, -threshold, threshold)


def _larger(x, output, args, kwargs):
    """Return which of two inputs is larger: int8[Y], 1 for the first one."""
    return _side(x, _argument(args, kwargs, 1, "other")).expand(output.shape)


def _extremum(x, output, args, kwargs):
    """Return which entry along some axes is the largest or smallest one: int32[Y]."""
    other = _argument(args, kwargs, 1, "other", "dim", "axis", default=())
    if isinstance(other, torch.Tensor):
        return _larger(x, output, args, kwargs)
    axes = (other,) if isinstance(other, int) else tuple(other)
    last = tuple(range(-len(axes), 0))
    taps = x.movedim(axes, last).flatten(-len(axes))
    best = output.reshape(taps.shape[:-1])
    return _strict(taps == best[..., None]).reshape(output.shape)


def _strict(wins):
    """Return the number of the only winner along the last axis, from 1, or 0 where there are more or none: bool[..., T]."""
    winner = wins.to(torch.uint8).argmax(dim=-1).to(torch.int32) + 1
    return torch.where(wins.sum(dim=-1) == 1, winner, torch.zeros_like(winner))


def _pool(x, output, args, kwargs, n_axes):
    """Return which tap of each window wins in max pooling over the last axes: int32[Y]."""
    defaults = {"kernel_size": None, "stride": None, "padding": 0, "dilation": 1}
    given = [_argument(args, kwargs, k + 1, name, default=value) for k, (name, value) in enumerate(defaults.items())]
    if given[1] is None or given[1] == ():
        given[1] = given[0]
    axes = []
    for axis, options in enumerate(zip(*(_each(option, n_axes) for option in given), strict=True)):
        size, stride, padding, dilation = options
        starts = torch.arange(output.shape[axis - n_axes], device=x.device) * stride - padding
        axes.append([starts + dilation * tap for tap in range(size)])
    return _winning_tap(x, output, axes)


def _each(option, n_axes):
    """Return an option as one number for each axis."""
    values = (option,) if isinstance(option, int) else tuple(option)
    return values * n_axes if len(values) == 1 else values


def _adaptive_pool(x, output, args, kwargs, n_axes):
    """Return which tap of each window wins in adaptive max pooling: int32[Y]."""
    axes = []
    for axis in range(-n_axes, 0):
        size, n = x.shape[axis], output.shape[axis]
        windows = [(k * size // n, math.ceil((k + 1) * size / n)) for k in range(n)]
        longest = max(end - start for start, end in windows)
        taps = [[start + tap if start + tap < end else -1 for start, end in windows] for tap in range(longest)]
        axes.append([torch.tensor(tap, device=x.device) for tap in taps])
    return _winning_tap(x, output, axes)


def _winning_tap(x, output, axes):
    """Return the number of the tap that equals the output, or 0 where there are more or none: int32[Y].

    axes : for each pooled axis, for each tap along it, the entries int64[windows] of the input; outside of it in padding.
    """
    n_axes = len(axes)
    count = torch.zeros(output.shape, dtype=torch.int32, device=x.device)
    winner = torch.zeros_like(count)
    for number, entries in enumerate(itertools.product(*axes), 1):
        values, exists = x, torch.ones((), dtype=torch.bool, device=x.device)
        for axis, entry in enumerate(entries):
            size = x.shape[axis - n_axes]
            inside = (entry >= 0) & (entry < size)
            values = values.index_select(axis - n_axes, entry.clamp(0, size - 1))
            exists = exists & inside.reshape(-1, *(1,) * (n_axes - 1 - axis))
        wins = (values == output) & exists
        count += wins
        winner = torch.where(wins, number, winner)
    return torch.where(count == 1, winner, 0)


def _pooling(rule, n_axes):
    return lambda x, output, args, kwargs: rule(x, output, args, kwargs, n_axes)


STATUSES = {  # name of a function -> its statuses from the input, the output and the arguments
    **dict.fromkeys(("relu", "leaky_relu", "prelu", "rrelu", "abs", "absolute"), _sign),
    "threshold": _threshold,
    **dict.fromkeys(("clamp", "clip"), _clamp),
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "hardtanh": _hardtanh,
    "relu6": _relu6,
    "hardsigmoid": _hardsigmoid,
    "softshrink": _softshrink,
    **dict.fromkeys(("maximum", "minimum"), _larger),
    **dict.fromkeys(("max", "min", "amax", "amin"), _extremum),
    **{f"max_pool{n}d": _pooling(_pool, n) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _pooling(_pool, n) for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": _pooling(_adaptive_pool, n) for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d_with_indices": _pooling(_adaptive_pool, n) for n in (1, 2, 3)},
}


def takes_whole_tensor(name, args, kwargs):
    """Return whether a call is the maximum or minimum over all entries of a tensor."""
    if STATUSES[name] is not _extremum:
        return False
    other = _argument(args, kwargs, 1, "other", "dim", "axis")
    return other is None or (isinstance(other, tuple | list) and not other)


def statuses_of(name, output, args, kwargs):
    """Return the statuses of a call.

    Parameters
    ----------
    name : str
        A key of ``STATUSES``.
    output : tensor [Y]
        Its result.
    args, kwargs
        Its arguments; the values of the input before the call.

    Returns
    -------
    int8[Y] or int32[Y]
        Without gradient.
    """
    x = _argument(args, kwargs, 0, "input", "self")
    with torch.no_grad():
        return STATUSES[name](x, output, args, kwargs)


def differ(first, second):
    """Return where two points are not strictly on the same piece: bool, from their statuses."""
    return (first != second) | (first == torch.zeros_like(first))  # ten times as fast as a comparison with the number 0
