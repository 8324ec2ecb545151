"""When an answer may begin: not so early that the next key throws it away, not so late that anybody waits for it.

Prompts are read at every change, so only the writing of the answer waits. The aim is that the suggestion appears when
its user has paused for a little longer than between two keys. What the model is known to need is taken off: on a
machine that writes more slowly than its user types, nothing waits at all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_INTERVAL_S = 0.6
"""A longer pause is a thought and says nothing about the rhythm of typing."""
PAUSE_FACTOR = 1.25
"""Of the usual interval: most next keys have come by then."""
LONGEST_WAIT_S = 0.15
"""After the last key; more is felt as slowness, and slow typists have the time to read between two keys."""
MEMORY = 0.25
"""The share of the newest value in a running mean: about the last seven."""


class Rhythm:
    """How its user types and how fast the model answers, of all documents together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_key: float | None = None
        self._interval_s: float | None = None
        self._answer_s = 0.0

    def key(self) -> None:
        """A character was typed or deleted."""
        now = self._clock()
        if self._last_key is not None and now - self._last_key <= LONGEST_INTERVAL_S:
            self._interval_s = _mean(self._interval_s, now - self._last_key)
        self._last_key = now

    def answered(self, seconds: float) -> None:
        """The model has answered a request for ghost text, after so long."""
        self._answer_s = _mean(self._answer_s or None, seconds)

    def wait_s(self) -> float:
        """How long an answer should wait that was asked for now; 0 if nobody is typing."""
        if self._last_key is None or self._interval_s is None:
            return 0.0
        pause_s = min(PAUSE_FACTOR * self._interval_s, LONGEST_WAIT_S)
        return max(0.0, pause_s - self._answer_s - (self._clock() - self._last_key))


def _mean(old: float | None, new: float) -> float:
    return new if old is None else old + MEMORY * (new - old)
