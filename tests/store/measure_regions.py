"""Sizes and speeds of stores of regions, written and read in blocks, each step in a process of its own.

    python -m tests.store.measure_regions [--regions 10000000] [--compression gzip]

The regions are drawn: two words of a pattern that changes by a few bits from a region to the next, as a depth-first search
finds them, a witness of three numbers, six facets. Raw, they take 2 x 8 + 3 x 8 + 8 + 6 x 8 = 96 bytes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pwlnet import store
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.partition.regions.blocks import RegionBlock, RegionHeader
from tests.store.measure import peak_mib, seconds_of

N_NEURONS, N_FACETS, BLOCK = 100, 6, 2**16
RAW_BYTES = 96
HEADER = RegionHeader(-np.ones(3), np.ones(3))


def measured_network():
    """Three inputs, 100 neurons: two words of a pattern."""
    rng = np.random.default_rng(0)
    graph = Graph((1, 3), batched=True)
    x = graph.relu(graph.linear(graph.input, rng.normal(size=(N_NEURONS, 3)), rng.normal(size=N_NEURONS), name="a"), name="b")
    graph.output = graph.linear(x, rng.normal(size=(2, N_NEURONS)), name="c")
    return lower(graph)


def drawn_blocks(n_regions):
    """Blocks and their resume states."""
    for first in range(0, n_regions, BLOCK):
        n = min(BLOCK, n_regions - first)
        rng = np.random.default_rng(first)
        flips = rng.integers(0, N_NEURONS, (n, 2))
        packed = np.zeros((n, 2), np.uint64)
        for column in flips.T:
            packed[np.arange(n), column // 64] ^= np.uint64(1) << (column % 64).astype(np.uint64)
        packed = np.bitwise_xor.accumulate(packed, axis=0)
        neurons = rng.integers(0, N_NEURONS, (n, N_FACETS)).astype(np.int32)
        states = rng.integers(0, 2, n * N_FACETS).astype(np.int32)
        offsets = np.arange(n + 1, dtype=np.int64) * N_FACETS
        yield RegionBlock(packed, rng.uniform(-1, 1, (n, 3)), offsets, neurons.reshape(-1), states), {"task": first}


def step_write(path, options):
    """Write a store; only the writing is timed, not the drawing."""
    drawing = 0.0

    def blocks():
        nonlocal drawing
        drawn = drawn_blocks(options.regions)
        while True:
            seconds, block = seconds_of(lambda: next(drawn, None))
            drawing += seconds
            if block is None:
                return
            yield block

    began = time.perf_counter()
    with store.create(path, measured_network(), compression=options.compression) as writer:
        store.append_regions(writer, HEADER, blocks())
        store.finish_regions(writer, complete=True)
    return {"seconds": time.perf_counter() - began - drawing, "bytes": path.stat().st_size}


def step_resume(path, options):
    """Compare all regions with those of the store, as a producer that starts again does."""
    path = path.with_name("resumed.h5")
    with store.create(path, measured_network(), compression=options.compression) as writer:
        store.append_regions(writer, HEADER, drawn_blocks(options.regions))
    drawing, _ = seconds_of(lambda: sum(1 for _ in drawn_blocks(options.regions)))
    with store.resume(path) as writer:
        seconds, _ = seconds_of(lambda: store.append_regions(writer, HEADER, drawn_blocks(options.regions)))
    path.unlink()
    return {"seconds": seconds - drawing}


def step_read(path, options):
    """Read a store block by block."""
    with store.load_regions(path) as rows:
        return {"seconds": seconds_of(lambda: sum(len(block.packed) for block in rows.blocks()))[0]}


def step_verify(path, options):
    """Verify a store."""
    with store.open(path) as opened:
        seconds, problems = seconds_of(opened.verify)
    return {"seconds": seconds, "problems": len(problems)}


def step_table(path, options):
    """Read the table of facets as DataFrames."""
    with store.load_regions(path) as rows:
        return {"seconds": seconds_of(lambda: sum(map(len, rows.iter_dataframes("facets"))))[0]}


def step_one(path, options):
    """Read single regions, each somewhere else."""
    rng = np.random.default_rng(0)
    with store.load_regions(path) as rows:
        numbers = rng.integers(0, options.regions, 200).tolist()
        times = [seconds_of(lambda k=k: rows[k : k + 1])[0] for k in numbers]
    return {"median ms": 1000 * float(np.median(times)), "largest ms": 1000 * max(times)}


STEPS = {f.__name__.removeprefix("step_"): f for f in (step_write, step_read, step_verify, step_table, step_one, step_resume)}


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=int, default=10**7)
    parser.add_argument("--compression", default="gzip")
    parser.add_argument("--folder", help="for the files; by default that of temporary files")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        found = STEPS[options.step[0]](Path(options.step[1]), options)
        print(json.dumps({**found, "peak MiB": peak_mib()}))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for step in STEPS:
            command = [sys.executable, "-m", "tests.store.measure_regions", "--regions", str(options.regions)]
            command += ["--compression", options.compression, "--step", step, str(Path(folder) / "regions.h5")]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            if "seconds" in found:
                found["10^6 regions/s"] = options.regions / found["seconds"] / 1e6
                found["raw MB/s"] = RAW_BYTES * options.regions / found["seconds"] / 1e6
            if "bytes" in found:
                found["bytes/region"] = found["bytes"] / options.regions
            print(f"{step:<8}" + ", ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
