"""Sweep the readers: the single nodes of ONNX's own backend tests, every module of `sweep_modules` from torch and from its own
export in every opset, and random chains of them. ``python -m tests.convert.sweep --help`` says how to choose.

Each try ends in one verdict. *right*: taken, and equal to the source. *dropped*: taken up to a softmax or the like at the end,
with a warning. *refused*: with a sentence. *absent*: the exporter or the source can't do it. *wrong*: taken and not equal, or
an error that is not one of pwlnet's, or refused because its own check disagrees although the conversion is equal to the source.
"""

import argparse
import collections
import contextlib
import inspect
import io
import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import pwlnet
from pwlnet.errors import PwlnetError, UnsupportedOperationError

from .sweep_modules import cases, random_module

OPSETS = tuple(range(7, 21))  # those that torch's exporter without dynamo writes
DYNAMO_OPSETS = (18, 20, 23)
SIGNS = {"right": "=", "dropped": "~", "refused": "-", "absent": ".", "wrong": "X"}
IN_FLOAT32 = 1e5 * np.finfo(np.float32).eps / 100  # relative difference between evaluations in float32: 1e-4
IN_FLOAT64 = 1e7 * np.finfo(np.float64).eps
N_POINTS = 8
N_LINE = 257  # points on a line, to see whether a function is piecewise linear


@dataclass(frozen=True)
class Outcome:
    """What came of one try: operation, setting, opset or the front end's name, verdict, and the sentence of a refusal."""

    op: str
    setting: str
    opset: str
    verdict: str
    reason: str = ""


def judge(op, setting, opset, convert, points, expected, tolerance, second=None):
    """Convert, compare with what the source gives, and return the Outcome.

    Parameters
    ----------
    convert : callable
        check -> Network; ``check`` is that of ``load_network``.
    points : float64[B, ...]
    expected : callable
        points -> float64[B, O].
    tolerance : float
        Relative to the largest output.
    second : callable, optional
        Like ``expected``; decides where that does not agree: a file need not be what its exporter was given.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refusal = None
        try:
            network = convert("strict")
        except PwlnetError as error:
            refusal = f"{type(error).__name__}: {error}"
            if not _disagrees(error):
                return Outcome(op, setting, opset, "refused", refusal)
            network = _unchecked(convert)
            if network is None:
                return Outcome(op, setting, opset, "wrong", refusal)
        except Exception as error:
            return Outcome(op, setting, opset, "wrong", f"{type(error).__name__}: {error}")
    if any("dropped" in str(w.message) for w in caught):
        return Outcome(op, setting, opset, "dropped")
    found = network.forward(points.reshape(len(points), -1))
    problem = _difference(expected(points), found, tolerance)
    if problem and second is not None and not _difference(second(points), found, tolerance):
        problem = None
    if refusal is not None and not problem:
        problem = f"equal to the source, but {refusal}"
    return Outcome(op, setting, opset, "wrong" if problem else "right", problem or "")


def _unchecked(convert):
    """Return the network without a check, or None if that is not possible."""
    try:
        return convert("off")
    except PwlnetError:
        return None


def _disagrees(error):
    """Return whether a refusal is the check's, which compares a conversion with its source."""
    return not isinstance(error, UnsupportedOperationError) and "differ" in str(error)


def _difference(wanted, found, tolerance):
    """Return how two arrays of rows differ, or None."""
    wanted = np.asarray(wanted, np.float64).reshape(len(found), -1)
    if wanted.shape != found.shape:
        return f"{found.shape[1]} outputs, where the source has {wanted.shape[1]}"
    with np.errstate(invalid="ignore"):
        error, size = np.abs(wanted - found), max(1.0, float(np.abs(wanted).max(initial=0.0)))
    error = np.where(wanted == found, 0.0, error)
    return None if (error <= tolerance * size).all() else f"differs by {error.max():.1e} of {size:.1e}"


# torch.


def _torch_points(shape):
    return 2.0 * np.random.default_rng(0).standard_normal((N_POINTS, *shape)).astype(np.float32).astype(np.float64)


def _evaluated(module, dtype):
    import torch

    def evaluate(points):
        model = module.to(dtype)
        with torch.no_grad():
            rows = [model(torch.from_numpy(row[None]).to(dtype)).reshape(-1).double().numpy() for row in points]
        return np.stack(rows)

    return evaluate


def from_torch(name, factory, shape):
    """Try a module by ``pwlnet.from_torch``."""
    import torch

    module = factory()

    def convert(check):
        return pwlnet.from_torch(module, shape, **_check_option(pwlnet.from_torch, check))

    evaluate = _evaluated(factory(), torch.float64)
    return judge(_kind(name), name, "torch", convert, _torch_points(shape), evaluate, IN_FLOAT64)


def through_onnx(name, factory, shape, opset, folder, *, dynamo=False):
    """Try a module by torch's exporter and ``pwlnet.load_network``."""
    import torch

    module, path, column = factory(), Path(folder) / "net.onnx", f"{'d' if dynamo else ''}{opset}"
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            options = {"dynamo": dynamo, "opset_version": opset} | ({"verbose": False} if dynamo else {})
            torch.onnx.export(module, (torch.zeros(1, *shape),), str(path), **options)
    except Exception as error:
        return Outcome(_kind(name), name, column, "absent", f"{type(error).__name__}: {error}".splitlines()[0])

    def convert(check):
        return pwlnet.load_network(path, **_check_option(pwlnet.load_network, check))

    evaluate = _evaluated(factory(), torch.float64)
    return judge(_kind(name), name, column, convert, _torch_points(shape), evaluate, IN_FLOAT32, partial(_runtime, path))


def _runtime(path, points):
    """Evaluate a file by onnxruntime, row by row; NaN if it can't."""
    try:
        session = _session(str(path))
        name = session.get_inputs()[0].name
        return np.stack([session.run(None, {name: row[None].astype(np.float32)})[0].ravel() for row in points])
    except Exception:
        return np.full((len(points), 1), np.nan)


def _session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _check_option(function, check):
    return {"check": check} if "check" in inspect.signature(function).parameters else {}


def _kind(name):
    return name.partition("(")[0]


def sweep_torch(names, opsets, dynamo_opsets):
    """Yield the outcomes of modules, from torch and through ONNX."""
    every = cases()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            factory, shape = every[name]
            yield from_torch(name, factory, shape)
            yield from (through_onnx(name, factory, shape, opset, folder) for opset in opsets)
            yield from (through_onnx(name, factory, shape, opset, folder, dynamo=True) for opset in dynamo_opsets)


def sweep_random(seeds, opsets):
    """Yield the outcomes of random chains of layers."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            module, shape = random_module(seed)
            name = f"random {seed}: " + " > ".join(str(layer).splitlines()[0] for layer in module)
            outcomes = [from_torch(name, lambda s=seed: random_module(s)[0], shape)]
            opset = opsets[seed % len(opsets)]
            outcomes.append(through_onnx(name, lambda s=seed: random_module(s)[0], shape, opset, folder))
            yield from (Outcome("random chain", o.setting, o.opset, o.verdict, o.reason) for o in outcomes)


# ONNX's own tests.


def node_tests():
    """Return the cases of one node of ONNX's backend tests that have a float input: list of TestCase."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        every = collect_testcases(None)
    return [case for case in every if len(case.model.graph.node) == 1 and _network_input(case) is not None]


def _network_input(case):
    """Return the position of the first float input with more than one entry, or None."""
    data = case.data_sets[0][0]
    for k, value in enumerate(data):
        if isinstance(value, np.ndarray) and value.dtype in (np.float16, np.float32, np.float64) and value.size > 1:
            return k
    return None


def one_input_model(case):
    """Return the model of a case with one input and one output, its other inputs as initializers: ModelProto."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, data, kept = model.graph, case.data_sets[0][0], _network_input(case)
    for value, array in zip(list(graph.input), data, strict=True):
        if value is not graph.input[kept] and value.name != case.model.graph.input[kept].name:
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), value.name))
    chosen = onnx.ValueInfoProto()
    chosen.CopyFrom(case.model.graph.input[kept])
    first = onnx.ValueInfoProto()
    first.CopyFrom(case.model.graph.output[0])
    for field, value in ((graph.input, chosen), (graph.output, first)):
        del field[:]
        field.append(value)
    return model


DISPUTED = {  # stored outputs that neither onnxruntime nor torch gives: sizes that are not whole, with aligned corners
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}


def node_outcome(case, folder):
    """Try one case of ONNX's backend tests."""
    import onnx

    op, opset = case.model.graph.node[0].op_type, str(max(e.version for e in case.model.opset_import))
    if case.name in DISPUTED:
        return Outcome(op, case.name, opset, "absent", "onnxruntime and torch give other outputs than those stored")
    try:
        model, path = one_input_model(case), Path(folder) / "node.onnx"
        onnx.save(model, path)
    except Exception as error:  # inputs that are sequences or strings
        return Outcome(op, case.name, opset, "absent", f"{type(error).__name__}: {error}".splitlines()[0])
    data, outputs = case.data_sets[0]
    point, wanted = data[_network_input(case)], outputs[0]
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind not in "fiub":
        return Outcome(op, case.name, opset, "absent", "its output is not an array of numbers")
    shape = None if point.ndim > 1 and point.shape[0] == 1 else point.shape

    def convert(check):
        return pwlnet.load_network(path, input_shape=shape, **_check_option(pwlnet.load_network, check))

    points = point.astype(np.float64).reshape(1, -1)
    tolerance = max(IN_FLOAT32, 100 * float(np.finfo(point.dtype).eps))
    outcome = judge(op, case.name, opset, convert, points, lambda _: wanted.reshape(1, -1), tolerance)
    if outcome.verdict != "refused":
        return outcome
    return Outcome(op, case.name, opset, "refused", f"[{_nature(model, point)}] {outcome.reason}")


def _nature(model, point):
    """Return what a function looks like on a line: "piecewise linear", "steps", "curved"; "unknown" without onnxruntime."""
    try:
        session = _session(model.SerializeToString())
        rng, name = np.random.default_rng(0), session.get_inputs()[0].name
        start, end = (rng.uniform(-2, 2, point.shape) for _ in range(2))
        line = [start + t * (end - start) for t in np.linspace(0, 1, N_LINE)]
        values = np.array([np.ravel(session.run(None, {name: x.astype(point.dtype)})[0]) for x in line], np.float64)
    except Exception:
        return "unknown"
    return nature(values)


def nature(values):
    """Return what values float64[N, O] at evenly spaced points of a line look like: "piecewise linear", "steps" or "curved".

    Where most second differences vanish up to rounding of float32, the function is piecewise linear or has steps; steps are
    changes between neighbours much larger than the typical one.
    """
    if not values.size or not np.isfinite(values).all():
        return "unknown"
    size = np.abs(values).max(initial=0.0) or 1.0
    changes, bends = np.abs(np.diff(values, axis=0)), np.abs(np.diff(values, 2, axis=0))
    rounding = 16 * np.finfo(np.float32).eps * size
    if changes.max(initial=0.0) > 0.1 * np.ptp(values) and (bends > rounding).mean() < 0.25:
        return "steps"
    return "piecewise linear" if (bends > rounding).mean() < 0.25 else "curved"


def sweep_nodes(ops=None):
    """Yield the outcomes of ONNX's backend tests, of some operators or all."""
    with tempfile.TemporaryDirectory() as folder:
        for case in node_tests():
            if not ops or case.model.graph.node[0].op_type in ops:
                yield node_outcome(case, folder)


# The report.


def table(outcomes):
    """Return the lines of a table: operation x opset, one sign per verdict (the worst, then the best of several settings)."""
    order = ("wrong", "right", "dropped", "refused", "absent")
    cells = collections.defaultdict(set)
    for outcome in outcomes:
        cells[outcome.op, outcome.opset].add(outcome.verdict)
    rows, columns = sorted({op for op, _ in cells}), sorted({c for _, c in cells}, key=_column)
    width = max(map(len, rows), default=0)
    yield " " * width + " " + " ".join(f"{c:>5s}" for c in columns)
    for op in rows:
        signs = ["".join(SIGNS[v] for v in order if v in cells[op, c]) for c in columns]
        yield f"{op:{width}s} " + " ".join(f"{s:>5s}" for s in signs)


def _column(name):
    return name != "torch", name.startswith("d"), int(name.removeprefix("d")) if name != "torch" else 0


def gaps(outcomes):
    """Return what is taken from torch but refused from its own export: list of Outcome."""
    taken = {o.setting for o in outcomes if o.opset == "torch" and o.verdict == "right"}
    return [o for o in outcomes if o.setting in taken and o.verdict == "refused"]


def report(outcomes):
    """Yield the lines of the report: table, refusals with their sentences, gaps, what is wrong."""
    yield from table(outcomes)
    yield f"signs: {', '.join(f'{sign} {verdict}' for verdict, sign in SIGNS.items())}"
    sentences = collections.defaultdict(list)
    for o in outcomes:
        if o.verdict == "refused":
            sentences[o.op, _first_sentence(o.reason)].append(o)
    yield f"\nRefusals ({sum(map(len, sentences.values()))}):"
    for (op, sentence), found in sorted(sentences.items()):
        yield f"  {op}: {sentence}  ({len(found)}: {found[0].setting} in {', '.join(dict.fromkeys(o.opset for o in found))})"
    for title, some in (("Taken from torch, refused from its export", gaps(outcomes)), ("Wrong", _wrong(outcomes))):
        yield f"\n{title} ({len(some)}):"
        grouped = collections.defaultdict(list)
        for o in some:
            grouped[o.setting, _first_sentence(o.reason)].append(o.opset)
        yield from (f"  {setting} in {', '.join(where)}: {why}" for (setting, why), where in grouped.items())
    counts = collections.Counter(o.verdict for o in outcomes)
    yield "\n" + ", ".join(f"{counts[verdict]} {verdict}" for verdict in SIGNS)


def _wrong(outcomes):
    return [o for o in outcomes if o.verdict == "wrong"]


def _first_sentence(reason):
    text = " ".join(reason.split())
    for long_list in ("; supported: ", "; docs/supported_ops.md"):
        text = text.partition(long_list)[0]
    return text[:400]


def main(arguments=None):
    """Run the sweep from the command line; return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.convert.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="nodes,modules,random", help="of nodes, modules, random (all by default)")
    parser.add_argument("--opsets", default=",".join(map(str, OPSETS)), help="of the exporter without dynamo")
    parser.add_argument("--dynamo-opsets", default=",".join(map(str, DYNAMO_OPSETS)), help="of the exporter with dynamo")
    parser.add_argument("--only", default="", help="text that the name of a module or operator must contain")
    parser.add_argument("--random", type=int, default=200, help="number of random chains")
    options = parser.parse_args(arguments)
    parts, outcomes = options.parts.split(","), []
    opsets, dynamo = (tuple(int(n) for n in text.split(",") if n) for text in (options.opsets, options.dynamo_opsets))
    if "nodes" in parts:
        outcomes += [o for o in sweep_nodes() if options.only in o.op]
    if "modules" in parts:
        outcomes += sweep_torch([name for name in cases() if options.only in name], opsets, dynamo)
    if "random" in parts:
        outcomes += sweep_random(range(options.random), opsets or OPSETS)
    print("\n".join(report(outcomes)))
    return 1 if _wrong(outcomes) else 0


if __name__ == "__main__":
    raise SystemExit(main())
