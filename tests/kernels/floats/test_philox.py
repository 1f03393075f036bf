"""Random numbers from counters: published test vectors, distributions, and values of log, sine and cosine."""

import math

import numpy as np
import pytest
import scipy.stats

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.draws import draw_points, make_draws, philox_words
from tests.counts import few

# kat_vectors of Random123 1.14.0 (Salmon et al. 2011), philox4x32 10
VECTORS = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
N = few(4000, 400, quick=4000)
LEAST_P = 1e-4  # the draws are fixed by the seed: no test fails by chance


def network(n_inputs):
    graph = Graph((1, n_inputs), batched=True)
    graph.output = graph.relu(graph.linear(graph.input, np.ones((1, n_inputs)), name="sum"), name="relu")
    return lower(graph)


def draw(domain, n_inputs, n=N, **options):
    draws = make_draws(network(n_inputs), domain, **options)
    return draw_points(draws, np.zeros(n, np.int64), np.arange(n))


@pytest.mark.parametrize(("counter", "key", "words"), VECTORS)
def test_the_words_are_those_of_the_published_test_vectors(counter, key, words):
    assert philox_words(np.array([counter], np.uint64), np.array(key, np.uint64)).tolist() == [list(words)]


def test_a_coordinate_depends_on_seed_set_draw_and_coordinate_only():
    center = np.zeros((3, 200))
    draws = make_draws(network(200), pwlnet.Gaussian(center, 1.0), seed=5)
    all_points = draw_points(draws, np.repeat([0, 1, 2], 4), np.tile(np.arange(4), 3))
    later = make_draws(network(70), pwlnet.Gaussian(center[:1, :70], 1.0), seed=5, first_set=2)
    assert np.array_equal(draw_points(later, [0, 0], [3, 1]), all_points[[11, 9], :70])
    assert len(np.unique(all_points)) == all_points.size
    other = make_draws(network(70), pwlnet.Gaussian(center[:1, :70], 1.0), seed=5 + 2**40, first_set=2)
    assert not np.isin(draw_points(other, [0], [3]), all_points).any()


def test_normal_numbers_have_their_distribution_and_no_correlation():
    x = draw(pwlnet.Gaussian(np.zeros(129), 1.0), 129)
    assert scipy.stats.kstest(x.ravel(), "norm").pvalue > LEAST_P
    assert np.abs(np.corrcoef(x[:, :64].T) - np.eye(64)).max() < 6.0 / np.sqrt(N)
    assert np.abs(np.corrcoef((x[:, :64] ** 2).T) - np.eye(64)).max() < 8.0 / np.sqrt(N)
    assert abs((x**2).mean() - 1.0) < 5.0 * np.sqrt(2.0 / x.size)


def test_normal_numbers_are_those_of_box_and_muller_to_fourteen_digits():
    x = draw(pwlnet.Gaussian(np.zeros(64), 1.0), 64, n=3, seed=9)
    for number in range(3):
        counters = np.array([(j, number, 0, 0) for j in range(16)], np.uint64)
        words = philox_words(counters, np.array([9, 0], np.uint64)).T.ravel().astype(int).tolist()
        for j in range(32):
            radius = math.sqrt(-2.0 * math.log((words[j] + 0.5) / 2**32))
            quarter, rest = divmod(words[32 + j], 2**30)
            angle = 0.5 * math.pi * (quarter + (rest + 0.5) / 2**30 - 0.5)
            assert x[number, j] == pytest.approx(radius * math.cos(angle), abs=1e-14 * radius)
            assert x[number, 32 + j] == pytest.approx(radius * math.sin(angle), abs=1e-14 * radius)


def test_points_of_a_box_are_uniform_and_corners_are_equally_likely():
    low, high = np.array([-1.0, 2.0, 5.0]), np.array([1.0, 2.5, 5.0])
    x = draw(pwlnet.Box(low, high), 3)
    assert ((x >= low) & (x <= high)).all()
    assert (x[:, 2] == 5.0).all()
    for k in (0, 1):
        assert scipy.stats.kstest((x[:, k] - low[k]) / (high[k] - low[k]), "uniform").pvalue > LEAST_P
    corners = draw(pwlnet.Box(low, high), 3, draws="corners")
    assert np.isin(corners, np.stack([low, high])).all()
    counts = np.unique(corners[:, :2], axis=0, return_counts=True)[1]
    assert len(counts) == 4
    assert scipy.stats.chisquare(counts).pvalue > LEAST_P


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@pytest.mark.parametrize("n_inputs", [1, 3, 70])
def test_points_of_balls_are_uniform(norm, n_inputs):
    """The radius has the distribution function r**D, every direction is as likely as its mirror images, and thirds agree."""
    center = np.full(n_inputs, 0.5)
    x = (draw(pwlnet.Ball(center, 2.0, norm), n_inputs) - center) / 2.0
    radius = np.linalg.norm(x, norm, axis=1)
    assert radius.max() <= 1.0
    assert scipy.stats.kstest(radius**n_inputs, "uniform").pvalue > LEAST_P
    assert scipy.stats.binomtest(int((x > 0).sum()), x.size).pvalue > LEAST_P
    if n_inputs == 3:  # marginal of one coordinate: density (1 - |x|)^2, 1 - x^2 or 1, up to a factor
        sizes = np.abs(x[:, 1])
        below = {1: 1.0 - (1.0 - sizes) ** 3, 2: 1.5 * (sizes - sizes**3 / 3.0), np.inf: sizes}[norm]
        assert scipy.stats.kstest(below, "uniform").pvalue > LEAST_P


def test_draws_are_clipped_to_the_limits():
    x = draw(pwlnet.Gaussian(np.array([0.0, 1.0]), 1.0), 2, limits=(0.0, 1.0))
    free = draw(pwlnet.Gaussian(np.array([0.0, 1.0]), 1.0), 2)
    assert np.array_equal(x, free.clip(0.0, 1.0))


@pytest.mark.parametrize(
    "domain",
    [
        pwlnet.Gaussian(np.ones(3), 0.0),
        pwlnet.Ball(np.ones(3), 0.0),
        pwlnet.Ball(np.ones(3), 0.0, 1),
        pwlnet.Box(np.ones(3), np.ones(3)),
    ],
)
def test_sets_of_a_single_point_give_that_point(domain):
    assert (draw(domain, 3, n=5) == 1.0).all()
