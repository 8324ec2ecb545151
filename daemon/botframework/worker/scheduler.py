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

from botframework.errors import BotframeworkError, DeadlineExceeded, InvalidParams
from botframework.wire import messages as wire
from botframework.worker import sampling
from botframework.worker.background import Background, Reanchoring
from botframework.worker.calls import YIELDING_CHUNK, Calls, share_step
from botframework.worker.choosing import choose
from botframework.worker.counters import Counters
from botframework.worker.healing import Healing
from botframework.worker.inbox import Inbox
from botframework.worker.llama import SamplerChain
from botframework.worker.requests import Figures, Job, Phase
from botframework.worker.turns import STARVATION_S, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.wire.flight import FlightWriter
    from botframework.worker.engine import Engine, Lane
    from botframework.worker.requests import Client
    from botframework.worker.residence import Residence
    from botframework.worker.watchdog import Watchdog

log = logging.getLogger(__name__)

TYPING_S = 2.0
"""So long after a completion the next one is likely: prompts are read in small micro-batches."""


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
        self._completed_at = float("-inf")
        """When a completion was last worked on."""
        self._cautious_until = float("-inf")
        """Keys come faster than micro-batches end: until then those of completions are small, so that they do end."""

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
        jobs, lanes, counters = list(self._jobs), self._engine.lanes, self._counters
        return Figures(
            kv_tokens=sum(lane.pool.tokens for lane in lanes),
            kv_cells=sum(lane.context.n_cells for lane in lanes),
            queued=sum(job.phase is Phase.WAITING for job in jobs),
            running=sum(job.phase in (Phase.PREFILL, Phase.GENERATE) for job in jobs),
            tokens_per_s=counters.tokens_per_s,
            last_first_token_ms=counters.last_first_token_ms.get(client.number, 0.0),
            n_threads=max((lane.governor.n_threads for lane in lanes), default=0),
            prompt_tokens_read=counters.prompt_tokens_read,
            background_tokens_read=counters.background_tokens_read,
            tokens_generated=counters.tokens_generated,
        )

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

    def open_snapshots(self, client: Client, folder: str, limit_bytes: int) -> None:
        """Use a folder for a connection's snapshots; an empty name: none."""
        self._residence.open_snapshots(client.number, folder, limit_bytes)

    def sessions(self, client: Client) -> tuple[wire.SessionInfo, ...]:
        """List a connection's sessions."""
        return self._residence.sessions(client.number)

    def inspect(self, client: Client, number: int, name: str) -> wire.Inspection:
        """How a session's last completion was asked."""
        return self._residence.inspect((client.number, name), number)

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
        for lane in self._engine.lanes:
            lane.pool.close_connection(number)
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
        names = {info.session for info in self._residence.sessions(client.number)}
        for name in names:
            self.close_session(client, name)
        self._residence.clear_snapshots(client.number)

    def _take_events(self) -> None:
        has_work = self._has_new_room or bool(self._runnable())
        self._inbox.work(0.0 if has_work else self._until_something_is_due())

    def _until_something_is_due(self) -> float | None:
        times = [job.deadline for job in self._jobs if job.deadline is not None]
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
        lane = self._lane(job)
        if job.chain is None:
            vocab = self._engine.model.vocab
            sampling.validate(job.request.sampling, vocab.size)
            job.chain = SamplerChain(vocab, sampling.chain_spec(job.request.sampling))
        if isinstance(job, Reanchoring):
            self._start_reanchoring(job, lane)
            return
        share = self._share(lane)
        if job.is_fim and not lane.pool.has_idle(job.owner, share=share) and not self._end_background(job, lane):
            return  # A prompt is not laid out anew at every step that it waits.
        prompt = self._prompt(job)
        if prompt is None:
            self._end(job, "cancelled")
            return
        sequence = lane.pool.acquire(job.owner, prompt, job.room, share=share)
        if sequence is None and self._end_background(job, lane):
            sequence = lane.pool.acquire(job.owner, prompt, job.room, share=share)
        if sequence is None:
            return
        job.max_tokens = min(job.max_tokens, lane.pool.sequence_limit - len(prompt) - job.held)
        job.begin(sequence, prompt)
        if job.is_fim and not job.yields:
            self._residence.note_reading(job.owner, job.cached)
        if job.cached == len(prompt):  # What follows is known from the key before.
            self._go_on(job, lane, None)

    def _prompt(self, job: Job) -> list[int] | None:
        """A request's prompt; None if there is no point in reading it."""
        if not isinstance(job.request, wire.FimRequest):
            if job.prompt is None:
                raise InvalidParams("a chat came without its prompt")
            self._residence.recall_chat(job.owner, job.request)
            return job.prompt
        job.plan = self._residence.plan(job.owner, job.request)
        if job.plan is None:
            return None
        job.healing = Healing(self._residence.vocabulary, job.plan.held)
        if not job.yields:
            self._completed_at = time.monotonic()
        return job.plan.prompt

    def _start_reanchoring(self, job: Reanchoring, lane: Lane) -> None:
        sequence = lane.pool.branch(job.serves, job.plan.prompt, share=self._share(lane))
        if sequence is None:
            self._end(job, "cancelled")
        else:
            job.begin(sequence, job.plan.prompt)

    def _share(self, lane: Lane) -> int:
        return lane.context.n_seq if len(self._clients) < 2 else max(1, lane.context.n_seq - 1)

    def _end_background(self, waiting: Job, lane: Lane) -> bool:
        """Give the room of background work to a completion that waits. False: there was none, or it would not help."""
        own = lane.pool.find(waiting.owner)
        if not waiting.is_fim or waiting.yields or (own is not None and own.busy):
            return False
        ending = [job for job in self._jobs if job.yields and job.sequence is not None]
        for job in ending:
            self._end(job, "cancelled")
        return bool(ending)

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
        if isinstance(job, Reanchoring) and not self._residence.is_current(job.serves, job.plan):
            self._end(job, "cancelled")
            return
        start = len(sequence.tokens)
        chunk = job.prompt[start : start + self._chunk(job, lane, start)]
        is_last = start + len(chunk) == len(job.prompt)
        if not self._calls.read(job, lane, chunk, output=is_last):
            if job.is_fim and not job.yields:
                self._cautious_until = time.monotonic() + TYPING_S
            self._turns.got_nothing()
            return
        self._counters.read(job, len(chunk))
        if job.plan is not None and len(sequence.tokens) in (job.plan.fixed - 1, len(job.prompt)):
            lane.pool.checkpoint(sequence)
        if is_last:
            self._go_on(job, lane, len(chunk) - 1)

    def _chunk(self, job: Job, lane: Lane, start: int) -> int:
        """How many prompt tokens to read at once."""
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
            self._completed_at = time.monotonic()
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
