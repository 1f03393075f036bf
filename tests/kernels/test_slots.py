"""What kernels read of a slot: addresses and shapes, of arrays that are C-contiguous."""

from typing import NamedTuple

import numpy as np
import pytest

from pwlnet.kernels import _jit
from tests.counts import IN_PYTHON

if not IN_PYTHON:
    from pwlnet.kernels import _slots

pytestmark = pytest.mark.skipif(IN_PYTHON or _jit.MODE != _jit.LINKED, reason="kernels read Python objects")


class Kept(NamedTuple):
    is_kept = True

    x: np.ndarray


class Slot(NamedTuple):
    kept: Kept
    y: np.ndarray


def test_words_are_addresses_and_shapes_in_order():
    slot = Slot(Kept(np.zeros((2, 3))), np.zeros(5, np.int64))
    expected = [slot.kept.x.ctypes.data, 2, 3, slot.y.ctypes.data, 5]
    assert _slots.slot_words(slot) == expected
    assert _slots.slot_words(slot) == expected


def test_addresses_of_kept_arrays_are_forgotten_with_the_arrays():
    before = len(_slots._ADDRESSES)
    slots = [Slot(Kept(np.zeros(100 + k)), np.zeros(1)) for k in range(20)]
    words = [_slots.slot_words(slot) for slot in slots]
    assert len(_slots._ADDRESSES) == before + 20
    assert [w[:2] for w in words] == [[slot.kept.x.ctypes.data, 100 + k] for k, slot in enumerate(slots)]
    del slots
    assert len(_slots._ADDRESSES) == before
    for _ in range(100):  # places in memory, and ids, are used again
        slot = Slot(Kept(np.ones(3)), np.ones(1))
        assert _slots.slot_words(slot)[0] == slot.kept.x.ctypes.data


def test_arrays_that_are_not_contiguous_are_refused():
    with pytest.raises(ValueError, match=r"a slot has an array of strides \(16,\); kernels read C-contiguous arrays"):
        _slots.slot_words(Slot(Kept(np.zeros(3)), np.zeros(6)[::2]))
