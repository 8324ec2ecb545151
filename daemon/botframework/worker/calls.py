"""The calls of llama.cpp that compute: noted in the flight recorder, watched, timed, ended early where that is safe.

Only a call that holds the prompt of one request may be aborted: of a decode step that several share, nobody can say
whose tokens are kept.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError
from botframework.worker.llama import DecodeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.wire.flight import FlightWriter
    from botframework.worker.engine import Lane
    from botframework.worker.requests import Job
    from botframework.worker.turns import Turns
    from botframework.worker.watchdog import Watchdog

log = logging.getLogger(__name__)

YIELDING_CHUNK = 16
"""Prompt tokens of a micro-batch that somebody's typing may end: what a key discards at most."""


class Calls:
    """Computes for the scheduling thread; `abort` and `hasten` may be called by any."""

    def __init__(self, flight: FlightWriter, watchdog: Watchdog, turns: Turns) -> None:
        self._flight = flight
        self._watchdog = watchdog
        self._turns = turns
        self._lock = threading.Lock()
        self._running: tuple[Job, Lane] | None = None
        """The job whose prompt alone is in the running call."""
        self._can_wait = False
        """Whether that call may be ended for who arrives, and not only when it is cancelled."""

    def abort(self, job: Job) -> None:
        """End the call that reads a job's prompt, if it is the running one."""
        with self._lock:
            if self._running is not None and self._running[0] is job:
                self._running[1].context.raise_abort()

    def hasten(self, arrived: Job) -> None:
        """End the running call if one that has just arrived should not wait for it."""
        with self._lock:
            if self._running is None or not self._can_wait or arrived.yields:
                return
            if self._running[0].yields or arrived.request.priority == "completion":
                self._running[1].context.raise_abort()

    def read(self, job: Job, lane: Lane, chunk: Sequence[int], *, output: bool) -> bool:
        """Read the next tokens of a job's prompt.

        Returns
        -------
        False when the call was ended before it was done; the job's sequence then has what is kept of it.

        Raises
        ------
        BotframeworkError
            llama.cpp refused the call.
        """
        sequence = job.sequence
        assert sequence is not None  # noqa: S101
        with self._lock:
            if job.cancelled:
                return False
            self._running = (job, lane)
            is_small = len(chunk) <= YIELDING_CHUNK
            self._can_wait = job.yields or (not job.is_fim and is_small and not self._turns.is_overdue)
        start = len(sequence.tokens)
        try:
            status = self._call(
                [job], lane, len(chunk), lambda: lane.context.decode_chunk(sequence.number, start, chunk, output=output)
            )
        finally:
            with self._lock:
                self._running = None
                lane.context.clear_abort()
        if status is DecodeStatus.ABORTED:
            lane.pool.settle(sequence)
            return False
        _expect_room(status)
        sequence.tokens += chunk
        return True

    def decode(self, jobs: list[Job], lane: Lane) -> None:
        """Read the next token of each job; row i of the logits is that of job i.

        Raises
        ------
        BotframeworkError
            llama.cpp refused the call.
        """
        rows = [(job.sequence.number, len(job.sequence.tokens), job.next_token) for job in jobs if job.sequence]
        _expect_room(self._call(jobs, lane, len(rows), lambda: lane.context.decode_rows(rows)))
        for job in jobs:
            if job.sequence is not None:
                job.sequence.tokens.append(job.next_token)

    def _call(self, jobs: list[Job], lane: Lane, tokens: int, compute: Callable[[], DecodeStatus]) -> DecodeStatus:
        self._flight.begin_call([job.request.fingerprint for job in jobs])
        self._watchdog.begin()
        began = time.monotonic()
        status = DecodeStatus.ABORTED
        try:
            status = compute()
        finally:
            took = time.monotonic() - began
            self._watchdog.end()
            self._flight.end_call()
            # What is done while nobody waits is not held against the one it was done for.
            self._turns.charge([job.client.number for job in jobs if not job.yields], took)
            for job in jobs:
                job.spent(took)
            if status is DecodeStatus.DONE:
                self._observe(lane, took, tokens)
        return status

    @staticmethod
    def _observe(lane: Lane, took: float, tokens: int) -> None:
        lane.speed.observe(tokens, took)
        n_threads = lane.governor.observe(took, tokens)
        if n_threads is not None:
            lane.context.set_threads(n_threads)
            log.info("computing with %d threads from now on (%s)", n_threads, lane.name)


def share_step(generating: list[Job]) -> list[Job]:
    """Who shares the next decode step: everybody of one connection, one of each when there are several.

    ``generating`` is in the order of their turns.
    """
    if not generating or generating[0].request.solo:
        return generating[:1]
    together = [job for job in generating if not job.request.solo]
    if len({job.client.number for job in together}) > 1:
        together = list({job.client.number: job for job in reversed(together)}.values())
    return together


def _expect_room(status: DecodeStatus) -> None:
    if status is not DecodeStatus.DONE:  # Cells are reserved before a job starts.
        raise BotframeworkError(f"llama_decode found no room in the KV cache ({status.name})")
