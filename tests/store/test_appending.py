"""``append_lines_by_length``: which lines are traced in chunks, and that the choice does not change the store."""

import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.partition.lines import windows
from pwlnet.partition.lines.ends import LineEnds, RowRange
from pwlnet.partition.lines.windows import Run, split_by_strategy


@pytest.fixture
def short_windows(monkeypatch):
    """Plan windows of about 10 breakpoints, and look at 6 lines at a time."""
    monkeypatch.setattr(windows, "WINDOW_POINTS", 10)
    monkeypatch.setattr(windows, "LINES_AT_ONCE", 6)


@pytest.fixture
def ends():
    """Sixteen starts and ends; every third line is a hundredth as long as the others."""
    starts, ends = np.random.default_rng(0).normal(size=(2, 16, 5))
    ends[::3] = starts[::3] + 0.01 * (ends[::3] - starts[::3])
    return starts, ends


def digest(path):
    with store.open(path) as opened:
        assert opened.verify() == []
        return opened.digest()


@pytest.mark.parametrize("options", [{}, {"max_points": 15}, {"stream": True}, {"stream": True, "max_points": 15}])
@pytest.mark.parametrize("done", [0, 3])
def test_the_store_and_its_summary_are_those_of_one_call(tmp_path, network, ends, short_windows, options, done):
    lines = pwlnet.partition_lines(network, *ends)
    store.save_lines(tmp_path / "one_call.h5", lines)
    with store.create(tmp_path / "out.h5", network) as writer:
        if done:
            writer.append_lines(pwlnet.partition_lines(network, *(rows[:done] for rows in ends)))
        summaries = list(store.append_lines_by_length(writer, *ends, **options))
        assert writer.n_lines == 16
        assert list(store.append_lines_by_length(writer, *ends, **options)) == []
    assert digest(tmp_path / "out.h5") == digest(tmp_path / "one_call.h5")
    summary = summaries[0].merge(*summaries[1:])
    assert len(summary) == 16 - done
    assert np.array_equal(summary.n_segments, lines.n_segments[done:])


def test_lines_with_many_changes_of_state_are_traced_in_chunks(network, ends, short_windows):
    counts = windows.count_changes(network, *ends)
    runs = list(split_by_strategy(network, LineEnds(network, *ends), max_points=15, first=1))
    assert [k for run in runs for k in range(run.first, run.last)] == list(range(1, 16))
    assert {run.in_chunks for run in runs} == {True, False}
    for run in runs:
        assert ((counts[run.first : run.last] > 15) == run.in_chunks).all()
        assert run.last - run.first == 1 or not run.in_chunks


def test_networks_without_long_lines_need_no_evaluation(network, ends, monkeypatch):
    monkeypatch.setattr(windows, "count_changes", None)
    lines = LineEnds(network, *ends)
    assert list(split_by_strategy(network, lines, max_points=15)) == [Run(0, 16, False)]
    assert list(split_by_strategy(network, lines, max_points=15, first=16)) == []
    assert list(split_by_strategy(network, lines, max_points=15, first=14, stream=True)) == [
        Run(14, 15, True),
        Run(15, 16, True),
    ]


def test_selected_lines_are_read_when_they_are_sliced(network, ends):
    class Source:
        shape, slices = ends[1].shape, []

        def __getitem__(self, rows):
            self.slices.append((rows.start, rows.stop))
            return ends[1][rows]

    source = Source()
    lines = LineEnds(network, np.zeros(5), source)
    selected = LineEnds(network, *lines.select(4, 14))
    assert (len(selected), source.slices) == (10, [])
    again = LineEnds(network, *selected.select(5, 9))
    starts, found = again.read(1, 3)
    assert source.slices == [(10, 12)]
    assert np.array_equal(found, ends[1][10:12])
    assert not starts.any()
    assert np.array_equal(np.asarray(RowRange(source, 3, 6)), ends[1][3:6])
