"""Density by direction: tables of known numbers, and a run on the shipped networks."""

import numpy as np
import pytest

from pwlnet import reproduce
from pwlnet.reproduce import density_directions
from pwlnet.reproduce.paired import RATIOS
from tests.reproduce.made_up import OPTIONS, made_up

NETWORK = "digits_conv_pgd"


def numbers(image, rule, direction):
    """FGSM lines have three times the regions of random ones per length, PGD lines a half; with ends (n + 1) other ratios."""
    n_segments = {0: 9.0, 1: 6.0, 2: 6.0}[direction]
    return {"n_segments": n_segments, "length": {0: 1.0, 1: 4.0, 2: 2.0}[direction], "first_t": 0.25,
            "label": 3.0, "end_class": 3.0 + (direction == 0)}  # fmt: skip


def test_tables_of_known_densities():
    measured = {"a": made_up(density_directions.COLUMNS, "standard", numbers, left_out=(1,))}
    regions, relative, floor = density_directions.tabulate(measured, OPTIONS)
    assert [row[1:7] for row in regions.rows] == [
        ("FGSM", 3, 9.0, 1.0, 0.25, 1.0), ("PGD", 3, 6.0, 4.0, 0.25, 0.0), ("random signs", 3, 6.0, 2.0, 0.25, 0.0)
    ]  # fmt: skip
    assert [row[7].value for row in regions.rows] == [9.0, 1.5, 3.0]
    (fgsm, pgd), names = relative.rows, ("network", "direction", *RATIOS)
    assert dict(zip(names, fgsm))["mean ratio"] == (3.0, 3.0, 3.0)
    assert dict(zip(names, pgd))["median"] == 0.5
    assert dict(zip(names, pgd))["above 1"] == 0.0
    cells = dict(zip(names, floor.rows[0]))
    assert cells["images"] == 3
    assert cells["mean ratio"].value == pytest.approx(10.0 / 3.5)
    assert cells["75 %"] == pytest.approx(10.0 / 3.5)


def test_the_papers_quartiles_are_of_pairs_of_lines():
    lengths = iter([1.0, 2.0] * 100)

    def spread(image, rule, direction):
        return {"n_segments": 1.0, "length": next(lengths) if (rule, direction) == (1, 2) else 1.0}

    measured = {"a": made_up(density_directions.COLUMNS, "standard", spread)}
    cells = dict(zip(("network", "direction", *RATIOS), density_directions.tabulate(measured, OPTIONS)[2].rows[0]))
    assert (cells["25 %"], cells["median"], cells["75 %"]) == (1.0, 1.5, 2.0)
    assert cells["mean ratio"] == (1.5, 1.5, 1.5)


def test_tables_where_all_images_were_left_out():
    measured = {"a": made_up(density_directions.COLUMNS, "standard", numbers, left_out=range(4))}
    regions, relative, floor = density_directions.tabulate(measured, OPTIONS)
    assert regions.rows[0][2:7] == (0, None, None, None, None)
    assert relative.rows[0][2:] == floor.rows[0][2:] == (0, *[None] * 7)


def test_a_run_on_a_shipped_network(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    result = reproduce.run("density-directions", tmp_path, n_images=3, networks=[NETWORK])
    assert [path.name for path in result.figures] == ["density_directions.png"]
    assert [row[2] for row in result.tables[0].rows] == [3, 3, 3]
    assert all(row[3] > 5 for row in result.tables[0].rows)
    again = reproduce.run("density-directions", tmp_path, n_images=3, networks=[NETWORK])
    assert again.tables == result.tables
    assert np.isfinite([row[7].value for row in again.tables[0].rows]).all()
