"""Print the tables of docs/guide/planes.md: polygons per second, one thread and two, memory, growth.

    PWLNET_DATA_DIR=... OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python asv_benchmarks/plane_table.py [speed] [threads] [growth]

``speed``: CPU time of whole calls of partition_planes, medians and ranges over the repeats, all methods in turn in one process;
regioncam (float32), if it is installed, on the same torch networks. ``growth``: iter_plane_chunks on larger and larger squares.
"""

import itertools
import os
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

import pwlnet

REPEATS = 15
SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
ACAS = "acasxu/onnx/ACASXU_run2a_1_1_batch_2000.onnx"  # takes normalised inputs
MEAN, RANGE = np.array([19791.091, 0.0]), np.array([60261.0, 6.28318530718])
SPEEDS = ((0.0, 0.0), (-0.5, 0.5), (0.45, -0.45))  # normalised v_own and v_int


def dense(sizes, seed=0):
    """Return a torch network with PyTorch's default initialisation."""
    import torch

    torch.manual_seed(seed)
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def acas_planes():
    """Return the network ACAS Xu 1_1, and (name, arguments of partition_planes) of rho/theta slices."""
    network = pwlnet.load_network(os.path.join(os.environ["PWLNET_DATA_DIR"], ACAS))
    low, high = ((np.array(x) - MEAN) / RANGE for x in ((0.0, -3.141593), (60760.0, 3.141593)))
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    axes = np.eye(5)
    for speeds in SPEEDS:
        yield f"ACAS Xu 1_1, v = {speeds}", network, (np.array([0.0, 0.0, 0.0, *speeds]), axes[0], axes[1], corners)


def small_planes():
    """Return (name, torch module, network, arguments) of small networks."""
    for sizes in ((2, 64, 64, 1), (2, 64, 64, 64, 10)):
        module = dense(sizes)
        arguments = np.zeros(2), np.array([1.0, 0.0]), np.array([0.0, 1.0]), SQUARE
        yield "-".join(map(str, sizes)), module, pwlnet.from_torch(module, (2,)), arguments


def cpu_seconds(call):
    """Return the CPU seconds of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def regioncam_call(module):
    """Return a call of regioncam on a network, or None where it is not installed."""
    try:
        import regioncam
        import torch
    except ImportError:
        return None
    layers = [m.weight.detach().numpy().T.copy() if isinstance(m, torch.nn.Linear) else None for m in module]
    biases = [m.bias.detach().numpy() if isinstance(m, torch.nn.Linear) else None for m in module]

    def call():
        camera = regioncam.Regioncam(size=1.0)
        for weight, bias in zip(layers, biases, strict=True):
            if weight is None:
                camera.relu()
            else:
                camera.linear(weight, bias)
        return camera

    return call


def speed():
    """Print polygons per second."""
    print("| network | polygons | CPU ms (range) | polygons per second | exact decisions | regioncam / pwlnet (range) |")
    print("|---|---|---|---|---|---|")
    cases = [(name, None, network, plane) for name, network, plane in acas_planes()]
    for name, module, network, plane in [*cases, *small_planes()]:
        planes = pwlnet.partition_planes(network, *plane, threads=1)
        peer = regioncam_call(module) if module is not None else None
        if peer:
            peer()
        own, ratios = [], []
        for _ in range(REPEATS):
            own.append(cpu_seconds(lambda: pwlnet.partition_planes(network, *plane, threads=1)))  # noqa: B023
            if peer:
                ratios.append(cpu_seconds(peer) / own[-1])
        n, middle = int(planes.n_polygons.sum()), statistics.median(own)
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        span = f"{1e3 * middle:.1f} ({1e3 * min(own):.1f} to {1e3 * max(own):.1f})"
        print(f"| {name} | {n} | {span} | {n / middle:.0f} | {planes.n_exact} | {ratio} |", flush=True)


def threads():
    """Print the ratio of elapsed times of one thread and two."""
    print("| network | polygons | one thread, ms | two threads, ms | ratio (range) |\n|---|---|---|---|---|")
    cases = [(name, network, plane) for name, network, plane in acas_planes()]
    module = dense((2, 128, 128, 128, 10))
    plane = np.zeros(2), np.array([1.0, 0.0]), np.array([0.0, 1.0]), 8.0 * SQUARE
    cases.append(("2-128-128-128-10", pwlnet.from_torch(module, (2,)), plane))
    for name, network, plane in cases:
        times = []
        for _ in range(REPEATS):
            row = []
            for n in (1, 2):
                start = time.perf_counter()
                planes = pwlnet.partition_planes(network, *plane, threads=n)
                row.append(time.perf_counter() - start)
            times.append(row)
        one, two = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
        ratios = [a / b for a, b in times]
        span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {int(planes.n_polygons.sum())} | {one:.0f} | {two:.0f} | {span} |", flush=True)


def growth():
    """Print time and memory of larger and larger squares, each in a process of its own."""
    print("| size of the square | polygons | chunks | CPU s | polygons per CPU second | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for size in (2.0, 4.0, 8.0, 16.0):
        subprocess.run([sys.executable, __file__, "one", str(size)], check=True)


def one(size):
    """Print one row of the table of ``growth``."""
    network = pwlnet.from_torch(dense((2, 512, 512, 512, 2)), (2,))
    pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], 0.01 * SQUARE)
    start, n, chunks = time.process_time(), 0, 0
    for chunk in pwlnet.iter_plane_chunks(network, [0, 0], [1, 0], [0, 1], size * SQUARE, threads=1):
        n, chunks = n + chunk.n_polygons, chunks + 1
    seconds, memory = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {size} | {n} | {chunks} | {seconds:.1f} | {n / seconds:.0f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(float(sys.argv[2]))
    else:
        for table in sys.argv[1:] or ("speed", "threads", "growth"):
            {"speed": speed, "threads": threads, "growth": growth}[table]()
            print()
