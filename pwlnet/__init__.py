"""pwlnet: exact analysis of piecewise-linear neural networks.

``import pwlnet`` loads nothing heavy; each public name below loads its module on first use (PEP 562).
"""

import importlib

from ._version import __version__ as __version__

_HOMES = {
    "Network": "network",
    "ActivationPatterns": "patterns",
    "from_torch": "convert",
    "load_network": "loading",
    "partition_lines": "partition.lines.partitions",
    "iter_line_partitions": "partition.lines.partitions",
    "LinePartitions": "partition.lines.partitions",
    "iter_line_chunks": "partition.lines.chunks",
    "LineChunk": "partition.lines.chunk_buffer",
    "partition_planes": "partition.planes.partitions",
    "PlanePartitions": "partition.planes.partitions",
    "iter_plane_partitions": "partition.planes.partitions",
    "iter_plane_chunks": "partition.planes.chunks",
    "PlaneChunk": "partition.planes.chunks",
    "PlanePartition": "partition.planes.partitions",
    "HalfSpaces": "conditions",
    "FloatSet": "float_sets",
    "bound_preactivations": "bounds.preactivations",
    "Bounds": "bounds.preactivations",
    "enumerate_regions": "partition.regions.enumerating",
    "Regions": "partition.regions.regions",
    "region_graph": "partition.regions.graph",
    "RegionGraph": "partition.regions.graph",
    "linear_regions": "partition.regions.linear_regions",
    "LinearRegions": "partition.regions.linear_regions",
    "region_simplices": "partition.regions.measures",
    "facet_areas": "partition.regions.measures",
    "uniform_masses": "partition.regions.measures",
    "normal_masses": "partition.regions.measures",
    "random_regions": "partition.regions.sampling",
    "sample_points": "partition.regions.sampling",
    "count_faces": "partition.regions.faces",
    "euler_characteristic": "partition.regions.faces",
    "decision_complex": "partition.regions.decision_boundary",
    "DecisionComplex": "partition.regions.decision_boundary",
    "region_of": "partition.regions.region",
    "Region": "partition.regions.region",
    "stable_radii": "partition.regions.radii",
    "StableRadii": "partition.regions.radii",
    "neuron_entropy": "analysis.entropy",
    "NeuronEntropy": "analysis.entropy",
    "pattern_similarity": "analysis.similarity",
    "network_similarity": "analysis.similarity",
    "NetworkSimilarity": "analysis.similarity",
    "Segment": "domains",
    "Polygon": "domains",
    "Box": "domains",
    "Ball": "domains",
    "Gaussian": "domains",
    "find_float_neurons": "analysis.floats",
    "find_where": "analysis.queries",
    "decide": "analysis.decisions",
    "Decision": "analysis.decisions",
    "read_vnnlib": "properties.vnnlib",
    "read_acas_property": "properties.acas",
    "Found": "analysis.queries",
    "output_range": "analysis.queries",
    "OutputRange": "analysis.queries",
    "bound_region_count": "analysis.region_bounds",
    "RegionCountBounds": "analysis.region_bounds",
    "largest_region_count": "analysis.region_bounds",
    "arrangement_count": "analysis.region_bounds",
    "expected_region_count": "analysis.region_bounds",
    "summarize_regions": "analysis.region_statistics",
    "RegionStatistics": "analysis.region_statistics",
    "find_inradii": "analysis.region_statistics",
    "RegionInradii": "analysis.region_statistics",
    "count_regions_of": "analysis.region_statistics",
    "RegionCounts": "analysis.region_statistics",
    "count_sampled_regions": "analysis.region_sampling",
    "SampledRegions": "analysis.region_sampling",
    "DecisionRegions": "analysis.decision_regions",
    "summarize_lines": "partition.lines.summary",
    "LineSummary": "partition.lines.summary",
    "integrate_gradients": "analysis.attribution",
    "Attributions": "analysis.attribution",
    "compare_rules": "analysis.sampling_error",
    "RuleErrors": "analysis.sampling_error",
    "count_samples": "analysis.sampling_error",
    "SampleCounts": "analysis.sampling_error",
    "recommend_samples": "analysis.sampling_error",
    "RecommendedSamples": "analysis.sampling_error",
    "measure_linearity": "analysis.linearity",
    "LinearityMeasures": "analysis.linearity",
    "decompose_paths": "analysis.paths",
    "PathDecomposition": "analysis.paths",
    "scale_float_paths": "analysis.paths",
    "path_polynomial": "analysis.paths",
    "count_paths": "analysis.paths",
    "PathCounts": "analysis.paths",
    "classify_vulnerability": "analysis.vulnerability",
    "classify_attacks": "analysis.vulnerability",
    "Vulnerability": "analysis.vulnerability",
    "lipschitz_constant": "analysis.lipschitz",
    "LipschitzConstant": "analysis.lipschitz",
    "execution": "scheduling",
    "Execution": "scheduling",
    "Tolerances": "tolerances",
    "PwlnetError": "errors",
}
_MODULES = ("datasets", "distribute", "errors", "learn", "plot", "reproduce", "smoothing", "store", "studies", "tolerances")

__all__ = sorted([*_HOMES, *_MODULES, "__version__"])


def __getattr__(name):
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'pwlnet' has no attribute {name!r}; public names: {', '.join(__all__)}")


def __dir__():
    return __all__
