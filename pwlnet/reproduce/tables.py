"""Tables of results as Markdown, CSV and JSON, with confidence intervals of estimates."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._types import ArrayLike
from ..analysis.bootstrap import bootstrap_interval

_DIGITS = 4  # of numbers in Markdown


class Interval(NamedTuple):
    """A number with a 95 % confidence interval; ``low`` and ``high`` are NaN if there is none."""

    value: float
    low: float
    high: float


class Table(NamedTuple):
    """A table.

    Attributes
    ----------
    title : str
    headings : sequence of str
        Names of the columns, with units.
    rows : list of sequences
        One cell per heading: text, number, Interval, or None for an empty cell.
    notes : sequence of str, optional
        Sentences printed below the table.
    """

    title: str
    headings: Sequence[str]
    rows: list[Sequence[Any]]
    notes: Sequence[str] = ()


def estimate(values: ArrayLike, *, statistic: Callable[..., Any] = np.mean, seed: int = 0) -> Interval:
    """Estimate a statistic with its 95 % bootstrap interval over images.

    Estimate: images are resampled with replacement (``pwlnet.analysis.bootstrap``).

    Parameters
    ----------
    values : float64[images]
        One value per image; images with NaN are excluded.
    statistic : callable, optional
        Maps an array to a number; faster if it has an argument ``axis``.
    seed : int, optional
        Seed of the resampling.

    Returns
    -------
    Interval
        All NaN if there are no images; without an interval if there is only one.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return Interval(math.nan, math.nan, math.nan)
    value = float(statistic(values))
    low, high = bootstrap_interval(values, statistic=statistic, seed=seed) if values.size > 1 else (math.nan, math.nan)
    return Interval(value, float(low), float(high))


def to_markdown(tables: Sequence[Table]) -> str:
    """Format tables as Markdown.

    Parameters
    ----------
    tables : list of Table

    Returns
    -------
    str
        Markdown with aligned columns, readable as plain text.
    """
    return "\n".join(_markdown(table) for table in tables)


def to_csv(table: Table) -> str:
    """Format a table as CSV: numbers with all digits, an Interval as three columns.

    Parameters
    ----------
    table : Table

    Returns
    -------
    str
    """
    wide = [any(isinstance(row[k], Interval) for row in table.rows) for k in range(len(table.headings))]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ([name, f"{name}, low", f"{name}, high"] if w else [name] for name, w in zip(table.headings, wide))
    writer.writerow([entry for entries in names for entry in entries])
    for row in table.rows:
        cells = (_spread(cell) if w else [cell] for cell, w in zip(row, wide))
        writer.writerow([_exact(entry) for entries in cells for entry in entries])
    return stream.getvalue()


def to_dict(table):
    """Convert a table to a dict that can be written as JSON: title, headings, rows (Interval: value, low, high), notes."""
    rows = [[cell._asdict() if isinstance(cell, Interval) else _plain(cell) for cell in row] for row in table.rows]
    return {"title": table.title, "headings": list(table.headings), "rows": rows, "notes": list(table.notes)}


def _markdown(table):
    cells = [[str(name) for name in table.headings], *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(3, *(len(row[k]) for row in cells)) for k in range(len(table.headings))]
    rule = [f"{'-' * (w - 1)}:" if k else "-" * w for k, w in enumerate(widths)]
    lines = [f"**{table.title}**", ""]
    for row in (cells[0], rule, *cells[1:]):
        aligned = [cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths))]
        lines.append(f"| {' | '.join(aligned)} |")
    return "\n".join([*lines, "", *(f"{note}\n" for note in table.notes)])


def _text(cell):
    """Format a cell for Markdown."""
    if isinstance(cell, Interval):
        between = "" if math.isnan(cell.low) else f" ({_text(cell.low)} to {_text(cell.high)})"
        return _text(cell.value) + between
    if cell is None or (isinstance(cell, (float, np.floating)) and math.isnan(cell)):
        return "-"
    if isinstance(cell, (float, np.floating)):
        return f"{cell:.{_DIGITS}g}" if abs(cell) < 10**_DIGITS else f"{cell:.0f}"
    return str(cell).replace("|", "\\|")


def _spread(cell):
    return list(cell) if isinstance(cell, Interval) else [cell, None, None]


def _exact(cell):
    cell = _plain(cell)
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else cell


def _plain(cell):
    """Convert a NumPy scalar to a Python number."""
    return cell.item() if isinstance(cell, np.generic) else cell
