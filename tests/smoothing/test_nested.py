"""Nested votes: against inner and outer probabilities in closed form."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from pwlnet.errors import InputError
from pwlnet.smoothing import SmoothedClassifier, repress_float_paths
from pwlnet.smoothing.nested_plan import least_hits
from pwlnet.smoothing.noise import ESTIMATE, Query
from tests.counts import few

from . import small_classifiers as small

T = 0.01  # of the network with two neurons
N = few(400, 40, quick=200)


def test_inner_votes_compare_with_one_reference_each():
    """With a reference z1 < 0 and eta = -1, none is on and fixed: class 0 always. With z1 > t, class 1 where z > 0.95 t."""
    rule = repress_float_paths(small.as_network(small.two_neurons(T), 1), -1.0, reference="nested", m=50, dtype="float64")
    query = Query(np.array([0.2]), 1.0, 0, ESTIMATE, 0, 0, 60)
    outer, inner = query.points()[:, 0], rule.inner_votes(query)
    assert inner.shape == (60, 50) and (inner[outer < 0] == 0).all()
    share = inner[outer > T].mean()
    assert abs(share - norm.cdf(0.2 - 0.95 * T)) < 0.1
    np.testing.assert_array_equal(inner[20:40], rule.inner_votes(query._replace(first=20, last=40)))
    assert set(rule.classes(query)[outer < 0]) == {0} and set(rule.classes(query)[outer > 2 * T]) <= {0, 1}


def test_least_hits_are_those_of_the_binomial_tail():
    for m, p, beta in ((100, 0.9, 0.2), (20, 0.5, 0.01), (5, 0.99, 0.001)):
        k = least_hits(m, p, beta)
        assert k == m + 1 or binom.sf(k - 1, m, p) <= beta
        assert binom.sf(k - 2, m, p) > beta


@pytest.mark.parametrize("gamma", [0.0, 0.05])
def test_certified_radii_stay_below_those_of_exact_probabilities(gamma):
    """q_R is in closed form: for reference patterns (off, on), p is Pr[z > 0.95 t] for class 1, or 0."""
    network = small.as_network(small.two_neurons(T), 1)
    rule = repress_float_paths(network, -1.0, reference="nested", m=100, gamma=gamma)
    for x, label in ((-0.01, 0), (1.5, 1), (-1.5, 0)):
        found = SmoothedClassifier(rule, 1.0).certify(np.array([x]), n=N, n0=20)
        assert found.method == "nested" and found.guarantee == "sound" and found.label in (label, -1)
        grid = np.linspace(0.0, 2.5, 251)
        p_off, p_on = (float(label == 0), norm.cdf((x - 0.95 * T) * (1 if label else -1)))
        q = norm.cdf(-x) * (p_off > norm.cdf(grid)) + norm.cdf(x) * (p_on > norm.cdf(grid))
        assert found.radius <= grid[q > norm.cdf(grid)].max(initial=0.0) + 0.02
        assert found.radius > 0.5 or label == 1 or x == -0.01
    assert found.radius < 3.0


def test_the_counterexample_gets_no_radius_that_reaches_another_class():
    network = small.as_network(small.two_neurons(), 1)
    smoothed = SmoothedClassifier(repress_float_paths(network, -0.1, reference="nested", m=50), 1.0)
    assert smoothed.certify(np.array([-0.01]), n=N).radius < 0.51


def test_inner_draws_cost_the_certificate_of_deployed_majorities():
    network = small.as_network(small.two_neurons(), 1)
    radii = []
    for gamma in (0.0, 0.05, 0.4):
        rule = repress_float_paths(network, -0.1, reference="nested", m=100, gamma=gamma)
        radii.append(SmoothedClassifier(rule, 1.0).certify(np.array([-2.0]), n=N, n0=20).radius)
    assert radii[0] > radii[1] > 0.0
    few_votes = repress_float_paths(network, -0.1, reference="nested", m=2, gamma=0.05)
    assert SmoothedClassifier(few_votes, 1.0).certify(np.array([-2.0]), n=N).label == -1


def test_gradients_are_those_of_inner_scores():
    torch = pytest.importorskip("torch")
    network = small.as_network(small.random_mlp(0, (2, 6, 5, 3)), 2)
    rule = repress_float_paths(network, -0.5, reference="nested", m=1, dtype="float64")
    query = Query(np.array([0.3, -0.2]), 1.0, 0, ESTIMATE, 0, 0, 30)
    scores = rule.torch_scores(torch.from_numpy(query.points()), query).detach().numpy()
    np.testing.assert_array_equal(scores.argmax(axis=1), rule.inner_votes(query)[:, 0])


def test_bad_numbers_are_refused():
    network = small.as_network(small.two_neurons(), 1)
    for options in ({"beta": 1.0}, {"gamma": 0.5}, {"m": 0}, {"inner_sigma": 0.0}):
        with pytest.raises(InputError):
            repress_float_paths(network, -0.5, reference="nested", **options)
