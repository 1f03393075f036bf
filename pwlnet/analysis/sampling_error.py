"""Errors of sampling rules for integrated gradients relative to the exact ones, and the number of samples they need.

Legend: L lines, C outputs of a line, D inputs of the network, E inputs that change along the line, M methods, N counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .. import scheduling
from .._types import ArrayLike, FloatArray, IntArray, Integers
from ..errors import InputError
from ..validation import as_targets, check_count, check_lines
from .quadrature import RULES
from .sampling_rules import NONE, rule_counts, rule_errors, rule_line, search_counts, search_recommended

if TYPE_CHECKING:
    from ..partition.lines.partitions import LinePartitions

METHODS = ("left", "right", "midpoint", "trapezoid", "simpson", "gauss_legendre")


@dataclass(frozen=True, eq=False)
class RuleErrors:
    """Errors of sampling rules on many lines; the result of ``compare_rules``.

    Arrays of errors are float64[L, M, N], or float64[L, C, M, N] with C targets per line; NaN if the rule is not defined for
    a count (``simpson`` needs odd counts). ``a`` are the attributions of the rule, ``e`` the exact ones.

    Attributes
    ----------
    methods : tuple of str
    counts : int64[N]
        Numbers of points.
    targets : int64[L] or int64[L, C]
        Indices of the outputs.
    relative : float64[L, M, N]
        Mean over all D inputs of ``|a - e| / |e + 1e-11|``, as in [1]_; inputs that do not change along the line count as 0. A
        single attribution that is nearly 0 can make it very large.
    l1 : float64[L, M, N]
        Sum of ``|a - e|`` divided by the sum of ``|e|``; by 1 if all e are 0.
    completeness : float64[L, M, N]
        Completeness error: ``|sum of a - change of the output|``, relative to that change; absolute if it is 0.
    n_segments : int64[L]
        Number of segments of each line.

    References
    ----------
    .. [1] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 4; the
       definition is that of the authors' code.
    """

    methods: tuple[str, ...]
    counts: IntArray
    targets: IntArray = field(repr=False)
    relative: FloatArray = field(repr=False)
    l1: FloatArray = field(repr=False)
    completeness: FloatArray = field(repr=False)
    n_segments: IntArray = field(repr=False)


@dataclass(frozen=True, eq=False)
class SampleCounts:
    """Number of samples from which on rules are close to the exact attributions; the result of ``count_samples``.

    Attributes
    ----------
    methods : tuple of str
    targets : int64[L] or int64[L, C]
        Indices of the outputs.
    relative, l1 : int64[L, M] or int64[L, C, M]
        Smallest count from which on the error (of this name in ``RuleErrors``) is below ``within`` for ``consecutive``
        counts; -1 if there is none up to ``max_samples``.
    within : float
    consecutive, max_samples : int
    n_segments : int64[L]
        Number of segments of each line: the number of gradients that the exact method needs.
    """

    methods: tuple[str, ...]
    targets: IntArray = field(repr=False)
    relative: IntArray = field(repr=False)
    l1: IntArray = field(repr=False)
    within: float
    consecutive: int
    max_samples: int
    n_segments: IntArray = field(repr=False)


@dataclass(frozen=True, eq=False)
class RecommendedSamples:
    """Number of samples by the usual recommendation, and the resulting errors; the result of ``recommend_samples``.

    All but ``method``, ``within`` and ``n_segments`` have the shape of ``targets``.

    Attributes
    ----------
    method : str
    within : float
    targets : int64[L] or int64[L, C]
        Indices of the outputs.
    n_samples : int64[L]
        Smallest count with a completeness error below ``within``; -1 if there is none.
    relative, l1 : float64[L]
        Errors of the rule with this count (``RuleErrors``); NaN if there is none.
    n_segments : int64[L]
        Number of segments of each line.
    """

    method: str
    within: float
    targets: IntArray = field(repr=False)
    n_samples: IntArray = field(repr=False)
    relative: FloatArray = field(repr=False)
    l1: FloatArray = field(repr=False)
    n_segments: IntArray = field(repr=False)


def compare_rules(
    lines: LinePartitions,
    targets: ArrayLike,
    *,
    counts: Integers,
    methods: Sequence[str] = METHODS,
    threads: int | None = None,
    progress: bool = False,
) -> RuleErrors:
    """Compute the errors of sampling rules for integrated gradients, for many numbers of samples at once.

    Exact up to rounding: errors are relative to the exact attributions.

    Parameters
    ----------
    lines : LinePartitions
        From baselines to inputs, of ``partition_lines``.
    targets : int, int64[L] or int64[L, C]
        The output to attribute: one for all lines, one per line, or C per line.
    counts : sequence of int
        Numbers of points.
    methods : sequence of str
        Sampling rules (``pwlnet.analysis.quadrature``).
    threads : int, optional
        Number of threads; all processors by default. Results do not depend on it.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    RuleErrors

    Raises
    ------
    ShapeError
        The number of rows of ``targets`` is not the number of lines.
    InputError
        An output or a method does not exist, or counts are not positive integers.

    See Also
    --------
    count_samples : the number of samples that a rule needs.
    integrate_gradients : the attributions themselves.

    Notes
    -----
    Cost: that of the exact method, and for each sample an addition of C times E numbers, once for all samples in a segment.
    The gradient at a sample is that of its segment; at a breakpoint, that of the segment after it; at t = 1, that of the last
    segment. Gradients of automatic differentiation may differ from this at breakpoints.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, labels = pwlnet.datasets.digits_images()
    >>> lines = pwlnet.partition_lines(network, np.zeros(64), images[:3])
    >>> result = pwlnet.compare_rules(lines, labels[:3], counts=[10, 100, 1000], methods=["left", "midpoint"])
    >>> result.l1.shape, bool((result.l1[:, :, 2] < result.l1[:, :, 0]).all())
    ((3, 2, 3), True)
    """
    methods, counts = _checked_methods(methods), _checked_counts(counts)
    targets = as_targets(targets, len(check_lines(lines)), lines.network.n_outputs)
    exist = np.array([n in rule_counts(method, n, n) for method in methods for n in counts.tolist()], bool)
    rules = [(method, n) for method in methods for n in counts.tolist() if n in rule_counts(method, n, n)]
    errors = np.full((3, len(lines), _columns(targets), len(exist)), np.nan)

    def work(i, line):
        errors[:, i][..., exist] = np.swapaxes(rule_errors(line, rules), 1, 2)

    if rules:
        _run_lines(work, lines, targets, threads, progress)
    errors = errors.reshape(3, *targets.shape, len(methods), len(counts))
    _freeze(errors, counts)
    relative, l1, completeness = errors
    return RuleErrors(methods, counts, targets, relative, l1, completeness, lines.n_segments)


def count_samples(
    lines: LinePartitions,
    targets: ArrayLike,
    *,
    methods: Sequence[str] = METHODS,
    within: float = 0.05,
    consecutive: int = 5,
    max_samples: int = 1000,
    threads: int | None = None,
    progress: bool = False,
) -> SampleCounts:
    """Find the number of samples from which on sampling rules for integrated gradients are close to the exact ones.

    Exact up to rounding: every count is tried, and errors are relative to the exact attributions.

    Parameters
    ----------
    lines : LinePartitions
        From baselines to inputs, of ``partition_lines``.
    targets : int, int64[L] or int64[L, C]
        The output to attribute: one for all lines, one per line, or C per line.
    methods : sequence of str
        Sampling rules (``pwlnet.analysis.quadrature``).
    within : float
        The error must be below this bound.
    consecutive : int
        Number of consecutive counts for which it must be: n, n + 1, ... (``simpson``: n, n + 2, ...).
    max_samples : int
        Largest count to return.
    threads : int, optional
        Number of threads; all processors by default. Results do not depend on it.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    SampleCounts
        For the mean relative error and for the l1 error.

    Raises
    ------
    ShapeError, InputError
        As for ``compare_rules``; InputError also for invalid limits.

    Notes
    -----
    Cost: as for ``compare_rules``, with one sweep for the counts up to 128, one up to 256, and so on until all are found.

    References
    ----------
    .. [1] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 4 and Table 2;
       the authors' code tries every fifth count first, here every count is tried.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, labels = pwlnet.datasets.digits_images()
    >>> lines = pwlnet.partition_lines(network, np.zeros(64), images[:3])
    >>> result = pwlnet.count_samples(lines, labels[:3], methods=["left", "trapezoid"])
    >>> result.l1.shape, bool((result.l1 > 0).all())
    ((3, 2), True)
    """
    methods = _checked_methods(methods)
    _check_limits(within=within, consecutive=consecutive, max_samples=max_samples)
    targets = as_targets(targets, len(check_lines(lines)), lines.network.n_outputs)
    counts = np.full((2, len(lines), _columns(targets), len(methods)), NONE)

    def work(i, line):
        counts[:, i] = search_counts(line, methods, within, consecutive, max_samples)

    _run_lines(work, lines, targets, threads, progress)
    counts = counts.reshape(2, *targets.shape, len(methods))
    _freeze(counts)
    relative, l1 = counts
    return SampleCounts(methods, targets, relative, l1, float(within), int(consecutive), int(max_samples), lines.n_segments)


def recommend_samples(
    lines: LinePartitions, targets: ArrayLike, *, within: float = 0.01, method: str = "left", first: int = 20,
    max_samples: int = 1000, threads: int | None = None, progress: bool = False,
) -> RecommendedSamples:  # fmt: skip
    """Find the usually recommended number of samples, which makes attributions complete, and the resulting errors.

    Exact up to rounding: errors are relative to the exact attributions.

    Parameters
    ----------
    lines : LinePartitions
        From baselines to inputs, of ``partition_lines``.
    targets : int, int64[L] or int64[L, C]
        The output to attribute: one for all lines, one per line, or C per line.
    within : float
        Bound on the completeness error, the relative difference between the sum of the attributions and the change of the
        output: 0.05 in the recommendation [1]_, 0.01 in the experiments of [2]_.
    method : str
        Sampling rule (``pwlnet.analysis.quadrature``).
    first, max_samples : int
        Smallest and largest count.
    threads : int, optional
        Number of threads; all processors by default. Results do not depend on it.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    RecommendedSamples

    Raises
    ------
    ShapeError, InputError
        As for ``count_samples``.

    References
    ----------
    .. [1] Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, Section 5.
    .. [2] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 4 and Table 1.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, labels = pwlnet.datasets.digits_images()
    >>> lines = pwlnet.partition_lines(network, np.zeros(64), images[:3])
    >>> result = pwlnet.recommend_samples(lines, labels[:3])
    >>> bool((result.n_samples >= 20).all() and (result.l1 > 0.0).all())
    True
    """
    (method,) = _checked_methods([method])
    _check_limits(within=within, first=first, max_samples=max_samples)
    targets = as_targets(targets, len(check_lines(lines)), lines.network.n_outputs)
    n_samples = np.full((len(lines), _columns(targets)), NONE)
    errors = np.full((2, *n_samples.shape), np.nan)

    def work(i, line):
        n_samples[i], errors[:, i] = search_recommended(line, method, within, first, max_samples)

    _run_lines(work, lines, targets, threads, progress)
    n_samples, errors = n_samples.reshape(targets.shape), errors.reshape(2, *targets.shape)
    _freeze(n_samples, errors)
    relative, l1 = errors
    return RecommendedSamples(method, float(within), targets, n_samples, relative, l1, lines.n_segments)


def _run_lines(work, lines, targets, threads, progress):
    """Call ``work(i, line)`` for each line, on threads."""
    from tqdm import tqdm

    outputs = targets.reshape(len(lines), _columns(targets))
    values = (lines.network.forward(points, threads=threads) for points in (lines.starts, lines.ends))
    before, after = (np.take_along_axis(value, outputs, axis=1) for value in values)
    with tqdm(total=len(lines), unit="line", disable=not progress) as bar:

        def run(first, last):
            for i in range(first, last):
                work(i, rule_line(lines, i, outputs[i], after[i] - before[i]))
                bar.update()

        scheduling.run_chunks(run, len(lines), 1, threads)


def _columns(targets):
    """Return the number of outputs per line."""
    return targets.shape[1] if targets.ndim == 2 else 1


def _freeze(*arrays):
    for array in arrays:
        array.setflags(write=False)


def _checked_methods(methods):
    """Validate names of sampling rules: tuple of str."""
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    for method in methods:
        if method not in RULES:
            raise InputError(f"method is {method!r}; use some of {', '.join(RULES)}")
    if not methods:
        raise InputError(f"methods is empty; use some of {', '.join(RULES)}")
    return methods


def _checked_counts(counts):
    """Validate numbers of points: int64[N]."""
    array = np.atleast_1d(np.asarray(counts))
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or array.min() < 1:
        raise InputError(f"counts is {counts!r}; a list of positive integers is needed")
    return array.astype(np.int64)


def _check_limits(within, **integers):
    """Validate the limits of a search."""
    if not within > 0.0:
        raise InputError(f"within is {within!r}; a positive number is needed, such as 0.05")
    for name, value in integers.items():
        check_count(value, name)
