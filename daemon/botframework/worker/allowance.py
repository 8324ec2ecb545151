"""How much may be read ahead: what a connection's keys have earned.

Reading a full window costs seconds of a small machine, and somebody who goes from place to place would have one read at
every stop. So each key earns a little, and a window that nobody waits for is as large as what was saved. On a fast
machine a key earns so much that nothing ever waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botframework.worker.window import Budget

LEAST_SHARE = 0.5
"""Of a full window: a smaller one is not worth being read."""


class Allowance:
    """One connection's savings, in tokens: at first, and at most, one full window."""

    def __init__(self) -> None:
        self._spent = 0.0
        """Below a full window's tokens: how many of them."""

    def earn(self, budget: Budget) -> None:
        """A key was typed."""
        self._spent = max(0.0, min(self._spent, budget.full.total) - budget.ahead)

    def spend(self, tokens: int) -> None:
        """So many tokens were read ahead."""
        self._spent += tokens

    def window_tokens(self, budget: Budget) -> int:
        """Tokens that a window may have now; 0: it is not worth it yet."""
        saved = budget.full.total - self._spent
        return int(saved) if saved >= budget.full.total * LEAST_SHARE else 0
