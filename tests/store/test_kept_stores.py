"""Stores of released versions of the format are read by every later pwlnet, bit for bit (kept_stores.py made them)."""

import gzip
import hashlib
import json
import shutil

import numpy as np
import pytest

from pwlnet import store
from pwlnet.loading import load_network
from pwlnet.store import schema
from pwlnet.store.digest import digest_arrays
from tests.store.kept_stores import FOLDER, described, made_points

SHA256 = {  # of the files before compression: add those of new versions, change none
    "format_1_0.h5": "beead7f1bc2521a513e8b359c774641a2b968940116daf022e1c2ffcdc77d877",
    "network_1_0.h5": "0730733436f84bcfb8d9be9b6aa1cff17593539546be62de75cb37f615fc383e",
}
VERSIONS = sorted(name.removesuffix(".h5").removeprefix("format_") for name in SHA256 if name.startswith("format_"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    for name in SHA256:
        (folder / name).write_bytes(gzip.decompress((FOLDER / f"{name}.gz").read_bytes()))
    return folder


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def path(folder, version):
    return folder / f"format_{version}.h5"


@pytest.fixture
def expected(version):
    return json.loads((FOLDER / f"format_{version}.json").read_text())


def test_the_kept_files_are_those_that_were_written_then(folder):
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SHA256} == SHA256
    assert {path.name.removesuffix(".gz") for path in FOLDER.glob("*.gz")} == set(SHA256)


def test_the_version_that_is_written_has_a_kept_store():
    assert "_".join(str(n) for n in schema.VERSION) in VERSIONS


def test_a_kept_store_is_intact_and_has_its_digest(path, expected):
    with store.open(path) as opened:
        assert opened.is_verified and opened.format_version == expected["format_version"]
        assert opened.verify(n_samples=3) == []
        assert opened.digest() == expected["digest"]
        assert [[row["kind"].decode(), row["sha256"].decode()] for row in opened.commits] == expected["batches"]
        assert {key: opened.provenance[key] for key in expected["provenance"]} == expected["provenance"]


def test_all_rows_of_all_kinds_come_out_bit_for_bit(path, expected):
    read = {}
    with store.open(path) as opened:
        for name, kind in schema.KINDS.items():
            if kind.datasets[0].path in expected["datasets"]:
                rows = opened.read(name) | (opened.read(name, derived=True) if kind.derived else {})
                arrays = {dataset.path: rows[dataset.field] for dataset in kind.stored}
                read |= {path: [list(array.shape), digest_arrays([(path, array)])] for path, array in arrays.items()}
    assert read == expected["datasets"]
    assert {key.split("/")[1] for key in read} >= {"lines", "flips", "attributions", "measures", "planes", "float_sets",
                                                   "certificates", "enumerations", "regions", "enumeration_ends"}  # fmt: skip


def test_the_network_of_a_kept_store_is_the_one_of_then(folder, version, path, expected):
    with store.open(path) as opened:
        networks = [opened.network, load_network(path), load_network(folder / f"network_{version}.h5")]
    for network in networks:
        assert network.digest == expected["network"]
        assert list(network.names) == expected["names"]
        np.testing.assert_allclose(network.forward(made_points(3)), expected["outputs"], rtol=1e-14, atol=1e-14)


def test_results_of_a_kept_store_are_objects_as_before(path):
    with store.open(path) as opened:
        lines, planes, floats = opened.lines(), opened.planes(), opened.float_sets()
        assert lines.n_segments.tolist() == opened.summary().n_segments.tolist() and lines.check() == []
        assert planes.parts[0].areas.sum() == pytest.approx(0.5, abs=1e-13)
        assert floats.method == "crown" and floats.lower.shape == (2, opened.network.n_neurons)
        assert (floats.lower <= floats.upper).all()
        certificates = opened.certificates()
        assert certificates.label.tolist() == [0, 1, -1] and opened.true_labels().tolist() == [0, 1, -1]
        for number in (0, 1):
            regions = opened.regions(number)
            assert regions.complete and regions.volumes().sum() == pytest.approx(1.0, abs=1e-12)


def test_a_kept_store_can_be_continued(path, tmp_path):
    copy = tmp_path / "continued.h5"
    shutil.copy(path, copy)
    with store.open(path) as opened:
        lines, n_lines = opened.lines(), opened.n_lines
    with store.resume(copy) as writer:
        writer.append_lines(lines)
    with store.open(copy) as opened:
        assert opened.verify() == [] and opened.n_lines == 2 * n_lines
        np.testing.assert_array_equal(opened.lines(n_lines).t, lines.t)


def test_what_is_kept_describes_the_store_as_the_script_would_today(path, version, expected):
    if version == "_".join(str(n) for n in schema.VERSION):
        assert set(described(path)["datasets"]) == set(expected["datasets"])
