"""How many random cases tests try: fewer where NUMBA_DISABLE_JIT=1 runs the kernels as Python (``make coverage``)."""

import os

IN_PYTHON = os.environ.get("NUMBA_DISABLE_JIT", "0") == "1"


def few(n, in_python=None):
    """Give ``n``, or in Python ``in_python``: a tenth by default."""
    if not IN_PYTHON:
        return n
    return max(1, n // 10) if in_python is None else in_python
