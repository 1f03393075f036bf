"""Properties of ACAS Xu networks in the formats of ERAN and Marabou; and, with the networks, verdicts of other tools."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import datasets
from pwlnet.errors import InputError
from pwlnet.properties.acas import INPUT_MEAN, INPUT_RANGE, OUTPUT_MEAN, OUTPUT_RANGE

FOLDER = Path(os.environ.get("PWLNET_DATA_DIR") or "nowhere")
needs_data = pytest.mark.skipif(
    not (FOLDER / "acasxu" / "verdicts.csv").is_file(), reason="PWLNET_DATA_DIR names no folder with acasxu/verdicts.csv"
)
SIDES = "[1500, 1800]\n[-0.06, 0.06]\n\n[3.1, 3.14][-3.14, -3.1]\n[980, 1200.0]\n[960, 1.2e3]\n"


@pytest.fixture
def read(tmp_path):
    def call(constraints, box=SIDES, **options):
        (tmp_path / "constraints.txt").write_text(constraints)
        (tmp_path / "box.txt").write_text(box)
        return pwlnet.read_acas_property(tmp_path / "constraints.txt", tmp_path / "box.txt", **options)

    return call


def test_several_intervals_of_a_side_are_several_boxes_with_the_same_condition(read):
    boxes, conditions = read("5\ny0 notmin\n")
    assert [box.lower.tolist() for box in boxes] == [[1500, -0.06, 3.1, 980, 960], [1500, -0.06, -3.14, 980, 960]]
    assert [box.upper.tolist() for box in boxes] == [[1800, 0.06, 3.14, 1200, 1200], [1800, 0.06, -3.1, 1200, 1200]]
    assert len(conditions) == 2 and all(len(union) == 1 for union in conditions)


MEANINGS = {  # what must hold, of outputs without ties
    "y0 notmin": lambda y: y.argmin() != 0,
    "y3 min": lambda y: y.argmin() == 3,
    "y1 max": lambda y: y.argmax() == 1,
    "y0 notmax": lambda y: y.argmax() != 0,
    "y0 y1 min": lambda y: y.argmin() in (0, 1),
    "y3 notmin\ny4 notmin": lambda y: y.argmin() not in (3, 4),
    "y2 y4 notmin": lambda y: y[2] != y[4],
    "y0 <= 0.25": lambda y: y[0] <= 0.25,
    "y2 > -0.25": lambda y: y[2] > -0.25,
    "y1 <= y4": lambda y: y[1] <= y[4],
    "y0 min\ny1 >= 0.5": lambda y: y.argmin() == 0 and y[1] >= 0.5,
}


@pytest.mark.parametrize("constraints", MEANINGS)
def test_the_condition_holds_where_a_constraint_is_violated(read, constraints):
    _, conditions = read(f"5\n{constraints}\n", units="normalized")
    _, raw = read(f"5\n{constraints}\n", units="raw")
    points = np.random.default_rng(0).normal(size=(400, 5))
    expected = [not MEANINGS[constraints](y) for y in points]
    assert [any(part.contains(y)[0] for part in conditions[0]) for y in points] == expected
    points = points * OUTPUT_RANGE + OUTPUT_MEAN
    assert [any(part.contains(y)[0] for part in raw[0]) for y in points] == expected
    assert set(expected) == {True, False} or constraints == "y2 y4 notmin"


def test_ties_violate_what_is_required(read):
    tie = np.array([[1.0, 1.0, 2.0, 2.0, 2.0]])
    for constraint in ("y0 min", "y0 notmin", "y2 max"):
        assert any(part.contains(tie)[0] for part in read(f"5\n{constraint}")[1][0])
    assert not any(part.contains(tie)[0] for part in read("5\ny0 y1 min")[1][0])


def test_normalised_boxes_are_those_that_networks_from_onnx_files_take(read):
    (box, _), _ = read("5\ny0 min", units="normalized")
    (raw, _), _ = read("5\ny0 min")
    assert np.array_equal(box.lower, (raw.lower - INPUT_MEAN) / INPUT_RANGE)
    assert np.array_equal(box.upper, (raw.upper - INPUT_MEAN) / INPUT_RANGE)


MARABOU = "x0 >= 0.6\nx0 <= 0.7\n" + "".join(f"x{i} >= -0.5\nx{i} <= 0.25\n" for i in range(1, 5))


def test_files_of_marabou_are_read(tmp_path):
    path = tmp_path / "property.txt"
    path.write_text(MARABOU + "+y0 -y1 <= 0\ny2 >= 3.5\n")
    (box,), ((condition,),) = pwlnet.read_acas_property(path, units="normalized")
    assert (box.lower.tolist(), box.upper.tolist()) == ([0.6] + [-0.5] * 4, [0.7] + [0.25] * 4)
    assert condition.A.tolist() == [[1, -1, 0, 0, 0], [0, 0, -1, 0, 0]] and condition.b.tolist() == [0, -3.5]
    (box,), ((condition,),) = pwlnet.read_acas_property(path)
    assert box.upper[3] == 0.25 * 1100 + 650
    assert condition.b == pytest.approx([0, -(3.5 * OUTPUT_RANGE + OUTPUT_MEAN)], rel=1e-15)


BAD = [
    ("y0 min\n", SIDES, r"constraints\.txt has the bounds of the inputs, but box is .+; omit box"),
    ("five\ny0 min", SIDES, r"constraints\.txt, line 1 is 'five'; the number of outputs is needed there"),
    ("5\n\ny0 least", SIDES, "line 3 is 'y0 least'; constraints such as 'y0 min', 'y0 notmax', 'y0 y1 min' or 'y0 <= 1.5' are"),
    ("5\ny5 min", SIDES, "line 2 is 'y5 min'; outputs y0 to y4 are needed"),
    ("5\n", SIDES, "has no constraints after the number of outputs; give at least one"),
    ("5\ny0 min", SIDES + "[1, 2]", "has intervals of 6 inputs; the networks take 5"),
    ("5\ny0 min", SIDES.replace("980,", "980;"), r"box\.txt, line 5 is '\[980; 1200.0\]'; intervals \[low, high\] are needed"),
    ("5\ny0 min", SIDES.replace("[980,", "[9800,"), "line 5 is .+; an interval ends before it begins, exchange its numbers"),
]


@pytest.mark.parametrize(("constraints", "box", "message"), BAD)
def test_malformed_files_are_refused_with_the_line(read, constraints, box, message):
    with pytest.raises(InputError, match=message):
        read(constraints, box)


def test_malformed_files_of_marabou_are_refused_with_the_line(tmp_path):
    path = tmp_path / "property.txt"
    for text, message in (
        (MARABOU + "2y0 <= 1\n", "line 11 is '2y0 <= 1'; an inequality such as"),
        (MARABOU + "y7 <= 1\n", "line 11 is 'y7 <= 1'; y0 to y4 are needed"),
        (MARABOU.replace("x0 <= 0.7", "+x0 -x1 <= 0.7"), "line 2 has an inequality with 2 inputs"),
        (MARABOU.replace("x0 <= 0.7\n", ""), "gives input 0 no upper bound"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            pwlnet.read_acas_property(path)
    path.write_text("5\ny0 min")
    with pytest.raises(InputError, match="box is missing; give the file with the intervals"):
        pwlnet.read_acas_property(path)
    with pytest.raises(InputError, match="units is 'feet'"):
        pwlnet.read_acas_property(path, units="feet")


def verdicts():
    path = FOLDER / "acasxu" / "verdicts.csv"
    rows = csv.DictReader(path.read_text().splitlines()) if path.is_file() else ()
    return [(row["property"], row["network"], row["verdict"]) for row in rows]


def decide_property(number, network, **options):
    """Decide a property of ERAN's files; property 6 as in competitions, with v_int up to 1200."""
    specs = FOLDER / "acasxu" / "eran_specs"
    names = (specs / f"acasxu_prop_{number}_{kind}.txt" for kind in ("constraints", "input_prenormalized"))
    boxes, conditions = pwlnet.read_acas_property(*names)
    if number == "6":
        boxes = [pwlnet.Box(box.lower, np.where(np.arange(5) == 4, 1200.0, box.upper)) for box in boxes]
    return pwlnet.decide(pwlnet.load_network(datasets.fetch(network)), boxes, conditions, **options)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(("number", "network", "verdict"), verdicts())
def test_verdicts_of_other_tools_are_found_within_a_minute(number, network, verdict):
    decision = decide_property(number, f"acasxu/nnet/ACASXU_experimental_v2a_{network}.nnet", time_limit=60)
    assert decision.status == verdict
