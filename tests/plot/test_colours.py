"""Colours: told apart with all kinds of colour vision, and different on both sides of an edge."""

import numpy as np
import pytest

from pwlnet.patterns import ActivationPatterns, pattern_layout
from pwlnet.plot import colours
from tests.plot.parts import random_part

# Machado, Oliveira and Fernandes 2009, severity 1; of linear RGB.
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(table, vision):
    """CIELAB coordinates of colours as people with this colour vision see them."""
    rgb = colours.as_bytes(table)[:, :3] / 255.0
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = (np.clip(linear @ np.transpose(VISION[vision]), 0.0, 1.0) @ (TO_XYZ / [[0.9505], [1.0], [1.089]]).T).T
    f = [np.where(c > 0.008856, np.cbrt(c), 7.787 * c + 16 / 116) for c in (x, y, z)]
    return np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])], axis=1)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("table", [colours.PATTERN_COLOURS, colours.CLASS_COLOURS], ids=["patterns", "classes"])
def test_any_two_colours_can_be_told_apart(table, vision):
    lab = seen(table, vision)
    differences = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert differences[np.triu_indices(len(table), 1)].min() > 15


def test_neighbours_of_random_networks_have_different_colours():
    for seed in range(3):
        part = random_part(seed)
        pairs = part.adjacency().polygons
        assert (part.patterns()[pairs[:, 0]].hamming(part.patterns()[pairs[:, 1]]) == 1).all()
        numbers = colours.number_patterns(part.patterns())
        assert (numbers[pairs[:, 0]] != numbers[pairs[:, 1]]).all()
        assert set(numbers.tolist()) == set(range(7))


def test_a_change_of_one_neuron_changes_the_colour_whatever_its_number_of_states():
    rng = np.random.default_rng(0)
    n_states = np.array([0, 2, 0, 3, 6, 7])
    counts = np.array([0, 70, 0, 40, 30, 33])
    layout = pattern_layout(np.concatenate([[0], np.cumsum(counts)]), n_states)
    of_neuron = np.repeat(n_states, counts)
    states = rng.integers(0, of_neuron, (5000, counts.sum()))
    other, rows, neuron = states.copy(), np.arange(5000), rng.integers(0, counts.sum(), 5000)
    shift = 1 + rng.integers(0, of_neuron[neuron] - 1)
    other[rows, neuron] = (states[rows, neuron] + shift) % of_neuron[neuron]
    first, second = (colours.number_patterns(ActivationPatterns.from_states(each, layout)) for each in (states, other))
    assert (first != second).all()


def test_classes_after_the_tenth_are_paler():
    table = colours.class_colours(25).astype(int)
    assert len(np.unique(table, axis=0)) == 25
    assert (table[10:20, :3] >= table[:10, :3]).all() and (table[:, 3] == 255).all()
    assert colours.class_colours(0).shape == (0, 4)
