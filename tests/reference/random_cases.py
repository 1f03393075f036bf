"""The random networks and lines that tests of lines share, by seed."""

import functools

import numpy as np

from .description import live
from .random_lines import random_line
from .random_networks import DYADIC_SLOPES, random_network


@functools.cache
def random_case(seed):
    """Draw a network and three lines: description, starts float64[3, D], ends float64[3, D]; not to be changed.

    Weights are small integers, now and then quarters. Networks of odd seeds are degenerate (`random_networks`). Lines are
    degenerate (`random_lines`) where the network is, then where it isn't, then always.
    """
    rng = np.random.default_rng(seed)
    degenerate = seed % 2 == 1
    description = live(random_network(rng, degenerate=degenerate, slopes=DYADIC_SLOPES))
    ends = np.array([random_line(rng, description, style) for style in (degenerate, not degenerate, True)])
    ends.setflags(write=False)
    return description, ends[:, 0], ends[:, 1]
