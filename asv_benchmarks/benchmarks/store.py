"""Writing, reading and verifying stores of line partitions."""

import os
import tempfile

import pwlnet
from pwlnet import store

from .networks import build_network, draw_lines


class LineStore:
    """Lines by factors of four, on the digits network with convolutions."""

    params = ([16, 64, 256],)
    param_names = ("n_lines",)

    def setup(self, n_lines):
        self.folder = tempfile.TemporaryDirectory()
        network = build_network("digits_conv")
        self.lines = pwlnet.partition_lines(network, *draw_lines(network, n_lines))
        self.path = os.path.join(self.folder.name, "lines.h5")
        store.save_lines(self.path, self.lines)
        store.load_lines(self.path)

    def teardown(self, n_lines):
        self.folder.cleanup()

    def time_write(self, n_lines):
        store.save_lines(self.path, self.lines, overwrite=True)

    def time_read(self, n_lines):
        store.load_lines(self.path)

    def time_verify(self, n_lines):
        with store.open(self.path) as opened:
            opened.verify()

    def track_bytes_per_breakpoint(self, n_lines):
        return os.path.getsize(self.path) / (len(self.lines.t) - 2 * n_lines)

    track_bytes_per_breakpoint.unit = "bytes"
