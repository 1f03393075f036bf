"""Write polygons as a GeoJSON FeatureCollection; the coordinates are those of their planes, not longitude and latitude."""

import json

import numpy as np

_FEATURES = '{{"type": "FeatureCollection", "pwlnet": {}, "features": ['


def write_geojson(path, chunks, described):
    """Write a file.

    Parameters
    ----------
    path : str or path
    chunks : iterator of dict of str to ndarray or Lists
        Of the table of polygons, with corners.
    described : dict of str
        The member "pwlnet" of the collection.

    Returns
    -------
    int
        Number of features, one for each polygon: a Polygon, counter-clockwise; a LineString or a Point if its plane's outline
        is a segment or a point. Its properties are the other columns; ``pattern`` has 16 hexadecimal digits per word.
    """
    n_rows = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write(_FEATURES.format(json.dumps(described, ensure_ascii=False)))
        for columns in chunks:
            for feature in _features(columns):
                file.write(",\n" if n_rows else "\n")
                file.write(json.dumps(feature, allow_nan=False))
                n_rows += 1
        file.write("\n]}\n")
    return n_rows


def _features(columns):
    """Yield the features of a chunk of the table: dict."""
    corners = columns.pop("corners")
    words = [columns.pop(name) for name in list(columns) if name.startswith("pattern_")]
    properties = {name: column.tolist() for name, column in columns.items()}
    if words:
        properties["pattern"] = ["".join(f"{word:016x}" for word in row) for row in np.stack(words, axis=1).tolist()]
    rows = zip(*properties.values(), strict=True)
    for ring, row in zip(corners.rows(), rows, strict=True):
        yield {
            "type": "Feature",
            "geometry": _geometry(ring.reshape(-1, 2).tolist()),
            "properties": dict(zip(properties, row, strict=True)),
        }


def _geometry(points):
    """Return the geometry of a polygon with these corners: dict."""
    if len(points) < 3:
        return {"type": "Point" if len(points) == 1 else "LineString", "coordinates": points[0] if len(points) == 1 else points}
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}
