"""Points on lines, and the starts and ends of many lines, read in slices.

Starts and ends are arrays, or data on disk that have a shape and can be sliced.

Legend: L lines, D inputs.
"""

import numpy as np

from ...errors import ShapeError
from ...validation import as_points, check_network, check_points_shape, sliceable_tensor


class RowRange:
    """Consecutive rows of a source, read when they are sliced.

    Parameters
    ----------
    source
        Anything with a shape that can be sliced.
    first, last : int
        The rows ``source[first:last]``.
    """

    def __init__(self, source, first, last):
        self.shape = (last - first, *source.shape[1:])
        self._source, self._first = source, first

    def __len__(self):
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, rows):
        """Read a slice of the rows."""
        first, last, _ = rows.indices(len(self))
        return self._source[self._first + first : self._first + max(first, last)]

    def __array__(self, dtype=None, copy=None):
        """Read all rows."""
        return np.asarray(self[:], dtype)


class LineEnds:
    """Starts and ends of L lines; a single row is used for all rows of the other.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D] or float64[L, *input_shape]
        Anything with a shape that can be sliced (arrays, np.memmap, h5py.Dataset), or that np.asarray accepts.
    names : (str, str), optional
        Names of the two arguments in error messages.

    Raises
    ------
    ShapeError
        ``starts`` and ``ends`` do not have the same number of rows, or are not points of the network.
    InputError
        A single row contains NaN, infinities or something else than real numbers.
    """

    def __init__(self, network, starts, ends, *, names=("starts", "ends")):
        self._network = network
        self._sources = {name: self._sliceable(name, points) for name, points in zip(names, (starts, ends), strict=True)}
        n_starts, n_ends = (source.shape[0] for source in self._sources.values())
        if n_starts != n_ends and 1 not in (n_starts, n_ends):
            start, end = names
            raise ShapeError(f"{start} has {n_starts} rows, but {end} has {n_ends}; give one {end[:-1]} for each {start[:-1]}")
        self._length = n_starts if n_ends == 1 else n_ends
        self._single = {name: self._read(name, 0, 1) for name, source in self._sources.items() if source.shape[0] == 1}

    def __len__(self):
        """Return the number of lines."""
        return self._length

    def read(self, first, last):
        """Read starts and ends of lines ``first`` to ``last`` (not included): two new float64[last - first, D].

        Raises
        ------
        InputError
            They contain NaN, infinities or something else than real numbers.
        """
        return [
            np.repeat(self._single[name], last - first, axis=0) if name in self._single else self._read(name, first, last)
            for name in self._sources
        ]

    def select(self, first, last):
        """Return starts and ends of lines ``first`` to ``last`` (not included) without reading them.

        Returns
        -------
        starts, ends
            Arguments for another ``LineEnds``.
        """
        return [source if name in self._single else RowRange(source, first, last) for name, source in self._sources.items()]

    def load(self, first, last):
        """Return starts and ends of lines ``first`` to ``last`` (not included) as arrays; a single row stays one.

        Returns
        -------
        starts, ends : float64[last - first, D] or float64[1, D]
            Arguments for another ``LineEnds``, which needs none of the sources of this one.

        Raises
        ------
        InputError
            As for ``read``.
        """
        return [self._single[name] if name in self._single else self._read(name, first, last) for name in self._sources]

    def _sliceable(self, name, points):
        """Return the points unchanged if they have rows and can be sliced, otherwise as rows of an array."""
        network, points = check_network(self._network), sliceable_tensor(points, name)
        shape = tuple(getattr(points, "shape", ()))
        if len(shape) < 2 or shape == network.input_shape:
            return network.as_points(points, name)
        check_points_shape(shape, network.n_inputs, network.input_shape, name)
        return points

    def _read(self, name, first, last):
        """Read and validate rows of one source: a new array."""
        network = self._network
        return np.array(as_points(self._sources[name][first:last], network.n_inputs, network.input_shape, name, first))


def points_at(start, end, t):
    """Return the points start + t (end - start): float64[len(t), D]; computed from the nearer end, so the ends are exact."""
    t = np.asarray(t)
    direction, column = end - start, t[:, None]
    points = np.where(column <= 0.5, start + column * direction, end - (1.0 - column) * direction)
    points[t == 0.0], points[t == 1.0] = start, end
    return points


def lengths(starts, ends):
    """Return the Euclidean lengths of lines between starts and ends float64[L, D]: float64[L]; squares may not overflow."""
    difference = ends - starts
    with np.errstate(over="ignore", under="ignore"):
        length = np.linalg.norm(difference, axis=1)
        extreme = ~((length > 2.0**-500) & (length < 2.0**500))
        if extreme.any():
            _, exponent = np.frexp(np.abs(difference[extreme]).max(axis=1, initial=0.0))
            length[extreme] = np.ldexp(np.linalg.norm(np.ldexp(difference[extreme], -exponent[:, None]), axis=1), exponent)
    return length
