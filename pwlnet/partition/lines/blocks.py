"""Blocks of lines for the schedule: several short lines together, or one long line in windows.

How many lines a block holds follows from the time that the last ones took. That changes who waits for whom, but no result.

Legend: L lines, D inputs.
"""

import contextlib
import functools
import itertools
import numbers
import threading
import time
from collections import deque
from typing import NamedTuple

import numpy as np

from ... import evaluate
from ...errors import CapacityError, InputError
from . import check, planning
from .joining import clean_windows, join_windows
from .tracing import borrowed_tracer

TASK_SECONDS = 0.05  # what a block of short lines should take: long beside the cost of a task, short for someone who waits
NEURONS_PER_SECOND = 500_000  # a first guess: neurons of a network by seconds per line
MOST_LINES = 256
MOST_BYTES = 2**24  # of a block's starts or ends


class Settings(NamedTuple):
    """How lines are traced."""

    network: object
    tolerances: object
    memory: int
    n_checked: int
    max_segments: object


def check_points(max_points):
    """Refuse a number of breakpoints that can't be meant."""
    if not isinstance(max_points, numbers.Integral) or max_points < 1:
        raise InputError(f"max_points is {max_points!r}; a positive whole number is needed")


def check_limits(max_segments, memory, n_checked):
    """Refuse limits that can't be meant."""
    if max_segments is not None and max_segments < 1:
        raise InputError(f"max_segments is {max_segments}; at least 1 is needed, or None for no limit")
    if memory < 2**20:
        raise InputError(f"memory is {memory} bytes; at least {2**20} are needed")
    if n_checked < 0:
        raise InputError(f"n_checked is {n_checked}; 0 or more breakpoints are needed")


class Block:
    """Consecutive lines that are traced and checked together: what both kinds of blocks have in common.

    Parameters
    ----------
    settings : Settings
    first : int
        Number of the first line.
    starts, ends : float64[L, D]
    plans : list of Plan
        One for each line, or none for any.
    advance : callable
        Called with the number of lines that a task was.

    Attributes
    ----------
    traced : Traced
        Set in the end, like the next one.
    residual : float64[L]
    """

    def __init__(self, settings, first, starts, ends, plans, advance):
        self.settings, self.first, self.starts, self.ends = settings, first, starts, ends
        self.traced = self.residual = None
        self._plans, self._advance = plans, advance

    @property
    def nbytes(self):
        """Size of the result."""
        return sum(array.nbytes for array in (*self.traced, self.starts, self.ends, self.residual))

    @contextlib.contextmanager
    def _tracer(self):
        settings = self.settings
        with evaluate.single_threaded_blas(), borrowed_tracer(settings.network, settings.tolerances, settings.memory) as tracer:
            yield tracer

    def _check(self, tracer):
        """Set the residual, or raise CapacityError or NumericalError."""
        most, n_segments = self.settings.max_segments, self.traced.n_points + 1
        too_many = np.flatnonzero(n_segments > most) if most is not None else ()
        if len(too_many):
            k = too_many[0]
            raise CapacityError(
                f"line {self.first + k} has {n_segments[k]} segments, more than max_segments={most}; "
                "raise the limit or shorten the line"
            )
        network, n_checked = self.settings.network, self.settings.n_checked
        largest = np.stack([plan.largest for plan in self._plans]) if self._plans else None
        self.residual = check.residuals(
            network, self.starts, self.ends, self.traced, n_checked, tracer.forward_buffer, self.first, largest
        )


class WholeLines(Block):
    """Lines that one thread traces, one after the other. ``note_pace`` is called with the seconds per line."""

    def __init__(self, *arguments, note_pace):
        super().__init__(*arguments)
        self._note_pace = note_pace

    @property
    def tasks(self):
        """What threads have to do: list of callable."""
        return [self._work]

    def _work(self):
        began = time.thread_time()
        with self._tracer() as tracer:
            self.traced = tracer.trace_lines(self.starts, self.ends, self.first)
            self._check(tracer)
        self._note_pace((time.thread_time() - began) / len(self.starts))
        self._advance(len(self.starts))

    def finish(self):
        """Nothing is left to do."""


class LongLine(Block):
    """One line in windows that threads trace side by side."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._windows = [None] * (len(self._plans[0].cuts) - 1)

    @property
    def tasks(self):
        """What threads have to do: list of callable."""
        return [functools.partial(self._trace_window, k) for k in range(len(self._windows))]

    def _trace_window(self, k):
        with self._tracer() as tracer:
            t0, t1 = self._plans[0].cuts[k : k + 2]
            self._windows[k] = tracer.trace_window(self.starts[0], self.ends[0], t0, t1, self.first)
        self._advance(1 / len(self._windows))

    def finish(self):
        """Join the windows and check the line.

        Raises
        ------
        CapacityError
            It has too many segments.
        NumericalError
            Values overflow along it.
        """
        with self._tracer() as tracer:
            trace = functools.partial(tracer.trace_window, self.starts[0], self.ends[0], number=self.first)
            cuts = self._plans[0].cuts
            runs = clean_windows(zip(cuts[:-1], cuts[1:], self._windows, strict=True), trace)
            self.traced = join_windows(list(itertools.chain.from_iterable(runs)))
            self._windows = None
            self._check(tracer)


class LineBlocks:
    """The source of a schedule: blocks of consecutive lines.

    Parameters
    ----------
    settings : Settings
    lines : LineEnds
    threads : int
        Blocks become small at the end, so that all threads have work until then.
    advance : callable
        Called with the number of lines, or the part of one, that a task was.
    """

    def __init__(self, settings, lines, threads, advance):
        self._settings, self._lines, self._threads, self._advance = settings, lines, threads, advance
        self._seconds_per_line = settings.network.n_neurons / NEURONS_PER_SECOND
        self._next_line = 0
        self._ready = deque()

    @property
    def n_left(self):
        """Lines in blocks that are to come."""
        return len(self._lines) - self._next_line + len(self._ready)

    def draw(self):
        """The next block, or None behind the last."""
        if not self._ready and self._next_line < len(self._lines):
            first, self._next_line = self._next_line, self._next_line + self._lines_at_once()
            starts, ends = self._lines.read(first, self._next_line)
            self._ready.extend(self._cut_into_blocks(first, starts, ends))
        return self._ready.popleft() if self._ready else None

    def _lines_at_once(self):
        """Number of lines to take next: some hundredths of a second of work, less at the end if threads share it."""
        left = len(self._lines) - self._next_line
        share = left if self._threads == 1 else -(-left // (2 * self._threads))
        seconds = max(TASK_SECONDS / 8, min(TASK_SECONDS, share * self._seconds_per_line))
        by_time = int(seconds / self._seconds_per_line) if self._seconds_per_line > 0 else MOST_LINES
        by_size = MOST_BYTES // (8 * self._settings.network.n_inputs)
        return max(1, min(by_time, by_size, MOST_LINES, left))

    def _note_pace(self, seconds_per_line):
        self._seconds_per_line = seconds_per_line

    def _cut_into_blocks(self, first, starts, ends):
        """Blocks of some lines: long lines alone, those between them together."""
        network = self._settings.network
        if not planning.has_long_lines(network):
            return [self._block(first, starts, ends, [])]
        plans = planning.plan_lines(network, starts, ends, first)
        long = [k for k, plan in enumerate(plans) if len(plan.cuts) > 2]
        bounds = sorted({0, len(plans), *long, *(k + 1 for k in long)})
        parts = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        return [self._block(first + part.start, starts[part], ends[part], plans[part]) for part in parts]

    def _block(self, first, starts, ends, plans):
        arguments = self._settings, first, starts, ends, plans, self._advance
        if plans and len(plans[0].cuts) > 2:
            return LongLine(*arguments)
        return WholeLines(*arguments, note_pace=self._note_pace)


class Progress:
    """A progress bar on stderr that moves with the work done, parts of lines included; nothing where it isn't wanted."""

    def __init__(self, n_lines, wanted):
        self._done, self._lock, self._bar = 0.0, threading.Lock(), None
        if wanted:
            from tqdm import tqdm

            self._bar = tqdm(total=n_lines, unit="line")

    def advance(self, n_lines):
        """Count more lines, or a part of one; from any thread."""
        if self._bar is not None:
            with self._lock:
                self._done += n_lines
                shown = round(self._done, 2)
                self._bar.n = int(shown) if shown.is_integer() else shown
                self._bar.update(0)

    def reach(self, n_lines):
        """Count lines up to this number; from one thread."""
        self.advance(n_lines - self._done)

    def close(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
