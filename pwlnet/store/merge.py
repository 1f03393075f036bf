"""Join stores, and copy batches of one store to another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._types import PathLike
from ..errors import DigestMismatchError, InputError, StoreError
from ..publishing import new_file
from . import checks, in_chunks
from .access import warn_unverified
from .creation import create_like
from .reader import RegionStore

if TYPE_CHECKING:
    from .writer import StoreWriter, Written


def merge(paths: Iterable[PathLike], out: PathLike, *, overwrite: bool = False, threads: int | None = None) -> Written:
    """Join stores of the same network and parameters, in this order.

    Parameters
    ----------
    paths : list of str or path
        Each is verified batch by batch as it is copied.
    out : str or path
        A new store with the provenance of the first; seeds that differ become lists.
    overwrite : bool, optional
        Replace an existing file.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    Written
        ``n_lines`` and ``n_segments`` of the new store. It has the digest of a store that was written at once.

    Raises
    ------
    InputError
        No paths, or ``out`` is among them.
    DigestMismatchError
        A store has another network, other parameters or other tolerances than the first; the message names what differs.
    ChecksumError, StoreError
        A store is damaged or can't be read, or the new one can't be written.

    Warns
    -----
    UnverifiedStoreWarning
        As for ``open``.
    """
    stores = [Path(path) for path in paths]
    if not stores:
        raise InputError("paths is empty; give the stores to merge")
    if Path(out).resolve() in {path.resolve() for path in stores}:
        raise InputError(f"out is {out}, which is one of the stores to merge; give another path")
    with RegionStore(stores[0]) as first:
        seeds = dict(first.provenance["seeds"])
        for path in stores:
            with RegionStore(path) as store:
                if not store.is_verified:
                    warn_unverified(path, stacklevel=2)
                store.check_made_with(first.network, first.provenance["parameters"], None, first.tolerances)
                if not store.has_lines:
                    raise StoreError(f"{path} holds a network only; leave it out")
                _join_seeds(seeds, store.provenance["seeds"], is_first=path == stores[0])
        with new_store_like(first, out, seeds=seeds, overwrite=overwrite, threads=threads) as writer:
            for path in stores:
                with RegionStore(path) as store:
                    for commit, problems in zip(store.commits, checks.batch_problems(store)):
                        if problems:
                            raise StoreError(f"{problems[0]}; nothing was merged")
                        copy_batch(store, commit, writer)
            return writer.written


@contextlib.contextmanager
def new_store_like(store: RegionStore, path: PathLike, *, overwrite: bool, **options: Any) -> Iterator[StoreWriter]:
    """Provide a writer of a store like another, which is published when the block is left without an error.

    Parameters
    ----------
    store : RegionStore
    path : str or path
    overwrite : bool
        Replace an existing file.
    **options
        As for ``create_like``.

    Yields
    ------
    StoreWriter
    """
    with new_file(path, overwrite=overwrite) as temporary, create_like(store, temporary, **options) as writer:
        yield writer


def copy_batch(store, commit, writer, *, first=0):
    """Append a batch of a store to another.

    Parameters
    ----------
    store : RegionStore
    commit : schema.COMMIT
        Of the batch.
    writer : StoreWriter
        Of the other store.
    first : int, optional
        Leave out the rows before this one.
    """
    name = commit["kind"].decode()
    for low, last in checks.batch_ranges(store, commit):
        low = max(low, first)
        if low >= last:
            continue
        if checks.is_in_chunks(commit, low, last):
            for chunk in in_chunks.iter_stored_chunks(store, name, low):
                writer.append_chunk(name, chunk)
            writer.finish(name, in_chunks.stored_row(store, name, low))
        else:
            writer.append(name, store.read(name, low, last))


def _join_seeds(seeds, others, *, is_first):
    """Add the seeds of a store to those of the stores before."""
    if is_first:
        return
    for name in {*seeds, *others}:
        if name not in seeds or name not in others:
            raise DigestMismatchError(
                f"seeds name {name} for some of the stores only; merge stores whose seeds have the same names"
            )
        both = [value if isinstance(value, list) else [value] for value in (seeds[name], others[name])]
        if both[1] != both[0][-len(both[1]) :]:
            seeds[name] = both[0] + both[1]
