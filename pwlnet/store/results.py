"""Result datasets in the file: their shapes, made from the schema, and the rows that batches append.

Legend: as in ``schema.py``.
"""

import numpy as np

from . import schema
from .chunks import GrowingDataset
from .compression import creation_options


def axis_sizes(network):
    """Sizes of the axes that the network gives, by their letter: dict."""
    layout = network.pattern_layout
    return {
        "D": network.n_inputs,
        "O": network.n_outputs,
        "K": network.n_neurons,
        "S": int(np.count_nonzero(np.diff(network.program.neuron_offsets))),
        "W": int(layout.word_offsets[-1]),
        "2": 2,
        "3": 3,
    }


def row_shape(dataset, sizes, free=()):
    """Shape of a row; ``free`` has the lengths of the axes "*", in order."""
    free = iter(free)
    return tuple(sizes[dim] if dim != "*" else next(free) for dim in dataset.dims[1:])


def free_lengths(dataset, shape):
    """Lengths of a dataset's axes "*", of its shape."""
    return tuple(int(n) for dim, n in zip(dataset.dims[1:], shape[1:], strict=True) if dim == "*")


class ResultFile:
    """The result datasets of a store that is being written.

    Parameters
    ----------
    file : h5py.File
    network : Network
    compression : str
    threads : int
    """

    def __init__(self, file, network, compression, threads):
        self._file, self._sizes, self._threads = file, axis_sizes(network), threads
        self._options = creation_options(compression)
        self._growing = {}

    def create(self, name, free=None):
        """Make the empty datasets of a kind; offsets start with their 0.

        Parameters
        ----------
        name : str
        free : dict, optional
            Lengths of axes "*", by field.
        """
        for dataset in schema.KINDS[name].stored:
            row = row_shape(dataset, self._sizes, (free or {}).get(dataset.field, ()))
            dtype = np.dtype(dataset.dtype)
            rows = schema.chunk_rows(dtype.itemsize * int(np.prod(row, dtype=np.int64)))
            filters = {} if 0 in row else self._options
            options = {"maxshape": (None, *row), "chunks": (rows, *(max(1, n) for n in row)), **filters}
            self._file.create_dataset(dataset.path, data=np.zeros((dataset.lead, *row), dtype), **options)

    def append(self, name, arrays, first, bases):
        """Append a batch.

        Parameters
        ----------
        name : str
        arrays : dict of str to ndarray
            By field; offsets without their 0, counted from the batch's own first row.
        first : int64[axes]
            Rows before it, along the kind's axes.
        bases : int64[axes]
            Rows from which the batch's offsets count.

        Returns
        -------
        (int64[axes], list of (str, ndarray))
            Rows after it, and the rows as they were written, by path.
        """
        kind = schema.KINDS[name]
        if kind.datasets[0].path not in self._file:
            self.create(name, {d.field: free_lengths(d, arrays[d.field].shape) for d in kind.stored})
        last, written = first.copy(), []
        for dataset in kind.stored:
            array = arrays[dataset.field]
            axis = kind.axes.index(dataset.axis)
            last[axis] = first[axis] + len(array)
            if dataset.lead:  # offsets count from the store's first row
                array = array + bases[kind.axes.index(kind.counts[dataset.path])]
            self._dataset(dataset).append(array, self._threads)
            written.append((dataset.path, array))
        return last, written

    def _dataset(self, dataset):
        if dataset.path not in self._growing:
            self._growing[dataset.path] = GrowingDataset(self._file[dataset.path])
        return self._growing[dataset.path]
