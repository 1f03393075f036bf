"""From files and torch modules to networks, and back from pwlnet's own files."""

import os
import tempfile

import pwlnet

from .networks import SEEDED, SHIPPED, build_graph, build_network, with_slow
from .networks import setup_cache as setup_cache  # for asv


class ReadOnnx:
    """Reading an ONNX file, including the comparison with a reference evaluation."""

    params = (list(SHIPPED),)
    param_names = ("network",)

    def setup(self, network):
        self.path = pwlnet.datasets.digits_network_path(network)
        pwlnet.load_network(self.path)

    def time_load(self, network):
        pwlnet.load_network(self.path)


class Lower:
    """Lowering the graph of a network to a program."""

    params = (with_slow(["acas_6x50", "mnist_9x200"], ["cifar_convmedium", "cifar_convbig"]),)
    param_names = ("network",)

    def setup(self, network):
        self.graph = build_graph(*SEEDED[network])

    def time_lower(self, network):
        from pwlnet.convert.lower import lower

        lower(self.graph)


class FromTorch:
    """Conversion of a torch module with a convolution."""

    def setup(self):
        try:
            from torch import nn
        except ImportError as error:
            raise NotImplementedError("torch is not installed") from error
        layers = [nn.Conv2d(1, 16, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2704, 100), nn.ReLU(), nn.Linear(100, 10)]
        self.module = nn.Sequential(*layers).eval()
        pwlnet.from_torch(self.module, (1, 28, 28))

    def time_from_torch(self):
        pwlnet.from_torch(self.module, (1, 28, 28))


class OwnFile:
    """Reading pwlnet's HDF5 form of a network."""

    params = (with_slow(["digits_conv"], ["cifar_convmedium"]),)
    param_names = ("network",)

    def setup(self, network):
        self.folder = tempfile.TemporaryDirectory()
        self.network = build_network(network)
        self.path = os.path.join(self.folder.name, "network.h5")
        self.network.save(self.path)
        pwlnet.load_network(self.path)

    def teardown(self, network):
        self.folder.cleanup()

    def time_load(self, network):
        pwlnet.load_network(self.path)
