"""Values, states and Jacobians against exact arithmetic and torch; the same bits for every batch; what is accepted."""

import os
import time

import numpy as np
import pytest
import threadpoolctl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pwlnet
from pwlnet import evaluate, scheduling
from pwlnet.errors import InputError, ShapeError
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.drawn import draw, is_dyadic
from tests.reference.description import SWITCHING, point_states, pool_windows, shapes, values
from tests.reference.torch_network import to_torch

N_NETWORKS = few(200)
both = pytest.mark.parametrize("degenerate", [False, True], ids=["random", "degenerate"])


@pytest.fixture(scope="module")
def toy():
    return toy_network()


@pytest.fixture(scope="module")
def rows(toy):
    return np.random.default_rng(7).standard_normal((77, toy.n_inputs))


@both
def test_forward_is_the_exact_value_where_float64_arithmetic_is_exact(degenerate):
    compared = 0
    for seed in range(N_NETWORKS):
        description, network, points = draw(seed, degenerate=degenerate)
        if is_dyadic(description):
            compared += 1
            wanted = [[float(v) for v in values(description, x)[-1]] for x in points]
            np.testing.assert_array_equal(network.forward(points), wanted)
    assert compared > N_NETWORKS // 2


def test_forward_is_the_exact_value_up_to_rounding_with_thirds_and_slopes_of_a_hundredth():
    for seed in range(N_NETWORKS):
        description, network, points = draw(seed, thirds=True)
        for x, found in zip(points, network.forward(points), strict=True):
            exact = values(description, x)
            scale = max(1.0, *(abs(float(v)) for node in exact for v in node))
            np.testing.assert_allclose(found, np.array(exact[-1], float), rtol=0, atol=1e-13 * scale)


@both
def test_preactivations_are_exact_and_numbered_as_the_source_flattens(degenerate):
    for seed in range(N_NETWORKS):
        description, network, points = draw(seed, degenerate=degenerate)
        if is_dyadic(description):
            wanted = [exact_preactivations(description, x) for x in points]
            np.testing.assert_array_equal(network.preactivations(points), wanted)


def exact_preactivations(description, x):
    """Inputs of all switching nodes, node by node, flattened; of a MaxPool window its largest entry."""
    found, sizes, z = values(description, x), shapes(description), []
    for node in description:
        if node["kind"] in SWITCHING:
            source = node["inputs"][0]
            windows = pool_windows(node, sizes[source]) if node["kind"] == "max_pool" else None
            entries = found[source]
            z += entries if windows is None else [max(entries[k] for _, k in window) for window in windows]
    return [float(v) for v in z]


@both
def test_states_are_the_exact_ones_on_thresholds_too(degenerate):
    on_threshold = 0
    for seed in range(N_NETWORKS):
        description, network, points = draw(seed, degenerate=degenerate)
        if is_dyadic(description):
            np.testing.assert_array_equal(network.states(points), [point_states(description, x) for x in points])
            on_threshold += np.count_nonzero(network.preactivations(points) == 0.0)
    assert on_threshold > N_NETWORKS


def test_forward_agrees_with_torch_in_float64():
    for seed in range(N_NETWORKS):
        description, network, points = draw(seed, generic=True)
        wanted = to_torch(description)(torch.from_numpy(points)).reshape(len(points), -1).numpy()
        found = network.forward(points)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


def test_jacobians_agree_with_torchs_gradients():
    for seed in range(N_NETWORKS):
        description, network, points = draw(seed, generic=True)
        module = to_torch(description)
        for x, found in zip(points, network.jacobian(points), strict=True):
            row = torch.from_numpy(x)
            wanted = torch.autograd.functional.jacobian(lambda v, m=module: m(v[None]).reshape(-1), row).numpy()
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(wanted).max()))


@both
def test_the_affine_map_of_a_point_gives_its_value(degenerate):
    for seed in range(N_NETWORKS):
        description, network, points = draw(seed, degenerate=degenerate)
        A, c = network.affine_map(points[0])
        assert A.shape == (network.n_outputs, network.n_inputs)
        np.testing.assert_array_equal(A, network.jacobian(points[:1])[0])
        scale = max(1.0, np.abs(c).max(), *(abs(float(v)) for node in values(description, points[0]) for v in node))
        np.testing.assert_allclose(A @ points[0] + c, network.forward(points)[0], rtol=0, atol=1e-12 * scale)


def test_the_affine_map_holds_for_all_points_with_the_same_pattern(toy):
    x = np.random.default_rng(3).standard_normal(toy.n_inputs)
    near = x + 1e-9 * np.random.default_rng(4).standard_normal((5, toy.n_inputs))
    assert (toy.patterns(near).hamming(toy.patterns(x)) == 0).all()
    A, c = toy.affine_map(x)
    np.testing.assert_allclose(toy.forward(near), near @ A.T + c, rtol=1e-12)


METHODS = ("forward", "preactivations", "states", "jacobian")


@pytest.mark.parametrize("method", METHODS)
def test_a_row_alone_has_the_bits_it_has_in_a_batch(toy, rows, method):
    batch = getattr(toy, method)(rows)
    for k in (0, 1, 31, 32, 76):
        assert np.array_equal(getattr(toy, method)(rows[k]), batch[k : k + 1])


@settings(max_examples=few(40, 1), deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(0, 77), max_size=6), threads=st.integers(1, 5))
def test_no_cut_of_a_batch_and_no_number_of_threads_changes_a_bit(cuts, threads):
    toy, rows = toy_network(), np.random.default_rng(7).standard_normal((77, 72))
    for method in METHODS:
        call = getattr(toy, method)
        parts = [call(part, threads=threads) for part in np.split(rows, sorted(cuts))]
        assert np.array_equal(np.concatenate(parts), call(rows, threads=1))


def test_wide_layers_have_the_same_bits_in_every_batch():
    module = torch.nn.Sequential(torch.nn.Linear(300, 257), torch.nn.ReLU(), torch.nn.Linear(257, 11))
    network = pwlnet.from_torch(module, (300,))
    rows = np.random.default_rng(5).standard_normal((130, 300))
    whole = network.forward(rows, threads=1)
    for first, last in ((0, 1), (3, 36), (64, 130), (129, 130)):
        assert np.array_equal(network.forward(rows[first:last], threads=2), whole[first:last])


@pytest.mark.parametrize("at_once", [1, 5, 32])
def test_few_rows_at_a_time_have_the_bits_of_a_batch(monkeypatch, at_once):
    for seed in range(few(20)):
        _, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=37)
        monkeypatch.setattr(evaluate, "_LOW_MEMORY_BYTES", 8 * at_once * int(network.program.value_offsets[-1]))
        whole = evaluate.forward(network.code, points, preactivations=True, states=True)
        found = evaluate.forward(network.code, points, preactivations=True, states=True, low_memory=True)
        assert all(np.array_equal(*pair) for pair in zip(found, whole, strict=True)), seed
        assert evaluate.forward(network.code, points, states=True, low_memory=True).preactivations.size == 0


def test_an_empty_batch_gives_empty_results(toy):
    empty = np.empty((0, toy.n_inputs))
    assert toy.forward(empty).shape == (0, toy.n_outputs)
    assert toy.preactivations(empty).shape == (0, toy.n_neurons)
    assert toy.states(empty).shape == (0, toy.n_neurons)
    assert toy.jacobian(empty).shape == (0, toy.n_outputs, toy.n_inputs)
    assert len(toy.patterns(empty)) == 0
    assert toy.forward(np.empty((0, *toy.input_shape))).shape == (0, toy.n_outputs)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.uint16, np.bool_, ">f8"])
def test_real_numbers_of_every_type_are_accepted(toy, dtype):
    rows = np.random.default_rng(2).integers(0, 2, (5, toy.n_inputs))
    assert np.array_equal(toy.forward(rows.astype(dtype)), toy.forward(rows.astype(np.float64)))


def test_float32_inputs_are_cast_exactly(toy, rows):
    single = rows.astype(np.float32)
    assert np.array_equal(toy.forward(single), toy.forward(single.astype(np.float64)))


@pytest.mark.parametrize(
    "view",
    [
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1][::-1],
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        np.ndarray.tolist,
    ],
    ids=["Fortran order", "negative strides", "gaps", "lists"],
)
def test_arrays_of_any_memory_order_are_accepted(toy, rows, view):
    assert np.array_equal(toy.forward(view(rows)), toy.forward(rows))


def test_images_and_their_flat_form_are_the_same_input(toy, rows):
    assert np.array_equal(toy.forward(rows.reshape(-1, *toy.input_shape)), toy.forward(rows))
    assert np.array_equal(toy.forward(rows[0].reshape(toy.input_shape)), toy.forward(rows[:1]))


def test_inputs_are_not_changed(toy, rows):
    before = rows.copy()
    toy.forward(rows)
    assert np.array_equal(rows, before)


SHAPES = "X has shape {}, but the network takes 72 inputs; give (rows, 72) or (rows, 2, 6, 6)"
NOT_REAL = "X has dtype {}; real numbers are needed, convert it to float64"
NOT_FINITE = "X has {} rows with NaN or infinite entries, the first is row {}; remove them"


def with_entry(value, *places):
    array = np.zeros((4, 72))
    for place in places:
        array[place, 5] = value
    return array


REFUSED = {
    "too few inputs": (np.zeros((2, 71)), ShapeError, SHAPES.format((2, 71))),
    "a single point of another size": (np.zeros(71), ShapeError, SHAPES.format((71,))),
    "a number": (1.0, ShapeError, SHAPES.format(())),
    "nothing": ([], ShapeError, SHAPES.format((0,))),
    "channels last": (np.zeros((3, 6, 6, 2)), ShapeError, SHAPES.format((3, 6, 6, 2))),
    "one axis too many": (np.zeros((1, 1, 72)), ShapeError, SHAPES.format((1, 1, 72))),
    "complex numbers": (np.zeros((1, 72), complex), InputError, NOT_REAL.format("complex128")),
    "objects": (np.zeros((1, 72), object), InputError, NOT_REAL.format("object")),
    "text": (np.full((1, 72), "a"), InputError, NOT_REAL.format("<U1")),
    "dates": (np.zeros((1, 72), "datetime64[s]"), InputError, NOT_REAL.format("datetime64[s]")),
    "None": (None, InputError, NOT_REAL.format("object")),
    "NaN": (with_entry(np.nan, 2), InputError, NOT_FINITE.format(1, 2)),
    "infinity": (with_entry(-np.inf, 1, 3), InputError, NOT_FINITE.format(2, 1)),
    "rows of different lengths": (
        [[1.0, 2.0], [3.0]],
        InputError,
        "X has rows of different lengths; give an array with 72 numbers per row",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("method", ["forward", "preactivations", "states", "patterns", "jacobian"])
def test_what_is_not_a_batch_of_inputs_is_refused_in_one_sentence(toy, method, name):
    points, error, message = REFUSED[name]
    with pytest.raises(error) as caught:
        getattr(toy, method)(points)
    assert str(caught.value) == message


def test_the_affine_map_takes_one_point(toy):
    message = r"^x has 2 rows; affine_map takes one point, use jacobian for many$"
    with pytest.raises(ShapeError, match=message):
        toy.affine_map(np.zeros((2, 72)))


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", np.nan])
def test_a_number_of_threads_that_is_none_is_refused(toy, threads):
    with pytest.raises(InputError) as caught:
        toy.forward(np.zeros((1, 72)), threads=threads)
    assert str(caught.value) == f"threads is {threads!r}; a positive integer is needed, or None for all processors"


def test_threads_are_all_processors_of_this_process_by_default():
    assert 1 <= scheduling.n_threads() <= len(os.sched_getaffinity(0))
    assert scheduling.n_threads(np.int64(3)) == 3


def test_an_exception_in_a_thread_is_passed_on():
    def work(first, last):
        if first == 4:
            raise KeyError(first)

    with pytest.raises(KeyError, match="4"):
        scheduling.run_chunks(work, 10, 2, threads=2)


def test_chunks_cover_all_items_once():
    seen = []
    scheduling.run_chunks(lambda first, last: seen.extend(range(first, last)), 11, 3, threads=2)
    assert sorted(seen) == list(range(11))


def blas_threads():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_until_the_last_of_overlapping_calls_ends():
    """The first call to end gave the others their threads back, and the last one left BLAS on one thread for good."""
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        first, second = scheduling.single_threaded_blas(), scheduling.single_threaded_blas()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before


def test_chunks_that_wait_are_dropped_after_an_exception():
    """Ctrl-C in a batch of thousands of lines must not wait for all of them."""
    seen = []

    def work(first, last):
        seen.append(first)
        time.sleep(0.02)
        if first == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scheduling.run_chunks(work, 200, 1, threads=2)
    assert len(seen) < 100
