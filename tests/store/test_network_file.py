"""Networks in HDF5: bit for bit, checked by digests, written whole or not at all."""

import errno
import json
import os
import subprocess
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import ChecksumError, DigestMismatchError, FormatVersionError, StoreError
from pwlnet.store import schema
from tests.checksums import changing


def change(path, name, value):
    """Overwrite an array or a root attribute so that all checksums but the digests are right."""
    with changing(path) as file:
        if name.startswith("/"):
            file[name][...] = value
        else:
            file.attrs[name] = value


@pytest.fixture
def saved(tmp_path, network):
    path = tmp_path / "network.h5"
    network.save(path)
    return path


def test_a_network_whose_outputs_are_an_image_comes_back(tmp_path):
    graph = Graph((1, 2, 3, 3), batched=True)
    graph.output = graph.relu(graph.input, name="relu")
    network = lower(graph)
    assert network.output_shape == (2, 3, 3)
    network.save(tmp_path / "image.h5")
    back = pwlnet.load_network(tmp_path / "image.h5")
    assert back == network
    assert (back.input_shape, back.output_shape) == (network.input_shape, network.output_shape)


def test_a_network_comes_back_bit_for_bit(saved, network):
    back = pwlnet.load_network(saved)
    assert back == network
    assert (back.input_shape, back.output_shape) == (network.input_shape, network.output_shape)
    assert back.names == network.names
    for name, array in zip(network.program._fields, network.program, strict=True):
        assert np.array_equal(getattr(back.program, name), array)
        assert getattr(back.program, name).dtype == array.dtype


def test_a_network_is_recognised_by_content_not_by_suffix(saved, network):
    assert pwlnet.load_network(saved.rename(saved.with_suffix(".net"))) == network


def test_the_network_of_a_store_can_be_read_like_a_network_file(tmp_path, network, make_lines):
    store.save_lines(tmp_path / "lines.h5", make_lines(3))
    assert pwlnet.load_network(tmp_path / "lines.h5") == network


def test_the_file_has_exactly_the_datasets_of_the_schema(saved):
    with h5py.File(saved) as file:
        datasets = schema.NETWORK + schema.NETWORK_LABELS
        assert {f"/network/{name}" for name in file["network"]} == {d.path for d in datasets}
        assert set(file.attrs) == {a.name for a in schema.ATTRIBUTES}
        for dataset in datasets:
            assert dataset.dtype == "text" or file[dataset.path].dtype == np.dtype(dataset.dtype)
            assert file[dataset.path].ndim == len(dataset.dims)


def test_the_schema_names_every_array_of_a_program(network):
    assert tuple(d.field for d in schema.NETWORK) == network.program._fields


def test_an_existing_file_is_refused_and_kept(saved, other_network):
    before = saved.read_bytes()
    with pytest.raises(StoreError, match=r"network.h5 exists; give another path, or remove it first"):
        other_network.save(saved)
    assert saved.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path, network):
    with pytest.raises(StoreError, match=r"No such file or directory\); nothing was left there, make the folder first"):
        network.save(tmp_path / "missing" / "network.h5")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_failed_write_leaves_nothing(tmp_path, network, monkeypatch, number):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError) as caught:
        network.save(tmp_path / "network.h5")
    assert str(caught.value) == (
        f"{tmp_path}/network.h5 can't be written ({os.strerror(number)}); nothing was left there, "
        "free space or choose another folder"
    )
    assert caught.value.__cause__.errno == number
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_is_refused(network):
    folder = Path(tempfile.mkdtemp(prefix="pwlnet-read-only-"))  # not pytest's, which a mount left by a killed run breaks
    folder.chmod(0o500)
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]  # root may write everywhere else
    mounted = os.geteuid() == 0
    if mounted and subprocess.run(mount, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("root can't make a folder that it can't write")
    try:
        with pytest.raises(StoreError, match=r"(Permission denied|Read-only file system)\); nothing was left there"):
            network.save(folder / "network.h5")
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def test_changed_weights_do_not_match_the_digest(saved):
    change(saved, "/network/weights", 0.0)
    with pytest.raises(ChecksumError, match=f"^/network of {saved} does not match its digest; the file is damaged"):
        pwlnet.load_network(saved)


def test_changed_names_do_not_match_their_checksum(saved):
    change(saved, "/network/names", b"x")
    with pytest.raises(ChecksumError, match="does not match its digest"):
        pwlnet.load_network(saved)


def test_a_store_around_another_network_is_refused(saved, other_network):
    change(saved, "network-digest", other_network.digest)
    with pytest.raises(DigestMismatchError, match=f"was made for the network {other_network.digest[:12]}, but holds"):
        pwlnet.load_network(saved)


def test_a_missing_array_is_named(saved):
    with changing(saved) as file:
        del file["network/biases"]
    with pytest.raises(StoreError, match=r"/network of .* can't be read .*biases.*; the file is damaged or incomplete"):
        pwlnet.load_network(saved)


def test_a_newer_major_version_is_refused_with_both_versions(saved):
    change(saved, "pwlnet-format-version", "2.3")
    with pytest.raises(FormatVersionError) as caught:
        pwlnet.load_network(saved)
    assert str(caught.value) == (
        f"{saved} has format version 2.3, but this pwlnet reads versions up to 1.* (it writes 1.0); install a newer pwlnet"
    )


def test_a_newer_minor_version_is_read(saved, network):
    change(saved, "pwlnet-format-version", "1.7")
    assert pwlnet.load_network(saved) == network


@pytest.mark.parametrize(
    ("provenance", "problem"),
    [
        ("{}", "provenance has no software"),
        ("[]", "provenance is list, not object"),
        ("{", "Expecting property name"),
        (None, "provenance.seeds.x is str, not integer or array"),
    ],
)
def test_a_provenance_of_another_form_is_refused(saved, provenance, problem):
    if provenance is None:
        with store.open(saved) as opened:
            provenance = json.dumps({**opened.provenance, "seeds": {"x": "1"}})
    change(saved, "provenance", provenance)
    with pytest.raises(StoreError, match=f"the header of .* can't be read .*{problem}"):
        store.open(saved)


def test_hdf5_of_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1.0
    with pytest.raises(
        StoreError, match=r"other.h5 is HDF5, but has no attribute pwlnet-format; give a file that pwlnet wrote"
    ):
        pwlnet.load_network(tmp_path / "other.h5")


def test_what_is_not_hdf5_is_refused(tmp_path):
    path = tmp_path / "text.h5"
    path.write_text("not HDF5")
    with pytest.raises(StoreError, match=r"text.h5 is not a store; give a file that pwlnet wrote"):
        pwlnet.load_network(path)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.99])
def test_a_file_cut_off_is_refused(saved, part):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(part * len(content))])
    with pytest.raises(StoreError, match=r"is cut off after \d+ bytes; restore a copy or compute it again"):
        pwlnet.load_network(saved)


def test_a_missing_file_is_named():
    with pytest.raises(StoreError, match=r"missing.h5 can't be read \(No such file or directory\); give the path of a"):
        store.read_network_file(Path("missing.h5"))
