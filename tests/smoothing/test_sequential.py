"""Sequential tests: exact probabilities of error over all stopping times, the martingale in rational arithmetic, blocks."""

import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from pwlnet.binomial import clopper_pearson
from pwlnet.errors import InputError
from pwlnet.smoothing.boundaries import (
    GROWTH,
    METHODS,
    check_points,
    log_evidence,
    operating_characteristics,
    rejection_boundary,
    rounding_margin,
    spending_limits,
)
from pwlnet.smoothing.sequential import ConfidenceSequence, SequentialTest
from tests.counts import few
from tests.reference.exact_votes import evidence, first_crossings

P0 = (Fraction(1, 2), Fraction(27, 32), Fraction(31, 32))  # exact in float64


def clopper_pearson_after_every_draw(p0, alpha, max_n):
    """The boundary of a wrong test, which looks at a fixed-n bound again and again."""
    n = np.arange(1, max_n + 1)
    hits = scipy.stats.binom.isf(alpha, n, p0).astype(int) + 1
    return np.where(np.append(max_n + 1, hits) > np.arange(max_n + 1), max_n + 1, np.append(max_n + 1, hits))


@functools.cache
def probability_to_reject(method, p0, alpha, max_n, p):
    if method == "wrong":
        boundary = clopper_pearson_after_every_draw(float(p0), alpha, max_n)
    else:
        boundary = rejection_boundary(float(p0), alpha, max_n, method)
    return sum(first_crossings(boundary.tolist(), p))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p0", P0)
def test_the_exact_probability_of_ever_being_wrong_is_at_most_alpha(method, p0):
    for alpha in (0.05, 0.2):
        at_p0 = probability_to_reject(method, p0, alpha, 48, p0)
        assert at_p0 <= Fraction(alpha)
        assert probability_to_reject(method, p0, alpha, 48, p0 - Fraction(1, 32)) < at_p0 or at_p0 == 0


def test_the_exact_check_finds_a_test_that_looks_at_a_fixed_bound_after_every_draw():
    for p0 in P0[:2]:
        assert probability_to_reject("wrong", p0, 0.05, 48, p0) > Fraction(0.07)


def test_exact_boundaries_use_more_of_alpha_than_a_union_bound():
    for p0 in P0[:2]:
        exact, union = (probability_to_reject(m, p0, 0.05, 48, p0) for m in ("group_sequential", "checkpoints"))
        assert Fraction(0.03) < exact <= Fraction(0.05)
        assert union < exact


@pytest.mark.parametrize("p0", [0.5, 0.8413447460685429, 0.98])
def test_exact_boundaries_keep_alpha_over_thousands_of_draws(p0):
    alpha, max_n = 0.001, 5000
    boundary = rejection_boundary(p0, alpha, max_n, "group_sequential")
    alive, rejected, draws = np.ones(1), 0.0, 0
    for n in np.flatnonzero(boundary <= max_n):  # all counts, without windows, with scipy's probabilities
        alive = np.convolve(alive, scipy.stats.binom.pmf(np.arange(n - draws + 1), n - draws, p0))
        rejected, draws = rejected + alive[boundary[n] :].sum(), n
        alive = alive[: boundary[n]]
    assert 0.9 * alpha < rejected <= alpha
    assert operating_characteristics(p0, p0, alpha, max_n=max_n)[0] == pytest.approx(rejected, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p0", [2.0**-60, 1e-9, 0.5, 1.0 - 2.0**-53])
def test_boundaries_of_extreme_thresholds_can_be_computed(method, p0):
    for max_n in (1, 2, 1000):
        boundary = rejection_boundary(p0, 0.01, max_n, method)
        n = np.arange(max_n + 1)
        assert ((boundary > 0) & ((boundary <= n) | (boundary == max_n + 1))).all()
        first = boundary[1]  # one hit in one draw has probability p0
        assert first == (2 if max_n == 1 else max_n + 1) if p0 >= 0.5 else first == 1


@pytest.mark.parametrize("p0", P0)
def test_no_exact_boundary_can_be_lowered(p0):
    alpha, max_n = 0.1, 40
    boundary = rejection_boundary(float(p0), alpha, max_n, "group_sequential").tolist()
    checks = check_points(float(p0), alpha, max_n, GROWTH["group_sequential"]).tolist()
    limits = spending_limits(len(checks))
    assert limits[-1] == 1.0
    assert [n for n in range(max_n + 1) if boundary[n] <= n] == [n for n in checks if boundary[n] <= n]
    for j, n in enumerate(checks):
        allowed = Fraction(alpha) * Fraction(float(limits[j]))
        assert sum(first_crossings(boundary[: n + 1], p0)) <= allowed
        lowered = [*boundary[:n], min(boundary[n], n + 1) - 1]
        assert sum(first_crossings(lowered, p0)) > allowed * Fraction(999_998, 1_000_000)


@pytest.mark.parametrize("p0", P0)
def test_the_boundary_of_the_mixture_is_the_least_count_with_exact_evidence(p0):
    alpha, max_n = 0.05, 90  # beyond the distance of the points that are searched first
    boundary = rejection_boundary(float(p0), alpha, max_n, "beta_binomial")
    for n in range(0, max_n + 1, 3):
        k = boundary[n]
        assert k > n or evidence(int(k), n, p0) >= 1 / Fraction(alpha)
        assert min(k, n + 1) == 0 or evidence(int(min(k, n + 1)) - 1, n, p0) < 1 / Fraction(alpha)


@pytest.mark.parametrize("p0", [0.5, 0.8413447460685429, 0.9986501019683699])
def test_the_boundary_at_checkpoints_is_the_bound_of_clopper_and_pearson(p0):
    checks = check_points(p0, 0.001, 20_000, GROWTH["checkpoints"])
    boundary = rejection_boundary(p0, 0.001, 20_000, "checkpoints")[checks]
    level, possible = 0.001 * (1.0 - 2.0**-20) / checks.size, boundary <= checks
    least, n = boundary[possible], checks[possible]
    assert n.size
    assert (clopper_pearson(least, n, level, side="lower")[0] >= p0 * (1.0 - 2.0**-45)).all()
    assert (clopper_pearson(least - 1, n, level, side="lower")[0] < p0).all()


@pytest.mark.parametrize("p0", P0)
def test_the_evidence_is_exactly_a_supermartingale(p0):
    for n, p in itertools.product(range(9), (p0, p0 - Fraction(1, 16), Fraction(1, 100))):
        for k in range(n + 1):
            following = p * evidence(k + 1, n + 1, p0) + (1 - p) * evidence(k, n + 1, p0)
            assert following == evidence(k, n, p0) if p == p0 else following < evidence(k, n, p0)
    assert evidence(0, 0, p0) == 1


def test_the_mean_evidence_over_all_paths_is_at_most_1():
    p0 = P0[1]
    for p in (p0, Fraction(3, 4)):
        paths = itertools.product((0, 1), repeat=8)
        mean = sum(p ** sum(path) * (1 - p) ** (8 - sum(path)) * evidence(sum(path), 8, p0) for path in paths)
        assert mean == 1 if p == p0 else mean < 1


@pytest.mark.parametrize("p0", P0)
def test_the_evidence_in_float64_agrees_with_exact_arithmetic(p0):
    n = 60
    exact = [evidence(k, n, p0) for k in range(n + 1)]
    logs = np.array([math.log(x.numerator) - math.log(x.denominator) for x in exact])
    assert np.abs(log_evidence(np.arange(n + 1.0), float(n), float(p0)) - logs).max() < rounding_margin(n)


def test_the_evidence_of_a_million_equal_votes_has_its_closed_form():
    n, p0 = 1e6, 0.9986501019683699
    all_hits = math.log1p(-(p0 ** (n + 1))) - math.log(n + 1) - math.log1p(-p0) - n * math.log(p0)
    assert abs(log_evidence(n, n, p0) - all_hits) < rounding_margin(n)
    assert log_evidence(0.0, n, p0) < -1e6
    assert 0.0 < log_evidence(850_000.0, n, 0.8413) < 1000.0


def simulated(n_paths, n, p, seed):
    return np.cumsum(np.random.default_rng(seed).random((n_paths, n)) < p, axis=1)


@pytest.mark.parametrize("method", [*METHODS, "wrong"])
def test_simulated_paths_are_rejected_as_rarely_as_promised(method):
    p0, alpha, max_n, n_paths = 0.8413447460685429, 0.05, 1500, few(4000, quick=1000)
    wrong = method == "wrong"
    boundary = clopper_pearson_after_every_draw(p0, alpha, max_n) if wrong else rejection_boundary(p0, alpha, max_n, method)
    rejected = (simulated(n_paths, max_n, p0, 11) >= boundary[1:]).any(axis=1).sum()
    too_many = scipy.stats.binom.isf(1e-6, n_paths, alpha)
    assert (rejected > too_many) == wrong  # the wrong test shows that the check can fail
    assert rejected > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [0.7, 0.8413447460685429, 0.87, 1.0])
def test_blocks_of_votes_do_not_matter(method, p):
    rng = np.random.default_rng(17)
    for _ in range(few(30, quick=5)):
        votes = rng.random(3000) < p
        outcomes = set()
        for cuts in ([], range(1, 3000), np.sort(rng.integers(0, 3001, 20)), [1000, 2000]):
            test = SequentialTest(0.8413447460685429, 0.01, beta=0.05, max_n=2500, method=method)
            for block in np.split(votes, cuts):
                test.update(block)
            outcomes.add((test.decision, test.hits, test.n, test.finished))
        assert len(outcomes) == 1
        decision, hits, n, _ = outcomes.pop()
        assert hits == votes[:n].sum()
        if p == 1.0:
            assert decision == "yes"


@pytest.mark.parametrize("method", METHODS)
def test_the_test_stops_at_the_first_draw_that_decides(method):
    p0, alpha = 0.75, 0.02
    boundary = rejection_boundary(p0, alpha, 400, method)
    votes = np.random.default_rng(2).random(400) < 0.92
    first = np.flatnonzero(np.cumsum(votes) >= boundary[1:])[0] + 1
    test = SequentialTest(p0, alpha, max_n=400, method=method)
    assert test.update(votes) == "yes"
    assert test.n == first
    assert test.update(~votes) == "yes"  # later votes change nothing
    assert test.n == first


def test_a_single_level_spent_at_one_check_is_clopper_pearson():
    n = 30
    p0 = 0.001 ** (1.0 / n) - 2.0**-20  # only the last draw can decide
    boundary = rejection_boundary(p0, 0.001, n, "group_sequential")
    assert np.flatnonzero(boundary <= np.arange(n + 1)).tolist() == [n]
    assert boundary[n] == n


@pytest.mark.parametrize("method", METHODS)
def test_certain_thresholds(method):
    impossible = SequentialTest(1.0, 0.01, max_n=100, method=method)
    assert impossible.finished
    assert impossible.update(np.ones(100, bool)) == "open"
    assert impossible.n == 0
    refuted = SequentialTest(0.0, 0.01, max_n=100, method=method)
    assert refuted.update(np.array([False, False, True])) == "yes"
    assert refuted.n == 3


@pytest.mark.parametrize("method", METHODS)
def test_hopeless_votes_end_with_no_only_if_beta_is_given(method):
    votes = np.zeros(500, bool)
    with_no = SequentialTest(0.9, 0.01, beta=0.01, max_n=500, method=method)
    assert with_no.update(votes) == "no"
    without = SequentialTest(0.9, 0.01, max_n=500, method=method)
    assert without.update(votes) == "open"
    assert without.finished
    assert with_no.n < without.n < 500


@pytest.mark.parametrize("method", METHODS)
def test_a_test_ends_as_soon_as_yes_is_out_of_reach_and_not_before(method):
    boundary = rejection_boundary(0.75, 0.05, 40, method)
    rng = np.random.default_rng(8)
    for _ in range(20):
        votes = rng.random(40) < 0.6
        test = SequentialTest(0.75, 0.05, max_n=40, method=method)
        for n, vote in enumerate(votes, 1):
            test.update(np.array([vote]))
            if test.decision == "yes":
                break
            reachable = any(votes[:n].sum() + more >= boundary[n + more] for more in range(1, 41 - n))
            assert test.finished == (not reachable)
            if test.finished:
                break


@pytest.mark.parametrize("method", METHODS)
def test_the_next_check_is_the_earliest_end_of_any_continuation(method):
    for p in (0.6, 0.8, 0.95):
        test = SequentialTest(0.8, 0.02, beta=0.02, max_n=300, method=method)
        rng, drawn = np.random.default_rng(9), np.zeros(0, bool)
        while not test.finished:
            more, ends = test.draws_to_next_check(), []
            for vote in (True, False):
                other = SequentialTest(0.8, 0.02, beta=0.02, max_n=300, method=method)
                other.update(drawn)
                other.update(np.full(300, vote))
                ends.append(other.n - test.n)
            assert more == min(ends)
            drawn = np.append(drawn, rng.random(more) < p)
            test.update(drawn[test.n :])
        assert test.draws_to_next_check() == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [Fraction(0), Fraction(3, 4), Fraction(29, 32), Fraction(1)])
def test_operating_characteristics_agree_with_exact_arithmetic(method, p):
    p0, alpha, max_n = 0.75, 0.05, 45
    crossings = first_crossings(rejection_boundary(p0, alpha, max_n, method).tolist(), p)
    mean = sum(n * x for n, x in enumerate(crossings)) + max_n * (1 - sum(crossings))
    yes, no, draws = operating_characteristics(float(p), p0, alpha, max_n=max_n, method=method)
    assert yes == pytest.approx(float(sum(crossings)), abs=1e-12)
    assert no == 0.0
    assert draws == pytest.approx(float(mean), rel=1e-12)


def test_operating_characteristics_with_a_no_agree_with_simulated_tests():
    parameters, p, n_tests = {"p0": 0.8, "alpha": 0.05, "beta": 0.1, "max_n": 400}, 0.83, few(2000)
    yes, no, draws = operating_characteristics(p, **parameters)
    rng = np.random.default_rng(21)
    tests = [SequentialTest(**parameters) for _ in range(n_tests)]
    decisions = [test.update(rng.random(400) < p) for test in tests]
    for word, expected in (("yes", yes), ("no", no)):
        low, high = scipy.stats.binom.interval(1.0 - 1e-6, n_tests, expected)
        assert low <= decisions.count(word) <= high
    assert yes > 0.1
    assert no > 0.01
    used = np.array([test.n for test in tests])
    assert abs(used.mean() - draws) < 5.0 * used.std() / math.sqrt(n_tests) + 0.05 * draws


def test_an_easy_input_needs_few_draws_and_a_hard_one_more():
    draws = []
    for p in (0.999, 0.9, 0.86):
        test = SequentialTest(0.8413447460685429, 0.001)
        assert test.update(np.random.default_rng(1).random(100_000) < p) == "yes"
        draws.append(test.n)
    assert draws == sorted(draws)
    assert draws[0] < 100
    assert draws[-1] < 20_000


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"p0": 1.5}, "p0 is 1.5"),
        ({"p0": -0.1}, "p0"),
        ({"alpha": 0.0}, "alpha"),
        ({"beta": 1.0}, "beta"),
        ({"max_n": 0}, "max_n"),
        ({"method": "betting"}, "method"),
    ],
)
def test_parameters_outside_their_range_are_refused(arguments, match):
    with pytest.raises(InputError, match=match):
        SequentialTest(**{"p0": 0.9, "alpha": 0.01, **arguments})


@pytest.mark.parametrize("votes", [np.ones(3, int), np.ones((2, 2), bool), np.array(True)])
def test_votes_must_be_a_vector_of_booleans(votes):
    with pytest.raises(InputError, match="votes"):
        SequentialTest(0.9, 0.01).update(votes)


def bound_exceeds(p, alpha, max_n, low):
    """Exact probability that ``low[n][k] >= p`` at any n <= max_n."""
    counts = [next((k for k in range(n + 1) if low[n][k] >= p), n + 1) if n else 1 for n in range(max_n + 1)]
    return sum(first_crossings(counts, p))


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_a_confidence_sequence_misses_at_any_time_with_probability_at_most_alpha(alpha):
    max_n = 40
    sequence = ConfidenceSequence(alpha)
    low = [sequence.lower(np.arange(n + 1), n) if n else np.zeros(1) for n in range(max_n + 1)]
    fixed = [clopper_pearson(np.arange(n + 1), n, alpha, side="lower")[0] if n else np.zeros(1) for n in range(max_n + 1)]
    grid = [Fraction(j, 16) for j in (1, 4, 8, 13, 15)]
    misses = [bound_exceeds(p, alpha, max_n, low) for p in grid]
    assert 0 < max(misses) <= Fraction(alpha)
    assert max(bound_exceeds(p, alpha, max_n, fixed) for p in grid) > Fraction(alpha)  # so the check can fail
    assert all((a <= b).all() for a, b in zip(low, fixed, strict=True))


def test_the_bounds_of_a_confidence_sequence_are_where_the_evidence_is_1_over_alpha():
    k = np.array([1, 30, 99, 100, 850, 99_990, 1_000_000])
    n = np.array([2, 100, 100, 100, 1000, 100_000, 1_000_000])
    low = ConfidenceSequence(0.001).lower(k, n)
    values = log_evidence(k.astype(float), n.astype(float), np.maximum(low, 2.0**-60))
    assert ((low == 0) | (np.abs(values - math.log(1000)) < 1e-6)).all()
    assert (low < k / n).all()
    assert (values >= math.log(1000)).all()


def test_a_boundary_and_a_confidence_sequence_decide_alike():
    p0, alpha = 0.8413447460685429, 0.01
    boundary = rejection_boundary(p0, alpha, 3000, "beta_binomial")
    n = np.flatnonzero(boundary <= np.arange(3001))[::97]
    sequence = ConfidenceSequence(alpha)
    assert (sequence.lower(boundary[n], n) >= p0 - 1e-12).all()
    assert (sequence.lower(boundary[n] - 1, n) < p0).all()


def test_confidence_sequences_at_the_ends():
    sequence = ConfidenceSequence(0.001)
    assert sequence.lower(0, 1_000_000) == 0.0
    assert 0.99997 < sequence.lower(1_000_000, 1_000_000) < 1.0
    assert sequence.upper(1_000_000, 1_000_000) == 1.0
    assert sequence.upper(10, 100) == 1.0 - sequence.lower(90, 100)
    with pytest.raises(InputError, match="alpha"):
        ConfidenceSequence(0.4)
    with pytest.raises(InputError, match="counts"):
        sequence.lower(5, 4)
