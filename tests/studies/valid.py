"""Study files for tests: small valid ones, of which other ones are made by changes."""

import numpy as np

SMALL = """
[study]
name = "small"
description = "all kinds of analyses of a small network"
output = "results"
seed = 5

[[network]]
name = "net"
source = "net.h5"

[data]
images = "points.npy"
labels = "labels.csv"
rows = [0, 8]
baseline = "mean"
limits = [-3.0, 3.0]

[[analysis]]
name = "lines"
kind = "lines"
along = "random"
count = 3
length = 2.0

[[analysis]]
name = "drawn"
kind = "lines"
along = "uniform"
count = 5
range = [-1.0, 1.0]

[[analysis]]
name = "attributions"
kind = "attributions"
along = "baseline"
outputs = [1]

[[analysis]]
name = "linearity"
kind = "linearity"
along = "pairs"
target = "labels"
batch = 3

[[analysis]]
name = "planes"
kind = "planes"
through = "images"
batch = 1

[[analysis]]
name = "slices"
kind = "planes"
through = "axes"
axes = [0, 2]
at = 0.5
box = [-1, 1, -1, 1]

[[analysis]]
name = "regions"
kind = "regions"
domain = "around"
row = 2
inputs = [0, 1]
epsilon = 2.0

[[analysis]]
name = "bounds"
kind = "floats"
domain = "around"
epsilon = 0.1

[[analysis]]
name = "drawn_floats"
kind = "floats"
domain = "gaussian"
sigma = 0.1
samples = 50

[[analysis]]
name = "certify"
kind = "certify"
sigma = 0.25
n0 = 10
n = 50
rows = [0, 4]

[[analysis]]
name = "decide"
kind = "decide"
epsilon = 0.3
batch = 2
"""


def write_study(folder, network, text=SMALL, name="small.toml"):
    """Write a study and the files that it names; return its path."""
    rng = np.random.default_rng(1)
    network.save(folder / "net.h5")
    np.save(folder / "points.npy", rng.normal(size=(9, 3)))
    (folder / "labels.csv").write_text("\n".join(str(k % 2) for k in range(9)) + "\n")
    path = folder / name
    path.write_text(text)
    return path
