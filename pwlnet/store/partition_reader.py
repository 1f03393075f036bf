"""Read partitions of lines and planes, and their summaries, float sets and certificates: methods of RegionStore."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from .._types import AnyArray, Guarantee, IntArray
from . import in_chunks, schema
from .certificates import certificates_from_arrays, rows_with_guarantee
from .float_sets import float_set_from_arrays
from .planes import planes_from_arrays
from .summary import PlaneSummary, stored_line_summary, stored_plane_summary

if TYPE_CHECKING:
    from ..float_sets import FloatSet
    from ..partition.lines.partitions import LinePartitions
    from ..partition.lines.summary import LineSummary
    from ..partition.planes.partitions import PlanePartitions
    from ..partition.planes.polygons import Plane
    from ..smoothing.certificates import Certificates
    from ..tolerances import Tolerances
    from .reader import RegionStore
    from .region_rows import RegionRows


class PartitionReaderMixin:
    """The line and plane partitions, float sets and certificates of a RegionStore; rows are read when they are asked for."""

    network: Any  # this and the others: of the RegionStore
    tolerances: Tolerances
    read: Any
    read_rows: Any
    checked_range: Any
    refuse_network_only: Any

    def lines(self, first: int = 0, last: int | None = None) -> LinePartitions:
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

        self.refuse_network_only("lines")
        return LinePartitions(network=self.network, tolerances=self.tolerances, **self.read("lines", first, last))

    def batches(self) -> Iterator[LinePartitions]:
        """Read the lines batch by batch, as they were written: a bounded number of them in memory.

        Yields
        ------
        LinePartitions
            In the order of the lines; errors as for ``lines``.
        """
        for first, last in self._batch_ranges("lines"):
            yield self.lines(first, last)

    def summary(self, first: int = 0, last: int | None = None) -> LineSummary:
        """Summarize lines ``first`` to ``last`` (not included), a bounded number of breakpoints in memory.

        Returns
        -------
        LineSummary
            Bit for bit ``LineSummary.of(store.batches())``; errors as for ``lines``.
        """
        return stored_line_summary(self, *self.checked_range("lines", first, last))

    def planes(self, first: int = 0, last: int | None = None) -> PlanePartitions:
        """Read the partitions of planes ``first`` to ``last`` (not included).

        Parameters
        ----------
        first, last : int, optional
            All planes by default.

        Returns
        -------
        PlanePartitions
            As appended, but for ``n_exact``, which is 0.

        Raises
        ------
        InputError
            There are no such planes.
        ChecksumError, StoreError
            The file is damaged.
        """
        self.refuse_network_only("planes")
        return planes_from_arrays(self.network, self.read("planes", first, last))

    def plane(self, number: int) -> Plane:
        """Read one plane without its polygons: Plane; errors as for ``planes``."""
        from ..partition.planes.polygons import Plane

        self.checked_range("planes", number, number + 1)
        row = in_chunks.stored_row(self, "planes", number)
        return Plane(row["origins"][0], row["e1"][0], row["e2"][0], row["outlines"])

    def plane_batches(self) -> Iterator[PlanePartitions]:
        """Read the planes batch by batch, as they were written: a bounded number of them in memory.

        Yields
        ------
        PlanePartitions
            In the order of the planes; errors as for ``planes``.
        """
        for first, last in self._batch_ranges("planes"):
            yield self.planes(first, last)

    def plane_chunks(self, number: int) -> Iterator[dict[str, AnyArray]]:
        """Read one large plane in chunks, a bounded number of rows in memory: all vertices first, then all polygons.

        Parameters
        ----------
        number : int

        Yields
        ------
        dict of str to ndarray
            ``offsets``, ``vertex_numbers``, ``packed``, ``areas`` of the next polygons, ``shared_vertices``, ``outputs`` and
            ``error`` of the next vertices, as in PlanePartition. Numbers of vertices count from the first one of the plane.
        """
        self.checked_range("planes", number, number + 1)
        yield from in_chunks.iter_stored_chunks(self, "planes", number)

    def plane_summary(self, first: int = 0, last: int | None = None) -> PlaneSummary:
        """Count the polygons of planes ``first`` to ``last`` (not included), and return their areas; no polygon is read.

        Returns
        -------
        PlaneSummary
            ``n_polygons`` and ``n_vertices`` int64[P]; ``area``, ``smallest_area``, ``largest_area`` and ``residual``
            float64[P]. Errors as for ``planes``.
        """
        return stored_plane_summary(self, *self.checked_range("planes", first, last))

    def float_sets(self, first: int = 0, last: int | None = None) -> FloatSet:
        """Read the fixed and float neurons of sets ``first`` to ``last`` (not included).

        Parameters
        ----------
        first, last : int, optional
            All sets by default.

        Returns
        -------
        FloatSet
            Of B sets, without witnesses. States of fixed neurons are those of ReLU and LeakyReLU; others are -1.

        Raises
        ------
        InputError
            There are no such sets, or they have different methods, scopes or numbers of draws.
        ChecksumError, StoreError
            The file is damaged.
        """
        self.refuse_network_only("float_sets")
        return float_set_from_arrays(self.network, self.read("float_sets", first, last))

    def certificates(self, first: int = 0, last: int | None = None, *, guarantee: Guarantee | None = None) -> Certificates:
        """Read the certificates of rows ``first`` to ``last`` (not included).

        Parameters
        ----------
        first, last : int, optional
            All rows by default.
        guarantee : {"sound", "conditional", "nominal"}, optional
            Only rows with this guarantee. By default rows with different guarantees are refused.

        Returns
        -------
        Certificates

        Raises
        ------
        InputError
            There are no such rows, or they have different guarantees.
        ChecksumError, StoreError
            The file is damaged.

        See Also
        --------
        true_labels : the true classes of the same rows.
        """
        return certificates_from_arrays(self._certificate_rows(schema.CERTIFICATES.datasets[1:], first, last), guarantee)

    def true_labels(self, first: int = 0, last: int | None = None, *, guarantee: Guarantee | None = None) -> IntArray:
        """Read the true classes of certified images, -1 where they are not known: int64[B]; as for ``certificates``."""
        datasets = [dataset for dataset in schema.CERTIFICATES.datasets if dataset.field in ("true_labels", "guarantees")]
        arrays = self._certificate_rows(datasets, first, last)
        return arrays["true_labels"][rows_with_guarantee(arrays["guarantees"], guarantee)]

    def regions(self, number: int = -1) -> RegionRows:
        """Find the regions of an enumeration; their rows are read when they are asked for.

        Parameters
        ----------
        number : int, optional
            Of the enumeration; negative numbers count from the end.

        Returns
        -------
        RegionRows

        Raises
        ------
        InputError
            There is no such enumeration.
        ChecksumError, StoreError
            The file is damaged.
        """
        from .region_rows import RegionRows

        self.refuse_network_only("regions")
        return RegionRows(cast("RegionStore", self), number)

    def _certificate_rows(self, datasets, first, last):
        """Read some columns of certificates: dict of arrays by field."""
        self.refuse_network_only("certificates")
        first, last = self.checked_range("certificates", first, last)
        self.read("certificates", first, first)  # raises if the store has none
        return self.read_datasets(schema.CERTIFICATES, first, last, datasets)

    def _batch_ranges(self, name):
        """Yield the rows (first, last) of the batches of a kind."""
        for commit in self.commits[self.commits["kind"] == name.encode()]:
            if commit["first"][0] < commit["last"][0]:
                yield int(commit["first"][0]), int(commit["last"][0])
