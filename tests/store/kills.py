"""Programs that write a store and are killed at random instants, each followed by one that resumes.

    python -m tests.store.kills --kills 200

prints what was found, for lines, planes and regions; ``test_kills.py`` runs a few.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pwlnet import store
from pwlnet.store import schema
from pwlnet.store.region_appending import block_of, header_of
from tests.store.conftest import make_partitions, make_plane_partitions, same_planes, small_network
from tests.store.made_regions import in_blocks, make_regions, same_arrays

N_BATCHES = 30
REGIONS_PER_BLOCK = 20


def batches_to_write(network, seed, kind="lines"):
    """Batches of very different sizes, empty ones too; fewer of planes, which have more datasets."""
    rng = np.random.default_rng(seed)
    if kind == "planes":
        sizes = rng.choice([0, 1, 2, 5, 10], N_BATCHES // 3)
        return [make_plane_partitions(network, int(n), seed=1000 * seed + k, n_polygons=6) for k, n in enumerate(sizes)]
    if kind == "regions":
        return [make_regions(network, 10 * N_BATCHES, seed=seed)]
    sizes = rng.choice([0, 1, 2, 5, 20, 80], N_BATCHES)
    return [make_partitions(network, int(n), seed=1000 * seed + k) for k, n in enumerate(sizes)]


def kind_of(batch):
    """The kind of result of a batch, "lines", "planes" or "regions"."""
    return "planes" if hasattr(batch, "planes") else "regions" if hasattr(batch, "facet_offsets") else "lines"


def write_rest(path, network, batches, report=None):
    """Create a store or resume it, append the missing batches, and report the number of lines or planes to a pipe."""
    writer = store.resume(path, network) if path.exists() else store.create(path, network)
    with writer:
        if kind_of(batches[0]) == "regions":
            write_regions(writer, batches[0], report)
            return
        kind, ends = kind_of(batches[0]), np.cumsum([len(batch) for batch in batches])
        for batch, end in zip(batches, ends, strict=True):
            if end > writer.n_rows(kind):
                (writer.append_lines if kind == "lines" else writer.append_planes)(batch)
                if report is not None:
                    os.write(report, int(writer.n_rows(kind)).to_bytes(8, "little"))


def write_regions(writer, regions, report):
    """Append the missing regions in blocks, from somewhat before the end of those that are there, and finish."""
    if writer.n_enumerations and writer.unfinished_regions is None:
        return
    first = (writer.region_resume_state or {"row": 0})["row"] // 50 * 50

    def blocks():
        for pair in in_blocks(regions, REGIONS_PER_BLOCK, first):
            yield pair
            if report is not None:
                os.write(report, writer.n_regions.to_bytes(8, "little"))

    store.append_regions(writer, header_of(regions), blocks(), first_row=first, rows=1)
    store.finish_regions(writer, complete=True, n_exact=regions.n_exact)


def kill_a_writer(path, network, batches, seconds):
    """Start a process that writes and kill it after some seconds: lines it said were written, and whether it was killed."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            write_rest(path, network, batches, writing)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    killed = os.WIFSIGNALED(status)
    if not killed and os.WEXITSTATUS(status):
        raise AssertionError(f"a writer failed after {len(said) // 8} batches")
    return int.from_bytes(said[-8:], "little"), killed


def check_what_is_left(path, batches, said):
    """A killed writer leaves a sound store of whole batches, at least those it spoke of: lines in it, unused bytes."""
    if not path.exists():
        assert said == 0
        return 0, 0
    kind = kind_of(batches[0])
    with store.open(path) as opened:
        problems, n_lines, unused = opened.verify(), opened.n_rows(kind), opened.file.container.unused_bytes()
        assert problems == [], problems
        assert n_lines >= said, f"{said} lines were reported, {n_lines} are there"
        if kind == "regions":
            assert n_lines == 0 or same_arrays(opened.regions(), block_of(batches[0])[:n_lines])
            return n_lines, unused
        ends = np.cumsum([0, *(len(batch) for batch in batches)]).tolist()
        assert n_lines in ends
        for batch, first, last in zip(batches, ends, ends[1:]):
            if last <= n_lines and kind == "planes":
                assert same_planes(opened.planes(first, last), batch)
            elif last <= n_lines:
                back = opened.lines(first, last)
                for dataset in schema.LINES.datasets:
                    assert np.array_equal(getattr(back, dataset.field), getattr(batch, dataset.field)), dataset.path
    return n_lines, unused


def run(n_kills, seed, folder, kind="lines"):
    """Kill writers until ``n_kills`` died, and let each store be finished: dict of what was seen."""
    draw, network = random.Random(seed), small_network(0)
    found = {
        "kills": 0,
        "stores": 0,
        "before create": 0,
        "patches pending": 0,
        "unused bytes": 0,
        "not finalized": 0,
        "batches kept": [],
    }
    while found["kills"] < n_kills:
        schema.CHUNK_BYTES = draw.choice([2**9, 2**12, 2**18])
        batches = batches_to_write(network, draw.randrange(2**20), kind)
        path, whole = folder / f"{found['stores']}.h5", folder / "whole.h5"
        whole.unlink(missing_ok=True)
        began = time.perf_counter()
        write_rest(whole, network, batches)
        seconds = 1.1 * (time.perf_counter() - began) + 0.01
        with store.open(whole) as opened:
            wanted = opened.digest()
        for _ in range(draw.choice([1, 1, 2, 5])):
            said, killed = kill_a_writer(path, network, batches, draw.uniform(0.0, seconds))
            n_lines, unused = check_what_is_left(path, batches, said)
            found["kills"] += killed
            found["before create"] += not path.exists()
            found["batches kept"].append(n_lines)
            found["unused bytes"] += unused > 0
            if path.exists():
                with store.open(path) as opened:
                    found["not finalized"] += not opened.file.container.is_closed
                    found["patches pending"] += any(opened.file.container._patches.values())
        write_rest(path, network, batches)
        with store.open(path) as opened:
            assert opened.verify() == []
            assert opened.digest() == wanted
            assert opened.file.container.is_closed
            assert opened.file.container.unused_bytes() == 0
        path.unlink()
        found["stores"] += 1
    return found


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    for kind in ("lines", "planes", "regions"):
        with tempfile.TemporaryDirectory() as folder:
            found = run(options.kills, options.seed, Path(folder), kind)
            left = [name for name in os.listdir(folder) if name.endswith(".tmp")]
        show(kind, found, left, time.perf_counter() - began)


def show(kind, found, left, seconds):
    """Print what was found."""
    kept = found.pop("batches kept")
    print(", ".join(f"{name} {n}" for name, n in found.items()))
    print(f"{kind} kept by a killed writer: {min(kept)} to {max(kept)}, median {sorted(kept)[len(kept) // 2]}; "
          f"temporary files of killed creators: {len(left)}")  # fmt: skip
    print(f"all stores intact, no reported batch lost, all {found['stores']} final digests equal those of uninterrupted runs "
          f"({seconds:.0f} s)")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
