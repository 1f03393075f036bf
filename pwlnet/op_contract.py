"""The code that handles each op, in one table; validation refuses a network with an op that some code does not handle.

A *chain* is a function (or a class, or a module) that distinguishes op codes. Each chain has a row here that lists the op
codes it handles; a program with an op that a chain of its family does not list is refused when its `Network` is created, so an
op that is missing somewhere is an error, and is not treated as the identity. ``tests/test_op_contract.py`` compares the
rows with the source: the codes that a chain names, and that every function that names codes has a row.

`format_how_to` returns the section "How to add an op" of CONTRIBUTING.md: ``python -m pwlnet.op_contract``.
"""

import sys
from typing import NamedTuple

from .errors import InputError
from .kernels.ir import program as ir
from .kernels.ir.program import (
    ADD,
    AFFINE,
    AVG_POOL,
    CLIP,
    CONCAT,
    CONV2D,
    GATHER,
    LEAKY_RELU,
    MAX_POOL,
    RELU,
    SCALE,
)

AFFINE_FAMILY, SWITCHING_FAMILY, ALL_OPS = "affine", "switching", "all"
_SIMPLE = (AVG_POOL, SCALE, ADD, CONCAT, GATHER)  # affine ops without a weight matrix
_ELEMENTWISE = (RELU, LEAKY_RELU, CLIP)


class Chain(NamedTuple):
    """Code that distinguishes op codes.

    Attributes
    ----------
    question : str
        What it computes for each op.
    place : str
        Module and function, relative to the package.
    family : str
        The ops that it must handle: "affine", "switching" or "all".
    branches : tuple of int
        Op codes that it names.
    remaining : tuple of int
        Op codes that its last branch handles, without naming them.
    elsewhere : tuple of int
        Op codes of the family that never reach it, because its callers handle them.
    is_shortcut : bool
        Whether it is a special case for the ops it names, with general code for all others.
    """

    question: str
    place: str
    family: str
    branches: tuple
    remaining: tuple = ()
    elsewhere: tuple = ()
    is_shortcut: bool = False

    @property
    def handled(self):
        """Op codes that the chain declares."""
        return {*self.branches, *self.remaining, *self.elsewhere}


_ROWS = {
    "conversion and validation": [
        Chain("lower a layer of the source to the op", "convert/lower.py:_Lowering", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
        Chain("validate operands, shapes, sizes and coefficients", "program_check.py:_RULES", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
        Chain("choose the role in the line kernels", "kernels/ir/program.py:_plan", ALL_OPS,
              (MAX_POOL,), (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE)),
        Chain("fold a Scale into the op before it", "convert/assemble.py:fold_scales", AFFINE_FAMILY,
              (AFFINE, CONV2D, SCALE), is_shortcut=True),
        Chain("fold a Scale into the op before it", "convert/assemble.py:_fuse_scale", AFFINE_FAMILY,
              (AFFINE, CONV2D), is_shortcut=True),
    ],
    "values and Jacobians": [
        Chain("apply the linear part, y = W x, or with squared coefficients", "kernels/ir/affine.py:apply_linear",
              AFFINE_FAMILY, (AFFINE, CONV2D), _SIMPLE),
        Chain("apply the linear part of ops without a weight matrix", "kernels/ir/affine.py:apply_weightless", AFFINE_FAMILY,
              _SIMPLE, elsewhere=(AFFINE, CONV2D)),
        Chain("add the constant part, y += b", "kernels/ir/affine.py:add_constant", AFFINE_FAMILY,
              (AFFINE, CONV2D, SCALE, GATHER), (AVG_POOL, ADD, CONCAT)),
        Chain("add the adjoint, x += W^T y", "kernels/ir/affine.py:add_adjoint", AFFINE_FAMILY, (AFFINE, CONV2D, *_SIMPLE)),
        Chain("give slope and intercept in a state", "kernels/ir/switching.py:piece", SWITCHING_FAMILY,
              _ELEMENTWISE, elsewhere=(MAX_POOL,)),
        Chain("give the state at a pre-activation", "kernels/ir/switching.py:state_of", SWITCHING_FAMILY,
              _ELEMENTWISE, elsewhere=(MAX_POOL,)),
        Chain("give the number of states", "kernels/ir/switching.py:n_states", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("evaluate values and states", "kernels/ir/switching.py:apply_switching", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("evaluate values under given states", "kernels/ir/switching.py:select", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("add the adjoint under given states", "kernels/ir/switching.py:add_select_adjoint", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("define the pre-activation", "kernels/ir/switching.py:preactivations_of", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("compute values at a point with integers", "partition/exact_values.py:Evaluation", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
    ],
    "lines": [
        Chain("propagate values, slopes and rounding errors at the start", "kernels/lines/rounding.py:push_start",
              AFFINE_FAMILY, (AFFINE,), is_shortcut=True),
        Chain("add the rounding errors of constants", "kernels/lines/rounding.py:add_bias_errors",
              AFFINE_FAMILY, (GATHER,), is_shortcut=True),
        Chain("compute a neuron of the first layer in twice the precision", "kernels/lines/closeness.py:_entry_at",
              AFFINE_FAMILY, (AFFINE,), is_shortcut=True),
        Chain("recognise a first layer", "kernels/lines/closeness.py:_reads_input",
              AFFINE_FAMILY, (AFFINE, CONV2D), is_shortcut=True),
        Chain("compute rounding errors at the start", "kernels/lines/closeness.py:_switch_errors", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("compare how two entries are computed", "kernels/lines/closeness.py:_same_entries",
              AFFINE_FAMILY, (AFFINE,), is_shortcut=True),
        Chain("recognise equal signals", "kernels/lines/closeness.py:same_signal", ALL_OPS,
              (AFFINE, CONV2D, GATHER, SCALE, MAX_POOL), (*_ELEMENTWISE, AVG_POOL, ADD, CONCAT)),
        Chain("recognise pools of switching ops", "kernels/lines/pool_scan.py:_unsure_from",
              AFFINE_FAMILY, (GATHER,), is_shortcut=True),
        Chain("tell whether a value is near a threshold", "kernels/lines/channel.py:is_near", SWITCHING_FAMILY,
              (CLIP,), (RELU, LEAKY_RELU), elsewhere=(MAX_POOL,)),
        Chain("find the factors of values", "partition/lines/scaling.py:_factors", AFFINE_FAMILY, (ADD,), is_shortcut=True),
        Chain("count the terms of a sum", "partition/lines/scaling.py:_n_terms", AFFINE_FAMILY,
              (AFFINE, CONV2D, ADD), is_shortcut=True),
        Chain("bound the sizes of channels, and choose exponents", "partition/lines/scaling.py:_Sizes", ALL_OPS,
              (AFFINE, CONV2D, SCALE, ADD, CONCAT, GATHER, CLIP, LEAKY_RELU), (AVG_POOL, RELU, MAX_POOL)),
        Chain("keep the exponents of their operands", "partition/lines/scaling.py:_INHERITING", ALL_OPS,
              (RELU, LEAKY_RELU, CLIP, MAX_POOL, AVG_POOL, GATHER, CONCAT), elsewhere=(AFFINE, CONV2D, SCALE, ADD)),
        Chain("rescale thresholds and coefficients", "partition/lines/scaling.py:rescale", ALL_OPS,
              (CLIP, ADD), (AFFINE, CONV2D, AVG_POOL, SCALE, CONCAT, GATHER, RELU, LEAKY_RELU, MAX_POOL)),
        Chain("rescale weights", "partition/lines/scaling.py:_scaled_weights", ALL_OPS,
              (LEAKY_RELU, ADD, SCALE), (AFFINE, CONV2D), (AVG_POOL, CONCAT, GATHER, RELU, CLIP, MAX_POOL)),
        Chain("count the taps of a position", "kernels/lines/slope_changes.py:n_taps", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
        Chain("find the input position of a tap", "kernels/lines/slope_changes.py:tap_source", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
        Chain("sum the slope changes of a position", "kernels/lines/slope_changes.py:accumulate", ALL_OPS,
              (AFFINE, CONV2D), (*_SIMPLE, *_ELEMENTWISE), (MAX_POOL,)),
        Chain("add the slope changes of a tap without a weight matrix", "kernels/lines/slope_changes.py:_add_simple", ALL_OPS,
              (*_SIMPLE, *_ELEMENTWISE), elsewhere=(AFFINE, CONV2D, MAX_POOL)),
        Chain("give the interval of pre-activations of a state", "kernels/lines/channel.py:piece_range", SWITCHING_FAMILY,
              _ELEMENTWISE, elsewhere=(MAX_POOL,)),
        Chain("decide the state at a threshold", "kernels/lines/channel.py:resolve_contact", SWITCHING_FAMILY,
              _ELEMENTWISE, elsewhere=(MAX_POOL,)),
        Chain("scan wide positions", "kernels/lines/wide.py:is_wide", AFFINE_FAMILY, (AFFINE, CONV2D), is_shortcut=True),
        Chain("compile the scan of wide positions", "kernels/lines/wide.py:can_be_wide", AFFINE_FAMILY, (AFFINE, CONV2D),
              is_shortcut=True),
        Chain("size the buffers of wide positions", "kernels/lines/workspace.py:make_work", AFFINE_FAMILY,
              (AFFINE, CONV2D), is_shortcut=True),
        Chain("evaluate values at points of lines", "kernels/lines/check.py:_switch", SWITCHING_FAMILY,
              (RELU,), is_shortcut=True),
        Chain("measure the size of the pre-activations", "kernels/lines/check.py:_check_tile", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("measure the distance from the nearest threshold", "partition/lines/check.py:_distances", SWITCHING_FAMILY,
              (CLIP, MAX_POOL), (RELU, LEAKY_RELU)),
    ],
    "planes": [
        Chain("plan the functions that cut the mesh, and the loading of rows", "partition/planes/stages.py:_make_stage",
              SWITCHING_FAMILY, (*_ELEMENTWISE, MAX_POOL)),
        Chain("carry rows by one product", "partition/planes/stages.py:_Row", AFFINE_FAMILY, (AFFINE,), is_shortcut=True),
        Chain("pack the states of a stage that are its signs", "partition/planes/assembly.py:_pack_states", SWITCHING_FAMILY,
              (RELU, LEAKY_RELU), elsewhere=(CLIP, MAX_POOL)),
        Chain("find the states of other stages", "partition/planes/assembly.py:_states", SWITCHING_FAMILY,
              (MAX_POOL,), (CLIP,), (RELU, LEAKY_RELU)),
        Chain("give the denominators of values with integer weights", "partition/planes/integers.py:ExactOps", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
        Chain("compute values on a face with integers", "partition/planes/exact.py:Exact", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
    ],
    "bounds over sets": [
        Chain("compute intervals of values", "kernels/bounds/intervals.py:set_interval", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("copy intervals exactly", "kernels/bounds/intervals.py:affine_interval", AFFINE_FAMILY, (GATHER, CONCAT),
              is_shortcut=True),
        Chain("widen the intervals of products", "kernels/bounds/intervals.py:elementwise_interval", SWITCHING_FAMILY,
              (LEAKY_RELU,), is_shortcut=True),
        Chain("give the thresholds", "kernels/bounds/relaxations.py:thresholds", SWITCHING_FAMILY,
              _ELEMENTWISE, elsewhere=(MAX_POOL,)),
        Chain("push rows of coefficients through neurons", "kernels/bounds/backward.py:lower_bounds", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("push rows of coefficients through an affine op", "kernels/bounds/adjoint.py:add_affine_adjoint", AFFINE_FAMILY,
              (AFFINE, CONV2D, *_SIMPLE)),
        Chain("add the constants of rows of coefficients", "kernels/bounds/backward.py:_add_constants", AFFINE_FAMILY,
              (AFFINE, CONV2D, SCALE, GATHER), (AVG_POOL, ADD, CONCAT)),
        Chain("transpose weights", "bounds/plan.py:_make_plan", AFFINE_FAMILY, (AFFINE,), is_shortcut=True),
        Chain("find exact intervals", "bounds/plan.py:_exact", AFFINE_FAMILY, (AFFINE, CONV2D, AVG_POOL, SCALE, GATHER),
              is_shortcut=True),
        Chain("count the products in an output", "op_graph.py:fan_in", AFFINE_FAMILY, (AFFINE, CONV2D), _SIMPLE),
        Chain("count the products in the coefficient of an input", "bounds/plan.py:_fan_out", ALL_OPS,
              (AFFINE, CONV2D, GATHER), (AVG_POOL, SCALE, ADD, CONCAT, *_ELEMENTWISE, MAX_POOL)),
    ],
    "regions of boxes": [
        Chain("write switching ops as columns that cut", "partition/regions/layers.py:_Builder", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("append a comparison of the outputs", "partition/regions/compared.py:with_comparison", ALL_OPS,
              (SCALE, CONCAT, GATHER, MAX_POOL), is_shortcut=True),
        Chain("evaluate values under given states with integers", "partition/regions/exact.py:_StateEvaluation",
              SWITCHING_FAMILY, (*_ELEMENTWISE, MAX_POOL)),
        Chain("give what a neuron compares, with integers", "partition/regions/exact.py:ExactSigns", SWITCHING_FAMILY,
              (CLIP, MAX_POOL), (RELU, LEAKY_RELU)),
        Chain("give the thresholds of values", "partition/regions/searching.py:_thresholds", SWITCHING_FAMILY,
              (CLIP, MAX_POOL), (RELU, LEAKY_RELU)),
        Chain("find the state behind a facet", "partition/regions/region_rows.py:RowMaker", SWITCHING_FAMILY,
              (CLIP, MAX_POOL), (RELU, LEAKY_RELU)),
    ],
    "fixed and float neurons": [
        Chain("tell whether a fixed neuron passes its input on", "float_sets.py:pool_neurons", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("give the exact matrices", "bounds/op_matrices.py:op_matrices", AFFINE_FAMILY, (AFFINE, CONV2D, *_SIMPLE)),
        Chain("give thresholds, states and slopes", "bounds/elimination.py:_pieces", SWITCHING_FAMILY, _ELEMENTWISE,
              elsewhere=(MAX_POOL,)),
        Chain("list windows, or pieces", "bounds/elimination.py:Elimination", SWITCHING_FAMILY, (MAX_POOL,), _ELEMENTWISE),
        Chain("find neurons exactly at a threshold", "kernels/paths/thresholds.py:find_thresholds", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("count the paths through connections", "analysis/path_counts.py:_through", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
        Chain("bound the slopes of neurons", "analysis/masked_norms.py:_slopes", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("find the entries that bounds of Lipschitz constants depend on", "analysis/masked_norms.py:_needed", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
        Chain("use the slopes of neurons in bounds of Lipschitz constants", "analysis/masked_norms.py:product_bound",
              SWITCHING_FAMILY, (MAX_POOL,), _ELEMENTWISE),
        Chain("bound the change of a value by those of its operands", "analysis/masked_norms.py:_push", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, MAX_POOL), elsewhere=_ELEMENTWISE),
        Chain("bound the norm of a convolution or an average", "analysis/masked_norms.py:_window_norm", AFFINE_FAMILY,
              (CONV2D,), (AVG_POOL,), (AFFINE, SCALE, ADD, CONCAT, GATHER)),
        Chain("compute values in float32 or float64", "kernels/floats/values.py:apply_affine", AFFINE_FAMILY,
              (AFFINE, CONV2D), _SIMPLE),
        Chain("compute a Scale", "kernels/floats/values.py:_apply_scale", AFFINE_FAMILY, (SCALE,), is_shortcut=True),
        Chain("size the buffers of convolutions", "value_buffers.py:_scratch_sizes", AFFINE_FAMILY,
              (CONV2D,), is_shortcut=True),
        Chain("expand constants and factors to all entries", "value_buffers.py:make_buffers", AFFINE_FAMILY,
              (AFFINE, CONV2D, SCALE), (AVG_POOL, ADD, CONCAT, GATHER)),
        Chain("count the draws with each state", "kernels/floats/states.py:count_states", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("compute values in float32 or float64", "kernels/floats/switching.py:switch_rows", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("find the neurons that float between two rows", "kernels/floats/switching.py:mark_floats", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("find the states of a row", "kernels/floats/switching.py:find_states", SWITCHING_FAMILY,
              (MAX_POOL,), (RELU, LEAKY_RELU, CLIP)),
        Chain("find states that are right at a threshold", "analysis/right_states.py:_thresholds", SWITCHING_FAMILY,
              (CLIP, MAX_POOL), (RELU, LEAKY_RELU)),
        Chain("rebuild the states of stored masks", "store/float_sets.py:float_set_from_arrays", SWITCHING_FAMILY,
              (CLIP,), (RELU, LEAKY_RELU, MAX_POOL)),
    ],
    "randomized smoothing": [
        Chain("evaluate with torch", "smoothing/torch_network.py:_MODULES", ALL_OPS,
              (AFFINE, CONV2D, *_SIMPLE, *_ELEMENTWISE, MAX_POOL)),
    ],
    "facts about regions": [
        Chain("list the half-spaces of a region", "kernels/regions/halfspaces.py:list_rows", SWITCHING_FAMILY,
              (*_ELEMENTWISE, MAX_POOL)),
        Chain("bound the number of terms of sums in passes of both directions", "partition/regions/planning.py:n_terms",
              AFFINE_FAMILY, (AFFINE, CONV2D), _SIMPLE),
        Chain("count the hyperplanes of a neuron", "analysis/region_bounds.py:_hyperplanes", SWITCHING_FAMILY,
              (RELU, CLIP), (LEAKY_RELU, MAX_POOL)),
    ],
    "gradients along lines": [
        Chain("choose the role in integrals of the Jacobian", "analysis/attribution.py:_roles", AFFINE_FAMILY,
              (AFFINE, CONV2D), is_shortcut=True),
        Chain("start a rank-one change at a flip", "kernels/gradients/rank_one.py:begin_flip", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("push a rank-one change down", "kernels/gradients/rank_one.py:push_flip", ALL_OPS,
              (AFFINE, CONV2D, CONCAT, GATHER), (AVG_POOL, SCALE, ADD, *_ELEMENTWISE, MAX_POOL)),
        Chain("push a rank-one change channel by channel", "kernels/gradients/rank_one.py:_push_taps", ALL_OPS,
              (AVG_POOL, SCALE, ADD, MAX_POOL), _ELEMENTWISE, (AFFINE, CONV2D, CONCAT, GATHER)),
        Chain("push a rank-one change through copies", "kernels/gradients/rank_one.py:_push_copies", AFFINE_FAMILY,
              (CONCAT, GATHER), elsewhere=(AFFINE, CONV2D, AVG_POOL, SCALE, ADD)),
        Chain("take a column of W^T", "kernels/gradients/integral.py:_pull", AFFINE_FAMILY,
              (AFFINE, CONV2D), elsewhere=_SIMPLE),
        Chain("integrate over a flip of the first layer", "kernels/gradients/integral.py:_flip_first", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
        Chain("integrate over a flip above a kept op", "kernels/gradients/integral.py:integrate_jacobian", SWITCHING_FAMILY,
              (MAX_POOL,), _ELEMENTWISE),
    ],
}  # fmt: skip
CHAINS = tuple(chain for chains in _ROWS.values() for chain in chains)


def op_name(code):
    """Return the name of an op code."""
    return ir.OP_NAMES[code] if 0 <= code < len(ir.OP_NAMES) else f"code {code}"


def ops_of_family(family):
    """Return the op codes of a family, without the input: a range."""
    first = ir.FIRST_SWITCHING if family == SWITCHING_FAMILY else ir.INPUT + 1
    return range(first, ir.FIRST_SWITCHING if family == AFFINE_FAMILY else len(ir.OP_NAMES))


def chains_without(code):
    """Return the chains that must handle an op but do not declare it: list of Chain."""
    return [c for c in CHAINS if not c.is_shortcut and code in ops_of_family(c.family) and code not in c.handled]


def check_op(code, index):
    """Validate that all chains handle an op.

    Parameters
    ----------
    code : int
    index : int
        The op's index in its program, for the message.

    Raises
    ------
    InputError
        A chain does not handle it; the message names the op and the chains.
    """
    missing = chains_without(code)
    if missing:
        places = ", ".join(chain.place for chain in missing)
        raise InputError(
            f"op {index} of the program ({op_name(code)}) is not handled by {places}; every chain of ops must handle it, "
            "add it there and in pwlnet/op_contract.py"
        )


_HOW_TO = """\
## How to add an op

An op is *affine* or *switching* (piecewise linear, with states). Op codes below `FIRST_SWITCHING` are affine.
This section is generated by `python -m pwlnet.op_contract`.

1. Add the op code and its name to `pwlnet/kernels/ir/program.py`, with a comment that lists its attributes and weights.
2. Handle it in every chain of its family in the tables below (a *chain* is code that branches on the op), and add the code to
   the chain's row in `pwlnet/op_contract.py`: to `branches` if a branch names it, to `remaining` if the last branch handles
   it, to `elsewhere` if the callers do. A network with an op that is missing in a row is refused; `tests/test_op_contract.py`
   compares the rows with the source, and `tests/test_blind_chains.py` requires that the last branch of a kernel gives NaN or
   a failure status for other ops, not the result of some op. Shortcuts (in parentheses) are special cases for the ops that
   they name; the general code handles all others.
3. Add a row to each reader in `pwlnet/convert/` whose sources can contain it.
4. Add a reference implementation to `tests/reference/`, and the op to the random networks there.
5. Add it to the list of layers in `README.md`, and to `CHANGELOG.md`.

An op that can be written with existing ones (ReLU6 as Clip) needs step 3 only.
"""


def format_how_to():
    """Return the section "How to add an op" of CONTRIBUTING.md as text."""
    lines = [_HOW_TO]
    for title, chains in _ROWS.items():
        lines.append(
            f"Chains: {title}.\n\n| question | ops | chain in `pwlnet/` | named | last branch |\n|---|---|---|---|---|"
        )
        for chain in chains:
            question = f"({chain.question})" if chain.is_shortcut else chain.question
            named, remaining = (", ".join(map(op_name, sorted(codes))) for codes in (chain.branches, chain.remaining))
            lines.append(f"| {question} | {chain.family} | `{chain.place}` | {named} | {remaining} |")
        lines.append("")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(format_how_to())
