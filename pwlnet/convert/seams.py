"""Continuous piecewise linear functions as graph nodes: check the seams, then emit the shortest equal form.

The two forms beside a knot must agree there. A difference of the size of a few roundings to float32 is no jump: files hold
``x > 0.3`` in one precision and ``x - 0.3`` in another. The knot is then moved to where the two forms meet.
"""

import numpy as np

from .graph import refuse
from .roots import elementwise_inputs

ROUNDING = 4.0 * float(np.finfo(np.float32).eps)  # of what was added up
EXACT = 16.0 * float(np.finfo(np.float64).eps)


def materialise(p):
    """Return a Piecewise as a tensor of the graph.

    Exact up to rounding: a jump of at most 4 float32 roundings is removed by moving the knot to where the forms meet.

    Parameters
    ----------
    p : Piecewise

    Returns
    -------
    Tensor

    Raises
    ------
    UnsupportedOperationError
        The function jumps; the message says where and by how much.
    """
    made = getattr(p, "_tensor", None)
    if made is None:
        made = _Emission(p).tensor()
        object.__setattr__(p, "_tensor", made)  # several readers share the neurons
    return made


class _Emission:
    """One Piecewise on its way to graph nodes."""

    def __init__(self, p):
        self.p, self.graph = p, p.graph
        n = max(a.shape[1] for a in (p.knots, p.const, *p.slopes.values()))
        rows = 2 * len(p.knots) + 1
        self.const, self.size = (np.broadcast_to(a, (rows, n)) for a in (p.const, p.size))
        self.slopes = {view: np.broadcast_to(a, (rows, n)) for view, a in p.slopes.items()}
        self.slope = self.slopes.pop(p.root, np.zeros((rows, n)))
        self.knots, self.knot_size = (np.broadcast_to(a, (len(p.knots), n)) for a in (p.knots, p.knot_size))
        self.n = n

    def tensor(self):
        """Return the tensor of the function."""
        fixed = {view: a for view, a in self.slopes.items() if (a == a[0]).all()}
        varying = {view: a for view, a in self.slopes.items() if view not in fixed}
        if varying:
            result = self._mixed(varying)
        else:
            turns, knots = self._seams()
            result = self._shortest(turns, knots)
        for view, a in fixed.items():
            if a[0].any():
                result = self.graph.add(result, self._scaled(view, a[0]), name=self.p.name)
        return result

    # Seams.

    def _jump(self, gap, knot, entry):
        where = self.graph.nodes[self.p.root.tensor.node].name
        refuse(
            self.p.name,
            self.p.kind,
            f"which jumps by {abs(gap.flat[entry]):.4g} where {where!r} crosses {knot.flat[entry]:.6g}, so it is not "
            "continuous; the values on both sides must agree there",
        )

    def _seams(self):
        """Return the changes of slope [K, n] and the knots [K, n] where the forms meet; refuse a jump."""
        a, b, k = self.slope, self.const, self.knots
        reach = np.maximum(np.abs(k), self.knot_size)
        turns = a[2::2] - a[:-1:2]
        shift = b[2::2] - b[:-1:2]
        gap = turns * k + shift
        scale = (np.abs(a[2::2]) + np.abs(a[:-1:2])) * reach + self.size[2::2] + self.size[:-1:2]
        with np.errstate(all="ignore"):
            meet = np.where(gap == 0, k, -shift / turns)
            near = np.abs(meet - k) <= ROUNDING * np.maximum(reach, np.abs(meet))
        parallel = turns == 0
        bad = np.abs(gap) > np.where(parallel, EXACT, ROUNDING) * scale
        bad |= ~parallel & ~near & (np.abs(gap) > EXACT * scale)
        if bad.any():
            self._jump(gap, k, int(np.flatnonzero(bad)[0]))
        at = a[1::2] * k + b[1::2] - (a[:-1:2] * k + b[:-1:2])
        off = np.abs(at) > ROUNDING * (scale + self.size[1::2] + np.abs(a[1::2]) * reach)
        if off.any():
            self._jump(at, k, int(np.flatnonzero(off)[0]))
        return turns, np.where(parallel | ~near, k, meet)

    def _mixed(self, varying):
        """Return a function whose forms differ by multiples of ``root - knot`` only after expansion of the other tensors."""
        knots = self.knots
        root = self._expanded({self.p.root: np.ones(self.n)})
        lead = max((atom for atom in root if atom is not None), key=lambda atom: np.abs(root[atom]).min(), default=None)
        if lead is None or not np.all(root[lead]):
            self._undecided()
        turns = []
        for j in range(len(knots)):
            turns.append(self._multiple(varying, 2 * j, 2 * j + 2, root, lead, knots[j]))
            beside = 2 * j if self._same(varying, 2 * j, 2 * j + 1) else 2 * j + 2
            self._multiple(varying, beside, 2 * j + 1, root, lead, knots[j])
        result = None
        for view, a in {**varying, self.p.root: self.slope}.items():
            if a[0].any():
                part = self._scaled(view, a[0])
                result = part if result is None else self.graph.add(result, part, name=self.p.name)
        if result is None:
            result = self._scaled(self.p.root, np.zeros(self.n))
        if self.const[0].any():
            result = self.graph.scale_shift(result, shift=self._spread(self.const[0]), name=self.p.name)
        return self._with_turns(result, np.array(turns), knots)

    def _same(self, varying, one, other):
        arrays = [*varying.values(), self.slope, self.const]
        return all((a[one] == a[other]).all() for a in arrays)

    def _undecided(self):
        refuse(
            self.p.name,
            self.p.kind,
            "which selects between activations where pwlnet can't show that they agree, so it may not be continuous; "
            "write it with maximum, minimum or relu",
        )

    def _multiple(self, varying, one, other, root, lead, knot):
        """Return m such that form ``other`` minus form ``one`` is m (root - knot), or refuse."""
        terms = {view: a[other] - a[one] for view, a in varying.items()}
        terms[self.p.root] = self.slope[other] - self.slope[one]
        total = self._expanded(terms)
        total[None] = total.get(None, 0.0) + self.const[other] - self.const[one]
        m = total.get(lead, np.zeros(self.n)) / root[lead]
        reach = self.size[one] + self.size[other] + np.abs(m) * np.maximum(np.abs(knot), 1.0)
        for atom in {**total, **root}:
            expected = m * (root.get(atom, 0.0) - (knot if atom is None else 0.0))
            scale = reach if atom is None else np.abs(m) + sum(np.abs(t) for t in terms.values())
            if (np.abs(total.get(atom, 0.0) - expected) > ROUNDING * scale).any():
                self._undecided()
        return m

    def _expanded(self, terms):
        """Return a sum of views as a sum over views that are not sums themselves; the key None stands for the constant."""
        result, stack = {None: np.zeros(self.n)}, list(terms.items())
        while stack:
            view, factor = stack.pop()
            node = self.graph.nodes[view.tensor.node]
            if node.kind == "add":
                pairs = zip(elementwise_inputs(self.graph, view), node.attributes["coefficients"])
                stack.extend((v, c * factor) for v, c in pairs)
            elif node.kind == "scale_shift" and not (self.n == 1 and np.size(node.attributes["scale"]) > 1):
                scale, shift = (self._entries(node, view, node.attributes[key]) for key in ("scale", "shift"))
                if scale is None or shift is None:
                    result[view] = result.get(view, 0.0) + factor
                    continue
                stack.append((elementwise_inputs(self.graph, view)[0], factor * scale))
                result[None] = result[None] + factor * shift
            else:
                result[view] = result.get(view, 0.0) + factor
        return result

    def _entries(self, node, view, value):
        value = np.broadcast_to(np.asarray(value, np.float64), node.shape).ravel()
        value = value if view.index is None else value[view.index]
        if value.size and (value == value[0]).all():
            return value[:1]
        return value if self.n == value.size else None

    # Emission.

    def _spread(self, row):
        """Return one number per entry as a constant that broadcasts to the result."""
        return row[0] if row.size and (row == row[0]).all() else row.reshape(self.p.shape)

    def _base(self, view):
        x = view.tensor
        if view.index is None:
            return x if x.shape == self.p.shape else self.graph.reshape(x, self.p.shape, name=self.p.name)
        return self.graph.layout(x, view.index.reshape(self.p.shape), name=self.p.name)

    def _scaled(self, view, factor, shift=None):
        """Return ``factor * view + shift``, without a node where that is the view itself."""
        x = self._base(view)
        shift = np.zeros(1) if shift is None else shift
        if (factor == 1).all() and not shift.any():
            return x
        return self.graph.scale_shift(x, self._spread(factor), self._spread(shift), name=self.p.name)

    def _with_turns(self, result, turns, knots):
        """Add ``turn * relu(root - knot)`` for each knot with a change of slope."""
        for turn, knot in zip(turns, knots):
            if turn.any():
                bent = self.graph.relu(self._scaled(self.p.root, np.ones(1), -knot), name=self.p.name)
                if not (turn == 1).all():
                    bent = self.graph.scale_shift(bent, self._spread(turn), name=self.p.name)
                result = bent if result is None else self.graph.add(result, bent, name=self.p.name)
        return result

    def _shortest(self, turns, knots):
        """Return the function of the root in the form with the fewest neurons."""
        if turns.any():
            kept = turns.any(axis=1)
            turns, knots, slopes, consts = turns[kept], knots[kept], self._rows(self.slope, kept), self._rows(self.const, kept)
            if len(knots) == 1:
                return self._one_knot(turns, knots, slopes, consts)
            if len(knots) == 2 and (np.diff(knots, axis=0) > 0).all():
                made = self._two_knots(knots, slopes, consts)
                if made is not None:
                    return made
            start = self._scaled(self.p.root, slopes[0], consts[0]) if slopes[0].any() or consts[0].any() else None
            return self._with_turns(start, turns, knots)
        return self._scaled(self.p.root, self.slope[0], self.const[0])

    def _rows(self, array, kept):
        """Return the rows of the intervals that begin at minus infinity or at a kept knot."""
        return np.concatenate([array[:1], array[2::2][kept]])

    def _one_knot(self, turns, knots, slopes, consts):
        (a, c), (knot,) = slopes, knots
        value = np.where(a == 0, consts[0], np.where(c == 0, consts[1], c * knot + consts[1]))
        graph, name, root = self.graph, self.p.name, self.p.root
        scalar = (knot == knot[0]).all()
        if scalar and (((a == 0) & (c == 1)).all() or ((a == 1) & (c == 0)).all()):
            bound = {"lower": knot[0]} if (c == 1).all() else {"upper": knot[0]}
            return self._shifted(graph.clip(self._base(root), **bound, name=name), value - knot)
        if (c != 0).all():
            bent = graph.leaky_relu(self._scaled(root, np.ones(1), -knot), self._spread(a / c), name=name)
            if (a == 0).all():
                bent = graph.relu(self._scaled(root, np.ones(1), -knot), name=name)
            return self._affine(bent, c, value)
        if (a != 0).all() and (c == 0).all():
            return self._affine(graph.relu(self._scaled(root, -np.ones(1), knot), name=name), -a, value)
        return self._with_turns(self._scaled(root, a, consts[0]), turns, knots)

    def _two_knots(self, knots, slopes, consts):
        (first, middle, last), (low, high) = slopes, knots
        graph, name, root = self.graph, self.p.name, self.p.root
        scalar = all((r == r[0]).all() for r in (low, high))
        if not scalar or not (first == last).all():
            return None
        if not first.any() and (middle == middle[0]).all() and all((c == c[0]).all() for c in consts[::2]):
            lower, upper = sorted((consts[0][0], consts[2][0]))
            return graph.clip(self._scaled(root, middle, consts[1]), lower, upper, name=name)
        clipped = self._affine(graph.clip(self._base(root), low[0], high[0], name=name), middle - first, None)
        value = consts[0] - (middle - first) * low
        if first.any():
            clipped = graph.add(self._scaled(root, first), clipped, name=name)
        return self._shifted(clipped, np.where(np.abs(value) <= EXACT * (np.abs(consts[0]) + np.abs(low)), 0.0, value))

    def _affine(self, x, factor, shift):
        shift = np.zeros(1) if shift is None else shift
        if (factor == 1).all() and not shift.any():
            return x
        return self.graph.scale_shift(x, self._spread(factor), self._spread(shift), name=self.p.name)

    def _shifted(self, x, shift):
        return self.graph.scale_shift(x, shift=self._spread(shift), name=self.p.name) if shift.any() else x
