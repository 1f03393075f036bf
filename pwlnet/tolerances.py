"""All tolerances, with their units, values and derivations. No other module has literals such as 1e-9."""

from __future__ import annotations

from typing import NamedTuple

from ._types import Dtype
from .errors import InputError

UNIT_ROUNDOFF = 2.0**-53
SINGLE_ROUNDOFF = 2.0**-24
GRADIENT_OFFSET = 1e-12  # added to the denominators of SyReNN's relative change of gradients, by its definition
ATTRIBUTION_OFFSET = 1e-11  # the same for its relative error of attributions
RANGE_GAP = 1e-3  # between a proved and an attained extreme of an output, relative to the output's range; less takes longer
CERTIFIED_RADIUS = 1e-9  # relative and absolute slack, in sigma, to compare a stored radius with the quantile of its p_low
# Facets of regions, where rows have unit length and the ball of radius 1 around an interior point is inside:
LP_FEASIBILITY = 1e-9  # feasibility of linear programs: HiGHS's own least is 1e-10
FACET_SLACK = 1e-7  # a row that exceeds the others by less is redundant: a hundred times the feasibility of the programs
LP_CERTIFICATE = 1e-7  # largest entry by which a dual solution may miss the row that it proves redundant
PARALLEL = 1e-12  # rows whose entries differ by less are one half-space: thousands of roundings, far below FACET_SLACK
MASS_ERROR = 1e-6  # sum of the estimated errors of the masses of all regions under a normal density
CONSTANT = 1e-11  # distance from a threshold at which a neuron may be there on a whole region, relative to values of its op
REGION_CHECK = 1e-9  # relative errors of outputs and volumes in checks of enumerated regions
SAME_VERTEX = 1e-11  # distance of the vertices of two cells of a region that are one, relative to the region's extent
SAME_FACET = 1e-6  # distance of the centers of one facet as seen from both sides, relative to its size
ROW_CHANGE = 1e-3  # change of scores with the batch, relative to the largest: a hundred times the rounding of float32
CONVERSION_ERRORS = 64.0  # standard rounding errors by which a conversion may differ from its source: convert/check.py
INTERIOR_SHARE = 1e-4  # least distance of an interior point from its nearest row, in those from typical rows


_SLOPE_DTYPES: dict[float, Dtype] = {UNIT_ROUNDOFF: "float64", SINGLE_ROUNDOFF: "float32"}


class Tolerances(NamedTuple):
    """Thresholds of one computation; results record the ones they used.

    Attributes
    ----------
    rounding : float
        Number of standard rounding errors within which a value is treated as zero. The error of each pre-activation along a
        line is estimated from the sizes of the summed terms (kernels/lines/rounding.py). With 16 standard errors, no decision
        is wrong in the tests against exact arithmetic; they are of the order of 1e-14 of these sizes.
    ambiguous : float
        Number of standard rounding errors within which a decision is counted in ``LinePartitions.ambiguous``.
    slope_roundoff : float
        Unit roundoff of the slope changes of lines: 2**-53 for float64, 2**-24 for float32. Set by the argument
        ``slope_dtype`` of ``partition_lines``.
    """

    rounding: float = 16.0
    ambiguous: float = 1024.0
    slope_roundoff: float = UNIT_ROUNDOFF

    @property
    def slope_dtype(self) -> Dtype:
        """Type of the slope changes of lines: "float64" or "float32".

        Raises
        ------
        InputError
            ``slope_roundoff`` is the unit roundoff of neither type.
        """
        if self.slope_roundoff not in _SLOPE_DTYPES:
            given = f"Tolerances.slope_roundoff is {self.slope_roundoff!r}"
            raise InputError(f"{given}; 2**-53 (float64) or 2**-24 (float32) is needed")
        return _SLOPE_DTYPES[self.slope_roundoff]

    def with_slope_dtype(self, slope_dtype: Dtype | None) -> Tolerances:
        """Return the tolerances for slope changes of a type: "float64", "float32", or None for no change.

        Raises
        ------
        InputError
            ``slope_dtype`` is another type.
        """
        if slope_dtype is None:
            return self
        for roundoff, name in _SLOPE_DTYPES.items():
            if name == str(slope_dtype):
                return self._replace(slope_roundoff=roundoff)
        raise InputError(f"slope_dtype is {slope_dtype!r}; the choices are 'float64' and 'float32'")


DEFAULT = Tolerances()


def as_tolerances(tolerances: Tolerances | None) -> Tolerances:
    """Return Tolerances; None stands for the default ones.

    Raises
    ------
    InputError
        It is something else.
    """
    if tolerances is None:
        return DEFAULT
    if not isinstance(tolerances, Tolerances):
        raise InputError(f"tolerances is of type {type(tolerances).__name__}; give pwlnet.Tolerances, or None")
    return tolerances
