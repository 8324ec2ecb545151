"""Whose turn is it? Strict levels of priority that never starve, and fair shares of time between connections.

Turns are counted in time, not in steps: a micro-batch of a prompt takes as long as several decode steps, and a
connection that floods the worker with prompts would otherwise get most of the machine while taking "every other turn".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

STARVATION_S = 0.5
"""A level that got nothing for so long gets one step: a flood of completions slows a chat down, but never stops it."""


class Turns:
    """Keeps the time that each connection was given, and since when each level has been waiting."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used: dict[int, float] = {}
        """Seconds by connection number, comparable only with each other."""
        self._passed_over_since: dict[int, float] = {}
        self._chosen: tuple[int, float] = (0, clock())
        """The level that has the step, and since when it had been waiting for it."""

    def used(self, client: int) -> float:
        """The connection with the least of it is next."""
        return self._used.get(client, 0.0)

    def arrive(self, client: int, others: Collection[int]) -> None:
        """A connection that had nothing to do wants to compute again, beside these others who do already.

        Time that it did not use is not saved up: it would shut out the others for as long.
        """
        least = min((self.used(other) for other in others), default=0.0)
        self._used[client] = max(self.used(client), least)

    def charge(self, clients: Collection[int], seconds: float) -> None:
        """A step took so long, with one row for each of these connections (repeated for several rows)."""
        for client in clients:
            self._used[client] = self.used(client) + seconds / len(clients)

    def forget(self, client: int) -> None:
        """The connection is gone."""
        self._used.pop(client, None)

    def level(self, levels: Collection[int]) -> int:
        """Choose the best level of those that could run, or one that was passed over for too long."""
        now = self._clock()
        self._passed_over_since = {n: since for n, since in self._passed_over_since.items() if n in levels}
        starving = [n for n, since in self._passed_over_since.items() if now - since > STARVATION_S]
        chosen = min(starving or levels)
        self._chosen = chosen, self._passed_over_since.pop(chosen, now)
        for n in levels:
            if n != chosen:
                self._passed_over_since.setdefault(n, now)
        return chosen

    @property
    def is_overdue(self) -> bool:
        """Whether the level that was chosen last has waited so long that nobody should take this step from it."""
        return self._clock() - self._chosen[1] > STARVATION_S

    def got_nothing(self) -> None:
        """Note that the step of the level that was chosen last was given up: it has been waiting all the time."""
        level, since = self._chosen
        self._passed_over_since[level] = since
