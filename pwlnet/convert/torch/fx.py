"""Reading of torch modules: a symbolic trace of a float64 copy in eval mode, converted for a batch of one.

The trace is made by torch.fx, or by torch.export (`export`) for modules whose Python code branches on tensors or writes in
place through views. The network computes what the module computes for a single row; a module whose outputs for two rows in
one batch differ from those for each row alone is refused.
"""

import warnings
from functools import partial

import numpy as np
import torch
from torch import fx

from ...errors import ConversionError, PwlnetError, PwlnetWarning, ShapeError
from .choice import ChosenOutputs, SeveralOutputs, find_outputs
from .export import export
from .hooks import hooked_layers, only_record, without_hooks
from .noise import differ_by_rounding, perturbed_run
from .ops import TABLES
from .precise import InFloat64
from .source_module import check_signature, checked_shape, copied_module, to_float64
from .tracing import trace
from .values import InPlaceViewWrite, first_line
from .walk import Walker


def read_module(module, input_shape, outputs=None):
    """Read a module into a neutral graph.

    Exact up to rounding: weights are cast to float64 exactly, and the module is read as it computes in eval mode.

    Parameters
    ----------
    module : torch.nn.Module
        In any mode; it is not changed. Its hooks run when its copy does.
    input_shape : tuple of int
        Shape of one input, without the batch axis.
    outputs : int, str, or sequence of them, optional
        Which of several tensors that the module returns.

    Returns
    -------
    Graph

    Raises
    ------
    InputError
        The module is not a torch.nn.Module, or holds a value that is not finite.
    ShapeError
        ``input_shape`` is not a tuple of positive integers.
    UnsupportedOperationError
        A node is not piecewise linear or not supported.
    ConversionError
        The module cannot be traced, does not run on ``input_shape``, or mixes the rows of a batch.

    Warns
    -----
    PwlnetWarning
        A softmax or sigmoid at the end was dropped.
    """
    shape = (1, *checked_shape(input_shape))
    model = copied_module(module)
    check_signature(model)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_float64(model)
        try:
            paths = _paths(model, shape, outputs)
        except SeveralOutputs as error:
            _require_a_choice(module, model, shape, error)
            raise
        root = ChosenOutputs(model, paths)
        walker = _trace(partial(_chosen_copy, module, paths), root, shape)
        _check_rows(root, shape, walker)
    for note in walker.graph.needed_notes():
        warnings.warn(note, PwlnetWarning, stacklevel=3)
    if walker.dropped is not None:
        warnings.warn(walker.dropped, PwlnetWarning, stacklevel=3)
    return walker.graph


def _paths(model, shape, outputs):
    """Return the paths of the chosen outputs in what the module returns; None if it does not run and none is chosen."""
    try:
        with InFloat64():
            result = model(torch.zeros(shape, dtype=torch.float64))
    except Exception as error:
        if len(shape) > 2 and _runs(model, shape[1:]):
            raise ShapeError(
                f"input_shape is {shape[1:]}, on which the module does not run; give the shape of one input without the batch "
                f"axis, {shape[2:]}"
            ) from error
        if outputs is None:
            return None
        raise _does_not_run(shape, error) from error
    return find_outputs(result, outputs)


def _runs(model, shape):
    try:
        with InFloat64():
            model(torch.zeros(shape, dtype=torch.float64))
    except Exception:
        return False
    return True


def _require_a_choice(module, model, shape, error):
    """Raise the refusal of a module's first output if none of its outputs can be converted."""
    refusals = []
    for path in error.choices:
        try:
            _trace(partial(_chosen_copy, module, [path]), ChosenOutputs(model, [path]), shape)
            return
        except PwlnetError as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _chosen_copy(module, paths):
    """Return a copy in the dtypes of the source, which torch.export traces; a trace of torch.fx does without."""
    return ChosenOutputs(copied_module(module), paths)


def _does_not_run(shape, error):
    return ConversionError(
        f"the module does not run on an input of shape {shape}: {first_line(error)}; check input_shape, without the batch axis"
    )


def source_forward(module, outputs=None):
    """Return a function that evaluates a float64 copy of a module in eval mode, row by row, without a softmax at the end.

    Parameters
    ----------
    module : torch.nn.Module
        It is not changed.
    outputs : int, str, or sequence of them, optional
        As for ``read_module``.

    Returns
    -------
    callable
        Maps float64[B, *input_shape] to float64[B, O].

    Raises
    ------
    InputError
        The module is not a torch.nn.Module, or holds a value that is not finite.
    """
    model = to_float64(copied_module(module))

    def forward(rows):
        rows = np.asarray(rows, dtype=np.float64)
        if not len(rows):
            return np.empty((0, 0))
        chosen = _chosen(model, rows, outputs)
        return np.stack([_run(chosen, torch.from_numpy(row[None].copy())).reshape(-1).numpy() for row in rows])

    return forward


def _chosen(model, rows, outputs):
    """Return the module that gives the chosen outputs only."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ChosenOutputs(model, _paths(model, (1, *rows.shape[1:]), outputs))


def perturbed_source(module, outputs=None):
    """Return a function (size, rng) -> function like that of ``source_forward``, with all parameters and operations perturbed.

    Parameters
    ----------
    module : torch.nn.Module
        It is not changed.
    outputs : int, str, or sequence of them, optional
        As for ``read_module``.

    Returns
    -------
    callable
    """

    def perturbed(size, rng):
        model, seed = to_float64(copied_module(module)), int(rng.integers(2**31))

        def forward(rows):
            chosen = _chosen(model, rows, outputs)
            runs = [
                perturbed_run(chosen, _run, torch.from_numpy(row[None].copy()), size, seed + k) for k, row in enumerate(rows)
            ]
            return np.stack([output.reshape(-1).numpy() for output in runs])

        return forward

    return perturbed


def _run(model, x):
    with torch.no_grad(), warnings.catch_warnings(), InFloat64() as mode:
        warnings.simplefilter("ignore")
        return mode.without_softmax(model(x)).detach()


def _trace(make_original, root, shape):
    """Convert the trace of torch.fx, or that of torch.export if the first fails or does not match the module."""
    reason, hooked = "its forward writes in place through views", hooked_layers(root.model)
    try:
        traced = trace(root)
    except Exception as error:
        reason = first_line(error)
    else:
        try:
            walker = _run_walker(root, traced, shape, hooked=hooked)
            if _trace_matches_module(root, traced, shape):
                return walker
            reason = "its forward behaves differently when traced"
        except InPlaceViewWrite:
            pass
    try:
        exported, traced = export(make_original(), root, shape)
    except Exception as error:
        if hooked and only_record(root, shape):
            return _trace(lambda: without_hooks(make_original()), without_hooks(root), shape)
        raise ConversionError(
            f"the module can't be traced (torch.fx: {reason}; torch.export: {first_line(error)}); "
            "its operations must not depend on the values of tensors, rewrite that branch of its forward"
        ) from error
    try:
        return _run_walker(exported, traced, shape, hooked=hooked, functional=True)
    except InPlaceViewWrite:
        raise ConversionError(
            "the module writes activations into a constant or through a view; build the tensor with torch.cat instead"
        ) from None


def _run_walker(root, traced, shape, **options):
    walker = Walker(root, traced, shape, TABLES, **options)
    walker.run()
    return walker


def _trace_matches_module(root, traced, shape):
    """Return whether the trace computes what the module does; ``isinstance(x, torch.Tensor)`` is False during tracing."""
    row = torch.from_numpy(np.random.default_rng(0).standard_normal(shape))
    try:
        expected, actual = _run(root, row.clone()), _run(fx.GraphModule(root, traced), row.clone())
    except Exception:
        return True  # _check_rows reports a module that does not run
    return expected.shape == actual.shape and differ_by_rounding(root, _run, row.numpy()[None], actual, expected)


def _check_rows(model, shape, walker):
    """Refuse a module that does not run on a batch of one, or mixes the rows of a batch."""
    rows = np.random.default_rng(0).standard_normal((2, *shape[1:]))
    try:
        alone = [_run(model, torch.from_numpy(row[None].copy())) for row in rows]
    except Exception as error:
        raise _does_not_run(shape, error) from error
    output = walker.graph.output.shape
    if tuple(alone[0].shape) != output:
        raise ConversionError(
            f"the module gives shape {tuple(alone[0].shape)} but was read as giving {output}; "
            "report it, with the module's forward"
        )
    try:
        together = _run(model, torch.from_numpy(rows.copy()))
    except PwlnetError:
        raise
    except Exception:
        return  # a module that accepts a batch of one only
    joined = together.shape[:1] == alone[0].shape[:1] == (1,)  # such as x.view(1, -1)
    if together.numel() == sum(a.numel() for a in alone) and not (joined and together.numel()):
        expected = torch.stack([a.reshape(-1) for a in alone])
        if differ_by_rounding(model, _run, rows[:, None], together.reshape(expected.shape), expected):
            return
    raise ConversionError(
        f"the module gives other outputs for two rows in one batch (shape {tuple(together.shape)}) than for each row alone; "
        "its forward must not mix the batch axis with the features, keep axis 0 separate"
    )
