"""What analyses give when one kernel does not know an op: a report for tests/test_blind_chains.py.

``NUMBA_DISABLE_JIT=1 python -m tests.blind_chain`` runs the kernels as Python. While the chain of a row of
``pwlnet/op_contract.py`` runs, an op has a code that nothing knows; while any other chain runs, it has its own. The result of
an analysis is then the same as before, or NaN or an error of pwlnet ("refused"), or else it looks right and is wrong. Prints
JSON: chain -> op -> analysis -> "same", "refused" or what is wrong. At the quick level an analysis that
refuses the op in the second layer is not tried again with the op in the first.
"""

import functools
import inspect
import json
import sys
import warnings
from importlib import import_module

import numpy as np

import pwlnet
from pwlnet import op_contract, scheduling
from pwlnet.analysis.float_counts import compare_pairs, count_states
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.draws import make_draws
from pwlnet.errors import PwlnetError
from pwlnet.kernels.ir import program as ir
from pwlnet.smoothing.network_pass import repressed_outputs
from tests.counts import LEVEL

UNKNOWN = {True: 99, False: -1}  # codes that nothing knows, of a switching and of an affine op
SHAPE = (2, 2, 3)
TOLERANCE = 1e-9


# Networks with the op between two switching layers, or in place of the first one.


def _affine(graph, x, rng):
    return graph.linear(graph.reshape(x, (x.size,), name="flat"), rng.normal(size=(5, x.size)), name="op")


def _gather(graph, x, rng):
    index = rng.permutation(x.indices().ravel())
    index[2] = -1
    return graph.layout(x, index.reshape(x.shape), fill=0.5, name="op")


OPS = {
    ir.AFFINE: _affine,
    ir.CONV2D: lambda graph, x, rng: graph.conv(x, rng.normal(size=(3, 2, 2, 2)), rng.normal(size=3), name="op"),
    ir.AVG_POOL: lambda graph, x, rng: graph.avg_pool(x, 2, stride=(1, 1), name="op"),
    ir.SCALE: lambda graph, x, rng: graph.scale_shift(x, rng.normal(size=(2, 1, 1)), rng.normal(size=(2, 1, 1)), name="op"),
    ir.ADD: lambda graph, x, rng: graph.add(x, graph.input, (2.0, -1.0), name="op"),
    ir.CONCAT: lambda graph, x, rng: graph.concat([x, graph.input], 0, name="op"),
    ir.GATHER: _gather,
    ir.RELU: lambda graph, x, rng: graph.relu(x, name="op"),
    ir.LEAKY_RELU: lambda graph, x, rng: graph.leaky_relu(x, 0.25, name="op"),
    ir.CLIP: lambda graph, x, rng: graph.clip(x, -0.5, 1.0, name="op"),
    ir.MAX_POOL: lambda graph, x, rng: graph.max_pool(x, 2, stride=(1, 1), name="op"),
}


def network_with(code, layer):
    """A small network with the op once, in which the op's breakpoints matter for later neurons.

    An affine op is between the first and the second layer of neurons; a switching op is one of them, and what it reads is
    read by others, too, so that no affine op is fused into it.
    """
    rng = np.random.default_rng(code)
    graph = Graph(SHAPE, batched=False)
    x = graph.conv(graph.input, rng.normal(size=(2, 2, 1, 1)), rng.normal(size=2), name="first")
    if code < ir.FIRST_SWITCHING:
        x = graph.clip(OPS[code](graph, graph.relu(x, name="first neurons"), rng), -1.0, np.inf, name="neurons")
        x = _full(graph, x, rng, "last")
    else:
        other = graph.relu if code != ir.RELU else graph.leaky_relu
        if layer == 2:
            x = graph.conv(other(x, *[0.5] * (code == ir.RELU), name="one"), rng.normal(size=(2, 2, 1, 1)), name="two")
        x = graph.add(_full(graph, OPS[code](graph, x, rng), rng, "last"), _full(graph, x, rng, "beside"), name="sum")
    graph.output = graph.clip(x, 0.0, 2.0, name="out") if code == ir.RELU else graph.relu(x, name="out")
    return lower(graph)


def _full(graph, x, rng, name):
    return graph.linear(graph.reshape(x, (x.size,), name=name), rng.normal(size=(4, x.size)), rng.normal(size=4), name=name)


def _lines(network):
    ends = np.random.default_rng(1).normal(size=(2, 2, network.n_inputs))
    return pwlnet.partition_lines(network, *ends, threads=1)


def _flips(lines):
    return np.concatenate([lines.t, lines.flip_neurons, lines.flip_states])


def _linearity(lines):
    found = pwlnet.measure_linearity(lines, [[0, 1]] * 2, threads=1)
    return np.concatenate([*found.mean[:2], *found.tangent, found.gradient_norm, found.residual[:, None]], axis=None)


def _bounds(network):
    """Bounds by all methods, without and with known states."""
    box = pwlnet.Box.around(POINTS[:1], 0.25)
    options = [{"method": m, "n_steps": 2} for m in ("ibp", "crown", "alpha_crown")]
    options += [{"known": network.states(POINTS[0])}, {"only_open": True}]
    found = [pwlnet.bound_preactivations(network, box, threads=1, **option) for option in options]
    return np.concatenate([x for b in found for x in (b.lower, b.upper, b.states, b.output_lower, b.output_upper)], axis=None)


def _region(network):
    region = pwlnet.region_of(network, POINTS[0], threads=1)
    return np.concatenate([region.G, region.h, region.neurons, region.other_states], axis=None)


def _paths(network):
    floats, points = np.arange(network.n_neurons) % 2 == 0, POINTS.reshape(3, -1)
    parts = pwlnet.decompose_paths(network, points, floats, maps=True, threads=1)
    polynomial = pwlnet.path_polynomial(network, points, floats, threads=1)
    live = pwlnet.scale_float_paths(network, points, floats, 0.5, gates="live", threads=1)
    return np.concatenate([parts.fixed, parts.float_, parts.A, parts.c, polynomial, live], axis=None)


def _vulnerability(network):
    points = POINTS.reshape(3, -1)
    result = pwlnet.classify_vulnerability(network, points, points[::-1], threads=1)
    return np.concatenate([result.fixed_change, result.float_change, result.n_float], axis=None)


def _repressed(network):
    """Outputs with repressed neurons: by references, with one pass and two, and by factors."""
    points, factors = POINTS.reshape(3, -1), np.linspace(0.5, 1.0, network.n_neurons)
    options = [{"references": points[:1], "eta": -0.5, "passes": 2}, {"references": points[::-1], "eta": -0.5, "passes": 1}]
    found = [repressed_outputs(network, points, dtype="float64", threads=1, **o) for o in (*options, {"factors": factors})]
    return np.concatenate(found, axis=None)


POINTS = np.random.default_rng(2).normal(size=(3, *SHAPE))
ANALYSES = {  # of a network, and of its lines
    "forward": lambda network, lines: network.forward(POINTS),
    "preactivations": lambda network, lines: network.preactivations(POINTS),
    "states": lambda network, lines: network.states(POINTS),
    "patterns": lambda network, lines: network.patterns(POINTS).unpack(),
    "jacobian": lambda network, lines: network.jacobian(POINTS),
    "affine_map": lambda network, lines: np.column_stack(network.affine_map(POINTS[0])),
    "bound_preactivations": lambda network, lines: _bounds(network),
    "sampled floats": lambda network, lines: _counts(network),
    "floats of pairs": lambda network, lines: compare_pairs(network, *POINTS.reshape(3, -1)[[0, 1], None])[0],
    "partition_lines": lambda network, lines: _flips(_lines(network)),
    "integrate_gradients": lambda network, lines: np.concatenate(
        [evaluate_integrals(lines), pwlnet.integrate_gradients(network, lines.starts, lines.ends).residual], axis=None
    ),
    "compare_rules": lambda network, lines: pwlnet.compare_rules(lines, 0, counts=[3], methods=["midpoint"], threads=1).l1,
    "measure_linearity": lambda network, lines: _linearity(lines),
    "region_of": lambda network, lines: _region(network),
    "stable_radii": lambda network, lines: np.concatenate(pwlnet.stable_radii(network, POINTS, norm=1, threads=1)),
    "neuron_entropy": lambda network, lines: pwlnet.neuron_entropy(network, POINTS, threads=1).entropy,
    "pattern_similarity": lambda network, lines: pwlnet.pattern_similarity(network, POINTS, measure="jaccard", threads=1),
    "paths": lambda network, lines: _paths(network),
    "vulnerability": lambda network, lines: _vulnerability(network),
    "repressed outputs": lambda network, lines: _repressed(network),
}


def _counts(network):
    """Counts of states over draws."""
    draws = make_draws(network, pwlnet.Gaussian(POINTS[:1], 0.5))
    return count_states(network, draws, 40, dtype="float64", threads=1).counts


def evaluate_integrals(lines):
    """Attributions from partitions that are right: only the kernels of gradients are asked."""
    from pwlnet.analysis import attribution

    integrals = np.empty((len(lines), lines.network.n_outputs, lines.network.n_inputs))
    with scheduling.single_threaded_blas():
        attribution._integrate_lines(
            lines, attribution._roles(lines.network), np.arange(lines.network.n_outputs), integrals, 0, len(lines)
        )
    return integrals


# Blindness.


class Blindness:
    """Which chain is blind, and to which op; the op codes that all chains read."""

    def __init__(self):
        self.table, self.codes, self.place, self.code, self.met = None, None, None, None, set()

    def use(self, network):
        """Make the op codes of a network writable, and watch them."""
        self.table = network.code.op_table.copy()
        self.codes = self.table[:-1, ir.OP].copy()
        network.__dict__["code"] = network.code._replace(op_table=self.table)

    def choose(self, place, code):
        """Make the chain at a place blind to an op."""
        self.place, self.code = place, code

    def show(self, place):
        """Set the op codes that the chain at a place reads."""
        is_blind = place == self.place
        self.met.add(place)
        unknown = UNKNOWN[bool(self.code is not None and self.code >= ir.FIRST_SWITCHING)]
        self.table[:-1, ir.OP] = np.where(is_blind & (self.codes == self.code), unknown, self.codes)


BLINDNESS = Blindness()


def watched(place, function):
    """A chain that sees what it should."""

    @functools.wraps(function)
    def wrapper(*args):
        before = BLINDNESS.table[:-1, ir.OP].copy()
        BLINDNESS.show(place)
        try:
            return function(*args)
        finally:
            BLINDNESS.table[:-1, ir.OP] = before

    return wrapper


def watch_kernels():
    """Replace each kernel of the table wherever it is imported; return their rows."""
    rows = []
    for chain in op_contract.CHAINS:
        path, name = chain.place.split(":")
        if not path.startswith("kernels/"):
            continue
        original = getattr(import_module("pwlnet." + path.removesuffix(".py").replace("/", ".")), name)
        if not {"code", "slot"} & set(inspect.signature(original).parameters):
            continue  # it reads a program before that is packed
        wrapper = watched(chain.place, original)
        for module in [module for key, module in sys.modules.items() if key.startswith("pwlnet.")]:
            for key in [key for key, value in vars(module).items() if value is original]:
                setattr(module, key, wrapper)
        rows.append(chain)
    return rows


def outcome(analysis, network, lines, expected):
    """What an analysis gives: same, refused, or what is wrong."""
    for key in ("_idle_buffers", "pattern_layout", "float32_code"):
        network.__dict__.pop(key, None)
    try:
        actual = np.asarray(ANALYSES[analysis](network, lines), np.float64)
    except PwlnetError:
        return "refused"
    except Exception as error:  # where a compiled kernel would read what it should not
        return f"{type(error).__name__}: {error}"
    if np.isnan(actual).any():
        return "refused"
    if actual.shape == expected.shape and np.allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE):
        return "same"
    return "another result"


def chains_of(analysis, network, lines, expected):
    """The places of the chains that an analysis runs, none of them blind; the others cannot change its result."""
    BLINDNESS.choose(None, None)
    BLINDNESS.met = set()
    if outcome(analysis, network, lines, expected) != "same":
        raise AssertionError(f"{analysis} gives another result than without the watching wrappers")
    return BLINDNESS.met


def main():
    """Print the report."""
    warnings.simplefilter("ignore")
    cases = [(code, layer) for code in OPS for layer in ((2, 1) if code >= ir.FIRST_SWITCHING else (1,))]
    networks = {}
    for code, layer in cases:
        network = network_with(code, layer)
        lines = _lines(network)
        expected = {name: np.asarray(run(network, lines), np.float64) for name, run in ANALYSES.items()}
        networks[code, layer] = network, lines, expected
    rows, report, tried = watch_kernels(), {}, set()
    for (code, layer), (network, lines, expected) in networks.items():
        BLINDNESS.use(network)
        met = {name: chains_of(name, network, lines, expected[name]) for name in ANALYSES}
        for chain in rows:
            if code not in {*chain.branches, *chain.remaining}:
                continue
            BLINDNESS.choose(chain.place, code)
            names = [name for name in ANALYSES if chain.place in met[name] and (chain.place, code, name) not in tried]
            outcomes = {f"{name}, layer {layer}": outcome(name, network, lines, expected[name]) for name in names}
            refused = [name for name in names if outcomes[f"{name}, layer {layer}"] == "refused"]
            tried.update((chain.place, code, name) for name in refused if LEVEL == "quick")
            if outcomes:
                report.setdefault(chain.place, {}).setdefault(ir.OP_NAMES[code], {}).update(outcomes)
    sys.stdout.write(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
