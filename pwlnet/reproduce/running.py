"""The loop that runs an experiment: a store for each network, then tables and figures for all of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import store
from .._types import PathLike
from ..errors import DigestMismatchError, InputError, MissingDataError, ShapeError, StoreError
from . import subjects, tables
from .experiment import Experiment, Measured, Options

if TYPE_CHECKING:
    from .tables import Table

_COMMIT_SECONDS = 4.0  # between two commits, each of which waits for the disk


class Result(NamedTuple):
    """Result of a run.

    Attributes
    ----------
    name : str
    folder : pathlib.Path
        Folder with all files below, ``table.md`` and ``table.csv``.
    tables : list of tables.Table
    stores : dict of str to pathlib.Path
        By key of the network.
    n_images : dict of str to int
        Number of images by key of the network.
    figures : list of pathlib.Path
    missing : dict of str to str
        Reasons, by key, why networks of the experiment were skipped.
    notes : list of str
        Messages for the caller.
    """

    name: str
    folder: Path
    tables: list[Table]
    stores: dict[str, Path]
    n_images: dict[str, int]
    figures: list[Path]
    missing: dict[str, str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dict that can be written as JSON."""
        return {
            **self._asdict(),
            "folder": str(self.folder),
            "tables": [tables.to_dict(table) for table in self.tables],
            "stores": {key: str(path) for key, path in self.stores.items()},
            "figures": [str(path) for path in self.figures],
        }


def run_experiment(
    experiment: Experiment,
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
    experiment : Experiment
    out : str or path
        Folder for results; those of this experiment are written to ``out/name``.
    n_images, networks, seed, threads, parameters, overwrite, progress
        As for ``pwlnet.reproduce.run``.

    Returns
    -------
    Result

    Raises
    ------
    InputError, MissingDataError, DigestMismatchError, StoreError, ImportError
        As for ``pwlnet.reproduce.run``.
    """
    options = Options(n_images, seed, threads, _parameters(experiment, parameters))
    for name, value, least in (("n_images", n_images, 1), ("seed", seed, 0)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"{name} is {value!r}; an integer of at least {least} is needed")
    keys = experiment.defaults if networks is None and experiment.defaults else experiment.keys
    chosen, missing = subjects.choose(keys, networks)
    if not chosen:
        raise MissingDataError(next(iter(missing.values()), "networks is empty; give at least one"))
    folder = Path(out) / experiment.name
    _make_folder(folder)
    measured = {}
    for key in chosen:
        measured[key] = _measured(experiment, key, folder / f"{key}.h5", options, overwrite, progress)
    results, notes = list(experiment.tabulate(measured, options)), []
    _write_tables(folder, results)
    try:
        figures = _save_figures(folder, experiment.draw(measured, options))
    except ImportError as error:  # without matplotlib, the numbers are still useful
        figures, notes = [], [f"no figures were drawn: {error}"]
    stores, counts = ({key: getattr(m, name) for key, m in measured.items()} for name in ("path", "n_images"))
    return Result(experiment.name, folder, results, stores, counts, figures, missing, notes)


def _parameters(experiment, values):
    """Validate the given parameters, and add the defaults of the others: dict."""
    values = dict(values or {})
    for name, value in values.items():
        if name not in experiment.parameters:
            known = f"its parameters are {', '.join(experiment.parameters)}" if experiment.parameters else "it has none"
            raise InputError(f"parameter {name!r} was given, but {experiment.name} has no such parameter; {known}")
        default = experiment.parameters[name]
        kind = type(default)
        if not isinstance(value, (int, float) if kind is float else kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"parameter {name} is {value!r}; a {kind.__name__} is needed, such as {default!r}")
        values[name] = kind(value)
    return {**experiment.parameters, **values}


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} can't be created ({error.strerror}); give another folder") from error


def _measured(experiment, key, path, options, overwrite, progress):
    """Measure the images of a network that its store does not have yet: Measured."""
    subject = subjects.load(key)
    with _writer(experiment, subject, path, options, overwrite) as writer:
        last = min(options.n_images, len(subject))
        _measure_images(experiment, subject, writer, last, options, progress)
    with store.open(path) as opened:
        values = opened.read("measures")["values"]
    values = values[values[:, 0] < last]
    return Measured(key, subject.title, subject.training, subject.dataset, experiment.columns, values, path)


def _writer(experiment, subject, path, options, overwrite):
    """Create the store of a network, or resume an existing one: StoreWriter."""
    what = {"experiment": experiment.name, "version": experiment.version, "subject": subject.key}
    if getattr(subject, "denoiser", None) is not None:
        what["denoiser"] = subject.denoiser.digest
    made_with = {
        "parameters": {**what, **options.parameters, "columns": list(experiment.columns)},
        "seeds": {"images": int(options.seed)},
        "threads": options.threads,
    }
    if overwrite or not path.exists():
        return store.create(path, subject.network, **made_with, overwrite=overwrite)
    try:
        return store.resume(path, subject.network, **made_with)
    except DigestMismatchError as error:
        error.add_note("overwrite=True (--overwrite) measures again")
        raise


def _measure_images(experiment, subject, writer, last, options, progress):
    """Measure images up to ``last`` (not included), and append their numbers batch by batch."""
    from tqdm import tqdm

    first = _first_image(writer)
    if first >= last:
        return
    batch = _Batch(experiment, writer, first)
    try:
        with tqdm(total=last, initial=first, desc=subject.key, unit=experiment.unit, disable=not progress) as bar:
            for i in range(first, last):
                batch.add(i, experiment.measure(subject, i, options),
                          experiment.attributions and experiment.attributions(subject, i, options))  # fmt: skip
                bar.update()
                if time.monotonic() - batch.began > _COMMIT_SECONDS:
                    batch.commit()
        batch.commit()
    except BaseException as error:
        with contextlib.suppress(StoreError):  # the error that is being raised is more specific
            batch.commit()
        error.add_note(
            f"{writer.path} has {batch.first} of {last} {experiment.unit}s of {subject.key}; run it again to continue"
        )
        raise


def _first_image(writer):
    """Return the first image that a store does not have: the one after that of its last row."""
    n_rows = writer.n_rows("measures")
    if not n_rows:
        return 0
    with store.open(writer.path) as opened:
        return int(opened.read("measures", n_rows - 1)["values"][0, 0]) + 1


class _Batch:
    """Images that have been measured, but are not in the store yet."""

    def __init__(self, experiment, writer, first):
        self.experiment, self.writer = experiment, writer
        self.first = first  # first image that is not in the store
        self._clear()

    def _clear(self):
        self.rows, self.attributions, self.began = [], [], time.monotonic()
        self.n_before = self.writer.n_rows("measures")

    def add(self, i, rows, attributions):
        """Add an image: the results of ``measure``, and of ``attributions`` or None."""
        rows, columns = np.asarray(rows, np.float64), self.experiment.columns
        if rows.ndim != 2 or rows.shape[1] != len(columns) or not len(rows) or not (rows[:, 0] == i).all():
            raise ShapeError(
                f"measure of {self.experiment.name} returned shape {rows.shape} for image {i}; rows of {len(columns)} columns "
                "are needed, with the index of the image in the first"
            )
        if attributions is not None:
            self.attributions.append(attributions)
        self.rows.append(rows)

    def commit(self):
        """Append all images to the store.

        Attributions are written first; those that an interrupted run wrote without measures are not written again. Ctrl-C is
        raised after a batch has been written, and ``commit`` is called again then: it must not write anything twice.
        """
        if self.attributions:
            self.attributions = self.attributions[: len(self.rows)]  # interrupted between two lines of ``add``
            names = self.attributions[0]
            arrays = {name: np.concatenate([each[name] for each in self.attributions]) for name in names}
            per_image = len(arrays["inputs"]) // len(self.attributions)
            written = self.writer.n_rows("attributions") - per_image * self.first
            self.writer.append("attributions", {name: array[written:] for name, array in arrays.items()})
        if self.rows and self.writer.n_rows("measures") == self.n_before:
            self.writer.append("measures", {"values": np.concatenate(self.rows)})
        self.first += len(self.rows)
        self._clear()


def _write_tables(folder, results):
    """Write ``table.md`` with all tables, and a CSV file for each one."""
    texts = {"table.md": tables.to_markdown(results)}
    texts |= {f"table{f'_{k}' if k > 1 else ''}.csv": tables.to_csv(table) for k, table in enumerate(results, start=1)}
    for name, text in texts.items():
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{folder / name} can't be written ({error.strerror}); check the folder") from error


def _save_figures(folder, figures):
    paths = []
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=110)
        paths.append(folder / name)
    return paths
