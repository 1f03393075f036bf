"""Certificates in a store: what goes in comes out, in batches, resumed, merged, repaired, exported; guarantees stay apart."""

import itertools

import h5py
import numpy as np
import pytest

from pwlnet import store
from pwlnet.errors import InputError, ShapeError, StoreError
from pwlnet.smoothing import certificates as certified
from pwlnet.smoothing import certified_accuracy
from pwlnet.smoothing.certificates import COLUMNS
from pwlnet.store import schema
from pwlnet.store.certificates import certificates_to_arrays
from tests.smoothing.made import make_certificates, one
from tests.store.conftest import make_partitions

LABELS = np.array([0, 1, 2, 3, 9, -1, 6])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "certificates.h5"


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).normal(size=(7, 5))


@pytest.fixture
def certificates():
    methods = np.array(certified.METHODS)
    return make_certificates(7, method=methods, n0=100, candidate=np.arange(7) % 10, seed=np.arange(7) - 3)


def fill(path, network, certificates, inputs, cuts):
    with store.create(path, network) as writer:
        for first, last in itertools.pairwise(cuts):
            rows = slice(first, last)
            writer.append_certificates(certificates[rows], inputs[rows], labels=LABELS[rows])


def digest(path):
    with store.open(path) as opened:
        assert opened.verify(n_samples=2) == []
        return opened.digest()


def assert_same(actual, expected):
    assert actual.guarantee == expected.guarantee
    for name in COLUMNS:
        a, b = getattr(actual, name), getattr(expected, name)
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name


def test_the_store_and_the_certificates_know_the_same_guarantees_and_methods():
    assert schema.GUARANTEES == certified.GUARANTEES
    assert schema.CERTIFICATE_METHODS == certified.METHODS


@pytest.mark.parametrize("guarantee", certified.GUARANTEES)
def test_certificates_come_back_as_they_were_appended(path, network, inputs, guarantee):
    certificates = make_certificates(7, guarantee=guarantee, r_region=[0.1, np.nan, np.nan, 0.0, 0.3, np.nan, 0.5])
    fill(path, network, certificates, inputs, [0, 7])
    with store.open(path) as opened:
        assert_same(opened.certificates(), certificates)
        assert_same(opened.certificates(2, 5), certificates[2:5])
        assert_same(opened.certificates(3, 3), make_certificates(7)[:0])
        assert opened.true_labels().tolist() == LABELS.tolist()
        assert opened.true_labels(5).tolist() == [-1, 6]
        rows, derived = opened.read("certificates"), opened.read("certificates", derived=True)
    assert np.array_equal(rows["inputs"], inputs)
    assert derived["correct"].tolist() == [1, 1, 0, 1, 0, -1, 1]


def test_a_stored_certification_is_evaluated_as_the_original(path, network, certificates, inputs):
    fill(path, network, certificates, inputs, [0, 7])
    with store.open(path) as opened:
        again = certified_accuracy(opened.certificates(), opened.true_labels(), [0.0, 0.11, 0.2])
    assert again.tolist() == certified_accuracy(certificates, LABELS, [0.0, 0.11, 0.2]).tolist() == [4 / 7, 3 / 7, 0.0]


def test_batches_resuming_and_merging_do_not_matter_for_the_digest(path, network, certificates, inputs, tmp_path):
    fill(path, network, certificates, inputs, [0, 7])
    fill(tmp_path / "a.h5", network, certificates, inputs, [0, 1, 3])
    with store.create(tmp_path / "b.h5", network) as writer:
        writer.append_certificates(certificates[3:], inputs[3:], labels=LABELS[3:])
    store.merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "merged.h5")
    with store.resume(tmp_path / "a.h5", network) as writer:
        assert writer.n_certificates == 3
        for row in range(3, 7):
            writer.append_certificates(certificates[row], inputs[row], labels=LABELS[row])
    assert digest(path) == digest(tmp_path / "merged.h5") == digest(tmp_path / "a.h5")


def test_repair_keeps_the_certificates_of_an_annotated_store(path, network, certificates, inputs, tmp_path):
    fill(path, network, certificates, inputs, [0, 2, 7])
    expected = digest(path)
    with h5py.File(path, "r+") as file:
        file["certificates/radius"].attrs["note"] = "of the test set"
    assert store.repair(path, tmp_path / "repaired.h5").n_batches == 2
    assert digest(tmp_path / "repaired.h5") == expected


def test_certificates_share_a_store_with_lines(path, network, certificates):
    with store.create(path, network) as writer:
        writer.append_lines(make_partitions(network, 2))
        writer.append_certificates(certificates)
        writer.append_lines(make_partitions(network, 1))
    with store.open(path) as opened:
        assert (opened.n_lines, opened.n_rows("certificates")) == (3, 7)
        assert opened.verify() == []
        assert_same(opened.certificates(), certificates)
        assert np.isnan(opened.read("certificates")["inputs"]).all()
        assert set(opened.true_labels().tolist()) == {-1}
        assert set(opened.read("certificates", derived=True)["correct"].tolist()) == {-1}
        assert "segment" in opened.to_dataframe()


def test_rows_with_different_guarantees_are_not_mixed(path, network):
    sound, nominal = make_certificates(3), make_certificates(4, guarantee="nominal")
    with store.create(path, network) as writer:
        writer.append_certificates(sound, labels=[0, 1, 2])
        writer.append_certificates(nominal, labels=[5, 6, 7, 8])
    with store.open(path) as opened:
        for read in (opened.certificates, opened.true_labels):
            with pytest.raises(InputError, match="the rows have the guarantees sound, nominal, which must not be mixed"):
                read()
            with pytest.raises(InputError, match="guarantee is 'sure'"):
                read(guarantee="sure")
        assert_same(opened.certificates(guarantee="sound"), sound)
        assert_same(opened.certificates(1, 5, guarantee="nominal"), nominal[:2])
        assert_same(opened.certificates(3), nominal)
        assert opened.true_labels(1, 5, guarantee="nominal").tolist() == [5, 6]
        none = opened.certificates(guarantee="conditional")
        assert (len(none), none.guarantee) == (0, "conditional")


def test_a_store_of_certificates_becomes_tables(path, network, certificates, inputs):
    fill(path, network, certificates, inputs, [0, 7])
    with store.open(path) as opened:
        frame, wide = opened.to_dataframe(), opened.to_dataframe("certificates", 1, 3, wide=True)
        arrays = opened.to_xarray("certificates")
        assert opened.export(path.with_suffix(".csv")) == opened.export(path.with_suffix(".nc")) == 7
        assert opened.info()["rows"] == {"certificates": 7}
    assert frame["radii"].tolist() == certificates.radius.tolist() and frame["correct"].tolist() == [1, 1, 0, 1, 0, -1, 1]
    assert frame["methods"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.array_equal(wide[[f"inputs_{k}" for k in range(5)]].to_numpy(), inputs[1:3])
    assert arrays["radii"].dims == ("image",) and np.array_equal(arrays["inputs"], inputs)
    assert len(path.with_suffix(".csv").read_text().splitlines()) == 8


def test_certificates_that_do_not_fit_are_refused(path, network, certificates, inputs):
    with store.create(path, network) as writer:
        with pytest.raises(ShapeError, match=r"inputs has shape \(6, 5\), but there are 7 certificates"):
            writer.append_certificates(certificates, inputs[:6])
        with pytest.raises(ShapeError, match="inputs has shape"):
            writer.append_certificates(certificates, inputs[:, :4])
        with pytest.raises(ShapeError, match=r"labels has shape \(2,\), but there are 7"):
            writer.append_certificates(certificates, labels=[1, 2])
        with pytest.raises(InputError, match="labels have dtype float64"):
            writer.append_certificates(one(), labels=[0.5])
        with pytest.raises(InputError, match="certificates is a list"):
            writer.append_certificates([one()])
        assert writer.n_certificates == 0
        writer.append_certificates(certificates[:0])
        assert writer.n_certificates == 0
    with store.open(path) as opened, pytest.raises(StoreError, match="holds no certificates"):
        opened.certificates()
    network.save(path.with_name("network.h5"))
    with store.open(path.with_name("network.h5")) as opened, pytest.raises(StoreError, match="no certificates; compute them"):
        opened.certificates()


@pytest.mark.parametrize(("name", "value", "message"), [
    ("guarantees", 3, "guarantees holds numbers that are not in 0 to 2"),
    ("methods", -1, "methods holds numbers that are not in 0 to 6"),
    ("true_labels", -2, "true_labels holds numbers below -1"),
    ("inputs", np.inf, "inputs holds entries that are infinite"),
    ("p_low", 1.5, r"p_low\[0\] is 1.5, which is not in \[0, 1\]"),
    ("k", 1001, r"k\[0\] is 1001, which is not in 0 to n"),
    ("radii", 0.0, r"radius\[0\] is 0.0, which is 0 without abstention"),
    ("labels", -1, r"radius\[0\] is 0.1, which is 0 without abstention, or positive with it"),
    ("sigma", 0.01, "larger than sigma times the normal quantile"),
    ("r_region", -1.0, "which is negative"),
])  # fmt: skip
def test_inconsistent_rows_are_refused(path, network, certificates, inputs, name, value, message):
    rows = certificates_to_arrays(network, certificates, inputs, labels=LABELS)
    with store.create(path, network) as writer:
        with pytest.raises(InputError, match=message):
            writer.append("certificates", {**rows, name: np.full_like(rows[name], value)})
        writer.append("certificates", rows)
