"""Plots of planes: every polygon is drawn where it is, with its colour, in few artists."""

import time

import numpy as np
import pytest

import pwlnet
from pwlnet import plot
from pwlnet.errors import InputError, ShapeError
from pwlnet.plot import colours, curved, polygons
from tests.plot.parts import grid_part, polar, random_part

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def part():
    return random_part()


@pytest.fixture(scope="module")
def regions(part):
    return part.classes()


def axes(size=(3.0, 3.0)):
    """Axes that fill their figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=100)
    FigureCanvasAgg(figure)
    ax = figure.add_axes([0, 0, 1, 1])
    ax.axis("off")
    return ax


def pixels_and_points(ax):
    """Draw the figure: colours uint8[H, W, 3] and the coordinates (u, v) of the pixels' centres."""
    ax.figure.canvas.draw()
    rgb = np.asarray(ax.figure.canvas.buffer_rgba())[..., :3]
    rows, columns = np.indices(rgb.shape[:2])
    centres = np.stack([columns + 0.5, rgb.shape[0] - rows - 0.5], axis=-1).reshape(-1, 2)
    return rgb, ax.transData.inverted().transform(centres)


def interior(numbers):
    """Pixels whose neighbours, two pixels around, are of the same polygon."""
    same = np.ones(numbers.shape, bool)
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            same &= np.roll(numbers, shift, axis) == numbers
    same[:2], same[-2:], same[:, :2], same[:, -2:] = False, False, False, False
    return same


def test_pixels_have_the_colour_of_the_polygon_at_them(part):
    ax = axes()
    plot.planes(part, ax=ax)
    rgb, points = pixels_and_points(ax)
    numbers = part.locate(points).reshape(rgb.shape[:2])
    chosen = interior(numbers)
    assert chosen.mean() > 0.3
    table = colours.as_bytes(colours.PATTERN_COLOURS)[colours.number_patterns(part.patterns())]
    np.testing.assert_allclose(rgb[chosen], table[numbers[chosen], :3], atol=1)


def test_no_background_shows_between_polygons():
    ax = axes((1.0, 1.0))
    part = grid_part(200)  # several polygons in a pixel
    drawn = plot.planes(part, ax=ax, color_by=np.zeros(part.n_polygons), cmap="gray").polygons
    assert drawn.get_array().tolist() == [0.0] * len(drawn.get_paths())
    rgb, _ = pixels_and_points(ax)
    assert rgb[5:-5, 5:-5].max() <= 2


def test_small_polygons_mix_without_regard_to_their_colours():
    ax = axes((0.8, 0.8))
    part = grid_part(200)
    values = np.random.default_rng(1).random(part.n_polygons) > 0.5
    plot.planes(part, ax=ax, color_by=values, cmap="gray")
    rgb, _ = pixels_and_points(ax)
    assert 110 < rgb[3:-3, 3:-3].mean() < 145


def test_every_polygon_is_in_one_of_few_paths(part):
    from matplotlib.path import Path

    values = np.linspace(0.0, 1.0, part.n_polygons)
    paths = plot.planes(part, ax=axes(), color_by=values).polygons.get_paths()
    assert len(paths) <= 256
    codes = np.concatenate([path.codes for path in paths])
    assert (codes == Path.MOVETO).sum() == (codes == Path.CLOSEPOLY).sum() == part.n_polygons
    drawn = np.concatenate([path.vertices[path.codes != Path.CLOSEPOLY] for path in paths])
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(part.vertices, axis=0))


def test_an_output_is_drawn_exactly_at_the_vertices(part):
    drawn = plot.planes(part, ax=axes(), color_by="output", output=2).polygons
    np.testing.assert_array_equal(drawn.get_array(), part.outputs[:, 2])
    assert drawn.get_clim() == (part.outputs[:, 2].min(), part.outputs[:, 2].max())
    with pytest.raises(InputError, match="output is 4, but the network has outputs 0 to 3"):
        plot.planes(part, color_by="output", output=4)


def test_triangles_of_a_fan_have_the_area_of_the_polygons(part):
    triangles = polygons.fan_triangles(part.offsets, part.vertex_numbers)
    a, b, c = part.shared_vertices[triangles].transpose(1, 0, 2)
    areas = 0.5 * np.cross(np.append(b - a, 0 * a[:, :1], 1), np.append(c - a, 0 * a[:, :1], 1))[:, 2]
    assert (areas > -1e-12).all()
    np.testing.assert_allclose(areas.sum(), 16.0)


def test_values_have_the_colours_of_their_norm_and_nan_has_none(part):
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    values = np.linspace(1.0, 100.0, part.n_polygons)
    values[0] = np.nan
    drawn = plot.planes(part, ax=axes(), color_by=values, norm=LogNorm(), cmap="cividis", colorbar=True)
    means = drawn.polygons.get_array()
    assert means.mask.sum() == 1 and drawn.polygons.norm.vmax == 100.0
    drawn.polygons.update_scalarmappable()
    faces = drawn.polygons.get_facecolor()
    shown = colormaps["cividis"](LogNorm(values[1], 100.0)(means))
    np.testing.assert_allclose(faces[~means.mask], shown[~means.mask], atol=0.02)
    assert (faces[means.mask, 3] == 0.0).all()


def test_areas_are_logarithmic_and_a_degenerate_one_does_no_harm(part):
    drawn = plot.planes(part, ax=axes(), color_by="area", colorbar=True)
    assert drawn.polygons.norm.vmax == part.areas.max()
    assert drawn.colorbar.ax.get_yscale() == "log"
    flat = grid_part(2)
    flat.areas = np.zeros(flat.n_polygons)
    plot.planes(flat, ax=axes(), color_by="area").polygons.figure.canvas.draw()


def test_edges_are_one_path(part):
    drawn = plot.planes(part, ax=axes(), edges=True)
    assert len(drawn.edges.get_paths()) == 1 and drawn.edges.get_linewidth()[0] < 0.5
    assert plot.planes(part, ax=axes()).edges is None


def test_polygons_are_images_in_vector_files_and_lines_of_boundaries_are_not(part, regions, tmp_path):
    ax = axes()
    assert plot.planes(part, ax=ax).polygons.get_rasterized()
    assert not plot.planes(part, ax=axes(), rasterized=False).polygons.get_rasterized()
    assert not plot.boundaries(regions, ax=ax).get_rasterized()
    ax.figure.savefig(tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert "<image" in text and text.count("<path") < 50


def test_axes_end_where_the_plane_does(part):
    ax = plot.planes(part).polygons.axes
    assert (*ax.get_xlim(), *ax.get_ylim()) == (-2.0, 2.0, -2.0, 2.0)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("u", "v")


def test_decision_regions_have_the_colours_of_their_classes(part, regions):
    ax = axes()
    drawn = plot.decision_regions(regions, ax=ax, names=["a", "b", "c", "d"], legend=False)
    assert drawn.legend is None
    rgb, points = pixels_and_points(ax)
    labels = part.network.forward(points).argmax(axis=1).reshape(rgb.shape[:2])
    chosen = interior(labels)
    assert chosen.mean() > 0.8
    np.testing.assert_allclose(rgb[chosen], colours.class_colours(4)[labels[chosen], :3], atol=1)


def test_the_legend_names_the_classes_that_occur(regions):
    legend = plot.decision_regions(regions, names=["zero", "one", "two", "three"]).legend
    expected = [["zero", "one", "two", "three"][k] for k in np.unique(regions.labels)]
    assert [text.get_text() for text in legend.get_texts()] == expected
    assert plot.decision_regions(regions).legend.get_texts()[0].get_text() == str(regions.labels.min())
    with pytest.raises(ShapeError, match=r"names has 1 entries, but there is a class \d; give one name per class"):
        plot.decision_regions(regions, names=["zero"])


def test_boundaries_are_the_segments_between_classes(regions):
    segments, _ = regions.boundaries()
    (path,) = plot.boundaries(regions, ax=axes()).get_paths()
    np.testing.assert_array_equal(path.vertices[path.codes != path.CLOSEPOLY], segments.reshape(-1, 2))


def test_one_class_has_no_boundaries():
    part = random_part(n_outputs=1)
    ax = axes()
    (path,) = plot.boundaries(part.classes(), ax=ax).get_paths()
    assert not len(path.vertices)
    ax.figure.canvas.draw()


def test_transformed_edges_are_curves_with_the_area_of_the_region_that_they_bound():
    offsets, square = np.array([0, 4]), np.array([[1.0, 0.0], [3.0, 0.0], [3.0, 2 * np.pi], [1.0, 2 * np.pi]])
    offsets, corners = curved.drawn_corners(offsets, square, polar)
    x, y = corners.T
    area = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    np.testing.assert_allclose(area, 8 * np.pi, rtol=0.005)
    assert offsets.tolist() == [0, len(corners)] and len(corners) < 500


def test_transformed_neighbours_still_share_their_edges(part):
    offsets, corners = curved.drawn_corners(part.offsets, part.vertices, lambda points: polar(points + 3.0))
    following = np.arange(1, len(corners) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    forward = {(*a, *b) for a, b in zip(corners.tolist(), corners[following].tolist())}
    inner = [side for side in forward if (*side[2:], *side[:2]) in forward]
    rim = len(forward) - len(inner)
    assert len(corners) > len(part.vertices) and 0 < rim < 0.2 * len(forward)
    lengths = np.linalg.norm([np.subtract(side[:2], side[2:]) for side in forward.difference(inner)], axis=1)
    expected = 4.0 + 4.0 + 4.0 * (1.0 + 5.0)  # two radii, two arcs of 4 radians
    np.testing.assert_allclose(lengths.sum(), expected, rtol=0.002)


def test_transformed_triangles_cover_the_region_and_keep_affine_values():
    square = np.array([[1.0, 0.0], [3.0, 0.0], [3.0, 2 * np.pi], [1.0, 2 * np.pi]])
    triangles, xy, values = curved.drawn_triangles(np.array([[0, 1, 2], [0, 2, 3]]), square, square @ [2.0, 1.0], polar)
    a, b, c = xy[triangles].transpose(1, 0, 2)
    areas = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    np.testing.assert_allclose(areas.sum(), 8 * np.pi, rtol=0.005)
    rho, theta = np.hypot(*xy.T), np.arctan2(*xy.T[::-1]) % (2 * np.pi)
    np.testing.assert_allclose(np.angle(np.exp(1j * (values - 2 * rho - theta))), 0.0, atol=1e-9)


def test_a_plane_can_be_drawn_in_polar_coordinates(part, regions):
    shifted = {"transform": lambda points: polar(points + 3.0)}
    ax = plot.planes(part, color_by="output", edges=True, **shifted).polygons.axes
    assert ax.get_aspect() == 1.0
    plot.decision_regions(regions, ax=ax, **shifted)
    plot.boundaries(regions, ax=ax, **shifted)
    assert max(*ax.get_xlim(), *ax.get_ylim()) <= 5.001


def test_wrong_arguments_are_named(part):
    with pytest.raises(InputError, match="color_by is 'colour'; the choices are 'pattern', 'output', 'area'"):
        plot.planes(part, color_by="colour")
    with pytest.raises(ShapeError, match=rf"color_by has shape \(3,\), but there are {part.n_polygons} polygons"):
        plot.planes(part, color_by=[1.0, 2.0, 3.0])
    with pytest.raises(InputError, match='colours of color_by="pattern" have no order'):
        plot.planes(part, colorbar=True)
    with pytest.raises(ShapeError, match=r"transform returned shape \(\d+,\) for \d+ points"):
        plot.planes(part, transform=lambda points: points[:, 0])
    with pytest.raises(InputError, match="transform returned NaN"), np.errstate(invalid="ignore"):
        plot.planes(part, transform=np.log)


def test_planes_without_interior_are_lines_and_points(part):
    flat = pwlnet.partition_planes(part.network, np.zeros(2), [1.0, 0.0], [0.0, 1.0], [[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    for each in flat.parts:
        ax = axes()
        plot.planes(each, ax=ax, edges=True)
        ax.figure.canvas.draw()
        with pytest.raises(InputError, match="the plane has no interior"):
            plot.planes(each, color_by="output")


def test_a_hundred_thousand_polygons_take_no_loop():
    part = grid_part(274)
    start = time.process_time()
    ax = axes()
    plot.planes(part, ax=ax, color_by=np.arange(part.n_polygons), edges=True)
    ax.figure.canvas.draw()
    assert part.n_polygons > 100_000 and time.process_time() - start < 5.0  # about 0.6 s on an idle processor
