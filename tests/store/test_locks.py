"""The lock of a store ends with its writer, however the writer ends: deleted, failed, killed, or inherited by workers."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import h5py
import pytest

from pwlnet import file_locks, store
from pwlnet.errors import StoreError
from tests.store.conftest import make_partitions, small_network


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.h5"


NAMES = ("last_exc", "last_value", "last_traceback")


@pytest.fixture(autouse=True)
def last_failure():
    """No failure is kept for debuggers but the one of a test."""
    before = {name: getattr(sys, name) for name in NAMES if hasattr(sys, name)}
    for name in before:
        delattr(sys, name)
    yield
    for name in NAMES:
        if hasattr(sys, name):
            delattr(sys, name)
    for name, value in before.items():
        setattr(sys, name, value)


def n_lines(path):
    with store.resume(path) as writer:
        return writer.n_lines


def in_child(work):
    """Fork, work in the child, and return what it writes."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(writing, str(work()).encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(process, 0)
    with open(reading) as pipe:
        return pipe.read()


def test_a_writer_that_is_deleted_lets_go_and_keeps_its_batches(path, network, make_lines):
    writer = store.create(path, network)
    writer.append_lines(make_lines(3))
    del writer
    with h5py.File(path) as file:
        assert "network" in file
    assert n_lines(path) == 3
    with store.open(path) as opened:
        assert opened.info()["closed"] is True
        assert opened.verify() == []


def test_a_writer_in_a_reference_cycle_lets_go_when_it_is_needed(path, network, make_lines):
    gc.disable()
    try:
        writer = store.create(path, network)
        writer.append_lines(make_lines(3))
        writer.cycle = writer
        del writer
        assert n_lines(path) == 3
    finally:
        gc.enable()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["in a function", "in the cell", "in the cause"])
def test_a_failed_cell_leaves_no_lock(path, network, make_lines, name, how):
    def cell():
        writer = store.create(path, network)
        writer.append_lines(make_lines(3))
        raise ValueError("a mistake further down in the cell")

    def cell_with_cause():
        try:
            cell()
        except ValueError as error:
            raise RuntimeError("again") from error

    if how == "in the cause" and name == "last_traceback":
        pytest.skip("a traceback does not know the cause")
    names = {"store": store, "path": path, "network": network, "lines": make_lines(3), "cell": cell, "whole": cell_with_cause}
    source = {
        "in a function": "cell()",
        "in the cell": "writer = store.create(path, network)\nwriter.append_lines(lines)\n1 / 0",
        "in the cause": "whole()",
    }[how]
    with pytest.raises((ValueError, ZeroDivisionError, RuntimeError)) as caught:
        exec(source, names)
    setattr(sys, name, caught.value.__traceback__ if name == "last_traceback" else caught.value)
    writer, caught = names.get("writer"), None
    assert n_lines(path) == 3
    if writer is not None:
        with pytest.raises(StoreError, match="is closed with 3 lines; append before close, or resume it"):
            writer.append_lines(make_lines(1))


def test_a_writer_that_another_thread_uses_is_not_taken_from_it(path, network):
    opened, done = threading.Event(), threading.Event()

    def work():
        with store.create(path, network) as kept:
            try:
                raise ValueError
            except ValueError as error:
                sys.last_value = error
            opened.set()
            done.wait(10)
            assert kept.n_lines == 0

    thread = threading.Thread(target=work)
    thread.start()
    opened.wait(10)
    with pytest.raises(StoreError, match="is being written by this process"):
        store.resume(path)
    done.set()
    thread.join()


def test_a_live_writer_of_this_process_is_named_as_such(path, network):
    writer = store.create(path, network)
    since = writer._container.lock.since
    for use in (store.resume, store.repair):
        with pytest.raises(StoreError) as caught:
            use(path)
        assert str(caught.value) == (
            f"{path} is being written by this process, which opened it at {since}; call close() of that writer, delete all "
            "references to it, or restart Python"
        )
    writer.close()
    assert n_lines(path) == 0


def test_another_library_of_this_process_is_named_as_such(path, network):
    store.create(path, network).close()
    with h5py.File(path), pytest.raises(StoreError, match="is open in this process by another library, such as h5py"):
        store.resume(path)


@pytest.mark.parametrize("how", ["written", "read"])
def test_another_process_is_named_with_its_number(path, network, how):
    store.create(path, network).close()
    program = {
        "written": "from pwlnet import store; file = store.resume(sys.argv[1])",
        "read": "import h5py; file = h5py.File(sys.argv[1])",
    }[how]
    program = f"import sys; {program}; print('open', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program, str(path)], **pipes) as process:
        process.stdout.readline()
        with pytest.raises(StoreError, match=f"is being {how} by process {process.pid}; wait for it, or stop it"):
            store.resume(path)
        process.kill()


# Forked processes.


def test_a_child_can_not_append_and_says_whose_writer_it_is(path, network, make_lines):
    with store.create(path, network) as writer:
        writer.append_lines(make_lines(2))

        def work():
            with writer:  # its exit must not close the parent's file
                writer.append_lines(make_lines(3))

        said = in_child(work)
        assert said.startswith(f"StoreError: {path} is being written by process {os.getpid()}, from which this one was forked")
        assert f"is being written by process {os.getpid()}; wait for it" in in_child(lambda: store.resume(path))
        writer.append_lines(make_lines(2))
    assert n_lines(path) == 4
    with store.open(path) as opened:
        assert opened.verify() == []


def test_children_that_live_on_keep_no_lock(path, network, make_lines):
    writer = store.create(path, network)
    writer.append_lines(make_lines(2))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        writer.close()
        assert n_lines(path) == 2


def test_a_child_that_was_forked_behind_pythons_back_keeps_no_lock(path, network, monkeypatch):
    monkeypatch.setattr(file_locks.FileLock, "leave_to_parent", lambda lock: None)
    with store.create(path, network):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    assert n_lines(path) == 0
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)


@pytest.mark.parametrize("ending", ["killed", "collected", "exits at once"])
def test_a_parent_that_ends_while_a_child_lives_leaves_no_lock(path, network, make_lines, ending):
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        writer = store.create(path, network)
        writer.append_lines(make_lines(3))
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        if ending == "collected":
            del writer
        os.write(writing, child.to_bytes(8, "little"))
        if ending == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if ending == "collected":
            time.sleep(60)
        os._exit(0)
    child = int.from_bytes(os.read(reading, 8), "little")
    try:
        if ending != "collected":
            os.waitpid(parent, 0)
        assert n_lines(path) == 3
    finally:
        os.kill(child, signal.SIGKILL)
        if ending == "collected":
            os.kill(parent, signal.SIGKILL)
            os.waitpid(parent, 0)
        os.close(reading)
        os.close(writing)


@pytest.mark.slow
def test_workers_of_torch_keep_no_lock_and_do_no_harm(path, network, make_lines):
    torch = pytest.importorskip("torch")
    writer = store.create(path, network)
    writer.append_lines(make_lines(2))
    loader = torch.utils.data.DataLoader(range(8), num_workers=1, persistent_workers=True)
    assert len(list(loader)) == 8
    writer.append_lines(make_lines(2))
    writer.close()
    assert n_lines(path) == 4
    del loader
    assert n_lines(path) == 4


@pytest.mark.slow
def test_a_failed_cell_of_ipython_can_be_run_again(path, tmp_path):
    pytest.importorskip("IPython")
    cells = [
        "from pwlnet import store; from tests.store.conftest import make_partitions, small_network; network = small_network(0)",
        f"def cell():\n    writer = store.create({str(path)!r}, network)\n"
        "    writer.append_lines(make_partitions(network, 3))\n    1 / 0\ncell()",
        f"writer = store.resume({str(path)!r}); writer.append_lines(make_partitions(network, 2)); 1 / 0",
        f"writer = store.resume({str(path)!r}); print('has', writer.n_lines)",
    ]
    program = (
        "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
        f"for cell in {cells!r}:\n    shell.run_cell(cell, store_history=True)\n"
    )
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert "has 5" in done.stdout
    assert done.stdout.count(": division by zero") == 2


def test_children_of_a_process_with_many_locks_close_them_all(tmp_path):
    network = small_network(0)
    writers = [store.create(tmp_path / f"{k}.h5", network) for k in range(3)]
    writers[1].append_lines(make_partitions(network, 1))
    held = [os.fstat(writer._container._descriptor).st_ino for writer in writers]

    def work():
        return {os.stat(f"/proc/self/fd/{name}").st_ino for name in os.listdir("/proc/self/fd") if _is_open(name)} & {*held}

    assert in_child(work) == "set()"
    for writer in writers:
        writer.close()


def _is_open(name):
    return os.path.exists(f"/proc/self/fd/{name}")
