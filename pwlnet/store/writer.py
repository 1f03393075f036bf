"""Append batches of results to a store."""

import contextlib
import errno
import json
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ..errors import DigestMismatchError, InputError, PwlnetError, StoreError
from ..publishing import reason
from . import long_line, schema
from .access import refuse_locked
from .consistency import batch_problem, row_problem
from .container.transaction import TransactionFile, interrupts_deferred
from .digest import digest_arrays
from .header import now, read_text, write_text
from .image import LIBVER
from .results import ResultFile, axis_sizes
from .summary import derived_rows


class Written(NamedTuple):
    """What ``save_lines`` wrote: numbers of lines and of segments."""

    n_lines: int
    n_segments: int


class StoreWriter:
    """A store that is being written; made by ``pwlnet.store.create`` and ``resume``.

    A batch is completely on the disk when its ``append_...`` returns; Ctrl-C waits for that. Whatever stops the program,
    the batches before can be read, and ``resume`` continues after them.

    Attributes
    ----------
    path : pathlib.Path
    network : Network
    n_lines, n_segments : int
        In the store.
    """

    def __init__(self, path, network, tolerances, threads, compression):
        self.path, self.network, self.tolerances = Path(path), network, tolerances
        self._sizes, self._file = axis_sizes(network), None
        try:
            self._container = TransactionFile(self.path)
        except PwlnetError:
            raise
        except OSError as error:
            if isinstance(error, BlockingIOError):
                refuse_locked(self.path)
            raise StoreError(
                f"{self.path} can't be opened for writing ({reason(error)}); check the file's permissions"
            ) from error
        try:
            with interrupts_deferred():
                self._file = h5py.File(self._container, "r+", libver=LIBVER)
                self._results = ResultFile(self._file, network, compression, threads)
                self._ends = schema.rows_at_end(self._file[schema.COMMITS][()])
                self._finished = int(self._file["/breakpoints/offsets"][self.n_lines])  # breakpoints of finished lines
                n_breakpoints = int(self._ends["lines"][1])
                is_unfinished = n_breakpoints > self._finished
                self._unfinished_t = float(self._file["/breakpoints/t"][n_breakpoints - 1]) if is_unfinished else None
        except BaseException:
            self._abandon()
            raise

    @property
    def n_lines(self):
        """Number of lines in the store."""
        return self.n_rows("lines")

    @property
    def n_segments(self):
        """Number of segments in the store."""
        return self._finished - self.n_lines

    @property
    def unfinished_t(self):
        """The last breakpoint of a line that is not finished, in [0, 1]; None if there is no such line."""
        return self._unfinished_t

    @property
    def resume_state(self):
        """What was stored to resume a line that is not finished: dict or None."""
        attributes = self._file["/breakpoints"].attrs
        return json.loads(read_text(attributes, schema.RESUME_STATE)) if schema.RESUME_STATE in attributes else None

    @property
    def written(self):
        """Numbers of lines and segments in the store: Written."""
        return Written(self.n_lines, self.n_segments)

    def n_rows(self, name):
        """Return the number of rows of a kind of result in the store, along its first axis."""
        return int(self._ends[name][0])

    def append_lines(self, lines):
        """Append a batch of line partitions.

        Parameters
        ----------
        lines : LinePartitions
            Of this store's network, with its tolerances. Batches of at least 10^4 breakpoints use the disk well.

        Raises
        ------
        DigestMismatchError
            The lines belong to another network, or were computed with other tolerances.
        InputError
            Their arrays are inconsistent.
        StoreError
            They can't be written. Earlier batches are kept; this writer can't be used any more, ``resume`` makes another.
        """
        self._check_open()
        if lines.network.digest != self.network.digest:
            raise DigestMismatchError(
                f"lines belong to the network {lines.network.digest[:12]}, but {self.path} is for the network "
                f"{self.network.digest[:12]}; append them to another store"
            )
        if lines.tolerances != self.tolerances:
            raise DigestMismatchError(
                f"lines were computed with {lines.tolerances}, but {self.path} is for {self.tolerances}; "
                "create the store with tolerances=lines.tolerances"
            )
        arrays = {d.field: getattr(lines, d.field) for d in schema.LINES.datasets}
        self._append("lines", arrays, "give the result of partition_lines unchanged")

    def append_line_chunk(self, t, flip_offsets, flip_neurons, flip_states, *, resume_state=None):
        """Append a chunk of one very long line; ``finish_line`` completes the line after its last chunk.

        Until then readers do not see it; after ``resume`` it continues after its last chunk (``unfinished_t``).

        Parameters
        ----------
        t : float64[T]
            The next breakpoints of the line: the first chunk starts with 0.0, the last one ends with 1.0.
        flip_offsets : int64[T+1]
        flip_neurons : int64[F]
        flip_states : int32[F]
            As in LinePartitions, counted from the chunk's first flip.
        resume_state : dict, optional
            What is needed to continue after this chunk, of JSON values; kept until the line is finished.

        Raises
        ------
        InputError
            The arrays are inconsistent, or do not continue the chunk before.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        chunk = {"t": t, "flip_offsets": flip_offsets, "flip_neurons": flip_neurons, "flip_states": flip_states}
        rows = long_line.line_chunk_rows(chunk, self.unfinished_t, self._sizes)
        if len(rows["t"]):
            self._write("lines", rows, resume_state)

    def append_long_line(self, start, end, **options):
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

    def unfinished_points(self, numbers=()):
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
        n = int(self._ends["lines"][1]) - self._finished - 2
        return n, [long_line.breakpoint_at(self._file, self._finished + 1 + k) for k in numbers]

    def finish_line(self, start, end, *, residual, ambiguous, t_error):
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
        self._check_open()
        if self.unfinished_t != 1.0:
            raise InputError(f"the chunks end at t = {self.unfinished_t}; append chunks up to t = 1 before finish_line")
        line = {"starts": np.array([start], np.float64), "ends": np.array([end], np.float64)}
        line |= {"residual": np.array([residual], np.float64), "ambiguous": np.array([ambiguous], np.int64)}
        line |= {"t_error": np.array([t_error], np.float64)}
        for name in ("starts", "ends"):
            if line[name].shape != (1, self._sizes["D"]) or not np.isfinite(line[name]).all():
                raise InputError(f"{name[:-1]} has shape {line[name].shape[1:]}; {self._sizes['D']} finite numbers are needed")
        problem = row_problem(line)
        if problem:
            raise InputError(f"the line can't be finished: {problem}; give those of its partition")
        first_flip = int(self._file["/flips/offsets"][self._finished])
        self._write("lines", long_line.line_rows(line, self._file, self.network, self._finished, first_flip))

    def append(self, name, arrays):
        """Append a batch of results of any kind.

        Parameters
        ----------
        name : str
            A key of ``schema.KINDS``: "lines", "attributions" or "measures".
        arrays : dict of str to ndarray
            By field, as in the table of the kind in docs/store_format.md; offsets start with 0.

        Raises
        ------
        InputError
            The kind is unknown; arrays are missing, or inconsistent with each other or the network.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        if name not in schema.KINDS:
            raise InputError(f"{name!r} is not a kind of result; give one of {', '.join(schema.KINDS)}")
        fields = [dataset.field for dataset in schema.KINDS[name].datasets]
        if set(arrays) != set(fields):
            raise InputError(f"{name} were given with {', '.join(sorted(arrays))}; give exactly {', '.join(fields)}")
        self._append(name, arrays, "give them as docs/store_format.md says")

    def close(self):
        """Close the file; all batches are on the disk already."""
        if self._file is None:
            return
        with interrupts_deferred():
            file, self._file = self._file, None
            try:
                file.close()
            finally:
                self._container.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _check_open(self):
        if self._file is None:
            raise StoreError(f"{self.path} is closed with {self.n_lines} lines; append before close, or resume it")

    def _append(self, name, arrays, advice):
        """Check a batch and write it."""
        arrays = {field: np.ascontiguousarray(array) for field, array in arrays.items()}
        problem = batch_problem(name, arrays, self._sizes)
        if problem:
            raise InputError(f"{name} can't be appended: {problem}; {advice}")
        first = schema.KINDS[name].datasets[0]
        if not len(arrays[first.field]):
            return
        if name == "lines":
            if self.unfinished_t is not None:
                raise InputError(f"line {self.n_lines} of {self.path} is not finished; append its chunks and finish it first")
            arrays |= derived_rows(arrays, self.network)
        self._write(name, {d.field: arrays[d.field][d.lead :] for d in schema.KINDS[name].stored})

    def _write(self, name, rows, resume_state=None):
        """Write rows of all datasets of a kind as a batch."""
        with interrupts_deferred(), self._all_or_nothing():
            if name == "lines":
                self._set_resume_state(resume_state)
            self._write_batch(name, rows)

    def _set_resume_state(self, resume_state):
        attributes = self._file["/breakpoints"].attrs
        if resume_state is not None:
            write_text(attributes, schema.RESUME_STATE, json.dumps(resume_state))
        elif schema.RESUME_STATE in attributes:
            del attributes[schema.RESUME_STATE]

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """Close the writer when anything fails; the file stays at its last commit."""
        try:
            yield
        except BaseException as raised:
            error = self._container.failure or raised
            self._abandon()
            if isinstance(error, PwlnetError) or not isinstance(error, (OSError, RuntimeError, ValueError)):
                raise error from None
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
            advice = "free space" if full else "check the disk"
            raise StoreError(
                f"{self.path} can't be extended ({reason(error)}); its first {self.n_lines} lines are kept and can be "
                f"read, {advice} and resume it"
            ) from error

    def _abandon(self):
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # only uncommitted changes are lost here
            file, self._file = self._file, None
            try:
                if file is not None:
                    file.close()
            finally:
                self._container.close()

    def _write_batch(self, name, rows):
        """Write a batch and its commit, and flush both to the disk."""
        first = self._ends[name]
        bases = first.copy()
        if name == "lines":
            bases[1] = self._finished
        last, written = self._results.append(name, rows, first, bases)
        commits = self._file[schema.COMMITS]
        commits.resize(len(commits) + 1, axis=0)
        row = np.zeros((), schema.COMMIT)
        row["kind"], row["first"], row["last"] = name, first, last
        row["sha256"], row["time"] = digest_arrays(written), now()
        commits[-1] = row
        self._file.flush()
        self._container.commit()
        self._ends[name] = last
        if name == "lines":
            if len(rows["offsets"]):
                self._finished = int(last[1])
            self._unfinished_t = float(rows["t"][-1]) if last[1] > self._finished else None
