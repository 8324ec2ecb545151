"""Whatever is edited in whatever order, what the KV cache holds is what the sessions say that it holds.

The worker's own parts (engine, residence, pool) and the real llama.cpp, driven without the scheduler, so that the cache
can be looked into after every step.
"""

from __future__ import annotations

import queue
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from botframework.wire.messages import FimRequest, LoadModel
from botframework.worker import llama
from botframework.worker.engine import Engine
from botframework.worker.residence import Residence
from botframework.worker.speed import PrefillSpeed
from support.gguf_factory import tiny_llama, tiny_mamba
from support.state_blob import positions_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botframework.worker.infilling import Plan
    from botframework.worker.sessions import KvSequence

PATIENCE_S = 30.0
STEPS = 200
N_UBATCH = 32
SPEED = 300.0
"""Pretended tokens per second: small windows, so that all kinds of them occur."""
SAME = 0.05
"""Logits of one prompt read in other pieces differ by less; those of another prompt by several units."""
PIECES = [
    "x",
    "ab",
    "self.",
    "return ",
    "\n",
    "\n    ",
    "()",
    "(",
    ")",
    "é",
    "🙂",
    "  ",
    "\t",
    '"',
    "def f(a):\n    ",
    "\r\n",
]


def load_of(path: Path, n_seq: int) -> LoadModel:
    """Room for two windows of three documents, and memory for the states of about two."""
    return LoadModel(
        path=str(path),
        n_gpu_layers=0,
        n_threads=(1,),
        n_ctx_fim=1_024,
        n_ctx_chat=1_024,
        n_seq_fim=n_seq,
        n_seq_chat=2,
        n_ubatch_fim=N_UBATCH,
        n_ubatch_chat=N_UBATCH,
        flash_attn=True,
        parked_bytes=150_000,
    )


class Document:
    """A text with a cursor, and its past."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self._chance = chance
        lines = [f"{name}{number} = function_{chance.randrange(1_000)}({number})\n" for number in range(40)]
        self.text = "".join(lines)
        self.cursor = len(self.text) // 2
        self._past: list[tuple[str, int]] = []

    def edit(self) -> None:
        """Do what people do: mostly type, also delete, jump, paste, undo, and change something elsewhere."""
        chance = self._chance
        kind = chance.choices(["type", "delete", "jump", "paste", "undo", "elsewhere"], [12, 4, 2, 1, 2, 2])[0]
        if kind == "undo" and self._past:
            self.text, self.cursor = self._past.pop()
            return
        self._past.append((self.text, self.cursor))
        if kind == "type":
            self._insert("".join(chance.choices(PIECES, k=chance.randint(1, 3))))
        elif kind == "delete":
            start = max(0, self.cursor - chance.randint(1, 12))
            self.text, self.cursor = self.text[:start] + self.text[self.cursor :], start
        elif kind == "paste":
            self._insert(self.text[: chance.randint(0, 400)])
        elif kind == "elsewhere":
            cursor, self.cursor = self.cursor, chance.randint(0, len(self.text))
            length = len(self.text)
            self._insert("# x\n")
            self.cursor = cursor + (len(self.text) - length if self.cursor <= cursor else 0)
        else:
            self.cursor = chance.randint(0, len(self.text))

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def request(self) -> FimRequest:
        """What the daemon would ask."""
        return FimRequest(id=1, session=self.name, prefix=self.text[: self.cursor], suffix=self.text[self.cursor :])


class Desk:
    """The worker's parts, one reader, and a second context that knows the exact answer."""

    def __init__(self, path: Path, folder: Path, chance: random.Random, n_seq: int) -> None:
        load = load_of(path, n_seq)
        self.n_seq = n_seq
        self.chance = chance
        self.events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.engine = Engine(load, lambda _: True)
        self.engine.lane("fim").speed = PrefillSpeed(SPEED, N_UBATCH)
        self.residence = Residence(self.engine, load)
        self.residence.open_snapshots(1, str(folder), 10_000_000)
        self.lane = self.engine.lane("fim")
        self.exact = llama.Context(
            self.engine.model,
            n_ctx=1_024,
            n_seq=1,
            n_ubatch=N_UBATCH,
            n_threads=1,
            flash_attn=True,
            kv_type="f16",
        )
        self.evaluated = 0
        self.cached = 0
        self.aborted = 0
        self.adopted = 0

    def complete(self, document: Document) -> None:
        """Serve a request as the scheduler does; it may be cut short by the next key, and its calls aborted."""
        owner = (1, document.name)
        request = document.request()
        self.residence.recall(owner, request, self.events.put)
        while self.residence.is_recalling(owner, "fim"):
            self.events.get(timeout=PATIENCE_S)()
        plan = self.residence.plan(owner, request)
        assert plan is not None
        self.check_text(plan, request)
        sequence = self.lane.pool.acquire(owner, plan.prompt, 16, share=self.n_seq)
        assert sequence is not None
        self.cached += len(sequence.tokens)
        if not self.read(sequence, plan, may_stop=True):
            self.lane.pool.release(sequence, keep=True)
            return
        assert sequence.tokens == plan.prompt
        logits = sequence.logits[len(plan.prompt)]
        assert np.abs(logits - self.exactly(plan.prompt)).max() < SAME
        for _ in range(self.chance.randint(0, 5)):
            token = int(logits.argmax())
            self.lane.context.decode_rows([(sequence.number, len(sequence.tokens), token)])
            sequence.tokens.append(token)
            logits = self.lane.context.logits(0)
        self.lane.pool.release(sequence, keep=True)

    def think(self, document: Document) -> None:
        """Lay a document's window anew in the background, sometimes in vain."""
        owner = (1, document.name)
        found = self.residence.next_window(owner)
        if found is None:
            return
        plan, request = found
        self.check_text(plan, request)
        branch = self.lane.pool.branch(owner, plan.prompt, share=self.n_seq)
        if branch is None:
            return
        is_read = self.read(branch, plan, may_stop=True)
        self.lane.pool.release(branch, keep=is_read)
        if is_read and self.lane.pool.adopt(owner, branch):
            self.residence.adopt(owner, plan)
            self.adopted += 1

    def read(self, sequence: KvSequence, plan: Plan, *, may_stop: bool) -> bool:
        """Read a prompt to its end. False: a key came first."""
        context, pool, prompt = self.lane.context, self.lane.pool, plan.prompt
        while (start := len(sequence.tokens)) < len(prompt):
            if may_stop and self.chance.random() < 0.03:
                return False
            size = N_UBATCH if pool.can_cut or start >= plan.fixed - 1 else min(N_UBATCH, plan.fixed - 1 - start)
            chunk = prompt[start : start + size]
            if self.chance.random() < 0.05:
                context.raise_abort()
            status = context.decode_chunk(sequence.number, start, chunk, output=True)
            context.clear_abort()
            if status is llama.DecodeStatus.ABORTED:
                self.aborted += 1
                pool.settle(sequence)
                self.check_cells()
                continue
            assert status is llama.DecodeStatus.DONE
            self.evaluated += len(chunk)
            sequence.tokens += chunk
            if len(sequence.tokens) in (plan.fixed - 1, len(prompt)):
                pool.checkpoint(sequence)
            if len(sequence.tokens) == len(prompt):
                sequence.remember_logits(context.logits(len(chunk) - 1))
        return True

    def exactly(self, prompt: list[int]) -> np.ndarray:
        """Logits behind a prompt that is read in one go by a context that remembers nothing."""
        self.exact.forget(0)
        for start in range(0, len(prompt), N_UBATCH):
            self.exact.decode_chunk(0, start, prompt[start : start + N_UBATCH], output=True)
        return self.exact.logits((len(prompt) - 1) % N_UBATCH)

    def check_text(self, plan: Plan, request: FimRequest) -> None:
        """The prompt's tokens say what the document says: head, suffix, and the middle without what healing holds."""
        marks, vocab = self.engine.fim_tokens, self.engine.model.vocab
        parts: dict[int, bytes] = {}
        mark = -1
        for token in plan.prompt:
            if token in (marks.pre, marks.suf, marks.mid):
                mark = token
                parts[mark] = b""
            else:
                parts[mark] += vocab.piece(token)
        held = b"".join(map(vocab.piece, plan.held))
        window = plan.window
        assert parts[marks.pre] == window.head.encode()
        assert parts[marks.suf] == window.suffix.encode()
        assert parts[marks.mid] + held == plan.middle.encode()
        assert request.prefix.endswith(window.head + plan.middle)
        assert window.suffix in request.suffix

    def check_cells(self) -> None:
        """Tokens on record and positions in the cache agree, in every sequence."""
        context = self.lane.context
        for sequence in self.lane.pool._sequences:
            assert context.end_of(sequence.number) == len(sequence.tokens)
            if sequence.tokens and self.lane.pool.can_cut:
                positions = positions_in(context.save_state(sequence.number))
                assert sorted(positions) == list(range(len(sequence.tokens)))


@pytest.mark.parametrize(("seed", "n_seq"), [(0, 3), (1, 3), (2, 3), (3, 1)])
@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_the_cache_is_what_the_sessions_say(tmp_path: Path, kind: str, seed: int, n_seq: int) -> None:
    """After any sequence of edits in four documents: tokens are those of the text, positions contiguous, logits exact.

    With three sequences or one, memory for two parked states and snapshots for the rest, aborts in the middle of
    prompts, requests that the next key cuts short, background windows, and documents that are closed and opened again.
    """
    llama.initialise(lambda _level, _line: None, lambda _text: None)
    chance = random.Random(f"{kind} {seed}")
    make = tiny_llama if kind == "llama" else tiny_mamba
    desk = Desk(make(tmp_path / "model.gguf", n_ctx_train=1_024), tmp_path / "sessions" / ("0" * 32), chance, n_seq)
    documents = [Document(name, chance) for name in "abcd"]
    document = documents[0]

    for _ in range(STEPS):
        if chance.random() < 0.15:
            document = chance.choice(documents)
        if chance.random() < 0.03:
            desk.residence.close_session((1, document.name))
        document.edit()
        desk.complete(document)
        if chance.random() < 0.2:
            desk.think(document)
        if chance.random() < 0.1:
            desk.residence.save_document((1, document.name))
        desk.check_cells()

    # All of it did happen.
    assert desk.aborted > 0
    assert desk.adopted > 0
    assert desk.cached > desk.evaluated
