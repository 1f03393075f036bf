"""Decision whether the outputs of a network can meet a condition on a box of inputs.

Legend: D inputs, O outputs, N open boxes.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._types import FloatArray, PathLike
from ..conditions import HalfSpaces, as_union
from ..convert.source import open_source
from ..domains import Box, box_rows, check_domain
from ..errors import InputError
from ..partition.regions.regions import Regions
from ..search.cells import SAT, UNDECIDED, UNSAT, decide_cells
from ..search.clock import Clock
from ..search.conditions import make_rows
from ..search.confirm import Confirmation, Confirmer, describe
from ..search.deciding import METHODS, BoxSearch
from ..search.falsify import descend
from ..validation import check_choice, check_count, check_network, check_number

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True, eq=False)
class Decision:
    """Answer of ``decide``.

    Attributes
    ----------
    status : str
        "sat": the condition holds at ``witness``; "unsat": it holds nowhere; "undecided": neither was proved.
    witness : float64[D] or None
        A point of a box.
    confirmation : Confirmation or None
        Of the witness: ``margin``, its largest entry of A y - b, rounded from the exact value; ``polytope``, which part of the
        union holds; ``source``, ``source_margin`` and ``source_holds``, what the source says in its own precision (None if it
        was not given).
    box : int or None
        Number of the box that contains the witness.
    n_open : int
        Boxes that are left undecided, or, where states of neurons were split, parts of them; 0 for "sat" and "unsat".
    open_lower, open_upper : float64[N, D]
        These boxes, or those of which parts are left.
    engine : str
        What decided, or was used last: "exact" (one point), "falsification", "splits", "neurons" or "cells".
    stopped_by : str or None
        Why there are open boxes: "time_limit", "max_branches", or "resolution": a condition that holds at most within rounding
        errors of the boundary, so that no floating-point number is a witness; or the solver of linear programs failed.
    n_branches, n_cells : int
        Boxes that were bounded and, where neurons were split, linear programs; cells that were computed.
    seconds : float
        Time of the decision.
    """

    status: str
    witness: FloatArray | None
    confirmation: Confirmation | None
    box: int | None
    n_open: int
    open_lower: FloatArray
    open_upper: FloatArray
    engine: str
    stopped_by: str | None
    n_branches: int
    n_cells: int
    seconds: float

    def __repr__(self) -> str:
        left = f", {self.n_open} open parts, stopped by {self.stopped_by!r}" if self.n_open else ""
        return f"Decision({self.status!r}, engine {self.engine!r}, {self.n_branches} branches{left}, {self.seconds:.2f} s)"


def decide(
    network: Network,
    box: Box | Sequence[Box] | Regions,
    condition: HalfSpaces | Sequence[HalfSpaces],
    *,
    time_limit: float | None = None,
    max_branches: int | None = None,
    method: Literal["auto", "splits", "neurons", "cells"] = "auto",
    confirm: Callable[..., Any] | PathLike | None = None,
    threads: int | None = None,
) -> Decision:
    """Decide whether some input in a box has outputs that meet a condition.

    Exact up to rounding: what rounding errors leave open is reported as undecided. "sat" comes with a point at which exact
    arithmetic confirms the condition, which may hold with equality; "unsat" follows from bounds that are sound in floating
    point, or from cells of the box with proved signs.

    The engines, in this order: a search for a witness by random points and steps along the affine maps of the pieces;
    branch and bound, which halves sides of boxes, with linear bounds [1]_ of the rows of the condition, best first, where the
    side with the largest product of width and slope is halved [2]_; and, on boxes with up to six sides of positive width, the
    cells on which the network is affine. On boxes with more such sides, only the box itself is bounded that way; then branch
    and bound splits neurons into their pieces, with linear programs whose bounds are proved by their dual solutions [3]_.

    Parameters
    ----------
    network : Network
    box : Box, list of Box, or Regions
        A Box with B rows is B boxes. Regions of ``enumerate_regions`` stand for their box, or its part in their polytope; then
        their cells decide.
    condition : HalfSpaces or list of HalfSpaces
        A list is a union. For a list of boxes: a list with one of these for each box, as ``read_vnnlib`` gives.
    time_limit : float, optional
        Seconds, for all boxes. Exceeded by the time of one batch of boxes at most (well below a second for small networks).
    max_branches : int, optional
        Largest number of boxes, or of linear programs, of branch and bound, for each of the given boxes. Unlike a time limit,
        it gives the same result every time.
    method : {"auto", "splits", "neurons", "cells"}, optional
        Use splits of sides only, splits of neurons only, or cells only, after the search for a witness.
    confirm : torch.nn.Module, path of an ONNX file, or callable, optional
        The source of the network. It is evaluated at the witness in its own precision, and if the condition does not hold for
        it, also at points where the condition holds by more. A callable maps float32[1, *input_shape] to O outputs.
    threads : int, optional

    Returns
    -------
    Decision
        Without a time limit, it does not depend on the number of threads.

    Raises
    ------
    InputError, ShapeError
        Boxes or conditions that do not fit the network or each other, or options that are not valid.
    CapacityError
        ``method="cells"`` and more than six sides of positive width.
    ConversionError
        ``confirm`` is a file that cannot be evaluated.

    See Also
    --------
    find_where : where a condition holds, on lines and planes.
    read_vnnlib : boxes and conditions from a file.

    Notes
    -----
    Without limits, the search ends, but for networks so large that their matrices take too much memory: there, boxes with more
    than six sides of positive width are split at their sides, which need not end where a condition holds on the boundary only.

    References
    ----------
    .. [1] Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions", NeurIPS 2018.
    .. [2] Bunel et al., "Branch and Bound for Piecewise Linear Neural Network Verification", JMLR 21, 2020, Section 4 (splits
       of the input domain); here with the slopes of the linear bounds.
    .. [3] Neumaier and Shcherbina, "Safe bounds in linear and mixed-integer linear programming", Mathematical Programming 2004.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> box = pwlnet.Box(np.full(network.n_inputs, -0.1), np.full(network.n_inputs, 0.1))
    >>> y = network.forward(np.zeros(network.n_inputs))[0, 0]
    >>> below = pwlnet.HalfSpaces([[1.0] + [0.0] * (network.n_outputs - 1)], [y])
    >>> pwlnet.decide(network, box, below).status
    'sat'
    """
    check_network(network)
    check_choice(method, METHODS, "method")
    clock = Clock(None if time_limit is None else check_number(time_limit, "time_limit"))
    max_branches = check_count(max_branches, "max_branches", or_none="no limit")
    source = None if confirm is None else open_source(confirm, network)
    if isinstance(box, Regions):
        return _by_regions(box, network, as_union(condition, network.n_outputs), clock, source, threads)
    how = {"clock": clock, "max_branches": max_branches, "threads": threads, "method": method}
    searches = [BoxSearch(network, union, *ends, **how) for *ends, union in _cases(network, box, condition)]
    for run in (BoxSearch.begin, BoxSearch.finish):
        for search in searches:
            if not any(other.status == SAT for other in searches):
                run(search)
    return _decision(network, searches, source, clock)


def _by_regions(regions, network, union, clock, source, threads):
    """Decide by the cells of enumerated regions."""
    if regions.network != network:
        raise InputError("box has the regions of another network; enumerate those of this one")
    lower, upper, domain = regions.lower, regions.upper, regions.polytope
    search = BoxSearch(network, union, lower, upper, clock=clock, max_branches=None, threads=threads, method="cells")
    search.confirmer = Confirmer(network, union, lower, upper, domain)
    how = {"threads": threads, "domain": domain}
    answer = decide_cells(network, union, range(len(union)), lower, upper, search.confirmer, clock, **how)
    search.status, search.witness, search.n_cells, search.engine = answer.status, answer.witness, answer.n_cells, "cells"
    if search.status == UNDECIDED:
        search.stopped_by = "time_limit" if clock.is_up() else "resolution"
    return _decision(network, [search], source, clock)


def _cases(network, box, condition):
    """Return what to decide: list of (float64[D], float64[D], tuple of HalfSpaces)."""
    if isinstance(box, list | tuple):
        if not isinstance(condition, list | tuple) or len(condition) != len(box):
            size = f"{len(condition)} entries" if isinstance(condition, list | tuple) else "none"
            raise InputError(
                f"box is a list of {len(box)} boxes, but condition has {size}; give a list with one condition for each box"
            )
        pairs = list(zip(box, condition, strict=True))
    else:
        pairs = [(box, condition)]
    cases = []
    for one, union in pairs:
        union = as_union(union, network.n_outputs)
        lower, upper = box_rows(network, _check_box(one))
        cases += [(*ends, union) for ends in zip(lower, upper, strict=True)]
    return cases


def _check_box(box):
    if isinstance(box, numbers.Number | np.ndarray):
        raise InputError(f"box is a {type(box).__name__}; give pwlnet.Box(lower, upper), or a list of them")
    return check_domain(box, (Box,))


def _decision(network, searches, source, clock):
    """Return the answer of all boxes together: Decision."""
    counts = {"n_branches": sum(s.n_branches for s in searches), "n_cells": sum(s.n_cells for s in searches)}
    nothing = np.zeros((0, network.n_inputs))
    for k, search in enumerate(searches):
        if search.status == SAT:
            witness, confirmation = _confirmed(search, source)
            witness.setflags(write=False)
            return Decision(
                SAT, witness, confirmation, k, 0, nothing, nothing, search.engine, None, **counts, seconds=clock.seconds
            )
    left = [search for search in searches if search.status == UNDECIDED]
    lower, upper = (np.concatenate([nothing, *(search.open_boxes[k] for search in left)]) for k in (0, 1))
    last = (left or searches)[-1] if searches else None
    engine, stopped_by = (last.engine, left[0].stopped_by if left else None) if searches else ("exact", None)
    n_open, status = sum(search.n_open for search in left), UNDECIDED if left else UNSAT
    return Decision(
        status, None, None, None, n_open, lower, upper, engine, stopped_by, **counts, seconds=clock.seconds
    )  # fmt: skip


def _confirmed(search, source):
    """Confirm a witness; return it, or a point where the condition holds by more, if the source needs that."""
    confirmer, witness = search.confirmer, np.array(search.witness)
    confirmation = describe(confirmer, witness, source)
    if source is None or confirmation.source_holds:
        return witness, confirmation
    part = search.union[confirmation.polytope]
    point, _ = descend(search.network, make_rows([part]), 0, witness[None], search.lower, search.upper, target=-np.inf)
    if confirmer(point):
        deeper = describe(confirmer, point, source)
        if deeper.source_holds:
            return point, deeper
    return witness, confirmation
