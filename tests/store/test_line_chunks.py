"""One long line in chunks: readers see it when it is finished, and then it is the line that one write gives."""

import itertools

import numpy as np
import pytest

from pwlnet import store
from pwlnet.errors import InputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.h5"


def append_chunks(writer, lines, cuts):
    """Append line 0 of line partitions in chunks, split at these breakpoints."""
    for first, last in itertools.pairwise(cuts):
        offsets = lines.flip_offsets[first : last + 1]
        flips = slice(offsets[0], offsets[-1])
        chunk = lines.t[first:last], offsets - offsets[0], lines.flip_neurons[flips], lines.flip_states[flips]
        writer.append_line_chunk(*chunk)


def finish(writer, lines):
    numbers = {name: getattr(lines, name)[0] for name in ("residual", "ambiguous", "t_error")}
    writer.finish_line(lines.starts[0], lines.ends[0], **numbers)


def digest(path):
    with store.open(path) as opened:
        assert opened.verify() == []
        return opened.digest()


def test_a_line_in_chunks_is_the_line_of_one_write(path, network, make_lines):
    long, others = make_lines(1, seed=4, n_segments=3000), make_lines(5)
    n = len(long.t)
    with store.create(path, network) as writer:
        writer.append_lines(others)
        append_chunks(writer, long, [0, 1, n // 2])
        assert (writer.n_lines, writer.n_segments, writer.unfinished_t) == (5, others.n_segments.sum(), long.t[n // 2 - 1])
        with pytest.raises(InputError, match=r"line 5 of .* is not finished; append its chunks and finish it first"):
            writer.append_lines(others)
    with store.open(path) as opened:
        assert (opened.n_lines, opened.n_breakpoints, opened.n_flips) == (5, len(others.t), len(others.flip_neurons))
        assert opened.verify() == []
        assert len(opened.lines()) == 5
    store.save_lines(path.with_name("others.h5"), others)
    assert digest(path) == digest(path.with_name("others.h5"))
    with store.resume(path) as writer:
        assert writer.unfinished_t == long.t[n // 2 - 1]
        append_chunks(writer, long, [n // 2, n // 2, n - 1, n])
        finish(writer, long)
        assert writer.unfinished_t is None
        writer.append_lines(others)
    store.save_lines(path.with_name("whole.h5"), iter([others, long, others]))
    assert digest(path) == digest(path.with_name("whole.h5"))
    with store.open(path) as opened:
        assert [len(batch) for batch in opened.batches()] == [5, 1, 5]
        assert np.array_equal(opened.lines(5, 6).t, long.t)
    store.merge([path], path.with_name("merged.h5"))
    assert digest(path) == digest(path.with_name("merged.h5"))


@pytest.mark.parametrize(
    ("chunk", "problem"),
    [
        (([0.1, 0.2], [0, 0, 0], [], []), "t starts with 0.1, not 0"),
        (([0.0, 0.2, 0.2], [0, 0, 0, 0], [], []), "t does not increase up to 1"),
        (([0.0, 1.2], [0, 0, 0], [], []), "t does not increase up to 1"),
        (([0.0, np.nan], [0, 0, 0], [], []), "t does not increase up to 1"),
        (([0.0, 0.2], [0, 0, 1], [200], [1]), "flip_neurons holds 200, but the network has neurons 0 to 199"),
        (([0.0, 0.2], [0, 0, 2], [3], [1]), "flip_offsets do not split the 1 rows into consecutive ranges"),
        (([0.0, 0.2], [0, 0], [], []), r"flip_offsets has shape \(2,\), not \(3,\)"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(path, network, chunk, problem):
    dtypes = (np.float64, np.int64, np.int64, np.int32)
    with store.create(path, network) as writer:
        with pytest.raises(InputError, match=f"the chunk can't be appended: {problem}"):
            writer.append_line_chunk(*(np.array(array, dtype) for array, dtype in zip(chunk, dtypes)))
        with pytest.raises(InputError, match="the chunks end at t = None; append chunks up to t = 1 before"):
            writer.finish_line(np.zeros(5), np.ones(5), residual=0.0, ambiguous=0, t_error=0.0)


def test_a_chunk_continues_the_one_before(path, network, make_lines):
    long = make_lines(1, seed=4, n_segments=300)
    with store.create(path, network) as writer:
        append_chunks(writer, long, [0, 10])
        with pytest.raises(InputError, match=r"t starts with .*, not after"):
            append_chunks(writer, long, [9, 20])
        with pytest.raises(InputError, match="the chunks end at t = 0"):
            finish(writer, long)
        append_chunks(writer, long, [10, len(long.t)])
        with pytest.raises(InputError, match=r"start has shape \(4,\); 5 finite numbers are needed"):
            writer.finish_line(np.zeros(4), np.ones(5), residual=0.0, ambiguous=0, t_error=0.0)
        for name, number in (("residual", np.inf), ("t_error", np.nan), ("t_error", -1e-15), ("t_error", 1.5)):
            numbers = {"residual": 0.0, "ambiguous": 0, "t_error": 0.0, name: number}
            with pytest.raises(InputError, match=f"the line can't be finished: {name} holds entries that are not"):
                writer.finish_line(np.zeros(5), np.ones(5), **numbers)
        finish(writer, long)
    stored = store.load_lines(path)
    assert np.array_equal(stored.t, long.t) and stored.t_error[0] == long.t_error[0] > 0.0
