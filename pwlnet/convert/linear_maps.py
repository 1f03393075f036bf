"""Linear maps that are not fully connected: sparse matrices, and matrices along one axis, as nodes that exist.

A sparse map is stored as rows of equal width (ELLPACK): the entries that the rows read are copied, scaled and added up. A map
along one axis is the same at all other positions, so its matrix is stored once: as a 1 x 1 convolution whose channels are
that axis, in one group or, where the matrix is banded, in one group for each block of rows.
"""

import numpy as np

BLOCK = 32  # outputs in a block of a banded matrix
BYTES_DENSE, BYTES_SPARSE = 8, 32  # per weight; with its index and the two values that each evaluation stores


def sparse_linear(graph, x, matrix, shape, shift=None, *, name):
    """Multiply the entries of a tensor by a sparse matrix and add constants.

    Parameters
    ----------
    graph : Graph
    x : Tensor
    matrix : scipy.sparse.csr_array or csr_matrix
        float64[entries of ``shape``, entries of ``x``], in the order in which NumPy flattens them.
    shape : tuple of int
    shift : float64[*], optional
        Broadcasts to ``shape``.
    name : str

    Returns
    -------
    Tensor
        Of ``shape``.
    """
    matrix = matrix.tocsr(copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    rows, columns = matrix.shape
    widths = np.diff(matrix.indptr)
    classes = _width_classes(widths)
    padded = sum(width * len(members) for width, members in classes)
    if not classes:
        y = graph.layout(x, np.full(rows, -1), name=name)
    elif rows * columns * BYTES_DENSE <= padded * BYTES_SPARSE:
        y = graph.linear(graph.reshape(x, (columns,), name=name), matrix.toarray(), name=name)
    else:
        y = _row_sums(graph, x, matrix, classes, name)
    y = graph.reshape(y, shape, name=name)
    return y if shift is None or not np.any(shift) else graph.scale_shift(y, None, shift, name=name)


def _width_classes(widths):
    """Group rows of similar width, as a list of (width, rows): one group unless padding to the widest row doubles the work."""
    rows = np.flatnonzero(widths)
    if not rows.size:
        return []
    widest = int(widths[rows].max())
    if widest * rows.size <= 2 * int(widths[rows].sum()):
        return [(widest, rows)]
    powers = np.ceil(np.log2(widths[rows])).astype(np.int64)
    return [(int(widths[rows[powers == p]].max()), rows[powers == p]) for p in np.unique(powers)]


def _row_sums(graph, x, matrix, classes, name):
    """Return the product as float64[rows] of a tensor: for each class a gather, a scaling and a sum over windows."""
    parts, order, done = [], np.full(matrix.shape[0], -1, np.int64), 0
    for width, rows in classes:
        starts, counts = matrix.indptr[rows].astype(np.int64), np.diff(matrix.indptr)[rows].astype(np.int64)
        tap = np.arange(width)
        position = starts[:, None] + np.where(tap < counts[:, None], tap, 0)  # a short row repeats its first entry ...
        weights = np.where(tap < counts[:, None], matrix.data[position], 0.0)  # ... with weight 0
        y = graph.layout(x, matrix.indices[position].reshape(1, -1, 1, width), name=name)
        if not (weights == 1.0).all():
            y = graph.scale_shift(y, weights.reshape(1, -1, 1, width), name=name)
        if width > 1:
            y = graph.avg_pool(y, (1, width), divisor=1, name=name)
        parts.append(graph.reshape(y, (-1,), name=name))
        order[rows] = done + np.arange(len(rows))
        done += len(rows)
    return graph.layout(graph.concat(parts, 0, name=name), order, name=name)


def along_axis(graph, x, matrix, axis, *, name):
    """Multiply one axis of a tensor by a matrix, the same at all positions of the other axes.

    Parameters
    ----------
    graph : Graph
    x : Tensor
    matrix : float64[m, n]
        n is the length of the axis.
    axis : int
    name : str

    Returns
    -------
    Tensor
        Of the shape of ``x``, with m in place of n.
    """
    m, n = matrix.shape
    axis %= len(x.shape)
    if ((matrix != 0).sum(1) <= 1).all() and ((matrix == 0) | (matrix == 1)).all():  # a copy of entries
        chosen = np.take(x.indices(), matrix.argmax(1), axis=axis)
        used = matrix.any(1).reshape((-1,) + (1,) * (len(x.shape) - axis - 1))
        return graph.layout(x, np.where(used, chosen, -1), name=name)
    numbers = np.moveaxis(x.indices(), axis, -1)
    others = numbers.shape[:-1]
    starts, width = _bands(matrix)
    if 2 * len(starts) * BLOCK * width > m * n:
        y = graph.linear(graph.layout(x, numbers.reshape(-1, n), name=name), matrix, name=name)
        return graph.layout(y, np.moveaxis(y.indices().reshape(*others, m), -1, axis), name=name)
    columns = starts[:, None] + np.arange(width)
    weights = np.zeros((len(starts), BLOCK, width))
    for g, first in enumerate(range(0, m, BLOCK)):
        block = matrix[first : first + BLOCK, columns[g]]
        weights[g, : len(block)] = block
    image = graph.layout(x, numbers.reshape(-1, n).T[columns.ravel()][None, :, None, :], name=name)
    y = graph.conv(image, weights.reshape(-1, width, 1, 1), groups=len(starts), name=name)
    kept = y.indices().reshape(-1, *others)[:m]
    return graph.layout(y, np.moveaxis(kept, 0, axis), name=name)


def _bands(matrix):
    """Return the first column that each block of rows reads, int64[blocks], and the number of columns that all may read."""
    n, spans = matrix.shape[1], []
    for first in range(0, len(matrix), BLOCK):
        used = np.flatnonzero(matrix[first : first + BLOCK].any(0))
        spans.append((used[0], used[-1] + 1) if used.size else (0, 1))
    starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
    width = int((ends - starts).max())
    return np.minimum(starts, n - width), width
