"""Join stores without copying their rows: HDF5 virtual datasets, whose rows stay in the files that are joined.

Offsets count from the first row of a store, so they are written to the new file; all other datasets are virtual. HDF5 reads
missing files of virtual datasets as zeros, without an error: the names, sizes and headers of the files are therefore compared
before their rows are read (``access.ReadFile``).

Legend: as in ``schema.py``.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from .._types import PathLike
from ..errors import InputError, StoreError
from ..publishing import new_file
from ..scheduling import n_threads
from ..validation import as_path
from . import schema
from .access import LINKS, link_to
from .chunks import ChunkAppender
from .container.layout import write_container
from .header import write_header, write_text
from .image import LIBVER, OF_FILE
from .network_file import write_network_group
from .reader import RegionStore
from .results import creation_options

_ROWS = 2**20  # offsets that are read at once
_COPIED = ("enumerations", "regions", "enumeration_ends")


def link(paths: Sequence[PathLike], out: PathLike, *, overwrite: bool = False, threads: int | None = None) -> int:
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
    sources, target = [as_path(path) for path in paths], as_path(out)
    if not sources:
        raise InputError("paths is empty; give the stores to link")
    if target.resolve() in {path.resolve() for path in sources}:
        raise InputError(f"out is {out}, which is one of the stores to link; give another path")
    with linking(target, overwrite=overwrite, threads=threads) as linker:
        for path in sources:
            linker.add(path)
    return linker.n_batches


@contextlib.contextmanager
def linking(out: PathLike, *, overwrite: bool = False, threads: int | None = None) -> Iterator["Linker"]:
    """Provide a Linker, to which stores are added one by one; the new store is published when the block is left.

    Parameters
    ----------
    out, overwrite, threads
        As for ``link``.

    Yields
    ------
    Linker
    """
    out = as_path(out)
    with new_file(out, overwrite=overwrite) as temporary:
        with h5py.File(temporary, "w", **OF_FILE):
            pass
        with h5py.File(temporary, "r+", libver=LIBVER) as file:
            linker = Linker(file, out.parent, n_threads(threads))
            yield linker
            linker.finish()
        with temporary.open("r+b") as content:
            write_container(content)


class Linker:
    """A linked store that is being made.

    Attributes
    ----------
    n_batches : int
    """

    def __init__(self, file, folder, threads):
        self._file, self._folder, self._threads = file, folder, threads
        self._made_with: tuple | None = None
        self._options: dict | None = None
        self.n_batches = 0
        self._ends = {name: np.zeros(schema.COMMIT_AXES, np.int64) for name in schema.KINDS}
        self._sources = {name: [] for name in schema.KINDS}  # (path, first rows, last rows) of the stores that have the kind
        self._rows, self._appenders = {}, {}  # shapes of rows, and offsets, by the path of the dataset
        self._commits, self._firsts, self._links = [], [0], []

    def add(self, path: PathLike) -> None:
        """Add a store; errors as for ``link``."""
        with RegionStore(path) as store:
            self._check(store)
            commits, ends = store.commits.copy(), schema.rows_at_end(store.commits)
            for name, kind in schema.KINDS.items():
                before = self._ends[name]
                of_kind = commits["kind"] == name.encode()
                commits["first"][of_kind] += before
                commits["last"][of_kind] += before
                if ends[name].any() or (name == "lines" and kind.datasets[0].path not in self._rows):
                    self._add_kind(store, name, kind, ends[name])
                self._ends[name] = before + ends[name]
        self._commits.append(commits)
        self._links.append(link_to(store.path, self._folder))
        self.n_batches += len(commits)
        self._firsts.append(self.n_batches)

    def _check(self, store):
        """Refuse a store that can't be linked; begin the file with the first one."""
        if not store.is_verified:
            raise StoreError(f"{store.path} was changed or copied by another program; run pwlnet repair first")
        if store.is_linked:
            raise StoreError(f"{store.path} is linked to other stores itself; give those")
        if not store.has_lines:
            raise StoreError(f"{store.path} holds a network only; leave it out")
        if any(store.n_rows(name) for name in _COPIED):
            raise StoreError(f"{store.path} has regions, which can't be linked; use merge")
        if any((rows != store.ends_of(name)).any() for name, rows in schema.rows_at_end(store.commits).items()):
            raise StoreError(f"{store.path} has a row that is not finished; resume it first")
        if self._made_with is None:
            provenance = store.provenance
            self._made_with = (store.network, provenance["parameters"], provenance["seeds"], store.tolerances)
            self._options = creation_options(store.compression)
            write_header(self._file, store.network_digest, provenance, store.compression)
            write_network_group(self._file["network"], store.network)
        store.check_made_with(*self._made_with)

    def _add_kind(self, store, name, kind, ends):
        """Note the rows of a kind, and write the offsets among them."""
        source = os.path.relpath(store.path.resolve(), self._folder.resolve())
        self._sources[name].append((source, self._ends[name], self._ends[name] + ends))
        for dataset in kind.stored:
            self._rows.setdefault(dataset.path, store.open_dataset(dataset).shape[1:])
            if dataset.lead:
                self._add_offsets(store, dataset, int(ends[kind.axes.index(dataset.axis)]),
                                  int(self._ends[name][kind.axes.index(kind.counts[dataset.path])]))  # fmt: skip

    def _add_offsets(self, store, dataset, n, base):
        """Append the offsets of a store, counted from the first row of all."""
        if dataset.path not in self._appenders:
            chunks = (schema.chunk_rows(np.dtype(dataset.dtype).itemsize),)
            how = {"maxshape": (None,), "chunks": chunks, **self._options}
            stored = self._file.create_dataset(dataset.path, data=np.zeros(1, np.dtype(dataset.dtype)), **how)
            self._appenders[dataset.path] = ChunkAppender(stored)
        for first in range(1, n + 1, _ROWS):
            offsets = store.read_rows(dataset, first, min(first + _ROWS, n + 1))
            self._appenders[dataset.path].append(offsets + base, self._threads)

    def finish(self) -> None:
        """Write what is known when all stores have been added: virtual datasets and the table of batches."""
        if not self._links:
            raise InputError("no store was added; give at least one")
        for name, kind in schema.KINDS.items():
            for dataset in kind.stored if self._sources[name] else ():
                if not dataset.lead:
                    self._create(name, kind.axes.index(dataset.axis), dataset)
        options = {"maxshape": (None,), **schema.CREATION}
        commits, firsts = np.concatenate(self._commits), np.array(self._firsts, np.int64)
        self._file.create_dataset(schema.COMMITS, data=commits, chunks=(schema.COMMITS_PER_CHUNK,), **options)
        links = self._file.create_group(LINKS)
        links.create_dataset("commits", data=firsts, chunks=(schema.COMMITS_PER_CHUNK,), **options)
        write_text(links.attrs, "files", json.dumps(self._links))

    def _create(self, name, axis, dataset):
        """Create a dataset with the rows of all stores."""
        n, row, dtype = int(self._ends[name][axis]), self._rows[dataset.path], np.dtype(dataset.dtype)
        if not n or 0 in row:
            options = {"maxshape": (None, *(size or None for size in row)), "chunks": (1, *(max(1, size) for size in row))}
            self._file.create_dataset(dataset.path, (n, *row), dtype, **options)
            return
        layout = h5py.VirtualLayout((n, *row), dtype)
        for source, first, last in self._sources[name]:
            low, high = int(first[axis]), int(last[axis])
            if low < high:
                layout[low:high] = h5py.VirtualSource(source, dataset.path, (high - low, *row), dtype)
        self._file.create_virtual_dataset(dataset.path, layout)
