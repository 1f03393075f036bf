"""Change of the gradient: columns against the measures, tables of known numbers, a run on the shipped networks."""

import numpy as np
import pytest

import pwlnet
from pwlnet import reproduce
from pwlnet.reproduce import gradient_change, subjects
from pwlnet.reproduce.perturbed_lines import perturbed_lines
from tests.reproduce.made_up import OPTIONS, made_up


def numbers(image, rule, direction):
    found = {"mean_l2": 0.5 * direction, "mean_angle": np.pi / 2, "mean_sign": 0.25, "mean_symmetric": 0.125,
             "mean_relative": 10.0**image, "tangent_predicted": 3.0, "tangent_at_end": 1.0, "tangent_largest": 1.0,
             "tangent_variation": 4.0, "label": 2.0, "end_class": 5.0 if image else 2.0, "tangent_class": 5.0}  # fmt: skip
    return found | {"tangent_class": 2.0} if image == 3 else found


def test_tables_of_known_numbers():
    every = {"s": made_up(gradient_change.COLUMNS, "standard", numbers, left_out=(2,))}
    change, tangent, trainings, paper = gradient_change.tabulate(every, OPTIONS)
    assert [row[3].value for row in change.rows] == [0.0, 0.5, 1.0]
    assert [[cell.value for cell in row[4:]] for row in change.rows] == [[pytest.approx(90.0), 0.25, 0.125, 10.0]] * 3
    row = tangent.rows[0]
    assert row[2:4] == (3.0, 2.0)
    assert [cell.value for cell in row[4:]] == pytest.approx([0.25, 2 / 3, 1 / 2, 1 / 3])
    assert trainings.rows == []
    assert paper.rows[0][1] == 3
    assert paper.rows[0][2].value == pytest.approx(1011 / 3)
    assert paper.rows[0][4] == 10.0


def test_trainings_are_compared_by_images_that_both_get_right():
    def half(image, rule, direction):
        return {"mean_l2": 0.25 * direction}

    every = {
        "s": made_up(gradient_change.COLUMNS, "standard", numbers, left_out=(2,)),
        "p": made_up(gradient_change.COLUMNS, "pgd", half, left_out=(3,)),
    }
    rows = gradient_change.tabulate(every, OPTIONS)[2].rows
    assert [(row[2], row[3], row[6].value, row[7]) for row in rows] == [
        ("FGSM", 2, 0.0, 0.0), ("PGD", 2, 0.25, 1.0), ("random signs", 2, 0.5, 1.0)
    ]  # fmt: skip


def test_tables_where_all_images_were_left_out():
    every = {"s": made_up(gradient_change.COLUMNS, "standard", numbers, left_out=range(4))}
    change, tangent, _, paper = gradient_change.tabulate(every, OPTIONS)
    assert change.rows[0][2] == paper.rows[0][1] == 0
    assert tangent.rows[0][2:4] == (None, None)


def test_columns_are_the_measures_of_the_lines():
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    subject = subjects.load("digits_conv_standard")
    values = dict(zip(gradient_change.COLUMNS, gradient_change.measure(subject, 4, OPTIONS).T, strict=True))
    made = perturbed_lines(subject, 4, OPTIONS)
    found = pwlnet.measure_linearity(made.lines, made.target)
    for name, expected in (("mean_l2", found.mean.l2), ("largest_angle", found.largest.angle), ("end_sign", found.at_end.sign),
                         ("mean_relative", found.mean.relative), ("tangent_mean", found.tangent.mean),
                         ("tangent_at_end", found.tangent.at_end), ("gradient_norm", found.gradient_norm)):  # fmt: skip
        assert np.array_equal(values[name], expected)
    weights, offset = subject.network.affine_map(subject.images[4])
    assert np.array_equal(values["tangent_class"], (made.lines.ends @ weights.T + offset).argmax(axis=1))
    wrong = next(i for i in range(len(subject)) if not subject.is_right(i))
    assert np.isnan(gradient_change.measure(subject, wrong, OPTIONS)[:, 1:]).all()


def test_a_run_on_the_shipped_networks(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    result = reproduce.run("gradient-change", tmp_path, n_images=3, networks=["digits"])
    assert [path.name for path in result.figures] == ["gradient_change.png"]
    assert [len(table.rows) for table in result.tables] == [9, 9, 6, 3]
