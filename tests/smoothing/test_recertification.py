"""Certificates of a changed classifier from lost votes."""

import numpy as np
import pytest
from scipy.stats import norm

from pwlnet.errors import InputError
from pwlnet.smoothing import SmoothedClassifier, recertify_smoothed, repress_float_paths

from . import small_classifiers as small


def test_a_moved_halfspace_has_a_radius_below_its_own_distance():
    old, new = (SmoothedClassifier(small.as_network(small.halfspace([1.0], b), 1), 1.0) for b in (0.0, -0.05))
    x = np.array([[1.0], [0.5], [0.02], [-1.0]])
    certificates = old.certify(x, n=4000)
    results = recertify_smoothed(old, new, certificates, x, m=2000)
    assert {str(each.method) for each in results} == {"recertified"}
    distance = np.abs(x[:, 0] - 0.05)
    assert (results.radius <= distance).all() and results.radius[0] > 0.7 * distance[0]
    assert results.label.tolist()[:2] == [1, 1] and results.radius[2] == 0.0
    lost = 2000 * (norm.cdf(1.0) - norm.cdf(0.95))
    assert results.p_low[0] == pytest.approx(certificates.p_low[0] - lost / 2000, abs=0.02)


def test_the_same_classifier_loses_no_votes_and_a_sweep_has_the_guarantee_of_its_classifier():
    network = small.as_network(small.random_mlp(5), 4)
    x = np.random.default_rng(0).random((3, 4))
    old = SmoothedClassifier(network, 0.5)
    certificates = old.certify(x, n=2000)
    same = recertify_smoothed(old, old, certificates, x, m=2000)
    swept = recertify_smoothed(old, SmoothedClassifier(repress_float_paths(network, -0.1, reference="clean"), 0.5),
                               certificates, x, m=2000)  # fmt: skip
    assert (same.p_low < certificates.p_low).all() and (same.p_low > certificates.p_low - 0.02).all()
    assert swept.guarantee == "nominal" and (swept.p_low <= same.p_low).all()


def test_certificates_that_do_not_fit_are_refused():
    network = small.as_network(small.random_mlp(5), 4)
    old, x = SmoothedClassifier(network, 0.5), np.zeros((1, 4))
    certificates = old.certify(x, n=200)
    with pytest.raises(InputError, match="m is 300"):
        recertify_smoothed(old, old, certificates, x, m=300)
    with pytest.raises(InputError, match="sigma is"):
        recertify_smoothed(old, SmoothedClassifier(network, 1.0), certificates, x, m=100)
    sequential = old.certify(x, n=2000, method="sequential", radius=0.1)
    with pytest.raises(InputError, match="of method 'sequential'"):
        recertify_smoothed(old, old, sequential, x, m=5)
