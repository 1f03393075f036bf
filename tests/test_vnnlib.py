"""VNN-LIB files: what is read, against the meaning of the text at random points; what is refused, with the line."""

import gzip
import importlib.util

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import CapacityError, InputError
from pwlnet.properties import cases

VNNLIB = importlib.util.find_spec("vnnlib")
pytestmark = pytest.mark.skipif(VNNLIB is None, reason="vnnlib is not installed")
DECLARED = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
BOX = "(assert (>= X_0 -1.5))\n(assert (<= X_0 2))\n(assert (and (<= X_1 0.5) (>= X_1 -1e-2)))\n"


def version():
    import vnnlib

    return 2 if hasattr(vnnlib, "parse_query_string") else 1


first_only = pytest.mark.skipif(VNNLIB is not None and version() == 2, reason="the installed vnnlib parses VNN-LIB 2")
second_only = pytest.mark.skipif(VNNLIB is None or version() == 1, reason="the installed vnnlib parses VNN-LIB 1")


@pytest.fixture
def read(tmp_path):
    def call(text, name="p.vnnlib"):
        (tmp_path / name).write_text(text)
        return pwlnet.read_vnnlib(tmp_path / name)

    return call


def holds(boxes, conditions, x, y):
    """Whether some box with one of its conditions holds at inputs x and outputs y."""
    return any(
        (x >= box.lower).all() and (x <= box.upper).all() and any(part.contains(y)[0] for part in union)
        for box, union in zip(boxes, conditions, strict=True)
    )


@first_only
def test_a_box_and_a_union_of_polytopes_are_read(read):
    boxes, conditions = read(DECLARED + BOX + "(assert (or (<= Y_0 Y_1) (and (>= (+ Y_0 (* 2.0 Y_2)) 3.5) (<= Y_1 1))))\n")
    assert [(box.lower.tolist(), box.upper.tolist()) for box in boxes] == [([-1.5, -0.01], [2.0, 0.5])]
    (union,) = conditions
    assert [part.A.tolist() for part in union] == [[[1, -1, 0]], [[-1, 0, -2], [0, 1, 0]]]
    assert [part.b.tolist() for part in union] == [[0], [-3.5, 1]]


TEXTS = {
    "(and (<= Y_0 Y_1) (<= Y_0 Y_2))": lambda x, y: y[0] <= y[1] and y[0] <= y[2],
    "(or (and (<= Y_0 Y_1) (>= X_0 0)) (and (>= Y_2 1.0) (<= X_0 0)))": lambda x, y: (
        (y[0] <= y[1] and x[0] >= 0) or (y[2] >= 1 and x[0] <= 0)
    ),
    "(not (or (< Y_0 0.5) (>= Y_1 (- 0.25))))": lambda x, y: y[0] >= 0.5 and y[1] <= -0.25,
    "(= (- Y_0 Y_1) 0)": lambda x, y: y[0] == y[1],
    "(<= (/ (* 3 (+ Y_0 Y_1)) 2) (- Y_2 (* Y_0 0.5) 1))": lambda x, y: 1.5 * (y[0] + y[1]) <= y[2] - 0.5 * y[0] - 1,
    "true": lambda x, y: True,
    "(and (or (<= Y_0 0) (<= Y_1 0)) (or (>= Y_2 0) (>= Y_1 1)))": lambda x, y: (
        (y[0] <= 0 or y[1] <= 0) and (y[2] >= 0 or y[1] >= 1)
    ),
}


@first_only
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_read_means_what_the_text_says(read, text):
    boxes, conditions = read(f"{DECLARED}{BOX}(assert {text})")
    rng, answers = np.random.default_rng(0), set()
    for _ in range(300):
        x, y = rng.integers(-6, 9, 2) / 4, rng.integers(-8, 9, 3) / 4
        inside = -1.5 <= x[0] <= 2 and -0.01 <= x[1] <= 0.5
        expected = inside and TEXTS[text](x, y)
        assert holds(boxes, conditions, x, y) == expected
        answers.add(expected)
    assert answers == {True, False}


@first_only
def test_order_and_assertions_between_those_of_inputs_do_not_matter(read):
    """The reader of the package for boxes and polytopes mixes up rows of such files."""
    rows = ["(assert (<= Y_0 1))\n", "(assert (>= Y_1 2))\n"]
    boxes, conditions = read(DECLARED + rows[0] + BOX + rows[1] + "(assert (or (<= Y_2 3) (>= Y_2 4)))")
    assert len(boxes) == 1 and [part.b.tolist() for part in conditions[0]] == [[1, -2, 3], [1, -2, -4]]
    assert [part.A.tolist() for part in conditions[0]] == [[[1, 0, 0], [0, -1, 0], [0, 0, s]] for s in (1, -1)]


@first_only
def test_several_boxes_are_lists_and_empty_ones_are_left_out(read):
    text = DECLARED + "(assert (>= X_1 0))(assert (<= X_1 1))\n(assert (or"
    text += " (and (>= X_0 0) (<= X_0 1) (<= Y_0 0)) (and (>= X_0 2) (<= X_0 3) (<= Y_0 5))"
    text += " (and (>= X_0 0) (<= X_0 1) (<= Y_1 0)) (and (>= X_0 1) (<= X_0 0) (<= Y_1 0))))"
    boxes, conditions = read(text)
    assert [box.lower.tolist() for box in boxes] == [[0, 0], [2, 0]]
    assert [[part.b.tolist() for part in union] for union in conditions] == [[[0], [0]], [[5]]]


@first_only
def test_bounds_that_are_not_floating_point_numbers_are_rounded_outward(read):
    boxes, _ = read(DECLARED + BOX.replace("(<= X_0 2)", "(<= (* 3 X_0) 1)") + "(assert (<= Y_0 0))")
    assert boxes[0].upper[0] >= 1 / 3 and 3 * boxes[0].upper[0] >= 1 and boxes[0].upper[0] <= np.nextafter(1 / 3, 1)


@first_only
def test_compressed_files_and_decide_take_what_is_read(tmp_path):
    network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    inputs, outputs = range(network.n_inputs), range(network.n_outputs)
    text = "".join(f"(declare-const {kind}_{i} Real)\n" for kind, n in (("X", inputs), ("Y", outputs)) for i in n)
    text += "".join(f"(assert (<= X_{i} 0.1))(assert (>= X_{i} -0.1))\n" for i in inputs)
    path = tmp_path / "p.vnnlib.gz"
    path.write_bytes(gzip.compress((text + "(assert (<= Y_0 1000.0))").encode()))
    assert pwlnet.decide(network, *pwlnet.read_vnnlib(path)).status == "sat"
    path.write_bytes(gzip.compress((text + "(assert (>= Y_0 1000.0))").encode()))
    assert pwlnet.decide(network, *pwlnet.read_vnnlib(path), time_limit=30).status == "unsat"


BAD = {
    "(assert (<= Y_0 foo))": r"p\.vnnlib, line 9 is not VNN-LIB \(Undeclared identifier: 'foo'\); correct the file",
    "(assert (<= Y_0 1)": r"line 10 is not VNN-LIB \(.+\); correct the file",
    "(assert (<= Y_0 [))": r"line 9 is not VNN-LIB \(unexpected character: \[\)",
    "(check-sat)": r"is not VNN-LIB \(Unknown command: 'check-sat'\)",
    "(assert (<= (* Y_0 Y_1) 1))": r"line 9 has a product that is not linear; linear inequalities joined by and, or and not",
    "(assert (<= (/ Y_0 0) 1))": "line 9 has a quotient that is not linear",
    "(assert (<= Y_0 Y_1 Y_2))": "line 9 has <= of 3 terms",
    "(assert (xor (<= Y_0 1) (<= Y_1 1)))": "line 9 has xor of 2 terms",
    "(assert (not (= Y_0 1)))": "line 9 has not = of 2 terms",
    "(assert 3)": "line 9 has 3 in the place of an inequality",
    "(assert (<= X_0 Y_0))": "line 9 has an inequality with inputs and outputs; bounds of one input or",
    "(assert (<= (+ X_0 X_1) 1))": "line 9 has an inequality with 2 inputs",
    "(declare-const Z_0 Real)": "line 9 has the variable Z_0; inputs X_0, X_1, ... and outputs Y_0, ... are needed",
    "(declare-const Y_4 Real)": "declares Y_4, but not Y_3; declare all of them",
}


@first_only
@pytest.mark.parametrize("text", BAD)
def test_malformed_files_are_refused_with_the_line(read, text):
    with pytest.raises(InputError, match=BAD[text]):
        read(f"{DECLARED}{BOX}{text}\n")


@first_only
def test_missing_parts_are_named(read, tmp_path):
    with pytest.raises(InputError, match="gives input 1 no upper bound; give one for each input"):
        read(DECLARED + BOX.replace("(<= X_1 0.5)", ""))
    with pytest.raises(InputError, match="declares no outputs Y"):
        read("(declare-const X_0 Real)\n")
    with pytest.raises(InputError, match="can't be read"):
        pwlnet.read_vnnlib(tmp_path / "none.vnnlib")
    with pytest.raises(InputError, match=r"is in VNN-LIB 2, .+ pip install 'vnnlib>=1'"):
        read("(vnnlib-version <2.0>)\n")


@first_only
def test_too_many_cases_are_refused(read, monkeypatch):
    monkeypatch.setattr(cases, "MOST_CASES", 4)
    with pytest.raises(CapacityError, match="more than 4 cases"):
        read(DECLARED + BOX + "(assert (or (<= Y_0 0) (<= Y_1 0) (<= Y_2 0)))" * 2)


def test_a_missing_package_is_named_with_its_extra(read, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "vnnlib", None)
    with pytest.raises(ImportError, match=r"reading VNN-LIB files needs vnnlib, .+ pip install 'pwlnet\[vnnlib\]'"):
        read(DECLARED)


SECOND = """(vnnlib-version <2.0>)
(declare-network net (declare-input X float32 [2]) (declare-output Y float32 [3]))
(assert (and (<= X[0] 2.0) (>= X[0] -1.5) (<= X[1] 0.5) (>= X[1] -0.25)))
(assert (or (<= Y[0] Y[1]) (and (>= (+ Y[0] (* 2.0 Y[2])) 3.5) (<= Y[1] 1.0))))
"""


@second_only
def test_version_2_is_read_where_its_package_is_installed(read):
    boxes, conditions = read(SECOND)
    assert [(box.lower.tolist(), box.upper.tolist()) for box in boxes] == [([-1.5, -0.25], [2.0, 0.5])]
    assert [part.A.tolist() for part in conditions[0]] == [[[1, -1, 0]], [[-1, 0, -2], [0, 1, 0]]]
    assert [part.b.tolist() for part in conditions[0]] == [[0], [-3.5, 1]]
    with pytest.raises(InputError, match="line 4"):
        read(SECOND.replace("Y[1] 1.0", "Z[1] 1.0"))
    with pytest.raises(InputError, match=r"is in VNN-LIB 1, .+ pip install 'vnnlib<1'"):
        read(DECLARED + BOX)
