"""Jobs along lines: partitions and integrated gradients.

Legend: L lines, B inputs, D inputs of the network.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .._types import Dtype
from ..network import Network
from ..tolerances import DEFAULT, Tolerances, as_tolerances
from ..validation import check_count, check_network
from .jobs import Job

_ATTRIBUTION_BYTES = 2**24  # of a batch


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LinesJob(Job):
    """Partitions of lines, computed as ``append_lines_by_length`` does."""

    kind: ClassVar[str] = "lines"
    unit: ClassVar[str] = "line"

    starts: Any = dataclasses.field(repr=False)
    ends: Any = dataclasses.field(repr=False)

    @property
    def steps(self):
        """Names of the steps of ``pwlnet.warmup`` that compile its kernels."""
        single = self.tolerances.slope_dtype == "float32"
        return ("forward", "check", "trace", "partition_lines", *(["trace_float32"] if single else []))

    @functools.cached_property
    def _lines(self):
        from ..partition.lines.ends import LineEnds

        return LineEnds(self.network, self.starts, self.ends)

    def compute(self, first, last, *, threads=None):
        """Compute items ``first`` to ``last`` (not included): dict of arrays by field."""
        from ..partition.lines.partitions import partition_lines
        from ..store import schema

        starts, ends = self._lines.read(first, last)
        lines = partition_lines(self.network, starts, ends, tolerances=self.tolerances, threads=threads)
        return {dataset.field: getattr(lines, dataset.field) for dataset in schema.LINES.datasets}

    def append(self, writer, *, threads=None):
        """Append the lines that a store does not have; batches are by number of breakpoints."""
        from ..store import append_lines_by_length

        for _ in append_lines_by_length(writer, *self._lines.select(0, self.n_items), threads=threads):
            yield writer.n_lines

    def finish_started(self, writer):
        """Finish a line of which a store has the first chunks."""
        from ..store import append_lines_by_length

        if writer.unfinished_t is not None:
            for _ in append_lines_by_length(writer, *self._lines.select(0, writer.n_lines + 1)):
                pass

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        starts, ends = self._lines.load(first, last)
        return {"starts": starts, "ends": ends}

    def _inputs(self, first, last):
        return self._lines.read(first, last)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AttributionsJob(Job):
    """Integrated gradients of all, or of some, outputs."""

    kind: ClassVar[str] = "attributions"
    unit: ClassVar[str] = "input"

    baselines: Any = dataclasses.field(repr=False)
    inputs: Any = dataclasses.field(repr=False)
    outputs: tuple[int, ...] | None
    method: str
    n_samples: int | None

    @property
    def steps(self):
        """Names of the steps of ``pwlnet.warmup`` that compile its kernels."""
        return ("forward", "check", "trace", "partition_lines", "jacobian", "integrate_gradients")

    @functools.cached_property
    def _lines(self):
        from ..partition.lines.ends import LineEnds

        return LineEnds(self.network, self.baselines, self.inputs, names=("baselines", "inputs"))

    def compute(self, first, last, *, threads=None):
        """Compute items ``first`` to ``last`` (not included): dict of arrays by field."""
        from ..analysis.attribution import integrate_gradients

        baselines, inputs = self._lines.read(first, last)
        chosen = {"outputs": self.outputs, "method": self.method, "n_samples": self.n_samples, "tolerances": self.tolerances}
        made = integrate_gradients(self.network, baselines, inputs, threads=threads, **chosen)
        counts = np.full(len(made), made.n_samples) if made.n_segments is None else made.n_segments
        rows = {"baselines": baselines, "inputs": inputs, "values": made.values, "residual": made.residual}
        return {**rows, "n_segments": counts.astype(np.int64)}

    def settings(self):
        """Return what results depend on besides the network and the inputs: dict of JSON values."""
        outputs = None if self.outputs is None else list(self.outputs)
        return {"outputs": outputs, "method": self.method, "n_samples": self.n_samples, "batch": self.batch}

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        baselines, inputs = self._lines.load(first, last)
        return {"baselines": baselines, "inputs": inputs}

    def _inputs(self, first, last):
        return self._lines.read(first, last)


def lines_job(
    network: Network,
    starts: ArrayLike,
    ends: ArrayLike,
    *,
    tolerances: Tolerances = DEFAULT,
    slope_dtype: Dtype | None = None,
    parameters: Mapping[str, Any] | None = None,
    seeds: Mapping[str, int] | None = None,
) -> Job:
    """Describe partitions of lines as a job.

    Exact up to rounding, and bit for bit what ``partition_lines`` gives.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D] or float64[L, *input_shape]
        Arrays, or anything with a shape that can be sliced (np.memmap, h5py.Dataset): workers receive their rows only.
    tolerances, slope_dtype
        As for ``partition_lines``.
    parameters, seeds : dict, optional
        For the provenance of the store, as for ``store.create``.

    Returns
    -------
    Job
        Items are lines.

    Raises
    ------
    ShapeError, InputError
        As for ``iter_line_partitions``; or there are no lines.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> pwlnet.distribute.lines_job(network, images[:5], images[5:10]).n_items
    5
    """
    from ..partition.lines.ends import LineEnds

    chosen = as_tolerances(tolerances).with_slope_dtype(slope_dtype)
    n = len(LineEnds(check_network(network), starts, ends))
    how: dict[str, Any] = {"tolerances": chosen, "seeds": dict(seeds or {})}
    return LinesJob(network=network, n_items=n, starts=starts, ends=ends, **how)._finished(parameters)


def attributions_job(
    network: Network,
    baselines: ArrayLike,
    inputs: ArrayLike,
    *,
    outputs: Sequence[int] | None = None,
    method: str = "exact",
    n_samples: int | None = None,
    batch: int | None = None,
    tolerances: Tolerances = DEFAULT,
    parameters: Mapping[str, Any] | None = None,
    seeds: Mapping[str, int] | None = None,
) -> Job:
    """Describe integrated gradients as a job.

    Exact up to rounding with ``method="exact"``; an estimate with a sampling rule, as ``integrate_gradients``.

    Parameters
    ----------
    network : Network
    baselines, inputs : float64[B, D] or float64[B, *input_shape]
        As for ``lines_job``. One baseline may be given for all inputs.
    outputs, method, n_samples, tolerances
        As for ``integrate_gradients``.
    batch : int, optional
        Inputs that are computed together; by default, as many as give 16 MiB of attributions.
    parameters, seeds
        As for ``lines_job``.

    Returns
    -------
    Job
        Items are inputs.

    Raises
    ------
    ShapeError, InputError
        As for ``integrate_gradients``; or there are no inputs.
    """
    from ..partition.lines.ends import LineEnds
    from ..validation import as_outputs

    chosen = None if outputs is None else tuple(int(k) for k in as_outputs(outputs, check_network(network).n_outputs))
    n_samples = check_count(n_samples, "n_samples", or_none="the default of the method")
    lines = LineEnds(check_network(network), baselines, inputs, names=("baselines", "inputs"))
    default = max(1, _ATTRIBUTION_BYTES // (8 * network.n_inputs * (network.n_outputs if chosen is None else len(chosen))))
    batch = default if check_count(batch, "batch", or_none=f"{default}") is None else batch
    what: dict[str, Any] = {
        "baselines": baselines,
        "inputs": inputs,
        "outputs": chosen,
        "method": method,
        "n_samples": n_samples,
        "batch": batch,
    }
    how: dict[str, Any] = {"tolerances": as_tolerances(tolerances), "seeds": dict(seeds or {})}
    job = AttributionsJob(network=network, n_items=len(lines), **what, **how)
    job.compute(0, 1, threads=1)  # options that do not fit each other are refused before there is a store
    return job._finished(parameters)
