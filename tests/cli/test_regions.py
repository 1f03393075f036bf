"""``pwlnet regions``: counts, stores, tables, how boxes are given, resuming, one-line errors."""

import csv
import json

import numpy as np
import pytest

import pwlnet
from pwlnet import store

BOX = np.array([-0.5, -0.5, -0.5]), np.array([0.5, 0.5, 0.25])


@pytest.fixture
def folder(tmp_path, network, monkeypatch, capsys):
    """A folder, current, with a network of three inputs and two outputs, and a box."""
    pwlnet.enumerate_regions(network, *BOX, classes="max")
    capsys.readouterr()  # that kernels are compiled
    monkeypatch.chdir(tmp_path)
    network.save("net.h5")
    np.savetxt("box.csv", [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.25]], delimiter=",")
    np.save("point.npy", np.zeros((1, 3)))
    np.savetxt("rows.csv", [[1, 1, 1, 0.0]], delimiter=",")
    return tmp_path


@pytest.fixture
def found(run):
    """Run ``pwlnet regions`` and return the result as a dict."""

    def call(*arguments):
        code, out, err = run("regions", "net.h5", *arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def test_regions_are_counted_in_boxes_of_each_form(folder, found, network):
    expected = pwlnet.enumerate_regions(network, *BOX, want=())
    result = found("--box", "box.csv")
    assert (result["regions"], result["dimensions"], result["complete"]) == (expected.n_regions, 3, True)
    assert (result["method"], result["certified"], result["stopped_by"]) == ("subdivision", True, None)
    assert "mean_facets" not in result and result["exact_decisions"] == expected.n_exact
    cube = pwlnet.enumerate_regions(network, np.full(3, -0.25), np.full(3, 0.25), want=()).n_regions
    assert found("--range", -0.25, 0.25)["regions"] == found("--around", "point.npy", "--epsilon", 0.25)["regions"] == cube


def test_classes_and_polytopes_are_those_of_enumerate_regions(folder, found, network):
    result = found("--box", "box.csv", "--classes", "max", "--polytope", "rows.csv", "--want", "patterns, facets")
    polytope = np.ones((1, 3)), np.zeros(1)
    expected = pwlnet.enumerate_regions(network, *BOX, polytope=polytope, classes="max")
    assert result["regions"] == expected.n_regions
    assert result["mean_facets"] == pytest.approx(len(expected.facet_neurons) / expected.n_regions)
    assert result["regions_by_class"] == np.bincount(expected.classes, minlength=2).tolist()


def test_a_store_holds_what_is_enumerated(folder, found, network):
    result = found("--box", "box.csv", "--out", "out.h5")
    expected = pwlnet.enumerate_regions(network, *BOX)
    with store.load_regions("out.h5") as rows:
        assert rows.complete and len(rows) == result["regions"] == expected.n_regions
        actual = {row.tobytes() for row in rows.packed}
    assert actual == {row.tobytes() for row in expected.packed}
    with store.open("out.h5") as opened:
        assert opened.verify() == []
        parameters = opened.provenance["parameters"]
    assert parameters == {"command": "regions", "network": "net.h5", "box": "box.csv"}
    assert result["mean_facets"] == pytest.approx(len(expected.facet_neurons) / expected.n_regions)


def test_a_stopped_store_is_continued_to_the_same_digest(folder, run, found):
    found("--box", "box.csv", "--out", "whole.h5")
    code, _, err = run("regions", "net.h5", "--box", "box.csv", "--out", "part.h5", "--time-limit", 0)
    assert (code, err) == (0, "pwlnet: part.h5 has the first 0 regions; --resume continues\n")
    assert found("--box", "box.csv", "--out", "part.h5", "--resume")["complete"]
    digests = []
    for name in ("whole.h5", "part.h5"):
        with store.open(name) as opened:
            digests.append(opened.digest())
    assert digests[0] == digests[1]


def test_volumes_add_up_to_that_of_the_box(folder, found):
    for target in ((), ("--out", "out.h5")):
        result = found("--box", "box.csv", "--want", "volumes", *target)
        assert result["volume"] == pytest.approx(0.75)
        assert 0.0 < result["smallest_volume"] < 0.75 / result["regions"] < result["largest_volume"]


def test_an_interrupted_store_says_how_it_is_continued(folder, run, monkeypatch):
    def interrupted(path, *arguments, **options):
        (folder / path).write_text("some regions")
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "save_large_regions", interrupted)
    code, out, err = run("regions", "net.h5", "--box", "box.csv", "--out", "out.h5")
    assert (code, out) == (130, "")
    assert err == "pwlnet: interrupted; out.h5 has the regions until then; --resume continues\n"


def test_three_outputs_are_divided_by_classes_in_a_store_too(folder, run):
    """Regions that consist of several cells are joined in memory, and then written."""
    from tests.partition.regions.test_exact import random_relu

    network = random_relu(0, [2, 6, 3])
    network.save("three.h5")
    code, out, err = run("regions", "three.h5", "--range", -1, 1, "--classes", "max", "--out", "out.h5", "--json")
    assert (code, err) == (0, "")
    expected = pwlnet.enumerate_regions(network, -np.ones(2), np.ones(2), classes="max")
    assert json.loads(out)["regions"] == expected.n_regions
    with store.load_regions("out.h5") as rows:
        assert np.array_equal(rows.classes, expected.classes)


def test_more_than_eight_inputs_are_searched_and_stored(folder, run):
    from tests.partition.regions.test_exact import random_relu

    random_relu(0, [9, 3, 2]).save("nine.h5")
    code, out, err = run("regions", "nine.h5", "--range", -10, 10, "--out", "out.h5", "--json")
    assert (code, err) == (0, "")
    assert (json.loads(out)["regions"], json.loads(out)["method"]) == (8, "search")
    with store.load_regions("out.h5") as rows:
        assert rows.n_regions == 8


@pytest.mark.parametrize("target", [(), ("--out", "out.h5")])
def test_the_table_has_a_row_for_each_region(folder, found, network, target):
    found("--box", "box.csv", "--classes", "min", "--csv", "out.csv", *target)
    with (folder / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = pwlnet.enumerate_regions(network, *BOX, classes="min")
    assert list(rows[0]) == ["region", "facets", "class", "x0", "x1", "x2"]
    assert [int(row["region"]) for row in rows] == list(range(expected.n_regions))
    points = np.array([[float(row[f"x{d}"]) for d in range(3)] for row in rows])
    numbers = expected.locate(points)
    assert sorted(numbers) == list(range(expected.n_regions))
    assert [int(row["class"]) for row in rows] == expected.classes[numbers].tolist()
    assert [int(row["facets"]) for row in rows] == np.diff(expected.facet_offsets)[numbers].tolist()


def test_the_table_for_people_is_short(folder, run):
    code, out, err = run("regions", "net.h5", "--box", "box.csv", "--max-regions", 5, "--want", "facets")
    assert (code, err) == (0, "")
    lines = [line.split("  ")[0] for line in out.splitlines()]
    assert lines == ["regions", "dimensions", "complete", "stopped by", "method", "certified", "exact decisions", "mean facets",
                     "seconds", "regions per second"]  # fmt: skip
    code, out, err = run("regions", "net.h5", "--box", "box.csv", "--csv", "out.csv", "--progress")
    assert (code, "stopped by" in out, "region" in err) == (0, False, True)


def test_wrong_use_is_refused_in_one_line(folder, refused):
    usage = "pwlnet regions --help shows the usage"
    refused(f"one of the arguments --box --range --around is required; {usage}", "regions", "net.h5")
    box = ("regions", "net.h5", "--box", "box.csv")
    refused("--resume was given without --out, the store to continue; give both", *box, "--resume")
    refused("--epsilon was given without --around, to which it belongs; omit it, or give both", *box, "--epsilon", 1)
    refused("--polytope has shape (2, 3); (rows, 4) is needed: coefficients of 3 inputs and b", *box, "--polytope", "box.csv")
    refused(
        "method is 'lines'; the choices are 'auto', 'subdivision', 'search', 'planes'", *box, "--method", "lines"
    )  # fmt: skip
    refused(f"argument --want: 'patterns,' is not a list NAME,NAME,...; {usage}", *box, "--want", "patterns,")
    (folder / "old.csv").write_text("mine")
    refused("old.csv exists; give another name, or --overwrite", *box, "--csv", "old.csv")
    assert (folder / "old.csv").read_text() == "mine"
