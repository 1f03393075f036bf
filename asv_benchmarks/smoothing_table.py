"""Tables of docs/guide/smoothing.md: medians of ratios of times, of certification on one thread.

    OMP_NUM_THREADS=1 python -m asv_benchmarks.smoothing_table

First: how many times as fast as the published loop with torch certificates are, of the network and of the torch module; and
the same for forward passes and noise. Second: how many times as long as plain certificates those with repressed float neurons
take.
"""

import sys

from .benchmarks.smoothing import MODES, NETWORKS, Repression, Smoothing


def main():
    """Write the tables."""
    rows = ("network_ratio", "module_ratio", "forward_ratio", "noise_ratio")
    write("network", *(row.replace("_ratio", "") for row in rows))
    write(*["---"] * (1 + len(rows)))
    for name in NETWORKS:
        case = Smoothing()
        case.setup(name)
        write(name, *(f"{getattr(case, f'track_{row}')(name):.2f}" for row in rows))
    sys.stdout.write("\n")
    write("network", *MODES)
    write(*["---"] * (1 + len(MODES)))
    for name in NETWORKS:
        for engine in ("network", "module"):
            cells = []
            for mode in MODES:
                case = Repression()
                case.setup(name, mode)
                cells.append(f"{getattr(case, f'track_{engine}_overhead')(name, mode):.2f}")
            write(f"{name}, {'IR' if engine == 'network' else 'torch'}", *cells)


def write(*cells):
    """Write a row of a table."""
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
