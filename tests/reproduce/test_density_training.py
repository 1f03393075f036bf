"""Density by training: pairs of networks, tables of known numbers, a run on the shipped networks."""

import numpy as np
import pytest

from pwlnet import reproduce
from pwlnet.reproduce import density_training
from pwlnet.reproduce.paired import RATIOS
from tests.reproduce.made_up import OPTIONS, made_up

NAMES = ("images of", "standard relative to", "direction", *RATIOS)


def regions(n):
    return lambda image, rule, direction: {"n_segments": float(n * (1 + direction)), "length": 2.0}


def measured():
    return {
        "s": made_up(density_training.COLUMNS, "standard", regions(12), left_out=(0,)),
        "p": made_up(density_training.COLUMNS, "pgd", regions(6), left_out=(1,)),
        "d": made_up(density_training.COLUMNS, "diffai", regions(3)),
    }


def test_pairs_are_a_standard_network_and_another_one_of_the_same_images():
    every = measured()
    assert [(a.training, b.training) for a, b in density_training.pairs_by_training(every)] == [
        ("standard", "pgd"), ("standard", "diffai")
    ]  # fmt: skip
    del every["s"]
    assert density_training.pairs_by_training(every) == []


def test_ratios_are_of_images_that_both_networks_get_right():
    absolute, ratios, floor = density_training.tabulate(measured(), OPTIONS)
    assert [row[4] for row in absolute.rows] == [6.0, 3.0, 1.5]
    found = [dict(zip(NAMES, row)) for row in ratios.rows]
    assert [(row["direction"], row["images"]) for row in found] == [
        (direction, n) for n in (2, 3) for direction in ("FGSM", "PGD", "random signs")
    ]
    assert [row["median"] for row in found] == [2.0] * 3 + [4.0] * 3
    assert dict(zip(NAMES, floor.rows[0]))["median"] == pytest.approx(13 / 7)
    assert [row[2] for row in floor.rows] == ["FGSM", "random signs"] * 2


def test_tables_where_all_images_were_left_out():
    every = measured() | {"p": made_up(density_training.COLUMNS, "pgd", regions(6), left_out=range(4))}
    absolute, ratios, _ = density_training.tabulate(every, OPTIONS)
    assert absolute.rows[1][4:] == (None, None, None)
    assert ratios.rows[0][3:] == (0, *[None] * 7)


@pytest.mark.slow
def test_a_run_on_the_shipped_networks(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    result = reproduce.run("density-training", tmp_path, n_images=3, networks=["digits"])
    assert [path.name for path in result.figures] == ["density_training.png"]
    assert len(result.tables[1].rows) == 6
    diffai = [dict(zip(NAMES, row)) for row in result.tables[1].rows if row[1] == "diffai"]
    assert np.all([row["median"] > 1.5 for row in diffai])
