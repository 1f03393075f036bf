"""Enumerations of regions in a store: every bit comes back, in any blocks, after kills and damage."""

import json
import warnings

import h5py
import numpy as np
import pytest

import pwlnet
from pwlnet import store
from pwlnet.cli import main
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import DigestMismatchError, InputError, ShapeError, StoreError, UnverifiedStoreWarning
from pwlnet.partition.regions.blocks import RegionBlock, RegionHeader
from pwlnet.store import region_appending, region_rows, schema
from pwlnet.store.region_appending import block_of, header_of
from tests.checksums import changing
from tests.counts import few
from tests.store.made_regions import ALL, in_blocks, make_regions, same_arrays
from tests.store.test_line_chunks import digest

POLYTOPE = (np.ones((2, 5)), np.full(2, 100.0))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "regions.h5"


def end_of(regions):
    return {name: getattr(regions, name) for name in ("complete", "stopped_by", "certified", "n_exact")}


def write(path, regions, size, rows=1, stop=None):
    """Append regions in blocks, stopped after some of them; otherwise finish them."""
    with store.create(path, regions.network) as writer:
        blocks = list(in_blocks(regions, size))[:stop]
        store.append_regions(writer, header_of(regions), iter(blocks), rows=rows)
        if stop is None:
            store.finish_regions(writer, **end_of(regions))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, network):
    """Regions with all columns, and the digest of a store of one write."""
    path, regions = tmp_path_factory.mktemp("whole") / "whole.h5", make_regions(network, 90)
    store.save_regions(path, regions)
    return regions, digest(path)


@pytest.mark.parametrize(
    ("n", "columns", "polytope"),
    [(40, ALL, POLYTOPE), (17, ("patterns", "facets"), None), (5, ("volumes",), None), (0, ALL, None), (0, (), None)],
)
def test_regions_come_back_bit_for_bit(path, network, n, columns, polytope):
    regions = make_regions(network, n, columns=columns, polytope=polytope, stopped_by="time_limit", complete=False)
    written = store.save_regions(path, regions, parameters={"a": 1}, rows=16)
    assert written == (n, regions.facet_offsets[-1] if "facets" in columns else 0)
    with store.load_regions(path, network) as rows:
        assert (len(rows), rows.n_regions, rows.is_finished) == (n, n, True)
        assert (rows.complete, rows.stopped_by, rows.certified, rows.n_exact) == (False, "time_limit", True, 3)
        assert rows.method == "subdivision" and rows.network == network
        assert rows.lower.tobytes() == regions.lower.tobytes() and rows.upper.tobytes() == regions.upper.tobytes()
        assert rows.free.tolist() == [0, 2, 3, 4]
        assert (rows.polytope is None) == (polytope is None)
        assert polytope is None or all(np.array_equal(*pair) for pair in zip(rows.polytope, polytope, strict=True))
        assert same_arrays(rows, regions)
        if "affine_maps" in columns:
            for name in ("affine_maps", "halfspaces", "vertices"):
                assert all(map(np.array_equal, getattr(rows, name)(), getattr(regions, name)()))
            assert np.array_equal(rows.volumes(), regions.volumes())
        assert same_arrays(rows.read().block(), regions)
        assert rows.header.key == header_of(regions).key
        assert rows.store.verify(n_samples=10) == []


def test_regions_that_were_only_counted_have_a_number(path, network):
    regions = make_regions(network, 0, columns=(), n_regions=10**12)
    assert store.save_regions(path, regions) == (10**12, 0)
    with store.load_regions(path) as rows:
        assert (len(rows), rows.n_regions, rows.packed, list(rows.blocks())) == (0, 10**12, None, [])
        assert rows.store.verify() == []


def test_some_regions_are_read_without_the_others(path, network, monkeypatch):
    regions = make_regions(network, 50)
    store.save_regions(path, regions, rows=7)
    with store.load_regions(path) as rows:
        assert same_arrays(rows[13:29], block_of(regions)[13:29])
        assert same_arrays(rows[40:20], block_of(regions)[0:0])
        assert np.array_equal(rows.patterns(3, 9).unpack(), network.states(regions.witnesses[3:9]))
        assert same_arrays(RegionBlock.join(list(rows.blocks(8))), regions)
        monkeypatch.setattr(region_rows, "_AT_ONCE", 2000)
        blocks = list(rows.blocks())
        assert 3 < len(blocks) < 50
        assert same_arrays(RegionBlock.join(blocks), regions)
        with pytest.raises(InputError, match="rows is 3; give a slice with step 1"):
            rows[3]


@pytest.mark.parametrize(("size", "rows"), [(1, 17), (30, 1), (7, 10**6)])
def test_blocks_make_the_same_store_as_one_write(path, whole, size, rows):
    write(path, whole[0], size, rows)
    assert digest(path) == whole[1]


@pytest.mark.parametrize(("first_row", "size"), [(0, 25), (41, 7), (60, 30)])
def test_an_enumeration_that_was_stopped_is_continued(path, whole, first_row, size):
    """The continued enumeration begins where it likes before the end of what is stored, with other blocks."""
    regions, expected = whole
    write(path, regions, 20, stop=3)
    with store.resume(path, regions.network) as writer:
        assert (writer.unfinished_regions, writer.region_resume_state) == (60, {"row": 60})
        assert writer.unfinished_header.key == header_of(regions).key
        blocks = in_blocks(regions, size, first_row)
        written = store.append_regions(writer, header_of(regions), blocks, first_row=first_row, rows=9)
        assert written == (90, regions.facet_offsets[-1])
        assert writer.region_resume_state == {"row": 90}
        store.finish_regions(writer, **end_of(regions))
        assert (writer.unfinished_regions, writer.region_resume_state, writer.unfinished_header) == (None, None, None)
    assert digest(path) == expected


def test_what_was_yielded_before_an_error_is_stored(path, network):
    regions = make_regions(network, 50)

    def blocks():
        yield from list(in_blocks(regions, 10))[:3]
        raise KeyboardInterrupt

    with store.create(path, network) as writer, pytest.raises(KeyboardInterrupt):
        store.append_regions(writer, header_of(regions), blocks())
    with store.resume(path) as writer:
        assert (writer.unfinished_regions, writer.region_resume_state) == (30, {"row": 30})
        assert (writer.n_enumerations, writer.n_regions) == (1, 30)
    with store.load_regions(path) as rows:
        assert (len(rows), rows.is_finished, rows.complete, rows.stopped_by) == (30, False, False, "interrupted")
        assert same_arrays(rows, block_of(regions)[:30])
        assert rows.store.verify(n_samples=3) == []
        assert rows.to_dataframe().shape[0] == 30


def test_a_slow_enumeration_is_committed_in_time(path, network, monkeypatch):
    regions, seen = make_regions(network, 6), []
    monkeypatch.setattr(region_appending, "_SECONDS", 0.0)
    with store.create(path, network) as writer:
        blocks = (seen.append(writer.unfinished_regions) or block for block in in_blocks(regions, 1))
        store.append_regions(writer, header_of(regions), blocks)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_other_regions_than_those_of_the_store_are_refused(path, whole, network):
    regions = whole[0]
    write(path, regions, 20, stop=3)
    other = make_regions(network, 90, seed=1)
    with store.resume(path) as writer:
        header = header_of(regions)
        moved = RegionHeader(header.lower - 1.0, header.upper, header.polytope, header.want, header.classes)
        with pytest.raises(DigestMismatchError, match=r"enumeration 0 of .* was started with other bounds, columns or another"):
            store.append_regions(writer, moved, in_blocks(regions, 9))
        with pytest.raises(DigestMismatchError, match=r"was started with other packed than those of the regions now"):
            store.append_regions(writer, header, in_blocks(other, 9))
        changed = make_regions(network, 90, facet_states=regions.facet_states ^ (np.arange(len(regions.facet_states)) == 100))
        with pytest.raises(DigestMismatchError, match=r"was started with other facet_states than those of the regions now"):
            store.append_regions(writer, header, in_blocks(changed, 9))
        with pytest.raises(InputError, match=r"first_row is 61, but .* has 60 regions of the enumeration; begin there"):
            store.append_regions(writer, header, in_blocks(regions, 9, 61), first_row=61)
        with pytest.raises(DigestMismatchError, match=r"the enumeration has 27 regions, but .* has 60 of it; write to a new"):
            store.append_regions(writer, header, list(in_blocks(regions, 9))[:3])
        with pytest.raises(InputError, match=r"enumeration 0 of .* is not finished; finish it first"):
            writer.begin_regions(header)
        assert writer.unfinished_regions == 60


def test_several_enumerations_are_in_one_store(path, network, make_lines):
    made = [make_regions(network, n, seed=n) for n in (30, 0, 12)]
    with store.create(path, network) as writer:
        for regions in made:
            store.append_regions(writer, header_of(regions), in_blocks(regions, 8), rows=16)
            writer.append_lines(make_lines(2))
            store.finish_regions(writer, **end_of(regions))
        narrow = make_regions(network, 3, columns=("volumes",))
        with pytest.raises(InputError, match=r"packed has \(0,\) numbers per row, but those of .* have \(4,\)"):
            store.append_regions(writer, header_of(narrow), in_blocks(narrow, 3))
    with store.open(path) as opened:
        assert opened.verify() == [] and opened.n_lines == 6
        assert all(same_arrays(opened.regions(k), regions) for k, regions in enumerate(made))
        assert same_arrays(opened.regions(), made[-1])
        for number in (3, -4, 1.0, "a"):
            with pytest.raises(InputError, match=r"number is .*, but .* has 3 enumerations of regions; count from 0"):
                opened.regions(number)
        frame = opened.to_dataframe("regions")
        assert frame.groupby("enumeration").size().to_dict() == {0: 30, 2: 12}
        assert opened.to_dataframe("enumerations")["class_modes"].tolist() == [1, 1, 1]
        assert opened.to_dataframe("enumeration_ends")["n_rows"].tolist() == [30, 0, 12]


def test_merged_stores_hold_the_enumerations_of_all(path, network):
    made = [make_regions(network, n, seed=n) for n in (30, 12)]
    paths = [path.with_name(f"{k}.h5") for k in range(3)]
    for regions, one in zip(made, paths, strict=False):
        store.save_regions(one, regions, rows=20)
    store.merge(paths[:2], path)
    with store.open(path) as opened:
        assert opened.verify() == []
        assert all(same_arrays(opened.regions(k), regions) for k, regions in enumerate(made))
    write(paths[2], made[0], 10, stop=2)
    store.merge([paths[1], paths[2]], path, overwrite=True)
    with store.load_regions(path) as rows:
        assert (len(rows), rows.is_finished) == (20, False)
    out = path.with_name("out.h5")
    with pytest.raises(InputError, match=r"enumeration 0 of .* is not finished; finish it first"):
        store.merge([paths[2], paths[1]], out)
    store.save_regions(paths[2], make_regions(network, 4, columns=("patterns",)), overwrite=True)
    with pytest.raises(InputError, match="all enumerations of a store have the same columns"):
        store.merge([paths[1], paths[2]], out)
    assert not out.exists()


@pytest.mark.parametrize("name", [dataset.path for dataset in schema.REGIONS.datasets][:: few(1, quick=7)])
def test_damage_is_found_and_the_blocks_before_it_are_kept(path, whole, name):
    regions, expected = whole
    write(path, regions, 30)
    with changing(path) as file:
        file[name][-1] = file[name][-1] + np.array(1, file[name].dtype)
    with store.open(path) as opened:
        problems = opened.verify()
        assert same_arrays(opened.regions()[:60], block_of(regions)[:60])
    assert any("batch 3 (regions 60..89)" in problem for problem in problems)
    new = path.with_name("new.h5")
    repaired = store.repair(path, new)
    assert (repaired.n_regions, repaired.n_batches, repaired.n_batches_lost) == (60, 3, 2)
    with store.resume(new) as writer:
        assert (writer.unfinished_regions, writer.region_resume_state) == (60, None)
        store.append_regions(writer, header_of(regions), in_blocks(regions, 11))
        store.finish_regions(writer, **end_of(regions))
    assert digest(new) == expected


def test_a_flipped_bit_is_found(path, whole):
    write(path, whole[0], 30)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert any("checksum" in problem for problem in store.repair(path).problems)


def test_an_annotated_store_is_read_and_repaired_with_its_resume_state(path, whole):
    regions = whole[0]
    write(path, regions, 30, stop=2)
    with h5py.File(path, "r+") as file:
        file["regions"].attrs["note"] = "from a run that was stopped"
    with pytest.warns(UnverifiedStoreWarning), store.load_regions(path) as rows:
        assert same_arrays(rows, block_of(regions)[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnverifiedStoreWarning)
        store.repair(path, in_place=True)
    with store.resume(path) as writer:
        assert writer.region_resume_state == {"row": 60}


def test_regions_that_the_network_does_not_confirm_do_not_verify(path, network):
    regions = make_regions(network, 20, polytope=POLYTOPE)
    A, c = regions.affine_maps()
    outside = (np.ones((1, 5)), np.full(1, -100.0))
    changes = {
        "its witness is outside the box": {"witnesses": 2.0 * regions.witnesses},
        "its witness is outside the polytope": {"polytope": outside},
        "differ from the affine map of its activation pattern by": {"packed": np.roll(regions.packed, 1, axis=0)},
        "differ from its affine map by": {"affine_maps": (A, c + 1.0)},
        "its witness is outside its half-spaces": {"facet_h": regions.halfspaces().h - 2.0},
        "but output": {"classes": 1 - regions.classes},
    }
    for message, change in changes.items():
        bad = make_regions(network, 20, **{"polytope": POLYTOPE, **change})
        store.save_regions(path, bad, overwrite=True)
        with store.open(path) as opened:
            assert opened.verify() == []
            (problem,) = opened.verify(n_samples=20)
        assert message in problem and problem.startswith("region 0 of enumeration 0 of")


def bad_array(name, change):
    def changed(arrays):
        return {**arrays, name: change(arrays[name])}

    return changed


MISFITS = (
    (bad_array("witnesses", lambda a: a * np.nan), InputError, "witnesses holds entries that are not finite"),
    (bad_array("facet_G", lambda a: a * np.inf), InputError, "facet_G holds entries that are not finite"),
    (bad_array("volumes", lambda a: a - 2.0), InputError, "volumes holds entries that are negative"),
    (bad_array("classes", lambda a: a + 2), InputError, "classes holds numbers that are not in 0 to 1"),
    (bad_array("facet_neurons", lambda a: a + 500), InputError, "facet_neurons holds .* the network has neurons 0 to 199"),
    (bad_array("facet_neurons", lambda a: a - 300), InputError, "facet_neurons holds .* polytope have 10 sides: -1 to -10"),
    (bad_array("facet_states", lambda a: a - 1), InputError, "facet_states holds negative numbers"),
    (bad_array("facet_offsets", lambda a: a[::-1].copy()), InputError, "facet_offsets do not split the .* rows into"),
    (
        bad_array("packed", lambda a: a[:, :2]),
        ShapeError,
        r"packed has shape \(9, 2\); each region .* needs \(4,\) numbers",
    ),
    (bad_array("vertex_facets", lambda a: a[1:]), InputError, "vertex_facets has shape"),
    (lambda arrays: {**arrays, "volumes": None}, InputError, "the block has .*, but its enumeration has .*; give blocks"),
)


def test_blocks_that_do_not_fit_are_refused(path, network):
    regions = make_regions(network, 9)
    with store.create(path, network) as writer:
        store.append_regions(writer, header_of(regions), in_blocks(regions, 5))
        for change, error, problem in MISFITS:
            bad = RegionBlock(**change(block_of(regions).arrays()))
            with pytest.raises(error, match=problem):
                writer.append_region_block(bad)
            assert writer.unfinished_regions == 9
        writer.append_region_block(block_of(regions))
        assert writer.unfinished_regions == 18


def test_misplaced_calls_are_refused(path, network, other_network):
    regions = make_regions(network, 4)
    header = header_of(regions)
    with store.create(path, network) as writer:
        with pytest.raises(InputError, match="has no enumeration that is not finished; begin one before its regions"):
            writer.append_region_block(block_of(regions))
        with pytest.raises(InputError, match="has no enumeration that is not finished; begin one before its enumeration_ends"):
            store.finish_regions(writer, complete=True)
        with pytest.raises(InputError, match=r"first_row is 2, but .* has no enumeration to continue; begin with row 0"):
            store.append_regions(writer, header, in_blocks(regions, 4), first_row=2)
        with pytest.raises(ShapeError, match="upper"):
            RegionHeader(np.zeros(2), np.zeros(3))
        with pytest.raises(InputError, match=r"enumerations can't be appended: .* has shape \(1, 2\), not \(1, 5\)"):
            store.append_regions(writer, RegionHeader(np.zeros(2), np.ones(2)), [])
        with pytest.raises(InputError, match="blocks gave a RegionBlock; give pairs of a RegionBlock and its resume state"):
            store.append_regions(writer, header, [block_of(regions)])
        for wrong, needed in (
            ((3, header, []), "writer is"),
            ((writer, 3, []), "header is"),
            ((writer, header, 3), "blocks is"),
        ):
            with pytest.raises(InputError, match=needed):
                store.append_regions(*wrong)
        store.append_regions(writer, header, in_blocks(regions, 4))
        with pytest.raises(InputError, match="complete is False and stopped_by is None; give what stopped it"):
            store.finish_regions(writer, complete=False)
        with pytest.raises(InputError, match="n_regions does not agree with n_rows"):
            store.finish_regions(writer, complete=True, n_regions=5)
        store.finish_regions(writer, complete=True)
    with pytest.raises(DigestMismatchError, match="is for the network"):
        store.load_regions(path, other_network)
    network.save(path.with_name("network.h5"))
    with pytest.raises(StoreError, match="holds a network, but no regions; compute them with enumerate_regions"):
        store.load_regions(path.with_name("network.h5"))
    with pytest.raises(InputError, match=r"regions is .*; give what pwlnet.enumerate_regions returns"):
        store.save_regions(path, 3)


@pytest.mark.parametrize("rows", [1, 11, 10**6])
def test_tables_hold_every_bit(path, network, rows):
    regions = make_regions(network, 25)
    store.save_regions(path, regions)
    with store.load_regions(path) as opened:
        frame = np.concatenate([f.to_numpy() for f in opened.iter_dataframes(rows=rows, wide=True, patterns=True)])
        names = list(opened.to_dataframe(wide=True, patterns=True).columns)
        facets = np.concatenate([f.to_numpy() for f in opened.iter_dataframes("facets", rows=rows)])
        vertices = list(opened.iter_dataframes("region_vertices", rows=rows))
        some = opened.to_dataframe("facets", 3, 5)
        assert opened.store.default_table() == "regions"
    columns = dict(zip(names, frame.T, strict=True))
    assert np.array_equal(columns["region"], np.arange(25)) and not columns["enumeration"].any()
    assert np.array_equal(columns["volume"], regions.volumes()) and np.array_equal(columns["class"], regions.classes)
    assert np.array_equal(columns["n_facets"], np.diff(regions.facet_offsets))
    assert np.array_equal(columns["witness_3"], regions.witnesses[:, 3])
    assert np.array_equal(columns["slope_5"], regions.affine_maps().A[:, 1, 1])
    assert np.array_equal(columns["constant_1"], regions.affine_maps().c[:, 1])
    assert [int(word) for word in columns["pattern_0"]] != []
    counts = np.diff(regions.facet_offsets)
    within = np.arange(counts.sum()) - np.repeat(regions.facet_offsets[:-1], counts)
    expected = [np.zeros(counts.sum()), np.repeat(np.arange(25), counts), within, regions.facet_neurons, regions.facet_states]
    expected += [regions.halfspaces().h, *regions.halfspaces().G.T]
    assert np.array_equal(facets, np.stack(expected, axis=1))
    assert np.array_equal(some["neuron"], regions.facet_neurons[regions.facet_offsets[3] : regions.facet_offsets[5]])
    assert np.array_equal(np.concatenate([f["x_2"] for f in vertices]), regions.vertices().points[:, 2])
    assert np.array_equal(np.concatenate([f["facets"] for f in vertices]), regions.vertices().facets)


def test_enumerated_regions_are_confirmed_by_the_network(path):
    """Of a real enumeration, in blocks, read back as the Regions that they were."""
    rng = np.random.default_rng(0)
    graph = Graph((1, 3), batched=True)
    x = graph.relu(graph.linear(graph.input, rng.normal(size=(9, 3)), rng.normal(size=9), name="a"), name="b")
    graph.output = graph.linear(x, rng.normal(size=(2, 9)), name="c")
    network, want = lower(graph), ("patterns", "facets", "halfspaces", "affine_maps", "volumes", "vertices")
    polytope = np.ones((1, 3)), np.ones(1)
    regions = pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), polytope=polytope, classes="max", want=want)
    assert store.save_regions(path, regions, rows=10).n_regions == regions.n_regions > 20
    with store.load_regions(path) as rows:
        assert rows.store.verify(n_samples=10**6) == []
        back = rows.read()
    assert same_arrays(back.block(), regions)
    assert np.array_equal(back.locate(regions.witnesses), np.arange(regions.n_regions))
    facts = ("lower", "upper", "free", "n_regions", "complete", "stopped_by", "method", "certified", "n_exact", "class_rule")
    assert all(np.array_equal(getattr(back, name), getattr(regions, name)) for name in facts)


@pytest.mark.parametrize("is_point", [False, True])
def test_networks_without_neurons_and_boxes_without_sides_are_stored(path, is_point):
    graph = Graph((1, 2), batched=True)
    graph.output = graph.linear(graph.input, np.eye(2), np.ones(2), name="a")
    network, want = lower(graph), ("patterns", "facets", "halfspaces", "affine_maps", "volumes", "vertices")
    regions = pwlnet.enumerate_regions(network, np.zeros(2), np.zeros(2) if is_point else np.ones(2), want=want)
    store.save_regions(path, regions)
    with store.load_regions(path) as rows:
        assert (len(rows), rows.store.verify(n_samples=5)) == (1, [])
        assert same_arrays(rows, regions) and same_arrays(rows.read().block(), regions)
        assert len(rows.to_dataframe("facets")) == (0 if is_point else 4)
        assert "volume" in rows.to_dataframe(wide=True, patterns=True)


def test_tables_without_rows_are_empty(path, network):
    store.save_regions(path, make_regions(network, 4, columns=("patterns",)))
    with store.open(path) as opened:
        assert opened.to_dataframe("facets").shape == (0, 5)
        assert list(opened.to_dataframe().columns) == ["enumeration", "region", "n_facets", "n_vertices"]
        assert opened.to_dataframe("regions", 2, 2).shape == (0, 4)
    store.save_regions(path, make_regions(network, 0), overwrite=True)
    with store.open(path) as opened:
        assert opened.default_table() == "enumerations" and len(opened.to_dataframe()) == 1
        with pytest.raises(StoreError, match="has no regions: none were found, or they were only counted; read 'enumerations'"):
            opened.to_dataframe("regions")


def test_a_reader_follows_the_writer(path, network):
    regions = make_regions(network, 40)
    with store.create(path, network) as writer:
        with store.open(path) as opened, pytest.raises(InputError, match="has 0 enumerations of regions"):
            opened.regions()
        sizes = []
        with store.open(path) as opened:
            for block in in_blocks(regions, 10):
                yielded = iter([block])
                first = writer.unfinished_regions or 0
                store.append_regions(writer, header_of(regions), yielded, first_row=first)
                opened.refresh()
                sizes.append(len(opened.regions()))
        assert sizes == [10, 20, 30, 40]


def test_the_command_line_verifies_merges_repairs_and_exports(path, network, capsys):
    store.save_regions(path, make_regions(network, 9), rows=4)
    out, table = path.with_name("out.h5"), path.with_name("facets.csv")

    def run(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert run("verify", path).items() >= {"enumerations": 1, "regions": 9, "problems": []}.items()
    assert run("merge", path, path, "--out", out).items() >= {"enumerations": 2, "regions": 18}.items()
    assert run("repair", path)["n_regions"] == 9
    n_facets = int(make_regions(network, 9).facet_offsets[-1])
    assert run("export", path, table, "--table", "facets")["rows"] == n_facets
    assert run("export", path, path.with_name("regions.nc"), "--table", "regions")["rows"] == 9
    assert run("info", path)["rows"] == {"enumerations": 1, "regions": 9, "enumeration_ends": 1}


def test_other_programs_find_regions_as_the_page_says(path, network):
    made = [make_regions(network, n, seed=n) for n in (7, 0, 9)]
    with store.create(path, network) as writer:
        for regions in made:
            store.append_regions(writer, header_of(regions), in_blocks(regions, 4))
            store.finish_regions(writer, **end_of(regions))
    with h5py.File(path) as file:
        r = file["enumeration_ends/n_rows"][:2].sum() + 5
        a, b = file["facets/offsets"][r : r + 2]
        neurons = file["facets/neuron"][a:b]
        assert {dataset.path for dataset in schema.REGIONS.datasets} <= {f"/{g}/{d}" for g in file for d in file[g]}
    of_region = slice(*made[2].facet_offsets[5:7])
    assert np.array_equal(neurons, made[2].facet_neurons[of_region])
