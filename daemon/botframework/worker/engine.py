"""A loaded model and its two contexts: a small one for completion, a larger one for chat and edit.

The contexts share the weights and never compute at once: both belong to the scheduling thread. The second is made when
the first chat needs it.
"""

from __future__ import annotations

import functools
import logging
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from botframework.wire import messages as wire
from botframework.worker import fim, llama, window
from botframework.worker.chat import ChatFormatter
from botframework.worker.healing import VocabularyIndex
from botframework.worker.sessions import SessionPool
from botframework.worker.speed import PrefillSpeed
from botframework.worker.threads import ThreadGovernor

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.worker.sessions import Parking

log = logging.getLogger(__name__)

LaneName = Literal["fim", "chat"]
LANES: tuple[LaneName, ...] = get_args(LaneName)

CALIBRATION_S = 0.5
"""Time for measuring one thread count at load; a big model gets fewer steps, not more time."""
CALIBRATION_STEPS = 8
CHAT_CHUNK_S = 0.1
"""A completion waits at most this long for a chat's micro-batch: a tenth of a second is the border of noticing."""
MIN_CHUNK = 16
"""Smaller micro-batches cost more time than they save: the weights are read once per micro-batch."""
PROBE = "\n"
"""Before a text whose tokenizer would else put a space there; it is a token, or some, of its own everywhere."""
ANSWER_SHARE = 4
"""A prompt may take all of a sequence but 1/4, so that there is room for an answer."""


@dataclass(slots=True, eq=False)
class Lane:
    """One context with its sessions."""

    name: LaneName
    context: llama.Context
    pool: SessionPool
    chunk: int
    """Prompt tokens of one micro-batch."""
    governor: ThreadGovernor
    speed: PrefillSpeed

    def sessions(self, connection: int) -> list[wire.SessionInfo]:
        """A connection's sessions that have cells here."""
        now = time.monotonic()
        return [
            wire.SessionInfo(
                session=sequence.session[1] if sequence.session else "",
                context=self.name,
                tokens=len(sequence.tokens),
                busy=sequence.busy,
                idle_s=0.0 if sequence.busy else now - sequence.used_at,
                bytes=self.context.state_bytes(sequence.number),
            )
            for sequence in self.pool.of_connection(connection)
        ]


class Engine:
    """The model, ready to compute. Made and used by the scheduling thread; `chat_formatter` by the preparing thread."""

    def __init__(self, load: wire.LoadModel, progress: Callable[[float], bool]) -> None:
        """Load the model, make the completion context, measure.

        Raises
        ------
        ModelCorrupt, ModelDoesNotFit, RequestCancelled
            As `llama.Model` and `llama.Context`.
        """
        began = time.monotonic()
        self._load = load
        self.model = llama.Model(load.path, n_gpu_layers=load.n_gpu_layers, use_mmap=load.use_mmap, progress=progress)
        vocab = self.model.vocab
        self.fim_tokens = fim.FimTokens(
            pre=vocab.fim("pre"),
            suf=vocab.fim("suf"),
            mid=vocab.fim("mid"),
            pad=vocab.fim("pad"),
            rep=vocab.fim("rep"),
            sep=vocab.fim("sep"),
            bos=vocab.bos if vocab.add_bos else fim.ABSENT,
        )
        self.can_infill = fim.ABSENT not in (self.fim_tokens.pre, self.fim_tokens.suf, self.fim_tokens.mid)
        self.vocabulary = VocabularyIndex(vocab.pieces())
        self._probe = self._tokens_of_probe()
        self._parking: Callable[[LaneName], Parking] | None = None
        self.n_threads = load.n_threads[0]
        self.prefill_tokens_per_s = self.decode_tokens_per_s = 0.0
        self._lanes: dict[LaneName, Lane] = {}
        self.can_cut_tail = True
        self._calibrate(self.lane("fim"))
        if self.can_infill:
            _ = self.budget  # A context that is too small is told now, not at the first key.
        self.load_ms = (time.monotonic() - began) * 1000

    def lane(self, name: LaneName) -> Lane:
        """The context of that name, made when first asked for.

        Raises
        ------
        ModelDoesNotFit
            There is no memory for it.
        """
        if name not in self._lanes:
            load = self._load
            n_ctx, n_seq, n_ubatch = (
                (load.n_ctx_fim, load.n_seq_fim, load.n_ubatch_fim)
                if name == "fim"
                else (load.n_ctx_chat, load.n_seq_chat, load.n_ubatch_chat)
            )
            context = llama.Context(
                self.model,
                n_ctx=n_ctx,
                n_seq=n_seq,
                n_ubatch=n_ubatch,
                n_threads=self.n_threads,
                flash_attn=load.flash_attn,
                kv_type=load.kv_type,
            )
            chunk = self._chunk(name, context.n_batch)
            self._lanes[name] = Lane(
                name,
                context,
                SessionPool(
                    context,
                    n_ctx_train=self.model.n_ctx_train,
                    can_cut=self.can_cut_tail,
                    parking=self._parking(name) if self._parking is not None else None,
                ),
                chunk,
                ThreadGovernor(self.n_threads),
                PrefillSpeed(self.prefill_tokens_per_s, chunk),
            )
        return self._lanes[name]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The contexts that exist."""
        return tuple(self._lanes.values())

    def give_parking(self, parking: Callable[[LaneName], Parking]) -> None:
        """Let the sessions of every context have a place to go to when they lose their cells."""
        self._parking = parking
        for lane in self.lanes:
            lane.pool.parking = parking(lane.name)

    def describe(self) -> wire.Loaded:
        """Tell what is loaded."""
        model, load = self.model, self._load
        return wire.Loaded(
            model=wire.ModelInfo(
                name=model.metadata("general.name") or load.path.replace("\\", "/").rsplit("/", 1)[-1],
                architecture=model.metadata("general.architecture") or "",
                description=model.describe(),
                path=load.path,
                size_bytes=model.size_bytes,
                n_params=model.n_params,
                n_vocab=model.vocab.size,
                n_ctx_train=model.n_ctx_train,
                n_layers=model.n_layers,
                n_embd=model.n_embd,
                can_infill=self.can_infill,
                fim_order=self.layout.order if self.can_infill else "none",
                fim_typed=self.layout.typed if self.can_infill else "before",
                has_chat_template=model.chat_template() is not None,
                can_cut_tail=self.can_cut_tail,
            ),
            devices=llama.devices(),
            n_threads=self.n_threads,
            n_ctx_fim=self.lane("fim").pool.sequence_limit,
            n_ctx_chat=min(load.n_ctx_chat, model.n_ctx_train),
            load_ms=self.load_ms,
            prefill_tokens_per_s=self.prefill_tokens_per_s,
            decode_tokens_per_s=self.decode_tokens_per_s,
            llama_build=llama.build(),
        )

    @functools.cached_property
    def layout(self) -> fim.Layout:
        """How the model wants to be asked for a completion.

        Raises
        ------
        ModelCannotInfill
            Its vocabulary has no FIM tokens.
        """
        metadata = {key: value for key in fim.METADATA_KEYS if (value := self.model.metadata(key)) is not None}
        return fim.pick_layout(self.fim_tokens, self._load.fim_order, self._load.fim_typed, metadata)

    @property
    def budget(self) -> window.Budget:
        """How much text a completion's prompt may have on this machine, as fast as it is now.

        Raises
        ------
        ContextOverflow
            The context is too small for any.
        """
        lane = self.lane("fim")
        limit = lane.pool.sequence_limit
        # Two windows have room in the cells, so that the next one can be read beside the one in use.
        both = max(lane.context.n_cells // 2, min(limit, window.SMALLEST_LIMIT))
        return window.budget(min(limit, both), lane.speed.tokens_per_s)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of a part of a file: no special ones, no BOS, and no space that the tokenizer puts in front."""
        if self._probe is None:
            return self.model.vocab.tokenize(text)
        tokens = self.model.vocab.tokenize(PROBE + text)
        length = len(self._probe)
        return tokens[length:] if tokens[:length] == self._probe else self.model.vocab.tokenize(text)

    def _tokens_of_probe(self) -> list[int] | None:
        """What stands before a text to be cut off again; None for tokenizers that put nothing in front."""
        vocab = self.model.vocab
        tokens = vocab.tokenize(PROBE)
        return None if b"".join(map(vocab.piece, tokens)) == PROBE.encode() else tokens

    @functools.cached_property
    def chat_formatter(self) -> ChatFormatter:
        """The model's chat template; reads the whole vocabulary once, on the preparing thread."""
        vocab = self.model.vocab
        return ChatFormatter(
            self.model.chat_template(),
            vocab.special_texts(),
            vocab.text_of(vocab.bos),
            vocab.text_of(vocab.eos),
            vocab.tokenize,
            add_bos=vocab.add_bos,
        )

    def chat_budget(self, request: wire.ChatRequest) -> int:
        """Prompt tokens that a chat may have, leaving room for its answer."""
        limit = min(self._load.n_ctx_chat, self.model.n_ctx_train)
        return limit - min(request.max_tokens, limit // ANSWER_SHARE)

    def _chunk(self, name: LaneName, n_ubatch: int) -> int:
        if name == "fim" or not self.prefill_tokens_per_s:
            return n_ubatch
        return max(MIN_CHUNK, min(n_ubatch, int(self.prefill_tokens_per_s * CHAT_CHUNK_S)))

    def _calibrate(self, lane: Lane) -> None:
        """Measure each offered thread count and keep the fastest at decoding; measure the prefill with it."""
        context = lane.context
        token = next((t for t in range(self.model.vocab.size) if not self.model.vocab.is_eog(t)), 0)
        context.decode_chunk(0, 0, [token], output=True)  # The first call pages the weights in.
        rates = {}
        for n_threads in self._load.n_threads:
            context.set_threads(n_threads)
            times = _times_s(
                lambda position: context.decode_chunk(0, position, [token], output=True), start=context.end_of(0)
            )
            rates[n_threads] = 1 / statistics.median(times)
        self.n_threads = max(rates, key=lambda count: rates[count])
        self.decode_tokens_per_s = rates[self.n_threads]
        context.set_threads(self.n_threads)
        lane.governor = ThreadGovernor(self.n_threads)
        context.forget(0)
        chunk = [token] * lane.chunk

        def read_again(_position: int) -> None:
            context.forget(0)
            context.decode_chunk(0, 0, chunk, output=True)

        # The fastest counts: another process may take the cores for a moment, and the first windows are sized by this.
        seconds = min(_times_s(read_again, start=0))
        self.prefill_tokens_per_s = len(chunk) / seconds
        lane.speed = PrefillSpeed(self.prefill_tokens_per_s, lane.chunk)
        self.can_cut_tail = lane.pool.can_cut = context.cut(0, 1) and context.end_of(0) == 1
        context.forget(0)
        log.info("measured %s tokens/s by threads, prefill %.0f tokens/s", rates, self.prefill_tokens_per_s)


def _times_s(step: Callable[[int], object], start: int) -> list[float]:
    """Seconds of some steps at rising positions."""
    times: list[float] = []
    began = time.monotonic()
    while len(times) < CALIBRATION_STEPS and (len(times) < 2 or time.monotonic() - began < CALIBRATION_S):
        before = time.monotonic()
        step(start + len(times))
        times.append(time.monotonic() - before)
    return times
