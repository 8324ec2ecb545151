from __future__ import annotations

import os
import pickle
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botframework.errors import ModelNotFound, ModelRefused
from botframework.models.architecture import find_problem
from botframework.models.gguf import MAX_KEPT_ITEMS, read_header
from botframework.models.header import FILE_TYPES, FIM_MARKS, TENSOR_TYPES, ArrayValue, SkippedArray, ValueType
from support.gguf_factory import Q8_0, GgufFile, Tensor, alphabet_llama, tiny_llama, tiny_llama_file, tiny_mamba
from support.hostile_gguf import handcrafted, mutants, qwen, sentencepiece, small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = handcrafted()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files, short-named."""
    return tmp_path_factory.mktemp("gguf")


# --- good files -------------------------------------------------------------------------------------------------------


def test_header_of_a_good_file(folder: Path) -> None:
    """The header says what the model is, without reading a weight."""
    path = tiny_llama(folder / "tiny.gguf", n_layers=3, d=64, n_heads=4, n_kv_heads=2, n_ctx_train=777)

    header = read_header(path)

    assert (header.version, header.architecture, header.name) == (3, "llama", "tiny-llama")
    assert (header.n_layers, header.n_embd, header.n_head, header.n_head_kv) == (3, 64, 4, 2)
    assert header.n_ctx_train == 777
    assert header.file_size == path.stat().st_size
    assert header.chat_template is not None
    assert "<|im_start|>" in header.chat_template
    assert [tensor.name for tensor in header.tensors][:3] == [
        "token_embd.weight",
        "output_norm.weight",
        "output.weight",
    ]
    embedding = header.tensors[0]
    assert (embedding.shape, embedding.type) == ((64, header.n_vocab), "F32")
    assert embedding.offset == header.data_offset
    assert embedding.n_bytes == 4 * 64 * header.n_vocab
    assert header.n_params * 4 == header.weights_bytes


@pytest.mark.parametrize(
    "gguf", [small(), sentencepiece(), qwen(), small(fim=False), small(chat_template=None), small(vocab="bytes")]
)
def test_every_good_file_is_accepted(gguf: GgufFile, folder: Path) -> None:
    """What llama.cpp loads is not refused."""
    assert read_header(gguf.write(folder / "m.gguf")).n_layers == 1


def test_recurrent_and_table_models_are_accepted(folder: Path) -> None:
    """Models of other kinds pass too."""
    assert read_header(tiny_mamba(folder / "mamba.gguf")).architecture == "mamba"
    assert read_header(alphabet_llama(folder / "alphabet.gguf")).n_layers == 1


def test_version_2_is_accepted(folder: Path) -> None:
    """GGUF 2 has the same layout as 3."""
    gguf = small()
    gguf.version = 2

    assert read_header(gguf.write(folder / "m.gguf")).version == 2


def test_long_arrays_are_walked_but_not_kept(folder: Path) -> None:
    """An array of more than 1,024 items leaves only its type and length."""
    gguf = small()
    gguf.add("x.short", ValueType.ARRAY, (ValueType.UINT32, [7] * MAX_KEPT_ITEMS))
    gguf.add("x.long", ValueType.ARRAY, (ValueType.UINT32, [7] * (MAX_KEPT_ITEMS + 1)))
    gguf.add("x.words", ValueType.ARRAY, (ValueType.STRING, ["word"] * 100_000))

    metadata = read_header(gguf.write(folder / "m.gguf")).metadata

    assert metadata["x.short"] == ArrayValue(ValueType.UINT32, (7,) * MAX_KEPT_ITEMS)
    assert isinstance(metadata["x.long"], SkippedArray)
    assert metadata["x.long"].length == MAX_KEPT_ITEMS + 1
    assert isinstance(metadata["x.words"], SkippedArray)
    assert (metadata["x.words"].item_type, metadata["x.words"].length) == (ValueType.STRING, 100_000)


def test_per_layer_counts(folder: Path) -> None:
    """Where each layer has its own number of heads, the largest counts."""
    heads = (ValueType.ARRAY, (ValueType.UINT32, [1, 2]))
    gguf = tiny_llama_file(n_layers=2, n_kv_heads=2, metadata={"llama.attention.head_count_kv": heads})

    assert read_header(gguf.write(folder / "m.gguf")).n_head_kv == 2


def test_a_large_vocabulary_takes_milliseconds(folder: Path) -> None:
    """152k tokens and as many merges: at most 150 ms of processor time and 32 MiB, and nothing of it is kept."""
    n = 151_936
    gguf = small()
    tokens = [f"token{number}" for number in range(n)]
    gguf.put("tokenizer.ggml.tokens", ValueType.ARRAY, (ValueType.STRING, tokens))
    gguf.put("tokenizer.ggml.token_type", ValueType.ARRAY, (ValueType.INT32, [1] * n))
    gguf.put("tokenizer.ggml.merges", ValueType.ARRAY, (ValueType.STRING, ["to ken"] * n))
    for tensor in gguf.tensors:
        if tensor.name in {"token_embd.weight", "output.weight"}:
            tensor.shape, tensor.kind, tensor.data = (32, n), Q8_0, bytes(34 * n)
            tensor.n_bytes = 34 * n
    path = gguf.write(folder / "m.gguf")

    times = []
    for _ in range(3):
        start = time.process_time()
        header = read_header(path)
        times.append(time.process_time() - start)
    tracemalloc.start()
    try:
        read_header(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert header.n_vocab == n
    assert min(times) <= 0.150
    assert peak <= 32 << 20


def test_tensor_types_are_those_of_the_pinned_llama_cpp() -> None:
    """Block sizes agree with ggml's, and no type is missing."""
    script = """
import ctypes
from llama_cpp import llama_cpp
lib = llama_cpp._lib
lib.ggml_type_size.restype = ctypes.c_size_t
lib.ggml_blck_size.restype = ctypes.c_int64
for number in range(43):
    if lib.ggml_blck_size(number):
        print(number, lib.ggml_blck_size(number), lib.ggml_type_size(number))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    theirs = {tuple(map(int, line.split())) for line in result.stdout.splitlines()}

    assert theirs == {(number, block, size) for number, (_, block, size) in TENSOR_TYPES.items()}


def test_file_types_are_those_of_the_pinned_llama_cpp() -> None:
    """The same numbers have names, and those are llama.cpp's in the spelling of file names."""
    script = """
import ctypes
from llama_cpp import llama_cpp
name = llama_cpp._lib.llama_ftype_name
name.restype = ctypes.c_char_p
for number in range(64):
    print(number, name(number).decode(), sep="\\t")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    theirs = dict(line.split("\t") for line in result.stdout.splitlines())
    known = {int(number): name for number, name in theirs.items() if not name.startswith("unknown")}
    sizes = {"Small": "_S", "Medium": "_M", "Large": "_L", "MoE": "_MOE"}
    spelled = {
        number: words[0] + sizes.get(words[-1], "")
        for number, words in ((number, name.removeprefix("all ").split()) for number, name in known.items())
    }

    # Two that files have always been named otherwise.
    assert spelled | {10: "Q2_K", 27: "IQ3_M"} == FILE_TYPES


def test_the_marks_of_a_prompt_are_those_of_the_pinned_llama_cpp(folder: Path) -> None:
    """By each of the texts that we know, and only with all three marks, llama.cpp finds a token and so do we."""
    files = []
    for place, (_, texts) in enumerate(FIM_MARKS):
        for number, text in enumerate(sorted(texts)):
            marks = ["<PRE>", "<SUF>", "<MID>"]
            marks[place] = text.decode()
            gguf = small(fim=False)
            tokens = list(next(value for name, _, value in gguf.metadata if name == "tokenizer.ggml.tokens")[1])
            gguf.put("tokenizer.ggml.tokens", ValueType.ARRAY, (ValueType.STRING, [*tokens[:-3], *marks]))
            files.append(gguf.write(folder / f"{place}-{number}.gguf"))
    script = """
import sys
from llama_cpp import llama_cpp as llama
llama.llama_backend_init()
params = llama.llama_model_default_params()
params.vocab_only = True
for path in sys.argv[1:]:
    model = llama.llama_load_model_from_file(path.encode(), params)
    vocab = llama.llama_model_get_vocab(model)
    print(*(getattr(llama, f"llama_vocab_fim_{name}")(vocab) for name in ("pre", "suf", "mid")))
"""
    command = [sys.executable, "-c", script, *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    headers = [read_header(path) for path in files]
    found = [[int(token) for token in line.split()] for line in result.stdout.splitlines()]

    assert len(files) == 24
    assert found == [[header.n_vocab - 3, header.n_vocab - 2, header.n_vocab - 1] for header in headers]
    assert all(header.can_infill for header in headers)
    assert not read_header(small(fim=False).write(folder / "none.gguf")).can_infill


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ x }}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}", True),
        (
            "{% if add_generation_prompt %}{{ 'a' }}{% if no %}{{ '<think>\\n\\n</think>\\n' }}{% endif %}{% endif %}",
            False,
        ),
        ("{{ '<think>' }}{% if add_generation_prompt %}{{ 'assistant' }}{% endif %}", False),
        (None, False),
    ],
)
def test_templates_that_begin_with_thoughts(folder: Path, template: str | None, expected: bool) -> None:
    """Some templates open the thoughts themselves; some only know them, or switch them off."""
    header = read_header(small(chat_template=template).write(folder / "m.gguf"))

    assert header.begins_with_thoughts is expected


# --- bad files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_handcrafted_files_are_refused(name: str, folder: Path) -> None:
    """Check 24: each of the handcrafted hostile files is refused by its header, with a reason."""
    path = folder / "m.gguf"
    path.write_bytes(HOSTILE[name])

    with pytest.raises(ModelRefused) as caught:
        read_header(path)

    assert caught.value.message.startswith(str(path))
    assert caught.value.data["path"] == str(path)


def test_there_are_at_least_thirty_handcrafted_files() -> None:
    """Check 24 asks for thirty."""
    assert len(HOSTILE) >= 30


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "empty at byte 0: found 0 bytes, expected a GGUF file"),
        ("bad-magic", "the magic number at byte 0: found b'GGUG' (of no kind we know), expected b'GGUF'"),
        ("big-endian", "the version at byte 4: found 3 in big-endian byte order, expected 2 or 3, little-endian"),
        ("n-kv-huge", "the number of metadata entries at byte 16: found 4611686018427387904, expected at most"),
        ("cut-in-data", "bytes, expected at most"),
        ("key-twice", "found 'general.name', expected one that is new and not empty"),
        ("tensor-offset-overlaps", "the end of the last"),
        ("tokens-twice", "occurs twice: 'same'"),
        ("blocks-1000", "llama.block_count is 1000, expected 1 to 512"),
        ("context-64-bit", "the type of llama.context_length is UINT64, expected UINT32"),
        ("tensor-shape-other", "the shape of blk.0.attn_q.weight is [16, 64], expected [32, 32]"),
    ],
)
def test_a_refusal_says_where_what_and_what_should(name: str, words: str, folder: Path) -> None:
    """The message has the place, what was found and what was expected."""
    path = folder / "m.gguf"
    path.write_bytes(HOSTILE[name])

    with pytest.raises(ModelRefused) as caught:
        read_header(path)

    assert words in caught.value.message


def test_strings_beyond_their_limits(folder: Path) -> None:
    """Keys end at 64 KiB and strings at 1 MiB, however large the file."""
    key = small()
    key.add("k" * 65_536, ValueType.UINT32, 1)
    value = small()
    value.add("x.text", ValueType.STRING, "v" * ((1 << 20) + 1))
    item = small()
    item.add("x.texts", ValueType.ARRAY, (ValueType.STRING, ["v"] * 2_000 + ["v" * (3 << 20)] + ["v"] * 2_000))

    for gguf in (key, value, item):
        with pytest.raises(ModelRefused, match="expected at most"):
            read_header(gguf.write(folder / "m.gguf"))


def test_metadata_cannot_fill_the_memory(folder: Path) -> None:
    """Many strings, each within its limit, are refused once they are 16 MiB together."""
    gguf = small()
    for number in range(20):
        gguf.add(f"x.{number}", ValueType.STRING, "v" * (1 << 20))

    with pytest.raises(ModelRefused, match="bytes of metadata"):
        read_header(gguf.write(folder / "m.gguf"))


def test_a_token_ends_at_its_nul(folder: Path) -> None:
    """llama.cpp reads tokens as C strings, so these two are one, and it would abort."""
    gguf = small()
    for index, (key, kind, value) in enumerate(gguf.metadata):
        if key == "tokenizer.ggml.tokens":
            gguf.metadata[index] = (key, kind, (value[0], ["same", "same\0more", *value[1][2:]]))

    with pytest.raises(ModelRefused, match="occurs twice"):
        read_header(gguf.write(folder / "m.gguf"))


def test_a_later_part_of_a_split_model(folder: Path) -> None:
    """The first part of a split model is accepted without its siblings' tensors, another is not."""
    first, second = small(), small()
    del first.tensors[5:]
    for number, gguf in enumerate((first, second)):
        gguf.add("split.no", ValueType.UINT16, number)
        gguf.add("split.count", ValueType.UINT16, 2)

    assert read_header(first.write(folder / "a.gguf")).n_layers == 1
    with pytest.raises(ModelRefused, match="first part"):
        read_header(second.write(folder / "b.gguf"))


@pytest.mark.parametrize(
    ("key", "value", "words"), [("general.type", "adapter", "LoRA"), ("general.type", "mmproj", "vis")]
)
def test_other_uses_of_gguf(key: str, value: str, words: str, folder: Path) -> None:
    """An adapter or a projector is a GGUF, but no language model."""
    gguf = small()
    gguf.put(key, ValueType.STRING, value)

    with pytest.raises(ModelRefused, match=words):
        read_header(gguf.write(folder / "m.gguf"))


# --- files that are no GGUF -------------------------------------------------------------------------------------------


class _Bomb:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.mark,)


def _zip(path: Path, mark: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Bomb(mark)))


FOREIGN: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "pickle-2": (lambda path, mark: path.write_bytes(pickle.dumps(_Bomb(mark), protocol=2)), "pickle"),
    "pickle-5": (lambda path, mark: path.write_bytes(pickle.dumps(_Bomb(mark), protocol=5)), "pickle"),
    "zip": (_zip, "zip"),
    "safetensors": (lambda path, _: path.write_bytes(struct.pack("<Q", 2) + b"{}" + bytes(100)), "safetensors"),
    "ggml": (lambda path, _: path.write_bytes(b"lmgg" + bytes(100)), "before GGUF"),
    "hdf5": (lambda path, _: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "HDF5"),
    "gzip": (lambda path, _: path.write_bytes(b"\x1f\x8b\x08" + bytes(100)), "gzip"),
    "tar": (lambda path, _: path.write_bytes(bytes(257) + b"ustar" + bytes(250)), "tar"),
    "elf": (lambda path, _: path.write_bytes(b"\x7fELF" + bytes(100)), "program"),
    "script": (lambda path, _: path.write_bytes(b"#!/bin/sh\n"), "script"),
    "web-page": (lambda path, _: path.write_bytes(b"\n<!DOCTYPE html><html>"), "web page"),
    "json": (lambda path, _: path.write_bytes(b'{"error": "not found"}'), "JSON"),
    "lfs": (lambda path, _: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "zeros": (lambda path, _: path.write_bytes(bytes(4096)), "zeros"),
    "noise": (lambda path, _: path.write_bytes(bytes(range(100, 200))), "no kind we know"),
    "one-byte": (lambda path, _: path.write_bytes(b"G"), "no kind we know"),
}


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_foreign_files_are_refused_by_magic(name: str, folder: Path) -> None:
    """Check 25: a pickle, a zip or any other file is named by its first bytes, and nothing is loaded from it."""
    path, mark = folder / "m.gguf", folder / "mark"
    make, words = FOREIGN[name]
    make(path, mark)

    with pytest.raises(ModelRefused, match="magic number") as caught:
        read_header(path)

    assert words in caught.value.message
    assert not mark.exists()


def test_no_loader_is_in_the_process(folder: Path) -> None:
    """Check 25: reading a header, good or bad, imports nothing that could load a model."""
    good = small().write(folder / "good.gguf")
    bad = folder / "bad.gguf"
    bad.write_bytes(pickle.dumps({"weights": 1}))
    script = f"""
import sys
before = set(sys.modules)
from botframework.errors import ModelRefused
from botframework.models.gguf import read_header
read_header({str(good)!r})
try:
    read_header({str(bad)!r})
except ModelRefused:
    loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
    print(loaded & {{"pickle", "zipfile", "llama_cpp", "numpy", "torch", "safetensors", "gguf", "mmap"}})
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout == "set()\n"


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["missing.gguf", "missing/m.gguf", "m\0.gguf", "x" * 300, ""])
def test_a_path_that_leads_nowhere(path: str, folder: Path) -> None:
    """No file: `ModelNotFound` with the path."""
    with pytest.raises(ModelNotFound):
        read_header(folder / path / "inside" if not path else folder / path)


def test_a_path_that_is_no_text(folder: Path) -> None:
    """A name with bytes that are no UTF-8 is shown in a form that JSON can carry."""
    with pytest.raises(ModelNotFound) as caught:
        read_header(str(folder) + "/m\udcff.gguf")

    assert caught.value.message.encode()


@pytest.mark.skipif(os.name != "posix", reason="POSIX file kinds")
def test_files_that_are_no_files(folder: Path) -> None:
    """A folder, a pipe without a writer, a device, a socket: refused at once, never waited for."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "sock"))
        for path, kind in (
            (folder, "a folder"),
            (folder / "pipe", "a named pipe"),
            (folder / "sock", "a socket"),
            ("/dev/zero", "a device"),
        ):
            with pytest.raises(ModelRefused, match=kind):
                read_header(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(folder: Path) -> None:
    """No permission: `ModelNotFound` with the reason."""
    path = small().write(folder / "m.gguf")
    path.chmod(0)

    with pytest.raises(ModelNotFound, match="cannot be opened"):
        read_header(path)


def test_a_loop_of_links(folder: Path) -> None:
    """Links in a circle lead nowhere."""
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")

    with pytest.raises(ModelNotFound, match="cannot be opened"):
        read_header(folder / "a")


# --- fuzz -------------------------------------------------------------------------------------------------------------

WHOLE = small().to_bytes()
HEADER_BYTES = len(small().header())
EDITS = st.lists(
    st.tuples(st.integers(0, HEADER_BYTES - 1), st.binary(max_size=12), st.integers(0, 12)), min_size=1, max_size=6
)


def _only_refusals(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with suppress(ModelRefused):
        assert find_problem(read_header(path)) is None


@settings(max_examples=300, deadline=2_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS)
def test_damaged_headers_are_refused_or_read(folder: Path, edits: list[tuple[int, bytes, int]]) -> None:
    """Whatever is written over a good header, the reader refuses or reads; no other error comes out."""
    data = bytearray(WHOLE)
    for at, replacement, removed in edits:
        data[at : at + removed] = replacement
    _only_refusals(folder / "m.gguf", bytes(data))


@settings(max_examples=200, deadline=2_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 20), st.integers(0, 20), st.binary(max_size=600))
def test_noise_behind_the_magic_is_refused(folder: Path, n_tensors: int, n_kv: int, noise: bytes) -> None:
    """Random bytes after the counts are refused."""
    with pytest.raises(ModelRefused):
        _noise(folder / "m.gguf", struct.pack("<4sIQQ", b"GGUF", 3, n_tensors, n_kv) + noise)


def _noise(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    read_header(path)


def test_mutants_are_refused_or_read(folder: Path) -> None:
    """600 seeded mutations: nothing but refusals comes out, none takes a second."""
    slowest = 0.0
    for data in mutants(600, seed=7):
        start = time.process_time()
        _only_refusals(folder / "m.gguf", data)
        slowest = max(slowest, time.process_time() - start)

    assert slowest < 1.0


def test_every_truncation_is_refused(folder: Path) -> None:
    """A file cut anywhere in its header, or by one byte of its data, is refused."""
    path = folder / "m.gguf"
    for length in [*range(0, HEADER_BYTES, 41), HEADER_BYTES, len(WHOLE) - 33]:
        path.write_bytes(WHOLE[:length])
        with pytest.raises(ModelRefused):
            read_header(path)


def test_extra_bytes_behind_the_data_are_accepted(folder: Path) -> None:
    """llama.cpp does not mind them."""
    path = folder / "m.gguf"
    path.write_bytes(WHOLE + b"tail")

    assert read_header(path).file_size == len(WHOLE) + 4


def test_many_tensors_stay_fast(folder: Path) -> None:
    """A table of twenty thousand tensors is read in a second or two."""
    gguf = small()
    gguf.tensors += [Tensor(f"x.{number}", (0,), 0, b"") for number in range(20_000)]
    path = gguf.write(folder / "m.gguf")

    start = time.process_time()
    with pytest.raises(ModelRefused, match="unknown in llama models"):
        read_header(path)

    assert time.process_time() - start < 5
