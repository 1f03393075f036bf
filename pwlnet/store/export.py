"""Results for other programs: pandas, Arrow, Parquet, CSV, xarray, netCDF. The libraries are the extra ``export``.

Tables (of ``to_dataframe`` and the like), whose columns are the fields of docs/store_format.md, in the same units:

segments   line, segment (its number on the line), t_start, t_end, n_flips (neurons that flip at t_start)
flips      line, breakpoint (its number on the line, which is that of the segment behind it), t, neuron, state
lines      line, n_segments, and the arrays of a number per line; ``wide`` adds the others, such as starts_0, starts_1, ...
others     a row per row of the kind's first axis: attributions, certificates, ...
"""

import contextlib
import itertools
import json
import os
import secrets
from pathlib import Path

import numpy as np

from .._optional import require
from ..errors import InputError, StoreError
from . import schema
from .access import reason, replace_durably
from .tables import ROWS, iter_columns

_EXTRA = "export"
_SUFFIXES = (".parquet", ".arrow", ".csv", ".nc")
_AXES = {
    "L": "line", "T": "breakpoint", "F": "flip", "B": "attribution", "P": "plane", "Q": "polygon", "V": "vertex",
    "R": "region", "H": "facet", "X": "pattern", "Z": "float_set", "C": "certificate", "M": "measure", "D": "input",
    "O": "output", "K": "neuron", "S": "op", "W": "word", "2": "xy", "3": "xy1",
}  # fmt: skip


class Exports:
    """The part of RegionStore that hands results to other libraries."""

    def iter_dataframes(self, table="segments", first=0, last=None, *, rows=ROWS, **options):
        """Read a table as DataFrames of at most ``rows`` rows, for what does not fit into memory.

        Parameters
        ----------
        table, first, last, **options
            As for ``to_dataframe``.
        rows : int, optional

        Returns
        -------
        iterator of pandas.DataFrame
            At least one, if an empty one; rows are numbered on. Errors as for ``to_dataframe``.
        """
        pandas = require("pandas", _EXTRA, "reading a store as DataFrames")
        return self._frames(pandas, iter_columns(self, table, first, last, rows=rows, **options))

    def to_dataframe(self, table="segments", first=0, last=None, *, chosen=None, patterns=False, wide=False):
        """Read a table as a DataFrame.

        Parameters
        ----------
        table : str, optional
            "segments", "flips", or a kind of result: "lines", "attributions", ...
        first, last : int, optional
            Lines ``first`` to ``last`` (not included), or rows of another kind; all by default.
        chosen : int64[n, 2], optional
            Segments as (line, segment) instead of a range; they come sorted, each once.
        patterns : bool, optional
            Add the activation pattern of each segment, rebuilt from the flips: columns pattern_0, pattern_1, ... with the
            words of ``ActivationPatterns.packed``.
        wide : bool, optional
            Add arrays of more than a number per row, with a column per entry.

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
        chunks = list(iter_columns(self, table, first, last, chosen=chosen, patterns=patterns, wide=wide))
        columns = {name: np.concatenate([chunk.pop(name) for chunk in chunks]) for name in list(chunks[0])}
        return next(self._frames(pandas, [columns]))

    def to_arrow(self, table="segments", first=0, last=None, *, rows=ROWS, **options):
        """Read a table as Arrow's record batches, one after the other.

        Parameters
        ----------
        table, first, last, rows, **options
            As for ``iter_dataframes``.

        Returns
        -------
        pyarrow.RecordBatchReader
            A stream; ``read_all`` makes a pyarrow.Table of it. The schema's metadata have what ``export`` writes.
        """
        arrow = require("pyarrow", _EXTRA, "reading a store as Arrow tables")
        chunks = iter_columns(self, table, first, last, rows=rows, **options)
        waiting = [next(chunks)]
        metadata = {f"pwlnet-{name}": text for name, text in self._described(table).items()}
        types = [(name, arrow.from_numpy_dtype(column.dtype)) for name, column in waiting[0].items()]
        form = arrow.schema([arrow.field(name, kind, nullable=False) for name, kind in types], metadata)

        def batches():
            while waiting:
                columns = [arrow.array(np.ascontiguousarray(column)) for column in waiting.pop().values()]
                yield arrow.record_batch(columns, form)
                waiting.extend(itertools.islice(chunks, 1))

        return arrow.RecordBatchReader.from_batches(form, batches())

    def to_xarray(self, kind="lines", first=0, last=None):
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
            A variable for each field in docs/store_format.md; offsets, from 0, have a dimension of their own. The attributes
            are what ``export`` writes. All rows are in memory.

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
        meant = {dataset.field: dataset for dataset in schema.KINDS[kind].stored}
        variables = {name: (_dimensions(meant[name]), a, {"long_name": meant[name].meaning}) for name, a in arrays.items()}
        own = _AXES[schema.KINDS[kind].axes[0]]
        labels = {own: np.arange(first, first + len(next(iter(arrays.values()))))}
        return xarray.Dataset(variables, labels, self._described(kind))

    def export(self, path, table="segments", first=0, last=None, *, rows=2**20, overwrite=False, **options):
        """Write a table to a file for other programs; it is there in full or not at all.

        Parameters
        ----------
        path : str or path
            Its suffix says which form: .parquet (a row group per ``rows`` rows, Zstandard), .arrow (IPC, a record batch per
            ``rows``), .csv (numbers with all their digits), .nc (netCDF-4: a kind of result as in ``to_xarray``).
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
            There is no such table, row, segment or form.
        StoreError
            The file exists or can't be written; or as for ``read``.

        Notes
        -----
        Parquet and Arrow files have ``pwlnet-network-digest``, ``pwlnet-provenance`` (JSON) and ``pwlnet-table`` in their
        schema's metadata, netCDF files in their attributes, without the prefix. CSV files have numbers only.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in _SUFFIXES:
            raise InputError(f"path is {path}, whose suffix names no form of export; give one of {', '.join(_SUFFIXES)}")
        if suffix == ".nc":
            return self._export_netcdf(path, table, first, last, overwrite, options)
        stream = self.to_arrow(table, first, last, rows=rows, **options)
        write = {".parquet": _write_parquet, ".arrow": _write_arrow, ".csv": _write_csv}[suffix]
        with _new_file(path, overwrite) as temporary:
            return write(temporary, stream)

    def _export_netcdf(self, path, kind, first, last, overwrite, options):
        if kind not in schema.KINDS or any(value is not None and value is not False for value in options.values()):
            raise InputError(
                f"table is {kind!r} with the options {sorted(options)}, but .nc holds a kind of result as it is; "
                f"give one of {', '.join(schema.KINDS)}, and no options"
            )
        require("h5netcdf", _EXTRA, "writing a netCDF file")
        dataset = self.to_xarray(kind, first, last)
        with _new_file(path, overwrite) as temporary:
            dataset.to_netcdf(temporary, engine="h5netcdf")
        return dataset.sizes[_AXES[schema.KINDS[kind].axes[0]]]

    def _frames(self, pandas, chunks):
        """DataFrames of columns."""
        done = 0
        for columns in chunks:
            length = len(next(iter(columns.values())))
            frame = pandas.DataFrame(columns, index=pandas.RangeIndex(done, done + length))
            frame.attrs.update({"network-digest": self.network_digest, "provenance": self.provenance})
            done += length
            yield frame

    def _described(self, table):
        """What goes with a table: dict of texts."""
        return {
            "network-digest": self.network_digest,
            "provenance": json.dumps(self.provenance, ensure_ascii=False),
            "format-version": ".".join(map(str, schema.VERSION)),
            "created": self.created,
            "table": table,
        }


def _dimensions(dataset):
    """Names of the dimensions of a variable; those that the format leaves free are the field's own."""
    names = []
    for number, dim in enumerate(dataset.dims):
        if dim == "*":
            names.append(f"{dataset.field}_{number}")
        else:
            names.append(_AXES[dim] if not dim.endswith("+1") else f"{_AXES[dim.removesuffix('+1')]}_edge")
    return tuple(names)


def _write_parquet(path, stream):
    parquet = require("pyarrow.parquet", _EXTRA, "writing a Parquet file")
    repeated = [column.name for column in stream.schema if column.type != "double"]  # floats seldom do: twice as quick
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
    """Write all batches and close the writer; returns the number of rows."""
    n_rows = 0
    with writer:
        for batch in stream:
            writer.write_batch(batch)
            n_rows += len(batch)
    return n_rows


@contextlib.contextmanager
def _new_file(path, overwrite):
    """A temporary path beside a file's place, which moves there when all went well: str."""
    exists = StoreError(f"{path} exists; give another path, or remove it first")
    if path.exists() and not overwrite:
        raise exists
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield str(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if path.exists() and not overwrite:
            raise exists
        replace_durably(temporary, path)
    except StoreError:
        raise
    except OSError as error:
        advice = "make the folder first" if not path.parent.exists() else "free space or choose another folder"
        raise StoreError(f"{path} can't be written ({reason(error)}); nothing was left there, {advice}") from error
    finally:
        temporary.unlink(missing_ok=True)
