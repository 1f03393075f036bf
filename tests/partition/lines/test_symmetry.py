"""What must not change a partition: the line reversed or split, neurons rescaled or in another order.

On the random networks of the exact tests (tests/partition/lines/test_exact.py), which say what the partition itself is.
"""

from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from tests.counts import few
from tests.described import to_network
from tests.reference import exact_line
from tests.reference.random_cases import random_case
from tests.reference.reordering import reordered
from tests.reference.rescaling import rescaled_by_odd_numbers, rescaled_by_powers_of_two

AGREE = 1e-12  # as for the exact test
ODD = (1, 3, 5, 7, 49, 3**10)
blocks = pytest.mark.parametrize("first", range(0, few(2000, 200), 100))


def partitions(description, starts, ends):
    """One thread: starting more takes longer than these lines."""
    return pwlnet.partition_lines(to_network(description), starts, ends, threads=1)


def cases(first):
    for seed in range(first, first + 100):
        description, starts, ends = random_case(seed)
        yield seed, description, starts, ends, partitions(description, starts, ends)


def flips_of(part):
    return [list(zip(neurons.tolist(), states.tolist(), strict=True)) for neurons, states in part.flips]


def mirrored(part):
    """The flips of a part seen from its end: at each t its neurons go back to the states that they had."""
    states = part.states()
    return [[(n, int(states[k - 1, n])) for n, _ in at] for k, at in enumerate(flips_of(part))][::-1]


def assert_same_bits(found, wanted, seed):
    for name in ("offsets", "t", "flip_offsets", "flip_neurons", "flip_states"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), (seed, name)


def assert_same_breakpoints(found, wanted, seed):
    assert np.array_equal(found.offsets, wanted.offsets), seed
    assert np.abs(found.t - wanted.t).max() <= AGREE, seed


@blocks
def test_reversing_a_line_mirrors_its_breakpoints_and_flips(first):
    for seed, _, starts, ends, lines in cases(first):
        for there, back in zip(lines.parts, pwlnet.partition_lines(lines.network, ends, starts, threads=1).parts, strict=True):
            assert len(back.t) == len(there.t), seed
            assert np.abs(there.t - (1.0 - back.t[::-1])).max() <= AGREE, seed
            assert flips_of(back) == mirrored(there), seed
            assert np.array_equal(back.states(), there.states()[::-1]), seed


def cut_points(description, start, end, rng):
    """Parameters at which a line can be cut without rounding: an odd sixteenth, and its breakpoints where they allow it."""
    exact = exact_line.partition(description, start, end)[0][1:-1]
    for t in [Fraction(int(rng.integers(1, 16)), 16), *exact]:
        middle = [Fraction(a) + t * (Fraction(b) - Fraction(a)) for a, b in zip(start.tolist(), end.tolist(), strict=True)]
        if all(Fraction(float(x)) == x for x in middle):
            yield t, np.array(middle, np.float64)


@blocks
def test_the_parts_of_a_split_line_have_its_breakpoints_and_flips(first):
    """Also where it is split at a breakpoint: then that is in none of the parts, and states beside it are the same."""
    at_breakpoints = 0
    for seed, description, _, _, lines in cases(first):
        part = lines.parts[seed % 3]
        for cut, middle in cut_points(description, part.start, part.end, np.random.default_rng(seed)):
            left, right = pwlnet.partition_lines(lines.network, [part.start, middle], [middle, part.end], threads=1).parts
            cut = float(cut)
            at_cut = np.flatnonzero(np.abs(part.t[1:-1] - cut) <= AGREE) + 1
            at_breakpoints += len(at_cut)
            t = np.append(left.t[:-1] * cut, cut + right.t[1:] * (1.0 - cut))
            assert len(t) + len(at_cut) == len(part.t), seed
            assert np.abs(t - np.delete(part.t, at_cut)).max() <= AGREE, seed
            flips, states = flips_of(part), part.states()
            assert flips_of(left)[:-1] == flips[: left.n_segments], seed
            assert flips_of(right)[1:] == flips[len(flips) - right.n_segments :], seed
            assert np.array_equal(left.states(), states[: left.n_segments]), seed
            assert np.array_equal(right.states(), states[len(states) - right.n_segments :]), seed
    assert at_breakpoints > 20


@blocks
def test_reordering_neurons_reorders_flips(first):
    moved = 0
    for seed, description, starts, ends, lines in cases(first):
        changed, inputs, neurons = reordered(description, np.random.default_rng(seed))
        moved += (neurons != np.arange(len(neurons))).any()
        found = partitions(changed, starts[:, inputs], ends[:, inputs])
        assert_same_breakpoints(found, lines, seed)
        for part, wanted in zip(found.parts, lines.parts, strict=True):
            numbered = [sorted((int(neurons[n]), state) for n, state in at) for at in flips_of(part)]
            assert numbered == flips_of(wanted), seed
            assert np.array_equal(part.states(), wanted.states()[:, neurons]), seed
    assert moved > 60


@blocks
def test_rescaling_neurons_by_powers_of_two_changes_no_bit(first):
    """From 2**-60 to 2**60, each on its own, as far as convolutions, pools, clips and additions allow."""
    for seed, description, starts, ends, lines in cases(first):
        changed, inputs = rescaled_by_powers_of_two(description, np.random.default_rng(seed), np.arange(-60, 61))
        assert_same_bits(partitions(changed, starts * inputs, ends * inputs), lines, seed)


@blocks
def test_rescaling_a_whole_network_and_the_line_by_a_power_of_two_changes_no_bit(first):
    for seed, description, starts, ends, lines in cases(first):
        exponent = (-60, 60)[seed // 2 % 2]
        changed, inputs = rescaled_by_powers_of_two(description, np.random.default_rng(seed), [exponent])
        assert_same_bits(partitions(changed, starts * inputs, ends * inputs), lines, seed)


@blocks
def test_rescaling_neurons_by_odd_numbers_changes_no_breakpoint_and_no_flip(first):
    """Ties stay ties, though sums and quotients now round in other places."""
    for seed, description, starts, ends, lines in cases(first):
        changed, inputs = rescaled_by_odd_numbers(description, np.random.default_rng(seed), ODD)
        found = partitions(changed, starts * inputs, ends * inputs)
        assert_same_breakpoints(found, lines, seed)
        for name in ("flip_offsets", "flip_neurons", "flip_states"):
            assert np.array_equal(getattr(found, name), getattr(lines, name)), (seed, name)
