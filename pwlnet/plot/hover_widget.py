"""The widget of the hover view; hover_view.js is its side in the browser.

Messages of the browser, and the answers; ``view`` names the one of several displays that asked:

- ``{"kind": "image", "view", "bounds", "width", "height"}``: the same, with the buffers int32[H, W] (little-endian) of cell
  numbers and uint8[H, W, 4] of colours.
- ``{"kind": "details", "view", "cell"}``: the same with ``"rows"``, a list of (name, text).
"""

from importlib import resources

import anywidget
import traitlets


class HoverView(anywidget.AnyWidget):
    """View of a plane; made by ``hover_view``.

    Attributes
    ----------
    width, height : int
        In pixels.
    bounds : list of float
        Smallest u and v, largest u and v, of the plane.
    """

    _esm = resources.files(__package__).joinpath("hover_view.js").read_text(encoding="utf-8")
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    bounds = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(self, images, width, height):
        super().__init__(width=width, height=height, bounds=list(images.bounds))
        self._images = images
        self.on_msg(self._answer)

    def _answer(self, _, message, buffers):
        """Answer a message of the browser."""
        answers = {"image": self._image, "details": self._details}
        if message.get("kind") in answers:
            answers[message["kind"]](message)

    def _image(self, message):
        cells, pixels = self._images.image(message["bounds"], message["width"], message["height"])
        self.send(message, [cells.astype("<i4").tobytes(), pixels.tobytes()])

    def _details(self, message):
        self.send({**message, "rows": self._images.details(message["cell"])})
