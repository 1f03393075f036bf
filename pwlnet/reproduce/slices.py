"""Control networks and the two-dimensional slices of their inputs: ACAS Xu, HorizontalCAS and the shipped pendulum.

A slice has two inputs as coordinates (u, v), over their whole range; the others are constants. The "images" of such a subject
are its slices: image i is the point of slice i at (u, v) = (0, 0).

The advisory of ACAS Xu is the smallest output, a cost [1]_; that of HorizontalCAS is the largest one, a value [2]_. The order
of their outputs is the same.

Legend: n slices, D inputs, O = 5 advisories.

References
----------
.. [1] Katz, Barrett, Dill, Julian and Kochenderfer, "Reluplex", CAV 2017, appendix (properties 1 to 10).
.. [2] github.com/sisl/HorizontalCAS, PolicyViz/PolicyViz.jl/src/viz_policy.jl (findmax of the outputs).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .. import datasets
from ..loading import load_network
from ..network import Network

ADVISORIES = ("COC", "WL", "WR", "SL", "SR")  # clear of conflict, weak and strong left and right turns
TORQUES = ("0", "-2.5", "+2.5", "-5", "+5")  # N m; the same order
_TURN = np.pi


class Family(NamedTuple):
    """What the networks of one kind have in common.

    Attributes
    ----------
    name : str
        First word of their keys.
    rule : {"min", "max"}
        Whether the advisory is the smallest or the largest output.
    advisories : tuple of str
        Names of the outputs.
    axes : tuple of str
        Names of the coordinates u and v, with units.
    lower, upper : tuple of float
        Range of (u, v).
    polar : bool
        Whether u is a distance and v an angle.
    slices : tuple of (str, tuple of float)
        Title, and the values of the other inputs.
    near : float
        The Cartesian figures of polar slices show abs(x) and abs(y) up to this.
    """

    name: str
    rule: str
    advisories: tuple
    axes: tuple
    lower: tuple
    upper: tuple
    polar: bool
    slices: tuple
    near: float = 0.0


class SliceDescription(NamedTuple):
    """Description of a control network.

    Attributes
    ----------
    key : str
    title : str
    family : Family
    file : str or None
        A name of ``pwlnet.datasets``; None for the shipped network.
    training : str
    """

    key: str
    title: str
    family: Family
    file: str | None
    training: str = "standard"

    @property
    def dataset(self):
        """Name of the family."""
        return self.family.name

    def files(self):
        """Return the public files that are needed: tuple of names of ``pwlnet.datasets``."""
        return () if self.file is None else (self.file,)

    def load(self):
        """Load the network: Slices."""
        path = datasets.control_network_path() if self.file is None else datasets.fetch(self.file)
        points = np.array([(0.0, 0.0, *constants) for _, constants in self.family.slices])
        return Slices(self.key, self.title, self.training, self.dataset, load_network(path), self.family, points)


@dataclass(frozen=True, eq=False)
class Slices:
    """A network and its slices.

    Attributes
    ----------
    key, title, training, dataset : str
        As in ``SliceDescription``.
    network : Network
    family : Family
    images : float64[n, D]
        The point (u, v) = (0, 0) of each slice.
    """

    key: str
    title: str
    training: str
    dataset: str
    network: Network
    family: Family
    images: np.ndarray = field(repr=False)

    def __len__(self):
        """Return the number of slices."""
        return len(self.images)

    @property
    def polygon(self):
        """Corners of the slices: float64[4, 2], counter-clockwise."""
        (u0, v0), (u1, v1) = self.family.lower, self.family.upper
        return np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]])

    @property
    def directions(self):
        """The first two unit vectors: float64[2, D]."""
        return np.eye(2, self.images.shape[1])

    def points(self, i, uv):
        """Return points of slice i in the input space: float64[N, D] from float64[N, 2]."""
        result = np.repeat(self.images[i : i + 1], len(uv), axis=0)
        result[:, :2] = uv
        return result

    def advisory(self, outputs):
        """Return the advisory of each row of outputs: int64[N]."""
        return outputs.argmin(axis=1) if self.family.rule == "min" else outputs.argmax(axis=1)


def _acas_slices():
    """Headings and speeds of Sotoudeh and Thakur; the fast ones first."""
    for speed in (500.0, 150.0):
        for degrees in (-180, -90, 0, 90):
            yield f"psi {degrees} deg, speeds {speed:g} ft/s", (np.radians(degrees), speed, speed)


ACAS = Family(
    name="acas",
    rule="min",
    advisories=ADVISORIES,
    axes=("rho, ft", "theta, rad"),
    lower=(0.0, -_TURN),
    upper=(60760.0, _TURN),
    polar=True,
    slices=tuple(_acas_slices()),
    near=25000.0,
)
HCAS = Family(
    name="hcas",
    rule="max",
    advisories=ADVISORIES,
    axes=("x, ft", "y, ft"),
    lower=(-56000.0, -56000.0),
    upper=(56000.0, 56000.0),
    polar=False,
    slices=tuple((f"psi {degrees} deg", (np.radians(degrees),)) for degrees in (-180, -90, 0, 90)),
)
CONTROL = Family(
    name="control",
    rule="max",
    advisories=TORQUES,
    axes=("angle, rad", "speed, rad/s"),
    lower=(-_TURN, -8.0),
    upper=(_TURN, 8.0),
    polar=False,
    slices=(("all states", ()),),
)
FAMILIES = {family.name: family for family in (CONTROL, ACAS, HCAS)}
_TAU = (
    "00",
    "05",
    "10",
    "15",
    "20",
    "30",
    "40",
    "60",
)  # seconds until loss of vertical separation, in the names of HorizontalCAS

ALL = (
    SliceDescription("control_pendulum", "pendulum", CONTROL, None),
    *(
        SliceDescription(f"acas_{a}_{t}", f"ACAS Xu {a}_{t}", ACAS, f"acasxu/nnet/ACASXU_experimental_v2a_{a}_{t}.nnet")
        for a in range(1, 6)
        for t in range(1, 10)
    ),
    *(
        SliceDescription(
            f"hcas_{a}_{t}", f"HorizontalCAS {a}_{t}", HCAS, f"control/horizontal_cas/HCAS_rect_v6_pra{a}_tau{t}_25HU_3000.nnet"
        )
        for a in range(5)
        for t in _TAU
    ),
)
