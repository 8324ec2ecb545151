"""Model files that are wrong: made by hand, one fault each, and by seeded mutation."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from support.gguf_factory import F32, GgufFile, Tensor, ValueType, encode_string, tiny_llama_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

U32, I32, STR, ARR, BOOL = ValueType.UINT32, ValueType.INT32, ValueType.STRING, ValueType.ARRAY, ValueType.BOOL
SPM_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁the", "e", "t"]


def small(**options: Any) -> GgufFile:
    """The model that is then damaged: one block, so that most of the file is header."""
    return tiny_llama_file(**{"n_layers": 1, "d": 32, "n_heads": 2, "n_kv_heads": 1, "ffn": 32, **options})


def sentencepiece() -> GgufFile:
    """The same with a SentencePiece vocabulary, which has scores instead of merges."""
    gguf = small()
    tokens = SPM_TOKENS
    gguf.put("tokenizer.ggml.model", STR, "llama")
    gguf.put("tokenizer.ggml.tokens", ARR, (STR, tokens))
    gguf.put("tokenizer.ggml.scores", ARR, (ValueType.FLOAT32, [-float(i) for i in range(len(tokens))]))
    gguf.put("tokenizer.ggml.token_type", ARR, (I32, [2, 3, 3, *[6] * 256, 1, 1, 1, 1]))
    for key in ("merges", "pre", "fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id", "fim_pad_token_id"):
        gguf.drop("tokenizer.ggml." + key)
    for key in ("fim_rep_token_id", "fim_sep_token_id", "padding_token_id", "add_bos_token"):
        gguf.drop("tokenizer.ggml." + key)
    gguf.put("tokenizer.ggml.bos_token_id", U32, 1)
    gguf.put("tokenizer.ggml.eos_token_id", U32, 2)
    for tensor in gguf.tensors:
        if tensor.name in {"token_embd.weight", "output.weight"}:
            tensor.shape = (tensor.shape[0], len(tokens))
            assert isinstance(tensor.data, bytes)
            tensor.data = tensor.data[: 4 * tensor.shape[0] * len(tokens)]
            tensor.n_bytes = len(tensor.data)
    return gguf


def qwen() -> GgufFile:
    """The same as a Qwen2, with biases."""
    gguf = small()
    gguf.metadata = [
        ("qwen2" + str(key)[5:] if str(key).startswith("llama.") else key, kind, value)
        for key, kind, value in gguf.metadata
    ]
    gguf.put("general.architecture", STR, "qwen2")
    for part, width in (("q", 32), ("k", 16), ("v", 16)):
        gguf.array(f"blk.0.attn_{part}.bias", np.zeros(width))
    return gguf


def _with(change: Callable[[GgufFile], object]) -> bytes:
    gguf = small()
    change(gguf)
    return gguf.to_bytes()


def _put(key: str, kind: int, value: Any) -> bytes:
    return _with(lambda gguf: gguf.put(key, kind, value))


def _drop(key: str) -> bytes:
    return _with(lambda gguf: gguf.drop(key))


def _tensor(which: str, /, **changes: Any) -> bytes:
    gguf = small()
    for tensor in gguf.tensors:
        if tensor.name == which:
            for field, value in changes.items():
                setattr(tensor, field, value)
    return gguf.to_bytes()


def _raw(metadata: bytes, n_kv: int, tensors: bytes = b"", n_tensors: int = 0) -> bytes:
    """A file from raw pieces, for what `GgufFile` cannot even write down."""
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_kv) + metadata + tensors + bytes(64)


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return encode_string(key) + struct.pack("<I", kind) + value


def _tokens(*changes: tuple[int, str]) -> bytes:
    gguf = small()
    for index, (key, kind, value) in enumerate(gguf.metadata):
        if key == "tokenizer.ggml.tokens":
            texts = list(value[1])
            for number, text in changes:
                texts[number] = text
            gguf.metadata[index] = (key, kind, (STR, texts))
    return gguf.to_bytes()


def _shortened(key: str) -> bytes:
    gguf = small()
    for index, (name, kind, value) in enumerate(gguf.metadata):
        if name == key:
            gguf.metadata[index] = (name, kind, (value[0], value[1][:-1]))
    return gguf.to_bytes()


def handcrafted() -> dict[str, bytes]:
    """Name to content. Each has one fault that the header shows."""
    whole = small().to_bytes()
    header = len(small().header())
    twice = small()
    twice.add("general.name", STR, "again")
    return {
        "empty": b"",
        "only-magic": b"GGUF",
        "bad-magic": b"GGUG" + whole[4:],
        "version-0": whole[:4] + struct.pack("<I", 0) + whole[8:],
        "version-1": whole[:4] + struct.pack("<I", 1) + whole[8:],
        "version-4": whole[:4] + struct.pack("<I", 4) + whole[8:],
        "big-endian": whole[:4] + struct.pack(">I", 3) + whole[8:],
        "cut-in-counts": whole[:20],
        "cut-in-metadata": whole[:200],
        "cut-in-vocabulary": whole[: header // 2],
        "cut-in-tensor-table": whole[: header - 100],
        "cut-before-data": whole[:header],
        "cut-in-data": whole[:-40],
        "n-kv-huge": whole[:16] + struct.pack("<Q", 1 << 62) + whole[24:],
        "n-kv-negative": whole[:16] + struct.pack("<q", -1) + whole[24:],
        "n-tensors-huge": whole[:8] + struct.pack("<Q", 1 << 40) + whole[16:],
        "n-tensors-negative": whole[:8] + struct.pack("<q", -1) + whole[16:],
        "n-tensors-one-more": whole[:8] + struct.pack("<Q", len(small().tensors) + 1) + whole[16:],
        "n-tensors-one-less": whole[:8] + struct.pack("<Q", len(small().tensors) - 1) + whole[16:],
        "no-tensors": _with(lambda gguf: gguf.tensors.clear()),
        "key-length-huge": _raw(struct.pack("<Q", (1 << 64) - 1) + b"x", 1),
        "key-empty": _raw(_entry("", U32, b"\1\0\0\0"), 1),
        "key-twice": twice.to_bytes(),
        "value-type-unknown": _raw(_entry("a", 13, b"\0" * 8), 1),
        "value-type-negative": _raw(_entry("a", 0xFFFFFFFF, b"\0" * 8), 1),
        "string-length-huge": _raw(_entry("a", STR, struct.pack("<Q", 1 << 63) + b"x"), 1),
        "string-length-wraps": _raw(_entry("a", STR, struct.pack("<Q", (1 << 64) - 8) + b"x"), 1),
        "array-of-arrays": _raw(_entry("a", ARR, struct.pack("<IQ", ARR, 1) + struct.pack("<IQ", U32, 0)), 1),
        "array-length-huge": _raw(_entry("a", ARR, struct.pack("<IQ", U32, 1 << 62)), 1),
        "array-length-wraps": _raw(_entry("a", ARR, struct.pack("<IQ", ValueType.UINT64, (1 << 61) + 1)), 1),
        "array-of-strings-huge": _raw(_entry("a", ARR, struct.pack("<IQ", STR, 1 << 40)), 1),
        "alignment-0": _put("general.alignment", U32, 0),
        "alignment-3": _put("general.alignment", U32, 3),
        "alignment-string": _put("general.alignment", STR, "32"),
        "alignment-huge": _put("general.alignment", U32, 1 << 31),
        "tensor-name-long": _tensor("output_norm.weight", name="x" * 64),
        "tensor-name-twice": _tensor("output_norm.weight", name="token_embd.weight"),
        "tensor-name-unknown": _tensor("output.weight", name="output.weighs"),
        "tensor-missing": _with(lambda gguf: gguf.tensors.pop()),
        "tensor-5-dims": _tensor("output_norm.weight", shape=(32, 1, 1, 1, 1)),
        "tensor-shape-negative": _tensor("output_norm.weight", shape=((1 << 64) - 32,)),
        "tensor-shape-overflows": _tensor("output_norm.weight", shape=(1 << 32, 1 << 32, 1 << 32)),
        "tensor-shape-wraps": _tensor("output_norm.weight", shape=(1 << 62, 4)),
        "tensor-shape-other": _tensor("blk.0.attn_q.weight", shape=(16, 64)),
        "tensor-too-big": _tensor("blk.0.ffn_down.weight", shape=(32, 1 << 20)),
        "tensor-type-unknown": _tensor("output_norm.weight", kind=43),
        "tensor-type-negative": _tensor("output_norm.weight", kind=-1),
        "tensor-type-removed": _tensor("output_norm.weight", kind=4),
        "tensor-type-integer": _tensor("blk.0.attn_q.weight", kind=26),
        "tensor-row-no-block": _tensor("blk.0.attn_q.weight", kind=12),
        "tensor-offset-misaligned": _tensor("output_norm.weight", offset=33),
        "tensor-offset-overlaps": _tensor("output_norm.weight", offset=0),
        "tensor-offset-outside": _tensor("output_norm.weight", offset=1 << 40),
        "tensor-offset-wraps": _tensor("output_norm.weight", offset=(1 << 64) - 32),
        "architecture-missing": _drop("general.architecture"),
        "architecture-number": _put("general.architecture", U32, 7),
        "architecture-unknown": _put("general.architecture", STR, "lama"),
        "context-missing": _drop("llama.context_length"),
        "context-64-bit": _put("llama.context_length", ValueType.UINT64, 512),
        "blocks-0": _put("llama.block_count", U32, 0),
        "blocks-2": _put("llama.block_count", U32, 2),
        "blocks-1000": _put("llama.block_count", U32, 1_000),
        "blocks-huge": _put("llama.block_count", U32, 0xFFFFFFFF),
        "width-huge": _put("llama.embedding_length", U32, 0xFFFFFFFF),
        "heads-0": _put("llama.attention.head_count", U32, 0),
        "heads-huge": _put("llama.attention.head_count", U32, 0xFFFFFFFF),
        "heads-array-short": _put("llama.attention.head_count", ARR, (U32, [2, 2])),
        "kv-heads-huge": _put("llama.attention.head_count_kv", U32, 0x7FFFFFFF),
        "experts-too-many": _put("llama.expert_count", U32, 2_000),
        "experts-none-used": _put("llama.expert_count", U32, 8),
        "rope-scaling-unknown": _put("llama.rope.scaling.type", STR, "magic"),
        "rope-width-odd": _put("llama.rope.dimension_count", U32, 7),
        "tokenizer-missing": _drop("tokenizer.ggml.model"),
        "tokenizer-unknown": _put("tokenizer.ggml.model", STR, "gpt9"),
        "tokens-missing": _drop("tokenizer.ggml.tokens"),
        "tokens-numbers": _put("tokenizer.ggml.tokens", ARR, (U32, [1, 2, 3])),
        "tokens-twice": _tokens((40, "same"), (41, "same")),
        "tokens-one-less": _shortened("tokenizer.ggml.tokens"),
        "token-types-short": _shortened("tokenizer.ggml.token_type"),
        "token-types-floats": _put("tokenizer.ggml.token_type", ARR, (ValueType.FLOAT32, [1.0] * 400)),
        "scores-short": _put("tokenizer.ggml.scores", ARR, (ValueType.FLOAT32, [1.0] * 4)),
        "merges-missing": _drop("tokenizer.ggml.merges"),
        "merges-numbers": _put("tokenizer.ggml.merges", ARR, (U32, [1])),
        "bos-string": _put("tokenizer.ggml.bos_token_id", STR, "<s>"),
        "byte-token-short": _put("tokenizer.ggml.token_type", ARR, (I32, [6] * 400)),
    }


# --- mutation ---------------------------------------------------------------------------------------------------------

INTERESTING = (0, 1, 2, 3, 6, 8, 9, 31, 33, 64, 127, 255, 256, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
WIDE = (1 << 32, 1 << 33, (1 << 61) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 32, (1 << 64) - 1)


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Damaged copies of three small models; the same for the same seed. Nine in ten are damaged in their header."""
    chance = random.Random(seed)
    bases = [(gguf.to_bytes(), len(gguf.header()), gguf) for gguf in (small(), sentencepiece(), qwen())]
    for number in range(count):
        whole, header, gguf = bases[number % len(bases)]
        if chance.random() < 0.3:
            yield _structured(gguf, chance)
        else:
            yield _bytewise(bytearray(whole), header if chance.random() < 0.85 else len(whole), chance)


def _bytewise(data: bytearray, reach: int, chance: random.Random) -> bytes:
    kind = chance.randrange(7)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(reach)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.randrange(256)
        elif kind == 2:
            width = chance.choice((1, 2, 4))
            data[at : at + width] = (chance.choice(INTERESTING) % (1 << 8 * width)).to_bytes(width, "little")
        elif kind == 3:
            data[at : at + 8] = chance.choice(INTERESTING + WIDE).to_bytes(8, "little")
        elif kind == 4:
            del data[at : at + chance.randrange(1, 65)]
        elif kind == 5:
            source = chance.randrange(reach)
            data[at:at] = data[source : source + chance.randrange(1, 65)]
        else:
            return bytes(data[: chance.randrange(len(data))])
    return bytes(data)


def _structured(original: GgufFile, chance: random.Random) -> bytes:
    """A well-formed file that says something else."""
    gguf = GgufFile(metadata=list(original.metadata))
    gguf.tensors = [Tensor(t.name, t.shape, t.kind, t.data, t.offset, t.n_bytes) for t in original.tensors]
    kind = chance.randrange(8)
    index = chance.randrange(len(gguf.metadata))
    key, value_type, value = gguf.metadata[index]
    tensor = chance.choice(gguf.tensors)
    if kind == 0:
        del gguf.metadata[index]
    elif kind == 1:
        gguf.metadata[index] = (key, U32, chance.choice(INTERESTING) & 0xFFFFFFFF)
    elif kind == 2:
        gguf.metadata[index] = (key, *chance.choice([(STR, "x"), (BOOL, 1), (I32, -1), (ValueType.UINT64, 1)]))
    elif kind == 3 and value_type == ARR:
        items = list(value[1])
        chance.shuffle(items)
        gguf.metadata[index] = (key, ARR, (value[0], items[: chance.randrange(len(items) + 1)]))
    elif kind == 4:
        gguf.tensors.remove(tensor)
    elif kind == 5:
        shape = list(tensor.shape)
        axis = chance.randrange(len(shape))
        shape[axis] = chance.choice((0, 1, shape[axis] - 1, shape[axis] + 1, shape[axis] * 2, 1 << 31, 1 << 62))
        tensor.shape = tuple(shape)
    elif kind == 6:
        tensor.kind = chance.choice((F32, 1, 2, 8, 12, 24, 26, 28, 30, 31, 43, 1 << 31))
    else:
        tensor.offset = chance.choice((0, 1, 31, 32, 64, 1 << 20, 1 << 40, 1 << 63, (1 << 64) - 32))
    return gguf.to_bytes()
