"""Making a store, going on with one, and appending batches of results to it."""

import contextlib
import errno
import itertools
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ..errors import DigestMismatchError, InputError, PwlnetError, StoreError
from ..evaluate import n_threads
from ..tolerances import DEFAULT
from . import schema
from .access import LIBVER, new_image, publish, reason
from .consistency import batch_problem
from .digest import digest_arrays
from .header import now, write_header
from .network_file import write_network_group
from .provenance import make_provenance
from .reader import RegionStore
from .results import ResultFile, axis_sizes
from .summary import line_summaries
from .transaction import TransactionFile, interrupts_deferred


class Written(NamedTuple):
    """What ``save_lines`` wrote: numbers of lines and of segments."""

    n_lines: int
    n_segments: int


def create(
    path, network, *, parameters=None, seeds=None, tolerances=DEFAULT, overwrite=False, threads=None, compression="gzip"
):
    """Make a store for the results of one network.

    Parameters
    ----------
    path : str or path
    network : Network
        Becomes part of the store.
    parameters : dict, optional
        What the results are computed with (options, names of data), as JSON can hold it; part of the provenance. A store
        goes on with the same parameters only, and is merged only with stores of the same ones.
    seeds : dict, optional
        Seeds of random numbers (int or list of int), by what was drawn; as for parameters.
    tolerances : Tolerances, optional
        The ones that all results of the store are computed with.
    overwrite : bool, optional
        Replace an existing file. By default that is refused.
    threads : int, optional
        To compress with; all processors by default. The file doesn't depend on it.
    compression : str, optional
        "gzip", "lzf" or "none"; "zstd" or "blosc" where hdf5plugin is installed, for readers too.

    Returns
    -------
    StoreWriter
        A context manager.

    Raises
    ------
    StoreError
        The file exists or can't be written; then nothing of it is left.
    InputError
        The parameters can't be written as JSON; an unknown compression.
    ImportError
        The compression needs hdf5plugin.

    See Also
    --------
    open : read a store.
    resume : go on with one.
    save_lines : the same in one call.
    """
    provenance = make_provenance(parameters, seeds, tolerances)
    return _create(path, network, provenance, tolerances, compression, overwrite, n_threads(threads))


def create_like(store, path, *, seeds=None, overwrite=False, threads=None):
    """Make a store with network, provenance and compression of another; ``seeds`` take the place of its own.

    Parameters
    ----------
    store : RegionStore
    path, seeds, overwrite, threads
        As for ``create``.

    Returns
    -------
    StoreWriter
    """
    provenance = {**store.provenance, "seeds": store.provenance["seeds"] if seeds is None else seeds}
    return _create(path, store.network, provenance, store.tolerances, store.compression, overwrite, n_threads(threads))


def _create(path, network, provenance, tolerances, compression, overwrite, threads):
    def write(file):
        write_header(file, network.digest, provenance, compression)
        write_network_group(file.create_group("network"), network)
        ResultFile(file, network, compression, threads).create("lines")
        options = {"maxshape": (None,), "chunks": (schema.COMMITS_PER_CHUNK,), **schema.CREATION}
        file.create_dataset(schema.COMMITS, (0,), schema.COMMIT, **options)

    publish(path, new_image(write), overwrite=overwrite)
    return StoreWriter(path, network, tolerances, threads, compression)


def resume(path, network=None, *, parameters=None, seeds=None, tolerances=None, threads=None):
    """Go on with a store, behind its last finished batch, whatever stopped the program that wrote it.

    Parameters
    ----------
    path : str or path
    network : Network, optional
        Refuse a store of another network.
    parameters, seeds : dict, optional
        Refuse a store that was made with others.
    tolerances : Tolerances, optional
        Refuse a store of others.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    StoreWriter
        ``n_lines`` tells how far it is. The store that is finished now has the digest (``RegionStore.digest``) of one that
        was never stopped.

    Raises
    ------
    StoreError
        There is no such store, it is damaged, or another program writes to it.
    ChecksumError
        The last batch is damaged.
    DigestMismatchError
        Network, parameters, seeds or tolerances are others than the store's.
    FormatVersionError
        A newer pwlnet wrote it.

    See Also
    --------
    repair : where a store is damaged.
    """
    with RegionStore(path) as store:
        if not store.has_lines:
            raise StoreError(f"{path} holds a network only; create a new store for results")
        store.check_made_with(network, parameters, seeds, tolerances)
        problems = store.last_batch_problems()
        if problems:
            raise StoreError(f"{problems[0]}; repair the store before it goes on") from None
        arguments = store.network, store.tolerances, n_threads(threads), store.compression
    return StoreWriter(path, *arguments)


def save_lines(path, lines, *, parameters=None, overwrite=False, threads=None, compression="gzip"):
    """Write line partitions to a new store.

    Parameters
    ----------
    path : str or path
    lines : LinePartitions or iterable of LinePartitions
        Of one network. From an iterator, such as ``iter_line_partitions``, each is on the disk before the next one is
        asked for, and nothing of it is kept. Whatever stops it, Ctrl-C too, leaves a store of those before.
    parameters, overwrite, threads, compression
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
        options = {"parameters": parameters, "overwrite": overwrite, "threads": threads, "compression": compression}
        with create(path, first.network, tolerances=first.tolerances, **options) as writer:
            try:
                for batch in itertools.chain([first], batches):
                    writer.append_lines(batch)
            except BaseException as error:
                error.add_note(f"{path} holds the first {writer.n_lines} lines")
                raise
            return writer.written


@contextlib.contextmanager
def _closing(batches):
    """Stop a generator, and the threads it may have, as soon as the block is left."""
    try:
        yield batches
    finally:
        if hasattr(batches, "close"):
            batches.close()


class StoreWriter:
    """A store that is being written; made by ``pwlnet.store.create`` and ``resume``.

    A batch is on the disk as a whole when its ``append_...`` returns; Ctrl-C waits for that. Whatever stops the
    program, the batches before can be read, and ``resume`` goes on behind them.

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
            self._disk = TransactionFile(self.path)
        except PwlnetError:
            raise
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise StoreError(f"{self.path} is being written by another program; wait for it, or stop it") from error
            raise StoreError(
                f"{self.path} can't be opened for writing ({reason(error)}); check the file's permissions"
            ) from error
        try:
            with interrupts_deferred():
                self._file = h5py.File(self._disk, "r+", libver=LIBVER)
                self._results = ResultFile(self._file, network, compression, threads)
                self._ends = {name: np.zeros(schema.COMMIT_AXES, np.int64) for name in schema.KINDS}
                for commit in self._file[schema.COMMITS][()]:
                    self._ends[commit["kind"].decode()] = commit["last"].astype(np.int64)
        except BaseException:
            self._abandon()
            raise

    @property
    def n_lines(self):
        """Lines in the store."""
        return self.n_rows("lines")

    @property
    def n_segments(self):
        """Segments in the store."""
        return int(self._ends["lines"][1]) - self.n_lines

    @property
    def written(self):
        """Numbers of lines and segments in the store: Written."""
        return Written(self.n_lines, self.n_segments)

    def n_rows(self, name):
        """Rows of a kind of result in the store: of its first axis."""
        return int(self._ends[name][0])

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
            They can't be written. What was appended before is kept; this writer can't go on, ``resume`` can.
        """
        self._check_open()
        if lines.network.digest != self.network.digest:
            raise DigestMismatchError(
                f"lines belong to the network {lines.network.digest[:12]}, but {self.path} is for the network "
                f"{self.network.digest[:12]}; append them to a store of their own"
            )
        if lines.tolerances != self.tolerances:
            raise DigestMismatchError(
                f"lines were computed with {lines.tolerances}, but {self.path} is for {self.tolerances}; "
                "create the store with tolerances=lines.tolerances"
            )
        arrays = {d.field: getattr(lines, d.field) for d in schema.LINES.datasets}
        self._append("lines", arrays, "give the result of partition_lines as it is")

    def append(self, name, arrays):
        """Append a batch of results of any kind.

        Parameters
        ----------
        name : str
            A key of ``schema.KINDS``: "lines", "attributions", "planes", "regions", "patterns", "float_sets" or
            "certificates".
        arrays : dict of str to ndarray
            By field, as the kind's table of the format page (docs/store_format.md) has them; offsets start with 0.

        Raises
        ------
        InputError
            There is no such kind; arrays are missing, or contradict one another or the network.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        if name not in schema.KINDS:
            raise InputError(f"{name!r} is no kind of result; give one of {', '.join(schema.KINDS)}")
        fields = [dataset.field for dataset in schema.KINDS[name].datasets]
        if set(arrays) != set(fields):
            raise InputError(f"{name} were given with {', '.join(sorted(arrays))}; give exactly {', '.join(fields)}")
        self._append(name, arrays, "give them as docs/store_format.md says")

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
            arrays |= line_summaries(arrays, self.network)
        rows = {d.field: arrays[d.field][d.lead :] for d in schema.KINDS[name].stored}
        with interrupts_deferred(), self._all_or_nothing():
            self._write_batch(name, rows)

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """Stop writing for good when anything goes wrong; the disk stays at the last commit."""
        try:
            yield
        except BaseException as raised:
            error = self._disk.failure or raised
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
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # what is lost here was not committed
            file, self._file = self._file, None
            try:
                if file is not None:
                    file.close()
            finally:
                self._disk.close()

    def _write_batch(self, name, rows):
        """Write a batch and its commit, and bring both to the disk."""
        first = self._ends[name]
        last, written = self._results.append(name, rows, first)
        commits = self._file[schema.COMMITS]
        commits.resize(len(commits) + 1, axis=0)
        row = np.zeros((), schema.COMMIT)
        row["kind"], row["first"], row["last"] = name, first, last
        row["sha256"], row["time"] = digest_arrays(written), now()
        commits[-1] = row
        self._file.flush()
        self._disk.commit()
        self._ends[name] = last
