"""From a job that waits to one that has a sequence: its state from the disk, its prompt, room in the KV cache.

A job that was suspended comes here again, and gets the tokens back that it had.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from botframework.errors import InvalidParams
from botframework.wire import messages as wire
from botframework.worker import sampling
from botframework.worker.background import Reanchoring
from botframework.worker.healing import Healing
from botframework.worker.llama import SamplerChain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botframework.worker.engine import Engine, Lane
    from botframework.worker.inbox import Post
    from botframework.worker.pace import Pace
    from botframework.worker.requests import Client, Job
    from botframework.worker.residence import Residence
    from botframework.worker.sessions import KvSequence


NO_TOKEN = -1
"""In no sequence."""


class Start(enum.Enum):
    """What became of a job that wants to start."""

    WAITS = enum.auto()
    """For the disk or for room."""
    READS = enum.auto()
    """It has its sequence, and goes on there."""
    IS_READ = enum.auto()
    """It has its sequence, and nothing needs to be read: what follows is known from the key before."""
    IS_USELESS = enum.auto()
    """There is no point in it any more."""


class Admission:
    """Gives sequences to jobs. Used by the scheduling thread only."""

    def __init__(
        self,
        engine: Engine,
        residence: Residence,
        pace: Pace,
        clients: Mapping[int, Client],
        *,
        end_background: Callable[[], bool],
        post: Post,
    ) -> None:
        """Make it for a scheduler.

        Parameters
        ----------
        clients
            Who has asked for anything so far, by connection number.
        end_background
            Ends the jobs that nobody waits for. False: there were none.
        post
            Has something done by the scheduling thread, soon; any thread.
        """
        self._engine = engine
        self._residence = residence
        self._pace = pace
        self._clients = clients
        self._end_background = end_background
        self._post = post

    def start(self, job: Job) -> Start:
        """Give a waiting job its sequence, if that can be done now.

        Raises
        ------
        BotframeworkError
            It can never start.
        """
        if not job.was_recalled:
            job.was_recalled = True
            self._residence.recall(job.owner, job.request, self._post)
        lane = self._engine.lane("fim" if job.is_fim else "chat")
        if self._residence.is_recalling(job.owner, lane.name):
            return Start.WAITS
        if job.chain is None:
            vocab = self._engine.model.vocab
            sampling.validate(job.request.sampling, vocab.size)
            job.chain = SamplerChain(vocab, sampling.chain_spec(job.request.sampling))
        if isinstance(job, Reanchoring):
            return self._branch(job, lane)
        return self._begin(job, lane) if job.suspended is None else self._resume(job, lane, job.suspended)

    def _begin(self, job: Job, lane: Lane) -> Start:
        has_idle = lane.pool.has_idle(job.owner, share=self._share(lane))
        if job.is_fim and not has_idle and not self._displaces_background(job, lane):
            return Start.WAITS  # A prompt is not laid out anew at every step that it waits.
        prompt = self._prompt(job)
        if prompt is None:
            return Start.IS_USELESS
        sequence = self._acquire(job, lane, prompt, job.room)
        if sequence is None:
            return Start.WAITS
        job.max_tokens = min(job.max_tokens, lane.pool.sequence_limit - len(prompt) - job.held)
        job.begin(sequence, prompt)
        if job.is_fim and not job.yields:
            self._residence.note_reading(job.owner, job.cached)
        return Start.IS_READ if job.cached == len(prompt) else Start.READS

    def _resume(self, job: Job, lane: Lane, tokens: list[int]) -> Start:
        # A sequence comes without the last token of what is wanted, so that there is one to be read.
        sequence = self._acquire(job, lane, [*tokens, NO_TOKEN], job.room - job.generated)
        if sequence is None:
            return Start.WAITS
        job.resume(sequence)
        return Start.READS

    def _branch(self, job: Reanchoring, lane: Lane) -> Start:
        sequence = lane.pool.branch(job.serves, job.plan.prompt, share=self._share(lane))
        if sequence is None:
            return Start.IS_USELESS
        job.begin(sequence, job.plan.prompt)
        return Start.READS

    def _prompt(self, job: Job) -> list[int] | None:
        """A request's prompt; None if there is no point in reading it."""
        if not isinstance(job.request, wire.FimRequest):
            if job.prompt is None:
                raise InvalidParams("a chat came without its prompt")
            return job.prompt
        job.plan = self._residence.plan(job.owner, job.request)
        if job.plan is None:
            return None
        job.healing = Healing(self._residence.vocabulary, job.plan.held)
        if not job.yields:
            self._pace.completes()
        return job.plan.prompt

    def _acquire(self, job: Job, lane: Lane, tokens: list[int], room: int) -> KvSequence | None:
        share = self._share(lane)
        sequence = lane.pool.acquire(job.owner, tokens, room, share=share)
        if sequence is None and self._displaces_background(job, lane):
            sequence = lane.pool.acquire(job.owner, tokens, room, share=share)
        return sequence

    def _share(self, lane: Lane) -> int:
        """How many sequences one connection may hold."""
        return lane.context.n_seq if len(self._clients) < 2 else max(1, lane.context.n_seq - 1)

    def _displaces_background(self, job: Job, lane: Lane) -> bool:
        """Give the room of background work to a completion that waits. False: there was none, or it would not help."""
        own = lane.pool.find(job.owner)
        if not job.is_fim or job.yields or (own is not None and own.busy):
            return False
        return self._end_background()
