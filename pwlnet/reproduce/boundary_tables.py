"""The tables of ``acas-boundaries``: exact regions, what grids miss, hidden advisories, shares."""

import numpy as np

from .slices import FAMILIES
from .tables import Table

_AREA = {"acas": ("rho, theta", "x, y"), "hcas": ("x, y",), "control": ("angle, speed",)}  # coordinates, by measure


def tabulate(measured, options):
    """Tabulate all networks; a row "all" for each kind of network."""
    grids = options.parameters["grid"], options.parameters["fine_grid"]
    return [_exact(measured, grids), *(_missed(measured, n) for n in grids), _hidden(measured), _shares(measured, grids)]


def rows_of(m, **values):
    """Return the rows of a network with these values in these columns: bool[rows]."""
    chosen = np.ones(len(m.values), bool)
    for name, value in values.items():
        chosen &= m[name] == value
    return chosen


def hidden_advisories(m):
    """Return which advisories occur, but at no grid point, in each row: bool[rows, O]."""
    occurs, sampled = (_by_advisory(m, name) for name in ("occurs", "sampled"))
    return (occurs == 1.0) & (sampled == 0.0)


def largest_difference(m):
    """Return the largest difference of an advisory's exact share and its share of the grid points: float64[rows]."""
    return np.abs(_by_advisory(m, "exact") - _by_advisory(m, "sampled")).max(axis=1)


def _by_advisory(m, name):
    return np.stack([m[column] for column in m.columns if column.startswith(f"{name}_") and column[-1].isdigit()], axis=1)


def _groups(measured):
    """Yield (family, title, list of Measured) for each network, and for all of a family after its last one."""
    for family in FAMILIES:
        of_family = [m for m in measured.values() if m.dataset == family]
        yield from ((family, m.title, [m]) for m in of_family)
        if len(of_family) > 1:
            yield family, f"all {len(of_family)}", of_family


def _pool(networks, function, **values):
    """Concatenate what a function returns for the rows with these values."""
    return np.concatenate([function(m)[rows_of(m, **values)] for m in networks])


def _exact(measured, grids):
    headings = ("network", "slices", "activation regions", "connected decision regions", "smallest, share of its slice",
                "seconds, exact", *(f"seconds, {n} x {n}" for n in grids))  # fmt: skip
    rows = []
    for _, title, networks in _groups(measured):
        polygons, regions, smallest, seconds = (
            _pool(networks, lambda m, name=name: m[name], measure=0, grid=grids[0])
            for name in ("n_polygons", "n_regions", "smallest", "exact_seconds")
        )
        sampling = [np.median(_pool(networks, lambda m: m["grid_seconds"], measure=0, grid=n)) for n in grids]
        counts = len(polygons), int(polygons.sum()), int(regions.sum())
        rows.append((title, *counts, smallest.min(), np.median(seconds), *sampling))
    notes = (
        "Activation regions and connected decision regions of all slices. Shares of the area in the coordinates of the slice.",
        "Seconds per slice, medians: partition and decision regions; forward passes at the points of the grids.",
    )
    return Table("Exact decision regions", headings, rows, notes)


def _missed(measured, grid):
    headings = ("network", "area in", "regions", "missed", "their area, %", "largest missed, %", "shares off by, %",
                "slices with a hidden advisory")  # fmt: skip
    rows = []
    for family, title, networks in _groups(measured):
        for k, coordinates in enumerate(_AREA[family]):
            regions, missed, area, largest = (
                _pool(networks, lambda m, name=name: m[name], measure=k, grid=grid)
                for name in ("n_regions", "n_missed", "missed", "largest_missed")
            )
            off = _pool(networks, largest_difference, measure=k, grid=grid)
            hidden = _pool(networks, lambda m: hidden_advisories(m).any(axis=1), measure=k, grid=grid)
            percent = (100.0 * each.max() for each in (area, largest, off))
            rows.append((title, coordinates, int(regions.sum()), int(missed.sum()), *percent, int(hidden.sum())))
    notes = (
        "A region is missed if it contains no grid point. Areas are shares of the slice, in the slice where they are largest. "
        "Off by: the largest difference between an advisory's share of the area and of the grid points, in percentage points. "
        "Hidden: it occurs, but at no grid point.",
    )
    return Table(f"What a grid of {grid} x {grid} points misses", headings, rows, notes)


def _hidden(measured):
    rows = []
    for m in measured.values():
        family = FAMILIES[m.dataset]
        hidden, exact = hidden_advisories(m), _by_advisory(m, "exact")
        for row, advisory in zip(*np.nonzero(hidden)):
            title, coordinates = family.slices[int(m["image"][row])][0], _AREA[m.dataset][int(m["measure"][row])]
            rows.append(
                (m.title, title, coordinates, int(m["grid"][row]), family.advisories[advisory], 100.0 * exact[row, advisory])
            )
    headings = ("network", "slice", "area in", "grid", "advisory", "exact share, %")
    return Table(
        "Advisories that occur, but at no grid point", headings, rows, ("An exact share of 0: on edges or single points.",)
    )


def _shares(measured, grids):
    headings = ["network", "area in", *(f"output {k}, %" for k in range(5)), *(f"off by, {n}, %" for n in grids)]
    rows = []
    for m in measured.values():
        for k, coordinates in enumerate(_AREA[m.dataset]):
            first, *_ = np.flatnonzero(rows_of(m, measure=k, image=0))
            off = [100.0 * largest_difference(m)[rows_of(m, measure=k, image=0, grid=n)][0] for n in grids]
            rows.append((m.title, coordinates, *(100.0 * _by_advisory(m, "exact")[first]), *off))
    slices = "; ".join(f"{name}: {FAMILIES[name].slices[0][0]}" for name in dict.fromkeys(m.dataset for m in measured.values()))
    names = [", ".join(FAMILIES[name].advisories) for name in ("acas", "control")]
    notes = (f"First slice only ({slices}).", f"Outputs: {names[0]}; of the pendulum, torques {names[1]} N m.")
    return Table("Exact shares of the outputs", tuple(headings), rows, notes)
