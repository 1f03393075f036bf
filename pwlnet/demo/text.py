"""Text that both parts of the demonstration print."""

from .. import store


def text_table(headings, rows):
    """Format a table with aligned columns: the first one to the left, the others to the right."""
    table = [headings, *rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(headings))]
    aligned = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in table]
    return "\n".join("  ".join(row) for row in aligned)


def verdict(path):
    """Verify a store; return the result as a sentence."""
    with store.open(path) as opened:
        problems = opened.verify() + opened.lines().check()
    result = "; ".join(problems) or "verified: checksums, consistency, forward passes in sampled segments"
    return f"{path} ({path.stat().st_size / 2**20:.1f} MiB) {result}"
