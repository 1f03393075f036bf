"""Slots in a parallel kernel and on Python threads: the same bits, and no way to end the process.

The cases that could end it (a forked child, Numba's workqueue layer with two callers) run in processes of their own.
"""

import functools
import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import threadpoolctl

import pwlnet
from pwlnet import evaluate, scheduling
from tests.counts import IN_PYTHON

LAYERS = ("omp", "workqueue", "tbb")
FIELDS = ("t", "offsets", "flip_offsets", "flip_neurons", "flip_states", "residual", "t_error", "ambiguous")


@pytest.fixture(scope="module")
def network():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))


@pytest.fixture(scope="module")
def ends(network):
    return np.random.default_rng(0).random((2, 12, network.n_inputs))


def same_bits(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in FIELDS)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_parallel_kernel_and_python_threads_give_the_bits_of_one_thread(network, ends, threads, monkeypatch):
    one, points = pwlnet.partition_lines(network, *ends, threads=1), np.random.default_rng(1).random((500, network.n_inputs))
    outputs, patterns = network.forward(points, threads=1), network.patterns(points, threads=1)
    jacobians = network.jacobian(ends[0], threads=1)
    for execution in ("", "threads"):
        monkeypatch.setenv("PWLNET_EXECUTION", execution)
        assert same_bits(pwlnet.partition_lines(network, *ends, threads=threads), one)
        assert np.array_equal(network.forward(points, threads=threads), outputs)
        assert network.patterns(points, threads=threads) == patterns
        assert np.array_equal(network.jacobian(ends[0], threads=threads), jacobians)


def test_python_threads_run_the_slots_where_the_environment_says_so(monkeypatch):
    monkeypatch.setenv("PWLNET_EXECUTION", "threads")
    assert scheduling.execution(2)[:2] == ("threads", "PWLNET_EXECUTION is threads")


def test_python_threads_run_more_slots_than_numba_has_threads(monkeypatch):
    monkeypatch.delenv("PWLNET_EXECUTION", raising=False)
    execution = scheduling.execution(1000)
    assert execution.kind == "threads"
    assert IN_PYTHON or "1000 threads are more than Numba's" in execution.reason


def test_an_exception_on_a_python_thread_is_raised():
    def fail(k):
        if k == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scheduling._run_on_threads([lambda k=k: fail(k) for k in range(3)])
    assert not [thread for thread in threading.enumerate() if thread.name == "pwlnet slot"]


def test_chunks_come_in_order_from_any_thread():
    threads = set()

    def work(first, last):
        threads.add(threading.current_thread())
        return list(range(first, last))

    assert list(itertools.chain.from_iterable(scheduling.map_chunks(work, 23, 5, 3))) == list(range(23))
    assert threading.current_thread() not in threads
    assert list(scheduling.map_chunks(work, 4, 5, 3)) == [[0, 1, 2, 3]]


def test_an_iterator_goes_on_after_the_thread_that_used_it_has_ended(network):
    ends, got = np.random.default_rng(2).random((1500, network.n_inputs)), []
    batches = pwlnet.iter_line_partitions(network, np.zeros(network.n_inputs), ends, max_points=300, threads=2)
    first = threading.Thread(target=lambda: got.append(next(batches)))
    first.start()
    first.join()
    time.sleep(2.5 * scheduling._POLL)  # the background thread finds out that its consumer has ended
    assert sum(map(len, [*got, *batches])) == 1500


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_cannot_go_on_with_an_iterator_and_says_so(network):
    script = """
ends = np.random.default_rng(2).random((1500, network.n_inputs))
batches = pwlnet.iter_line_partitions(network, np.zeros(network.n_inputs), ends, max_points=300, threads=2)
n = len(next(batches))
child = os.fork()
if child == 0:
    try:
        print(list(batches))
    except RuntimeError as error:
        os._exit(7 if "forked" in str(error) else 8)
    os._exit(9)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(code, n + sum(map(len, batches)))
"""
    assert run(SCRIPT + script) == ["7", "1500"]


def test_ctrl_c_at_the_wait_for_slots_is_raised_when_all_have_ended(monkeypatch):
    """They use arrays of the caller by address."""

    class Interrupted(threading.Thread):
        def join(self, timeout=None):
            if not waits and not ended.is_set():
                waits.append(1)
                threading.Timer(0.2, release.set).start()
                raise KeyboardInterrupt
            super().join(timeout)

    waits, release, ended = [], threading.Event(), threading.Event()

    def slow():
        release.wait(30)
        ended.set()

    monkeypatch.setattr(scheduling.threading, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        scheduling._run_on_threads([lambda: None, slow])
    assert ended.is_set()


def test_a_thread_that_cannot_start_leaves_none_behind(monkeypatch):
    class Refused(threading.Thread):
        def start(self):
            if len(started) == 1:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    started, ended = [], threading.Event()
    monkeypatch.setattr(scheduling.threading, "Thread", Refused)
    with pytest.raises(RuntimeError, match="new thread"):
        scheduling._run_on_threads([lambda: None, lambda: (time.sleep(0.2), ended.set()), lambda: None])
    assert ended.is_set()


@pytest.mark.skipif(IN_PYTHON, reason="about the BLAS of compiled kernels")
def test_blas_is_limited_from_any_thread_and_given_back_by_any():
    def is_shared(library):  # the number of an OpenMP library belongs to the calling thread
        return library.info()["threading_layer"] != "openmp"

    def numbers():
        return [library.num_threads for library in scheduling._blas_libraries() if is_shared(library)]

    def first():
        with scheduling.single_threaded_blas():
            inside.set()
            outside.wait(30)
        left.set()
        end.wait(30)

    inside, outside, left, end = (threading.Event() for _ in range(4))
    numbers()  # loads the libraries
    with threadpoolctl.threadpool_limits(2, user_api="blas"):  # threadpoolctl then ignores other threads than this one
        before = numbers()
        other = threading.Thread(target=first)
        other.start()
        inside.wait(30)
        in_other = numbers()
        with scheduling.single_threaded_blas():
            outside.set()
            left.wait(30)
            in_both = numbers()
        after = numbers()
        end.set()
        other.join()
    assert set(in_other) == set(in_both) == {1}
    assert after == before == [2] * len(before)


def test_passes_over_many_rows_are_calls_of_a_quarter_second_with_the_same_bits(network, monkeypatch):
    points = np.random.default_rng(3).random((300, network.n_inputs))
    outputs, patterns, jacobians = network.forward(points), network.patterns(points), network.jacobian(points)
    calls, run_slots = [], evaluate.run_slots
    monkeypatch.setattr(evaluate, "_WORK_PER_CALL", 50 * evaluate._work_per_row(network.code))
    monkeypatch.setattr(evaluate, "run_slots", lambda *arguments: (calls.append(1), run_slots(*arguments)))
    assert np.array_equal(network.forward(points), outputs)
    n_forward = len(calls)
    assert network.patterns(points) == patterns
    assert np.array_equal(network.jacobian(points), jacobians)
    assert n_forward >= 2
    assert len(calls) - n_forward >= 4


SCRIPT = """
import multiprocessing, os, sys, threading
import numba, numpy as np, pwlnet
network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
starts, ends = np.random.default_rng(0).random((2, 12, network.n_inputs))

def digest():
    lines = pwlnet.partition_lines(network, starts, ends, threads=2)
    patterns = network.patterns(starts, threads=2)
    return hash((lines.t.tobytes(), lines.flip_neurons.tobytes(), lines.residual.tobytes(), patterns.packed.tobytes()))

expected = digest()
kinds = [pwlnet.scheduling.execution(2).kind]
layer = pwlnet.scheduling.execution(2).layer
"""

FORK = """
child = os.fork()
if child == 0:
    os._exit(0 if digest() == expected and pwlnet.scheduling.execution(2).reason == "the process was forked" else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(len, ["abc"]) == [3]
"""

CONCURRENT = """
@numba.njit(parallel=True)
def of_the_user(x):
    for k in numba.prange(len(x)):
        x[k] = k * k
    return x.sum()

results = []
def user():
    if layer != "workqueue":  # Numba's own limit: two of a user's threads must not call it at once
        for _ in range(50):
            of_the_user(np.zeros(1000))
workers = [threading.Thread(target=lambda: results.append(digest())) for _ in range(3)] + [threading.Thread(target=user)]
for worker in workers: worker.start()
for worker in workers: worker.join()
assert results == [expected] * 3
import dask
assert dask.compute(*[dask.delayed(digest)() for _ in range(4)], scheduler="threads", num_workers=3) == (expected,) * 4
"""

LOADER = """
import torch
class Data(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, k): return int(digest() == expected and pwlnet.scheduling.execution(2).kind == "threads")
batches = torch.utils.data.DataLoader(Data(), batch_size=2, num_workers=2, multiprocessing_context="fork")
assert [batch.tolist() for batch in batches] == [[1, 1], [1, 1]]
kinds.append(torch.get_num_threads())
"""


def run(script, **environment):
    """Run a script in a process of its own; its output."""
    settings = {**os.environ, "PWLNET_QUIET": "1", "PYTHONHASHSEED": "0", "PWLNET_EXECUTION": "", **environment}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300, env=settings
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


PROBE = """
import os
from numba.core import config
from numba.np.ufunc import parallel
for layer in {layers}:
    child = os.fork()
    if child == 0:
        config.THREADING_LAYER = layer
        parallel._launch_threads()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(layer)
"""


@functools.cache
def available_layers():
    """Numba's threading layers that are installed here."""
    return run(PROBE.format(layers=LAYERS))


@pytest.mark.skipif(IN_PYTHON, reason="about compiled kernels")
@pytest.mark.parametrize("layer", LAYERS)
def test_no_threading_layer_ends_the_process(layer):
    """After a fork, from several Python threads, in dask's threads, beside a user's own parallel kernel."""
    if layer not in available_layers():
        pytest.skip(f"Numba's {layer} layer is not available here")
    kind, used = run(SCRIPT + FORK + CONCURRENT + "print(*kinds, layer)", NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    assert (kind, used) == (("threads" if layer == "workqueue" else "parallel"), layer)


@pytest.mark.skipif(IN_PYTHON, reason="about compiled kernels")
def test_workers_of_a_data_loader_run_slots_on_python_threads():
    """Torch is imported after Numba has started its threads, and keeps to its own number of them."""
    assert run(SCRIPT + LOADER + "print(*kinds)", NUMBA_NUM_THREADS="2", OMP_NUM_THREADS="1") == ["parallel", "1"]


@pytest.mark.skipif(IN_PYTHON, reason="about compiled kernels")
def test_workers_of_dask_distributed_run_slots_on_python_threads():
    script = (
        "from distributed import Client\n"
        "if __name__ == '__main__':\n"
        "    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:\n"
        "        futures = [client.submit(digest, pure=False) for _ in range(3)]\n"
        "        assert client.gather(futures) == [expected] * 3\n"
        "        print(*client.submit(lambda: pwlnet.scheduling.execution(2)[:2], pure=False).result())\n"
    )
    output = run(SCRIPT + script, NUMBA_NUM_THREADS="2")
    assert output[:1] == ["threads"] and "dask.distributed" in output


@pytest.mark.skipif(IN_PYTHON, reason="about compiled kernels")
def test_threads_of_torch_stay_as_they_were_when_numba_starts_its_own():
    script = (
        "import torch\nimport numpy as np, pwlnet\nfrom pwlnet import scheduling\nkind = scheduling.execution(2).kind\n"
        "print(kind, torch.get_num_threads())"
    )
    assert run(script, NUMBA_NUM_THREADS="2", OMP_NUM_THREADS="1")[-1] == "1"
