"""The part of a box in a polytope, as the first cell of a search.

Legend: D_in inputs, F free inputs, M rows.
"""

import numpy as np

from ...conditions import HalfSpaces
from ...errors import InfeasibleError, InputError, ShapeError
from ...kernels.regions import state as st
from .buffers import empty_tasks, first_task
from .cell_search import CellSearch
from .cell_volumes import volumes_of_cells
from .exact import ExactSigns
from .layers import Layers, Stage
from .matrices import Matrix


def as_polytope(polytope, n_inputs):
    """Return the rows ``A x <= b`` of a polytope of inputs: (float64[M, D_in], float64[M]); no rows for None.

    Parameters
    ----------
    polytope : HalfSpaces or (A, b) or None
    n_inputs : int

    Raises
    ------
    InputError, ShapeError
    """
    if polytope is None:
        return np.zeros((0, n_inputs)), np.zeros(0)
    if not isinstance(polytope, HalfSpaces):
        if not isinstance(polytope, tuple | list) or len(polytope) != 2:
            raise InputError(
                f"polytope is a {type(polytope).__name__}; give a HalfSpaces, or A and b of A x <= b, rows of inputs"
            )
        polytope = HalfSpaces(*polytope)
    if polytope.A.shape[1] != n_inputs:
        raise ShapeError(f"the polytope has rows with {polytope.A.shape[1]} entries, but the network has {n_inputs} inputs")
    return polytope.A, polytope.b


class _ExactRows(ExactSigns):
    """Answers for the rows of a polytope: function m is row m, ``b - A x``."""

    @staticmethod
    def _key(function, pattern, starts):
        return function, 0

    def _affine(self, function, prefix):
        return [-x for x in self._row(function)] if function >= 0 else super()._affine(function, prefix)

    def _sign(self, function, pattern, vertex):
        value = sum(a * x for a, x in zip(self._affine(function, 0), vertex, strict=True))
        return (value > 0) - (value < 0)


def root_in_polytope(network, layers, problem, lower, upper, polytope):
    """Cut the box by the rows of a polytope.

    Exact: signs of rows at vertices are decided with integers where rounding errors leave them open.

    Parameters
    ----------
    network : Network
    layers : Layers
    problem : Problem
    lower, upper : float64[D_in]
    polytope : (float64[M, D_in], float64[M])

    Returns
    -------
    Tasks
        One task, with what is left of the box.
    int
        Number of signs that were decided with integers.

    Raises
    ------
    InfeasibleError
        No open part of the box is left.
    CapacityError
        It has more than 64 facets.
    """
    free = layers.free
    rows = _rows_as_layers(layers, lower, upper, polytope)
    exact = _ExactRows(network, rows, lower, upper, polytope)
    search = CellSearch(rows, lower, upper, {st.CERTIFY: st.EXACT, st.CONDITION: 1}, exact=exact)
    search.run(1)
    work = search.slots[0].work
    at = work.at
    if not at[st.N_MET]:
        raise InfeasibleError("the polytope and the box have no interior point in common; check the signs of A x <= b")
    n, d = int(at[st.N_VERTICES]), len(free)
    box = first_task(layers, problem, lower, upper)
    tasks = empty_tasks(box, 1, n)
    for new, old in zip(tasks, box, strict=True):
        if len(old) == 1:
            new[:] = old
    tasks.info[0] = -1, 0, 0, 0, n
    tasks.x[:] = work.x[:, :n].T
    tasks.bits[:] = work.bits[:n]
    planes, ids = work.planes[work.facets[0]], work.plane_ids[work.facets[0]]
    planes[:, d + 1] *= max(1.0, search.problem.numbers[st.GAMMA] / problem.numbers[st.GAMMA])
    tasks.planes[0] = planes
    tasks.plane_ids[0] = np.where(ids < 0, ids, -1 - 2 * d - ids)
    return tasks, int(at[st.N_EXACT])


def _rows_as_layers(layers, lower, upper, polytope):
    """Return the rows as the only stage, a condition."""
    free, (a, b) = layers.free, polytope
    fixed = lower.copy()
    fixed[free] = 0.0
    size = np.maximum(np.abs(lower), np.abs(upper))
    weights = -(a[:, free] * layers.scale).T
    matrix = Matrix(weights, np.abs(weights), b - a @ fixed, np.abs(b) + np.abs(a) @ size)
    stage = Stage(len(b), len(b), matrix, np.ones((2, len(b))))
    nothing = np.zeros(0, np.int64)
    roundings = 2 * len(lower) + 16
    return Layers(
        (stage,), 0, free, layers.scale, roundings, nothing, (), nothing, np.zeros(0), -1, False
    )  # fmt: skip


def polytope_volume(lower, upper, polytope):
    """Compute the volume of the part of a box in a polytope, in the inputs with sides of positive width.

    Exact up to rounding.

    Parameters
    ----------
    lower, upper : float64[D_in]
    polytope : (float64[M, D_in], float64[M])

    Returns
    -------
    float
    """
    layers = _no_layers(lower, upper)
    problem = CellSearch(layers, lower, upper, {}).problem
    root, _ = root_in_polytope(None, layers, problem, lower, upper, polytope)
    n = len(layers.free)
    offsets = np.array([0, len(root.bits)])
    return float(volumes_of_cells(offsets, root.x[:, :n], root.bits)[0] * np.prod(layers.scale))


def _no_layers(lower, upper):
    """Return a box without functions."""
    free = np.flatnonzero(upper > lower)
    scale = np.ldexp(1.0, np.frexp(np.maximum(np.abs(lower), np.abs(upper))[free])[1])
    nothing = np.zeros(0, np.int64)
    return Layers((), 0, free, scale, 16 + len(lower), nothing, (), nothing, np.zeros(0), -1, False)


def contains_point(polytope, x):
    """Return whether a point is in the polytope, exactly."""
    from fractions import Fraction

    a, b = polytope
    point = [Fraction(v) for v in x.tolist()]
    return all(
        sum((Fraction(c) * v for c, v in zip(row, point, strict=True)), Fraction(0)) <= Fraction(shift)
        for row, shift in zip(a.tolist(), b.tolist(), strict=True)
    )
