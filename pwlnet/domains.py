"""Sets of inputs: segments, polygons, boxes and balls, and Gaussian noise around points.

Legend: B sets, D inputs, V polygon vertices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._types import ArrayLike, FloatArray
from .errors import InputError, ShapeError
from .validation import as_array, check_number

if TYPE_CHECKING:
    from .network import Network

NORMS = (1, 2, np.inf)


def _as_array(value: Any, name: str) -> FloatArray:
    """Convert an argument to finite, read-only float64."""
    array = as_array(value, name)
    if array.dtype.kind not in "fiub" or not array.ndim:
        shown = repr(value) if np.ndim(array) == 0 else f"an array of {array.dtype} entries"
        raise InputError(f"{name} is {shown:.100}; an array of real numbers is needed")
    array = np.array(array, np.float64, order="C")
    if not np.isfinite(array).all():
        raise InputError(f"{name} has {np.sum(~np.isfinite(array))} NaN or infinite entries; finite numbers are needed")
    array.setflags(write=False)
    return array


class _Domain:
    """An immutable set with named fields, shown by ``repr``."""

    __slots__: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable, so {name!r} cannot be set; make a new one")

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self.__slots__)

    def __repr__(self) -> str:
        parts = ((name, getattr(self, name)) for name in self.__slots__)
        shapes = (f"{name}{list(x.shape)}" if np.ndim(x) else f"{name}={x:g}" for name, x in parts)
        return f"{type(self).__name__}({', '.join(shapes)})"


class Segment(_Domain):
    """The points ``start + t (end - start)``, t in [0, 1].

    Parameters
    ----------
    start, end : float64[D] or float64[*input_shape]

    Raises
    ------
    ShapeError
        They have different shapes.
    InputError
        They hold NaN, infinities or entries that are not real numbers.
    """

    __slots__ = ("end", "start")

    start: FloatArray
    end: FloatArray

    def __init__(self, start: ArrayLike, end: ArrayLike) -> None:
        start, end = _as_array(start, "start"), _as_array(end, "end")
        if start.shape != end.shape:
            raise ShapeError(f"start has shape {start.shape} and end {end.shape}; give points of one shape")
        self._set(start=start, end=end)

    def __reduce__(self) -> tuple[Any, ...]:
        return Segment, (self.start, self.end)


class Polygon(_Domain):
    """The points ``origin + u e1 + v e2``, (u, v) in a convex polygon.

    Parameters
    ----------
    origin, e1, e2 : float64[D] or float64[*input_shape]
    vertices : float64[V, 2]
        Of the polygon, in order.

    Raises
    ------
    ShapeError
        The points have different shapes, or the vertices are not (V, 2).
    InputError
        They hold NaN, infinities or entries that are not real numbers.
    """

    __slots__ = ("e1", "e2", "origin", "vertices")

    origin: FloatArray
    e1: FloatArray
    e2: FloatArray
    vertices: FloatArray

    def __init__(self, origin: ArrayLike, e1: ArrayLike, e2: ArrayLike, vertices: ArrayLike) -> None:
        names = ("origin", "e1", "e2", "vertices")
        arrays = [_as_array(x, name) for x, name in zip((origin, e1, e2, vertices), names, strict=True)]
        if len({a.shape for a in arrays[:3]}) > 1:
            shapes = ", ".join(f"{name} {a.shape}" for name, a in zip(names, arrays[:3], strict=False))
            raise ShapeError(f"the shapes are {shapes}; give three arrays of one shape")
        if arrays[3].ndim != 2 or arrays[3].shape[1] != 2 or not len(arrays[3]):
            raise ShapeError(f"vertices has shape {arrays[3].shape}; (vertices, 2) is needed")
        self._set(**dict(zip(names, arrays, strict=True)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Polygon, (self.origin, self.e1, self.e2, self.vertices)


class Box(_Domain):
    """The points x with ``lower <= x <= upper``, entry by entry; or B such boxes. Sides may have width zero.

    Parameters
    ----------
    lower, upper : float64[D], float64[*input_shape], float64[B, D] or float64[B, *input_shape]

    Raises
    ------
    ShapeError
        They have different shapes.
    InputError
        They hold NaN, infinities or entries that are not real numbers, or a lower bound exceeds the upper one.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> pwlnet.Box.around(np.array([0.0, 0.5]), 0.1, limits=(0.0, 1.0)).lower.round(3).tolist()
    [0.0, 0.4]
    """

    __slots__ = ("lower", "upper")

    lower: FloatArray
    upper: FloatArray

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        lower, upper = _as_array(lower, "lower"), _as_array(upper, "upper")
        if lower.shape != upper.shape:
            raise ShapeError(f"lower has shape {lower.shape} and upper {upper.shape}; give bounds of one shape")
        crossed = np.argwhere(lower > upper)
        if len(crossed):
            at = tuple(crossed[0].tolist())
            place = at[0] if len(at) == 1 else at
            raise InputError(
                f"lower is above upper at {len(crossed)} entries, the first is {place}: {lower[at]:g} > {upper[at]:g}; "
                "exchange them there"
            )
        self._set(lower=lower, upper=upper)

    @classmethod
    def around(cls, points: ArrayLike, epsilon: float, *, limits: tuple[float, float] | None = None) -> Box:
        """Return the boxes of half width ``epsilon`` around points (balls of the maximum norm), rounded outward.

        Parameters
        ----------
        points : float64[D] or float64[B, D]
        epsilon : float
        limits : (float, float), optional
            Range of valid inputs; the boxes are intersected with it.

        Raises
        ------
        InputError
            The points are not finite, epsilon is negative, or a point lies outside the limits by more than epsilon.
        """
        points, epsilon = _as_array(points, "points"), check_number(epsilon, "epsilon")
        lower, upper = _down(points - epsilon), _up(points + epsilon)
        if epsilon == 0.0:
            lower, upper = points, points
        if limits is not None:
            low, high = (check_number(x, "limits", least=-np.inf) for x in limits)
            lower, upper = np.maximum(lower, low), np.minimum(upper, high)
        return cls(lower, upper)


class Ball(_Domain):
    """The points whose distance from a centre is at most ``radius``; or B such balls.

    Parameters
    ----------
    center : float64[D], float64[*input_shape], float64[B, D] or float64[B, *input_shape]
    radius : float or float64[B]
        In the inputs' units; zero is allowed.
    norm : {1, 2, inf}, optional
        The norm that measures the distance.

    Raises
    ------
    InputError
        The centre is not finite, the radius negative or not finite, or the norm another one.
    ShapeError
        There is not one radius, or one for each centre.
    """

    __slots__ = ("center", "norm", "radius")

    center: FloatArray
    radius: FloatArray
    norm: float

    def __init__(self, center: ArrayLike, radius: float | ArrayLike, norm: float = 2) -> None:
        center = _as_array(center, "center")
        radius = _as_array(np.atleast_1d(as_array(radius, "radius")), "radius")
        if radius.ndim != 1 or len(radius) not in (1, len(center)):
            raise ShapeError(f"radius has shape {radius.shape}, center {center.shape}; give one radius, or one for each center")
        if (radius < 0.0).any():
            raise InputError(f"radius is {radius.min():g}; a finite number of at least 0 is needed")
        if isinstance(norm, bool) or norm not in NORMS:
            raise InputError(f"norm is {norm!r}; the choices are 1, 2 and numpy.inf")
        self._set(center=center, radius=radius if len(radius) > 1 else float(radius[0]), norm=float(norm))

    def __reduce__(self) -> tuple[Any, ...]:
        return Ball, (self.center, self.radius, self.norm)


class Gaussian(_Domain):
    """The normal distribution around a centre, with independent coordinates; or B such distributions.

    It is not a bounded set: analyses that draw points, or that give probabilities, take it.

    Parameters
    ----------
    center : float64[D], float64[*input_shape], float64[B, D] or float64[B, *input_shape]
    sigma : float or float64[B]
        Standard deviation of each coordinate, in the inputs' units; zero is allowed.

    Raises
    ------
    InputError
        The centre is not finite, or sigma negative or not finite.
    ShapeError
        There is not one sigma, or one for each centre.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> pwlnet.Gaussian(np.zeros(3), 0.25)
    Gaussian(center[3], sigma=0.25)
    """

    __slots__ = ("center", "sigma")

    center: FloatArray
    sigma: FloatArray

    def __init__(self, center: ArrayLike, sigma: float | ArrayLike) -> None:
        center = _as_array(center, "center")
        sigma = _as_array(np.atleast_1d(as_array(sigma, "sigma")), "sigma")
        if sigma.ndim != 1 or len(sigma) not in (1, len(center)):
            raise ShapeError(f"sigma has shape {sigma.shape}, center {center.shape}; give one sigma, or one for each center")
        if (sigma < 0.0).any():
            raise InputError(f"sigma is {sigma.min():g}; a finite number of at least 0 is needed")
        self._set(center=center, sigma=sigma if len(sigma) > 1 else float(sigma[0]))

    def __reduce__(self) -> tuple[Any, ...]:
        return Gaussian, (self.center, self.sigma)


def _down(x: FloatArray) -> FloatArray:
    return np.nextafter(x, -np.inf)


def _up(x: FloatArray) -> FloatArray:
    return np.nextafter(x, np.inf)


def box_rows(network: Network, box: Box) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of boxes in rows: (float64[B, D], float64[B, D]).

    Raises
    ------
    ShapeError
        The boxes do not have the network's number of inputs.
    """
    return network.as_points(box.lower, "lower"), network.as_points(box.upper, "upper")


def ball_rows(network: Network, ball: Ball) -> tuple[FloatArray, FloatArray]:
    """Return the centres and radii of balls in rows: (float64[B, D], float64[B]).

    Raises
    ------
    ShapeError
        The centres do not have the network's number of inputs, or there is not one radius for each.
    """
    return _rows_with_one_each(network, ball.center, ball.radius, "radius")


def gaussian_rows(network: Network, gaussian: Gaussian) -> tuple[FloatArray, FloatArray]:
    """Return the centres and standard deviations of Gaussian noise in rows: (float64[B, D], float64[B]).

    Raises
    ------
    ShapeError
        The centres do not have the network's number of inputs, or there is not one sigma for each.
    """
    return _rows_with_one_each(network, gaussian.center, gaussian.sigma, "sigma")


def _rows_with_one_each(network: Network, center: FloatArray, value: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Return centres in rows, and a number for each: (float64[B, D], float64[B])."""
    centers = network.as_points(center, "center")
    if np.size(value) not in (1, len(centers)):
        raise ShapeError(f"{name} has {np.size(value)} entries, but there are {len(centers)} centers; give one for each")
    return centers, np.ascontiguousarray(np.broadcast_to(value, len(centers)))


def is_single(network: Network, domain: _Domain) -> bool:
    """Return whether a domain is one set, not a batch of B sets."""
    points = domain.lower if isinstance(domain, Box) else getattr(domain, "center", None)
    return points is None or points.shape in ((network.n_inputs,), tuple(network.input_shape))


def check_domain(domain: Any, kinds: tuple[type[_Domain], ...] = (Segment, Polygon, Box, Ball)) -> Any:
    """Validate that an argument is a domain of one of some kinds.

    Raises
    ------
    InputError
        It is not.
    """
    if not isinstance(domain, kinds):
        names = ", ".join(f"pwlnet.{kind.__name__}" for kind in kinds)
        raise InputError(f"domain is a {type(domain).__name__}; give one of {names}")
    return domain
