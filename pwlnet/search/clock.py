"""Time limits."""

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """The time since the start, and whether it is up."""

    limit: float | None

    def __post_init__(self):
        self._start = time.perf_counter()

    @property
    def seconds(self):
        """Seconds since the start: float."""
        return time.perf_counter() - self._start

    @property
    def left(self):
        """Seconds that are left, at least 0; None without a limit."""
        return None if self.limit is None else max(0.0, self.limit - self.seconds)

    def is_up(self):
        """Return whether no time is left."""
        return self.left == 0.0
