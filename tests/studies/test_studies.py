"""Study files: reading and checking, runs that are interrupted and continued, estimates."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import distribute, store, studies
from pwlnet.errors import DigestMismatchError, InputError, StoreError
from tests.counts import few

from . import fuzz
from .valid import SMALL, write_study

CHEAP = ("lines", "drawn", "attributions", "planes", "regions")


def edited(path, *changes):
    """Replace texts of a study; each must be there."""
    text = Path(path).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    Path(path).write_text(text)
    return studies.read_study(path)


def digests(result):
    return {row["store"]: row["digest"] for row in result.tasks}


def test_a_study_computes_what_the_functions_compute(study):
    made = studies.run_study(studies.read_study(study), only=["lines", "attributions", "planes"])
    net, points = pwlnet.load_network("net.h5"), np.load("points.npy")[:8]
    with store.open("results/attributions.net.h5") as opened:
        expected = pwlnet.integrate_gradients(net, points.mean(axis=0), points, outputs=[1])
        assert np.array_equal(opened.read("attributions")["values"], expected.values)
    planes = store.load_planes("results/planes.net.h5")
    expected = pwlnet.partition_planes(net, points[[0, 3]], points[[1, 4]] - points[[0, 3]], points[[2, 5]] - points[[0, 3]],
                                       [[0, 0], [1, 0], [0, 1]])  # fmt: skip
    assert [part.n_polygons for part in planes.parts] == [part.n_polygons for part in expected.parts]
    lines = store.load_lines("results/lines.net.h5")
    assert len(lines) == 24 and np.array_equal(lines.starts, np.repeat(points, 3, axis=0))
    assert np.abs(lines.ends).max() <= 3.0
    assert [row["status"] for row in made.tasks] == ["computed"] * 3


def test_provenance_has_the_study_and_no_folder(study):
    read = studies.read_study(Path(study).absolute())
    studies.run_study(read, only=["lines"])
    with store.open("results/lines.net.h5") as opened:
        provenance = opened.provenance
    parameters = provenance["parameters"]
    assert parameters["study"]["text"] == SMALL and parameters["study"]["sha256"] == read.sha256
    assert parameters["settings"]["analysis"]["length"] == 2.0 and provenance["seeds"] == {"directions": 5}
    assert str(Path.cwd()) not in json.dumps(provenance)


def test_an_interrupted_study_continues_to_the_same_digests(study, monkeypatch):
    read = studies.read_study(study)
    whole = digests(studies.run_study(read, only=CHEAP))
    shutil.rmtree("results")
    compute, calls = type(studies.make_tasks(read, only=["planes"])[0].job).compute, []

    def interrupted(job, first, last, **how):
        calls.append(first)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(job, first, last, **how)

    with monkeypatch.context() as patch:
        patch.setattr("pwlnet.distribute.plane_jobs.PlanesJob.compute", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            studies.run_study(read, only=CHEAP)
    assert "3 of 5 stores are finished in results; --resume continues" in caught.value.__notes__[0]
    resumed = studies.run_study(read, only=CHEAP, resume=True)
    assert digests(resumed) == whole
    assert [row["status"] for row in resumed.tasks] == ["kept", "kept", "kept", "continued", "computed"]
    assert [row["store"] for row in json.loads(Path("results/summary.json").read_text())["stores"]] == list(whole)


def test_results_do_not_depend_on_threads_or_on_other_analyses(study):
    alone = studies.run_study(studies.read_study(study), only=["drawn"], threads=1)
    other = edited(study, ('name = "lines"', 'name = "first"'), ("seed = 5", "seed = 5  # the same"))
    assert digests(studies.run_study(other, only=["drawn"], overwrite=True, threads=2)) == digests(alone)


def test_existing_stores_are_refused_without_resume(study):
    read = studies.read_study(study)
    studies.run_study(read, only=["drawn"])
    with pytest.raises(StoreError, match="exists; --resume continues the study, --overwrite replaces them"):
        studies.run_study(read, only=["drawn"])


def test_a_comment_may_change_and_a_setting_may_not(study):
    studies.run_study(studies.read_study(study), only=["drawn"])
    commented = edited(study, ("[study]", "# a comment\n[study]"))
    assert studies.run_study(commented, only=["drawn"], resume=True).tasks[0]["status"] == "kept"
    changed = edited(study, ("range = [-1.0, 1.0]", "range = [-1.0, 1.5]"))
    with pytest.raises(DigestMismatchError, match=r"analysis 2 \(drawn, lines\).*made with other parameters"):
        studies.run_study(changed, only=["drawn"], resume=True)


def test_a_damaged_store_is_not_kept(study):
    read = studies.read_study(study)
    studies.run_study(read, only=["drawn"])
    path = Path("results/drawn.net.h5")
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4 :] = bytes(len(content) - len(content) * 3 // 4)
    path.write_bytes(content)
    with pytest.raises(StoreError):
        studies.run_study(read, only=["drawn"], resume=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 5", "seed = -5", "[study]: seed is -5; an integer of 0 or more is needed"),
        ("count = 3", "counts = 3", "analysis 1 (lines): key 'counts' is not known; did you mean 'count'?"),
        ("length = 2.0", "", "analysis 1 (lines): key 'length' is missing; add it"),
        ('kind = "planes"', 'kind = "plane"', "analysis 5: kind is 'plane'; give one of lines, attributions, linearity, "
         "planes, regions, floats, certify, decide"),
        ('name = "drawn"', 'name = "LINES"', "analysis 2 (lines): name is 'LINES', which another one has; give each a name of "
         "its own"),
        ("[data]", "[dat]", "section [dat] is not known; the sections are study, network, data, analysis"),
        ('"points.npy"', '"/points.npy"', "[data]: images is '/points.npy'; a name, or a path relative to the study file, is "
         "needed"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_said_with_its_place(study, old, new, message):
    with pytest.raises(InputError) as caught:
        edited(study, (old, new))
    assert str(caught.value) == f"small.toml: {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"net.h5"', '"nothing.onnx"', "network 1 (net): source is 'nothing.onnx', which is neither a file beside the study"),
        ('"points.npy"', '"none.npy"', "[data]: none.npy can't be read as .npy"),
        ("rows = [0, 8]", "rows = [0, 80]", "analysis 1 (lines, lines): rows is [0, 80], but images has 9 rows"),
        ("row = 2", "row = 8", "analysis 7 (regions, regions): row has row 8, which is not among the 8 rows that are used"),
        ("axes = [0, 2]", "axes = [0, 3]", "analysis 6 (slices, planes): axes is [0, 3]; give two different inputs"),
        ("count = 3", "count = 1000000000000", "analysis 1 (lines, lines): there are 16000000000000 ends of lines of 3 inputs"),
        ("outputs = [1]", "outputs = [2]", "analysis 3 (attributions, attributions): "),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_computed(study, old, new, message):
    read = edited(study, (old, new))
    with pytest.raises(pwlnet.PwlnetError) as caught:
        studies.run_study(read)
    assert str(caught.value).startswith(f"small.toml: {message}")
    assert not Path("results").exists()


def test_estimates_of_whole_tasks_are_exact_and_ranges_hold_the_others(study):
    read = studies.read_study(study)
    names = ("lines", "planes", "regions")
    estimates = {each.task.name: each for each in studies.estimate_study(read, only=names, seconds=30.0)}
    assert not Path("results").exists()
    made = {row["analysis"]: row for row in studies.run_study(read, only=names).tasks}
    for name, each in estimates.items():  # with so much time, the sample is everything
        assert each.results.value == made[name]["results"][each.counted] == each.results.high
        assert 0.5 < each.bytes.value / made[name]["bytes"] < 2.0
    done = studies.estimate_study(read, only=["lines"], resume=True, seconds=0.01)[0]
    assert done.n_done == 24 and done.seconds.value == 0.0


def test_the_range_of_an_estimate_holds_the_total_as_often_as_it_says():
    from pwlnet.studies.estimates import _total

    rng = np.random.default_rng(0)
    values, n_trials = rng.gamma(4.0, 10.0, 60), few(2000, quick=400)
    holds = 0
    for _ in range(n_trials):
        chosen = rng.permutation(60)[:8]
        found = _total(np.ones(8), values[chosen], 60, False)
        holds += found.low <= values.sum() <= found.high
    assert 0.9 < holds / n_trials < 0.99


def test_decisions_agree_with_the_network(study):
    studies.run_study(studies.read_study(study), only=["decide"])
    net, points = pwlnet.load_network("net.h5"), np.load("points.npy")[:8]
    with store.open("results/decide.net.h5") as opened:
        values, columns = opened.read("measures")["values"], opened.provenance["parameters"]["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    assert [int(row["target"]) for row in rows] == np.argmax(net.forward(points), axis=1).tolist()
    found = [(k, row) for k, row in enumerate(rows) if row["status"] == 1]
    assert {row["status"] for row in rows} == {0.0, 1.0}
    for k, row in found:
        witness = np.array([row[f"witness_{j}"] for j in range(3)])
        outputs, target = net.forward(witness[None])[0], int(row["target"])
        assert outputs[1 - target] >= outputs[target] - 1e-12 and np.abs(witness - points[k]).max() <= 0.3 + 1e-15
    assert all(np.isnan(row["witness_0"]) for row in rows if row["status"] == 0)


def test_jobs_of_measures_are_the_same_in_parts(study):
    for task in studies.make_tasks(studies.read_study(study), only=["linearity"]):
        whole = task.job.compute(0, task.job.n_items)["values"]
        parts = [task.job.part(first, first + 1).compute(0, 1)["values"] for first in range(task.job.n_items)]
        assert np.array_equal(whole, np.concatenate(parts))
        assert isinstance(task.job, distribute.Job)


def test_changed_studies_raise_errors_of_pwlnet_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_study(Path("."), fuzz.network())
    found = {fuzz.try_one(random.Random(seed), path, dry_runs=0.0) for seed in range(few(5000, quick=300))}
    assert {"valid", "InputError"} <= found
