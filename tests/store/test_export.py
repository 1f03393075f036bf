"""Tables for other programs: every bit of the store comes out, however it is cut."""

import json
import sys

import numpy as np
import pandas
import pyarrow
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import pytest
import xarray

import pwlnet
from pwlnet import cli, store
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError, StoreError
from pwlnet.store import schema

PROVENANCE = {"data": "Prüfziffern 数字", "rows": [1, 2]}
SEGMENTS = ["line", "segment", "t_start", "t_end", "n_flips"]


@pytest.fixture
def lines(make_lines):
    return make_lines(23)


@pytest.fixture
def path(tmp_path, lines):
    path = tmp_path / "lines.h5"
    store.save_lines(path, lines, parameters=PROVENANCE)
    return path


@pytest.fixture
def opened(path):
    with store.open(path) as opened:
        yield opened


@pytest.fixture
def empty(tmp_path, network):
    with store.create(tmp_path / "empty.h5", network):
        pass
    with store.open(tmp_path / "empty.h5") as opened:
        yield opened


def wanted_segments(lines):
    """The table of segments, line by line."""
    rows = []
    for number, part in enumerate(lines.parts):
        flips = [len(neurons) for neurons, _ in part.flips]
        rows += [(number, k, part.t[k], part.t[k + 1], flips[k]) for k in range(part.n_segments)]
    return dict(zip(SEGMENTS, map(np.array, zip(*rows, strict=True)), strict=True))


def wanted_flips(lines):
    """The table of flips, line by line."""
    rows = []
    for number, part in enumerate(lines.parts):
        for k, (neurons, states) in enumerate(part.flips):
            rows += [(number, k, part.t[k], neuron, state) for neuron, state in zip(neurons, states, strict=True)]
    return dict(zip(("line", "breakpoint", "t", "neuron", "state"), map(np.array, zip(*rows, strict=True)), strict=True))


def same(columns, wanted):
    """Whether columns are those wanted, in that order, bit for bit."""
    assert list(columns) == list(wanted)
    return all(np.asarray(columns[name]).tobytes() == np.asarray(wanted[name]).tobytes() for name in wanted)


@pytest.fixture
def traced(network):
    """Lines as the partition gives them: their patterns are those of the network."""
    return pwlnet.partition_lines(network, *np.random.default_rng(0).normal(size=(2, 8, 5)))


def test_segments_are_those_of_the_lines(opened, lines):
    frame = opened.to_dataframe()
    assert same(frame, wanted_segments(lines))
    assert frame.dtypes.astype(str).to_list() == ["int64", "int64", "float64", "float64", "int64"]
    assert frame.attrs["provenance"]["parameters"] == PROVENANCE


@pytest.mark.parametrize("rows", [1, 2, 7, 40, 10**6])
@pytest.mark.parametrize("table", ["segments", "flips", "lines"])
def test_chunks_of_any_size_make_the_whole_table(opened, table, rows):
    whole = opened.to_dataframe(table)
    chunks = list(opened.iter_dataframes(table, rows=rows))
    assert max(map(len, chunks)) <= rows
    pandas.testing.assert_frame_equal(pandas.concat(chunks), whole)


def test_small_blocks_of_the_file_change_nothing(tmp_path, make_lines, monkeypatch):
    monkeypatch.setattr(schema, "CHUNK_BYTES", 100)
    lines = make_lines(9)
    store.save_lines(tmp_path / "small.h5", lines)
    with store.open(tmp_path / "small.h5") as opened:
        assert same(opened.to_dataframe(), wanted_segments(lines))
        assert same(opened.to_dataframe("flips"), wanted_flips(lines))
        wanted = {
            name: column[np.isin(wanted_segments(lines)["line"], (3, 4))] for name, column in wanted_segments(lines).items()
        }
        assert same(opened.to_dataframe("segments", 3, 5), wanted)


@pytest.mark.parametrize("rows", [1, 5, 10**6])
def test_segments_and_flips_hold_all_breakpoints_and_flips(tmp_path, traced, rows):
    store.save_lines(tmp_path / "real.h5", traced)
    with store.open(tmp_path / "real.h5") as opened:
        segments, flips = (pandas.concat(opened.iter_dataframes(table, rows=rows)) for table in ("segments", "flips"))
    assert same(flips, wanted_flips(traced))
    assert np.array_equal(flips["neuron"], traced.flip_neurons)
    assert np.array_equal(flips["state"], traced.flip_states)
    for line, own in segments.groupby("line"):
        assert np.array_equal(np.append(own["t_start"], 1.0), traced.parts[line].t)
    assert segments["n_flips"].sum() == len(traced.flip_neurons)


@pytest.mark.parametrize("rows", [1, 13, 300, 10**6])
def test_patterns_are_rebuilt_from_the_flips(tmp_path, network, traced, rows):
    store.save_lines(tmp_path / "real.h5", traced)
    with store.open(tmp_path / "real.h5") as opened:
        frame = pandas.concat(opened.iter_dataframes(patterns=True, rows=rows))
        chosen = np.random.default_rng(1).permutation(frame[["line", "segment"]].to_numpy())[:50]
        few = pandas.concat(opened.iter_dataframes(chosen=chosen, patterns=True, rows=rows), ignore_index=True)
    packed = np.concatenate([part.patterns().packed for part in traced.parts])
    assert np.array_equal(frame.filter(like="pattern_").to_numpy(), packed)
    assert np.array_equal(packed, network.patterns(np.concatenate([part.midpoints() for part in traced.parts])).packed)
    pandas.testing.assert_frame_equal(few, few[["line", "segment"]].merge(frame))
    assert np.array_equal(few[["line", "segment"]], np.unique(chosen, axis=0))


def test_patterns_of_neurons_with_several_states_are_rebuilt_too(tmp_path):
    rng = np.random.default_rng(3)
    graph = Graph((1, 2, 6, 6), batched=True)
    x = graph.conv(graph.input, rng.normal(size=(5, 2, 3, 3)), rng.normal(size=5), padding=(1, 1, 1, 1), name="conv")
    x = graph.max_pool(graph.clip(x, -1.0, 2.0, name="clip"), (3, 3), name="pool")
    graph.output = graph.relu(graph.scale_shift(x, 1.0, -1.5, name="shift"), name="relu")
    network = lower(graph)
    assert set(network.pattern_layout.widths) >= {1, 2, 4}
    lines = pwlnet.partition_lines(network, *rng.normal(size=(2, 5, 72)))
    store.save_lines(tmp_path / "states.h5", lines)
    with store.open(tmp_path / "states.h5") as opened:
        frame = pandas.concat(opened.iter_dataframes(patterns=True, rows=33))
    packed = np.concatenate([part.patterns().packed for part in lines.parts])
    assert np.array_equal(frame.filter(like="pattern_").to_numpy(), packed)


def test_chosen_segments_come_sorted_and_once(opened, lines):
    long = int(np.argmax(lines.n_segments))
    frame = opened.to_dataframe(chosen=[(22, 0), (long, 2), (long, 0), (long, 2)])
    assert frame[["line", "segment"]].to_numpy().tolist() == sorted([[long, 0], [long, 2], [22, 0]])
    assert set(frame["t_end"]) == {*lines.parts[long].t[[1, 3]], lines.parts[22].t[1]}
    assert len(opened.to_dataframe(chosen=[])) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "edges"}, "table is 'edges', which does not exist; give one of segments, flips, lines, attributions"),
        ({"last": 24}, "first is 0 and last is 24, but .* has 23 lines; give 0 <= first <= last <= 23"),
        ({"rows": 0}, "rows is 0; a positive integer is needed"),
        (
            {"table": "flips", "patterns": True},
            "table is 'flips', which has no option patterns; omit it or give one of the tables segments, regions, polygons",
        ),
        (
            {"wide": True},
            "table is 'segments', which has no option wide; omit it or give one of the tables lines, .*, vertices",
        ),
        ({"chosen": [(23, 0)]}, "chosen has line 23, but .* has 23 lines; count from 0"),
        ({"chosen": [(0, -1)]}, "chosen has segment -1 of line 0, which has [0-9]+ segments; count from 0"),
        ({"chosen": [(0, 0), (1, 99)]}, "chosen has segment 99 of line 1, which has [0-9]+ segments; count from 0"),
        ({"chosen": [1.5, 2]}, r"chosen is an array of float64 with shape \(2,\); give integers as rows"),
    ],
)
def test_wrong_choices_are_refused(opened, options, message):
    with pytest.raises(InputError, match=message):
        opened.iter_dataframes(**options)


def test_lines_have_their_numbers_and_if_asked_their_arrays(opened, lines):
    frame = opened.to_dataframe("lines", 3, 11, wide=True)
    assert frame["line"].to_list() == list(range(3, 11))
    assert np.array_equal(frame["n_segments"], lines.n_segments[3:11])
    assert frame["residual"].to_numpy().tobytes() == lines.residual[3:11].tobytes()
    assert frame.filter(regex="^starts_").to_numpy().tobytes() == lines.starts[3:11].tobytes()
    assert np.array_equal(frame["op_flips_0"], opened.read("lines", 3, 11, derived=True)["op_flips"][:, 0])
    assert "starts_0" not in opened.to_dataframe("lines")


def test_other_kinds_have_tables_too(tmp_path, network):
    rows = {
        "baselines": np.zeros((2, 5)), "inputs": np.arange(10.0).reshape(2, 5), "values": np.ones((2, 3, 5)),
        "residual": np.zeros((2, 3)), "n_segments": np.array([4, 7]),
    }  # fmt: skip
    with store.create(tmp_path / "attributions.h5", network) as writer:
        writer.append("attributions", rows)
    with store.open(tmp_path / "attributions.h5") as opened:
        frame = opened.to_dataframe("attributions", wide=True)
        assert frame["n_segments"].to_list() == [4, 7]
        assert np.array_equal(frame.filter(regex="^inputs_"), rows["inputs"])
        assert frame.filter(regex="^values_").shape == (2, 15)
        labelled = opened.to_xarray("attributions")
        assert dict(labelled.sizes) == {"attribution": 2, "input": 5, "values_1": 3, "residual_1": 3}
        with pytest.raises(StoreError, match="holds no measures; append some first"):
            next(opened.iter_dataframes("measures"))


@pytest.mark.parametrize(
    ("columns", "names"), [(["image", "density"], ["image", "density"]), (["x"], ["values_0", "values_1"])]
)
def test_measures_have_a_column_each_named_by_their_experiment(tmp_path, network, columns, names):
    values = np.array([[0.0, 3.5], [1.0, np.nan]])
    with store.create(tmp_path / "measures.h5", network, parameters={"columns": columns}) as writer:
        writer.append("measures", {"values": values})
    with store.open(tmp_path / "measures.h5") as opened:
        frame = opened.to_dataframe("measures")
        assert dict(opened.to_xarray("measures").sizes) == {"measure": 2, "values_1": 2}
    assert frame.columns.to_list() == ["row", *names]
    assert np.array_equal(frame[names], values, equal_nan=True)


@pytest.mark.parametrize("table", ["segments", "flips", "lines"])
def test_an_empty_store_gives_empty_tables_of_the_same_form(empty, opened, table, tmp_path):
    filled = opened.to_dataframe(table)
    frame = empty.to_dataframe(table)
    assert len(frame) == 0
    assert frame.dtypes.equals(filled.dtypes)
    assert empty.export(tmp_path / "empty.parquet", table) == 0
    assert pandas.read_parquet(tmp_path / "empty.parquet").dtypes.equals(filled.dtypes)


def test_an_empty_store_gives_patterns_of_the_right_width(empty, network):
    frame = empty.to_dataframe(patterns=True)
    assert len(frame.filter(like="pattern_").columns) == network.pattern_layout.word_offsets[-1]
    assert empty.to_xarray().sizes["line"] == 0


def read_back(path):
    """A file that export wrote, as a pyarrow.Table."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path)
    if path.suffix == ".arrow":
        return pyarrow.ipc.open_file(path).read_all()
    return pyarrow.csv.read_csv(path)


@pytest.mark.parametrize("rows", [10, 10**6])
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
@pytest.mark.parametrize("table", ["segments", "flips", "lines"])
def test_files_hold_every_bit(opened, tmp_path, table, suffix, rows):
    frame = opened.to_dataframe(table)
    out = tmp_path / f"out{suffix}"
    assert opened.export(out, table, rows=rows) == len(frame)
    back = read_back(out)
    assert same({name: back[name].to_numpy().astype(frame[name].dtype) for name in back.column_names}, frame)
    if suffix != ".csv":
        metadata = {name.decode(): text.decode() for name, text in back.schema.metadata.items()}
        assert metadata["pwlnet-network-digest"] == opened.network_digest
        assert json.loads(metadata["pwlnet-provenance"]) == opened.provenance
        assert (metadata["pwlnet-table"], metadata["pwlnet-format-version"]) == (table, "1.0")
    if suffix == ".parquet":
        file = pyarrow.parquet.ParquetFile(out)
        sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
        assert max(sizes) <= rows
        assert sum(sizes) == len(frame)


def test_a_netcdf_file_holds_the_arrays(opened, lines, tmp_path):
    assert opened.export(tmp_path / "out.nc", "lines", 2, 9) == 7
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as back:
        wanted = opened.lines(2, 9)
        for dataset in schema.LINES.datasets:
            assert back[dataset.field].to_numpy().tobytes() == getattr(wanted, dataset.field).tobytes(), dataset.field
        assert json.loads(back.attrs["provenance"])["parameters"] == PROVENANCE
        assert back["line"].to_numpy().tolist() == list(range(2, 9))
        assert back["t"].attrs["long_name"] == "line parameter; from 0 to 1 on each line"


def test_a_file_is_not_replaced_unless_asked(opened, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(StoreError, match=r"out.csv exists; give another path, or remove it first"):
        opened.export(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"
    opened.export(tmp_path / "out.csv", overwrite=True)
    assert (tmp_path / "out.csv").read_text().startswith('"line","segment"')


def test_an_export_that_fails_leaves_nothing(opened, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(opened, "read_rows", lambda *_: (_ for _ in ()).throw(OSError(28, "")))
    for suffix in ("parquet", "arrow", "csv"):
        with pytest.raises((StoreError, OSError)):
            opened.export(tmp_path / "out" / f"file.{suffix}")
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"can't be written .*; nothing was left there, make the folder first"):
        opened.export(tmp_path / "absent" / "file.parquet")


def test_an_unknown_form_is_refused(opened, tmp_path):
    with pytest.raises(InputError, match=r"out.xls, whose suffix is not a format of export; give one of .parquet, .arrow"):
        opened.export(tmp_path / "out.xls")
    with pytest.raises(InputError, match=r"table is 'segments' .* .nc holds whole kinds of results; give one of lines"):
        opened.export(tmp_path / "out.nc", "segments")


@pytest.mark.parametrize(
    ("library", "use"),
    [
        ("pandas", lambda opened, folder: opened.to_dataframe()),
        ("pandas", lambda opened, folder: opened.iter_dataframes()),
        ("pyarrow", lambda opened, folder: opened.to_arrow()),
        ("pyarrow", lambda opened, folder: opened.export(folder / "out.parquet")),
        ("xarray", lambda opened, folder: opened.to_xarray()),
        ("h5netcdf", lambda opened, folder: opened.export(folder / "out.nc", "lines")),
    ],
)
def test_an_absent_library_is_named_with_its_extra(opened, tmp_path, monkeypatch, library, use):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"needs {library}, which can't be imported .*pip install 'pwlnet\[export\]'"):
        use(opened, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lines.h5"]


def test_the_command_line_exports(path, tmp_path, lines, capsys):
    out = tmp_path / "out.parquet"
    assert cli.main(["export", str(path), str(out), "--rows", "2:5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(out),
        "table": "segments",
        "rows": int(lines.n_segments[2:5].sum()),
    }
    assert pandas.read_parquet(out)["line"].unique().tolist() == [2, 3, 4]
    assert cli.main(["export", str(path), str(tmp_path / "out.nc")]) == 0
    assert cli.main(["export", str(path), str(tmp_path / "lines.csv"), "--table", "lines", "--wide"]) == 0
    assert cli.main(["export", str(path), str(out)]) == 2
    assert f"{out} exists; give another path, or remove it first" in capsys.readouterr().err
