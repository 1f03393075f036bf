"""Layers so wide that only channels that may cross are scanned: the same breakpoints as from the oracles."""

import itertools

import numpy as np
import pytest

import pwlnet
from pwlnet.kernels.lines import wide, workspace
from pwlnet.partition.lines import tracing
from tests.counts import few
from tests.described import to_network
from tests.reference import dense_line, exact_line

SWITCHES = [{"kind": "relu"}, {"kind": "leaky_relu", "slope": np.array([0.25])}, {"kind": "clip", "lower": -1.0, "upper": 2.0}]


def layers(rng, widths, switch, draw):
    nodes = [{"kind": "input", "inputs": [], "shape": (widths[0],)}]
    for n_in, n_out in itertools.pairwise(widths):
        weight, bias = draw(rng, n_in, n_out)
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
        nodes.append({**switch, "inputs": [len(nodes) - 1]})
    return nodes


def draw_ties(rng, n_in, n_out):
    """Small dyadic weights with every fourth neuron a copy of the one before, and some that never move."""
    weight, bias = rng.integers(-2, 3, (n_out, n_in)) / 8.0, rng.integers(-6, 3, n_out) / 2.0
    weight[3::4], bias[3::4] = weight[2::4][: len(weight[3::4])], bias[2::4][: len(bias[3::4])]
    weight[5::32] = 0.0
    bias[5::64] = 0.0
    return weight, bias


def draw_normal(rng, n_in, n_out):
    return rng.standard_normal((n_out, n_in)) / np.sqrt(n_in), 0.2 * rng.standard_normal(n_out)


def flips_of(part):
    return [[(int(k), int(s)) for k, s in zip(neurons, states, strict=True)] for neurons, states in part.flips]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch["kind"])
@pytest.mark.parametrize("share", [2.0, 3.0])
def test_full_layers_with_ties_equal_exact_arithmetic(switch, share):
    rng = np.random.default_rng(5)
    widths = wide.WIDE_FROM + 6, wide.WIDE_FROM + 1, wide.WIDE_FROM
    nodes = layers(rng, (3, *widths), switch, draw_ties)
    start, end = rng.integers(-4, 5, (2, 3)).astype(float)
    end = start + share * (end - start)
    part = pwlnet.partition_lines(to_network(nodes), start[None], end[None]).parts[0]
    exact = exact_line.trace(nodes, part.start, part.end)
    assert sum(any(k < sum(widths[:2]) for k, _ in flips) for flips in exact.flips()) > 2 * wide.LONG_FROM
    assert len(part.t) == len(exact.t)
    assert max(abs(float(a) - b) for a, b in zip(exact.t, part.t, strict=True)) <= 1e-12
    assert flips_of(part) == exact.flips()


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch["kind"])
@pytest.mark.parametrize("seed", range(few(3, 3, quick=1)))
def test_full_layers_equal_the_dense_method(switch, seed):
    rng = np.random.default_rng(seed)
    assert_equals_dense(layers(rng, (8, 200, wide.WIDE_FROM, 150, 150), switch, draw_normal), rng)


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch["kind"])
def test_a_wide_layer_behind_narrow_ones_equals_the_dense_method(switch):
    rng = np.random.default_rng(3)
    narrow = wide.WIDE_FROM - 20
    assert_equals_dense(layers(rng, (8, narrow, narrow, wide.WIDE_FROM + 30, narrow), switch, draw_normal), rng)


@pytest.mark.parametrize("seed", range(few(3, 3, quick=1)))
def test_convolutions_and_layers_behind_them_equal_the_dense_method(seed):
    rng = np.random.default_rng(seed)
    channels = wide.WIDE_FROM_OF_MANY
    nodes = [{"kind": "input", "inputs": [], "shape": (2, 4, 4)}]
    for n_in, n_out in ((2, 12), (12, channels)):
        weight = rng.standard_normal((n_out, n_in, 3, 3)) / np.sqrt(9 * n_in)
        options = {"stride": (1, 1), "padding": (0, 0, 0, 0) if n_in == 12 else (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
        bias = 0.2 * rng.standard_normal(n_out)
        nodes.append({"kind": "conv", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias, **options})
        nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    nodes.append({"kind": "reshape", "inputs": [len(nodes) - 1], "shape": (4 * channels,)})
    weight, bias = draw_normal(rng, 4 * channels, channels + 5)
    nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
    nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    assert_equals_dense(nodes, rng)


def assert_equals_dense(nodes, rng):
    start, end = rng.standard_normal((2, int(np.prod(nodes[0]["shape"])))) * 2.0
    part = pwlnet.partition_lines(to_network(nodes), start[None], end[None]).parts[0]
    t, flips = dense_line.partition(nodes, start, end)
    assert len(t) > 4 * wide.LONG_FROM
    assert len(part.t) == len(t)
    assert np.abs(part.t - t).max() <= 1e-9
    assert flips_of(part) == [[(int(k), int(s)) for k, s in f] for f in flips]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch["kind"])
def test_buffers_that_fill_up_in_the_middle_of_a_layer_change_no_bit(switch, monkeypatch):
    rng = np.random.default_rng(4)
    nodes = layers(rng, (8, 200, wide.WIDE_FROM, 150, 150), switch, draw_normal)
    start, end = rng.standard_normal((2, 1, 8)) * 2.0
    wanted = pwlnet.partition_lines(to_network(nodes), start, end)
    for name, size in (("FIRST_IDS", 2), ("FIRST_VALUES", 1), ("FIRST_FOUND", 1)):
        monkeypatch.setattr(tracing, name, size)
    grown = []
    grow = tracing.SlotBuffers.grow
    monkeypatch.setattr(tracing.SlotBuffers, "grow", lambda buffers: grown.append(buffers.status) or grow(buffers))
    found = pwlnet.partition_lines(to_network(nodes), start, end)
    assert {workspace.FULL_IDS, workspace.FULL_ROWS, workspace.FULL_VALUES} <= set(grown)
    for name in ("t", "offsets", "flip_offsets", "flip_neurons", "flip_states", "residual"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name))
