"""Certified accuracies and radii: by hand, at thresholds, with abstentions, and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pwlnet import smoothing
from pwlnet.errors import InputError, ShapeError
from pwlnet.smoothing.certificates import Certificates
from tests.smoothing.made import make_certificates

LABELS = [0, 1, 2, 3, 9, 5, 6, 7]
# class 4 is wrong at image 4, images 2 and 5 abstain; radii 0.10, 0.11, -, 0.13, 0.14, -, 0.16, 0.17
RIGHT = [0.10, 0.11, 0.13, 0.16, 0.17]


@pytest.fixture
def certificates():
    return make_certificates(8)


@pytest.fixture
def log(tmp_path, certificates):
    smoothing.write_log(tmp_path / "log.tsv", certificates, LABELS, {"guarantee": "sound", "sigma": 0.25})
    return smoothing.read_log(tmp_path / "log.tsv")


def test_the_curve_is_the_one_counted_by_hand(certificates):
    radii = [0.0, 0.10, 0.105, 0.13, 0.17, 0.18]
    expected = [5 / 8, 5 / 8, 4 / 8, 3 / 8, 1 / 8, 0.0]
    assert smoothing.certified_accuracy(certificates, LABELS, radii).tolist() == expected


def test_at_a_threshold_an_image_counts_and_just_above_it_does_not(certificates):
    radius = certificates.radius[3]
    at, above = smoothing.certified_accuracy(certificates, LABELS, [radius, np.nextafter(radius, 1.0)])
    assert (at, above) == (3 / 8, 2 / 8)


def test_the_average_certified_radius_is_the_one_summed_by_hand(certificates):
    assert smoothing.average_certified_radius(certificates, LABELS) == pytest.approx(sum(RIGHT) / 8, rel=1e-15)


def test_abstentions_are_wrong_even_where_the_label_says_so(certificates):
    labels = np.where(certificates.abstained, -1, 0)
    expected = np.count_nonzero(certificates.label == 0) / 8
    assert smoothing.certified_accuracy(certificates, labels, [0.0]) == [expected]


def test_a_constant_classifier_has_its_class_share_times_its_radius():
    n, alpha, sigma = 1000, 0.001, 0.5
    p_low = alpha ** (1 / n)
    radius = sigma * stats.norm.ppf(p_low)
    labels = np.arange(50) % 10
    constant = Certificates([3] * 50, radius, p_low, n, n, alpha, "sound", np.nan, 0, sigma)
    assert radius / sigma == pytest.approx(2.463, abs=5e-4)
    assert smoothing.average_certified_radius(constant, labels) == pytest.approx(0.1 * radius, rel=1e-14)
    assert smoothing.certified_accuracy(constant, labels, [0.0, radius, radius * 1.001]) == pytest.approx([0.1, 0.1, 0.0])
    votes = smoothing.summarize_votes(constant, labels, levels=[0.0, 1.0])
    assert votes.p_low.tolist() == [p_low] * 2 and votes.unanimous == 1.0 and votes.easiest_share == 1.0


def test_sound_radii_of_nominal_certificates_are_used_on_request():
    nominal = make_certificates(8, guarantee="nominal")
    at_nominal, at_sound = (smoothing.certified_accuracy(nominal, LABELS, [0.05, 0.1], sound=s) for s in (False, True))
    assert at_nominal.tolist() == [5 / 8, 5 / 8] and at_sound.tolist() == [5 / 8, 0.0]
    assert smoothing.average_certified_radius(nominal, LABELS, sound=True) == pytest.approx(5 / 8 * 0.05)
    assert smoothing.estimate_acr(nominal, LABELS).guarantee == "nominal"


def test_a_log_has_the_numbers_of_its_certificates(certificates, log):
    radii = [0.0, *certificates.radius]
    expected = smoothing.certified_accuracy(certificates, LABELS, radii)
    assert smoothing.certified_accuracy(log, radii=radii).tolist() == expected.tolist()
    assert smoothing.average_certified_radius(log) == smoothing.average_certified_radius(certificates, LABELS)
    curve, acr = smoothing.accuracy_curve(log, radii=radii[:2]), smoothing.estimate_acr(log, n_resamples=50)
    assert (curve.n, curve.stride, curve.guarantee) == (8, 20, "sound")
    assert (acr.n, acr.stride, acr.guarantee) == (8, 20, "sound")


def test_intervals_contain_the_estimates_and_shrink_with_the_images():
    few, many = make_certificates(9), make_certificates(90, radius=np.where(np.arange(90) % 3 == 2, 0.0, 0.2))
    widths = []
    for certificates in (few, many):
        labels = np.arange(len(certificates)) % 10
        curve = smoothing.accuracy_curve(certificates, labels, [0.0, 0.15])
        assert (curve.low <= curve.accuracy).all() and (curve.accuracy <= curve.high).all()
        widths.append(curve.high[0] - curve.low[0])
        acr = smoothing.estimate_acr(certificates, labels, n_resamples=500)
        assert acr.low < acr.value < acr.high
    assert widths[1] < 0.5 * widths[0]


def test_an_accuracy_of_zero_or_one_has_an_interval_all_the_same():
    certificates = make_certificates(2, label=[1, 1], radius=0.2, p_low=0.98)
    curve = smoothing.accuracy_curve(certificates, [1, 1], [0.0, 0.3])
    assert curve.accuracy.tolist() == [1.0, 0.0]
    assert curve.low == pytest.approx([0.025**0.5, 0.0]) and curve.high == pytest.approx([1.0, 1 - 0.025**0.5])


def test_paired_differences_are_narrower_than_separate_intervals(certificates):
    n = 60
    rng = np.random.default_rng(0)
    radius = np.where(rng.random(n) < 0.3, 0.0, rng.uniform(0.05, 0.4, n))
    common = {"label": np.where(radius > 0, 1, -1), "p_low": 0.99, "image": np.arange(n), "seconds": 0.0, "r_region": np.nan}
    plain = make_certificates(n, radius=radius, **common)
    larger = make_certificates(n, radius=np.where(radius > 0, radius + 0.05, 0.0), guarantee="nominal", **common)
    labels = np.ones(n, int)
    compared = smoothing.compare_certificates(larger, plain, labels, [0.0, 0.2], n_resamples=500)
    assert compared.acr.value == pytest.approx(0.05 * np.mean(radius > 0))
    assert compared.acr.guarantee == compared.accuracy.guarantee == "nominal - sound"
    separate = smoothing.estimate_acr(plain, labels, n_resamples=500)
    assert compared.acr.high - compared.acr.low < 0.5 * (separate.high - separate.low)
    expected = [smoothing.certified_accuracy(c, labels, [0.0, 0.2]) for c in (larger, plain)]
    assert compared.accuracy.accuracy == pytest.approx(expected[0] - expected[1])
    assert compared.accuracy.low[0] == compared.accuracy.high[0] == 0.0
    assert compared.accuracy.low[1] < compared.accuracy.accuracy[1] < compared.accuracy.high[1]


def test_equal_certifications_do_not_differ(certificates, log):
    for first, second, labels, stride in [
        (certificates, certificates, LABELS, None),
        (log, log, None, 20),
        (log, certificates, LABELS, 20),
        (certificates, log, LABELS, 20),
    ]:
        compared = smoothing.compare_certificates(first, second, labels, [0.0, 0.1])
        assert (compared.acr.value, compared.acr.low, compared.acr.high) == (0.0, 0.0, 0.0)
        assert compared.accuracy.accuracy.tolist() == [0.0, 0.0]
        assert compared.acr.stride == compared.accuracy.stride == stride


def test_the_distribution_of_votes_is_that_of_its_images(certificates):
    votes = smoothing.summarize_votes(certificates, LABELS, levels=[0.0, 0.5, 1.0])
    assert votes.p_low.tolist() == [0.4, 0.98, 0.98] and votes.p_votes.tolist() == [0.99] * 3
    assert (votes.abstained, votes.unanimous, votes.n) == (2 / 8, 0.0, 8)
    assert votes.easiest_share == pytest.approx(0.17 / sum(RIGHT))
    assert np.isnan(smoothing.summarize_votes(certificates).easiest_share)
    assert np.isnan(smoothing.summarize_votes(certificates, [50] * 8).easiest_share)


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.booleans()), min_size=1, max_size=20))
def test_the_area_under_the_curve_is_the_average_certified_radius(rows):
    radius, right = (np.array(column) for column in zip(*rows, strict=True))
    n = len(radius)
    label = np.where(radius > 0.0, 1, -1)
    found = make_certificates(n, label=label, radius=radius, p_low=0.98, r_region=np.nan)
    labels = np.where(right, 1, 2)
    ends = np.unique(np.concatenate([[0.0], radius]))
    heights = smoothing.certified_accuracy(found, labels, ends)
    assert (np.diff(heights) <= 0.0).all()
    area = np.sum(np.diff(ends) * heights[1:])  # the height at a radius is that of the step before it
    assert area == pytest.approx(smoothing.average_certified_radius(found, labels), abs=1e-12)


def test_wrong_arguments_are_named(certificates, log):
    accuracy = smoothing.certified_accuracy
    with pytest.raises(InputError, match="labels is None"):
        accuracy(certificates)
    with pytest.raises(InputError, match="labels are given for a log"):
        accuracy(log, LABELS)
    with pytest.raises(ShapeError, match=r"labels has shape \(2,\)"):
        accuracy(certificates, [1, 2])
    with pytest.raises(InputError, match="a radius is"):
        accuracy(certificates, LABELS, [-0.1])
    with pytest.raises(InputError, match="a radius is nan"):
        accuracy(certificates, LABELS, [np.nan])
    with pytest.raises(ShapeError, match="radii has shape"):
        accuracy(certificates, LABELS, [[0.1]])
    with pytest.raises(InputError, match="of no images"):
        accuracy(certificates[:0], [], [0.1])
    with pytest.raises(InputError, match="certificates is a list"):
        accuracy([1.0], [1])
    with pytest.raises(InputError, match="certificates is a CertificationLog"):
        smoothing.summarize_votes(log)
    with pytest.raises(InputError, match="of no images"):
        smoothing.summarize_votes(certificates[:0])
    with pytest.raises(InputError, match="levels are"):
        smoothing.summarize_votes(certificates, levels=[1.5])
    with pytest.raises(ShapeError, match="first has 8 images, but second has 7"):
        smoothing.compare_certificates(certificates, log.__class__(*(getattr(log, f)[:7] for f in
            ("idx", "label", "predict", "radius", "correct", "seconds")), 20), LABELS)  # fmt: skip
    with pytest.raises(InputError, match="row 0 is of image 0 in first, but of image 140 in second"):
        smoothing.compare_certificates(certificates, certificates[::-1], LABELS)
    with pytest.raises(InputError, match="different true labels"):
        smoothing.compare_certificates(log, certificates, LABELS[::-1])


def test_sound_radii_of_a_nominal_log_are_refused(tmp_path):
    nominal = make_certificates(8, guarantee="nominal")
    smoothing.write_log(tmp_path / "n.tsv", nominal, LABELS, {"guarantee": "nominal"})
    with pytest.raises(InputError, match="a log has no radii of regions"):
        smoothing.certified_accuracy(smoothing.read_log(tmp_path / "n.tsv"), sound=True)
