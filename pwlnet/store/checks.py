"""What ``RegionStore.verify`` checks, and what ``info`` tells."""

import contextlib
import itertools

import numpy as np

from ..errors import PwlnetError
from . import schema
from .access import reading
from .consistency import batch_problem
from .digest import digest_arrays
from .results import axis_sizes

_LINES_AT_ONCE = 64
_PROBLEMS = 100  # more are not told


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
    problems += batch_problems(store, store._commits, chained=True)
    if not problems and n_samples > 0:
        problems += _network_problems(store, n_samples)
    return problems


def batch_problems(store, commits, *, chained=False, last_only=False):
    """Check batches.

    Parameters
    ----------
    store : RegionStore
    commits : array of schema.COMMIT
    chained : bool
        They are all that there are: each must start where the one before it ends.
    last_only : bool
        They are the first ones; check the last of them.

    Returns
    -------
    list of str
    """
    sizes, problems = axis_sizes(store.network), []
    ends = {name: np.zeros(schema.COMMIT_AXES, np.int64) for name in schema.KINDS}
    for number, commit in enumerate(commits, 0 if last_only else store.n_batches - len(commits)):
        name, first = commit["kind"].decode(), ends[commit["kind"].decode()]
        ends[name] = commit["last"]
        if last_only and number < len(commits) - 1:
            continue
        rows = f"batch {number} ({name} {commit['first'][0]}..{int(commit['last'][0]) - 1}) of {store.path}"
        try:
            if (commit["last"] < commit["first"]).any() or ((chained or last_only) and (commit["first"] != first).any()):
                problems.append(f"{rows} does not start where the one before it ends; restore a copy of the file")
                break
            problems += _batch_problems(store, commit, rows, sizes)
        except PwlnetError as error:
            problems.append(f"{rows}: {error}")
        if len(problems) >= _PROBLEMS:
            break
    return problems


def _batch_problems(store, commit, rows, sizes):
    """What is wrong with one batch."""
    name = commit["kind"].decode()
    kind, stored = schema.KINDS[name], []
    for dataset in kind.stored:
        axis = kind.axes.index(dataset.axis)
        first, last = (int(commit[end][axis]) + dataset.lead for end in ("first", "last"))
        stored.append((dataset.path, store._read(dataset, first, last)))
    if digest_arrays(stored).encode() != commit["sha256"]:
        return [f"{rows} does not match its checksum; the file is damaged, restore a copy or compute it again"]
    arrays = store.read(name, int(commit["first"][0]), int(commit["last"][0]))
    problem = batch_problem(name, arrays, sizes)
    return [f"{rows} is inconsistent: {problem}; compute it again"] if problem else []


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
