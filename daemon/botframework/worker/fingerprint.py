"""What a saved state depends on, and under which key it is kept, as SHA-256 digests.

llama.cpp accepts a state of another model with the same shape, so nothing but these digests keeps the two apart. A
fingerprint that differs without need costs one miss; one that is equal without right costs wrong answers. So they err
towards different.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.wire.messages import ChatMessage

DIGEST_BYTES = hashlib.sha256().digest_size
FINGERPRINT_BYTES = 2 * DIGEST_BYTES
"""The model's digest, then the one of build and parameters."""
HEAD_BYTES = 1024 * 1024
"""Read whole at a file's beginning: metadata, and in small models the tensors' list."""
SAMPLES = 512
"""Places in a file, evenly spread: two models of one shape differ in almost every tensor, and each has hundreds."""
SAMPLE_BYTES = 8 * 1024
"""With `SAMPLES` 4 MiB in all: 10 ms for a file that was just loaded, whatever its size."""

_PART = re.compile(r"-00001-of-(\d{5})(?=\.gguf$)")


def model_fingerprint(path: str) -> bytes:
    """Digest of a model: sizes, times of change, beginnings and evenly spread samples of its files.

    A model that is touched or copied gets another one, which costs a miss.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    digest = hashlib.sha256(b"botframework model 1")
    for part in _parts(path):
        _add_file(digest, part)
    return digest.digest()


def _parts(path: str) -> list[Path]:
    """All files of a model; a split one is named by its first."""
    first = Path(path)
    found = _PART.search(first.name)
    if found is None:
        return [first]
    count = int(found[1])
    return [first.with_name(_PART.sub(f"-{number:05}-of-{count:05}", first.name)) for number in range(1, count + 1)]


def _add_file(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        digest.update(b"%d %d;" % (status.st_size, status.st_mtime_ns))
        digest.update(file.read(HEAD_BYTES))
        for number in range(SAMPLES):
            # The last sample ends with the file.
            file.seek(max(0, status.st_size - SAMPLE_BYTES) * number // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))


def context_fingerprint(
    build: str, model: bytes, *, flash_attn: bool, kv_type: str, n_ctx: int, n_stream: int = 1, lane: str = ""
) -> bytes:
    """Digest of everything that must be equal for a state to be loaded: 64 bytes, of which the first 32 are ``model``.

    Parameters
    ----------
    build
        `llama.build`: another build may lay a state out, or compute it, in another way.
    model
        `model_fingerprint`.
    n_ctx
        Cells of the context: some models choose their rotation's factors by it.
    n_stream
        Streams of the KV cache; 1 when sequences share the cells.
    lane
        Keeps apart what two contexts of equal parameters have in one folder.
    """
    if len(model) != DIGEST_BYTES:
        raise ValueError(f"a model's fingerprint has {DIGEST_BYTES} bytes, not {len(model)}")
    parameters = [build, flash_attn, kv_type, n_ctx, n_stream, lane, sys.byteorder]
    return model + _digest("botframework context 1", parameters)


def fim_key(session: str) -> bytes:
    """The key of a document's snapshot."""
    return _digest("botframework fim 1", session)


def chat_keys(messages: Sequence[ChatMessage], tools: object = ()) -> list[bytes]:
    """A key for every beginning of a conversation, the shortest first; each over system prompt, messages and tools.

    A snapshot made after message i is found by every conversation that begins with the same i + 1 messages.
    """
    keys = []
    key = _digest("botframework chat 1", tools)
    for message in messages:
        key = _digest("message", [key, message.role, message.content])
        keys.append(key)
    return keys


def chat_key(messages: Sequence[ChatMessage], tools: object = ()) -> bytes:
    """The key of a conversation's snapshot: the last of `chat_keys`."""
    return chat_keys(messages, tools)[-1]


def _digest(domain: str, value: object) -> bytes:
    """SHA-256 over a value's MessagePack, whose lengths keep neighbours apart."""
    return hashlib.sha256(msgspec.msgpack.encode([domain, value], order="deterministic")).digest()
