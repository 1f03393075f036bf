"""Statistics of pairs: against values known by hand, and where no image is left."""

import numpy as np
import pytest

from pwlnet.reproduce.paired import DIFFERENCES, RATIOS, difference_cells, draw_boxes, ratio_cells

NAN = np.nan


def test_ratios_of_five_images_that_are_all_above_one():
    cells = dict(zip(RATIOS, ratio_cells(np.array([2.0, 4.0, 6.0, NAN, 8.0, 30.0]), np.array([1.0, 2, 2, 1, 2, 10]), 0)))
    assert cells["images"] == 5
    assert cells["mean ratio"].value == pytest.approx(2.8)
    assert cells["mean ratio"].low < 2.8 < cells["mean ratio"].high
    assert (cells["25 %"], cells["median"], cells["75 %"]) == (2.0, 3.0, 3.0)
    assert cells["above 1"] == 1.0
    assert cells["sign test p"] == pytest.approx(2 * 0.5**5)
    assert 0.05 < cells["Wilcoxon p"] < 0.07  # 1 / 16 without ties


def test_signed_ranks_take_ratios_and_their_inverses_alike():
    above = np.array([1.1, 1.3, 0.5, 2.2, 3.1, 0.7])
    there, back = ratio_cells(above, np.ones(6), 0), ratio_cells(np.ones(6), above, 0)
    assert there[-2:] == pytest.approx(back[-2:])
    assert there[RATIOS.index("above 1")] == pytest.approx(4 / 6)


def test_equal_images_tell_nothing():
    assert ratio_cells(np.ones(4), np.ones(4), 0)[-2:] == [1.0, 1.0]
    assert difference_cells(np.zeros(4), np.zeros(4), 0)[-2:] == [1.0, 1.0]


def test_differences_may_have_zeros_and_other_numbers_of_images():
    cells = dict(zip(DIFFERENCES, difference_cells(np.array([0.0, 3.0, 1.0, 5.0]), np.array([0.0, 1.0, 2.0]), 0)))
    assert cells["images"] == 3
    assert [cells[name].value for name in ("first", "second", "difference")] == pytest.approx([4 / 3, 1.0, 1 / 3])
    assert cells["first is more"] == pytest.approx(1 / 3)
    assert cells["sign test p"] == 1.0


def test_without_images_there_are_no_numbers():
    assert ratio_cells(np.array([NAN]), np.array([1.0]), 0) == [0, *[None] * (len(RATIOS) - 1)]
    assert difference_cells(np.array([NAN]), np.array([1.0]), 0) == [0, *[None] * (len(DIFFERENCES) - 1)]


def test_boxes_are_of_values_without_nan():
    plot = pytest.importorskip("pwlnet.plot")
    pytest.importorskip("matplotlib")
    ax = plot.new_figure((3.0, 2.0)).subplots()
    artists = draw_boxes([np.array([1.0, NAN, 3.0]), np.array([NAN])], ["a", "b"], ax)
    assert artists["medians"][0].get_ydata()[0] == 2.0
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
