"""How many tokens of a prompt are read in one call of llama.cpp: as many as nobody is kept waiting by.

A large micro-batch reads a token in less time; a small one lets a key through sooner, and loses less when one ends it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botframework.worker.calls import YIELDING_CHUNK

if TYPE_CHECKING:
    from botframework.worker.engine import Lane
    from botframework.worker.requests import Job

TYPING_S = 2.0
"""So long after a completion the next one is likely: prompts are read in small micro-batches."""


class Pace:
    """Sizes micro-batches. Used by the scheduling thread only."""

    def __init__(self) -> None:
        self._completed_at = float("-inf")
        """When a completion was last worked on."""
        self._cautious_until = float("-inf")
        """Keys come faster than micro-batches end: until then those of completions are small, so that they do end."""

    def completes(self) -> None:
        """A completion that somebody waits for begins or ends."""
        self._completed_at = time.monotonic()

    def was_interrupted(self) -> None:
        """A micro-batch of such a completion was ended before it was done."""
        self._cautious_until = time.monotonic() + TYPING_S

    def chunk(self, job: Job, lane: Lane, start: int) -> int:
        """How many tokens of a prompt to read at once, from the one at ``start`` on."""
        now = time.monotonic()
        size = lane.chunk
        waits_for_typing = job.yields or not job.is_fim
        is_typing = now - self._completed_at < TYPING_S if waits_for_typing else now < self._cautious_until
        if is_typing:
            size = min(size, YIELDING_CHUNK)
        if not lane.pool.can_cut and job.plan is not None and start < job.plan.fixed - 1:
            # To make a checkpoint there, one short: behind it there is always a token to be read for its logits.
            size = min(size, job.plan.fixed - 1 - start)
        return size
