""".nnet files: their formula, headers that mean something and headers that don't, damaged files."""

import warnings

import numpy as np
import pytest

from pwlnet.convert.text.nnet import read_nnet
from pwlnet.errors import ConversionError, InputError, PwlnetWarning
from tests.reference.graph_values import evaluate_rows

W1, B1 = np.array([[0.1, -2.0], [3.0, 0.25], [-1e-3, 1.0]]), np.array([0.5, -0.5, 0.1])
W2, B2 = np.array([[1.0, -1.0, 2.0], [0.5, 4.0, -3.0]]), np.array([-0.25, 0.75])
HEADER = ["0,", "-1.0,0.0,", "3.0,10.0,", "1.0,5.0,7.5,", "2.0,10.0,100.0,"]
PLACEHOLDERS = ["0"] * 5


def lines_of(header=HEADER, sizes="2,3,2,", counts="2,2,2,3,"):
    """A 2-3-2 network as lines; line 1 is a comment, so the first weight row is line 9."""
    lines = ["// a comment, with a comma", counts, sizes, *header]
    for weight, bias in ((W1, B1), (W2, B2)):
        lines += [",".join(repr(float(v)) for v in row) + "," for row in weight]
        lines += [f"{float(v)!r}," for v in bias]
    return lines


def save(lines, folder):
    path = folder / "net.nnet"
    path.write_text("\n".join(lines) + "\n")
    return path


def layers(x):
    return np.maximum(x @ W1.T + B1, 0.0) @ W2.T + B2


ROWS = np.random.default_rng(0).uniform(-4, 12, (20, 2))


def test_a_header_with_means_and_ranges_normalizes_inputs_and_restores_outputs(tmp_path):
    expected = layers((ROWS - [1.0, 5.0]) / [2.0, 10.0]) * 100.0 + 7.5
    np.testing.assert_allclose(evaluate_rows(read_nnet(save(lines_of(), tmp_path)), ROWS), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("means", "ranges"),
    [("0", "0"), ("0,0,", "0,0,"), ("-1,-1,-1,", "-1,-1,-1,"), ("0.0,0.0,0.0,", "1.0,1.0,1.0,"), ("5,5,", "0,0,")],
)
def test_placeholders_in_the_header_mean_no_normalization(means, ranges, tmp_path):
    graph = read_nnet(save(lines_of([*HEADER[:3], means, ranges]), tmp_path))
    assert [node.kind for node in graph.nodes] == ["input", "linear", "relu", "linear"]
    np.testing.assert_allclose(evaluate_rows(graph, ROWS), layers(ROWS), rtol=1e-14)


def test_a_header_with_only_counts_and_free_text_is_read(tmp_path):
    lines = lines_of(["This line extraneous", "0", "0", "0", "0"], sizes="2, 3, 2", counts="2 ")
    np.testing.assert_allclose(evaluate_rows(read_nnet(save(lines, tmp_path)), ROWS), layers(ROWS), rtol=1e-14)


def test_positive_ranges_of_the_wrong_number_are_ignored_with_a_warning(tmp_path):
    path = save(lines_of([*HEADER[:3], "127,127,", "255,255,"]), tmp_path)
    with pytest.warns(PwlnetWarning, match=r"lines 7 and 8 of .* hold 2 means and 2 ranges, not 3"):
        graph = read_nnet(path)
    np.testing.assert_allclose(evaluate_rows(graph, ROWS), layers(ROWS), rtol=1e-14)


def test_inputs_are_clipped_to_the_header_only_where_asked(tmp_path):
    path = save(lines_of(), tmp_path)
    clipped = np.clip(ROWS, [-1.0, 0.0], [3.0, 10.0])
    graph = read_nnet(path, clip_inputs=True)
    np.testing.assert_allclose(evaluate_rows(graph, ROWS), evaluate_rows(read_nnet(path), clipped), rtol=1e-11)
    assert [node.name for node in graph.nodes if node.kind == "clip"] == ["clip_inputs"]


def test_clipping_needs_a_box_in_the_header(tmp_path):
    with pytest.raises(ConversionError, match=r"lines 5 and 6 of .* give no box"):
        read_nnet(save(lines_of(PLACEHOLDERS), tmp_path), clip_inputs=True)


def test_weights_are_the_decimals_of_the_file(tmp_path):
    graph = read_nnet(save(lines_of(), tmp_path))
    np.testing.assert_array_equal(next(n for n in graph.nodes if n.name == "layer1").attributes["weight"], W1)


def test_hidden_layers_are_relu_and_the_last_is_linear(tmp_path):
    names = [node.name for node in read_nnet(save(lines_of(PLACEHOLDERS), tmp_path)).nodes]
    assert names == ["input", "layer1", "relu1", "layer2"]


def replaced(line, text):
    lines = lines_of()
    lines[line - 1] = text
    return lines


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (lines_of()[:-1], ConversionError, "ends at line 17 after 9 rows .* need 10, so the file is cut off"),
        ([*lines_of(), "1.0,"], ConversionError, "ends at line 19 after 11 rows .* need 10"),
        (replaced(9, "0.1,"), ConversionError, "line 9 of .* has 1 numbers; the layer sizes ask for 2"),
        (replaced(12, "0.1,0.2"), ConversionError, "line 12 of .* has 2 numbers; the layer sizes ask for 1"),
        (replaced(10, "0.1,abc"), ConversionError, "line 10 of .* holds 'abc', which is not a number"),
        (replaced(10, "0.1,nan"), InputError, "line 10 of .* holds a number that is not finite"),
        (replaced(10, "0.1,inf"), InputError, "line 10 of .* holds a number that is not finite"),
        (
            replaced(2, "3,2,2,3"),
            ConversionError,
            r"line 2 of .* announces \(3, 2, 2, 3\), but line 3 has .* \(2, 3, 2\)",
        ),
        (replaced(2, "2,5,2,3"), ConversionError, "the number of layers, of inputs and of outputs must agree"),
        (replaced(3, "2,three,2"), ConversionError, "line 3 of .* is '2,three,2', where .* positive integers"),
        (replaced(8, "2.0,0.0,100.0"), ConversionError, "line 8 of .* has the range 0.0 among positive ones"),
        (["// nothing"], ConversionError, "it has 0 lines, too few for a header"),
        (["hello"] * 9, ConversionError, "line 1 of .* is 'hello', where a .nnet file has positive integers"),
    ],
)
def test_a_damaged_file_gets_one_sentence_that_names_the_line(lines, error, message, tmp_path):
    with pytest.raises(error, match=message):
        read_nnet(save(lines, tmp_path))


def test_a_binary_or_missing_file_is_refused(tmp_path):
    path = tmp_path / "net.nnet"
    with pytest.raises(ConversionError, match=r"is not a readable .nnet file"):
        read_nnet(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConversionError, match=r"is not a readable .nnet file"):
        read_nnet(path)


def test_blank_lines_and_windows_line_ends_do_not_matter(tmp_path):
    path = tmp_path / "net.nnet"
    path.write_bytes("\r\n".join([*lines_of(PLACEHOLDERS), "", ""]).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(evaluate_rows(read_nnet(path), ROWS), layers(ROWS), rtol=1e-14)
