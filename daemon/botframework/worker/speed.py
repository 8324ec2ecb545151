"""How fast this machine reads prompts now: measured at load, and followed since.

Other processes, heat and batteries change it; what is sized by it (`worker.window`) should follow, but not twitch.
"""

from __future__ import annotations

import statistics
from collections import deque

RECENT_CALLS = 9
"""Micro-batches that make the median; a second of reading."""
MIN_CALLS = 3
"""Fewer say less than the measurement at load."""


class PrefillSpeed:
    """The speed of one context. Used by the scheduling thread only."""

    def __init__(self, tokens_per_s: float, full: int) -> None:
        """Begin with what was measured at load, for micro-batches of ``full`` tokens."""
        self._at_load = tokens_per_s
        self._full = full
        self._recent: deque[float] = deque(maxlen=RECENT_CALLS)

    def observe(self, tokens: int, seconds: float) -> None:
        """A micro-batch took so long. Small ones are not counted: they are slower for each token."""
        if tokens >= self._full and seconds > 0:
            self._recent.append(tokens / seconds)

    @property
    def tokens_per_s(self) -> float:
        """The median of the recent micro-batches."""
        return statistics.median(self._recent) if len(self._recent) >= MIN_CALLS else self._at_load
