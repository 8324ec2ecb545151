"""The one loop: admit, choose, compute a step, hand out its tokens.

Everything that computes happens in this thread, one llama.cpp call at a time, so the two contexts never compete. A
call is either one decode step (a token for each of several generating sequences) or one micro-batch of one prompt.
After each call the loop looks at what has arrived: there a completion overtakes a chat and a cancelled request leaves.

Who is next is decided by `worker.turns`: the best level of priority, and in it the connection that had the least time.
Work that nobody waits for (`worker.background`) is done when there is nothing else, and stops at once when there is.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError, DeadlineExceeded
from botframework.wire import messages as wire
from botframework.worker.admission import Admission, Start
from botframework.worker.background import Background, Reanchoring
from botframework.worker.calls import Calls, share_step
from botframework.worker.choosing import choose
from botframework.worker.counters import Counters
from botframework.worker.inbox import Inbox
from botframework.worker.pace import Pace
from botframework.worker.requests import Job, Phase
from botframework.worker.turns import STARVATION_S, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.wire.flight import FlightWriter
    from botframework.worker.engine import Engine, Lane
    from botframework.worker.requests import Client, Figures
    from botframework.worker.residence import Residence
    from botframework.worker.watchdog import Watchdog

log = logging.getLogger(__name__)

ABSENT_S = 10.0
"""A client that has been behind for so long gives its cells away until it reads again."""


class Scheduler:
    """Owns the engine and all jobs. `post`, `cancel` and the figures may be used by any thread, the rest by its own."""

    def __init__(self, engine: Engine, residence: Residence, flight: FlightWriter, watchdog: Watchdog) -> None:
        self._engine = engine
        self._residence = residence
        self._inbox = Inbox()
        self._jobs: list[Job] = []
        self._clients: dict[int, Client] = {}
        self._turns = Turns()
        self._prefilled_last = False
        self._has_new_room = False
        """Somebody left since those who wait were last looked at."""
        self._counters = Counters()
        self._calls = Calls(flight, watchdog, self._turns)
        self._background = Background(self._residence)
        self._pace = Pace()
        self._admission = Admission(
            engine,
            residence,
            self._pace,
            self._clients,
            end_background=self._end_background,
            post=self._inbox.post,
        )

    # --- any thread ---------------------------------------------------------------------------------------------------

    def post(self, event: Callable[[], None]) -> None:
        """Have something done by the scheduling thread, soon."""
        self._inbox.post(event)

    def cancel(self, job: Job) -> None:
        """Stop a job, even inside its prompt's micro-batch."""
        job.cancelled = True
        self._calls.abort(job)
        self.wake()

    def hasten(self, job: Job) -> None:
        """A job was posted: end a micro-batch that can wait for it."""
        self._calls.hasten(job)

    def wake(self) -> None:
        """Look again at who may compute."""
        self._inbox.wake()

    def figures(self, client: Client) -> Figures:
        """What the heartbeat tells of this moment."""
        return self._counters.figures(list(self._jobs), self._engine.lanes, client.number)

    # --- the scheduling thread ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            self._take_events()
            self._sweep()
            self._admit()
            if not self._step():
                self._rest()

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
            self._supersede(job)
            self._jobs.append(job)

    def _supersede(self, job: Job) -> None:
        """End what a newer request of the same document makes useless: reading ahead and looking ahead."""
        if not job.is_fim or not job.owner[1]:
            return
        for other in [other for other in self._jobs if other.is_fim and other.owner == job.owner]:
            if other.max_tokens == 0 or other.yields:
                self._end(other, "cancelled")

    def client_gone(self, client: Client) -> None:
        """Drop everything of a connection."""
        for job in [job for job in self._jobs if job.client is client]:
            self._leave(job, keep=False)
        number = client.number
        self._clients.pop(number, None)
        self._turns.forget(number)
        self._counters.forget_connection(number)
        self._residence.forget_connection(number)

    def close_session(self, client: Client, name: str) -> None:
        """Free a session's memory; what runs in it is cancelled first."""
        owner = (client.number, name)
        for job in [job for job in self._jobs if owner in (job.owner, job.serves)]:
            self._end(job, "cancelled")
        self._residence.close_session(owner)
        self._counters.forget(owner)

    def clear_sessions(self, client: Client) -> None:
        """Forget all sessions of a connection, and their snapshots."""
        for job in [job for job in self._jobs if job.client is client]:
            self._end(job, "cancelled")
        self._residence.clear(client.number)
        self._counters.forget_sessions(client.number)

    def _take_events(self) -> None:
        has_work = self._has_new_room or bool(self._runnable())
        self._inbox.work(0.0 if has_work else self._until_something_is_due())

    def _until_something_is_due(self) -> float | None:
        times = [job.deadline for job in self._jobs if job.deadline is not None]
        since = (job.client.behind_since for job in self._jobs if job.sequence is not None)
        times += [at + ABSENT_S for at in since if at is not None]
        due = self._background.next_due()
        if due is not None:
            times.append(due)
        return max(min(times) - time.monotonic(), 0.001) if times else None

    def _rest(self) -> None:
        """Nobody waits for anything: look for something useful."""
        try:
            job = self._background.next_job(self._clients)
        except Exception:
            log.exception("background work failed")
            return
        if job is not None:
            self._jobs.append(job)
            self._has_new_room = True  # It is admitted at once, not with the next event.

    def _sweep(self) -> None:
        """Let go of what was cancelled or ran out of time, and of cells whose client does not read."""
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
            elif job.sequence is not None and _is_absent(job.client, now):
                self._suspend(job)

    def _admit(self) -> None:
        """Give sequences to those who wait, best priority first, connections in turn."""
        self._has_new_room = False
        now = time.monotonic()
        waiting = [job for job in self._jobs if job.phase is Phase.WAITING and not _is_absent(job.client, now)]
        held: set[bool] = set()
        for job in sorted(waiting, key=lambda job: (job.priority, self._turn(job), job.arrived)):
            if job.is_fim in held:
                continue
            try:
                match self._admission.start(job):
                    case Start.IS_READ:
                        self._go_on(job, self._lane(job), None)
                    case Start.IS_USELESS:
                        self._end(job, "cancelled")
            except BotframeworkError as error:
                self._fail(job, error)
            except Exception as error:
                log.exception("a request could not be started")
                self._fail(job, BotframeworkError(f"the request could not be started: {error}"))
            if job.phase is Phase.WAITING and self._is_starved(job, now):
                held.add(job.is_fim)  # Or small requests would for ever take the cells that a large one waits for.

    def _is_starved(self, job: Job, now: float) -> bool:
        """Whether others alone have kept a job from starting for too long."""
        if self._residence.is_recalling(job.owner, "fim" if job.is_fim else "chat"):
            return False
        running = [other.client for other in self._jobs if other.sequence is not None and other.is_fim == job.is_fim]
        # One who does not read may hold cells for long: nobody else should wait for that.
        excused = any(client is job.client or client.is_behind for client in running)
        return now - job.arrived > STARVATION_S and not excused

    def _end_background(self) -> bool:
        ending = [job for job in self._jobs if job.yields and job.sequence is not None]
        for job in ending:
            self._end(job, "cancelled")
        return bool(ending)

    def _suspend(self, job: Job) -> None:
        """Take a job's cells away until its client reads again; what they hold is kept where its session goes."""
        if job.yields or job.sequence is None:
            self._end(job, "cancelled")
            return
        pool, sequence = self._lane(job).pool, job.sequence
        job.suspend()
        pool.release(sequence, keep=bool(job.owner[1]))
        pool.park(sequence)
        self._has_new_room = True

    def _runnable(self) -> list[Job]:
        ready = [job for job in self._jobs if job.phase in (Phase.PREFILL, Phase.GENERATE) and not job.client.is_behind]
        return [job for job in ready if not job.yields] or ready

    def _step(self) -> bool:
        """Compute one call for whoever is next. False: nobody could compute."""
        runnable = self._runnable()
        self._residence.hold_writing(held=any(not job.yields for job in runnable))
        if not runnable:
            return False
        level = self._turns.level({job.priority for job in runnable})
        jobs = sorted(
            (job for job in runnable if job.priority == level), key=lambda job: (self._turn(job), job.arrived)
        )
        jobs = [job for job in jobs if job.is_fim == jobs[0].is_fim]
        generating = [job for job in jobs if job.phase is Phase.GENERATE]
        rows = share_step(generating)
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
        return True

    def _fail_step(self, jobs: list[Job], error: BotframeworkError) -> None:
        for job in jobs:
            if job in self._jobs:  # Others of the step may have had their answer before it failed.
                self._fail(job, error)

    def _prefill(self, job: Job) -> None:
        lane, sequence = self._lane(job), job.sequence
        assert sequence is not None and job.prompt is not None  # noqa: S101, PT018
        tokens = job.prompt if job.suspended is None else job.suspended
        if isinstance(job, Reanchoring) and not self._residence.is_current(job.serves, job.plan):
            self._end(job, "cancelled")
            return
        start = len(sequence.tokens)
        chunk = tokens[start : start + self._pace.chunk(job, lane, start)]
        is_last = start + len(chunk) == len(tokens)
        if not self._calls.read(job, lane, chunk, output=is_last):
            if job.is_fim and not job.yields:
                self._pace.was_interrupted()
            self._counters.discarded(job, start + len(chunk) - len(sequence.tokens))
            self._turns.got_nothing()
            return
        self._counters.read(job, len(chunk))
        if isinstance(job, Reanchoring):
            self._residence.note_read_ahead(job.serves, len(chunk))
        if job.plan is not None and len(sequence.tokens) in (job.plan.fixed - 1, len(job.prompt)):
            lane.pool.checkpoint(sequence)
        if is_last and job.suspended is not None:
            job.phase = Phase.GENERATE  # What follows is known.
        elif is_last:
            self._go_on(job, lane, len(chunk) - 1)

    def _decode(self, jobs: list[Job]) -> None:
        lane = self._lane(jobs[0])
        self._calls.decode(jobs, lane)
        for row, job in enumerate(jobs):
            if job.next_repeats:
                self._counters.read(job, 1)
            self._go_on(job, lane, row)

    def _go_on(self, job: Job, lane: Lane, row: int | None) -> None:
        """Take what comes after the last token that was read: it ends the answer or becomes part of it."""
        choice = choose(job, lane.context, row)
        if choice is None:
            self._end(job, "length")
            return
        vocab, token = self._engine.model.vocab, choice.token
        if vocab.is_eog(token):
            self._end(job, "stop")
            return
        job.phase, job.next_token, job.next_repeats = Phase.GENERATE, token, choice.repeats
        if choice.repeats:
            return
        reason = job.feed(vocab.piece(token) if choice.added is None else choice.added, choice.logprob)
        self._counters.generated(job)
        assert job.sequence is not None  # noqa: S101
        if reason is not None:
            self._end(job, reason)
        elif job.generated >= job.max_tokens or len(job.sequence.tokens) + 1 >= lane.pool.sequence_limit:
            self._end(job, "length")

    def _end(self, job: Job, reason: wire.FinishReason) -> None:
        is_answer = reason != "cancelled" and job.request.max_tokens > 0
        evaluated = self._counters.answered(job, is_answer=is_answer)
        if isinstance(job, Reanchoring):
            self._swap(job, is_read=reason == "length")
            return
        self._leave(job, keep=bool(job.owner[1]))
        if job.is_fim and not job.yields:
            self._pace.completes()
            if is_answer:
                self._residence.note_answer(job.owner, evaluated)
            self._background.touched(job.owner)
        elif isinstance(job.request, wire.ChatRequest):
            self._background.chatted(job.owner, job.request)
        try:
            job.finish(reason, evaluated)
        except Exception as error:  # It has left already: nobody else would answer.
            log.exception("an answer could not be finished")
            job.fail(BotframeworkError(f"the answer could not be finished: {error}"))

    def _swap(self, job: Reanchoring, *, is_read: bool) -> None:
        """Put a window that was read in the background in the place of the old one."""
        sequence = job.sequence
        is_wanted = is_read and sequence is not None and self._residence.is_current(job.serves, job.plan)
        self._leave(job, keep=is_wanted)
        if is_wanted and sequence is not None:
            pool = self._lane(job).pool
            if pool.adopt(job.serves, sequence):
                self._residence.adopt(job.serves, job.plan)
                self._background.touched(job.serves)
            else:
                pool.release(sequence, keep=False)

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


def _is_absent(client: Client, now: float) -> bool:
    """Whether a client has not read for so long that nothing should be kept ready for it."""
    since = client.behind_since
    return since is not None and now - since >= ABSENT_S
