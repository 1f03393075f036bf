"""ERAN's text form: layers, the label of the last one, damaged files."""

import numpy as np
import pytest

from pwlnet.convert.text.eran import read_eran
from pwlnet.errors import ConversionError, InputError, PwlnetWarning, UnsupportedOperationError
from tests.reference.graph_values import evaluate_rows

FIRST = ["ReLU", "[[ 1.5e-01, -2.0], [3, 0.25 ], [-1e-3, 1.]]", "[0.5, -0.5,   .1]"]
W1, B1 = np.array([[0.15, -2.0], [3.0, 0.25], [-0.001, 1.0]]), np.array([0.5, -0.5, 0.1])
MATRIX, BIAS = "[[1.0, -1.0, 2.0], [0.5, 4.0, -3.0, ], ]", "[-0.25, 0.75, ]"
W2, B2 = np.array([[1.0, -1.0, 2.0], [0.5, 4.0, -3.0]]), np.array([-0.25, 0.75])
ROWS = np.random.default_rng(0).standard_normal((20, 2))
LINEAR = np.maximum(ROWS @ W1.T + B1, 0.0) @ W2.T + B2


def save(lines, folder):
    path = folder / "net.eran"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("kind", "expected"), [("Affine", LINEAR), ("HardTanh", np.clip(LINEAR, -1.0, 1.0))])
def test_an_affine_or_hardtanh_last_layer_is_taken_as_it_is(kind, expected, tmp_path):
    graph = read_eran(save([*FIRST, kind, MATRIX, BIAS], tmp_path))
    np.testing.assert_allclose(evaluate_rows(graph, ROWS), expected, rtol=1e-14)


def test_a_relu_on_the_last_layer_is_dropped_with_a_warning(tmp_path):
    path = save([*FIRST, "ReLU", MATRIX, BIAS], tmp_path)
    with pytest.warns(PwlnetWarning, match=r"the last layer of .* is labelled ReLU, .* last_relu='keep'\) applies it"):
        graph = read_eran(path)
    np.testing.assert_allclose(evaluate_rows(graph, ROWS), LINEAR, rtol=1e-14)


@pytest.mark.parametrize(("word", "expected"), [("keep", np.maximum(LINEAR, 0.0)), ("drop", LINEAR)])
def test_what_becomes_of_the_last_relu_can_be_said(word, expected, tmp_path):
    graph = read_eran(save([*FIRST, "ReLU", MATRIX, BIAS], tmp_path), last_relu=word)
    np.testing.assert_allclose(evaluate_rows(graph, ROWS), expected, rtol=1e-14)


def test_an_unknown_word_for_the_last_relu_is_refused(tmp_path):
    with pytest.raises(InputError, match="last_relu is 'maybe'; it must be one of"):
        read_eran(tmp_path / "any", last_relu="maybe")


def test_a_normalize_line_scales_the_inputs(tmp_path):
    lines = ["Normalize mean=[0.5, -1.0] std=[2.0, 4.0]", *FIRST, "Affine", MATRIX, BIAS]
    scaled = (ROWS - [0.5, -1.0]) / [2.0, 4.0]
    expected = np.maximum(scaled @ W1.T + B1, 0.0) @ W2.T + B2
    np.testing.assert_allclose(evaluate_rows(read_eran(save(lines, tmp_path)), ROWS), expected, rtol=1e-13)


def test_a_single_output_is_a_matrix_of_one_row(tmp_path):
    graph = read_eran(save(["Affine", "[[2.0, 3.0]]", "[1.0]"], tmp_path))
    np.testing.assert_array_equal(evaluate_rows(graph, [[1.0, 1.0]]), [[6.0]])


@pytest.mark.parametrize("kind", ["Sigmoid", "Conv2D", "MaxPooling2D, pool_size=[2, 2]", "LeakyReLU"])
def test_other_layers_are_refused_by_line_and_name(kind, tmp_path):
    with pytest.raises(UnsupportedOperationError, match=r"node 'line 4' is (Sigmoid|Conv2D|MaxPooling2D|LeakyReLU), "):
        read_eran(save([*FIRST, kind, MATRIX, BIAS], tmp_path))


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ([], ConversionError, "has no layers"),
        (["[1, 2]"], ConversionError, r"line 1 of .* is '\[1, 2\]', where an ERAN text file has a layer's type"),
        ([*FIRST, "Affine", MATRIX], ConversionError, "ends after the Affine of line 4"),
        (
            [*FIRST, "Affine", "[[1, 2]]", "[0]"],
            ConversionError,
            "line 5 of .* has rows of 2 weights; .* has 3 outputs",
        ),
        ([*FIRST[:2], "[1, 2]"], ConversionError, r"lines 2 and 3 of .* have 3 rows of weights of lengths \[2\] and 2"),
        (["ReLU", "[[1, 2], [3]]", "[1, 2]"], ConversionError, r"rows of weights of lengths \[1, 2\]"),
        (["ReLU", "[[1, two]]", "[1]"], ConversionError, "line 2 of .* holds 'two', which is not a number"),
        (["ReLU", "[[1, 2.0.1]]", "[1]"], ConversionError, "line 2 of .* holds '2.0.1', which is not a number"),
        (["ReLU", "[[1, nan]]", "[1]"], InputError, "line 2 of .* holds a number that is not finite"),
        (["ReLU", "[[1, 2]", "[1]"], ConversionError, r"line 2 of .* is '\[\[1, 2\]', where a list"),
        (["Normalize 1 2", *FIRST], ConversionError, "line 1 of .* must be Normalize mean="),
        (["Normalize mean=[0] std=[0]", *FIRST], ConversionError, "line 1 of .* divides by the std 0.0"),
        (["Normalize mean=[0,0,0] std=[1]", *FIRST], ConversionError, "normalizes by 3 means .* takes 2 inputs"),
    ],
)
def test_a_damaged_file_gets_one_sentence_that_names_the_line(lines, error, message, tmp_path):
    with pytest.raises(error, match=message):
        read_eran(save(lines, tmp_path))


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(ConversionError, match="is not a readable ERAN text file"):
        read_eran(tmp_path / "no.eran")
    (tmp_path / "net.eran").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConversionError, match="is not a readable ERAN text file"):
        read_eran(tmp_path / "net.eran")
