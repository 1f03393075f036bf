"""The largest ball inside a region, by one linear program; linear programs on rows around a point.

Legend: D inputs, F free inputs, M rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import BoolArray, FloatArray, IntArray
from ...domains import Box, box_rows, check_domain
from ...errors import InfeasibleError, NumericalError, ShapeError
from ...tolerances import LP_FEASIBILITY

if TYPE_CHECKING:
    from .region import Region

_UNBOUNDED, _INFEASIBLE, _SOLVED = 3, 2, 0  # status of scipy.optimize.linprog


class InscribedBall(NamedTuple):
    """A largest ball inside a region.

    Attributes
    ----------
    center : float64[D]
        The Chebyshev centre, which need not be the only one; the region's point where the radius is inf.
    radius : float
        In the inputs' units, in the chosen norm; inf where the region contains arbitrarily large balls, 0 where it has no
        interior.
    norm : {1, 2, inf}
    """

    center: FloatArray
    radius: float
    norm: float


class LocalRows(NamedTuple):
    """The rows of a region and the sides of a box around a point: ``normals @ v <= slacks``, ``lower <= v <= upper``.

    Attributes
    ----------
    point : float64[D]
        v = 0.
    free : bool[D]
        Inputs that may change: all but sides of width zero.
    rows : int64[M]
        Numbers of the region's rows that depend on free inputs.
    normals : float64[M, F]
        Of unit l2 norm.
    slacks : float64[M]
        Negative where the point is outside.
    lower, upper : float64[F]
        -inf and inf without a box.
    """

    point: FloatArray
    free: BoolArray
    rows: IntArray
    normals: FloatArray
    slacks: FloatArray
    lower: FloatArray
    upper: FloatArray


def local_rows(region, box):
    """Write the rows of a region, and of a box, around its point; around the nearest point of the box if that is outside.

    Raises
    ------
    InfeasibleError
        A row that depends on no free input excludes the box.
    ShapeError
        There is not one box.
    """
    point, free = region.x, np.ones(len(region.x), bool)
    lower, upper = np.full(len(point), -np.inf), np.full(len(point), np.inf)
    if box is not None:
        lower, upper = box_rows(region.network, check_domain(box, (Box,)))
        if len(lower) != 1:
            raise ShapeError(f"box has {len(lower)} boxes; give one")
        lower, upper = lower[0], upper[0]
        point, free = np.clip(point, lower, upper), upper > lower
    slacks = region.margins - region.G @ (point - region.x)
    normals = region.G[:, free]
    sizes = np.abs(normals).max(axis=1, initial=0.0)
    varies = sizes > 0.0
    if (slacks[~varies] < -region.margin_errors[~varies]).any():
        raise InfeasibleError("box does not meet the region; give a box with a point of the region in it")
    normals = normals[varies] / sizes[varies, None]
    norms = np.linalg.norm(normals, axis=1)
    slacks = slacks[varies] / sizes[varies] / norms
    here = point[free]
    return LocalRows(
        point, free, np.flatnonzero(varies), normals / norms[:, None], slacks, lower[free] - here, upper[free] - here
    )


def solve(objective, normals, slacks, lower, upper):
    """Maximize ``objective @ v`` with ``normals @ v <= slacks`` and bounds: the result of scipy.optimize.linprog.

    Raises
    ------
    NumericalError
        The solver fails.
    """
    from scipy.optimize import linprog

    options = {"primal_feasibility_tolerance": LP_FEASIBILITY, "dual_feasibility_tolerance": LP_FEASIBILITY}
    bounds = np.column_stack([lower, upper])
    result = linprog(-objective, A_ub=normals, b_ub=slacks, bounds=bounds, method="highs", options=options)
    if result.status == 4 or result.status == 1:  # HiGHS could not tell, or gave up
        result = linprog(-objective, A_ub=normals, b_ub=slacks, bounds=bounds, method="highs-ds")
    if result.status not in (_SOLVED, _INFEASIBLE, _UNBOUNDED):
        raise NumericalError(f"a linear program with {len(slacks)} rows failed ({result.message}); scale the inputs to about 1")
    return result


def largest_ball(local, norm, most=np.inf):
    """Find the centre v float64[F] and the radius, at most ``most``, of a largest ball; v is None where it is unbounded.

    Raises
    ------
    InfeasibleError
        There is no point.
    """
    n, n_free = local.normals.shape
    dual = np.linalg.norm(local.normals, {1: np.inf, 2: 2, np.inf: 1}[norm], axis=1) if n else np.zeros(0)
    scale = float(np.median(np.abs(local.slacks))) if n else 1.0
    scale = scale if scale > 0.0 else 1.0
    finite = [(sign, np.flatnonzero(np.isfinite(side))) for sign, side in ((1.0, local.upper), (-1.0, local.lower))]
    sides = [sign * np.eye(n_free)[index] for sign, index in finite]
    limits = [sign * side[index] for (sign, index), side in zip(finite, (local.upper, local.lower), strict=True)]
    normals = np.concatenate([local.normals, *sides])
    slacks = np.concatenate([local.slacks, *limits]) / scale
    radii = np.concatenate([dual, np.ones(len(slacks) - n)])
    objective = np.zeros(n_free + 1)
    objective[-1] = 1.0
    lower, upper = np.full(n_free + 1, -np.inf), np.full(n_free + 1, np.inf)
    lower[-1], upper[-1] = 0.0, most / scale
    result = solve(objective, np.column_stack([normals, radii]), slacks, lower, upper)
    if result.status == _INFEASIBLE:
        raise InfeasibleError("the region has no point in the box; give a box that meets the region")
    if result.status == _UNBOUNDED:
        return None, np.inf
    v = result.x[:-1]
    room = np.concatenate([[most / scale], (slacks - normals @ v) / radii]).min()
    return v * scale, max(0.0, float(room) * scale)


def find_inscribed_ball(region: Region, norm: float, box: Box | None) -> InscribedBall:
    """Find a largest ball inside a region and a box (``Region.inscribed_ball``).

    Parameters
    ----------
    region : Region
    norm : {1, 2, inf}
    box : Box or None

    Returns
    -------
    InscribedBall

    Raises
    ------
    InfeasibleError
        They have no point in common.
    """
    local = local_rows(region, box)
    if not local.free.all():
        return InscribedBall(_meeting_point(local), 0.0, norm)
    v, radius = largest_ball(local, norm)
    return InscribedBall(local.point.copy() if v is None else local.point + v, radius, norm)


def _meeting_point(local):
    """Return a point of the region in a box with sides of width zero: the centre among its free inputs."""
    point = local.point.copy()
    if local.free.any():
        v, _ = largest_ball(local, 2, most=max(1.0, float(np.abs(local.slacks).max(initial=0.0))))
        point[local.free] += v
    return point
