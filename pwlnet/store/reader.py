"""Read a store: rows are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._types import AnyArray, PathLike
from ..errors import DigestMismatchError, InputError, StoreError
from ..validation import as_path
from . import checks, schema
from .access import check_rows, open_for_reading, reading, warn_unverified
from .export.mixin import ExportMixin
from .header import check_format, read_header
from .live_read import LiveReadMixin
from .network_file import read_stored_network
from .partition_reader import PartitionReaderMixin
from .results import load_plugin

if TYPE_CHECKING:
    from ..network import Network
    from ..partition.lines.partitions import LinePartitions
    from ..partition.planes.partitions import PlanePartitions
    from ..tolerances import Tolerances


def open(path: PathLike, *, network: Network | None = None) -> RegionStore:
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
        A context manager; rows are read when they are asked for. A store that is being written can be read, too: the
        batches that were finished when it was opened, and after ``refresh`` those finished since.

    Raises
    ------
    StoreError
        There is no such file, it is damaged, or it is not a store.
    FormatVersionError
        A newer pwlnet wrote it.
    DigestMismatchError
        It belongs to another network.

    Warns
    -----
    UnverifiedStoreWarning
        Another program changed or copied the file, so its checksums are missing. It can be read: each batch is compared with
        its digest before any of its rows is returned. Nothing can be appended before ``repair`` checked all of it.

    See Also
    --------
    create : make a store.
    repair : add missing checksums.
    """
    return _open(path, network)


def _open(path, network=None):
    """Open a store for a caller of the calling function, who gets the warning."""
    store = RegionStore(path)
    try:
        store.check_made_with(network)
        if not store.is_verified:
            warn_unverified(path, stacklevel=3)
    except BaseException:
        store.close()
        raise
    return store


def load_lines(path: PathLike) -> LinePartitions:
    """Read all line partitions of a store into memory; errors as ``open`` and ``RegionStore.lines``."""
    with _open(path) as store:
        return store.lines()


def load_planes(path: PathLike, network: Network | None = None) -> PlanePartitions:
    """Read all plane partitions of a store into memory.

    Parameters
    ----------
    path : str or path
    network : Network, optional
        Refuse a store of another network.

    Returns
    -------
    PlanePartitions
        Errors as ``open`` and ``RegionStore.planes``.
    """
    with _open(path, network) as store:
        return store.planes()


class RegionStore(LiveReadMixin, PartitionReaderMixin, ExportMixin):
    """Results of one network in a file; made by ``pwlnet.store.open``.

    Attributes
    ----------
    path : pathlib.Path
    network_digest : str
    provenance : dict
        Software versions, parameters, seeds, tolerances and environment of the program that created the store.
    tolerances : Tolerances
    compression : str
    created : str
        UTC, ISO 8601.
    has_lines : bool
        False for a file that holds a network only.
    is_verified : bool
        False if another program changed or copied the file, so that its checksums are missing.
    is_linked : bool
        Whether its rows are in other files (``link``).
    n_lines, n_breakpoints, n_flips, n_planes, n_polygons, n_batches : int
        Of finished batches only.
    commits : schema.COMMIT[n_batches]
        The table of batches.
    checked_batches : set of int
        Batches that were compared with their digests.
    """

    path: Path
    network_digest: str
    provenance: dict[str, Any]
    tolerances: Tolerances
    compression: str
    created: str
    is_verified: bool
    n_lines: int
    n_breakpoints: int
    n_flips: int
    n_planes: int
    n_polygons: int
    n_batches: int
    commits: AnyArray
    checked_batches: set[int]

    def __init__(self, path: PathLike, *, checked: bool = True) -> None:
        self.path, self._checked = as_path(path), checked
        self.checked_batches = set()
        self._file: Any = None
        self._network: Any = None
        self._open: dict[str, Any] = {}
        self._open_newest()

    def _load(self):
        """Open the file and read everything but rows."""
        self._file = open_for_reading(self.path, checked=self._checked)
        self.is_verified, self.is_linked = self._file.container.is_verified, bool(self._file.links)
        self.checked_batches.clear()
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
    def network(self) -> Network:
        """The network, read on first use: Network."""
        if self._network is None:
            self._network = self._retry(lambda: read_stored_network(self.file, self.path))
        return self._network

    def use_network(self, network: Network | None) -> None:
        """Use a network of the caller, where the stored copy is damaged; None: no-op.

        Parameters
        ----------
        network : Network or None

        Raises
        ------
        DigestMismatchError
            It is not the network of the store.
        """
        self.check_made_with(network)
        self._network = self._network if network is None else network

    def n_rows(self, name: str) -> int:
        """Return the number of rows of a kind of result, along its first axis.

        Parameters
        ----------
        name : str
            A key of ``schema.KINDS``: "lines", "attributions", ...

        Returns
        -------
        int
        """
        return int(self._ends[self._kind_name(name)][0])

    def read(self, name: str, first: int = 0, last: int | None = None, *, derived: bool = False) -> dict[str, AnyArray]:
        """Read rows ``first`` to ``last`` (not included) of a kind of result, with all rows that belong to them.

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
        first, last = self.checked_range(name, first, last)
        with reading(self.path, kind.datasets[0].path):
            is_there = self.file.has(kind.datasets[0].path)
        if not is_there:
            raise StoreError(f"{self.path} holds no {name}; append some first")
        return self.read_datasets(kind, first, last, kind.derived if derived else kind.datasets)

    def verify(self, *, n_samples: int = 0) -> list[str]:
        """Check the whole file: the checksum of every byte, the format, the network, commits, and that arrays are consistent.

        Parameters
        ----------
        n_samples : int, optional
            Segments of each line to compare with forward passes of the network; none by default.

        Returns
        -------
        list of str
            The problems, one sentence each; empty for an intact store.

        Raises
        ------
        StoreError
            The store has grown in the meantime.
        """
        return checks.find_problems(self, n_samples)

    def last_batch_problems(self) -> list[str]:
        """Check the last finished batch only: list of str, as ``verify``."""
        return checks.problems_of_batch(self, self.n_batches - 1) if self.n_batches else []

    def check_made_with(
        self,
        network: Network | None = None,
        parameters: dict[str, Any] | None = None,
        seeds: dict[str, Any] | None = None,
        tolerances: Tolerances | None = None,
    ) -> None:
        """Validate what a store was made with; None: do not compare.

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
                "give the network of the store, or leave network out"
            )
        given = {"parameters": parameters, "seeds": seeds}
        given["tolerances"] = None if tolerances is None else tolerances._asdict()
        for name, value in given.items():
            difference = None if value is None else checks.first_difference(self.provenance[name], value)
            if difference:
                raise DigestMismatchError(
                    f"{self.path} was made with other {name}: {difference}; give the same, or write to another store"
                )

    def digest(self) -> str:
        """Compute the SHA-256 (hex) of all results; it does not depend on how they were split into batches."""
        return checks.content_digest(self)

    def info(self) -> dict[str, Any]:
        """Describe the store: a dict of JSON values; sizes in bytes, ``ratio`` of the raw results to those in the file."""
        return checks.describe(self)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._open.clear()
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RegionStore({str(self.path)!r}, {self.n_lines} lines, network {self.network_digest[:12]})"

    def _kind_name(self, name):
        if name not in schema.KINDS:
            raise InputError(f"{name!r} is not a kind of result; give one of {', '.join(schema.KINDS)}")
        return name

    def refuse_network_only(self, name: str) -> None:
        """Refuse to read results, such as "lines", from a file that holds a network only."""
        if not self.has_lines:
            others = {
                "planes": "partition_planes",
                "float_sets": "find_float_neurons",
                "certificates": "smoothing.SmoothedClassifier",
                "regions": "enumerate_regions",
            }
            one = others.get(name, "partition_lines")
            raise StoreError(f"{self.path} holds a network, but no {name}; compute them with {one}")

    def checked_range(self, name: str, first: int, last: int | None) -> tuple[int, int]:
        """Validate a range of rows of a kind, where None stands for the last one: (first, last)."""
        n_rows = self.n_rows(name)
        last = n_rows if last is None else last
        if not 0 <= first <= last <= n_rows:
            raise InputError(
                f"first is {first} and last is {last}, but {self.path} has {n_rows} {name}; give 0 <= first <= last <= {n_rows}"
            )
        return int(first), int(last)

    def _read_commits(self):
        """Read the commits of known kinds; a later minor version may add others."""
        self.commits = np.zeros(0, schema.COMMIT)
        with reading(self.path, schema.COMMITS):
            self.has_lines = self._file.has(schema.COMMITS) or self._file.has("/lines")  # else a network only
            if self.has_lines:
                stored = self._file.member(schema.COMMITS)
                check_rows(stored, len(stored))
                commits = stored[()].astype(schema.COMMIT)
                self.commits = commits[np.isin(commits["kind"], [name.encode() for name in schema.KINDS])]
        self.n_batches = len(self.commits)
        if self._checked and not self.is_verified:
            checks.check_order(self)
        self._ends = schema.rows_at_end(self.commits)
        in_chunks = self.commits["kind"][self.commits["first"][:, 0] == self.commits["last"][:, 0]]
        for name, kind in schema.KINDS.items():
            if name.encode() in in_chunks:  # rows of a line or a plane that is not finished do not count
                ranges = self.axis_ranges(kind, 0, self.n_rows(name))
                self._ends[name][: len(kind.axes)] = [ranges[axis][1] for axis in kind.axes]
        self.n_lines, self.n_breakpoints, self.n_flips = (int(n) for n in self._ends["lines"][:3])
        self.n_planes, self.n_polygons = (int(self._ends["planes"][schema.PLANES.axes.index(axis)]) for axis in "PR")

    def read_datasets(
        self, kind: schema.Kind, first: int, last: int, datasets: Sequence[schema.Dataset]
    ) -> dict[str, AnyArray]:
        """Read some datasets of a kind for a range of its first axis: read-only arrays by field, offsets from 0.

        Parameters
        ----------
        kind : schema.Kind
        first, last : int
        datasets : sequence of schema.Dataset
        """
        ragged = any(dataset.axis != kind.axes[0] for dataset in datasets)
        ranges = self.axis_ranges(kind, first, last) if ragged else {kind.axes[0]: (first, last)}
        arrays = {}
        for dataset in datasets:
            low, high = ranges[dataset.axis]
            rows = self.read_rows(dataset, low, high + dataset.lead)
            if dataset.lead:
                rows = rows - rows[0]
                if (np.diff(rows) < 0).any():
                    raise StoreError(f"{dataset.path} of {self.path} does not increase; restore a copy of the file")
            rows.setflags(write=False)
            arrays[dataset.field] = rows
        return arrays
