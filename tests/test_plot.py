"""Plots: what is drawn is what was computed, no figure is left open, wrong arguments are named."""

import subprocess
import sys

import numpy as np
import pytest

import pwlnet
from pwlnet import plot
from pwlnet.analysis.boundary import class_intervals
from pwlnet.errors import InputError, ShapeError

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def digit_lines():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    images, _ = pwlnet.datasets.digits_images()
    return pwlnet.partition_lines(network, images[:5], images[5:10])


def axes():
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def test_polylines_go_through_the_outputs_at_the_breakpoints(digit_lines):
    part = digit_lines.parts[0]
    drawn = plot.lines(part, ax=axes())
    assert len(drawn.outputs) == 10
    for k, curve in enumerate(drawn.outputs):
        np.testing.assert_array_equal(curve.get_xdata(), part.t)
        np.testing.assert_array_equal(curve.get_ydata(), part.outputs()[:, k])


def test_each_breakpoint_has_a_tick_and_each_class_interval_its_place_in_the_strip(digit_lines):
    part = digit_lines.parts[1]
    drawn = plot.lines(part, ax=axes())
    ticks = [segment[0, 0] for segment in drawn.breakpoints.get_segments()]
    np.testing.assert_array_equal(ticks, part.t[1:-1])
    t, labels = class_intervals(part)
    assert [bar.get_x() for bar in drawn.classes] == t[:-1].tolist()
    colours = [drawn.outputs[k].get_color() for k in labels]
    from matplotlib.colors import to_rgba

    assert [bar.get_facecolor() for bar in drawn.classes] == [to_rgba(c) for c in colours]


def test_labels_name_the_outputs(digit_lines):
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    drawn = plot.lines(digit_lines.parts[0], labels=names)
    assert [curve.get_label() for curve in drawn.outputs] == names
    with pytest.raises(ShapeError, match="labels has 2 entries, but the network has 10 outputs"):
        plot.lines(digit_lines.parts[0], labels=["a", "b"])


def test_the_histogram_counts_every_line_once(digit_lines):
    bars = plot.segment_histogram(digit_lines)
    assert sum(bar.get_height() for bar in bars) == len(digit_lines)
    ax = axes()
    assert {bar.axes for bar in plot.segment_histogram(digit_lines, ax)} == {ax}


def test_the_histogram_of_no_lines_is_refused(digit_lines):
    nothing = pwlnet.partition_lines(digit_lines.network, np.zeros((0, 64)), np.zeros((0, 64)))
    with pytest.raises(InputError, match="lines is empty"):
        plot.segment_histogram(nothing)


def test_segment_lengths_are_the_histogram_of_the_summary(digit_lines):
    summary = pwlnet.LineSummary.of(digit_lines)
    counts, edges, _ = plot.segment_lengths(summary, axes()).get_data()
    assert counts.sum() == summary.n_segments.sum()
    assert counts[0] and counts[-1]
    first = np.flatnonzero(summary.edges == edges[0])[0]
    np.testing.assert_array_equal(summary.histogram[1 + first :][: len(counts)], counts)


def test_segments_outside_all_edges_are_told(digit_lines):
    summary = pwlnet.LineSummary.of(digit_lines, edges=[0.01, 0.02])
    drawn = plot.segment_lengths(summary, axes(), label="digits")
    assert drawn.get_label() == f"digits, {summary.histogram[0]} shorter, {summary.histogram[-1]} longer"
    with pytest.raises(InputError, match=r"summary has no segments with a length from 100.0 to 200.0; use other edges"):
        plot.segment_lengths(pwlnet.LineSummary.of(digit_lines, edges=[100.0, 200.0]))


def test_a_summary_has_the_histogram_of_segments_per_line_too(digit_lines):
    bars = plot.segment_histogram(pwlnet.LineSummary.of(digit_lines))
    assert [bar.get_height() for bar in bars] == [bar.get_height() for bar in plot.segment_histogram(digit_lines)]


def test_images_are_those_of_the_line(digit_lines):
    part = digit_lines.parts[0]
    first, middle, last = plot.line_images(part, [axes() for _ in range(3)])
    np.testing.assert_array_equal(first.get_array(), part.start.reshape(8, 8))
    np.testing.assert_array_equal(last.get_array(), part.end.reshape(8, 8))
    np.testing.assert_allclose(middle.get_array(), (part.start + part.end).reshape(8, 8) / 2)
    with pytest.raises(ShapeError, match=r"image_shape is \(3, 8, 8\), but the point has 64 inputs"):
        plot.line_images(part, [axes()], image_shape=(3, 8, 8))


def test_a_heat_map_adds_channels_up_and_has_zero_in_its_middle():
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    drawn = plot.attributions(values.ravel(), image_shape=(3, 4, 5))
    np.testing.assert_array_equal(drawn.get_array(), values.sum(axis=0))
    limit = np.abs(values.sum(axis=0)).max()
    assert drawn.get_clim() == (-limit, limit)
    assert plot.attributions(values.ravel(), image_shape=(3, 4, 5), limit=2.0, ax=axes()).get_clim() == (-2.0, 2.0)
    assert plot.attributions(np.zeros(60), image_shape=(3, 4, 5)).get_clim() == (-1.0, 1.0)


def test_heat_maps_of_one_image_have_one_limit():
    rng = np.random.default_rng(0)
    images, values = rng.random((2, 16)), rng.normal(size=(2, 3, 16))
    names, rows = ["exact", "left", "right"], ["a", "b"]
    figure = plot.attribution_figure(images, values, image_shape=(1, 4, 4), titles=names, row_titles=rows)
    assert [ax.get_title() for ax in figure.axes] == ["image", *names, "", "", "", ""]
    for i, panels in enumerate((figure.axes[:4], figure.axes[4:])):
        shown = [ax.images[0] for ax in panels]
        assert panels[0].get_ylabel() == rows[i]
        np.testing.assert_array_equal(shown[0].get_array(), images[i].reshape(4, 4))
        for k in range(3):
            np.testing.assert_array_equal(shown[k + 1].get_array(), values[i, k].reshape(4, 4))
            assert shown[k + 1].get_clim() == (-np.abs(values[i]).max(), np.abs(values[i]).max())


def test_attributions_that_are_no_images_are_refused():
    with pytest.raises(ShapeError, match=r"values has shape \(64,\) and image_shape is \(1, 4, 4\); one value per input"):
        plot.attributions(np.zeros(64), image_shape=(1, 4, 4))
    with pytest.raises(InputError, match="values has NaN or infinite"):
        plot.attributions(np.full(16, np.nan), image_shape=(1, 4, 4))
    with pytest.raises(InputError, match="limit is 0; a positive number is needed"):
        plot.attributions(np.zeros(16), image_shape=(1, 4, 4), limit=0)
    with pytest.raises(ShapeError, match=r"images has shape \(1, 9\) and values \(2, 3, 9\)"):
        plot.attribution_figure(np.zeros((1, 9)), np.zeros((2, 3, 9)), image_shape=(1, 3, 3))
    with pytest.raises(ShapeError, match="titles has 1 entries; 3 are needed"):
        plot.attribution_figure(np.zeros((2, 9)), np.zeros((2, 3, 9)), image_shape=(1, 3, 3), titles=["a"])


def test_figures_are_made_without_pyplot(tmp_path):
    code = (
        "import sys, pwlnet\n"
        "network = pwlnet.load_network(pwlnet.datasets.digits_network_path('digits_mlp'))\n"
        "images, _ = pwlnet.datasets.digits_images()\n"
        "part = pwlnet.partition_lines(network, images[:1], images[1:2]).parts[0]\n"
        "pwlnet.plot.line_figure([part, part], titles=['a', 'b'], n_images=3).savefig(sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    path = tmp_path / "figure.png"
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert path.read_bytes().startswith(b"\x89PNG")
