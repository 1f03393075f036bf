"""The store's format as data: every root attribute and dataset, with dtype, dimensions, meaning and first version.

A store is one HDF5 file with a network and any number of results. Rows are appended in batches; each batch has one row
in ``/commits``, written last; rows after the last commit are ignored. A file with a network only has no results.

Legend: N ops, D inputs, O outputs, S ops with neurons, W words of an activation pattern; the axes of results:
L lines, T breakpoints, F flips, B attributions, M measures, P planes, G corners of their outlines, R polygons (activation
regions), C corners of these, V vertices, E sets of inputs, U words of a mask of neurons, I certified images, A enumerations of
regions in n dimensions, H rows of their polytopes, Q regions, J facets, Z vertices of regions; ``*`` any length.
"""

from typing import NamedTuple

import numpy as np

from ..partition.regions.blocks import CLASS_MODES, COLUMNS, METHODS, STOPS

FORMAT = "pwlnet-store"
VERSION = (1, 0)  # major: older readers must refuse; minor: they may ignore what they do not know

# Level 1 is within 3 % of level 4 in size. Incompressible bytes are stored uncompressed (chunks.py).
CREATION = {"shuffle": True, "compression": "gzip", "compression_opts": 1, "fletcher32": True}
CHUNK_BYTES = 2**18


class Attribute(NamedTuple):
    """An attribute of the header; all are UTF-8 text, at the root and again at /network."""

    name: str
    meaning: str
    since: str


class Dataset(NamedTuple):
    """A dataset: its path, the result's field that it stores, little-endian dtype ("text": UTF-8), dimensions."""

    path: str
    field: str
    dtype: str
    dims: tuple
    meaning: str
    since: str

    @property
    def axis(self):
        """The axis along which batches append."""
        return self.dims[0].removesuffix("+1")

    @property
    def lead(self):
        """Number of rows before the first batch: 1 for offsets, which start with a 0, else 0."""
        return int(self.dims[0].endswith("+1"))


class Kind(NamedTuple):
    """A kind of result: the axes that its batches extend (columns of the commits), its datasets, and what offsets count.

    ``counts``: the axis that each dataset of offsets counts, by path. ``derived``: datasets that the writer computes from
    the others. ``chunk_axes``: the axes along which a single row of the first axis may be appended in chunks.
    ``state_group``: the group with the attribute RESUME_STATE, of kinds without these axes whose writers can be resumed.
    """

    axes: tuple
    datasets: tuple
    counts: dict
    derived: tuple = ()
    chunk_axes: tuple = ()
    state_group: str = ""

    @property
    def stored(self):
        """All datasets, in the order of checksums."""
        return self.datasets + self.derived

    @property
    def chunk_datasets(self):
        """The datasets of a chunk."""
        return tuple(dataset for dataset in self.datasets if dataset.axis in self.chunk_axes)

    @property
    def row_datasets(self):
        """The datasets that are known only when a row is finished: all others, without the offsets that count the chunks."""
        others = (dataset for dataset in self.datasets if dataset.axis not in self.chunk_axes)
        return tuple(dataset for dataset in others if self.counts.get(dataset.path) not in self.chunk_axes)

    @property
    def resume_group(self):
        """The group with the attribute RESUME_STATE; "" if there is none."""
        return self.chunk_datasets[0].path.rpartition("/")[0] if self.chunk_axes else self.state_group


def _listed(names, first):
    """Format numbered names: "0 pair, 1 samples"."""
    return ", ".join(f"{number} {name}" for number, name in enumerate(names, first))


ATTRIBUTES = (
    Attribute("pwlnet-format", f"always {FORMAT!r}", "1.0"),
    Attribute("pwlnet-format-version", "'major.minor'", "1.0"),
    Attribute("network-digest", "Network.digest of /network: SHA-256, hex", "1.0"),
    Attribute("provenance", "JSON object, see below: software, parameters, seeds, tolerances, environment", "1.0"),
    Attribute("compression", "how result datasets are compressed, see below", "1.0"),
    Attribute("created", "time of creation, UTC, ISO 8601", "1.0"),
)

NETWORK = (
    Dataset("/network/op", "op", "<i8", ("N",), "op codes, in topological order", "1.0"),
    Dataset("/network/operands", "operands", "<i8", ("*",), "ops that each op reads", "1.0"),
    Dataset("/network/operand_offsets", "operand_offsets", "<i8", ("N+1",), "ranges of operands, by op", "1.0"),
    Dataset("/network/shapes", "shapes", "<i8", ("N", "3"), "channels, height, width", "1.0"),
    Dataset("/network/value_offsets", "value_offsets", "<i8", ("N+1",), "ranges of values, by op", "1.0"),
    Dataset("/network/neuron_offsets", "neuron_offsets", "<i8", ("N+1",), "ranges of neurons, by op", "1.0"),
    Dataset("/network/attributes", "attributes", "<i8", ("N", "*"), "kernel, stride, padding, ...", "1.0"),
    Dataset("/network/coefficients", "coefficients", "<f8", ("N", "4"), "factors and thresholds", "1.0"),
    Dataset("/network/weights", "weights", "<f8", ("*",), "weights of all ops", "1.0"),
    Dataset("/network/weight_offsets", "weight_offsets", "<i8", ("N+1",), "ranges of weights, by op", "1.0"),
    Dataset("/network/biases", "biases", "<f8", ("*",), "biases of all ops", "1.0"),
    Dataset("/network/bias_offsets", "bias_offsets", "<i8", ("N+1",), "ranges of biases, by op", "1.0"),
    Dataset("/network/indices", "indices", "<i8", ("*",), "entries that Gather ops copy", "1.0"),
    Dataset("/network/index_offsets", "index_offsets", "<i8", ("N+1",), "ranges of indices, by op", "1.0"),
    Dataset("/network/input_index", "input_index", "<i8", ("D",), "value that each input fills", "1.0"),
    Dataset("/network/output_index", "output_index", "<i8", ("O",), "value that each output reads", "1.0"),
)

NETWORK_LABELS = (  # not part of the program, whose digest is the network's; so they have their own digest
    Dataset("/network/input_shape", "input_shape", "<i8", ("*",), "shape of one input in the source", "1.0"),
    Dataset("/network/output_shape", "output_shape", "<i8", ("*",), "shape of one output in the source", "1.0"),
    Dataset("/network/names", "names", "text", ("N",), "the source's name of each op", "1.0"),
)

# Offsets, not counts: a reader finds the rows of line i in one access, however long the store is, and other tools use
# them directly. After shuffle and gzip they take 0.1 byte per row.
LINES = Kind(
    axes=("L", "T", "F"),
    datasets=(
        Dataset("/lines/start", "starts", "<f8", ("L", "D"), "start of each line", "1.0"),
        Dataset("/lines/end", "ends", "<f8", ("L", "D"), "end of each line", "1.0"),
        Dataset("/lines/residual", "residual", "<f8", ("L",), "largest disagreement with forward passes", "1.0"),
        Dataset("/lines/ambiguous", "ambiguous", "<i8", ("L",), "decisions within rounding of a tie", "1.0"),
        Dataset("/lines/t_error", "t_error", "<f8", ("L",), "bound of the rounding error of its t: in [0, 1]", "1.0"),
        Dataset("/breakpoints/offsets", "offsets", "<i8", ("L+1",), "range of breakpoints, by line", "1.0"),
        Dataset("/breakpoints/t", "t", "<f8", ("T",), "line parameter; from 0 to 1 on each line", "1.0"),
        Dataset("/flips/offsets", "flip_offsets", "<i8", ("T+1",), "range of flips, by breakpoint", "1.0"),
        Dataset("/flips/neuron", "flip_neurons", "<i8", ("F",), "neuron that changes its state", "1.0"),
        Dataset("/flips/state", "flip_states", "<i4", ("F",), "its state after the breakpoint", "1.0"),
    ),
    derived=(
        Dataset("/lines/length", "length", "<f8", ("L",), "Euclidean length, in input units", "1.0"),
        Dataset("/lines/shortest_t", "shortest_t", "<f8", ("L",), "shortest segment, a share of the line", "1.0"),
        Dataset("/lines/longest_t", "longest_t", "<f8", ("L",), "longest segment, a share of the line", "1.0"),
        Dataset("/lines/op_flips", "op_flips", "<i8", ("L", "S"), "flips in each op that has neurons", "1.0"),
    ),
    counts={"/breakpoints/offsets": "T", "/flips/offsets": "F"},
    chunk_axes=("T", "F"),
)

# Kinds whose datasets are created with their first batch. "*": any length, the same in all batches.
ATTRIBUTIONS = Kind(
    axes=("B",),
    datasets=(
        Dataset("/attributions/baseline", "baselines", "<f8", ("B", "D"), "baseline", "1.0"),
        Dataset("/attributions/input", "inputs", "<f8", ("B", "D"), "input", "1.0"),
        Dataset("/attributions/values", "values", "<f8", ("B", "*", "D"), "attribution of each output asked for", "1.0"),
        Dataset("/attributions/residual", "residual", "<f8", ("B", "*"), "completeness: sum minus difference", "1.0"),
        Dataset("/attributions/n_segments", "n_segments", "<i8", ("B",), "segments, or samples, of each", "1.0"),
    ),
    counts={},
)

# One row of numbers per measured item; the experiment defines which numbers.
MEASURES = Kind(
    axes=("M",),
    datasets=(
        Dataset("/measures/values", "values", "<f8", ("M", "*"), "numbers; NaN: none; names: parameter `columns`", "1.0"),
    ),
    counts={},
)

# A polygon's corners are numbers of vertices, which count from the first vertex of its plane.
PLANES = Kind(
    axes=("P", "G", "R", "C", "V"),
    datasets=(
        Dataset("/planes/origin", "origins", "<f8", ("P", "D"), "point (u, v) of a plane is origin + u e1 + v e2", "1.0"),
        Dataset("/planes/e1", "e1", "<f8", ("P", "D"), "first direction", "1.0"),
        Dataset("/planes/e2", "e2", "<f8", ("P", "D"), "second direction", "1.0"),
        Dataset("/planes/residual", "residual", "<f8", ("P",), "largest relative difference from forward passes", "1.0"),
        Dataset("/outlines/offsets", "outline_offsets", "<i8", ("P+1",), "range of outline corners, by plane", "1.0"),
        Dataset("/outlines/uv", "outlines", "<f8", ("G", "2"), "corners (u, v) of the polygon that was cut", "1.0"),
        Dataset("/polygons/offsets", "polygon_offsets", "<i8", ("P+1",), "range of polygons, by plane", "1.0"),
        Dataset("/polygons/pattern", "packed", "<u8", ("R", "W"), "activation pattern, packed", "1.0"),
        Dataset("/polygons/area", "areas", "<f8", ("R",), "area, in units of (u, v)", "1.0"),
        Dataset("/corners/offsets", "offsets", "<i8", ("R+1",), "range of corners, by polygon", "1.0"),
        Dataset("/corners/vertex", "vertex_numbers", "<i4", ("C",), "vertex of the plane; counter-clockwise", "1.0"),
        Dataset("/vertices/offsets", "vertex_offsets", "<i8", ("P+1",), "range of vertices, by plane", "1.0"),
        Dataset("/vertices/uv", "shared_vertices", "<f8", ("V", "2"), "coordinates (u, v)", "1.0"),
        Dataset("/vertices/outputs", "outputs", "<f8", ("V", "O"), "outputs of the network", "1.0"),
        Dataset("/vertices/error", "error", "<f8", ("V", "O"), "bound of their errors; NaN: none", "1.0"),
    ),
    derived=(
        Dataset("/planes/area", "area", "<f8", ("P",), "sum of the areas of its polygons", "1.0"),
        Dataset("/planes/smallest_area", "smallest_area", "<f8", ("P",), "smallest of them", "1.0"),
        Dataset("/planes/largest_area", "largest_area", "<f8", ("P",), "largest of them", "1.0"),
    ),
    counts={"/outlines/offsets": "G", "/polygons/offsets": "R", "/corners/offsets": "C", "/vertices/offsets": "V"},
    chunk_axes=("R", "C", "V"),
)

# What "fixed" refers to (FloatSet.scope), methods and kinds of domains have the numbers of their places here.
FLOAT_SCOPES = ("pair", "samples", "region", "prob", "given")
FLOAT_METHODS = ("exact", "ibp", "crown_ibp", "crown", "alpha_crown", "sampled", "pair", "given", "refined")
FLOAT_DOMAINS = ("none", "segment", "polygon", "box", "ball", "gaussian", "pair")

# A mask has one bit per neuron: neuron k is bit k % 64 of word k // 64.
FLOAT_SETS = Kind(
    axes=("E",),
    datasets=(
        Dataset("/float_sets/domain", "domains", "<i8", ("E",), "0 none given, " + _listed(FLOAT_DOMAINS[1:], 1), "1.0"),
        Dataset("/float_sets/point", "points", "<f8", ("E", "D"), "start, origin, lower bounds or centre; NaN: none", "1.0"),
        Dataset("/float_sets/other_point", "other_points", "<f8", ("E", "D"), "end, or upper bounds; else as point", "1.0"),
        Dataset("/float_sets/radius", "radii", "<f8", ("E",), "radius or standard deviation; NaN: none", "1.0"),
        Dataset("/float_sets/norm", "norms", "<f8", ("E",), "norm of a ball: 1, 2 or inf; NaN: none", "1.0"),
        Dataset("/float_sets/item", "items", "<i8", ("E",), "number of the image, line or plane; -1: none", "1.0"),
        Dataset("/float_sets/method", "methods", "<i8", ("E",), _listed(FLOAT_METHODS, 0), "1.0"),
        Dataset("/float_sets/scope", "scopes", "<i8", ("E",), _listed(FLOAT_SCOPES, 0), "1.0"),
        Dataset("/float_sets/n_samples", "n_samples", "<i8", ("E",), "number of draws; 0: none", "1.0"),
        Dataset("/float_sets/lower", "lower", "<u8", ("E", "U"), "neurons that are seen or proved to float", "1.0"),
        Dataset("/float_sets/upper", "upper", "<u8", ("E", "U"), "neurons that are not proved to be fixed", "1.0"),
        Dataset("/float_sets/always_on", "always_on", "<u8", ("E", "U"), "fixed neurons with slope 1", "1.0"),
        Dataset("/float_sets/active_share", "active_shares", "<f8", ("E", "*"), "share of state 1; no columns: none", "1.0"),
        Dataset("/float_sets/minority_share", "minority_shares", "<f8", ("E", "*"), "share of rarer states; or none", "1.0"),
    ),
    derived=(
        Dataset("/float_sets/layer_lower", "layer_lower", "<i8", ("E", "S"), "neurons of lower in each op", "1.0"),
        Dataset("/float_sets/layer_upper", "layer_upper", "<i8", ("E", "S"), "neurons of upper in each op", "1.0"),
        Dataset("/float_sets/layer_always_on", "layer_always_on", "<i8", ("E", "S"), "neurons of always_on in each op", "1.0"),
    ),
    counts={},
)

# What the radius of a certificate guarantees, and how it was computed, have the numbers of their places here.
GUARANTEES = ("sound", "conditional", "nominal")
CERTIFICATE_METHODS = ("clopper_pearson", "sequential", "two_stage", "recertified", "voted", "nested", "reachable")

CERTIFICATES = Kind(
    axes=("I",),
    datasets=(
        Dataset("/certificates/input", "inputs", "<f8", ("I", "D"), "the image; NaN: not stored", "1.0"),
        Dataset("/certificates/item", "items", "<i8", ("I",), "number of the image", "1.0"),
        Dataset("/certificates/true_label", "true_labels", "<i8", ("I",), "true class; -1: not known", "1.0"),
        Dataset("/certificates/label", "labels", "<i8", ("I",), "predicted class; -1: abstained", "1.0"),
        Dataset("/certificates/candidate", "candidates", "<i8", ("I",), "class that was estimated; -1: not known", "1.0"),
        Dataset("/certificates/radius", "radii", "<f8", ("I",), "l2 radius, in input units; 0 if abstained", "1.0"),
        Dataset("/certificates/p_low", "p_low", "<f8", ("I",), "lower bound of the candidate's probability", "1.0"),
        Dataset("/certificates/k", "k", "<i8", ("I",), "votes for the candidate", "1.0"),
        Dataset("/certificates/n", "n", "<i8", ("I",), "draws of the estimate", "1.0"),
        Dataset("/certificates/n0", "n0", "<i8", ("I",), "draws of the selection of the candidate", "1.0"),
        Dataset("/certificates/alpha", "alpha", "<f8", ("I",), "probability of an error: 1 - confidence", "1.0"),
        Dataset("/certificates/sigma", "sigma", "<f8", ("I",), "standard deviation of the noise, in input units", "1.0"),
        Dataset("/certificates/guarantee", "guarantees", "<i8", ("I",), _listed(GUARANTEES, 0), "1.0"),
        Dataset("/certificates/method", "methods", "<i8", ("I",), _listed(CERTIFICATE_METHODS, 0), "1.0"),
        Dataset("/certificates/r_region", "r_region", "<f8", ("I",), "radius of the image's region; NaN: not computed", "1.0"),
        Dataset("/certificates/seed", "seeds", "<i8", ("I",), "seed of the noise", "1.0"),
        Dataset("/certificates/seconds", "seconds", "<f8", ("I",), "time of the certification; NaN: not measured", "1.0"),
    ),
    derived=(
        Dataset("/certificates/correct", "correct", "<i8", ("I",), "1 correct, 0 wrong or abstained, -1 not known", "1.0"),
    ),
    counts={},
)

# An enumeration of regions: a row of ENUMERATIONS is committed first, then batches of REGIONS, and in the end a row of
# ENUMERATION_ENDS. The regions of the enumerations follow each other. Which columns regions have is the same in all of them.
_STATE = "/enumerations"

ENUMERATIONS = Kind(
    axes=("A", "H"),
    datasets=(
        Dataset("/enumerations/lower", "lower", "<f8", ("A", "D"), "lower bounds of the box", "1.0"),
        Dataset("/enumerations/upper", "upper", "<f8", ("A", "D"), "upper bounds; equal: the input is fixed", "1.0"),
        Dataset("/enumerations/method", "methods", "<i8", ("A",), _listed(METHODS, 0), "1.0"),
        Dataset("/enumerations/columns", "columns", "<i8", ("A",), "sum of 2^k: " + _listed(COLUMNS, 0), "1.0"),
        Dataset("/enumerations/classes", "class_modes", "<i8", ("A",), "0 no classes, " + _listed(CLASS_MODES, 1), "1.0"),
        Dataset("/polytopes/offsets", "polytope_offsets", "<i8", ("A+1",), "range of half-spaces, by enumeration", "1.0"),
        Dataset("/polytopes/A", "polytope_A", "<f8", ("H", "D"), "half-spaces A x <= b of inputs", "1.0"),
        Dataset("/polytopes/b", "polytope_b", "<f8", ("H",), "their right-hand sides", "1.0"),
    ),
    counts={"/polytopes/offsets": "H"},
    state_group=_STATE,
)

REGIONS = Kind(
    axes=("Q", "J", "Z"),
    datasets=(
        Dataset("/regions/pattern", "packed", "<u8", ("Q", "*"), "activation pattern, packed, W words; or none", "1.0"),
        Dataset("/regions/witness", "witnesses", "<f8", ("Q", "*"), "a point inside, D numbers; or none", "1.0"),
        Dataset("/regions/class", "classes", "<i4", ("Q", "*"), "largest or smallest output; or none", "1.0"),
        Dataset("/regions/volume", "volumes", "<f8", ("Q", "*"), "volume of the free inputs; or none", "1.0"),
        Dataset("/regions/slope", "affine_maps_A", "<f8", ("Q", "*", "*"), "outputs by free inputs; or none", "1.0"),
        Dataset("/regions/constant", "affine_maps_c", "<f8", ("Q", "*"), "constant of each output; or none", "1.0"),
        Dataset("/facets/offsets", "facet_offsets", "<i8", ("Q+1",), "range of facets, by region", "1.0"),
        Dataset("/facets/neuron", "facet_neurons", "<i4", ("J",), "neuron that changes its state, see below", "1.0"),
        Dataset("/facets/state", "facet_states", "<i4", ("J",), "its state on the other side", "1.0"),
        Dataset("/facets/G", "facet_G", "<f8", ("J", "*"), "half-space G x <= h of the free inputs; or none", "1.0"),
        Dataset("/facets/h", "facet_h", "<f8", ("J", "*"), "its right-hand side; or none", "1.0"),
        Dataset("/region_vertices/offsets", "vertex_offsets", "<i8", ("Q+1",), "range of vertices, by region", "1.0"),
        Dataset("/region_vertices/point", "vertices", "<f8", ("Z", "*"), "coordinates, of the free inputs", "1.0"),
        Dataset("/region_vertices/facets", "vertex_facets", "<u8", ("Z",), "bit j: on the region's j-th facet", "1.0"),
    ),
    counts={"/facets/offsets": "J", "/region_vertices/offsets": "Z"},
    state_group=_STATE,
)

ENUMERATION_ENDS = Kind(
    axes=("A",),
    datasets=(
        Dataset("/enumeration_ends/n_regions", "n_regions", "<i8", ("A",), "regions that were found", "1.0"),
        Dataset("/enumeration_ends/n_rows", "n_rows", "<i8", ("A",), "rows of /regions; 0: counted only", "1.0"),
        Dataset("/enumeration_ends/complete", "complete", "<i8", ("A",), "1: these are all regions, else 0", "1.0"),
        Dataset("/enumeration_ends/stopped_by", "stopped_by", "<i8", ("A",), "0 nothing, " + _listed(STOPS, 1), "1.0"),
        Dataset("/enumeration_ends/certified", "certified", "<i8", ("A",), "1: all decisions are proved, else 0", "1.0"),
        Dataset("/enumeration_ends/n_exact", "n_exact", "<i8", ("A",), "decisions in exact arithmetic", "1.0"),
    ),
    counts={},
    state_group=_STATE,
)

KINDS = {
    "lines": LINES,
    "attributions": ATTRIBUTIONS,
    "measures": MEASURES,
    "planes": PLANES,
    "float_sets": FLOAT_SETS,
    "certificates": CERTIFICATES,
    "enumerations": ENUMERATIONS,
    "regions": REGIONS,
    "enumeration_ends": ENUMERATION_ENDS,
}

COMMITS = "/commits"
RESUME_STATE = "unfinished"  # attribute of Kind.resume_group while a line, plane or enumeration is appended in chunks
COMMITS_PER_CHUNK = 64
COMMIT_AXES = 8  # room for kinds with more axes; unused entries are 0
COMMIT = np.dtype(
    [
        ("kind", "S16"),  # a key of KINDS
        ("first", "<i8", (COMMIT_AXES,)),  # rows from, along the kind's axes
        ("last", "<i8", (COMMIT_AXES,)),  # rows to, not included
        ("sha256", "S64"),  # of the batch's rows, hex: digest.digest_arrays over the kind's datasets
        ("time", "S20"),  # UTC, ISO 8601
    ]
)


def rows_at_end(commits):
    """Return the rows of each kind after the last of its commits: dict of int64[COMMIT_AXES] by kind."""
    ends = {name: np.zeros(COMMIT_AXES, np.int64) for name in KINDS}
    for name in KINDS:
        of_kind = np.flatnonzero(commits["kind"] == name.encode())
        if of_kind.size:
            ends[name] = commits["last"][of_kind[-1]].astype(np.int64)
    return ends


def chunk_rows(row_bytes):
    """Return the number of rows per chunk of HDF5 for a size of rows."""
    return max(1, CHUNK_BYTES // max(1, row_bytes))
