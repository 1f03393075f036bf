"""Making a store and appending batches of results to it."""

import contextlib
import errno
import io
import itertools
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ..errors import DigestMismatchError, InputError, StoreError
from ..evaluate import n_threads
from ..tolerances import DEFAULT
from . import schema
from .access import publish, reason
from .chunks import GrowingDataset
from .consistency import batch_problem
from .digest import digest_arrays
from .header import make_provenance, now, write_header
from .network_file import LIBVER, write_network_group
from .transaction import TransactionFile, interrupts_deferred


class Written(NamedTuple):
    """What ``save_lines`` wrote: numbers of lines and of segments."""

    n_lines: int
    n_segments: int


def create(path, network, *, parameters=None, tolerances=DEFAULT, overwrite=False, threads=None):
    """Make a store for the results of one network.

    Parameters
    ----------
    path : str or path
    network : Network
        Becomes part of the store.
    parameters : dict, optional
        What the results were computed with (seeds, options), as JSON can hold it; part of the provenance.
    tolerances : Tolerances, optional
        The ones that all results of the store are computed with.
    overwrite : bool, optional
        Replace an existing file. By default that is refused.
    threads : int, optional
        To compress with; all processors by default. The file doesn't depend on it.

    Returns
    -------
    StoreWriter
        A context manager.

    Raises
    ------
    StoreError
        The file exists or can't be written; then nothing of it is left.
    InputError
        The parameters can't be written as JSON.

    See Also
    --------
    open : read a store.
    save_lines : the same in one call.
    """
    threads = n_threads(threads)
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as file:
        write_header(file, network.digest, make_provenance(parameters), tolerances)
        write_network_group(file.create_group("network"), network)
        for kind in schema.KINDS.values():
            for dataset in kind.datasets:
                _create_growing(file, dataset, network.n_inputs)
        options = {"maxshape": (None,), "chunks": (schema.COMMITS_PER_CHUNK,), **schema.CREATION}
        file.create_dataset(schema.COMMITS, (0,), schema.COMMIT, **options)
    publish(path, image.getbuffer(), overwrite=overwrite)
    return StoreWriter(path, network, tolerances, threads)


def save_lines(path, lines, *, parameters=None, overwrite=False, threads=None):
    """Write line partitions to a new store.

    Parameters
    ----------
    path : str or path
    lines : LinePartitions or iterable of LinePartitions
        Of one network. From an iterator, such as ``iter_line_partitions``, each is on the disk before the next one is
        asked for, and nothing of it is kept. Whatever stops it, Ctrl-C too, leaves a store of those before.
    parameters, overwrite, threads
        As for ``create``.

    Returns
    -------
    Written
        ``n_lines`` and ``n_segments`` of the store.

    Raises
    ------
    StoreError, InputError
        As for ``create`` and ``StoreWriter.append_lines``. InputError, too, for an iterable that gives nothing.
    """
    from ..partition.line import LinePartitions

    with _closing(iter([lines] if isinstance(lines, LinePartitions) else lines)) as batches:
        first = next(batches, None)
        if first is None:
            raise InputError("lines gave no line partitions, so the network is not known; give at least one")
        options = {"parameters": parameters, "tolerances": first.tolerances, "overwrite": overwrite, "threads": threads}
        with create(path, first.network, **options) as writer:
            try:
                for batch in itertools.chain([first], batches):
                    writer.append_lines(batch)
            except BaseException as error:
                error.add_note(f"{path} holds the first {writer.n_lines} lines")
                raise
            return Written(writer.n_lines, writer.n_segments)


@contextlib.contextmanager
def _closing(batches):
    """Stop a generator, and the threads it may have, as soon as the block is left."""
    try:
        yield batches
    finally:
        if hasattr(batches, "close"):
            batches.close()


class StoreWriter:
    """A store that is being written; made by ``pwlnet.store.create``.

    A batch is on the disk as a whole when its ``append_...`` returns; Ctrl-C waits for that. Whatever stops the
    program, the batches before can be read.

    Attributes
    ----------
    path : pathlib.Path
    network : Network
    n_lines, n_segments : int
        In the store.
    """

    def __init__(self, path, network, tolerances, threads):
        self.path, self.network = Path(path), network
        self._tolerances, self._threads = tolerances, threads
        self._ends = {name: np.zeros(schema.COMMIT_AXES, np.int64) for name in schema.KINDS}
        try:
            self._disk = TransactionFile(self.path)
        except OSError as error:
            advice = "close its other writer" if isinstance(error, BlockingIOError) else "check the file's permissions"
            raise StoreError(f"{self.path} can't be opened for writing ({reason(error)}); {advice}") from error
        with interrupts_deferred():
            self._file = h5py.File(self._disk, "r+", libver=LIBVER)
            datasets = (dataset for kind in schema.KINDS.values() for dataset in kind.datasets)
            self._datasets = {dataset.path: GrowingDataset(self._file[dataset.path]) for dataset in datasets}

    @property
    def n_lines(self):
        """Lines in the store."""
        return int(self._ends["lines"][0])

    @property
    def n_segments(self):
        """Segments in the store."""
        return int(self._ends["lines"][1]) - self.n_lines

    def append_lines(self, lines):
        """Append a batch of line partitions.

        Parameters
        ----------
        lines : LinePartitions
            Of this store's network, with its tolerances. Batches of 10^4 breakpoints or more use the disk well.

        Raises
        ------
        DigestMismatchError
            The lines belong to another network, or were computed with other tolerances.
        InputError
            Their arrays contradict one another.
        StoreError
            They can't be written. What was appended before is kept; this writer can't go on.
        """
        if self._file is None:
            raise StoreError(f"{self.path} is closed with {self.n_lines} lines; append before close or to a new store")
        arrays = self._checked(lines)
        if len(arrays["starts"]):
            with interrupts_deferred(), self._all_or_nothing():
                self._write_batch("lines", arrays)

    def close(self):
        """Close the file. All batches are on the disk already."""
        if self._file is None:
            return
        with interrupts_deferred():
            file, self._file = self._file, None
            try:
                file.close()
            finally:
                self._disk.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _checked(self, lines):
        """The lines' arrays by field, after all checks."""
        if lines.network.digest != self.network.digest:
            raise DigestMismatchError(
                f"lines belong to the network {lines.network.digest[:12]}, but {self.path} is for the network "
                f"{self.network.digest[:12]}; append them to a store of their own"
            )
        if lines.tolerances != self._tolerances:
            raise DigestMismatchError(
                f"lines were computed with {lines.tolerances}, but {self.path} is for {self._tolerances}; "
                "create the store with tolerances=lines.tolerances"
            )
        arrays = {d.field: np.ascontiguousarray(getattr(lines, d.field)) for d in schema.LINES.datasets}
        problem = batch_problem(arrays, self.network.n_inputs, self.network.n_neurons)
        if problem:
            raise InputError(f"lines can't be appended: {problem}; give the result of partition_lines as it is")
        return arrays

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """Stop writing for good when anything goes wrong; the disk stays at the last commit."""
        try:
            yield
        except BaseException as raised:
            error = self._disk.failure or raised
            self._abandon()
            if not isinstance(error, (OSError, RuntimeError, ValueError)):
                raise error from None
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
            advice = "free space" if full else "check the disk"
            raise StoreError(
                f"{self.path} can't be extended ({reason(error)}); its first {self.n_lines} lines are kept and can be "
                f"read, {advice} and write the rest to a new store"
            ) from error

    def _abandon(self):
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # what is lost here was not committed
            self.close()

    def _write_batch(self, name, arrays):
        """Write a batch, then the commit that makes it count."""
        kind, first = schema.KINDS[name], self._ends[name]
        last = first.copy()
        written = []
        for dataset in kind.datasets:
            array = arrays[dataset.field][dataset.lead :]
            axis = kind.axes.index(dataset.axis)
            last[axis] = first[axis] + len(array)
            if dataset.lead:  # offsets count from the store's first row
                array = array + first[kind.axes.index(schema.OFFSETS_INTO[dataset.path])]
            self._datasets[dataset.path].append(array, self._threads)
            written.append((dataset.path, array))
        self._commit()
        commits = self._file[schema.COMMITS]
        commits.resize(len(commits) + 1, axis=0)
        row = np.zeros((), schema.COMMIT)
        row["kind"], row["first"], row["last"] = name, first, last
        row["sha256"], row["time"] = digest_arrays(written), now()
        commits[-1] = row
        self._commit()
        self._ends[name] = last

    def _commit(self):
        self._file.flush()
        self._disk.commit()


def _create_growing(file, dataset, n_inputs):
    """Make the empty dataset of a result; offsets start with their 0."""
    dtype = np.dtype(dataset.dtype)
    columns = (n_inputs,) if len(dataset.dims) == 2 else ()
    row_bytes = dtype.itemsize * (n_inputs if columns else 1)
    options = {"maxshape": (None, *columns), "chunks": (schema.chunk_rows(row_bytes), *columns), **schema.CREATION}
    file.create_dataset(dataset.path, data=np.zeros((dataset.lead, *columns), dtype), **options)
