"""Stores that another program changed or copied: read with one warning, never trusted blindly, repaired with annotations."""

import os
import shutil
import subprocess
import warnings

import h5py
import numpy as np
import pytest

import pwlnet
from pwlnet import cli, store
from pwlnet.errors import ChecksumError, StoreError, UnverifiedStoreWarning
from pwlnet.store import schema
from pwlnet.store.container import layout
from pwlnet.store.container.hdf5_superblock import Content, find_content
from tests.checksums import write_container
from tests.store.test_store import same

OBJECTS = ("breakpoints", "commits", "flips", "lines", "network")


@pytest.fixture
def batches(make_lines):
    return [make_lines(5, seed=seed) for seed in range(3)]


@pytest.fixture
def path(tmp_path, batches):
    path = tmp_path / "lines.h5"
    store.save_lines(path, iter(batches), parameters={"a": 1})
    return path


def digest(path):
    with store.open(path) as opened:
        assert opened.verify() == []
        return opened.digest()


def open_unverified(path):
    with pytest.warns(UnverifiedStoreWarning, match="is not verified, since another program changed or copied it") as caught:
        opened = store.open(path)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    return opened


def opened_and_closed(path):
    with h5py.File(path, "r+"):
        pass


def attribute_added(path):
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"


def attribute_of_a_dataset_added(path):
    with h5py.File(path, "r+") as file:
        file["breakpoints/t"].attrs["unit"] = "share"


def killed_and_opened(path):
    """A writer was killed between two commits; plain HDF5 opened what it left."""
    with store.resume(path) as writer:
        lines = store.load_lines(path)
        writer.append_lines(lines)
        left = path.read_bytes()
    path.write_bytes(left)
    opened_and_closed(path)


def _copied(path, copy):
    copied = path.with_suffix(".copied")
    copy(copied)
    copied.replace(path)


def _run(*command):
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def objects_copied(path):
    """As ``h5copy -s /lines -d /lines`` and so on: attributes of the root are left out."""

    def copy(copied):
        with h5py.File(path) as source, h5py.File(copied, "w") as target:
            for name in source:
                source.copy(name, target)

    _copied(path, copy)


def objects_and_attributes_copied(path):
    def copy(copied):
        with h5py.File(path) as source, h5py.File(copied, "w") as target:
            for name in source:
                source.copy(name, target)
            target.attrs.update(source.attrs)

    _copied(path, copy)


def root_copied(path):
    """As ``h5copy -s / -d /store``."""

    def copy(copied):
        with h5py.File(path) as source, h5py.File(copied, "w") as target:
            source.copy("/", target, name="store")

    _copied(path, copy)


def repacked(path):
    """As h5repack: another HDF5 file after the same user block, of the newest or of the oldest format."""

    def copy(copied):
        with h5py.File(path) as source, h5py.File(copied, "w", userblock_size=layout.HEADER_SIZE) as target:
            for name in source:
                source.copy(name, target)
            target.attrs.update(source.attrs)
        with copied.open("r+b") as file:
            file.write(path.read_bytes()[: layout.HEADER_SIZE])

    _copied(path, copy)


def h5copied(path):
    _copied(path, lambda copied: [_run("h5copy", "-i", path, "-o", copied, "-s", f"/{o}", "-d", f"/{o}") for o in OBJECTS])


def h5copied_at_once(path):
    _copied(path, lambda copied: _run("h5copy", "-i", path, "-o", copied, "-s", "/", "-d", "/store"))


def h5repacked(path):
    _copied(path, lambda copied: _run("h5repack", path, copied))


def h5repacked_to_the_latest_format(path):
    _copied(path, lambda copied: _run("h5repack", "-L", path, copied))


def h5repacked_without_filters(path):
    _copied(path, lambda copied: _run("h5repack", "-f", "NONE", path, copied))


EDITS = (opened_and_closed, attribute_added, attribute_of_a_dataset_added)
COPIES = (objects_copied, objects_and_attributes_copied, root_copied, repacked)
TOOLS = (h5copied, h5copied_at_once, h5repacked, h5repacked_to_the_latest_format, h5repacked_without_filters)
CHANGES = (*EDITS, *COPIES, *TOOLS)
PRESERVING = tuple(change for change in CHANGES if change not in (objects_copied, h5copied, h5copied_at_once))  # annotations


@pytest.mark.parametrize("change", CHANGES)
def test_a_store_without_its_checksums_is_read_with_one_warning(path, batches, network, change):
    with store.open(path) as opened:
        wanted = opened.digest(), opened.provenance, opened.tolerances
    change(path)
    with open_unverified(path) as opened:
        assert (opened.n_lines, opened.n_batches, opened.is_verified) == (15, 3, False)
        assert opened.info()["verified"] is False
        assert all(same(a, b) for a, b in zip(opened.batches(), batches, strict=True))
        assert (opened.digest(), opened.provenance, opened.tolerances) == wanted
        (problem,) = opened.verify(n_samples=0)
        assert "is not verified" in problem
        assert opened.refresh() is False
    with pytest.warns(UnverifiedStoreWarning, match="is not verified"):
        assert pwlnet.load_network(path) == network


@pytest.mark.parametrize("change", CHANGES)
def test_repair_checks_it_and_adds_the_checksums(path, make_lines, network, change):
    wanted = digest(path)
    change(path)
    with pytest.raises(StoreError, match="was changed or copied by another program, so nothing can be appended; run pwlnet"):
        store.resume(path)
    left = path.read_bytes()
    dry = store.repair(path)
    assert (dry.path, dry.n_batches, dry.n_lines, dry.n_batches_lost) == (None, 3, 15, 0)
    assert "is not verified" in dry.problems[0]
    assert path.read_bytes() == left
    out = path.with_name("out.h5")
    assert store.repair(path, out).path == out
    assert digest(out) == wanted
    assert store.repair(path, in_place=True)[:4] == (path, 3, 15, 0)
    assert digest(path) == wanted
    with store.resume(path, network, parameters={"a": 1}) as writer:
        writer.append_lines(make_lines(4, seed=7))
    with store.open(path) as opened:
        assert (opened.verify(), opened.n_lines) == ([], 19)
        assert same(opened.lines(15, 19), make_lines(4, seed=7))


@pytest.mark.parametrize("change", PRESERVING)
def test_annotations_are_kept_by_repair_and_by_resuming(path, make_lines, change):
    """h5copy keeps annotations of the objects that it copies, but no attributes of the root."""
    with h5py.File(path, "r+") as file:
        file.attrs["title"] = "Bilder 0 bis 99 数字"
        file.attrs["numbers"] = np.arange(3)
        file.attrs["nothing"] = h5py.Empty("f8")
        file["breakpoints/t"].attrs["unit"] = "share"
        file["mine/labels"] = np.arange(15)
    change(path)
    store.repair(path, in_place=True)
    with store.resume(path) as writer:
        writer.append_lines(make_lines(4, seed=7))
    assert digest(path)
    with h5py.File(path) as file:
        assert file.attrs["title"] == "Bilder 0 bis 99 数字"
        assert file.attrs["numbers"].tolist() == [0, 1, 2]
        assert file.attrs["nothing"] == h5py.Empty("f8")
        assert file["breakpoints/t"].attrs["unit"] == "share"
        assert file["mine/labels"][()].tolist() == list(range(15))


def test_the_bytes_of_an_annotated_store_stay_as_they_are(path):
    attribute_added(path)
    changed = path.read_bytes()
    store.repair(path, in_place=True)
    assert path.read_bytes()[layout.HEADER_SIZE : len(changed)] == changed[layout.HEADER_SIZE :]


def test_a_network_file_is_forgiven_too(tmp_path, network):
    path = tmp_path / "network.h5"
    for change in (opened_and_closed, objects_copied):
        network.save(path)
        change(path)
        with pytest.warns(UnverifiedStoreWarning):
            assert pwlnet.load_network(path) == network
        assert store.repair(path, in_place=True).path == path
        assert pwlnet.load_network(path) == network
        path.unlink()


@pytest.mark.parametrize("change", [attribute_added, objects_copied])
def test_a_line_that_is_not_finished_can_be_resumed_after_repair(path, change):
    empty = np.zeros(0, np.int64), np.zeros(0, np.int32)
    with store.resume(path) as writer:
        writer.append_line_chunk(np.array([0.0, 0.25]), np.zeros(3, np.int64), *empty, resume_state={"seed": 3})
    change(path)
    with open_unverified(path) as opened:
        assert (opened.n_lines, len(opened.lines())) == (15, 15)
    store.repair(path, in_place=True)
    with store.resume(path) as writer:
        assert (writer.n_lines, writer.unfinished_t, writer.resume_state) == (15, 0.25, {"seed": 3})


def test_stores_without_checksums_are_merged_with_a_warning_each(path, batches):
    attribute_added(path)
    with pytest.warns(UnverifiedStoreWarning) as caught:
        store.merge([path], path.with_name("merged.h5"))
    assert len(caught) == 1
    assert digest(path.with_name("merged.h5"))


def test_a_reader_notices_that_another_program_changes_its_store(path):
    with store.open(path) as opened:
        attribute_added(path)
        with pytest.raises(StoreError, match="or another program changed it; open it again"):
            opened.refresh()


# Damage.


@pytest.mark.parametrize("change", [opened_and_closed, objects_copied])
def test_values_that_another_program_changed_are_not_returned(path, batches, change):
    change(path)
    with h5py.File(path, "r+") as file:
        file["breakpoints/t"][len(batches[0].t) + 1] *= 0.999
    with open_unverified(path) as opened:
        assert same(opened.lines(0, 5), batches[0])
        reads = [opened.lines, opened.summary, opened.to_dataframe, opened.digest, lambda: opened.lines(7, 8)]
        for read in (*reads, lambda: opened.read("lines", 5, derived=True)):
            with pytest.raises(ChecksumError, match=r"batch 1 \(lines 5..9\) of .* does not match its checksum"):
                read()
        assert any("batch 1" in problem for problem in opened.verify())
    found = store.repair(path, in_place=True)
    assert (found.n_batches, found.n_lines, found.n_batches_lost) == (1, 5, 2)
    assert same(store.load_lines(path), batches[0])


def test_the_zero_before_the_first_offsets_is_checked_too(path):
    with h5py.File(path, "r+") as file:
        file["flips/offsets"][0] = 1
    with open_unverified(path) as opened, pytest.raises(ChecksumError, match="batch 0"):
        opened.lines(0, 1)
    write_container(path)
    with store.open(path) as opened:
        assert "batch 0" in opened.verify()[0]


def test_commits_that_another_program_changed_are_refused(path):
    with h5py.File(path, "r+") as file:
        file["commits"][:2] = file["commits"][1:]
        file["commits"].resize(2, axis=0)
    with pytest.raises(StoreError, match=r"batch 0 \(lines 5..9\) of .* does not start where the one before it ends"):
        store.open(path)


def test_a_store_of_which_nothing_is_intact_is_not_replaced(path):
    with h5py.File(path, "r+") as file:
        file["breakpoints/t"][1] *= 0.999
    left = path.read_bytes()
    with pytest.raises(StoreError, match="has no intact batch before the first damaged one; it was left as it is"):
        store.repair(path, in_place=True)
    assert path.read_bytes() == left


def test_datasets_without_chunks_are_read_and_written_to_a_new_store(path, batches):
    wanted = digest(path)
    with h5py.File(path, "r+") as file:
        for dataset in schema.LINES.stored:
            rows = file[dataset.path][()]
            del file[dataset.path]
            file[dataset.path] = rows
    with open_unverified(path) as opened:
        assert all(same(a, b) for a, b in zip(opened.batches(), batches, strict=True))
    assert store.repair(path, in_place=True).n_batches_lost == 0
    assert digest(path) == wanted


def test_what_plain_hdf5_leaves_of_a_killed_writer_is_compared_with_the_digests(path, batches):
    killed_and_opened(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnverifiedStoreWarning)
        try:
            with store.open(path) as opened:
                for lines, batch in zip(opened.batches(), batches, strict=False):
                    assert same(lines, batch)
        except StoreError:
            pass
    assert store.repair(path).n_batches >= 3


@pytest.mark.parametrize("size", [-1, -40])
def test_a_store_whose_trailer_is_cut_off_in_the_middle_is_damaged(path, size):
    os.truncate(path, path.stat().st_size + size)
    with pytest.raises(StoreError, match="is cut off after"):
        store.open(path)
    content = path.read_bytes()
    path.write_bytes(content + bytes(-size))
    with pytest.raises(ChecksumError, match="its trailer"):
        store.open(path)


def test_a_store_that_is_not_verified_is_damaged_when_bytes_are_missing_or_appended(path):
    opened_and_closed(path)
    content = path.read_bytes()
    for damaged in (content[:-1], content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError):
            store.open(path)


# HDF5's superblock.


@pytest.mark.parametrize(("libver", "version"), [("earliest", 0), ("v108", 2), ("v110", 3)])
@pytest.mark.parametrize("userblock_size", [0, 512, 4096, 65536])
def test_the_end_of_the_content_is_that_of_the_file(tmp_path, libver, version, userblock_size):
    path = tmp_path / "any.h5"
    with h5py.File(path, "w", libver=(libver, "latest"), userblock_size=userblock_size) as file:
        file["x"] = np.arange(1000)
    with path.open("rb") as file:
        assert find_content(file.fileno()) == Content(userblock_size, path.stat().st_size, version)


@pytest.mark.parametrize("content", [b"", b"no HDF5", bytes(5000), b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n\x09" + bytes(100)])
def test_what_is_no_hdf5_has_no_content(tmp_path, content):
    (tmp_path / "any").write_bytes(content)
    with (tmp_path / "any").open("rb") as file:
        assert find_content(file.fileno()) is None


# The command line.


def test_the_command_line_verifies_and_repairs(path, capsys):
    attribute_added(path)
    assert cli.main(["verify", str(path), "--samples", "0"]) == 2
    assert "is not verified" in capsys.readouterr().err
    assert cli.main(["repair", str(path)]) == 0
    assert "3 batches with 15 lines are intact, 0 batches are lost; --out NEW.h5 writes" in capsys.readouterr().out
    assert cli.main(["repair", str(path), "--yes"]) == 0
    assert cli.main(["verify", str(path), "--samples", "0"]) == 0
    assert "is intact: 15 lines" in capsys.readouterr().out
