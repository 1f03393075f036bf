"""``pwlnet planes``: stores of planes, how planes are chosen, resuming, one-line errors, exports of polygons."""

import json

import numpy as np
import pyarrow.parquet
import pytest

import pwlnet
from pwlnet import shipped, store
from tests.store.conftest import same_planes


@pytest.fixture
def folder(tmp_path, network, monkeypatch):
    """A folder, current, with a network of three inputs and a few points."""
    monkeypatch.chdir(tmp_path)
    network.save("net.h5")
    points = np.random.default_rng(1).normal(size=(7, 3))
    np.save("points.npy", points)
    np.savetxt("points.csv", points, delimiter=",", fmt="%.17g")
    np.save("wide.npy", np.ones((3, 4)))
    np.savetxt("square.csv", [[-1, -1], [1, -1], [1, 1], [-1, 1]], delimiter=",")
    np.save("bent.npy", [[0.0, 0.0], [4.0, 0.0], [1.0, 1.0], [0.0, 4.0]])
    return tmp_path


@pytest.fixture
def planes(run):
    """Run ``pwlnet planes`` and return the result as a dict."""

    def call(*arguments):
        code, out, err = run("planes", "net.h5", *arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def digest(path):
    with store.open(path) as opened:
        assert opened.verify(n_samples=3) == []
        return opened.digest()


def test_planes_fill_a_store_and_say_what_is_in_it(folder, planes, network):
    result = planes("--through", "points.csv", "--points", "0,1,2", "--points", "6,3,1", "--out", "out.h5")
    points = np.load("points.npy")
    origins, first, second = points[[0, 6]], points[[1, 3]], points[[2, 1]]
    expected = pwlnet.partition_planes(network, origins, first - origins, second - origins, [[0, 0], [1, 0], [0, 1]])
    assert same_planes(store.load_planes("out.h5"), expected)
    counts = expected.n_polygons
    spread = {"total": counts.sum(), "min": counts.min(), "median": np.median(counts), "max": counts.max()}
    assert (result["planes"], result["polygons"], result["exact_decisions"]) == (2, spread, expected.n_exact)
    assert result["area"] == pytest.approx(1.0)
    assert result["smallest_polygon"] == min(part.areas.min() for part in expected.parts)
    with store.open("out.h5") as opened:
        parameters = opened.provenance["parameters"]
    assert parameters == {
        "command": "planes", "network": "net.h5", "through": "points.csv", "points": [[0, 1, 2], [6, 3, 1]],
    }  # fmt: skip


def test_the_table_for_people_is_short(folder, run):
    code, out, err = run("planes", "net.h5", "--through", "points.npy", "--out", "out.h5")
    assert (code, err) == (0, "")
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert names == ["store", "planes", "polygons", "area", "smallest polygon", "residual", "exact decisions", "seconds",
                     "microseconds per polygon"]  # fmt: skip
    code, out, err = run("planes", "net.h5", "--through", "points.npy", "--out", "stream.h5", "--stream", "--progress")
    assert (code, "not counted in chunks" in out, "1/1" in err) == (0, True, True)
    assert run("verify", "out.h5")[1].startswith("out.h5 is intact: 0 lines, 0 breakpoints, 1 batches, 1 planes, ")


def test_shipped_images_are_points(folder, run):
    network = shipped.digits_network_path("digits_mlp")
    command = ("planes", network, "--through", "digits", "--box", 0, 0.1, 0, 0.1, "--out", "out.h5")
    assert run(*command)[0] == 0
    (plane,) = store.load_planes("out.h5").planes
    a, b, c = shipped.digits_images()[0][:3].reshape(3, -1)
    assert all(np.array_equal(*pair) for pair in zip(plane[:3], (a, b - a, c - a), strict=True))


@pytest.mark.parametrize(
    ("arguments", "origins", "e1", "e2", "outline"),
    [
        (("--axes", 2, 0, "--at", 0.5, "--box", -1, 1, 0, 2), [[0, 0.5, 0]], [0, 0, 1], [1, 0, 0],
         [[-1, 0], [1, 0], [1, 2], [-1, 2]]),
        (("--axes", 0, 1), [[0, 0, 0]], [1, 0, 0], [0, 1, 0], [[0, 0], [1, 0], [1, 1], [0, 1]]),
        (("--axes", 0, 1, "--at", "points.npy", "--polygon", "square.csv"),
         np.random.default_rng(1).normal(size=(7, 3)) * [0, 0, 1], [1, 0, 0], [0, 1, 0], [[-1, -1], [1, -1], [1, 1], [-1, 1]]),
    ],
)  # fmt: skip
def test_slices_are_parallel_to_two_axes(folder, planes, arguments, origins, e1, e2, outline):
    planes(*arguments, "--out", "out.h5")
    chosen = store.load_planes("out.h5").planes
    assert np.array_equal([plane.origin for plane in chosen], origins)
    assert all(np.array_equal(*pair) for plane in chosen for pair in zip(plane[1:], (e1, e2, outline), strict=True))


def test_planes_are_given_by_origins_and_directions(folder, planes):
    np.save("e1.npy", [1.0, 0.0, 0.0])
    np.save("e2.npy", np.eye(3)[1:])
    np.save("origin.npy", np.load("points.npy")[:2])
    planes("--origin", "origin.npy", "--e1", "e1.npy", "--e2", "e2.npy", "--polygon", "square.csv", "--out", "out.h5")
    chosen = store.load_planes("out.h5").planes
    assert np.array_equal([plane.origin for plane in chosen], np.load("origin.npy"))
    assert np.array_equal([plane.e2 for plane in chosen], np.eye(3)[1:])


SLICES = ("--axes", 0, 1, "--at", "points.npy", "--box", -3, 3, -3, 3)


@pytest.mark.parametrize("done", [0, 4, 7])
def test_resuming_ends_in_the_store_of_a_run_that_was_not_stopped(folder, planes, network, done):
    planes(*SLICES, "--batch", 4, "--out", "whole.h5")
    with store.open("whole.h5") as opened:
        assert opened.n_batches == 2
        with store.create("part.h5", network, parameters=opened.provenance["parameters"]) as writer:
            writer.append_planes(opened.planes(0, done))
    assert planes(*SLICES, "--batch", 4, "--out", "part.h5", "--resume")["planes"] == 7
    assert digest("part.h5") == digest("whole.h5")


def test_an_interruption_says_what_is_kept(folder, run, network, monkeypatch):
    append, left = store.StoreWriter.append_planes, [2]

    def append_planes(writer, planes):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        append(writer, planes)

    command = ("planes", "net.h5", *SLICES, "--batch", 2, "--out", "out.h5")
    with monkeypatch.context() as patch:
        patch.setattr(store.StoreWriter, "append_planes", append_planes)
        message = "pwlnet: interrupted; out.h5 has the first 4 of 7 planes; --resume continues\n"
        assert run(*command) == (130, "", message)
    assert run(*command, "--resume")[0] == 0
    assert run("planes", "net.h5", *SLICES, "--batch", 2, "--out", "whole.h5")[0] == 0
    assert digest("out.h5") == digest("whole.h5")


def test_a_store_of_other_planes_is_not_resumed(folder, run, planes, refused):
    planes(*SLICES, "--out", "out.h5")
    command = ("planes", "net.h5", *SLICES, "--out", "out.h5", "--resume")
    np.save("points.npy", np.load("points.npy") + 1.0)
    message = "plane 6 of out.h5 is another one than the requested plane; give the same points and polygon"
    refused(f"{message}, or write to a new store", *command)
    np.save("points.npy", np.load("points.npy")[:5])
    refused("out.h5 has 7 planes, but 5 were requested; write to a new store", *command)
    code, _, err = run("planes", "net.h5", "--axes", 0, 2, *SLICES[3:], "--out", "out.h5", "--resume")
    assert (code, "out.h5 was made with other parameters: axes is [0, 1] there, [0, 2] here" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--through", "points.npy", "--points", "0,1,7"],
         "--points has row 7, but --through has 7 rows; give rows 0 to 6"),
        (["--through", "square.csv"], "--through has shape (4, 2), but the network takes 3 inputs; give (rows, 3)"),
        (["--axes", "0", "0"], "--axes is 0 0; give two different inputs from 0 to 2"),
        (["--axes", "0", "3"], "--axes is 0 3; give two different inputs from 0 to 2"),
        (["--axes", "0", "1", "--at", "1", "2"], "--at has 2 numbers; give one, or 1 for the other inputs in order"),
        (["--axes", "0", "1", "--at", "1", "x"],
         "--at is 1 x; give one number, 1 for the other inputs in order, or a file"),
        (["--axes", "0", "1", "--box", "1", "0", "0", "1"],
         "--box is 1.0 0.0 0.0 1.0; U0 must not be above U1, nor V0 above V1"),
        (["--axes", "0", "1", "--points", "0,1,2"],
         "--points was given without --through, to which it belongs; omit it, or give both"),
        (["--origin", "points.npy", "--e1", "points.npy"],
         "--origin was given without --e2; a plane needs --origin, --e1 and --e2"),
        (["--origin", "points.npy", "--e1", "points.npy", "--e2", "points.npy"],
         "e1 and e2 of plane 0 are parallel, or one of them is zero, so that they span no plane; give two directions, or use "
         "partition_lines"),
        (["--axes", "0", "1", "--polygon", "bent.npy"],
         "polygons is not convex, or its corners are not in order around it; give them in order"),
        (["--axes", "0", "1", "--out", "net.h5"], "net.h5 exists; give another path, or remove it first"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line(folder, refused, arguments, message):
    refused(message, "planes", "net.h5", "--out", "out.h5", *arguments)


def test_wrong_use_gives_one_line(folder, run):
    assert "one of the arguments --through --origin --axes is required" in run("planes", "net.h5", "--out", "x.h5")[2]
    code, out, err = run("planes", "net.h5", "--through", "points.npy", "--points", "0,1", "--out", "x.h5")
    assert (code, out, "0,1 is not I,J,K, the numbers of three rows" in err) == (2, "", True)


def test_polygons_are_exported(folder, run, planes, refused):
    planes(*SLICES, "--out", "out.h5")
    expected = store.load_planes("out.h5")
    for out in ("out.parquet", "out.geojson"):
        code, text, _ = run("export", "out.h5", out, "--classes", "--rows", "2:4", "--json")
        values = {"path": out, "table": "polygons", "rows": int(expected.n_polygons[2:4].sum())}
        assert (code, json.loads(text)) == (0, values)
    table = pyarrow.parquet.read_table("out.parquet")
    features = json.loads((folder / "out.geojson").read_text())["features"]
    assert table["plane"].to_pylist() == [feature["properties"]["plane"] for feature in features]
    assert table["class"].to_pylist() == [feature["properties"]["class"] for feature in features]
    assert set(table["plane"].to_pylist()) == {2, 3}
    assert run("export", "out.h5", "planes.nc", "--json")[1].count('"planes"') == 1
    refused("table is 'planes', but .geojson holds polygons with their corners; give table='polygons'",
            "export", "out.h5", "no.geojson", "--table", "planes")  # fmt: skip


def test_stores_of_planes_are_merged_and_repaired(folder, run, planes):
    planes(*SLICES, "--out", "a.h5")
    code, out, _ = run("merge", "a.h5", "a.h5", "--out", "b.h5", "--json")
    n = int(store.load_planes("a.h5").n_polygons.sum())
    assert (code, json.loads(out)) == (0, {"store": "b.h5", "lines": 0, "segments": 0, "planes": 14, "polygons": 2 * n})
    assert run("repair", "b.h5")[1] == "b.h5 is intact: 2 batches with 0 lines and 14 planes\n"
