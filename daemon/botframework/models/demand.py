"""How many bytes a model takes: weights, KV cache, recurrent states, working memory. Pure.

Read in, and tested against, the pinned llama.cpp (``llama-kv-cache.cpp``, ``llama-kv-cache-iswa.cpp``,
``llama-memory-recurrent.cpp``, ``llama-context.cpp``). Weights and caches are exact for the architectures that
`models.shape` knows; working memory is an estimate. What llama.cpp itself would say, without loading anything, is asked
by `manager.measure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.config import Engine
from botframework.models.shape import F32_BYTES

if TYPE_CHECKING:
    from botframework.models.shape import ModelShape

CELL_STEP = 256
"""llama.cpp rounds the cells of a cache up to a multiple of it."""
LEAST_CTX_FIM = 1_024
"""Cells; with fewer there is no room for a suffix beside a useful prefix."""
KV_BLOCKS: dict[str, tuple[int, int]] = {"f16": (1, 2), "q8_0": (32, 34)}
"""Numbers of a block and its bytes."""
MASK_BYTES = 2
"""Of one entry of the attention mask, for each cell and token."""
STREAMS, STREAMS_EXPERTS, STREAMS_RECURRENT = 4, 5, 6
"""Copies of the residual stream that exist at once, as measured: in dense models, with experts, in recurrent ones."""
_DEFAULTS = Engine()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPlan:
    """The two contexts of a worker; one with 0 cells is not made."""

    n_ctx_fim: int = _DEFAULTS.n_ctx_fim
    n_ctx_chat: int = _DEFAULTS.n_ctx_chat
    n_seq_fim: int = _DEFAULTS.n_seq_fim
    n_seq_chat: int = _DEFAULTS.n_seq_chat
    n_ubatch_fim: int = _DEFAULTS.n_ubatch_fim
    n_ubatch_chat: int = _DEFAULTS.n_ubatch_chat
    kv_type: str = _DEFAULTS.kv_type
    flash_attention: bool = _DEFAULTS.flash_attention

    @property
    def contexts(self) -> tuple[tuple[int, int, int], ...]:
        """Cells, sequences and tokens of a micro-batch of each context that is made."""
        both = (
            (self.n_ctx_fim, self.n_seq_fim, self.n_ubatch_fim),
            (self.n_ctx_chat, self.n_seq_chat, self.n_ubatch_chat),
        )
        return tuple(context for context in both if context[0])


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes that a loaded model takes."""

    weights: int
    kv: int
    recurrent: int
    compute: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv + self.recurrent + self.compute


def plan_contexts(engine: Engine, n_ctx_train: int = 0) -> ContextPlan:
    """Lay out the contexts that the settings ask for; more cells than all sequences can use are left out.

    Parameters
    ----------
    n_ctx_train
        Tokens that the model was trained for; 0: unknown.
    """
    n_ctx_fim, n_ctx_chat = engine.n_ctx_fim, engine.n_ctx_chat
    if n_ctx_train > 0:
        n_ctx_fim = min(n_ctx_fim, max(LEAST_CTX_FIM, n_ctx_train * engine.n_seq_fim))
        n_ctx_chat = min(n_ctx_chat, n_ctx_train * engine.n_seq_chat)
    return ContextPlan(
        n_ctx_fim=n_ctx_fim,
        n_ctx_chat=n_ctx_chat,
        n_seq_fim=engine.n_seq_fim,
        n_seq_chat=engine.n_seq_chat,
        n_ubatch_fim=engine.n_ubatch_fim,
        n_ubatch_chat=engine.n_ubatch_chat,
        kv_type=engine.kv_type,
        flash_attention=engine.flash_attention,
    )


def kv_bytes(
    shape: ModelShape,
    n_ctx: int,
    n_seq: int,
    n_ubatch: int,
    kv_type: str = "f16",
    *,
    flash_attention: bool = True,
    keeps_window: bool = True,
) -> int:
    """Bytes of a KV cache: cells x layers x heads x (key length + value length) x bytes of a number.

    Parameters
    ----------
    n_ctx
        Cells, shared by all sequences; rounded up to a multiple of 256.
    n_seq, n_ubatch
        Sequences and tokens of a micro-batch; they count only without ``keeps_window``.
    kv_type
        ``f16`` or ``q8_0``.
    flash_attention
        False: values are kept the other way round, all as wide as the widest layer's.
    keeps_window
        Layers with a sliding window keep as many cells as the others. So the worker's contexts are made, because a
        window that forgets cannot be cut. False: sequences x window + micro-batch cells, as llama.cpp does by itself.
    """
    context = (n_ctx, n_seq, n_ubatch)
    sizes = layer_kv_bytes(shape, context, kv_type, flash_attention=flash_attention, keeps_window=keeps_window)
    return sum(sizes)


def layer_kv_bytes(
    shape: ModelShape,
    context: tuple[int, int, int],
    kv_type: str,
    *,
    flash_attention: bool = True,
    keeps_window: bool = True,
) -> tuple[int, ...]:
    """Bytes of each layer in the KV cache of a context (cells, sequences, tokens of a micro-batch); see `kv_bytes`."""
    n_ctx, n_seq, n_ubatch = context
    whole = padded(n_ctx)
    short = padded(min(whole, shape.sliding_window * n_seq + min(n_ubatch, n_ctx))) if not keeps_window else whole
    widest = max((layer.n_head_kv * layer.value_length for layer in shape.layers), default=0)
    numbers, block_bytes = KV_BLOCKS[kv_type]
    sizes = []
    for layer in shape.layers:
        keys, values = layer.n_head_kv * layer.key_length, layer.n_head_kv * layer.value_length
        widths = (keys, values if flash_attention or not values else widest)
        row = sum(-(-width // numbers) * block_bytes for width in widths)
        sizes.append(row * (short if layer.is_sliding else whole))
    return tuple(sizes)


def recurrent_bytes(shape: ModelShape, n_seq: int) -> int:
    """Bytes of the states of recurrent layers: a fixed size for each sequence."""
    return max(1, n_seq) * sum(layer.recurrent_bytes for layer in shape.layers)


def compute_bytes(shape: ModelShape, n_ctx: int, n_seq: int, n_ubatch: int, *, flash_attention: bool = True) -> int:
    """Working memory of a context, on each device that computes: an estimate of the widest moment of its graph.

    llama.cpp lays all results of a micro-batch out in one buffer, where a later one takes the place of what is not
    wanted any more. So the widest part of a layer counts: attention, the feed-forward part, the recurrent part, or the
    logits; beside it some copies of the residual stream, and the mask of attention.
    """
    n_batch = min(max(n_ubatch, n_seq), padded(n_ctx))
    n_tokens = -(-n_batch // n_seq) * n_seq
    cells, n_floats = padded(n_ctx), n_tokens * F32_BYTES
    has_attention = any(layer.n_head_kv for layer in shape.layers)
    mask = cells * n_tokens * MASK_BYTES * (has_attention + any(layer.is_sliding for layer in shape.layers))
    width = max((layer.key_length for layer in shape.layers), default=0)
    attention = 3 * shape.n_head * max(width, shape.latent_length) * n_floats
    if not flash_attention:
        attention += shape.n_head * cells * n_floats
    n_ff = shape.n_ff * n_floats
    feed_forward = (3 if shape.is_gated else 1) * n_ff
    answers = shape.n_experts_used * shape.n_embd * n_floats
    if answers > 2 * n_ff:  # else they find room where gate and input were
        feed_forward += answers
    state = max((layer.recurrent_bytes for layer in shape.layers), default=0)
    recurrent = 4 * shape.ssm_width * n_floats + n_seq * state
    logits = min(n_seq, n_tokens) * shape.n_vocab * F32_BYTES
    streams = STREAMS_RECURRENT if state else STREAMS_EXPERTS if shape.n_experts_used else STREAMS
    widest = max(attention, feed_forward, recurrent, logits)
    # The logits a second time, where they are handed out.
    return mask + streams * shape.n_embd * n_floats + widest + logits


def demand(shape: ModelShape, plan: ContextPlan) -> Demand:
    """Bytes of a model with its contexts, all in one place."""
    return Demand(
        weights=shape.weights_bytes,
        kv=sum(
            kv_bytes(shape, *context, plan.kv_type, flash_attention=plan.flash_attention) for context in plan.contexts
        ),
        recurrent=sum(recurrent_bytes(shape, n_seq) for _, n_seq, _ in plan.contexts),
        compute=work_bytes(shape, plan),
    )


def work_bytes(shape: ModelShape, plan: ContextPlan) -> int:
    """Working memory of all contexts, on each device that computes."""
    return sum(compute_bytes(shape, *context, flash_attention=plan.flash_attention) for context in plan.contexts)


def padded(n_cells: int) -> int:
    """Cells as llama.cpp allocates them."""
    return n_cells + -n_cells % CELL_STEP
