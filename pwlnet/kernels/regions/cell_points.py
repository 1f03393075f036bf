"""The key of the current cell, and a point inside it.

Legend: as in state.py.
"""

from .._jit import inlined_kernel, kernel
from . import state as st


@inlined_kernel
def key_of(work):
    """Return the key of the current cell."""
    key = work.at[st.KEY]
    return 2 * work.at[st.N_TASKS] if key < 0 else key


@kernel
def mean_vertex(work, out):
    """Compute the mean of the current cell's vertices. Out: out float64[D]."""
    offset, n = work.at[st.OFFSET], work.at[st.N_VERTICES]
    for d in range(out.shape[0]):
        total = 0.0
        for i in range(n):
            total += work.x[d, offset + i]
        out[d] = total / n
