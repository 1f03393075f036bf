"""Options of the commands that write a store in batches, and the writer that these options specify."""

import contextlib
from pathlib import Path

from .arguments import positive, shape


def add_store_options(parser):
    """Add --overwrite, --resume, --compression, --input-shape and --threads."""
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace an existing store")
    existing.add_argument("--resume", action="store_true",
                          help="continue an existing store after its last finished batch")  # fmt: skip
    parser.add_argument("--compression", default="gzip", choices=("gzip", "lzf", "none", "zstd", "blosc"),
                        help="compression of the store (default: %(default)s; zstd and blosc need hdf5plugin)")  # fmt: skip
    parser.add_argument("--input-shape", type=shape, metavar="C,H,W", help="if the ONNX file does not specify it")
    parser.add_argument("--threads", type=positive, metavar="N", help="number of threads (default: all processors)")


@contextlib.contextmanager
def open_writer(options, network, **made_with):
    """Create the store ``options.out``, or with --resume continue an existing one: a context with the StoreWriter.

    A run that fails before its first batch leaves no store, which would refuse the corrected command.
    ``made_with``: parameters, seeds and tolerances, as ``store.create`` takes them.
    """
    from .. import store

    made_with["threads"] = options.threads
    if options.resume and Path(options.out).exists():
        writer = store.resume(options.out, network, **made_with)
        is_new = False
    else:
        how = {"overwrite": options.overwrite, "compression": options.compression}
        writer = store.create(options.out, network, **made_with, **how)
        is_new = True
    with writer:
        try:
            yield writer
        except BaseException as error:
            if is_new and writer.is_empty:
                writer.close()
                Path(options.out).unlink(missing_ok=True)
                notes = [note for note in getattr(error, "__notes__", ()) if not note.startswith(str(options.out))]
                error.__notes__ = notes  # they say how to continue the store
            raise
