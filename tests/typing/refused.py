"""Wrong uses that a type checker must refuse: ``make types`` fails for an ignored error that is not one. Never run."""

import numpy as np
import torch

import pwlnet


def wrong(network: pwlnet.Network, module: torch.nn.Module, x: np.ndarray) -> None:
    pwlnet.partition_line(network, x, x)  # type: ignore[attr-defined]
    pwlnet.partition_lines(module, x, x)  # type: ignore[arg-type]
    pwlnet.partition_lines("network.onnx", x, x)  # type: ignore[arg-type]
    pwlnet.partition_lines(network, x)  # type: ignore[call-arg]
    pwlnet.partition_lines(network, x, x, 1000)  # type: ignore[call-arg]
    pwlnet.partition_lines(network, x, x, max_segment=1000)  # type: ignore[call-arg]
    pwlnet.partition_lines(network, x, x, max_segments="all")  # type: ignore[arg-type]
    pwlnet.partition_lines(network, x, x, slope_dtype="float16")  # type: ignore[arg-type]
    pwlnet.partition_lines(network, x, x, tolerances=0.001)  # type: ignore[arg-type]
    pwlnet.partition_lines(network, network, x)  # type: ignore[arg-type]
    print(pwlnet.partition_lines(network, x, x).breakpoints)  # type: ignore[attr-defined]
    pwlnet.partition_lines(network, x, x).t = x  # type: ignore[misc]
    pwlnet.load_network(network)  # type: ignore[arg-type]
    pwlnet.load_network("a.onnx", check="none")  # type: ignore[arg-type]
    pwlnet.from_torch("module.pt", (3,))  # type: ignore[arg-type]
    network.forward(x, threads="all")  # type: ignore[arg-type]
    network.neuron(2.5)  # type: ignore[arg-type]
    network.n_inputs = 3  # type: ignore[misc]
    pwlnet.bound_preactivations(network, x)  # type: ignore[arg-type]
    pwlnet.bound_preactivations(network, pwlnet.Box(x, x), method="exact")  # type: ignore[arg-type]
    pwlnet.find_float_neurons(network, pwlnet.Box(x, x))  # type: ignore[call-arg]
    pwlnet.find_float_neurons(network, pwlnet.Box(x, x), method="lp")  # type: ignore[arg-type]
    pwlnet.decide(network, pwlnet.Ball(x, 1.0), pwlnet.HalfSpaces(x, x))  # type: ignore[arg-type]
    pwlnet.enumerate_regions(network, x, x, method="all")  # type: ignore[arg-type]
    pwlnet.enumerate_regions(network, x, x).witnesses[0]  # type: ignore[index]
    pwlnet.random_regions(pwlnet.enumerate_regions(network, x, x), 3, rng=0)  # type: ignore[arg-type]
    pwlnet.smoothing.repress_float_paths(network, -0.1, reference="dirty")  # type: ignore[arg-type]
    pwlnet.smoothing.SmoothedClassifier(module, "0.25")  # type: ignore[arg-type]
    pwlnet.learn.pgd(module, x, x, epsilon=0.1, norm="l3")  # type: ignore[arg-type]
    pwlnet.learn.train(module, x, "pgd", epochs=1, seed=0)  # type: ignore[arg-type]
    pwlnet.learn.train(module, (x, x), "trades", epochs=1, seed=0)  # type: ignore[arg-type]
    pwlnet.store.create("a.h5", "network.onnx")  # type: ignore[arg-type]
    pwlnet.store.open(3)  # type: ignore[arg-type]
    pwlnet.datasets.load_images("imagenet")  # type: ignore[arg-type]
    print(pwlnet.datasets.digits_images().images)  # type: ignore[attr-defined]
    pwlnet.reproduce.run("ig-error")  # type: ignore[call-arg]
