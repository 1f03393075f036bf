"""Bit kernels against Python's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pwlnet.kernels.ir import bits
from tests.counts import few
from tests.kernels.entries import entry

WIDTHS = (1, 2, 4, 8, 16)
words = st.integers(0, 2**64 - 1)


@settings(max_examples=few(200, 50), deadline=None, derandomize=True)
@given(words)
def test_popcount_is_the_number_of_ones(word):
    assert entry(bits.popcount)(np.uint64(word)) == word.bit_count()


@pytest.mark.parametrize("word", [0, 1, 2**63, 2**64 - 1, 0x5555555555555555, 0xFF00FF00FF00FF00])
def test_popcount_is_right_at_the_extremes(word):
    assert entry(bits.popcount)(np.uint64(word)) == word.bit_count()


@pytest.mark.parametrize("width", WIDTHS)
@settings(max_examples=few(100, 10), deadline=None, derandomize=True)
@given(first=words, second=words)
def test_hamming_counts_the_fields_that_differ(width, first, second):
    fields = [(first >> k) % 2**width != (second >> k) % 2**width for k in range(0, 64, width)]
    out = np.empty(1, np.int64)
    pair = (np.array([[word]], np.uint64) for word in (first, second))
    bits.hamming(*pair, np.array([width]), out)
    assert out[0] == sum(fields)


def test_hamming_adds_up_words_of_different_widths():
    first = np.random.default_rng(0).integers(0, 2**64, (3, 5), np.uint64)
    second = first.copy()
    second[1] ^= np.uint64(2**63)
    out = np.empty(3, np.int64)
    bits.hamming(first, second, np.array(WIDTHS), out)
    assert out.tolist() == [0, 5, 0]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [1, 63, 64, 65])
def test_fields_lie_where_the_rule_says(width, n):
    states = np.random.default_rng(n).integers(0, 2**width, (2, n)).astype(np.int32)
    per_word = 64 // width
    packed = np.full((2, -(-n // per_word)), 2**64 - 1, np.uint64)  # old contents must not show
    offsets = np.array([0, 0, n]), np.array([0, 0, packed.shape[1]])
    bits.pack(states, *offsets, np.array([0, width]), packed)
    for b, row in enumerate(states):
        whole = sum(int(s) << (64 * (j // per_word) + j % per_word * width) for j, s in enumerate(row))
        assert [int(word) for word in packed[b]] == [(whole >> (64 * w)) % 2**64 for w in range(packed.shape[1])]
    back = np.full_like(states, -1)
    bits.unpack(packed, *offsets, np.array([0, width]), back)
    assert np.array_equal(back, states)
