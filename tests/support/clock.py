"""A clock that a test sets."""

from __future__ import annotations


class Clock:
    """Seconds since nothing in particular; stands still until ``now`` is changed."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now
