"""Fixed and float neurons in a store: what goes in comes out, in batches, resumed, merged, repaired, exported."""

import itertools

import h5py
import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.errors import InputError, ShapeError
from pwlnet.float_sets import stack_float_sets
from pwlnet.store import schema
from tests.store.conftest import make_partitions

FIELDS = ("lower", "upper", "always_on", "always_off", "states", "active_share", "minority_share")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "floats.h5"


@pytest.fixture(scope="module")
def centers():
    return np.random.default_rng(0).normal(size=(5, 5))


@pytest.fixture(scope="module")
def sampled(network, centers):
    return pwlnet.find_float_neurons(network, pwlnet.Gaussian(centers, 0.3), method="sampled", n_samples=40)


def rows_of(network, centers, first, last):
    domain = pwlnet.Gaussian(centers[first:last], 0.3)
    found = pwlnet.find_float_neurons(network, domain, method="sampled", n_samples=40, first_set=first)
    return found, domain


def fill(path, network, centers, cuts, **options):
    with store.create(path, network, **options) as writer:
        for first, last in itertools.pairwise(cuts):
            found, domain = rows_of(network, centers, first, last)
            writer.append_float_sets(found, domain, items=np.arange(first, last))


def digest(path):
    with store.open(path) as opened:
        assert opened.verify(n_samples=2) == []
        return opened.digest()


def test_float_sets_come_back_as_they_were_appended(path, network, centers, sampled):
    fill(path, network, centers, [0, 5])
    with store.open(path) as opened:
        result = opened.float_sets()
        part = opened.float_sets(1, 3)
        rows = opened.read("float_sets")
    for name in FIELDS:
        assert np.array_equal(getattr(result, name), getattr(sampled, name))
        assert np.array_equal(getattr(part, name), getattr(sampled, name)[1:3])
    assert (result.method, result.scope, result.n_samples, result.layers) == ("sampled", sampled.scope, 40, sampled.layers)
    assert np.array_equal(rows["points"], centers)
    assert rows["domains"].tolist() == [schema.FLOAT_DOMAINS.index("gaussian")] * 5
    assert rows["items"].tolist() == [0, 1, 2, 3, 4]
    assert (rows["radii"] == 0.3).all()


def test_batches_do_not_matter_for_the_digest(path, network, centers, tmp_path):
    fill(path, network, centers, [0, 5])
    fill(tmp_path / "other.h5", network, centers, [0, 2, 3, 5])
    assert digest(path) == digest(tmp_path / "other.h5")


def test_a_store_is_resumed_and_merged(path, network, centers, tmp_path):
    fill(path, network, centers, [0, 5])
    fill(tmp_path / "a.h5", network, centers, [0, 3])
    fill(tmp_path / "b.h5", network, centers, [3, 5])
    store.merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "merged.h5")
    assert digest(tmp_path / "merged.h5") == digest(path)
    with store.resume(tmp_path / "a.h5", network) as writer:
        assert writer.n_float_sets == 3
        found, domain = rows_of(network, centers, 3, 5)
        writer.append_float_sets(found, domain, items=np.arange(3, 5))
    assert digest(tmp_path / "a.h5") == digest(path)


def test_repair_keeps_the_float_sets_of_an_annotated_store(path, network, centers, tmp_path):
    fill(path, network, centers, [0, 2, 5])
    expected = digest(path)
    with h5py.File(path, "r+") as file:
        file["float_sets/lower"].attrs["note"] = "of the test set"
    repaired = store.repair(path, tmp_path / "repaired.h5")
    assert repaired.n_batches == 2
    assert digest(tmp_path / "repaired.h5") == expected


def test_float_sets_share_a_store_with_lines(path, network, centers, sampled):
    with store.create(path, network) as writer:
        writer.append_lines(make_partitions(network, 2))
        writer.append_float_sets(sampled)
        writer.append_lines(make_partitions(network, 1))
    with store.open(path) as opened:
        assert (opened.n_lines, opened.n_rows("float_sets")) == (3, 5)
        assert np.array_equal(opened.float_sets().lower, sampled.lower)
        assert opened.verify() == []
        assert np.isnan(opened.read("float_sets")["points"]).all()


@pytest.mark.parametrize("with_shares", [True, False])
def test_the_tables_have_a_row_per_set_and_layer_and_per_set_and_neuron(path, network, sampled, with_shares):
    with store.create(path, network) as writer:
        writer.append_float_sets(sampled, with_shares=with_shares)
    with store.open(path) as opened:
        layers = opened.to_dataframe()
        neurons = opened.to_dataframe("float_neurons", 1, 3)
        sets = opened.to_dataframe("float_sets")
        opened.export(path.with_suffix(".csv"), "float_layers")
        with pytest.raises(InputError, match="has no option wide"):
            opened.to_dataframe("float_layers", wide=True)
    assert layers["lower"].tolist() == sampled.lower.sum(axis=1).tolist()
    assert layers["lower_share"].tolist() == sampled.lower.mean(axis=1).tolist()
    assert layers["always_off"].tolist() == sampled.always_off.sum(axis=1).tolist()
    assert np.array_equal(neurons["lower"].to_numpy().reshape(2, -1) == 1, sampled.lower[1:3])
    assert neurons["set"].tolist() == [1] * network.n_neurons + [2] * network.n_neurons
    assert ("minority_share" in neurons) == with_shares
    if with_shares:
        assert np.array_equal(neurons["minority_share"].to_numpy().reshape(2, -1), sampled.minority_share[1:3])
    assert sets["n_samples"].tolist() == [40] * 5
    assert len(path.with_suffix(".csv").read_text().splitlines()) == 1 + 5


@pytest.mark.parametrize("kind", ["segment", "polygon", "box", "ball", "pair"])
def test_every_domain_is_described(path, network, centers, kind):
    a, b = centers[:2]
    domain, method = {
        "segment": (pwlnet.Segment(a, b), "exact"),
        "polygon": (pwlnet.Polygon(a, b - a, centers[2] - a, [[0, 0], [1, 0], [0, 1]]), "exact"),
        "box": (pwlnet.Box(a - 0.1, a + 0.1), "crown"),
        "ball": (pwlnet.Ball(a, 0.1, 2), "ibp"),
        "pair": ((a[None], b[None]), "pair"),
    }[kind]
    found = pwlnet.find_float_neurons(network, domain, method=method)
    with store.create(path, network) as writer:
        writer.append_float_sets(found, domain, items=7)
    with store.open(path) as opened:
        rows, result = opened.read("float_sets"), opened.float_sets()
    assert rows["domains"].tolist() == [schema.FLOAT_DOMAINS.index(kind)]
    assert np.array_equal(result.upper[0], np.atleast_2d(found.upper)[0])
    assert np.array_equal(rows["points"][0], a - 0.1 if kind == "box" else a)
    assert rows["norms"].tolist() == [2.0] if kind == "ball" else np.isnan(rows["norms"]).all()
    assert result.method == method


def test_sets_that_do_not_fit_are_refused(path, network, other_network, centers, sampled):
    domain = pwlnet.Gaussian(centers[:2], 0.3)
    with store.create(path, network) as writer:
        with pytest.raises(ShapeError, match="domain has 2 sets, but float_set has 5"):
            writer.append_float_sets(sampled, domain)
        with pytest.raises(ShapeError, match="items has 2 entries"):
            writer.append_float_sets(sampled, items=[0, 1])
        with pytest.raises(InputError, match="domain is a str"):
            writer.append_float_sets(sampled, "box")
        rows = _arrays(network, sampled)
        rows["upper"] = np.zeros_like(rows["upper"])
        with pytest.raises(InputError, match="lower has neurons that upper does not have"):
            writer.append("float_sets", rows)
        assert writer.n_float_sets == 0


def _arrays(network, float_set):
    from pwlnet.store.float_sets import float_sets_to_arrays

    return float_sets_to_arrays(network, float_set)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("always_on", 2**64 - 1, "always_on has neurons of upper"),
    ("scopes", 9, "scopes holds numbers that are not in 0 to 4"),
    ("minority_shares", 1.5, r"minority_shares holds entries that are not in \[0, 1\]"),
])  # fmt: skip
def test_inconsistent_rows_are_refused(path, network, sampled, name, value, message):
    rows = _arrays(network, sampled)
    rows[name] = np.full_like(rows[name], value)
    with store.create(path, network) as writer, pytest.raises(InputError, match=message):
        writer.append("float_sets", rows)


def test_rows_of_different_methods_are_read_apart(path, network, centers, sampled):
    box = pwlnet.Box(centers - 0.1, centers + 0.1)
    bound = pwlnet.find_float_neurons(network, box, method="ibp")
    with store.create(path, network) as writer:
        writer.append_float_sets(sampled, with_shares=False)
        writer.append_float_sets(bound, box)
    with store.open(path) as opened:
        with pytest.raises(InputError, match="2 combinations of method"):
            opened.float_sets()
        assert np.array_equal(opened.float_sets(5).upper, bound.upper)
        assert opened.float_sets(5).n_samples is None


def test_stacked_sets_are_those_of_their_parts(sampled):
    again = stack_float_sets([sampled, sampled])
    assert np.array_equal(again.states, np.concatenate([sampled.states] * 2))
