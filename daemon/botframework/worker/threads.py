"""How many threads compute: measured at load, lowered while other processes take the cores.

llama.cpp's threads wait for each other by spinning. When another process occupies one of their cores, every step waits
for the thread that lost its core, and decoding slows down by an order of magnitude; one thread fewer is then faster.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW_FACTOR = 3.0
"""A decode step of more than this many medians lost its cores; cache effects and longer contexts stay below two."""
WINDOW_STEPS = 64
"""Steps that make the median."""
MIN_STEPS = 16
"""Fewer say nothing about what is usual."""
SLOW_STEPS = 4
"""So many of the last eight steps must be slow: one is an interruption, not a competitor."""
RECENT_STEPS = 8
RECOVERY_S = 20.0
"""After this long the taken thread is given back for another try."""


class ThreadGovernor:
    """Watches decode steps of one row and says when the thread count should change."""

    def __init__(self, n_threads: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.wanted = n_threads
        """The count chosen at load."""
        self.n_threads = n_threads
        self._clock = clock
        self._usual: dict[int, deque[float]] = {}
        """By thread count: after a trial in vain the slow steps of the trial must not have become the usual ones."""
        self._recent: deque[bool] = deque(maxlen=RECENT_STEPS)
        self._lowered_at = 0.0

    def observe(self, step_s: float) -> int | None:
        """Take the duration of one step; the new thread count if it should change."""
        if self.n_threads < self.wanted and self._clock() - self._lowered_at > RECOVERY_S:
            return self._change(self.wanted)
        usual = self._usual.setdefault(self.n_threads, deque(maxlen=WINDOW_STEPS))
        if len(usual) < MIN_STEPS:
            usual.append(step_s)
            return None
        slow = step_s > SLOW_FACTOR * statistics.median(usual)
        self._recent.append(slow)
        if not slow:  # Slow steps must not become the usual.
            usual.append(step_s)
        if sum(self._recent) >= SLOW_STEPS and self.n_threads > 1:
            return self._change(self.n_threads - 1)
        return None

    def _change(self, n_threads: int) -> int:
        self.n_threads = n_threads
        self._lowered_at = self._clock()
        self._recent.clear()
        return n_threads
