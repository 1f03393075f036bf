"""The mesh of a plane: vertices with their values, edges, faces, and the bounds on rounding errors.

Faces are convex polygons that share vertices and edges by number. Each vertex carries a *row*: the pre-activations that cut the
faces next (columns 0 to ``n_cut``), then other values that later ops read. A column is stored divided by its *unit*, a power of
two, so that one bound holds for a whole row. Two bits per neuron and vertex, ``positive`` and ``negative``, are the exact sign
of the pre-activation at the exact vertex; from them follows, without floating point, which neurons cut an edge or a face.

**Rounding errors.** Every vertex is the exact intersection ``p`` of two lines (zero sets of neurons on a face, or sides of the
polygon); its row is computed. Let ``A_f`` be the exact affine map from the plane to the columns on face ``f``. Three numbers
are carried, all in units of the columns:

* ``DRIFT`` (R) of a vertex: there is a point ``q`` such that, for each face ``f`` at the vertex and each column ``k``,
  ``|row_k - A_f(q)_k| <= R``;
* ``offset`` (T) of an edge: each point ``q`` between the points of its two ends has a point ``q'`` on the exact line of the
  edge with ``|A_f(q)_k - A_f(q')_k| <= T`` for the faces ``f`` at the edge;
* ``ERROR`` (E) of a vertex: ``|row_k - A_f(p)_k| <= E``.

*A vertex on an edge*, where neuron ``j`` changes sign between the ends ``a`` and ``b``, has the row
``row_a + t (row_b - row_a)``. With ``q = q_a + t (q_b - q_a)``, R is the larger one of both ends, plus the rounding of the
interpolation. ``q'`` lies on the line of the edge, at most T away in each column, so neuron ``j`` is at most R + T there. Along
that line, column ``k`` changes by ``|d_k / d_j|`` per unit of neuron ``j``, ``d = row_b - row_a`` up to 2 (R + T) in each
column; thus ``E = (R + T) (1 + max_k |d_k| / |d_j|)``. R and T do not grow by this ratio, so nearly parallel lines do not make
the errors of later vertices large. The two pieces of the edge keep T.

*A new edge* along neuron ``j`` through face ``f``: at the points ``q`` of both ends, and so between them, neuron ``j`` is at
most R. To return to its line, move along the direction between two exact vertices of ``f``, one of them on the line; column
``k`` then changes by ``|D_k / D_j|`` per unit of neuron ``j``, with D the difference of their rows up to E. So
``T = R max_k |D_k / D_j|``.

*The next op.* A switching op sets a column to its value under the state on the face. Where the exact sign at the vertex is
positive or negative, all faces at the vertex have this state. A computed number with another sign than the exact one is
replaced by 0, or by a tiny number with that sign, and R grows by twice this number, so the stored sign is the exact one. So
R, T and E hold for the values after the op as before (slopes are part of the units). An affine op maps columns by a matrix W:
R, T and E are multiplied by ``max_k sum_i |W_ki|`` in units of the columns, over those i that are not surely inactive at the
vertex (T: at either end), and R and E grow by ``gamma (sum_i |W_ki row_i| + |b_k|)``, ``gamma = n u / (1 - n u)``.

Legend: V vertices, E edges, F faces, C columns, W words.
"""

from typing import NamedTuple

import numpy as np

# Columns of ``Vertices.bounds``.
DRIFT = 0  # R
ERROR = 1  # E
LARGEST = 2  # at least the largest absolute value of the row
N_BOUNDS = 3

# Entries of ``counts``.
N_VERTICES = 0
N_EDGES = 1
N_FACES = 2
N_CORNERS = 3  # entries of ``Faces.vertices``
N_LINES = 4
CLOCK = 5
N_QUESTIONS = 6
N_DEFERRED = 7
NEXT = 8  # the next face (position in the list of faces to cut)
N_COUNTS = 9

# What ``cut_faces`` returns.
DONE = 0
NEED_VERTICES = 1
NEED_EDGES = 2
NEED_FACES = 3
NEED_CORNERS = 4
NEED_LINES = 5
NEED_CELLS = 6
NEED_SIDES = 7
INCONSISTENT = 8

# Columns of ``Lines``: a line is the zero set of a cutting function on a face; or a side of a polygon (stage -1).
STAGE = 0
FUNCTION = 1  # column of the stage's row; the number of the side
LEVEL = 2  # the level whose face it is
FACE = 3  # the face; the plane
N_LINE_COLUMNS = 4

UNIT_ROUNDOFF = np.float64(2.0**-53)
UNBOUNDED = np.float64(2.0**996)
TINY = np.float64(2.0**-996)  # stands for a positive number that rounding has made 0, or negative


class Vertices(NamedTuple):
    """Vertices of a mesh; arrays have room for more than there are."""

    rows: np.ndarray  # float64[V, C]
    uv: np.ndarray  # float64[V, 2] coordinates in the plane
    bounds: np.ndarray  # float64[V, N_BOUNDS]
    positive: np.ndarray  # uint64[V, W] bit k of word w: cutting function 64 w + k is positive
    negative: np.ndarray  # uint64[V, W]
    keys: np.ndarray  # uint64[V] the same for the copies of a vertex in two meshes
    lines: np.ndarray  # int32[V, 2] the two lines that define it
    on_seam: np.ndarray  # uint8[V] 1 where other meshes may have a copy


class Edges(NamedTuple):
    """Edges of a mesh."""

    ends: np.ndarray  # int32[E, 2]
    line: np.ndarray  # int32[E]
    offset: np.ndarray  # float64[E]
    on_seam: np.ndarray  # uint8[E] 1 where the face on the other side is in another mesh


class Faces(NamedTuple):
    """Faces of a mesh: corners counter-clockwise, and the edge from each corner to the next one."""

    starts: np.ndarray  # int64[F + 1]
    vertices: np.ndarray  # int32[*]
    edges: np.ndarray  # int32[*]
    parents: np.ndarray  # int32[F] face before the cut
    states: np.ndarray  # uint64[F, W] functions that are positive inside


class Crossings(NamedTuple):
    """Where cutting functions change sign along the edges, in order from the first end to the second one."""

    starts: np.ndarray  # int64[E + 1]
    functions: np.ndarray  # int32[*]
    t: np.ndarray  # float64[*]
    same: np.ndarray  # uint8[*] 1 where the crossing is at the same point as the one before
    first_vertex: np.ndarray  # int32[E + 1] the new vertices of an edge
    first_edge: np.ndarray  # int32[E + 1] the new edges that it becomes


class Cells(NamedTuple):
    """The cells of the face that is being cut."""

    vertices: np.ndarray  # int32[cells, sides]
    edges: np.ndarray  # int32[cells, sides]
    n_sides: np.ndarray  # int64[cells]
    positive: np.ndarray  # uint64[cells, W]
    cut: np.ndarray  # uint64[cells, W] functions with both signs
    walk_vertices: np.ndarray  # int32[sides]
    walk_edges: np.ndarray  # int32[sides]
    walk_signs: np.ndarray  # int8[sides]
    stamps: np.ndarray  # int64[E] the cut that divided an edge last
    split_vertex: np.ndarray  # int32[E] the vertex that it made
    split_edge: np.ndarray  # int32[E] the second piece


class Questions(NamedTuple):
    """Signs at crossings inside faces that floating point does not decide; answers are exact."""

    asked: np.ndarray  # int64[*, 4] face, function of the edge, function of the cut, function
    answers: np.ndarray  # int64[*, 5] the same, and the sign; sorted by face
    deferred: np.ndarray  # int32[*] faces to cut again
