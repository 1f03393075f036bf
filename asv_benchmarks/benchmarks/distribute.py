"""Jobs in shards: what shards, copies and links cost, relative to the same job in one process. Workers are not started."""

import os
import tempfile
from pathlib import Path

from pwlnet import distribute, store
from pwlnet.distribute import shards

from .networks import build_network, draw_lines, with_slow
from .networks import setup_cache as setup_cache  # for asv
from .store import quickest

N_SHARDS = 16


class LinesInShards:
    """Lines of the digits network with convolutions: 350 segments each, in 16 shards, computed one after the other."""

    params = (with_slow([256], [1024]),)
    param_names = ("n_lines",)

    def setup(self, n_lines):
        self.folder = tempfile.TemporaryDirectory()
        network = build_network("digits_conv")
        self.job = distribute.lines_job(network, *draw_lines(network, n_lines))
        self.path = Path(self.folder.name) / "lines.h5"
        self.common = self.job.with_items(0, 0, self.job.slice(0, 0))
        self.shards()
        self.in_one_process()
        self.copy()

    def teardown(self, n_lines):
        self.folder.cleanup()

    def shards(self):
        """Compute all shards, as workers do."""
        size, job, folder = -(-self.job.n_items // N_SHARDS), self.job, shards.folder_of(self.path)
        for first in range(0, job.n_items, size):
            last = min(first + size, job.n_items)
            path = shards.shard_path(folder, first, last)
            path.unlink(missing_ok=True)
            shards.compute_shard(self.common, job.slice(first, last), first, last, str(path), "gzip", 1, True)

    def copy(self):
        """Join the shards into one file."""
        self.path.unlink(missing_ok=True)
        distribute.merge_shards(self.job, self.path, keep=True)

    def link(self):
        """Join the shards by virtual datasets."""
        paths = [shard.path for shard in shards.list_shards(shards.folder_of(self.path))]
        store.link(paths, Path(self.folder.name) / "linked.h5", overwrite=True, threads=1)

    def in_one_process(self):
        distribute.run(self.job, Path(self.folder.name) / "here.h5", overwrite=True, threads=1)

    def track_shards_ratio(self, n_lines):
        return quickest(self.shards) / quickest(self.in_one_process)

    def track_copy_ratio(self, n_lines):
        return quickest(self.copy) / quickest(self.in_one_process)

    def track_link_ratio(self, n_lines):
        return quickest(self.link) / quickest(self.in_one_process)

    def track_link_bytes_ratio(self, n_lines):
        self.link()
        return os.path.getsize(Path(self.folder.name) / "linked.h5") / os.path.getsize(self.path)

    track_shards_ratio.unit = track_copy_ratio.unit = track_link_ratio.unit = track_link_bytes_ratio.unit = "ratio"
