"""Print the table of docs/reports/performance.md: lines from a black image to test images, one thread.

    PWLNET_DATA_DIR=... OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python asv_benchmarks/line_table.py [NAME ...]

CPU microseconds per breakpoint, and the ratio of an exact partition to one float32 forward pass of torch at all of its
breakpoints in batches of 256. Both are timed in turn in one process. The table has medians over the repeats, and the
smallest and largest ratio.
"""

import statistics
import sys
import time

import numpy as np
import torch
from benchmarks import torch_twin
from image_lines import NETWORKS, lines_of, load

import pwlnet

REPEATS = 9
FORWARD_BATCHES = 8


def measure(name):
    """Return breakpoints per line, microseconds of CPU per breakpoint, ratios, largest residual, near-ties."""
    network = load(name)
    ends, twin = lines_of(name, network, NETWORKS[name][2]), torch_twin.build_twin(network)
    lines = pwlnet.partition_lines(network, *ends, threads=1)
    n_points = int(lines.n_segments.sum()) - len(lines)
    batch = torch_twin.as_batch(network, np.concatenate([p.points()[:64] for p in lines.parts])[: torch_twin.BATCH])
    batch = batch.repeat(-(-torch_twin.BATCH // len(batch)), 1, 1, 1)[: torch_twin.BATCH]
    micros, ratios = [], []
    for _ in range(REPEATS):
        start = time.process_time()
        pwlnet.partition_lines(network, *ends, threads=1)
        exact = (time.process_time() - start) / n_points
        with torch.inference_mode():
            start = time.process_time()
            for _ in range(FORWARD_BATCHES):
                twin(batch)
            forward = (time.process_time() - start) / (FORWARD_BATCHES * len(batch))
        micros.append(1e6 * exact)
        ratios.append(exact / forward)
    return n_points / len(lines), statistics.median(micros), ratios, lines.residual.max(), int(lines.ambiguous.sum())


def main(names):
    """Print the table."""
    torch.set_num_threads(1)
    print("| network | breakpoints per line | CPU us per breakpoint | ratio to a float32 forward pass | residual | near-ties |")
    print("|---|---|---|---|---|---|")
    for name in names or NETWORKS:
        try:
            points, micros, ratios, residual, ambiguous = measure(name)
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            continue
        ratio = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"| {name} | {points:.0f} | {micros:.2f} | {ratio} | {residual:.0e} | {ambiguous} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
