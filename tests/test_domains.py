"""Domains: what they hold, what they refuse, and that balls of the maximum norm are boxes rounded outward."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pwlnet
from pwlnet.domains import ball_rows, box_rows, is_single
from pwlnet.errors import InputError, ShapeError

DOMAINS = (
    pwlnet.Segment([0.0, 1.0], [1.0, 2.0]),
    pwlnet.Polygon([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    pwlnet.Box([0.0, 1.0], [0.0, 2.0]),
    pwlnet.Ball([[0.0, 1.0], [1.0, 1.0]], [0.5, 0.0], np.inf),
)


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda d: type(d).__name__)
def test_domains_are_immutable_and_survive_pickling(domain):
    copy = pickle.loads(pickle.dumps(domain))
    for name in domain.__slots__:
        assert np.array_equal(getattr(copy, name), getattr(domain, name))
        value = getattr(domain, name)
        assert np.ndim(value) == 0 or not value.flags.writeable
    with pytest.raises(AttributeError, match="is immutable"):
        setattr(domain, domain.__slots__[0], 0.0)
    assert type(domain).__name__ in repr(domain)


def test_an_array_of_the_caller_is_copied():
    lower = np.zeros(2)
    box = pwlnet.Box(lower, np.ones(2))
    lower[0] = 5.0
    assert box.lower[0] == 0.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pwlnet.Box([0.0, 3.0], [1.0, 2.0]), InputError, "lower is above upper at 1 entries, the first is 1: 3 > 2"),
        (lambda: pwlnet.Box([[0.0], [3.0]], [[1.0], [2.0]]), InputError, r"the first is \(1, 0\): 3 > 2"),
        (lambda: pwlnet.Box([0.0], [np.inf]), InputError, "upper has 1 NaN or infinite entries"),
        (lambda: pwlnet.Box([0.0], [0.0, 1.0]), ShapeError, r"lower has shape \(1,\) and upper \(2,\)"),
        (lambda: pwlnet.Box(["a"], ["b"]), InputError, "an array of real numbers is needed"),
        (lambda: pwlnet.Box([[0.0], [1.0, 2.0]], [0.0]), InputError, "lower has rows of different lengths"),
        (lambda: pwlnet.Ball([0.0, np.nan], 1.0), InputError, "center has 1 NaN"),
        (lambda: pwlnet.Ball([0.0], -1.0), InputError, "radius is -1; a finite number of at least 0 is needed"),
        (lambda: pwlnet.Ball([0.0], np.inf), InputError, "radius has 1 NaN or infinite entries"),
        (lambda: pwlnet.Ball([0.0], 1.0, 3), InputError, "norm is 3; the choices are 1, 2 and numpy.inf"),
        (lambda: pwlnet.Ball([0.0], 1.0, True), InputError, "norm is True"),
        (lambda: pwlnet.Ball(np.zeros((2, 3)), [1.0, 1.0, 1.0]), ShapeError, r"radius has shape \(3,\), center \(2, 3\)"),
        (lambda: pwlnet.Segment([0.0], [0.0, 1.0]), ShapeError, r"start has shape \(1,\) and end \(2,\)"),
        (lambda: pwlnet.Segment(0.0, 1.0), InputError, "start is 0.0; an array of real numbers is needed"),
        (
            lambda: pwlnet.Polygon([0.0], [1.0], [1.0, 0.0], [[0.0, 0.0]]),
            ShapeError,
            r"e2 \(2,\); give three arrays of one shape",
        ),
        (lambda: pwlnet.Polygon([0.0], [1.0], [1.0], [0.0, 0.0]), ShapeError, r"vertices has shape \(2,\)"),
    ],
)
def test_sets_that_do_not_exist_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, 4, elements=st.floats(-1e9, 1e9)), st.floats(0.0, 1e9))
def test_a_box_around_points_contains_the_exact_ball(points, epsilon):
    box = pwlnet.Box.around(points, epsilon)
    for x, low, high in zip(points.tolist(), box.lower.tolist(), box.upper.tolist(), strict=True):
        assert Fraction(low) <= Fraction(x) - Fraction(epsilon)
        assert Fraction(high) >= Fraction(x) + Fraction(epsilon)


def test_a_box_around_points_is_cut_at_the_limits_and_a_point_stays_a_point():
    box = pwlnet.Box.around([0.0, 1.0, 0.5], 0.25, limits=(0.0, 1.0))
    assert box.lower[0] == 0.0
    assert box.upper[1] == 1.0
    point = pwlnet.Box.around([0.3, 0.7], 0.0)
    assert (point.lower == point.upper).all()
    with pytest.raises(InputError, match="lower is above upper"):
        pwlnet.Box.around([3.0], 0.5, limits=(0.0, 1.0))
    with pytest.raises(InputError, match="epsilon is -1"):
        pwlnet.Box.around([3.0], -1)


def test_rows_take_the_shape_of_the_inputs_and_refuse_others():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    image = np.zeros(network.input_shape)
    for points, single in ((image, True), (image.ravel(), True), (image[None], False), (np.zeros((3, 64)), False)):
        assert box_rows(network, pwlnet.Box(points, points))[0].shape == (1 if single else len(points), 64)
        assert is_single(network, pwlnet.Box(points, points)) == single
        assert is_single(network, pwlnet.Ball(points, 1.0)) == single
    _, radii = ball_rows(network, pwlnet.Ball(np.zeros((3, 64)), 0.5))
    assert radii.tolist() == [0.5] * 3
    with pytest.raises(ShapeError, match="lower has shape"):
        box_rows(network, pwlnet.Box(np.zeros(5), np.zeros(5)))
    with pytest.raises(ShapeError, match="radius has 64 entries, but there are 1 centers"):
        ball_rows(network, pwlnet.Ball(np.zeros(64), np.zeros(64)))
