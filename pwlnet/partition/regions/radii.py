"""The largest balls around many points in which no neuron changes state.

Legend: B points, D inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import ArrayLike, FloatArray, IntArray
from ...domains import NORMS
from ...errors import InputError
from ...kernels.regions.halfspaces import region_slot
from ...scheduling import n_threads, run_slots
from ...validation import check_network
from .planning import RADII, check_known, make_plan, make_slots

if TYPE_CHECKING:
    from ...network import Network

_POINTS_PER_CALL = 64  # of a slot, before Ctrl-C is noticed


class StableRadii(NamedTuple):
    """Radii of the largest balls without float neurons.

    Attributes
    ----------
    radius : float64[B]
        In the inputs' units; inf where no neuron changes state anywhere in the network's affine map at the point.
    neuron : int64[B]
        The neuron that changes state at this distance, the lowest one of several; -1 where the radius is inf.
    lower : float64[B]
        Sound lower bounds of the radii.
    """

    radius: FloatArray
    neuron: IntArray
    lower: FloatArray


def check_norm(norm):
    """Validate the norm of balls: 1, 2 or inf.

    Raises
    ------
    InputError
        It is another one.
    """
    if isinstance(norm, bool) or not isinstance(norm, int | float) or norm not in NORMS:
        raise InputError(f"norm is {norm!r}; the choices are 1, 2 and numpy.inf")
    return norm


def stable_radii(network: Network, X: ArrayLike, *, norm: float = 2, threads: int | None = None) -> StableRadii:
    """Compute the radius of the largest ball around each point in which every neuron keeps its state.

    Exact up to rounding: ``radius``; ``lower`` is a sound bound, and ``radius - lower`` the error that rounding may have made.

    Parameters
    ----------
    network : Network
    X : float64[B, D] or float64[B, *input_shape]
    norm : {1, 2, inf}, optional
        The norm that measures the distance, in the inputs' units.
    threads : int, optional

    Returns
    -------
    StableRadii

    Raises
    ------
    ShapeError
        X does not have the network's number of inputs.
    InputError
        X holds NaN, infinities or entries that are not real numbers, or the norm is another one.

    See Also
    --------
    region_of : the region of one point, with the radius of each neuron.

    Notes
    -----
    The radius is ``min_j |z_j| / ||grad z_j||_*`` with the dual norm [1]_, over all neurons and, for MaxPool, all pairs of the
    winning tap and another one. On a boundary it is 0. Costs D forward passes per point, or one backward pass per neuron where
    that is cheaper; gradients are not kept. In float64 the lower bound of a deep network can be far below the radius, as it
    uses products of absolute weights; it does not account for underflow.

    References
    ----------
    .. [1] Hein and Andriushchenko, "Formal Guarantees on the Robustness of a Classifier against Adversarial Manipulation",
       NeurIPS 2017, Section 2 (the distance to a hyperplane in the dual norm); here for each neuron of each layer.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> radii = pwlnet.stable_radii(network, np.full((1, 64), 0.5))
    >>> bool(0.0 < radii.lower[0] <= radii.radius[0] < 0.1)
    True
    """
    points, norm = check_network(network).as_points(X), check_norm(norm)
    radii, neurons = np.full((len(points), 2), np.inf), np.full(len(points), -1)
    if network.n_neurons:
        plan = make_plan(network)
        n_slots = max(1, min(n_threads(threads), len(points)))
        step = n_slots * _POINTS_PER_CALL
        for first in range(0, len(points), step):
            part = slice(first, first + step)
            slots = make_slots(plan, points[part], RADII, n_slots, norm=norm)
            run_slots(region_slot, slots)
            check_known(slots)
            radii[part], neurons[part] = slots[0].radii, slots[0].nearest
    return StableRadii(radii[:, 0].copy(), neurons, radii[:, 1].copy())
