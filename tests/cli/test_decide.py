"""``pwlnet decide``: what is printed, how boxes and conditions are given, one-line errors."""

import json

import numpy as np
import pytest

import pwlnet
from tests.test_acas_properties import MARABOU, SIDES


@pytest.fixture
def folder(tmp_path, network, monkeypatch):
    """A folder, current, with a network of three inputs and two outputs, and boxes."""
    monkeypatch.chdir(tmp_path)
    network.save("net.h5")
    np.savetxt("box.csv", [[-1, -1, -1], [1, 1, 1]], delimiter=",")
    np.save("point.npy", np.zeros((1, 3)))
    return tmp_path


@pytest.fixture
def answer(run):
    """Run ``pwlnet decide`` and return the result as a dict."""

    def call(*arguments):
        code, out, err = run("decide", *arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def bounds(network):
    corners = np.random.default_rng(0).uniform(-1, 1, (2000, 3))
    y = network.forward(corners)
    return y.min(axis=0), y.max(axis=0)


def test_a_witness_is_printed_with_how_it_was_confirmed(folder, run, network):
    low, _ = bounds(network)
    np.savetxt("rows.csv", [[1, 0, low[0] + 0.5]], delimiter=",")
    code, out, err = run("decide", "net.h5", "--box", "box.csv", "--halfspaces", "rows.csv")
    assert (code, err) == (0, "")
    rows = dict(line.split("  ", 1) for line in out.splitlines())
    assert rows["status"].strip() == "sat" and "by exact arithmetic, margin -" in rows["confirmed"]
    assert list(rows) == ["status", "witness", "confirmed", "engine", "branches", "cells", "seconds"]
    witness = np.array([float(x) for x in rows["witness"].split(",")])
    assert network.forward(witness)[0, 0] <= low[0] + 0.5 + 1e-3


def test_json_has_the_whole_witness_and_unsat_has_none(folder, answer, network):
    low, _ = bounds(network)
    np.savetxt("rows.csv", [[1, 0, low[0] + 0.5]], delimiter=",")
    result = answer("net.h5", "--box", "box.csv", "--halfspaces", "rows.csv")
    y = network.forward(np.array(result["witness"]))[0]
    assert result["status"] == "sat" and y[0] - low[0] - 0.5 == pytest.approx(result["margin"], abs=1e-12)
    assert (result["boxes"], result["box"], result["condition"], result["source"]) == (1, 0, 0, None)
    np.savetxt("rows.csv", [[1, 0, low[0] - 50]], delimiter=",")
    result = answer("net.h5", "--box", "box.csv", "--halfspaces", "rows.csv")
    assert (result["status"], result["open_boxes"], "witness" in result) == ("unsat", 0, False)


def test_limits_leave_open_boxes(folder, run, answer, network):
    low, _ = bounds(network)
    np.savetxt("rows.csv", [[1, 0, low[0] - 0.5]], delimiter=",")
    command = ("net.h5", "--box", "box.csv", "--halfspaces", "rows.csv", "--max-branches", 1, "--method", "splits")
    result = answer(*command)
    assert (result["status"], result["stopped_by"], result["open_boxes"]) == ("undecided", "max_branches", 2)
    assert "stopped by  max_branches" in run("decide", *command)[1]


@pytest.mark.parametrize("kind", ["largest", "smallest", "not-largest", "not-smallest"])
def test_conditions_by_name_agree_with_points(folder, answer, network, kind):
    for k in range(2):
        result = answer("net.h5", "--around", "point.npy", "--epsilon", 0.05, "--limits", -1, 1, "--property", f"{kind}:{k}")
        y = network.forward(np.random.default_rng(0).uniform(-0.05, 0.05, (2000, 3)))
        extreme = y.argmax(axis=1) if kind.endswith("largest") else y.argmin(axis=1)
        holds = (extreme == k) != kind.startswith("not-")
        assert result["status"] == "sat" or not holds.any()
        assert result["status"] in ("sat", "unsat") and np.abs(result.get("witness", 0.0)).max() <= 0.0500001


def test_confirm_evaluates_the_onnx_file(folder, run, answer):
    path = pwlnet.datasets.digits_network_path("digits_mlp")
    np.save("digit.npy", pwlnet.datasets.digits_images()[0][:1])
    command = (path, "--around", "digit.npy", "--epsilon", 1, "--limits", 0, 1, "--property", "largest:3")
    assert "float32" in answer(*command, "--confirm")["source"]
    out = run("decide", *command, "--confirm")[1]
    assert "in float32: holds, margin" in out and "... (56 more)" in out


def test_properties_of_acas_networks_are_files(folder, answer, network):
    with open("constraints.txt", "w") as file:
        file.write("5\ny0 min\n")
    with open("sides.txt", "w") as file:
        file.write(SIDES)
    with open("marabou.txt", "w") as file:
        file.write(MARABOU + "+y0 -y1 <= 0\n")
    with open("acas.nnet", "w") as file:
        file.write("1,5,5,5,\n5,5,\n0\n0,0,0,0,0,\n1,1,1,1,1,\n0,0,0,0,0,0,\n1,1,1,1,1,1,\n")
        file.writelines(",".join(map(str, row)) + ",\n" for row in np.eye(5))
        file.write("0,\n0,\n0,\n0,\n0,\n")
    result = answer("acas.nnet", "--acas", "constraints.txt", "--acas-box", "sides.txt")
    assert (result["status"], result["boxes"]) == ("sat", 2) and result["witness"][0] >= 1500
    assert answer("acas.nnet", "--acas", "marabou.txt", "--units", "normalized")["status"] == "unsat"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--property", "largest:0"], "--property and --halfspaces need a box; give --box or --around"),
        (["--property", "largest:2", "--box", "box.csv"],
         "--property is 2, but the network has outputs 0 to 1; give one of these"),
        (["--property", "largest:0", "--around", "point.npy"],
         "--around was given without --epsilon, the half width of the box; give both"),
        (["--property", "largest:0", "--box", "point.npy"],
         "--box has 1 rows; lower and upper bounds are needed"),
        (["--property", "largest:0", "--box", "box.csv", "--epsilon", "1"],
         "--epsilon was given without --around, to which it belongs; omit it, or give both"),
        (["--halfspaces", "box.csv", "--box", "box.csv", "--method", "simplex"],
         "method is 'simplex'; the choices are 'auto', 'splits', 'neurons', 'cells'"),
        (["--halfspaces", "point.npy", "--box", "point4.npy"],
         "--box has shape (2, 4), but the network takes 3 inputs; give (rows, 3)"),
        (["--acas", "none.txt"], "none.txt can't be read (No such file or directory); check the path and the file"),
        (["--acas", "none.txt", "--box", "box.csv"],
         "--box or --around was given with a file that has a box; omit it"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line(folder, refused, arguments, message):
    np.save("point4.npy", np.zeros((2, 4)))
    refused(message, "decide", "net.h5", *arguments)


def test_wrong_use_gives_one_line(folder, run):
    assert "one of the arguments --vnnlib --acas --property --halfspaces is required" in run("decide", "net.h5")[2]
    code, out, err = run("decide", "net.h5", "--property", "largest:x", "--box", "box.csv")
    assert (code, out, "largest:x is not largest:K" in err) == (2, "", True)
