"""Repair a store: keep the intact batches of a damaged one, and write the container of one that lost it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .._types import PathLike
from ..errors import InputError, PwlnetError, StoreError
from ..file_locks import refuse_locked
from ..publishing import new_file, reason
from ..validation import as_path
from . import checks, schema
from .access import unverified_problem
from .image import copy_into_container
from .merge import copy_batch, new_store_like
from .reader import RegionStore

if TYPE_CHECKING:
    from ..network import Network


class Repaired(NamedTuple):
    """What ``repair`` did: where the intact batches are now (None: nowhere), their number, what was lost and why."""

    path: Path | None
    n_batches: int
    n_lines: int
    n_batches_lost: int
    problems: list[str]
    n_planes: int
    n_regions: int


def repair(
    path: PathLike,
    out: PathLike | None = None,
    *,
    in_place: bool = False,
    network: Network | None = None,
    threads: int | None = None,
) -> Repaired:
    """Write the batches before the first damaged one to a new store; the damaged file is only read.

    A store that is intact but not verified, because another program changed or copied it, is checked completely, batch by
    batch, and copied with all attributes and objects that were added to it; the copy has checksums.

    Parameters
    ----------
    path : str or path
    out : str or path, optional
        The new store. Without it, and not in place, nothing is written: the result says what could be kept.
    in_place : bool
        Replace the damaged store by the new one, atomically. What the new one does not hold is lost.
    network : Network, optional
        Use this one where the stored copy is damaged.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    Repaired
        ``path``, ``n_batches``, ``n_lines``, ``n_batches_lost`` (of those in the table of commits), ``problems``,
        ``n_planes``, ``n_regions``.

    Raises
    ------
    InputError
        Both ``out`` and ``in_place`` were given.
    StoreError
        Nothing can be read, because header or table of commits are damaged; nothing is intact that could replace the store;
        another program writes to it; the new file can't be written.
    DigestMismatchError
        ``network`` is not the network of the store.

    See Also
    --------
    RegionStore.verify : reports whether a store is damaged.
    resume : appends after the last batch.
    """
    if out is not None and in_place:
        raise InputError(f"out is {out} and in_place is True; give one of them")
    path = as_path(path)
    refuse_locked(path)
    problems = _problems(path)
    with RegionStore(path, checked=False) as store:
        store.use_network(network)
        is_intact = problems in ([], [unverified_problem(path)])
        n_intact = store.n_batches if is_intact else _n_intact_batches(store)
        commits = store.commits[:n_intact]
        n_lost = store.n_batches - n_intact
        ends = schema.rows_at_end(commits)
        if in_place and n_lost and not n_intact:
            raise StoreError(f"{path} has no intact batch before the first damaged one; it was left as it is, restore a copy")
        target = path if in_place else Path(out) if out else None
        if target and is_intact and not store.is_verified:
            _write_container(store, target, overwrite=in_place)
        elif target:
            with new_store_like(store, target, overwrite=in_place, threads=threads) as writer:
                for commit in commits:
                    copy_batch(store, commit, writer)
    n_lines, n_planes, n_regions = (int(ends[name][0]) for name in ("lines", "planes", "regions"))
    return Repaired(target, n_intact, n_lines, n_lost, problems, n_planes, n_regions)


def _problems(path):
    """Return what verify finds, or why a store can't be opened: list of str."""
    try:
        with RegionStore(path) as store:
            return store.verify()
    except PwlnetError as error:
        return [str(error)]


def _n_intact_batches(store):
    """Count the batches before the first damaged one."""
    return sum(1 for _ in itertools.takewhile(lambda problems: not problems, checks.batch_problems(store)))


def _write_container(store, target, *, overwrite):
    """Publish a copy of an intact store that is not verified, with its annotations and with checksums."""
    with new_file(target, overwrite=overwrite) as temporary:
        try:
            copy_into_container(store.file, temporary)
        except (RuntimeError, KeyError, ValueError, TypeError) as error:  # of h5py: an annotation that can't be read
            raise StoreError(f"{store.path} can't be copied ({reason(error)}); remove the object, or restore a copy") from error
        with RegionStore(temporary) as copy:
            problems = copy.verify()
        if problems:
            raise StoreError(f"the copy of {store.path} is not intact ({problems[0]}); nothing was written, repair it again")
