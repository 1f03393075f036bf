"""Writing, reading and verifying stores of line partitions; ratios are to np.save and np.load of the same arrays."""

import os
import tempfile
import time

import numpy as np

import pwlnet
from pwlnet import store
from pwlnet.store import schema
from pwlnet.store.export import tables

from .networks import build_network, draw_lines, with_slow
from .networks import setup_cache as setup_cache  # for asv

REPEAT = 5  # of two calls whose times are compared; the shortest counts


def quickest(work):
    """Return the shortest time of several calls, in seconds."""
    times = []
    for _ in range(REPEAT):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


class LineStore:
    """Lines by factors of four, on the digits network with convolutions: 350 segments each."""

    params = (with_slow([64], [16, 256]),)
    param_names = ("n_lines",)

    def setup(self, n_lines):
        self.folder = tempfile.TemporaryDirectory()
        network = build_network("digits_conv")
        self.lines = pwlnet.partition_lines(network, *draw_lines(network, n_lines))
        self.n_segments = int(self.lines.n_segments.sum())
        self.path = os.path.join(self.folder.name, "lines.h5")
        self.time_write(n_lines)
        self.time_read(n_lines)
        self.np_save()

    def teardown(self, n_lines):
        self.folder.cleanup()

    def np_save(self):
        """Write the same arrays to one file each, flushed to the disk as the store is."""
        for dataset in schema.LINES.datasets:
            with open(os.path.join(self.folder.name, f"{dataset.field}.npy"), "wb") as file:
                np.save(file, getattr(self.lines, dataset.field))
                file.flush()
                os.fsync(file.fileno())

    def np_load(self):
        """Read them back."""
        return [np.load(os.path.join(self.folder.name, f"{dataset.field}.npy")) for dataset in schema.LINES.datasets]

    def time_write(self, n_lines):
        store.save_lines(self.path, self.lines, overwrite=True)

    def time_read(self, n_lines):
        store.load_lines(self.path)

    def time_read_one_line(self, n_lines):
        with store.open(self.path) as opened:
            opened.read("lines", n_lines // 2, n_lines // 2 + 1)

    def time_table_of_segments(self, n_lines):
        with store.open(self.path) as opened:
            for _ in tables.iter_columns(opened, "segments"):
                pass

    def time_verify(self, n_lines):
        with store.open(self.path) as opened:
            opened.verify()

    def peakmem_read(self, n_lines):
        store.load_lines(self.path)

    def track_write_to_np_save(self, n_lines):
        return quickest(lambda: self.time_write(n_lines)) / quickest(self.np_save)

    def track_read_to_np_load(self, n_lines):
        return quickest(lambda: self.time_read(n_lines)) / quickest(self.np_load)

    def track_verify_to_np_load(self, n_lines):
        return quickest(lambda: self.time_verify(n_lines)) / quickest(self.np_load)

    def track_bytes_per_segment(self, n_lines):
        return os.path.getsize(self.path) / self.n_segments

    def track_digest(self, n_lines):
        """Return the first 13 hex digits of the content's digest as a number, which a float64 holds exactly."""
        with store.open(self.path) as opened:
            return int(opened.digest()[:13], 16)

    track_write_to_np_save.unit = track_read_to_np_load.unit = track_verify_to_np_load.unit = "ratio"
    track_bytes_per_segment.unit = "bytes"
