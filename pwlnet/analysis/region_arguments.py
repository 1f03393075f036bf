"""Regions as arguments of analyses: those of ``enumerate_regions``, and those of stores, which are read.

Legend: R regions.
"""

import numpy as np

from ..errors import CapacityError
from ..validation import check_result


def regions_in_memory(regions):
    """Return Regions, of a store those that it holds.

    Parameters
    ----------
    regions : Regions or RegionRows

    Returns
    -------
    Regions

    Raises
    ------
    InputError
        It is something else.
    """
    check_result(regions, "regions", ("network", "n_regions", "facet_offsets", "complete"), "pwlnet.enumerate_regions")
    return regions.read() if hasattr(regions, "read") else regions


def volumes_or_none(regions):
    """Return the volumes of Regions, float64[R], or None where the method that found them does not compute volumes."""
    try:
        return np.asarray(regions.volumes())
    except CapacityError:
        return None
