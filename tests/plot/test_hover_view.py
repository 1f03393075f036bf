"""The hover view: its images, its answers to the browser, and the whole in headless Chromium."""

import base64
import contextlib
import json
import shutil

import numpy as np
import pytest

from pwlnet import plot
from pwlnet.errors import InputError, ShapeError
from pwlnet.plot import colours
from pwlnet.plot.hover_images import HoverImages
from tests.plot.parts import random_part

pytest.importorskip("matplotlib")
pytest.importorskip("anywidget")

HOME = (-2.0, -2.0, 2.0, 2.0)
WIDTH, HEIGHT = 150, 100  # in Chromium
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGE = """<body style="margin: 0"><div id="view"></div></body>"""
START = """async ([code, state]) => {
    const { default: widget } = await import("data:text/javascript;base64," + code);
    const handlers = [];
    const model = {
        get: (name) => state[name],
        on: (_, handler) => handlers.push(handler),
        off: () => {},
        send: async (message) => {
            for (const [answer, texts] of await kernel(message)) {
                const buffers = texts.map((text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer));
                for (const handler of handlers) handler(answer, buffers);
            }
        },
    };
    widget.render({ model, el: document.getElementById("view") });
}"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def part():
    return random_part()


@pytest.fixture(scope="module")
def regions(part):
    return part.classes()


def centres(bounds, width, height):
    """Coordinates (u, v) of the centres of pixels, row 0 at the top: float64[height, width, 2]."""
    u = bounds[0] + (np.arange(width) + 0.5) * (bounds[2] - bounds[0]) / width
    v = bounds[3] - (np.arange(height) + 0.5) * (bounds[3] - bounds[1]) / height
    return np.stack(np.meshgrid(u, v), axis=-1)


def test_images_have_the_polygons_at_the_centres_of_pixels(part):
    images = HoverImages(part)
    assert images.bounds == HOME
    bounds = (-1.0, 0.5, 2.5, 1.0)
    cells, pixels = images.image(bounds, 70, 50)
    expected = part.locate(centres(bounds, 70, 50).reshape(-1, 2)).reshape(50, 70)
    np.testing.assert_array_equal(cells, expected)
    assert (cells[:, -9:] == -1).all() and (pixels[cells < 0] == 0).all() and (pixels[cells >= 0, 3] == 255).all()


def test_pixels_on_edges_are_darker_unless_there_are_many(part):
    table = colours.as_bytes(colours.PATTERN_COLOURS)[colours.number_patterns(part.patterns())]
    images = HoverImages(part)
    cells, pixels = images.image((-0.1, -0.1, 0.1, 0.1), 300, 300)
    darker = (pixels != table[cells]).any(axis=2)
    differs = (cells[:-1, :-1] != cells[1:, :-1]) | (cells[:-1, :-1] != cells[:-1, 1:])
    np.testing.assert_array_equal(darker[:-1, :-1], differs)
    assert 0 < darker.mean() < 0.2
    cells, pixels = images.image(HOME, 20, 20)
    np.testing.assert_array_equal(pixels, table[cells])


def test_pieces_of_one_class_are_told_apart_with_decision_regions(part, regions):
    images = HoverImages(part, color_by="class", regions=regions, names=["a", "b", "c", "d"])
    assert images.n_cells == len(regions.labels) > part.n_polygons
    points = centres(HOME, 80, 80)
    cells, _ = images.image(HOME, 80, 80)
    labels = part.network.forward(points.reshape(-1, 2)).argmax(axis=1).reshape(80, 80)
    np.testing.assert_array_equal(regions.labels[cells], labels)
    np.testing.assert_array_equal(regions.polygon[cells], part.locate(points.reshape(-1, 2)).reshape(80, 80))
    cell = int(cells[3, 5])
    details = dict(images.details(cell))
    assert details["class"] == "abcd"[labels[3, 5]] and details["region"] == str(regions.regions[cell])
    assert details["polygon"] == str(regions.polygon[cell])
    by_pattern = HoverImages(part, regions=regions).image(HOME, 20, 20)[1]
    np.testing.assert_array_equal(by_pattern, HoverImages(part).image(HOME, 20, 20)[1])


def test_details_are_those_of_the_polygon(part):
    images = HoverImages(part, values={"margin": np.arange(part.n_polygons) / 4})
    details = dict(images.details(17))
    assert list(details) == ["polygon", "area", "margin", "output 0", "output 1", "output 2", "output 3"]
    assert (details["polygon"], details["margin"], float(details["area"])) == ("17", "4.25", pytest.approx(part.areas[17]))
    outputs = [float(details[f"output {k}"]) for k in range(4)]
    np.testing.assert_allclose(outputs, part.network.forward(part.centroids()[17:18])[0], rtol=1e-5)


def test_the_largest_of_many_outputs_are_listed():
    part = random_part(n_outputs=15)
    details = [row for row in HoverImages(part).details(0) if row[0].startswith("output")]
    values = [float(text) for _, text in details]
    assert len(details) == 10 and values == sorted(values, reverse=True)


def test_colours_of_values_and_outputs_follow_the_colour_map(part):
    from matplotlib import colormaps

    values = part.outputs[part.vertex_numbers, 1]
    means = np.array([chunk.mean() for chunk in np.split(values, part.offsets[1:-1])])
    for style in ({"color_by": "output", "output": 1}, {"color_by": means}):
        cells, pixels = HoverImages(part, **style).image(HOME, 20, 20)
        scaled = (means - means.min()) / np.ptp(means)
        np.testing.assert_allclose(pixels, colormaps["viridis"](scaled[cells], bytes=True), atol=3)
    cells, pixels = HoverImages(part, color_by="area", cmap="gray").image(HOME, 20, 20)
    assert pixels[cells == part.areas.argmax()].size == 0 or pixels[cells == part.areas.argmax(), 0].min() == 255


def test_wrong_arguments_are_named(part):
    with pytest.raises(InputError, match='color_by is "class", which needs decision regions'):
        plot.hover_view(part, color_by="class")
    with pytest.raises(InputError, match="width is 10"):
        plot.hover_view(part, width=10)
    with pytest.raises(ShapeError, match="names has 1 entries, but the network has 4 outputs"):
        plot.hover_view(part, names=["a"])
    with pytest.raises(ShapeError, match=r"values\['margin'\] has shape \(2,\), but there are"):
        plot.hover_view(part, values={"margin": [1, 2]})
    images = HoverImages(part)
    for bounds in ((0, 0, 0, 1), (0, 0, np.nan, 1)):
        with pytest.raises(InputError, match="bounds is"):
            images.image(bounds, 10, 10)
    with pytest.raises(InputError, match="the image has 10 x 100000 pixels"):
        images.image(HOME, 10, 100_000)
    with pytest.raises(InputError, match="cell is -1, but there are cells 0 to"):
        images.details(-1)


class Kernel:
    """Carries messages of the browser to the widget, and its answers back."""

    def __init__(self, view, monkeypatch):
        self.view, self.messages, self._answers = view, [], []
        monkeypatch.setattr(view.comm, "publish_msg", self._publish)

    def _publish(self, _, data=None, buffers=None, **kwargs):
        if "content" not in (data or {}):  # the widget is closed
            return
        encoded = [base64.b64encode(buffer).decode() for buffer in buffers or ()]
        self._answers.append((json.loads(json.dumps(data["content"])), encoded))

    def __call__(self, message):
        self.messages.append(message)
        self._answers.clear()
        self.view.comm.handle_msg({"content": {"data": {"method": "custom", "content": message}}, "buffers": []})
        return list(self._answers)

    def images(self):
        """Bounds of the images that were requested."""
        return [message["bounds"] for message in self.messages if message["kind"] == "image"]


def test_the_widget_answers_with_numbers_and_colours(part, monkeypatch):
    view = plot.hover_view(part, width=60, height=50)
    assert (view.width, view.height, tuple(view.bounds)) == (60, 50, HOME)
    kernel = Kernel(view, monkeypatch)
    message = {"kind": "image", "view": "x", "bounds": list(HOME), "width": 60, "height": 50}
    ((answer, buffers),) = kernel(message)
    assert answer == message
    cells = np.frombuffer(base64.b64decode(buffers[0]), "<i4").reshape(50, 60)
    np.testing.assert_array_equal(cells, HoverImages(part).image(HOME, 60, 50)[0])
    assert len(base64.b64decode(buffers[1])) == 50 * 60 * 4
    ((answer, buffers),) = kernel({"kind": "details", "view": "x", "cell": 5})
    assert answer["rows"][0] == ["polygon", "5"] and answer["cell"] == 5 and not buffers
    assert kernel({"kind": "unknown"}) == []


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium, chromium-browser or google-chrome; install one (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as started:
        yield started


@contextlib.contextmanager
def opened(browser, view, kernel):
    """Show a view in headless Chromium: the page. Errors of its script fail the test."""
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(error))
    page.expose_function("kernel", kernel)
    page.set_content(PAGE)
    code = base64.b64encode(view._esm.encode()).decode()
    page.evaluate(START, [code, {"width": view.width, "height": view.height, "bounds": list(view.bounds)}])
    yield page
    page.close()
    assert not errors


def wait_until(page, condition):
    """Let the page and the kernel talk until a condition holds."""
    for _ in range(500):
        if condition():
            return
        page.wait_for_timeout(20)
    pytest.fail("the condition did not hold within 10 seconds")


def hover(page, part, kernel, x, y):
    """Move to a pixel, and read the tip: the polygon, which must be the one that contains the pixel's centre."""
    page.mouse.move(1 + x, 1 + y)  # 1 is the border
    polygon = int(part.locate(centres(kernel.images()[-1], WIDTH, HEIGHT)[y, x]))
    tip = page.locator(".pwlnet-tip")
    wait_until(page, lambda: tip.text_content().startswith(f"polygon: {polygon}\narea: {part.areas[polygon]:.6g}\noutput 0: "))
    assert tip.is_visible()
    return polygon


def test_in_chromium_polygons_are_found_on_hover_before_and_after_zooming(part, browser, monkeypatch):
    view = plot.hover_view(part, width=WIDTH, height=HEIGHT)
    kernel = Kernel(view, monkeypatch)
    points = centres(HOME, WIDTH, HEIGHT)
    with opened(browser, view, kernel) as page:
        wait_until(page, kernel.images)
        assert len({hover(page, part, kernel, *at) for at in ((10, 15), (75, 50), (149, 0), (0, 99))}) > 3
        status = page.locator(".pwlnet-status")
        assert status.text_content() == "u: -2.000 to 2.000, v: -2.000 to 2.000"
        shown = page.evaluate("[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 150, 100).data]")
        cells, pixels = HoverImages(part).image(HOME, WIDTH, HEIGHT)
        highlighted = cells == part.locate(points[99, 0])
        np.testing.assert_array_equal(np.reshape(shown, pixels.shape)[~highlighted], pixels[~highlighted])
        assert (np.reshape(shown, pixels.shape)[highlighted] > pixels[highlighted])[:, :3].any(axis=1).all()

        fixed = hover(page, part, kernel, 60, 30)
        for _ in range(3):
            page.mouse.wheel(0, -240)  # halves the width
        wait_until(page, lambda: kernel.images()[-1][2] - kernel.images()[-1][0] == pytest.approx(0.5))
        assert status.text_content() != "u: -2.000 to 2.000, v: -2.000 to 2.000"
        assert fixed == part.locate(points[30, 60]) == hover(page, part, kernel, 60, 30)
        assert len({hover(page, part, kernel, *at) for at in ((10, 15), (145, 95))}) > 1
        details = [message["cell"] for message in kernel.messages if message["kind"] == "details"]
        assert len(details) == len(set(details))


def test_in_chromium_the_plane_is_dragged_and_shown_whole_again(part, browser, monkeypatch):
    view = plot.hover_view(part, width=WIDTH, height=HEIGHT)
    kernel = Kernel(view, monkeypatch)
    with opened(browser, view, kernel) as page:
        wait_until(page, kernel.images)
        page.mouse.move(76, 51)
        page.mouse.down()
        page.mouse.move(76 - 15, 51 + 10, steps=3)
        page.mouse.up()
        wait_until(page, lambda: kernel.images()[-1] == pytest.approx([-1.6, -1.6, 2.4, 2.4]))
        hover(page, part, kernel, 20, 75)
        page.locator("canvas").dblclick()
        wait_until(page, lambda: tuple(kernel.images()[-1]) == HOME)
        page.mouse.move(75, 130)
        assert page.locator(".pwlnet-tip").is_hidden()


def test_in_chromium_the_keyboard_zooms_as_far_as_numbers_differ(part, browser, monkeypatch):
    view = plot.hover_view(part, width=100, height=100)
    kernel = Kernel(view, monkeypatch)
    with opened(browser, view, kernel) as page:
        canvas = page.locator("canvas")
        canvas.press("ArrowRight")
        press = "canvas => { for (let k = 0; k < 60; k++) canvas.dispatchEvent(new KeyboardEvent('keydown', {key: '+'})); }"
        page.evaluate(press, canvas.element_handle())
        wait_until(page, lambda: kernel.images() and kernel.images()[-1][2] - kernel.images()[-1][0] < 1e-11)
        bounds = kernel.images()[-1]
        assert bounds[0] < bounds[2] and bounds[0] == pytest.approx(0.5)
        low, high = page.locator(".pwlnet-status").text_content().split(", ")[0].removeprefix("u: ").split(" to ")
        assert float(low) < float(high)
        canvas.press("0")
        canvas.press("-")
        wait_until(page, lambda: kernel.images()[-1] == [-4.0, -4.0, 4.0, 4.0])
