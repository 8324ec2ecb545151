"""What llama.cpp asks of a model beyond a well-formed file: keys and their types, counts, vocabulary, tensors.

llama.cpp answers some of these with an exception and some with an abort that takes the process along (two tokens of
the same text, a block count beyond its arrays, …). Every rule here was read in, and is tested against, the llama.cpp of
the pinned llama-cpp-python. A rule must never refuse what llama.cpp loads; what is not sure is left to the worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.models.architecture_names import ARCHITECTURE_NAMES
from botframework.models.header import ArrayValue, SkippedArray, ValueType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from botframework.models.header import GgufHeader, TensorInfo

MAX_LAYERS = 512
"""An array size in llama.cpp, guarded by an assertion."""
MAX_EXPERTS = 1_024
"""Both are array sizes in llama.cpp, guarded by assertions; per-layer arrays must be short enough to be kept."""
MAX_POSITIONS = 1 << 31
"""Positions are 32-bit numbers in llama.cpp."""
MAX_WIDTH = 1 << 20
"""Far beyond any model; products of two widths stay far from overflow."""

U32, F32, STR, BOOL = ValueType.UINT32, ValueType.FLOAT32, ValueType.STRING, ValueType.BOOL

MODEL_KEYS = {
    "context_length": U32,
    "embedding_length": U32,
    "block_count": U32,
    "vocab_size": U32,
    "expert_count": U32,
    "expert_group_count": U32,
    "expert_group_used_count": U32,
    "nextn_predict_layers": U32,
    "attention.key_length": U32,
    "attention.value_length": U32,
    "attention.layer_norm_epsilon": F32,
    "attention.layer_norm_rms_epsilon": F32,
    "attention.causal": BOOL,
    "pooling_type": U32,
    "rope.dimension_count": U32,
    "rope.freq_base": F32,
    "rope.scaling.type": STR,
    "rope.scaling.factor": F32,
    "rope.scaling.original_context_length": U32,
    "rope.scaling.finetuned": BOOL,
    "rope.scaling.attn_factor": F32,
    "rope.scale_linear": F32,
}
"""Under ``<architecture>.``; llama.cpp converts nothing, a number of another width is an error."""
PER_LAYER_KEYS = ("feed_forward_length", "attention.head_count", "attention.head_count_kv", "expert_used_count")
"""One number, or one for each layer."""
SPECIAL = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask", "prefix", "suffix", "middle")
SPECIAL_FIM = ("fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep")
PLAIN_KEYS = {f"tokenizer.ggml.{name}_token_id": U32 for name in SPECIAL + SPECIAL_FIM} | {
    "general.name": STR,
    "general.file_type": U32,
    "split.count": ValueType.UINT16,
    "split.no": ValueType.UINT16,
    "tokenizer.ggml.model": STR,
    "tokenizer.ggml.pre": STR,
    "tokenizer.ggml.token_type_count": U32,
    "tokenizer.ggml.add_bos_token": BOOL,
    "tokenizer.ggml.add_eos_token": BOOL,
    "tokenizer.ggml.add_sep_token": BOOL,
    "tokenizer.ggml.add_space_prefix": BOOL,
    "tokenizer.ggml.remove_extra_whitespaces": BOOL,
}
REQUIRED_KEYS = ("context_length", "embedding_length", "block_count")
ROPE_SCALING = frozenset({"none", "linear", "yarn", "longrope"})
FULL_ROTATION = frozenset(
    {
        "llama",
        "deci",
        "falcon",
        "llama-embed",
        "qwen2",
        "qwen2moe",
        "qwen3",
        "qwen3moe",
        "starcoder2",
        "granite",
        "smollm3",
    }
)
"""Architectures whose heads are rotated as a whole; of some llama.cpp checks it at the load, of some by aborting."""

TOKENS = "tokenizer.ggml.tokens"
TOKEN_TYPES = "tokenizer.ggml.token_type"  # noqa: S105
TOKEN_TYPE_BYTE = 6
SCORES = "tokenizer.ggml.scores"
MERGES = "tokenizer.ggml.merges"
MERGING_TOKENIZERS = frozenset({"gpt2", "hybriddna", "whitespace", "gemma4"})
TOKENIZERS = MERGING_TOKENIZERS | {"llama", "bert", "t5", "rwkv", "plamo2"}
NO_VOCABULARY = frozenset({"no_vocab", "none"})
NOT_MODELS = {
    "adapter": "a LoRA adapter",
    "mmproj": "a vision or audio projector",
    "imatrix": "an importance matrix",
}
NOT_WEIGHTS = frozenset({"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"})
"""Tensor types that no matrix product takes as weights."""


@dataclass(frozen=True, slots=True)
class Family:
    """The tensors of an architecture. Shapes are letters, see `_sizes`."""

    block: dict[str, str]
    """Of each block, without ``blk.N.``."""
    outside: dict[str, str]
    """Required, outside the blocks."""
    optional: frozenset[str]
    """Allowed, outside the blocks."""
    epsilon: str = "attention.layer_norm_rms_epsilon"


FEED_FORWARD = frozenset({"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"})
"""A mixture of experts has these in another form."""
FUSED = frozenset({"attn_q.weight", "attn_k.weight", "attn_v.weight"})
"""Replaced by one ``attn_qkv.weight`` in some files."""
OPTIONAL_BLOCK = {
    "attn_qkv.weight": "ea",
    "attn_qkv.bias": "a",
    "attn_q.bias": "q",
    "attn_k.bias": "k",
    "attn_v.bias": "v",
    "attn_output.bias": "e",
    "ffn_gate.bias": "f",
    "ffn_up.bias": "f",
    "ffn_down.bias": "e",
}
"""Checked where they are there."""
OPTIONAL_OUTSIDE = {"output.weight": "en", "output.bias": "n"}
_LLAMA_BLOCK = {
    "attn_norm.weight": "e",
    "attn_q.weight": "eq",
    "attn_k.weight": "ek",
    "attn_v.weight": "ev",
    "attn_output.weight": "qe",
    "ffn_norm.weight": "e",
    "ffn_gate.weight": "ef",
    "ffn_up.weight": "ef",
    "ffn_down.weight": "fe",
}
_STARCODER_BLOCK = {name: shape for name, shape in _LLAMA_BLOCK.items() if name != "ffn_gate.weight"} | {
    "attn_norm.bias": "e",
    "attn_output.bias": "e",
    "ffn_norm.bias": "e",
    "ffn_up.bias": "f",
    "ffn_down.bias": "e",
}
_OUTSIDE = {"token_embd.weight": "en", "output_norm.weight": "e"}
_ROPE = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
_OUTPUT = frozenset({"output.weight"})

FAMILIES = {
    "llama": Family(_LLAMA_BLOCK, _OUTSIDE, _OUTPUT | _ROPE),
    "qwen2": Family(_LLAMA_BLOCK, _OUTSIDE, _OUTPUT | _ROPE | {"output.bias"}),
    "qwen3": Family(
        _LLAMA_BLOCK | {"attn_q_norm.weight": "h", "attn_k_norm.weight": "h"},
        _OUTSIDE,
        _OUTPUT | _ROPE | {"cls.weight", "cls.output.weight"},
    ),
    "gemma": Family(_LLAMA_BLOCK, _OUTSIDE, _ROPE),
    "starcoder2": Family(
        _STARCODER_BLOCK,
        _OUTSIDE | {"output_norm.bias": "e"},
        _OUTPUT | _ROPE,
        epsilon="attention.layer_norm_epsilon",
    ),
}
"""The architectures of today's small code models. The tensors of all others are llama.cpp's business."""


def find_problem(header: GgufHeader) -> str | None:
    """Say why llama.cpp would not load this model, or None."""
    for check in (_kind, _keys, _counts, _experts, _tokenizer, _vocabulary, _tensors):
        for problem in check(header):
            return problem
    return None


def _kind(header: GgufHeader) -> Iterator[str]:
    if "general.architecture" not in header.metadata:
        yield "the key general.architecture is missing"
    elif not header.architecture:
        yield "general.architecture is not a string, or empty"
    general_type = header.text("general.type") or ""
    if header.architecture == "clip" or general_type in NOT_MODELS:
        yield f"is {NOT_MODELS.get(general_type, 'a vision projector')}, not a language model"
    if header.architecture not in ARCHITECTURE_NAMES:
        # Before its keys, which are named after it: that one of them is missing would help nobody.
        yield (
            f"is a model of the architecture {header.architecture[:40]!r}, which the llama.cpp in this botframework "
            "does not support: a newer botframework may, or take another model"
        )
    if header.metadata.get("split.no", 0) != 0:
        yield "is a later part of a split model; open its first part (…-00001-of-…)"
    if not header.tensors:
        yield "has no tensors, only metadata"


def _keys(header: GgufHeader) -> Iterator[str]:
    prefix = header.architecture + "."
    for name in REQUIRED_KEYS:
        if prefix + name not in header.metadata:
            yield f"the key {prefix}{name} is missing"
    for key, kind in ({prefix + name: kind for name, kind in MODEL_KEYS.items()} | PLAIN_KEYS).items():
        if header.types.get(key, kind) is not kind:
            yield f"the type of {key} is {header.types[key].name}, expected {kind.name}"
    n_layers = header.n_layers
    for name in PER_LAYER_KEYS:
        value = header.metadata.get(prefix + name)
        if isinstance(value, ArrayValue | SkippedArray):
            # Some architectures do not read some of these, so an odd type is left to llama.cpp.
            if value.length != n_layers:
                yield f"{prefix}{name} has {value.length} items, expected one for each of {n_layers} layers"
        elif value is not None and header.types[prefix + name] is not U32:
            yield f"the type of {prefix}{name} is {header.types[prefix + name].name}, expected UINT32"


def _counts(header: GgufHeader) -> Iterator[str]:
    prefix = header.architecture + "."
    limits = {"block_count": MAX_LAYERS, "embedding_length": MAX_WIDTH, "context_length": MAX_POSITIONS - 1}
    for name, limit in limits.items():
        if not 0 < header.integer(name) <= limit:
            yield f"{prefix}{name} is {header.integer(name)}, expected 1 to {limit}"
    for name in ("attention.head_count", "attention.head_count_kv", "feed_forward_length"):
        if not 0 <= header.integer(name) <= MAX_WIDTH:
            yield f"{prefix}{name} is {header.integer(name)}, expected 0 to {MAX_WIDTH}"
    if header.integer("nextn_predict_layers") > header.n_layers:
        yield f"{prefix}nextn_predict_layers is more than {prefix}block_count"
    scaling = header.text(prefix + "rope.scaling.type")
    if scaling is not None and scaling not in ROPE_SCALING:
        yield f"{prefix}rope.scaling.type is {scaling[:40]!r}, expected one of {', '.join(sorted(ROPE_SCALING))}"
    if header.architecture in FULL_ROTATION and not _is_per_layer(header, "attention.head_count"):
        head = _head_width(header, "key")
        rotated = header.integer("rope.dimension_count", head)
        if header.n_head and rotated != head:
            yield f"{prefix}rope.dimension_count is {rotated}, expected {head}, the width of a head"


def _experts(header: GgufHeader) -> Iterator[str]:
    prefix = header.architecture + "."
    n_experts, n_used = header.integer("expert_count"), header.integer("expert_used_count")
    n_groups = header.integer("expert_group_count")
    if header.architecture.startswith("hunyuan"):
        return  # dense models of that family may name experts
    if n_experts > MAX_EXPERTS:
        yield f"{prefix}expert_count is {n_experts}, expected at most {MAX_EXPERTS}"
    if n_used > n_experts or (n_experts and not n_used):
        yield f"{prefix}expert_used_count is {n_used} of {n_experts} experts"
    if n_groups and n_groups >= n_experts:
        yield f"{prefix}expert_group_count is {n_groups} of {n_experts} experts"
    if n_groups > 1 and (n_experts % n_groups or not 0 < header.integer("expert_group_used_count") < n_groups):
        yield f"{prefix}expert_group_count does not divide the experts, or too many groups are used"


def _tokenizer(header: GgufHeader) -> Iterator[str]:
    model = header.text("tokenizer.ggml.model")
    if model is None:
        yield "the key tokenizer.ggml.model is missing"
    elif model in NO_VOCABULARY:
        yield "has no vocabulary"
    elif model not in TOKENIZERS:
        yield f"tokenizer.ggml.model is {model[:40]!r}, expected one of {', '.join(sorted(TOKENIZERS))}"
    merges = header.metadata.get(MERGES)
    if model not in MERGING_TOKENIZERS or (merges is None and header.text("tokenizer.ggml.pre") == "kimi-k2"):
        return
    if not isinstance(merges, ArrayValue | SkippedArray) or merges.item_type is not STR:
        yield f"the key {MERGES} is missing or no array of strings"


def _vocabulary(header: GgufHeader) -> Iterator[str]:
    words = header.vocabulary
    if words is None or not words.n_tokens:
        yield f"the key {TOKENS} is missing, empty or no array of strings"
        return
    if words.duplicate:
        yield f"token {words.duplicate[0]} of {TOKENS} occurs twice: {words.duplicate[1][:40]!r}"
    if words.mute_byte is not None:
        yield f"token {words.mute_byte} stands for a byte, but its text does not say which"
    for key, kinds in ((TOKEN_TYPES, {ValueType.INT32}), (SCORES, {ValueType.INT32, F32})):
        array = header.metadata.get(key)
        if array is None:
            continue
        if not isinstance(array, ArrayValue | SkippedArray) or array.item_type not in kinds:
            yield f"{key} is no array of {' or '.join(sorted(kind.name for kind in kinds))}"
        elif array.length < words.n_tokens:
            yield f"{key} has {array.length} items, expected one for each of {words.n_tokens} tokens"


def _is_per_layer(header: GgufHeader, name: str) -> bool:
    return isinstance(header.metadata.get(f"{header.architecture}.{name}"), ArrayValue | SkippedArray)


def _head_width(header: GgufHeader, which: str) -> int:
    default = header.n_embd // header.n_head if header.n_head else 0
    return header.integer(f"attention.{which}_length", default)


def _sizes(header: GgufHeader) -> dict[str, int]:
    """The letters of `Family`: embedding, feed-forward, queries, keys, values, all three, head, vocabulary."""
    key, value = _head_width(header, "key"), _head_width(header, "value")
    queries = header.n_embd if header.architecture in {"qwen2", "starcoder2"} else key * header.n_head
    return {
        "e": header.n_embd,
        "f": header.integer("feed_forward_length"),
        "q": queries,
        "k": key * header.n_head_kv,
        "v": value * header.n_head_kv,
        "a": queries + (key + value) * header.n_head_kv,
        "h": key,
        "n": header.n_vocab,
    }


def _tensors(header: GgufHeader) -> Iterator[str]:
    if header.metadata.get("split.count", 0) not in {0, 1}:
        return  # most tensors are in the other parts
    family = FAMILIES.get(header.architecture)
    tensors = {tensor.name: tensor for tensor in header.tensors}
    if family is None:
        if "token_embd.weight" not in tensors:
            yield "the tensor token_embd.weight is missing"
        return
    if header.architecture + "." + family.epsilon not in header.metadata:
        yield f"the key {header.architecture}.{family.epsilon} is missing"
    per_layer = any(_is_per_layer(header, name) for name in PER_LAYER_KEYS)
    sizes = {} if per_layer else _sizes(header)
    block = family.block
    if header.integer("expert_count"):
        block = {name: shape for name, shape in block.items() if name not in FEED_FORWARD}
    groups = [("", family.outside, OPTIONAL_OUTSIDE)]
    groups += [(f"blk.{layer}.", block, OPTIONAL_BLOCK) for layer in range(header.n_layers)]
    for prefix, wanted, optional in groups:
        yield from _missing(tensors, prefix, wanted)
        for name, letters in (optional | wanted).items():
            if prefix + name in tensors:
                yield from _misshapen(tensors[prefix + name], letters, sizes)
    yield from _strangers(header, tensors, family)


def _missing(tensors: Mapping[str, TensorInfo], prefix: str, wanted: Mapping[str, str]) -> Iterator[str]:
    fused = prefix + "attn_qkv.weight" in tensors
    for name in wanted:
        if prefix + name not in tensors and not (fused and name in FUSED):
            yield f"the tensor {prefix}{name} is missing"


def _misshapen(tensor: TensorInfo, letters: str, sizes: Mapping[str, int]) -> Iterator[str]:
    """``sizes`` is empty when they differ by layer."""
    if len(letters) == 1 and tensor.type != "F32":
        # Norms and biases; the CPU's element-wise operations abort on anything else.
        yield f"the type of {tensor.name} is {tensor.type}, expected F32"
    if sizes:
        expected = [sizes[letter] for letter in letters]
        if _trimmed(tensor.shape) != _trimmed(expected):
            yield f"the shape of {tensor.name} is {list(tensor.shape)}, expected {expected}"


def _trimmed(shape: Iterable[int]) -> list[int]:
    """A shape without the ones at its end, which mean nothing."""
    numbers = list(shape)
    while numbers and numbers[-1] == 1:
        numbers.pop()
    return numbers


def _strangers(header: GgufHeader, tensors: Mapping[str, TensorInfo], family: Family) -> Iterator[str]:
    """llama.cpp refuses a file with a tensor that it does not ask for, which a damaged name is.

    The names of optional tensors change with every release; that all blocks of these families are alike does not.
    """
    by_block: dict[str, set[str]] = {str(layer): set() for layer in range(header.n_layers)}
    for name, tensor in tensors.items():
        if name.startswith("blk."):
            layer, _, rest = name[4:].partition(".")
            if layer not in by_block:
                yield f"the tensor {name} belongs to no block, there are {header.n_layers}"
                continue
            by_block[layer].add(rest)
        elif name not in family.outside and name not in family.optional:
            yield f"the tensor {name} is unknown in {header.architecture} models"
        if tensor.type in NOT_WEIGHTS:
            yield f"the type of {name} is {tensor.type}, which holds no weights"
    common = by_block["0"]
    for layer, names in by_block.items():
        if names != common:
            odd = min(names ^ common)
            yield f"the tensor {odd} is in one of block 0 and block {layer}, but not in both"
