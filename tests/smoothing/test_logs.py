"""Logs of certifications: published ones are read, written ones come back, and an interrupted one continues."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwlnet import smoothing
from pwlnet.errors import DigestMismatchError, InputError, PwlnetWarning, StoreError
from pwlnet.smoothing.logs import _radius_text, _time_text
from tests.smoothing.made import make_certificates, one

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
PUBLISHED = (  # by hand, in the published format
    HEADER
    + "0\t3\t3\t0.859\t1\t0:00:15.132702\n"
    + "20\t7\t-1\t0.0\t0\t0:00:14.944327\n"
    + "40\t4\t5\t0.0321\t0\t0:00:15\n"
    + "60\t1\t1\t1.23\t1\t0:01:15.500000\n"
)
SETTINGS = {"guarantee": "sound", "sigma": 0.25, "alpha": 0.001, "model": "añadir", "steps": [1, 2]}
LABELS = [0, 1, 2, 3, 9, 5]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.tsv"


def read(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return smoothing.read_log(path)


def columns(log):
    return [getattr(log, name).tolist() for name in ("idx", "label", "predict", "radius", "correct")]


@pytest.fixture
def published(path):
    return columns(read(path, PUBLISHED))


def test_a_published_log_is_read(path):
    log = read(path, PUBLISHED)
    assert log.idx.tolist() == [0, 20, 40, 60] and log.label.tolist() == [3, 7, 4, 1]
    assert log.predict.tolist() == [3, -1, 5, 1] and log.radius.tolist() == [0.859, 0.0, 0.0321, 1.23]
    assert log.correct.tolist() == [True, False, False, True]
    assert log.seconds.tolist() == [15.132702, 14.944327, 15.0, 75.5]
    assert (log.stride, log.n_missing, log.guarantee, log.settings, len(log)) == (20, 0, None, {}, 4)
    assert smoothing.certified_accuracy(log, radii=[0.0, 0.859, 1.0, 1.24]).tolist() == [0.5, 0.5, 0.25, 0.0]
    assert smoothing.average_certified_radius(log) == pytest.approx((0.859 + 1.23) / 4)


@pytest.mark.parametrize("change", [
    lambda t: t.replace("\n", "\r\n"),
    lambda t: "\ufeff" + t,
    lambda t: t.rstrip("\n"),
    lambda t: t + "\n\n",
    lambda t: t.replace("\t", ","),
    lambda t: t.replace("\t", " \t "),
    lambda t: t.replace("\t1\t0:", "\tTrue\t0:").replace("\t0\t0:", "\tFalse\t0:"),
    lambda t: t.replace("idx\tlabel\tpredict", "Idx\tLABEL\t\"predict\""),
    lambda t: "".join(line.rsplit("\t", 1)[0] + "\n" for line in t.splitlines()),
    lambda t: "".join(line.rsplit("\t", 2)[0] + "\n" for line in t.splitlines()),
    lambda t: "".join(line + f"\t{name}\n" for line, name in zip(t.splitlines(), ["p_low", 1, 2, 3, 4], strict=True)),
    lambda t: "".join(f"{name}\t" + line + "\n" for line, name in zip(t.splitlines(), ["", 1, 2, 3, 4], strict=True)),
], ids=["CRLF", "BOM", "no end", "empty lines", "CSV", "spaces", "True", "upper case", "no time", "no correct", "extra last",
        "extra first"])  # fmt: skip
def test_variants_have_the_same_numbers(path, published, change):
    assert columns(read(path, change(PUBLISHED))) == published


def test_a_log_without_times_has_none(path):
    assert np.isnan(read(path, "idx\tlabel\tpredict\tradius\n0\t3\t3\t0.859\n").seconds).all()


@pytest.mark.parametrize(("text", "seconds"), [("1 day, 2:03:04.500000", 93784.5), ("15.5", 15.5), ("", None), ("soon", None)])
def test_times_of_all_forms_are_read(path, text, seconds):
    for separator in "\t,":
        log = read(path, f"{HEADER}0\t3\t3\t0.859\t1\t".replace("\t", separator) + f"{text}\n")
        assert log.seconds[0] == seconds if seconds is not None else math.isnan(log.seconds[0])


def test_a_cut_last_line_is_dropped_or_complete_at_every_byte(path):
    whole, start = PUBLISHED.rstrip("\n"), PUBLISHED.rindex("\n", 0, -1) + 1
    for end in range(start + 1, len(whole)):
        path.write_bytes(whole[:end].encode())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            log = smoothing.read_log(path)
        has_data = whole[start:end].count("\t") == 5  # the column correct is complete
        assert len(log) == (4 if has_data else 3), whole[start:end]
        assert len(caught) == (0 if has_data else 1)
        if has_data:
            assert columns(log)[3][3] == 1.23 and math.isnan(log.seconds[3])
        else:
            assert "certify its image again" in str(caught[0].message) and caught[0].category is PwlnetWarning
            assert caught[0].filename == __file__


def test_a_radius_that_may_be_cut_is_dropped(path):
    with pytest.warns(PwlnetWarning, match="may be cut within a number"):
        log = read(path, "idx\tlabel\tpredict\tradius\n0\t1\t1\t0.5\n1\t1\t1\t0.5")
    assert len(log) == 1


def test_nan_radii_count_as_not_certified(path):
    text = HEADER + "0\t3\t3\tnan\t1\t0:00:01\n1\t3\t-1\tnan\t0\t0:00:01\n2\t3\t3\t0.5\t1\t0:00:01\n"
    with pytest.warns(PwlnetWarning, match="1 radii of .* are NaN") as caught:
        log = read(path, text)
    assert caught[0].filename == __file__
    assert log.radius.tolist()[1:] == [0.0, 0.5] and math.isnan(log.radius[0])
    assert smoothing.certified_accuracy(log, radii=[0.0]).tolist() == [1 / 3]
    assert smoothing.average_certified_radius(log) == pytest.approx(0.5 / 3)


@pytest.mark.parametrize(("idx", "stride", "missing"), [
    ([5], None, 0), ([0, 20, 40], 20, 0), ([0, 40, 60], 20, 1), ([60, 0, 40], 20, 1), ([0, 1, 2], 1, 0), ([7, 17, 12], 5, 0),
    ([], None, 0),
])  # fmt: skip
def test_the_stride_is_the_common_divisor_of_the_steps(path, idx, stride, missing):
    log = read(path, HEADER + "".join(f"{i}\t1\t1\t0.5\t1\t0:00:01\n" for i in idx))
    assert (log.stride, log.n_missing, log.idx.tolist()) == (stride, missing, idx)


@pytest.mark.parametrize(("line", "message"), [
    ("1\t2", "line 3 of .*which has 2 columns and not 6"),
    ("x\t1\t1\t0.5\t1\t0:00:01", "where idx is 'x'"),
    ("1.5\t1\t1\t0.5\t1\t0:00:01", "where idx is '1.5'"),
    ("inf\t1\t1\t0.5\t1\t0:00:01", "where idx is 'inf'"),
    ("1\t1\t-2\t0.5\t0\t0:00:01", "where predict is '-2'"),
    ("1\t1\t1\t-0.5\t1\t0:00:01", "where radius is '-0.5'"),
    ("1\t1\t1\tinf\t1\t0:00:01", "where radius is 'inf'"),
    ("1\t1\t1\t0,5\t1\t0:00:01", "where radius is '0,5'"),
    ("1\t1\t-1\t0.5\t0\t0:00:01", "for an abstention"),
    ("1\t1\t1\t0.5\t0\t0:00:01", "where correct is '0' for the class 1 and the prediction 1"),
    ("1\t-1\t-1\t0.0\t1\t0:00:01", "where correct is '1'"),
    ("1\t1\t1\t0.5\tyes\t0:00:01", "where correct is 'yes'"),
    ("0\t1\t1\t0.5\t1\t0:00:01", "line 3 of .* has image 0, as line 2"),
])  # fmt: skip
def test_a_damaged_line_is_refused_and_named(path, line, message):
    with pytest.raises(InputError, match=message):
        read(path, f"{HEADER}0\t1\t1\t0.5\t1\t0:00:01\n{line}\n2\t1\t1\t0.5\t1\t0:00:01\n")


def test_files_that_are_no_logs_are_refused(path, tmp_path):
    with pytest.raises(StoreError, match="can't be read"):
        smoothing.read_log(tmp_path / "none.tsv")
    for content, message in {"": "without the column 'idx'", "idx\tlabel\tradius\n": "without the column 'predict'",
                             "0\t3\t3\t0.8\t1\t0:00:01\n": "a header such as idx label", b"\xff\xfe": "is not text",
                             "idx\tidx\tlabel\tpredict\tradius\n": "two columns 'idx'"}.items():  # fmt: skip
        with pytest.raises(InputError, match=message):
            read(path, content)


def test_a_written_log_is_a_published_one_with_all_digits(path):
    certificates = make_certificates(
        6, radius=np.where(np.arange(6) % 3 == 2, 0.0, 0.1 / 3), seconds=[0.5, 75.25, 0, 0, 0, 90000]
    )
    smoothing.write_log(path, certificates, LABELS, SETTINGS)
    lines = path.read_text().splitlines()
    assert lines[0] + "\n" == HEADER
    assert lines[1] == "0\t0\t0\t0.03333333333333333\t1\t0:00:00.500000"
    assert lines[3] == "40\t2\t-1\t0.0\t0\t0:00:00.000000"
    assert lines[6].endswith("1 day, 1:00:00.000000")
    log = smoothing.read_log(path)
    assert log.radius.tolist() == certificates.radius.tolist() and log.seconds.tolist() == certificates.seconds.tolist()
    assert (log.settings, log.guarantee, log.stride) == (SETTINGS, "sound", 20)
    assert log.abstained.tolist() == certificates.abstained.tolist()
    assert "guarantee 'sound'" in repr(log)


def test_other_programs_read_a_written_log(path):
    pandas = pytest.importorskip("pandas")
    certificates = make_certificates(6)
    smoothing.write_log(path, certificates, LABELS, SETTINGS)
    frame = pandas.read_csv(path, delimiter="\t")
    assert list(frame) == HEADER.split()
    assert frame["radius"].tolist() == certificates.radius.tolist()
    at = [(frame["correct"] & (frame["radius"] >= r)).mean() for r in (0.0, 0.11)]  # as the published script
    assert at == smoothing.certified_accuracy(certificates, LABELS, [0.0, 0.11]).tolist()


@given(st.floats(0.0, 1e6), st.integers(1, 12))
def test_radii_are_never_rounded_up(radius, digits):
    rounded = float(_radius_text(radius, digits))
    assert rounded <= radius and radius - rounded <= 10.0**-digits * (1 + 1e-9) + radius * 2.0**-52
    assert float(_radius_text(radius, None)) == radius


def test_rounded_radii_do_not_increase_accuracies(path):
    threshold = 0.25
    certificates = make_certificates(6, radius=np.where(np.arange(6) % 3 == 2, 0.0, 0.2499), p_low=0.98)
    smoothing.write_log(path, certificates, LABELS, SETTINGS, digits=3)
    log = smoothing.read_log(path)
    assert set(log.radius.tolist()) == {0.0, 0.249}
    assert float(f"{0.2499:.3}") == threshold  # what three significant digits, rounded to nearest, would give
    assert smoothing.certified_accuracy(log, radii=[threshold]) == 0.0


def test_times_round_to_microseconds():
    assert _time_text(59.9999999) == "0:01:00.000000"
    assert _time_text(float("nan")) == "nan"


def test_an_interruption_at_every_byte_of_the_last_line_changes_nothing(path):
    certificates = make_certificates(4)
    smoothing.write_log(path, certificates, LABELS[:4], SETTINGS)
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(whole) + 1):
        path.write_bytes(whole[:end])
        with smoothing.LogWriter(path, SETTINGS, resume=True) as writer:
            assert writer.done == ({0, 20, 40, 60} if end == len(whole) else {0, 20, 40})
            for certificate, label in zip(certificates, LABELS, strict=False):
                if certificate.image not in writer.done:
                    writer.append(label, certificate)
        assert path.read_bytes() == whole


def test_an_interruption_within_the_header_changes_nothing(path):
    certificates = make_certificates(1)
    smoothing.write_log(path, certificates, [0], SETTINGS)
    whole = path.read_bytes()
    for end in (None, 0, 1, len(HEADER) - 1, len(HEADER)):
        path.unlink() if end is None else path.write_bytes(whole[:end])
        with smoothing.LogWriter(path, SETTINGS, resume=True) as writer:
            assert writer.done == set()
            writer.append(0, certificates[0])
        assert path.read_bytes() == whole


def test_each_line_is_on_the_disk_when_append_returns(path):
    with smoothing.LogWriter(path, SETTINGS) as writer:
        writer.append(3, one(image=4))
        assert smoothing.read_log(path).idx.tolist() == [4]
        with pytest.raises(StoreError, match="is being written by this process, which opened it at"):
            smoothing.LogWriter(path, SETTINGS, resume=True)


def test_other_settings_are_refused_and_named(path):
    smoothing.write_log(path, make_certificates(2), [0, 1], SETTINGS)
    for changed, message in [
        ({**SETTINGS, "sigma": 0.5}, "was made with sigma 0.25, not 0.5"),
        ({**SETTINGS, "guarantee": "nominal"}, "guarantee 'sound', not 'nominal'"),
        ({name: SETTINGS[name] for name in ("guarantee", "alpha", "model", "steps")}, "sigma 0.25, not None"),
    ]:
        with pytest.raises(DigestMismatchError, match=message):
            smoothing.LogWriter(path, changed, resume=True)
    with pytest.raises(DigestMismatchError, match="digits None, not 4"):
        smoothing.LogWriter(path, SETTINGS, resume=True, digits=4)
    with pytest.raises(StoreError, match="exists; resume it"):
        smoothing.LogWriter(path, SETTINGS)
    (path.parent / "log.tsv.json").unlink()
    with pytest.raises(StoreError, match=r"log.tsv.json with the settings of .* is missing"):
        smoothing.LogWriter(path, SETTINGS, resume=True)


def test_settings_without_a_guarantee_are_refused(path):
    for settings, message in [({}, "no guarantee"), ([1], "no guarantee"), ({"guarantee": "sure"}, "choices are 'sound'"),
                              ({"guarantee": "sound", "x": {1}}, "written as JSON"),
                              ({"guarantee": "sound", "x": float("nan")}, "written as JSON")]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            smoothing.LogWriter(path, settings)
    assert not list(path.parent.iterdir())


def test_certificates_of_other_settings_and_repeated_images_are_refused(path):
    with smoothing.LogWriter(path, SETTINGS) as writer:
        writer.append(3, one())
        with pytest.raises(InputError, match=r"image 0 is in .* already"):
            writer.append(3, one())
        with pytest.raises(InputError, match=r"guarantee 'nominal', but .* is for 'sound'"):
            writer.append(3, one(image=1, guarantee="nominal"))
        with pytest.raises(InputError, match=r"sigma 0.5, but .* is for 0.25"):
            writer.append(3, one(image=1, sigma=0.5))
    with pytest.raises(StoreError, match="is closed with 1 images"):
        writer.append(3, one(image=2))
    assert len(smoothing.read_log(path)) == 1


def test_a_damaged_log_is_not_continued(path):
    smoothing.write_log(path, make_certificates(2), [0, 1], SETTINGS)
    content = path.read_text()
    path.write_text(content.replace("20\t", "twenty\t"))
    with pytest.raises(InputError, match="where idx is 'twenty'"):
        smoothing.LogWriter(path, SETTINGS, resume=True)
    path.write_text(content)
    with smoothing.LogWriter(path, SETTINGS, resume=True) as writer:
        assert writer.done == {0, 20}


def test_a_full_disk_keeps_the_lines_before(path, monkeypatch):
    writer = smoothing.LogWriter(path, SETTINGS)
    writer.append(3, one(image=1))
    whole, file = path.read_bytes(), writer._file

    class Full:
        def write(self, line):
            return file.write(line[:7])

        def close(self):
            file.close()

    monkeypatch.setattr(writer, "_file", Full())
    with pytest.raises(StoreError, match=r"can't be extended .*free space and resume it"):
        writer.append(3, one(image=2))
    assert path.read_bytes() != whole
    smoothing.LogWriter(path, SETTINGS, resume=True).close()
    assert path.read_bytes() == whole


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(StoreError, match="make the folder first"):
        smoothing.LogWriter(tmp_path / "none" / "log.tsv", SETTINGS)


def test_a_settings_file_of_another_program_is_not_read(path):
    path.write_text(PUBLISHED)
    beside = path.with_name("log.tsv.json")
    beside.write_text(json.dumps({"lr": 0.1}))
    assert smoothing.read_log(path).settings == {}
    beside.write_text("{")
    with pytest.raises(StoreError, match="can't be read"):
        smoothing.read_log(path)
