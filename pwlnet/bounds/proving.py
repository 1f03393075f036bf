"""Prove claims about the neurons of one set by linear programs and branch and bound, neuron by neuron, in rounds."""

from .branching import CLOSED, REFUTED, Claims
from .relaxation import Builder


class Prover:
    """Linear programs and branch and bound for the open neurons of a Decider.

    Parameters
    ----------
    decider : Decider
    max_nodes : int
        Largest number of nodes for one neuron.
    progress : bool
    """

    def __init__(self, decider, max_nodes, progress):
        self.decider, self.max_nodes, self.progress = decider, max_nodes, progress
        builder = Builder(decider.elimination, decider.intervals, decider.point_set)
        self.nodes = Claims(builder, decider.evidence, decider.deadline, decider.tighten)
        self.proved_claims, self._used, self._hopeless = set(), {}, set()

    def run(self, budgets):
        """Prove as many claims as possible in rounds with a number of nodes for each neuron."""
        decider = self.decider
        self.nodes.builder.update(decider.intervals)
        for budget in budgets:
            numbers = [n for n in decider.open_neurons().tolist() if n not in self._hopeless]
            numbers = [n for n in numbers if self._used.get(n, 0) < self.max_nodes]
            numbers.sort(key=lambda number: decider.place[number])
            if not numbers or decider.is_over():
                break
            for number in _with_progress(numbers, self.progress, f"up to {budget} nodes each"):
                if decider.is_over():
                    break
                self._used[number] = self._used.get(number, 0) + budget
                if not self._prove(number, budget):
                    self._hopeless.add(number)
            decider.bound("alpha_crown")
            self.nodes.builder.update(decider.intervals)

    def _prove(self, number, budget):
        """Try to decide a neuron; return whether another attempt may help."""
        if self.decider.evidence.floats[number]:
            return False
        retry = False
        for claims in self.decider.claims(number):
            outcomes = []
            for target in claims:
                if target in self.proved_claims:
                    outcomes.append(CLOSED)
                    continue
                if self.nodes.is_stuck(target):
                    break
                outcomes.append(self.nodes.prove(target, budget, lambda t=target: self._contradicts(number, t)))
                if outcomes[-1] == CLOSED:
                    self._conclude(number, target)
                elif outcomes[-1] == REFUTED:
                    break
                else:
                    retry = retry or not self.nodes.is_stuck(target)
            if outcomes.count(CLOSED) == len(claims):
                self._fix_window(number, claims)
                return False
        refuted = not self.decider.evidence.floats[number] and any(c for c in self.decider.claims(number))
        return retry or (refuted and self._changed(number))

    def _changed(self, number):
        """Return whether a neuron has a claim that is not stuck."""
        return any(not any(self.nodes.is_stuck(t) for t in claims) for claims in self.decider.claims(number))

    def _contradicts(self, number, target):
        """Return whether the evidence contradicts a claim."""
        evidence, (s, _) = self.decider.evidence, self.decider.place[number]
        block = self.decider.elimination.blocks[s]
        if evidence.floats[number]:
            return True
        if block.windows is not None:
            window = block.windows[self.decider.place[number][1]].tolist()
            taps = [t for t, j in enumerate(window) if j == target.entries[0]]
            return all(t < 62 and not int(evidence.common_taps[number]) >> t & 1 for t in taps)
        if target.weights[0] > 0:
            return evidence.least[number] < target.threshold
        return evidence.largest[number] > -target.threshold

    def _conclude(self, number, target):
        """Record a claim that is proved."""
        if len(target.entries) == 2:
            self.proved_claims.add(target)
        elif target.weights[0] > 0:
            self.decider.lower[number] = max(self.decider.lower[number], target.threshold)
        else:
            self.decider.upper[number] = min(self.decider.upper[number], -target.threshold)

    def _fix_window(self, number, claims):
        """Record that a window has a winner, where all its comparisons are proved."""
        s, k = self.decider.place[number]
        window = self.decider.elimination.blocks[s].windows
        if window is not None and claims:
            self.decider.pool_states[number] = window[k].tolist().index(claims[0].entries[0])


def _with_progress(numbers, progress, text):
    if not progress:
        return numbers
    from tqdm import tqdm

    return tqdm(numbers, desc=text, unit="neuron")
