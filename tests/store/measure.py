"""Sizes and speeds of stores, for the table in docs/store_format.md and for who wants to know.

    python -m tests.store.measure choices [--lines 400]
    python -m tests.store.measure scale [--segments 100000000] [--compression gzip]

choices  compressions and chunk sizes, on lines of the shipped digits network with convolutions
scale    a large store, written and read in batches, beside np.save and np.load of the same arrays in the same run
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pwlnet
from pwlnet import shipped, store
from pwlnet.partition.lines.partitions import LinePartitions
from pwlnet.store import schema
from pwlnet.store.export import tables
from pwlnet.tolerances import DEFAULT
from tests.store.conftest import small_network

RAW_BYTES = 16  # of a segment: t as float64, neuron as int64
BATCH = 2**20
PER_LINE = 100


def seconds_of(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def random_line_ms(path, n_lines, n_reads=200):
    """Median and largest milliseconds to read one line of an open store, each somewhere else."""
    rng = np.random.default_rng(0)
    with store.open(path) as opened:
        opened.network  # noqa: B018 read once
        times = [seconds_of(lambda line=line: opened.lines(line, line + 1))[0] for line in rng.integers(0, n_lines, n_reads)]
    return 1000 * float(np.median(times)), 1000 * max(times)


def choices(options):
    """Print a table of compressions and chunk sizes."""
    network = pwlnet.load_network(shipped.digits_network_path("digits_conv"))
    rng = np.random.default_rng(0)
    batches = [
        pwlnet.partition_lines(network, rng.random((options.lines // 4, 64)), rng.random((options.lines // 4, 64)))
        for _ in range(4)
    ]
    segments = sum(int(batch.n_segments.sum()) for batch in batches)
    print(
        f"{segments} segments\n\n| compression | chunk KiB | bytes per segment | write, 10^6/s | read, 10^6/s | one line, ms |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "lines.h5"
        for compression in ("gzip", "lzf", "none", "zstd", "blosc"):
            for chunk in (2**16, 2**18, 2**20):
                schema.CHUNK_BYTES = chunk
                times = []
                for _ in range(3):
                    write, _ = seconds_of(
                        lambda name=compression: store.save_lines(path, iter(batches), overwrite=True, compression=name)
                    )
                    read, _ = seconds_of(lambda: store.load_lines(path))
                    times.append((write, read))
                write, read = np.min(times, axis=0)
                line, _ = random_line_ms(path, options.lines)
                size = path.stat().st_size / segments
                print(f"| {compression} | {chunk // 1024} | {size:.2f} | {segments / write / 1e6:.2f} | "
                      f"{segments / read / 1e6:.2f} | {line:.2f} |", flush=True)  # fmt: skip


def drawn_batches(network, n_segments):
    """Batches of lines of PER_LINE segments with one flip at each inner breakpoint; about BATCH breakpoints each."""
    per_batch = BATCH // (PER_LINE + 1)
    for seed, first in enumerate(range(0, n_segments // PER_LINE, per_batch)):
        n_lines = min(per_batch, n_segments // PER_LINE - first)
        rng = np.random.default_rng(seed)
        t = np.empty((n_lines, PER_LINE + 1))
        t[:, 0], t[:, -1] = 0.0, 1.0
        t[:, 1:-1] = np.sort(rng.random((n_lines, PER_LINE - 1)), axis=1)
        counts = np.ones(t.shape, np.int64)
        counts[:, [0, -1]] = 0
        n_flips = int(counts.sum())
        yield LinePartitions(
            network=network,
            starts=rng.random((n_lines, 5)),
            ends=rng.random((n_lines, 5)),
            offsets=np.arange(n_lines + 1) * (PER_LINE + 1),
            t=t.reshape(-1),
            flip_offsets=np.concatenate([[0], np.cumsum(counts)]),
            flip_neurons=rng.integers(0, network.n_neurons, n_flips),
            flip_states=rng.integers(0, 2, n_flips).astype(np.int32),
            residual=rng.random(n_lines),
            ambiguous=np.zeros(n_lines, np.int64),
            t_error=1e-15 * rng.random(n_lines),
            tolerances=DEFAULT,
        )


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step_write(path, options):
    """Write a store; only the writing is timed, not the drawing."""
    network, seconds = small_network(0), 0.0
    with store.create(path, network, compression=options.compression) as writer:
        for batch in drawn_batches(network, options.segments):
            seconds += seconds_of(lambda batch=batch: writer.append_lines(batch))[0]
        began = time.perf_counter()
    seconds += time.perf_counter() - began
    return {"seconds": seconds, "bytes": path.stat().st_size}


def step_read(path, options):
    """Read a store batch by batch."""

    def read():
        with store.open(path) as opened:
            return sum(len(batch.t) for batch in opened.batches())

    return {"seconds": seconds_of(read)[0]}


def step_table(path, options):
    """Read the table of segments chunk by chunk."""
    with store.open(path) as opened:
        return {"seconds": seconds_of(lambda: sum(len(chunk["line"]) for chunk in tables.iter_columns(opened, "segments")))[0]}


def step_parquet(path, options):
    """Write the table of segments to a Parquet file."""
    out = path.with_suffix(".parquet")
    with store.open(path) as opened:
        seconds, _ = seconds_of(lambda: opened.export(out))
    size = out.stat().st_size
    out.unlink()
    return {"seconds": seconds, "bytes": size}


def step_verify(path, options):
    """Verify a store."""
    with store.open(path) as opened:
        seconds, problems = seconds_of(opened.verify)
    return {"seconds": seconds, "problems": len(problems)}


def step_line(path, options):
    """Read single lines."""
    median, largest = random_line_ms(path, options.segments // PER_LINE)
    return {"median ms": median, "largest ms": largest}


def step_save(path, options):
    """Write the same arrays with np.save, a file for each array of each batch, each flushed to the disk."""
    seconds = 0.0
    for number, batch in enumerate(drawn_batches(small_network(0), options.segments)):
        for dataset in schema.LINES.datasets:
            began = time.perf_counter()
            with open(path.parent / f"{number}-{dataset.field}.npy", "wb") as file:
                np.save(file, getattr(batch, dataset.field))
                file.flush()
                os.fsync(file.fileno())
            seconds += time.perf_counter() - began
    return {"seconds": seconds, "bytes": sum(file.stat().st_size for file in path.parent.glob("*.npy"))}


def step_load(path, options):
    """Read them back with np.load."""
    return {"seconds": seconds_of(lambda: [np.load(file).sum() for file in path.parent.glob("*.npy")])[0]}


STEPS = {
    "write": step_write,
    "read": step_read,
    "verify": step_verify,
    "line": step_line,
    "table": step_table,
    "parquet": step_parquet,
    "save": step_save,
    "load": step_load,
}
RATIOS = (("write", "save"), ("read", "load"), ("verify", "load"), ("table", "load"))


def scale(options):
    """Print what a large store takes; each step in a separate process, with the peak memory of that process."""
    seconds = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for step in STEPS:
            command = [sys.executable, "-m", "tests.store.measure", "scale", "--segments", str(options.segments)]
            command += ["--compression", options.compression, "--step", step, str(Path(folder) / "lines.h5")]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            if "seconds" in found:
                found["10^6 segments/s"] = options.segments / found["seconds"] / 1e6
            if "bytes" in found:
                found["bytes/segment"] = found["bytes"] / options.segments
                found["of 16"] = found["bytes/segment"] / RAW_BYTES
            seconds[step] = found.get("seconds")
            print(f"{step:<8}" + ", ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)
    print("seconds, as a multiple: " + ", ".join(f"{a} of {b} {seconds[a] / seconds[b]:.3g}" for a, b in RATIOS))


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["choices", "scale"])
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--segments", type=int, default=10**8)
    parser.add_argument("--compression", default="gzip")
    parser.add_argument("--folder", help="for the files; by default that of temporary files")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        found = STEPS[options.step[0]](Path(options.step[1]), options)
        print(json.dumps({**found, "peak MiB": peak_mib()}))
    else:
        {"choices": choices, "scale": scale}[options.what](options)


if __name__ == "__main__":
    main()
