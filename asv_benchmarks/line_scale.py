"""Print the tables of docs/reports/performance.md on long lines, deep networks, large data sets and threads.

    PWLNET_DATA_DIR=... python asv_benchmarks/line_scale.py [long] [million] [deep] [dataset] [threads] [--scale SHARE]

Every row is measured in a separate process. It shows the peak memory (maximum resident set) of that process during the measured
call and its memory just before; Linux only. ``--scale 0.01`` makes lines and data sets smaller, to check that everything runs.

long     one convbig line from a black image to a test image and beyond: end = start + reach (image - start); one thread
million  one line of more than 10^6 breakpoints, through three convolutions of 224 x 224 pixels (2.1e6 neurons); one thread;
         the result in memory, or to an HDF5 store in parts of 2^16 breakpoints
deep     one line of VGG16 and of ResNet-18, and float32 forward passes of torch in batches of 256; one thread
dataset  lines from black to CIFAR-10 images on convsmall, streamed to an HDF5 store until it holds 10^7 breakpoints
threads  how much quicker two threads are than one, in turn, medians
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

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FORWARD_BATCHES = 4
BREAKPOINTS = 10**7  # of the data set


def peak_mib(since_now=False):
    """Return the largest resident set of this process; ``since_now`` resets it first."""
    if since_now:
        Path("/proc/self/clear_refs").write_text("5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def partition_on_one_thread(network, starts, ends, memory=2**30):
    """Partition and measure: return a dict of breakpoints, CPU time, peak memory and the errors that the result reports."""
    import pwlnet

    pwlnet.partition_lines(network, starts, starts, threads=1)  # compile, and allocate the first buffers
    before, start = peak_mib(since_now=True), time.process_time()
    lines = pwlnet.partition_lines(network, starts, ends, threads=1, memory=memory)
    seconds, peak = time.process_time() - start, peak_mib()
    breakpoints = len(lines.t) - 2 * len(lines)
    return {
        "breakpoints": breakpoints,
        "CPU us per breakpoint": 1e6 * seconds / max(1, breakpoints),
        "peak MiB": peak,
        "before": before,
        "residual": float(lines.residual.max()),
        "near-ties": int(lines.ambiguous.sum()),
    }


def stream_on_one_thread(network, starts, ends, memory):
    """Partition one line into a store, part by part, and measure: as ``partition_on_one_thread``."""
    import pwlnet
    from pwlnet import store

    pwlnet.partition_lines(network, starts, starts, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.h5"
        before, start = peak_mib(since_now=True), time.process_time()
        written = store.save_long_line(path, network, starts, ends, max_points=2**16, threads=1, memory=memory)
        seconds, peak = time.process_time() - start, peak_mib()
        with store.open(path) as opened:
            summary = opened.summary()
    breakpoints = written.n_segments - 1
    return {
        "breakpoints": breakpoints,
        "CPU us per breakpoint": 1e6 * seconds / max(1, breakpoints),
        "peak MiB": peak,
        "before": before,
        "residual": float(summary.residual[0]),
        "near-ties": int(summary.ambiguous[0]),
    }


def long_line(reach, memory, scale):
    """One convbig line, ``reach`` times as long as from black to the image."""
    import image_lines

    network = image_lines.load("cifar convbig")
    starts, ends = image_lines.lines_of("cifar convbig", network, 1)
    found = partition_on_one_thread(network, starts, starts + scale * reach * (ends - starts), memory)
    return {"reach": reach, "memory": f"{memory / 2**20:.0f} MiB", **found}


def million_breakpoints(result, reach, memory, scale):
    """A share ``reach`` of a line between normal points, through He-initialised convolutions; in "memory" or to a "store"."""
    import numpy as np
    from benchmarks import networks

    from pwlnet.convert.lower import lower

    layers = [("conv", 32, 3, 1, 1), ("conv", 32, 4, 2, 1), ("conv", 32, 4, 2, 1), ("full", 10)]
    network = lower(networks.build_graph((3, 224, 224), layers))
    starts, ends = np.random.default_rng(0).standard_normal((2, 1, network.n_inputs))
    measured = {"memory": partition_on_one_thread, "store": stream_on_one_thread}[result]
    found = measured(network, starts, starts + scale * reach * (ends - starts), memory)
    return {"result in": result, "reach": reach, "memory": f"{memory / 2**20:.0f} MiB", **found}


def deep_network(name, reach, scale):
    """Measure a fraction ``reach`` of a random line through a deep network, and forward passes of torch."""
    import torch
    from benchmarks import networks, torch_twin

    network, module = networks.build_network(name), networks.build_module(name)
    starts, ends = networks.draw_lines(network, 1, reach=scale * reach)
    found = {"network": name, "neurons": network.n_neurons, **partition_on_one_thread(network, starts, ends)}
    torch.set_num_threads(1)
    batch = torch.rand(torch_twin.BATCH, 3, 32, 32)
    with torch.inference_mode():
        module(batch)
        start = time.process_time()
        for _ in range(FORWARD_BATCHES):
            module(batch)
    forward = 1e6 * (time.process_time() - start) / (FORWARD_BATCHES * len(batch))
    return {**found, "forward us": forward, "ratio": found["CPU us per breakpoint"] / forward}


def dataset(scale):
    """Stream lines from black to images to a store; their number follows from the network's breakpoints per line."""
    import image_lines

    import pwlnet
    from pwlnet import store

    network = image_lines.load("cifar convsmall")
    black, images = image_lines.image_rows("cifar convsmall", "train")
    per_line = len(pwlnet.partition_lines(network, black, images[:16]).t) / 16
    ends = image_lines.ImageRows(images.images[: round(scale * BREAKPOINTS / per_line)], images.normalisation)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.h5"
        before, start = peak_mib(since_now=True), time.perf_counter()
        written = store.save_lines(path, pwlnet.iter_line_partitions(network, black, ends))
        seconds, peak, size = time.perf_counter() - start, peak_mib(), path.stat().st_size
        with store.open(path) as opened:
            problems = opened.verify()
    breakpoints = written.n_segments - written.n_lines
    return {
        "lines": written.n_lines,
        "breakpoints": breakpoints,
        "seconds": seconds,
        "breakpoints per second": breakpoints / seconds,
        "bytes per breakpoint": size / breakpoints,
        "peak MiB": peak,
        "before": before,
        "problems": len(problems),
    }


def two_threads(name, n_lines, scale):
    """Measure seconds with one thread and with two, in turn."""
    import image_lines
    from benchmarks import torch_twin

    import pwlnet

    network = image_lines.load(name)
    starts, ends = image_lines.lines_of(name, network, max(1, round(scale * n_lines)))
    seconds = torch_twin.medians_in_turn(
        *(lambda threads=threads: pwlnet.partition_lines(network, starts, ends, threads=threads) for threads in (1, 2))
    )
    return {"network": name, "lines": len(ends), "one": seconds[0], "two": seconds[1], "speed-up": seconds[0] / seconds[1]}


TABLES = {  # name: function, its rows, environment
    "long": (long_line, [(reach, memory) for memory in (2**30, 2**27) for reach in (1, 4, 16)], ONE_THREAD),
    "million": (
        million_breakpoints,
        [(result, reach, 2**30) for result in ("memory", "store") for reach in (1 / 8, 1 / 2, 2)]
        + [(result, 2, 2**27) for result in ("memory", "store")],
        ONE_THREAD,
    ),
    "deep": (deep_network, [("vgg16_bn", 1 / 16), ("resnet18", 1 / 32), ("vgg16_bn", 1 / 2)], ONE_THREAD),
    "dataset": (dataset, [()], {}),
    "threads": (two_threads, [("cifar convsmall", 100), ("cifar convbig", 1), ("acas xu", 1000)], {}),
}


def in_own_process(table, row, scale):
    """Run one row of a table in a separate process: return the dict of its function."""
    command = [sys.executable, __file__, "--row", table, str(row), "--scale", str(scale)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **TABLES[table][2]})
    return json.loads(found.stdout.splitlines()[-1])


def as_text(value):
    """Format a cell."""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)


def main():
    """Print the tables, or one row of one as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="which to print; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the length or of the data set")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        function, rows, _ = TABLES[options.row[0]]
        print(json.dumps(function(*rows[int(options.row[1])], options.scale)))
        return
    for table in options.tables or TABLES:
        for row in range(len(TABLES[table][1])):
            found = in_own_process(table, row, options.scale)
            if row == 0:
                print(f"\n| {' | '.join(found)} |\n|{'---|' * len(found)}")
            print(f"| {' | '.join(map(as_text, found.values()))} |", flush=True)


if __name__ == "__main__":
    main()
