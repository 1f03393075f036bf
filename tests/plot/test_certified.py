"""Curves of certified accuracy and of vote probabilities: the points, the dashes, the names."""

import numpy as np
import pytest

from pwlnet import plot, smoothing
from pwlnet.errors import InputError, ShapeError
from tests.smoothing.made import make_certificates

pytest.importorskip("matplotlib")
LABELS = [0, 1, 2, 3, 9, 5, 6, 7]


def value_at(line, radius):
    """Height of a curve with steps before its points."""
    x, y = line.get_data()
    assert line.get_drawstyle() == "steps-pre"
    return y[np.searchsorted(x, radius, side="left")]


def test_the_steps_are_the_certified_accuracies_at_and_between_all_radii():
    certificates = make_certificates(8)
    drawn = plot.certified_accuracy({"plain": (certificates, LABELS)})["plain"]
    ends = np.sort(np.append(certificates.radius[certificates.radius > 0], 0.0))
    radii = np.concatenate([ends, 0.5 * (ends[1:] + ends[:-1])])
    expected = smoothing.certified_accuracy(certificates, LABELS, radii)
    assert [value_at(drawn, radius) for radius in radii] == expected.tolist()
    x, y = drawn.get_data()
    assert x[-1] == x[-2] == 0.17 and y[-1] == 0.0


def test_nominal_curves_are_dashed_and_say_so(tmp_path):
    nominal, sound = make_certificates(8, guarantee="nominal"), make_certificates(8)
    smoothing.write_log(tmp_path / "n.tsv", nominal, LABELS, {"guarantee": "nominal"})
    log = smoothing.read_log(tmp_path / "n.tsv")
    (tmp_path / "n.tsv.json").unlink()
    published = smoothing.read_log(tmp_path / "n.tsv")
    conditional = make_certificates(8, guarantee="conditional")
    curves = {"a": (sound, LABELS), "b": (nominal, LABELS), "c": log, "d": published, "e": (conditional, LABELS)}
    drawn = plot.certified_accuracy(curves)
    assert [line.get_linestyle() for line in drawn.values()] == ["-", "--", "--", "-", ":"]
    assert [line.get_label() for line in drawn.values()] == ["a", "b (nominal)", "c (nominal)", "d", "e (conditional)"]
    assert len({line.get_color() for line in drawn.values()}) == 5
    assert len({line.axes for line in drawn.values()}) == 1
    assert np.array_equal(drawn["c"].get_data(), drawn["b"].get_data())
    votes = plot.vote_probabilities({"a": sound, "b": (nominal, LABELS)})
    assert [line.get_linestyle() for line in votes.values()] == ["-", "--"]
    assert votes["b"].get_label() == "b (nominal)"


def test_curves_without_a_certified_image_are_drawn():
    wrong = plot.certified_accuracy({"wrong": (make_certificates(3), [7, 7, 7])})["wrong"]
    assert wrong.get_xdata().tolist() == [0.0, 0.0] and wrong.get_ydata().tolist() == [0.0, 0.0]


def test_the_distribution_of_votes_is_a_step_at_each_probability():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    line = plot.vote_probabilities({"plain": make_certificates(8)}, ax)["plain"]
    assert line.axes is ax and line.get_drawstyle() == "steps-post"
    assert line.get_xdata().tolist() == [0.0, 0.4, 0.98, 1.0]
    assert line.get_ydata().tolist() == [0.0, 2 / 8, 1.0, 1.0]


def test_other_curves_are_refused():
    certificates = make_certificates(3)
    for curves in ({}, [certificates], None):
        for draw in (plot.certified_accuracy, plot.vote_probabilities):
            with pytest.raises(InputError, match="a dict of at least one curve by name is needed"):
                draw(curves)
    with pytest.raises(InputError, match=r"curves\['x'\] is a Certificates; give \(Certificates, labels\)"):
        plot.certified_accuracy({"x": certificates})
    with pytest.raises(ShapeError, match=r"labels has shape \(1,\)"):
        plot.certified_accuracy({"x": (certificates, [1])})
    with pytest.raises(InputError, match=r"curves\['x'\] is a list"):
        plot.vote_probabilities({"x": [0.5]})
    with pytest.raises(InputError, match="of at least one image"):
        plot.vote_probabilities({"x": certificates[:0]})
