"""Experiments of papers, run again: each leaves stores, a table beside the paper's, and figures.

``run("density-training", "results")`` is what ``pwlnet reproduce density-training --out results`` does. How an experiment
is written: ``experiment.py``. What each measures: docs/reproduce.md.
"""

import importlib

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
}


def get(name):
    """Get an experiment.

    Parameters
    ----------
    name : str
        Of ``EXPERIMENTS``.

    Returns
    -------
    Experiment

    Raises
    ------
    InputError
        There is no such experiment.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"experiment {name!r} was asked for; the experiments are {', '.join(EXPERIMENTS)}")
    return importlib.import_module(f".{EXPERIMENTS[name]}", __name__).EXPERIMENT


def run(
    name,
    out,
    *,
    n_images=100,
    networks=None,
    seed=0,
    threads=None,
    parameters=None,
    overwrite=False,
    progress=False,
):
    """Run an experiment, or go on with it where an earlier run was stopped.

    Estimate: what is measured of an image is what the experiment says, the tables' means and intervals are of a sample.

    Parameters
    ----------
    name : str
        Of ``EXPERIMENTS``.
    out : str or path
        Folder of results. ``out/name`` gets a store for each network, ``table.md``, ``table.csv`` and figures. Stores that
        are there are gone on with: more images are added to them, and where none are missing only tables and figures are
        made.
    n_images : int, optional
        The first images of the test set, or all that there are.
    networks : list of str, optional
        Keys of ``subjects.SUBJECTS``, or their first words ("mnist"). By default the shipped networks, and the public ones
        whose files are in the folder ``PWLNET_DATA_DIR``.
    seed : int, optional
        Of everything that is drawn; not negative.
    threads : int, optional
        All processors by default. Results don't depend on it.
    parameters : dict, optional
        Parameters of the experiment that are to have other values.
    overwrite : bool, optional
        Measure anew, and replace stores that are there.
    progress : bool, optional
        Show a bar on stderr.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        No such experiment, network or parameter; a number that can't be used.
    MissingDataError
        A network that was asked for, or its images, is not there and can't be downloaded.
    DigestMismatchError
        A store that is there was measured with another seed, other parameters or another network.
    StoreError
        The folder can't be written, or a store in it is damaged.
    ImportError
        A library that the experiment needs is not installed.
    """
    options = {"n_images": n_images, "networks": networks, "seed": seed, "threads": threads, "parameters": parameters}
    return run_experiment(get(name), out, **options, overwrite=overwrite, progress=progress)
