"""Reads the header of a GGUF file: bounds-checked, never the tensors, in milliseconds.

A model file is a stranger's input to a C++ parser. Whatever the header can tell is told here, before llama.cpp opens
the file: what is not a whole, well-formed GGUF is refused with the place, what stands there and what should. This
module holds the rules of the format, `models.architecture` what llama.cpp asks of a model beyond them.

Arrays of more than 1,024 items are walked but not kept; a 152k-token vocabulary costs some tens of milliseconds
instead of seconds and hundreds of megabytes.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

from botframework.errors import ModelNotFound, ModelRefused
from botframework.models import architecture
from botframework.models.header import (
    FIM_MARKS,
    TENSOR_TYPES,
    ArrayValue,
    GgufHeader,
    SkippedArray,
    TensorInfo,
    ValueType,
    Vocabulary,
)
from botframework.models.source import (
    LETTERS,
    MAX_STRING_BYTES,
    SCALARS,
    SNIFF_BYTES,
    Source,
    looks_like,
    open_regular,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GgufHeader", "TensorInfo", "read_header", "read_part"]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""Version 1 had 32-bit lengths and was gone in weeks; llama.cpp reads no other than these two."""
MAX_ENTRIES = 65_536
"""Metadata entries, and tensors: the largest real files have some hundreds and some thousands."""
MAX_KEY_BYTES = 65_535
"""The format's own limit."""
LONG_STRINGS = frozenset({"tokenizer.huggingface.json"})
"""May be longer; never kept, llama.cpp ignores it."""
MAX_KEPT_ITEMS = 1_024
"""Arrays up to this length are kept: per-layer counts (llama.cpp allows 512 layers) but no vocabulary."""
OBJECT_BYTES = 40
"""What a small Python object costs, about."""
MAX_NAME_BYTES = 63
"""llama.cpp cuts longer tensor names, and then two may become one."""
MAX_DIMS = 4
"""llama.cpp's tensors have four."""
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
"""Bytes; real files use 32. More would only make room for hidden gaps."""
INT64_MAX = (1 << 63) - 1


def read_header(path: str | os.PathLike[str]) -> GgufHeader:
    """Read and check the header of the model file at ``path``.

    Raises
    ------
    ModelNotFound
        There is no such file, or it cannot be opened or read.
    ModelRefused
        It is not a whole, well-formed GGUF language model. ``data`` has ``offset``, ``found`` and ``expected`` where
        they are known.
    """
    header = read_part(path)
    if problem := architecture.find_problem(header):
        raise ModelRefused(f"{header.path}: {problem}", path=header.path)
    return header


def read_part(path: str | os.PathLike[str]) -> GgufHeader:
    """Read and check a file by the rules of the format alone: a later part of a split model holds nothing but tensors.

    Raises as `read_header`.
    """
    shown = printable(path)
    with open_regular(path, shown) as file:
        source = Source(file, shown, os.fstat(file.fileno()).st_size)
        try:
            return _parse(source)
        except OSError as error:
            raise ModelNotFound(f"{shown}: cannot be read: {error.strerror or error}", path=shown) from error


def _parse(source: Source) -> GgufHeader:
    _check_magic(source)
    version = _check_version(source)
    n_tensors = _count(source, "the number of tensors")
    n_entries = _count(source, "the number of metadata entries")

    metadata: dict[str, Any] = {}
    types: dict[str, ValueType] = {}
    tokens: list[bytes] = []
    for _ in range(n_entries):
        place = source.offset
        key = _text(source, source.string(MAX_KEY_BYTES, "a metadata key"), "a metadata key", place)
        if not key or key in metadata:
            source.refuse(
                "a metadata key", found=repr(key[:80]), expected="one that is new and not empty", offset=place
            )
        types[key] = source.value_type(f"the type of {key}")
        if types[key] is ValueType.ARRAY:
            metadata[key] = _array(source, key, tokens)
        else:
            metadata[key] = _scalar(source, key, types[key])

    alignment = _alignment(source, metadata, types)
    infos = [_tensor(source, index) for index in range(n_tensors)]
    data_offset = source.offset + -source.offset % alignment
    tensors = _place_tensors(source, infos, alignment, data_offset)
    name = metadata.get("general.architecture")
    return GgufHeader(
        path=source.path,
        version=version,
        architecture=name if isinstance(name, str) else "",
        metadata=metadata,
        types=types,
        tensors=tensors,
        alignment=alignment,
        data_offset=data_offset,
        file_size=source.size,
        vocabulary=_vocabulary(source, metadata, tokens),
    )


def _check_magic(source: Source) -> None:
    if not source.size:
        source.refuse("the file is empty", found="0 bytes", expected="a GGUF file")
    head = source.reread(0, min(SNIFF_BYTES, source.size))
    if head[:4] != MAGIC:
        found = f"{head[:4]!r} ({looks_like(head)})"
        source.refuse("the magic number", found=found, expected=repr(MAGIC))
    source.take(4, "the magic number")


def _check_version(source: Source) -> int:
    place = source.offset
    version: int = source.number(ValueType.UINT32, "the version")
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        found = f"{swapped} in big-endian byte order" if swapped in VERSIONS else str(version)
        source.refuse("the version", found=found, expected="2 or 3, little-endian", offset=place)
    return version


def _count(source: Source, what: str) -> int:
    place = source.offset
    count: int = source.number(ValueType.UINT64, what)
    if count > MAX_ENTRIES:
        source.refuse(what, found=count, expected=f"at most {MAX_ENTRIES}", offset=place)
    return count


def _text(source: Source, raw: bytes, what: str, place: int) -> str:
    """A name. NUL is refused because llama.cpp's C strings would end there, and two names could become one."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        source.refuse(what, found=repr(raw[:80]), expected="UTF-8 without NUL", offset=place)
    return text


def _scalar(source: Source, key: str, kind: ValueType) -> Any:
    if kind is not ValueType.STRING:
        return source.number(kind, key)
    if key in LONG_STRINGS:
        source.skip(source.number(ValueType.UINT64, f"the length of {key}"), key)
        return ""
    raw = source.string(MAX_STRING_BYTES, key)
    source.keep(len(raw), key)
    return raw.decode("utf-8", "replace")


def _array(source: Source, key: str, tokens: list[bytes]) -> ArrayValue | SkippedArray:
    """An array; the vocabulary's texts go into ``tokens``."""
    place = source.offset
    kind = source.value_type(f"the item type of {key}")
    if kind is ValueType.ARRAY:
        source.refuse(f"the item type of {key}", found="an array", expected="a number, a truth value or a string")
    count: int = source.number(ValueType.UINT64, f"the length of {key}")
    first = source.offset
    if kind is ValueType.STRING:
        if key == architecture.TOKENS:
            tokens += source.strings(count, key)
        elif count <= MAX_KEPT_ITEMS:
            items = source.strings(count, key)
            source.keep(sum(OBJECT_BYTES + len(item) for item in items), key)
            return ArrayValue(kind, tuple(item.decode("utf-8", "replace") for item in items))
        else:
            source.skip_strings(count, key)
        return SkippedArray(kind, count, first)
    size = SCALARS[kind].size
    if count > (source.size - first) // size:
        left = f"at most {(source.size - first) // size}, the file ends there"
        source.refuse(f"the length of {key}", found=count, expected=left, offset=place + 4)
    if count <= MAX_KEPT_ITEMS:
        source.keep(OBJECT_BYTES * count, key)
        return ArrayValue(kind, struct.unpack(f"<{count}{LETTERS[kind]}", source.take(count * size, key)))
    source.skip(count * size, key)
    return SkippedArray(kind, count, first)


def _alignment(source: Source, metadata: Mapping[str, Any], types: Mapping[str, ValueType]) -> int:
    key = "general.alignment"
    value = metadata.get(key, DEFAULT_ALIGNMENT)
    if key in metadata and types[key] is not ValueType.UINT32:
        source.refuse(f"the type of {key}", found=types[key].name, expected="UINT32")
    alignment = int(value)
    if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        source.refuse(key, found=alignment, expected=f"a power of 2, at most {MAX_ALIGNMENT}")
    return alignment


def _tensor(source: Source, index: int) -> tuple[str, tuple[int, ...], str, int, int, int]:
    """One entry of the tensor table: name, shape, type, offset in the data, bytes, place of the entry."""
    place = source.offset
    label = f"the name of tensor {index}"
    name = _text(source, source.string(MAX_NAME_BYTES, label), label, place)
    n_dims: int = source.number(ValueType.UINT32, f"the dimensions of {name}")
    if n_dims > MAX_DIMS:
        source.refuse(f"the dimensions of {name}", found=n_dims, expected=f"at most {MAX_DIMS}", offset=place)
    shape = tuple(source.number(ValueType.UINT64, f"the shape of {name}") for _ in range(n_dims))
    kind: int = source.number(ValueType.UINT32, f"the type of {name}")
    offset: int = source.number(ValueType.UINT64, f"the offset of {name}")
    elements = 1
    for n in shape:
        elements *= max(n, 1)
    if elements > INT64_MAX:
        source.refuse(f"the shape of {name}", found=shape, expected="fewer than 2^63 elements", offset=place)
    if kind not in TENSOR_TYPES:
        source.refuse(f"the type of {name}", found=kind, expected="a tensor type that llama.cpp knows", offset=place)
    type_name, block, block_bytes = TENSOR_TYPES[kind]
    row = shape[0] if shape else 1
    if row % block:
        expected = f"a multiple of {block} ({type_name})"
        source.refuse(f"the row length of {name}", found=row, expected=expected, offset=place)
    n_bytes = 0 if 0 in shape else elements // block * block_bytes
    return name, shape, type_name, offset, n_bytes, place


def _place_tensors(
    source: Source, infos: list[tuple[str, tuple[int, ...], str, int, int, int]], alignment: int, data_offset: int
) -> tuple[TensorInfo, ...]:
    """Check that the tensors follow one another without gap or overlap, in the file, each under its own name."""
    tensors: dict[str, TensorInfo] = {}
    expected = 0
    for name, shape, kind, offset, n_bytes, place in infos:
        if name in tensors:
            source.refuse("a tensor name", found=repr(name), expected="one that is new", offset=place)
        if offset != expected:
            # llama.cpp accepts no other order; overlap and misalignment are among what this excludes.
            source.refuse(
                f"the offset of {name}", found=offset, expected=f"{expected}, the end of the last", offset=place
            )
        if n_bytes > source.size - data_offset - offset:
            left = f"at most {max(0, source.size - data_offset - offset)}, the file has {source.size} bytes"
            source.refuse(f"the size of {name}", found=f"{n_bytes} bytes", expected=left, offset=place)
        tensors[name] = TensorInfo(name, shape, kind, data_offset + offset, n_bytes)
        expected += n_bytes + -n_bytes % alignment
    return tuple(tensors.values())


def _vocabulary(source: Source, metadata: Mapping[str, Any], tokens: list[bytes]) -> Vocabulary | None:
    if not tokens:
        return None
    # llama.cpp takes each text as a C string.
    tokens = [text.partition(b"\0")[0] if b"\0" in text else text for text in tokens]
    types = metadata.get(architecture.TOKEN_TYPES)
    values: tuple[int, ...] = ()
    if isinstance(types, ArrayValue) and types.item_type is ValueType.INT32:
        values = types.items
    elif isinstance(types, SkippedArray) and types.item_type is ValueType.INT32:
        count = min(types.length, len(tokens))
        values = struct.unpack(f"<{count}i", source.reread(types.offset, 4 * count))
    byte = architecture.TOKEN_TYPE_BYTE
    mute = next(
        (i for i, (text, kind) in enumerate(zip(tokens, values, strict=False)) if kind == byte and 0 < len(text) < 3),
        None,
    )
    texts = set(tokens)
    return Vocabulary(
        n_tokens=len(tokens),
        duplicate=_first_duplicate(tokens, texts),
        mute_byte=mute,
        fim_marks=frozenset(number for number, (_, names) in enumerate(FIM_MARKS) if not names.isdisjoint(texts)),
    )


def _first_duplicate(tokens: list[bytes], texts: set[bytes]) -> tuple[int, str] | None:
    # llama.cpp gives each empty text a name of its own, and aborts when two others are the same.
    if len(texts) + max(0, tokens.count(b"") - 1) == len(tokens):
        return None
    seen: set[bytes] = {b""}
    for number, text in enumerate(tokens):
        if text and text in seen:
            return number, text.decode("utf-8", "replace")
        seen.add(text)
    return None
