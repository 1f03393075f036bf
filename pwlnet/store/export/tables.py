"""Read results as flat columns, a bounded number of rows at a time.

Legend: L lines, T breakpoints, F flips, W words of a pattern, n rows of a table.
"""

import numpy as np

from ...errors import InputError
from ...patterns import ActivationPatterns
from .. import schema
from . import float_tables, plane_tables, region_tables

ROWS = 2**18  # of a table that are in memory at a time
_OF_PLANES = ("polygons", "corners", "vertices")
_OF_FLOAT_SETS = ("float_layers", "float_neurons")
_OF_REGIONS = ("facets", "region_vertices")
TABLES = ("segments", "flips", *schema.KINDS, *_OF_PLANES, *_OF_FLOAT_SETS, *_OF_REGIONS)
_OPTIONS = {  # that a table has; those of other kinds: wide
    "segments": ("chosen", "patterns"),
    "flips": (),
    "polygons": ("patterns", "classes", "corners"),
    "corners": (),
    "float_layers": (),
    "float_neurons": (),
    "regions": ("patterns", "wide"),
    "facets": (),
    "region_vertices": (),
}
_COUNTS = {  # columns of numbers of rows, and what is subtracted
    "/breakpoints/offsets": ("n_segments", 1),
    "/outlines/offsets": ("n_outline_corners", 0),
    "/polygons/offsets": ("n_polygons", 0),
    "/vertices/offsets": ("n_vertices", 0),
    "/polytopes/offsets": ("n_half_spaces", 0),
}
_LINES = {dataset.field: dataset for dataset in schema.LINES.stored}
_GAP = 4096  # breakpoints between chosen segments that are read rather than skipped


def iter_columns(store, table=None, first=0, last=None, *, rows=ROWS, **options):
    """Read a table in chunks.

    Parameters
    ----------
    store : RegionStore
    table : str, optional
        One of TABLES; ``default_table`` by default.
    first, last : int, optional
        Lines or planes ``first`` to ``last`` (not included), or rows of another kind; all by default.
    rows : int, optional
        At most this many rows in a chunk; of corners, up to a few more.
    **options
        chosen : int64[n, 2], optional
            Segments as (line, segment), instead of a range. Only for "segments"; they are returned sorted.
        patterns : bool, optional
            Columns with the words of the activation patterns. Only for "segments", "polygons" and "regions".
        classes : bool, optional
            A column with the largest output at the mean of the corners. Only for "polygons".
        corners : bool, optional
            A column with lists of coordinates; by default. Only for "polygons".
        wide : bool, optional
            Arrays of more than one dimension, too, a column per entry.

    Returns
    -------
    iterator of dict of str to ndarray or Lists
        Columns of equal length; at least one chunk, which may be empty.

    Raises
    ------
    InputError
        There is no such table, row or segment.
    StoreError
        The store has no such results, or is damaged.
    """
    table = default_table(store) if table is None else table
    first, last = _checked_range(store, table, first, last, rows)
    _refuse_options(table, options)
    chosen, patterns = options.get("chosen"), options.get("patterns")
    if table in _OF_PLANES:
        store.read("planes", first, first)  # raises if the store has none
    if table == "polygons":
        classes, corners = options.get("classes"), options.get("corners", True)
        return plane_tables.polygon_chunks(store, first, last, rows, patterns=patterns, classes=classes, corners=corners)
    if table == "corners":
        return plane_tables.corner_chunks(store, first, last, rows)
    if table == "vertices":
        return plane_tables.vertex_chunks(store, first, last, rows, wide=options.get("wide"))
    if table in _OF_FLOAT_SETS:
        store.read("float_sets", first, first)  # raises if the store has none
        chunks = float_tables.layer_chunks if table == "float_layers" else float_tables.neuron_chunks
        return chunks(store, first, last, rows)
    if table in ("regions", *_OF_REGIONS):
        return region_tables.table_chunks(store, table, first, last, rows, patterns=patterns, wide=options.get("wide"))
    if table == "flips":
        return _flip_chunks(store, first, last, rows)
    if table == "segments" and chosen is not None:
        return _chosen_chunks(store, _checked_choice(store, chosen), patterns, rows)
    if table == "segments":
        return _segment_chunks(store, first, last, patterns, rows)
    return _kind_chunks(store, table, first, last, options.get("wide"), rows)


def _refuse_options(table, options):
    """Refuse options that a table does not have, unless they are None or False."""
    for name, value in options.items():
        if name not in _OPTIONS.get(table, ("wide",)) and value is not None and value is not False:
            others = [other for other in TABLES if name in _OPTIONS.get(other, ("wide",))]
            instead = f" or give one of the tables {', '.join(others)}" if others else ""
            raise InputError(f"table is {table!r}, which has no option {name}; omit it{instead}")


def default_table(store, *, whole=False):
    """Return the table that is read by default: of the first of lines, planes, float sets, ... that are there.

    Parameters
    ----------
    store : RegionStore
    whole : bool, optional
        Of whole kinds of results only, as netCDF files have them.
    """
    of_planes = store.n_planes and not store.n_lines
    if store.n_rows("float_sets") and not store.n_planes and not store.n_lines:
        return "float_sets" if whole else "float_layers"
    if store.n_rows("certificates") and not store.n_planes and not store.n_lines:
        return "certificates"
    if store.n_rows("enumerations") and not store.n_planes and not store.n_lines:
        return "regions" if store.n_rows("regions") else "enumerations"
    return ("planes" if of_planes else "lines") if whole else ("polygons" if of_planes else "segments")


def _checked_range(store, table, first, last, rows):
    """Validate the name of a table and a range of rows."""
    if table not in TABLES:
        raise InputError(f"table is {table!r}, which does not exist; give one of {', '.join(TABLES)}")
    if not isinstance(rows, (int, np.integer)) or rows < 1:
        raise InputError(f"rows is {rows!r}; a positive integer is needed")
    kind = table if table in schema.KINDS else "lines"
    of_kinds = {"planes": _OF_PLANES, "float_sets": _OF_FLOAT_SETS, "regions": _OF_REGIONS}
    kind = next((name for name, tables in of_kinds.items() if table in tables), kind)
    n_rows = store.n_rows(kind)
    last = n_rows if last is None else last
    if not 0 <= first <= last <= n_rows:
        raise InputError(
            f"first is {first} and last is {last}, but {store.path} has {n_rows} {kind}; give 0 <= first <= last <= {n_rows}"
        )
    store.refuse_network_only(kind if kind in ("planes", "float_sets", "certificates", "regions") else "lines")
    return int(first), int(last)


def _checked_choice(store, chosen):
    """Validate and sort chosen segments: (line, segment, breakpoint at its start), int64[n] each."""
    chosen = np.asarray(chosen)
    if chosen.size == 0:
        return (np.zeros(0, np.int64),) * 3
    if chosen.ndim != 2 or chosen.shape[1] != 2 or chosen.dtype.kind not in "iu":
        raise InputError(
            f"chosen is an array of {chosen.dtype} with shape {chosen.shape}; give integers as rows (line, segment)"
        )
    lines, segments = np.unique(chosen.astype(np.int64), axis=0).T.copy()
    wrong = lines[(lines < 0) | (lines >= store.n_lines)]
    if wrong.size:
        raise InputError(f"chosen has line {wrong[0]}, but {store.path} has {store.n_lines} lines; count from 0")
    points = np.empty(len(lines), np.int64)
    for block in np.unique(lines // ROWS) * ROWS:
        inside = slice(*np.searchsorted(lines, [block, block + ROWS]))
        offsets = _offsets(store, block, min(block + ROWS, store.n_lines))
        starts, n_segments = offsets[lines[inside] - block], np.diff(offsets)[lines[inside] - block] - 1
        bad = np.flatnonzero((segments[inside] < 0) | (segments[inside] >= n_segments))
        if bad.size:
            line, segment, n = lines[inside][bad[0]], segments[inside][bad[0]], n_segments[bad[0]]
            raise InputError(f"chosen has segment {segment} of line {line}, which has {n} segments; count from 0")
        points[inside] = starts + segments[inside]
    return lines, segments, points


def _offsets(store, first, last):
    """Read the ranges of breakpoints of lines [first, last): int64[last - first + 1]."""
    return store.read_rows(_LINES["offsets"], first, last + 1)


def _segment_chunks(store, first, last, patterns, rows):
    """Yield chunks of consecutive segments."""
    for lines, segments, points in _segment_ranges(store, first, last, rows):
        columns = _segment_columns(store, lines, segments, points)
        if patterns:
            columns |= _pattern_columns(store, lines, segments)
        yield columns


def _segment_ranges(store, first, last, rows):
    """Split the segments of lines into chunks: (line, segment in its line, breakpoint at its start) of each, int64[n]."""
    if first == last:
        yield (np.zeros(0, np.int64),) * 3
    for block in range(first, last, rows):  # of lines: their offsets fit into memory, too
        offsets = _offsets(store, block, min(block + rows, last))
        starts = offsets - np.arange(len(offsets))  # segments before each line, and a constant
        for low in range(starts[0], starts[-1], rows):
            numbers = np.arange(low, min(low + rows, starts[-1]))
            lines = np.searchsorted(starts, numbers, side="right") - 1
            yield lines + block, numbers - starts[lines], numbers + lines


def _segment_columns(store, lines, segments, points):
    """Read the columns of segments whose breakpoints are close to each other."""
    low, high = (int(points[0]), int(points[-1]) + 2) if len(points) else (0, 0)
    t, flips = store.read_rows(_LINES["t"], low, high), np.diff(store.read_rows(_LINES["flip_offsets"], low, high + 1))
    at = points - low
    return {"line": lines, "segment": segments, "t_start": t[at], "t_end": t[at + 1], "n_flips": flips[at]}


def _flip_chunks(store, first, last, rows):
    """Yield chunks of consecutive flips."""
    empty = True
    for block in range(first, last, rows):
        offsets = _offsets(store, block, min(block + rows, last))
        for low in range(offsets[0], offsets[-1], rows):
            high = min(low + rows, int(offsets[-1]))
            lines = np.searchsorted(offsets, np.arange(low, high), side="right") - 1
            bounds, t = store.read_rows(_LINES["flip_offsets"], low, high + 1), store.read_rows(_LINES["t"], low, high)
            for flip in range(bounds[0], bounds[-1], rows):
                numbers = np.arange(flip, min(flip + rows, bounds[-1]))
                at = np.searchsorted(bounds, numbers, side="right") - 1
                of_line = lines[at]
                yield _flip_columns(store, flip, of_line + block, low + at - offsets[of_line], t[at])
                empty = False
    if empty:
        none = np.zeros(0, np.int64)
        yield _flip_columns(store, 0, none, none, np.zeros(0))


def _flip_columns(store, first, lines, points, t):
    first, last = int(first), int(first) + len(lines)
    neurons, states = (store.read_rows(_LINES[name], first, last) for name in ("flip_neurons", "flip_states"))
    return {"line": lines, "breakpoint": points, "t": t, "neuron": neurons, "state": states}


def _kind_chunks(store, table, first, last, wide, rows):
    """Yield chunks along the first axis of a kind."""
    kind = schema.KINDS[table]
    datasets = [dataset for dataset in kind.stored if dataset.axis == kind.axes[0]]
    store.read(table, first, first)  # raises if the store has none of this kind
    numbers = {"lines": "line", "planes": "plane", "float_sets": "set", "enumerations": "enumeration"}
    number = {**numbers, "enumeration_ends": "enumeration"}.get(table, "row")
    for low in range(first, max(last, first + 1), rows):
        high = min(low + rows, last)
        columns = {number: np.arange(low, high)}
        for dataset in datasets:
            values = store.read_rows(dataset, low, high + dataset.lead)
            if dataset.lead:
                name, less = _COUNTS[dataset.path]
                columns[name] = np.diff(values) - less
            elif values.ndim == 1:
                columns[dataset.field] = values
            elif table == "measures":
                columns |= dict(zip(_measure_names(store, values.shape[1]), values.T, strict=True))
            elif wide:
                flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
                columns |= {f"{dataset.field}_{k}": flat[:, k] for k in range(flat.shape[1])}
        yield columns


def _measure_names(store, n):
    """Return the names of n measures: the parameter ``columns`` if it has as many."""
    names = store.provenance["parameters"].get("columns", ())
    return names if len(names) == n else [f"values_{k}" for k in range(n)]


def _chosen_chunks(store, chosen, patterns, rows):
    """Yield chunks of chosen segments, sorted; only rows near them are read."""
    for low in range(0, max(len(chosen[0]), 1), rows):
        chunk = [column[low : low + rows] for column in chosen]
        cuts = np.flatnonzero(np.diff(chunk[2]) > _GAP) + 1
        runs = [_segment_columns(store, *run) for run in zip(*(np.split(column, cuts) for column in chunk), strict=True)]
        columns = {name: np.concatenate([columns[name] for columns in runs]) for name in runs[0]}
        yield columns | (_pattern_columns(store, *chunk[:2]) if patterns else {})


def _pattern_columns(store, lines, segments):
    """Rebuild the patterns of segments from the flips: columns of words, uint64[n], named ``pattern_0`` and so on."""
    layout = store.network.pattern_layout
    packed = np.zeros((len(lines), int(layout.word_offsets[-1])), np.uint64)
    locations = _state_locations(layout)
    numbers, firsts = np.unique(lines, return_index=True)
    for line, low, high in zip(numbers.tolist(), firsts, np.append(firsts[1:], len(lines)), strict=False):
        _add_patterns(store.lines(line, line + 1), segments[low:high], layout, locations, packed[low:high])
    return {f"pattern_{k}": packed[:, k] for k in range(packed.shape[1])}


def _state_locations(layout):
    """Locate each neuron's state in a pattern: (word, shift), int64[K] and uint64[K]; the rule of kernels/ir/bits.py."""
    counts = np.diff(layout.neuron_offsets)
    number = np.arange(counts.sum()) - np.repeat(layout.neuron_offsets[:-1], counts)  # in its op
    widths = np.repeat(layout.widths, counts)
    words, inside = np.divmod(number * widths, 64)  # widths divide 64
    return words + np.repeat(layout.word_offsets[:-1], counts), inside.astype(np.uint64)


def _add_patterns(line, chosen, layout, locations, packed_out):
    """Compute the patterns of segments of a single line, in order: the first one, and what flips change in its words.

    ``packed_out``: uint64[n, W], zeros. A word is the exclusive or of all its changes so far, so no state is unpacked.
    """
    from ...partition.lines.tracing import initial_states

    states = initial_states(line.network, line.starts[0], line.ends[0], line.t, line.tolerances)
    points = np.repeat(np.arange(len(line.t)), np.diff(line.flip_offsets))
    neurons, new = line.flip_neurons, line.flip_states
    order = np.argsort(neurons, kind="stable")
    before = np.empty_like(new)
    before[order[1:]] = new[order[:-1]]
    is_first = np.concatenate([[True], np.diff(neurons[order]) > 0])[: len(order)]
    before[order[is_first]] = states[neurons[order[is_first]]]
    row = np.searchsorted(chosen, points)  # the first chosen segment that starts there or later
    used = row < len(chosen)
    words, shifts = (location[neurons[used]] for location in locations)
    np.bitwise_xor.at(packed_out, (row[used], words), (before ^ new)[used].astype(np.uint64) << shifts)
    packed_out[0] ^= ActivationPatterns.from_states(states[None], layout).packed[0]
    np.bitwise_xor.accumulate(packed_out, axis=0, out=packed_out)
