"""Programs that are killed, and machines that lose power, while they write: nothing that was finished is lost."""

import os
import random

import numpy as np
import pytest

from pwlnet import store
from pwlnet.store import schema
from pwlnet.store.container import layout, transaction
from tests.counts import few
from tests.store import kills


@pytest.mark.parametrize("kind", ["lines", "planes", "regions"])
def test_killed_writers_lose_nothing_and_end_as_if_they_were_not(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(schema, "CHUNK_BYTES", schema.CHUNK_BYTES)  # kills.run changes it
    n_kills = few(4, 2 if kind == "lines" else 1, quick=2)
    found = kills.run(n_kills, 1, tmp_path, kind)
    assert found["kills"] >= n_kills


SECTOR = 512


class Disk:
    """Records what a TransactionFile does to the disk, and makes the files that a loss of power can leave of it."""

    def __init__(self, path, monkeypatch):
        self.durable, self.pending = path.read_bytes(), []
        self.moments = [(self.durable, ())]
        real = {name: getattr(os, name) for name in ("pwrite", "ftruncate", "fsync")}

        def pwrite(descriptor, content, offset):
            self.pending.append((offset, bytes(content)))
            self.moments.append((self.durable, tuple(self.pending)))
            return real["pwrite"](descriptor, content, offset)

        def ftruncate(descriptor, size):
            self.pending.append((size, None))
            self.moments.append((self.durable, tuple(self.pending)))
            return real["ftruncate"](descriptor, size)

        def fsync(descriptor):
            real["fsync"](descriptor)
            self.durable, self.pending = path.read_bytes(), []
            self.moments.append((self.durable, ()))

        for function in (pwrite, ftruncate, fsync):
            monkeypatch.setattr(transaction.os, function.__name__, function)

    @staticmethod
    def after_power_loss(moment, draw):
        """What was flushed, and any sectors of what was not."""
        durable, pending = moment
        content = bytearray(durable)
        for offset, written in pending:
            if written is None:
                if draw.random() < 0.5:
                    content = content[:offset].ljust(offset, b"\0")
                continue
            first = offset - offset % SECTOR
            for low in range(first, offset + len(written), SECTOR):
                if draw.random() < 0.7:
                    a, b = max(low, offset), min(low + SECTOR, offset + len(written))
                    content.extend(bytes(max(0, b - len(content))))
                    content[a:b] = written[a - offset : b - offset]
        return bytes(content)


@pytest.mark.parametrize("chunk_bytes", [500, schema.CHUNK_BYTES])
def test_a_loss_of_power_leaves_the_last_commit_or_the_one_before(tmp_path, network, make_lines, monkeypatch, chunk_bytes):
    """Of what was written since the last flush any sectors may be on the disk, in any order."""
    monkeypatch.setattr(schema, "CHUNK_BYTES", chunk_bytes)
    path, ends = tmp_path / "lines.h5", [0]
    writer = store.create(path, network)
    disk = Disk(path, monkeypatch)
    moments = []
    for k, n in enumerate((3, 1, 60, 2)):
        disk.moments.clear()
        writer.append_lines(make_lines(n, seed=k))
        moments += [(moment, ends[-1:] + [ends[-1] + n]) for moment in disk.moments]
        ends.append(ends[-1] + n)
    disk.moments.clear()
    writer.close()
    moments += [(moment, ends[-1:]) for moment in disk.moments]
    monkeypatch.undo()
    draw, seen = random.Random(0), set()
    for number in sorted(draw.sample(range(len(moments)), min(few(40, 8), len(moments)))) + [len(moments) - 1]:
        moment, allowed = moments[number]
        path.write_bytes(disk.after_power_loss(moment, draw))
        with store.open(path) as opened:
            assert opened.n_lines in allowed, number
            seen.add(opened.n_lines)
            assert opened.verify() == [], number
        with store.resume(path) as again:
            again.append_lines(make_lines(2, seed=9))
        with store.open(path) as opened:
            assert opened.verify() == []
    assert len(seen) > few(3, 1)


def test_patches_that_were_not_applied_are_read_and_then_applied(tmp_path, network, make_lines, monkeypatch):
    path = tmp_path / "lines.h5"
    with monkeypatch.context() as patch:
        writer = store.create(path, network)
        writer.append_lines(make_lines(3))
        patch.setattr(transaction.TransactionFile, "_apply", lambda file, patches: None)
        writer.append_lines(make_lines(5, seed=1))
        left = path.read_bytes()
        writer.close()
    path.write_bytes(left)
    assert len(layout.decode_trailer(left[left.index(b"PWLSEAL\n", -(2**15)) :])[1]) > 3
    for _ in range(2):
        with store.open(path) as opened:
            assert (opened.n_lines, opened.verify()) == (8, [])
            assert np.array_equal(opened.lines(3, 8).t, make_lines(5, seed=1).t)
        store.resume(path).close()
