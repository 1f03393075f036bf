"""What the experiments on integrated gradients share: the lines, and the corresponding networks of the paper."""

import numpy as np

from ..partition.lines.partitions import partition_lines
from .subjects import CONVLARGE, CONVSMALL, DIGITS

KEYS = DIGITS + CONVSMALL + CONVLARGE
SOURCE = "Sotoudeh and Thakur, Computing Linear Restrictions of Neural Networks, NeurIPS 2019, Section 4"
PAPER_NETWORKS = {  # the paper's names of its CIFAR-10 networks, by our key
    "cifar10_convsmall_point": "convsmall",
    "cifar10_convmed": "convmedium",
    "cifar10_convbig": "convbig",
}
NOTE = (
    "All images, including misclassified ones; the baseline is the black image, the output that of the label. The paper's "
    "convsmall seems to be ours with standard training, on the first 100 test images: the mean number of regions agrees. "
    "Its convmedium and convbig have other weights than ours; its convbig was trained with DiffAI."
)


def image_line(subject, i, options):
    """Partition the line from the black image to image ``i``: (LinePartitions of one line, its label int64[1])."""
    image = subject.images[i : i + 1]
    lines = partition_lines(
        subject.network, subject.to_input(np.zeros_like(image)), subject.to_input(image), threads=options.threads
    )
    return lines, subject.labels[i : i + 1]


def cumulative_shares(ax, measured, values_of):
    """Draw the cumulative distribution of a value over the images of each network, on a logarithmic axis.

    ``values_of`` maps a Measured to float64[images]; NaN counts as infinity.
    """
    for m in measured.values():
        values = values_of(m)
        shown = np.sort(values[np.isfinite(values) & (values > 0.0)])
        below = np.count_nonzero(values <= 0.0)
        if shown.size:
            ax.step(shown, (below + 1 + np.arange(shown.size)) / values.size, where="post", lw=1.2, label=m.title)
    ax.set(xscale="log", ylim=(0.0, 1.0), ylabel="share of images")
    ax.spines[["top", "right"]].set_visible(False)
