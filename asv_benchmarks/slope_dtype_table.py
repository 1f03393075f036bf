"""Print the table of docs/reports/performance.md about slope changes in float32: their time and their accuracy, one thread.

    PWLNET_DATA_DIR=... OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python asv_benchmarks/slope_dtype_table.py [NAME ...]

Lines as in line_table.py, and short random lines through the deep networks of line_scale.py. Both precisions are timed in turn
in one process; the ratio is a median over the repeats, with the smallest and the largest. Then: lines without near-ties, lines
with other flips than in float64 (and how many of these are without near-ties: there must be none), near-ties, the median and
the largest difference of breakpoints where the flips are the same, the largest bound, and the largest share of its line's
bound that a difference reaches.
"""

import statistics
import sys
import time

import numpy as np
from benchmarks import networks
from image_lines import NETWORKS, lines_of, load

import pwlnet

REPEATS = 9
DEEP = {"vgg16_bn": 1 / 60, "resnet18": 1 / 200}  # reach of the line
DEEP_REPEATS = 2
HEAD = "| network | time, float32 / float64 | lines | sure | other flips (sure) | near-ties | difference of t | bound | share |"


def case(name):
    """Return network, ends and repeats."""
    if name in DEEP:
        network = networks.build_network(name)
        return network, networks.draw_lines(network, 1, reach=DEEP[name]), DEEP_REPEATS
    network = load(name)
    return network, lines_of(name, network, NETWORKS[name][2]), REPEATS


def same_flips(a, b):
    """Return whether two partitions of a line have the same flips in the same order."""
    pairs = zip(a.flips, b.flips, strict=True) if len(a.t) == len(b.t) else [((0,), (1,))]
    return all(np.array_equal(x, y) for flips in pairs for x, y in zip(*flips, strict=True))


def measure(name):
    """Measure one row of the table."""
    network, ends, repeats = case(name)
    kinds = ("float64", "float32")
    double, single = (pwlnet.partition_lines(network, *ends, threads=1, slope_dtype=kind) for kind in kinds)
    ratios = []
    for _ in range(repeats):
        seconds = []
        for kind in kinds:
            start = time.process_time()
            pwlnet.partition_lines(network, *ends, threads=1, slope_dtype=kind)
            seconds.append(time.process_time() - start)
        ratios.append(seconds[1] / seconds[0])
    same = np.array([same_flips(a, b) for a, b in zip(double.parts, single.parts, strict=True)])
    sure = single.ambiguous == 0
    alike = [np.abs(a.t - b.t)[1:-1] for a, b, is_same in zip(double.parts, single.parts, same, strict=True) if is_same]
    apart = np.concatenate([np.zeros(0), *alike])
    shares = [d.max(initial=0.0) / max(b, 1e-300) for d, b in zip(alike, single.t_error[same], strict=True)]
    difference = f"{np.median(apart):.0e}, {apart.max():.0e}" if len(apart) else "-"
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    other = f"{(~same).sum()} ({(~same & sure).sum()})"
    return (
        f"| {name} | {ratio} | {len(same)} | {sure.sum()} | {other} | {single.ambiguous.sum()} | {difference} "
        f"| {single.t_error.max():.0e} | {max(shares, default=0.0):.2f} |"
    )


def main(names):
    """Print the table."""
    print(HEAD)
    print("|" + "---|" * (HEAD.count("|") - 1))
    for name in names or [*NETWORKS, *DEEP]:
        try:
            print(measure(name), flush=True)
        except FileNotFoundError as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
