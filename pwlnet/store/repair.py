"""Taking over what is sound: of a damaged store its first batches, of several stores all of them."""

import contextlib
import itertools
import secrets
from pathlib import Path
from typing import NamedTuple

from ..errors import DigestMismatchError, InputError, PwlnetError, StoreError
from . import checks, long_line
from .access import reason, refuse_locked, replace_durably
from .creation import create_like
from .reader import RegionStore


class Repaired(NamedTuple):
    """What ``repair`` found: where the sound batches are now (None: nowhere), how many, what was lost and why."""

    path: object
    n_batches: int
    n_lines: int
    n_batches_lost: int
    problems: list


def repair(path, out=None, *, in_place=False, network=None, threads=None):
    """Write the batches before the first damaged one to a new store; the damaged file is read only.

    Parameters
    ----------
    path : str or path
    out : str or path, optional
        The new store. Without it, and not in place, nothing is written: the result says what could be kept.
    in_place : bool
        Let the new store take the damaged one's place, in one step. What is not in it is gone.
    network : Network, optional
        Where the store's own copy is damaged.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    Repaired
        ``path``, ``n_batches``, ``n_lines``, ``n_batches_lost`` (of those that are listed), ``problems``.

    Raises
    ------
    InputError
        Both ``out`` and ``in_place`` were given.
    StoreError
        Nothing can be read: header or table of commits are damaged; another program writes to the store; the new file
        can't be written.
    DigestMismatchError
        ``network`` is not the store's.

    See Also
    --------
    RegionStore.verify : says whether a store is damaged.
    resume : goes on behind the last batch.
    """
    if out is not None and in_place:
        raise InputError(f"out is {out} and in_place is True; give one of them")
    path = Path(path)
    refuse_locked(path)
    problems = _problems(path)
    with RegionStore(path, checked=False) as store:
        store.use_network(network)
        n_good = _n_sound_batches(store, problems)
        commits = store._commits[:n_good]
        lost = store.n_batches - n_good
        n_lines = int(max((c["last"][0] for c in commits if c["kind"] == b"lines"), default=0))
        if out is None and not in_place:
            return Repaired(None, n_good, n_lines, lost, problems)
        target = path if in_place else Path(out)
        with _new_store(store, target, overwrite=in_place, threads=threads) as writer:
            for commit in commits:
                _copy_batch(store, commit, writer)
    return Repaired(target, n_good, n_lines, lost, problems)


def merge(paths, out, *, overwrite=False, threads=None):
    """Join stores of the same network and parameters, in this order.

    Parameters
    ----------
    paths : list of str or path
        Each is verified batch by batch as it is copied.
    out : str or path
        A new store. Its provenance is that of the first; seeds that differ become lists.
    overwrite : bool, optional
        Replace an existing file.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    Written
        ``n_lines`` and ``n_segments`` of the new store. Its digest is that of a store that was written at once.

    Raises
    ------
    InputError
        No paths, or ``out`` is among them.
    DigestMismatchError
        A store has another network, other parameters or other tolerances than the first; the message names what differs.
    ChecksumError, StoreError
        A store is damaged or can't be read, or the new one can't be written.
    """
    paths = [Path(path) for path in paths]
    if not paths:
        raise InputError("paths is empty; give the stores to merge")
    if Path(out).resolve() in {path.resolve() for path in paths}:
        raise InputError(f"out is {out}, which is one of the stores to merge; give another path")
    with RegionStore(paths[0]) as first:
        seeds = dict(first.provenance["seeds"])
        for path in paths:
            with RegionStore(path) as store:
                store.check_made_with(first.network, first.provenance["parameters"], None, first.tolerances)
                if not store.has_lines:
                    raise StoreError(f"{path} holds a network only; leave it out")
                _join_seeds(seeds, store.provenance["seeds"], is_first=path == paths[0])
        with _new_store(first, Path(out), seeds=seeds, overwrite=overwrite, threads=threads) as writer:
            for path in paths:
                with RegionStore(path) as store:
                    for commit, problems in zip(store._commits, checks.batch_problems(store)):
                        if problems:
                            raise StoreError(f"{problems[0]}; nothing was merged")
                        _copy_batch(store, commit, writer)
            return writer.written


def _problems(path):
    """What verify finds, or why a store can't even be opened."""
    try:
        with RegionStore(path) as store:
            return store.verify()
    except PwlnetError as error:
        return [str(error)]


def _n_sound_batches(store, problems):
    """How many batches come before the first damaged one."""
    if not problems:
        return store.n_batches
    return sum(1 for _ in itertools.takewhile(lambda found: not found, checks.batch_problems(store)))


def _copy_batch(store, commit, writer):
    name = commit["kind"].decode()
    for first, last in checks.parts_of_batch(store, commit):
        if checks.is_long_line(commit, first, last):
            for part in long_line.stored_parts(store, first):
                writer.append_part(**part)
            writer.finish_line(**long_line.stored_line(store, first))
        else:
            writer.append(name, store.read(name, first, last))


def _join_seeds(seeds, others, *, is_first):
    """Add a store's seeds to those of the ones before."""
    if is_first:
        return
    for name in {*seeds, *others}:
        if name not in seeds or name not in others:
            raise DigestMismatchError(f"seeds name {name} for some of the stores only; merge stores that were made alike")
        both = [value if isinstance(value, list) else [value] for value in (seeds[name], others[name])]
        if both[1] != both[0][-len(both[1]) :]:
            seeds[name] = both[0] + both[1]


@contextlib.contextmanager
def _new_store(store, path, *, overwrite, **options):
    """A writer of a store like another, which appears at its place when the block is left without an error."""
    exists = StoreError(f"{path} exists; give another path, or remove it first")
    if path.exists() and not overwrite:
        raise exists
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with create_like(store, temporary, **options) as writer:
            yield writer
        if path.exists() and not overwrite:
            raise exists
        replace_durably(temporary, path)
    except PwlnetError:
        raise
    except OSError as error:
        raise StoreError(f"{path} can't be replaced ({reason(error)}); choose another path") from error
    finally:
        temporary.unlink(missing_ok=True)
