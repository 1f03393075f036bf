"""Result datasets of a store that is being written: their shapes, compression, and the rows that batches append.

Legend: as in ``schema.py``.
"""

import numpy as np

from .._optional import require
from ..errors import InputError
from . import schema
from .chunks import ChunkAppender

_BUILT_IN = {
    "gzip": schema.CREATION,
    "lzf": {"shuffle": True, "compression": "lzf", "fletcher32": True},
    "none": {"fletcher32": True},
}
_PLUGINS = {  # the class of hdf5plugin, and its options
    "zstd": ("Zstd", {"clevel": 3}),
    "blosc": ("Blosc2", {"cname": "zstd", "clevel": 3, "filters": 1}),
}
NAMES = (*_BUILT_IN, *_PLUGINS)


def creation_options(name):
    """Return the options of ``create_dataset`` for a compression.

    Parameters
    ----------
    name : str
        One of NAMES. "zstd" and "blosc" need hdf5plugin, for reading too.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        The compression is unknown.
    ImportError
        It needs hdf5plugin.
    """
    if name in _BUILT_IN:
        return dict(_BUILT_IN[name])
    if name not in _PLUGINS:
        raise InputError(f"compression is {name!r}; give one of {', '.join(NAMES)}")
    kind, options = _PLUGINS[name]
    plugin = getattr(load_plugin(name), kind)(**options)
    return {"shuffle": kind == "Zstd", "fletcher32": True, **plugin}


def load_plugin(name):
    """Import hdf5plugin, which adds a compression to HDF5; no-op for those that are built in."""
    if name in _PLUGINS:
        return require("hdf5plugin", "compression", f"compression {name!r}")
    return None


def axis_sizes(network):
    """Return the sizes of the axes that the network determines, by their letter, and of coordinates (u, v): dict."""
    return {
        "D": network.n_inputs,
        "O": network.n_outputs,
        "K": network.n_neurons,
        "S": len(network.op_graph.switching),
        "W": int(network.pattern_layout.word_offsets[-1]),
        "U": -(-network.n_neurons // 64),
        "2": 2,
    }


def row_shape(dataset, sizes, free=()):
    """Return the shape of a row; ``free`` has the lengths of the axes "*", in order."""
    free = iter(free)
    return tuple(sizes[dim] if dim != "*" else next(free) for dim in dataset.dims[1:])


def free_lengths(dataset, shape):
    """Return the lengths of a dataset's axes "*", given its shape."""
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
        self._appenders = {}

    def create(self, name, free=None):
        """Create the empty datasets of a kind; offsets start with their 0.

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
            options = {"maxshape": (None, *(n or None for n in row)), "chunks": (rows, *(max(1, n) for n in row)), **filters}
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
            self._appender(dataset).append(array, self._threads)
            written.append((dataset.path, array))
        return last, written

    def _appender(self, dataset):
        if dataset.path not in self._appenders:
            self._appenders[dataset.path] = ChunkAppender(self._file[dataset.path])
        return self._appenders[dataset.path]
