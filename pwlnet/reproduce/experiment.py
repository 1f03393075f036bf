"""What an experiment is: a value of six functions and texts. ``running.py`` runs it.

A module of an experiment, ``pwlnet/reproduce/density_training.py``, ends with ``EXPERIMENT = Experiment(...)`` and has its
line in ``pwlnet.reproduce.EXPERIMENTS``. It computes numbers of one image of one network at a time (``measure``), which the
loop appends to a store, and makes tables and figures of the numbers of all networks (``tabulate``, ``draw``), which may be
done again at any time. So:

- ``measure(subject, i, options)`` depends on the subject, the image's number, ``options.parameters`` and
  ``options.rng(i)`` only: then a run that was stopped and resumed gives the numbers of one that was not. It returns
  float64[rows, columns], at least one row, as many per image as it likes (one for each direction, say); the first column is
  the number of the image, names of the others are its own. An image that is left out (misclassified, say) has a row of NaN:
  ``skipped(i, columns)``. Numbers that stand for a word (which direction) are the word's place in a tuple of the module.
- Inputs are pixels in ``subject.images``; the network takes ``subject.to_input(pixels)``. Lengths and densities in pixel
  units need no more than that where ``subject.deviation`` is 1, as for all convSmall and digits networks.
- ``tabulate(measured, options)`` returns Tables (``tables.py``) in the order in which they are printed. ``measured`` is a
  dict from key to Measured, of the networks that were run, in the experiment's order: some may be absent, and all images
  of one may have been left out. Cells are numbers, texts, ``Interval`` or None; ``tables.estimate(values, seed=...)`` makes
  an Interval by the bootstrap, from **one value per image**. The paper's numbers are columns or rows of their own.
- ``draw(measured, options)`` returns {"name.png": Figure}; figures come from ``pwlnet.plot`` (``plot.new_figure``).

Modules are imported to list the experiments: torch and all that is heavy is imported inside functions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError


class Experiment(NamedTuple):
    """An experiment.

    Attributes
    ----------
    name : str
        As on the command line: "density-directions".
    title : str
        A sentence about what is measured.
    source : str
        Paper, section and table that it stands beside.
    keys : tuple of str
        Subjects it is for, ``subjects.DIGITS + subjects.CONVSMALL``.
    columns : tuple of str
        Names of the numbers of a row; the first is "image".
    measure : function of (Subject, int, Options)
        Numbers of one image: float64[rows, columns].
    tabulate : function of (dict of str to Measured, Options)
        list of Table.
    draw : function of (dict of str to Measured, Options)
        dict of file name to Figure.
    parameters : dict, optional
        Constants that the numbers depend on, with their defaults ({"epsilon": 0.1}): they are part of the store, which goes
        on with the same ones only, and can be set for a run. Numbers and texts.
    attributions : function of (Subject, int, Options), optional
        Attributions of one image, to keep in the store: dict of "baselines" float64[R, D], "inputs" float64[R, D], "values"
        float64[R, C, D], "residual" float64[R, C], "n_segments" int64[R]; R and C the same for all images.
    version : int, optional
        Of what ``measure`` computes: counted up when its numbers change, so that no store mixes old and new ones.
    """

    name: str
    title: str
    source: str
    keys: tuple
    columns: tuple
    measure: Callable
    tabulate: Callable
    draw: Callable
    parameters: dict = {}  # noqa: RUF012
    attributions: Callable | None = None
    version: int = 1


class Options(NamedTuple):
    """With what an experiment is run.

    Attributes
    ----------
    n_images : int
        Images of each network: the first ones of its test set.
    seed : int
    threads : int or None
        For functions that take ``threads``; None: all processors.
    parameters : dict
        The experiment's, by name.
    """

    n_images: int
    seed: int
    threads: int | None
    parameters: dict

    def rng(self, i):
        """Random numbers of image ``i``, whichever images came before: numpy.random.Generator."""
        return np.random.default_rng([self.seed, i])


@dataclass(frozen=True, eq=False)
class Measured:
    """Numbers of one network: ``measured["density"]`` is a column, float64[rows].

    Attributes
    ----------
    key, title, training, dataset : str
        Of the subject (``subjects.Description``).
    columns : tuple of str
    values : float64[rows, columns]
        Rows of image 0, then of image 1, and so on.
    path : pathlib.Path
        The store; ``pwlnet.store.open(path).read("attributions")`` reads attributions that the experiment keeps.
    """

    key: str
    title: str
    training: str
    dataset: str
    columns: tuple
    values: np.ndarray = field(repr=False)
    path: Path

    @property
    def n_images(self):
        """Number of images, left-out ones too."""
        return len(np.unique(self["image"]))

    def __getitem__(self, name):
        """Return a column: float64[rows]."""
        if name not in self.columns:
            raise InputError(f"column {name!r} was asked for, but the columns are {', '.join(self.columns)}; name one of these")
        return self.values[:, self.columns.index(name)]


def skipped(i, columns):
    """Make the row of an image that is left out: its number and NaN, float64[1, columns].

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
