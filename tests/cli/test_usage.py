"""What users type: numbers in every form, wrong values, text files of other programs; and what a refused run leaves."""

import sys
import warnings

import numpy as np
import pytest

from pwlnet import cli, store
from pwlnet.cli import arguments
from pwlnet.errors import InputError, PwlnetWarning


@pytest.fixture
def saved(folder, network):
    network.save(folder / "net.h5")
    return folder


def lines(run, *options, out="out.h5"):
    return run("lines", "net.h5", "--random", 3, *options, "--out", out)


@pytest.mark.parametrize("low", ["-1e3", "-1", "-.5", "-1.5E-2", "-1.e+1"])
def test_negative_numbers_of_every_form_are_numbers(saved, run, low):
    code, _, text = lines(run, "--range", low, "1e3")
    assert (code, text) == (0, "")
    with store.open(saved / "out.h5") as opened:
        assert opened.lines().starts.min() >= float(low)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--seed", "-1"], "argument --seed: -1 is negative; a seed is an integer of at least 0"),
        (["--seed", "1.5"], "argument --seed: invalid integer value: '1.5'"),
        (["--range", "0", "inf"], "argument --range: inf is not finite; give a finite number"),
        (["--range", "-inf", "0"], "argument --range: -inf is not finite; give a finite number"),
        (["--range", "nan", "1"], "argument --range: nan is not finite; give a finite number"),
        (["--range", "0", "x"], "argument --range: invalid number value: 'x'"),
    ],
)
def test_wrong_numbers_are_refused_in_one_sentence(saved, run, options, reason):
    code, out, text = lines(run, *options)
    assert (code, out) == (2, "")
    assert text == f"pwlnet: {reason}; pwlnet lines --help shows the usage\n"
    assert not (saved / "out.h5").exists()


def test_a_negative_number_of_samples_is_refused(saved, run):
    code, _, text = run("verify", "out.h5", "--samples", "-1")
    assert (code, text.split(";")[0]) == (2, "pwlnet: argument --samples: -1 is negative")


def test_a_failed_first_run_leaves_nothing_in_the_way_of_the_corrected_one(saved, run):
    assert lines(run, "--max-segments", 1)[0] == 2
    assert not (saved / "out.h5").exists()
    assert lines(run)[0] == 0
    assert lines(run, "--max-segments", 1)[0] == 2  # exists: it is kept
    assert (saved / "out.h5").exists()


def test_a_failed_run_keeps_the_batches_before(saved, run, monkeypatch):
    real, calls = store.StoreWriter.append_lines, []

    def fails(writer, batch):
        calls.append(batch)
        if len(calls) > 1:
            raise KeyboardInterrupt
        real(writer, batch)

    monkeypatch.setattr(store.StoreWriter, "append_lines", fails)
    assert lines(run, "--batch", 1)[0] == 130
    with store.open(saved / "out.h5") as opened:
        assert opened.n_lines == len(calls[0])


def test_a_warning_is_one_line_without_source_and_printed_once(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with cli._plain_warnings():
            for _ in range(2):
                warnings.warn("the Softmax at the end\nwas dropped", PwlnetWarning, stacklevel=1)
    assert capsys.readouterr().err == "pwlnet: warning: the Softmax at the end was dropped\n"


def test_errors_need_no_stderr(saved, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["info", "missing.h5"]) == 2


ROWS = [[1.5, -2.0, 3e-3], [0.0, 1.0, 2.0]]
TEXT = "1.5,-2,3e-3\n0,1,2\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", ",\n").encode(),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace(",", " ").encode(),
        ("# Gr\xf6\xdfe\n\n" + TEXT).encode("latin-1"),
        ("a,b,c\n" + TEXT).encode(),
        ('"a","b","c"\n' + TEXT).encode(),
    ],
)
def test_rows_of_text_are_read_as_programs_write_them(folder, content):
    (folder / "rows.csv").write_bytes(content)
    assert np.array_equal(arguments.read_rows("rows.csv"), ROWS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"1,2\n3,x\n", "line 2 of rows.csv has 'x', which is not a number; give numbers only"),
        (b"1,2\n\n3\n", "line 3 of rows.csv has 1 numbers, but line 1 has 2; rows must be equally long"),
        (b"1,2\n3,\n", "line 2 of rows.csv has '', which is not a number; give numbers only"),
        (b"\0\1\2", "rows.csv can't be read as .csv (it has zero bytes, so it is not text); check the path and the file"),
    ],
)
def test_other_text_is_refused_with_its_line(folder, content, reason):
    (folder / "rows.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        arguments.read_rows("rows.csv")
    assert str(caught.value) == reason
