"""Flips that smoothing corrects: networks that can be computed by hand, statistics with known results."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom, norm

from pwlnet.analysis.vulnerability import KINDS
from pwlnet.reproduce import corrected_tables as tables
from pwlnet.reproduce import smoothing_corrects as experiment
from pwlnet.reproduce.experiment import Measured
from tests.reproduce.small_networks import WIDTH, linear, options, step, subject

pytest.importorskip("torch")

OPTIONS = options({**experiment.PARAMETERS, "pgd_steps": 5, "n": 200})
FLOAT, LIPSCHITZ = KINDS.index("float"), KINDS.index("lipschitz")


def measured(measured_subject, i=0, factor=1.0):
    """Measure an image, with attacks of ``factor`` times their radius: list of dicts of columns."""
    subject = dataclasses.replace(measured_subject, dataset="mnist")  # without the denoiser of the digits
    given = OPTIONS._replace(parameters={**OPTIONS.parameters, "scale": factor})
    rows = [dict(zip(experiment.COLUMNS, row)) for row in experiment.measure(subject, i, given)]
    assert [(row["sigma"], row["mode"]) for row in rows[::2]] == [(0.1, 0), (0.1, 1), (0.25, 0), (0.25, 1)]
    return rows


def test_a_flip_far_behind_the_boundary_is_not_corrected():
    """The attack goes 1.5 towards the boundary, noise of 0.1 and 0.25 does not lead back."""
    rows = measured(linear([[0.9, 0.9]], [1]))
    assert [row["B"] for row in rows[::2]] == [LIPSCHITZ] * 4
    assert [row["outcome"] for row in rows[::2]] == [tables.OUTCOMES.index("wrong")] * 4
    assert [row["clean"] for row in rows] == [tables.OUTCOMES.index("right")] * 8
    assert np.isnan([row["outcome"] for row in rows[1::2]]).all()  # l_inf with radius 0.1 does not flip it


def test_a_flip_near_the_boundary_is_undecided():
    """The l_inf attack ends at x0 + x1 = 0.999: half of the noisy copies are on each side."""
    rows = measured(linear([[0.6, 0.599]], [1]))
    assert [row["outcome"] for row in rows[1::2]] == [tables.OUTCOMES.index("abstained")] * 4


def test_a_float_flip_is_not_corrected_where_noisy_copies_are_on_its_side():
    """x = 0.5 + 0.97 WIDTH is of class 1 and ends on the left of the step, at 0.41 with the l_inf attack."""
    rows = measured(step([[0.5 + 0.97 * WIDTH]], [1]))
    assert [row["B"] for row in rows] == [FLOAT] * 8
    assert norm.cdf((0.5 + 0.95 * WIDTH - 0.41) / 0.1) > 0.8  # the share of class 0 among noisy copies
    assert rows[1]["outcome"] == tables.OUTCOMES.index("wrong")


def test_a_flip_into_a_narrow_strip_is_corrected():
    """Class 0 is within 0.01 of 0.42; the l_inf attack goes from 0.438 to its middle, where the second neuron switches off."""
    strip = subject([([[50.0]] * 3, [-20.0, -21.0, -22.0]), ([[2.0, -4.0, 2.0], [0.0, 0.0, 0.0]], [-1.0, 0.0])], [[0.438]], [1])
    rows = measured(strip, factor=0.18)[1::2]
    assert [row["B"] for row in rows] == [FLOAT] * 4 and rows[0]["share"] == pytest.approx(2.0)
    assert [row["outcome"] for row in rows if row["mode"] == 0] == [tables.OUTCOMES.index("right")] * 2


def test_misclassified_images_and_images_without_flips():
    assert np.isnan(experiment.measure(linear([[0.7, 0.6]], [0]), 0, OPTIONS)[0, 1:]).all()
    calm = measured(linear([[0.1, 0.0]], [0]), factor=0.1)
    assert np.isnan([(row["outcome"], row["clean"]) for row in calm]).all() and {row["B"] for row in calm} == {0}


def made_up(flips, *, title="digits MLP of depth 3, standard training", training="standard"):
    """Make a Measured of flips (kind, outcome) of images, the same for all attacks, noises and rules; None: misclassified."""
    rows = []
    for i, flip in enumerate(flips):
        if flip is None:
            rows.append([i, *[np.nan] * (len(tables.COLUMNS) - 1)])
            continue
        for attack in range(2):
            for sigma in tables.SIGMAS:
                for mode in range(3):
                    outcome = 1 if mode == 2 else tables.OUTCOMES.index(flip[1])
                    rows.append([i, attack, sigma, mode, *[KINDS.index(flip[0])] * 5, 0.5, outcome, 1])
    return Measured(training, title, training, "digits", tables.COLUMNS, np.array(rows, float), Path("no"))


FLIPS = [("float", "right"), None, ("float", "wrong"), ("lipschitz", "abstained"), ("float", "right"), ("joint", "right")]


def test_shares_are_by_kind_and_abstentions_are_not_corrections():
    m = made_up(FLIPS)
    single, pooled, modes = tables.tabulate({"m": m}, OPTIONS)
    row = single.rows[0]
    assert row[1:4] == ("PGD, l_2", 0.1, 3) and row[4].value == pytest.approx(2 / 3)
    assert row[5] == 1 and row[6] == (0.0, 0.0, pytest.approx(0.975)) and row[7] == pytest.approx(2 / 3)
    assert row[8] == 1.0  # Fisher: two of four flips are not corrected, one of them Lipschitz
    assert (row[9].value, row[10].value, row[11]) == (0.6, 0.2, 1.0)
    assert len(single.rows) == 4 and len(pooled.rows) == 2 * (len(tables.RULES) + 2)
    assert pooled.rows[0][:5] == ("digits MLP of depth 3", 1, 0.1, "plain", "A")
    assert pooled.rows[0][9].value == pytest.approx(2 / 3)
    (nominal, denoiser), cells = modes.rows[:2], slice(4, 8)
    assert [getattr(cell, "value", cell) for cell in nominal[cells]] == [5, 0.6, 0.6, 0.0]
    assert [getattr(cell, "value", cell) for cell in denoiser[cells]] == pytest.approx([5, 1.0, 0.6, 0.4])


def test_differences_are_within_networks():
    """In each network, both kinds are corrected equally often; pooled, float flips would be corrected more often."""
    easy = made_up([("float", "right")] * 8 + [("lipschitz", "right")])
    hard = made_up([("float", "wrong")] + [("lipschitz", "wrong")] * 8, training="noise 0.1")
    _, pooled, _ = tables.tabulate({"e": easy, "h": hard}, OPTIONS)
    row = pooled.rows[1]
    assert row[1] == 2 and row[6].value == pytest.approx(8 / 9) and row[8].value == pytest.approx(1 / 9)
    assert row[9] == (0.0, 0.0, 0.0) and row[10] == 1.0


def test_the_test_of_mantel_and_haenszel_is_that_of_the_hypergeometric_distribution():
    from scipy.stats import chi2

    table = [[7, 10, 2, 8], [3, 4, 5, 12], [2, 2, 0, 0]]
    laws = [hypergeom(n1 + n0, a + c, n1) for a, n1, c, n0 in table[:2]]
    excess = abs(7 + 3 - sum(law.mean() for law in laws)) - 0.5
    expected = chi2.sf(excess**2 / sum(law.var() for law in laws), 1)
    assert tables.mantel_haenszel(table) == pytest.approx(expected) and 0.01 < expected < 0.2
    assert tables.mantel_haenszel([[2, 3, 0, 0], [0, 0, 1, 2]]) is None
    assert tables.mantel_haenszel([[3, 3, 2, 2]]) == 1.0


def test_figures_are_drawn_with_and_without_flips():
    pytest.importorskip("matplotlib")
    networks = {"s": made_up(FLIPS), "n": made_up([None], training="noise 0.1")}
    (figure,) = tables.draw(networks, OPTIONS).values()
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([2 / 3, 0, 0, 0, 2 / 3, 0, 0, 0])
