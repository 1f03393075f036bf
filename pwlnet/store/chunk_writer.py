"""Append one long line, or one large plane, chunk by chunk: methods of StoreWriter.

Legend: as in ``schema.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import AnyArray, ArrayLike, IntArray
from ..errors import InputError
from ..validation import check_choice
from . import in_chunks, long_line, planes, schema
from .consistency import row_problem
from .header import read_text, write_text
from .summary import derived_last_row

if TYPE_CHECKING:
    from ..network import Network
    from ..partition.planes.polygons import Plane


class ChunkWriterMixin:
    """The lines and planes of a StoreWriter that are appended in chunks."""

    network: Network  # this and the others: of the StoreWriter
    _file: Any
    _sizes: dict[str, int]
    _ends: dict[str, Any]
    _check_open: Any
    _write: Any

    def _find_finished(self):
        """Find where the rows of finished lines and planes end, and where the chunks of unfinished ones do."""
        self._finished, self._chunk_ends = {}, dict(in_chunks.START)
        for name, kind in schema.KINDS.items():
            self._finished[name] = self._ends[name].copy()
            for dataset in kind.datasets if kind.chunk_axes else ():
                if dataset.lead and dataset.path in self._file:
                    row = self._finished[name][kind.axes.index(dataset.axis)]
                    self._finished[name][kind.axes.index(kind.counts[dataset.path])] = self._file[dataset.path][row]
        if self.unfinished_lengths("lines")["T"]:
            self._chunk_ends["lines"] = float(self._file["/breakpoints/t"][self._ends["lines"][1] - 1])
        self._chunk_ends["planes"] = self.unfinished_lengths("planes")["V"]

    def _bases(self, name):
        """Return the rows from which the next batch's offsets count: int64[axes]."""
        kind, bases = schema.KINDS[name], self._ends[name].copy()
        for dataset in kind.datasets:
            if dataset.lead and dataset.axis == kind.axes[0]:
                axis = kind.axes.index(kind.counts[dataset.path])
                bases[axis] = self._finished[name][axis]
        return bases

    def _note_written(self, name, rows, last):
        """Note the rows that were committed."""
        is_finished = last[0] > self._ends[name][0]
        self._ends[name] = last
        if is_finished or not schema.KINDS[name].chunk_axes:
            self._finished[name] = last.copy()
        if schema.KINDS[name].chunk_axes:
            end = self._chunk_ends[name]
            self._chunk_ends[name] = in_chunks.START[name] if is_finished else in_chunks.chunk_end(name, rows, end)

    def unfinished_lengths(self, name: str) -> dict[str, int]:
        """Return the numbers of rows of a line or a plane ("lines", "planes") that is not finished, by axis: dict of int."""
        kind = schema.KINDS[name]
        counts = (self._ends[name] - self._finished[name]).tolist()
        return {axis: counts[kind.axes.index(axis)] for axis in kind.chunk_axes}

    def read_unfinished(self, name: str, field: str, first: int, last: int) -> AnyArray:
        """Read rows ``first`` to ``last`` (not included) of a line or a plane that is not finished; offsets are not shifted.

        Parameters
        ----------
        name : str
            "lines" or "planes".
        field : str
            Of one of the kind's ``chunk_datasets``; of offsets, row ``last`` is read, too.
        first, last : int
            Counted from its first row.

        Returns
        -------
        ndarray
        """
        kind = schema.KINDS[name]
        dataset = next(dataset for dataset in kind.chunk_datasets if dataset.field == field)
        begin = int(self._finished[name][kind.axes.index(dataset.axis)])
        return self._file[dataset.path][begin + first : begin + last + dataset.lead]

    @property
    def unfinished_t(self) -> float | None:
        """The last breakpoint of a line that is not finished, in [0, 1]; None if there is no such line."""
        return self._chunk_ends["lines"]

    @property
    def unfinished_polygons(self) -> int | None:
        """Number of polygons of a plane that is not finished; None if there is no such plane."""
        lengths = self.unfinished_lengths("planes")
        return lengths["R"] if any(lengths.values()) else None

    @property
    def resume_state(self) -> dict[str, Any] | None:
        """What was stored to resume a line that is not finished: dict or None."""
        return self._read_resume_state("lines")

    @property
    def plane_resume_state(self) -> dict[str, Any] | None:
        """What was stored to resume a plane that is not finished: dict or None."""
        return self._read_resume_state("planes")

    def _read_resume_state(self, name):
        group = schema.KINDS[name].resume_group
        attributes = self._file[group].attrs if group in self._file else {}
        return json.loads(read_text(attributes, schema.RESUME_STATE)) if schema.RESUME_STATE in attributes else None

    def _write_resume_state(self, name, resume_state):
        attributes = self._file[schema.KINDS[name].resume_group].attrs
        if resume_state is not None:
            write_text(attributes, schema.RESUME_STATE, json.dumps(resume_state))
        elif schema.RESUME_STATE in attributes:
            del attributes[schema.RESUME_STATE]

    def _refuse_unfinished(self, name):
        """Refuse a batch while a line or a plane is not finished."""
        if name in self._chunk_ends and any(self.unfinished_lengths(name).values()):
            one = f"{name[:-1]} {self.n_rows(name)} of {self.path}"
            raise InputError(f"{one} is not finished; append its chunks and finish it first")

    def append_chunk(self, name: str, arrays: Mapping[str, Any], *, resume_state: dict[str, Any] | None = None) -> None:
        """Append a chunk of one line or plane; ``finish`` completes it after its last chunk.

        Until then readers do not see it; after ``resume`` it continues after its last chunk.

        Parameters
        ----------
        name : str
            "lines" or "planes".
        arrays : dict of str to ndarray
            Of the kind's datasets with a row per breakpoint or flip, or per polygon, corner or vertex, by field; offsets start
            with 0. Of a plane, numbers of vertices count from its first chunk, and others than those so far are in this chunk.
        resume_state : dict, optional
            What is needed to continue after this chunk, of JSON values; kept until the line or plane is finished.

        Raises
        ------
        InputError
            The arrays are inconsistent, or do not continue the chunk before.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        check_choice(name, tuple(self._chunk_ends), "name")
        rows = in_chunks.chunk_rows(name, arrays, self._sizes, self._chunk_ends[name])
        if any(map(len, rows.values())):
            self._write(name, rows, resume_state)

    def finish(self, name: str, row: Mapping[str, Any]) -> None:
        """Complete the line or plane whose chunks were appended.

        Parameters
        ----------
        name : str
            "lines" or "planes".
        row : dict of str to ndarray
            Of the other datasets of the kind, one row each, by field, without the offsets that count chunks.

        Raises
        ------
        InputError
            The chunks are not a whole line or plane, or the arguments do not fit the network.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        kind, lengths = schema.KINDS[name], self.unfinished_lengths(name)
        end = self._chunk_ends[name]
        if in_chunks.end_problem(name, end, lengths[kind.chunk_axes[0]]):
            problems = {"lines": f"the chunks end at t = {end}; append chunks up to t = 1 before finish_line"}
            problems["planes"] = "the chunks have no polygons; append those of the plane before finish_plane"
            raise InputError(problems[name])
        row = {dataset.field: np.asarray(row[dataset.field], np.dtype(dataset.dtype)) for dataset in kind.row_datasets}
        problem = row_problem(name, row, self._sizes)
        if problem:
            raise InputError(f"the {name[:-1]} can't be finished: {problem}; give those of its partition")
        first = dict(zip(kind.axes, self._finished[name].tolist(), strict=False))
        derived = derived_last_row(name, row, self._file, self.network, first)
        self._write(name, in_chunks.last_rows(name, row, derived, lengths, self._sizes))

    def append_line_chunk(
        self,
        t: ArrayLike,
        flip_offsets: ArrayLike,
        flip_neurons: ArrayLike,
        flip_states: ArrayLike,
        *,
        resume_state: dict[str, Any] | None = None,
    ) -> None:
        """Append a chunk of one very long line: ``append_chunk`` with the fields of LineChunk; ``finish_line`` completes it.

        Parameters
        ----------
        t : float64[T]
            The next breakpoints of the line: the first chunk starts with 0.0, the last one ends with 1.0.
        flip_offsets : int64[T+1]
        flip_neurons : int64[F]
        flip_states : int32[F]
            As in LinePartitions, counted from the chunk's first flip.
        resume_state : dict, optional
            As for ``append_chunk``; errors as there.
        """
        chunk = {"t": t, "flip_offsets": flip_offsets, "flip_neurons": flip_neurons, "flip_states": flip_states}
        self.append_chunk("lines", chunk, resume_state=resume_state)

    def append_long_line(self, start: ArrayLike, end: ArrayLike, **options: Any) -> None:
        """Partition a line and append it chunk by chunk; a line whose first chunks are in the store is continued.

        Exact up to rounding, and bit for bit what ``partition_lines`` and ``append_lines`` give. Each chunk is on the disk
        before the next one is computed. Planned windows whose breakpoints are all in the store are not traced again; a line
        that is not planned in windows (fewer than 6000 neurons, or few of them change their state) is computed from its
        start, and only what is missing is stored.

        Parameters
        ----------
        start, end : float64[D] or float64[*input_shape]
        **options
            ``max_points`` (of a chunk), ``max_segments``, ``progress``, ``threads``, ``memory``, ``n_checked``, as for
            ``iter_line_chunks``.

        Raises
        ------
        DigestMismatchError
            The stored chunks belong to another line, or were computed with another ``memory``.
        ShapeError, InputError, CapacityError, NumericalError
            As for ``iter_line_chunks``.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        long_line.append_long_line(self, start, end, **options)

    def unfinished_points(self, numbers: Sequence[int] = ()) -> tuple[int, list[tuple[float, IntArray]]]:
        """Read breakpoints inside (0, 1) of the line that is not finished.

        Parameters
        ----------
        numbers : list of int
            Counted from 0.

        Returns
        -------
        (int, list of (float, int64[*]))
            Their number, if its chunks reach t = 1; and of each of ``numbers`` t and the neurons that flip.
        """
        points = []
        for k in numbers:
            first, last = self.read_unfinished("lines", "flip_offsets", k + 1, k + 2)
            t = self.read_unfinished("lines", "t", k + 1, k + 2)[0]
            points.append((float(t), self._file["/flips/neuron"][first:last]))
        return self.unfinished_lengths("lines")["T"] - 2, points

    def finish_line(self, start: ArrayLike, end: ArrayLike, *, residual: float, ambiguous: int, t_error: float) -> None:
        """Complete the line whose chunks were appended.

        Parameters
        ----------
        start, end : float64[D]
        residual : float
        ambiguous : int
        t_error : float
            As in LinePartitions.

        Raises
        ------
        InputError
            The chunks do not reach t = 1, or the arguments do not fit the network.
        StoreError
            As for ``append_lines``.
        """
        ends = {"starts": np.array([start], np.float64), "ends": np.array([end], np.float64)}
        for name, points in ends.items():
            if points.shape != (1, self._sizes["D"]) or not np.isfinite(points).all():
                raise InputError(f"{name[:-1]} has shape {points.shape[1:]}; {self._sizes['D']} finite numbers are needed")
        self.finish("lines", {**ends, "residual": [residual], "ambiguous": [ambiguous], "t_error": [t_error]})

    def append_large_plane(
        self, origin: ArrayLike, e1: ArrayLike, e2: ArrayLike, polygon: ArrayLike, *, n_checked: int = 16, **options: Any
    ) -> None:
        """Partition a plane and append it chunk by chunk; a plane whose first chunks are in the store is continued.

        Exact, as ``partition_planes``. Each chunk is on the disk before the next one is requested. After an interruption, the
        plane is cut from its start, and only what is missing is stored.

        Parameters
        ----------
        origin, e1, e2 : float64[D] or float64[*input_shape]
        polygon : float64[V, 2]
        n_checked : int
            As for ``partition_planes``.
        **options
            ``max_polygons`` (of a chunk), ``progress``, ``threads``, as for ``iter_plane_chunks``.

        Raises
        ------
        DigestMismatchError
            The stored chunks belong to another plane.
        ShapeError, InputError, NumericalError
            As for ``iter_plane_chunks``.
        StoreError
            As for ``append_lines``.
        """
        from ..partition.planes.chunks import iter_plane_chunks
        from ..partition.planes.polygons import as_planes

        self._check_open()
        chunks = iter_plane_chunks(self.network, origin, e1, e2, polygon, **options)
        (plane,) = as_planes(self.network, origin, e1, e2, polygon)
        planes.append_large_plane(self, plane, chunks, n_checked)

    def finish_plane(self, plane: Plane, *, residual: float) -> None:
        """Complete the plane whose chunks were appended; errors as for ``finish``.

        Parameters
        ----------
        plane : Plane
        residual : float
            As in PlanePartition.
        """
        self.finish("planes", planes.plane_rows([plane], [residual], self._sizes))
