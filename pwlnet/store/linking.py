"""Join stores without copying their rows: HDF5 virtual datasets, whose rows stay in the files that are joined.

Offsets count from the first row of a store, so they are written to the new file; all other datasets are virtual. HDF5 reads
missing files of virtual datasets as zeros, without an error: the names, sizes and headers of the files are therefore compared
when a linked store is opened (``access.ReadFile``).

Legend: as in ``schema.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

import h5py
import numpy as np

from .._types import PathLike
from ..errors import InputError, StoreError
from ..publishing import new_file
from ..scheduling import n_threads
from ..validation import as_path
from . import schema
from .access import LINKS, link_to, warn_unverified
from .chunks import ChunkAppender
from .container.layout import write_container
from .header import write_header, write_text
from .image import LIBVER, OF_FILE
from .network_file import write_network_group
from .reader import RegionStore
from .results import creation_options

_ROWS = 2**20  # offsets that are read at once
_REFUSED = ("enumerations", "regions", "enumeration_ends")


def link(paths: Iterable[PathLike], out: PathLike, *, overwrite: bool = False, threads: int | None = None) -> int:
    """Join stores of the same network and parameters, in this order, without copying them.

    Parameters
    ----------
    paths : list of str or path
        They must stay where they are, unchanged: the new file names them, relative to its own folder.
    out : str or path
        A new store, which is read as any other, also by h5py alone. Nothing can be appended to it.
    overwrite : bool, optional
        Replace an existing file.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    int
        Number of batches of the new store. It has the digest of a store that was written at once.

    Raises
    ------
    InputError
        No paths, or ``out`` is among them.
    DigestMismatchError
        A store has another network, other parameters, seeds or tolerances than the first.
    StoreError
        A store is damaged, not verified, linked itself, or has regions or an unfinished row; or ``out`` can't be written.

    See Also
    --------
    merge : copies the rows to one file, of all kinds of results.
    """
    files, out = [as_path(path) for path in paths], as_path(out)
    if not files:
        raise InputError("paths is empty; give the stores to link")
    if out.resolve() in {path.resolve() for path in files}:
        raise InputError(f"out is {out}, which is one of the stores to link; give another path")
    ends, commits, numbers = _joined_commits(files)
    with RegionStore(files[0]) as first, new_file(out, overwrite=overwrite) as temporary:
        with h5py.File(temporary, "w", **OF_FILE):
            pass
        with h5py.File(temporary, "r+", libver=LIBVER) as file:
            write_header(file, first.network_digest, first.provenance, first.compression)
            write_network_group(file["network"], first.network)
            _link_datasets(file, files, out, ends, n_threads(threads))
            file.create_dataset(
                schema.COMMITS, data=commits, maxshape=(None,), chunks=(schema.COMMITS_PER_CHUNK,), **schema.CREATION
            )
            links = file.create_group(LINKS)
            links.create_dataset("commits", data=numbers, chunks=(max(1, len(numbers)),), **schema.CREATION)
            write_text(links.attrs, "files", json.dumps([link_to(path, out.parent) for path in files]))
        with temporary.open("r+b") as content:
            write_container(content)
    return len(commits)


def _joined_commits(paths):
    """Return rows after each store, int64[n + 1, axes] by kind; the joined commits; and the first commit of each store."""
    ends = {name: np.zeros((1, schema.COMMIT_AXES), np.int64) for name in schema.KINDS}
    commits, numbers = [], [0]
    with RegionStore(paths[0]) as first:
        parameters, seeds, tolerances = first.provenance["parameters"], first.provenance["seeds"], first.tolerances
        network = first.network
    for path in paths:
        with RegionStore(path) as store:
            _check_source(store)
            store.check_made_with(network, parameters, seeds, tolerances)
            rows = store.commits.copy()
            for name, before in ends.items():
                of_kind = rows["kind"] == name.encode()
                rows["first"][of_kind] += before[-1]
                rows["last"][of_kind] += before[-1]
                ends[name] = np.concatenate([before, before[-1:] + schema.rows_at_end(store.commits)[name]])
            commits.append(rows)
            numbers.append(numbers[-1] + len(rows))
    return ends, np.concatenate(commits), np.array(numbers, np.int64)


def _check_source(store):
    """Refuse a store that can't be linked."""
    if not store.is_verified:
        warn_unverified(store.path, stacklevel=3)
        raise StoreError(f"{store.path} is not verified; run pwlnet repair first")
    if store.is_linked:
        raise StoreError(f"{store.path} is linked to other stores itself; give those")
    if not store.has_lines:
        raise StoreError(f"{store.path} holds a network only; leave it out")
    if any(store.n_rows(name) for name in _REFUSED):
        raise StoreError(f"{store.path} has regions, which can't be linked; use merge")
    if any(name for name, rows in schema.rows_at_end(store.commits).items() if rows[0] != store.n_rows(name)):
        raise StoreError(f"{store.path} has a row that is not finished; resume it first")


def _link_datasets(file, paths, out, ends, threads):
    """Create the datasets of all kinds that occur: virtual ones, and offsets."""
    with RegionStore(paths[0]) as first:
        names = [name for name in schema.KINDS if name == "lines" or ends[name][-1].any()]
        options = creation_options(first.compression)
        forms = {name: _row_forms(name, paths, ends) for name in names}
    for name in names:
        kind = schema.KINDS[name]
        for dataset in kind.stored:
            bounds = ends[name][:, kind.axes.index(dataset.axis)]
            dtype, row = np.dtype(dataset.dtype), forms[name][dataset.field]
            if dataset.lead:
                bases = ends[name][:, kind.axes.index(kind.counts[dataset.path])]
                _write_offsets(file, dataset, paths, bounds, bases, options, threads)
            elif bounds[-1] and 0 not in row:
                layout = h5py.VirtualLayout((int(bounds[-1]), *row), dtype)
                for path, low, high in zip(paths, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                    if low < high:
                        source = os.path.relpath(path.resolve(), out.resolve().parent)
                        layout[low:high] = h5py.VirtualSource(source, dataset.path, (high - low, *row), dtype)
                file.create_virtual_dataset(dataset.path, layout)
            else:
                chunks = (1, *(max(1, n) for n in row))
                maxshape = (None, *(n or None for n in row))
                file.create_dataset(dataset.path, (int(bounds[-1]), *row), dtype, chunks=chunks, maxshape=maxshape)


def _row_forms(name, paths, ends):
    """Return the shapes of the rows of a kind, by field, from the first store that has some; they are the same in all."""
    number = int(np.argmax(ends[name][1:, 0] > 0))
    with RegionStore(paths[number]) as store:
        return {dataset.field: store.open_dataset(dataset).shape[1:] for dataset in schema.KINDS[name].stored}


def _write_offsets(file, dataset, paths, bounds, bases, options, threads):
    """Write the offsets of all stores, counted from the first row of all."""
    rows = schema.chunk_rows(np.dtype(dataset.dtype).itemsize)
    stored = file.create_dataset(
        dataset.path, data=np.zeros(1, np.dtype(dataset.dtype)), maxshape=(None,), chunks=(rows,), **options
    )
    appender = ChunkAppender(stored)
    for path, low, high, base in zip(paths, bounds[:-1].tolist(), bounds[1:].tolist(), bases[:-1].tolist(), strict=True):
        if low == high:
            continue
        with RegionStore(path) as store:
            for first in range(1, high - low + 1, _ROWS):
                offsets = store.read_rows(dataset, first, min(first + _ROWS, high - low + 1))
                appender.append(offsets + base, threads)
