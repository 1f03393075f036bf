"""Certification into a log: complete, resumable, and the same whatever interrupts it."""

import json
from pathlib import Path

import numpy as np
import pytest

from pwlnet.errors import DigestMismatchError, InputError, ShapeError, StoreError
from pwlnet.smoothing import (
    PosteriorMean,
    SmoothedClassifier,
    average_certified_radius,
    certify_to_log,
    denoise_inputs,
    plans,
    read_log,
    repress_float_paths,
)

from . import small_classifiers as small

X = np.random.default_rng(0).normal(size=(7, 4))
LABELS = np.array([0, 1, 2, 0, 1, 2, 0])
OPTIONS = {"n": 200, "n0": 30, "rng": 5}


@pytest.fixture(scope="module")
def smoothed():
    return SmoothedClassifier(small.as_network(small.random_mlp(4), 4), 0.5)


def without_times(path):
    """The lines of a log, without the last column."""
    return [line.rsplit("\t", 1)[0] for line in Path(path).read_text().splitlines()]


def test_a_log_has_the_certificates_of_certify(smoothed, tmp_path):
    numbers = np.arange(100, 128, 4)
    log = certify_to_log(smoothed, X, LABELS, tmp_path / "log.tsv", images=numbers, **OPTIONS)
    expected = smoothed.certify(X, images=numbers, **OPTIONS)
    assert log.idx.tolist() == numbers.tolist() and log.stride == 4 and log.n_missing == 0
    np.testing.assert_array_equal(log.predict, expected.label)
    np.testing.assert_array_equal(log.radius, expected.radius)
    np.testing.assert_array_equal(log.correct, expected.correct(LABELS))
    assert (log.seconds >= 0.0).all() and log.guarantee == "sound"
    assert log.settings["sigma"] == 0.5 and log.settings["network"] == smoothed.base.network.digest
    assert average_certified_radius(log) == pytest.approx(average_certified_radius(expected, LABELS))


@pytest.mark.parametrize("batch_size", [None, 64, 500])
@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_an_interrupted_run_continues_to_the_lines_of_an_uninterrupted_one(smoothed, tmp_path, monkeypatch, stop, batch_size):
    whole = tmp_path / "whole.tsv"
    certify_to_log(smoothed, X, LABELS, whole, **OPTIONS)
    original = plans.CertificationPlan.certify

    def interrupted(self, points, images):
        for done, certificate in enumerate(original(self, points, images)):
            if done == stop:
                raise KeyboardInterrupt
            yield certificate

    part = tmp_path / "part.tsv"
    monkeypatch.setattr(plans.CertificationPlan, "certify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        certify_to_log(smoothed, X, LABELS, part, batch_size=batch_size, **OPTIONS)
    monkeypatch.undo()
    assert len(read_log(part)) == stop
    with part.open("a") as file:
        file.write("6\t1\t0.")  # a line that was cut off
    certify_to_log(smoothed, X, LABELS, part, resume=True, batch_size=batch_size, **OPTIONS)
    assert without_times(part) == without_times(whole)
    before = part.read_bytes()
    certify_to_log(smoothed, X, LABELS, part, resume=True, **OPTIONS)
    assert part.read_bytes() == before


def test_more_images_are_appended_to_a_log(smoothed, tmp_path):
    certify_to_log(smoothed, X[:3], LABELS[:3], tmp_path / "log.tsv", **OPTIONS)
    certify_to_log(smoothed, X, LABELS, tmp_path / "whole.tsv", **OPTIONS)
    certify_to_log(smoothed, X, LABELS, tmp_path / "log.tsv", resume=True, **OPTIONS)
    assert without_times(tmp_path / "log.tsv") == without_times(tmp_path / "whole.tsv")


def test_a_log_is_neither_replaced_nor_continued_with_other_settings(smoothed, tmp_path):
    path, network = tmp_path / "log.tsv", smoothed.base.network
    certify_to_log(smoothed, X[:2], LABELS[:2], path, **OPTIONS)
    with pytest.raises(StoreError, match="exists; resume it"):
        certify_to_log(smoothed, X, LABELS, path, **OPTIONS)
    for options, other in (
        ({"n": 300}, smoothed),
        ({"rng": 6}, smoothed),
        ({}, SmoothedClassifier(network, 0.4)),
        ({}, SmoothedClassifier(repress_float_paths(network, -0.5, reference="clean"), 0.5)),
        ({}, SmoothedClassifier(small.as_network(small.random_mlp(5), 4), 0.5)),
    ):
        with pytest.raises(DigestMismatchError, match="give the same settings, or write to another log"):
            certify_to_log(other, X, LABELS, path, resume=True, **{**OPTIONS, **options})
    assert len(read_log(path)) == 2


def test_another_denoiser_is_another_setting(smoothed, tmp_path):
    path, network = tmp_path / "log.tsv", smoothed.base.network

    def run(denoiser, **options):
        repressed = repress_float_paths(network, -0.5, reference="denoiser", denoiser=denoiser)
        return certify_to_log(SmoothedClassifier(repressed, 0.5), X, LABELS, path, **options, **OPTIONS)

    run(PosteriorMean(X, 0.5))
    run(PosteriorMean(X.copy(), 0.5), resume=True)
    for denoiser in (PosteriorMean(X, 0.4), PosteriorMean(X + 1.0, 0.5), lambda x: x, network_of_identity()):
        with pytest.raises(DigestMismatchError, match="was made with denoiser 'PosteriorMean"):
            run(denoiser, resume=True)


def network_of_identity():
    return small.as_network(small.layer(np.eye(4).tolist(), [0.0] * 4), 4)


def test_settings_of_two_stages_and_sequential_votes_are_in_the_log(smoothed, tmp_path):
    two = certify_to_log(smoothed, X, LABELS, tmp_path / "two.tsv", method="two_stage", max_loss=0.2, **OPTIONS)
    assert (two.settings["method"], two.settings["max_loss"]) == ("two_stage", 0.2)
    one = certify_to_log(smoothed, X, LABELS, tmp_path / "one.tsv", method="sequential", radius=0.1, **OPTIONS)
    assert one.settings["radius"] == 0.1
    assert np.isclose(one.radius[one.radius > 0.0], 0.1, rtol=1e-12).all() and (one.radius > 0.0).any()


def test_labels_and_numbers_are_needed_for_each_image(smoothed, tmp_path):
    for labels, images in ((LABELS[:3], None), (LABELS, [1, 2])):
        with pytest.raises(ShapeError, match="give one for each"):
            certify_to_log(smoothed, X, labels, tmp_path / "log.tsv", images=images, **OPTIONS)
    with pytest.raises(InputError, match="n is 5"):
        certify_to_log(smoothed, X, LABELS, tmp_path / "log.tsv", n=5)
    assert not (tmp_path / "log.tsv").exists()


def test_settings_tell_classifiers_and_denoisers_apart():
    network = small.as_network(small.random_mlp(0), 4)
    images = np.random.default_rng(0).random((5, 4))
    denoisers = [PosteriorMean(images, 0.5), PosteriorMean(images, 0.25), PosteriorMean(images[1:], 0.5),
                 small.as_network(small.random_mlp(0, (4, 8, 4)), 4), small.random_mlp(1, (4, 8, 4)),
                 small.random_mlp(2, (4, 8, 4)),
                 np.tanh]  # fmt: skip
    bases = [network, small.random_mlp(0), small.random_mlp(1), repress_float_paths(network, -0.1, reference="clean"),
             repress_float_paths(network, -0.2, reference="clean"), repress_float_paths(network, -0.1, reference="frozen"),
             repress_float_paths(network, -0.1, reference="frozen", center=images[0]),
             repress_float_paths(network, -0.1, reference="global", frequency=np.zeros(network.n_neurons)),
             repress_float_paths(network, -0.1, reference="global", frequency=np.ones(network.n_neurons)),
             *(denoise_inputs(network, each) for each in denoisers),
             *(repress_float_paths(network, -0.1, reference="denoiser", denoiser=each) for each in denoisers)]  # fmt: skip
    settings = [json.dumps(SmoothedClassifier(base, 0.5).plan().settings(), sort_keys=True) for base in bases]
    assert len(set(settings)) == len(bases)
