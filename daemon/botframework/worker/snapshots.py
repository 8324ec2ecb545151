"""Snapshots: parked states in files, so that a document's session outlives the worker.

A file is found by its session, taken only if it is whole and for this very context (`worker.container`), and deleted
whatever else is wrong with it: then it counts as missing.

The files hold the user's source, as tokens. They lie in a folder that is closed to others and are closed themselves.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from botframework import config
from botframework.errors import ConfigError
from botframework.process.durable import flush_folder
from botframework.worker import container
from botframework.worker.fingerprint import DIGEST_BYTES, FINGERPRINT_BYTES

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from botframework.worker.parked import ParkedState

log = logging.getLogger(__name__)

MAX_AGE_S = 14 * 86_400.0
"""A snapshot that nobody used for so long is deleted: source code must not lie about for ever."""
CLOCK_SLACK_S = 86_400.0
"""A file from further in the future was written before the clock was set back; it would never grow old."""
LEFTOVER_AGE_S = 600.0
"""A temporary file that nobody wrote to for so long belongs to a writer that was killed."""
MAX_SHOWN_NOTE_BYTES = 1024 * 1024
"""A longer note is not read for a list; a window of text has 100 KiB at most."""
_MODEL_CHARS = 16
_NAME = re.compile(rf"([0-9a-f]{{{_MODEL_CHARS}}})-([0-9a-f]{{{2 * DIGEST_BYTES}}})\.kv")
_LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.part")
_OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY", "O_NONBLOCK"))
"""A link is not followed, and a FIFO in a file's place does not block."""


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """One file of the folder."""

    key: bytes
    bytes: int
    used_at: float
    """Seconds since the epoch: when it was last written or read."""


@dataclass(frozen=True, slots=True)
class SnapshotDescription:
    """What a file says about itself; nothing of it was verified."""

    key: bytes
    bytes: int
    tokens: int
    note: builtins.bytes
    idle_s: float
    """Since it was last written or read."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    bytes: int
    used_at: float


class SnapshotFolder:
    """The snapshots of one workspace that one context can use. Any thread, any number of processes.

    The folder may also hold snapshots of other models and parameters. A file's name is made from model and key, so a
    second model leaves the first one's files alone, while a file of the same model from another build or with other
    parameters is found, and deleted.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit_bytes: int,
        fingerprint: bytes,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make no folder yet.

        Parameters
        ----------
        limit_bytes
            All snapshots of this folder and its neighbours, those of all workspaces, together, whoever wrote them.
        fingerprint
            `fingerprint.context_fingerprint` of the only contexts that these snapshots are for.
        """
        if len(fingerprint) != FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {len(fingerprint)}")
        self.path = path
        self.limit_bytes = limit_bytes
        self._fingerprint = fingerprint
        self._model = fingerprint.hex()[:_MODEL_CHARS]
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        """Held while a file takes its name or loses it."""
        self._has_complained = False

    # --- one snapshot -------------------------------------------------------------------------------------------------

    def write(
        self,
        key: bytes,
        parked: ParkedState,
        *,
        before_piece: Callable[[], None] = lambda: None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Put a snapshot in the place of the key's older one, and delete the least recently used beyond the limit.

        They go whichever workspace they are of. At every moment the file is the old one or the new one.

        Parameters
        ----------
        before_piece
            Called before every piece; it may block.
        is_wanted
            Asked before the file takes its name, so that a `delete` or `clear` that came meanwhile is the last word.

        Returns
        -------
        Whether the new one is there. It is not when it is larger than the limit, no longer wanted, or after an error
        of the system, which is logged.
        """
        path = self._path(key)
        size = container.lengths_of(parked).file_bytes
        if size > self.limit_bytes or not self._is_usable():
            return False
        fresh = self.path / f".{secrets.token_hex(8)}.part"
        try:
            self._make_room(size, path)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS, 0o600)
            try:
                container.write(descriptor, self._label(key), parked, before_piece)
            finally:
                os.close(descriptor)
            with self._lock:
                if not is_wanted():
                    return False
                fresh.replace(path)
            flush_folder(self.path)
        except OSError as error:
            log.warning("a snapshot of %d bytes could not be written: %s", size, error)
            return False
        finally:
            _remove(fresh)
        return True

    def read(self, key: bytes) -> ParkedState | None:
        """Return a key's snapshot if there is one that is whole and for these contexts; never raises.

        Takes about 0.7 ms per MB, on a slow disk more. Any other file is deleted.
        """
        path = self._path(key)
        try:
            with self._open(path) as file:
                # A digest is no signature: in a folder that others can change, a right one proves nothing.
                if not self._is_usable():
                    return None
                parked = container.read(file, self._label(key), self.limit_bytes)
            with contextlib.suppress(OSError):  # deleted meanwhile, or a disk that is only read
                os.utime(path)
        except FileNotFoundError:
            return None
        except container.NotASnapshotError as error:
            log.info("a snapshot is not used and was deleted: %s", error)
            _remove(path)
            return None
        except (OSError, MemoryError) as error:
            log.warning("a snapshot could not be read: %s", error)
            return None
        return parked

    def has(self, key: bytes) -> bool:
        """Whether there is a file for a key; `read` may yet find that it is no snapshot for these contexts."""
        try:
            self._path(key).lstat()
        except OSError:
            return False
        return True

    def delete(self, key: bytes) -> None:
        """Delete a key's snapshot."""
        with self._lock:
            _remove(self._path(key))

    # --- all of them --------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Delete every snapshot of the folder, whichever model it is for, and what killed writers left."""
        with self._lock:
            for file in (*_files(self.path, _NAME), *_files(self.path, _LEFTOVER)):
                _remove(file.path)

    def entries(self) -> list[SnapshotEntry]:
        """Snapshots of this model, least recently used first. They may yet turn out to be of other parameters."""
        entries = []
        for file in sorted(_files(self.path, _NAME), key=lambda file: file.used_at):
            model, key = file.path.stem.split("-")
            if model == self._model:
                entries.append(SnapshotEntry(bytes.fromhex(key), file.bytes, file.used_at))
        return entries

    def described(self) -> list[SnapshotDescription]:
        """Describe the snapshots that `read` would probably return, least recently used first; never raises.

        Reads headers and notes only. Nothing is verified, so use it for showing alone; nothing is deleted either.
        """
        found = []
        now = self._clock()
        for entry in self.entries():
            try:
                with self._open(self._path(entry.key)) as file:
                    tokens, note = container.peek(
                        file, self._label(entry.key), self.limit_bytes, max_note_bytes=MAX_SHOWN_NOTE_BYTES
                    )
            except (OSError, container.NotASnapshotError):
                continue
            idle_s = max(0.0, now - entry.used_at)
            found.append(SnapshotDescription(entry.key, entry.bytes, tokens, note, idle_s))
        return found

    def sweep(self) -> None:
        """Delete what is too old, what killed writers left, and the least recently used of all beyond the limit."""
        sweep_expired(self.path, max_age_s=self._max_age_s, now=self._clock())
        self._make_room(0, None)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _label(self, key: bytes) -> container.Label:
        return container.Label(self._fingerprint, key)

    def _path(self, key: bytes) -> Path:
        if len(key) != DIGEST_BYTES:
            raise ValueError(f"a key has {DIGEST_BYTES} bytes, not {len(key)}")
        return self.path / f"{self._model}-{key.hex()}.kv"

    def _is_usable(self) -> bool:
        """Whether the folder is there and ours alone; it is made if it is missing."""
        try:
            config.make_private(self.path, "the workspace's folder of snapshots")
        except ConfigError as error:
            if not self._has_complained:
                log.warning("no snapshots: %s", error)
            self._has_complained = True
            return False
        return True

    def _make_room(self, size: int, keep: Path | None) -> None:
        """Delete the least recently used of all workspaces until ``size`` more bytes fit beside the others."""
        found = (file for folder in _workspaces(self.path) for file in _files(folder, _NAME))
        files = sorted((file for file in found if file.path != keep), key=lambda file: file.used_at)
        total = sum(file.bytes for file in files) + size
        for file in files:
            if total <= self.limit_bytes:
                break
            _remove(file.path)
            total -= file.bytes

    def _open(self, path: Path) -> IO[bytes]:
        try:
            descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise container.NotASnapshotError("it is a link") from error
            raise
        return open(descriptor, "rb")  # noqa: PTH123 - a descriptor, not a path


def sweep_expired(folder: Path, *, max_age_s: float = MAX_AGE_S, now: float | None = None) -> None:
    """Delete a folder's snapshots that are too old and what killed writers left; never raises."""
    now = time.time() if now is None else now
    for pattern, limit_s in ((_NAME, max_age_s), (_LEFTOVER, LEFTOVER_AGE_S)):
        for file in _files(folder, pattern):
            if not -CLOCK_SLACK_S <= now - file.used_at <= limit_s:
                _remove(file.path)


def sweep_neighbours(folder: Path, *, max_age_s: float = MAX_AGE_S, now: float | None = None) -> None:
    """Do `sweep_expired` in the folders of all workspaces; those that are empty go. Never raises.

    A workspace that is never opened again has nobody else who would.
    """
    for each in _workspaces(folder):
        sweep_expired(each, max_age_s=max_age_s, now=now)
        if each != folder:
            with contextlib.suppress(OSError):  # not empty
                each.rmdir()


def _workspaces(folder: Path) -> list[Path]:
    """A workspace's folder and those of all others beside it. A link is none: nothing may be deleted behind it."""
    try:
        beside = [path for path in folder.parent.iterdir() if config.is_workspace_hash(path.name) and path != folder]
        return [folder, *(path for path in beside if not path.is_symlink())]
    except OSError:
        return [folder]


def _files(folder: Path, pattern: re.Pattern[str]) -> Iterator[_File]:
    """Our files in a folder; a folder that is missing or not readable has none."""
    try:
        paths = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    except OSError:
        return
    for path in paths:
        try:
            status = path.lstat()
        except OSError:
            continue  # deleted meanwhile
        yield _File(path, status.st_size, status.st_mtime)


def _remove(path: Path) -> None:
    """Delete a file that may be gone already; what cannot be deleted is logged and left to the next sweep."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a snapshot could not be deleted: %s", error)
