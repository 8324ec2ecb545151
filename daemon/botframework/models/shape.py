"""What the memory arithmetic needs to know of a model: from its header, or from a few published numbers. Pure.

The keys and the defaults are those that the pinned llama.cpp reads (``load_hparams`` in ``llama-model.cpp``, and
``load_arch_hparams`` of each architecture in ``models/``).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from botframework.models.header import ArrayValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botframework.models.header import GgufHeader

RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
"""Architectures without attention."""
HEADLESS_IS_RECURRENT = frozenset(
    {"jamba", "granitehybrid", "plamo2", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe", "kimi-linear"}
    | {"bailingmoe3", "kimi-k3", "glm5-next"}
)
"""Hybrids whose recurrent layers are those without key and value heads."""
INTERVAL_IS_ATTENTION = frozenset({"qwen3next", "qwen35", "qwen35moe", "qwen4exp", "minimax-01"})
"""Hybrids in which every n-th layer has attention and the others are recurrent."""
DEFAULT_INTERVAL = 4
SLIDING_PERIODS = {
    "afmoe": 4,
    "cohere2": 4,
    "cohere2moe": 4,
    "exaone-moe": 4,
    "gemma-embedding": 6,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "laguna": 4,
    "llama4": 4,
    "mellum": 4,
    "modern-bert": 3,
    "muse-glimmer": 4,
    "olmo2": 4,
    "plamo3": 8,
    "smallthinker": 4,
}
"""Of so many layers one sees everything and the others a window, unless the file has a pattern of its own."""
FULL_FIRST = frozenset({"cohere2moe", "laguna", "modern-bert", "smallthinker"})
"""Their full layer is the first of the period, not the last."""
PATTERN_IN_FILE = frozenset({"gemma4", "mimo2", "granite_swa", "maple", "spark2_5", "step35"})
"""Architectures with a sliding window whose pattern always stands in the file."""
DEFAULT_WINDOWS = {"gemma2": 4_096, "llama4": 8_192}
"""Tokens, where the file does not say."""
FIRST_LAYERS_WITH_KV = {"gemma3n": 20}
"""So many layers have a KV cache; the others look into theirs."""
UNMODELLED = frozenset({"deepseek32", "deepseek4", "dflash", "dots3note", "glm-dsa", "hy_v4", "minimax-m3", "qwen4exp"})
"""Architectures with caches beside those that are computed here: their figures are only estimates."""
INPUT_TENSORS = frozenset({"token_embd", "position_embd", "token_types", "per_layer_token_embd"})
"""llama.cpp keeps these in the machine's memory, wherever the layers are."""
F32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One block."""

    weights_bytes: int = 0
    n_head_kv: int = 0
    """0: nothing is kept for each cell."""
    key_length: int = 0
    """Numbers of one head's key."""
    value_length: int = 0
    """0 with multi-head latent attention, whose values are a part of the keys."""
    is_sliding: bool = False
    """Sees a window only."""
    recurrent_bytes: int = 0
    """State of one sequence, whatever its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A model as the arithmetic of `models.fit` sees it. Sizes in bytes, lengths in numbers."""

    weights_bytes: int
    layers: tuple[LayerShape, ...]
    architecture: str = ""
    n_embd: int = 0
    n_head: int = 0
    n_ff: int = 0
    """Width of the feed-forward part of one token: with experts, of all that are used."""
    is_gated: bool = True
    """The feed-forward part has a gate beside it."""
    n_experts_used: int = 0
    """0: the model is dense."""
    n_vocab: int = 0
    n_ctx_train: int = 0
    """0: unknown."""
    sliding_window: int = 0
    """Tokens that a sliding layer sees."""
    latent_length: int = 0
    """Of multi-head latent attention: numbers of a token's compressed key and value; 0 without."""
    ssm_width: int = 0
    """Inner width of recurrent layers."""
    input_bytes: int = 0
    """Tensors that stay in the machine's memory."""
    output_bytes: int = 0
    """Tensors behind the last block; on a GPU with the first layer that goes there."""
    is_tied: bool = False
    """The output matrix is the input's, and exists twice when the output is on a GPU."""
    is_exact: bool = True
    """False: an estimate, because the architecture keeps more than is computed, or no file has been read."""

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return len(self.layers)

    @property
    def output_on_gpu_bytes(self) -> int:
        """What the output takes on a GPU."""
        return self.output_bytes + (self.input_bytes if self.is_tied else 0)


def plain_shape(
    *,
    weights_bytes: int,
    n_layers: int,
    n_head: int,
    n_head_kv: int,
    head_dim: int,
    n_embd: int | None = None,
    n_ff: int | None = None,
    n_vocab: int = 0,
    n_ctx_train: int = 0,
    architecture: str = "",
) -> ModelShape:
    """Shape a model of equal layers with full attention from published numbers. An estimate.

    Parameters
    ----------
    n_embd
        Unknown: as many as all heads together.
    n_ff
        Unknown: four times ``n_embd``, which is generous.
    """
    width = n_head * head_dim if n_embd is None else n_embd
    layer = LayerShape(
        weights_bytes=weights_bytes // max(1, n_layers),
        n_head_kv=n_head_kv,
        key_length=head_dim,
        value_length=head_dim,
    )
    return ModelShape(
        weights_bytes=weights_bytes,
        layers=(layer,) * n_layers,
        architecture=architecture,
        n_embd=width,
        n_head=n_head,
        n_ff=4 * width if n_ff is None else n_ff,
        n_vocab=n_vocab,
        n_ctx_train=n_ctx_train,
        is_exact=False,
    )


def shape_of(header: GgufHeader) -> ModelShape:
    """Shape the model of a file. Of a split model only what its first part holds has a weight: see `with_weights`."""
    n_layers = header.n_layers
    by_layer, input_bytes, output_bytes = _weights(header)
    names = {tensor.name for tensor in header.tensors}
    n_used = _integer(header, "expert_used_count")
    layers = tuple(
        replace(layer, weights_bytes=by_layer[number]) for number, layer in enumerate(_layers(header, n_layers))
    )
    return ModelShape(
        weights_bytes=header.weights_bytes,
        layers=layers,
        architecture=header.architecture,
        n_embd=header.n_embd,
        n_head=header.n_head,
        n_ff=_feed_forward(header, n_used),
        is_gated=_is_gated(header),
        n_experts_used=n_used,
        n_vocab=header.n_vocab,
        n_ctx_train=header.n_ctx_train,
        sliding_window=_window(header),
        latent_length=_integer(header, "attention.kv_lora_rank") if _is_latent(header) else 0,
        ssm_width=_integer(header, "ssm.inner_size"),
        input_bytes=input_bytes,
        output_bytes=output_bytes,
        is_tied="output.weight" not in names,
        is_exact=header.architecture not in UNMODELLED,
    )


def with_weights(shape: ModelShape, weights_bytes: int) -> ModelShape:
    """Give a model other weights in the same proportions: those of all parts of a split file, or of a quantization."""
    known = sum(layer.weights_bytes for layer in shape.layers)
    inside = max(0, weights_bytes - shape.input_bytes - shape.output_bytes)
    if known:
        sizes = [inside * layer.weights_bytes // known for layer in shape.layers]
    else:
        sizes = [inside // max(1, shape.n_layers)] * shape.n_layers
    layers = tuple(replace(layer, weights_bytes=size) for layer, size in zip(shape.layers, sizes, strict=True))
    return replace(shape, weights_bytes=weights_bytes, layers=layers, is_exact=False)


def _weights(header: GgufHeader) -> tuple[Mapping[int, int], int, int]:
    """Bytes by block, of the input and of the output."""
    by_layer: dict[int, int] = defaultdict(int)
    input_bytes = output_bytes = 0
    for tensor in header.tensors:
        first, _, rest = tensor.name.partition(".")
        number = rest.partition(".")[0]
        if first == "blk" and number.isdigit():
            by_layer[int(number)] += tensor.n_bytes
        elif first in INPUT_TENSORS:
            input_bytes += tensor.n_bytes
        else:
            output_bytes += tensor.n_bytes
    return by_layer, input_bytes, output_bytes


def _layers(header: GgufHeader, n_layers: int) -> list[LayerShape]:
    none = [0] * n_layers
    heads = _per_layer(header, "attention.head_count", n_layers, none)
    heads_kv = _per_layer(header, "attention.head_count_kv", n_layers, heads)
    widths = _per_layer(header, "feed_forward_length", n_layers, none)
    full = _head_lengths(header, heads[0] if heads else 0)
    narrow = tuple(
        _integer(header, f"attention.{which}_length_swa", length)
        for which, length in zip(("key", "value"), full, strict=True)
    )
    is_latent = _is_latent(header)
    state = _recurrent_bytes(header, heads[0] if heads else 0)
    # The last blocks of some models only guess tokens ahead, which is not used here.
    n_own = n_layers - _integer(header, "nextn_predict_layers")
    n_with_kv = _first_layers_with_kv(header, n_layers)
    sliding = _sliding(header, n_layers)
    layers = []
    for number in range(n_layers):
        attends, recurs = _kinds(header, number, heads_kv[number], widths[number])
        key, value = narrow if sliding[number] else full
        keeps = attends and number < min(n_own, n_with_kv)
        layers.append(
            LayerShape(
                n_head_kv=heads_kv[number] if keeps else 0,
                key_length=key if keeps else 0,
                value_length=0 if is_latent or not keeps else value,
                is_sliding=sliding[number],
                recurrent_bytes=state if recurs and number < n_own else 0,
            )
        )
    return layers


def _integer(header: GgufHeader, key: str, default: int = 0) -> int:
    """A size: what a file says, but not less than 0."""
    return max(0, header.integer(key, default))


def _per_layer(header: GgufHeader, key: str, n_layers: int, default: list[int]) -> list[int]:
    """One number for each layer; what is no number is 0."""
    value = header.metadata.get(f"{header.architecture}.{key}")
    if value is None:
        return default
    items = value.items if isinstance(value, ArrayValue) else (value,) * n_layers
    numbers = [max(0, item) if isinstance(item, int) else 0 for item in items]
    return (numbers + [0] * n_layers)[:n_layers]


def _is_latent(header: GgufHeader) -> bool:
    """Whether its keys and values are kept compressed, as multi-head latent attention does."""
    return all(_integer(header, f"attention.{which}_length_mla") > 0 for which in ("key", "value"))


def _head_lengths(header: GgufHeader, n_head: int) -> tuple[int, int]:
    if n_head == 0 and header.n_head == 0:
        return 0, 0
    default = header.n_embd // (n_head or header.n_head)
    return _integer(header, "attention.key_length", default), _integer(header, "attention.value_length", default)


def _kinds(header: GgufHeader, number: int, n_head_kv: int, n_ff: int) -> tuple[bool, bool]:
    """Whether a layer has attention, and whether it has a recurrent state."""
    name = header.architecture
    if name in RECURRENT:
        return False, True
    if name == "falcon-h1":
        return True, True
    if name in {"nemotron_h", "nemotron_h_moe"} and n_ff > 0:
        return False, False
    if name in HEADLESS_IS_RECURRENT:
        return n_head_kv > 0, n_head_kv == 0
    if name in INTERVAL_IS_ATTENTION:
        listed = header.metadata.get(f"{name}.attention.recurrent_layers")
        if isinstance(listed, ArrayValue) and number < listed.length:
            recurs = bool(listed.items[number])
        else:
            interval = _integer(header, "full_attention_interval", DEFAULT_INTERVAL)
            recurs = (number + 1) % max(1, interval) != 0
        return not recurs, recurs
    return True, False


def _recurrent_bytes(header: GgufHeader, n_head: int) -> int:
    """The state of one layer and sequence: ``n_embd_r`` and ``n_embd_s`` of ``llama-hparams.cpp``, as 32-bit floats."""
    wkv, kda = _integer(header, "wkv.head_size"), _integer(header, "kda.head_dim")
    convolution, short = _integer(header, "ssm.conv_kernel"), _integer(header, "shortconv.l_cache")
    inner, state = _integer(header, "ssm.inner_size"), _integer(header, "ssm.state_size")
    if wkv:
        shift, memory = _integer(header, "token_shift_count", 2) * header.n_embd, header.n_embd * wkv
    elif short:
        shift, memory = header.n_embd * (short - 1), state * inner
    elif kda:
        shift = 3 * (convolution - 1 if convolution else 3) * n_head * kda
        memory = kda * kda * n_head
    else:
        shift = max(0, convolution - 1) * (inner + 2 * _integer(header, "ssm.group_count") * state)
        memory = state * inner
    return F32_BYTES * (shift + memory)


def _first_layers_with_kv(header: GgufHeader, n_layers: int) -> int:
    if header.architecture == "gemma4":
        return n_layers - _integer(header, "attention.shared_kv_layers")
    return FIRST_LAYERS_WITH_KV.get(header.architecture, n_layers)


def _window(header: GgufHeader) -> int:
    """Tokens of the sliding window; 0: every layer sees everything."""
    name = header.architecture
    if name == "exaone4":
        return _integer(header, "attention.sliding_window", 4_096) if header.n_layers == 64 else 0
    if name not in SLIDING_PERIODS and name not in PATTERN_IN_FILE and name != "lfm2":
        return 0  # llama.cpp does not use the key in the other architectures
    return _integer(header, "attention.sliding_window", DEFAULT_WINDOWS.get(name, 0))


def _sliding(header: GgufHeader, n_layers: int) -> list[bool]:
    if not _window(header):
        return [False] * n_layers
    name = header.architecture
    pattern = header.metadata.get(f"{name}.attention.sliding_window_pattern")
    if isinstance(pattern, ArrayValue):
        return [bool(item) for item in (*pattern.items, *[False] * n_layers)[:n_layers]]
    if name == "lfm2":
        return [True] * n_layers  # of its layers with attention
    period = pattern if isinstance(pattern, int) else SLIDING_PERIODS.get(name, DEFAULT_INTERVAL)
    if period == 0:
        return [True] * n_layers
    if name in FULL_FIRST:
        return [number % period != 0 for number in range(n_layers)]
    return [number % period < period - 1 for number in range(n_layers)]


def _feed_forward(header: GgufHeader, n_used: int) -> int:
    """Width of the feed-forward part of one token."""
    dense = _integer(header, "feed_forward_length")
    if not n_used:
        return dense
    one = _integer(header, "expert_feed_forward_length", dense)
    shared = _integer(header, "expert_shared_feed_forward_length", one * _integer(header, "expert_shared_count"))
    return max(dense, n_used * one + shared)


def _is_gated(header: GgufHeader) -> bool:
    """Whether there is a gate; some files have it in one tensor with what it is a gate of."""
    up = next((tensor for tensor in header.tensors if ".ffn_up" in tensor.name), None)
    if up is None or any(".ffn_gate" in tensor.name for tensor in header.tensors):
        return True
    return len(up.shape) > 1 and up.shape[1] > _integer(header, "feed_forward_length")
