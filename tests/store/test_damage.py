"""Damage anywhere in a file is found and named; a damaged file raises errors of pwlnet only."""

import pytest

from tests.counts import few
from tests.store import damage


@pytest.mark.parametrize("stopped", [False, True])
def test_a_flipped_byte_is_found_wherever_it_is(tmp_path, stopped):
    n_flips = few(150, 20, quick=100 if stopped else 20)
    found, results = damage.flips(n_flips, 3, tmp_path, stopped=stopped)  # of a stopped store, two fifths are unused
    assert set(found) <= {"found", "refused", *(["in unused bytes"] if stopped else [])}, results
    assert found["found"] + found["refused"] > found["in unused bytes"]


def test_mutated_stores_bring_out_only_errors_of_pwlnet(tmp_path):
    found, bad = damage.fuzz(1000.0, 1, tmp_path, at_most=few(150, 25, quick=25))
    assert bad == []
    assert sum(found.values()) >= few(150, 25, quick=25)
