"""Model files of real size without weights: whole headers, and behind them a hole as long as the tensors would be.

llama.cpp reads no weights when it only lays a model out, so a file of 18 GB costs what its header does. The shapes are
like those of well-known models of each architecture; the vocabulary is smaller.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.gguf_factory import F32, Q8_0, UNUSED, GgufFile, Tensor, ValueType, _add_vocabulary, tiny_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from support.gguf_factory import Vocabulary

N_VOCAB = 32_000
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Shaped:
    """One model."""

    architecture: str
    n_layers: int
    n_embd: int
    numbers: Mapping[str, int | list[int] | list[bool]]
    """Metadata below the architecture's name, lists one entry a layer."""
    block: Callable[[int], Shapes]
    """Tensors of a block, without ``blk.N.``; names without an ending get ``.weight``."""
    outside: Shapes = field(default_factory=dict)
    """Beside the embedding and the last norm."""
    epsilon: str = "attention.layer_norm_rms_epsilon"
    n_vocab: int = N_VOCAB
    tensor_kind: int = Q8_0


def write_shaped(path: Path, model: Shaped) -> Path:
    """Write a model's header and the hole behind it."""
    gguf = GgufFile()
    gguf.add("general.architecture", ValueType.STRING, model.architecture)
    fixed = {"block_count": model.n_layers, "embedding_length": model.n_embd, "context_length": 32_768}
    for key, value in (fixed | dict(model.numbers)).items():
        gguf.add(f"{model.architecture}.{key}", *_typed(value))
    gguf.add(f"{model.architecture}.{model.epsilon}", ValueType.FLOAT32, 1e-5)
    _add_vocabulary(gguf, _words(model.n_vocab), pre="qwen2", chat_template=None)
    outside = {"token_embd": (model.n_embd, model.n_vocab), "output_norm": (model.n_embd,)} | model.outside
    for name, shape in outside.items():
        gguf.tensors.append(_tensor(name, shape, model.tensor_kind))
    for layer in range(model.n_layers):
        for name, shape in model.block(layer).items():
            gguf.tensors.append(_tensor(f"blk.{layer}.{name}", shape, model.tensor_kind))
    header = gguf.header()
    path.write_bytes(header)
    size = sum(tensor.n_bytes + -tensor.n_bytes % gguf.alignment for tensor in gguf.tensors)
    os.truncate(path, len(header) + size)
    return path


def _typed(value: int | list[int] | list[bool]) -> tuple[int, Any]:
    if isinstance(value, int):
        return ValueType.UINT32, value
    kind = ValueType.BOOL if isinstance(value[0], bool) else ValueType.UINT32
    return ValueType.ARRAY, (kind, value)


def _words(n_vocab: int) -> Vocabulary:
    words = tiny_vocabulary(chat=False)
    more = n_vocab - len(words.tokens)
    words.tokens.extend(f"[PAD{number}]" for number in range(more))
    words.types.extend([UNUSED] * more)
    return words


def _tensor(name: str, shape: tuple[int, ...], kind: int) -> Tensor:
    if not name.endswith((".weight", ".bias", "ssm_a", "ssm_d", "ffn_norm!")):
        name += ".weight"
    name = name.removesuffix("!")
    is_matrix = len(shape) > 1 and shape[0] % 32 == 0 and not any(word in name for word in ("conv1d", "norm", ".bias"))
    elements = 1
    for n in shape:
        elements *= n
    kind = kind if is_matrix else F32
    n_bytes = {F32: 4 * elements, Q8_0: elements // 32 * 34}[kind]
    return Tensor(name, shape, kind, b"", n_bytes=n_bytes)


# --- parts of blocks --------------------------------------------------------------------------------------------------


def attention(
    n_embd: int, n_head: int, n_head_kv: int, head: int, *, bias: bool = False, norms: bool = False
) -> Shapes:
    """Grouped-query attention."""
    shapes: Shapes = {
        "attn_norm": (n_embd,),
        "attn_q": (n_embd, n_head * head),
        "attn_k": (n_embd, n_head_kv * head),
        "attn_v": (n_embd, n_head_kv * head),
        "attn_output": (n_head * head, n_embd),
    }
    if bias:
        shapes |= {f"attn_{part}.bias": (shapes[f"attn_{part}"][1],) for part in ("q", "k", "v")}
    if norms:
        shapes |= {"attn_q_norm": (head,), "attn_k_norm": (head,)}
    return shapes


def gated(n_embd: int, n_ff: int) -> Shapes:
    """A feed-forward part with a gate."""
    return {
        "ffn_norm": (n_embd,),
        "ffn_gate": (n_embd, n_ff),
        "ffn_up": (n_embd, n_ff),
        "ffn_down": (n_ff, n_embd),
    }


def experts(n_embd: int, n_ff: int, count: int) -> Shapes:
    """A mixture of experts behind a router."""
    return {
        "ffn_gate_inp": (n_embd, count),
        "ffn_gate_exps": (n_embd, n_ff, count),
        "ffn_up_exps": (n_embd, n_ff, count),
        "ffn_down_exps": (n_ff, n_embd, count),
    }


def heads(n_head: int, n_head_kv: int | list[int], length: int | None = None) -> dict[str, int | list[int]]:
    """The keys of attention heads."""
    found: dict[str, int | list[int]] = {"attention.head_count": n_head, "attention.head_count_kv": n_head_kv}
    if length is not None:
        found |= {"attention.key_length": length, "attention.value_length": length}
    return found


def _ssm2(n_embd: int, inner: int, state: int, n_head: int) -> Shapes:
    """The second kind of Mamba's recurrent part, with one group."""
    mixed = inner + 2 * state
    return {
        "ssm_in": (n_embd, inner + mixed + n_head),
        "ssm_conv1d": (4, mixed),
        "ssm_conv1d.bias": (mixed,),
        "ssm_dt.bias": (n_head,),
        "ssm_a": (1, n_head),
        "ssm_d": (1, n_head),
        "ssm_norm": (inner, 1),
        "ssm_out": (inner, n_embd),
    }


def _ssm_keys(inner: int, state: int, rank: int, groups: int) -> dict[str, int | list[int]]:
    return {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": rank,
        "ssm.group_count": groups,
    }


# --- models -----------------------------------------------------------------------------------------------------------


def _starcoder2(_: int) -> Shapes:
    block = attention(3_072, 24, 2, 128, bias=True)
    up_down: Shapes = {"ffn_norm": (3_072,), "ffn_up": (3_072, 12_288), "ffn_down": (12_288, 3_072)}
    biases = {"attn_norm": 3_072, "attn_output": 3_072, "ffn_norm": 3_072, "ffn_up": 12_288, "ffn_down": 3_072}
    return block | up_down | {f"{name}.bias": (width,) for name, width in biases.items()}


def _phi3(_: int) -> Shapes:
    return {
        "attn_norm": (3_072,),
        "attn_qkv": (3_072, 3 * 3_072),
        "attn_output": (3_072, 3_072),
        "ffn_norm": (3_072,),
        "ffn_up": (3_072, 2 * 8_192),
        "ffn_down": (8_192, 3_072),
    }


def _gemma(n_embd: int, n_ff: int, n_head: int, n_head_kv: int, *, norms: bool) -> Shapes:
    more: Shapes = {"post_attention_norm": (n_embd,), "post_ffw_norm": (n_embd,)}
    return attention(n_embd, n_head, n_head_kv, 256, norms=norms) | gated(n_embd, n_ff) | more


def _deepseek2(layer: int) -> Shapes:
    block: Shapes = {
        "attn_norm": (2_048,),
        "attn_kv_a_norm": (512,),
        "attn_q": (2_048, 16 * 192),
        "attn_kv_a_mqa": (2_048, 512 + 64),
        "attn_k_b": (128, 512, 16),
        "attn_v_b": (512, 128, 16),
        "attn_output": (16 * 128, 2_048),
    }
    if layer == 0:
        return block | gated(2_048, 10_944)
    shared: Shapes = {
        "ffn_norm": (2_048,),
        "ffn_gate_shexp": (2_048, 2 * 1_408),
        "ffn_up_shexp": (2_048, 2 * 1_408),
        "ffn_down_shexp": (2 * 1_408, 2_048),
    }
    return block | experts(2_048, 1_408, 64) | shared


def _gpt_oss(_: int) -> Shapes:
    block = attention(2_880, 64, 8, 64, bias=True) | experts(2_880, 2_880, 32)
    more: Shapes = {"post_attention_norm": (2_880,), "attn_sinks": (64,), "attn_output.bias": (2_880,)}
    biases: Shapes = {f"ffn_{name}_exps.bias": (2_880, 32) for name in ("gate", "up", "down")}
    return block | more | biases | {"ffn_gate_inp.bias": (32,)}


def _falcon_h1(_: int) -> Shapes:
    block = attention(2_048, 8, 2, 128) | gated(2_048, 8_192) | _ssm2(2_048, 3_072, 256, 48)
    return {name if name != "ffn_norm" else "ffn_norm!": shape for name, shape in block.items()}


def _granite_hybrid(layer: int) -> Shapes:
    mixer = attention(1_536, 12, 4, 128) if layer % 10 == 5 else _ssm2(1_536, 3_072, 128, 48)
    return mixer | {"attn_norm": (1_536,)} | gated(1_536, 4_096)


def _mamba(_: int) -> Shapes:
    return {
        "attn_norm": (1_024,),
        "ssm_in": (1_024, 4_096),
        "ssm_conv1d": (4, 2_048),
        "ssm_conv1d.bias": (2_048,),
        "ssm_x": (2_048, 64 + 32),
        "ssm_dt": (64, 2_048),
        "ssm_dt.bias": (2_048,),
        "ssm_a": (16, 2_048),
        "ssm_d": (2_048,),
        "ssm_out": (2_048, 1_024),
    }


def _gemma4(layer: int) -> Shapes:
    is_full = layer % 5 == 4
    head = 512 if is_full else 256
    block = attention(1_536, 8, 1, head, norms=True) | gated(1_536, 6_144)
    if layer >= 20:  # looks into the cache of an earlier one
        block = {name: shape for name, shape in block.items() if name not in {"attn_k", "attn_v", "attn_k_norm"}}
    more: Shapes = {"post_attention_norm": (1_536,), "post_ffw_norm": (1_536,)}
    return block | more


MODELS: dict[str, Shaped] = {
    "llama": Shaped(
        "llama",
        n_layers=28,
        n_embd=3_072,
        numbers=heads(24, 8) | {"feed_forward_length": 8_192},
        block=lambda _: attention(3_072, 24, 8, 128) | gated(3_072, 8_192),
    ),
    "qwen2": Shaped(
        "qwen2",
        n_layers=28,
        n_embd=1_536,
        numbers=heads(12, 2) | {"feed_forward_length": 8_960},
        block=lambda _: attention(1_536, 12, 2, 128, bias=True) | gated(1_536, 8_960),
        n_vocab=151_936,
    ),
    "qwen3moe": Shaped(
        "qwen3moe",
        n_layers=48,
        n_embd=2_048,
        numbers=heads(32, 4, 128)
        | {"feed_forward_length": 6_144, "expert_count": 128, "expert_used_count": 8}
        | {"expert_feed_forward_length": 768},
        block=lambda _: attention(2_048, 32, 4, 128, norms=True) | {"ffn_norm": (2_048,)} | experts(2_048, 768, 128),
        outside={"output": (2_048, N_VOCAB)},
    ),
    "starcoder2": Shaped(
        "starcoder2",
        n_layers=30,
        n_embd=3_072,
        numbers=heads(24, 2) | {"feed_forward_length": 12_288},
        block=_starcoder2,
        outside={"output_norm.bias": (3_072,)},
        epsilon="attention.layer_norm_epsilon",
    ),
    "phi3": Shaped(
        "phi3",
        n_layers=32,
        n_embd=3_072,
        numbers=heads(32, 32) | {"feed_forward_length": 8_192, "attention.sliding_window": 2_047},
        block=_phi3,
        outside={"output": (3_072, N_VOCAB)},
    ),
    "gemma2": Shaped(
        "gemma2",
        n_layers=26,
        n_embd=2_304,
        numbers=heads(8, 4, 256) | {"feed_forward_length": 9_216},
        block=lambda _: _gemma(2_304, 9_216, 8, 4, norms=False),
    ),
    "gemma3": Shaped(
        "gemma3",
        n_layers=34,
        n_embd=2_560,
        numbers=heads(8, 4, 256) | {"feed_forward_length": 10_240, "attention.sliding_window": 1_024},
        block=lambda _: _gemma(2_560, 10_240, 8, 4, norms=True),
    ),
    "gemma4": Shaped(
        "gemma4",
        n_layers=35,
        n_embd=1_536,
        numbers=heads(8, 1, 512)
        | {"feed_forward_length": 6_144, "attention.key_length_swa": 256, "attention.value_length_swa": 256}
        | {"attention.sliding_window": 512, "attention.shared_kv_layers": 15, "embedding_length_per_layer_input": 0}
        | {"attention.sliding_window_pattern": [layer % 5 != 4 for layer in range(35)]},
        block=_gemma4,
        outside={"rope_freqs": (256,)},
    ),
    "gpt-oss": Shaped(
        "gpt-oss",
        n_layers=24,
        n_embd=2_880,
        numbers=heads(64, 8, 64)
        | {"feed_forward_length": 2_880, "expert_feed_forward_length": 2_880, "expert_count": 32}
        | {"expert_used_count": 4, "attention.sliding_window": 128},
        block=_gpt_oss,
        outside={"output": (2_880, N_VOCAB)},
    ),
    "deepseek2": Shaped(
        "deepseek2",
        n_layers=27,
        n_embd=2_048,
        numbers=heads(16, 1)
        | {"feed_forward_length": 10_944, "leading_dense_block_count": 1, "attention.kv_lora_rank": 512}
        | {"attention.key_length": 576, "attention.value_length": 512, "attention.key_length_mla": 192}
        | {"attention.value_length_mla": 128, "expert_count": 64, "expert_used_count": 6, "rope.dimension_count": 64}
        | {"expert_shared_count": 2, "expert_feed_forward_length": 1_408},
        block=_deepseek2,
        outside={"output": (2_048, N_VOCAB)},
    ),
    "falcon-h1": Shaped(
        "falcon-h1",
        n_layers=6,  # llama.cpp allocates the states of recurrent layers even when it only lays a model out
        n_embd=2_048,
        numbers=heads(8, 2, 128) | {"feed_forward_length": 8_192} | _ssm_keys(3_072, 256, 48, 1),
        block=_falcon_h1,
        outside={"output": (2_048, N_VOCAB)},
    ),
    "granitehybrid": Shaped(
        "granitehybrid",
        n_layers=10,
        n_embd=1_536,
        numbers=heads(12, [4 if layer % 10 == 5 else 0 for layer in range(10)])
        | {"feed_forward_length": 4_096}
        | _ssm_keys(3_072, 128, 48, 1),
        block=_granite_hybrid,
    ),
    "mamba": Shaped(
        "mamba",
        n_layers=48,
        n_embd=1_024,
        numbers=_ssm_keys(2_048, 16, 64, 0) | {"feed_forward_length": 0, "attention.head_count": 0},
        block=_mamba,
    ),
}
"""By architecture."""
