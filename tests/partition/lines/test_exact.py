"""Lines against oracles: exact rational arithmetic, a dense method, closed forms."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from tests.counts import few
from tests.described import live, to_network
from tests.reference import dense_line, exact_line
from tests.reference.random_cases import random_case
from tests.reference.random_lines import random_line
from tests.reference.random_networks import random_network

# Of a breakpoint from the exact rational one; the largest difference met is far below.
AGREE = 1e-12
LOOSEST = 1e-9  # bound of the rounding error of a breakpoint on these lines


def flips_of(part):
    return [[(int(k), int(s)) for k, s in zip(neurons, states, strict=True)] for neurons, states in part.flips]


def partition_of(description, start, end, **options):
    return pwlnet.partition_lines(to_network(description), start[None], end[None], **options).parts[0]


def assert_equals_exact(description, start, end, seed):
    assert_part_equals_exact(partition_of(description, start, end), description, seed)


def assert_part_equals_exact(part, description, seed):
    """Its breakpoints, flips and states are those of the oracle, none missing, none extra, none farther off than it says."""
    exact = exact_line.trace(description, part.start, part.end)
    assert len(part.t) == len(exact.t), seed
    farthest = max(abs(a - Fraction(b)) for a, b in zip(exact.t, part.t.tolist(), strict=True))
    assert farthest <= AGREE and farthest <= part.t_error <= LOOSEST, seed
    assert (part.t_error > 0.0) == (len(part.t) > 2), seed
    assert flips_of(part) == exact.flips(), seed
    assert np.array_equal(part.states(), exact.pattern()), seed


@pytest.mark.parametrize("first", range(0, few(2000, 300), 100))
def test_breakpoints_flips_and_states_equal_the_exact_ones(first):
    """Half of the networks are degenerate: duplicate neurons, zero rows, lines along zero sets, many ties.

    What they hold is counted in `test_reference.test_the_random_cases_hold_every_feature_many_times`.
    """
    for seed in range(first, first + 100):
        description, starts, ends = random_case(seed)
        for part in pwlnet.partition_lines(to_network(description), starts, ends, threads=1).parts:
            assert_part_equals_exact(part, description, seed)


def test_averages_over_thirds_do_not_split_breakpoints():
    """1/3 has several spellings in float64; ties behind an average over three entries must stay one breakpoint."""
    for seed in range(few(200, 200)):
        rng = np.random.default_rng(seed)
        description = live(random_network(rng, degenerate=seed % 2 == 1, thirds=True))
        start, end = random_line(rng, description, seed % 2 == 1)
        assert_equals_exact(description, start, end, seed)


@pytest.mark.parametrize("first", range(0, few(500), 50))
def test_a_dense_method_finds_the_same_breakpoints_on_generic_networks(first):
    for seed in range(first, first + 50):
        rng = np.random.default_rng(seed)
        description = live(random_network(rng, degenerate=False, generic=True, depth=(1, 5), width=(1, 12)))
        size = int(np.prod(description[0]["shape"]))
        start, end = rng.standard_normal((2, size)) * 2.0
        part = partition_of(description, start, end)
        t, flips = dense_line.partition(description, start, end)
        assert len(part.t) == len(t), seed
        assert np.abs(part.t - t).max() <= 1e-9, seed
        assert flips_of(part) == [[(int(k), int(s)) for k, s in f] for f in flips], seed


@pytest.mark.parametrize("seed", range(4))
def test_wide_layers_multiply_their_active_channels_only_and_stay_exact(seed):
    """From 48 channels on, products gather the channels that are not zero; a few seeds meet all ways of doing so."""
    rng = np.random.default_rng(seed)
    widths, nodes = (3, 60, 50, 4), [{"kind": "input", "inputs": [], "shape": (3,)}]
    for n_in, n_out in itertools.pairwise(widths):
        weight, bias = rng.integers(-3, 4, (n_out, n_in)) / 4.0, rng.integers(-8, 3, n_out) * (1.0 if seed % 2 else 0.0)
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
        nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    start, end = rng.integers(-4, 5, (2, 3)).astype(float)
    for share in (1.0, 1 / 16, 1 / 64):
        assert_equals_exact(nodes, start, start + share * (end - start), seed)


RELU = [{"kind": "relu", "inputs": [0]}]
CLIP = [{"kind": "clip", "inputs": [0], "lower": -1.0, "upper": 1.0}]
POOL = {"kind": "max_pool", "kernel": (1, 2), "stride": (1, 2), "padding": (0, 1, 0, 1)}
CLOSED_FORMS = [
    ("relu", (2,), RELU, (-1, 3), (3, -1), [0, 1 / 4, 3 / 4, 1]),
    ("relu_thirds", (2,), RELU, (-0.5, 1), (1, -0.5), [0, 1 / 3, 2 / 3, 1]),
    ("hardtanh", (2,), CLIP, (-2, 0.5), (2, -0.5), [0, 1 / 4, 3 / 4, 1]),
    ("pool", (1, 1, 4), [{**POOL, "inputs": [0]}], (1, 2, 1, 3), (1, 2, 5, 3), [0, 1 / 4, 1]),
    ("relu_pool", (1, 1, 4), [*RELU, {**POOL, "inputs": [1]}], (-1, 2, 1, 3), (1, 2, 5, 3), [0, 1 / 4, 1 / 2, 1]),
    (
        "relu_pool_missed_by_fusion",
        (1, 1, 2),
        [*RELU, {"kind": "max_pool", "inputs": [1], "kernel": (1, 2), "stride": (1, 2), "padding": (0, 0, 0, 0)}],
        (1, -2),
        (-2, 1),
        [0, 1 / 3, 2 / 3, 1],
    ),
]


@pytest.mark.parametrize("case", CLOSED_FORMS, ids=[c[0] for c in CLOSED_FORMS])
def test_closed_forms_are_reproduced(case):
    _, shape, nodes, start, end, wanted = case
    description = [{"kind": "input", "inputs": [], "shape": shape}, *nodes]
    part = partition_of(description, np.array(start, float), np.array(end, float))
    assert part.t == pytest.approx(wanted, abs=1e-15)


def test_a_neuron_that_touches_its_threshold_and_turns_back_does_not_flip():
    """|t - 1/3| - 0 touches zero at a t that float64 can't hold; a rounding error there is no pair of crossings."""
    description = [
        {"kind": "input", "inputs": [], "shape": (1,)},
        {"kind": "leaky_relu", "inputs": [0], "slope": np.array(-1.0)},
        {"kind": "relu", "inputs": [1]},
    ]
    part = partition_of(description, np.array([-1.0]), np.array([2.0]))
    assert flips_of(part) == [[], [(0, 1)], []]


def test_of_equal_signals_that_take_over_in_a_pool_the_first_wins():
    """Taps 0 and 2 are equal once the second ReLU is off; the rounding of its way to zero stays in tap 0.

    So tap 2 seems to pass tap 1 an ulp earlier, and was taken for the winner.
    """
    description = [
        {"kind": "input", "inputs": [], "shape": (1,)},
        {"kind": "linear", "inputs": [0], "weight": np.array([[-1.0], [-3.0]]), "bias": np.array([1.0, -1.0])},
        {"kind": "relu", "inputs": [1]},
        {"kind": "linear", "inputs": [2], "weight": np.array([[-2.0, 1], [0, 0], [-2, 0]]), "bias": np.array([0.0, -1, 0])},
        {"kind": "reshape", "inputs": [3], "shape": (1, 1, 3)},
        {"kind": "max_pool", "inputs": [4], "kernel": (1, 3)},
    ]
    part = partition_of(description, np.array([-2.0]), np.array([1.0]))
    assert part.t == pytest.approx([0, 5 / 9, 5 / 6, 1], abs=1e-15)
    assert flips_of(part) == [[], [(1, 0)], [(2, 0)], []]


def test_a_tie_of_many_neurons_is_one_breakpoint_with_many_flips():
    weight = np.arange(1.0, 41.0)[:, None] * np.array([[3.0]])
    description = [
        {"kind": "input", "inputs": [], "shape": (1,)},
        {"kind": "linear", "inputs": [0], "weight": weight, "bias": -np.arange(1.0, 41.0)},
        {"kind": "relu", "inputs": [1]},
    ]
    part = partition_of(description, np.array([0.0]), np.array([1.0]))
    assert part.t == pytest.approx([0.0, 1.0 / 3.0, 1.0], abs=1e-15)
    assert [k for k, _ in flips_of(part)[1]] == list(range(40))
