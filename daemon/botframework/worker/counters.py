"""What the scheduler counts: for the heartbeat, and for the usage of every answer."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from botframework.worker.requests import Figures, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.worker.engine import Lane
    from botframework.worker.requests import Job
    from botframework.worker.sessions import Owner

RATE_WINDOW_S = 1.0
"""The tokens per second of the heartbeat are those of so long."""
SHORTEST_STEPS_S = 1e-4
"""Below it the clock, and not the model, says how fast it was."""


class Counters:
    """Written by the scheduling thread; its plain figures may be read by any."""

    def __init__(self) -> None:
        self.prompt_tokens_read = 0
        self.background_tokens_read = 0
        self.chat_tokens_discarded = 0
        self.tokens_generated = 0
        self.last_first_token_ms: dict[int, float] = {}
        """By connection number."""
        self.tokens_per_s = 0.0
        """While tokens were generated last, over at most a second; a pause between two answers is no part of it, so the
        speed can be read when a short answer is over. An answer of one token says nothing and changes nothing."""
        self._steps: deque[tuple[float, float]] = deque()
        """When tokens came that go on an answer, and how long after the token before; the newest second of them."""
        self._steps_s = 0.0
        self._token_at = 0.0
        self._since_answer: dict[tuple[Owner, bool], int] = {}
        """Prompt tokens by session and whether it is the completion context's: the name may be used in both."""

    def figures(self, jobs: Sequence[Job], lanes: Sequence[Lane], connection: int) -> Figures:
        """What the heartbeat of a connection's daemon tells of this moment; any thread."""
        return Figures(
            kv_tokens=sum(lane.pool.tokens for lane in lanes),
            kv_cells=sum(lane.context.n_cells for lane in lanes),
            queued=sum(job.phase is Phase.WAITING for job in jobs),
            running=sum(job.phase in (Phase.PREFILL, Phase.GENERATE) for job in jobs),
            tokens_per_s=self.tokens_per_s,
            last_first_token_ms=self.last_first_token_ms.get(connection, 0.0),
            n_threads=max((lane.governor.n_threads for lane in lanes), default=0),
            prompt_tokens_read=self.prompt_tokens_read,
            background_tokens_read=self.background_tokens_read,
            chat_tokens_discarded=self.chat_tokens_discarded,
            tokens_generated=self.tokens_generated,
        )

    def read(self, job: Job, count: int) -> None:
        """So many tokens of a job's prompt were read."""
        job.evaluated += count
        self.prompt_tokens_read += count
        if job.yields:
            self.background_tokens_read += count
        elif job.owner[1]:
            key = (job.owner, job.is_fim)
            self._since_answer[key] = self._since_answer.get(key, 0) + count

    def discarded(self, job: Job, count: int) -> None:
        """A micro-batch was ended before it was done: so many tokens of it have to be read again."""
        if not job.is_fim and not job.cancelled:
            self.chat_tokens_discarded += count

    def generated(self, job: Job) -> None:
        """A job got a token."""
        now = time.monotonic()
        self.tokens_generated += 1
        if job.generated == 1:
            self.last_first_token_ms[job.client.number] = job.first_token_ms
        else:
            self._steps.append((now, now - self._token_at))
            self._steps_s += now - self._token_at
            while now - self._steps[0][0] > RATE_WINDOW_S:
                self._steps_s -= self._steps.popleft()[1]
            self.tokens_per_s = len(self._steps) / max(self._steps_s, SHORTEST_STEPS_S)
        self._token_at = now

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
        self.forget_sessions(connection)

    def forget_sessions(self, connection: int) -> None:
        """All sessions of a connection are closed."""
        self._since_answer = {key: count for key, count in self._since_answer.items() if key[0][0] != connection}
