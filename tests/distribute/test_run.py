"""Jobs over worker processes of dask: the results of one process, whatever the workers, shards and interruptions."""

import itertools
import os
import signal
import threading
import time

import h5py
import numpy as np
import pytest

import pwlnet
from pwlnet import distribute, smoothing, store
from pwlnet.distribute import merging, running, shards
from pwlnet.errors import CapacityError, DigestMismatchError, InputError, ShapeError, StoreError
from pwlnet.partition.regions.enumerating import Enumeration
from tests.counts import IN_PYTHON

pytestmark = pytest.mark.skipif(IN_PYTHON, reason="workers compile the kernels")
NETWORK = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
CONTROLLER = pwlnet.load_network(pwlnet.datasets.control_network_path())
IMAGES, LABELS = pwlnet.datasets.digits_images()
TRIANGLE = [[0.0, 0.0], [0.1, 0.0], [0.0, 0.1]]
BOX = -np.ones(2), np.ones(2)


def sets_of_pixels():
    return pwlnet.Box.around(IMAGES[:12], 0.02)


JOBS = {
    "lines": lambda: distribute.lines_job(NETWORK, IMAGES[:12], IMAGES[12:24]),
    "lines_from_one": lambda: distribute.lines_job(NETWORK, IMAGES[0], IMAGES[12:24]),
    "planes": lambda: distribute.planes_job(
        NETWORK, IMAGES[:6], IMAGES[6:12] - IMAGES[:6], IMAGES[12:18] - IMAGES[:6], TRIANGLE, batch=2
    ),
    "attributions": lambda: distribute.attributions_job(NETWORK, 0.0 * IMAGES[0], IMAGES[:12], outputs=[3, 1], batch=3),
    "floats_by_bounds": lambda: distribute.floats_job(NETWORK, sets_of_pixels(), method="crown", batch=3),
    "floats_by_draws": lambda: distribute.floats_job(
        NETWORK, pwlnet.Gaussian(IMAGES[:12], 0.1), method="sampled", n_samples=40, seed=3, limits=(0.0, 1.0), batch=3
    ),
    "floats_of_balls": lambda: distribute.floats_job(NETWORK, pwlnet.Ball(IMAGES[:5], 0.1, 1), method="ibp", batch=2),
    "floats_of_segments": lambda: distribute.floats_job(
        NETWORK, [pwlnet.Segment(a, b) for a, b in zip(IMAGES[:5], IMAGES[5:10])], method="exact", batch=2
    ),
    "certificates": lambda: distribute.certificates_job(
        NETWORK, 0.25, IMAGES[:10], labels=LABELS[:10], numbers=np.arange(10) + 7, n0=10, n=50, seed=5, batch=3
    ),
    "repressed": lambda: distribute.certificates_job(
        smoothing.repress_float_paths(NETWORK, -0.5, reference="frozen"), 0.25, IMAGES[:6], n0=10, n=50, batch=2
    ),
    "regions": lambda: distribute.regions_job(CONTROLLER, *BOX, want=("patterns", "facets", "volumes")),
    "regions_in_a_polytope": lambda: distribute.regions_job(CONTROLLER, *BOX, polytope=([[1.0, 1.0]], [0.5])),
}


@pytest.fixture(scope="module")
def client():
    pytest.importorskip("distributed")
    with distribute.local_client(2) as client:
        yield client


def digest_of(path):
    """The digest of a store that has no problems."""
    with store.open(path) as stored:
        assert stored.verify() == []
        return stored.digest()


@pytest.mark.parametrize("name", JOBS)
def test_workers_give_the_results_of_one_process(name, client, tmp_path):
    job = JOBS[name]()
    here = distribute.run(job, tmp_path / "here.h5", threads=1)
    there = distribute.run(job, tmp_path / "there.h5", client=client, shard=-(-job.n_items // 3))
    assert there.n_shards >= 2
    assert here.n_items == there.n_items == job.n_items
    assert digest_of(there.path) == digest_of(here.path) == here.digest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.h5", "there.h5"]


def test_lines_and_regions_are_those_of_the_store_functions(tmp_path):
    lines = pwlnet.partition_lines(NETWORK, IMAGES[:12], IMAGES[12:24])
    store.save_lines(tmp_path / "lines.h5", lines)
    store.save_large_regions(tmp_path / "regions.h5", CONTROLLER, *BOX, want=("patterns", "facets", "volumes")).close()
    for name in ("lines", "regions"):
        assert distribute.run(JOBS[name](), tmp_path / f"{name}_job.h5").digest() == digest_of(tmp_path / f"{name}.h5")


def test_shards_reach_a_client_that_does_not_see_the_folder_of_the_workers(client, tmp_path):
    job = JOBS["lines"]()
    here = distribute.run(job, tmp_path / "here.h5")
    assert distribute.run(job, tmp_path / "there.h5", client=client, shared=False).digest() == here.digest()


def test_linked_shards_have_the_digest_of_copied_ones(client, tmp_path):
    job = JOBS["planes"]()
    here = distribute.run(job, tmp_path / "here.h5")
    linked = distribute.run(job, tmp_path / "linked.h5", client=client, linked=True, shard=2)
    assert digest_of(linked.path) == here.digest()
    with h5py.File(linked.path) as file:
        assert file["/vertices/uv"].is_virtual
    again = distribute.run(job, linked.path, client=client, linked=True, resume=True)
    assert (again.n_shards, again.digest()) == (0, here.digest())


def test_a_worker_that_is_killed_changes_nothing(client, tmp_path):
    """Of two workers, one is killed when the first shards are complete; dask starts another one."""
    job = distribute.lines_job(NETWORK, IMAGES[:200], IMAGES[200:400])
    here = distribute.run(job, tmp_path / "here.h5")
    processes = client.run(os.getpid)
    folder, killed = shards.folder_of(tmp_path / "there.h5"), []

    def kill():
        limit = time.monotonic() + 60.0
        while time.monotonic() < limit and not any(folder.glob("*.h5")):
            time.sleep(0.005)
        victim = next(iter(processes.values()))
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    there = distribute.run(job, tmp_path / "there.h5", client=client, shard=4)
    thread.join()
    assert killed
    assert there.digest() == here.digest()
    client.wait_for_workers(2, timeout=60)


@pytest.mark.parametrize("name", ["lines", "regions"])
@pytest.mark.parametrize("where", ["client", "here"])
def test_an_interrupted_merge_continues(name, where, client, tmp_path, monkeypatch):
    """The client stops when it has appended two shards, and half a shard in a case of regions."""
    job, path = JOBS[name](), tmp_path / "there.h5"
    append_next = merging.Merger.append_next

    def stop(merger):
        append_next(merger)
        if merger.done >= job.n_items // 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(merging.Merger, "append_next", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        distribute.run(job, path, client=client, shard=-(-job.n_items // 6))
    assert f"of {job.n_items} {job.unit}s; resume=True continues" in caught.value.__notes__[0]
    monkeypatch.undo()
    with pytest.raises(StoreError, match="exists"):
        distribute.run(job, path, client=client)
    resumed = distribute.run(job, path, client=client if where == "client" else None, resume=True)
    assert digest_of(path) == distribute.run(job, tmp_path / "here.h5").digest()
    assert resumed.n_shards < 6
    assert not shards.folder_of(path).exists()


def test_a_merge_continues_in_the_middle_of_a_shard(tmp_path, monkeypatch):
    """Without workers: the shards are computed here, and a few regions are a batch."""
    job, folder, path = JOBS["regions"](), tmp_path / "there.h5.shards", tmp_path / "there.h5"
    blocks = Enumeration.blocks

    def rows_of_blocks(self, *arguments, **options):
        for block, position in blocks(self, *arguments, **options):
            yield from ((block[k : k + 12], position) for k in range(0, len(block), 12))

    monkeypatch.setattr(Enumeration, "blocks", rows_of_blocks)
    monkeypatch.setattr("pwlnet.store.region_appending.ROWS", 1)
    cuts = [0, 3, 4, 30, job.n_items]
    for first, last in itertools.pairwise(cuts):
        file = str(shards.shard_path(folder, first, last))
        common = job.with_items(0, 0, job.slice(0, 0))
        assert shards.compute_shard(common, job.slice(first, last), first, last, file, "gzip", 1, True).error is None
    append, left = store.StoreWriter.append_region_block, [10]

    def stop(writer, *arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        append(writer, *arguments, **options)

    monkeypatch.setattr(store.StoreWriter, "append_region_block", stop)
    with pytest.raises(KeyboardInterrupt):
        distribute.merge_shards(job, path)
    monkeypatch.undo()
    with store.open(path) as stored:
        assert 0 < stored.n_rows("regions") < 338
    assert distribute.merge_shards(job, path) == job.n_items
    assert digest_of(path) == distribute.run(job, tmp_path / "here.h5").digest()


def test_the_first_shards_are_merged_where_others_are_missing(client, tmp_path):
    job, path = JOBS["lines"](), tmp_path / "there.h5"
    distribute.run(job, path, client=client, shard=3, keep_shards=True)
    path.unlink()
    shards.shard_path(shards.folder_of(path), 6, 9).unlink()
    assert distribute.merge_shards(job, path, keep=True) == 6
    assert distribute.run(job, path, resume=True).digest() == distribute.run(job, tmp_path / "here.h5").digest()


def test_errors_of_items_are_raised_once_and_name_them(client, tmp_path):
    """The last line has a NaN, which is seen when it is read."""
    bad = IMAGES[12:24].copy()
    job = distribute.lines_job(NETWORK, IMAGES[:12], bad)
    bad[11, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        distribute.run(job, tmp_path / "there.h5", client=client, shard=3)


def test_a_shard_that_ends_its_workers_is_reported(client, tmp_path, monkeypatch):
    from distributed.scheduler import KilledWorker

    class Future:
        def result(self):
            raise KilledWorker("shard", None, 3)

    submission = running._Submission(
        client, JOBS["lines"](), tmp_path, 3, compression="gzip", threads=1, shared=True, retries=0
    )
    with pytest.raises(CapacityError, match="lines 3 to 5 ended several workers"):
        submission._receive(Future(), shards.Shard(3, 6, tmp_path / "x.h5"))


def test_shards_of_another_job_are_refused(client, tmp_path):
    path = tmp_path / "there.h5"
    distribute.run(JOBS["lines"](), path, client=client, shard=6, keep_shards=True)
    path.unlink()
    other = distribute.lines_job(NETWORK, IMAGES[:12], IMAGES[13:25])
    with pytest.raises(DigestMismatchError, match="inputs"):
        distribute.run(other, path, resume=True)


def test_a_folder_that_is_not_shared_is_named(client, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "compute_shard", lambda *arguments: shards.Computed(0, 3, 0.0, None, None))
    with pytest.raises(InputError, match="shared=False"):
        distribute.run(JOBS["lines"](), tmp_path / "there.h5", client=client, shard=3)
    assert not (tmp_path / "there.h5").exists()


def test_wrong_arguments_are_refused(tmp_path):
    job, path = JOBS["lines"](), tmp_path / "there.h5"
    with pytest.raises(InputError, match="client is a str"):
        distribute.run(job, path, client="tcp://127.0.0.1")
    with pytest.raises(InputError, match="there is no client"):
        distribute.run(job, path, linked=True)
    with pytest.raises(InputError, match="job is a list"):
        distribute.run([job], path)
    with pytest.raises(InputError, match="no shards"):
        distribute.merge_shards(job, path)
    with pytest.raises(InputError, match="without the key 'job'"):
        distribute.lines_job(NETWORK, IMAGES[:1], IMAGES[1:2], parameters={"job": 1})
    with pytest.raises(InputError, match="has no lines"):
        distribute.lines_job(NETWORK, IMAGES[:0], IMAGES[:0])
    with pytest.raises(InputError, match="method 'pair'"):
        distribute.floats_job(NETWORK, sets_of_pixels(), method="pair")
    with pytest.raises(InputError, match="neither B boxes"):
        distribute.floats_job(NETWORK, [pwlnet.Segment(*IMAGES[:2]), 3], method="exact")
    with pytest.raises(ShapeError, match="one integer for each of 10"):
        distribute.certificates_job(NETWORK, 0.25, IMAGES[:10], labels=LABELS[:9])
    with pytest.raises(InputError, match="from_torch"):
        distribute.certificates_job(len, 0.25, IMAGES[:10])
    with pytest.raises(InputError, match="want is empty"):
        distribute.regions_job(CONTROLLER, *BOX, want=())
    assert not path.exists()


def test_ctrl_c_keeps_the_batches_that_were_computed(tmp_path, monkeypatch):
    job, path, compute = JOBS["attributions"](), tmp_path / "here.h5", type(JOBS["attributions"]()).compute

    def stop(self, first, last, **options):
        if first >= 6:
            raise KeyboardInterrupt
        return compute(self, first, last, **options)

    monkeypatch.setattr(type(job), "compute", stop)
    with pytest.raises(KeyboardInterrupt):
        distribute.run(job, path)
    monkeypatch.undo()
    with store.open(path) as stored:
        assert stored.n_rows("attributions") == 6
    assert distribute.run(job, path, resume=True).digest() == distribute.run(job, tmp_path / "whole.h5").digest()


@pytest.mark.parametrize("linked", [False, True])
def test_a_shard_that_another_job_writes_late_is_not_taken(linked, client, tmp_path, monkeypatch):
    """Tasks of an interrupted run go on: one publishes its shard under a name that the next run uses."""
    job, path = JOBS["lines"](), tmp_path / "there.h5"
    other = distribute.lines_job(NETWORK, IMAGES[:12], IMAGES[13:25])
    late = shards.shard_path(shards.folder_of(path), 3, 6)
    plan = running.plan

    def plan_and_write(*arguments):
        planned = plan(*arguments)
        common = other.with_items(0, 0, other.slice(0, 0))
        shards.compute_shard(common, other.slice(3, 6), 3, 6, str(late), "gzip", 1, True)
        return planned

    monkeypatch.setattr(running, "plan", plan_and_write)
    there = distribute.run(job, path, client=client, shard=3, linked=linked)
    assert there.digest() == distribute.run(job, tmp_path / "here.h5").digest()
