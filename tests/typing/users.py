"""Uses of the public interface and the types that a type checker must find for them: ``make types``. Never run."""

from pathlib import Path
from typing import Any, Literal, assert_type

import matplotlib.axes
import numpy as np
import pandas
import torch
from numpy.typing import NDArray

import pwlnet
from pwlnet.patterns import PatternLayout

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def networks(path: Path, module: torch.nn.Module) -> pwlnet.Network:
    assert_type(pwlnet.load_network("network.onnx"), pwlnet.Network)
    assert_type(pwlnet.load_network(path, outputs=[0, "logits"], check="warn"), pwlnet.Network)
    network = pwlnet.from_torch(module, (1, 28, 28))
    x = np.zeros((3, 784))
    assert_type(network.forward(x), Floats)
    assert_type(network.forward([[0.0] * 784]), Floats)
    assert_type(network.forward(torch.zeros(3, 784), threads=2), Floats)
    assert_type(network.states(x), NDArray[np.int32])
    assert_type(network.patterns(x), pwlnet.ActivationPatterns)
    assert_type(network.patterns(x).layout, PatternLayout)
    assert_type(network.patterns(x)[1:].packed, NDArray[np.uint64])
    assert_type(network.affine_map(x[0]), tuple[Floats, Floats])
    assert_type(network.neuron(np.int64(3)).name, str)
    assert_type(network.input_shape, tuple[int, ...])
    assert_type(network.digest, str)
    network.save(path)
    return network


def lines(network: pwlnet.Network, starts: Floats, ends: Floats) -> None:
    partitions = pwlnet.partition_lines(network, starts, ends, max_segments=1000, slope_dtype="float32")
    assert_type(partitions, pwlnet.LinePartitions)
    assert_type(partitions.t, Floats)
    assert_type(partitions.n_segments, Ints)
    assert_type(partitions.tolerances, pwlnet.Tolerances)
    assert_type(partitions.check(rng=np.random.default_rng(0)), list[str])
    assert_type(partitions.parts[0].outputs(), Floats)
    assert_type([part.t_error for part in partitions.parts], list[float])
    for batch in pwlnet.iter_line_partitions(network, starts, ends):
        assert_type(batch, pwlnet.LinePartitions)
    for chunk in pwlnet.iter_line_chunks(network, starts[0], ends[0]):
        assert_type(chunk, pwlnet.LineChunk)
        assert_type(chunk.residual, float | None)
    assert_type(pwlnet.summarize_lines(network, starts, ends).by_op()[0].name, str)
    attributions = pwlnet.integrate_gradients(network, starts, ends, outputs=[0, 3])
    assert_type(attributions.values, Floats)
    assert_type(attributions.n_samples, int | None)


def planes(network: pwlnet.Network, corners: Floats, ax: matplotlib.axes.Axes) -> None:
    partitions = pwlnet.partition_planes(network, corners[0], corners[1], corners[2], [[0, 0], [1, 0], [0, 1]])
    part = partitions.parts[0]
    assert_type(part, pwlnet.PlanePartition)
    assert_type(part.locate([[0.1, 0.2]]), Ints)
    decisions = part.classes("min")
    assert_type(decisions, pwlnet.DecisionRegions)
    assert_type(decisions.shares, Floats)
    pwlnet.plot.planes(part, ax=ax, color_by="area")
    for chunk in pwlnet.iter_plane_chunks(network, corners[0], corners[1], corners[2], [[0, 0], [1, 0], [0, 1]]):
        assert_type(chunk, pwlnet.PlaneChunk)


def bounds_and_sets(network: pwlnet.Network, x: Floats) -> None:
    box = pwlnet.Box.around(x, 0.1, limits=(0.0, 1.0))
    assert_type(box, pwlnet.Box)
    bounds = pwlnet.bound_preactivations(network, box, method="crown")
    assert_type(bounds.lower, Floats)
    assert_type(bounds.layers, tuple[tuple[str, int, int], ...])
    floats = pwlnet.find_float_neurons(network, pwlnet.Gaussian(x, 0.25), method="sampled", n_samples=100)
    assert_type(floats, pwlnet.FloatSet)
    assert_type(floats.upper, NDArray[np.bool_])
    assert_type(floats.witnesses, Floats | None)
    decision = pwlnet.decide(network, [box], pwlnet.HalfSpaces([[1.0, -1.0]], [0.0]), time_limit=1.0)
    assert_type(decision.status, str)
    assert_type(decision.witness, Floats | None)
    boxes, conditions = pwlnet.read_vnnlib("property.vnnlib")
    assert_type(boxes, list[pwlnet.Box])
    assert_type(conditions, list[list[pwlnet.HalfSpaces]])


def regions(network: pwlnet.Network) -> None:
    found = pwlnet.enumerate_regions(network, [-1.0, -1.0], [1.0, 1.0], want=("facets", "volumes"), max_regions=10)
    assert_type(found, pwlnet.Regions)
    assert_type(found.witnesses, Floats | None)
    assert_type(found.volumes(), Floats)
    assert_type(found.facets(0).G, Floats)
    assert_type(found.graph(), pwlnet.RegionGraph)
    assert_type(found.region(0), pwlnet.Region)
    region = pwlnet.region_of(network, [0.0, 0.0])
    assert_type(region.stable_radius(1), Floats)
    assert_type(region.inradius().radius, float)
    assert_type(pwlnet.euler_characteristic(found), int)
    assert_type(pwlnet.summarize_regions(found).to_dict(), dict[str, Any])
    assert_type(pwlnet.stable_radii(network, [[0.0, 0.0]], norm=np.inf).radius, Floats)


def smoothing(network: pwlnet.Network, module: torch.nn.Module, images: Floats, labels: Ints) -> None:
    smoothed = pwlnet.smoothing.SmoothedClassifier(module, 0.25, input_shape=[1, 28, 28])
    repressed = pwlnet.smoothing.repress_float_paths(network, -0.1, reference="clean")
    certificates = pwlnet.smoothing.SmoothedClassifier(repressed, 0.25).certify(images, n=1000, method="two_stage")
    assert_type(certificates, pwlnet.smoothing.Certificate | pwlnet.smoothing.Certificates)
    if isinstance(certificates, pwlnet.smoothing.Certificates):
        assert_type(certificates.radius, Floats)
        assert_type(certificates[0], pwlnet.smoothing.Certificate)
        assert_type(certificates[certificates.radius > 0.5], pwlnet.smoothing.Certificates)
        assert_type(pwlnet.smoothing.certified_accuracy(certificates, labels, radii=[0.0, 0.5]), Floats)
    log = pwlnet.smoothing.certify_to_log(smoothed, images, labels, "log.tsv", n=1000)
    assert_type(log.guarantee, str | None)
    assert_type(pwlnet.smoothing.radius_of([0.9], 0.25), Floats)


def learning(module: torch.nn.Module, images: Floats, labels: Ints) -> None:
    result = pwlnet.learn.train(module, (images, labels), "pgd", epsilon=0.1, norm="l2", epochs=2, seed=0)
    assert_type(result.history["epsilon"], Floats)
    adversarial = pwlnet.learn.pgd(result.model, images, labels, epsilon=0.1, norm="l2", rng=np.random.default_rng(0))
    assert_type(adversarial.success, NDArray[np.bool_])
    assert_type(pwlnet.learn.accuracy(module, images, labels), float)
    assert_type(pwlnet.learn.bound_outputs_ibp(module, images, images), tuple[Floats, Floats])


def stores(network: pwlnet.Network, path: Path, partitions: pwlnet.LinePartitions) -> None:
    with pwlnet.store.create(path, network, parameters={"seed": 3}) as writer:
        writer.append_lines(partitions)
        assert_type(writer.n_segments, int)
    with pwlnet.store.open(path) as store:
        assert_type(store.network, pwlnet.Network)
        assert_type(store.lines(0, 3), pwlnet.LinePartitions)
        assert_type(store.verify(), list[str])
        assert_type(store.to_dataframe(), pandas.DataFrame)
        for frame in store.iter_dataframes("segments"):
            assert_type(frame, pandas.DataFrame)
    assert_type(pwlnet.store.merge([path, "other.h5"], "all.h5").n_lines, int)
    with pwlnet.store.load_regions("regions.h5") as rows:
        assert_type(rows.packed, NDArray[np.uint64] | None)


def others() -> None:
    assert_type(pwlnet.__version__, str)
    assert_type(pwlnet.datasets.names("mnist"), list[str])
    assert_type(pwlnet.datasets.load_images("mnist", split="train"), tuple[NDArray[np.uint8], Ints])
    assert_type(pwlnet.datasets.digits_images(), tuple[Floats, Ints])
    assert_type(pwlnet.execution().n_threads, int)
    assert_type(pwlnet.reproduce.run("ig-error", "results", n_images=3).folder, Path)
    assert_type(pwlnet.tolerances.DEFAULT.slope_dtype, Literal["float64", "float32"])
    try:
        pwlnet.load_network("missing.onnx")
    except pwlnet.PwlnetError as error:
        assert_type(error, pwlnet.PwlnetError)
