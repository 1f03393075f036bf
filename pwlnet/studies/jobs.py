"""Jobs whose results are columns of numbers: linearity along lines, and decisions about boxes.

Legend: L lines, B boxes, D inputs of the network, O outputs.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..distribute import Job
from ..errors import InputError
from ..network import Network

_MEASURES = ("l2", "angle", "symmetric")
LINEARITY_COLUMNS = (
    "target",
    "n_segments",
    "length",
    "density",
    "gradient_norm",
    *(f"{place}_{name}" for place in ("mean", "largest", "at_end") for name in _MEASURES),
    *(f"tangent_{name}" for name in ("largest", "largest_at", "mean", "at_end", "predicted", "variation")),
    "residual",
)
DECISION_COLUMNS = ("target", "status", "margin", "n_open", "n_branches", "n_cells")  # then the witness, input by input
STATUS = {"unsat": 0, "sat": 1, "undecided": -1}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LinearityJob(Job):
    """Linearity of one output along each of L lines."""

    kind: ClassVar[str] = "measures"
    steps: ClassVar[tuple[str, ...]] = ("forward", "check", "trace", "partition_lines", "jacobian", "measure_linearity")
    unit: ClassVar[str] = "line"

    starts: np.ndarray = dataclasses.field(repr=False)
    ends: np.ndarray = dataclasses.field(repr=False)
    targets: np.ndarray = dataclasses.field(repr=False)

    def compute(self, first, last, *, threads=None):
        """Compute items ``first`` to ``last`` (not included): dict of arrays by field."""
        from ..analysis.linearity import measure_linearity
        from ..partition.lines.partitions import partition_lines

        rows = slice(first, last)
        lines = partition_lines(self.network, self.starts[rows], self.ends[rows], tolerances=self.tolerances, threads=threads)
        made = measure_linearity(lines, self.targets[rows], threads=threads)
        columns = [made.targets, made.n_segments, made.length, made.density, made.gradient_norm]
        columns += [getattr(change, name) for change in (made.mean, made.largest, made.at_end) for name in _MEASURES]
        columns += [*made.tangent, made.residual]
        return {"values": np.stack([np.asarray(column, np.float64) for column in columns], axis=1)}

    def settings(self):
        """Return what results depend on besides the network and the inputs: dict of JSON values."""
        return {"measures": "linearity", "columns": list(LINEARITY_COLUMNS)}

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        return {name: getattr(self, name)[first:last] for name in ("starts", "ends", "targets")}

    def _inputs(self, first, last):
        return [self.starts[first:last], self.ends[first:last], [k.reshape(1) for k in self.targets[first:last]]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class DecisionsJob(Job):
    """Whether some point of each of B boxes has an output that is as large as that of a class, or larger."""

    kind: ClassVar[str] = "measures"
    steps: ClassVar[tuple[str, ...]] = ("forward", "check", "bounds", "regions")
    unit: ClassVar[str] = "decision"

    lower: np.ndarray = dataclasses.field(repr=False)
    upper: np.ndarray = dataclasses.field(repr=False)
    targets: np.ndarray = dataclasses.field(repr=False)
    max_branches: int

    def compute(self, first, last, *, threads=None):
        """Compute items ``first`` to ``last`` (not included): dict of arrays by field."""
        return {"values": np.stack([self._row(k, threads) for k in range(first, last)])}

    def _row(self, k, threads):
        """Decide a box: float64[columns]."""
        from ..analysis.decisions import decide
        from ..conditions import HalfSpaces
        from ..domains import Box

        target, outputs = int(self.targets[k]), np.eye(self.network.n_outputs)
        others = [j for j in range(self.network.n_outputs) if j != target]
        condition = [HalfSpaces((outputs[target] - outputs[other])[None], [0.0]) for other in others]
        made = decide(
            self.network, Box(self.lower[k], self.upper[k]), condition, max_branches=self.max_branches, threads=threads
        )
        row = np.full(len(DECISION_COLUMNS) + self.network.n_inputs, np.nan)
        margin = np.nan if made.confirmation is None else made.confirmation.margin
        numbers = (target, STATUS[made.status], margin, made.n_open, made.n_branches, made.n_cells)
        row[: len(DECISION_COLUMNS)] = numbers
        if made.witness is not None:
            row[len(DECISION_COLUMNS) :] = np.ravel(made.witness)
        return row

    def settings(self):
        """Return what results depend on besides the network and the inputs: dict of JSON values."""
        witness = [f"witness_{k}" for k in range(self.network.n_inputs)]
        return {"measures": "decisions", "columns": [*DECISION_COLUMNS, *witness], "max_branches": self.max_branches}

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        return {name: getattr(self, name)[first:last] for name in ("lower", "upper", "targets")}

    def _inputs(self, first, last):
        return [self.lower[first:last], self.upper[first:last], [k.reshape(1) for k in self.targets[first:last]]]


def linearity_job(
    network: Network,
    starts: np.ndarray,
    ends: np.ndarray,
    targets: np.ndarray,
    *,
    batch: int,
    parameters: Mapping[str, Any],
) -> Job:
    """Describe ``measure_linearity`` of an output along each line as a job.

    Exact up to rounding, as ``measure_linearity``.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D]
    targets : int64[L]
        Output of each line.
    batch : int
    parameters : dict

    Returns
    -------
    Job
        Of measures, with the columns ``LINEARITY_COLUMNS``.

    Raises
    ------
    InputError, ShapeError
        As for ``partition_lines`` and ``measure_linearity``.
    """
    from ..partition.lines.ends import LineEnds
    from ..validation import as_targets

    n = len(LineEnds(network, starts, ends))
    starts, ends = (np.broadcast_to(network.as_points(x, "lines"), (n, network.n_inputs)) for x in (starts, ends))
    targets = as_targets(np.asarray(targets), n, network.n_outputs)
    what: dict[str, Any] = {"starts": starts, "ends": ends, "targets": targets, "n_items": n, "batch": batch}
    job = LinearityJob(network=network, **what)
    return job._finished({**parameters, "columns": list(LINEARITY_COLUMNS)})


def decisions_job(
    network: Network,
    lower: np.ndarray,
    upper: np.ndarray,
    targets: np.ndarray,
    *,
    max_branches: int,
    batch: int,
    parameters: Mapping[str, Any],
) -> Job:
    """Describe ``decide``, for each of B boxes whether another class than a given one is reached, as a job.

    Exact up to rounding, as ``decide``: what is left open is reported.

    Parameters
    ----------
    network : Network
    lower, upper : float64[B, D]
    targets : int64[B]
        Class of each box.
    max_branches : int
        As for ``decide``; with a time limit, results would differ between runs.
    batch : int
    parameters : dict

    Returns
    -------
    Job
        Of measures, with the columns ``DECISION_COLUMNS`` (status 0: no such point, 1: there is one, -1: undecided; the
        condition's margin) and the point, NaN if there is none.

    Raises
    ------
    InputError, ShapeError
        A network with a single output, or a class that it does not have.
    """
    from ..validation import as_targets

    if network.n_outputs < 2:
        raise InputError(f"the network has {network.n_outputs} outputs; decisions between classes need two or more")
    targets = as_targets(np.asarray(targets), len(lower), network.n_outputs)
    what: dict[str, Any] = {"lower": lower, "upper": upper, "targets": targets, "n_items": len(lower), "batch": batch}
    job = DecisionsJob(network=network, max_branches=max_branches, **what)
    return job._finished({**parameters, "columns": job.settings()["columns"]})
