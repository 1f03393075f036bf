"""``pwlnet attribute``: stores of attributions, resuming them, one-line errors."""

import json
import sys

import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.cli import attribute


@pytest.fixture
def points(folder, network):
    """Seven inputs and as many baselines, in files beside the network's."""
    network.save("net.h5")
    inputs, baselines = np.random.default_rng(1).normal(size=(2, 7, 3))
    np.save("inputs.npy", inputs)
    np.savez("points.npz", inputs=inputs, baselines=baselines)
    np.savetxt("one.csv", baselines[:1], delimiter=",", fmt="%.17g")
    return inputs, baselines


INPUTS = ("attribute", "net.h5", "--inputs", "inputs.npy")


@pytest.mark.parametrize("batch", [(), ("--batch", 2)])
@pytest.mark.parametrize(
    ("baseline", "options", "chosen"),
    [
        ("zero", (), {}),
        ("points.npz:baselines", ("--outputs", "1,0"), {"outputs": [1, 0]}),
        ("one.csv", ("--method", "left", "--samples", 5), {"method": "left", "n_samples": 5}),
    ],
)
def test_attributions_fill_a_store(points, run, network, baseline, options, chosen, batch):
    code, out, err = run(*INPUTS, "--baseline", baseline, *options, *batch, "--out", "out.h5", "--json")
    assert (code, err) == (0, "")
    inputs, baselines = points
    baselines = {"zero": np.zeros((7, 3)), "one.csv": np.repeat(baselines[:1], 7, axis=0)}.get(baseline, baselines)
    expected = pwlnet.integrate_gradients(network, baselines, inputs, **chosen)
    with store.open("out.h5") as opened:
        found, parameters = opened.read("attributions"), opened.provenance["parameters"]
        assert opened.verify() == []
        assert opened.n_batches == (4 if batch else 1)
    counts = np.full(7, 5) if expected.n_segments is None else expected.n_segments
    for field, array in {"baselines": baselines, "inputs": inputs, "n_segments": counts}.items():
        assert np.array_equal(found[field], array), field
    for field in ("values", "residual"):
        assert np.array_equal(found[field], getattr(expected, field)), field
    result = json.loads(out)
    assert parameters["method"] == result["method"] == expected.method
    assert result["residual"] == np.abs(expected.residual).max()
    assert (result["attributions"], result["outputs"]) == expected.residual.shape
    assert result["segments" if expected.n_samples is None else "samples"] == counts.sum()
    assert result["per_input"]["median"] == np.median(counts)


def test_the_table_for_people_and_the_check_of_the_store(points, run):
    code, out, _ = run(*INPUTS, "--baseline", "zero", "--out", "out.h5")
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert (code, names) == (0, ["store", "attributions", "outputs", "method", "segments", "per input min",
                                 "per input median", "per input max", "residual", "seconds"])  # fmt: skip
    assert run("verify", "out.h5")[1] == "out.h5 is intact: 0 lines, 0 breakpoints, 1 batches, 7 attributions\n"


@pytest.mark.parametrize("done", [0, 2, 6, 7])
def test_resuming_ends_in_the_store_of_a_run_that_was_not_stopped(points, run, monkeypatch, done):
    command = (*INPUTS, "--baseline", "zero", "--batch", 2, "--json", "--out")
    whole = json.loads(run(*command, "whole.h5")[1])
    rows, calls = attribute._rows, []

    def stopped(options, lines, first, last):
        if last > max(done, 0) and last > first:
            raise KeyboardInterrupt
        calls.append(first)
        return rows(options, lines, first, last)

    with monkeypatch.context() as patch:
        patch.setattr(attribute, "_rows", stopped)
        found = run(*command, "part.h5")
    if done < 7:
        kept = f"; part.h5 has the first {done} of 7 attributions; --resume continues" if done else ""  # no empty store
        assert found == (130, "", f"pwlnet: interrupted{kept}\n")
    resumed = json.loads(run(*command, "part.h5", "--resume")[1])
    assert {**resumed, "seconds": 0, "store": ""} == {**whole, "seconds": 0, "store": ""}
    with store.open("part.h5") as part, store.open("whole.h5") as other:
        assert part.digest() == other.digest()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "middle", "--samples", "3"], "method is 'middle'; use 'exact' or one of left, right, "),
        (["--samples", "3"], "n_samples is 3, but the exact method takes no samples; omit it or give a rule"),
        (["--method", "left"], "n_samples"),
        (["--outputs", "0,2"], "output 2 was given, but the network has 2 outputs; count from 0"),
        (["--outputs", "a"], "argument --outputs: invalid list of outputs value: 'a'"),
        (["--inputs", "missing.npy"], "missing.npy can't be read as .npy (No such file or directory)"),
        (["--inputs", "wide.npy"], "inputs has shape (2, 4), but the network takes 3 inputs; give (rows, 3)"),
        (["--inputs", "empty.npy"], "--baseline and --inputs have no rows; give at least one of each"),
        (["--baseline", "two.npy"], "baselines has 2 rows, but inputs has 7; give one input for each baseline"),
    ],
)
def test_what_does_not_fit_gives_one_line_and_no_store(points, folder, run, arguments, message):
    np.save("wide.npy", np.ones((2, 4)))
    np.save("two.npy", np.ones((2, 3)))
    np.save("empty.npy", np.ones((0, 3)))
    code, out, err = run(*INPUTS, "--baseline", "zero", *arguments, "--out", "out.h5")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (folder / "out.h5").exists()


def test_a_store_of_something_else_is_not_gone_on_with(points, run, refused):
    command = (*INPUTS, "--baseline", "zero", "--out", "out.h5")
    assert run(*command)[0] == 0
    refused("out.h5 exists; give another path, or remove it first", *command)
    code, _, err = run(*command, "--resume", "--outputs", 1)
    assert (code, "out.h5 was made with other parameters: outputs" in err) == (2, True)
    np.save("inputs.npy", points[0][::-1])
    message = "attribution 6 of out.h5 has another baseline or input than requested; give the same, or write to a new store"
    refused(message, *command, "--resume")
    np.save("inputs.npy", points[0][:3])
    refused("out.h5 has 7 attributions, but 3 were requested; write to a new store", *command, "--resume")
    assert run(*command, "--overwrite")[0] == 0
    with store.open("out.h5") as opened:
        assert opened.n_rows("attributions") == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_only(points, run, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    code, _, err = run(*INPUTS, "--baseline", "zero", "--out", "out.h5")
    assert (code, "7/7" in err) == (0, terminal)
