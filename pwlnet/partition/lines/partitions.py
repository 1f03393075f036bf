"""LinePartitions: the exact breakpoints of many lines.

Legend: L lines, D inputs, O outputs, K neurons, n points of one line.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..._types import ArrayLike, Dtype, FloatArray, Int32Array, IntArray, PathLike
from ...patterns import ActivationPatterns
from ...scheduling import look_ahead, n_threads, single_threaded_blas
from ...tolerances import DEFAULT, Tolerances, as_tolerances
from ...validation import check_count, check_network
from . import check as line_check
from . import tracing, windows
from .ends import LineEnds, lengths, points_at
from .rounds import Progress, Settings, assemble, batches, check_limits, trace_blocks, waiting_bytes

if TYPE_CHECKING:
    from ...network import Network

_MEMORY = 2**30
_MAX_POINTS = 2**20
_SEGMENTS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class LinePartitions:
    """Breakpoints and flips of many lines, ragged; made by ``partition_lines``.

    Exact up to rounding: ``residual`` compares them with forward passes at sampled breakpoints.

    Attributes
    ----------
    network : Network
    starts, ends : float64[L, D]
    offsets : int64[L+1]
        Line i has ``t[offsets[i] : offsets[i + 1]]``.
    t : float64[*]
        Line parameters: strictly increasing per line, first 0.0, last 1.0; a breakpoint wherever a neuron changes state.
    flip_offsets : int64[len(t) + 1]
        Neurons that change state at ``t[k]``: ``flip_neurons[flip_offsets[k] : flip_offsets[k + 1]]``. None at 0 and 1.
    flip_neurons : int64[*]
        Neuron indices (``Network.neuron``), increasing for each t.
    flip_states : int32[*]
        The neuron's state after the flip (meaning: ActivationPatterns).
    residual : float64[L]
        Largest distance of a flipping neuron from its threshold in forward passes at sampled breakpoints, relative to the
        largest pre-activation of its op.
    ambiguous : int64[L]
        Number of decisions within rounding that are not certain: neurons at a threshold at an end of the line, or that stay at
        one; crossings united with, or close to, others that float64 can tell apart; equal taps (docs/reports/performance.md).
    t_error : float64[L]
        Bound of the rounding error of the line's breakpoints: ``tolerances.rounding`` standard errors. 0.0 without
        breakpoints, 1.0 (the whole line) if no bound is known. Like the last bits of ``t``, it depends on ``memory``.
    tolerances : Tolerances
    """

    network: Network = field(repr=False)
    starts: FloatArray = field(repr=False)
    ends: FloatArray = field(repr=False)
    offsets: IntArray = field(repr=False)
    t: FloatArray = field(repr=False)
    flip_offsets: IntArray = field(repr=False)
    flip_neurons: IntArray = field(repr=False)
    flip_states: Int32Array = field(repr=False)
    residual: FloatArray = field(repr=False)
    ambiguous: IntArray = field(repr=False)
    t_error: FloatArray = field(repr=False)
    tolerances: Tolerances = field(default=DEFAULT, repr=False)

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.offsets) - 1

    @property
    def n_segments(self) -> IntArray:
        """Number of segments of each line: int64[L]."""
        return np.diff(self.offsets) - 1

    @property
    def length(self) -> FloatArray:
        """Euclidean length of each line: float64[L]."""
        return lengths(self.starts, self.ends)

    @property
    def density(self) -> FloatArray:
        """Segments per unit length: float64[L]; inf for a line of length zero."""
        length = self.length
        return np.divide(self.n_segments, length, out=np.full(len(self), np.inf), where=length > 0)

    @property
    def parts(self) -> Sequence[LinePartition]:
        """The lines as a sequence of LinePartition."""
        return _Parts(self)

    def check(self, *, n_samples: int = 16, rng: np.random.Generator | None = None) -> list[str]:
        """Compare the partition with forward passes: states inside sampled segments against the flips.

        Exact up to rounding. With 16 samples a line this takes about as long as the partition, or twice as long.

        Parameters
        ----------
        n_samples : int
            Number of segments to check per line, evenly spaced in their order; all if the line has fewer.
        rng : numpy.random.Generator, optional
            Choose the segments at random instead.

        Returns
        -------
        list of str
            One sentence for each disagreement; empty if there is none.
        """
        return line_check.find_problems(self, n_samples, rng)

    def save(self, path: PathLike) -> None:
        """Write to a new HDF5 store (``pwlnet.store``); ``pwlnet.store.load_lines`` reads it back."""
        from ...store import save_lines

        save_lines(path, self)

    def __repr__(self) -> str:
        return f"LinePartitions({len(self)} lines, {len(self.t) - len(self)} segments, {self.network!r})"


class _Parts(Sequence["LinePartition"]):
    """Sequence view of the lines of a LinePartitions."""

    def __init__(self, lines):
        self._lines = lines

    def __len__(self):
        return len(self._lines)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [LinePartition(self._lines, i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"line {index} was requested, but there are {len(self)} lines; count from 0")
        return LinePartition(self._lines, int(index) % len(self))


class LinePartition:
    """One line of a LinePartitions: its breakpoints, points, values and patterns."""

    __slots__ = ("_lines", "index")

    def __init__(self, lines: LinePartitions, index: int) -> None:
        self._lines = lines
        self.index = index

    @property
    def _range(self):
        return slice(self._lines.offsets[self.index], self._lines.offsets[self.index + 1])

    @property
    def _flip_offsets(self):
        return self._lines.flip_offsets[self._range.start : self._range.stop + 1]

    @property
    def network(self) -> Network:
        """The network."""
        return self._lines.network

    @property
    def start(self) -> FloatArray:
        """Start of the line: float64[D]."""
        return self._lines.starts[self.index]

    @property
    def end(self) -> FloatArray:
        """End of the line: float64[D]."""
        return self._lines.ends[self.index]

    @property
    def t(self) -> FloatArray:
        """Breakpoints, from 0.0 to 1.0: float64[n]."""
        return self._lines.t[self._range]

    @property
    def n_segments(self) -> int:
        """Number of segments: n - 1."""
        return len(self.t) - 1

    @property
    def residual(self) -> float:
        """Residual of this line (see LinePartitions)."""
        return float(self._lines.residual[self.index])

    @property
    def t_error(self) -> float:
        """Bound of the rounding error of this line's breakpoints (see LinePartitions)."""
        return float(self._lines.t_error[self.index])

    @property
    def flips(self) -> list[tuple[IntArray, Int32Array]]:
        """For each t the neurons that change state there and their new states: list of (int64[*], int32[*])."""
        neurons, states, offsets = self._lines.flip_neurons, self._lines.flip_states, self._flip_offsets.tolist()
        return [(neurons[a:b], states[a:b]) for a, b in itertools.pairwise(offsets)]

    def points(self) -> FloatArray:
        """Return the inputs at the breakpoints: float64[n, D]; the ends are exact."""
        return points_at(self.start, self.end, self.t)

    def midpoints(self) -> FloatArray:
        """Return the inputs at the midpoints of the segments: float64[n - 1, D]."""
        return points_at(self.start, self.end, 0.5 * (self.t[:-1] + self.t[1:]))

    def outputs(self) -> FloatArray:
        """Evaluate the network at the breakpoints: float64[n, O]; affine in t between them.

        Exact up to rounding: a float64 forward pass at each breakpoint.
        """
        return self.network.forward(self.points())

    def states(self) -> Int32Array:
        """Return the state of each neuron on each segment: int32[n - 1, K], from the first segment's states and the flips."""
        return np.concatenate(list(self.state_blocks()))

    def state_blocks(self) -> Iterator[Int32Array]:
        """Yield the states of consecutive segments in blocks of rows: int32[*, K]; ``states`` in bounded memory."""
        row = tracing.initial_states(self.network, self.start, self.end, self.t, self._lines.tolerances)
        neurons, states = self._lines.flip_neurons, self._lines.flip_states
        for first in range(0, self.n_segments, _SEGMENTS_AT_ONCE):
            last = min(first + _SEGMENTS_AT_ONCE, self.n_segments)
            offsets, block = self._flip_offsets[first : last + 1].tolist(), np.empty((last - first, row.size), np.int32)
            for k, (a, b) in enumerate(itertools.pairwise(offsets)):  # most of the time is the copy of a row
                row[neurons[a:b]] = states[a:b]
                block[k] = row
            yield block

    def patterns(self) -> ActivationPatterns:
        """Return the activation pattern of each segment: ActivationPatterns of n - 1 rows.

        Exact up to rounding: from the pattern at the start and the flips; no sign is evaluated at a breakpoint.
        """
        layout = self.network.pattern_layout
        blocks = [ActivationPatterns.from_states(block, layout).packed for block in self.state_blocks()]
        return ActivationPatterns(np.concatenate(blocks), layout)

    def __repr__(self) -> str:
        return f"LinePartition({self.n_segments} segments, residual {self.residual:.1e})"


def partition_lines(
    network: Network, starts: ArrayLike, ends: ArrayLike, *, max_segments: int | None = None, progress: bool = False,
    threads: int | None = None, tolerances: Tolerances = DEFAULT, slope_dtype: Dtype | None = None, memory: int = _MEMORY,
    n_checked: int = 3,
) -> LinePartitions:  # fmt: skip
    """Split lines into the segments on which the activation pattern of a network is constant, so that it is affine.

    Exact up to rounding: ties are decided by rounding bounds; each line's residual and ``t_error`` are returned.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D] or float64[L, *input_shape]
        Ends of the lines in the network's input units. One start or end is used for all lines of the other.
    max_segments : int, optional
        Refuse lines with more segments than this. No limit by default.
    progress : bool
        Show a progress bar on stderr.
    threads : int, optional
        All processors by default. Results don't depend on it.
    tolerances : Tolerances, optional
    slope_dtype : {"float64", "float32"}, optional
        Type of the slope changes; float32 takes less time and memory on some large networks. Breakpoints and values are
        float64 in both cases; ``t_error`` and ``ambiguous`` report what the rounding of float32 may have changed.
        By default that of ``tolerances``: float64.
    memory : int
        Largest size of the buffers of each thread in bytes; a line that needs more is traced in windows.
    n_checked : int
        Number of breakpoints per line that are evaluated for ``residual``.

    Returns
    -------
    LinePartitions

    Raises
    ------
    ShapeError
        ``starts`` and ``ends`` don't hold the same number of points of the network.
    InputError
        They contain NaN, infinities or something else than real numbers.
    CapacityError
        A line has more than ``max_segments`` segments, or even a very short window does not fit into ``memory``.
    NumericalError
        Values overflow float64 along a line, or values or weights are too far apart in size.

    Notes
    -----
    Lines with values beyond about 1e-74 to 1e150, and those of networks with weights beyond 2**-200 to 2**200, are traced one
    by one in networks that are rescaled for them by powers of two, which takes longer.
    Cost: the number of non-zero slope changes times the number of weights that each is multiplied by, not breakpoints times a
    forward pass. A line of length zero has one segment. States and tie rules: ActivationPatterns.

    References
    ----------
    .. [1] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 3 (the
       problem, called ExactLine; this is another method).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> lines = pwlnet.partition_lines(network, np.zeros((1, 64)), np.ones((1, 64)))
    >>> int(lines.n_segments[0]) == lines.parts[0].n_segments
    True
    """
    check_limits(max_segments, memory, n_checked)
    lines = LineEnds(network, check_network(network).as_points(starts, "starts"), network.as_points(ends, "ends"))
    settings = Settings(network, as_tolerances(tolerances).with_slope_dtype(slope_dtype), memory, n_checked, max_segments)
    results = list(_partitions(settings, lines, math.inf, progress, n_threads(threads)))
    return results[0] if results else LinePartitions(network, *assemble([], network.n_inputs), settings.tolerances)  # type: ignore[call-arg]


def iter_line_partitions(
    network: Network, starts: ArrayLike, ends: ArrayLike, *, max_points: int = _MAX_POINTS, max_segments: int | None = None,
    progress: bool = False, threads: int | None = None, tolerances: Tolerances = DEFAULT, slope_dtype: Dtype | None = None,
    memory: int = _MEMORY, n_checked: int = 3,
) -> Generator[LinePartitions, None, None]:  # fmt: skip
    """Split lines as ``partition_lines`` does, and return them in batches while others are traced.

    Exact up to rounding, and bit for bit the result of ``partition_lines``.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D] or float64[L, *input_shape]
        Arrays, or anything with a shape that can be sliced (np.memmap, h5py.Dataset): read in slices, on another thread.
        One start or end is used for all lines of the other.
    max_points : int
        Largest number of breakpoints (entries of ``t``) of a batch; a line with more is a batch alone. The starts of a batch
        take at most 64 bytes times this, or 64 MiB if that is more.
    max_segments, progress, threads, tolerances, slope_dtype, memory, n_checked
        As for ``partition_lines``.

    Returns
    -------
    iterator of LinePartitions
        Batches of at least one line, in order. ``close()`` it, or leave the loop, to stop the threads.

    Raises
    ------
    ShapeError
        ``starts`` and ``ends`` don't hold the same number of points of the network.
    InputError, CapacityError, NumericalError
        As for ``partition_lines``; raised in place of the batch with that line, after the batches before it.

    Notes
    -----
    Memory: two batches, finished lines (up to 64 bytes times ``max_points``, or 64 MiB), and the buffers of the threads.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> ends = np.random.default_rng(0).random((100, 64))
    >>> batches = pwlnet.iter_line_partitions(network, np.zeros(64), ends, max_points=1000)
    >>> sum(len(lines) for lines in batches)
    100
    """
    check_limits(max_segments, memory, n_checked)
    check_count(max_points, "max_points")
    lines = LineEnds(network, starts, ends)
    settings = Settings(network, as_tolerances(tolerances).with_slope_dtype(slope_dtype), memory, n_checked, max_segments)
    return _partitions(settings, lines, max_points, progress, n_threads(threads))


def _partitions(settings, lines, max_points, progress, threads):
    """Yield LinePartitions of up to ``max_points`` breakpoints."""
    max_bytes = waiting_bytes(max_points)
    with contextlib.ExitStack() as stack:
        stack.enter_context(single_threaded_blas())  # once, since idle BLAS threads use a processor after each change
        bar = stack.enter_context(contextlib.closing(Progress(len(lines), progress)))
        stop = np.zeros(1, np.int64)
        blocks = trace_blocks(settings, lines, threads, bar.advance, stop)
        if threads > 1 and (len(lines) > 1 or windows.has_long_lines(settings.network)):
            blocks = look_ahead(blocks, max_bytes, functools.partial(stop.fill, 1))
        stack.enter_context(contextlib.closing(blocks))
        for batch in batches(blocks, max_points, max_bytes):
            yield LinePartitions(settings.network, *assemble(batch, settings.network.n_inputs), settings.tolerances)
