"""Packed activation patterns: layout, packing of every field width, distance, sets."""

import copy
import pickle

import numpy as np
import pytest

from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import CapacityError, InputError, ShapeError
from pwlnet.patterns import ActivationPatterns, pattern_layout
from tests.counts import few
from tests.drawn import draw, is_dyadic
from tests.reference.description import point_states

STATES = (2, 3, 5, 16, 17, 256, 257, 65536)  # one op of 70 neurons for each number of states
WIDTHS = (1, 2, 4, 4, 8, 8, 16, 16)


@pytest.fixture(scope="module")
def layout():
    counts = np.array([0, *(n for _ in STATES for n in (70, 0))])
    n_states = np.array([0, *(n for s in STATES for n in (s, 0))])
    return pattern_layout(np.concatenate([[0], np.cumsum(counts)]), n_states)


def random_states(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    states = np.concatenate([rng.integers(0, s, (n_rows, 70)) for s in STATES], axis=1)
    states[0] = np.repeat(np.array(STATES) - 1, 70)
    return states


def chain(*steps, size=4):
    """A network of switching ops on ``size`` entries, each a method of Graph with its arguments."""
    graph = Graph((size,), batched=False)
    x = graph.input
    for k, (kind, *arguments) in enumerate(steps):
        x = getattr(graph, kind)(x, *arguments, name=f"{kind}{k}")
    graph.output = x
    return lower(graph)


def test_fields_have_the_smallest_width_that_holds_all_states(layout):
    assert tuple(layout.widths[1::2]) == WIDTHS
    assert not layout.widths[::2].any()


def test_each_op_starts_on_a_new_word_and_fields_never_cross_words(layout):
    words = [-(-70 // (64 // width)) for width in WIDTHS]
    assert np.diff(layout.word_offsets).tolist() == [0, *(n for w in words for n in (w, 0))]
    assert layout.word_widths.tolist() == [width for width, n in zip(WIDTHS, words, strict=True) for _ in range(n)]


def test_packing_and_unpacking_gives_the_states_back(layout):
    states = random_states(9)
    found = ActivationPatterns.from_states(states, layout).unpack()
    assert found.dtype == np.int32
    assert np.array_equal(found, states)


def test_the_documented_bits_hold_the_states(layout):
    states = random_states(3)
    packed = ActivationPatterns.from_states(states, layout).packed
    first = np.concatenate([[0], np.cumsum(np.diff(layout.word_offsets)[1::2])])
    for op, width in enumerate(WIDTHS):
        for j in (0, 1, 37, 69):
            word = int(packed[2, first[op] + j // (64 // width)])
            assert (word >> (j % (64 // width) * width)) % 2**width == states[2, 70 * op + j]


def test_patterns_of_networks_are_their_states():
    kinds = set()
    for seed in range(few(60)):
        description, network, points = draw(seed)
        if is_dyadic(description) and network.n_neurons:
            kinds |= {node["kind"] for node in description}
            assert network.patterns(points).unpack().tolist() == [point_states(description, x) for x in points]
    assert {"max_pool", "clip", "relu", "leaky_relu"} <= kinds


def test_windows_of_many_taps_are_packed_in_wider_fields():
    graph = Graph((1, 20, 20), batched=False)
    graph.output = graph.max_pool(graph.input, 17, stride=3, name="pool")
    network = lower(graph)
    image = np.random.default_rng(0).random((20, 20))
    winners = [image[a : a + 17, b : b + 17].argmax() for a in (0, 3) for b in (0, 3)]
    patterns = network.patterns(image.reshape(1, -1))
    assert patterns.layout.widths.tolist() == [0, 16]
    assert patterns.unpack().tolist() == [winners]


def test_clip_has_three_states_and_the_lower_one_on_a_threshold():
    network = chain(("clip", -1.0, 2.0), size=6)
    assert network.states([-3.0, -1.0, -0.5, 1.5, 2.0, 7.0]).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_relu_and_leaky_relu_are_inactive_at_zero():
    for step in (("relu",), ("leaky_relu", 0.1)):
        assert chain(step).states([-1.0, -0.0, 0.0, 1e-300]).tolist() == [[0, 0, 0, 1]]


def test_the_lowest_tap_wins_a_tie():
    graph = Graph((1, 2, 3), batched=False)
    graph.output = graph.max_pool(graph.input, (2, 3), name="pool")
    assert lower(graph).states([1.0, 2.0, 2.0, 0.0, 2.0, 1.0]).tolist() == [[1]]


def test_hamming_counts_neurons_and_not_bits(layout):
    states = random_states(40)
    patterns = ActivationPatterns.from_states(states, layout)
    rolled = np.roll(np.arange(40), 1)
    wanted = (states != states[rolled]).sum(axis=1)
    assert np.array_equal(patterns.hamming(patterns[rolled]), wanted)
    assert not patterns.hamming(patterns).any()


@pytest.mark.parametrize("op", range(len(STATES)))
def test_hamming_sees_any_single_neuron_of_any_field_width(layout, op):
    states = random_states(70)
    states[1:] = states[0]
    changed = states.copy()
    changed[np.arange(70), 70 * op + np.arange(70)] = 0
    patterns, others = (ActivationPatterns.from_states(s, layout) for s in (states, changed))
    assert (patterns.hamming(others) == 1).all()


def test_one_pattern_is_compared_with_many(layout):
    states = random_states(5)
    patterns = ActivationPatterns.from_states(states, layout)
    wanted = (states != states[3]).sum(axis=1)
    assert np.array_equal(patterns.hamming(patterns[3]), wanted)
    assert np.array_equal(patterns[3].hamming(patterns), wanted)


def test_patterns_of_different_numbers_of_points_are_refused(layout):
    patterns = ActivationPatterns.from_states(random_states(3), layout)
    with pytest.raises(ShapeError, match=r"^other has 2 rows, but these are 3; give the same number, or one$"):
        patterns.hamming(patterns[:2])


def test_patterns_of_other_neurons_are_refused_though_they_have_as_many_words():
    relus, clips = chain(("relu",), size=64), chain(("clip", 0.0, 1.0), size=32)
    message = r"^other has patterns of 32 neurons in 1 words, these of 64 in 1; compare patterns of one network$"
    with pytest.raises(ShapeError, match=message):
        relus.patterns(np.zeros(64)).hamming(clips.patterns(np.zeros(32)))


def test_patterns_of_other_neurons_are_not_equal():
    relus, clips = chain(("relu",), size=64), chain(("clip", 0.0, 1.0), size=32)
    assert relus.patterns(np.zeros(64)) != clips.patterns(np.zeros(32))


def test_equal_patterns_have_equal_hashes(layout):
    first, second = (ActivationPatterns.from_states(random_states(4), layout) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second, first[:2]}) == 2


def test_patterns_are_not_equal_to_other_things(layout):
    assert ActivationPatterns.from_states(random_states(1), layout) != 1


def test_unique_keeps_each_pattern_once_in_order_of_appearance(layout):
    states = random_states(6)[[3, 1, 3, 0, 1, 5]]
    assert np.array_equal(ActivationPatterns.from_states(states, layout).unique().unpack(), states[[0, 1, 3, 5]])


def test_rows_are_picked_like_those_of_an_array(layout):
    states = random_states(5)
    patterns = ActivationPatterns.from_states(states, layout)
    assert np.array_equal(patterns[1:3].unpack(), states[1:3])
    assert np.array_equal(patterns[-1].unpack(), states[-1:])
    assert np.array_equal(patterns[states[:, 0] == 1].unpack(), states[states[:, 0] == 1])
    assert len(patterns) == len(list(patterns)) == 5
    assert len(patterns[:0]) == 0


def test_a_network_without_neurons_has_one_pattern():
    graph = Graph((2,), batched=False)
    graph.output = graph.linear(graph.input, np.eye(2), name="linear")
    patterns = lower(graph).patterns(np.ones((3, 2)))
    assert patterns.unpack().shape == (3, 0)
    assert len(patterns.unique()) == 1
    assert not patterns.hamming(patterns).any()


def test_patterns_are_immutable(layout):
    patterns = ActivationPatterns.from_states(random_states(2), layout)
    with pytest.raises(AttributeError, match=r"^ActivationPatterns are immutable, so 'packed' cannot be set; build new ones"):
        patterns.packed = None
    with pytest.raises(ValueError, match="read-only"):
        patterns.packed[0, 0] = 1


def test_patterns_survive_pickling_and_copying(layout):
    patterns = ActivationPatterns.from_states(random_states(2), layout)
    for back in (pickle.loads(pickle.dumps(patterns)), copy.deepcopy(patterns)):
        assert back == patterns
        assert np.array_equal(back.unpack(), patterns.unpack())
        assert not back.packed.flags.writeable


def test_the_text_form_says_how_many():
    assert repr(chain(("relu",)).patterns(np.zeros((3, 4)))) == "ActivationPatterns(3 points, 4 neurons)"


@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 5)])
def test_states_of_another_number_of_neurons_are_refused(shape):
    message = f"states has shape {shape}, but there are 4 neurons; give (rows, 4)"
    with pytest.raises(ShapeError) as caught:
        ActivationPatterns.from_states(np.zeros(shape, int), chain(("relu",)).pattern_layout)
    assert str(caught.value) == message


@pytest.mark.parametrize(("bad", "least", "most"), [(2, 0, 2), (-1, -1, 0)])
def test_states_that_a_neuron_does_not_have_are_refused(bad, least, most):
    states = np.zeros((2, 4), int)
    states[1, 2] = bad
    with pytest.raises(InputError) as caught:
        ActivationPatterns.from_states(states, chain(("relu",)).pattern_layout)
    assert str(caught.value) == (
        f"states holds values from {least} to {most}, which these neurons do not have; give states of this network"
    )


def test_windows_of_more_taps_than_a_field_holds_are_refused():
    graph = Graph((1, 257, 257), batched=False)
    graph.output = graph.max_pool(graph.input, 257, name="pool")
    network = lower(graph)
    message = "^a MaxPool window has 66049 taps, but patterns hold at most 65536 states per neuron; pool in two steps$"
    with pytest.raises(CapacityError, match=message):
        _ = network.pattern_layout
