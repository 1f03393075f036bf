"""The lines that a command processes. Starts and ends are read from their files when they are needed."""

_NAMES = {  # kind of result: fields of both ends, name of one result, how a stored one differs
    "lines": (("starts", "ends"), "line", "other ends than the requested line; give the same points"),
    "attributions": (
        ("baselines", "inputs"),
        "attribution",
        "another baseline or input than requested; give the same",
    ),
}


class ChosenLines:
    """Lines of a network.

    Parameters
    ----------
    network : Network
    starts, ends
        As for ``iter_line_partitions``, or RandomPoints.
    kind : {"lines", "attributions"}, optional
        What is computed along them.

    Attributes
    ----------
    network, starts, ends
    n_lines : int
    """

    def __init__(self, network, starts, ends, *, kind="lines"):
        from ..partition.lines.ends import LineEnds

        self.network, self.starts, self.ends = network, starts, ends
        self._kind = kind
        self._line_ends = LineEnds(network, starts, ends, names=_NAMES[kind][0])
        self.n_lines = len(self._line_ends)

    def read(self, first, last):
        """Read the ends of lines ``first`` to ``last`` (not included): two float64[last - first, D]; errors as for LineEnds."""
        return self._line_ends.read(first, last)

    def select(self, first, last):
        """Select lines ``first`` to ``last`` (not included): ChosenLines.

        Raises
        ------
        InputError
            There are fewer lines.
        """
        from ..errors import InputError

        if last > self.n_lines:
            raise InputError(f"--rows is {first}:{last}, but there are {self.n_lines} lines; give LAST up to {self.n_lines}")
        return ChosenLines(self.network, *self._line_ends.select(first, last), kind=self._kind)

    def check_resumable(self, path, n_lines):
        """Refuse to resume a store whose last line, or attribution, is not one of these.

        Parameters
        ----------
        path : str
        n_lines : int
            Number in the store.

        Raises
        ------
        DigestMismatchError
            The store has more lines than these, or its last line has other ends.
        """
        import numpy as np

        from .. import store
        from ..errors import DigestMismatchError

        fields, row, difference = _NAMES[self._kind]
        if n_lines > self.n_lines:
            raise DigestMismatchError(
                f"{path} has {n_lines} {self._kind}, but {self.n_lines} were requested; write to a new store"
            )
        if not n_lines:
            return
        with store.open(path) as opened:
            last = opened.read(self._kind, n_lines - 1, n_lines)
        if not all(np.array_equal(last[field], expected) for field, expected in zip(fields, self.read(n_lines - 1, n_lines))):
            raise DigestMismatchError(f"{row} {n_lines - 1} of {path} has {difference}, or write to a new store")
