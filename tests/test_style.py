"""House rules that a reader should not have to check by eye."""

import ast

import pwlnet
from tests.sources import PATHS, nodes, text, tree

KINDS = ("Exact up to rounding", "Sound bound", "Estimate")
MODULE_LINES = 400
FUNCTION_LINES = 50  # without the docstring
LONG_TABLES = set()  # functions that are one long table: "file.py:function"
DEFINITIONS = ast.FunctionDef | ast.ClassDef


def offences(kind, is_offence, *, skip=()):
    """Places ``file:line`` of nodes of a kind that break a rule, outside the modules or packages of ``skip``."""
    return [f"{path}:{node.lineno}" for path, node in nodes(kind) if path.parts[0] not in skip and is_offence(node)]


def public_definitions(path):
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in tree(path).body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            yield node
            body = node.body if isinstance(node, ast.ClassDef) else []
            yield from (item for item in body if isinstance(item, DEFINITIONS) and not item.name.startswith("_"))


def exported_definitions(path):
    """Functions that ``pwlnet/__init__`` exports from this module, and the public methods of classes it exports."""
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    names = {name for name, home in pwlnet._HOMES.items() if home == module}
    for node in tree(path).body:
        if isinstance(node, DEFINITIONS) and node.name in names:
            yield node
            body = node.body if isinstance(node, ast.ClassDef) else []
            yield from (item for item in body if isinstance(item, DEFINITIONS) and not item.name.startswith("_"))


def code_lines(function):
    docstring = function.body[0] if ast.get_docstring(function) else None
    in_docstring = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - in_docstring


def test_small_numbers_are_named_in_tolerances():
    def is_small(node):
        return isinstance(node.value, float) and 0 < node.value < 0.001

    assert not offences(ast.Constant, is_small, skip=("tolerances.py",))


def test_only_the_command_line_prints():
    def prints(node):
        return ast.unparse(node.func) == "print"

    assert not offences(ast.Call, prints, skip=("cli", "cli.py", "demo", "__main__.py"))


def test_bad_input_is_never_met_by_assert():
    assert not offences(ast.Assert, lambda node: True)


def test_modules_are_short():
    lengths = {str(path): len(text(path).splitlines()) for path in PATHS}
    assert not {path: n for path, n in lengths.items() if n > MODULE_LINES}


def test_functions_are_short():
    lengths = {f"{path}:{node.name}": code_lines(node) for path, node in nodes(ast.FunctionDef)}
    assert not {name: n for name, n in lengths.items() if n > FUNCTION_LINES and name not in LONG_TABLES}


def test_public_names_have_docstrings():
    bare = [(path, node) for path in PATHS for node in public_definitions(path) if not ast.get_docstring(node)]
    assert not [f"{path}:{node.name}" for path, node in bare]


def test_every_public_computation_says_what_kind_of_result_it_gives():
    def computes(node):
        return isinstance(node, ast.FunctionDef) and {"network", "X", "x"} & {a.arg for a in node.args.args}

    exported = {node for path in PATHS for node in exported_definitions(path)}
    computing = {node.name: ast.get_docstring(node) or "" for node in exported if computes(node)}
    assert {"partition_lines", "forward", "affine_map"} <= set(computing)
    assert not [name for name, text in computing.items() if not any(kind in text for kind in KINDS)]
