"""The lines that a command is about, and parts of them: nothing is read before it is needed."""

from .arguments import RandomPoints

_NAMES = {  # kind of result: fields of both ends, what a row is, how it differs
    "lines": (("starts", "ends"), "line", "other ends than the line that was asked for; give the same points"),
    "attributions": (
        ("baselines", "inputs"),
        "attribution",
        "another baseline or input than was asked for; give the same",
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
        What is computed of them.

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
        """Ends of lines ``first`` to ``last`` (not included): two float64[last - first, D]; errors as for LineEnds."""
        return self._line_ends.read(first, last)

    def rows(self, first, last):
        """Lines ``first`` to ``last`` (not included): ChosenLines.

        Raises
        ------
        InputError
            There are no such lines.
        """
        from ..errors import InputError

        if last > self.n_lines:
            raise InputError(f"--rows is {first}:{last}, but there are {self.n_lines} lines; give LAST up to {self.n_lines}")
        ends = (self._part(points, first, last) for points in (self.starts, self.ends))
        return ChosenLines(self.network, *ends, kind=self._kind)

    def behind(self, first):
        """Lines from ``first`` on, maybe none: ChosenLines."""
        if not first:
            return self
        if first == self.n_lines:
            return NoLines()
        return self.rows(first, self.n_lines)

    def check_begun(self, path, n_lines):
        """Refuse a store whose last line, or attribution, is another one.

        Parameters
        ----------
        path : str
        n_lines : int
            In the store.

        Raises
        ------
        DigestMismatchError
            It has more lines than these, or its last line has other ends.
        """
        import numpy as np

        from .. import store
        from ..errors import DigestMismatchError

        fields, row, difference = _NAMES[self._kind]
        if n_lines > self.n_lines:
            raise DigestMismatchError(
                f"{path} holds {n_lines} {self._kind}, but {self.n_lines} were asked for; write to a new store"
            )
        if not n_lines:
            return
        with store.open(path) as opened:
            last = opened.read(self._kind, n_lines - 1, n_lines)
        if not all(np.array_equal(last[field], wanted) for field, wanted in zip(fields, self.read(n_lines - 1, n_lines))):
            raise DigestMismatchError(f"{row} {n_lines - 1} of {path} has {difference}, or write to a new store")

    def _part(self, points, first, last):
        """Some of the points; a single one serves for all lines."""
        if isinstance(points, RandomPoints):
            return points.rows(first, last)
        shape = points.shape
        single = len(shape) < 2 or shape == self.network.input_shape or shape[0] == 1
        return points if single else points[first:last]


class NoLines:
    """What is left of lines that are done."""

    n_lines = 0
