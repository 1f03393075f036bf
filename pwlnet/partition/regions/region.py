"""The activation region of a point: its affine map, half-spaces, stable radii, facets and inscribed ball.

Legend: B points, D inputs, O outputs, K neurons, M rows.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._types import ArrayLike, BoolArray, FloatArray, Int32Array, IntArray
from ...errors import ShapeError
from ...kernels.regions.halfspaces import region_slot
from ...patterns import ActivationPatterns
from ...scheduling import n_threads, run_slots
from ...tolerances import UNIT_ROUNDOFF
from ...validation import check_network
from .facets import Facets, find_facets
from .inscribed import InscribedBall, find_inscribed_ball
from .planning import DESCRIBE, GRADIENTS, check_known, make_plan, make_slots, tile_starts
from .radii import check_norm

if TYPE_CHECKING:
    from ...domains import Box
    from ...network import Network

_DUAL = {1: np.inf, 2: 2, np.inf: 1}


class ConstantRows(NamedTuple):
    """Rows without a gradient: neurons that are constant on the region, whatever the input.

    Attributes
    ----------
    neurons, other_states : int64[n]
    margins : float64[n]
        Distance of the constant value from the threshold: 0 where it is on it.
    """

    neurons: IntArray
    other_states: IntArray
    margins: FloatArray


class Inradius(NamedTuple):
    """The largest ball around a point in which every neuron keeps its state.

    Attributes
    ----------
    radius : float
        inf if no neuron changes state anywhere.
    lower : float
        Sound lower bound of the radius.
    neuron : int
        The neuron that changes state at this distance, the lowest one of several; -1 if the radius is inf.
    """

    radius: float
    lower: float
    neuron: int


class Region:
    """The activation region of a point: the closed polyhedron {y : G y <= h} of inputs with the same pattern.

    Made by ``pwlnet.region_of``. On a boundary, the states are those of ``Network.states``: the lower state on a threshold, the
    upper one on the upper bound of a Clip, the lowest tap among equal ones. The region is closed, so its boundary belongs to
    its neighbours, too.

    A row is one threshold of one neuron: one for ReLU and LeakyReLU, one or two for Clip, one per other tap for MaxPool. Rows
    are in the order of the neurons. The exact row, of the real numbers that the weights stand for, is within
    ``margin_errors[m] + gradient_errors[m] * max_d |y_d - x_d|`` of ``margins[m] - G[m] @ (y - x)`` at any y.

    Attributes
    ----------
    network : Network
    x : float64[D]
    states : int32[K]
    """

    network: Network
    x: FloatArray
    states: Int32Array

    def __init__(self, network: Network, x: FloatArray, states: Int32Array, plan: Any, slot: Any, threads: int | None) -> None:
        self.network, self.x, self.states = network, x, states
        self._plan, self._slot, self._threads = plan, slot, threads
        n = 0 if slot is None else int(slot.n_rows[0])
        empty = np.empty(0, np.int64)
        rows = (empty, empty, np.empty(0), np.empty(0), np.empty(0))
        if slot is not None:
            rows = slot.rows.neuron, slot.rows.other, slot.margins, slot.margin_errors, slot.gradient_errors
        self._rows = tuple(a[:n] for a in rows)
        for array in (x, states, *self._rows):
            array.setflags(write=False)

    @functools.cached_property
    def pattern(self) -> ActivationPatterns:
        """The activation pattern: ActivationPatterns of one row."""
        return ActivationPatterns.from_states(self.states[None], self.network.pattern_layout)

    @functools.cached_property
    def affine_map(self) -> tuple[FloatArray, FloatArray]:
        """The network on the region, ``A @ y + c``: (float64[O, D], float64[O])."""
        return self.network.affine_map(self.x)

    @functools.cached_property
    def _gradients(self):
        """Gradients of all rows, constant ones included: float64[*, D]."""
        gradients = np.empty((len(self._rows[0]), len(self.x)))
        if gradients.size:
            tiles = tile_starts(self._plan, self._slot.rows.operand[: len(gradients)], len(self.x))
            n_slots = max(1, min(n_threads(self._threads), len(tiles)))
            kept = self._slot, gradients
            slots = make_slots(self._plan, self.x[None], GRADIENTS, n_slots, kept=kept, tiles=tiles)
            run_slots(region_slot, slots)
        gradients.setflags(write=False)
        return gradients

    @functools.cached_property
    def _varies(self):
        """Which rows have a gradient: bool[*]."""
        return (self._gradients != 0.0).any(axis=1)

    def _varying(self, array):
        return array if self._varies.all() else array[self._varies]

    @functools.cached_property
    def G(self) -> FloatArray:
        """Left sides of the rows: float64[M, D], none of them zero."""
        return self._varying(self._gradients)

    @functools.cached_property
    def h(self) -> FloatArray:
        """Right sides of the rows: float64[M]. Near x, ``margins`` is more accurate."""
        return self.margins + self.G @ self.x

    @property
    def neurons(self) -> IntArray:
        """The neuron of each row: int64[M]."""
        return self._varying(self._rows[0])

    @property
    def other_states(self) -> IntArray:
        """The state of the row's neuron on its other side: int64[M]; for MaxPool the other tap."""
        return self._varying(self._rows[1])

    @property
    def margins(self) -> FloatArray:
        """``h - G x``, computed without cancellation: float64[M], not negative."""
        return self._varying(self._rows[2])

    @property
    def margin_errors(self) -> FloatArray:
        """Sound bounds on the rounding errors of the margins: float64[M]."""
        return self._varying(self._rows[3])

    @property
    def gradient_errors(self) -> FloatArray:
        """Sound bounds on the rounding errors of the rows of G, in the l1 norm: float64[M]."""
        return self._varying(self._rows[4])

    @property
    def constant(self) -> ConstantRows:
        """The rows without a gradient, which hold everywhere: ConstantRows."""
        return ConstantRows(*(a[~self._varies] for a in self._rows[:3]))

    @property
    def on_boundary(self) -> IntArray:
        """The neurons on one of whose thresholds x is: int64[*], increasing. Constant neurons are not among them."""
        return np.unique(self.neurons[self.margins == 0.0])

    @property
    def ambiguous(self) -> IntArray:
        """The neurons whose state at x rounding errors may have changed: int64[*], increasing, without ``on_boundary``."""
        return np.unique(self.neurons[(self.margins > 0.0) & (self.margins <= self.margin_errors)])

    def unit_rows(self) -> tuple[FloatArray, FloatArray]:
        """Return the rows scaled to unit l2 norm: (float64[M, D], float64[M]); no row is zero."""
        norms = row_norms(self.G, 2)
        return self.G / norms[:, None], self.margins / norms + (self.G / norms[:, None]) @ self.x

    def stable_radius(self, norm: float = 2) -> FloatArray:
        """Compute for each neuron the radius of the largest ball around x on which it keeps its state, by the region's map.

        Exact up to rounding: ``|z_j| / ||grad z_j||_*`` with the dual norm, for MaxPool the least over the other taps. Only the
        smallest of them, the region's ``inradius``, is a statement about the network: a neuron may change state within its
        own radius where one before it did.

        Parameters
        ----------
        norm : {1, 2, inf}, optional

        Returns
        -------
        float64[K]
            inf for constant neurons.
        """
        radii = np.full(self.network.n_neurons, np.inf)
        np.minimum.at(radii, self.neurons, self.margins / row_norms(self.G, _DUAL[check_norm(norm)]))
        return radii

    def inradius(self, norm: float = 2) -> Inradius:
        """Compute the radius of the largest ball around x in which every neuron keeps its state.

        Exact up to rounding: ``radius``; ``lower`` is a sound bound.

        Parameters
        ----------
        norm : {1, 2, inf}, optional

        Returns
        -------
        Inradius
        """
        dual = row_norms(self._gradients, _DUAL[check_norm(norm)])
        slopes = dual * (1.0 + 8.0 * (len(self.x) + 8) * UNIT_ROUNDOFF) + self._rows[4]
        room, used = np.maximum(self._rows[2] - self._rows[3], 0.0), slopes > 0.0
        lower = float((room[used] / slopes[used]).min(initial=np.inf)) * (1.0 - 16.0 * UNIT_ROUNDOFF)
        radii = self._rows[2][self._varies] / dual[self._varies]
        if not radii.size:
            return Inradius(np.inf, lower, -1)
        row = int(np.argmin(radii))
        return Inradius(float(radii[row]), min(lower, float(radii[row])), int(self.neurons[row]))

    def contains(self, points: ArrayLike) -> BoolArray:
        """Return which points are in the region: bool[B].

        Exact up to rounding: the region is closed, and a point counts as inside if it is within the rounding error of every
        row that it violates.

        Parameters
        ----------
        points : float64[B, D] or float64[B, *input_shape]

        Returns
        -------
        bool[B]

        Raises
        ------
        ShapeError, InputError
            As for ``Network.forward``.
        """
        points = self.network.as_points(points, "points")
        inside = np.empty(len(points), bool)
        step = max(1, 2**24 // max(1, len(self.G)))
        for first in range(0, len(points), step):
            moves = points[first : first + step] - self.x
            sizes = np.abs(points[first : first + step]) + np.abs(self.x)
            slack = self.margins[:, None] - self.G @ moves.T
            sums = self.margin_errors[:, None] + np.abs(moves).max(axis=1, initial=0.0) * self.gradient_errors[:, None]
            sums += 2.0 * (len(self.x) + 4) * UNIT_ROUNDOFF * (np.abs(self.G) @ sizes.T)
            inside[first : first + step] = (slack >= -sums).all(axis=0)
        return inside

    def inscribed_ball(self, norm: float = 2, *, box: Box | None = None) -> InscribedBall:
        """Find the largest ball inside the region, wherever it is: its Chebyshev centre and radius.

        Exact up to rounding: one linear program; ``radius`` is recomputed at the centre, so that the ball is inside.

        Parameters
        ----------
        norm : {1, 2, inf}, optional
        box : Box, optional
            Balls inside the box only.

        Returns
        -------
        InscribedBall
            ``center`` float64[D], ``radius``; the radius is inf where the region contains arbitrarily large balls.

        Raises
        ------
        InfeasibleError
            The region and the box have no point in common.
        """
        return find_inscribed_ball(self, check_norm(norm), box)

    def facets(self, *, box: Box | None = None) -> Facets:
        """Find the rows that are not redundant: those on whose other side there is a neighbouring region.

        Exact up to rounding: each facet comes with a point on it that is inside all other rows by a margin. Rows that
        neither such a point nor a linear program decides are returned as ``unclear``.

        Parameters
        ----------
        box : Box, optional
            Facets of the part of the region in a box. Sides of width zero are held fixed.

        Returns
        -------
        Facets

        Raises
        ------
        InfeasibleError
            The region and the box have no point in common.

        Notes
        -----
        Rays from an interior point find facets; each other row takes one linear program against the facets found so far,
        which proves that it is redundant or leads to another facet [1]_. Rows that are the same half-space are one facet, at
        which several neurons flip.

        References
        ----------
        .. [1] Clarkson, "More Output-Sensitive Geometric Algorithms", FOCS 1994, Section 2.
        """
        return find_facets(self, box)

    def __repr__(self) -> str:
        return f"Region({len(self.x)} inputs, {len(self._rows[0])} rows of {self.network.n_neurons} neurons)"


def row_norms(G, norm):
    """Compute norms of rows: float64[M]; entries are scaled, so that squares neither overflow nor underflow."""
    if norm != 2:
        return np.linalg.norm(G, norm, axis=1) if G.size else np.zeros(len(G))
    largest = np.abs(G).max(axis=1, initial=0.0)
    scale = np.where(largest > 0.0, largest, 1.0)
    norms = np.empty(len(G))
    step = max(1, 2**22 // max(1, G.shape[1]))
    for first in range(0, len(G), step):
        part = slice(first, first + step)
        norms[part] = scale[part] * np.linalg.norm(G[part] / scale[part, None], axis=1)
    return norms


def region_of(network: Network, x: ArrayLike, *, threads: int | None = None) -> Region:
    """Compute the activation region of a point: its affine map, half-spaces and facts about them.

    Exact up to rounding: rows come with sound bounds on their rounding errors. The states are those of ``Network.states``, also
    for a point on a boundary; ``Region.on_boundary`` lists the neurons with x on a threshold, ``Region.ambiguous`` those whose
    state rounding errors may have changed.

    Parameters
    ----------
    network : Network
    x : float64[D] or float64[*input_shape]
    threads : int, optional

    Returns
    -------
    Region

    Raises
    ------
    ShapeError
        x is not one point with the network's number of inputs.
    InputError
        x holds NaN, infinities or entries that are not real numbers.

    See Also
    --------
    stable_radii : radii of the largest balls around many points, without keeping rows.

    Notes
    -----
    Gradients of all rows, float64[M, D], are computed on first use, by D forward passes, 32 at a time, or by one backward pass
    per row, whichever is cheaper.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> region = pwlnet.region_of(network, np.full(64, 0.5))
    >>> region.G.shape[1], bool(region.contains(region.x)[0]), region.on_boundary.tolist()
    (64, True, [])
    >>> radius, lower, neuron = region.inradius()
    >>> bool(region.stable_radius()[neuron] == radius)
    True
    """
    rows = check_network(network).as_points(x, "x")
    if len(rows) != 1:
        raise ShapeError(f"x has {len(rows)} rows; region_of takes one point, use stable_radii for radii of many")
    if not network.n_neurons:
        return Region(network, rows[0].copy(), np.empty(0, np.int32), None, None, threads)
    plan = make_plan(network)
    slots = make_slots(plan, rows, DESCRIBE, 1)
    run_slots(region_slot, slots)
    check_known(slots)
    return Region(network, rows[0].copy(), slots[0].states[0].copy(), plan, slots[0], threads)
