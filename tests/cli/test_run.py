"""``pwlnet run``: tables, JSON, options that do not belong together, interruptions."""

import json

import pytest

from pwlnet import store
from tests.studies.valid import write_study


@pytest.fixture
def study(folder, network):
    """The path of a study in an empty folder, which is current."""
    return str(write_study(folder, network).name)


def test_a_study_is_computed_and_continued(run, study, folder):
    code, out, err = run("run", study, "--only", "drawn", "--only", "planes.net")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["store", "drawn.net.h5", "planes.net.h5", "small:"]
    code, out, err = run("run", study, "--only", "drawn", "--resume", "--json")
    (row,) = json.loads(out)["stores"]
    assert (code, err, row["status"]) == (0, "", "kept")
    with store.open(folder / "results" / "drawn.net.h5") as opened:
        assert row["digest"] == opened.digest() and row["results"]["segments"] == opened.n_breakpoints - opened.n_lines
    summary = json.loads((folder / "results" / "summary.json").read_text())
    assert [each["store"] for each in summary["stores"]] == ["drawn.net.h5", "planes.net.h5"]
    assert {**row, "status": "computed"} == summary["stores"][0] or row == summary["stores"][0]


def test_a_dry_run_writes_nothing(run, study, folder):
    code, out, err = run("run", study, "--dry-run", "--sample-seconds", "0.05", "--only", "regions", "--only", "drawn")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("Regions: a few cells of a box have most of them")
    code, out, err = run("run", study, "--dry-run", "--sample-seconds", "30", "--only", "drawn", "--json")
    (row,) = json.loads(out)["stores"]
    assert row["items"] == row["sampled"] == 5 and row["results"]["low"] == row["results"]["high"]
    assert not (folder / "results").exists()


def test_what_does_not_belong_together_is_refused(refused, run, study):
    message = "--dry-run was given with --workers, --scheduler or --overwrite, which it does not use; omit them"
    refused(message, "run", study, "--dry-run", "--workers", 2)
    refused("nothing.toml can't be read (No such file or directory); give the path of a study file", "run", "nothing.toml")
    code, out, err = run("run", study, "--only", "none")
    assert (code, out) == (2, "")
    assert err.startswith("pwlnet: --only is 'none', which small.toml does not have; the analyses are lines, drawn, ")
    assert len(err.splitlines()) == 1


def test_ctrl_c_says_how_to_continue(run, study, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pwlnet.distribute.plane_jobs.PlanesJob.compute", interrupted)
    code, out, err = run("run", study, "--only", "drawn", "--only", "planes")
    assert (code, out) == (130, "")
    assert err == "pwlnet: interrupted; 1 of 2 stores are finished in results; --resume continues\n"


@pytest.mark.slow
def test_workers_give_the_same_digests(run, study):
    pytest.importorskip("distributed")
    digests = []
    for options in ((), ("--workers", 2, "--overwrite")):
        code, out, _ = run("run", study, "--only", "lines", "--only", "linearity", "--only", "regions", "--json", *options)
        assert code == 0
        digests.append([row["digest"] for row in json.loads(out)["stores"]])
    assert digests[0] == digests[1]
