"""The planes that a command processes: through points, with given directions, or parallel to two axes of the inputs."""

from .arguments import read_rows

TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


class ChosenPlanes:
    """Planes of a network.

    Parameters
    ----------
    options : argparse.Namespace
        Of ``pwlnet planes``.
    network : Network

    Attributes
    ----------
    network : Network
    planes : list of Plane
    """

    def __init__(self, options, network):
        from ..errors import InputError
        from ..partition.planes.polygons import as_planes

        made = _parallel_to_axes if options.axes else _through_points if options.through else _with_directions
        self.network, frames = network, made(options, network)
        self.planes = as_planes(network, *frames, _polygon(options, TRIANGLE if options.through else SQUARE))
        if not self.planes:
            raise InputError("the files have no rows; give at least one plane")

    def __len__(self):
        """Return the number of planes."""
        return len(self.planes)

    def arguments(self):
        """Return origins, e1, e2 and polygons, as ``partition_planes`` takes them."""
        import numpy as np

        *frames, polygons = zip(*self.planes, strict=True)
        return *map(np.stack, frames), list(polygons)

    def check_resumable(self, path, n_planes):
        """Refuse to resume a store whose last plane is not one of these.

        Parameters
        ----------
        path : str
        n_planes : int
            Number in the store.

        Raises
        ------
        DigestMismatchError
            The store has more planes than these, or its last plane is another one.
        """
        import numpy as np

        from .. import store
        from ..errors import DigestMismatchError

        if n_planes > len(self):
            raise DigestMismatchError(f"{path} has {n_planes} planes, but {len(self)} were requested; write to a new store")
        if not n_planes:
            return
        with store.open(path) as opened:
            last = opened.plane(n_planes - 1)
        if not all(np.array_equal(*pair) for pair in zip(last, self.planes[n_planes - 1], strict=True)):
            raise DigestMismatchError(
                f"plane {n_planes - 1} of {path} is another one than the requested plane; give the same points and polygon, or "
                "write to a new store"
            )


def _points(text, network, name):
    """Read points of the network: float64[N, D]."""
    if text == "digits":
        from ..shipped import digits_images

        return network.as_points(digits_images()[0], name)
    return network.as_points(read_rows(text), name)


def _through_points(options, network):
    """Return origins, e1 and e2 of the planes through rows of --through."""
    import numpy as np

    from ..errors import InputError

    points, chosen = _points(options.through, network, "--through"), np.array(options.points or [(0, 1, 2)])
    if chosen.max() >= len(points):
        raise InputError(
            f"--points has row {chosen.max()}, but --through has {len(points)} rows; give rows 0 to {len(points) - 1}"
            if options.points
            else f"--through has {len(points)} rows; three are needed, or --points I,J,K with rows"
        )
    origins, first, second = (points[chosen[:, k]] for k in range(3))
    return origins, first - origins, second - origins


def _with_directions(options, network):
    """Return origins, e1 and e2 as they were given."""
    from ..errors import InputError

    missing = [f"--{name}" for name in ("e1", "e2") if getattr(options, name) is None]
    if missing:
        raise InputError(f"--origin was given without {' and '.join(missing)}; a plane needs --origin, --e1 and --e2")
    return tuple(_points(getattr(options, name), network, f"--{name}") for name in ("origin", "e1", "e2"))


def _parallel_to_axes(options, network):
    """Return origins, e1 and e2 such that u and v are inputs I and J, and the others have the values of --at."""
    import numpy as np

    from ..errors import InputError

    n, axes = network.n_inputs, options.axes
    if axes[0] == axes[1] or not all(0 <= axis < n for axis in axes):
        raise InputError(f"--axes is {axes[0]} {axes[1]}; give two different inputs from 0 to {n - 1}")
    try:
        values = np.array([float(text) for text in options.at or ["0"]])
    except ValueError:
        if len(options.at) > 1:
            given = f"--at is {' '.join(options.at)}; give one number"
            raise InputError(f"{given}, {n - 2} for the other inputs in order, or a file") from None
        origins = np.array(_points(options.at[0], network, "--at"))
    else:
        if len(values) not in (1, n - 2):
            raise InputError(f"--at has {len(values)} numbers; give one, or {n - 2} for the other inputs in order")
        origins = np.zeros((1, n))
        origins[:, np.delete(np.arange(n), axes)] = values
    origins[:, axes] = 0.0
    return origins, np.eye(n)[axes[0]], np.eye(n)[axes[1]]


def _polygon(options, default):
    """Return the polygon of all planes: corners (u, v)."""
    from ..errors import InputError

    if options.polygon:
        return read_rows(options.polygon)
    if not options.box:
        return default
    u0, u1, v0, v1 = options.box
    if not (u0 <= u1 and v0 <= v1):
        raise InputError(f"--box is {u0} {u1} {v0} {v1}; U0 must not be above U1, nor V0 above V1")
    return ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
