"""Compile all kernels ahead of time, in two processes, so that Numba's cache on disk is filled before it is needed.

A *step* uses some of the public API once on a toy network, and so compiles the kernels below it. ``compile_kernels`` runs the
steps in the calling process. Before that, two other processes run the steps that take long, and leave the compiled kernels in
the cache. These processes only save time: kernels that they do not compile are compiled by the calling process.

``python -m pwlnet.warmup STEP...`` runs steps and prints one JSON line per step.
"""

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .analysis.attribution import integrate_gradients
from .analysis.entropy import neuron_entropy
from .analysis.floats import find_float_neurons
from .analysis.linearity import measure_linearity
from .analysis.paths import decompose_paths, path_polynomial
from .analysis.queries import find_where
from .analysis.sampling_error import compare_rules
from .analysis.similarity import pattern_similarity
from .analysis.vulnerability import classify_vulnerability
from .bounds import bound_preactivations
from .conditions import HalfSpaces
from .convert.graph import Graph
from .convert.lower import lower
from .domains import Box, Gaussian
from .kernels import _jit
from .kernels.lines.wide import WIDE_FROM
from .partition.lines.check import residuals
from .partition.lines.partitions import LinePartitions, partition_lines
from .partition.lines.rounds import Block, assemble
from .partition.lines.tracing import borrowed_tracer
from .partition.lines.windows import TraceResult
from .partition.planes.partitions import partition_planes
from .partition.regions.enumerating import enumerate_regions
from .partition.regions.graph import region_graph
from .partition.regions.radii import stable_radii
from .smoothing.network_pass import repressed_outputs
from .smoothing.noise import unit_noise
from .tolerances import DEFAULT

_MEMORY = 2**26  # bytes of a tracer's buffers, more than enough for the toy network


def toy_network():
    """Build a small network with every kind of op: convolutions, pools, all activations, a residual connection.

    Returns
    -------
    Network
    """
    rng = np.random.default_rng(0)
    graph = Graph((1, 2, 6, 6), batched=True)
    x = graph.conv(graph.input, rng.normal(size=(4, 2, 3, 3)), padding=(1, 1, 1, 1), name="conv")
    x = graph.leaky_relu(x, 0.125, name="leaky")
    grouped = graph.conv(x, rng.normal(size=(4, 2, 1, 1)), groups=2, name="grouped")
    x = graph.add(x, graph.clip(grouped, -1.0, 1.0, name="clip"), name="residual")
    x = graph.max_pool(x, 2, name="max_pool")
    x = graph.concat([x, graph.relu(x, name="relu")], axis=1, name="concat")
    x = graph.scale_shift(x, rng.normal(size=(8, 1, 1)), rng.normal(size=(8, 1, 1)), name="scale")
    x = graph.avg_pool(x, 2, padding=(1, 1, 1, 1), count_pad=False, name="avg_pool")
    x = graph.reshape(x, (1, -1), name="flatten")
    x = graph.relu(graph.linear(x, rng.normal(size=(8, x.size)), name="full"), name="last")
    graph.output = graph.linear(x, rng.normal(size=(3, 8)), name="outputs")
    return lower(graph)


def _wide_network():
    """Build a network with a layer that uses the kernels of wide layers."""
    rng = np.random.default_rng(0)
    graph = Graph((1, 4), batched=True)
    x = graph.relu(graph.linear(graph.input, rng.normal(size=(WIDE_FROM, 4)), name="first"), name="relu1")
    x = graph.relu(graph.linear(x, rng.normal(size=(WIDE_FROM, WIDE_FROM)), name="wide"), name="relu2")
    graph.output = graph.linear(x, rng.normal(size=(2, WIDE_FROM)), name="outputs")
    return lower(graph)


class _Toy:
    """The toy network, and the points and lines that the steps use."""

    def __init__(self):
        self.network = toy_network()
        self.points = np.random.default_rng(1).random((4, self.network.n_inputs))
        self.starts, self.ends = self.points[:2].copy(), self.points[2:].copy()

    def no_breakpoints(self):
        """Return a trace result without breakpoints: its users can be compiled without compiling the trace."""
        none, zeros = np.empty(0, np.int64), np.zeros(2, np.int64)
        return TraceResult(zeros, zeros, zeros, np.zeros(2), np.empty(0), none, none, np.empty(0, np.int32))

    def unsplit_lines(self):
        """Return lines without breakpoints: LinePartitions."""
        block = Block(self.starts, self.ends, self.no_breakpoints(), np.zeros(2))
        return LinePartitions(self.network, *assemble([block], self.network.n_inputs), DEFAULT)


def _trace(toy, tolerances=DEFAULT):
    with borrowed_tracer(toy.network, tolerances, _MEMORY) as tracer:
        tracer.trace_lines(toy.starts, toy.ends)


def _trace_wide(toy, tolerances=DEFAULT):
    with borrowed_tracer(_wide_network(), tolerances, _MEMORY) as tracer:
        tracer.trace_lines(np.zeros((1, 4)), np.ones((1, 4)))


def _check(toy):
    with borrowed_tracer(toy.network, DEFAULT, _MEMORY) as tracer:
        residuals(toy.network, toy.starts, toy.ends, toy.no_breakpoints(), 1, tracer.forward_buffers)


def _patterns(toy):
    patterns = toy.network.patterns(toy.points)
    patterns.hamming(patterns)
    patterns.unpack()


def _planes(toy):
    """Use the kernels of planes: with convolutions and pools, with fully connected layers, and what is asked of a plane."""
    triangle = 0.01 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    a, b, c = toy.points[:3]
    partition_planes(toy.network, a, b - a, c - a, triangle, threads=1)
    part = partition_planes(_wide_network(), np.zeros(4), np.eye(4)[0], np.eye(4)[1], 10.0 * triangle, threads=1).parts[0]
    part.locate(np.zeros((1, 2)))
    part.affine_maps()
    find_where(part, HalfSpaces.largest(0, 2))
    part.classes()


def _bounds(toy):
    """Use the kernels of bounds."""
    bound_preactivations(toy.network, Box.around(toy.points[:1], 0.01), method="alpha_crown", n_steps=1, threads=1)


def _pattern_facts(toy):
    neuron_entropy(toy.network, toy.points)
    pattern_similarity(toy.network, toy.points)


def _paths(toy):
    """Use the kernels of fixed and float paths."""
    floats = np.arange(toy.network.n_neurons) % 2 == 0
    decompose_paths(toy.network, toy.points, floats, maps=True, threads=1)
    path_polynomial(toy.network, toy.points, floats, threads=1)
    classify_vulnerability(toy.network, toy.points[:2], toy.points[2:], threads=1)


def _floats(toy):
    """Use the kernels of fixed and float neurons: draws in both precisions, and pairs."""
    for dtype in ("float32", "float64"):
        find_float_neurons(toy.network, Gaussian(toy.points, 0.1), method="sampled", n_samples=2, dtype=dtype, threads=2)
        find_float_neurons(toy.network, (toy.starts, toy.ends), method="pair", dtype=dtype)


def _smoothing(toy):
    """Use the kernel of smoothing in both types, and that of noisy points."""
    for dtype in ("float32", "float64"):
        repressed_outputs(toy.network, toy.points, toy.points[:1], eta=-0.1, dtype=dtype, threads=1)
    unit_noise(0, 0, 0, 0, 1, (1,))


def _regions(toy):
    """Use the kernels of cells, which are the same for all networks and numbers of inputs: cells, volumes, neighbours."""
    lower = toy.points[0]
    upper = np.where(np.arange(len(lower)) < 2, lower + 0.25, lower)
    regions = enumerate_regions(toy.network, lower, upper, want=("facets", "volumes"), threads=1)
    region_graph(regions, threads=1)


def _search(toy):
    """Use the kernels that cross facets."""
    lower = toy.points[0]
    upper = np.where(np.arange(len(lower)) < 2, lower + 0.25, lower)
    enumerate_regions(toy.network, lower, upper, method="search", max_regions=2, threads=1)


STEPS = {  # name: a function of _Toy that uses the kernels
    "forward": lambda toy: toy.network.forward(toy.points),
    "check": _check,
    "trace": _trace,
    "partition_lines": lambda toy: partition_lines(toy.network, toy.starts, toy.ends, threads=2),
    "preactivations": lambda toy: toy.network.preactivations(toy.points),
    "patterns": _patterns,
    "jacobian": lambda toy: toy.network.jacobian(toy.points),
    "affine_map": lambda toy: toy.network.affine_map(toy.points[0]),
    "measure_linearity": lambda toy: measure_linearity(toy.unsplit_lines(), 0),
    "compare_rules": lambda toy: compare_rules(toy.unsplit_lines(), 0, counts=[4]),
    "integrate_gradients": lambda toy: integrate_gradients(toy.network, toy.starts, toy.ends),
    "planes": _planes,
    "bounds": _bounds,
    "region_facts": lambda toy: stable_radii(toy.network, toy.points, threads=1),
    "pattern_facts": _pattern_facts,
    "paths": _paths,
    "floats": _floats,
    "smoothing": _smoothing,
    "regions": _regions,
    "region_search": _search,
    "trace_wide": _trace_wide,
    "trace_float32": lambda toy: _trace(toy, DEFAULT.with_slope_dtype("float32")),
    "trace_wide_float32": lambda toy: _trace_wide(toy, DEFAULT.with_slope_dtype("float32")),
}
# The steps of each process, balanced by their measured times. A step follows those whose kernels it uses: integrate_gradients
# and trace_wide load the kernels of trace, which the other process has written to the cache by then.
PROCESSES = (
    (
        "trace", "jacobian", "planes", "trace_float32", "trace_wide_float32", "pattern_facts", "paths", "regions",
        "region_facts", "smoothing",
    ),
    (
        "forward", "check", "patterns", "affine_map", "measure_linearity", "compare_rules", "integrate_gradients",
        "trace_wide", "bounds", "floats", "region_search",
    ),
)  # fmt: skip
LINE_STEPS = ("forward", "check", "trace", "partition_lines")  # all that ``partition_lines`` needs
PLANE_STEPS = ("forward", "planes")
ATTRIBUTION_STEPS = ("jacobian", "integrate_gradients")


def compile_kernels(steps=None, *, processes=True, notice=True):
    """Compile the kernels of all steps, or load them from the cache on disk.

    Parameters
    ----------
    steps : sequence of str, optional
        Names of ``STEPS``; all by default.
    processes : bool
        Whether two other processes may run the steps that take long. They are not used without a cache on disk, or on a
        single processor.
    notice : bool
        Whether to say on stderr that two processes are compiling all kernels; ``PWLNET_QUIET=1`` turns this off.

    Returns
    -------
    dict of str to float
        Seconds of each step, small if its kernels were in the cache. With two processes, the sum exceeds the elapsed time.

    Notes
    -----
    Takes about two minutes with an empty cache. Failures of the other processes are ignored: their steps are run here.
    """
    names = [name for name in STEPS if steps is None or name in steps]
    seconds = dict.fromkeys(names, 0.0)
    shares = [[name for name in share if name in seconds] for share in PROCESSES]
    if processes and all(shares) and _processes_help():
        with _notice(notice and is_cold() and os.environ.get("PWLNET_QUIET", "0") in ("", "0")):
            for name, elapsed in _run_in_processes(shares):
                seconds[name] += elapsed
    with contextlib.nullcontext() if notice else _jit.CLOCK.muted():
        for name, elapsed in run_steps(names):
            seconds[name] += elapsed
    return seconds


def run_steps(names):
    """Run steps in this process, one after another: yields (name, seconds) of each."""
    toy = _Toy()
    for name in names:
        start = time.perf_counter()
        with _no_collection_of_garbage():
            STEPS[name](toy)
        yield name, time.perf_counter() - start


@contextlib.contextmanager
def _no_collection_of_garbage():
    """Keep the garbage collector from running: it takes a sixth of the time of a step, and finds little of what Numba made.

    A step leaves some hundred MiB, which are found when the collector runs again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def is_cold():
    """Return whether the cache on disk holds no compiled kernel, or there is no cache."""
    if _jit.CACHE_FOLDER is None:
        return True
    return next(Path(_jit.CACHE_FOLDER).rglob("*.nbi"), None) is None


@contextlib.contextmanager
def _notice(shown):
    """Say on stderr that kernels are compiled, and how long it took."""
    start = time.perf_counter()
    if shown and sys.stderr is not None:
        sys.stderr.write("pwlnet: compiling kernels in two processes (once per version; about two minutes) ...\n")
        sys.stderr.flush()
    yield
    if shown and sys.stderr is not None:
        sys.stderr.write(f"pwlnet: compiled kernels in {time.perf_counter() - start:.0f} s\n")


def _processes_help():
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    compiles = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
    return compiles and _jit.CACHE_FOLDER is not None and (n_processors or 1) > 1


def _run_in_processes(shares):
    """Run each share of the steps in a separate process: (name, seconds) of the completed steps."""
    search_path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # the processes import the same pwlnet
    environment = {**os.environ, "PYTHONPATH": search_path, "PWLNET_QUIET": "1"}
    command = [sys.executable, "-P", "-m", "pwlnet.warmup"]
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in shares]
        started = []
        with contextlib.suppress(OSError):  # no memory for another process, or no executable: the steps run in this one
            for share, output in zip(shares, outputs, strict=True):
                options = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.DEVNULL}
                process = subprocess.Popen([*command, *share], env=environment, **options)
                started.append(stack.enter_context(process))
                stack.callback(process.kill)  # on Ctrl-C; without effect on a process that has ended
        for process in started:
            process.wait()
        return [pair for output in outputs for pair in _completed(output)]


def _completed(output):
    """Read what a process printed: list of (name, seconds)."""
    output.seek(0)
    pairs = []
    for line in output:
        with contextlib.suppress(ValueError):  # an incomplete line
            pairs.append(tuple(json.loads(line)))
    return pairs


def _main(names):
    for pair in run_steps(names):
        sys.stdout.write(json.dumps(pair) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
