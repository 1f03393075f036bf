"""Every threshold: name, unit, value, derivation. No other module spells a literal like 1e-9."""

from typing import NamedTuple

from .errors import InputError

UNIT_ROUNDOFF = 2.0**-53
SINGLE_ROUNDOFF = 2.0**-24
GRADIENT_OFFSET = 1e-12  # added to entries that are divided by, in SyReNN's relative change of gradients: a definition
ATTRIBUTION_OFFSET = 1e-11  # the same in its relative error of attributions


class Tolerances(NamedTuple):
    """Thresholds of one computation; results record the ones they used.

    Attributes
    ----------
    rounding : float
        Number of standard rounding errors within which a value counts as zero, without unit. The error of each
        pre-activation along a line is estimated from the magnitudes that went into it (kernels/lines/rounding.py); 16 of
        them leave no room for a wrong decision in the exact-arithmetic tests and are still of the order of 1e-14 of
        the magnitudes.
    ambiguous : float
        Number of standard rounding errors within which a decision is counted in ``LinePartitions.ambiguous``.
    conversion : float
        Largest relative difference between a converted network and a float64 evaluation of its source, in units of the
        largest output. Rounding of a float64 forward pass of a deep network, with three digits to spare.
    conversion_single : float
        The same where the source can be evaluated in float32 only.
    rows : float
        Unit roundoff of the line kernels' slope changes: 2**-53 for float64, 2**-24 for float32, which takes less time and
        memory on some networks. Starts, values and breakpoints are float64 in both cases; ``LinePartitions.t_error`` and
        ``ambiguous`` tell what the rounding of float32 may have changed. See ``SINGLE_ROWS``.
    """

    rounding: float = 16.0
    ambiguous: float = 1024.0
    conversion: float = 1e-9
    conversion_single: float = 1e-3
    rows: float = UNIT_ROUNDOFF

    @property
    def single_rows(self):
        """Whether slope changes are float32.

        Raises
        ------
        InputError
            ``rows`` is the unit roundoff of neither type.
        """
        if self.rows not in (UNIT_ROUNDOFF, SINGLE_ROUNDOFF):
            raise InputError(f"Tolerances.rows is {self.rows!r}; 2**-53 (rows in float64) or 2**-24 (float32) is needed")
        return self.rows == SINGLE_ROUNDOFF


DEFAULT = Tolerances()
SINGLE_ROWS = Tolerances(rows=SINGLE_ROUNDOFF)
