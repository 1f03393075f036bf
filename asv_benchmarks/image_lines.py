"""Networks and lines that the tables share: from a black image to test images, normalised for each network."""

from pathlib import Path

import numpy as np

import pwlnet

TRAINED = Path(__file__).resolve().parent / "trained"
CIFAR = ("cifar10", [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])
MNIST = ("mnist", [[0.1307], [0.3081]])
PLAIN_CIFAR, PLAIN_MNIST = ("cifar10", [[0.0], [1.0]]), ("mnist", [[0.0], [1.0]])
NETWORKS = {  # file (of pwlnet.datasets, or made by train_mnist.py), images with mean and deviation, lines of the table
    "cifar convsmall": ("cifar10/eran_convsmall/convSmallRELU__Point.onnx", PLAIN_CIFAR, 4),
    "cifar convmedium": ("trained_here/cifar_convmed.onnx", CIFAR, 4),
    "cifar convbig": ("trained_here/cifar_convbig.onnx", CIFAR, 1),
    "mnist convsmall": ("mnist/eran_convsmall/convSmallRELU__Point.onnx", PLAIN_MNIST, 4),
    "mnist convmedium": ("trained_here/mnist_convmed.onnx", MNIST, 4),
    "mnist convbig": ("trained_here/mnist_convbig.onnx", MNIST, 1),
    "mnist 256x2": ("mnist/vnncomp_mnistfc/mnist-net_256x2.onnx", PLAIN_MNIST, 16),
    "mnist 6x100": (TRAINED / "mnist_6x100.onnx", PLAIN_MNIST, 16),
    "mnist 9x200": (TRAINED / "mnist_9x200.onnx", PLAIN_MNIST, 8),
    "acas xu": ("acasxu/onnx/ACASXU_run2a_1_1_batch_2000.onnx", None, 1000),
}


class ImageRows:
    """Images as normalised rows float64[N, D]; made when a slice is asked for, so that many take little memory."""

    def __init__(self, images, normalisation):
        self.images, self.normalisation = images, normalisation
        self.shape = (len(images), images[0].size)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        mean, deviation = np.array(self.normalisation)[:, :, None, None]
        return ((self.images[rows] / 255.0 - mean) / deviation).reshape(-1, self.shape[1])


def load(name):
    """The network of a row; FileNotFoundError where it is one that was not trained yet."""
    source = NETWORKS[name][0]
    if isinstance(source, Path) and not source.is_file():
        raise FileNotFoundError(f"{source} is not there; make it with asv_benchmarks/train_mnist.py")
    return pwlnet.load_network(source if isinstance(source, Path) else pwlnet.datasets.fetch(source))


def image_rows(name, split="test"):
    """A black image float64[1, D], and all images of a split as `ImageRows`."""
    images, normalisation = NETWORKS[name][1]
    rows = pwlnet.datasets.load_images(images, split=split)[0]
    return ImageRows(np.zeros_like(rows[:1]), normalisation)[:], ImageRows(rows, normalisation)


def lines_of(name, network, n_lines):
    """Ends float64[n_lines, D] of lines from black to test images; without images random ones, in the box of ACAS Xu."""
    if NETWORKS[name][1] is None:
        return tuple(np.random.default_rng(0).uniform(-0.5, 0.5, (2, n_lines, network.n_inputs)))
    black, images = image_rows(name)
    return np.repeat(black, n_lines, axis=0), images[1 : n_lines + 1]
