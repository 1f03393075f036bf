"""The loop of experiments: resumed stores, tables and figures."""

import csv
import json
import math

import numpy as np
import pytest

from pwlnet import plot, store
from pwlnet.errors import DigestMismatchError, InputError, MissingDataError, ShapeError, StoreError
from pwlnet.reproduce import Experiment, Interval, Table, running, subjects
from pwlnet.reproduce.experiment import skipped
from pwlnet.reproduce.running import run_experiment
from pwlnet.reproduce.tables import estimate

pytest.importorskip("onnx")

COLUMNS = ("image", "direction", "brightness", "drawn")
KEYS = ("digits_conv_standard", "digits_conv_pgd")


def measure(subject, i, options):
    """Two rows per image: numbers of its pixels, and of the image's own random numbers."""
    if i == 1:
        return skipped(i, COLUMNS)
    brightness = options.parameters["factor"] * subject.images[i].mean()
    return np.array([[i, k, brightness, options.rng(i).random()] for k in range(2)])


def attribute(subject, i, options):
    inputs = subject.images[i : i + 1]
    values = np.full((1, 2, inputs.shape[1]), float(i))
    one = np.ones(1, np.int64)
    return {"baselines": 0 * inputs, "inputs": inputs, "values": values, "residual": np.zeros((1, 2)), "n_segments": one}


def tabulate(measured, options):
    rows = [(m.title, m.n_images, estimate(m["brightness"][m["direction"] != 1], seed=options.seed)) for m in measured.values()]
    return [Table("Brightness", ("network", "images", "brightness"), rows, ("A note.",)), Table("Again", ("a",), [(1.5,)])]


def draw(measured, options):
    figure = plot.new_figure((3.0, 2.0))
    figure.add_subplot().plot(next(iter(measured.values()))["brightness"])
    return {"brightness.png": figure}


FAKE = Experiment("fake", "Brightness of images", "no paper", KEYS, COLUMNS, measure, tabulate, draw, {"factor": 2.0})


def stopping(experiment, at):
    """The experiment, interrupted at an image."""

    def measure(subject, i, options):
        if i == at:
            raise KeyboardInterrupt
        return experiment.measure(subject, i, options)

    return experiment._replace(measure=measure)


def content(result):
    """Digests and measures of the stores of a run."""
    found = {}
    for key, path in result.stores.items():
        with store.open(path) as opened:
            assert opened.verify() == []
            found[key] = opened.digest(), opened.read("measures")["values"].tobytes()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run_experiment(FAKE, tmp_path_factory.mktemp("whole"), n_images=5, seed=3)


def test_a_run_leaves_stores_tables_and_figures(whole):
    assert {path.name for path in whole.folder.iterdir()} == {
        "digits_conv_standard.h5", "digits_conv_pgd.h5", "table.md", "table.csv", "table_2.csv", "brightness.png"
    }  # fmt: skip
    assert (whole.folder.name, whole.n_images, whole.missing, whole.notes) == ("fake", dict.fromkeys(KEYS, 5), {}, [])
    with store.open(whole.stores["digits_conv_pgd"]) as opened:
        values, provenance = opened.read("measures")["values"], opened.provenance
    subject = subjects.load("digits_conv_pgd")
    assert np.isnan(values[2, 1:]).all()
    rows = [measure(subject, i, running.Options(5, 3, None, {"factor": 2.0})) for i in range(5)]
    np.testing.assert_array_equal(values, np.concatenate(rows))
    assert provenance["seeds"] == {"images": 3}
    assert provenance["parameters"] == {
        "experiment": "fake", "version": 1, "subject": "digits_conv_pgd", "factor": 2.0, "columns": list(COLUMNS)
    }  # fmt: skip


def test_the_files_hold_the_table(whole):
    (name, n, interval), _ = whole.tables[0].rows
    with (whole.folder / "table.csv").open() as stream:
        head, first, _ = csv.reader(stream)
    assert head == ["network", "images", "brightness", "brightness, low", "brightness, high"]
    assert first == [name, str(n), *map(repr, interval)]
    text = (whole.folder / "table.md").read_text()
    assert f"{interval.value:.4g} ({interval.low:.4g} to {interval.high:.4g})" in text
    assert "\nA note.\n" in text
    assert json.loads(json.dumps(whole.to_dict()))["tables"][0]["rows"][0][2] == interval._asdict()


@pytest.mark.parametrize("experiment", [FAKE, FAKE._replace(attributions=attribute)], ids=["measures", "attributions"])
@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["each", "batch"])
def test_a_run_that_was_stopped_goes_on_to_the_same_store(tmp_path, monkeypatch, experiment, seconds):
    monkeypatch.setattr(running, "_COMMIT_SECONDS", seconds)
    whole = run_experiment(experiment, tmp_path / "whole", n_images=6, networks=KEYS[0])
    for at, held in ((3, 3), (3, 3), (4, 4)):
        with pytest.raises(KeyboardInterrupt) as caught:
            run_experiment(stopping(experiment, at), tmp_path / "part", n_images=6, networks=KEYS[0])
        assert caught.value.__notes__ == [
            f"{tmp_path}/part/fake/digits_conv_standard.h5 has {held} of 6 images of digits_conv_standard; "
            "run it again to continue"
        ]
    part = run_experiment(experiment, tmp_path / "part", n_images=6, networks=KEYS[0])
    assert content(part) == content(whole)
    assert part.tables == whole.tables


@pytest.mark.parametrize("kind", ["attributions", "measures"])
def test_an_interrupt_that_comes_through_behind_a_commit_writes_nothing_twice(tmp_path, monkeypatch, kind):
    experiment = FAKE._replace(attributions=attribute)
    whole = run_experiment(experiment, tmp_path / "whole", n_images=4, networks=KEYS[0])
    append, stops = store.StoreWriter.append, [kind]

    def interrupted(self, name, arrays):
        append(self, name, arrays)
        if name in stops:
            stops.remove(name)
            raise KeyboardInterrupt

    monkeypatch.setattr(store.StoreWriter, "append", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        run_experiment(experiment, tmp_path / "part", n_images=4, networks=KEYS[0])
    assert "has 4 of 4 images" in caught.value.__notes__[0]
    assert content(run_experiment(experiment, tmp_path / "part", n_images=4, networks=KEYS[0])) == content(whole)


def test_attributions_without_measures_are_not_written_twice(tmp_path, monkeypatch):
    """A run that is killed between the two commits of a batch."""
    experiment = FAKE._replace(attributions=attribute)
    whole = run_experiment(experiment, tmp_path / "whole", n_images=4, networks=KEYS[0])
    append = store.StoreWriter.append

    def killed(self, name, arrays):
        if name == "measures":
            raise MemoryError
        append(self, name, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(store.StoreWriter, "append", killed)
        with pytest.raises(MemoryError):
            run_experiment(experiment, tmp_path / "part", n_images=3, networks=KEYS[0])
    with store.open(tmp_path / "part" / "fake" / "digits_conv_standard.h5") as opened:
        assert (opened.n_rows("attributions"), opened.n_rows("measures")) == (3, 0)
    assert content(run_experiment(experiment, tmp_path / "part", n_images=4, networks=KEYS[0])) == content(whole)


def test_more_images_are_added_and_fewer_are_taken_from_the_store(tmp_path, whole):
    few = run_experiment(FAKE, tmp_path, n_images=3, seed=3)
    more = run_experiment(FAKE, tmp_path, n_images=5, seed=3)
    assert content(more) == content(whole)
    again = run_experiment(stopping(FAKE, 0), tmp_path, n_images=3, seed=3)  # measures nothing
    assert again.tables == few.tables != more.tables


def test_no_more_images_than_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(subjects.Subject, "__len__", lambda self: 2)
    result = run_experiment(FAKE, tmp_path, n_images=100, networks=KEYS[:1])
    assert result.n_images == {KEYS[0]: 2}


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        (FAKE, {"seed": 1}, "made with other seeds: images is 0 there, 1 here"),
        (FAKE, {"parameters": {"factor": 3}}, "made with other parameters: factor is 2.0 there, 3.0 here"),
        (FAKE._replace(version=2), {}, "made with other parameters: version is 1 there, 2 here"),
    ],
)
def test_a_store_of_something_else_is_refused_unless_overwritten(tmp_path, changed, options, message):
    run_experiment(FAKE, tmp_path, n_images=2, networks="digits_conv_pgd")
    options |= {"n_images": 2, "networks": "digits_conv_pgd"}
    with pytest.raises(DigestMismatchError, match=message) as caught:
        run_experiment(changed, tmp_path, **options)
    assert caught.value.__notes__ == ["overwrite=True (--overwrite) measures again"]
    new = run_experiment(changed, tmp_path, **options, overwrite=True)
    assert content(new) == content(run_experiment(changed, tmp_path / "new", **options))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_images": 0}, InputError, "n_images is 0; an integer of at least 1 is needed"),
        ({"seed": -1}, InputError, "seed is -1; an integer of at least 0 is needed"),
        (
            {"networks": ["mnist"]},
            InputError,
            "the experiment has no network 'mnist'; give some of digits_conv",
        ),
        ({"networks": []}, MissingDataError, "networks is empty; give at least one"),
        (
            {"parameters": {"speed": 1}},
            InputError,
            "parameter 'speed' was given, but fake has no such parameter; its parameters are f",
        ),
        ({"parameters": {"factor": "x"}}, InputError, "parameter factor is 'x'; a float is needed, such as 2.0"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        run_experiment(FAKE, tmp_path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [np.zeros((1, 3)), np.zeros((0, 4)), np.ones((1, 4)), np.zeros(4)])
def test_rows_that_are_not_an_images_are_refused(tmp_path, rows):
    with pytest.raises(ShapeError, match=r"measure of fake returned .* for image 0; rows of 4 columns are needed"):
        run_experiment(FAKE._replace(measure=lambda *_: rows), tmp_path, networks=KEYS[:1])


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/fake can't be created \(Not a directory\); give another folder"):
        run_experiment(FAKE, tmp_path / "file")


def test_without_matplotlib_there_are_tables(tmp_path):
    def draw(measured, options):
        raise ImportError("plotting needs matplotlib, which can't be imported; pip install 'pwlnet[plot]'")

    result = run_experiment(FAKE._replace(draw=draw), tmp_path, n_images=2, networks=KEYS[:1])
    assert result.figures == []
    assert result.notes[0].startswith("no figures were drawn: plotting needs matplotlib")
    assert (tmp_path / "fake" / "table.md").is_file()


def test_a_column_that_is_not_there_is_named(whole):
    def tabulate(measured, options):
        measured["digits_conv_pgd"]["speed"]

    with pytest.raises(InputError, match="there is no column 'speed'; give one of image, direction"):
        run_experiment(FAKE._replace(tabulate=tabulate), whole.folder.parent, n_images=5, seed=3)


def test_an_estimate_leaves_missing_images_out():
    values = np.array([1.0, np.nan, 2.0, 4.0])
    found = estimate(values)
    assert found == estimate(values[~np.isnan(values)])
    assert found.value == pytest.approx(7 / 3)
    assert found.low < found.value < found.high
    assert estimate(values, statistic=np.median).value == 2.0
    assert estimate(np.array([3.0]))[0] == 3.0 and math.isnan(estimate(np.array([3.0])).low)
    assert all(math.isnan(number) for number in estimate(np.full(3, np.nan)))


def test_cells_of_each_kind_are_written():
    from pwlnet.reproduce import tables

    cells = ("a|b", 12345, 12345.6, 0.00012345, None, math.nan, Interval(1.0, 0.5, 2.0), Interval(1.0, math.nan, math.nan))
    table = Table("T", tuple("abcdefgh"), [cells])
    row = [cell.strip() for cell in tables.to_markdown([table]).splitlines()[4].replace("\\|", "/").split(" | ")]
    assert row == ["| a/b", "12345", "12346", "0.0001234", "-", "-", "1 (0.5 to 2)", "1 |"]
    assert tables.to_csv(table).splitlines()[1] == "a|b,12345,12345.6,0.00012345,,,1.0,0.5,2.0,1.0,,"
