"""Tables of planes for other programs: every bit comes out, however it is cut."""

import json

import numpy as np
import pandas
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import pytest
import xarray

from pwlnet import store
from pwlnet.errors import InputError, StoreError
from pwlnet.store import polygon_rows
from pwlnet.store.export import plane_tables


@pytest.fixture
def planes(make_planes):
    return make_planes(9)


@pytest.fixture
def opened(tmp_path, planes):
    store.save_planes(tmp_path / "planes.h5", planes, parameters={"a": 1})
    with store.open(tmp_path / "planes.h5") as opened:
        yield opened


def wanted_polygons(planes):
    """The table of polygons with all columns, row by row."""
    rows = []
    for k, part in enumerate(planes.parts):
        for r in range(part.n_polygons):
            numbers = part.vertex_numbers[part.offsets[r] : part.offsets[r + 1]]
            largest = part.outputs[numbers].mean(axis=0).argmax()
            words = dict(enumerate(part.packed[r]))
            rows.append((k, r, part.areas[r], len(numbers), largest, part.shared_vertices[numbers].ravel(), *words.values()))
    names = ["plane", "polygon", "area", "n_corners", "class", "corners", *(f"pattern_{k}" for k in words)]
    return pandas.DataFrame(rows, columns=names)


@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_polygons_are_those_of_the_planes(opened, planes, monkeypatch, rows):
    monkeypatch.setattr(plane_tables, "_OUTPUTS_AT_ONCE", 20)
    monkeypatch.setattr(polygon_rows, "_GAP", 3)
    expected = wanted_polygons(planes)
    chunks = list(opened.iter_dataframes(rows=rows, patterns=True, classes=True))
    assert max(map(len, chunks)) <= rows
    pandas.testing.assert_frame_equal(pandas.concat(chunks), expected)
    some = opened.to_dataframe("polygons", 3, 5)
    inside = expected[expected["plane"].isin((3, 4))].reset_index(drop=True)
    pandas.testing.assert_frame_equal(some, inside[["plane", "polygon", "area", "n_corners", "corners"]])


@pytest.mark.parametrize("rows", [4, 30, 10**6])
def test_corners_vertices_and_planes_have_tables(opened, planes, rows):
    corners = pandas.concat(opened.iter_dataframes("corners", rows=rows))
    vertices = pandas.concat(opened.iter_dataframes("vertices", rows=rows, wide=True))
    for k, part in enumerate(planes.parts):
        own, of_plane = (table[table["plane"] == k] for table in (corners, vertices))
        assert own["vertex"].to_list() == part.vertex_numbers.tolist()
        assert own[["u", "v"]].to_numpy().tobytes() == part.vertices.tobytes()
        assert own.groupby("polygon").size().to_list() == np.diff(part.offsets).tolist()
        assert own["corner"].to_list() == [k for n in np.diff(part.offsets) for k in range(n)]
        assert of_plane[["u", "v"]].to_numpy().tobytes() == part.shared_vertices.tobytes()
        assert of_plane.filter(like="outputs_").to_numpy().tobytes() == part.outputs.tobytes()
        assert of_plane.filter(like="error_").to_numpy().tobytes() == part.error.tobytes()
    table = pandas.concat(opened.iter_dataframes("planes", rows=rows, wide=True))
    assert table["n_polygons"].to_list() == planes.n_polygons.tolist()
    assert table["residual"].to_numpy().tobytes() == planes.residual.tobytes()
    assert np.array_equal(table.filter(like="origins_"), [plane.origin for plane in planes.planes])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_files_hold_every_bit(opened, planes, tmp_path, suffix):
    expected, out = wanted_polygons(planes), tmp_path / f"out{suffix}"
    assert opened.export(out, patterns=True, classes=True, rows=50) == len(expected)
    table = pyarrow.parquet.read_table(out) if suffix == ".parquet" else pyarrow.ipc.open_file(out).read_all()
    assert table.column_names == expected.columns.to_list()
    assert str(table.schema.field("corners").type) in ("list<element: double>", "list<item: double>")
    assert table["corners"].to_pylist() == [corners.tolist() for corners in expected["corners"]]
    for name in expected.columns.drop("corners"):
        assert table[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes()
    metadata = table.schema.metadata
    assert (metadata[b"pwlnet-table"], metadata[b"pwlnet-network-digest"].decode()) == (b"polygons", opened.network_digest)


def test_csv_files_hold_numbers_only(opened, planes, tmp_path):
    assert opened.export(tmp_path / "out.csv") == planes.n_polygons.sum()
    assert pyarrow.csv.read_csv(tmp_path / "out.csv").column_names == ["plane", "polygon", "area", "n_corners"]


def test_geojson_files_hold_the_polygons(opened, planes, tmp_path):
    expected = wanted_polygons(planes)
    assert opened.export(tmp_path / "out.geojson", patterns=True, classes=True, rows=50) == len(expected)
    collection = json.loads((tmp_path / "out.geojson").read_text())
    assert collection["type"] == "FeatureCollection"
    assert (collection["pwlnet"]["table"], collection["pwlnet"]["network-digest"]) == ("polygons", opened.network_digest)
    kinds = {1: "Point", 2: "LineString"}
    for feature, (_, row) in zip(collection["features"], expected.iterrows(), strict=True):
        properties, geometry = feature["properties"], feature["geometry"]
        assert [properties[name] for name in ("plane", "polygon", "area", "n_corners", "class")] == row.iloc[:5].tolist()
        assert properties["pattern"] == "".join(f"{word:016x}" for word in row.filter(like="pattern_"))
        points, n = row["corners"].reshape(-1, 2).tolist(), row["n_corners"]
        assert geometry["type"] == kinds.get(n, "Polygon")
        assert geometry["coordinates"] == (points[0] if n == 1 else points if n == 2 else [[*points, points[0]]])
    with pytest.raises(InputError, match=r"table is 'corners', but .geojson holds polygons with their corners"):
        opened.export(tmp_path / "corners.geojson", "corners")


def test_a_netcdf_file_holds_the_arrays(opened, planes, tmp_path):
    assert opened.export(tmp_path / "out.nc", None, 2, 5) == 3
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as back:
        for name, dims in (
            ("areas", ("polygon",)),
            ("packed", ("polygon", "word")),
            ("shared_vertices", ("vertex", "coordinate")),
        ):
            assert back[name].dims == dims
            assert back[name].to_numpy().tobytes() == b"".join(getattr(part, name).tobytes() for part in planes.parts[2:5])
        assert back["plane"].to_numpy().tolist() == [2, 3, 4]


def test_what_a_table_does_not_have_is_refused(opened, tmp_path, network, make_lines):
    with pytest.raises(InputError, match="table is 'corners', which has no option patterns; omit it or give one of the tables"):
        opened.to_dataframe("corners", patterns=True)
    with pytest.raises(InputError, match=r"first is 0 and last is 10, but .* has 9 planes"):
        opened.to_dataframe("vertices", 0, 10)
    store.save_lines(tmp_path / "lines.h5", make_lines(2))
    with store.open(tmp_path / "lines.h5") as other:
        assert (other.default_table(), other.default_table(whole=True)) == ("segments", "lines")
        with pytest.raises(StoreError, match="holds no planes; append some first"):
            other.to_dataframe("polygons")
    assert len(opened.to_dataframe("polygons", 4, 4, classes=True)) == 0
