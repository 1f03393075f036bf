"""A demonstration with the shipped networks: lines, three networks that differ in their training, the plane of a controller.

pwlnet demo --out demo_output
"""

import time
from pathlib import Path

from .. import warmup
from . import lines, planes, trainings

__all__ = ["run"]


def run(out, *, n_lines=200, n_images=100):
    """Partition lines and a plane, compare trainings, compute attributions; print, store, verify and plot the results.

    Kernels are compiled before computations are timed. Files of an earlier run in the folder are replaced.

    Parameters
    ----------
    out : path
        Folder for the files; created if it does not exist.
    n_lines : int, optional
        Lines between images of different classes; a quarter as many start at the black image.
    n_images : int, optional
        Images around which the trainings are compared.

    Raises
    ------
    StoreError
        The folder cannot be written.
    ImportError
        onnx or matplotlib is not installed.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    cold = warmup.is_cold()
    _compile("line partitions", warmup.LINE_STEPS, cold)
    lines.show(out, n_lines)
    print()
    _compile("attributions", warmup.ATTRIBUTION_STEPS, cold)
    trainings.show(out, n_images)
    print()
    _compile("planes", warmup.PLANE_STEPS, cold)
    planes.show(out)


def _compile(purpose, steps, cold):
    """Compile kernels, and print how long it took."""
    text = f"compiling the kernels of {purpose}, once per version of pwlnet" if cold else f"loading the kernels of {purpose}"
    print(f"{text} ... ", end="", flush=True)
    start = time.perf_counter()
    warmup.compile_kernels(steps, processes=cold, notice=False)
    print(f"{time.perf_counter() - start:.1f} s", flush=True)
