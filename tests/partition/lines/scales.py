"""Lines at extreme scales of inputs and weights, against exact arithmetic: right, counted as ambiguous, refused, or wrong.

``python -m tests.partition.lines.scales [cases]`` prints how often which was met, for each scale and kind of case.

Networks and lines are those of ``random_cases``, generic and degenerate, with numbers multiplied by powers of two.
"""

import sys
from collections import Counter
from fractions import Fraction

import numpy as np

import pwlnet
from pwlnet.errors import PwlnetError
from tests.described import to_network
from tests.reference import exact_line
from tests.reference.random_cases import random_case
from tests.reference.rescaling import rescaled_by_powers_of_two

EXPONENTS = (-500, -400, -300, -200, -100, -30, 30, 100, 200, 300, 400, 500)
CLOSEST = Fraction(8, 2**53)
OUTCOMES = ("right", "ambiguous", "refused", "wrong")
SCALED = ("weight", "scale")  # attributes of nodes
CONSTANT = ("bias", "shift")


def _inputs(rng, description, start, end, k):
    """The line is 2**k times as long."""
    return description, start * 2.0**k, end * 2.0**k


def _weights(rng, description, start, end, k):
    """Weights and biases are 2**k times as large."""
    return _multiplied(description, lambda node, x, is_weight: np.ldexp(x, k)), start, end


def _weights_only(rng, description, start, end, k):
    """Weights are 2**k times as large, biases as they were."""
    return _multiplied(description, lambda node, x, is_weight: np.ldexp(x, k) if is_weight else x), start, end


def _both(rng, description, start, end, k):
    """The line is longer, and weights are smaller by the same factor; or the reverse."""
    return *_weights_only(rng, description, start, end, -k)[:1], start * 2.0**k, end * 2.0**k


def _opposite(rng, description, start, end, k):
    """Weights of one layer are larger, those of the next one smaller."""
    numbers = iter(range(len(description)))
    signs = {id(node): 1 - 2 * (next(numbers) % 2) for node in description if any(name in node for name in SCALED)}
    changed = _multiplied(description, lambda node, x, is_weight: np.ldexp(x, signs[id(node)] * k) if is_weight else x)
    return changed, start, end


def _neurons(rng, description, start, end, k):
    """Each neuron has its own unit, between 2**-|k| and 2**|k| of what it was."""
    changed, factors = rescaled_by_powers_of_two(description, rng, np.arange(-abs(k), abs(k) + 1, 10).astype(float))
    return changed, start * factors, end * factors


def _mixed(rng, description, start, end, k):
    """Each weight is multiplied by another power of two."""

    def change(node, x, is_weight):
        return np.ldexp(x, rng.integers(-abs(k), abs(k) + 1, np.shape(x)))

    return _multiplied(description, change), start, end


KINDS = {
    "inputs": _inputs,
    "weights": _weights,
    "weights, not biases": _weights_only,
    "inputs against weights": _both,
    "layer against layer": _opposite,
    "neurons": _neurons,
    "each weight": _mixed,
}


def _multiplied(description, change):
    """Change the weights and constants of all nodes."""
    changed = []
    for node in description:
        new = {name: change(node, node[name], name in SCALED) for name in (*SCALED, *CONSTANT) if node.get(name) is not None}
        changed.append({**node, **new})
    return changed


def case(seed, kind, k):
    """Return a network and a line at a scale: (description, start, end)."""
    description, starts, ends = random_case(seed)
    line = seed % 3
    with np.errstate(over="ignore", under="ignore"):
        return KINDS[kind](np.random.default_rng(seed), description, starts[line], ends[line], k)


def outcome(description, start, end, **options):
    """Compare a line with the exact one: one of OUTCOMES, and the message of a refusal."""
    try:
        lines = pwlnet.partition_lines(to_network(description), start[None], end[None], threads=1, **options)
        part = lines.parts[0]
        states = part.states()
    except PwlnetError as error:
        return "refused", str(error)
    t, pattern = _told_apart(exact_line.trace(description, start, end))
    if len(part.t) == len(t) and np.array_equal(states, pattern):
        farthest = max(abs(a - Fraction(b)) for a, b in zip(t, part.t.tolist(), strict=True))
        return ("right" if farthest <= part.t_error + CLOSEST else "wrong"), ""
    return ("ambiguous" if lines.ambiguous[0] else "wrong"), ""


def _told_apart(exact):
    """Leave out segments that are shorter than CLOSEST, relative to t: (breakpoints, states)."""
    t, pattern = [exact.t[0]], []
    for end, states in zip(exact.t[1:], exact.pattern(), strict=True):
        if end - t[-1] <= CLOSEST * end and end < 1:
            continue
        if pattern and (
            end - t[-1] <= CLOSEST or (pattern[-1] == states).all()
        ):  # the last segment is short, or nothing changes
            t[-1] = end
        else:
            t.append(end)
            pattern.append(states)
    return t, np.array(pattern)


def main():
    """Print the table; exit with 1 if a line is wrong."""
    n, bad = int(sys.argv[1]) if len(sys.argv) > 1 else 40, []
    sys.stdout.write(f"{'scaled':24} {'2^k':>5} " + " ".join(f"{name:>9}" for name in OUTCOMES) + "\n")
    for kind in KINDS:
        for k in EXPONENTS:
            counts = Counter()
            for seed in range(n):
                found, _ = outcome(*case(seed, kind, k))
                counts[found] += 1
                bad += [(kind, k, seed)] if found == "wrong" else []
            sys.stdout.write(f"{kind:24} {k:5} " + " ".join(f"{counts[name]:9}" for name in OUTCOMES) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"wrong: {bad}\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
