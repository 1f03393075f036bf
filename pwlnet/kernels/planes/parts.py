"""Divide a mesh: number what a part uses, and mark the seams.

Legend: V vertices, E edges, F faces.
"""

import numpy as np

from .._jit import entry_kernel


@entry_kernel
def renumber(items, numbers, stamps, stamp, used_out):
    """Replace items by new numbers 0, 1, ... in the order in which they first occur.

    items int32[*]; numbers, stamps int64[*]: scratch, with an entry for each item; those with this stamp have been numbered.
    Returns the number of items that have been numbered in this call. Out: items, used_out int32[*]: the items numbered.
    """
    n = np.int64(0)
    for k in range(items.shape[0]):
        item = items[k]
        if stamps[item] != stamp:
            stamps[item], numbers[item] = stamp, n
            used_out[n] = item
            n += 1
        items[k] = numbers[item]
    return n


@entry_kernel
def mark_seams(vertices, edges, faces, n_faces, part_of_face, first_part):
    """Mark the edges, with their ends, whose faces are in two parts.

    part_of_face int64[F]; first_part int64[E]: scratch, -1 at first. Out: vertices.on_seam, edges.on_seam.
    """
    for f in range(n_faces):
        part = part_of_face[f]
        for k in range(faces.starts[f], faces.starts[f + 1]):
            e = faces.edges[k]
            if first_part[e] < 0:
                first_part[e] = part
            elif first_part[e] != part:
                edges.on_seam[e] = 1
                vertices.on_seam[edges.ends[e, 0]] = 1
                vertices.on_seam[edges.ends[e, 1]] = 1


@entry_kernel
def replace_numbers(numbers, new):
    """Replace numbers int32[*] by ``new[number]``. Out: numbers."""
    for k in range(numbers.shape[0]):
        numbers[k] = new[numbers[k]]
