"""Keep compiled kernels on disk where that works, and compile them in memory where it does not: a cache never stops the work.

Numba's cache raises whatever the disk raises: it is full, the folder was removed or made read-only, a file is truncated or
holds other bytes, after a power failure for instance. Here each of these is reported once on stderr, and the kernel is compiled
as if there were no cache. Machine code is stored with its SHA-256, since LLVM ends the process over a damaged object file.
"""

import contextlib
import hashlib
from pathlib import Path

from numba.core import caching

from ._notice import say_once

_SHA_BYTES = hashlib.sha256().digest_size
PROBLEM = "pwlnet: the cache of compiled kernels {} can't be {} ({}); kernels are compiled in memory instead"


class CheckedCacheFile(caching.IndexDataCacheFile):
    """The files of one kernel: an index of its signatures, and machine code followed by its SHA-256."""

    def _load_index(self):
        try:
            return super()._load_index()
        except OSError:
            raise
        except Exception:  # not a pickle: a damaged index is an empty one, and is replaced by the next save
            return {}

    def _save_data(self, name, data):
        data = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(data + hashlib.sha256(data).digest())

    def _load_data(self, name):
        path = Path(self._data_path(name))
        content = path.read_bytes()
        data, sha = content[:-_SHA_BYTES], content[-_SHA_BYTES:]
        if hashlib.sha256(data).digest() != sha:
            raise OSError(f"{path} is damaged")  # ``load`` takes it for a missing file
        return caching.pickle.loads(data)


def guard(made, folder, exclusive):
    """Make the cache of a dispatcher unable to stop a program.

    Parameters
    ----------
    made : Dispatcher
    folder : str
    exclusive : callable
        ``exclusive(folder)`` holds the lock of the folder.
    """
    cache = made._cache
    cache._cache_file.__class__ = CheckedCacheFile
    load, save = cache.load_overload, cache.save_overload

    def load_if_possible(signature, context):
        try:
            return load(signature, context)
        except Exception as error:  # of the system, of pickle, of another Numba's files
            say_once(PROBLEM.format(folder, "read", _cause(error)))
            return None

    def save_alone(signature, data):
        # Numba reads the index of a kernel's signatures, adds one, and writes it back, without a lock: of two processes that
        # do so at once, one could leave its machine code under the other's signature.
        try:
            with exclusive(folder):
                save(signature, data)
        except Exception as error:
            say_once(PROBLEM.format(folder, "written", _cause(error)))

    cache.load_overload, cache.save_overload = load_if_possible, save_alone


@contextlib.contextmanager
def exclusive(folder):
    """Hold the lock of a folder, where there are file locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            file = stack.enter_context((Path(folder) / "lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cause(error):
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
