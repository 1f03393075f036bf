"""Regions in blocks, as an enumeration makes them one after the other, and what all blocks of an enumeration have in common.

Legend: n regions of a block, D inputs, F free inputs (sides of the box of positive width), O outputs, W words of a pattern,
N facets, V vertices, M rows of a polytope.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..._types import FloatArray, Int32Array, IntArray, WordArray
from ...errors import InputError, ShapeError
from ...validation import check_choice

# Stores hold the places of these names: new ones go to the end.
METHODS = ("subdivision", "search", "planes")
COLUMNS = ("patterns", "facets", "affine_maps", "volumes", "vertices", "witnesses", "halfspaces")
CLASS_MODES = ("max", "min")
STOPS = ("max_regions", "time_limit", "interrupted")

RAGGED = {
    "facet_offsets": ("facet_neurons", "facet_states", "facet_G", "facet_h"),
    "vertex_offsets": ("vertices", "vertex_facets"),
}
FIELDS_OF = {
    "patterns": ("packed",),
    "facets": ("facet_offsets", "facet_neurons", "facet_states"),
    "affine_maps": ("affine_maps_A", "affine_maps_c"),
    "volumes": ("volumes",),
    "vertices": ("vertex_offsets", "vertices", "vertex_facets"),
    "witnesses": ("witnesses",),
    "halfspaces": ("facet_G", "facet_h"),
    "classes": ("classes",),
}


@dataclass(frozen=True, eq=False)
class RegionBlock:
    """Consecutive regions of an enumeration; arrays that were not requested are None.

    Attributes
    ----------
    packed : uint64[n, W] or None
        Activation patterns.
    witnesses : float64[n, D] or None
        A point inside each region.
    facet_offsets : int64[n+1] or None
        Range of facets of each region, from 0.
    facet_neurons, facet_states : int32[N] or None
        What each facet belongs to, and the state on the other side, as in Regions.
    facet_G, facet_h : float64[N, F], float64[N] or None
        The facets as half-spaces ``G x <= h`` of the free inputs.
    affine_maps_A : float64[n, O, F] or None
        Slopes of the outputs in the free inputs.
    affine_maps_c : float64[n, O] or None
        Constants of the outputs.
    volumes : float64[n] or None
        Of the free inputs.
    classes : int32[n] or None
        The largest (smallest) output of each region.
    vertex_offsets : int64[n+1] or None
        Range of vertices of each region, from 0.
    vertices : float64[V, F] or None
    vertex_facets : uint64[V] or None
        Bit j: the vertex is on the j-th facet of its region.

    Examples
    --------
    >>> import numpy as np
    >>> from pwlnet.partition.regions.blocks import RegionBlock
    >>> block = RegionBlock(np.zeros((3, 1), np.uint64), np.array([[0.0], [1.0], [2.0]]))
    >>> len(block), block[1:].witnesses.tolist()
    (3, [[1.0], [2.0]])
    """

    packed: WordArray | None = None
    witnesses: FloatArray | None = None
    facet_offsets: IntArray | None = None
    facet_neurons: Int32Array | None = None
    facet_states: Int32Array | None = None
    affine_maps_A: FloatArray | None = None
    affine_maps_c: FloatArray | None = None
    volumes: FloatArray | None = None
    classes: Int32Array | None = None
    vertex_offsets: IntArray | None = None
    vertices: FloatArray | None = None
    vertex_facets: WordArray | None = None
    facet_G: FloatArray | None = None
    facet_h: FloatArray | None = None

    def __len__(self) -> int:
        for name, array in self.arrays().items():
            if name not in _OF_RAGGED:
                return len(array) - (name in RAGGED)
        return 0

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that it has: dict of ndarray by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) is not None}

    def __getitem__(self, rows: slice) -> RegionBlock:
        """Return the regions of a slice with step 1: RegionBlock of views, but for offsets."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise InputError(f"rows is {rows!r}; give a slice with step 1")
        first, last, _ = rows.indices(len(self))
        last, arrays = max(first, last), self.arrays()
        ranges = {name: offsets[first : last + 1] for name, offsets in arrays.items() if name in RAGGED}
        chosen = {name: array[first:last] for name, array in arrays.items() if name not in _OF_RAGGED}
        for name, offsets in ranges.items():
            chosen[name] = offsets - offsets[0]
            chosen |= {other: arrays[other][offsets[0] : offsets[-1]] for other in RAGGED[name] if other in arrays}
        return RegionBlock(**chosen)

    @staticmethod
    def join(blocks: Sequence[RegionBlock]) -> RegionBlock:
        """Join consecutive blocks with the same columns: RegionBlock.

        Parameters
        ----------
        blocks : sequence of RegionBlock
            At least one.
        """
        if len(blocks) == 1:
            return blocks[0]
        columns = [block.arrays() for block in blocks]
        joined = {name: np.concatenate([arrays[name] for arrays in columns]) for name in columns[0] if name not in RAGGED}
        for name in RAGGED:
            if name in columns[0]:
                counts = np.concatenate([np.diff(arrays[name]) for arrays in columns])
                joined[name] = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
        return RegionBlock(**joined)


_OF_RAGGED = {name for names in RAGGED.values() for name in names}


@dataclass(frozen=True, eq=False)
class RegionHeader:
    """What an enumeration of regions was requested with.

    Attributes
    ----------
    lower, upper : float64[D]
        The box.
    polytope : (float64[M, D], float64[M]) or None
        Inputs with ``A x <= b`` only; None if M is 0.
    want : tuple of str
        Which of COLUMNS the blocks have; witnesses come with patterns, facets with half-spaces.
    classes : {"max", "min"} or None
        Regions are cut by which output is largest (smallest), and blocks have classes.
    method : {"subdivision", "search", "planes"}

    Raises
    ------
    ShapeError
        ``upper`` or the polytope do not fit ``lower``.
    InputError
        Bounds are not finite, or not in order; a name is unknown.
    """

    lower: FloatArray
    upper: FloatArray
    polytope: tuple | None = None
    want: tuple[str, ...] = ("patterns", "facets")
    classes: str | None = None
    method: str = "subdivision"

    def __post_init__(self) -> None:
        lower, upper = (np.array(side, np.float64) for side in (self.lower, self.upper))
        if lower.ndim != 1 or upper.shape != lower.shape:
            raise ShapeError(f"lower has shape {lower.shape} and upper {upper.shape}; give one number for each input")
        if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
            raise InputError("lower and upper hold bounds that are not finite or not in order; give lower <= upper")
        want = {self.want} if isinstance(self.want, str) else set(self.want)
        for name in want:
            check_choice(name, COLUMNS, "want")
        want |= {"witnesses"} if "patterns" in want else set()
        want |= {"facets"} if "halfspaces" in want else set()
        if self.classes is not None:
            check_choice(self.classes, CLASS_MODES, "classes")
        check_choice(self.method, METHODS, "method")
        object.__setattr__(self, "polytope", _as_polytope(self.polytope, len(lower)))
        object.__setattr__(self, "want", tuple(name for name in COLUMNS if name in want))
        for name, side in {"lower": lower, "upper": upper}.items():
            side.setflags(write=False)
            object.__setattr__(self, name, side)

    @property
    def free(self) -> IntArray:
        """Numbers of the inputs whose sides have a positive width: int64[F]."""
        return np.flatnonzero(self.lower < self.upper)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the arrays that blocks of this enumeration have: tuple of str."""
        columns = (*self.want, *(["classes"] if self.classes else []))
        return tuple(name for column in columns for name in FIELDS_OF[column])

    @property
    def key(self) -> str:
        """SHA-256 (hex) of all of it: equal headers have equal keys."""
        A, b = self.polytope or (np.zeros((0, len(self.lower))), np.zeros(0))
        text = f"{len(self.lower)} {len(b)} {self.want} {self.classes} {self.method}"
        parts = (text.encode(), *((a + 0.0).astype("<f8").tobytes() for a in (self.lower, self.upper, A, b)))
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def with_method(self, method: str) -> RegionHeader:
        """Return a header with another method: RegionHeader."""
        return replace(self, method=method)


def _as_polytope(polytope, n_inputs):
    """Validate a polytope: (float64[M, D], float64[M]), or None if it has no rows."""
    if polytope is None:
        return None
    pair = (polytope.A, polytope.b) if hasattr(polytope, "A") else polytope
    A, b = (np.array(part, np.float64) for part in pair)
    if A.ndim != 2 or A.shape[1] != n_inputs or b.shape != A.shape[:1]:
        raise ShapeError(f"polytope has A of shape {A.shape} and b of shape {b.shape}; give A [M, {n_inputs}] and b [M]")
    if not (np.isfinite(A).all() and np.isfinite(b).all()):
        raise InputError("polytope holds entries that are not finite; leave out rows without a bound")
    for part in (A, b):
        part.setflags(write=False)
    return (A, b) if len(b) else None
