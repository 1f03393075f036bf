"""What a release is made of: versions that agree, metadata, the archives' manifest, and the workflow of the public forge."""

import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import pwlnet
from pwlnet.demo import smoke

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
WORKFLOW = ".github/workflows/ci.yml"


def tracked_files():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()] or pytest.skip("not a clone")


def field(name, text):
    """The value of a field of CITATION.cff at the left margin."""
    found = re.findall(rf"^{name}: *(.+)$", text, re.MULTILINE)
    return found[0].strip("'\"") if found else None


def test_citation_changelog_and_package_have_one_version_and_date():
    citation = (ROOT / "CITATION.cff").read_text()
    version, date = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).groups()
    assert field("version", citation) == version == pwlnet.__version__ == str(Version(version))
    assert field("date-released", citation) == (None if date == "unreleased" else date)
    assert date == "unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", date)


def test_the_citation_has_what_its_schema_requires():
    citation = (ROOT / "CITATION.cff").read_text()
    assert all(field(name, citation) for name in ("cff-version", "message", "title"))
    assert re.search(r"^authors:\n  - ", citation, re.MULTILINE)
    assert field("license", citation) == PROJECT["license"]


def test_each_requirement_has_one_lowest_version_that_the_tested_one_satisfies():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n") if "==" in line)
    for requirement in map(Requirement, REQUIREMENTS):
        if requirement.name != "pwlnet":
            assert [part.operator for part in requirement.specifier].count(">=") == 1, requirement
            assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_classifiers_name_the_supported_versions_of_python():
    listed = [text.split(" :: ")[-1] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert PROJECT["requires-python"] == f">={listed[0]}"
    for python in listed:
        assert f'"{python}"' in (ROOT / WORKFLOW).read_text(), python
    assert "urls" not in PROJECT


def test_the_lowest_versions_come_from_the_metadata():
    lowest = runpy.run_path(str(ROOT / ".ci" / "check-dist"))["lowest_versions"](["onnx", "view"])
    least = {Requirement(text).name: text.split(">=")[1] for text in PROJECT["dependencies"]}
    assert {f"{name}=={version}" for name, version in least.items()} <= set(lowest)
    names = {pin.split("==")[0] for pin in lowest}
    assert names == set(least) | {"onnx", "anywidget", "matplotlib"}  # view names the extra plot


def test_the_source_distribution_names_all_tracked_files():
    rules = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines() if line and line[0] != "#"]
    folders = {name for rule, *names in rules if rule == "graft" for name in names}
    files = {name for rule, *names in rules if rule == "include" for name in names}
    tops = {name.partition("/")[0] if "/" in name else name for name in tracked_files()}
    assert tops == folders | files
    assert not [name for name in tracked_files() if name.endswith((".pyc", ".pyo", ".nbi", ".nbc", ".so"))]


def test_targets_that_the_continuous_integration_names_are_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [(ROOT / WORKFLOW).read_text(), (ROOT / ".ci" / "run").read_text()]
    named = {word for text in texts for line in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", text) for word in line.split()}
    assert {"lint", "test", "dist"} <= named
    assert not named - targets - {"types", "docs"}


def test_the_workflow_is_yaml_whose_jobs_exist_and_publishing_is_off():
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((ROOT / WORKFLOW).read_text())["jobs"]
    assert {"lint", "types", "docs", "tests", "wheels", "publish"} == set(jobs)
    assert set(jobs["publish"]["needs"]) == set(jobs) - {"publish"}
    assert "vars.PUBLISH == 'true'" in jobs["publish"]["if"]
    assert all(step.keys() & {"run", "uses"} for job in jobs.values() for step in job["steps"])


def test_a_failed_check_of_the_smoke_test_is_reported_and_a_missing_package_is_no_success(monkeypatch, capsys):
    def fails(folder):
        raise ValueError("wrong")

    checks = {"good": (lambda folder: "fine", ()), "bad": (fails, ()), "absent": (fails, ("no_such_package",))}
    monkeypatch.setattr(smoke, "CHECKS", checks)
    assert smoke.main([]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines[1:4]] == [["ok", "good"], ["FAILED", "bad"], ["skipped", "absent"]]
    del checks["bad"]
    assert smoke.main([]) == 0 and smoke.main(["--require", "no_such_package"]) == 1


def test_the_smoke_test_names_the_packages_that_its_checks_need():
    needs = {package for _, packages in smoke.CHECKS.values() for package in packages}
    assert needs == {"onnx", "torch", "matplotlib"}
    assert all(check.__doc__ for check, _ in smoke.CHECKS.values())


@pytest.mark.slow
def test_the_smoke_test_passes_in_this_environment(capsys):
    assert smoke.main([]) == 0, capsys.readouterr().out
