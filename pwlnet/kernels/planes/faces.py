"""Cut the faces of a mesh by the functions that change sign on them.

Legend: V vertices, E edges, F faces, C columns, W words.
"""

import numpy as np

from .._jit import entry_kernel, inlined_kernel, kernel
from ..ir.bits import popcount
from . import mesh as ms
from .edges import agree_with_sign, interpolate_vertex, largest_difference, sign_bits_between
from .words import ONE_BIT, lowest_bit, mix_key

_UNDECIDED = -2
CROSSINGS_PER_CUT = 64  # room for: the cuts of a face with more are repeated with more room


@entry_kernel
def estimate_cuts(vertices, faces, n_faces, first_word, last_word, sizes_out):
    """Estimate what cutting the faces needs.

    Out: sizes_out int64[3]: cuts of all faces; crossings of cuts, at most ``CROSSINGS_PER_CUT`` for each; most cuts of a face.
    """
    for k in range(3):
        sizes_out[k] = 0
    for f in range(n_faces):
        n = np.int64(0)
        for w in range(first_word, last_word):
            n += popcount(_cut_bits(vertices, faces, f, w))
        sizes_out[0] += n
        sizes_out[1] += min(n * (n - 1) // 2, CROSSINGS_PER_CUT * n)
        sizes_out[2] = max(sizes_out[2], n)


@inlined_kernel
def _cut_bits(vertices, faces, f, w):
    """Return the functions of word w that are positive at some corner of face f, and negative at another one."""
    positive, negative = np.uint64(0), np.uint64(0)
    for k in range(faces.starts[f], faces.starts[f + 1]):
        v = faces.vertices[k]
        positive |= vertices.positive[v, w]
        negative |= vertices.negative[v, w]
    return positive & negative


@entry_kernel
def read_states(vertices, faces, n_faces, first_word, last_word, states_out):
    """Find the functions that are positive on each face, where none of them cuts a face. Out: states_out uint64[F, W]."""
    for f in range(n_faces):
        for w in range(first_word, last_word):
            positive = np.uint64(0)
            for k in range(faces.starts[f], faces.starts[f + 1]):
                positive |= vertices.positive[faces.vertices[k], w]
            states_out[f, w - first_word] = positive


@entry_kernel
def cut_faces(
    vertices, faces, edges, crossings, chosen, first_word, last_word, stage, level, label, lines, new_edges, new_faces, cells,
    questions, counts,
):  # fmt: skip
    """Cut the faces ``chosen[counts[NEXT] :]``, the edges of which have been split.

    Out: vertices, lines int32[L, N_LINE_COLUMNS], new_edges, new_faces, questions, counts. A face that needs an answer which
    floating point does not give is deferred.
    Returns DONE; or what there is not enough room for, to be called again after there is; or INCONSISTENT.
    """
    while counts[ms.NEXT] < chosen.shape[0]:
        f = np.int64(chosen[counts[ms.NEXT]])
        n_vertices, n_edges, n_lines = counts[ms.N_VERTICES], counts[ms.N_EDGES], counts[ms.N_LINES]
        any_cut = False
        for w in range(first_word, last_word):
            cells.cut[0, w - first_word] = _cut_bits(vertices, faces, f, w)
            any_cut = any_cut or cells.cut[0, w - first_word] != np.uint64(0)
        status, n_cells = ms.DONE, np.int64(1)
        if any_cut:
            status = _collect_sides(vertices, faces, edges, crossings, f, cells)
            if status == ms.DONE:
                status, n_cells = _cut_face(
                    vertices, faces, f, first_word, last_word, stage, level, label, lines, new_edges, cells, questions, counts
                )
        else:
            status = _copy_sides(faces, crossings, f, cells)
        if status == ms.DONE:
            status = _store_cells(vertices, f, n_cells, first_word, last_word, lines, n_lines, new_faces, cells, counts)
        if status != ms.DONE:
            counts[ms.N_VERTICES], counts[ms.N_EDGES], counts[ms.N_LINES] = n_vertices, n_edges, n_lines
            if status != _UNDECIDED:
                return status
            questions.deferred[counts[ms.N_DEFERRED]] = f
            counts[ms.N_DEFERRED] += 1
        counts[ms.NEXT] += 1
    return ms.DONE


@inlined_kernel
def _copy_sides(faces, crossings, f, cells):
    """Make cell 0 of a face that nothing cuts."""
    lo, n = faces.starts[f], faces.starts[f + 1] - faces.starts[f]
    if n > cells.vertices.shape[1]:
        return ms.NEED_SIDES
    for k in range(n):
        cells.vertices[0, k], cells.edges[0, k] = faces.vertices[lo + k], crossings.first_edge[faces.edges[lo + k]]
    cells.n_sides[0] = n
    return ms.DONE


@kernel
def _collect_sides(vertices, faces, edges, crossings, f, cells):
    """Make cell 0: the face with the new vertices on its edges."""
    n, most = np.int64(0), cells.vertices.shape[1] - 2
    for k in range(faces.starts[f], faces.starts[f + 1]):
        a, e = faces.vertices[k], faces.edges[k]
        first, v = np.int64(crossings.first_edge[e]), np.int64(crossings.first_vertex[e])
        pieces = np.int64(crossings.first_edge[e + 1]) - first
        if n + pieces > most:
            return ms.NEED_SIDES
        forward = edges.ends[e, 0] == a
        for i in range(pieces):
            cells.edges[0, n] = first + (i if forward else pieces - 1 - i)
            cells.vertices[0, n] = a if i == 0 else v + (i - 1 if forward else pieces - 1 - i)
            n += 1
    cells.n_sides[0] = n
    return ms.DONE


@inlined_kernel
def _set_cell_bits(vertices, cells, c, first_word, last_word):
    """Set which functions are positive at some corner of a cell, and which have both signs."""
    for w in range(first_word, last_word):
        positive, negative = np.uint64(0), np.uint64(0)
        for k in range(cells.n_sides[c]):
            v = cells.vertices[c, k]
            positive |= vertices.positive[v, w]
            negative |= vertices.negative[v, w]
        cells.positive[c, w - first_word], cells.cut[c, w - first_word] = positive, positive & negative


@kernel
def _cut_face(
    vertices, faces, f, first_word, last_word, stage, level, label, lines, new_edges, cells, questions, counts
):  # fmt: skip
    """Cut cell 0 by one function after the other: (status, number of cells)."""
    n_cells = np.int64(1)
    _set_cell_bits(vertices, cells, 0, first_word, last_word)
    n_all = cells.n_sides[0]
    for k in range(n_all):  # a copy: cell 0 changes
        cells.walk_vertices[cells.walk_vertices.shape[0] - 1 - k] = cells.vertices[0, k]
    for w in range(first_word, last_word):
        bits = cells.cut[0, w - first_word]
        for c in range(1, n_cells):
            bits |= cells.cut[c, w - first_word]
        while bits != np.uint64(0):
            low = lowest_bit(bits)
            j, bit = 64 * w + low, ONE_BIT << np.uint64(low)
            bits &= bits - ONE_BIT
            line = counts[ms.N_LINES]
            if line >= lines.shape[0]:
                return ms.NEED_LINES, n_cells
            lines[line, ms.STAGE], lines[line, ms.FUNCTION], lines[line, ms.LEVEL], lines[line, ms.FACE] = stage, j, level, f
            counts[ms.N_LINES] += 1
            counts[ms.CLOCK] += 1
            rate = _rate_across(vertices, faces, f, cells, n_all, j, bit, w)
            if rate < 0.0:
                return ms.INCONSISTENT, n_cells
            before = n_cells
            for c in range(before):
                if cells.cut[c, w - first_word] & bit == np.uint64(0):
                    continue
                if n_cells >= cells.vertices.shape[0]:
                    return ms.NEED_CELLS, n_cells
                status = _cut_cell(
                    vertices, f, c, n_cells, j, bit, w, first_word, last_word, label, line, lines, rate, new_edges, cells,
                    questions, counts,
                )  # fmt: skip
                if status != ms.DONE:
                    return status, n_cells
                n_cells += 1
    return ms.DONE, n_cells


@kernel
def _rate_across(vertices, faces, f, cells, n_all, j, bit, w):
    """Bound the change of any column per unit of function j, across its line on face f; -1 if no corner is on the line."""
    far, size, near = np.int64(-1), -1.0, np.int64(-1)
    for k in range(faces.starts[f], faces.starts[f + 1]):
        v = np.int64(faces.vertices[k])
        if abs(vertices.rows[v, j]) > size:
            far, size = v, abs(vertices.rows[v, j])
    for k in range(n_all):
        v = np.int64(cells.walk_vertices[cells.walk_vertices.shape[0] - 1 - k])
        if (vertices.positive[v, w] | vertices.negative[v, w]) & bit == np.uint64(0):
            near = v
            break
    if near < 0:
        return -1.0
    error = vertices.bounds[far, ms.ERROR]
    size -= 2.0 * error
    error = max(error, vertices.bounds[near, ms.ERROR])
    if not size > 0.0:
        return ms.UNBOUNDED
    return min((largest_difference(vertices.rows[far], vertices.rows[near]) + 2.0 * error) / size, ms.UNBOUNDED)


@inlined_kernel
def _sign(vertices, v, w, bit):
    """Return the sign of a function at a vertex."""
    if vertices.positive[v, w] & bit != np.uint64(0):
        return 1
    return -1 if vertices.negative[v, w] & bit != np.uint64(0) else 0


@kernel
def _cut_cell(
    vertices, f, c, other, j, bit, w, first_word, last_word, label, line, lines, rate, new_edges, cells, questions, counts
):  # fmt: skip
    """Cut cell c along the line of function j into cells c and ``other``: status."""
    n, k = cells.n_sides[c], np.int64(0)
    if n + 4 > cells.vertices.shape[1]:
        return ms.NEED_SIDES
    zeros, x, y = 0, np.int64(0), np.int64(0)
    v = np.int64(cells.vertices[c, 0])
    sign = first_sign = _sign(vertices, v, w, bit)
    walk_v, walk_e, walk_s = cells.walk_vertices, cells.walk_edges, cells.walk_signs
    for i in range(n):
        e = np.int64(cells.edges[c, i])
        if i + 1 < n:
            following = np.int64(cells.vertices[c, i + 1])
            next_sign = _sign(vertices, following, w, bit)
        else:
            following, next_sign = np.int64(cells.vertices[c, 0]), first_sign
        walk_v[k], walk_e[k], walk_s[k] = v, e, sign
        if sign == 0:
            x, y = (k if zeros == 0 else x), k
            zeros += 1
        k += 1
        if sign * next_sign < 0:
            if cells.stamps[e] != counts[ms.CLOCK]:
                status = _split_edge(
                    vertices, f, e, j, bit, w, first_word, last_word, label, line, lines, new_edges, cells, questions, counts
                )
                if status != ms.DONE:
                    return status
            new, second = np.int64(cells.split_vertex[e]), np.int64(cells.split_edge[e])
            if new_edges.ends[e, 0] == v:  # edge e keeps its first end
                walk_e[k] = second
            else:
                walk_e[k - 1], walk_e[k] = second, e
            walk_v[k], walk_s[k] = new, 0
            x, y = (k if zeros == 0 else x), k
            zeros += 1
            k += 1
        v, sign = following, next_sign
    if zeros != 2:
        return ms.INCONSISTENT
    status = _close_halves(vertices, c, other, k, x, y, line, rate, new_edges, cells, counts)
    if status != ms.DONE:
        return status
    _set_cell_bits(vertices, cells, c, first_word, last_word)
    _set_cell_bits(vertices, cells, other, first_word, last_word)
    first_positive = walk_s[x + 1] > 0
    return ms.DONE if first_positive == (cells.positive[other, w - first_word] & bit != np.uint64(0)) else ms.INCONSISTENT


@kernel
def _close_halves(vertices, c, other, n, x, y, line, rate, new_edges, cells, counts):
    """Store the n corners walked as cells c and ``other``, cut from corner x to corner y along a new edge: status."""
    walk_v, walk_e = cells.walk_vertices, cells.walk_edges
    closing = counts[ms.N_EDGES]
    if closing >= new_edges.line.shape[0]:
        return ms.NEED_EDGES
    counts[ms.N_EDGES] += 1
    a, b = np.int64(walk_v[x]), np.int64(walk_v[y])
    new_edges.ends[closing, 0], new_edges.ends[closing, 1], new_edges.line[closing] = a, b, line
    new_edges.offset[closing] = min(rate * max(vertices.bounds[a, ms.DRIFT], vertices.bounds[b, ms.DRIFT]), ms.UNBOUNDED)
    new_edges.on_seam[closing], cells.stamps[closing] = 0, 0
    m = np.int64(0)
    for i in range(x, y):
        cells.vertices[other, m], cells.edges[other, m] = walk_v[i], walk_e[i]
        m += 1
    cells.vertices[other, m], cells.edges[other, m] = b, closing
    cells.n_sides[other] = m + 1
    m = np.int64(0)
    for i in range(y, n + x):
        at = i if i < n else i - n
        cells.vertices[c, m], cells.edges[c, m] = walk_v[at], walk_e[at]
        m += 1
    cells.vertices[c, m], cells.edges[c, m] = a, closing
    cells.n_sides[c] = m + 1
    return ms.DONE


@kernel
def _split_edge(
    vertices, f, e, j, bit, w, first_word, last_word, label, line, lines, new_edges, cells, questions, counts
):  # fmt: skip
    """Make the vertex where function j is 0 on an edge inside face f, and the second piece of the edge: status."""
    new, second = counts[ms.N_VERTICES], counts[ms.N_EDGES]
    if new >= vertices.keys.shape[0]:
        return ms.NEED_VERTICES
    if second >= new_edges.line.shape[0]:
        return ms.NEED_EDGES
    counts[ms.N_VERTICES] += 1
    counts[ms.N_EDGES] += 1
    a, b = np.int64(new_edges.ends[e, 0]), np.int64(new_edges.ends[e, 1])
    interpolate_vertex(vertices, new, a, b, j, new_edges.offset[e])
    vertices.keys[new] = mix_key(vertices.keys[a], vertices.keys[b], label + np.uint64(j))
    vertices.lines[new, 0], vertices.lines[new, 1], vertices.on_seam[new] = new_edges.line[e], line, 0
    for u in range(last_word):
        vertices.positive[new, u], vertices.negative[new, u] = sign_bits_between(vertices, a, b, u)
    error, decided = vertices.bounds[new, ms.ERROR], True
    for u in range(first_word, last_word):
        open_bits = (vertices.positive[a, u] & vertices.negative[b, u]) | (vertices.negative[a, u] & vertices.positive[b, u])
        if u == w:
            open_bits &= ~bit
        while open_bits != np.uint64(0):
            low = lowest_bit(open_bits)
            g, mask = 64 * u + low, ONE_BIT << np.uint64(low)
            open_bits &= open_bits - ONE_BIT
            value = vertices.rows[new, g]
            sign = 1 if value > error else (-1 if value < -error else _UNDECIDED)
            if sign == _UNDECIDED:
                sign = _answer(f, np.int64(lines[new_edges.line[e], ms.FUNCTION]), j, g, questions, counts)
                if sign == _UNDECIDED:
                    decided = False
                else:
                    agree_with_sign(vertices, new, g, sign)
            if sign > 0:
                vertices.positive[new, u] |= mask
            if sign == -1:
                vertices.negative[new, u] |= mask
    new_edges.ends[second, 0], new_edges.ends[second, 1], new_edges.line[second] = new, b, new_edges.line[e]
    new_edges.offset[second], new_edges.on_seam[second], new_edges.ends[e, 1] = new_edges.offset[e], 0, new
    cells.stamps[e], cells.stamps[second] = counts[ms.CLOCK], 0
    cells.split_vertex[e], cells.split_edge[e] = new, second
    return ms.DONE if decided else _UNDECIDED


@kernel
def _answer(f, i, j, g, questions, counts):
    """Return the exact sign of function g where the lines of functions i and j cross on face f, or ask for it."""
    lo, hi = np.int64(0), questions.answers.shape[0]
    while lo < hi:  # the first answer that is not before (f, i, j, g)
        middle = (lo + hi) // 2
        row = questions.answers[middle]
        before = row[0] < f
        if row[0] == f:
            before = row[1] < i or (row[1] == i and (row[2] < j or (row[2] == j and row[3] < g)))
        if before:
            lo = middle + 1
        else:
            hi = middle
    if lo < questions.answers.shape[0]:
        row = questions.answers[lo]
        if row[0] == f and row[1] == i and row[2] == j and row[3] == g:
            return np.int64(row[4])
    k = counts[ms.N_QUESTIONS]
    if k < questions.asked.shape[0]:
        questions.asked[k, 0], questions.asked[k, 1], questions.asked[k, 2], questions.asked[k, 3] = f, i, j, g
        counts[ms.N_QUESTIONS] += 1
    return np.int64(_UNDECIDED)


@kernel
def _store_cells(vertices, f, n_cells, first_word, last_word, lines, first_line, new_faces, cells, counts):
    """Append the cells to the new faces: status."""
    face, corner = counts[ms.N_FACES], counts[ms.N_CORNERS]
    if face + n_cells > new_faces.parents.shape[0]:
        return ms.NEED_FACES
    total = np.int64(0)
    for c in range(n_cells):
        total += cells.n_sides[c]
    if corner + total > new_faces.vertices.shape[0]:
        return ms.NEED_CORNERS
    if n_cells == 1:
        _set_cell_bits(vertices, cells, 0, first_word, last_word)
    for c in range(n_cells):
        for k in range(cells.n_sides[c]):
            v = cells.vertices[c, k]
            new_faces.vertices[corner], new_faces.edges[corner] = v, cells.edges[c, k]
            corner += 1
            if vertices.lines[v, 1] < 0:  # on an edge that this cut split: now the line on a face is known
                for line in range(first_line, counts[ms.N_LINES]):
                    if lines[line, ms.FUNCTION] == -1 - vertices.lines[v, 1]:
                        vertices.lines[v, 1] = line
                        break
        for w in range(first_word, last_word):
            new_faces.states[face, w - first_word] = cells.positive[c, w - first_word]
        new_faces.parents[face] = f
        face += 1
        new_faces.starts[face] = corner
    counts[ms.N_FACES], counts[ms.N_CORNERS] = face, corner
    return ms.DONE
