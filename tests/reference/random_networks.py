"""Random network descriptions and lines for tests: generic ones, and ones where everything that can coincide does."""

import numpy as np

from .description import output_shape, pool_windows

KINDS = (
    "linear", "conv", "avg_pool", "scale_shift", "add", "concat", "reshape", "transpose", "gather",
    "relu", "leaky_relu", "clip", "max_pool",
)  # fmt: skip
SLOPES = (0.01, 0.0, 0.125, 0.5, 2.0, -0.5, -1.0)
# The float 0.01 is no hundredth: what should tie can be 6e-18 apart in t, and no float64 holds both.
DYADIC_SLOPES = (1 / 64, *SLOPES[1:])
BOUNDS = ((-1.0, 1.0), (0.0, 6.0), (0.0, 1.0), (-2.0, np.inf), (-np.inf, 2.0), (-1.5, 0.25), (0.0, np.inf))


def random_network(rng, *, degenerate, generic=False, kinds=KINDS, depth=(1, 5), width=(1, 8), thirds=False, slopes=SLOPES):
    """Draw a network description.

    Parameters
    ----------
    rng : numpy.random.Generator
    degenerate : bool
        Duplicate, opposite and zero rows, zero biases, identical branches, slopes of 1.
    generic : bool
        Standard normal weights instead of integers in -3..3 (now and then quarters); for float oracles.
    kinds : tuple of str
        The kinds of nodes that may occur (an affine output layer always does).
    depth, width : (int, int)
        Least and largest number of blocks, and of entries of a hidden vector.
    thirds : bool
        Whether averages may have divisors other than powers of two.
    slopes : tuple of float
        Of leaky ReLUs.
    """
    builder = _Builder(rng, degenerate, generic, kinds, width, thirds, slopes)
    for _ in range(rng.integers(*depth, endpoint=True)):
        builder.block()
    if rng.random() < 0.7:
        builder.flatten()
        builder.linear(outputs=int(rng.integers(1, 4)))
    return builder.nodes


class _Builder:
    """A description under construction; methods append nodes that read ``here``, the last one."""

    def __init__(self, rng, degenerate, generic, kinds, width, thirds, slopes):
        self.rng, self.degenerate, self.generic, self.width, self.thirds = rng, degenerate, generic, width, thirds
        self.kinds, self.slopes = set(kinds), slopes
        self.layouts = rng.spawn(1)[0]  # a stream of its own: gathers keep the shape, so the other draws stay what they were
        if self.kinds & {"conv", "avg_pool"} and rng.random() < 0.5:
            shape = (int(rng.integers(1, 4)), int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        else:
            shape = (int(rng.integers(*width, endpoint=True)),)
        self.nodes = [{"kind": "input", "inputs": [], "shape": shape}]
        self.shapes = [shape]

    @property
    def here(self):
        return len(self.nodes) - 1

    @property
    def shape(self):
        return self.shapes[-1]

    def chance(self, probability):
        return self.rng.random() < probability

    def choose(self, options):
        return options[self.rng.integers(len(options))]

    def append(self, kind, inputs=None, **attributes):
        node = {"kind": kind, "inputs": [self.here] if inputs is None else inputs, **attributes}
        self.shapes.append(output_shape(node, [self.shapes[i] for i in node["inputs"]]))
        self.nodes.append(node)
        return self.here

    def numbers(self, shape):
        """Random weights."""
        if self.generic:
            return self.rng.standard_normal(shape)
        largest = 1 if self.degenerate and self.chance(0.5) else 3
        return self.rng.integers(-largest, largest + 1, shape) / (4.0 if self.chance(0.15) else 1.0)

    def weights(self, shape):
        """A weight and a bias, with coincidences among the outputs if ``degenerate``."""
        weight, bias = self.numbers(shape), self.numbers(shape[0])
        if self.degenerate:
            if self.chance(0.5):
                bias[self.rng.random(len(bias)) < self.choose((0.5, 1.0))] = 0.0
            for k in range(1, len(bias)):
                factor = self.choose((1.0, 1.0, 2.0, -1.0, -1.0, 0.0)) if self.chance(0.3) else None
                if factor is not None:
                    other = self.rng.integers(k)
                    weight[k], bias[k] = factor * weight[other], factor * bias[other]
                    if self.chance(0.2):
                        bias[k] = self.choose((0.0, 1.0))
        return {"weight": weight, "bias": None if self.chance(0.1) and not self.generic else bias}

    def block(self):
        """One block: perhaps a change of layout, then an affine op and a switching op, perhaps in branches."""
        if len(self.shape) == 3 and (not self.kinds & {"conv", "avg_pool"} or self.chance(0.15)):
            self.flatten()
        if len(self.shape) == 3 and "transpose" in self.kinds and self.chance(0.2):
            self.append("transpose", axes=self.choose(((0, 2, 1), (1, 2, 0), (2, 0, 1))))
            if self.shape[0] > 4:
                self.flatten()
        if "gather" in self.kinds and self.layouts.random() < 0.15:
            self.gather()
        if {"add", "concat"} & self.kinds and self.chance(0.35):
            self.branches()
        else:
            self.affine()
            self.switch()

    def gather(self):
        """Shuffle the entries; perhaps copy some over others, or replace some by a constant."""
        index = self.layouts.permutation(int(np.prod(self.shape)))
        changed = self.layouts.random(index.size) < self.layouts.choice((0.0, 0.3))
        copies = self.layouts.choice(index, index.size)
        index[changed] = np.where(self.layouts.random(index.size) < 0.3, -1, copies)[changed]
        self.append("gather", index=index.reshape(self.shape), fill=float(self.layouts.integers(-2, 3)))

    def branches(self):
        """Two branches from one node, the second perhaps empty (residual) or the same again; added or joined."""
        start, length = self.here, len(self.nodes)
        self.affine()
        self.switch()
        first, style = self.here, self.choose(("residual", "same", "other"))
        if style == "residual" or (style == "same" and not self.degenerate):
            second = start
        elif style == "same":
            for node in self.nodes[length : first + 1]:
                copied = [start if i == start else i + first + 1 - length for i in node["inputs"]]
                self.append(**{**node, "inputs": copied})
            second = self.here
        else:
            node = {**self.nodes[length], "inputs": [start]}
            if "weight" in node:
                node.update(self.weights(node["weight"].shape))
            self.append(**node)
            self.activate()
            second = self.here
        self.merge(first, second)

    def merge(self, first, second):
        """Add or concatenate two nodes where their shapes allow, flattening first if they must."""
        kinds = [kind for kind in ("add", "concat") if kind in self.kinds]
        if self.shapes[first] == self.shapes[second] and self.chance(0.7) and "add" in kinds:
            ones = (float(self.choose((1, 1, 2, -3))), float(self.choose((1, 1, -1, -2))))
            self.append("add", [first, second], coefficients=tuple(self.rng.normal(size=2)) if self.generic else ones)
        elif "concat" in kinds:
            if self.shapes[first][1:] != self.shapes[second][1:] or len(self.shapes[first]) != len(self.shapes[second]):
                first, second = (self.flatten(node) for node in (first, second))
            rank = len(self.shapes[first])
            same = self.shapes[first] == self.shapes[second]
            axis = int(self.rng.integers(rank)) if same and self.chance(0.3) else 0
            if max(self.shapes[first][0] + self.shapes[second][0], *self.shapes[first]) <= 4 or rank == 1:
                self.append("concat", [first, second], axis=axis)

    def flatten(self, node=None):
        """Reshape a node to a vector, if it is not one."""
        node = self.here if node is None else node
        if len(self.shapes[node]) == 1:
            return node
        return self.append("reshape", [node], shape=(int(np.prod(self.shapes[node])),))

    def linear(self, outputs=None):
        outputs = int(self.rng.integers(*self.width, 2, endpoint=True).max()) if outputs is None else outputs
        self.append("linear", **self.weights((outputs, self.shape[-1])))

    def affine(self):
        """One affine node with weights."""
        if "scale_shift" in self.kinds and self.chance(0.15):
            shape = (self.shape[0],) + (1,) * (len(self.shape) - 1)
            self.append("scale_shift", scale=self.numbers(shape), shift=self.numbers(shape))
        elif len(self.shape) == 1:
            self.linear()
        elif "avg_pool" in self.kinds and ("conv" not in self.kinds or self.chance(0.2)) and self.pool("avg_pool"):
            return
        elif "conv" in self.kinds:
            self.conv()
        else:
            self.flatten()
            self.linear()

    def window(self, largest):
        """Kernel, stride, padding and dilation of a window that fits."""
        room = self.shape[1:]
        kernel = tuple(int(self.rng.integers(1, min(largest, n) + 1)) for n in room)
        pads = [int(self.rng.integers(0, k)) if self.chance(0.5) else 0 for k in kernel + kernel]
        sizes = [n + pads[a] + pads[a + 2] for a, n in enumerate(room)]
        fits = [2 if k > 1 and 2 * (k - 1) < n else 1 for k, n in zip(kernel, sizes, strict=True)]
        dilation = tuple(d if self.chance(0.3) else 1 for d in fits)
        stride = tuple(int(self.rng.integers(1, 3)) for _ in room)
        return {"kernel": kernel, "stride": stride, "padding": tuple(pads), "dilation": dilation}

    def conv(self):
        options = self.window(3)
        kernel = options.pop("kernel")
        channels, outputs = self.shape[0], int(self.rng.integers(1, 4))
        groups = channels if self.chance(0.25) else 1
        shape = (groups * max(1, outputs // groups), channels // groups, *kernel)
        self.append("conv", **options, groups=groups, **self.weights(shape))

    def pool(self, kind):
        """Append a pool with a window that fits; False if the one drawn is not allowed."""
        options = self.window(3)
        if kind == "avg_pool":
            options.update(dilation=(1, 1), count_pad=bool(self.chance(0.5)))
        counts = [len(window) for window in pool_windows({"kind": kind, **options}, self.shape)]
        if kind == "avg_pool":
            del options["dilation"]
            divisors = [int(np.prod(options["kernel"]))] if options["count_pad"] else counts
            if not self.thirds and any(n & (n - 1) for n in divisors):
                return False
        if min(counts) == 0:
            return False
        self.append(kind, **options)
        return True

    def activate(self):
        """One switching node that keeps the shape."""
        kind = self.choose([k for k in ("relu", "relu", "leaky_relu", "clip") if k in self.kinds] or ["relu"])
        if kind == "leaky_relu":
            slopes = self.slopes + (1.0,) if self.degenerate else self.slopes
            per_channel = (self.shape[0],) + (1,) * (len(self.shape) - 1)
            self.append(kind, slope=self.rng.choice(slopes, per_channel if self.chance(0.4) else ()))
        elif kind == "clip":
            lower, upper = self.choose(BOUNDS)
            self.append(kind, lower=lower, upper=upper)
        else:
            self.append(kind)

    def switch(self):
        """One switching node, or a pool (through an image view of a vector), or both."""
        smooth = {"relu", "leaky_relu", "clip"} & self.kinds
        pool = "max_pool" in self.kinds and (not smooth or self.chance(0.3))
        if smooth and not (pool and self.chance(0.6)):
            self.activate()
        if not pool:
            return
        if len(self.shape) == 3:
            self.pool("max_pool")
        elif "reshape" in self.kinds:
            n = self.shape[0]
            self.append("reshape", shape=self.choose([(1, d, n // d) for d in range(1, n + 1) if n % d == 0]))
            self.pool("max_pool")
            self.flatten()
