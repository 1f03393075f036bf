"""Making a store, going on with one, and writing all lines in one call."""

import contextlib
import itertools

from ..errors import InputError, StoreError
from ..evaluate import n_threads
from ..tolerances import DEFAULT
from . import schema
from .access import new_image, publish, refuse_locked
from .header import write_header
from .network_file import write_network_group
from .provenance import make_provenance
from .reader import RegionStore
from .results import ResultFile
from .writer import StoreWriter


def create(
    path, network, *, parameters=None, seeds=None, tolerances=DEFAULT, overwrite=False, threads=None, compression="gzip"
):
    """Make a store for the results of one network.

    Parameters
    ----------
    path : str or path
    network : Network
        Becomes part of the store.
    parameters : dict, optional
        What the results are computed with (options, names of data), as JSON can hold it; part of the provenance. A store
        goes on with the same parameters only, and is merged only with stores of the same ones.
    seeds : dict, optional
        Seeds of random numbers (int or list of int), by what was drawn; as for parameters.
    tolerances : Tolerances, optional
        The ones that all results of the store are computed with.
    overwrite : bool, optional
        Replace an existing file. By default that is refused.
    threads : int, optional
        To compress with; all processors by default. The file doesn't depend on it.
    compression : str, optional
        "gzip", "lzf" or "none"; "zstd" or "blosc" where hdf5plugin is installed, for readers too.

    Returns
    -------
    StoreWriter
        A context manager.

    Raises
    ------
    StoreError
        The file exists or can't be written; then nothing of it is left.
    InputError
        The parameters can't be written as JSON; an unknown compression.
    ImportError
        The compression needs hdf5plugin.

    See Also
    --------
    open : read a store.
    resume : go on with one.
    save_lines : the same in one call.
    """
    provenance = make_provenance(parameters, seeds, tolerances)
    return _create(path, network, provenance, tolerances, compression, overwrite, n_threads(threads))


def create_like(store, path, *, seeds=None, overwrite=False, threads=None):
    """Make a store with network, provenance and compression of another; ``seeds`` take the place of its own.

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
        write_network_group(file.create_group("network"), network)
        ResultFile(file, network, compression, threads).create("lines")
        options = {"maxshape": (None,), "chunks": (schema.COMMITS_PER_CHUNK,), **schema.CREATION}
        file.create_dataset(schema.COMMITS, (0,), schema.COMMIT, **options)

    publish(path, new_image(write), overwrite=overwrite)
    return StoreWriter(path, network, tolerances, threads, compression)


def resume(path, network=None, *, parameters=None, seeds=None, tolerances=None, threads=None):
    """Go on with a store, behind its last finished batch, whatever stopped the program that wrote it.

    Parameters
    ----------
    path : str or path
    network : Network, optional
        Refuse a store of another network.
    parameters, seeds : dict, optional
        Refuse a store that was made with others.
    tolerances : Tolerances, optional
        Refuse a store of others.
    threads : int, optional
        As for ``create``.

    Returns
    -------
    StoreWriter
        ``n_lines`` tells how far it is. The store that is finished now has the digest (``RegionStore.digest``) of one that
        was never stopped.

    Raises
    ------
    StoreError
        There is no such store, it is damaged, or another program writes to it.
    ChecksumError
        The last batch is damaged.
    DigestMismatchError
        Network, parameters, seeds or tolerances are others than the store's.
    FormatVersionError
        A newer pwlnet wrote it.

    See Also
    --------
    repair : where a store is damaged.
    """
    refuse_locked(path)
    with RegionStore(path) as store:
        if not store.has_lines:
            raise StoreError(f"{path} holds a network only; create a new store for results")
        store.check_made_with(network, parameters, seeds, tolerances)
        problems = store.last_batch_problems()
        if problems:
            raise StoreError(f"{problems[0]}; repair the store before it goes on") from None
        arguments = store.network, store.tolerances, n_threads(threads), store.compression
    return StoreWriter(path, *arguments)


def save_lines(path, lines, *, parameters=None, overwrite=False, threads=None, compression="gzip"):
    """Write line partitions to a new store.

    Parameters
    ----------
    path : str or path
    lines : LinePartitions or iterable of LinePartitions
        Of one network. From an iterator, such as ``iter_line_partitions``, each is on the disk before the next one is
        asked for, and nothing of it is kept. Whatever stops it, Ctrl-C too, leaves a store of those before.
    parameters, overwrite, threads, compression
        As for ``create``.

    Returns
    -------
    Written
        ``n_lines`` and ``n_segments`` of the store.

    Raises
    ------
    StoreError, InputError
        As for ``create`` and ``StoreWriter.append_lines``. InputError, too, for an iterable that gives nothing.
    """
    from ..partition.line import LinePartitions

    with _closing(iter([lines] if isinstance(lines, LinePartitions) else lines)) as batches:
        first = next(batches, None)
        if first is None:
            raise InputError("lines gave no line partitions, so the network is not known; give at least one")
        options = {"parameters": parameters, "overwrite": overwrite, "threads": threads, "compression": compression}
        with create(path, first.network, tolerances=first.tolerances, **options) as writer:
            try:
                for batch in itertools.chain([first], batches):
                    writer.append_lines(batch)
            except BaseException as error:
                error.add_note(f"{path} holds the first {writer.n_lines} lines")
                raise
            return writer.written


@contextlib.contextmanager
def _closing(batches):
    """Stop a generator, and the threads it may have, as soon as the block is left."""
    try:
        yield batches
    finally:
        if hasattr(batches, "close"):
            batches.close()
