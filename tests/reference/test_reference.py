"""Checks of the oracles themselves: closed forms, brute force over rational points, torch, and invariants of lines."""

from bisect import bisect_right
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tests.counts import few
from tests.reference import dense_line, exact_line, features
from tests.reference.description import SWITCHING, clip_bounds, point_states, pool_windows, shapes, values
from tests.reference.random_cases import random_case
from tests.reference.random_lines import random_line
from tests.reference.random_networks import KINDS, random_network
from tests.reference.reordering import reordered
from tests.reference.rescaling import rescaled_by_odd_numbers, rescaled_by_powers_of_two
from tests.reference.torch_network import to_torch

SEEDS = range(few(60, quick=6))  # the oracles themselves: a handful at the quick level
both = pytest.mark.parametrize("degenerate", [False, True])


def draw(seed, degenerate, **options):
    """One network and one line."""
    rng = np.random.default_rng([seed, degenerate])
    net = random_network(rng, degenerate=degenerate, **options)
    return net, *random_line(rng, net, degenerate)


def point(start, end, t):
    """The exact point of a line at ``t``."""
    return [a + t * (b - a) for a, b in zip(map(Fraction, start), map(Fraction, end), strict=True)]


def entry(n):
    return {"kind": "input", "inputs": [], "shape": (n,)}


RELU = {"kind": "relu", "inputs": [0]}
HARD_TANH = {"kind": "clip", "inputs": [0], "lower": -1.0, "upper": 1.0}
POOL = [
    {"kind": "reshape", "shape": (1, 1, 4)},
    {"kind": "max_pool", "kernel": (1, 2), "stride": (1, 2), "padding": (0, 1, 0, 1), "dilation": (1, 1)},
]


def chain(*nodes):
    return [{**node, "inputs": [k] if k >= 0 else []} for k, node in enumerate(nodes, start=-1)]


CLOSED_FORMS = [
    (chain(entry(2), RELU), (-1, 3), (3, -1), ["1/4", "3/4"], [[(0, 1)], [(1, 0)]]),
    (chain(entry(2), RELU), (-0.5, 1), (1, -0.5), ["1/3", "2/3"], [[(0, 1)], [(1, 0)]]),
    (chain(entry(2), HARD_TANH), (-2, 0.5), (2, -0.5), ["1/4", "3/4"], [[(0, 1)], [(0, 2)]]),
    (chain(entry(4), *POOL), (1, 2, 1, 3), (1, 2, 5, 3), ["1/4"], [[(1, 1)]]),
    (chain(entry(4), RELU, *POOL), (-1, 2, 1, 3), (1, 2, 5, 3), ["1/4", "1/2"], [[(5, 1)], [(0, 1)]]),
    (chain(entry(2), *[{**POOL[0], "shape": (1, 1, 2)}, {**POOL[1], "padding": (0, 0, 0, 0)}]), (1, -2), (-2, 1),
     ["1/2"], [[(0, 1)]]),
]  # fmt: skip


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_closed_forms_are_reproduced_by_both_oracles(case):
    net, start, end, interior, flips = case
    t, found = exact_line.partition(net, start, end)
    assert t == [0, *map(Fraction, interior), 1]
    assert found == [[], *flips, []]
    t, found = dense_line.partition(net, start, end)
    np.testing.assert_allclose(t, [0, *(float(Fraction(s)) for s in interior), 1], rtol=0, atol=1e-15)
    assert found == [[], *flips, []]


def test_pooling_a_relu_finds_the_breakpoint_that_pysyrenn_misses():
    """PySyReNN's fused ReLU + MaxPool on (1, -2) to (-2, 1) gives 0, 2/3, 1; the pool also switches where ReLU does."""
    net = chain(entry(2), RELU, {"kind": "reshape", "shape": (1, 1, 2)}, {"kind": "max_pool", "kernel": (1, 2)})
    t, flips = exact_line.partition(net, (1, -2), (-2, 1))
    assert t == [0, Fraction(1, 3), Fraction(2, 3), 1]
    assert flips == [[], [(0, 0)], [(1, 1), (2, 1)], []]


def test_a_neuron_on_its_threshold_takes_the_state_of_the_rule():
    clip = chain(entry(3), HARD_TANH)
    assert exact_line.states(clip, (-1, 1, 0), (-1, 1, 0.5)).tolist() == [[0, 2, 1]]
    assert exact_line.states(chain(entry(2), RELU), (0, 0), (0, 1)).tolist() == [[0, 1]]
    pool = chain(entry(4), *POOL)
    assert exact_line.states(pool, (0, 1, 1, 0), (1, 2, 2, 3)).tolist() == [[1, 0, 0]]


def test_a_touch_without_a_change_is_no_breakpoint():
    """|x| and -|x| touch 0 at t = 1/2: the kink of |x| is a breakpoint, but a ReLU after it keeps its state."""
    kink = {"kind": "leaky_relu", "slope": -1.0}
    for scale in (1.0, -1.0):
        net = chain(entry(1), kink, {"kind": "scale_shift", "scale": scale, "shift": 0.0}, RELU)
        assert exact_line.partition(net, (-1,), (1,)) == ([0, Fraction(1, 2), 1], [[], [(0, 1)], []])


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_states_are_those_at_rational_points_inside_segments_and_breakpoints_change_them(seed, degenerate):
    net, start, end = draw(seed, degenerate)
    t, flips = exact_line.partition(net, start, end)
    states = exact_line.states(net, start, end)
    assert (t[0], t[-1]) == (0, 1)
    assert all(a < b for a, b in pairwise(t))
    changes = [np.flatnonzero(before != after) for before, after in pairwise(states)]
    assert all(len(neurons) for neurons in changes)
    inner = [[(n, states[k, n]) for n in neurons] for k, neurons in enumerate(changes, start=1)]
    assert flips == [[], *inner, []]
    dense = {Fraction(2 * k + 1, 46) for k in range(23)}
    near = {a + (b - a) * Fraction(n, 10**6) for a, b in pairwise(t) for n in (1, 10**6 - 1)}
    for s in sorted((dense | near) - set(t)):
        assert point_states(net, point(start, end, s)) == states[bisect_right(t, s) - 1].tolist()


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_are_the_exact_values_of_every_node(seed, degenerate):
    """The pieces at both ends of a segment and in its middle: they also agree at breakpoints, being continuous."""
    net, start, end = draw(seed, degenerate)
    line = exact_line.trace(net, start, end)
    for k, (a, b) in enumerate(pairwise(line.t)):
        for t in (a, (a + b) / 2, b):
            expected = values(net, point(start, end, t))
            for node, (pieces, denominator) in line.signals.items():
                found = [Fraction(c + s * t) / denominator for c, s in pieces[k].T]
                assert found == expected[node]


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_no_state_changes_inside_a_segment(seed, degenerate):
    """A proof per segment: affine signals cross a threshold inside only with opposite strict signs at the two ends."""
    net, start, end = draw(seed, degenerate)
    t = exact_line.partition(net, start, end)[0]
    sizes = shapes(net)
    at_ends = [values(net, point(start, end, s)) for s in t]
    for node in (node for node in net if node["kind"] in SWITCHING):
        source = node["inputs"][0]
        for left, right in pairwise([found[source] for found in at_ends]):
            if node["kind"] == "max_pool":
                for window in pool_windows(node, sizes[source]):
                    assert winners(window, left) & winners(window, right)
                continue
            levels = [b for b in clip_bounds(node) if b is not None] if node["kind"] == "clip" else [0]
            pairs = zip(left, right, strict=True)
            assert not any((a - level) * (b - level) < 0 for a, b in pairs for level in levels)


def winners(window, z):
    """The entries of a window that attain its maximum."""
    largest = max(z[k] for _, k in window)
    return {k for _, k in window if z[k] == largest}


@both
def test_reversing_the_line_mirrors_its_breakpoints(degenerate):
    for seed in SEEDS:
        net, start, end = draw(seed, degenerate)
        t, there = exact_line.partition(net, start, end)[0], exact_line.states(net, start, end)
        mirrored, back = exact_line.partition(net, end, start)[0], exact_line.states(net, end, start)
        assert mirrored == [1 - s for s in reversed(t)]
        assert (back == there[::-1]).all()


@both
def test_cutting_a_line_in_two_and_joining_changes_nothing(degenerate):
    for seed in SEEDS:
        net, start, end = draw(seed, degenerate)
        t, flips = exact_line.partition(net, start, end)
        cut = Fraction(seed % 15 + 1, 16)
        middle = point(start, end, cut)
        first, first_flips = exact_line.partition(net, start, middle)
        second, second_flips = exact_line.partition(net, middle, end)
        joined = [s * cut for s in first[:-1]] + [cut] * (cut in t) + [cut + s * (1 - cut) for s in second[1:]]
        assert joined == t
        at_cut = [flips[t.index(cut)]] if cut in t else []
        assert first_flips[:-1] + at_cut + second_flips[1:] == flips


@both
def test_torch_agrees_with_the_exact_values(degenerate):
    torch = pytest.importorskip("torch")
    for seed in SEEDS:
        net, start, end = draw(seed, degenerate, thirds=True)
        found = to_torch(net).every_node(torch.as_tensor(np.stack([start, end])))
        for row, x in enumerate((start, end)):
            for shape, exact, computed in zip(shapes(net), values(net, x), found, strict=True):
                assert tuple(computed.shape[1:]) == shape
                rounded = np.array(exact, float).reshape(shape)
                np.testing.assert_allclose(computed[row].numpy(), rounded, rtol=1e-12, atol=1e-12)


def test_the_dense_oracle_agrees_with_the_exact_one_on_generic_networks():
    for seed in range(few(300, quick=10)):
        net, _, _ = draw(seed, False, generic=True, thirds=True)
        start, end = np.random.default_rng([seed, 2]).normal(0.0, 2.0, (2, int(np.prod(net[0]["shape"]))))
        t, flips = exact_line.partition(net, start, end)
        found, found_flips = dense_line.partition(net, start, end)
        np.testing.assert_allclose(found, np.array(t, float), rtol=0, atol=1e-11)
        assert found_flips == flips


@both
def test_rescaled_networks_have_rescaled_values_and_the_same_partition(degenerate):
    rescaled = ((rescaled_by_powers_of_two, np.arange(-60, 61)), (rescaled_by_odd_numbers, (3, 5, 49)))
    for seed in SEEDS:
        net, start, end = draw(seed, degenerate)
        for rescale, drawn_from in rescaled:
            changed, factors = rescale(net, np.random.default_rng(seed), drawn_from)
            assert (factors != 1).any()
            for x, y in zip(values(net, start), values(changed, start * factors), strict=True):
                assert all((a == 0) == (b == 0) and a * b >= 0 for a, b in zip(x, y, strict=True))
            assert exact_line.partition(changed, start * factors, end * factors) == exact_line.partition(net, start, end)


@both
def test_reordered_networks_have_reordered_values_and_states(degenerate):
    moved = 0
    for seed in SEEDS:
        net, start, end = draw(seed, degenerate)
        changed, inputs, neurons = reordered(net, np.random.default_rng(seed))
        for x, y in zip(values(net, start), values(changed, start[inputs]), strict=True):
            assert sorted(x) == sorted(y)
        states = exact_line.states(changed, start[inputs], end[inputs])
        assert np.array_equal(states, exact_line.states(net, start, end)[:, neurons])
        moved += (neurons != np.arange(len(neurons))).any()
    assert moved > len(SEEDS) / 2


def test_a_point_has_one_segment():
    for seed in SEEDS:
        net, start, _ = draw(seed, True)
        assert exact_line.partition(net, start, start) == ([0, 1], [[], []])
        assert exact_line.states(net, start, start).tolist() == [point_states(net, start)]


def test_random_networks_hold_every_kind_and_the_allowed_kinds_only():
    nets = [draw(seed, seed % 2 == 1)[0] for seed in range(100)]
    assert {node["kind"] for net in nets for node in net[1:]} == set(KINDS)
    nets = [draw(seed, seed % 2 == 1, kinds=("linear", "relu"))[0] for seed in range(100)]
    assert {node["kind"] for net in nets for node in net[1:]} == {"linear", "relu"}


@pytest.mark.slow
def test_the_random_cases_hold_every_feature_many_times():
    """What tests of lines claim to try is there: every op in all its forms, all that can coincide."""
    networks, lines = Counter(), Counter()
    for seed in range(2000):
        description, starts, ends = random_case(seed)
        networks.update(features.of_network(description))
        for start, end in zip(starts, ends, strict=True) if seed < 400 else ():
            lines.update(features.of_line(description, start, end))
    assert {name: networks[name] for name in features.OF_NETWORKS if networks[name] < 15} == {}
    assert {name: lines[name] for name in features.OF_LINES if lines[name] < 15} == {}
