"""Bootstrap intervals: coverage of a known mean, scipy's own numbers, data without a BCa interval, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwlnet.analysis.bootstrap import bootstrap_interval, bootstrap_share_interval
from pwlnet.errors import InputError, ShapeError

SAMPLE = np.random.default_rng(3).exponential(size=40)


def test_the_interval_is_scipys_bca_with_the_same_seed():
    from scipy import stats

    wanted = stats.bootstrap((SAMPLE,), np.mean, n_resamples=10000, method="BCa", random_state=np.random.default_rng(5))
    assert bootstrap_interval(SAMPLE, seed=5) == tuple(wanted.confidence_interval)


def test_about_nineteen_of_twenty_intervals_cover_the_mean():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.normal(2.0, 1.0, size=60), n_resamples=500, seed=seed)
        covered += low <= 2.0 <= high
    assert 178 <= covered <= 200  # 190 are expected, standard deviation 3


def test_a_higher_level_gives_a_wider_interval():
    narrow, wide = bootstrap_interval(SAMPLE, level=0.5), bootstrap_interval(SAMPLE, level=0.99)
    assert wide[0] < narrow[0] < SAMPLE.mean() < narrow[1] < wide[1]


def test_a_statistic_without_an_axis_gives_what_one_with_it_gives():
    plain = bootstrap_interval(SAMPLE, statistic=lambda sample: np.median(sample), n_resamples=200)
    assert plain == bootstrap_interval(SAMPLE, statistic=np.median, n_resamples=200)


def test_percentiles_take_over_where_bca_has_no_value():
    values = np.array([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 9.0])  # leaving one out never changes the median: 0 / 0 in BCa
    low, high = bootstrap_interval(values, statistic=np.median)
    assert 1.0 <= low <= 2.0 <= high <= 9.0


def test_many_values_are_resampled_in_batches_with_the_same_bits(monkeypatch):
    whole = bootstrap_interval(SAMPLE, n_resamples=300)
    monkeypatch.setattr("pwlnet.analysis.bootstrap._AT_ONCE", 7 * len(SAMPLE))
    assert bootstrap_interval(SAMPLE, n_resamples=300) == whole


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12), st.floats(0.5, 0.99))
def test_an_interval_lies_between_the_least_and_the_largest_value(values, level):
    low, high = bootstrap_interval(values, level=level, n_resamples=50)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack


def test_equal_values_and_one_value():
    assert bootstrap_interval([4, 4, 4]) == (4.0, 4.0)
    assert bootstrap_interval([4.0]) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("values", "options", "error", "message"),
    [
        ([1.0, np.nan, 2.0], {}, InputError, r"values\[1\] is nan, and 1 of 3 values"),
        ([1.0, np.inf], {}, InputError, r"values\[1\] is inf"),
        ([], {}, ShapeError, r"dtype float64 and shape \(0,\)"),
        (np.zeros((2, 2)), {}, ShapeError, r"dtype float64 and shape \(2, 2\)"),
        (["a"], {}, InputError, "array of real numbers"),
        ([1.0, 2.0], {"level": 1.0}, InputError, "level is 1.0"),
        ([1.0, 2.0], {"n_resamples": 0}, InputError, "n_resamples is 0"),
    ],
)
def test_bad_input_gets_its_sentence(values, options, error, message):
    with pytest.raises(error, match=message):
        bootstrap_interval(values, **options)


@pytest.mark.parametrize(("count", "n"), [(1, 20), (10, 20), (17, 20), (40, 500), (333, 500), (499, 500)])
def test_the_interval_of_a_share_is_that_of_many_resamples(count, n):
    values = np.arange(n) < count
    low, high = bootstrap_interval(values, n_resamples=20000)
    exact = bootstrap_share_interval(count, n)
    noise = 4.0 * np.sqrt(0.025 / 20000) * 4.0 * values.std() / np.sqrt(n)  # of a resampled quantile, and steps of 1 / n
    assert abs(low - exact[0]) <= 1.01 / n + noise and abs(high - exact[1]) <= 1.01 / n + noise
    assert exact[0] <= count / n <= exact[1]


def test_intervals_of_shares_are_mirrored_with_their_counts():
    counts = np.arange(51)
    low, high = bootstrap_share_interval(counts, 50, level=0.9)
    assert abs(low + high[::-1] - 1.0).max() <= 1.01 / 50
    assert (np.diff(low) >= 0.0).all() and (low <= counts / 50).all() and (counts / 50 <= high).all()
    assert (low[0], high[0], low[-1], high[-1]) == (0.0, 0.0, 1.0, 1.0)


def test_shares_that_are_none_are_refused():
    with pytest.raises(InputError, match="counts are from -1 to 3; numbers in 0 to n = 3"):
        bootstrap_share_interval([-1, 3], 3)
    with pytest.raises(InputError, match="level is 1"):
        bootstrap_share_interval([1], 3, level=1)
    with pytest.raises(InputError, match="n is 0"):
        bootstrap_share_interval([0], 0)
