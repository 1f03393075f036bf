"""Networks in HDF5: the group /network of every store, and files that hold only a network."""

from __future__ import annotations

import h5py
import numpy as np

from .._types import PathLike
from ..errors import ChecksumError, DigestMismatchError, StoreError
from ..kernels.ir.program import Program
from ..network import Network, program_digest
from ..publishing import publish
from ..tolerances import DEFAULT
from . import schema
from .access import open_for_reading, reading, warn_unverified
from .digest import digest_arrays
from .header import check_format, read_text, write_header, write_text
from .image import new_image
from .provenance import make_provenance


def save_network(path: PathLike, network: Network) -> None:
    """Write a network to a new file.

    Parameters
    ----------
    path : str or path
    network : Network

    Raises
    ------
    StoreError
        The file exists or can't be written; nothing of it is left then.

    See Also
    --------
    pwlnet.load_network : reads it back, bit for bit.
    """

    def write(file):
        write_header(file, network.digest, make_provenance(None, None, DEFAULT), "gzip")
        write_network_group(file["network"], network)

    publish(path, new_image(write))


def read_network_file(path: PathLike) -> Network:
    """Read the network of a store or of a file that ``Network.save`` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Network

    Raises
    ------
    StoreError
        There is no such file, or it is not one of pwlnet; ChecksumError, FormatVersionError, DigestMismatchError if the
        reason is one of these.

    Warns
    -----
    UnverifiedStoreWarning
        Another program changed or copied the file. The network has the digest that is stored with it.
    """
    with open_for_reading(path) as file:
        check_format(file, path)
        network = read_stored_network(file, path)
        if not file.container.is_verified:
            warn_unverified(path, stacklevel=3)
        return network


def read_stored_network(file, path):
    """Read /network of an open store and compare it with the digest in the header; errors as ``read_network_file``."""
    with reading(path, "/network"):
        group, expected = file.member("/network"), read_text(file.header, "network-digest")
    network = read_network_group(group, path)
    if network.digest != expected:
        raise DigestMismatchError(
            f"{path} was made for the network {expected[:12]}, but holds the network {network.digest[:12]}; "
            "restore a copy of the file"
        )
    return network


def write_network_group(group, network):
    """Write a network into an HDF5 group: arrays, labels, and a digest of each of the two."""
    for dataset in schema.NETWORK:
        _create_whole(group, dataset, getattr(network.program, dataset.field))
    labels = _labels(network)
    for dataset in schema.NETWORK_LABELS:
        _create_whole(group, dataset, labels[dataset.field])
    write_text(group.attrs, "digest", network.digest)
    write_text(group.attrs, "labels-sha256", digest_arrays(labels.items()))


def read_network_group(group: h5py.Group, path: PathLike) -> Network:
    """Read a network from an HDF5 group.

    Parameters
    ----------
    group : h5py.Group
    path : str or path
        Of the file, for messages.

    Returns
    -------
    Network

    Raises
    ------
    ChecksumError
        The arrays don't match their checksums.
    StoreError
        Arrays are missing or can't be read.
    """
    with reading(path, "/network"):
        program = Program(**{d.field: _read_whole(group, d, path) for d in schema.NETWORK})
        labels = {d.field: _read_whole(group, d, path) for d in schema.NETWORK_LABELS}
        expected = read_text(group.attrs, "digest"), read_text(group.attrs, "labels-sha256")
        actual = program_digest(program), digest_arrays(labels.items())
    if actual != expected:
        raise ChecksumError(f"/network of {path} does not match its digest; the file is damaged, convert it again")
    names = tuple(name.decode() for name in labels["names"])
    shapes = {field: tuple(labels[field].tolist()) for field in ("input_shape", "output_shape")}
    return Network(program, names=names, **shapes)


def _labels(network):
    return {
        "input_shape": np.array(network.input_shape, np.int64),
        "output_shape": np.array(network.output_shape, np.int64),
        "names": np.array([name.encode() for name in network.names], np.bytes_),
    }


def _create_whole(group, dataset, array):
    """Write an array that never grows."""
    name = dataset.path.rpartition("/")[2]
    dtype = h5py.string_dtype("utf-8", array.dtype.itemsize) if dataset.dtype == "text" else dataset.dtype
    if array.size == 0:
        group.create_dataset(name, shape=array.shape, dtype=dtype)
        return
    rows = min(len(array), schema.chunk_rows(array.nbytes // len(array)))
    group.create_dataset(name, data=array.astype(dtype), chunks=(rows, *array.shape[1:]), **schema.CREATION)


def _read_whole(group, dataset, path):
    array = group[dataset.path.rpartition("/")[2]][()]
    if dataset.dtype == "text":
        return np.array([bytes(name) for name in array], np.bytes_)
    if array.dtype != np.dtype(dataset.dtype):
        raise StoreError(
            f"{dataset.path} of {path} has dtype {array.dtype}; {np.dtype(dataset.dtype)} is needed, restore a copy of the file"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))
