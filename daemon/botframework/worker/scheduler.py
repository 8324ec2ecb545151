"""The one loop: admit, choose, compute a step, hand out its tokens.

Everything that computes happens in this thread, one llama.cpp call at a time, so the two contexts never compete. A
call is either one decode step (a token for each of several generating sequences) or one micro-batch of one prompt.
After each call the loop looks at what has arrived: there a completion overtakes a chat and a cancelled request leaves.

Who is next is decided by `worker.turns`: the best level of priority, and in it the connection that had the least time.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError, DeadlineExceeded, InvalidParams
from botframework.wire import messages as wire
from botframework.worker import sampling
from botframework.worker.llama import DecodeStatus, SamplerChain
from botframework.worker.requests import Figures, Job, Phase
from botframework.worker.turns import STARVATION_S, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.wire.flight import FlightWriter
    from botframework.worker.engine import Engine, Lane
    from botframework.worker.requests import Client
    from botframework.worker.sessions import Owner
    from botframework.worker.watchdog import Watchdog

log = logging.getLogger(__name__)

RATE_WINDOW_S = 1.0
"""The tokens per second of the heartbeat are those of so long."""


class Scheduler:
    """Owns the engine and all jobs. `post`, `cancel` and the figures may be used by any thread, the rest by its own."""

    def __init__(self, engine: Engine, flight: FlightWriter, watchdog: Watchdog) -> None:
        self._engine = engine
        self._flight = flight
        self._watchdog = watchdog
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._jobs: list[Job] = []
        self._clients: dict[int, Client] = {}
        self._turns = Turns()
        self._prefilled_last = False
        self._has_new_room = False
        """Somebody left since those who wait were last looked at."""
        self._read_since_answer: dict[tuple[Owner, bool], int] = {}
        """Prompt tokens by session and whether it is the completion context's: the name may be used in both."""
        self._abort_lock = threading.Lock()
        self._abortable: tuple[Job, Lane] | None = None
        """The job whose prompt alone is in the running call; only such a call may be aborted."""
        self._produced: deque[float] = deque()
        """When the tokens of the last second were generated."""
        self.last_first_token_ms: dict[int, float] = {}
        """By connection number."""

    # --- any thread ---------------------------------------------------------------------------------------------------

    def post(self, event: Callable[[], None]) -> None:
        """Have something done by the scheduling thread, soon."""
        self._inbox.put(event)

    def cancel(self, job: Job) -> None:
        """Stop a job, even inside its prompt's micro-batch."""
        job.cancelled = True
        with self._abort_lock:
            if self._abortable is not None and self._abortable[0] is job:
                self._abortable[1].context.raise_abort()
        self.post(_nothing)

    def figures(self, client: Client) -> Figures:
        """What the heartbeat tells of this moment."""
        now = time.monotonic()
        jobs = list(self._jobs)
        lanes = self._engine.lanes
        return Figures(
            kv_tokens=sum(lane.pool.tokens for lane in lanes),
            kv_cells=sum(lane.context.n_cells for lane in lanes),
            queued=sum(job.phase is Phase.WAITING for job in jobs),
            running=sum(job.phase in (Phase.PREFILL, Phase.GENERATE) for job in jobs),
            tokens_per_s=sum(now - at < RATE_WINDOW_S for at in list(self._produced)) / RATE_WINDOW_S,
            last_first_token_ms=self.last_first_token_ms.get(client.number, 0.0),
            n_threads=max((lane.governor.n_threads for lane in lanes), default=0),
        )

    # --- the scheduling thread ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            self._take_events()
            self._sweep()
            self._admit()
            self._step()

    def submit(self, job: Job) -> None:
        """Take a job; a chat comes with its prompt prepared."""
        if job.cancelled:  # While it was prepared; perhaps its connection has gone with it.
            job.finish("cancelled", 0)
        elif job.failure is not None:
            job.fail(job.failure)
        else:
            number = job.client.number
            busy = {other.client.number for other in self._jobs}
            if number not in busy:
                self._turns.arrive(number, busy)
            self._clients[number] = job.client
            self._jobs.append(job)

    def client_gone(self, client: Client) -> None:
        """Drop everything of a connection."""
        for job in [job for job in self._jobs if job.client is client]:
            self._leave(job, keep=False)
        self._clients.pop(client.number, None)
        self._turns.forget(client.number)
        self.last_first_token_ms.pop(client.number, None)
        self._read_since_answer = {k: n for k, n in self._read_since_answer.items() if k[0][0] != client.number}
        for lane in self._engine.lanes:
            lane.pool.close_connection(client.number)

    def sessions(self, client: Client) -> tuple[wire.SessionInfo, ...]:
        """List a connection's sessions."""
        now = time.monotonic()
        return tuple(
            wire.SessionInfo(
                session=sequence.owner[1] if sequence.owner else "",
                context=lane.name,
                tokens=len(sequence.tokens),
                busy=sequence.busy,
                idle_s=0.0 if sequence.busy else now - sequence.used_at,
            )
            for lane in self._engine.lanes
            for sequence in lane.pool.of_connection(client.number)
        )

    def close_session(self, client: Client, name: str) -> None:
        """Forget a session; what runs in it is cancelled first."""
        owner = (client.number, name)
        for job in [job for job in self._jobs if job.owner == owner]:
            self._end(job, "cancelled")
        for lane in self._engine.lanes:
            lane.pool.close(owner)
        for is_fim in (True, False):
            self._read_since_answer.pop((owner, is_fim), None)

    def _take_events(self) -> None:
        has_work = self._has_new_room or bool(self._runnable())
        timeout = 0.0 if has_work else self._until_next_deadline()
        # No more than have come by now: whoever posts without a pause must not keep everybody from computing.
        for _ in range(max(1, self._inbox.qsize())):
            try:
                event = self._inbox.get(block=timeout != 0.0, timeout=timeout)
            except queue.Empty:
                return
            try:
                event()
            except Exception:
                log.exception("an event failed")
            timeout = 0.0

    def _until_next_deadline(self) -> float | None:
        deadlines = [job.deadline for job in self._jobs if job.deadline is not None]
        return max(min(deadlines) - time.monotonic(), 0.001) if deadlines else None

    def _sweep(self) -> None:
        """Let go of what was cancelled or ran out of time."""
        now = time.monotonic()
        for job in list(self._jobs):
            if job.cancelled:
                self._end(job, "cancelled")
            elif job.deadline is not None and now >= job.deadline:
                if job.generated:
                    self._end(job, "deadline")
                else:
                    # What was read of the prompt is kept: the next keystroke goes on from there.
                    late = DeadlineExceeded(f"no token within {job.request.deadline_ms} ms")
                    self._fail(job, late, keep=bool(job.owner[1]))

    def _admit(self) -> None:
        """Give sequences to those who wait, best priority first, connections in turn."""
        self._has_new_room = False
        waiting = [job for job in self._jobs if job.phase is Phase.WAITING]
        held: set[bool] = set()
        for job in sorted(waiting, key=lambda job: (job.priority, self._turn(job), job.arrived)):
            if job.is_fim in held:
                continue
            try:
                self._start(job)
            except BotframeworkError as error:
                self._fail(job, error)
            except Exception as error:
                log.exception("a request could not be started")
                self._fail(job, BotframeworkError(f"the request could not be started: {error}"))
            if job.phase is Phase.WAITING and self._is_starved(job):
                held.add(job.is_fim)  # Or small requests would for ever take the cells that a large one waits for.

    def _is_starved(self, job: Job) -> bool:
        """Whether others alone have kept a job from starting for too long."""
        running = [other.client for other in self._jobs if other.sequence is not None and other.is_fim == job.is_fim]
        # One who does not read may hold cells for long: nobody else should wait for that.
        excused = any(client is job.client or client.is_behind for client in running)
        return time.monotonic() - job.arrived > STARVATION_S and not excused

    def _start(self, job: Job) -> None:
        vocab = self._engine.model.vocab
        lane = self._lane(job)
        if job.chain is None:
            sampling.validate(job.request.sampling, vocab.size)
            job.chain = SamplerChain(vocab, sampling.chain_spec(job.request.sampling))
        if job.prompt is None:
            if not isinstance(job.request, wire.FimRequest):
                raise InvalidParams("a chat came without its prompt")
            job.prompt = self._engine.fim_prompt(job.request)
        share = lane.context.n_seq if len(self._clients) < 2 else max(1, lane.context.n_seq - 1)
        sequence = lane.pool.acquire(job.owner, job.prompt, job.max_tokens, share=share)
        if sequence is not None:
            job.max_tokens = min(job.max_tokens, lane.pool.sequence_limit - len(job.prompt))
            job.begin(sequence, job.prompt)

    def _runnable(self) -> list[Job]:
        return [job for job in self._jobs if job.phase in (Phase.PREFILL, Phase.GENERATE) and not job.client.is_behind]

    def _step(self) -> None:
        """Compute one call for whoever is next."""
        runnable = self._runnable()
        if not runnable:
            return
        level = self._turns.level({job.priority for job in runnable})
        jobs = sorted(
            (job for job in runnable if job.priority == level), key=lambda job: (self._turn(job), job.arrived)
        )
        jobs = [job for job in jobs if job.is_fim == jobs[0].is_fim]
        generating = [job for job in jobs if job.phase is Phase.GENERATE]
        rows = self._rows(generating)
        # Whose turn it is decides what is computed; within a connection prompts and answers alternate.
        own = [job for job in jobs if job.client is jobs[0].client]
        prefilling = [job for job in own if job.phase is Phase.PREFILL]
        answers_wait = len(prefilling) < len(own) and self._prefilled_last
        chosen = prefilling[:1] if prefilling and not answers_wait else rows
        self._prefilled_last = chosen is not rows
        try:
            if chosen is rows:
                self._decode(rows)
            else:
                self._prefill(chosen[0])
        except BotframeworkError as error:
            self._fail_step(chosen, error)
        except Exception as error:
            log.exception("a step failed")
            self._fail_step(chosen, BotframeworkError(f"the step failed: {error}"))

    def _fail_step(self, jobs: list[Job], error: BotframeworkError) -> None:
        for job in jobs:
            if job in self._jobs:  # Others of the step may have had their answer before it failed.
                self._fail(job, error)

    def _rows(self, generating: list[Job]) -> list[Job]:
        """Who shares the next decode step: everybody of one connection, one of each when there are several."""
        if not generating or generating[0].request.solo:
            return generating[:1]
        together = [job for job in generating if not job.request.solo]
        if len({job.client.number for job in together}) > 1:
            together = list({job.client.number: job for job in reversed(together)}.values())
        return together

    def _prefill(self, job: Job) -> None:
        lane, sequence = self._lane(job), job.sequence
        assert sequence is not None and job.prompt is not None and job.chain is not None  # noqa: S101, PT018
        start = len(sequence.tokens)
        chunk = job.prompt[start : start + lane.chunk]
        is_last = start + len(chunk) == len(job.prompt)
        with self._abort_lock:
            if job.cancelled:
                return
            self._abortable = (job, lane)
        try:
            status = self._call([job], lambda: lane.context.decode_chunk(sequence.number, start, chunk, output=is_last))
        finally:
            with self._abort_lock:
                self._abortable = None
                lane.context.clear_abort()
        if status is DecodeStatus.ABORTED:
            lane.pool.settle(sequence)
            return
        self._expect_room(status)
        sequence.tokens += chunk
        job.evaluated += len(chunk)
        if job.owner[1]:
            key = (job.owner, job.is_fim)
            self._read_since_answer[key] = self._read_since_answer.get(key, 0) + len(chunk)
        if is_last:
            self._accept(job, lane, lane.context.sample(job.chain, len(chunk) - 1))

    def _decode(self, jobs: list[Job]) -> None:
        lane = self._lane(jobs[0])
        rows = [
            (job.sequence.number, len(job.sequence.tokens), job.next_token) for job in jobs if job.sequence is not None
        ]
        began = time.monotonic()
        status = self._call(jobs, lambda: lane.context.decode_rows(rows))
        self._expect_room(status)
        if len(rows) == 1:
            n_threads = lane.governor.observe(time.monotonic() - began)
            if n_threads is not None:
                lane.context.set_threads(n_threads)
                log.info("computing with %d threads from now on (%s)", n_threads, lane.name)
        for row, job in enumerate(jobs):
            assert job.sequence is not None and job.chain is not None  # noqa: S101, PT018
            job.sequence.tokens.append(job.next_token)
            self._accept(job, lane, lane.context.sample(job.chain, row))

    def _call(self, jobs: list[Job], compute: Callable[[], DecodeStatus]) -> DecodeStatus:
        """Make one llama.cpp call, noted in the flight recorder and watched."""
        began = time.monotonic()
        self._flight.begin_call([job.request.fingerprint for job in jobs])
        self._watchdog.begin()
        try:
            return compute()
        finally:
            self._watchdog.end()
            self._flight.end_call()
            took = time.monotonic() - began
            self._turns.charge([job.client.number for job in jobs], took)
            for job in jobs:
                job.spent(took)

    @staticmethod
    def _expect_room(status: DecodeStatus) -> None:
        if status is not DecodeStatus.DONE:  # Cells are reserved before a job starts.
            raise BotframeworkError(f"llama_decode found no room in the KV cache ({status.name})")

    def _accept(self, job: Job, lane: Lane, token: int) -> None:
        """Take a sampled token: it ends the answer or becomes part of it."""
        vocab = self._engine.model.vocab
        if vocab.is_eog(token):
            self._end(job, "stop")
            return
        job.phase = Phase.GENERATE
        job.next_token = token
        stopped = job.feed(vocab.piece(token))
        now = time.monotonic()
        self._produced.append(now)
        while now - self._produced[0] > RATE_WINDOW_S:
            self._produced.popleft()
        if job.generated == 1:
            self.last_first_token_ms[job.client.number] = job.first_token_ms
        assert job.sequence is not None  # noqa: S101
        if stopped:
            self._end(job, "stopString")
        elif job.generated >= job.max_tokens or len(job.sequence.tokens) + 1 >= lane.pool.sequence_limit:
            self._end(job, "length")

    def _end(self, job: Job, reason: wire.FinishReason) -> None:
        key = (job.owner, job.is_fim)
        evaluated = self._read_since_answer.get(key, 0) if job.owner[1] else job.evaluated
        if reason != "cancelled":
            self._read_since_answer.pop(key, None)
        self._leave(job, keep=bool(job.owner[1]))
        job.finish(reason, evaluated)

    def _fail(self, job: Job, error: BotframeworkError, *, keep: bool = False) -> None:
        self._leave(job, keep=keep)
        job.fail(error)

    def _leave(self, job: Job, *, keep: bool) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        if job.sequence is not None:
            self._lane(job).pool.release(job.sequence, keep=keep)
            job.sequence = None
            self._has_new_room = True
        job.chain = None
        job.phase = Phase.ENDED

    def _turn(self, job: Job) -> float:
        return self._turns.used(job.client.number)

    def _lane(self, job: Job) -> Lane:
        return self._engine.lane("fim" if job.is_fim else "chat")


def _nothing() -> None:
    """Wake the loop."""
