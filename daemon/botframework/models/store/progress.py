"""How far a download is, for every process that looks: a small file beside it, replaced as it goes on.

Only the holder of the download's lock writes it. At the end it holds the outcome for those who have waited: an error
is not made four times because four windows wanted one file.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from botframework.errors import BotframeworkError, RequestCancelled, from_wire
from botframework.models.store.names import is_digest
from botframework.models.store.value import DownloadProgress  # noqa: TC001 - msgspec reads the annotation
from botframework.process.durable import replace_whole
from botframework.process.lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botframework.models.store.layout import Layout

WRITE_EVERY_S = 0.2
"""Five pictures a second are a moving bar."""
MAX_PROGRESS_BYTES = 64 * 1024
"""Of the file that tells how far a download is; a larger one is not ours."""


class Failure(msgspec.Struct, frozen=True, rename="camel"):
    """An error that ended a download."""

    kind: str
    message: str
    data: dict[str, Any] = {}


class Sheet(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file's content."""

    progress: DownloadProgress
    ended: float | None = None
    """Seconds since the epoch; None while it goes on, or if its process was killed."""
    digest: str | None = None
    """What it was, at a good end."""
    failure: Failure | None = None


_decoder = msgspec.json.Decoder(Sheet)


class Board:
    """Where the holder of a download's lock says how far it is. A disk that takes nothing more is no reason to stop."""

    def __init__(self, path: Path, progress: DownloadProgress, on_progress: Callable[[DownloadProgress], None]) -> None:
        self._path = path
        self._progress = progress
        self._on_progress = on_progress
        self._written = 0.0
        self._write(Sheet(progress=progress))

    def tell(self, done_bytes: int) -> None:
        """Say how many bytes of the whole model are there; most calls do nothing."""
        now = time.monotonic()
        whole = done_bytes >= self._progress.total_bytes
        if now - self._written < WRITE_EVERY_S and not whole:
            return
        self._written = now
        self._progress = msgspec.structs.replace(self._progress, done_bytes=done_bytes)
        self._write(Sheet(progress=self._progress))
        self._on_progress(self._progress)

    def succeed(self, digest: str) -> None:
        """Say what it was."""
        self._write(Sheet(progress=self._progress, ended=time.time(), digest=digest))

    def fail(self, error: BotframeworkError) -> None:
        """Say why it ended. A cancelled one leaves no word: who still waits goes on with it."""
        failure = None
        if not isinstance(error, RequestCancelled):
            failure = Failure(type(error).__name__, error.message, error.data)
        self._write(Sheet(progress=self._progress, ended=time.time(), failure=failure))

    def _write(self, sheet: Sheet) -> None:
        with contextlib.suppress(OSError):
            replace_whole(self._path, msgspec.json.encode(sheet), durable=False)


def read(path: Path) -> Sheet | None:
    """What the file says; None if it says nothing."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PROGRESS_BYTES + 1)
        return None if len(raw) > MAX_PROGRESS_BYTES else _decoder.decode(raw)
    except (OSError, ValueError, RecursionError):
        return None


def outcome_since(path: Path, since: float) -> str | None:
    """Return the digest of a download that ended well while we waited for it; None if there was none.

    Parameters
    ----------
    since
        When the waiting began, in seconds since the epoch.

    Raises
    ------
    BotframeworkError
        The error with which it ended.
    """
    sheet = read(path)
    if sheet is None or sheet.ended is None or sheet.ended < since:
        return None
    if sheet.failure is not None:
        raise from_wire(sheet.failure.kind, sheet.failure.message, sheet.failure.data)
    return sheet.digest if sheet.digest is not None and is_digest(sheet.digest) else None


def running(layout: Layout) -> tuple[DownloadProgress, ...]:
    """Return the downloads that some process is carrying out at this moment."""
    found: list[DownloadProgress] = []
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(layout.blobs)):  # noqa: PTH208 - names are all that is needed
            key, ending = os.path.splitext(entry)  # noqa: PTH122 - a name, not a path
            if ending != ".progress":
                continue
            sheet = read(layout.progress(key))
            if sheet is not None and sheet.ended is None and is_held(layout.part_lock(key)):
                found.append(sheet.progress)
    return tuple(found)


def is_held(path: Path) -> bool:
    """Whether some process holds a lock. Who looks holds it for a moment, and a waiter then tries once more."""
    if not path.exists():
        return False
    lock = FileLock(path)
    with contextlib.suppress(OSError):
        if lock.try_acquire():
            lock.release()
            return False
    return True
