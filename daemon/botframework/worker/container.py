"""The container of a snapshot: what is checked before llama.cpp sees a byte of it.

llama.cpp believes almost anything that it is given as a state: flipped bytes give wrong answers, cut ones may end the
process. So a file has a header, token ids (int32), the note, the state, and SHA-256 of all that; it is taken as a whole
or not at all. Numbers in the header are little-endian; the machine's byte order is part of the fingerprint.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from array import array
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from botframework.worker.fingerprint import DIGEST_BYTES, FINGERPRINT_BYTES
from botframework.worker.parked import ParkedState

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"BFKVSNAP"
FORMAT_VERSION = 1
PIECE_BYTES = 1024 * 1024
"""Hashed and written at once, in about 2 ms; between two pieces the writing yields."""

_HEADER = struct.Struct(f"<8sIIQQ{FINGERPRINT_BYTES}s{DIGEST_BYTES}s")
"""Magic, format version, number of tokens, bytes of the note, bytes of the state, fingerprint, key."""
_TOKEN_BYTES = 4


class NotASnapshotError(Exception):
    """A file's content is not what was written, or not for us; the message says why."""


@dataclass(frozen=True, slots=True)
class Label:
    """Which context's and which session's snapshot this is."""

    fingerprint: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of the parts of a file."""

    tokens: int
    note: int
    """Bytes."""
    state: int
    """Bytes."""

    @property
    def file_bytes(self) -> int:
        """Of the whole file."""
        return _HEADER.size + _TOKEN_BYTES * self.tokens + self.note + self.state + DIGEST_BYTES


def lengths_of(parked: ParkedState) -> Lengths:
    """Lengths of the file that would hold a state."""
    return Lengths(len(parked.tokens), len(parked.note), len(parked.state))


def write(descriptor: int, label: Label, parked: ParkedState, before_piece: Callable[[], None]) -> None:
    """Write a snapshot to an empty file and flush it to the disk.

    Raises
    ------
    OSError
        Not all of it could be written.
    """
    digest = hashlib.sha256()
    beginning = _pack(label, lengths_of(parked)) + parked.tokens.tobytes() + parked.note
    for part in (beginning, parked.state):
        for start in range(0, len(part), PIECE_BYTES):
            before_piece()
            piece = memoryview(part)[start : start + PIECE_BYTES]
            digest.update(piece)
            _write_all(descriptor, piece)
    _write_all(descriptor, memoryview(digest.digest()))
    os.fsync(descriptor)


def read(file: IO[bytes], label: Label, limit_bytes: int) -> ParkedState:
    """Read a snapshot, all of it verified.

    Raises
    ------
    NotASnapshotError
        It is longer than ``limit_bytes``, for somebody else, or not what was written.
    OSError
        It cannot be read.
    """
    lengths = _read_lengths(file, label, limit_bytes)
    tokens = file.read(_TOKEN_BYTES * lengths.tokens)
    note, state, claimed = map(file.read, (lengths.note, lengths.state, DIGEST_BYTES))
    digest = hashlib.sha256(_pack(label, lengths))
    for part in (tokens, note, state):
        digest.update(part)
    if digest.digest() != claimed:
        raise NotASnapshotError("its content is damaged")
    return ParkedState(array("i", tokens), state, note)


def peek(file: IO[bytes], label: Label, limit_bytes: int, *, max_note_bytes: int) -> tuple[int, bytes]:
    """Number of tokens and note of a snapshot, neither of them verified: for showing only.

    Raises
    ------
    NotASnapshotError, OSError
        As `read`; also for a note longer than ``max_note_bytes``.
    """
    lengths = _read_lengths(file, label, limit_bytes)
    if lengths.note > max_note_bytes:
        raise NotASnapshotError(f"its note has {lengths.note} bytes")
    file.seek(_TOKEN_BYTES * lengths.tokens, os.SEEK_CUR)
    return lengths.tokens, file.read(lengths.note)


def _read_lengths(file: IO[bytes], label: Label, limit_bytes: int) -> Lengths:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise NotASnapshotError("it is not a file")
    if not _HEADER.size + DIGEST_BYTES <= status.st_size <= limit_bytes:
        raise NotASnapshotError(f"it has {status.st_size} bytes")
    header = file.read(_HEADER.size)
    if len(header) != _HEADER.size:
        raise NotASnapshotError("it was cut while it was read")
    magic, version, n_tokens, n_note, n_state, fingerprint, key = _HEADER.unpack(header)
    if (magic, version) != (MAGIC, FORMAT_VERSION):
        raise NotASnapshotError("it is of another format")
    if fingerprint != label.fingerprint:
        raise NotASnapshotError("it was made by another model or build, or with other parameters")
    if key != label.key:
        raise NotASnapshotError("it is another session's")
    lengths = Lengths(n_tokens, n_note, n_state)
    if lengths.file_bytes != status.st_size:
        raise NotASnapshotError("its length is wrong")
    if not n_tokens or not n_state:
        raise NotASnapshotError("it is empty")
    return lengths


def _pack(label: Label, lengths: Lengths) -> bytes:
    return _HEADER.pack(
        MAGIC, FORMAT_VERSION, lengths.tokens, lengths.note, lengths.state, label.fingerprint, label.key
    )


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        written = os.write(descriptor, data)
        if written <= 0:
            raise OSError("nothing was written")
        data = data[written:]
