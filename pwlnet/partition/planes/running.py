"""Cut the planes of a call, on one thread or several, with results in order.

Legend: P planes, D inputs.
"""

import contextlib
import itertools
import operator
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ...scheduling import single_threaded_blas
from .assembly import assemble, with_patterns
from .cutting import cut_mesh, cut_until_divided
from .integers import exact_ops
from .meshes import Problem, start_mesh
from .stages import plan_stages

_MOST_PLANES = 32  # of a batch, which begins as one mesh
_LEAST_BATCHES = 16  # of many planes, to be cut side by side
_LOOK_AHEAD = 3  # parts for each thread that are cut, or wait, ahead of the one whose turn it is


def make_problem(network, planes):
    """Prepare the cutting of planes: Problem."""
    frames, sizes = [], np.zeros(network.n_inputs)
    order = network.program.input_index
    for plane in planes:
        frame = np.empty((network.n_inputs, 3))
        frame[order] = np.stack([plane.e1, plane.e2, plane.origin], axis=1)
        np.maximum(sizes, plane.sizes(), out=sizes)
        frames.append((frame, plane.polygon))
    stages = plan_stages(network, sizes)
    return Problem(network, stages, frames, exact_ops(network), np.zeros(1, np.int64), np.zeros(3, np.int64))


def cut_planes(problem, n_planes, threads, bar):
    """Cut all planes: yields an Assembled for each."""
    size = max(1, min(_MOST_PLANES, n_planes // _LEAST_BATCHES))  # whatever the number of threads: roundings depend on it
    batches = [(k, min(k + size, n_planes)) for k in range(0, n_planes, size)]
    for (first, last), group in itertools.groupby(finished_meshes(problem, batches, threads), key=operator.itemgetter(0)):
        yield from assemble(problem, [mesh for _, mesh in group], first, last)
        bar.advance(last - first)


def finished_meshes(problem, batches, threads):
    """Cut the meshes of batches of planes, given as (first, last): yields (batch, finished Mesh), in order.

    Each task cuts a mesh until it is divided, and the parts take its place, so that few meshes are in memory at a time, and the
    order does not depend on the number of threads.
    """
    with single_threaded_blas(), contextlib.ExitStack() as stack:
        if threads == 1:
            for batch in batches:
                for mesh in cut_mesh(problem, start_mesh(problem, *batch)):
                    yield batch, with_patterns(problem, mesh)
            return
        pool = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix="pwlnet"))
        stack.callback(pool.shutdown, cancel_futures=True)
        stack.callback(problem.stop.fill, 1)
        waiting = deque((batch, None) for batch in batches)
        while waiting:
            for k in range(min(len(waiting), _LOOK_AHEAD * threads)):
                batch, item = waiting[k]
                if not isinstance(item, Future):
                    waiting[k] = batch, pool.submit(_next_parts, problem, batch, item)
            batch, future = waiting.popleft()
            parts = future.result()
            if len(parts) == 1:
                yield batch, parts[0]
            else:
                waiting.extendleft((batch, part) for part in parts[::-1])


def _next_parts(problem, batch, mesh):
    """Cut a mesh, or that of the planes of a batch, until it is finished or divided: list of Mesh."""
    parts = cut_until_divided(problem, start_mesh(problem, *batch) if mesh is None else mesh)
    return [with_patterns(problem, parts[0])] if len(parts) == 1 else parts
