// The hover view in the browser: an image of cell numbers, looked up on hover, and requested anew after zooming and moving.
// The messages are described in hover_widget.py. Bounds are [smallest u, smallest v, largest u, largest v].

const STYLE = `
.pwlnet-view { position: relative; display: inline-block; font: 12px/1.4 sans-serif; }
.pwlnet-view canvas { display: block; border: 1px solid #767676; image-rendering: pixelated; touch-action: none; cursor: crosshair; }
.pwlnet-view canvas:focus-visible { outline: 2px solid #0072b2; }
.pwlnet-view .pwlnet-tip { position: absolute; padding: 4px 7px; background: #fffffff2; color: #111; border: 1px solid #444;
  border-radius: 3px; pointer-events: none; white-space: pre; z-index: 2; font-variant-numeric: tabular-nums; }
.pwlnet-view .pwlnet-status { padding-top: 2px; font-variant-numeric: tabular-nums; }`;
const HIGHLIGHT = [255, 255, 255, 150];
const LATE = 5000; // ms after which an unanswered request is repeated: the kernel may have been restarted
const FINEST = 2 ** -40; // smallest width of the view, relative to the coordinates: pixels must differ in float64

export function zoomed(bounds, u, v, factor) {
  const [lowU, lowV, highU, highV] = bounds;
  return [u + (lowU - u) * factor, v + (lowV - v) * factor, u + (highU - u) * factor, v + (highV - v) * factor];
}

export function moved(bounds, du, dv) {
  return [bounds[0] + du, bounds[1] + dv, bounds[2] + du, bounds[3] + dv];
}

export function isUsable(bounds, home) {
  const size = Math.max(...bounds.map(Math.abs));
  const wide = [bounds[2] - bounds[0], bounds[3] - bounds[1]];
  const widest = [home[2] - home[0], home[3] - home[1]];
  return wide.every((w, k) => w > size * FINEST && w < 8 * widest[k]);
}

export function describe(low, high) {
  // With as many digits as tell both ends apart.
  const digits = 4 + Math.ceil(Math.log10(Math.max(Math.abs(low), Math.abs(high)) / (high - low)));
  return [low, high].map((x) => x.toPrecision(Math.max(4, Math.min(17, digits)))).join(" to ");
}

export function same(a, b) {
  return a.every((x, k) => x === b[k]);
}

function copied(buffer) {
  // A new ArrayBuffer, since numbers of 4 bytes must be aligned.
  return buffer.buffer ? buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) : buffer.slice(0);
}

function element(name, className, parent) {
  const made = document.createElement(name);
  made.className = className;
  parent.append(made);
  return made;
}

class View {
  constructor(model, el) {
    this.model = model;
    this.id = Math.random().toString(36).slice(2);
    this.home = model.get("bounds");
    this.bounds = this.home;
    this.image = null; // {bounds, cells: Int32Array, picture: canvas, width, height}
    this.asked = 0; // time of the unanswered request for an image, 0 if there is none
    this.details = new Map(); // cell -> rows, or null while they are on their way
    this.pointer = null; // [x, y] in pixels of the canvas
    this.drag = null;
    this.cell = -1;
    const root = element("div", "pwlnet-view", el);
    element("style", "", root).textContent = STYLE;
    this.canvas = element("canvas", "", root);
    Object.assign(this.canvas, { width: model.get("width"), height: model.get("height"), tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Activation regions of a plane. Keys: + and - zoom, arrows move, 0 shows all.");
    this.tip = element("div", "pwlnet-tip", root);
    this.tip.setAttribute("aria-live", "polite");
    this.tip.hidden = true;
    this.status = element("div", "pwlnet-status", root);
    this.highlight = document.createElement("canvas");
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
    this.listen();
    this.show(this.home);
  }

  listen() {
    const on = (name, handler) => this.canvas.addEventListener(name, handler, { passive: false });
    on("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 0 ? event.deltaY / 40 : event.deltaY;
      this.show(zoomed(this.bounds, ...this.toPlane(event.offsetX, event.offsetY), 2 ** (Math.max(-6, Math.min(6, lines)) / 6)));
    });
    on("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.drag = [event.offsetX, event.offsetY];
    });
    on("pointerup", () => { this.drag = null; });
    on("pointercancel", () => { this.drag = null; });
    on("pointermove", (event) => {
      this.pointer = [event.offsetX, event.offsetY];
      if (this.drag) {
        const [from, to] = [this.toPlane(...this.drag), this.toPlane(...this.pointer)];
        this.drag = this.pointer;
        this.show(moved(this.bounds, from[0] - to[0], from[1] - to[1]));
      } else {
        this.hover();
      }
    });
    on("pointerleave", () => { this.pointer = null; this.hover(); });
    on("dblclick", () => this.show(this.home));
    on("keydown", (event) => this.key(event));
  }

  key(event) {
    const [wide, high] = [this.bounds[2] - this.bounds[0], this.bounds[3] - this.bounds[1]];
    const middle = [this.bounds[0] + wide / 2, this.bounds[1] + high / 2];
    const shown = {
      "+": () => zoomed(this.bounds, ...middle, 0.5),
      "-": () => zoomed(this.bounds, ...middle, 2),
      "0": () => this.home,
      ArrowLeft: () => moved(this.bounds, -wide / 8, 0),
      ArrowRight: () => moved(this.bounds, wide / 8, 0),
      ArrowUp: () => moved(this.bounds, 0, high / 8),
      ArrowDown: () => moved(this.bounds, 0, -high / 8),
    }[event.key];
    if (shown) {
      event.preventDefault();
      event.stopPropagation();
      this.show(shown());
    }
  }

  toPlane(x, y) {
    const [lowU, lowV, highU, highV] = this.bounds;
    return [lowU + (x / this.canvas.width) * (highU - lowU), highV - (y / this.canvas.height) * (highV - lowV)];
  }

  show(bounds) {
    if (!isUsable(bounds, this.home)) return;
    this.bounds = bounds;
    this.status.textContent = `u: ${describe(bounds[0], bounds[2])}, v: ${describe(bounds[1], bounds[3])}`;
    this.request();
    this.hover();
  }

  request() {
    if (this.asked && Date.now() - this.asked < LATE) return; // asked again when the answer comes
    this.asked = Date.now();
    const { width, height } = this.canvas;
    this.model.send({ kind: "image", view: this.id, bounds: this.bounds, width, height });
  }

  receive(message, buffers) {
    if (message.view !== this.id) return;
    if (message.kind === "details") {
      this.details.set(message.cell, message.rows);
    } else if (message.kind === "image") {
      const { bounds, width, height } = message;
      const picture = document.createElement("canvas");
      Object.assign(picture, { width, height });
      picture.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(copied(buffers[1])), width, height), 0, 0);
      this.image = { bounds, width, height, picture, cells: new Int32Array(copied(buffers[0])) };
      this.cell = -1;
      this.asked = 0;
      if (!same(bounds, this.bounds)) this.request();
    }
    this.hover();
  }

  cellAt(x, y) {
    const [u, v] = this.toPlane(Math.floor(x) + 0.5, Math.floor(y) + 0.5); // the centre of the pixel
    const [lowU, lowV, highU, highV] = this.image.bounds;
    const column = Math.floor(((u - lowU) / (highU - lowU)) * this.image.width);
    const row = Math.floor(((highV - v) / (highV - lowV)) * this.image.height);
    const inside = column >= 0 && column < this.image.width && row >= 0 && row < this.image.height;
    return inside ? this.image.cells[row * this.image.width + column] : -1;
  }

  hover() {
    const cell = this.image && this.pointer && !this.drag ? this.cellAt(...this.pointer) : -1;
    if (cell !== this.cell) {
      this.cell = cell;
      this.mark(cell);
    }
    this.draw();
    this.tip.hidden = cell < 0;
    if (cell < 0) return;
    if (!this.details.has(cell)) {
      this.details.set(cell, null);
      this.model.send({ kind: "details", view: this.id, cell });
    }
    const rows = this.details.get(cell);
    this.tip.textContent = rows ? rows.map(([name, text]) => `${name}: ${text}`).join("\n") : "…";
    const [x, y] = this.pointer;
    const onLeft = x > this.canvas.width / 2;
    const above = y > this.canvas.height / 2;
    this.tip.style.left = `${onLeft ? x - 12 - this.tip.offsetWidth : x + 12}px`;
    this.tip.style.top = `${above ? y - 12 - this.tip.offsetHeight : y + 12}px`;
  }

  mark(cell) {
    if (cell < 0) return;
    const { width, height, cells } = this.image;
    Object.assign(this.highlight, { width, height });
    const marked = new Uint8ClampedArray(4 * width * height);
    for (let k = 0; k < cells.length; k++) if (cells[k] === cell) marked.set(HIGHLIGHT, 4 * k);
    this.highlight.getContext("2d").putImageData(new ImageData(marked, width, height), 0, 0);
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image) return;
    // An image of other bounds is stretched, until the one that was requested comes.
    const { bounds } = this.image;
    const scaleX = this.canvas.width / (this.bounds[2] - this.bounds[0]);
    const scaleY = this.canvas.height / (this.bounds[3] - this.bounds[1]);
    const x = (bounds[0] - this.bounds[0]) * scaleX;
    const y = (this.bounds[3] - bounds[3]) * scaleY;
    const place = [x, y, (bounds[2] - bounds[0]) * scaleX, (bounds[3] - bounds[1]) * scaleY];
    context.drawImage(this.image.picture, ...place);
    if (this.cell >= 0) context.drawImage(this.highlight, ...place);
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => model.off("msg:custom", view.receive);
  },
};
