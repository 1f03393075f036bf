"""Random numbers from counters: published test vectors, distributions, and values of log, sine and cosine."""

import math

import numpy as np
import pytest
import scipy.stats

import pwlnet
import pwlnet.draws
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.draws import draw_points, make_draws, philox_words
from pwlnet.kernels._jit import MODE
from pwlnet.kernels.floats import philox
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


def box_muller(words):
    """Normal numbers of words int64[n, 64] in the precision of np.longdouble, and their radii: [n, 64] each."""
    real = np.longdouble
    radius = np.sqrt(-2 * np.log((words[:, :32].astype(real) + real(0.5)) / real(2) ** 32))
    quarter, rest = words[:, 32:] >> 30, words[:, 32:] & (2**30 - 1)
    x = (rest.astype(real) + real(0.5) - real(2) ** 29) * (4 * np.arctan(real(1))) / real(2) ** 31
    s, c = np.sin(x), np.cos(x)
    turned = [np.choose(quarter, [c, -s, -c, s]), np.choose(quarter, [s, c, -s, -c])]
    return np.concatenate([radius * y for y in turned], axis=1), np.concatenate([radius, radius], axis=1)


@pytest.mark.skipif(np.finfo(np.longdouble).eps > np.finfo(float).eps / 100, reason="no type more precise than float64")
def test_normal_numbers_are_right_to_four_units_in_the_last_place():
    n = few(2000, 50)
    counters = np.zeros((n, 16, 4), np.uint64)
    counters[:, :, 0], counters[:, :, 1] = np.arange(16), np.arange(n)[:, None]
    words = philox_words(counters.reshape(-1, 4), np.array([9, 0], np.uint64)).reshape(n, 16, 4).swapaxes(1, 2)
    wanted, _ = box_muller(words.reshape(n, 64).astype(np.int64))
    x = draw(pwlnet.Gaussian(np.zeros(64), 1.0), 64, n=n, seed=9)
    assert (np.abs(x - wanted) <= 4.0 * np.spacing(np.abs(x))).all()


@pytest.mark.skipif(MODE != "python", reason="only Python functions are called from tests with words of their choice")
def test_normal_numbers_of_extreme_words_are_right():
    """Words next to 0, to 2**32, to powers of two, and to the places where the exponent of the logarithm's argument changes."""
    near = [int(2.0 ** (k - shift)) + i for k in range(2, 33) for i in (-1, 0, 1) for shift in (0.0, 0.5)]
    near = np.array([w for w in [0, 1, *near] if w < 2**32])
    angles = np.array([0, 1, 2**29, 2**29 - 1, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 3 * 2**30 - 1, 3 * 2**30, 2**32 - 1])
    words = np.array(
        [[*np.resize(np.roll(near, -32 * k), 32), *np.resize(np.roll(angles, k), 32)] for k in range(len(near) // 32)]
    )
    x = np.empty(words.shape)
    for row, out in zip(words, x, strict=True):
        philox.fill_normals(row.astype(np.uint64), out)
    wanted, radius = box_muller(words)
    assert (np.abs(x - wanted) <= 1e-15 * radius).all()


HEXES = {  # numbers 0, 40 and 66 of a draw: two of a whole chunk, one of the rest
    "gaussian": ["-0x1.5560836d028b6p-5", "0x1.1eba7e93355ecp+0", "-0x1.4d8b938a75a01p+0"],
    "box": ["0x1.ad0ae04600000p-2", "0x1.0b73f6ee00000p-2", "0x1.ab469c8a00000p-2"],
    "ball 1": ["-0x1.c00a2f27f905dp-7", "-0x1.59b9fccfd4a1bp-6", "0x1.c22a383e13ff4p-7"],
    "ball 2": ["-0x1.53e8bbdab60f5p-8", "0x1.1d7edee10b3c3p-3", "-0x1.4c1c6af4ab50bp-3"],
}


@pytest.mark.parametrize("name", HEXES)
def test_numbers_have_the_same_bits_on_all_processors(name):
    """They are sums, products, quotients and roots, correctly rounded and taken in a fixed order."""
    zeros, ones = np.zeros(67), np.ones(67)
    domains = {"gaussian": pwlnet.Gaussian(zeros, 1.0), "box": pwlnet.Box(zeros, ones)}
    domains |= {f"ball {norm}": pwlnet.Ball(zeros, 1.0, norm) for norm in (1, 2)}
    x = draw(domains[name], 67, n=2, seed=3)[1, [0, 40, 66]]
    assert [value.hex() for value in x.tolist()] == HEXES[name]


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_points_do_not_depend_on_threads(monkeypatch, threads):
    draws_of_two = make_draws(network(70), pwlnet.Gaussian(np.stack([np.zeros(70), np.ones(70)]), 1.0), seed=5)
    sets, numbers = np.arange(60) % 2, np.arange(60)
    wanted = np.stack([draw_points(draws_of_two, [b], [n])[0] for b, n in zip(sets, numbers, strict=True)])
    monkeypatch.setattr(pwlnet.draws, "_NUMBERS_PER_CHUNK", 500)  # seven points in each chunk
    assert np.array_equal(draw_points(draws_of_two, sets, numbers, threads=threads), wanted)


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
