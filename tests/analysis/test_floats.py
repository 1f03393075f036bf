"""Fixed and float neurons: closed forms, exact arithmetic, torch, and the order sampled <= exact <= bounds."""

import functools
import math

import numpy as np
import pytest
import scipy.stats

import pwlnet
from pwlnet.analysis import floats
from pwlnet.binomial import clopper_pearson
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError, ShapeError
from pwlnet.float_sets import Scope, stack_float_sets, unpack_masks
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.described import to_network
from tests.reference.float_neurons import line_floats, plane_floats
from tests.reference.random_cases import random_case
from tests.reference.random_planes import random_plane_case, random_plane_cells

find = pwlnet.find_float_neurons
LINE_SEEDS, PLANE_SEEDS = range(few(300, 4, quick=16)), range(few(80, 1, quick=8))


@functools.cache
def digits():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp")), pwlnet.datasets.digits_images()[0]


def layer(weight, bias=None, kind="relu", **options):
    graph = Graph((1, np.shape(weight)[1]), batched=True)
    z = graph.linear(graph.input, np.array(weight, float), bias, name="first")
    x = getattr(graph, kind)(z, name="neurons", **options)
    graph.output = graph.linear(x, np.ones((1, x.size)), name="last")
    return lower(graph)


@pytest.mark.parametrize("seed", LINE_SEEDS)
def test_float_neurons_of_segments_are_those_of_exact_arithmetic(seed):
    description, starts, ends = random_case(seed)
    network = to_network(description)
    for start, end in zip(starts, ends, strict=True):
        result = find(network, pwlnet.Segment(start, end), method="exact")
        expected, shares = line_floats(description, start, end)
        assert np.array_equal(result.lower, expected)
        assert np.array_equal(result.upper, expected)
        relu = ~np.repeat(network.program.op[network.op_graph.switching] == 11, network.op_graph.neuron_counts)
        of_floats = expected & relu
        actual = np.array([float(x) for x in shares])
        assert np.allclose(result.active_share[of_floats], actual[of_floats], rtol=0, atol=1e-9)
        check_masks(result)


@pytest.mark.parametrize("seed", PLANE_SEEDS)
def test_float_neurons_of_polygons_are_those_of_exact_arithmetic(seed):
    description, *plane = random_plane_case(seed)
    cells = random_plane_cells(seed)
    if not cells:
        pytest.skip("no interior")
    result = find(to_network(description), pwlnet.Polygon(*plane), method="exact")
    expected, _ = plane_floats(description, *plane[:3], cells)
    assert np.array_equal(result.lower, expected)
    check_masks(result)


def check_masks(result):
    assert not (result.lower & ~result.upper).any()
    assert np.array_equal(result.always_on | result.always_off, ~result.upper)
    assert not (result.always_on & result.always_off).any()
    assert np.array_equal(result.states < 0, result.upper)


def test_a_neuron_that_touches_its_threshold_is_fixed_on_a_region_and_floats_for_a_pair():
    network = layer([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
    segment = pwlnet.Segment([0.0, 1.0], [1.0, 1.0])
    exact, pair = (find(network, segment, method=method) for method in ("exact", "pair"))
    assert exact.upper.tolist() == [False] * 3  # x, 1, x - 1 on [0, 1]
    assert exact.states.tolist() == [1, 1, 0]
    assert pair.upper.tolist() == [True, False, True]


def test_a_neuron_at_its_threshold_on_a_part_and_active_on_the_rest_is_fixed():
    graph = Graph((1, 1), batched=True)
    x = graph.relu(graph.linear(graph.input, np.array([[1.0]]), name="first"), name="one")
    x = graph.relu(graph.linear(x, np.array([[2.0], [-1.0]]), name="second"), name="two")
    graph.output = graph.linear(x, np.ones((1, 2)), name="last")
    network, segment = lower(graph), pwlnet.Segment([-1.0], [1.0])
    exact = find(network, segment, method="exact")
    assert exact.upper.tolist() == [True, False, False]
    assert exact.states.tolist() == [-1, 1, 0]
    assert exact.active_share.tolist() == [0.5, 1.0, 0.0]
    box = pwlnet.Box([-1.0], [1.0])
    assert find(network, box, method="sampled", n_samples=64).lower.tolist() == [True, False, False]


def test_first_layer_flip_probabilities_of_gaussian_noise_are_phi_of_the_scaled_margin():
    """SMOOTHING: Phi(-|z| / (sigma ||w||))."""
    rng = np.random.default_rng(0)
    weight, bias, x, sigma, n = rng.normal(size=(40, 20)), rng.normal(size=40), rng.normal(size=20), 0.4, few(20000, 500)
    result = find(layer(weight, bias), pwlnet.Gaussian(x, sigma), method="sampled", n_samples=n, seed=3)
    margin = np.abs(weight @ x + bias) / (sigma * np.linalg.norm(weight, axis=1))
    low, high = result.confidence(1e-6)
    expected = scipy.stats.norm.cdf(-margin)
    assert ((low <= expected) & (expected <= high)).all()
    assert (high - low).max() < 10.0 / math.sqrt(n)


def test_confidence_intervals_are_those_of_scipy_and_cover():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 31, 20)
    low, high = clopper_pearson(counts, 30, 0.1)
    for k, a, b in zip(counts.tolist(), low, high, strict=True):
        expected = scipy.stats.binomtest(k, 30).proportion_ci(0.9, method="exact")
        assert (a, b) == pytest.approx((expected.low, expected.high))
    assert clopper_pearson(0, 500, 0.05, side="upper")[1] == pytest.approx(1.0 - 0.05 ** (1 / 500))
    p = 0.07
    low, high = clopper_pearson(rng.binomial(200, p, 4000), 200, 0.05)
    assert ((low <= p) & (p <= high)).mean() > 0.94


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_sampled_float_neurons_are_among_those_of_every_bound(norm):
    network, images = digits()
    ball = pwlnet.Ball(images[:2], {1: 2.0, 2: 0.5, np.inf: 0.05}[norm], norm)
    sampled = find(network, ball, method="sampled", n_samples=300)
    assert sampled.lower.any()
    for method in ("ibp", "crown_ibp", "crown", "alpha_crown"):
        bound = find(network, ball, method=method)
        assert (sampled.lower <= bound.upper).all()
        assert not bound.lower.any()
        fixed = ~bound.upper
        assert (sampled.states[fixed] == bound.states[fixed]).all()
        check_masks(bound)
        both = sampled.refine(bound)
        assert np.array_equal(both.lower, sampled.lower)
        assert np.array_equal(both.upper, bound.upper)
        check_masks(both)


def test_exact_float_neurons_of_a_segment_are_between_those_of_its_ends_and_of_the_box_around_it():
    network, images = digits()
    for a, b in zip(images[:3], images[3:6], strict=True):
        exact = find(network, pwlnet.Segment(a, 0.9 * a + 0.1 * b), method="exact")
        states = network.states(np.stack([a, 0.9 * a + 0.1 * b]))
        ends = np.stack([a, 0.9 * a + 0.1 * b])
        box = find(network, pwlnet.Box(ends.min(axis=0), ends.max(axis=0)), method="crown")
        assert ((states[0] != states[1]) <= exact.lower).all()
        assert (exact.lower <= box.upper).all()


def test_witnesses_have_different_states():
    network, images = digits()
    result = find(network, pwlnet.Gaussian(images[:3], 0.1), method="sampled", n_samples=200)
    assert result.witnesses is None
    with_all = result.with_witnesses()
    pairs = np.stack([network.states(with_all.witnesses[:, k]) for k in (0, 1)])
    n = np.arange(len(with_all.witness_neurons))
    assert (pairs[0, n, with_all.witness_neurons] != pairs[1, n, with_all.witness_neurons]).all()
    seen = np.zeros_like(result.lower)
    seen[with_all.witness_sets, with_all.witness_neurons] = True
    assert np.array_equal(seen, result.lower)
    one = result.with_witnesses(with_all.witness_neurons[-1], sets=2)
    assert np.array_equal(one.witnesses, with_all.witnesses[-1:])


def test_states_that_rounding_to_float32_changes_are_not_reported_as_float():
    """z is 1 + 1e-9 x for |x| <= 1, minus 1: a sign that float32 can't tell; the draws are counted again in float64."""
    network = layer([[2.0**-40], [1.0]], [2.0**-30, 0.0])
    box = pwlnet.Box([-1.0], [1.0])
    first = find(network, box, method="sampled", n_samples=100)
    assert first.lower.tolist() == [False, True]
    graph = Graph((1, 1), batched=True)
    x = graph.linear(graph.input, np.array([[2.0**-30]]), np.array([1.0]), name="large")
    x = graph.linear(x, np.array([[1.0], [1.0]]), np.array([-1.0 + 2.0**-26, -1.0 - 2.0**-26]), name="small")
    graph.output = graph.relu(x, name="relu")
    result = find(lower(graph), box, method="sampled", n_samples=100)
    assert not result.lower.any()


def test_results_do_not_depend_on_threads_batches_or_neighbours():
    network, images = digits()
    whole = find(network, pwlnet.Gaussian(images[:4], 0.1), method="sampled", n_samples=100, seed=7, threads=1)
    parts = [
        find(network, pwlnet.Gaussian(images[k : k + 2], 0.1), method="sampled", n_samples=100, seed=7, first_set=k, threads=2)
        for k in (0, 2)
    ]
    joined = stack_float_sets(parts)
    for name in ("lower", "states", "active_share", "minority_share"):
        assert np.array_equal(getattr(whole, name), getattr(joined, name))
    points = images[:9], images[9:18]
    pairs = find(network, points, method="pair", threads=2)
    assert np.array_equal(pairs.lower[4:6], find(network, (points[0][4:6], points[1][4:6]), method="pair").lower)
    assert np.array_equal(pairs.lower[0], find(network, pwlnet.Segment(points[0][0], points[1][0]), method="pair").lower)


def test_a_probability_decides_the_scope_prob():
    network = layer([[1.0], [1.0], [1.0]], [0.0, 1.0, 3.0])  # flip probabilities 0.5, 0.16, 0.001
    result = find(network, pwlnet.Gaussian([0.0], 1.0), method="sampled", n_samples=2000, delta=0.3)
    assert result.scope is Scope.PROB
    assert result.lower.tolist() == [True, False, False]
    assert result.upper.tolist() == [True, False, False]
    few_draws = find(network, pwlnet.Gaussian([0.0], 1.0), method="sampled", n_samples=20, delta=0.3)
    assert (few_draws.lower <= few_draws.upper).all()
    assert few_draws.undecided.any()


def test_a_given_mask_has_states_where_a_reference_point_is_given():
    network, images = digits()
    mask = np.zeros((2, network.n_neurons), bool)
    mask[:, ::3] = True
    result = find(network, mask, method="given", reference=images[:2])
    assert np.array_equal(result.states, np.where(mask, -1, network.states(images[:2])))
    check_masks(result)
    unknown = find(network, mask[0], method="given")
    assert (unknown.states == -1).all()
    assert not (unknown.always_on | unknown.always_off).any()


def test_masks_as_bits_are_the_masks():
    network, images = digits()
    result = find(network, pwlnet.Gaussian(images[:2], 0.1), method="sampled", n_samples=50)
    packed = result.pack()
    assert (packed.lower.dtype, packed.lower.shape) == (np.uint64, (2, -(-network.n_neurons // 64)))
    for name, words in packed._asdict().items():
        assert np.array_equal(unpack_masks(words, network.n_neurons), getattr(result, name))
    assert int(packed.lower[1, 2]) >> 5 & 1 == int(result.lower[1, 2 * 64 + 5])


def test_union_intersection_and_comparison_count_neurons():
    network = layer(np.eye(4))
    masks = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)
    first = find(network, masks, method="given", reference=np.array([[1.0, 1, 1, 1], [1, 1, 1, -1]]))
    second = find(network, masks[::-1], method="given")
    assert [int(x) for x in first.union().lower] == [1, 1, 1, 0]
    assert first.union().undecided.tolist() == [False, False, False, True]  # on in one set, off in the other
    assert first.intersection()[0].tolist() == [True, False, False, False]
    comparison = first.compare(second)
    assert [x.tolist() for x in comparison] == [[1, 1], [1, 1], [1, 1], [1 / 3, 1 / 3]]
    assert not first.is_consistent_with(second)
    assert first.is_consistent_with(first)
    with pytest.raises(InputError, match="disagrees at 4 neurons"):
        first.refine(second)
    with pytest.raises(ShapeError, match="masks of shape"):
        first.compare(first.union())


def test_the_summary_has_a_row_per_layer():
    network = toy_network()
    text = find(network, pwlnet.Gaussian(np.zeros(network.n_inputs), 0.1), method="sampled", n_samples=10).summary()
    assert len(text.splitlines()) == 2 + len(network.op_graph.switching)


@pytest.mark.parametrize("network", [toy_network(), layer(np.zeros((2, 3)))], ids=["every op", "zero rows"])
def test_sets_of_width_zero_have_no_float_neuron(network):
    x = np.random.default_rng(0).normal(size=network.n_inputs)
    exact = pwlnet.Segment(x, x), pwlnet.Polygon(x, x, -x - 1.0, [[0.0, 0.0]])
    sampled = pwlnet.Ball(x, 0.0), pwlnet.Gaussian(x, 0.0), pwlnet.Box(x, x)
    for domain, method in (*((d, "exact") for d in exact), *((d, "sampled") for d in sampled)):
        assert not find(network, domain, method=method).upper.any()


def test_a_network_without_neurons_has_empty_masks():
    graph = Graph((1, 2), batched=True)
    graph.output = graph.linear(graph.input, np.ones((1, 2)), name="only")
    network = lower(graph)
    domains = ((pwlnet.Gaussian(np.zeros(2), 1.0), "sampled"), (pwlnet.Segment(np.zeros(2), np.ones(2)), "exact"))
    for domain, method in (*domains, (pwlnet.Segment(np.zeros(2), np.ones(2)), "pair"), (pwlnet.Box([0, 0], [1, 1]), "ibp")):
        result = find(network, domain, method=method)
        assert result.lower.shape == (0,)
        assert result.pack().lower.shape == (0,)


@pytest.mark.parametrize(("domain", "options", "message"), [
    (pwlnet.Box([0.0], [1.0]), {"method": "guess"}, "method is 'guess'"),
    (pwlnet.Box([0.0], [1.0]), {"method": "sampled", "sigma": 1}, "method 'sampled' was given 'sigma', which it does not have"),
    (pwlnet.Box([0.0], [1.0]), {"method": "sampled", "n_samples": 0}, "n_samples is 0"),
    (pwlnet.Box([0.0], [1.0]), {"method": "sampled", "limits": (1, 0)}, r"limits is \(1, 0\)"),
    (pwlnet.Box([0.0], [1.0]), {"method": "sampled", "delta": 0.1, "alpha": 2.0}, "alpha is 2.0"),
    (pwlnet.Gaussian([0.0], 1.0), {"method": "sampled", "draws": "corners"}, "draws is 'corners', but the domain has none"),
    (pwlnet.Gaussian([0.0], 1.0), {"method": "crown"}, "domain is a Gaussian"),
    (pwlnet.Segment([0.0], [1.0]), {"method": "exact", "seed": 1}, "method 'exact' was given 'seed'"),
    (pwlnet.Box([0.0], [1.0]), {"method": "pair"}, "domain is a Box; method 'pair' takes"),
    (np.ones(3), {"method": "given"}, "domain has shape"),
])  # fmt: skip
def test_what_a_method_does_not_take_is_refused(domain, options, message):
    with pytest.raises((InputError, ShapeError), match=message):
        find(layer([[1.0]]), domain, **options)


def test_results_of_draws_alone_have_confidence_and_witnesses():
    result = find(layer([[1.0]]), pwlnet.Segment([0.0], [1.0]), method="exact")
    for call in (result.confidence, result.with_witnesses):
        with pytest.raises(InputError, match="method 'exact', which draws nothing"):
            call()


def test_float_neurons_of_draws_are_confirmed_in_small_blocks(monkeypatch):
    network, images = digits()
    expected = find(network, pwlnet.Gaussian(images[0], 0.1), method="sampled", n_samples=60)
    monkeypatch.setattr(floats, "_POINTS_AT_ONCE", 1)
    assert np.array_equal(find(network, pwlnet.Gaussian(images[0], 0.1), method="sampled", n_samples=60).lower, expected.lower)
