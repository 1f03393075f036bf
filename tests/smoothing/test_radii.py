"""Radii and probabilities: known ceilings, and the side to which they are rounded, against 60 digits."""

import decimal

import numpy as np
import pytest

from pwlnet.binomial import clopper_pearson
from pwlnet.errors import InputError
from pwlnet.smoothing.radii import probability_for, radius_of
from tests.counts import few
from tests.reference.exact_votes import normal_cdf

EDGES = [0.5 + 2.0**-53, 0.5 + 2.0**-40, 0.6, 0.8646647, 0.8646648, 0.99, 1.0 - 2.0**-30, 1.0 - 2.0**-52, 1.0 - 2.0**-53]


def test_the_reference_agrees_with_tabulated_values():
    assert str(normal_cdf(1.0))[:22] == "0.84134474606854294858"
    assert str(1 - normal_cdf(6.0))[:10] == "9.86587645"


@pytest.mark.parametrize(("n", "ceiling"), [(1000, 2.463), (5000, 2.993), (10_000, 3.199), (100_000, 3.811)])
def test_unanimous_votes_give_the_known_ceiling_of_the_radius(n, ceiling):
    p_low, _ = clopper_pearson(n, n, 0.001, side="lower")
    assert p_low == 0.001 ** (1.0 / n)
    assert round(float(radius_of(p_low, 1.0)), 3) == ceiling
    assert radius_of(p_low, 0.25) == pytest.approx(0.25 * ceiling, abs=0.0002)


def test_a_radius_is_never_above_the_exact_one_and_tight():
    rng = np.random.default_rng(3)
    for p in [*EDGES, *rng.uniform(0.5, 1.0, few(200)), *(1.0 - 10.0 ** -rng.uniform(1, 15, few(200)))]:
        radius = float(radius_of(p, 1.0))
        assert radius >= 0.0
        assert normal_cdf(radius) <= decimal.Decimal(float(p))
        assert normal_cdf(radius * (1.0 + 2.0**-45)) > decimal.Decimal(float(p))


def test_the_product_with_sigma_is_rounded_down():
    rng = np.random.default_rng(4)
    for p, sigma in zip(rng.uniform(0.5, 1.0, 50), rng.uniform(0.05, 3.0, 50), strict=True):
        with decimal.localcontext(prec=60):
            assert normal_cdf(decimal.Decimal(float(radius_of(p, sigma))) / decimal.Decimal(sigma)) <= decimal.Decimal(p)


def test_minorities_abstain():
    assert radius_of([0.0, 0.3, 0.5, np.nextafter(0.5, 1.0)], 2.0)[:3].tolist() == [0.0, 0.0, 0.0]
    assert 8.2 < radius_of(1.0, 1.0) < 8.3


def test_a_radius_grows_with_the_probability():
    p = np.sort(np.concatenate([np.linspace(0.0, 1.0, 1001), EDGES]))
    assert (np.diff(radius_of(p, 0.5)) >= 0.0).all()


def test_a_probability_for_a_radius_is_never_below_the_exact_one_and_tight():
    rng = np.random.default_rng(5)
    for radius, sigma in zip(rng.uniform(0.0, 2.0, few(200)), rng.choice([0.12, 0.25, 0.5, 1.0], few(200)), strict=True):
        with decimal.localcontext(prec=60):
            quotient = min(decimal.Decimal(radius) / decimal.Decimal(sigma), decimal.Decimal(9))
            exact = normal_cdf(quotient)
        p0 = decimal.Decimal(float(probability_for(radius, sigma)))
        assert exact <= p0 or p0 == 1
        assert p0 - exact < decimal.Decimal(2.0**-46)


def test_a_probability_for_a_radius_gives_that_radius_back():
    radii = np.linspace(0.0, 1.9, 200)
    assert (radius_of(probability_for(radii, 0.25), 0.25) >= radii * (1.0 - 2.0**-40)).all()
    assert probability_for(0.0, 1.0) == 0.5
    assert probability_for(9.0, 1.0) == 1.0


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_a_number_that_is_no_probability_is_refused(p):
    with pytest.raises(InputError, match="p_low"):
        radius_of(p, 1.0)


@pytest.mark.parametrize("radius", [-0.1, np.inf, np.nan])
def test_a_number_that_is_no_radius_is_refused(radius):
    with pytest.raises(InputError, match="radius"):
        probability_for(radius, 1.0)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.inf])
def test_a_standard_deviation_must_be_positive(sigma):
    with pytest.raises(InputError, match="sigma"):
        radius_of(0.9, sigma)
    with pytest.raises(InputError, match="sigma"):
        probability_for(0.5, sigma)
