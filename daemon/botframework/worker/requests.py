"""One request inside the worker, from its arrival to its one answer.

A `Job` is owned by the scheduling thread. The link thread only reads ``cancelled`` and sets it.
"""

from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from botframework.wire import messages as wire
from botframework.worker.endings import Endings
from botframework.worker.sampling import StopScanner, Utf8Stream

if TYPE_CHECKING:
    from botframework.errors import BotframeworkError
    from botframework.worker.healing import Healing
    from botframework.worker.infilling import Plan
    from botframework.worker.llama import SamplerChain
    from botframework.worker.sessions import KvSequence, Owner

PRIORITIES: tuple[wire.Priority, ...] = ("completion", "edit", "chat", "background")
"""Best first."""


class Figures(msgspec.Struct, frozen=True):
    """The part of `wire.Stats` that the scheduler knows, under the same names."""

    kv_tokens: int = 0
    kv_cells: int = 0
    queued: int = 0
    running: int = 0
    tokens_per_s: float = 0.0
    last_first_token_ms: float = 0.0
    n_threads: int = 0
    prompt_tokens_read: int = 0
    background_tokens_read: int = 0
    chat_tokens_discarded: int = 0
    tokens_generated: int = 0


class Client(Protocol):
    """What a job needs of the connection that it came from."""

    number: int

    def send(self, message: wire.Message) -> None:
        """Queue a message for the client; any thread."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether the client has so much untaken that its generations should wait."""
        ...

    @property
    def behind_since(self) -> float | None:
        """On the monotonic clock, since when; None: it is not."""
        ...


class Phase(enum.Enum):
    """Where a job stands."""

    WAITING = enum.auto()
    """For its prompt, a sequence or cells."""
    PREFILL = enum.auto()
    GENERATE = enum.auto()
    ENDED = enum.auto()


class Job:
    """A request for tokens and everything that becomes of it."""

    def __init__(self, client: Client, request: wire.FimRequest | wire.ChatRequest) -> None:
        self.client = client
        self.request = request
        self.arrived = time.monotonic()
        self.deadline = None if request.deadline_ms is None else self.arrived + request.deadline_ms / 1000
        self.priority = PRIORITIES.index(request.priority)
        self.owner: Owner = (client.number, request.session)
        self.serves: Owner = self.owner
        """Whose session profits; another one's than its own sequence's for background work."""
        self.phase = Phase.WAITING
        self.cancelled = False
        """Set by any thread; obeyed at the next step."""
        self.failure: BotframeworkError | None = None
        """Set when preparing the prompt failed."""
        self.prompt: list[int] | None = None
        self.was_recalled = False
        """What is on disk of its session was asked for."""
        self.max_tokens = request.max_tokens
        self.dropped_messages = 0
        self.plan: Plan | None = None
        """Of a completion."""
        self.sequence: KvSequence | None = None
        self.chain: SamplerChain | None = None
        self.healing: Healing | None = None
        self.next_token = -1
        """Sampled, but not in the KV cache yet."""
        self.suspended: list[int] | None = None
        """What its sequence held when it had to give it away; must be there again before ``next_token`` is read."""
        self.next_repeats = False
        """The next token only repeats what the user typed (healing): it is read, not generated."""
        self.cached = 0
        self.evaluated = 0
        self.generated = 0
        self._started = 0.0
        self._first_token = 0.0
        self._prompt_s = 0.0
        self._decode_s = 0.0
        self._utf8 = Utf8Stream()
        self._stops = StopScanner(request.stop)
        self._endings: Endings | None = None
        self._ending: wire.Ending = ""
        self._logprobs = 0.0
        self._text: list[str] = []
        self._frames = 0

    @property
    def is_fim(self) -> bool:
        """Whether it belongs to the completion context."""
        return isinstance(self.request, wire.FimRequest)

    @property
    def held(self) -> int:
        """Tokens of the prompt that healing reads one by one, or has generated again."""
        return len(self.plan.held) if self.plan is not None else 0

    @property
    def room(self) -> int:
        """Cells that it may need beside its prompt's."""
        return self.max_tokens + self.held

    @property
    def yields(self) -> bool:
        """Whether nobody waits for it, so that it computes only when there is nothing else to do."""
        return self.is_fim and self.request.priority == "background"

    def stop_also(self, stops: tuple[str, ...]) -> None:
        """Add stop strings that the model needs; before the first token."""
        self._stops = StopScanner((*self.request.stop, *stops))

    def begin(self, sequence: KvSequence, prompt: list[int]) -> None:
        """Take a leased sequence: reading the prompt can start."""
        self.sequence, self.prompt = sequence, prompt
        self.cached = len(sequence.tokens)
        self.phase = Phase.PREFILL
        self._started = time.monotonic()
        request = self.request
        if isinstance(request, wire.FimRequest) and request.ghost and request.max_tokens:
            self._endings = Endings(request.prefix, request.suffix, one_line=request.one_line)

    def suspend(self) -> None:
        """Wait without a sequence; who was generating goes on later where it was."""
        if self.phase is Phase.GENERATE and self.sequence is not None:
            self.suspended = list(self.sequence.tokens)
        self.sequence, self.phase = None, Phase.WAITING

    def resume(self, sequence: KvSequence) -> None:
        """Go on in a leased sequence, which has all or a part of what the job had."""
        self.sequence = sequence
        self.phase = Phase.GENERATE if sequence.tokens == self.suspended else Phase.PREFILL

    def spent(self, seconds: float) -> None:
        """Count time in llama.cpp on behalf of this job."""
        if self.phase is Phase.PREFILL:
            self._prompt_s += seconds
        else:
            self._decode_s += seconds

    def feed(self, piece: bytes, logprob: float = 0.0) -> wire.FinishReason | None:
        """Take the bytes of one generated token and stream what is certain; the reason if they end the answer."""
        now = time.monotonic()
        if not self.generated:
            self._first_token = now
        self.generated += 1
        self._logprobs += logprob
        text, stopped = self._stops.feed(self._utf8.feed(piece))
        if self._endings is not None:
            budget_ms = self.request.line_budget_ms if isinstance(self.request, wire.FimRequest) else None
            is_late = budget_ms is not None and (now - self._first_token) * 1000 > budget_ms
            text, self._ending = self._endings.feed(text, late=is_late)
        self._emit(text)
        if self._ending:
            return "ending"
        return "stopString" if stopped else None

    def finish(self, reason: wire.FinishReason, evaluated: int) -> None:
        """Answer with what there is."""
        if reason not in ("stopString", "ending"):
            text, stopped = self._stops.feed(self._utf8.flush())
            text = text if stopped else text + self._stops.flush()
            if self._endings is not None:
                text, ending = self._endings.feed(text)
                text = text if ending else text + self._endings.flush()
            self._emit(text)
        self.phase = Phase.ENDED
        self.client.send(
            wire.Done(
                id=self.request.id,
                text="" if self.request.stream else "".join(self._text),
                finish_reason=reason,
                usage=wire.Usage(
                    prompt_tokens=len(self.prompt or ()) + self.held,
                    cached_tokens=self.cached,
                    evaluated_tokens=evaluated,
                    completion_tokens=self.generated,
                ),
                timings=self._timings(),
                dropped_messages=self.dropped_messages,
                ending=self._ending,
                mean_logprob=self._logprobs / self.generated if self.generated else 0.0,
            )
        )

    def fail(self, error: BotframeworkError) -> None:
        """Answer with an error."""
        self.phase = Phase.ENDED
        self.client.send(
            wire.Failure(id=self.request.id, kind=type(error).__name__, message=error.message, data=error.data)
        )

    @property
    def first_token_ms(self) -> float:
        """From arrival to the first token; 0 when there was none."""
        return (self._first_token - self.arrived) * 1000 if self._first_token else 0.0

    def _emit(self, text: str) -> None:
        if not text:
            return
        if self.request.stream:
            self.client.send(wire.Token(id=self.request.id, text=text, index=self._frames))
            self._frames += 1
        else:
            self._text.append(text)

    def _timings(self) -> wire.Timings:
        return wire.Timings(
            queue_ms=((self._started or time.monotonic()) - self.arrived) * 1000,
            first_token_ms=self.first_token_ms,
            prompt_ms=self._prompt_s * 1000,
            decode_ms=self._decode_s * 1000,
        )
