"""The flight recorder: a small mapped file in which a worker notes what it is doing, for those who find it dead.

The file survives the process because the kernel owns the pages; no write or flush is needed in the moment of the crash.
It says in which phase the worker was, which requests were in the current llama.cpp call, and the last words of an
assertion. The layout is fixed and small, one writer writes it, and readers must expect any content.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from botframework.wire.messages import FimRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from botframework.wire.messages import GenerateRequest

Phase = Literal["starting", "loading", "serving", "stopping"]
_PHASES: tuple[Phase, ...] = get_args(Phase)

FINGERPRINT_BYTES = 16
MAX_FINGERPRINTS = 64
"""As many as a batch can hold sequences."""
MAX_LAST_WORDS = 2_048
"""Bytes of UTF-8: an assertion with its file name; anything longer is cut at the end."""

_MAGIC = b"BFFLT001"
# magic, pid, start (unix seconds), phase, number of requests in the current call (0: no call)
_HEAD = struct.Struct("<8sIdBB")
_WORDS = struct.Struct("<H")
_FINGERPRINTS_AT = _HEAD.size
_WORDS_AT = _FINGERPRINTS_AT + FINGERPRINT_BYTES * MAX_FINGERPRINTS
_SIZE = _WORDS_AT + _WORDS.size + MAX_LAST_WORDS
_PHASE_AT = _HEAD.size - 2
_COUNT_AT = _HEAD.size - 1


def fingerprint(request: GenerateRequest) -> bytes:
    """16 bytes that name what a request asks of the model, equal for equal content in every process.

    The id, session, deadline and priority are not content: the poison is in the prompt and the parameters. Of a
    completion only the text around the cursor counts: the prefill and the completion of the same text read the same
    prompt, and what has killed as one must not be tried again as the other.
    """
    if isinstance(request, FimRequest):
        neutral: GenerateRequest = FimRequest(id=0, prefix=request.prefix, suffix=request.suffix)
    else:
        neutral = msgspec.structs.replace(
            request, id=0, session="", deadline_ms=None, priority="chat", stream=True, solo=False, fingerprint=b""
        )
    return hashlib.blake2b(msgspec.msgpack.encode(neutral), digest_size=FINGERPRINT_BYTES).digest()


@dataclass(frozen=True, slots=True)
class FlightRecord:
    """What a worker was doing when the file was last touched."""

    pid: int
    started_at: float
    """Unix seconds at which the worker opened the recorder; with the pid it names one worker life."""
    phase: Phase
    fingerprints: tuple[bytes, ...]
    """Requests in the llama.cpp call that was running; empty outside a call."""
    last_words: str
    """An assertion's text or the watchdog's reason; empty if there was none."""


class FlightWriter:
    """The worker's side. One writer per file; every method only pokes bytes into the map."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            os.ftruncate(fd, _SIZE)
            self._map = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)
        self._map[:] = bytes(_SIZE)
        self._map[: _HEAD.size] = _HEAD.pack(_MAGIC, os.getpid(), time.time(), 0, 0)

    def set_phase(self, phase: Phase) -> None:
        """Note what the worker does from now on."""
        self._map[_PHASE_AT] = _PHASES.index(phase)

    def begin_call(self, fingerprints: Sequence[bytes]) -> None:
        """Note whose tokens the coming llama.cpp call computes."""
        names = b"".join(name.ljust(FINGERPRINT_BYTES, b"\0")[:FINGERPRINT_BYTES] for name in fingerprints)
        names = names[: MAX_FINGERPRINTS * FINGERPRINT_BYTES]
        self._map[_FINGERPRINTS_AT : _FINGERPRINTS_AT + len(names)] = names
        # Last, so that a reader never sees a count whose names are not there yet.
        self._map[_COUNT_AT] = len(names) // FINGERPRINT_BYTES

    def end_call(self) -> None:
        """The call came back."""
        self._map[_COUNT_AT] = 0

    def set_last_words(self, text: str) -> None:
        """Keep the reason of the coming end."""
        words = text.encode("utf-8", "replace")[:MAX_LAST_WORDS]
        self._map[_WORDS_AT + _WORDS.size : _WORDS_AT + _WORDS.size + len(words)] = words
        self._map[_WORDS_AT : _WORDS_AT + _WORDS.size] = _WORDS.pack(len(words))


def read_flight(path: Path) -> FlightRecord | None:
    """Read a recorder, or None when there is none or its content is not one (never raises for content)."""
    try:
        with path.open("rb") as file:
            raw = file.read(_SIZE + 1)
    except OSError:
        return None
    if len(raw) != _SIZE or raw[: len(_MAGIC)] != _MAGIC:
        return None
    _, pid, started_at, phase, count = _HEAD.unpack_from(raw)
    (words_len,) = _WORDS.unpack_from(raw, _WORDS_AT)
    if phase >= len(_PHASES) or count > MAX_FINGERPRINTS or words_len > MAX_LAST_WORDS:
        return None
    names = raw[_FINGERPRINTS_AT : _FINGERPRINTS_AT + count * FINGERPRINT_BYTES]
    words_at = _WORDS_AT + _WORDS.size
    return FlightRecord(
        pid=pid,
        started_at=started_at,
        phase=_PHASES[phase],
        fingerprints=tuple(names[at : at + FINGERPRINT_BYTES] for at in range(0, len(names), FINGERPRINT_BYTES)),
        last_words=raw[words_at : words_at + words_len].decode("utf-8", "replace"),
    )
