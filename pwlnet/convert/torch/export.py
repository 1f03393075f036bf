"""Tracing by torch.export, for modules whose Python code branches on shapes or types, or writes in place through views.

The result is a functional graph of ATen operators, which `walk` reads with the same tables as a torch.fx trace.
"""

import contextlib
import io
import logging

import torch


def export(model, float64_model, shape):
    """Trace a module on a batch of one: in the dtypes of its parameters, or in float64 if that fails.

    A module that makes Python numbers of its activations, only to record, print or assert them, is traced from its bytecode
    (``strict=True``), which drops what its outputs do not need; a branch on such a number stays an error.

    Parameters
    ----------
    model, float64_model : torch.nn.Module
        In eval mode; with the dtypes of the source, and in float64.
    shape : tuple of int
        Shape of the input, batch axis included.

    Returns
    -------
    root : torch.nn.Module
        Holds the parameters and constants of the graph.
    traced : torch.fx.Graph

    Raises
    ------
    Exception
        The exception of torch.export if it cannot trace the module.
    """
    dtypes = [p.dtype for p in [*model.parameters(), *model.buffers()] if p.is_floating_point()]
    try:
        program = _program(model, torch.zeros(shape, dtype=dtypes[0] if dtypes else torch.get_default_dtype()))
    except Exception:
        program = _program_in_float64(float64_model, torch.zeros(shape, dtype=torch.float64))
    root = program.module()
    traced = root.graph
    for node in reversed(list(traced.nodes)):
        if node.op == "call_module" and node.target == "_guards_fn":
            traced.erase_node(node)
    structure = program.call_spec.out_spec
    output = next(node for node in traced.nodes if node.op == "output")
    if structure is not None and structure.is_leaf():
        output.args = (output.args[0][0],)
    return root, traced


def _program_in_float64(model, example):
    try:
        return _program(model, example)
    except Exception as error:
        if "data-dependent" not in str(error).lower():
            raise
        try:
            return _program(model, example, strict=True)
        except Exception:
            raise error from None


def _program(model, example, *, strict=False):
    with _quiet():
        return torch.export.export(model, (example,), strict=strict).run_decompositions({})


@contextlib.contextmanager
def _quiet():
    """Suppress torch's log of a failed trace; the error contains the reason."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
