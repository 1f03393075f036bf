"""Magnitudes and near-ties: lines are right, or refused, or their doubtful decisions are counted in ``ambiguous``."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import NumericalError
from tests.counts import few
from tests.described import to_network
from tests.partition.lines import scales


def layers(*weights_and_biases, n_inputs, last_relu=True):
    """A fully connected network; ReLU after each layer, perhaps not after the last."""
    nodes = [{"kind": "input", "inputs": [], "shape": (n_inputs,)}]
    for k, (weight, bias) in enumerate(weights_and_biases):
        weight, bias = np.array(weight, float), np.array(bias, float)
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
        if last_relu or k + 1 < len(weights_and_biases):
            nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    return to_network(nodes)


RELU = layers(([[1.0]], [0.0]), n_inputs=1)
SHIFTED = layers(([[1.0]], [-1.0]), n_inputs=1)
FILTER = [[0.1, 0.2, -0.3], [1.0, 0.0, 0.0]]  # the first row adds up to 2.8e-17


@pytest.mark.parametrize("size", [5e-324, 1e-313, 1e-200, 1e-77, 1e77, 1e154, 1e200, 8e307])
def test_the_kink_of_a_relu_is_found_at_all_sizes(size):
    """Squared rounding errors under- or overflow at most of them, and the breakpoint was lost without a word."""
    lines = pwlnet.partition_lines(RELU, [[-size]], [[size]])
    assert lines.t.tolist() == [0.0, 0.5, 1.0] and lines.flip_states.tolist() == [1]
    assert lines.ambiguous[0] == 0 and 0.0 < lines.t_error[0] < 1e-12


def test_a_line_whose_ends_are_too_far_apart_is_refused():
    with pytest.raises(NumericalError, match="difference overflows"):
        pwlnet.partition_lines(RELU, [[-1e308]], [[1e308]])
    with pytest.raises(NumericalError, match="difference overflows"):
        pwlnet.iter_line_chunks(RELU, [-1e308], [1e308])


@pytest.mark.parametrize("end", [10.0, 1e15, 1e30, 1e200, 1e300])
def test_a_breakpoint_next_to_the_start_of_a_long_line_is_found(end):
    """The error along the line is larger than the value at its start, but the error at the start isn't."""
    lines = pwlnet.partition_lines(SHIFTED, [[0.0]], [[end]])
    assert len(lines.t) == 3 and abs(Fraction(lines.t[1]) * Fraction(end) - 1) <= Fraction(1, 2**52)
    assert lines.ambiguous[0] == 0


def test_a_breakpoint_next_to_the_end_that_cannot_be_resolved_is_counted():
    assert pwlnet.partition_lines(SHIFTED, [[1e15]], [[0.0]]).ambiguous[0] == 1
    lines = pwlnet.partition_lines(SHIFTED, [[1e3]], [[0.0]])
    assert lines.ambiguous[0] == 0 and lines.t[1] == pytest.approx(0.999, rel=1e-15)


def test_a_neuron_of_the_first_layer_within_rounding_of_zero_has_its_exact_sign():
    """A difference filter on equal pixels: on along the whole line, though only by 2.8e-17."""
    network = layers((FILTER, [0.0, 0.0]), ([[1.0, 1.0]], [0.0]), n_inputs=3, last_relu=False)
    lines = pwlnet.partition_lines(network, np.zeros((1, 3)), np.ones((1, 3)))
    assert lines.parts[0].states().tolist() == [[1, 1]] and lines.ambiguous[0] == 0
    found = pwlnet.integrate_gradients(network, np.zeros((1, 3)), np.ones((1, 3)))
    assert found.values[0, 0] == pytest.approx([1.1, 0.2, -0.3])
    lines = pwlnet.partition_lines(network, -np.ones((1, 3)), np.ones((1, 3)))
    assert lines.parts[0].states().tolist() == [[0, 0], [1, 1]] and lines.ambiguous[0] == 0


@pytest.mark.parametrize("start", [0.0, -1.0])
def test_a_later_neuron_that_stays_within_rounding_of_zero_is_counted(start):
    network = layers((np.eye(3), np.zeros(3)), (FILTER, [0.0, 0.0]), n_inputs=3)
    lines = pwlnet.partition_lines(network, np.full((1, 3), start), np.ones((1, 3)))
    assert lines.ambiguous[0] == 1


def test_exact_zeros_are_no_near_ties():
    """Lines that begin or end at the origin of a network without biases: all neurons are at their threshold there."""
    rng = np.random.default_rng(0)
    network = layers(*((rng.standard_normal(s), np.zeros(s[0])) for s in ((9, 4), (8, 9), (5, 8))), n_inputs=4)
    points = rng.standard_normal((20, 4))
    for line in ((np.zeros((1, 4)), points), (points, np.zeros((1, 4)))):
        lines = pwlnet.partition_lines(network, *line)
        assert lines.n_segments.tolist() == [1] * 20 and lines.ambiguous.tolist() == [0] * 20


def test_real_networks_have_no_near_ties():
    images, _ = pwlnet.datasets.digits_images()
    for name in ("digits_mlp", "digits_conv"):
        network = pwlnet.load_network(pwlnet.datasets.digits_network_path(name))
        for starts in (np.zeros((1, 64)), images[20:25]):
            assert pwlnet.partition_lines(network, starts, images[:5]).ambiguous.tolist() == [0] * 5


@pytest.mark.parametrize("kind", list(scales.KINDS))
def test_lines_at_extreme_scales_are_right_or_counted_or_refused(kind):
    """Generic and degenerate networks over all ops; the table is printed by the module ``scales``."""
    outcomes = []
    for k in scales.EXPONENTS if few(2, 1, quick=1) == 2 else (-500, -200, 30, 300):
        for seed in range(few(40, 1, quick=4)):
            found, _ = scales.outcome(*scales.case(seed, kind, k))
            assert found != "wrong", (kind, k, seed)
            outcomes.append(found)
    assert "right" in outcomes


def test_networks_without_biases_are_right_at_all_scales():
    """Nothing but the unit of each layer changes, so the partition is that of the network at scale 1."""
    rng, shapes = np.random.default_rng(3), ((6, 3), (5, 6), (4, 5))
    weights, ends = [rng.standard_normal(s) for s in shapes], rng.standard_normal((2, 6, 3))
    wanted = pwlnet.partition_lines(layers(*((w, np.zeros(len(w))) for w in weights), n_inputs=3), *ends)
    n = 0
    for exponents in itertools.product((-500, 0, 500), repeat=4):
        if max(abs(sum(exponents[:k])) for k in (1, 2, 3, 4)) > 500 + 400:  # overflows in a forward pass, or is all zero there
            continue
        scaled = layers(*((np.ldexp(w, k), np.zeros(len(w))) for w, k in zip(weights, exponents, strict=False)), n_inputs=3)
        found = pwlnet.partition_lines(scaled, *np.ldexp(ends, exponents[3]))
        assert np.array_equal(found.offsets, wanted.offsets) and np.allclose(found.t, wanted.t, rtol=0.0, atol=1e-12)
        assert np.array_equal(found.flip_neurons, wanted.flip_neurons) and found.ambiguous.tolist() == [0] * 6
        n += 1
    assert n > 20


def test_integrated_gradients_are_right_at_all_scales_or_refused():
    rng, shapes = np.random.default_rng(1), ((6, 3), (5, 6), (2, 5))
    weights, ends = [rng.standard_normal(s) for s in shapes], rng.standard_normal((2, 2, 3))

    def attributions(exponents):
        scaled = ((np.ldexp(w, k), np.zeros(len(w))) for w, k in zip(weights, exponents, strict=False))
        network = layers(*scaled, n_inputs=3, last_relu=False)
        return pwlnet.integrate_gradients(network, *np.ldexp(ends, exponents[3]))

    plain = attributions((0, 0, 0, 0)).values
    for exponents in ((-600, -600, 900, 0), (500, -500, 0, 0), (-400, -400, -150, 0), (0, 0, 0, -700), (300, 300, 0, 100)):
        found = attributions(exponents)
        assert found.values == pytest.approx(np.ldexp(plain, sum(exponents)), rel=1e-9, abs=0.0), exponents
        assert np.abs(found.residual).max() < 1e-12
    with pytest.raises(NumericalError, match="overflow"):
        attributions((400, 400, 400, 0))


def test_gradients_along_lines_of_networks_with_extreme_weights_are_refused():
    network = layers((np.full((2, 2), 2.0**-300), [0.0, 0.0]), ([[1.0, 1.0]], [0.0]), n_inputs=2, last_relu=False)
    with pytest.raises(NumericalError, match="rescale its layers"):
        pwlnet.measure_linearity(pwlnet.partition_lines(network, np.zeros((1, 2)), np.ones((1, 2))), 0)


@pytest.mark.parametrize("size", [1e-313, 1e-200, 1.0, 1e200])
def test_the_length_of_a_line_does_not_overflow(size):
    network = layers((np.eye(2), np.zeros(2)), n_inputs=2)
    length = pwlnet.partition_lines(network, np.zeros((1, 2)), size * np.array([[3.0, 4.0]])).length[0]
    assert length == pytest.approx(5.0 * size, rel=1e-9, abs=0.0)
