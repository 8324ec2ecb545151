"""How far a session's answers are from exact evaluation: the KL divergence of the next token's distribution.

A session keeps its KV cache from key to key, gives it away and takes it back, and changes to another window on a
branch. None of that approximates anything; what is left is the order in which floating-point sums are added, which also
differs between two evaluations of the same prompt in pieces of different size. That is what it is compared with: one
piece against one token at a time, the two ends of what a session does, and pieces of two sizes between them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from botframework.wire.messages import FimRequest
from botframework.worker.infilling import Infilling
from botframework.worker.llama import Context, DecodeStatus
from botframework.worker.sessions import SessionPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.quality.holes import Spot
    from botframework.worker.fim import Layout
    from botframework.worker.healing import VocabularyIndex
    from botframework.worker.llama import Model
    from botframework.worker.parked import ParkedState
    from botframework.worker.sessions import KvSequence, Owner
    from botframework.worker.window import Budget

CELLS = 4_096
SESSION_SEQUENCES = 4
SESSION_BATCH = 64
"""As the daemon's for completions."""
OTHER_BATCH = 512
"""The other size of pieces in which the same prompt is evaluated."""
WHOLE_BATCH = 1_536
"""Larger than any prompt here: one piece."""
KEYS = 40
"""Typed at each place."""
CHARS_PER_KEY = (1, 4)
EVERY = 4
"""One key in so many is compared; it costs four whole evaluations."""
EVENTS = ("typing", "after a deletion", "after a restore", "after a re-anchor")
"""What happened to the session since the comparison before."""


@dataclass(slots=True)
class Divergences:
    """In nats, one number for each comparison."""

    session: dict[str, list[float]] = field(default_factory=lambda: {event: [] for event in EVENTS})
    chunking: dict[str, list[float]] = field(default_factory=lambda: {event: [] for event in EVENTS})
    """Between two exact evaluations of the same prompts, in pieces of `OTHER_BATCH` and of `SESSION_BATCH` tokens."""
    stepwise: dict[str, list[float]] = field(default_factory=lambda: {event: [] for event in EVENTS})
    """Between two others, in one piece and one token at a time: a session reads what is typed in pieces of one or a few
    tokens, for which llama.cpp has kernels of their own."""

    def add(self, other: Divergences) -> None:
        """Take over those of another process."""
        for event in EVENTS:
            self.session[event] += other.session[event]
            self.chunking[event] += other.chunking[event]
            self.stepwise[event] += other.stepwise[event]

    def flat(self) -> tuple[list[float], list[float], list[float]]:
        """Session, chunking and stepwise, each prompt by prompt."""
        session, chunking, stepwise = (
            [value for event in EVENTS for value in values[event]]
            for values in (self.session, self.chunking, self.stepwise)
        )
        return session, chunking, stepwise


class _Shelf:
    """Where a session's state waits."""

    def __init__(self) -> None:
        self._states: dict[Owner, ParkedState] = {}
        self.restored = 0

    def put(self, owner: Owner, state: ParkedState) -> None:
        self._states[owner] = state

    def take(self, owner: Owner) -> ParkedState | None:
        state = self._states.pop(owner, None)
        self.restored += state is not None
        return state


def divergence(exact: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """KL(exact, other) of two rows of logits, in nats."""
    first, second = (_log_softmax(logits.astype(np.float64)) for logits in (exact, other))
    return float(max(0.0, (np.exp(first) * (first - second)).sum()))


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


class Exactness:
    """A model's session beside exact evaluation."""

    def __init__(self, model: Model, index: VocabularyIndex, layout: Layout, budget: Budget, n_threads: int) -> None:
        self._model, self._index, self._layout, self._budget = model, index, layout, budget
        self._session = self._context(SESSION_SEQUENCES, SESSION_BATCH, n_threads)
        self._exact = self._context(1, WHOLE_BATCH, n_threads)
        self.found = Divergences()

    def _context(self, n_seq: int, n_ubatch: int, n_threads: int) -> Context:
        return Context(
            self._model,
            n_ctx=CELLS,
            n_seq=n_seq,
            n_ubatch=n_ubatch,
            n_threads=n_threads,
            flash_attn=True,
            kv_type="f16",
        )

    def type_at(self, spot: Spot, seed: int) -> None:
        """Type the file's own text from a line on, with deletions, a switch to another document and a new anchor."""
        text, source = spot.file.text, random.Random(f"{seed} {spot.file.name} {spot.start}")
        shelf = _Shelf()
        pool = SessionPool(self._session, n_ctx_train=self._model.n_ctx_train, parking=shelf)
        vocab = self._model.vocab
        infilling = Infilling(self._layout, lambda: self._budget, self._index, vocab.tokenize)
        owner: Owner = (1, spot.file.name)
        end, at, event = min(len(text), spot.start + KEYS * CHARS_PER_KEY[1]), spot.start, EVENTS[0]
        for key in range(KEYS):
            at = min(at + source.randint(*CHARS_PER_KEY), end)
            if key % 10 == 5:  # What was just typed is taken back, and a part of what stood there before.
                at, event = max(spot.start, at - 6), EVENTS[1]
            if key % 10 == 8:
                self._switch(pool)
                event = EVENTS[2]
            if key == KEYS // 4 and self._reanchor(infilling, pool, owner):
                event = EVENTS[3]
            request = FimRequest(id=key, session=owner[1], prefix=text[:at], suffix=text[end:])
            known = pool.find(owner)
            plan = infilling.plan(owner, request, known.tokens if known else ())
            assert plan is not None
            sequence = pool.acquire(owner, plan.prompt, 1, share=SESSION_SEQUENCES)
            assert sequence is not None
            logits = self._read(self._session, sequence, plan.prompt)
            pool.release(sequence, keep=True)
            if event != EVENTS[0] or key % EVERY == 0:
                self._compare(plan.prompt, logits, event)
                event = EVENTS[0]
        assert shelf.restored, "the session was never given back"
        for number in range(SESSION_SEQUENCES):
            self._session.forget(number)

    def _switch(self, pool: SessionPool) -> None:
        """Other documents take all sequences."""
        for number in range(SESSION_SEQUENCES):
            sequence = pool.acquire((1, f"another {number}"), [self._layout.tokens.pre], 1, share=SESSION_SEQUENCES)
            assert sequence is not None
            self._read(self._session, sequence, [self._layout.tokens.pre])
            pool.release(sequence, keep=True)

    def _reanchor(self, infilling: Infilling, pool: SessionPool, owner: Owner) -> bool:
        """As the scheduler does when nobody waits: the short window becomes a full one, read on a branch."""
        plan = infilling.next_window(owner)
        if plan is None:
            return False
        branch = pool.branch(owner, plan.prompt, share=SESSION_SEQUENCES)
        assert branch is not None
        self._read(self._session, branch, plan.prompt)
        pool.release(branch, keep=True)
        assert pool.adopt(owner, branch)
        infilling.adopt(owner, plan)
        return True

    def _read(self, context: Context, sequence: KvSequence, prompt: Sequence[int]) -> NDArray[np.float32]:
        if len(sequence.tokens) == len(prompt):
            return sequence.logits[len(prompt)]
        logits = _evaluate(context, sequence.number, len(sequence.tokens), prompt, SESSION_BATCH)
        sequence.tokens = list(prompt)
        sequence.remember_logits(logits)
        return logits

    def _compare(self, prompt: Sequence[int], logits: NDArray[np.float32], event: str) -> None:
        rows = []
        for batch in (WHOLE_BATCH, OTHER_BATCH, SESSION_BATCH, 1):
            self._exact.forget(0)
            rows.append(_evaluate(self._exact, 0, 0, prompt, batch))
        self.found.session[event].append(divergence(rows[0], logits))
        self.found.chunking[event].append(divergence(rows[1], rows[2]))
        self.found.stepwise[event].append(divergence(rows[0], rows[3]))


def _evaluate(context: Context, number: int, start: int, prompt: Sequence[int], batch: int) -> NDArray[np.float32]:
    """Read a prompt from a position on; the logits behind it."""
    for at in range(start, len(prompt), batch):
        part = prompt[at : at + batch]
        status = context.decode_chunk(number, at, part, output=at + len(part) == len(prompt))
        if status is not DecodeStatus.DONE:
            raise RuntimeError(f"llama_decode: {status.name}")
    return context.logits((len(prompt) - start - 1) % batch)
