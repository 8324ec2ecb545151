"""What the scheduler counts: for the heartbeat, and for the usage of every answer."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botframework.worker.requests import Job
    from botframework.worker.sessions import Owner

RATE_WINDOW_S = 1.0
"""The tokens per second of the heartbeat are those of so long."""


class Counters:
    """Written by the scheduling thread; its plain figures may be read by any."""

    def __init__(self) -> None:
        self.prompt_tokens_read = 0
        self.background_tokens_read = 0
        self.tokens_generated = 0
        self.last_first_token_ms: dict[int, float] = {}
        """By connection number."""
        self._produced: deque[float] = deque()
        """When the tokens of the last second were generated."""
        self._since_answer: dict[tuple[Owner, bool], int] = {}
        """Prompt tokens by session and whether it is the completion context's: the name may be used in both."""

    @property
    def tokens_per_s(self) -> float:
        """Of the last second."""
        now = time.monotonic()
        return sum(now - at < RATE_WINDOW_S for at in list(self._produced)) / RATE_WINDOW_S

    def read(self, job: Job, count: int) -> None:
        """So many tokens of a job's prompt were read."""
        job.evaluated += count
        self.prompt_tokens_read += count
        if job.yields:
            self.background_tokens_read += count
        elif job.owner[1]:
            key = (job.owner, job.is_fim)
            self._since_answer[key] = self._since_answer.get(key, 0) + count

    def generated(self, job: Job) -> None:
        """A job got a token."""
        now = time.monotonic()
        self.tokens_generated += 1
        self._produced.append(now)
        while now - self._produced[0] > RATE_WINDOW_S:
            self._produced.popleft()
        if job.generated == 1:
            self.last_first_token_ms[job.client.number] = job.first_token_ms

    def answered(self, job: Job, *, is_answer: bool) -> int:
        """Prompt tokens read for a job's session since its previous answer; an answer begins the count anew."""
        if not job.owner[1] or job.yields:
            return job.evaluated
        key = (job.owner, job.is_fim)
        return self._since_answer.pop(key, 0) if is_answer else self._since_answer.get(key, 0)

    def forget(self, owner: Owner) -> None:
        """A session is closed."""
        for is_fim in (True, False):
            self._since_answer.pop((owner, is_fim), None)

    def forget_connection(self, connection: int) -> None:
        """A connection is gone."""
        self.last_first_token_ms.pop(connection, None)
        self._since_answer = {key: count for key, count in self._since_answer.items() if key[0][0] != connection}
