"""Conversion of modules nested hundreds deep, which torch can only copy, trace and run with as many nested calls."""

import sys
import threading

from torch import nn

SHALLOW = 40  # levels that Python's default recursion limit is enough for, whatever calls from_torch
FRAMES_PER_LEVEL = 60
BYTES_PER_LEVEL = 1 << 18


def nesting_depth(module):
    """Return how many levels of submodules a module has; 0 for anything else."""
    deepest, seen, stack = 0, set(), [(module, 1)] if isinstance(module, nn.Module) else []
    while stack:
        part, level = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        deepest = max(deepest, level)
        stack.extend((child, level + 1) for child in part._modules.values() if child is not None)
    return deepest


def with_deep_stack(module, function):
    """Return ``function()``; for a module of many levels, in a thread with a stack and a recursion limit that are enough."""
    depth = nesting_depth(module)
    if depth <= SHALLOW:
        return function()
    results, errors = [], []

    def call():
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    limit = sys.getrecursionlimit()
    size = threading.stack_size(min(1 << 30, (1 << 26) + BYTES_PER_LEVEL * depth))
    sys.setrecursionlimit(max(limit, FRAMES_PER_LEVEL * depth + 1000))
    try:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    if errors:
        raise errors[0]
    return results[0]
