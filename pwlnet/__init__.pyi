"""Public names of pwlnet, for type checkers: ``__init__.py`` loads each one on first use.

Printed by ``python -m tests.typing.make_stub``; tests/test_types.py compares it with the tables of ``__init__.py``.
"""

from . import datasets as datasets
from . import distribute as distribute
from . import errors as errors
from . import learn as learn
from . import plot as plot
from . import reproduce as reproduce
from . import smoothing as smoothing
from . import store as store
from . import studies as studies
from . import tolerances as tolerances
from ._version import __version__ as __version__
from .analysis.attribution import Attributions as Attributions
from .analysis.attribution import integrate_gradients as integrate_gradients
from .analysis.decision_regions import DecisionRegions as DecisionRegions
from .analysis.decisions import Decision as Decision
from .analysis.decisions import decide as decide
from .analysis.entropy import NeuronEntropy as NeuronEntropy
from .analysis.entropy import neuron_entropy as neuron_entropy
from .analysis.floats import find_float_neurons as find_float_neurons
from .analysis.linearity import LinearityMeasures as LinearityMeasures
from .analysis.linearity import measure_linearity as measure_linearity
from .analysis.lipschitz import LipschitzConstant as LipschitzConstant
from .analysis.lipschitz import lipschitz_constant as lipschitz_constant
from .analysis.paths import PathCounts as PathCounts
from .analysis.paths import PathDecomposition as PathDecomposition
from .analysis.paths import count_paths as count_paths
from .analysis.paths import decompose_paths as decompose_paths
from .analysis.paths import path_polynomial as path_polynomial
from .analysis.paths import scale_float_paths as scale_float_paths
from .analysis.queries import Found as Found
from .analysis.queries import OutputRange as OutputRange
from .analysis.queries import find_where as find_where
from .analysis.queries import output_range as output_range
from .analysis.region_bounds import RegionCountBounds as RegionCountBounds
from .analysis.region_bounds import arrangement_count as arrangement_count
from .analysis.region_bounds import bound_region_count as bound_region_count
from .analysis.region_bounds import expected_region_count as expected_region_count
from .analysis.region_bounds import largest_region_count as largest_region_count
from .analysis.region_sampling import SampledRegions as SampledRegions
from .analysis.region_sampling import count_sampled_regions as count_sampled_regions
from .analysis.region_statistics import RegionCounts as RegionCounts
from .analysis.region_statistics import RegionInradii as RegionInradii
from .analysis.region_statistics import RegionStatistics as RegionStatistics
from .analysis.region_statistics import count_regions_of as count_regions_of
from .analysis.region_statistics import find_inradii as find_inradii
from .analysis.region_statistics import summarize_regions as summarize_regions
from .analysis.sampling_error import RecommendedSamples as RecommendedSamples
from .analysis.sampling_error import RuleErrors as RuleErrors
from .analysis.sampling_error import SampleCounts as SampleCounts
from .analysis.sampling_error import compare_rules as compare_rules
from .analysis.sampling_error import count_samples as count_samples
from .analysis.sampling_error import recommend_samples as recommend_samples
from .analysis.similarity import NetworkSimilarity as NetworkSimilarity
from .analysis.similarity import network_similarity as network_similarity
from .analysis.similarity import pattern_similarity as pattern_similarity
from .analysis.vulnerability import Vulnerability as Vulnerability
from .analysis.vulnerability import classify_attacks as classify_attacks
from .analysis.vulnerability import classify_vulnerability as classify_vulnerability
from .bounds.preactivations import Bounds as Bounds
from .bounds.preactivations import bound_preactivations as bound_preactivations
from .conditions import HalfSpaces as HalfSpaces
from .convert import from_torch as from_torch
from .domains import Ball as Ball
from .domains import Box as Box
from .domains import Gaussian as Gaussian
from .domains import Polygon as Polygon
from .domains import Segment as Segment
from .errors import PwlnetError as PwlnetError
from .float_sets import FloatSet as FloatSet
from .loading import load_network as load_network
from .network import Network as Network
from .partition.lines.chunk_buffer import LineChunk as LineChunk
from .partition.lines.chunks import iter_line_chunks as iter_line_chunks
from .partition.lines.partitions import LinePartitions as LinePartitions
from .partition.lines.partitions import iter_line_partitions as iter_line_partitions
from .partition.lines.partitions import partition_lines as partition_lines
from .partition.lines.summary import LineSummary as LineSummary
from .partition.lines.summary import summarize_lines as summarize_lines
from .partition.planes.chunks import PlaneChunk as PlaneChunk
from .partition.planes.chunks import iter_plane_chunks as iter_plane_chunks
from .partition.planes.partitions import PlanePartition as PlanePartition
from .partition.planes.partitions import PlanePartitions as PlanePartitions
from .partition.planes.partitions import iter_plane_partitions as iter_plane_partitions
from .partition.planes.partitions import partition_planes as partition_planes
from .partition.regions.decision_boundary import DecisionComplex as DecisionComplex
from .partition.regions.decision_boundary import decision_complex as decision_complex
from .partition.regions.enumerating import enumerate_regions as enumerate_regions
from .partition.regions.faces import count_faces as count_faces
from .partition.regions.faces import euler_characteristic as euler_characteristic
from .partition.regions.graph import RegionGraph as RegionGraph
from .partition.regions.graph import region_graph as region_graph
from .partition.regions.linear_regions import LinearRegions as LinearRegions
from .partition.regions.linear_regions import linear_regions as linear_regions
from .partition.regions.measures import facet_areas as facet_areas
from .partition.regions.measures import normal_masses as normal_masses
from .partition.regions.measures import region_simplices as region_simplices
from .partition.regions.measures import uniform_masses as uniform_masses
from .partition.regions.radii import StableRadii as StableRadii
from .partition.regions.radii import stable_radii as stable_radii
from .partition.regions.region import Region as Region
from .partition.regions.region import region_of as region_of
from .partition.regions.regions import Regions as Regions
from .partition.regions.sampling import random_regions as random_regions
from .partition.regions.sampling import sample_points as sample_points
from .patterns import ActivationPatterns as ActivationPatterns
from .properties.acas import read_acas_property as read_acas_property
from .properties.vnnlib import read_vnnlib as read_vnnlib
from .scheduling import Execution as Execution
from .scheduling import execution as execution
from .tolerances import Tolerances as Tolerances

__all__ = [
    "ActivationPatterns",
    "Attributions",
    "Ball",
    "Bounds",
    "Box",
    "Decision",
    "DecisionComplex",
    "DecisionRegions",
    "Execution",
    "FloatSet",
    "Found",
    "Gaussian",
    "HalfSpaces",
    "LineChunk",
    "LinePartitions",
    "LineSummary",
    "LinearRegions",
    "LinearityMeasures",
    "LipschitzConstant",
    "Network",
    "NetworkSimilarity",
    "NeuronEntropy",
    "OutputRange",
    "PathCounts",
    "PathDecomposition",
    "PlaneChunk",
    "PlanePartition",
    "PlanePartitions",
    "Polygon",
    "PwlnetError",
    "RecommendedSamples",
    "Region",
    "RegionCountBounds",
    "RegionCounts",
    "RegionGraph",
    "RegionInradii",
    "RegionStatistics",
    "Regions",
    "RuleErrors",
    "SampleCounts",
    "SampledRegions",
    "Segment",
    "StableRadii",
    "Tolerances",
    "Vulnerability",
    "__version__",
    "arrangement_count",
    "bound_preactivations",
    "bound_region_count",
    "classify_attacks",
    "classify_vulnerability",
    "compare_rules",
    "count_faces",
    "count_paths",
    "count_regions_of",
    "count_sampled_regions",
    "count_samples",
    "datasets",
    "decide",
    "decision_complex",
    "decompose_paths",
    "distribute",
    "enumerate_regions",
    "errors",
    "euler_characteristic",
    "execution",
    "expected_region_count",
    "facet_areas",
    "find_float_neurons",
    "find_inradii",
    "find_where",
    "from_torch",
    "integrate_gradients",
    "iter_line_chunks",
    "iter_line_partitions",
    "iter_plane_chunks",
    "iter_plane_partitions",
    "largest_region_count",
    "learn",
    "linear_regions",
    "lipschitz_constant",
    "load_network",
    "measure_linearity",
    "network_similarity",
    "neuron_entropy",
    "normal_masses",
    "output_range",
    "partition_lines",
    "partition_planes",
    "path_polynomial",
    "pattern_similarity",
    "plot",
    "random_regions",
    "read_acas_property",
    "read_vnnlib",
    "recommend_samples",
    "region_graph",
    "region_of",
    "region_simplices",
    "reproduce",
    "sample_points",
    "scale_float_paths",
    "smoothing",
    "stable_radii",
    "store",
    "studies",
    "summarize_lines",
    "summarize_regions",
    "tolerances",
    "uniform_masses",
]
