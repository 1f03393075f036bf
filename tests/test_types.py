"""Type hints of the public interface, without a type checker: complete, resolvable, and in agreement with the docstrings.

What mypy makes of them is checked by ``make types``.
"""

import ast
import importlib
import inspect
import re
import typing
from functools import cached_property
from pathlib import Path

import pytest

import pwlnet
from tests.typing.make_stub import stub

PACKAGE = Path(pwlnet.__file__).parent
METHODS = {"__call__", "__contains__", "__enter__", "__exit__", "__getitem__", "__init__", "__iter__", "__len__"}


def exported():
    """Public functions and classes by name: of ``pwlnet`` and of its public modules."""
    found = {name: getattr(pwlnet, name) for name in pwlnet._HOMES}
    for name in pwlnet._MODULES:
        module = getattr(pwlnet, name)
        names = getattr(module, "__all__", [key for key in vars(module) if not key.startswith("_")])
        found |= {f"{name}.{key}": getattr(module, key) for key in names}
    return {name: value for name, value in found.items() if getattr(value, "__module__", "").startswith("pwlnet")}


def own_functions(value):
    """A function, or the public methods and properties of a class, those of its bases in pwlnet included."""
    if inspect.isfunction(value):
        yield value
    for base in value.__mro__ if inspect.isclass(value) else ():
        for name, member in vars(base).items() if base.__module__.startswith("pwlnet") else ():
            if name.startswith("_") and name not in METHODS:
                continue
            member = getattr(member, "__func__", member)
            member = member.fget if isinstance(member, property) else member
            member = member.func if isinstance(member, cached_property) else member
            if inspect.isfunction(member) and member.__module__.startswith("pwlnet") and member.__name__ != "<lambda>":
                yield member


PUBLIC = exported()
FUNCTIONS = {f"{f.__module__}.{f.__qualname__}": f for value in PUBLIC.values() for f in own_functions(value)}
CLASSES = {value.__qualname__: value for value in PUBLIC.values() if inspect.isclass(value)}


class Library(type):
    """Stands for a module or a class of a library; what it contains is one, too."""

    def __getattr__(cls, name):
        return Library(name, (), {})


def names_for_type_checkers(module):
    """The names that a module imports for type checkers only; other libraries are not imported, as that takes seconds."""
    found = {}
    for node in ast.parse((PACKAGE / module.__file__).read_text()).body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            continue
        for line in node.body:
            if isinstance(line, ast.Import):
                found |= {alias.name.split(".")[0]: Library(alias.name, (), {}) for alias in line.names}
            elif line.level:
                package = module.__package__.split(".")
                above = package[: len(package) - line.level + 1]
                home = importlib.import_module(".".join([*above, *filter(None, [line.module])]))
                for alias in line.names:
                    name = f"{home.__name__}.{alias.name}"
                    found[alias.name] = getattr(home, alias.name, None) or importlib.import_module(name)
            else:
                found |= {alias.name: Library(alias.name, (), {}) for alias in line.names}
    return found


@pytest.fixture(scope="module")
def hints():
    """Resolve the hints of a function, or of the fields of a class, those of its bases in pwlnet included."""
    names = {}

    def resolve(value):
        if inspect.isclass(value):
            bases = [base for base in reversed(value.__mro__) if base.__module__.startswith("pwlnet")]
            return {name: hint for base in bases for name, hint in of_one(base, vars(base).get("__annotations__", {})).items()}
        return of_one(value, value.__annotations__)

    def of_one(value, annotations):
        module = inspect.getmodule(value)
        if module not in names:
            names[module] = {**names_for_type_checkers(module), **vars(module)}
        return typing.get_type_hints(type("Holder", (), {"__annotations__": annotations}), names[module])

    return resolve


def test_the_stub_lists_the_public_names_and_where_they_are():
    actual = (PACKAGE / "__init__.pyi").read_text()
    assert actual == stub(), "print it again: python -m tests.typing.make_stub > pwlnet/__init__.pyi"


def test_the_names_of_the_stub_are_those_that_are_loaded():
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            home = importlib.import_module(f"pwlnet.{node.module}")
            assert all(getattr(home, alias.name) is getattr(pwlnet, alias.name) for alias in node.names)


def test_the_package_says_that_it_has_type_hints():
    assert (PACKAGE / "py.typed").is_file()


def test_public_functions_have_complete_type_hints():
    assert len(FUNCTIONS) > 450
    missing = []
    for name, function in FUNCTIONS.items():
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        missing += [f"{name}({p.name})" for p in parameters if p.annotation is p.empty]
        missing += [f"{name} -> ?"] * (signature.return_annotation is signature.empty)
    assert not missing


def test_type_hints_of_functions_can_be_resolved(hints):
    for function in FUNCTIONS.values():
        hints(function)


def test_type_hints_of_fields_and_attributes_can_be_resolved(hints):
    for value in CLASSES.values():
        hints(value)


def test_fields_of_results_say_what_is_in_the_arrays(hints):
    vague = []
    for name, value in CLASSES.items():
        for field, hint in hints(value).items():
            plain = hint in (object, list, dict, tuple, pwlnet.network.np.ndarray)
            vague += [f"{name}.{field}: {hint}"] * plain
    assert not vague


def described_parameters(function):
    """Names under "Parameters" in a docstring."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", inspect.getdoc(function) or "", re.M | re.S)
    heads = [line for line in (section[1] if section else "").splitlines() if line and not line.startswith(" ")]
    return {name.strip(" *") for head in heads for name in head.split(" : ")[0].split(",")}


def test_described_parameters_are_those_of_the_signature():
    wrong = {}
    for name, function in FUNCTIONS.items():
        unknown = described_parameters(function) - set(inspect.signature(function).parameters)
        if unknown:
            wrong[name] = unknown
    assert not wrong
