"""The definition of an experiment: an ``Experiment`` of functions and texts, which ``running.py`` runs.

The module of an experiment, such as ``pwlnet/reproduce/density_training.py``, ends with ``EXPERIMENT = Experiment(...)`` and is
listed in ``pwlnet.reproduce.EXPERIMENTS``. Its function ``measure`` computes numbers for one image of one network; the loop
appends them to a store. ``tabulate`` and ``draw`` create tables and figures from the numbers of all networks; they can be
called again at any time.

- ``measure(subject, i, options)`` depends only on the subject, the index of the image, ``options.parameters`` and
  ``options.rng(i)``, so an interrupted and resumed run gives the same numbers as an uninterrupted one. It returns
  float64[rows, columns] with one or more rows (for instance, one per direction); the first column is the index of the image.
  An excluded image (for instance, a misclassified one) has a row of NaN: ``skipped(i, columns)``. A category (for instance,
  the direction) is stored as its index in a tuple of the module.
- ``subject.images`` are pixels; the input of the network is ``subject.to_input(pixels)``. If ``subject.deviation`` is 1, as
  for all convSmall and digits networks, lengths and densities need no conversion to pixel units.
- ``tabulate(measured, options)`` returns Tables (``tables.py``) in the order in which they are printed. ``measured`` is a
  dict from key to Measured, in the experiment's order. Networks may be missing, and all images of a network may have been
  excluded. Cells are numbers, texts, ``Interval`` or None; ``tables.estimate(values, seed=...)`` computes an Interval by the
  bootstrap from **one value per image**. The paper's numbers have separate columns or rows.
- ``draw(measured, options)`` returns {"name.png": Figure}; figures are created with ``pwlnet.plot`` (``plot.new_figure``).

Listing the experiments imports these modules, so torch and other large libraries are imported inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._types import FloatArray
from ..errors import InputError


class Experiment(NamedTuple):
    """An experiment.

    Attributes
    ----------
    name : str
        Name on the command line: "density-directions".
    title : str
        Short description of what is measured.
    source : str
        Paper, section and table.
    keys : tuple of str
        Keys of its subjects, such as ``subjects.DIGITS + subjects.CONVSMALL``.
    columns : tuple of str
        Names of the columns; the first is "image".
    measure : callable
        Maps (Subject, int, Options) to the numbers of one image: float64[rows, columns].
    tabulate : callable
        Maps (dict of str to Measured, Options) to a list of Table.
    draw : callable
        Maps (dict of str to Measured, Options) to a dict from file name to Figure.
    parameters : dict, optional
        Constants that the numbers depend on, with their defaults ({"epsilon": 0.1}): numbers and texts. They can be set for a
        run, and are part of the store, which can be resumed only with the same values.
    attributions : callable, optional
        Maps (Subject, int, Options) to the attributions of one image that the store keeps: dict of "baselines" float64[R, D],
        "inputs" float64[R, D], "values" float64[R, C, D], "residual" float64[R, C], "n_segments" int64[R]; R and C must be the
        same for all images.
    version : int, optional
        Version of ``measure``, incremented when its numbers change, so no store mixes old and new numbers.
    defaults : tuple of str, optional
        Keys of the subjects that are used if none are requested; all by default.
    unit : str, optional
        What is measured one after the other: "image", or "slice" of a control network.
    """

    name: str
    title: str
    source: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    measure: Callable[..., Any]
    tabulate: Callable[..., Any]
    draw: Callable[..., Any]
    parameters: dict[str, Any] = {}  # noqa: RUF012
    attributions: Callable | None = None
    version: int = 1
    defaults: tuple[str, ...] = ()
    unit: str = "image"


class Options(NamedTuple):
    """Options of a run.

    Attributes
    ----------
    n_images : int
        Number of images per network, the first of its test set.
    seed : int
    threads : int or None
        For functions that take ``threads``; None: all processors.
    parameters : dict
        Parameters of the experiment by name.
    """

    n_images: int
    seed: int
    threads: int | None
    parameters: dict[str, Any]

    def rng(self, i: int) -> np.random.Generator:
        """Return the random generator of image ``i``, independent of other images: numpy.random.Generator."""
        return np.random.default_rng([self.seed, i])


@dataclass(frozen=True, eq=False)
class Measured:
    """Numbers of one network: ``measured["density"]`` is a column, float64[rows].

    Attributes
    ----------
    key, title, training, dataset : str
        Those of the subject (``subjects.Description``).
    columns : tuple of str
    values : float64[rows, columns]
        Rows in the order of images.
    path : pathlib.Path
        The store; ``pwlnet.store.open(path).read("attributions")`` reads the stored attributions.
    """

    key: str
    title: str
    training: str
    dataset: str
    columns: tuple[str, ...]
    values: FloatArray = field(repr=False)
    path: Path

    @property
    def n_images(self) -> int:
        """Number of images, including excluded ones."""
        return len(np.unique(self["image"]))

    def __getitem__(self, name: str) -> FloatArray:
        """Return a column: float64[rows]."""
        if name not in self.columns:
            raise InputError(f"there is no column {name!r}; give one of {', '.join(self.columns)}")
        return self.values[:, self.columns.index(name)]


def skipped(i: int, columns: tuple[str, ...]) -> FloatArray:
    """Create the row of an excluded image: its index and NaN, float64[1, columns].

    Parameters
    ----------
    i : int
    columns : tuple of str

    Returns
    -------
    float64[1, columns]
    """
    row = np.full((1, len(columns)), np.nan)
    row[0, 0] = i
    return row
