"""Output of the subcommands: a short table, or JSON."""

import json
import math
import sys


def show(options, values, text=None):
    """Print a result.

    Parameters
    ----------
    options : argparse.Namespace
        ``options.json`` selects JSON.
    values : dict
        The result, as printed by ``--json``; also the rows of the table if ``text`` is None.
    text : str, optional
        Printed instead of the table.
    """
    if options.json:
        print(json.dumps(_finite(values), indent=2))
    else:
        print(table(values) if text is None else text)


def on_terminal():
    """Return whether stderr is an open terminal, where progress is shown."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError, OSError):  # None, or closed
        return False


def table(values):
    """Format a table of two columns, names and values; nested dicts get one row per entry, numbers six digits."""
    rows = list(_rows(values, ""))
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rows(values, prefix):
    for name, value in values.items():
        name = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _rows(value, f"{name} ")
        else:
            yield name, f"{value:.6g}" if isinstance(value, float) else value


def _finite(value):
    """Replace NaN and infinities, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
