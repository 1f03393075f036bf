"""Checks of arguments: what passes, in which form, and the sentence for what does not."""

import re

import numpy as np
import pytest

from pwlnet import validation
from pwlnet.errors import InputError, ShapeError

REFUSED = {
    "a fraction": (validation.check_count, (1.5, "n"), {}, "n is 1.5; a positive integer is needed"),
    "a bool": (validation.check_count, (True, "n"), {}, "n is True; a positive integer is needed"),
    "too few": (validation.check_count, (0, "n"), {"least": 2}, "n is 0; an integer of at least 2 is needed"),
    "none": (validation.check_count, (None, "n"), {}, "n is None; a positive integer is needed"),
    "too few or none": (
        validation.check_count, (0, "n"), {"or_none": "no limit"},
        "n is 0; a positive integer is needed, or None for no limit",
    ),
    "no number": (validation.check_number, ("1", "x"), {}, "x is '1'; a number is needed"),
    "NaN": (validation.check_number, (np.nan, "x"), {}, "x is nan; a finite number of at least 0 is needed"),
    "the limit": (validation.check_number, (0.0, "x"), {"above": True}, "x is 0.0; a finite number above 0 is needed"),
    "no choice": (validation.check_choice, ("c", ("a", "b"), "word"), {}, "word is 'c'; the choices are 'a', 'b'"),
    "an index past the end": (
        validation.check_index, (3, "k", 3, "neurons"), {}, "k is 3, but the network has neurons 0 to 2; give one of these",
    ),
    "an output past the end": (
        validation.as_outputs, ([0, 3], 3), {}, "output 3 was given, but the network has 3 outputs; count from 0",
    ),
    "half an output": (
        validation.as_outputs, ([0.5], 3), {}, "outputs is [0.5]; integers below 3 are needed, or None for all",
    ),
    "a target below zero": (
        validation.as_targets, ([0, -1], 2, 3), {}, "target -1 was given, but the network has 3 outputs; count from 0",
    ),
    "half a target": (
        validation.as_targets, (0.5, 2, 3), {}, "targets has dtype float64; integers below 3 are needed, one per line",
    ),
    "a NaN": (
        validation.refuse_not_finite, (np.array([[0.0], [np.nan]]), "X"), {"first_row": 4},
        "X has 1 rows with NaN or infinite entries, the first is row 5; remove them",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_pass_gets_one_sentence(name):
    check, arguments, options, sentence = REFUSED[name]
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        check(*arguments, **options)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_any_type_become_ints(value):
    for result in (validation.check_count(value, "n"), validation.check_index(value, "k", 4, "neurons")):
        assert type(result) is int
        assert result == 3
    assert validation.check_count(None, "n", or_none="no limit") is None
    assert validation.check_count(0, "n", least=0) == 0


def test_outputs_and_targets_take_their_form():
    assert validation.as_outputs(None, 3).tolist() == [0, 1, 2]
    assert validation.as_outputs(2, 3).tolist() == [2]
    assert validation.as_targets(1, 3, 2).tolist() == [1, 1, 1]
    targets = validation.as_targets([[0, 1], [1, 1]], 2, 2)
    assert targets.tolist() == [[0, 1], [1, 1]]
    assert not targets.flags.writeable


def test_targets_of_another_number_of_lines_are_refused():
    with pytest.raises(ShapeError, match=r"^targets has shape \(3,\), but there are 2 lines; give one output per line, or"):
        validation.as_targets([0, 0, 0], 2, 3)


def test_points_of_both_forms_become_rows():
    points = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    for form in (points, points.reshape(2, 6), points.reshape(2, 6).tolist()):
        rows = validation.as_points(form, 6, (2, 3), "X")
        assert rows.dtype == np.float64
        assert np.array_equal(rows, points.reshape(2, 6))
    assert validation.as_points(points[0], 6, (2, 3), "X").shape == (1, 6)
    assert validation.as_points(np.empty((0, 6)), 6, (2, 3), "X").shape == (0, 6)
    with pytest.raises(
        ShapeError, match=r"^X has shape \(2, 5\), but the network takes 6 inputs; give \(rows, 6\) or \(rows, 2, 3\)$"
    ):
        validation.as_points(np.zeros((2, 5)), 6, (2, 3), "X")
