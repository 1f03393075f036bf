"""Create a store, resume one, and write all lines in one call."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import ArrayLike, Dtype, PathLike
from ..errors import DigestMismatchError, InputError, StoreError
from ..file_locks import refuse_locked
from ..publishing import publish
from ..scheduling import n_threads
from ..tolerances import DEFAULT, Tolerances, as_tolerances
from ..validation import as_path, check_network
from . import schema
from .header import write_header
from .image import new_image
from .in_chunks import closing
from .network_file import write_network_group
from .provenance import make_provenance
from .reader import RegionStore
from .results import ResultFile
from .writer import StoreWriter, Written, WrittenPlanes

if TYPE_CHECKING:
    from ..network import Network
    from ..partition.lines.partitions import LinePartitions
    from ..partition.planes.partitions import PlanePartitions


def create(
    path: PathLike,
    network: Network,
    *,
    parameters: dict[str, Any] | None = None,
    seeds: dict[str, Any] | None = None,
    tolerances: Tolerances = DEFAULT,
    slope_dtype: Dtype | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    compression: str = "gzip",
) -> StoreWriter:
    """Create a store for the results of one network.

    Parameters
    ----------
    path : str or path
    network : Network
        It is stored, too.
    parameters : dict, optional
        What the results are computed with (options, names of data), of JSON values; part of the provenance. A store is
        resumed, and merged with others, only with the same parameters.
    seeds : dict, optional
        Seeds of random numbers (int or list of int), by what was drawn; as for parameters.
    tolerances : Tolerances, optional
        All results of the store are computed with these.
    slope_dtype : {"float64", "float32"}, optional
        Type of the slope changes of lines, as for ``partition_lines``.
    overwrite : bool, optional
        Replace an existing file. By default that is refused.
    threads : int, optional
        For compression; all processors by default. The file does not depend on it.
    compression : str, optional
        "gzip", "lzf" or "none"; "zstd" or "blosc" need hdf5plugin, for reading, too.

    Returns
    -------
    StoreWriter
        A context manager.

    Raises
    ------
    StoreError
        The file exists or can't be written; nothing of it is left then.
    InputError
        The parameters can't be written as JSON; an unknown compression.
    ImportError
        The compression needs hdf5plugin.

    See Also
    --------
    open : read a store.
    resume : append to an existing store.
    save_lines : write lines in one call.
    """
    tolerances = as_tolerances(tolerances).with_slope_dtype(slope_dtype)
    provenance = make_provenance(parameters, seeds, tolerances)
    check_network(network)
    return _create(as_path(path), network, provenance, tolerances, compression, overwrite, n_threads(threads))


def create_like(
    store: RegionStore,
    path: PathLike,
    *,
    seeds: dict[str, Any] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
) -> StoreWriter:
    """Create a store with network, provenance and compression of another; ``seeds`` replace those of the other.

    Parameters
    ----------
    store : RegionStore
    path, seeds, overwrite, threads
        As for ``create``.

    Returns
    -------
    StoreWriter
    """
    provenance = {**store.provenance, "seeds": store.provenance["seeds"] if seeds is None else seeds}
    return _create(path, store.network, provenance, store.tolerances, store.compression, overwrite, n_threads(threads))


def _create(path, network, provenance, tolerances, compression, overwrite, threads):
    def write(file):
        write_header(file, network.digest, provenance, compression)
        write_network_group(file["network"], network)
        ResultFile(file, network, compression, threads).create("lines")
        options = {"maxshape": (None,), "chunks": (schema.COMMITS_PER_CHUNK,), **schema.CREATION}
        file.create_dataset(schema.COMMITS, (0,), schema.COMMIT, **options)

    publish(path, new_image(write), overwrite=overwrite)
    return StoreWriter(path, network, tolerances, threads, compression)


def resume(
    path: PathLike,
    network: Network | None = None,
    *,
    parameters: dict[str, Any] | None = None,
    seeds: dict[str, Any] | None = None,
    tolerances: Tolerances | None = None,
    threads: int | None = None,
) -> StoreWriter:
    """Open a store to append after its last finished batch, whatever stopped the program that wrote it.

    Parameters
    ----------
    path : str or path
    network : Network, optional
        Refuse a store of another network.
    parameters, seeds : dict, optional
        Refuse a store that was made with others.
    tolerances : Tolerances, optional
        Refuse a store of other tolerances.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    StoreWriter
        ``n_lines`` is what it holds already. The finished store has the digest (``RegionStore.digest``) of one that was never
        stopped.

    Raises
    ------
    StoreError
        There is no such store, it is damaged or not verified, or another program writes to it.
    ChecksumError
        The last batch is damaged.
    DigestMismatchError
        Network, parameters, seeds or tolerances differ from those of the store.
    FormatVersionError
        A newer pwlnet wrote it.

    See Also
    --------
    repair : for a store that is damaged or not verified.
    """
    refuse_locked(as_path(path))
    with RegionStore(path) as store:
        if not store.is_verified:
            raise StoreError(
                f"{path} was changed or copied by another program, so nothing can be appended; run pwlnet repair first"
            )
        if not store.has_lines:
            raise StoreError(f"{path} holds a network only; create a new store for results")
        if store.is_linked:
            raise StoreError(f"{path} is linked to other stores, so nothing can be appended; merge them first")
        store.check_made_with(network, parameters, seeds, tolerances)
        problems = store.last_batch_problems()
        if problems:
            raise StoreError(f"{problems[0]}; repair the store before appending") from None
        arguments = store.network, store.tolerances, n_threads(threads), store.compression
    return StoreWriter(path, *arguments)


_resume = resume


def save_lines(
    path: PathLike,
    lines: LinePartitions | Iterable[LinePartitions],
    *,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    compression: str = "gzip",
) -> Written:
    """Write line partitions to a new store.

    Parameters
    ----------
    path : str or path
    lines : LinePartitions or iterable of LinePartitions
        Of one network. From an iterator, such as ``iter_line_partitions``, each is written to the disk and released before
        the next one is requested. Whatever stops it, Ctrl-C included, leaves a store of those before.
    parameters, overwrite, threads, compression
        As for ``create``.

    Returns
    -------
    Written
        ``n_lines`` and ``n_segments`` of the store.

    Raises
    ------
    StoreError, InputError
        As for ``create`` and ``StoreWriter.append_lines``. InputError, too, for an empty iterable.
    """
    options = {"parameters": parameters, "overwrite": overwrite, "threads": threads, "compression": compression}
    return _save(path, lines, "lines", options).written


def save_planes(
    path: PathLike,
    planes: PlanePartitions | Iterable[PlanePartitions],
    *,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    compression: str = "gzip",
) -> WrittenPlanes:
    """Write plane partitions to a new store.

    Parameters
    ----------
    path : str or path
    planes : PlanePartitions or iterable of PlanePartitions
        Of one network. From an iterator, such as ``iter_plane_partitions``, each is written to the disk and released before
        the next one is requested. Whatever stops it, Ctrl-C included, leaves a store of those before.
    parameters, overwrite, threads, compression
        As for ``create``.

    Returns
    -------
    WrittenPlanes
        ``n_planes`` and ``n_polygons`` of the store.

    Raises
    ------
    StoreError, InputError
        As for ``create`` and ``StoreWriter.append_planes``. InputError, too, for an empty iterable.
    """
    options = {"parameters": parameters, "overwrite": overwrite, "threads": threads, "compression": compression}
    return _save(path, planes, "planes", options).written_planes


def _save(path, results, name, options):
    """Write line or plane partitions, or an iterable of them, to a new store: StoreWriter, closed."""
    with closing(iter([results] if hasattr(results, "network") else results)) as batches:
        first = next(batches, None)
        if first is None:
            raise InputError(f"{name} gave no {name[:-1]} partitions, so the network is not known; give at least one")
        tolerances = getattr(first, "tolerances", DEFAULT)
        with create(path, first.network, tolerances=tolerances, **options) as writer:
            append = {"lines": writer.append_lines, "planes": writer.append_planes}[name]
            try:
                for batch in itertools.chain([first], batches):
                    append(batch)
            except BaseException as error:
                error.add_note(f"{path} holds the first {writer.n_rows(name)} {name}")
                raise
    return writer


def save_long_line(
    path: PathLike, network: Network, start: ArrayLike, end: ArrayLike, *, resume: bool = False,
    parameters: dict[str, Any] | None = None, overwrite: bool = False, compression: str = "gzip",
    tolerances: Tolerances = DEFAULT, slope_dtype: Dtype | None = None, **options: Any,
) -> Written:  # fmt: skip
    """Partition one line and write it to a store chunk by chunk, a bounded number of breakpoints in memory.

    Exact up to rounding, and bit for bit what ``partition_lines`` and ``save_lines`` give.

    Parameters
    ----------
    path : str or path
    network : Network
    start, end : float64[D] or float64[*input_shape]
    resume : bool
        Continue a store that exists. Whatever stopped the program, Ctrl-C included, finished chunks are kept.
    parameters, overwrite, compression, tolerances, slope_dtype
        As for ``create``.
    **options
        As for ``StoreWriter.append_long_line``: ``max_points``, ``max_segments``, ``progress``, ``threads``, ``memory``,
        ``n_checked``.

    Returns
    -------
    Written

    Raises
    ------
    StoreError
        As for ``create`` and ``resume``.
    DigestMismatchError
        The store belongs to another network, or its line has other ends.
    ShapeError, InputError, CapacityError, NumericalError
        As for ``iter_line_chunks``.
    """
    made_with = {"parameters": parameters, "tolerances": as_tolerances(tolerances).with_slope_dtype(slope_dtype)}
    made_with["threads"] = options.get("threads")
    with open_or_create(path, network, resume, overwrite, compression, made_with) as writer:
        if writer.n_lines:
            _check_row(path, "lines", [network.as_points(start, "start")[0], network.as_points(end, "end")[0]])
            return writer.written
        try:
            writer.append_long_line(start, end, **options)
        except BaseException as error:
            error.add_note(f"{path} holds the line up to t = {writer.unfinished_t or 0.0:.6g}; resume=True continues it")
            raise
        return writer.written


def save_large_plane(
    path: PathLike, network: Network, origin: ArrayLike, e1: ArrayLike, e2: ArrayLike, polygon: ArrayLike, *,
    resume: bool = False, parameters: dict[str, Any] | None = None, overwrite: bool = False, compression: str = "gzip",
    **options: Any,
) -> WrittenPlanes:  # fmt: skip
    """Partition one plane and write it to a store chunk by chunk, a bounded number of polygons in memory.

    Exact up to rounding, as ``partition_planes``.

    Parameters
    ----------
    path : str or path
    network : Network
    origin, e1, e2 : float64[D] or float64[*input_shape]
    polygon : float64[V, 2]
    resume : bool
        Continue a store that exists. Whatever stopped the program, Ctrl-C included, finished chunks are kept.
    parameters, overwrite, compression
        As for ``create``.
    **options
        As for ``StoreWriter.append_large_plane``: ``max_polygons``, ``progress``, ``threads``, ``n_checked``.

    Returns
    -------
    WrittenPlanes

    Raises
    ------
    StoreError
        As for ``create`` and ``resume``.
    DigestMismatchError
        The store belongs to another network or plane.
    ShapeError, InputError, NumericalError
        As for ``iter_plane_chunks``.
    """
    from ..partition.planes.polygons import as_planes

    made_with = {"parameters": parameters, "threads": options.get("threads")}
    with open_or_create(path, network, resume, overwrite, compression, made_with) as writer:
        if writer.n_planes:
            _check_row(path, "planes", as_planes(network, origin, e1, e2, polygon)[0][:3])
            return writer.written_planes
        try:
            writer.append_large_plane(origin, e1, e2, polygon, **options)
        except BaseException as error:
            error.add_note(f"{path} holds {writer.unfinished_polygons or 0} polygons of the plane; resume=True continues it")
            raise
        return writer.written_planes


def open_or_create(path, network, resume, overwrite, compression, made_with):
    """Continue a store, or create it: StoreWriter."""
    if resume and Path(path).exists():
        return _resume(path, network, **made_with)
    return create(path, network, overwrite=overwrite, compression=compression, **made_with)


def _check_row(path, name, points):
    """Validate that a store holds the line or the plane that begins with these points, and no other."""
    with RegionStore(path) as store:
        n, datasets = store.n_rows(name), schema.KINDS[name].datasets[: len(points)]
        stored = [store.read_rows(dataset, 0, 1)[0] for dataset in datasets]
    if n != 1 or not all(np.array_equal(*pair) for pair in zip(stored, points, strict=True)):
        raise DigestMismatchError(f"{path} holds {n} {name}, and not only the given one; give another path")
