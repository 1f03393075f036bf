"""Trace modules by torch.export: for modules whose Python branches on shapes or types, or writes through views.

The result is a functional graph of ATen operators, which `walk` reads with the same tables as torch.fx's.
"""

import contextlib
import io
import logging

import torch


def export(model, doubled, shape):
    """Trace a module on a batch of one: in its own dtypes, or in float64 where that fails.

    Parameters
    ----------
    model, doubled : torch.nn.Module
        In eval mode; in its own dtypes, and in float64.
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
        Whatever torch.export raises where it can't trace the module.
    """
    dtypes = [p.dtype for p in [*model.parameters(), *model.buffers()] if p.is_floating_point()]
    try:
        program = _program(model, torch.zeros(shape, dtype=dtypes[0] if dtypes else torch.get_default_dtype()))
    except Exception:
        program = _program(doubled, torch.zeros(shape, dtype=torch.float64))
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


def _program(model, example):
    with _quiet():
        return torch.export.export(model, (example,), strict=False).run_decompositions({})


@contextlib.contextmanager
def _quiet():
    """Keep torch's own log of a failed trace off the terminal; the error says it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
