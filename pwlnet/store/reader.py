"""Reading a store: lazily, row by row, and checking all of it."""

import hashlib
import os
from pathlib import Path

import numpy as np

from ..errors import DigestMismatchError, InputError, PwlnetError, StoreError
from . import schema
from .access import open_for_reading, reading
from .consistency import batch_problem
from .digest import add_bytes, digest_arrays, start_array
from .header import check_format, read_header
from .network_file import read_stored_network


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
        A context manager; reads what is asked for, when it is asked for.

    Raises
    ------
    StoreError
        There is no such file, it is damaged or not one of pwlnet's, or it is being written.
    FormatVersionError
        A newer pwlnet wrote it.
    DigestMismatchError
        It belongs to another network than the one given.

    See Also
    --------
    create : make a store.
    """
    store = RegionStore(path)
    wanted = store.network_digest if network is None else network.digest
    if wanted != store.network_digest:
        store.close()
        raise DigestMismatchError(
            f"{path} is for the network {store.network_digest[:12]}, but network is {wanted[:12]}; "
            "give its own network, or leave network out"
        )
    return store


def load_lines(path):
    """Read all line partitions of a store into memory; errors as ``open`` and ``RegionStore.lines``."""
    with open(path) as store:
        return store.lines()


class RegionStore:
    """Results of one network in a file; made by ``pwlnet.store.open``.

    Attributes
    ----------
    path : pathlib.Path
    network_digest : str
    provenance : dict
        Software versions, parameters and environment of the program that made the store.
    tolerances : Tolerances
    created : str
        UTC, ISO 8601.
    has_lines : bool
        False for a file that holds a network only.
    n_lines, n_breakpoints, n_flips, n_batches : int
        Of finished batches only.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._file = open_for_reading(self.path)
        self._network = None
        try:
            self.format_version = check_format(self._file, self.path)
            header = read_header(self._file, self.path)
            commits = self._read_commits()
        except PwlnetError:
            self.close()
            raise
        self.network_digest, self.created = header["network-digest"], header["created"]
        self.provenance, self.tolerances = header["provenance"], header["tolerances"]
        self.has_lines = commits is not None
        self._commits = commits if self.has_lines else np.zeros(0, schema.COMMIT)
        self.n_batches = len(self._commits)
        rows = self._commits["last"][-1] if self.n_batches else np.zeros(schema.COMMIT_AXES, np.int64)
        self.n_lines, self.n_breakpoints, self.n_flips = (int(n) for n in rows[: len(schema.LINES.axes)])

    @property
    def network(self):
        """The network, read on first use: Network."""
        if self._network is None:
            self._network = read_stored_network(self._open_file(), self.path)
        return self._network

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
        from ..partition.line import LinePartitions

        if not self.has_lines:
            raise StoreError(f"{self.path} holds a network, but no lines; partition_lines computes them")
        last = self.n_lines if last is None else last
        if not 0 <= first <= last <= self.n_lines:
            raise InputError(
                f"first is {first} and last is {last}, but {self.path} has {self.n_lines} lines; "
                f"give 0 <= first <= last <= {self.n_lines}"
            )
        arrays = self._read_lines(int(first), int(last))
        for array in arrays.values():
            array.setflags(write=False)
        return LinePartitions(network=self.network, tolerances=self.tolerances, **arrays)

    def batches(self):
        """Read the store batch by batch, as it was written, for what does not fit into memory.

        Yields
        ------
        LinePartitions
            In the order of the lines; errors as for ``lines``.
        """
        for commit in self._commits:
            yield self.lines(int(commit["first"][0]), int(commit["last"][0]))

    def verify(self):
        """Check the whole file: checksums, the network's digest, commits, and that the arrays fit one another.

        Returns
        -------
        list of str
            The problems, each a sentence; empty for a good store.
        """
        try:
            network = self.network
        except PwlnetError as error:
            return [str(error)]
        end, problems = np.zeros(schema.COMMIT_AXES, np.int64), []
        for number, commit in enumerate(self._commits):
            rows = f"batch {number} (lines {commit['first'][0]}..{commit['last'][0] - 1}) of {self.path}"
            try:
                if (commit["first"] != end).any() or (commit["last"] < end).any():
                    problems.append(f"{rows} does not start where the one before it ends; restore a copy of the file")
                    break
                problems += self._batch_problems(commit, rows, network)
            except PwlnetError as error:
                problems.append(f"{rows}: {error}")
            end = commit["last"]
        return problems

    def digest(self):
        """SHA-256 (hex) of all results, the same however they were cut into batches."""
        sha = hashlib.sha256()
        for dataset in schema.LINES.datasets if self.has_lines else ():
            stored, rows = self._dataset(dataset), self._n_rows(dataset)
            start_array(sha, dataset.path, stored.dtype, (rows, *stored.shape[1:]))
            for k in range(0, rows, stored.chunks[0]):
                add_bytes(sha, self._read(dataset, k, min(k + stored.chunks[0], rows)))
        return sha.hexdigest()

    def info(self):
        """Return what the store holds, as a dict that JSON can hold."""
        network = self.network
        sizes = {"inputs": network.n_inputs, "outputs": network.n_outputs, "neurons": network.n_neurons}
        return {
            "path": str(self.path),
            "bytes": os.path.getsize(self.path),
            "format_version": self.format_version,
            "created": self.created,
            "network": {"digest": network.digest, **sizes},
            "n_lines": self.n_lines,
            "n_segments": self.n_breakpoints - self.n_lines,
            "n_flips": self.n_flips,
            "n_batches": self.n_batches,
            "tolerances": self.tolerances._asdict(),
            **self.provenance,
        }

    def close(self):
        """Close the file."""
        if self._file is not None:
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

    def _read_commits(self):
        """Commits of lines; those of kinds that a later minor version adds are left alone. None: a network only."""
        with reading(self.path, schema.COMMITS):
            if schema.COMMITS not in self._file and "lines" not in self._file:
                return None
            commits = self._file[schema.COMMITS][()].astype(schema.COMMIT)
        return commits[commits["kind"] == b"lines"]

    def _dataset(self, dataset):
        with reading(self.path, dataset.path):
            stored = self._open_file()[dataset.path]
            if stored.dtype != np.dtype(dataset.dtype) or len(stored.shape) != len(dataset.dims):
                raise TypeError(f"it has dtype {stored.dtype} and {len(stored.shape)} dimensions")
            return stored

    def _n_rows(self, dataset):
        rows = {"L": self.n_lines, "T": self.n_breakpoints, "F": self.n_flips}
        return rows[dataset.axis] + dataset.lead

    def _read(self, dataset, first, last):
        """Rows [first, last) of a dataset."""
        stored = self._dataset(dataset)
        with reading(self.path, f"{dataset.path} rows {first}..{last - 1}"):
            if last > len(stored):
                raise ValueError(f"it has {len(stored)} rows")
            rows = stored[first:last]
        return np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))

    def _read_lines(self, first, last):
        """Fields of LinePartitions for a range of lines, offsets from 0."""
        datasets = {d.field: d for d in schema.LINES.datasets}
        ranges, arrays = {"L": (first, last)}, {}
        for field, axis in (("offsets", "T"), ("flip_offsets", "F")):
            low, high = ranges[datasets[field].axis]
            offsets = self._read(datasets[field], low, high + 1)
            if (np.diff(offsets) < 0).any() or not 0 <= offsets[0] <= offsets[-1]:
                raise StoreError(f"{datasets[field].path} of {self.path} does not increase; restore a copy of the file")
            ranges[axis] = int(offsets[0]), int(offsets[-1])
            arrays[field] = offsets - offsets[0]
        for field, dataset in datasets.items():
            if field not in arrays:
                arrays[field] = self._read(dataset, *ranges[dataset.axis])
        return arrays

    def _batch_problems(self, commit, rows, network):
        """What is wrong with one batch."""
        stored = []
        for dataset in schema.LINES.datasets:
            axis = schema.LINES.axes.index(dataset.axis)
            first, last = (int(commit[end][axis]) + dataset.lead for end in ("first", "last"))
            stored.append((dataset.path, self._read(dataset, first, last)))
        if digest_arrays(stored).encode() != commit["sha256"]:
            return [f"{rows} does not match its checksum; the file is damaged, restore a copy or compute it again"]
        arrays = self._read_lines(int(commit["first"][0]), int(commit["last"][0]))
        problem = batch_problem(arrays, network.n_inputs, network.n_neurons)
        return [f"{rows} is inconsistent: {problem}; compute it again"] if problem else []
