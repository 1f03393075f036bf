"""Export results to pandas, Arrow, Parquet, CSV, GeoJSON, xarray and netCDF; the libraries are in the extra ``export``.

Tables (of ``to_dataframe`` and the like), whose columns are the fields of docs/store_format.md, in the same units:

segments   line, segment (its number on the line), t_start, t_end, n_flips (neurons that flip at t_start)
flips      line, breakpoint (its number on the line, which is that of the segment after it), t, neuron, state
lines      line, n_segments, and the arrays of a number per line; ``wide`` adds the others, such as starts_0, starts_1, ...
planes     plane, n_outline_corners, n_polygons, n_vertices, and the arrays of a number per plane; ``wide`` as for lines
polygons   plane, polygon (its number in the plane), area, n_corners, corners (a list of their coordinates u, v, u, v, ...)
corners    plane, polygon, corner (its number in the polygon), vertex (its number in the plane), u, v
vertices   plane, vertex, u, v; ``wide`` adds outputs_0, ..., error_0, ...
float_layers   set, layer, neurons, lower, upper, always_on, always_off (numbers of neurons), lower_share, upper_share
float_neurons  set, neuron, layer, lower, upper, always_on (0 or 1), and active_share and minority_share if they are stored
float_sets     set, and the arrays of a number per set; ``wide`` as for lines
certificates   row, and the arrays of a number per image; ``wide`` adds the inputs
enumerations   enumeration, n_half_spaces, and the arrays of a number per enumeration; ``wide`` adds the bounds
regions    enumeration, region (its number in it), n_facets, n_vertices, volume and class if they are stored; ``wide`` adds
           witness_0, ..., slope_0, ... (outputs by free inputs), constant_0, ...
facets     enumeration, region, facet (its number in the region), neuron, state, h and G_0, ... if half-spaces are stored
region_vertices  enumeration, region, vertex (its number in the region), facets (a word of bits), x_0, ... (of the free inputs)
others     a row per row of the kind's first axis: attributions, measures
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._optional import require
from ..._types import PathLike
from ...errors import InputError
from ...publishing import new_file
from .. import schema
from .geojson import write_geojson
from .plane_tables import Lists
from .tables import ROWS, default_table, iter_columns

if TYPE_CHECKING:
    import pandas
    import pyarrow
    import xarray

_EXTRA = "export"
_SUFFIXES = (".parquet", ".arrow", ".csv", ".geojson", ".nc")
_AXES = {
    "L": "line", "T": "breakpoint", "F": "flip", "B": "attribution", "M": "measure", "D": "input", "S": "op", "P": "plane",
    "G": "outline_corner", "R": "polygon", "C": "corner", "V": "vertex", "O": "output", "W": "word", "2": "coordinate",
    "E": "set", "U": "mask_word", "I": "image", "A": "enumeration", "H": "half_space", "Q": "region", "J": "facet",
    "Z": "region_vertex",
}  # fmt: skip


class ExportMixin:
    """Methods of RegionStore that convert results for other libraries."""

    read: Any  # of the RegionStore

    def default_table(self, *, whole: bool = False) -> str:
        """Return the table that is read by default: "segments", or of a store without lines "polygons", "regions", ...

        Parameters
        ----------
        whole : bool, optional
            A kind of results, as netCDF files hold: "planes" or "lines".
        """
        return default_table(self, whole=whole)

    def iter_dataframes(
        self, table: str | None = None, first: int = 0, last: int | None = None, *, rows: int = ROWS, **options: Any
    ) -> Iterator[pandas.DataFrame]:
        """Read a table as DataFrames of at most ``rows`` rows, a bounded number of them in memory.

        Parameters
        ----------
        table, first, last, **options
            As for ``to_dataframe``.
        rows : int, optional

        Returns
        -------
        iterator of pandas.DataFrame
            At least one, which may be empty; row numbers continue. Errors as for ``to_dataframe``.
        """
        pandas = require("pandas", _EXTRA, "reading a store as DataFrames")
        return self._frames(pandas, iter_columns(self, table, first, last, rows=rows, **options))

    def to_dataframe(
        self, table: str | None = None, first: int = 0, last: int | None = None, **options: Any
    ) -> pandas.DataFrame:
        """Read a table as a DataFrame.

        Parameters
        ----------
        table : str, optional
            "segments", "flips", "polygons", "corners", "vertices", "float_layers", "float_neurons", or a kind of result:
            "lines", "planes", "attributions", "measures", "float_sets", "certificates", "enumerations", "regions"; or
            "facets" or "region_vertices" of regions. ``default_table`` by default.
        first, last : int, optional
            Lines, planes or regions ``first`` to ``last`` (not included), or rows of another kind; all by default.
        **options
            chosen : int64[n, 2], optional
                Segments as (line, segment) instead of a range; they are returned sorted and without duplicates.
            patterns : bool, optional
                Add the activation pattern of each segment, rebuilt from the flips, of each polygon, or of each region: columns
                pattern_0, pattern_1, ... with the words of ``ActivationPatterns.packed``.
            classes : bool, optional
                Add to each polygon the largest output at the mean of its corners: column class.
            corners : bool, optional
                False: omit the coordinates of polygons.
            wide : bool, optional
                Add arrays with several numbers per row, a column per entry.

        Returns
        -------
        pandas.DataFrame
            ``attrs`` has the network's digest and the provenance.

        Raises
        ------
        ImportError
            pandas is not installed.
        InputError
            There is no such table, row or segment.
        ChecksumError, StoreError
            The file is damaged, or has no such results.
        """
        pandas = require("pandas", _EXTRA, "reading a store as a DataFrame")
        chunks = list(iter_columns(self, table, first, last, **options))
        columns = {name: np.concatenate([_as_array(chunk.pop(name)) for chunk in chunks]) for name in list(chunks[0])}
        return next(self._frames(pandas, [columns]))

    def to_arrow(
        self, table: str | None = None, first: int = 0, last: int | None = None, *, rows: int = ROWS, **options: Any
    ) -> pyarrow.RecordBatchReader:
        """Read a table as a stream of Arrow record batches.

        Parameters
        ----------
        table, first, last, rows, **options
            As for ``iter_dataframes``.

        Returns
        -------
        pyarrow.RecordBatchReader
            ``read_all`` converts it to a pyarrow.Table. The schema has the metadata that ``export`` writes.
        """
        arrow = require("pyarrow", _EXTRA, "reading a store as Arrow tables")
        table = self.default_table() if table is None else table
        chunks = iter_columns(self, table, first, last, rows=rows, **options)
        pending = [next(chunks)]
        metadata = {f"pwlnet-{name}": text for name, text in self._described(table).items()}
        types = [(name, _arrow_type(arrow, column)) for name, column in pending[0].items()]
        table_schema = arrow.schema([arrow.field(name, kind, nullable=False) for name, kind in types], metadata)

        def batches():
            while pending:
                columns = [_arrow_column(arrow, column) for column in pending.pop().values()]
                yield arrow.record_batch(columns, table_schema)
                pending.extend(itertools.islice(chunks, 1))

        return arrow.RecordBatchReader.from_batches(table_schema, batches())

    def to_xarray(self, kind: str = "lines", first: int = 0, last: int | None = None) -> xarray.Dataset:
        """Read rows of a kind of result as labelled arrays.

        Parameters
        ----------
        kind : str, optional
            A key of ``schema.KINDS``.
        first, last : int, optional
            All rows by default.

        Returns
        -------
        xarray.Dataset
            A variable for each field in docs/store_format.md; offsets, from 0, have a separate dimension. It has
            the attributes that ``export`` writes. All rows are in memory.

        Raises
        ------
        ImportError
            xarray is not installed.
        InputError, ChecksumError, StoreError
            As for ``read``.
        """
        xarray = require("xarray", _EXTRA, "reading a store as an xarray Dataset")
        arrays = self.read(kind, first, last)
        if kind in schema.KINDS and schema.KINDS[kind].derived:
            arrays |= self.read(kind, first, last, derived=True)
        datasets = {dataset.field: dataset for dataset in schema.KINDS[kind].stored}
        variables = {
            name: (_dimensions(datasets[name]), a, {"long_name": datasets[name].meaning}) for name, a in arrays.items()
        }
        axis = _AXES[schema.KINDS[kind].axes[0]]
        labels = {axis: np.arange(first, first + len(next(iter(arrays.values()))))}
        return xarray.Dataset(variables, labels, self._described(kind))

    def export(
        self,
        path: PathLike,
        table: str | None = None,
        first: int = 0,
        last: int | None = None,
        *,
        rows: int = 2**20,
        overwrite: bool = False,
        **options: Any,
    ) -> int:
        """Write a table to a file for other programs, atomically.

        Parameters
        ----------
        path : str or path
            Its suffix selects the format: .parquet (a row group per ``rows`` rows, Zstandard), .arrow (IPC, a record batch per
            ``rows``), .csv (numbers with all their digits), .geojson (polygons as a FeatureCollection), .nc (netCDF-4: a kind
            of result as in ``to_xarray``).
        table, first, last, rows, **options
            As for ``iter_dataframes``. ``rows`` rows are in memory at a time; of .nc, all are.
        overwrite : bool, optional
            Replace an existing file.

        Returns
        -------
        int
            Rows of the table.

        Raises
        ------
        ImportError
            A library is not installed.
        InputError
            There is no such table, row, segment or format.
        StoreError
            The file exists or can't be written; or as for ``read``.

        Notes
        -----
        Parquet and Arrow files have ``pwlnet-network-digest``, ``pwlnet-provenance`` (JSON) and ``pwlnet-table`` in their
        schema's metadata, GeoJSON files in the member ``pwlnet``, netCDF files in their attributes, both without the prefix.
        CSV files hold numbers only: no metadata, and of polygons no corners (these are the table "corners").
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in _SUFFIXES:
            raise InputError(f"path is {path}, whose suffix is not a format of export; give one of {', '.join(_SUFFIXES)}")
        table = self.default_table(whole=suffix == ".nc") if table is None else table
        if suffix == ".nc":
            return self._export_netcdf(path, table, first, last, overwrite, options)
        if suffix == ".geojson":
            return self._export_geojson(path, table, first, last, overwrite, {"rows": min(rows, ROWS), **options})
        if suffix == ".csv" and table == "polygons":
            options = {**options, "corners": False}
        stream = self.to_arrow(table, first, last, rows=rows, **options)
        write = {".parquet": _write_parquet, ".arrow": _write_arrow, ".csv": _write_csv}[suffix]
        with new_file(path, overwrite=overwrite) as temporary:
            return write(str(temporary), stream)

    def _export_netcdf(self, path, kind, first, last, overwrite, options):
        if kind not in schema.KINDS or any(value is not None and value is not False for value in options.values()):
            raise InputError(
                f"table is {kind!r} with the options {sorted(options)}, but .nc holds whole kinds of results; "
                f"give one of {', '.join(schema.KINDS)}, and no options"
            )
        require("h5netcdf", _EXTRA, "writing a netCDF file")
        dataset = self.to_xarray(kind, first, last)
        with new_file(path, overwrite=overwrite) as temporary:
            dataset.to_netcdf(str(temporary), engine="h5netcdf")
        return dataset.sizes[_AXES[schema.KINDS[kind].axes[0]]]

    def _export_geojson(self, path, table, first, last, overwrite, options):
        if table != "polygons" or options.get("corners") is False:
            raise InputError(f"table is {table!r}, but .geojson holds polygons with their corners; give table='polygons'")
        chunks = iter_columns(self, table, first, last, **options)
        with new_file(path, overwrite=overwrite) as temporary:
            return write_geojson(temporary, chunks, self._described(table))

    def _frames(self, pandas, chunks):
        """Convert columns to DataFrames."""
        done = 0
        for chunk in chunks:
            columns = {name: _as_array(column) for name, column in chunk.items()}
            length = len(next(iter(columns.values())))
            frame = pandas.DataFrame(columns, index=pandas.RangeIndex(done, done + length))
            frame.attrs.update({"network-digest": self.network_digest, "provenance": self.provenance})
            done += length
            yield frame

    def _described(self, table):
        """Return the metadata of a table: dict of str."""
        return {
            "network-digest": self.network_digest,
            "provenance": json.dumps(self.provenance, ensure_ascii=False),
            "format-version": ".".join(map(str, schema.VERSION)),
            "created": self.created,
            "table": table,
        }


def _as_array(column):
    """Return a column as an array; of Lists, an array of arrays."""
    return column.rows() if isinstance(column, Lists) else column


def _arrow_type(arrow, column):
    return arrow.list_(arrow.float64()) if isinstance(column, Lists) else arrow.from_numpy_dtype(column.dtype)


def _arrow_column(arrow, column):
    if isinstance(column, Lists):
        return arrow.ListArray.from_arrays(arrow.array(column.offsets.astype(np.int32)), arrow.array(column.numbers))
    return arrow.array(np.ascontiguousarray(column))


def _dimensions(dataset):
    """Return the names of the dimensions of a variable; those of any length are named after the field."""
    names = []
    for number, dim in enumerate(dataset.dims):
        if dim == "*":
            names.append(f"{dataset.field}_{number}")
        else:
            names.append(_AXES[dim] if not dim.endswith("+1") else f"{_AXES[dim.removesuffix('+1')]}_edge")
    return tuple(names)


def _write_parquet(path, stream):
    parquet = require("pyarrow.parquet", _EXTRA, "writing a Parquet file")
    floats = ("double", "list<item: double>", "list<element: double>")  # seldom repeated: twice as fast
    repeated = [column.name for column in stream.schema if str(column.type) not in floats]
    n_rows = 0
    with parquet.ParquetWriter(path, stream.schema, compression="zstd", use_dictionary=repeated) as writer:
        for batch in stream:
            writer.write_batch(batch, row_group_size=max(1, len(batch)))
            n_rows += len(batch)
    return n_rows


def _write_arrow(path, stream):
    return _write_batches(require("pyarrow.ipc", _EXTRA, "writing an Arrow file").new_file(path, stream.schema), stream)


def _write_csv(path, stream):
    return _write_batches(require("pyarrow.csv", _EXTRA, "writing a CSV file").CSVWriter(path, stream.schema), stream)


def _write_batches(writer, stream):
    """Write all batches and close the writer: number of rows."""
    n_rows = 0
    with writer:
        for batch in stream:
            writer.write_batch(batch)
            n_rows += len(batch)
    return n_rows
