"""Forward passes of torch modules with repressed float neurons.

A module of any structure is followed by ``pwlnet.learn.switching_modes``. A neuron is one entry of the output of a switching
call; it is float for a point and its reference point unless both are strictly on the same piece of it.

Legend: B points, S shape of a point, O scores, K calls of switching functions.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import torch

from ..errors import InputError, ShapeError
from ..learn import classifiers
from ..learn.switching_modes import RecordingMode, SwitchingMode, check_module, compare
from ..tolerances import ROW_CHANGE
from ..validation import check_number

PASSES = (1, 2)
_CHECKED: weakref.WeakKeyDictionary[Any, Any] = (
    weakref.WeakKeyDictionary()
)  # module: shapes and types of points for which its rows are independent


class _RepressingMode(SwitchingMode):
    """Multiply the outputs of float neurons by 1 + eta; statuses: those to compare, or None for those of this pass."""

    def __init__(self, points, reference, eta, statuses):
        super().__init__(points)
        self.reference, self.eta, self.statuses = reference, eta, statuses

    def switch(self, call):
        known = None if self.statuses is None else self.statuses[call.number]
        is_float = compare(call, self.reference, known)
        mask = is_float.view(torch.int8).to(call.output.dtype)  # seven times as fast as from bool; torch.where is slower still
        return torch.addcmul(call.output, call.output, mask, value=self.eta)


class _ScalingMode(SwitchingMode):
    """Multiply outputs by given factors."""

    def __init__(self, points, factors):
        super().__init__(points)
        self.factors = factors

    def switch(self, call):
        if call.number >= len(self.factors):
            raise ShapeError(
                f"factors has {len(self.factors)} tensors, but the module has more switching calls; give one for each"
            )
        factors, shape = torch.as_tensor(self.factors[call.number]), tuple(call.output.shape)
        if tuple(factors.shape) not in (shape, shape[1:]):
            raise ShapeError(
                f"factors[{call.number}] has shape {tuple(factors.shape)}, but the output of {call.name} has {shape}; give "
                "this shape, or that of one row"
            )
        return call.output * factors.to(call.output)


def repressed_scores(module, points, references=None, *, eta=0.0, passes=2, factors=None):
    """Compute scores of points with their float neurons repressed, or with given factors of all neurons.

    Exact up to rounding, in the dtype of the module; statuses are those of this evaluation, whose rounding decides near
    thresholds. ``eta=0.0`` gives the scores of ``module(points)``, bit for bit, as do factors of one. The pass of the points
    always has their batch size, and references are evaluated separately: scores of a row may depend on the number of rows
    only as far as torch's own rounding does.

    Parameters
    ----------
    module : torch.nn.Module
        A classifier of piecewise linear functions; evaluated in evaluation mode, which is restored afterwards.
    points : tensor [B, *S]
        Of the dtype and on the device of the module's weights.
    references : tensor [B, *S] or [1, *S], optional
        The reference point of each point, or one for all. A neuron is float unless its piece at the point and at the
        reference point is the same, strictly; its output is multiplied by 1 + eta. The references are never repressed.
    eta : float, optional
        At least -1; negative numbers repress.
    passes : {1, 2}, optional
        2: the pieces of the points are those of an ordinary pass; 1: those of the running pass, in which the neurons before
        are repressed already. In both cases, the repressed values are subject to all switching functions after them.
    factors : sequence of K tensors, optional
        Instead of references: multiply the outputs of all neurons. Tensor k has the shape of the output of call k, or of one
        row of it; see ``statuses``.

    Returns
    -------
    tensor [B, O]
        With a gradient with respect to the points, the weights and the factors, in which statuses are constant; none with
        respect to the references.

    Raises
    ------
    UnsupportedOperationError
        The module is not piecewise linear, or random, or can't be followed; the message names the function.
    InputError
        An argument is invalid; the scores of a row depend on other rows; automatic casting to lower precision is enabled.
    ShapeError
        References or factors do not fit.

    Notes
    -----
    Cost: B rows for each of the ``passes``, and one for each reference. The first time for a module and a shape, ``check_rows``
    tests that a row's scores do not depend on the rest of the batch, a necessary condition and not a proof.

    Examples
    --------
    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.ReLU())
    >>> _ = torch.nn.init.ones_(module[0].weight)
    >>> points, reference = torch.tensor([[2.0], [4.0]]), torch.tensor([[-1.0]])
    >>> repressed_scores(module, points, reference, eta=-0.5).tolist()
    [[1.0], [2.0]]
    """
    _check_points(module, points)
    eta = _check_options(points, references, eta, passes, factors)
    with _evaluation(module, points):
        if factors is not None:
            factors = list(factors)
            scores, mode = _run(module, points, _ScalingMode(points, factors))
            if mode.n_calls != len(factors):
                raise ShapeError(f"factors has {len(factors)} tensors, but the module has {mode.n_calls} switching calls")
        elif references is None or eta == 0:
            scores, _ = _run(module, points, SwitchingMode(points))
        else:
            reference = _record(module, references)
            known = _record(module, points) if passes == 2 else None
            scores, _ = _run(module, points, _RepressingMode(points, reference, eta, known))
    return _check_scores(scores, points)


def statuses(module, points):
    """Compute the statuses of all neurons of a module at points.

    Exact up to rounding: the pieces that the evaluation in the module's dtype selects.

    Parameters
    ----------
    module : torch.nn.Module
        As for ``repressed_scores``.
    points : tensor [B, *S]

    Returns
    -------
    list of K tensors int8 or int32
        One for each switching call, of the shape of its output: 0 at a threshold, and where several taps of a pool are the
        largest; otherwise -1 or 1 (the side of the only threshold, or the second or the first of two values), 1, 2 or 3 (below,
        between and above two thresholds), or the number of the winning tap of a pool, from 1.

    Raises
    ------
    UnsupportedOperationError, InputError
        As for ``repressed_scores``.

    Examples
    --------
    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Hardtanh(0.0, 1.0))
    >>> [status.tolist() for status in statuses(module, torch.tensor([[-1.0, 0.0, 0.5, 3.0]]))]
    [[[-1, 0, 1, 1]], [[0, 0, 2, 3]]]
    """
    _check_points(module, points)
    with _evaluation(module, points):
        return _record(module, points)


def check_rows(module, points):
    """Validate, by evaluating five rows, that a row's scores do not depend on the other rows of a batch.

    Estimate: a necessary condition at one point. In evaluation mode, the row alone is compared with the same row beside another
    one, with larger and with smaller entries; differences of rounding are accepted.

    Parameters
    ----------
    module : torch.nn.Module
    points : tensor [B, *S]
        The first one is used.

    Raises
    ------
    InputError
        The scores differ.
    ShapeError
        The module does not give one row for each point.
    UnsupportedOperationError
        As for ``repressed_scores``.
    """
    first = points[:1].detach()
    batches = [first, torch.cat([first, first + 1.0]), torch.cat([first, first - 3.0])]
    with torch.no_grad(), classifiers.evaluating(module):
        alone, *together = (_run(module, each, SwitchingMode(each))[0] for each in batches)
    if alone.ndim == 0 or len(alone) != 1 or any(scores.shape != (2, *alone.shape[1:]) for scores in together):
        raise ShapeError(f"the module gives shape {tuple(alone.shape)} for one row; (1, classes) is needed, give a classifier")
    accepted = max(ROW_CHANGE, 16.0 * torch.finfo(points.dtype).eps) * (1.0 + _largest(alone))
    if any(_largest(alone[0] - scores[0]) > accepted for scores in together):
        raise InputError(
            "the module's scores of a row depend on the other rows of the batch; give a module without statistics of batches"
        )


def _largest(values):
    """Return the largest absolute value of a tensor, 0.0 if it is empty."""
    return float(values.abs().max()) if values.numel() else 0.0


def _run(module, points, mode):
    """Evaluate a module under a mode: its output, the mode."""
    with mode:
        output = module(points)
    mode.check_output(output)
    return output, mode


def _record(module, points):
    """Return the statuses of an ordinary pass, without gradient."""
    with torch.no_grad():
        return _run(module, points, RecordingMode(points))[1].statuses


@contextlib.contextmanager
def _evaluation(module, points):
    """Set evaluation mode within the context, after a check that rows are independent, once for a module and shape."""
    checked, kind = _CHECKED.setdefault(module, set()), (points.shape[1:], points.dtype)
    if kind not in checked:
        check_rows(module, points)
        checked.add(kind)
    with classifiers.evaluating(module):
        yield


def _check_points(module, points):
    check_module(module)
    if not isinstance(points, torch.Tensor) or not points.is_floating_point():
        raise InputError(
            f"points is a {getattr(points, 'dtype', type(points).__name__)}; give a tensor of floating-point numbers"
        )
    if points.ndim < 2 or len(points) == 0:
        raise ShapeError(f"points has shape {tuple(points.shape)}; give one row for each point, (B, ...) with B at least 1")
    if torch.is_autocast_enabled(points.device.type):
        raise InputError("automatic casting to lower precision is enabled, which changes scores; disable torch.autocast")


def _check_options(points, references, eta, passes, factors):
    """Validate the arguments of ``repressed_scores``, and return eta."""
    if passes not in PASSES:
        raise InputError(f"passes is {passes!r}; the choices are 1 and 2")
    if references is not None and factors is not None:
        raise InputError("references and factors are both given; give one of them")
    if references is not None:
        shapes = (points.shape, (1, *points.shape[1:]))
        if not isinstance(references, torch.Tensor) or references.shape not in shapes:
            shape = tuple(getattr(references, "shape", ()))
            raise ShapeError(
                f"references has shape {shape}, but points {tuple(points.shape)}; give one for each point, or one row"
            )
    eta = check_number(eta, "eta", least=-1.0)
    if eta != 0 and references is None:
        raise InputError(f"eta is {eta!r}, but references is not given; give references, or leave eta out")
    return eta


def _check_scores(scores, points):
    if scores.ndim != 2 or len(scores) != len(points):
        raise ShapeError(f"the module gives shape {tuple(scores.shape)} for {len(points)} points, but (B, classes) is needed")
    return scores
