"""Fingerprints and keys: what differs is told apart."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from botframework.wire.messages import ChatMessage
from botframework.worker import fingerprint
from botframework.worker.fingerprint import DIGEST_BYTES, FINGERPRINT_BYTES
from support.gguf_factory import tiny_llama

if TYPE_CHECKING:
    from pathlib import Path


def test_another_model_of_the_same_shape_has_another_fingerprint(tmp_path: Path) -> None:
    """Equal sizes and times do not hide other weights, nor a few other bytes at a file's end."""
    first, second = tiny_llama(tmp_path / "1.gguf", seed=1), tiny_llama(tmp_path / "2.gguf", seed=2)
    third = tmp_path / "3.gguf"
    data = bytearray(first.read_bytes())
    data[-1] ^= 1
    third.write_bytes(data)
    for file in (first, second, third):
        os.utime(file, (1_000, 1_000))
    assert first.stat().st_size == second.stat().st_size

    marks = {fingerprint.model_fingerprint(str(file)) for file in (first, second, third)}

    assert len(marks) == 3
    assert fingerprint.model_fingerprint(str(first)) in marks


def test_a_change_anywhere_in_a_large_file_is_seen_by_its_time(tmp_path: Path) -> None:
    """Between the samples nothing is read, but a file that was written to has another time of change."""
    file = tmp_path / "large.gguf"
    with file.open("wb") as out:
        out.truncate(64 << 20)
    before = fingerprint.model_fingerprint(str(file))
    os.utime(file, (1_000, 1_000))

    assert fingerprint.model_fingerprint(str(file)) != before


def test_all_parts_of_a_split_model_count(tmp_path: Path) -> None:
    """The first part names them; a change in the second is another model, a missing one an error."""
    parts = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for part in parts:
        part.write_bytes(b"GGUF" * 100)
        os.utime(part, (1_000, 1_000))
    before = fingerprint.model_fingerprint(str(parts[0]))
    parts[1].write_bytes(b"GGUX" * 100)
    os.utime(parts[1], (1_000, 1_000))

    assert fingerprint.model_fingerprint(str(parts[0])) != before
    parts[1].unlink()
    with pytest.raises(FileNotFoundError):
        fingerprint.model_fingerprint(str(parts[0]))


def test_every_parameter_is_part_of_the_fingerprint() -> None:
    """Build, model, flash attention, KV type, cells, streams and lane: a change of any one gives another."""
    model = b"m" * DIGEST_BYTES
    base: dict[str, Any] = {"flash_attn": True, "kv_type": "f16", "n_ctx": 2_048, "n_stream": 1, "lane": "fim"}
    others: list[dict[str, Any]] = [
        {"flash_attn": False},
        {"kv_type": "q8_0"},
        {"n_ctx": 4_096},
        {"n_stream": 2},
        {"lane": "chat"},
    ]
    marks = [fingerprint.context_fingerprint("build 1", model, **base | other) for other in ({}, *others)]
    marks.append(fingerprint.context_fingerprint("build 2", model, **base))
    marks.append(fingerprint.context_fingerprint("build 1", b"n" * DIGEST_BYTES, **base))

    assert len(set(marks)) == len(others) + 3
    assert {len(mark) for mark in marks} == {FINGERPRINT_BYTES}
    assert fingerprint.context_fingerprint("build 1", model, **base) == marks[0]
    with pytest.raises(ValueError, match="32 bytes, not 1"):
        fingerprint.context_fingerprint("build 1", b"m", **base)


def test_a_chat_is_found_by_its_beginning() -> None:
    """Every beginning of a conversation has the key that it had when it was the whole; nothing else has."""
    talk = [
        ChatMessage(role="system", content="be kind"),
        ChatMessage(role="user", content="hello"),
        ChatMessage(role="assistant", content="hello yourself"),
    ]
    keys = fingerprint.chat_keys(talk)

    assert [fingerprint.chat_key(talk[: count + 1]) for count in range(3)] == keys
    others = [
        fingerprint.chat_key([replace_content(talk[0], "be rude"), *talk[1:]]),
        fingerprint.chat_key([talk[0], ChatMessage(role="user", content="hellohello yourself")]),
        fingerprint.chat_key([talk[0], ChatMessage(role="assistant", content="hello"), talk[2]]),
        fingerprint.chat_key(talk, tools=[{"name": "grep"}]),
        fingerprint.fim_key("hello"),
        fingerprint.fim_key(""),
    ]
    assert len({*keys, *others}) == len(keys) + len(others)
    assert {len(each) for each in keys} == {DIGEST_BYTES}


def replace_content(message: ChatMessage, content: str) -> ChatMessage:
    """A message with another text."""
    return ChatMessage(role=message.role, content=content)
