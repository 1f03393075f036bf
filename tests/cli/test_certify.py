"""``pwlnet certify``: the table, logs and stores, resuming, one-line errors."""

import json

import numpy as np
import pytest

import pwlnet
from pwlnet import cli, store
from pwlnet.smoothing import SmoothedClassifier, plans, read_log

NAME = "digits_mlp3_noise25"
BASE = ("certify", NAME, "--points", "digits", "--rows", "0:12", "--stride", 3, "--sigma", 0.25, "--n", 100, "--n0", 20)


@pytest.fixture
def certify(run):
    """Run ``pwlnet certify`` on four digits and return the result as a dict."""

    def call(*arguments):
        code, out, err = run(*BASE, *arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


@pytest.fixture(scope="module")
def expected():
    """The certificates of these digits."""
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path(NAME))
    images = pwlnet.datasets.digits_images()[0][:12:3]
    return SmoothedClassifier(network, 0.25).certify(images, n=100, n0=20, images=np.arange(0, 12, 3))


def test_a_log_and_a_store_have_the_certificates_of_the_python_interface(folder, certify, expected):
    result = certify("--log", "log.tsv", "--out", "out.h5", "--batch", 3)
    labels = pwlnet.datasets.digits_images()[1][:12:3]
    log = read_log("log.tsv")
    with store.open("out.h5") as opened:
        assert opened.verify() == []
        stored = opened.certificates()
        assert opened.read("certificates")["true_labels"].tolist() == labels.tolist()
    for name in ("label", "radius", "k", "n", "image", "seed"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(expected, name))
    assert log.idx.tolist() == [0, 3, 6, 9] and log.stride == 3 and log.guarantee == "sound"
    np.testing.assert_array_equal(log.radius, expected.radius)
    assert result["acr"] == pytest.approx(pwlnet.smoothing.average_certified_radius(expected, labels))
    assert result["certified_accuracy"]["0"] == (expected.label == labels).mean()
    assert (result["guarantee"], result["draws"], result["images"]) == ("sound", 4 * 120, 4)
    assert result["meaning"].startswith("with confidence 0.999 for each image, no input within its radius has another class")


def test_an_interrupted_run_is_resumed(folder, run, certify, expected, monkeypatch):
    arguments = ("--log", "log.tsv", "--out", "out.h5", "--batch", 2)
    original = plans.CertificationPlan.certify

    def interrupted(self, points, images):
        yield from original(self, points[:3], images[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(plans.CertificationPlan, "certify", interrupted)
    code, out, err = run(*BASE, *arguments)
    message = "pwlnet: interrupted; out.h5 has 2 and log.tsv has 3 of 4 images; --resume continues\n"
    assert (code, out, err) == (130, "", message)
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    result = certify(*arguments, "--resume")
    assert result["draws"] == 2 * 120  # the third image was in the log, but not yet in the store
    with store.open("out.h5") as opened:
        np.testing.assert_array_equal(opened.certificates().k, expected.k)
    log = read_log("log.tsv")
    assert log.idx.tolist() == [0, 3, 6, 9]
    np.testing.assert_array_equal(log.radius, expected.radius)
    assert certify(*arguments, "--resume")["draws"] == 0


def test_a_run_with_other_settings_is_not_continued(folder, run, certify):
    certify("--log", "log.tsv", "--out", "out.h5")
    for changed in (("--log", "log.tsv"), ("--out", "out.h5")):
        code, out, err = run(*BASE, *changed, "--resume", "--eta", -0.1, "--reference", "self_noise", "--tau", 0.2)
        assert (code, out) == (2, "") and len(err.splitlines()) == 1
    code, _, err = run(*BASE[:4], "--sigma", 0.25, "--n", 100, "--n0", 20, "--rows", "1:4", "--out", "out.h5", "--resume",
                       "--stride", 3)  # fmt: skip
    assert code == 2 and "has 4 certificates of other images" in err


def test_the_table_says_that_a_nominal_radius_is_not_a_certificate(folder, run):
    code, out, _ = run(*BASE, "--eta", -0.5, "--reference", "clean")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("4 images, ")
    assert lines[1].startswith("nominal average certified radius 0.") and lines[1].endswith("which is certified")
    assert lines[2].startswith("nominal certified accuracy 1.000 at 0, ")
    assert lines[-2].startswith("480 draws in ")
    assert lines[-1] == (
        "guarantee nominal: not a certificate: the rule depends on the image, and inputs within a radius may have another class"
    )


@pytest.mark.parametrize(("arguments", "make"), [
    (("--denoiser", "posterior-mean", "--eta", -0.5, "--reference", "denoiser", "--passes", 1), lambda network, denoiser:
     pwlnet.smoothing.repress_float_paths(network, -0.5, reference="denoiser", denoiser=denoiser, passes=1)),
    (("--denoiser", "posterior-mean", "--average", "inputs"), lambda network, denoiser:
     pwlnet.smoothing.denoise_inputs(network, denoiser, average="inputs")),
    (("--eta", -0.5, "--reference", "self_noise", "--tau", 0.3), lambda network, denoiser:
     pwlnet.smoothing.repress_float_paths(network, -0.5, reference="self_noise", tau=0.3)),
])  # fmt: skip
def test_options_select_the_classifier(folder, certify, arguments, make):
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path(NAME))
    images, _ = pwlnet.datasets.digits_images()
    denoiser = pwlnet.smoothing.PosteriorMean(pwlnet.datasets.digits_training_images()[0], 0.25)
    expected = SmoothedClassifier(make(network, denoiser), 0.25).certify(images[:2], n=100, n0=20)
    certify(*arguments, "--rows", "0:2", "--stride", 1, "--out", "out.h5")
    with store.open("out.h5") as opened:
        np.testing.assert_array_equal(opened.certificates().k, expected.k)
        assert opened.certificates().guarantee == expected.guarantee == "sound"


def test_images_without_labels_are_certified_as_their_predicted_class(folder, run):
    np.save("points.npy", pwlnet.datasets.digits_images()[0][:3])
    base = ("certify", NAME, "--points", "points.npy", "--sigma", 0.25, "--n", 400)
    code, out, _ = run(*base, "--json")
    result = json.loads(out)
    assert code == 0 and result["share_certified"]["0"] == 1.0 - result["abstained"] / 3 and "acr" not in result
    code, out, _ = run(*base, "--method", "sequential", "--radius", 0.1, "--json")
    assert code == 0 and 3 * 100 < json.loads(out)["draws"] < 3 * 500


def test_a_wrong_range_is_refused_unless_the_check_is_skipped(folder, run):
    images, labels = pwlnet.datasets.digits_images()
    np.savez("data.npz", images=1.0 - images[:100], labels=labels[:100])
    base = ("certify", NAME, "--points", "data.npz:images", "--labels", "data.npz:labels", "--sigma", 0.25, "--n", 20)
    code, _, err = run(*base)
    assert code == 2 and "if they are inverted (1 - x)" in err and len(err.splitlines()) == 1
    assert run(*base, "--rows", "0:2", "--skip-check")[0] == 0


def test_wrong_options_are_refused(folder, refused, run):
    np.save("points.npy", pwlnet.datasets.digits_images()[0][:3])
    base = ("certify", NAME, "--points", "digits", "--sigma", 0.25)
    for message, arguments in (
        ("--rows is 2:9000, but --points has 449 rows; give LAST up to 449", ("--rows", "2:9000")),
        ("--eta and --reference belong together; give both, or none for plain smoothing", ("--eta", -0.1)),
        ("--average belongs to a denoiser before the classifier; give --denoiser and no --reference", ("--average", "none")),
        ("--denoiser was given with --reference clean, which has none; omit one of them",
         ("--eta", 0, "--reference", "clean", "--denoiser", "posterior-mean")),
        ("--resume or --overwrite was given without --log or --out, to which they apply; omit them", ("--resume",)),
        ("method is 'sequential' and radius None; 'sequential' needs the radius, and the others none",
         ("--method", "sequential")),
        ("reference 'margin' needs tau; give it", ("--eta", 0, "--reference", "margin")),
    ):  # fmt: skip
        refused(message, *base, *arguments)
    refused("--log needs the true classes, which a line of a log has; give --labels",
            "certify", NAME, "--points", "points.npy", "--sigma", 1, "--log", "log.tsv")  # fmt: skip
    refused("posterior-mean and --reference global need training images; give --training",
            "certify", NAME, "--points", "points.npy", "--sigma", 1, "--denoiser", "posterior-mean")  # fmt: skip
    assert cli.main(["certify", "no_such_network", "--points", "digits", "--sigma", "1"]) == 2
