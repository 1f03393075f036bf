"""Certificates: what they guarantee is said, arrays and single ones agree, impossible ones are refused."""

import itertools

import numpy as np
import pytest

from pwlnet.errors import InputError, ShapeError
from pwlnet.smoothing.certificates import COLUMNS, GUARANTEES, METHODS, Certificate, Certificates
from tests.smoothing.made import make_certificates, one

NAN = float("nan")


def same(first, second):
    """Whether all columns are equal bit for bit, NaN too."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in COLUMNS)
    return first.guarantee == second.guarantee and all(
        a.dtype.kind == b.dtype.kind and np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs
    )


def test_a_list_of_certificates_comes_back_by_indexing():
    rows = [one(label=3, radius=0.2, image=7), one(label=-1, radius=0.0, p_low=0.4, method="sequential", seconds=1.5)]
    joined = Certificates.from_list(rows)
    assert len(joined) == 2
    for index, row in enumerate(rows):
        back = joined[index]
        for name in COLUMNS:
            expected, actual = getattr(row, name), getattr(back, name)
            assert type(actual) is type(expected)
            assert actual == expected or (expected != expected and actual != actual)
    assert joined[-1].method == "sequential"
    with pytest.raises(IndexError):
        joined[2]
    assert [row.label for row in joined] == [3, -1]


def test_slices_masks_and_concatenation_are_those_of_the_list():
    certificates = make_certificates(9)
    parts = [certificates[a:b] for a, b in itertools.pairwise([0, 2, 2, 9])]
    assert same(Certificates.concatenate(parts), certificates)
    assert same(certificates[certificates.abstained], Certificates.from_list([c for c in certificates if c.abstained]))
    assert same(certificates[[4, 0]], Certificates.from_list([certificates[4], certificates[0]]))


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_no_certificates_are_a_sequence_too(guarantee):
    for none in (Certificates.from_list([], guarantee), Certificates.concatenate([], guarantee), make_certificates(3)[:0]):
        assert len(none) == 0 and list(none) == [] and none.sound_radius.shape == (0,)
        assert "0 images" in repr(none)
    assert Certificates.from_list([], guarantee).guarantee == guarantee


def test_the_sound_radius_of_a_nominal_one_is_within_its_region_and_never_nan():
    radius, r_region = [0.3, 0.3, 0.3, 0.0], [0.1, 0.5, NAN, 0.2]
    common = {"label": [1, 1, 1, -1], "radius": radius, "p_low": 0.99, "r_region": r_region}
    assert make_certificates(4, guarantee="nominal", **common).sound_radius.tolist() == [0.1, 0.3, 0.0, 0.0]
    for guarantee in ("sound", "conditional"):
        certificates = make_certificates(4, guarantee=guarantee, **common)
        assert certificates.sound_radius.tolist() == radius
        assert [c.sound_radius for c in certificates] == radius


def test_an_abstention_is_never_correct():
    certificates = make_certificates(3, label=[2, -1, 2], radius=[0.1, 0.0, 0.1], p_low=[0.9, 0.4, 0.9])
    assert certificates.correct([2, -1, 1]).tolist() == [True, False, False]
    assert [c.correct(label) for c, label in zip(certificates, [2, -1, 1], strict=True)] == [True, False, False]
    with pytest.raises(ShapeError, match="labels has shape"):
        certificates.correct([2, 2])


def test_the_repr_says_what_is_guaranteed():
    assert "with confidence 0.999, no input within the radius is classified differently" in repr(one())
    assert "only if every query is evaluated with the stored pattern" in repr(one(guarantee="conditional"))
    nominal = repr(one(guarantee="nominal", r_region=0.01))
    assert "not a certificate" in nominal and "sound_radius 0.01" in nominal and "confidence" not in nominal
    assert "abstained" in repr(one(label=-1, radius=0.0, p_low=0.4))
    many = repr(make_certificates(9, guarantee="nominal"))
    assert "9 images, 3 abstained" in many and "not a certificate" in many


def test_arrays_can_not_be_changed():
    certificates = make_certificates(3)
    with pytest.raises(ValueError, match="read-only"):
        certificates.radius[0] = 9.0
    with pytest.raises(AttributeError):
        certificates.radius = np.ones(3)


@pytest.mark.parametrize(("change", "message"), [
    ({"radius": 0.0}, r"radius\[0\] is 0.0, which is 0 without abstention"),
    ({"label": -1}, r"radius\[0\] is 0.2, which is 0 without abstention, or positive with it"),
    ({"radius": 0.6}, "larger than sigma times the normal quantile of p_low"),
    ({"p_low": 0.5}, "larger than sigma times"),
    ({"p_low": 0.2}, "larger than sigma times"),
    ({"p_low": NAN}, r"p_low\[0\] is nan, which is not in \[0, 1\]"),
    ({"p_low": 1.1}, r"not in \[0, 1\]"),
    ({"radius": NAN}, "not a finite number"),
    ({"radius": np.inf, "p_low": 1.0}, "not a finite number"),
    ({"radius": -0.1}, "not a finite number of at least 0"),
    ({"k": 1001}, r"k\[0\] is 1001, which is not in 0 to n"),
    ({"alpha": 0.0}, r"not in \(0, 1\)"),
    ({"sigma": 0.0}, "not a positive number"),
    ({"sigma": np.inf}, "not a positive number"),
    ({"candidate": 4}, "neither the candidate nor -1"),
    ({"candidate": -2}, "not a class or -1"),
    ({"r_region": -0.1}, "negative"),
    ({"n0": -1}, "negative"),
    ({"method": "guessed"}, "none of clopper_pearson"),
    ({"guarantee": "certain"}, "the choices are 'sound', 'conditional', 'nominal'"),
    ({"k": 990.5}, "k can't be converted to integers"),
    ({"seed": 2**63}, "too large"),
    ({"label": "a"}, "label can't be converted"),
])  # fmt: skip
def test_certificates_that_no_procedure_gives_are_refused(change, message):
    assert len(Certificates.from_list([one()])) == 1
    with pytest.raises(InputError, match=message):
        Certificates.from_list([one(**change)])


def test_a_radius_may_differ_from_its_quantile_by_rounding_only():
    from scipy.special import ndtri

    exact = 0.25 * float(ndtri(0.99))
    assert len(Certificates.from_list([one(p_low=0.99, radius=exact * (1 + 1e-12))])) == 1
    with pytest.raises(InputError, match="larger than sigma"):
        Certificates.from_list([one(p_low=0.99, radius=exact * (1 + 1e-7))])


def test_different_guarantees_are_not_joined():
    both = [one(), one(guarantee="nominal")]
    with pytest.raises(InputError, match="guarantees nominal, sound; join those of one at a time"):
        Certificates.from_list(both)
    with pytest.raises(InputError, match="guarantees nominal, sound"):
        Certificates.concatenate([Certificates.from_list([c]) for c in both])


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ShapeError, match=r"radius has shape \(2,\), but label has 3 entries"):
        make_certificates(3, radius=[0.1, 0.1])
    with pytest.raises(ShapeError, match="one class per image"):
        make_certificates(1, label=3)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_kept(method):
    assert Certificates.from_list([one(method=method)])[0].method == method
    assert isinstance(Certificates.from_list([one(method=method)])[0], Certificate)
