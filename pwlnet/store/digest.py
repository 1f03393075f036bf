"""Checksums of arrays: SHA-256 over names, dtypes, shapes and little-endian bytes."""

import hashlib

import numpy as np


def start_array(sha, name, dtype, shape):
    """Feed an array's name, dtype and shape to a hash; its bytes follow by ``add_bytes``, in any number of calls."""
    little = np.dtype(dtype).newbyteorder("<")
    sha.update(f"{name}:{little.str}:{tuple(int(n) for n in shape)};".encode())


def add_bytes(sha, array):
    """Feed an array's entries, in C order, to a hash."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    sha.update(little.reshape(-1).view(np.uint8))


def digest_arrays(arrays):
    """Compute the SHA-256 of named arrays.

    Parameters
    ----------
    arrays : iterable of (str, ndarray)
        In an order that is part of the digest.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for name, array in arrays:
        start_array(sha, name, array.dtype, array.shape)
        add_bytes(sha, array)
    return sha.hexdigest()
