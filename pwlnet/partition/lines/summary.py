"""LineSummary: counts, densities and lengths of the segments of many lines, without their breakpoints.

Legend: L lines, S switching ops, E edges.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._types import ArrayLike, Dtype, FloatArray, IntArray
from ...errors import InputError
from ...kernels.ir.program import OP_NAMES
from ...tolerances import DEFAULT, Tolerances, as_tolerances
from .partitions import LinePartitions, iter_line_partitions, partition_lines

if TYPE_CHECKING:
    from ...network import Network

# 2^(k/4) from 2^-40 to 2^20: about 13 per factor of ten. Computed by square roots, which have the same bits on every machine.
DEFAULT_EDGES = np.sqrt(np.sqrt(2.0 ** np.arange(-160, 81)))
DEFAULT_EDGES.setflags(write=False)
_OF_LINES = ("n_segments", "length", "shortest_t", "longest_t", "residual", "ambiguous", "t_error", "op_flips")  # [L, ...]


class OpFlips(NamedTuple):
    """Flips in one switching op: its index in the program, name in the source, kind, number of neurons, flips on all lines."""

    op: int
    name: str
    kind: str
    n_neurons: int
    n_flips: int


@dataclass(frozen=True, eq=False)
class LineSummary:
    """Numbers of lines, without breakpoints; made by ``summarize_lines`` or from line partitions by ``LineSummary.of``.

    Exact up to rounding: computed from exact partitions; every segment is counted once. Summaries of consecutive lines can be
    added: ``a.merge(b, c)`` has the same bits as the summary of all lines at once, for any division into batches.

    Attributes
    ----------
    network : Network
    n_segments : int64[L]
        Number of segments of each line.
    length : float64[L]
        Euclidean length of each line, in input units.
    shortest_t, longest_t : float64[L]
        Shortest and longest segment of each line, as a fraction of the line: in (0, 1].
    residual : float64[L]
    ambiguous : int64[L]
    t_error : float64[L]
        As for LinePartitions.
    op_flips : int64[L, S]
        Number of flips in each switching op on each line; the ops are those of ``by_op``.
    edges : float64[E]
        Edges of the histogram, increasing, in input units.
    histogram : int64[E+1]
        Segments of all lines by length in input units: shorter than ``edges[0]``; for each k from ``edges[k]`` to
        ``edges[k + 1]`` (not included); ``edges[-1]`` and longer. The sum is the number of segments.
    tolerances : Tolerances
    """

    network: Network = field(repr=False)
    n_segments: IntArray = field(repr=False)
    length: FloatArray = field(repr=False)
    shortest_t: FloatArray = field(repr=False)
    longest_t: FloatArray = field(repr=False)
    residual: FloatArray = field(repr=False)
    ambiguous: IntArray = field(repr=False)
    t_error: FloatArray = field(repr=False)
    op_flips: IntArray = field(repr=False)
    edges: FloatArray = field(repr=False)
    histogram: IntArray = field(repr=False)
    tolerances: Tolerances = field(default=DEFAULT, repr=False)

    @classmethod
    def of(cls, lines: LinePartitions | Iterable[LinePartitions], *, edges: ArrayLike | None = None) -> LineSummary:
        """Summarize line partitions.

        Exact up to rounding.

        Parameters
        ----------
        lines : LinePartitions or iterable of LinePartitions
            An iterable (``iter_line_partitions``, ``RegionStore.batches``) of batches of consecutive lines of one network,
            which are not kept.
        edges : float64[E], optional
            Edges of the histogram, in input units, increasing. By default 2^(k/4), from 2^-40 (9.1e-13) to 2^20.

        Returns
        -------
        LineSummary

        Raises
        ------
        InputError
            The edges do not increase, the iterable is empty, or the batches have different networks or tolerances.
        """
        edges = _checked_edges(edges)
        batches = [lines] if isinstance(lines, LinePartitions) else lines
        summaries = [_summary(batch, edges) for batch in batches]
        if not summaries:
            raise InputError("lines gave no line partitions, so the network is not known; give at least one")
        return summaries[0].merge(*summaries[1:])

    def merge(self, *others: LineSummary) -> LineSummary:
        """Merge with the summaries of the lines that follow, in their order.

        Parameters
        ----------
        others : LineSummary
            Summaries with the same network, tolerances and edges.

        Returns
        -------
        LineSummary

        Raises
        ------
        InputError
            A summary has another network, other tolerances or other edges.
        """
        for other in others:
            self._check_fits(other)
        parts = [self, *others]
        rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _OF_LINES}
        rows["histogram"] = np.sum([part.histogram for part in parts], axis=0)
        for array in rows.values():
            array.setflags(write=False)
        return LineSummary(network=self.network, edges=self.edges, tolerances=self.tolerances, **rows)

    def __add__(self, other: LineSummary) -> LineSummary:
        """Merge with the summary of the lines that follow."""
        return self.merge(other) if isinstance(other, LineSummary) else NotImplemented

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.n_segments)

    @property
    def density(self) -> FloatArray:
        """Segments per unit length: float64[L]; inf for a line of length zero."""
        return np.divide(self.n_segments, self.length, out=np.full(len(self), np.inf), where=self.length > 0)

    @property
    def shortest(self) -> FloatArray:
        """Length of each line's shortest segment in input units: float64[L]."""
        return self.shortest_t * self.length

    @property
    def longest(self) -> FloatArray:
        """Length of each line's longest segment in input units: float64[L]."""
        return self.longest_t * self.length

    @property
    def n_flips(self) -> IntArray:
        """Number of flips on each line: int64[L]. Several neurons may flip at one breakpoint."""
        return self.op_flips.sum(axis=1)

    def by_op(self) -> list[OpFlips]:
        """Count the flips in each op.

        Returns
        -------
        list of OpFlips
            One for each switching op, in the order of the network.
        """
        graph = self.network.op_graph
        program, flips = self.network.program, self.op_flips.sum(axis=0)
        return [
            OpFlips(int(i), self.network.names[i], OP_NAMES[program.op[i]], int(n), int(f))
            for i, n, f in zip(graph.switching, graph.neuron_counts, flips, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Convert to totals that can be written as JSON.

        Returns
        -------
        dict
            ``lines``; ``segments``, ``density`` and ``length``, each with min, median and max over the lines (density:
            of those that have a length); totals of ``segments`` and ``flips``; ``flips_by_op``; ``shortest_segment`` and
            ``longest_segment`` in input units; ``histogram`` without the empty bins at both ends; the largest
            ``residual``; ``ambiguous``; the largest ``t_error``. None where no line has a value.
        """
        return {
            "lines": len(self),
            "segments": {**_spread(self.n_segments), "total": int(self.n_segments.sum())},
            "density": _spread(self.density[self.length > 0]),
            "length": _spread(self.length),
            "flips": int(self.op_flips.sum()),
            "flips_by_op": [entry._asdict() for entry in self.by_op()],
            "shortest_segment": _extreme(np.min, self.shortest),
            "longest_segment": _extreme(np.max, self.longest),
            "histogram": self._trimmed_histogram(),
            "residual": _extreme(np.max, self.residual),
            "ambiguous": int(self.ambiguous.sum()),
            "t_error": _extreme(np.max, self.t_error),
        }

    def __repr__(self) -> str:
        return f"LineSummary({len(self)} lines, {self.n_segments.sum()} segments, {self.network!r})"

    def _trimmed_histogram(self):
        """Return counts and edges without the empty bins at both ends."""
        bins = self.histogram[1:-1]
        filled = np.flatnonzero(bins)
        first, last = (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, 0)
        edges = self.edges[first : last + 1] if filled.size else self.edges[:0]
        return {
            "shorter": int(self.histogram[0]),
            "edges": edges.tolist(),
            "counts": bins[first:last].tolist(),
            "longer": int(self.histogram[-1]),
        }

    def _check_fits(self, other):
        """Validate that another summary can be merged with this one."""
        if other.network != self.network:
            problem = f"is of the network {other.network.digest[:12]}, but this one is of {self.network.digest[:12]}"
        elif other.tolerances != self.tolerances:
            problem = f"was computed with {other.tolerances}, but this one with {self.tolerances}"
        elif not np.array_equal(other.edges, self.edges):
            problem = "has other edges than this one"
        else:
            return
        raise InputError(f"a summary can't be merged: it {problem}; give summaries with the same network, tolerances, edges")


def summarize_lines(
    network: Network,
    starts: ArrayLike,
    ends: ArrayLike,
    *,
    edges: ArrayLike | None = None,
    progress: bool = False,
    threads: int | None = None,
    tolerances: Tolerances = DEFAULT,
    slope_dtype: Dtype | None = None,
    **options: Any,
) -> LineSummary:
    """Count and measure the segments of lines without keeping their breakpoints.

    Exact up to rounding: from the exact partitions of ``iter_line_partitions``, with one batch in memory at a time.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D] or float64[L, *input_shape]
        As for ``iter_line_partitions``: arrays, or anything with a shape that can be sliced.
    edges : float64[E], optional
        Edges of the histogram of segment lengths, as for ``LineSummary.of``.
    progress, threads, tolerances, slope_dtype
        As for ``partition_lines``.
    **options
        Other options of ``iter_line_partitions``: ``max_points``, ``max_segments``, ``memory``, ``n_checked``.

    Returns
    -------
    LineSummary
        56 bytes for each line, and 8 for each switching op on each line.

    Raises
    ------
    ShapeError, InputError, CapacityError, NumericalError
        As for ``partition_lines``; InputError also if the edges do not increase.

    See Also
    --------
    partition_lines : returns the breakpoints.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> summary = pwlnet.summarize_lines(network, np.zeros((1, 64)), np.eye(64))
    >>> bool(summary.histogram.sum() == summary.n_segments.sum())
    True
    """
    edges = _checked_edges(edges)
    tolerances = as_tolerances(tolerances).with_slope_dtype(slope_dtype)
    options |= {"progress": progress, "threads": threads, "tolerances": tolerances}
    with contextlib.closing(iter_line_partitions(network, starts, ends, **options)) as batches:
        summaries = [_summary(batch, edges) for batch in batches]
    no_points = np.empty((0, network.n_inputs))
    return _summary(partition_lines(network, no_points, no_points, tolerances=tolerances), edges).merge(*summaries)


def _summary(lines, edges):
    """Summarize one batch: LineSummary."""
    measures = measure_lines(lines.starts, lines.ends, lines.offsets, lines.t)
    widths, counts = segment_widths(lines.offsets, lines.t), lines.n_segments
    bins = np.searchsorted(edges, widths * np.repeat(measures["length"], counts), side="right")
    return LineSummary(
        network=lines.network,
        n_segments=counts,
        residual=lines.residual,
        ambiguous=lines.ambiguous,
        t_error=lines.t_error,
        op_flips=count_op_flips(lines.network, lines.flip_neurons, lines.flip_offsets[lines.offsets]),
        edges=edges,
        histogram=np.bincount(bins, minlength=len(edges) + 1),
        tolerances=lines.tolerances,
        **measures,
    )


def segment_widths(offsets, t):
    """Return the lengths of all segments as fractions of their lines: float64[segments]."""
    return np.delete(np.diff(t), offsets[1:-1] - 1)  # not from the end of a line to the start of the next


def measure_lines(starts: FloatArray, ends: FloatArray, offsets: IntArray, t: FloatArray) -> dict[str, FloatArray]:
    """Measure lines and their segments.

    Parameters
    ----------
    starts, ends : float64[L, D]
    offsets : int64[L+1]
    t : float64[T]

    Returns
    -------
    dict of str to float64[L]
        ``length``, ``shortest_t`` and ``longest_t``, as in LineSummary.
    """
    widths, firsts = segment_widths(offsets, t), offsets[:-1] - np.arange(len(offsets) - 1)
    return {
        "length": np.linalg.norm(np.ascontiguousarray(ends - starts), axis=1),  # contiguous: fixed order of summation
        "shortest_t": np.minimum.reduceat(widths, firsts) if len(firsts) else widths,
        "longest_t": np.maximum.reduceat(widths, firsts) if len(firsts) else widths,
    }


def count_op_flips(network, neurons, bounds):
    """Count the flips of each line, ``neurons[bounds[i] : bounds[i + 1]]``, in each switching op: int64[L, S]."""
    counts = network.op_graph.neuron_counts
    op_of_neuron = np.repeat(np.arange(len(counts)), counts)
    n_lines = len(bounds) - 1
    cells = np.repeat(np.arange(n_lines) * len(counts), np.diff(bounds))
    cells += op_of_neuron[neurons]
    return np.bincount(cells, minlength=n_lines * len(counts)).reshape(n_lines, len(counts))


def _checked_edges(edges):
    """Validate edges: a new read-only array."""
    if edges is None:
        return DEFAULT_EDGES
    try:
        edges = np.array(edges, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"edges is {edges!r}; at least two increasing numbers are needed") from None
    if edges.ndim != 1 or edges.size < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0.0).all():
        raise InputError(f"edges has shape {edges.shape} and holds {edges}; at least two increasing numbers are needed")
    edges.setflags(write=False)
    return edges


def _spread(values):
    """Return min, median and max, each None if there are no values."""
    return {name: _extreme(reduce, values) for name, reduce in (("min", np.min), ("median", np.median), ("max", np.max))}


def _extreme(reduce, values):
    return reduce(values).item() if len(values) else None
