"""The table of chains agrees with the source, a network with an op that a chain lacks is refused, and the how-to is current."""

import ast
import re

import numpy as np
import pytest

from pwlnet import op_contract
from pwlnet.errors import InputError
from pwlnet.kernels.ir import program as ir
from pwlnet.network import Network
from pwlnet.op_contract import CHAINS, chains_without, format_how_to, ops_of_family
from pwlnet.warmup import toy_network
from tests.sources import PACKAGE, PATHS, nodes, tree

NAMES = ("AFFINE", "CONV2D", "AVG_POOL", "SCALE", "ADD", "CONCAT", "GATHER", "RELU", "LEAKY_RELU", "CLIP", "MAX_POOL")
OPS = {name: getattr(ir, name) for name in NAMES}
TABLE = "op_contract.py"
IDS = [chain.place for chain in CHAINS]
REQUIRED = [chain for chain in CHAINS if not chain.is_shortcut]


def named_codes(statement, is_program):
    """Op codes that a statement names: ``ir.RELU``, or ``RELU`` in the module that defines it."""
    codes = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ir":
            codes |= {OPS[node.attr]} if node.attr in OPS else set()
        elif is_program and isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            codes |= {OPS[node.id]} if node.id in OPS else set()
    return codes


def places_in_the_source():
    """Every function, class or assigned name at the top of a module that names op codes: place -> codes."""
    places = {}
    for path in PATHS:
        module = path.as_posix()
        for statement in tree(path).body if module != TABLE else ():
            codes = named_codes(statement, module == "kernels/ir/program.py")
            name = getattr(statement, "name", None) or ast.unparse(getattr(statement, "targets", [statement])[0])
            if codes and name != "FIRST_SWITCHING":
                places[f"{module}:{name}"] = codes
    return places


def test_every_op_is_known_by_its_name():
    assert sorted(OPS.values()) == list(range(1, len(ir.OP_NAMES)))


def test_the_table_has_a_row_for_every_function_that_distinguishes_ops_with_the_codes_that_it_names():
    assert {chain.place: set(chain.branches) for chain in CHAINS} == places_in_the_source()


def test_op_codes_are_read_from_the_module_that_defines_them():
    """Or the test above would not see them."""
    imports = [node for path, node in nodes(ast.ImportFrom) if path.name != TABLE]
    assert not {alias.name for node in imports for alias in node.names} & set(OPS)


@pytest.mark.parametrize("chain", CHAINS, ids=IDS)
def test_no_chain_declares_an_op_twice_or_an_op_of_another_family(chain):
    declared = [*chain.branches, *chain.remaining, *chain.elsewhere]
    assert len(declared) == len(set(declared))
    assert set(declared) <= set(ops_of_family(chain.family))


@pytest.mark.parametrize("code", OPS.values(), ids=OPS)
def test_every_op_is_handled_by_every_chain_of_its_family(code):
    assert chains_without(code) == []


def forgetful(chain, code):
    """The table with one chain that lacks an op."""
    fields = {name: tuple(c for c in getattr(chain, name) if c != code) for name in ("branches", "remaining", "elsewhere")}
    return tuple(chain._replace(**fields) if other is chain else other for other in CHAINS)


@pytest.mark.parametrize("chain", REQUIRED, ids=[chain.place for chain in REQUIRED])
def test_a_network_with_an_op_that_one_chain_lacks_is_refused_with_the_names_of_both(chain, monkeypatch):
    toy = toy_network()
    for code in set(toy.program.op.tolist()) & set(ops_of_family(chain.family)):
        monkeypatch.setattr(op_contract, "CHAINS", forgetful(chain, code))
        with pytest.raises(InputError) as caught:
            Network(toy.program, input_shape=toy.input_shape)
        index = toy.program.op.tolist().index(code)
        assert str(caught.value) == (
            f"op {index} of the program ({ir.OP_NAMES[code]}) is not handled by {chain.place}; every chain of ops must handle "
            "it, add it there and in pwlnet/op_contract.py"
        )


def test_a_made_up_op_is_refused_by_every_chain(monkeypatch):
    """A copy of LeakyRelu under a new code; a switching op, since its code is above the others."""
    monkeypatch.setattr(ir, "OP_NAMES", (*ir.OP_NAMES, "MadeUp"))
    toy, code = toy_network(), len(ir.OP_NAMES) - 1
    program = toy.program._replace(op=np.where(toy.program.op == ir.LEAKY_RELU, code, toy.program.op))
    asked = [chain.place for chain in REQUIRED if chain.family != op_contract.AFFINE_FAMILY]
    with pytest.raises(InputError) as caught:
        Network(program, input_shape=toy.input_shape)
    places = re.fullmatch(r"op 2 of the program \(MadeUp\) is not handled by (.+); every chain .+", str(caught.value))[1]
    assert places.split(", ") == asked
    assert chains_without(code) == [chain for chain in REQUIRED if chain.place in asked]


@pytest.mark.parametrize("chain", REQUIRED, ids=[chain.place for chain in REQUIRED])
def test_a_made_up_op_that_all_chains_but_one_declare_is_refused_by_that_one(chain, monkeypatch):
    """Affine and switching ops alike: the families are told apart by code, so the boundary moves with the new op."""
    code = len(ir.OP_NAMES)
    monkeypatch.setattr(ir, "OP_NAMES", (*ir.OP_NAMES, "MadeUp"))
    if chain.family == op_contract.AFFINE_FAMILY:
        monkeypatch.setattr(ir, "FIRST_SWITCHING", code + 1)
    rows = [other if other is chain else other._replace(remaining=(*other.remaining, code)) for other in CHAINS]
    monkeypatch.setattr(op_contract, "CHAINS", tuple(rows))
    assert chains_without(code) == [chain]
    with pytest.raises(InputError, match=rf"op 3 of the program \(MadeUp\) is not handled by {re.escape(chain.place)}; every"):
        op_contract.check_op(code, 3)


def test_contributing_has_the_current_how_to():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    section = text[text.index("## How to add an op") : text.index("## How to add an analysis")]
    assert section == format_how_to()
