"""Enumerations of regions: methods of StoreWriter; ``region_appending`` has the functions that users call.

Legend: as in ``schema.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import AnyArray
from ..errors import InputError
from . import schema
from .region_consistency import sides_problem
from .regions import RegionCounts, block_to_arrays, counts_to_arrays, free_widths, header_from_arrays, header_to_arrays

if TYPE_CHECKING:
    from ..partition.regions.blocks import RegionBlock, RegionHeader

_KINDS = ("enumerations", "regions", "enumeration_ends")


class RegionWriterMixin:
    """The enumerations of regions of a StoreWriter."""

    path: Path  # this and the others: of the StoreWriter
    n_rows: Callable[[str], int]
    _file: Any
    _sizes: dict[str, int]
    _append: Any
    _check_open: Any
    _read_resume_state: Any

    _header_of_row: tuple[Any, Any] = (None, None)  # the header that was read last, and its enumeration

    @property
    def n_enumerations(self) -> int:
        """Number of enumerations of regions in the store, one that is not finished included."""
        return self.n_rows("enumerations")

    @property
    def n_regions(self) -> int:
        """Number of regions in the store, of all enumerations."""
        return self.n_rows("regions")

    @property
    def region_sizes(self) -> dict[str, int]:
        """Sizes of the axes that the network determines, by their letter: dict."""
        return self._sizes

    @property
    def unfinished_header(self) -> RegionHeader | None:
        """What the enumeration that is not finished was requested with: RegionHeader; None if there is none."""
        if self.n_rows("enumerations") == self.n_rows("enumeration_ends"):
            return None
        row, arrays = self.n_rows("enumerations") - 1, {}
        if self._header_of_row[0] == row:
            return self._header_of_row[1]
        first, last = (int(n) for n in self._file["/polytopes/offsets"][row : row + 2])
        for dataset in schema.ENUMERATIONS.datasets:
            if not dataset.lead:
                stored = self._file[dataset.path]
                arrays[dataset.field] = stored[first:last] if dataset.axis == "H" else stored[row : row + 1]
        self._header_of_row = row, header_from_arrays(arrays)
        return self._header_of_row[1]

    @property
    def unfinished_regions(self) -> int | None:
        """Number of stored regions of an enumeration that is not finished; None if there is no such enumeration."""
        if self.n_rows("enumerations") == self.n_rows("enumeration_ends"):
            return None
        return self.n_regions - self._first_region()

    @property
    def region_resume_state(self) -> dict[str, Any] | None:
        """What was stored with the last block of an enumeration that is not finished: dict or None."""
        return self._read_resume_state("regions")

    def begin_regions(self, header: RegionHeader) -> None:
        """Begin an enumeration of regions; ``pwlnet.store.append_regions`` does it, too.

        Parameters
        ----------
        header : RegionHeader

        Raises
        ------
        InputError
            The enumeration before is not finished, or the bounds do not fit the network.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        self._append("enumerations", header_to_arrays(header), "give bounds of the inputs of this network")

    def append_region_block(self, block: RegionBlock, *, resume_state: dict[str, Any] | None = None) -> None:
        """Append a block of the enumeration that is not finished.

        Parameters
        ----------
        block : RegionBlock
        resume_state : dict, optional
            What is needed to continue after this block, of JSON values; kept until the next one.

        Raises
        ------
        InputError, ShapeError
            There is no such enumeration, or the block has other columns.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        header = self.unfinished_header
        if header is None:
            raise InputError(f"{self.path} has no enumeration that is not finished; begin one before its regions")
        arrays = block_to_arrays(block, header, self._sizes)
        self._append("regions", arrays, "give the blocks of enumerate_regions unchanged", resume_state)

    def end_regions(self, counts: RegionCounts) -> None:
        """Finish the enumeration; ``pwlnet.store.finish_regions`` does it, too.

        Parameters
        ----------
        counts : RegionCounts

        Raises
        ------
        InputError
            There is no enumeration to finish, or the numbers do not agree.
        StoreError
            As for ``append_lines``.
        """
        self._check_open()
        self._append("enumeration_ends", counts_to_arrays(counts), "give the numbers of Regions")

    def read_unfinished_regions(self, field: str, first: int, last: int) -> AnyArray:
        """Read rows ``first`` to ``last`` (not included) of the enumeration that is not finished; offsets are not shifted.

        Parameters
        ----------
        field : str
            Of one of ``schema.REGIONS.datasets``; of offsets, row ``last`` is read, too. Rows of facets and vertices are
            counted from those of the store, as the offsets are, rows of regions from the first one of the enumeration.
        first, last : int

        Returns
        -------
        ndarray
        """
        dataset = next(dataset for dataset in schema.REGIONS.datasets if dataset.field == field)
        before = self._first_region() if dataset.axis == "Q" else 0
        return self._file[dataset.path][before + first : before + last + dataset.lead]

    def _first_region(self):
        """Return the row of the first region of the enumeration that is not finished."""
        return int(self._file["/enumeration_ends/n_rows"][()].sum()) if self.n_rows("enumeration_ends") else 0

    def _refuse_misplaced(self, name, arrays):
        """Refuse rows of the kinds of regions that do not follow those before."""
        if name not in _KINDS:
            return
        n, header = len(arrays[schema.KINDS[name].datasets[0].field]), self.unfinished_header
        if name != "regions" and n != 1:
            raise InputError(f"{name} were given with {n} rows; append one at a time")
        if name == "enumerations" and header is not None:
            raise InputError(f"enumeration {self.n_enumerations - 1} of {self.path} is not finished; finish it first")
        if name != "enumerations" and header is None:
            raise InputError(f"{self.path} has no enumeration that is not finished; begin one before its {name}")
        problem = None
        if name == "enumerations":
            problem = self._columns_problem(free_widths(header_from_arrays(arrays), self._sizes))
        elif name == "regions":
            widths = {field: array.shape[1:] for field, array in arrays.items()}
            problem = self._columns_problem(widths) or sides_problem(arrays, header)
        elif name == "enumeration_ends" and int(arrays["n_rows"][0]) != self.unfinished_regions:
            problem = f"n_rows is {arrays['n_rows'][0]}, but {self.unfinished_regions} regions were appended"
        elif name == "enumeration_ends" and header.fields and not np.array_equal(arrays["n_rows"], arrays["n_regions"]):
            problem = f"n_regions is {arrays['n_regions'][0]}, but {arrays['n_rows'][0]} regions were appended"
        if problem:
            raise InputError(f"{name} can't be appended: {problem}; give those of one enumeration in order")

    def _columns_problem(self, widths):
        """Describe which column has other numbers per region, by field, than those of the store, or return None."""
        for dataset in schema.REGIONS.datasets:
            if "*" in dataset.dims and dataset.path in self._file:
                stored = self._file[dataset.path].shape[1:]
                if stored != widths[dataset.field]:
                    return (
                        f"{dataset.field} has {widths[dataset.field]} numbers per row, but those of {self.path} have {stored}, "
                        "and all enumerations of a store have the same columns"
                    )
        return None
