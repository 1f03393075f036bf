"""How many random cases the tests try: the only place that knows the level of the test run.

``PWLNET_TEST_LEVEL=quick`` (the default, ``make test``) tries about a twentieth of the cases, ``full`` (``make test-full``) all
of them. With ``NUMBA_DISABLE_JIT=1`` (``make coverage``) the kernels run as Python, a hundred times slower, and the number of
cases depends on that alone.
"""

import os

IN_PYTHON = os.environ.get("NUMBA_DISABLE_JIT", "0") == "1"
LEVELS = ("quick", "full")
LEVEL = os.environ.get("PWLNET_TEST_LEVEL") or LEVELS[0]
if LEVEL not in LEVELS:
    raise ValueError(f"PWLNET_TEST_LEVEL is {LEVEL!r}; it must be one of {', '.join(LEVELS)}")
AT_LEAST = 10  # cases that the quick level tries of each property, where the full level has as many


def few(n, in_python=None, *, quick=None):
    """Return the number of cases to try.

    Parameters
    ----------
    n : int
        Cases at the full level.
    in_python : int, optional
        Cases where kernels run as Python; a tenth by default.
    quick : int, optional
        Cases at the quick level; by default a twentieth, but at least 10 (or all, where there are fewer).

    Returns
    -------
    int
    """
    if IN_PYTHON:
        return max(1, n // 10) if in_python is None else in_python
    if LEVEL == "full":
        return n
    return max(min(n, AT_LEAST), n // 20) if quick is None else quick
