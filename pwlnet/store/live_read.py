"""Read while a writer commits: which reads are retried, and when a reader moves on to the newest state.

Rows of finished batches never change, but HDF5's own records about them lie on pages that commits change. Each page is
compared with the checksum of the state that was opened, so a reader gets the bytes of that state or an error, never a
mixture. After such an error the file is opened again, and the same rows are read from its newest state.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import AnyArray, IntArray
from ..errors import StoreError
from . import checks, schema
from .access import ReadFile, check_rows, reading
from .container.layout import HEADER_SIZE

if TYPE_CHECKING:
    import h5py

MAX_RETRIES = 30
_PAUSE = 0.002  # seconds before the first retry; longer each time
_SNAPSHOT = ("commits", "_ends", "n_lines", "n_breakpoints", "n_flips", "n_planes", "n_polygons", "n_batches")


class LiveReadMixin:
    """The file of a RegionStore and its rows, which can be read while a writer commits."""

    path: Path  # this and the others: of the RegionStore
    is_verified: bool
    n_batches: int
    _checked: bool
    _file: Any
    _open: dict[str, Any]
    _ends: dict[str, IntArray]

    def refresh(self) -> bool:
        """Move on to the batches that were finished since the store was opened, or since the last call.

        Returns
        -------
        bool
            Whether there are new ones.

        Raises
        ------
        StoreError
            There is another store at this path now, or the file is damaged; this one is closed.
        """
        self._check_open()
        before = self.n_batches
        self._open_again()
        return self.n_batches > before

    @property
    def file(self) -> ReadFile:
        """The open file: ReadFile; StoreError after ``close``."""
        self._check_open()
        return self._file

    def open_dataset(self, dataset: schema.Dataset) -> h5py.Dataset:
        """Open a dataset of the schema and compare its form: h5py.Dataset.

        Parameters
        ----------
        dataset : schema.Dataset
        """
        if dataset.path in self._open:  # HDF5 keeps chunks of open datasets
            return self._open[dataset.path]
        with reading(self.path, dataset.path):
            stored = self.file.member(dataset.path)
            if stored.dtype != np.dtype(dataset.dtype) or len(stored.shape) != len(dataset.dims):
                raise TypeError(f"it has dtype {stored.dtype} and {len(stored.shape)} dimensions")
            if self.is_verified and not stored.chunks and not stored.is_virtual:
                raise TypeError("it has no chunks")
        self._open[dataset.path] = stored
        return stored

    def read_rows(self, dataset: schema.Dataset, first: int, last: int, *, checked: bool = True) -> AnyArray:
        """Read rows ``first`` to ``last`` (not included) of a dataset, whether or not a writer commits in the meantime.

        Parameters
        ----------
        dataset : schema.Dataset
        first, last : int
        checked : bool, optional
            False: in a store that is not verified, do not compare their batches with their digests.

        Returns
        -------
        ndarray
        """
        if checked and self._checked and not self.is_verified:
            checks.check_batches(self, dataset, first, last)
        return self._retry(lambda: self._read_once(dataset, first, last))

    def ends_of(self, name: str) -> IntArray:
        """Return the number of finished rows of a kind along each of its axes: int64[COMMIT_AXES]."""
        return self._ends[name].copy()

    def axis_ranges(self, kind: schema.Kind, first: int, last: int) -> dict[str, tuple[int, int]]:
        """Find the rows that belong to rows ``first`` to ``last`` (not included) of a kind's first axis.

        Parameters
        ----------
        kind : schema.Kind
        first, last : int

        Returns
        -------
        dict of str to (int, int)
            Rows from, and to (not included), by axis.
        """
        ranges = {kind.axes[0]: (first, last)}
        for dataset in kind.datasets:
            if dataset.lead:
                low, high = ranges[dataset.axis]
                begin, end = (int(self.read_rows(dataset, row, row + 1)[0]) for row in (low, high))
                if not 0 <= begin <= end:
                    raise StoreError(f"{dataset.path} of {self.path} does not increase; restore a copy of the file")
                ranges[kind.counts[dataset.path]] = begin, end
        return ranges

    def _read_once(self, dataset, first, last):
        stored = self.open_dataset(dataset)
        with reading(self.path, f"{dataset.path} rows {first}..{last - 1}"):
            if not 0 <= first <= last:
                raise ValueError("there are no such rows")
            if stored.chunks and last - first > stored.chunks[0]:
                check_rows(stored, last)
            elif last > len(stored):
                raise ValueError(f"it has {len(stored)} rows")
            rows = stored[first:last]
        return np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))

    def _check_open(self):
        if self._file is None:
            raise StoreError(f"{self.path} is closed; open it again")

    def _retry(self, work):
        """Call ``work``, which reads, and retry if a commit came in between."""
        for left in reversed(range(MAX_RETRIES)):
            try:
                return work()
            except StoreError:
                if not left or self._file is None or self._header in (None, _header(self.path)):
                    raise
            time.sleep((MAX_RETRIES - left) * _PAUSE)
            snapshot = {name: getattr(self, name) for name in _SNAPSHOT}
            self._open_again()
            vars(self).update(snapshot)

    def _open_newest(self):
        """Open the file at its last commit."""
        self._header = None  # reads inside _load are not retried
        for left in reversed(range(MAX_RETRIES)):
            header = _header(self.path)
            try:
                self._load()
                self._header = header
                return
            except StoreError:
                if not left or header == _header(self.path):
                    raise
            time.sleep((MAX_RETRIES - left) * _PAUSE)

    def _open_again(self):
        """Open the newest state of the same store."""
        before, n_batches = self._identity(), self.n_batches
        commits = self.commits.tobytes()
        self.close()
        self._open_newest()
        if self._identity() != before or self.commits[:n_batches].tobytes() != commits:
            self.close()
            raise StoreError(
                f"{self.path} is another store than the one that was opened, or another program changed it; open it again"
            )

    def _identity(self):
        """Return what does not change while a store grows."""
        return self.created, self.network_digest, self.provenance, self.is_verified


def _header(path):
    """Read the header of the container, which every commit changes: bytes, or None if there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.pread(descriptor, HEADER_SIZE, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)
