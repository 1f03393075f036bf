"""Fuzzing of the readers of network files: mutated files must be refused by a sentence of pwlnet, or be read right.

    python -m tests.convert.fuzz onnx --seconds 600 --seed 1 --keep FOLDER
    python -m tests.convert.fuzz onnx --seed 1 --only 1234 --keep FOLDER

The second form repeats one file. ``mutations`` makes the files; what is read is compared with an evaluation that shares no
code with the readers, stored and loaded again. Files are read in forked children, some in each, with a limit of memory and of
CPU time, so a crash, a hang or a large allocation is noticed. ``test_fuzz.py`` runs a few. PWLNET_DATA_DIR adds real files.
"""

import argparse
import collections
import functools
import itertools
import os
import pickle
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

import pwlnet
from pwlnet.convert.check import largest_excess, rounding_bound
from pwlnet.errors import PwlnetError, PwlnetWarning
from pwlnet.publishing import decode_text
from pwlnet.tolerances import SINGLE_ROUNDOFF, UNIT_ROUNDOFF
from tests.convert.mutations import mutated, seeds

KINDS = ("onnx", "nnet", "eran")
PER_CHILD = 40
CPU_LIMIT, WALL_LIMIT = 10, 90  # seconds for one file
MEMORY = 4 << 30
LONGEST_SENTENCE = 1000
GOOD = ("accepted", "refused")


class Difference(Exception):
    """What was read is not what the file says."""


# One file.


def outcome(path, kind, compare=True):
    """Read a file: (kind of outcome, text); "accepted" and "refused" are good ones."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            network = pwlnet.load_network(path)
        except PwlnetError as error:
            return _refusal(str(error))
        except Exception:
            return "wrong error", traceback.format_exc()
    texts = [str(w.message) for w in said if issubclass(w.category, PwlnetWarning)]
    others = [f"{w.filename}: {w.message}" for w in said if not issubclass(w.category, PwlnetWarning)]
    if any("pwlnet" in text for text in others):
        return "other warning", others[0]
    if any("that evaluator is probably wrong" in text for text in texts):
        return "accepted", "one evaluator differs"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            _require_consistent(network, path)
            checked = compare and _require_agreement(network, path, kind, texts)
    except Difference as error:
        return "wrong network", str(error)
    except Exception:
        return "wrong error", traceback.format_exc()
    return "accepted", "compared" if checked else "not compared"


def _refusal(sentence):
    if "\n" in sentence or not 20 < len(sentence) < LONGEST_SENTENCE or not sentence.isprintable():
        return "bad sentence", sentence
    return ("wrong network" if "report this as a bug" in sentence else "refused"), sentence


def _require_consistent(network, path):
    """Store the network, load it, and evaluate both."""
    stored = path.with_suffix(".h5")
    stored.unlink(missing_ok=True)  # of a file whose check was cut off
    network.save(stored)
    again = pwlnet.load_network(stored)
    stored.unlink()
    points = np.random.default_rng(0).standard_normal((3, *network.input_shape))
    first, second = network.forward(points), again.forward(points)
    if first.tobytes() != second.tobytes() or again.digest != network.digest:
        raise Difference("the stored network is another one")
    largest = max((np.abs(a).max(initial=0.0) for a in (network.program.weights, network.program.biases)), default=0.0)
    if not np.isfinite(first).all() and largest < 1e10:
        raise Difference("outputs are not finite")


def _require_agreement(network, path, kind, said):
    """Compare the network with another evaluation of the file; False where there is none."""
    points = np.random.default_rng(1).standard_normal((4, *network.input_shape)).astype(np.float32).astype(np.float64)
    expected = {"onnx": _by_onnxruntime, "nnet": _by_nnet, "eran": _by_eran}[kind](path, points, said)
    if expected is None or not np.isfinite(expected).all() or _overflows(network):
        return False
    actual = network.forward(points)
    if actual.size != expected.size:
        raise Difference(f"outputs of shape {actual.shape}, expected {expected.shape}")
    roundoff = SINGLE_ROUNDOFF if kind == "onnx" else UNIT_ROUNDOFF
    excess, text = largest_excess(actual, expected.reshape(actual.shape), 16 * rounding_bound(network, points, roundoff))
    if excess > 1.0:
        raise Difference(text)
    return True


def _overflows(network):
    """Return whether products of weights may be too large for float64: evaluations in another order then differ."""
    arrays = (network.program.weights, network.program.biases)
    return max((np.abs(array).max(initial=0.0) for array in arrays), default=0.0) > 1e150


def _by_onnxruntime(path, points, said):
    """Evaluate an ONNX file as it is, None where onnxruntime does not or the end of the network was changed."""
    import onnxruntime

    if any("dropped" in text or "exported for a batch" in text for text in said):
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        value = next(v for v in session.get_inputs())
        dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(value.type, np.float32)
        lead = (1,) * (len(value.shape) - points.ndim + 1)
        rows = [session.run(None, {value.name: p.astype(dtype).reshape(lead + p.shape)})[0].ravel() for p in points]
    except Exception:
        return None
    return np.array(rows, np.float64) if dtype != np.float16 else None


def _by_nnet(path, points, said):
    """Evaluate a .nnet file in the simplest way."""
    lines = [line.strip() for line in decode_text(path.read_bytes()).splitlines()]
    rows = [line.rstrip(", \t").split(",") for line in lines if line and not line.startswith("//")]
    sizes, (means, ranges), at = [int(w) for w in rows[1]], ([float(w) for w in row] for row in rows[5:7]), 7
    used = len(means) == len(ranges) == sizes[0] + 1 and min(ranges) > 0
    x = (points - means[:-1]) / ranges[:-1] if used else points
    for k, (n, m) in enumerate(itertools.pairwise(sizes)):
        weight = np.array([[float(w) for w in row] for row in rows[at : at + m]]).reshape(m, n)
        x = x @ weight.T + [float(row[0]) for row in rows[at + m : at + 2 * m]]
        x, at = x if k == len(sizes) - 2 else np.maximum(x, 0.0), at + 2 * m
    return x * ranges[-1] + means[-1] if used else x


def _by_eran(path, points, said):
    """Evaluate an .eran file in the simplest way."""
    lines = [line.strip() for line in decode_text(path.read_bytes()).splitlines() if line.strip()]
    x = points
    if lines[0].startswith("Normalize"):
        mean, std = _rows(lines.pop(0))
        x = (x - mean) / std
    for k in range(0, len(lines), 3):
        x = x @ np.array(_rows(lines[k + 1])).T + _rows(lines[k + 2])[0]
        if lines[k] == "HardTanh":
            x = np.clip(x, -1.0, 1.0)
        elif lines[k] == "ReLU" and k + 3 < len(lines):
            x = np.maximum(x, 0.0)
    return x


def _rows(line):
    return [[float(w) for w in row.split(",") if w.strip()] for row in re.findall(r"\[([^\[\]]*)\]", line)]


# Many files.


def content_of(kind, seed, number):
    """Return mutated file ``number`` of a seed: bytes; those of ONNX are None where the message has no bytes."""
    return mutated(kind, random.Random(f"{seed}/{kind}/{number}"), real=True)


def _one(kind, seed, number, folder, compare):
    path = Path(folder) / f"net.{kind}"
    path.write_bytes(content_of(kind, seed, number))
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT)
    signal.alarm(WALL_LIMIT)
    before = time.process_time()
    result = outcome(path, kind, compare)
    spent = time.process_time() - before
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    return number, *result, spent


def _in_child(work, numbers):
    """Map ``work`` over numbers in a forked child: results so far, the signal that ended it, its CPU seconds."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            with open(writing, "wb") as pipe:
                for number in numbers:
                    pickle.dump(work(number), pipe)
                    pipe.flush()
        finally:
            os._exit(0)
    os.close(writing)
    results = []
    with open(reading, "rb") as pipe:
        while True:
            try:
                results.append(pickle.load(pipe))
            except (EOFError, pickle.UnpicklingError):
                break
    _, status, usage = os.wait4(process, 0)
    return results, status, usage.ru_utime + usage.ru_stime


def in_children(kind, seed, numbers, folder):
    """Yield (number, kind of outcome, text, seconds) of files, and at last the CPU seconds of all."""
    total, waiting, compare = 0.0, list(numbers), True
    while waiting:
        results, status, spent = _in_child(lambda n: _one(kind, seed, n, folder, compare), waiting[:PER_CHILD])
        total += spent
        yield from results
        waiting, failed = waiting[len(results) :], len(results) < len(waiting[:PER_CHILD])
        if failed and results:
            continue  # it comes first in the next child
        if failed:
            number, ended = waiting.pop(0), os.WTERMSIG(status)
            what = "hang" if ended in (signal.SIGPROF, signal.SIGALRM) else "crash"
            alone, _, spent = _in_child(lambda n: _one(kind, seed, n, folder, False), [number])
            total += spent
            by = "of the reader" if not alone else f"of onnxruntime; without it: {alone[0][1]}, {alone[0][2]}"
            yield number, what if not alone else "crash of onnxruntime", f"signal {ended} {by}", 0.0
    yield total


def fuzz(kind, seconds, seed, keep=None, minutes=None, log=print):
    """Read mutated files until they have taken so many CPU seconds, or minutes; return the outcomes, counted."""
    warm(kind)
    end = np.inf if minutes is None else time.monotonic() + 60.0 * minutes
    counts, sentences, spent, first, slowest = collections.Counter(), collections.Counter(), 0.0, 0, (0.0, -1)
    with tempfile.TemporaryDirectory() as folder:
        while spent < seconds and time.monotonic() < end:
            for result in in_children(kind, seed, range(first, first + PER_CHILD), folder):
                if isinstance(result, float):
                    spent += result
                    continue
                number, what, text, took = result
                slowest = max(slowest, (took, number))
                counts[what, text if what == "accepted" else ""] += 1
                sentences[what, brief(text)] += 1
                if what not in GOOD:
                    log(f"{what}, file {number}: {text.strip()[-700:]}\n")
                    if keep:
                        Path(keep, f"{kind}_{seed}_{number}.{kind}").write_bytes(content_of(kind, seed, number))
            first += PER_CHILD
    log(f"{kind}: {first} files in {spent:.0f} CPU seconds; slowest {slowest[0]:.1f} s (file {slowest[1]})")
    for (what, text), count in counts.most_common():
        log(f"{count:8d} {what} {text}")
    for (what, text), count in sentences.most_common(40):
        log(f"    {count:8d} {what}: {text}")
    return counts


def brief(text):
    """Return a sentence without what differs from file to file, to count it."""
    text = text.strip().splitlines()[-1] if text.strip() else ""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\S*/net\.\w+|[-\d][\d.e+]*|\([^()]*\)|\[[^\[\]]*\]", "*", text)[:110]


def warm(kind):
    """Import and compile in the parent what the children need."""
    made, _ = seeds(kind)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"net.{kind}"
        path.write_bytes(made[0])
        network = pwlnet.load_network(path, check="off")
        _require_consistent(network, path)
        rounding_bound(network, np.zeros((1, *network.input_shape)))
    if kind == "onnx":
        import onnx.reference  # noqa: F401
        import onnxruntime  # noqa: F401


def main(argv=None):
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds")
    parser.add_argument("--minutes", type=float, help="end after these, on a busy machine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one file")
    parser.add_argument("--keep", help="folder for the files that were not read right")
    options = parser.parse_args(argv)
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    if options.only is not None:
        warm(options.kind)
        folder = options.keep or tempfile.mkdtemp()
        print(*in_children(options.kind, options.seed, [options.only], folder), sep="\n")
        return 0
    log = functools.partial(print, flush=True)
    counts = fuzz(options.kind, options.seconds, options.seed, options.keep, options.minutes, log)
    return int(any(what not in (*GOOD, "crash of onnxruntime") for what, _ in counts))


if __name__ == "__main__":
    sys.exit(main())
