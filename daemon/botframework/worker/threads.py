"""How many threads compute: measured at load, lowered while other processes take the cores.

llama.cpp's threads wait for each other many hundred times in every step. When another process occupies one of their
cores, each of these waits may last a time slice of the system: steps of 20 ms (one token) and 290 ms (64 tokens) were
seen to take 2.7 s. Not every step is hit so, and therefore lost time counts as well as slow steps.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW_FACTOR = 3.0
"""A step of more than this many medians lost its cores; cache effects and longer contexts stay below two."""
WINDOW_STEPS = 64
"""Steps that make the median."""
MIN_STEPS = 8
"""Fewer say nothing about what is usual."""
RECENT_STEPS = 8
"""Steps of any size that are judged together."""
SLOW_STEPS = 4
"""So many of the recent steps must be slow: one is an interruption, not a competitor."""
MAX_LOST_S = 0.5
"""Time lost in the recent steps beyond which a thread is taken at once: whoever waits has noticed."""
MAX_LOST_STEPS = 5
"""The lost time must also be worth so many usual steps: where a step takes half a second, a lost second says little."""
RECOVERY_S = 20.0
"""After this long the taken thread is given back for another try."""
MAX_RECOVERY_S = 640.0
"""The pause before the next try is doubled up to this after one in vain, which cost somebody a slow step."""


class ThreadGovernor:
    """Watches the steps of one context and says when the thread count should change."""

    def __init__(self, n_threads: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.wanted = n_threads
        """The count chosen at load."""
        self.n_threads = n_threads
        self._clock = clock
        self._usual: dict[tuple[int, int], deque[float]] = {}
        """Seconds by thread count and size of a step; after a try in vain its slow steps must not be the usual ones."""
        self._lost: deque[tuple[float, float]] = deque(maxlen=RECENT_STEPS)
        """What recent steps lost, in seconds and in usual steps; nothing if they were not slow."""
        self._changed_at = 0.0
        self._recovery_s = RECOVERY_S
        self._tried_from = 0
        """The count that a try under way goes back to when it is in vain; 0: none is under way."""

    def observe(self, step_s: float, tokens: int = 1) -> int | None:
        """Take the duration of a step that evaluated so many tokens; the new thread count if it should change."""
        if self._clock() - self._changed_at > self._recovery_s:
            if self.n_threads < self.wanted:
                self._tried_from = self.n_threads
                return self._change(self.wanted)
            self._tried_from, self._recovery_s = 0, RECOVERY_S
        # A step reads all weights once and then pays for each token: sizes within a factor of two are comparable.
        usual = self._usual.setdefault((self.n_threads, tokens.bit_length()), deque(maxlen=WINDOW_STEPS))
        if len(usual) < MIN_STEPS:
            usual.append(step_s)
            return None
        median = statistics.median(usual)
        if step_s <= SLOW_FACTOR * median:  # Slow steps must not become the usual.
            usual.append(step_s)
            self._lost.append((0.0, 0.0))
            return None
        self._lost.append((step_s - median, step_s / median - 1))
        if self.n_threads == 1 or not self._has_competitor():
            return None
        if self._tried_from:
            self._recovery_s = min(2 * self._recovery_s, MAX_RECOVERY_S)
        n_threads, self._tried_from = self._tried_from or self.n_threads - 1, 0
        return self._change(n_threads)

    def _has_competitor(self) -> bool:
        seconds, steps = map(sum, zip(*self._lost, strict=True))
        is_costly = seconds >= MAX_LOST_S and steps >= MAX_LOST_STEPS
        return is_costly or sum(lost > 0 for lost, _ in self._lost) >= SLOW_STEPS

    def _change(self, n_threads: int) -> int:
        self.n_threads = n_threads
        self._changed_at = self._clock()
        self._lost.clear()
        return n_threads
