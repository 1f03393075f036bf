"""The page about the store's format, made from ``schema.py``: ``docs/store_format.md``.

python -m pwlnet.store.format_page > docs/store_format.md
"""

import sys

from . import schema

_INTRODUCTION = """\
# The store's format

Version {version}. Made from `pwlnet/store/schema.py` by `python -m pwlnet.store.format_page`; do not edit.

A store is one HDF5 file with a network and any number of results. Numbers are little-endian. N ops, D inputs,
O outputs, L lines, T breakpoints (with the ends of the lines), F flips; \\* any length.

- A reader MUST refuse a file whose `pwlnet-format` is not `{name}`, and a greater major version.
- A reader MUST ignore rows after the last row of `{commits}`: a batch counts when its commit is there.
- A reader MAY ignore datasets and attributes that are not listed here: a greater minor version may have more.
- A writer MUST write a batch's rows and its commit so that a reader sees both or neither.
- A file without `/lines` and `{commits}` holds a network only (`Network.save`).

Row i of something ragged is `x[offsets[i] : offsets[i + 1]]`; offsets start with 0 and never decrease.
"""

_COMMITS = """\
## Commits

`{commits}` has one row per batch, with the fields

| field | dtype | meaning |
|---|---|---|
| `kind` | {kind} | `lines` |
| `first`, `last` | {axes} | rows from, and to (not included), along L, T, F; unused entries are 0 |
| `sha256` | {sha256} | hex digits, of the batch's rows |
| `time` | {time} | UTC, ISO 8601 |

The SHA-256 is over the datasets of the kind, in the order above: for each the text `path:dtype:shape;`, then the bytes.
Offsets lie one row further: those of a batch are rows `first + 1` to `last + 1`. Chunks carry HDF5's own checksum
(fletcher32) as well.
"""


def format_page():
    """Write the page.

    Returns
    -------
    str
        Markdown.
    """
    version = ".".join(str(n) for n in schema.VERSION)
    fields = {name: f"`{schema.COMMIT[name].str[1:]}`" for name in ("kind", "sha256", "time")}
    width = schema.COMMIT_AXES
    return "\n".join(
        [
            _INTRODUCTION.format(version=version, name=schema.FORMAT, commits=schema.COMMITS),
            "## Root attributes\n\n| name | meaning | since |\n|---|---|---|",
            *(f"| `{a.name}` | {a.meaning} | {a.since} |" for a in schema.ATTRIBUTES),
            _table("Network", schema.NETWORK),
            _table("Labels of the network (not part of its digest)", schema.NETWORK_LABELS),
            *(_table(f"Results: {name}", kind.datasets) for name, kind in schema.KINDS.items()),
            "",
            _COMMITS.format(commits=schema.COMMITS, axes=f"`<i8[{width}]`", **fields).rstrip(),
            "",
        ]
    )


def _table(title, datasets):
    """A heading and a row per dataset."""
    head = f"\n## {title}\n\n| path | dtype | dimensions | meaning | since |\n|---|---|---|---|---|"
    rows = (f"| `{d.path}` | {_dtype(d)} | {_dims(d)} | {d.meaning} | {d.since} |" for d in datasets)
    return "\n".join([head, *rows])


def _dtype(dataset):
    return "UTF-8" if dataset.dtype == "text" else f"`{dataset.dtype}`"


def _dims(dataset):
    return " x ".join(dataset.dims).replace("*", "\\*")


if __name__ == "__main__":
    sys.stdout.write(format_page())
