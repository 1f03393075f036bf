"""Mutate study files: reading, checking and small dry runs may raise errors of pwlnet only.

``python -m tests.studies.fuzz --seconds 600`` runs for that time and prints what was found.
"""

import argparse
import collections
import os
import random
import signal
import tempfile
import time
import traceback
from pathlib import Path

from pwlnet import studies
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import PwlnetError

from .valid import SMALL, write_study

WORDS = [
    "", " ", "0", "-1", "1", "1e308", "-0.0", "nan", "inf", "-inf", "true", "[]", "[[]]", "{}", '""', '"zero"', '"digits"',
    "2026-11-28", "9223372036854775808", "1000000000000", "[0, 1]", "[1, 0]", "[0, 0, 0]", "[[0, 1], [2, 3]]", '"points.npy"',
    '"net.h5"', '"labels.csv"', '"../x.npy"', '"/x.npy"', '"points.npy:a"', '"a\\u0000b"', '"' + "x" * 5000 + '"', "[" * 3000,
    '"é"', "'''", "0x10", '"exact"', '"random"', '"baseline"', '"pairs"', '"box"', '"around"', '"."', '"small.toml"',
    '"none"', "{a = 1}", "1e-320", '"labels"', "[1e200, 1e300]", "[0, 1, 2]", "[0.0, 2.0]", '"mean"', "2", "0.5",
]  # fmt: skip
BYTES = [b"\x00", b"\xff", b"\n", b"[", b"]", b'"', b"=", b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf", b"#", b"\r"]


def mutate(rng, text):
    """Change a study a few times: values, keys, lines and tables, or bytes."""
    content = text
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        lines = content.split(b"\n")
        settings = [k for k, line in enumerate(lines) if b" = " in line]
        kind = rng.randrange(8)
        if kind <= 2 and settings:  # another value
            k = rng.choice(settings)
            lines[k] = lines[k].split(b" = ")[0] + b" = " + rng.choice(WORDS).encode()
        elif kind == 3 and settings:  # a value of another key
            k, other = rng.choice(settings), rng.choice(settings)
            lines[k] = lines[k].split(b" = ")[0] + b" = " + lines[other].split(b" = ")[-1]
        elif kind == 4:  # without a line, or twice
            k = rng.randrange(len(lines))
            lines[k : k + 1] = [lines[k]] * rng.choice((0, 0, 2))
        elif kind == 5:  # a line elsewhere
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        elif kind == 6 and settings:  # another key
            k = rng.choice(settings)
            lines[k] = rng.choice(lines[rng.choice(settings)].split(b" = ")) + b" = " + lines[k].split(b" = ")[-1]
        content = b"\n".join(lines)
        if kind == 7 and rng.random() < 0.3:
            k = rng.randrange(len(content) + 1)
            content = content[:k] + rng.choice(BYTES) + content[k + rng.choice((0, 1, 1, 20)) :]
    return content


def network():
    """Return a small network of three inputs and two outputs."""
    graph = Graph((1, 3), batched=True)
    x = graph.relu(
        graph.linear(graph.input, [[1.0, 2.0, -1.0], [0.5, -1.0, 0.25]] * 3, [0.1, 0.2] * 3, name="first"), name="relu"
    )
    graph.output = graph.linear(x, [[1.0, -1.0] * 3, [0.5, 2.0] * 3], [0.0, 0.1], name="last")
    return lower(graph)


def one_table(rng):
    """Return a study with one or two of the analyses, so that checks of the later ones are reached too."""
    head, *analyses = SMALL.split("[[analysis]]")
    return "[[analysis]]".join([head, *rng.sample(analyses, rng.choice((1, 1, 2)))]).encode()


def try_one(rng, path, *, dry_runs=0.02):
    """Read a mutated study, and what it names; return the name of the error, "valid", or raise what must not be raised."""
    path.write_bytes(mutate(rng, one_table(rng)))
    try:
        study = studies.read_study(path)
        studies.make_tasks(study)
        if rng.random() < dry_runs:
            studies.estimate_study(study, seconds=0.02)
    except PwlnetError as error:
        text = str(error)
        if not text.startswith(str(path)) or "\n" in text:
            raise AssertionError(f"the message {text!r} does not begin with the study, or has several lines") from error
        return type(error).__name__
    return "valid"


def main():
    """Mutate studies for a time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # prints what was found, as Ctrl-C does
    counts, failures, start, seed = collections.Counter(), {}, time.process_time(), options.seed
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path = write_study(Path("."), network())
        while time.process_time() - start < options.seconds:
            try:
                counts[try_one(random.Random(seed), path)] += 1
            except KeyboardInterrupt:
                break
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                key = f"{type(error).__name__} in {where.filename.rpartition('/')[2]}:{where.lineno}"
                failures.setdefault(key, (seed, traceback.format_exc(), path.read_bytes()[:3000]))
                counts[key] += 1
            seed += 1
    print(f"{seed - options.seed} studies in {time.process_time() - start:.0f} CPU seconds: {dict(counts)}")
    for key, (first, trace, content) in failures.items():
        print(f"--- {key}, seed {first}\n{trace}\n{content.decode(errors='replace')}")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
