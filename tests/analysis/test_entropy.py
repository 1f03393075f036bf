"""Entropies of states and similarities of patterns: closed forms, NumPy on unpacked states, bounded memory, bad input."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError, ShapeError
from pwlnet.float_sets import pool_neurons
from tests.counts import few
from tests.drawn import draw

SEEDS = range(few(60, 3, quick=14))
MEASURES = ("hamming", "jaccard")


def one_layer(weight, bias, op="relu", **options):
    graph = Graph((len(weight[0]),), batched=False)
    hidden = getattr(graph, op)(graph.linear(graph.input, np.array(weight), np.array(bias), name="first"), **options, name="op")
    graph.output = graph.linear(hidden, np.ones((1, len(weight))), name="last")
    return lower(graph)


def without_neurons():
    graph = Graph((3,), batched=False)
    graph.output = graph.linear(graph.input, np.ones((2, 3)), name="last")
    return lower(graph)


def counted(states, n_states):
    return np.concatenate([np.bincount(states[:, k], minlength=n) for k, n in enumerate(n_states)] + [np.empty(0, np.int64)])


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_and_entropies_are_those_of_unpacked_states(seed):
    _, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=37)
    result = pwlnet.neuron_entropy(network, points, threads=1 + seed % 2)
    states, sizes = network.states(points), np.diff(result.offsets)
    assert np.array_equal(result.counts, counted(states, sizes))
    exact = [stats.entropy(np.bincount(column), base=2) for column in states.T]
    assert np.allclose(result.entropy, exact, rtol=1e-12, atol=1e-12)
    seen = np.array([len(np.unique(column)) for column in states.T])
    assert np.allclose(result.miller_madow - result.entropy, (seen - 1) / (2 * 37 * np.log(2.0)))
    constant = seen == 1
    assert np.array_equal(result.constant_states >= 0, constant)
    assert np.array_equal(result.constant_states[constant], states[0, constant])
    on = constant & ((states[0] == 1) | pool_neurons(network))
    assert np.array_equal(result.always_on, on)
    assert np.array_equal(result.always_off, constant & ~on)
    assert sum(layer.n_constant for layer in result.by_layer()) == constant.sum()


def test_a_neuron_with_shares_one_and_three_quarters_has_its_closed_form_entropy():
    network = one_layer([[1.0], [1.0], [-1.0]], [0.0, 10.0, -10.0])
    result = pwlnet.neuron_entropy(network, np.array([[1.0], [-1.0], [-2.0], [-3.0]]))
    assert np.allclose(result.entropy, [2.0 - 0.75 * np.log2(3.0), 0.0, 0.0])
    assert result.always_on.tolist() == [False, True, False]
    assert result.always_off.tolist() == [False, False, True]
    (layer,) = result.by_layer()
    assert (layer.n_always_off, layer.n_always_on, layer.n_constant) == (1, 1, 2)
    assert np.isclose(result.standard_error[0], np.log2(3.0) * np.sqrt(0.25 * 0.75 / 4.0))


def test_clip_and_max_pool_use_all_of_their_states():
    clip = one_layer([[1.0]], [0.0], "clip", lower=-1.0, upper=1.0)
    assert np.allclose(pwlnet.neuron_entropy(clip, np.array([[-2.0], [0.0], [2.0]])).entropy, np.log2(3.0))
    graph = Graph((1, 2, 2), batched=False)
    graph.output = graph.max_pool(graph.input, 2, name="pool")
    pool = pwlnet.neuron_entropy(lower(graph), np.eye(4))
    assert pool.entropy.tolist() == [2.0]
    assert not pwlnet.neuron_entropy(lower(graph), np.eye(4)[:1]).always_off.any()


def test_gaussian_noise_has_the_entropy_of_the_normal_distribution_and_any_batches(monkeypatch):
    network, noise = one_layer([[3.0, 4.0]], [2.0]), ("gaussian", np.zeros(2), 0.5)
    p = stats.norm.cdf(2.0 / 2.5)
    result = pwlnet.neuron_entropy(network, noise, n=20000, rng=np.random.default_rng(0))
    assert abs(result.entropy[0] - stats.entropy([p, 1.0 - p], base=2)) < 4.0 * result.standard_error[0]
    assert result.n_samples == 20000
    error = result.bootstrap_error(rng=np.random.default_rng(1), n_resamples=400)
    assert np.isclose(error[0], result.standard_error[0], rtol=0.2)
    from pwlnet.analysis import entropy

    monkeypatch.setattr(entropy, "_STATES_AT_ONCE", 777)
    again = pwlnet.neuron_entropy(network, noise, n=20000, rng=np.random.default_rng(0))
    assert np.array_equal(again.counts, result.counts)


def test_millers_correction_reduces_the_bias():
    network, rng = one_layer([[1.0]], [0.0], "clip", lower=-0.5, upper=0.5), np.random.default_rng(0)
    shares = np.diff([0.0, *stats.norm.cdf([-0.5, 0.5]), 1.0])
    noise = ("gaussian", np.zeros(1), 1.0)
    results = [pwlnet.neuron_entropy(network, noise, n=12, rng=rng) for _ in range(200)]
    biases = [abs(np.mean([getattr(r, name)[0] for r in results]) - stats.entropy(shares, base=2))
              for name in ("entropy", "miller_madow")]  # fmt: skip
    assert biases[1] < 0.3 * biases[0]


def test_a_function_that_draws_is_called_for_n_points_in_all():
    network, sizes = one_layer([[1.0, 1.0]], [0.0]), []

    def draw_points(n, rng):
        sizes.append(n)
        return rng.random((n, 2)) - 0.5

    result = pwlnet.neuron_entropy(network, draw_points, n=9000, rng=np.random.default_rng(0))
    assert sum(sizes) == result.n_samples == 9000
    assert max(sizes) <= 4096


def test_data_are_read_in_slices():
    class Slices:
        shape = (10000, 2)

        def __getitem__(self, rows):
            sizes.append(rows.stop - rows.start)
            return np.ones((min(rows.stop, 10000) - rows.start, 2))

    sizes = []
    assert pwlnet.neuron_entropy(one_layer([[1.0, 1.0]], [0.0]), Slices()).n_samples == 10000
    assert max(sizes) <= 4096


def active_pieces(network, states):
    """For each point the set of active pieces."""
    pools = pool_neurons(network)
    return [{(k, int(s)) for k, s in enumerate(row) if s == 1 or pools[k]} for row in states]


def share(first, second):
    return len(first & second) / len(first | second) if first | second else 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_similarities_are_those_of_unpacked_states(seed):
    _, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=9)
    states, X, Y = network.states(points), points[:5], points[5:]
    equal = (states[:5, None] == states[None, 5:]).mean(axis=2) if network.n_neurons else np.ones((5, 4))
    assert np.allclose(pwlnet.pattern_similarity(network, X, Y), equal)
    pieces = active_pieces(network, states)
    jaccard = [[share(a, b) for b in pieces[5:]] for a in pieces[:5]]
    assert np.allclose(pwlnet.pattern_similarity(network, X, Y, measure="jaccard"), jaccard)
    starts = network.op_graph.neuron_starts.tolist()
    for measure in MEASURES:
        layers = pwlnet.pattern_similarity(network, X, Y, measure=measure, by_layer=True)
        assert layers.shape == (len(starts) - 1, 5, 4)
        for layer, (first, last) in enumerate(pairwise(starts)):
            own = states[:, first:last]
            sets = [{(k, s) for k, s in piece if first <= k < last} for piece in pieces]
            expected = (own[:5, None] == own[None, 5:]).mean(axis=2) if measure == "hamming" else [
                [share(a, b) for b in sets[5:]] for a in sets[:5]]  # fmt: skip
            assert np.allclose(layers[layer], expected)


def test_wide_pools_have_fields_of_more_bits():
    graph, rng = Graph((3, 8, 8), batched=False), np.random.default_rng(0)
    flat = [graph.reshape(graph.max_pool(graph.input, k, name=f"pool{k}"), (-1,), name=f"flat{k}") for k in (2, 4, 8)]
    graph.output = graph.concat(flat, 0, name="all")
    network, X = lower(graph), rng.random((6, 192))
    states = network.states(X)
    equal = states[:, None] == states[None]
    assert np.allclose(pwlnet.pattern_similarity(network, X), equal.mean(axis=2))
    both = equal.sum(axis=2)
    assert np.allclose(pwlnet.pattern_similarity(network, X, measure="jaccard"), both / (2 * network.n_neurons - both))


@pytest.mark.parametrize("measure", MEASURES)
def test_blocks_and_threads_do_not_matter_and_a_result_may_be_a_memory_map(measure, monkeypatch, tmp_path):
    from pwlnet.analysis import similarity

    _, network, points = draw(2, n_points=150)
    expected = pwlnet.pattern_similarity(network, points, measure=measure, threads=1)
    assert np.array_equal(expected, expected.T)
    assert (expected.diagonal() == 1.0).all()
    monkeypatch.setattr(similarity, "_BYTES_PER_CALL", 8 * 150 * 7)
    out = np.memmap(tmp_path / "similarity", np.float64, "w+", shape=(150, 150))
    assert pwlnet.pattern_similarity(network, points, measure=measure, out=out, threads=2) is out
    assert np.array_equal(out, expected)


def test_networks_are_compared_layer_by_layer_with_intervals():
    rng, X = np.random.default_rng(0), np.random.default_rng(1).standard_normal((60, 4))
    weight = rng.standard_normal((50, 4))
    first, second = one_layer(weight, np.zeros(50)), one_layer(weight + 0.5 * rng.standard_normal((50, 4)), np.zeros(50))
    result = pwlnet.network_similarity(first, second, X)
    expected = (first.states(X) == second.states(X)).mean(axis=1)
    assert result.layers == ("op",)
    assert np.allclose(result.per_input[0], expected)
    assert np.isclose(result.mean[0], expected.mean())
    assert result.low[0] < result.mean[0] < result.high[0]
    spread = expected.std() / np.sqrt(60)
    assert 2.0 * spread < result.high[0] - result.low[0] < 6.0 * spread
    assert pwlnet.network_similarity(first, first, X, measure="jaccard").mean.tolist() == [1.0]


def test_networks_without_neurons_have_no_entropy_and_are_alike():
    network, X = without_neurons(), np.zeros((4, 3))
    result = pwlnet.neuron_entropy(network, X)
    assert (result.n_samples, result.entropy.shape, result.by_layer()) == (4, (0,), ())
    assert result.bootstrap_error(rng=np.random.default_rng(0)).shape == (0,)
    for measure in MEASURES:
        assert (pwlnet.pattern_similarity(network, X, measure=measure) == 1.0).all()
        assert pwlnet.pattern_similarity(network, X, measure=measure, by_layer=True).shape == (0, 4, 4)
    assert pwlnet.network_similarity(network, network, X).mean.shape == (0,)


def test_bad_input_is_refused_by_name():
    network, rng = one_layer([[1.0, 1.0]], [0.0]), np.random.default_rng(0)
    noise = ("gaussian", np.zeros(2), 1.0)
    for call, message in (
        (lambda: pwlnet.neuron_entropy(network, noise, rng=rng), "n is None; a positive integer is needed"),
        (lambda: pwlnet.neuron_entropy(network, noise, n=5), "rng is None; a generator is needed"),
        (lambda: pwlnet.neuron_entropy(network, ("gaussian", np.zeros(2), -1.0), n=5, rng=rng), "sigma is -1.0"),
        (lambda: pwlnet.neuron_entropy(network, ("uniform", 1), n=5, rng=rng), "X is "),
        (lambda: pwlnet.neuron_entropy(network, np.zeros((3, 2)), n=5), "n is 5, but X has points"),
        (lambda: pwlnet.neuron_entropy(network, np.zeros((0, 2))), "X has no rows"),
        (lambda: pwlnet.neuron_entropy(network, np.full((3, 2), np.nan)), "X has 3 rows with NaN"),
        (lambda: pwlnet.neuron_entropy(network, lambda n, rng: np.zeros((1, 2)), n=5, rng=rng), "returned 1 points for n = 5"),
        (lambda: pwlnet.pattern_similarity(network, np.zeros((3, 2)), measure="cosine"), "measure is 'cosine'"),
        (lambda: pwlnet.network_similarity(network, network, np.zeros((0, 2))), "X has no rows"),
    ):
        with pytest.raises(InputError, match="^.*" + message.replace("(", r"\(").replace(".", r"\.")):
            call()
    with pytest.raises(ShapeError, match="out has type list"):
        pwlnet.pattern_similarity(network, np.zeros((3, 2)), out=[])
    with pytest.raises(ShapeError, match="out has shape"):
        pwlnet.pattern_similarity(network, np.zeros((3, 2)), out=np.empty((2, 3)))
    with pytest.raises(ShapeError, match="other has 2 inputs and 2 neurons"):
        pwlnet.network_similarity(network, one_layer([[1.0, 1.0]] * 2, [0.0] * 2), np.zeros((1, 2)))
