"""What ``RegionStore.verify`` checks, and what ``info`` tells."""

import contextlib
import hashlib
import itertools

import numpy as np

from ..errors import PwlnetError
from . import long_line, schema
from .access import reading
from .consistency import batch_problem
from .digest import add_bytes, start_array
from .results import axis_sizes

_LINES_AT_ONCE = 64
_PROBLEMS = 100  # more are not told
_ROWS_AT_ONCE = 2**21


def find_problems(store, n_samples):
    """Check all of a store.

    Parameters
    ----------
    store : RegionStore
    n_samples : int
        Segments per line that are compared with the network.

    Returns
    -------
    list of str
    """
    disk = store._open_file().disk
    problems = [_with_datasets(store, error) for error in itertools.islice(disk.damaged(), _PROBLEMS)]
    try:
        sizes = axis_sizes(store.network)
    except PwlnetError as error:
        return [*problems, str(error)]
    problems += _format_problems(store, sizes)
    found = itertools.chain.from_iterable(batch_problems(store))
    problems += itertools.islice(found, _PROBLEMS)
    if not problems and n_samples > 0:
        problems += _network_problems(store, n_samples)
    return problems


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
    ends = {name: np.zeros(schema.COMMIT_AXES, np.int64) for name in schema.KINDS}
    for number, commit in enumerate(store._commits):
        name = commit["kind"].decode()
        if (commit["first"] != ends[name]).any() or (commit["last"] < commit["first"]).any():
            yield [f"{_batch_name(store, number)} does not start where the one before it ends; restore a copy of the file"]
            return
        yield problems_of_batch(store, number, sizes)
        ends[name] = commit["last"]


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
    commit, rows = store._commits[number], _batch_name(store, number)
    name = commit["kind"].decode()
    try:
        if _stored_digest(store, commit).encode() != commit["sha256"]:
            return [f"{rows} does not match its checksum; the file is damaged, restore a copy or compute it again"]
        for first, last in parts_of_batch(store, commit):
            if is_long_line(commit, first, last):
                problem = long_line.stored_problem(store, first, store.network.n_neurons)
            else:
                problem = batch_problem(name, store.read(name, first, last), sizes or axis_sizes(store.network))
            if problem:
                return [f"{rows} is inconsistent from {name} {first} on: {problem}; compute it again"]
    except PwlnetError as error:
        return [f"{rows}: {error}"]
    return []


def parts_of_batch(store, commit):
    """Cut a batch so that its parts fit into memory.

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
    n_rows = max(int(high) - int(low) for low, high in zip(commit["first"], commit["last"]))
    n_parts = min(-(-n_rows // _ROWS_AT_ONCE), last - first)
    cuts = [first + (last - first) * k // n_parts for k in range(n_parts + 1)] if n_parts > 0 else []
    return list(itertools.pairwise(cuts))


def is_long_line(commit, first, last):
    """Whether rows ``first`` to ``last`` of a batch are one line that was appended in parts, or a batch of its own."""
    return commit["kind"] == b"lines" and last - first == 1 == int(commit["last"][0] - commit["first"][0])


def _batch_name(store, number):
    commit = store._commits[number]
    name, first, last = commit["kind"].decode(), int(commit["first"][0]), int(commit["last"][0])
    return f"batch {number} ({name} {first}..{last - 1}) of {store.path}"


def _stored_digest(store, commit):
    """SHA-256 of a batch's rows as they are in the file, read piece by piece."""
    kind, sha = schema.KINDS[commit["kind"].decode()], hashlib.sha256()
    for dataset in kind.stored:
        axis = kind.axes.index(dataset.axis)
        first, last = (int(commit[end][axis]) + dataset.lead for end in ("first", "last"))
        stored = store._dataset(dataset)
        start_array(sha, dataset.path, stored.dtype, (last - first, *stored.shape[1:]))
        step = max(1, _ROWS_AT_ONCE // stored.chunks[0]) * stored.chunks[0]
        for low in range(first, last, step):
            add_bytes(sha, store._read(dataset, low, min(low + step, last)))
    return sha.hexdigest()


def _format_problems(store, sizes):
    """Result datasets that are not as the schema has them."""
    problems = []
    for name, kind in schema.KINDS.items() if store.has_lines else ():
        for dataset in kind.stored if store.n_rows(name) or name == "lines" else ():
            try:
                row = store._dataset(dataset).shape[1:]
            except PwlnetError as error:
                problems.append(str(error))
                continue
            wanted = [sizes.get(dim, n) for dim, n in zip(dataset.dims[1:], row)]
            if list(row) != wanted:
                problems.append(f"{dataset.path} of {store.path} has rows of shape {row}, not {tuple(wanted)}; restore a copy")
    return problems


def _network_problems(store, n_samples):
    """Problems that evaluating the network at sampled segments shows, for a block of lines at a time."""
    problems = []
    for first in range(0, store.n_lines, _LINES_AT_ONCE):
        last = min(first + _LINES_AT_ONCE, store.n_lines)
        where = f"counted from line {first} of {store.path}"
        problems += [f"{problem} ({where})" for problem in store.lines(first, last).check(n_samples=n_samples)]
    return problems


def _with_datasets(store, error):
    """Say which datasets have chunks in a damaged page."""
    names = sorted({path for path, low, high in _chunks(store) if low <= error.last and error.first < high})
    return f"{error} (there lie parts of {', '.join(names)})" if names else str(error)


def _chunks(store):
    """Where the chunks of all datasets lie: (path, first byte, last byte + 1); as far as that can be read."""
    for dataset in itertools.chain(schema.NETWORK, *(kind.stored for kind in schema.KINDS.values())):
        found = []
        with contextlib.suppress(PwlnetError), reading(store.path, dataset.path):
            store._open_file()[dataset.path].id.chunk_iter(found.append)
        yield from ((dataset.path, chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in found)


def first_difference(stored, given, name=""):
    """Say where two JSON values differ first: "seed is 1 there, 2 here"; None where they are equal."""
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
    """What a store holds: dict."""
    network, file = store.network, store._open_file()
    sizes = {"inputs": network.n_inputs, "outputs": network.n_outputs, "neurons": network.n_neurons}
    datasets = {}
    for name, kind in schema.KINDS.items():
        for dataset in kind.stored if store.n_rows(name) else ():
            stored = store._dataset(dataset)
            raw = stored.size * stored.dtype.itemsize
            datasets[dataset.path] = {"rows": len(stored), "bytes": stored.id.get_storage_size(), "raw_bytes": raw}
    kept = sum(entry["bytes"] for entry in datasets.values())
    raw = sum(entry["raw_bytes"] for entry in datasets.values())
    return {
        "path": str(store.path),
        "bytes": file.disk.disk_size,
        "format_version": store.format_version,
        "created": store.created,
        "network": {"digest": network.digest, **sizes},
        "n_lines": store.n_lines,
        "n_segments": store.n_breakpoints - store.n_lines,
        "n_flips": store.n_flips,
        "rows": {name: store.n_rows(name) for name in schema.KINDS if store.n_rows(name)},
        "n_batches": store.n_batches,
        "last_batch": store._commits["time"][-1].decode() if store.n_batches else None,
        "closed": file.disk.is_closed,
        "compression": {"name": store.compression, "bytes": kept, "raw_bytes": raw, "ratio": raw / max(1, kept)},
        "datasets": datasets,
        **store.provenance,
    }
