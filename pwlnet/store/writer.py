"""Append batches of results to a store."""

from __future__ import annotations

import contextlib
import errno
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import h5py
import numpy as np

from .._types import AnyArray, ArrayLike, PathLike
from ..errors import DigestMismatchError, InputError, PwlnetError, StoreError
from ..file_locks import locked_error
from ..publishing import reason
from ..validation import check_lines, check_result
from . import schema
from .certificates import certificates_to_arrays
from .chunk_writer import ChunkWriterMixin
from .consistency import batch_problem
from .container.transaction import TransactionFile, interrupts_deferred
from .digest import digest_arrays
from .float_sets import float_sets_to_arrays
from .header import now
from .image import LIBVER
from .planes import planes_to_arrays
from .region_writer import RegionWriterMixin
from .results import ResultFile, axis_sizes
from .summary import derived_rows

if TYPE_CHECKING:
    from ..domains import Ball, Box, Gaussian, Polygon, Segment
    from ..float_sets import FloatSet
    from ..network import Network
    from ..partition.lines.partitions import LinePartitions
    from ..partition.planes.partitions import PlanePartitions
    from ..smoothing.certificates import Certificate, Certificates
    from ..tolerances import Tolerances


class Written(NamedTuple):
    """What ``save_lines`` wrote: numbers of lines and of segments."""

    n_lines: int
    n_segments: int


class WrittenPlanes(NamedTuple):
    """What ``save_planes`` wrote: numbers of planes and of polygons."""

    n_planes: int
    n_polygons: int


def _release(file, container):
    """Close the files of a writer that was deleted without being closed, or that is open when Python exits."""
    with contextlib.suppress(Exception), interrupts_deferred():
        try:
            file.close()
        finally:
            container.close()


class StoreWriter(ChunkWriterMixin, RegionWriterMixin):
    """A store that is being written; made by ``pwlnet.store.create`` and ``resume``.

    A batch is completely on the disk when its ``append_...`` returns; Ctrl-C waits for that. Whatever stops the program,
    the batches before can be read, and ``resume`` continues after them. Nobody else can write to the file until the writer is
    closed or deleted. It can't be used in forked processes.

    Attributes
    ----------
    path : pathlib.Path
    network : Network
    n_lines, n_segments, n_planes, n_polygons, n_float_sets, n_certificates, n_enumerations, n_regions : int
        In the store.
    """

    def __init__(self, path: PathLike, network: Network, tolerances: Tolerances, threads: int | None, compression: str) -> None:
        self.path, self.network, self.tolerances = Path(path), network, tolerances
        self._sizes = axis_sizes(network)
        self._file: Any = None
        try:
            self._container = TransactionFile(self.path)
        except PwlnetError:
            raise
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise locked_error(self.path) from None
            raise StoreError(
                f"{self.path} can't be opened for writing ({reason(error)}); check the file's permissions"
            ) from error
        try:
            with interrupts_deferred():
                self._file = h5py.File(self._container, "r+", libver=LIBVER)
                self._results = ResultFile(self._file, network, compression, threads)
                self._ends = schema.rows_at_end(self._file[schema.COMMITS][()])
                self._find_finished()
        except BaseException:
            self._abandon()
            raise
        self._container.lock.set_writer(self)
        self._finalizer = weakref.finalize(self, _release, self._file, self._container)

    @property
    def n_lines(self) -> int:
        """Number of lines in the store."""
        return self.n_rows("lines")

    @property
    def n_segments(self) -> int:
        """Number of segments in the store."""
        return int(self._finished["lines"][1]) - self.n_lines

    @property
    def n_planes(self) -> int:
        """Number of planes in the store."""
        return self.n_rows("planes")

    @property
    def n_polygons(self) -> int:
        """Number of polygons in the store."""
        return int(self._finished["planes"][2])

    @property
    def n_float_sets(self) -> int:
        """Number of sets of inputs with fixed and float neurons in the store."""
        return self.n_rows("float_sets")

    @property
    def n_certificates(self) -> int:
        """Number of certified images in the store."""
        return self.n_rows("certificates")

    @property
    def is_empty(self) -> bool:
        """Whether the store has no rows of any kind, not even of a line or a plane that is not finished."""
        return not any(ends.any() for ends in self._ends.values())

    @property
    def written(self) -> Written:
        """Numbers of lines and segments in the store: Written."""
        return Written(self.n_lines, self.n_segments)

    @property
    def written_planes(self) -> WrittenPlanes:
        """Numbers of planes and polygons in the store: WrittenPlanes."""
        return WrittenPlanes(self.n_planes, self.n_polygons)

    def n_rows(self, name: str) -> int:
        """Return the number of rows of a kind of result in the store, along its first axis."""
        return int(self._ends[name][0])

    def append_lines(self, lines: LinePartitions) -> None:
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
        self._check_network(check_lines(lines), "lines")
        if lines.tolerances != self.tolerances:
            raise DigestMismatchError(
                f"lines were computed with {lines.tolerances}, but {self.path} is for {self.tolerances}; "
                "create the store with tolerances=lines.tolerances"
            )
        arrays = {d.field: getattr(lines, d.field) for d in schema.LINES.datasets}
        self._append("lines", arrays, "give the result of partition_lines unchanged")

    def append_planes(self, planes: PlanePartitions) -> None:
        """Append a batch of plane partitions.

        Parameters
        ----------
        planes : PlanePartitions
            Of this store's network. Batches of at least 10^4 polygons use the disk well. ``n_exact`` is not stored: it depends
            on which planes are partitioned together.

        Raises
        ------
        DigestMismatchError
            The planes belong to another network.
        InputError, StoreError
            As for ``append_lines``.
        """
        self._check_open()
        self._check_network(check_result(planes, "planes", ("network", "parts"), "pwlnet.partition_planes"), "planes")
        self._append("planes", planes_to_arrays(planes), "give the result of partition_planes unchanged")

    def append_float_sets(
        self,
        float_set: FloatSet,
        domain: Segment | Polygon | Box | Ball | Gaussian | tuple[ArrayLike, ArrayLike] | None = None,
        *,
        items: int | ArrayLike | None = None,
        with_shares: bool = True,
    ) -> None:
        """Append the fixed and float neurons of one or several sets of inputs.

        Parameters
        ----------
        float_set : FloatSet
            Of this store's network.
        domain : Segment, Polygon, Box, Ball, Gaussian, (float64[B, D], float64[B, D]), optional
            The sets.
        items : int or int64[B], optional
            Numbers of the images, lines or planes that the sets belong to.
        with_shares : bool, optional
            Store the shares, if the FloatSet has them: 16 bytes per set and neuron. All batches of a store must agree.

        Raises
        ------
        ShapeError
            The FloatSet has other neurons than the network, or there is not one domain, or item, for each set.
        InputError, StoreError
            As for ``append_lines``.
        """
        self._check_open()
        check_result(float_set, "float_set", ("lower", "upper", "method"), "pwlnet.find_float_neurons")
        arrays = float_sets_to_arrays(self.network, float_set, domain, items=items, with_shares=with_shares)
        self._append("float_sets", arrays, "give the result of find_float_neurons unchanged")

    def append_certificates(
        self, certificates: Certificates | Certificate, inputs: ArrayLike | None = None, *, labels: ArrayLike | None = None
    ) -> None:
        """Append certificates of randomized smoothing.

        Parameters
        ----------
        certificates : Certificates or Certificate
            For a base classifier that is, or is made of, this store's network.
        inputs : float64[B, D] or float64[B, *input_shape], optional
            The images, to recompute certificates from the store alone.
        labels : int64[B], optional
            True classes; -1: not known.

        Raises
        ------
        ShapeError
            There is not one input, or label, for each certificate.
        InputError, StoreError
            As for ``append_lines``.
        """
        self._check_open()
        arrays = certificates_to_arrays(self.network, certificates, inputs, labels=labels)
        self._append("certificates", arrays, "give the certificates unchanged")

    def append(self, name: str, arrays: Mapping[str, AnyArray]) -> None:
        """Append a batch of results of any kind.

        Parameters
        ----------
        name : str
            A key of ``schema.KINDS``: "lines", "attributions", "measures", "planes", "float_sets", "certificates", or the
            three of regions: "enumerations", "regions", "enumeration_ends".
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

    def close(self) -> None:
        """Close the file; all batches are on the disk already."""
        if self._file is None:
            return
        with interrupts_deferred():
            file, self._file = self._file, None
            try:
                file.close()
            finally:
                self._container.close()
        self._finalizer.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_open(self):
        self._container.lock.check_process()
        if self._file is None:
            raise StoreError(f"{self.path} is closed with {self._content()}; append before close, or resume it")

    def _content(self):
        """Describe how much the store holds: "3 lines", or "3 lines and 2 planes"."""
        counts = [f"{self.n_rows(name)} {name}" for name in schema.KINDS if self.n_rows(name) and name != "enumeration_ends"]
        return " and ".join(counts) or "0 lines"

    def _check_network(self, results, name):
        """Refuse results of another network."""
        if results.network.digest != self.network.digest:
            raise DigestMismatchError(
                f"{name} belong to the network {results.network.digest[:12]}, but {self.path} is for the network "
                f"{self.network.digest[:12]}; append them to another store"
            )

    def _append(self, name, arrays, advice, resume_state=None):
        """Check a batch and write it."""
        arrays = {field: np.ascontiguousarray(array) for field, array in arrays.items()}
        problem = batch_problem(name, arrays, self._sizes)
        if problem:
            raise InputError(f"{name} can't be appended: {problem}; {advice}")
        first = schema.KINDS[name].datasets[0]
        if not len(arrays[first.field]):
            return
        self._refuse_unfinished(name)
        self._refuse_misplaced(name, arrays)
        arrays |= derived_rows(name, arrays, self.network)
        self._write(name, {d.field: arrays[d.field][d.lead :] for d in schema.KINDS[name].stored}, resume_state)

    def _write(self, name, rows, resume_state=None):
        """Write rows of all datasets of a kind as a batch."""
        with interrupts_deferred(), self._all_or_nothing():
            self._write_batch(name, rows, resume_state)

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
                f"{self.path} can't be extended ({reason(error)}); its first {self._content()} are kept and can be "
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

    def _write_batch(self, name, rows, resume_state):
        """Write a batch and its commit, and flush both to the disk."""
        first = self._ends[name]
        last, written = self._results.append(name, rows, first, self._bases(name))
        if schema.KINDS[name].resume_group:
            self._write_resume_state(name, resume_state)
        commits = self._file[schema.COMMITS]
        commits.resize(len(commits) + 1, axis=0)
        row = np.zeros((), schema.COMMIT)
        row["kind"], row["first"], row["last"] = name, first, last
        row["sha256"], row["time"] = digest_arrays(written), now()
        commits[-1] = row
        self._file.flush()
        self._container.commit()
        self._note_written(name, rows, last)
