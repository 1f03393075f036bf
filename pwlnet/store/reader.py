"""Reading a store: lazily, row by row."""

import hashlib
from pathlib import Path

import numpy as np

from ..errors import DigestMismatchError, InputError, PwlnetError, StoreError
from . import checks, schema
from .access import check_rows, open_for_reading, reading
from .compression import load_plugin
from .digest import add_bytes, start_array
from .export import Exports
from .header import check_format, read_header
from .live_read import Growing
from .network_file import read_stored_network
from .summary import stored_summary


def open(path, *, network=None):
    """Open a store for reading.

    Parameters
    ----------
    path : str or path
        Of a store, or of a file of ``Network.save``, which has no lines.
    network : Network, optional
        Refuse a store of another network.

    Returns
    -------
    RegionStore
        A context manager; reads what is asked for, when it is asked for. A store that is being written can be read, too:
        what was finished when it was opened, and after ``refresh`` what was finished since.

    Raises
    ------
    StoreError
        There is no such file, it is damaged or not one of pwlnet's.
    FormatVersionError
        A newer pwlnet wrote it.
    DigestMismatchError
        It belongs to another network than the one given.

    See Also
    --------
    create : make a store.
    """
    store = RegionStore(path)
    try:
        store.check_made_with(network)
    except PwlnetError:
        store.close()
        raise
    return store


def load_lines(path):
    """Read all line partitions of a store into memory; errors as ``open`` and ``RegionStore.lines``."""
    with open(path) as store:
        return store.lines()


class RegionStore(Growing, Exports):
    """Results of one network in a file; made by ``pwlnet.store.open``.

    Attributes
    ----------
    path : pathlib.Path
    network_digest : str
    provenance : dict
        Software versions, parameters, seeds, tolerances and environment of the program that made the store.
    tolerances : Tolerances
    compression : str
    created : str
        UTC, ISO 8601.
    has_lines : bool
        False for a file that holds a network only.
    n_lines, n_breakpoints, n_flips, n_batches : int
        Of finished batches only.
    """

    def __init__(self, path, *, checked=True):
        self.path, self._checked = Path(path), checked
        self._file, self._network, self._open = None, None, {}
        self._open_newest()

    def _load(self):
        """Open the file and read what is not read row by row."""
        self._file = open_for_reading(self.path, checked=self._checked)
        try:
            self.format_version = check_format(self._file, self.path)
            header = read_header(self._file, self.path)
            self.network_digest, self.created = header["network-digest"], header["created"]
            self.provenance, self.tolerances = header["provenance"], header["tolerances"]
            self.compression = header["compression"]
            load_plugin(self.compression)
            self._read_commits()
        except BaseException:
            self.close()
            raise

    @property
    def network(self):
        """The network, read on first use: Network."""
        if self._network is None:
            self._network = self._again(lambda: read_stored_network(self._open_file(), self.path))
        return self._network

    def use_network(self, network):
        """Take the network from the caller, where the store's own copy is damaged; None: nothing changes.

        Parameters
        ----------
        network : Network or None

        Raises
        ------
        DigestMismatchError
            It is another one than the store's.
        """
        self.check_made_with(network)
        self._network = self._network if network is None else network

    def n_rows(self, name):
        """Rows of a kind of result, of its first axis; 0 where there are none.

        Parameters
        ----------
        name : str
            A key of ``schema.KINDS``: "lines", "attributions", ...

        Returns
        -------
        int
        """
        return int(self._ends[self._kind_name(name)][0])

    def lines(self, first=0, last=None):
        """Read the partitions of lines ``first`` to ``last`` (not included).

        Parameters
        ----------
        first, last : int, optional
            All lines by default.

        Returns
        -------
        LinePartitions

        Raises
        ------
        InputError
            There are no such lines.
        ChecksumError, StoreError
            The file is damaged.
        """
        from ..partition.lines.partitions import LinePartitions

        if not self.has_lines:
            raise StoreError(f"{self.path} holds a network, but no lines; partition_lines computes them")
        return LinePartitions(network=self.network, tolerances=self.tolerances, **self.read("lines", first, last))

    def read(self, name, first=0, last=None, *, derived=False):
        """Read rows ``first`` to ``last`` (not included) of a kind of result, and all that belongs to them.

        Parameters
        ----------
        name : str
            A key of ``schema.KINDS``.
        first, last : int, optional
            All rows by default.
        derived : bool, optional
            Read the derived datasets instead; of lines these are the summaries ``length``, ``shortest_t``,
            ``longest_t`` and ``op_flips`` (as in LineSummary), for which no breakpoint is read.

        Returns
        -------
        dict of str to ndarray
            By field, as in the tables of docs/store_format.md; offsets from 0; read-only.

        Raises
        ------
        InputError
            There is no such kind, or there are no such rows.
        ChecksumError, StoreError
            The file is damaged.
        """
        kind = schema.KINDS[self._kind_name(name)]
        first, last = self._checked_range(name, first, last)
        if kind.datasets[0].path not in self._open_file():
            raise StoreError(f"{self.path} holds no {name}; append some first")
        arrays = self._read_rows(kind, first, last, kind.derived if derived else kind.datasets)
        for array in arrays.values():
            array.setflags(write=False)
        return arrays

    def batches(self):
        """Read the lines batch by batch, as they were written, for what does not fit into memory.

        Yields
        ------
        LinePartitions
            In the order of the lines; errors as for ``lines``.
        """
        for commit in self._commits[self._commits["kind"] == b"lines"]:
            if commit["first"][0] < commit["last"][0]:
                yield self.lines(int(commit["first"][0]), int(commit["last"][0]))

    def summary(self, first=0, last=None):
        """Summarize lines ``first`` to ``last`` (not included), a bounded number of breakpoints in memory.

        Returns
        -------
        LineSummary
            Bit for bit ``LineSummary.of(store.batches())``; errors as for ``lines``.
        """
        self._open_file()
        return stored_summary(self, *self._checked_range("lines", first, last))

    def verify(self, *, n_samples=0):
        """Check the whole file: every byte's checksum, the format, the network, commits, and that arrays fit one another.

        Parameters
        ----------
        n_samples : int, optional
            Segments of each line to compare with forward passes of the network; none by default.

        Returns
        -------
        list of str
            The problems, each a sentence; empty for a good store.

        Raises
        ------
        StoreError
            The store has grown meanwhile.
        """
        return checks.find_problems(self, n_samples)

    def last_batch_problems(self):
        """Check the last finished batch only: list of str, as ``verify``."""
        return checks.problems_of_batch(self, self.n_batches - 1) if self.n_batches else []

    def check_made_with(self, network=None, parameters=None, seeds=None, tolerances=None):
        """Refuse a store that was not made with these; None: anything will do.

        Parameters
        ----------
        network : Network, optional
        parameters, seeds : dict, optional
        tolerances : Tolerances, optional

        Raises
        ------
        DigestMismatchError
            The message names what differs.
        """
        if network is not None and network.digest != self.network_digest:
            raise DigestMismatchError(
                f"{self.path} is for the network {self.network_digest[:12]}, but network is {network.digest[:12]}; "
                "give its own network, or leave network out"
            )
        wanted = {"parameters": parameters, "seeds": seeds}
        wanted["tolerances"] = None if tolerances is None else tolerances._asdict()
        for part, given in wanted.items():
            difference = None if given is None else checks.first_difference(self.provenance[part], given)
            if difference:
                raise DigestMismatchError(
                    f"{self.path} was made with other {part}: {difference}; give the same, or write to a store of its own"
                )

    def digest(self):
        """SHA-256 (hex) of all results, the same however they were cut into batches."""
        sha = hashlib.sha256()
        for name, kind in schema.KINDS.items():
            if name != "lines" and not self.n_rows(name):
                continue
            ends = self._axis_ends(kind, 0, self.n_rows(name)) if self.has_lines else None
            for dataset in kind.stored if self.has_lines else ():
                stored, rows = self._dataset(dataset), ends[dataset.axis][1] + dataset.lead
                start_array(sha, dataset.path, stored.dtype, (rows, *stored.shape[1:]))
                step = stored.chunks[0]
                for k in range(0, rows, step):
                    add_bytes(sha, self._read(dataset, k, min(k + step, rows)))
        return sha.hexdigest()

    def info(self):
        """Return what the store holds, as a dict that JSON can hold; sizes in bytes, ``ratio`` of all results to their file."""
        return checks.describe(self)

    def close(self):
        """Close the file."""
        if self._file is not None:
            self._open.clear()
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __repr__(self):
        return f"RegionStore({str(self.path)!r}, {self.n_lines} lines, network {self.network_digest[:12]})"

    def _open_file(self):
        if self._file is None:
            raise StoreError(f"{self.path} is closed; open it again")
        return self._file

    def _kind_name(self, name):
        if name not in schema.KINDS:
            raise InputError(f"{name!r} is no kind of result; give one of {', '.join(schema.KINDS)}")
        return name

    def _checked_range(self, name, first, last):
        n_rows = self.n_rows(name)
        last = n_rows if last is None else last
        if not 0 <= first <= last <= n_rows:
            raise InputError(
                f"first is {first} and last is {last}, but {self.path} has {n_rows} {name}; give 0 <= first <= last <= {n_rows}"
            )
        return int(first), int(last)

    def _read_commits(self):
        """Commits of the kinds that this version knows; those that a later minor version adds are left alone."""
        self._commits = np.zeros(0, schema.COMMIT)
        with reading(self.path, schema.COMMITS):
            self.has_lines = schema.COMMITS in self._file or "lines" in self._file  # else a network only
            if self.has_lines:
                stored = self._file[schema.COMMITS]
                check_rows(stored, len(stored))
                commits = stored[()].astype(schema.COMMIT)
                self._commits = commits[np.isin(commits["kind"], [name.encode() for name in schema.KINDS])]
        self._ends = schema.rows_at_end(self._commits)
        self.n_lines, self.n_breakpoints, self.n_flips = (int(n) for n in self._ends["lines"][:3])
        if self.has_lines and (self._commits["first"][:, 0] == self._commits["last"][:, 0]).any():  # a line in parts
            ends = self._axis_ends(schema.LINES, 0, self.n_lines)
            self.n_breakpoints, self.n_flips = ends["T"][1], ends["F"][1]
        self.n_batches = len(self._commits)

    def _dataset(self, dataset):
        if dataset.path in self._open:  # HDF5 keeps chunks of open datasets
            return self._open[dataset.path]
        with reading(self.path, dataset.path):
            stored = self._open_file()[dataset.path]
            if stored.dtype != np.dtype(dataset.dtype) or len(stored.shape) != len(dataset.dims) or not stored.chunks:
                raise TypeError(f"it has dtype {stored.dtype} and {len(stored.shape)} dimensions")
        self._open[dataset.path] = stored
        return stored

    def _read(self, dataset, first, last):
        """Rows [first, last) of a dataset, whether or not a writer commits meanwhile."""
        return self._again(lambda: self._read_once(dataset, first, last))

    def _read_once(self, dataset, first, last):
        self._open_file()
        stored = self._dataset(dataset)
        with reading(self.path, f"{dataset.path} rows {first}..{last - 1}"):
            if not 0 <= first <= last:
                raise ValueError("there are no such rows")
            if last - first > stored.chunks[0]:
                check_rows(stored, last)
            elif last > len(stored):
                raise ValueError(f"it has {len(stored)} rows")
            rows = stored[first:last]
        return np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))

    def _axis_ends(self, kind, first, last):
        """Rows (from, to) along each axis of a kind for a range of its first: dict."""
        ranges = {kind.axes[0]: (first, last)}
        for dataset in kind.datasets:
            if dataset.lead:
                low, high = ranges[dataset.axis]
                ends = [int(self._read(dataset, row, row + 1)[0]) for row in (low, high)]
                if not 0 <= ends[0] <= ends[1]:
                    raise StoreError(f"{dataset.path} of {self.path} does not increase; restore a copy of the file")
                ranges[kind.counts[dataset.path]] = tuple(ends)
        return ranges

    def _read_rows(self, kind, first, last, datasets):
        """Arrays by field for a range of the first axis, offsets from 0."""
        ragged = any(dataset.axis != kind.axes[0] for dataset in datasets)
        ranges = self._axis_ends(kind, first, last) if ragged else {kind.axes[0]: (first, last)}
        arrays = {}
        for dataset in datasets:
            low, high = ranges[dataset.axis]
            rows = self._read(dataset, low, high + dataset.lead)
            if dataset.lead:
                rows = rows - rows[0]
                if (np.diff(rows) < 0).any():
                    raise StoreError(f"{dataset.path} of {self.path} does not increase; restore a copy of the file")
            arrays[dataset.field] = rows
        return arrays
