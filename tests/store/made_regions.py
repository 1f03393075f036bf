"""Regions for the tests of the store: what ``enumerate_regions`` returns, without enumerating; seeds explicit."""

from dataclasses import fields

import numpy as np

from pwlnet.partition.regions.blocks import RegionBlock
from pwlnet.partition.regions.regions import Regions
from pwlnet.store.region_appending import block_of

ALL = ("patterns", "facets", "halfspaces", "affine_maps", "volumes", "vertices", "classes")
ARRAYS = tuple(f.name for f in fields(RegionBlock))


def ranges(rng, n, most):
    return np.concatenate([[0], np.cumsum(rng.integers(0, most, n))]).astype(np.int64)


def make_regions(network, n, *, seed=0, columns=ALL, polytope=None, **changes):
    """Regions of a network with five inputs, the second of them fixed, at random points: patterns, maps and classes fit."""
    rng, d = np.random.default_rng(seed), network.n_inputs
    lower, upper = -np.ones(d), np.ones(d)
    lower[1] = upper[1] = 0.5
    free = np.flatnonzero(lower < upper)
    x = rng.uniform(lower, upper, (n, d))
    slopes = network.jacobian(x) if n else np.zeros((0, network.n_outputs, d))
    y = network.forward(x) if n else np.zeros((0, network.n_outputs))
    A = np.ascontiguousarray(slopes[:, :, free])
    offsets, corners = ranges(rng, n, 7), ranges(rng, n, 9)
    n_sides = 2 * d + (len(polytope[1]) if polytope else 0)
    made = {
        "packed": network.patterns(x).packed if n else np.zeros((0, int(network.pattern_layout.word_offsets[-1])), np.uint64),
        "witnesses": x,
        "facet_offsets": offsets,
        "facet_neurons": rng.integers(-n_sides, network.n_neurons + 1, offsets[-1]).astype(np.int32),
        "facet_states": rng.integers(0, 2, offsets[-1]).astype(np.int32),
        "facet_G": (normals := rng.normal(size=(offsets[-1], len(free)))),
        "facet_h": (normals * np.repeat(x[:, free], np.diff(offsets), axis=0)).sum(axis=1) + 1.0,
        "classes": y.argmax(axis=1).astype(np.int32),
        "affine_maps": (A, y - np.einsum("nof,nf->no", A, x[:, free])),
        "volumes": rng.random(n),
        "vertex_offsets": corners,
        "vertices": rng.random((corners[-1], len(free))),
        "vertex_facets": rng.integers(0, 2**60, corners[-1]).astype(np.uint64),
    }
    if "facets" not in columns:
        made |= {"facet_offsets": None, "facet_neurons": None, "facet_states": None}
    if "halfspaces" not in columns:
        made |= {"facet_G": None, "facet_h": None}
    if "vertices" not in columns:
        made |= {"vertex_offsets": None, "vertices": None, "vertex_facets": None}
    if "patterns" not in columns:
        made |= {"packed": None, "witnesses": None}
    for name in ("affine_maps", "volumes", "classes"):
        made |= {} if name in columns else {name: None}
    made |= {name: changes.pop(name) for name in list(changes) if name in made}
    maps = made.pop("affine_maps")
    made |= {} if maps is None else dict(zip(("affine_maps_A", "affine_maps_c"), maps, strict=True))
    facts = {"complete": True, "stopped_by": None, "method": "subdivision", "certified": True, "n_exact": 3}
    facts |= {"class_rule": None if made["classes"] is None else "max", **changes}
    domain = lower, upper, facts.pop("polytope", polytope)
    return Regions.of_block(network, domain, facts.pop("n_regions", n), RegionBlock(**made), **facts)


def in_blocks(regions, size, first=0):
    """Blocks of regions from row ``first`` on, each with the row after it as its resume state."""
    block = block_of(regions)
    for low in range(first, len(block), size):
        part = block[low : low + size]
        yield part, {"row": low + len(part)}


def same_arrays(rows, regions):
    """Whether stored regions, or a block of them, are those that were made, bit for bit, dtypes included."""
    made = block_of(regions).arrays() if not isinstance(regions, RegionBlock) else regions.arrays()
    back = rows.arrays() if isinstance(rows, RegionBlock) else rows[:].arrays()
    back = {name: array for name, array in back.items() if array is not None}
    return back.keys() == made.keys() and all(
        back[name].dtype == made[name].dtype
        and back[name].shape == made[name].shape
        and back[name].tobytes() == made[name].tobytes()
        for name in made
    )
