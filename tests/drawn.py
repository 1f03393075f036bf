"""Random network descriptions with points, for tests against the exact and the torch oracle."""

import numpy as np

from tests.described import live, to_network
from tests.reference.random_networks import random_network


def draw(seed, *, degenerate=False, n_points=3, **options):
    """Draw a description without unused nodes, its network, and points: multiples of 1/4, or normal if generic."""
    rng = np.random.default_rng([seed, degenerate])
    description = live(random_network(rng, degenerate=degenerate, **options))
    size = (n_points, int(np.prod(description[0]["shape"])))
    points = rng.standard_normal(size) if options.get("generic") else rng.integers(-8, 9, size) / 4.0
    return description, to_network(description), points


def is_dyadic(description):
    """Whether float64 arithmetic is exact on it: all its slopes are multiples of 1/8."""
    slopes = [8 * np.asarray(node["slope"]) for node in description if node["kind"] == "leaky_relu"]
    return all((slope == np.round(slope)).all() for slope in slopes)
