"""Checks of a store's content (``RegionStore.verify``), and its description (``info``)."""

import contextlib
import hashlib
import itertools

import numpy as np

from ..errors import ChecksumError, PwlnetError, StoreError
from . import in_chunks, schema
from .access import LINKS, open_for_reading, reading, unverified_problem
from .consistency import batch_problem
from .digest import add_bytes, start_array
from .plane_check import plane_problems
from .region_check import region_problems
from .region_consistency import order_problems
from .results import axis_sizes, free_lengths, row_shape

_LINES_AT_ONCE = 64
_PROBLEMS = 100  # at most, are reported
_BYTES_AT_ONCE = 2**24  # of a dataset


def find_problems(store, n_samples):
    """Check all of a store.

    Parameters
    ----------
    store : RegionStore
    n_samples : int
        Segments per line, polygons per plane, and regions per enumeration, that are compared with the network.

    Returns
    -------
    list of str
    """
    damage = itertools.islice(store.file.container.iter_damage(), _PROBLEMS)
    problems = [_with_datasets(store, error) for error in damage]
    problems += list(itertools.islice(_damage_of_links(store), _PROBLEMS))
    try:
        sizes = axis_sizes(store.network)
    except PwlnetError as error:
        return [*_container_problems(store), *problems, str(error)]
    problems += _format_problems(store, sizes)
    of_batches = itertools.chain.from_iterable(batch_problems(store))
    problems += itertools.islice(of_batches, _PROBLEMS)
    problems += [] if problems else order_problems(store)
    if not problems and n_samples > 0:
        problems += _network_problems(store, n_samples)
    return [*_container_problems(store), *problems]


def _container_problems(store):
    return [] if store.is_verified else [unverified_problem(store.path)]


def _damage_of_links(store):
    """Yield a sentence for each damaged page of the files that hold the rows of a linked store."""
    for entry in store.file.links:
        try:
            with open_for_reading(store.path.parent / entry["name"]) as file:
                yield from (str(error) for error in file.container.iter_damage())
        except PwlnetError as error:
            yield str(error)


def batch_problems(store):
    """Check batch by batch.

    Parameters
    ----------
    store : RegionStore

    Yields
    ------
    list of str
        For each batch, until one does not start where the one before it ends.
    """
    sizes = axis_sizes(store.network)
    gap = _first_gap(store.commits)
    for number in range(store.n_batches if gap is None else gap):
        yield problems_of_batch(store, number, sizes)
    if gap is not None:
        yield [_gap_problem(store, gap)]


def _first_gap(commits):
    """Find the first batch that does not start where the one before it of its kind ends: its number, or None."""
    gaps = []
    for name in schema.KINDS:
        numbers = np.flatnonzero(commits["kind"] == name.encode())
        first, last = (commits[end][numbers] for end in ("first", "last"))
        expected = np.concatenate([np.zeros_like(last[:1]), last[:-1]])
        gaps += numbers[((first != expected) | (last < first)).any(axis=1)][:1].tolist()
    return min(gaps, default=None)


def _gap_problem(store, number):
    return f"{_batch_name(store, number)} does not start where the one before it ends; restore a copy of the file"


def problems_of_batch(store, number, sizes=None):
    """Check one batch.

    Parameters
    ----------
    store : RegionStore
    number : int
    sizes : dict of str to int, optional
        ``axis_sizes`` of its network.

    Returns
    -------
    list of str
    """
    commit, rows = store.commits[number], _batch_name(store, number)
    name = commit["kind"].decode()
    try:
        if not _matches_digest(store, number):
            return [f"{rows} does not match its checksum; the file is damaged, restore a copy or compute it again"]
        store.checked_batches.add(number)
        for first, last in batch_ranges(store, commit):
            if is_in_chunks(commit, first, last):
                problem = in_chunks.stored_problem(store, name, first)
            else:
                problem = batch_problem(name, store.read(name, first, last), sizes or axis_sizes(store.network))
            if problem:
                return [f"{rows} is inconsistent from {name} {first} on: {problem}; compute it again"]
    except PwlnetError as error:
        return [f"{rows}: {error}"]
    return []


def batch_ranges(store, commit):
    """Split a batch into ranges that fit into memory.

    Parameters
    ----------
    store : RegionStore
    commit : schema.COMMIT

    Returns
    -------
    list of (int, int)
        Ranges of rows of the kind's first axis.
    """
    first, last = int(commit["first"][0]), int(commit["last"][0])
    kind, n_rows = schema.KINDS[commit["kind"].decode()], (commit["last"] - commit["first"]).tolist()
    sizes = [n_rows[kind.axes.index(dataset.axis)] * _row_bytes(store.open_dataset(dataset)) for dataset in kind.datasets]
    n_ranges = min(max(1, -(-max(sizes) // _BYTES_AT_ONCE)), last - first)
    cuts = [first + (last - first) * k // n_ranges for k in range(n_ranges + 1)] if n_ranges > 0 else []
    return list(itertools.pairwise(cuts))


def _row_bytes(stored):
    """Return the bytes of a row of a dataset, at least 1."""
    return max(1, stored.dtype.itemsize * int(np.prod(stored.shape[1:], dtype=np.int64)))


def is_in_chunks(commit, first, last):
    """Return whether rows ``first`` to ``last`` of a batch are one line or plane, appended in chunks or as a single batch."""
    can_be = schema.KINDS[commit["kind"].decode()].chunk_axes
    return bool(can_be) and last - first == 1 == int(commit["last"][0] - commit["first"][0])


def _batch_name(store, number):
    commit = store.commits[number]
    name, first, last = commit["kind"].decode(), int(commit["first"][0]), int(commit["last"][0])
    return f"batch {number} ({name} {first}..{last - 1}) of {store.path}"


def _matches_digest(store, number):
    """Return whether the rows of a batch in the file, and the 0 before the first offsets, are those that were committed."""
    commit = store.commits[number]
    kind, sha, bases = schema.KINDS[commit["kind"].decode()], hashlib.sha256(), _link_bases(store, number)
    for dataset in kind.stored:
        axis = kind.axes.index(dataset.axis)
        first, last = (int(commit[end][axis]) + dataset.lead for end in ("first", "last"))
        if first == dataset.lead and store.read_rows(dataset, 0, dataset.lead, checked=False).any():
            return False
        base = int(bases[kind.axes.index(kind.counts[dataset.path])]) if dataset.lead else 0
        _add_rows(sha, store, dataset, first, last, checked=False, base=base)
    return sha.hexdigest().encode() == commit["sha256"]


def _link_bases(store, number):
    """Return the rows, along the axes of its kind, before the file that a batch of a linked store is in; else zeros."""
    if not store.is_linked:
        return np.zeros(schema.COMMIT_AXES, np.int64)
    commits, firsts = store.commits, store.file.member(f"{LINKS}/commits")[()]
    start = int(firsts[np.searchsorted(firsts, number, side="right") - 1])
    of_kind = np.flatnonzero(commits["kind"][start:] == commits["kind"][number])
    return commits["first"][start + int(of_kind[0])]


def _add_rows(sha, store, dataset, first, last, *, checked=True, base=0):
    """Feed rows of a dataset to a hash, some at a time; offsets less ``base``."""
    stored = store.open_dataset(dataset)
    start_array(sha, dataset.path, stored.dtype, (last - first, *stored.shape[1:]))
    rows_per_chunk = stored.chunks[0] if stored.chunks else 1
    step = max(1, _BYTES_AT_ONCE // (_row_bytes(stored) * rows_per_chunk)) * rows_per_chunk
    for low in range(first, last, step):
        rows = store.read_rows(dataset, low, min(low + step, last), checked=checked)
        add_bytes(sha, rows - rows.dtype.type(base) if base else rows)


def content_digest(store):
    """Compute the SHA-256 (hex) of all results of a store, however they were split into batches."""
    sha = hashlib.sha256()
    for name, kind in schema.KINDS.items() if store.has_lines else ():
        if name == "lines" or store.n_rows(name):
            ends = store.axis_ranges(kind, 0, store.n_rows(name))
            for dataset in kind.stored:
                _add_rows(sha, store, dataset, 0, ends[dataset.axis][1] + dataset.lead)
    return sha.hexdigest()


def check_order(store):
    """Validate that each batch starts where the one before it ends; StoreError otherwise."""
    gap = _first_gap(store.commits)
    if gap is not None:
        raise StoreError(_gap_problem(store, gap))


def check_batches(store, dataset, first, last):
    """Compare the batches that hold rows ``first`` to ``last`` (not included) of a dataset with their digests, each once.

    Parameters
    ----------
    store : RegionStore
    dataset : schema.Dataset
    first, last : int

    Raises
    ------
    ChecksumError
        A batch does not have the content that was committed.
    """
    name, kind = next((name, kind) for name, kind in schema.KINDS.items() if dataset in kind.stored)
    axis = kind.axes.index(dataset.axis)
    numbers = np.flatnonzero(store.commits["kind"] == name.encode())
    starts, ends = (store.commits[end][numbers, axis] for end in ("first", "last"))
    needed = (starts < last - dataset.lead) & (ends > first - dataset.lead)
    needed[:1] |= first < dataset.lead  # the 0 before the first offsets belongs to the first batch
    for number in numbers[needed].tolist():
        if number not in store.checked_batches:
            if not _matches_digest(store, number):
                batch = _batch_name(store, number)
                raise ChecksumError(f"{batch} does not match its checksum; restore a copy of the file, or repair it")
            store.checked_batches.add(number)


def _format_problems(store, sizes):
    """Return the problems of result datasets whose form differs from the schema."""
    problems = []
    for name, kind in schema.KINDS.items() if store.has_lines else ():
        for dataset in kind.stored if store.n_rows(name) or name == "lines" else ():
            try:
                stored = store.open_dataset(dataset)
            except PwlnetError as error:
                problems.append(str(error))
                continue
            row = stored.shape[1:]
            if not stored.chunks and not stored.is_virtual:
                problems.append(f"{dataset.path} of {store.path} has no chunks; repair the store")
            expected = row_shape(dataset, sizes, free_lengths(dataset, stored.shape))
            if row != expected:
                problems.append(f"{dataset.path} of {store.path} has rows of shape {row}, not {expected}; restore a copy")
    return problems


def _network_problems(store, n_samples):
    """Compare sampled segments, polygons and regions with forward passes of the network, some at a time: list of problems."""
    problems = plane_problems(store, n_samples) + region_problems(store, n_samples)
    for first in range(0, store.n_lines, _LINES_AT_ONCE):
        last = min(first + _LINES_AT_ONCE, store.n_lines)
        origin = f"counted from line {first} of {store.path}"
        problems += [f"{problem} ({origin})" for problem in store.lines(first, last).check(n_samples=n_samples)]
    return problems


def _with_datasets(store, error):
    """Add to the text of an error which datasets have chunks in the damaged page."""
    names = sorted({path for path, low, high in _chunks(store) if low <= error.last and error.first < high})
    return f"{error} (it holds parts of {', '.join(names)})" if names else str(error)


def _chunks(store):
    """Yield where the chunks of all datasets are, as far as that can be read: (path, first byte, last byte + 1)."""
    for dataset in itertools.chain(schema.NETWORK, *(kind.stored for kind in schema.KINDS.values())):
        chunks = []
        with contextlib.suppress(PwlnetError), reading(store.path, dataset.path):
            store.file.member(dataset.path).id.chunk_iter(chunks.append)
        yield from ((dataset.path, chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks)


def first_difference(stored, given, name=""):
    """Describe the first difference of two JSON values: "seed is 1 there, 2 here"; None if they are equal."""
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in sorted({*stored, *given}, key=str):
            place = f"{name}.{key}" if name else str(key)
            if key not in stored or key not in given:
                return f"{place} is given {'here' if key in given else 'there'} only"
            difference = first_difference(stored[key], given[key], place)
            if difference:
                return difference
        return None
    if isinstance(given, (list, tuple)) and isinstance(stored, list):
        given = list(given)
    return None if stored == given else f"{name} is {stored!r} there, {given!r} here"


def describe(store):
    """Describe a store: dict of JSON values."""
    network, container = store.network, store.file.container
    sizes = {"inputs": network.n_inputs, "outputs": network.n_outputs, "neurons": network.n_neurons}
    datasets = {}
    for name, kind in schema.KINDS.items():
        for dataset in kind.stored if store.n_rows(name) else ():
            stored = store.open_dataset(dataset)
            with reading(store.path, dataset.path):
                raw, kept = stored.size * stored.dtype.itemsize, stored.id.get_storage_size()
            datasets[dataset.path] = {"rows": len(stored), "bytes": kept, "raw_bytes": raw}
    kept = sum(entry["bytes"] for entry in datasets.values())
    raw = sum(entry["raw_bytes"] for entry in datasets.values())
    return {
        "path": str(store.path),
        "bytes": container.disk_size,
        "format_version": store.format_version,
        "created": store.created,
        "network": {"digest": network.digest, **sizes},
        "n_lines": store.n_lines,
        "n_segments": store.n_breakpoints - store.n_lines,
        "n_flips": store.n_flips,
        "n_polygons": store.n_polygons,
        "rows": {name: store.n_rows(name) for name in schema.KINDS if store.n_rows(name)},
        "n_batches": store.n_batches,
        "last_batch": store.commits["time"][-1].decode() if store.n_batches else None,
        "closed": container.is_closed,
        "verified": store.is_verified,
        "compression": {"name": store.compression, "bytes": kept, "raw_bytes": raw, "ratio": raw / max(1, kept)},
        "datasets": datasets,
        **store.provenance,
    }
