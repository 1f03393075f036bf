"""Reading while a writer commits: what is read again, and when a reader moves on to the newest state.

Rows of finished batches never change, but HDF5's own records about them lie on pages that commits change. Each page is
compared with the checksum of the state that was opened, so a reader gets the bytes of that state or an error, never a
mixture. After such an error the file is opened again, and the same rows are read from its newest state.
"""

import os
import time

from ..errors import StoreError
from .container.seal import HEAD

TRIES = 30
_PAUSE = 0.002  # seconds before another try; longer each time
_SNAPSHOT = ("_commits", "_ends", "n_lines", "n_breakpoints", "n_flips", "n_batches")


class Growing:
    """The part of RegionStore that opens its file, and copes with one that grows."""

    def refresh(self):
        """Take notice of the batches that were finished since the store was opened, or since the last call.

        Returns
        -------
        bool
            Whether there are any.

        Raises
        ------
        StoreError
            There is another store at this path now, or the file is damaged; it is closed.
        """
        self._open_file()
        before = self.n_batches
        self._open_again()
        return self.n_batches > before

    def _again(self, work):
        """Do a piece of reading, and again where a commit came in between."""
        for left in reversed(range(TRIES)):
            try:
                return work()
            except StoreError:
                if not left or self._file is None or self._head in (None, _head(self.path)):
                    raise
            time.sleep((TRIES - left) * _PAUSE)
            snapshot = {name: getattr(self, name) for name in _SNAPSHOT}
            self._open_again()
            vars(self).update(snapshot)

    def _open_newest(self):
        """Open the file as it was last committed."""
        self._head = None  # nobody tries again but here
        for left in reversed(range(TRIES)):
            head = _head(self.path)
            try:
                self._load()
                self._head = head
                return
            except StoreError:
                if not left or head == _head(self.path):
                    raise
            time.sleep((TRIES - left) * _PAUSE)

    def _open_again(self):
        """Open the newest state of the same store."""
        before, n_batches = (self.created, self.network_digest, self.provenance), self.n_batches
        commits = self._commits.tobytes()
        self.close()
        self._open_newest()
        same = (self.created, self.network_digest, self.provenance) == before
        if not same or self._commits[:n_batches].tobytes() != commits:
            self.close()
            raise StoreError(f"{self.path} is another store than the one that was opened; open it again")


def _head(path):
    """The part of a file that every commit changes: bytes, or None where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.pread(descriptor, HEAD, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)
