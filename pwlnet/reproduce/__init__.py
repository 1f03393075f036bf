"""Reproductions of experiments of papers: each writes stores, tables (with the paper's numbers, if it has any), and figures.

``run("density-training", "results")`` is equivalent to ``pwlnet reproduce density-training --out results``. How to write an
experiment is described in ``experiment.py``, what each one measures in docs/reports/reproduce.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from .._types import PathLike
from ..errors import InputError
from .experiment import Experiment, Measured, Options
from .running import Result, run_experiment
from .tables import Interval, Table

__all__ = ["EXPERIMENTS", "Experiment", "Interval", "Measured", "Options", "Result", "Table", "get", "run", "run_experiment"]

EXPERIMENTS = {  # name: module of this package, loaded on first use
    "ig-error": "ig_error",
    "ig-samples": "ig_samples",
    "ig-figure": "ig_figure",
    "density-directions": "density_directions",
    "density-training": "density_training",
    "gradient-change": "gradient_change",
    "acas-boundaries": "acas_boundaries",
    "horizontal-regions": "horizontal_regions",
    "float-ratios": "float_ratios",
    "float-distance": "float_distance",
    "vulnerability": "vulnerability",
    "scrfp": "scrfp",
    "scrfp-broken": "scrfp_broken",
    "smoothing-corrects": "smoothing_corrects",
}


def get(name: str) -> Experiment:
    """Return an experiment.

    Parameters
    ----------
    name : str
        A key of ``EXPERIMENTS``.

    Returns
    -------
    Experiment

    Raises
    ------
    InputError
        The experiment does not exist.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"there is no experiment {name!r}; give one of {', '.join(EXPERIMENTS)}")
    return importlib.import_module(f".{EXPERIMENTS[name]}", __name__).EXPERIMENT


def run(
    name: str,
    out: PathLike,
    *,
    n_images: int = 100,
    networks: Sequence[str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    parameters: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Result:
    """Run an experiment, or continue an interrupted run.

    Estimate: the means and intervals in the tables are those of a sample of images.

    Parameters
    ----------
    name : str
        A key of ``EXPERIMENTS``.
    out : str or path
        Folder for results. A store for each network, ``table.md``, ``table.csv`` and figures are written to ``out/name``.
        Existing stores are continued: missing images are added; if there are none, only tables and figures are created.
    n_images : int, optional
        Number of images, the first of the test set, or of slices of a control network; at most all of them.
    networks : list of str, optional
        Keys of ``subjects.SUBJECTS``, or prefixes of keys ("mnist"). By default, the shipped networks, and the public ones
        whose files are in the folder ``PWLNET_DATA_DIR`` (of ``acas-boundaries``, 15 of these).
    seed : int, optional
        Seed of all random numbers; not negative.
    threads : int, optional
        Number of threads; all processors by default. Results do not depend on it.
    parameters : dict, optional
        Values of the experiment's parameters that replace the defaults.
    overwrite : bool, optional
        Measure again, and replace existing stores.
    progress : bool, optional
        Show a progress bar on stderr.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        The experiment, a network or a parameter does not exist; a value is invalid.
    MissingDataError
        A requested network, or its images, is not available and can't be downloaded.
    DigestMismatchError
        An existing store has another seed, other parameters or another network.
    StoreError
        The folder can't be written, or a store in it is damaged.
    ImportError
        A library that the experiment needs is not installed.
    """
    options: dict[str, Any] = {
        "n_images": n_images,
        "networks": networks,
        "seed": seed,
        "threads": threads,
        "parameters": parameters,
    }
    return run_experiment(get(name), out, **options, overwrite=overwrite, progress=progress)
