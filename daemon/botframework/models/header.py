"""What the header of a GGUF file says, as values."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ValueType(enum.IntEnum):
    """Types of metadata values, numbered as in the file."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
"""Number in the file to name, elements in a block, bytes of a block. A test compares it with the pinned llama.cpp's."""


FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""``general.file_type`` to its usual name (``llama_ftype``). A test compares it with the pinned llama.cpp's."""
FIM_MARKS = tuple(
    (keys, frozenset(text.encode() for text in texts.split()))
    for keys, texts in (
        (
            ("fim_pre", "prefix"),
            (
                "<|fim_prefix|> <fim-prefix> <fim_prefix> <\uff5cfim\u2581begin\uff5c> <PRE> \u2581<PRE> "
                "<|code_prefix|> <|prefix|>"
            ),
        ),
        (
            ("fim_suf", "suffix"),
            (
                "<|fim_suffix|> <fim-suffix> <fim_suffix> <\uff5cfim\u2581hole\uff5c> <SUF> \u2581<SUF> "
                "<|code_suffix|> <|suffix|>"
            ),
        ),
        (
            ("fim_mid", "middle"),
            (
                "<|fim_middle|> <fim-middle> <fim_middle> <\uff5cfim\u2581end\uff5c> <MID> \u2581<MID> "
                "<|code_middle|> <|middle|>"
            ),
        ),
    )
)
"""For each mark of a fill-in-the-middle prompt the metadata keys that name its token, without ``tokenizer.ggml.`` and
``_token_id``, and the texts by which llama.cpp finds it without them. A test tries each on the pinned llama.cpp."""


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array that is longer than `MAX_KEPT_ITEMS`."""

    item_type: ValueType
    length: int
    offset: int
    """Where its first item stands in the file."""


@dataclass(frozen=True, slots=True)
class ArrayValue:
    """A short array."""

    item_type: ValueType
    items: tuple[Any, ...]

    @property
    def length(self) -> int:
        """The number of items."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it."""

    name: str
    shape: tuple[int, ...]
    """The fastest axis first."""
    type: str
    offset: int
    """From the beginning of the file."""
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a walk over the token texts found."""

    n_tokens: int
    duplicate: tuple[int, str] | None
    """The first token that occurred before: id and text."""
    mute_byte: int | None
    """The first token of type BYTE whose text is too short to name one."""
    fim_marks: frozenset[int] = frozenset()
    """Which of `FIM_MARKS` stand in it under one of their texts."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything of a model file but its weights and its vocabulary."""

    path: str
    version: int
    architecture: str
    metadata: Mapping[str, int | float | bool | str | ArrayValue | SkippedArray]
    types: Mapping[str, ValueType]
    """The type of each metadata value."""
    tensors: tuple[TensorInfo, ...]
    alignment: int
    data_offset: int
    file_size: int
    vocabulary: Vocabulary | None

    def integer(self, key: str, default: int = 0) -> int:
        """An integer under ``<architecture>.<key>``; of per-layer values the largest."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, ArrayValue):
            value = max(value.items, default=default)
        return int(value) if isinstance(value, int) else default

    def text(self, key: str) -> str | None:
        """A string under the full ``key``."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    @property
    def name(self) -> str:
        """What the model calls itself, or its file's name."""
        return self.text("general.name") or PurePath(self.path).name

    @property
    def n_files(self) -> int:
        """Files that the model is split into; 1: it is not."""
        count = self.metadata.get("split.count", 1)
        return max(1, count) if isinstance(count, int) else 1

    @property
    def n_ctx_train(self) -> int:
        """Positions that the model has seen in training."""
        return self.integer("context_length")

    @property
    def n_layers(self) -> int:
        """Transformer blocks."""
        return self.integer("block_count")

    @property
    def n_embd(self) -> int:
        """Width of the residual stream."""
        return self.integer("embedding_length")

    @property
    def n_head(self) -> int:
        """Attention heads; 0 in a recurrent model."""
        return self.integer("attention.head_count")

    @property
    def n_head_kv(self) -> int:
        """Key and value heads."""
        return self.integer("attention.head_count_kv", self.n_head)

    @property
    def n_vocab(self) -> int:
        """Tokens in the vocabulary."""
        return self.vocabulary.n_tokens if self.vocabulary else 0

    @property
    def can_infill(self) -> bool:
        """Whether llama.cpp will find all three marks of a fill-in-the-middle prompt."""
        marks = self.vocabulary.fim_marks if self.vocabulary else frozenset()
        return all(
            number in marks or any(f"tokenizer.ggml.{name}_token_id" in self.metadata for name in names)
            for number, (names, _) in enumerate(FIM_MARKS)
        )

    @property
    def quantization(self) -> str | None:
        """How the weights are stored: as the file says, or as most of their bytes are; None without tensors."""
        kind = self.metadata.get("general.file_type")
        if isinstance(kind, int) and kind in FILE_TYPES:
            return FILE_TYPES[kind]
        n_bytes: Counter[str] = Counter()
        for tensor in self.tensors:
            n_bytes[tensor.type] += tensor.n_bytes
        return n_bytes.most_common(1)[0][0] if n_bytes else None

    @property
    def chat_template(self) -> str | None:
        """The default chat template."""
        return self.text("tokenizer.chat_template")

    @property
    def begins_with_thoughts(self) -> bool:
        """Whether the chat template opens the thoughts of every answer itself and leaves their end to the model."""
        _, _, opening = (self.chat_template or "").rpartition("add_generation_prompt")
        return "<think>" in opening and "</think>" not in opening

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def n_params(self) -> int:
        """Elements of all tensors."""
        total = 0
        for tensor in self.tensors:
            count = 1
            for n in tensor.shape:
                count *= n
            total += count
        return total
