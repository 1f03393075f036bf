"""The one decorator of all kernels; the only file that spells Numba's options.

``nogil`` lets callers run kernels on many lines from plain threads: no threading layer, dynamic scheduling, Ctrl-C works,
and it is safe inside dask's worker threads (Numba's workqueue layer is not). ``error_model="numpy"`` gives inf for 1/0
without a branch. No ``fastmath``: it reorders sums and breaks NaN checks.
"""

import os

import numba

_CACHE = os.environ.get("PWLNET_NUMBA_CACHE", "1") != "0"

kernel = numba.njit(cache=_CACHE, nogil=True, error_model="numpy")
inline_kernel = numba.njit(cache=_CACHE, nogil=True, error_model="numpy", inline="always")
