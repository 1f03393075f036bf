"""``pwlnet floats``: the table of layers, stores, resuming, one-line errors."""

import json

import numpy as np
import pytest

import pwlnet
from pwlnet import store


@pytest.fixture
def folder(tmp_path, network, monkeypatch):
    """A folder, current, with a network of three inputs and a few points."""
    monkeypatch.chdir(tmp_path)
    network.save("net.h5")
    points = np.random.default_rng(1).normal(size=(7, 3))
    np.save("points.npy", points)
    np.save("others.npy", points + 0.5)
    return points


@pytest.fixture
def floats(run):
    """Run ``pwlnet floats`` and return the result as a dict."""

    def call(*arguments):
        code, out, err = run("floats", "net.h5", "--points", "points.npy", *arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def test_noise_is_sampled_and_the_layers_have_the_mean_numbers_of_neurons(folder, floats, network):
    result = floats("--sigma", 0.2, "--samples", 50, "--seed", 3, "--batch", 2)
    expected = pwlnet.find_float_neurons(network, pwlnet.Gaussian(folder, 0.2), method="sampled", n_samples=50, seed=3)
    assert (result["sets"], result["method"], result["scope"]) == (7, "sampled", "samples")
    (layer,) = result["layers"]
    assert (layer["name"], layer["neurons"]) == ("relu", 30)
    for name in ("lower", "upper", "always_on", "always_off"):
        assert layer[name] == pytest.approx(getattr(expected, name).sum(axis=1).mean())


@pytest.mark.parametrize(("arguments", "make"), [
    (("--epsilon", 0.1), lambda p: (pwlnet.Box.around(p, 0.1), "crown")),
    (("--epsilon", 0.1, "--norm", 2, "--method", "ibp"), lambda p: (pwlnet.Ball(p, 0.1, 2), "ibp")),
    (("--to", "others.npy", "--method", "pair"), lambda p: ((p, p + 0.5), "pair")),
])  # fmt: skip
def test_options_select_sets_and_methods(folder, floats, network, arguments, make):
    domain, method = make(folder)
    result = floats(*arguments, "--out", "out.h5")
    expected = pwlnet.find_float_neurons(network, domain, method=method)
    with store.open("out.h5") as opened:
        assert np.array_equal(opened.float_sets().upper, expected.upper)
        assert opened.verify() == []
    assert result["method"] == method


def test_segments_are_exact(folder, floats, network):
    result = floats("--to", "others.npy", "--rows", "2:5", "--out", "out.h5")
    expected = [pwlnet.find_float_neurons(network, pwlnet.Segment(a, a + 0.5), method="exact").lower for a in folder[2:5]]
    with store.open("out.h5") as opened:
        assert np.array_equal(opened.float_sets().lower, expected)
        assert opened.read("float_sets")["items"].tolist() == [2, 3, 4]
        assert opened.provenance["parameters"] == {
            "command": "floats", "network": "net.h5", "points": "points.npy", "to": "others.npy", "method": "exact",
        }  # fmt: skip
    assert result["sets"] == 3


def test_a_store_is_resumed(folder, floats, run):
    options = ("--sigma", 0.2, "--samples", 20, "--batch", 2)
    floats(*options, "--out", "whole.h5")
    points = np.load("points.npy")
    np.save("points.npy", points[:4])
    floats(*options, "--out", "part.h5")
    np.save("points.npy", points)
    result = floats(*options, "--out", "part.h5", "--resume")
    assert result["sets"] == 7
    with store.open("whole.h5") as whole, store.open("part.h5") as part:
        assert whole.digest() == part.digest()


def test_the_table_has_a_row_per_layer(folder, run):
    code, out, err = run("floats", "net.h5", "--points", "points.npy", "--sigma", 0.1, "--samples", 10)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "7 sets, method sampled, scope samples; shares of the neurons, means of the sets"
    assert [line.split()[0] for line in lines[1:4]] == ["layer", "relu", "all"]
    assert lines[-1].endswith("neurons per second")


def test_wrong_options_are_refused(folder, refused):
    base = ("floats", "net.h5", "--points", "points.npy")
    refused("--rows is 2:9, but --points has 7 rows; give LAST up to 7", *base, "--sigma", 1, "--rows", "2:9")
    refused("--resume or --overwrite was given without --out, to which they apply; omit them, or give a store",
            *base, "--sigma", 1, "--resume")  # fmt: skip
    np.save("few.npy", np.ones((2, 3)))
    refused("--to has 2 rows and --points 7; give as many of each", *base, "--to", "few.npy")
    refused("domain is a Gaussian; give one of pwlnet.Box, pwlnet.Ball", *base, "--sigma", 1, "--method", "crown")
