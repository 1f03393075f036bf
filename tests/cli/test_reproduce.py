"""``pwlnet reproduce``: output, continued runs, error messages."""

import json
import sys
import types

import pytest

from pwlnet import reproduce
from pwlnet.reproduce import Table, subjects
from tests.reproduce import test_running as running

pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """The only experiment: numbers of pixels of two digits networks; ``stop`` has an image at which it is interrupted."""
    module = types.ModuleType("pwlnet.reproduce.fake")
    module.stop = set()

    def measure(subject, i, options):
        if i in module.stop:
            raise KeyboardInterrupt
        return running.measure(subject, i, options)

    module.EXPERIMENT = running.FAKE._replace(measure=measure, keys=(*running.KEYS, "mnist_convmed"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {"fake": "fake"})
    monkeypatch.delenv("PWLNET_DATA_DIR", raising=False)
    return module


def test_tables_files_and_what_was_left_out_are_printed(folder, run):
    code, out, err = run("reproduce", "fake", "--images", 3, "--out", "here")
    assert (code, err) == (0, "")
    assert out.startswith((folder / "here" / "fake" / "table.md").read_text())
    skipped, files = out.splitlines()[-2:]
    assert skipped == (
        "skipped: MNIST convMed needs trained_here/mnist_convmed.onnx; set PWLNET_DATA_DIR to a folder that contains it"
    )
    assert files == "here/fake contains table.md, table.csv, brightness.png, digits_conv_standard.h5, digits_conv_pgd.h5"
    assert {path.name for path in (folder / "here" / "fake").iterdir()} >= set(files.split(" contains ")[1].split(", "))


def test_json_holds_all_of_it(folder, run):
    code, out, _ = run("reproduce", "fake", "--images", 3, "--networks", "digits_conv_pgd", "--set", "factor=3", "--json")
    result = json.loads(out)
    assert (code, result["n_images"], result["missing"]) == (0, {"digits_conv_pgd": 3}, {})
    assert result["stores"] == {"digits_conv_pgd": "reproduce_output/fake/digits_conv_pgd.h5"}
    images = subjects.load("digits_conv_pgd").images
    value = result["tables"][0]["rows"][0][2]["value"]
    assert value == pytest.approx(3 * (images[0].mean() + images[2].mean()) / 2)


def test_after_ctrl_c_the_same_command_goes_on(folder, run, fake):
    command = ("reproduce", "fake", "--images", 4, "--networks", "digits_conv_pgd", "--seed", 5)
    fake.stop.add(2)
    assert run(*command) == (
        130,
        "",
        "pwlnet: interrupted; reproduce_output/fake/digits_conv_pgd.h5 has 2 of 4 images of digits_conv_pgd; "
        "run it again to continue\n",
    )
    fake.stop = {0, 1}
    first = run(*command)
    assert first[0] == 0
    fake.stop = {0, 1, 2, 3}
    assert run(*command) == first
    code, out, err = run(*command[:-1], 6)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "was made with other seeds: images is 5 there, 6 here; " in err
    assert "--overwrite" in err
    fake.stop.clear()
    assert run(*command[:-1], 6, "--overwrite")[0] == 0


def test_the_list_says_what_there_is(run, fake):
    assert run("reproduce", "--list")[1] == "fake  Brightness of images (no paper)\n      factor=2.0\n"
    listed = json.loads(run("reproduce", "--list", "--json")[1])
    assert listed["fake"]["networks"] == [*running.KEYS, "mnist_convmed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no experiment was given; give one of fake"),
        (["moon"], "there is no experiment 'moon'; give one of fake"),
        (["fake", "--set", "factor"], "--set is 'factor'; give NAME=VALUE"),
        (["fake", "--set", "factor=x"], "parameter factor is 'x'; a float is needed, such as 2.0"),
        (
            ["fake", "--seed", "-1"],
            "argument --seed: -1 is negative; a seed is an integer of at least 0; pwlnet reproduce --help shows the usage",
        ),
    ],
)
def test_wrong_use_gives_one_line(folder, refused, arguments, message):
    refused(message, "reproduce", *arguments)
    assert not list(folder.iterdir())


def test_a_finished_run_makes_its_tables_again(folder, run, fake):
    assert run("reproduce", "fake", "--images", 2)[0] == 0
    fake.stop = {0, 1}
    tables = [Table("Other", ("a",), [(1,)])]
    fake.EXPERIMENT = fake.EXPERIMENT._replace(tabulate=lambda measured, options: tables)
    assert run("reproduce", "fake", "--images", 2)[1].startswith("**Other**\n")
