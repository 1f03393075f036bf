"""Who may import whom, read from the syntax trees of all modules, and what ``import pwlnet`` must not load."""

import ast
import functools
import graphlib
import subprocess
import sys

import pwlnet
from tests.sources import PATHS, tree

LAYERS = {
    0: ["kernels"],
    1: [
        "network",
        "conditions",
        "binomial",
        "domains",
        "draws",
        "file_locks",
        "float_sets",
        "op_contract",
        "op_graph",
        "program_check",
        "patterns",
        "point_files",
        "evaluate",
        "validation",
        "value_buffers",
        "scheduling",
        "publishing",
        "properties",
    ],
    2: ["partition", "convert", "bounds", "search"],
    3: ["analysis"],
    4: ["learn", "smoothing", "store", "datasets", "shipped"],
    5: ["cli", "reproduce", "distribute", "studies", "plot", "loading", "demo", "warmup", "__main__", "__init__"],
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names}
FOUNDATION = {"errors", "tolerances", "_optional", "_types", "_version"}  # anyone may import them; they import errors only
HEAVY = {  # the packages that may import a library
    "torch": {"convert", "learn", "smoothing", "reproduce", "demo"},
    "onnx": {"convert"},
    "h5py": {"store"},
    "hdf5plugin": {"store"},
    "pandas": {"store"},
    "pyarrow": {"store"},
    "xarray": {"store"},
    "dask": {"distribute"},
    "distributed": {"distribute", "studies"},
    "matplotlib": {"plot"},
    "anywidget": {"plot"},
    "pooch": {"datasets"},
    "vnnlib": {"properties"},
    "scipy.optimize": {"partition", "convert", "bounds", "analysis"},
    "tqdm": {"partition", "bounds", "analysis", "learn", "smoothing", "store", "distribute", "reproduce", "cli"},
}
EXCEPTIONS = {  # (importer, imported): why. Only inside functions.
    ("network", "store"): "Network.save writes the store's file format",
    ("partition", "store"): "LinePartitions.save likewise",
    ("partition", "analysis"): "PlanePartition.classes is the method that users look for",
}


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported_names(path):
    """Pairs (absolute dotted name, inside a function?), of import statements, require() and import_module().

    Without those that only type checkers read (``if TYPE_CHECKING``): a result may name a class of a higher layer.
    """
    package = ("pwlnet", *path.parts[:-1])
    waiting = [(tree(path), False)]
    while waiting:
        node, inside = waiting.pop()
        if is_for_type_checkers(node):
            continue
        inside = inside or isinstance(node, ast.FunctionDef)
        waiting += [(child, inside) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            names = [".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("require", "import_module"):
            names = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
        else:
            continue
        yield from ((name, inside) for name in names)


def component(dotted):
    """The part of pwlnet with a name: ``store`` has ``pwlnet.store.reader.f``, ``__init__`` has the public names."""
    part = [*dotted.split("."), ""][1]
    return part if part in LAYER or part in FOUNDATION else "__init__"


@functools.cache
def imports():
    """Imports of the package: (parts of the importer's path, imported name, inside a function?)."""
    parts = {path: path.with_suffix("").parts for path in PATHS}
    return [(parts[path], name, lazy) for path in PATHS for name, lazy in imported_names(path)]


def edges():
    """Who imports whom: (part of pwlnet, imported part, inside a function?)."""
    return {(parts[0], component(name), lazy) for parts, name, lazy in imports() if name.split(".")[0] == "pwlnet"}


def test_every_module_has_a_layer():
    assert {path.with_suffix("").parts[0] for path in PATHS} <= set(LAYER) | FOUNDATION


def test_imports_point_down():
    inner = {(a, b, lazy) for a, b, lazy in edges() if a != b and b not in FOUNDATION}
    upward = {(a, b) for a, b, lazy in inner if LAYER.get(a, -1) < LAYER[b] and not (lazy and (a, b) in EXCEPTIONS)}
    assert not upward


def test_the_foundation_imports_only_errors():
    assert {b for a, b, _ in edges() if a in FOUNDATION} <= {"errors", "_types"}


def test_packages_form_no_cycle():
    graph = {}
    for a, b, _ in edges():
        if a != b and (a, b) not in EXCEPTIONS:
            graph.setdefault(a, set()).add(b)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_convert_and_partition_do_not_know_each_other():
    assert not {(a, b) for a, b, _ in edges() if {a, b} == {"convert", "partition"}}


def test_analyses_do_not_import_each_other():
    analyses = {home.split(".")[1] for home in pwlnet._HOMES.values() if home.startswith("analysis.")}  # the rest serves them
    pairs = {(parts[1], name.split(".")[2]) for parts, name, _ in imports() if parts[0] == "analysis" and len(parts) > 1
             and name.startswith("pwlnet.analysis.")}  # fmt: skip
    assert len(analyses) >= 3
    assert not {(a, b) for a, b in pairs if b in analyses and a != b}


def test_heavy_libraries_stay_in_their_packages():
    found = {(parts[0], heavy) for parts, name, _ in imports() for heavy in HEAVY if f"{name}.".startswith(f"{heavy}.")}
    assert not {(part, heavy) for part, heavy in found if part not in HEAVY[heavy]}


def test_import_pwlnet_loads_no_heavy_library():
    heavy = ["torch", "h5py", "pandas", "pyarrow", "xarray", "dask", "onnx", "scipy.optimize", "matplotlib"]
    code = f"import sys, pwlnet; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
