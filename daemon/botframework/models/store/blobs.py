"""Brings one file into the store: one process downloads, the others watch and share what comes of it.

Whoever holds the lock of the download carries it out. The system gives the lock up when its holder ends, however that
was, and the next in the queue goes on with the part that is there.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from botframework.errors import BotframeworkError, ModelRefused, RequestCancelled
from botframework.models import gguf
from botframework.models.source import printable
from botframework.models.store import progress
from botframework.models.store.journal import discard
from botframework.models.store.layout import IS_WINDOWS, LOCK_PATIENCE_S, key_of
from botframework.models.store.room import disk_errors
from botframework.models.store.value import DownloadProgress
from botframework.process.durable import flush_file, flush_folder
from botframework.process.lock import FileLock

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from botframework.models.store.layout import Layout
    from botframework.models.store.remote import RemoteFile

POLL_S = 0.1
"""Between two looks of a waiter: a tenth of what a killed holder's lock may take to come free."""
BLOB_MODE = 0o444
"""Nobody writes into a blob again: a file that shrinks under a worker's map would end it with SIGBUS."""


class Download(Protocol):
    """Fetches a file into a part; `download.download` is one, and `copying.copier` makes one."""

    def __call__(
        self, source: RemoteFile, part: Path, *, on_progress: Callable[[int, int], None], stop: threading.Event
    ) -> str:
        """Have the whole file in the part, compared with its digest if there is one; return its SHA-256."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """A pull's means, the same for all its files."""

    layout: Layout
    name: str
    """Of the model."""
    total_bytes: int
    """Of all its files."""
    on_progress: Callable[[DownloadProgress], None]
    stop: threading.Event
    download: Download


def fetch(fetching: Fetching, source: RemoteFile, before_bytes: int, *, is_first: bool) -> str:
    """Have a file in the store, whoever downloads it; return its SHA-256.

    Parameters
    ----------
    before_bytes
        What earlier files of the model have, for the figures of the whole.
    is_first
        Whether it is the file that describes the model, which then must be one.

    Raises
    ------
    DownloadFailed, ModelGated, RemoteNotFound, PullRefused
        From the download, here or in the process that carried it out.
    DigestMismatch
        It is not what was published. It is deleted.
    ModelRefused
        It is no GGUF, or not a whole one. It is deleted.
    DiskFull, StoreError
        The disk does not take it.
    RequestCancelled
        ``stop`` was set. What has arrived stays.
    """
    layout, key = fetching.layout, key_of(source.sha256, source.url)
    lock = FileLock(layout.part_lock(key))
    since, has_waited = time.time(), False
    with disk_errors("downloaded", layout.blobs):
        while True:
            if fetching.stop.is_set():
                raise RequestCancelled("the download was cancelled")
            if source.sha256 is not None and is_whole(layout, source.sha256, source.size):
                return source.sha256
            if lock.try_acquire():
                break
            has_waited = True
            sheet = progress.read(layout.progress(key))
            if sheet is not None and sheet.ended is None:
                fetching.on_progress(sheet.progress)
            fetching.stop.wait(POLL_S)
        try:
            if source.sha256 is not None and is_whole(layout, source.sha256, source.size):
                return source.sha256
            known = progress.outcome_since(layout.progress(key), since) if has_waited else None
            if known is not None and is_whole(layout, known, source.size):
                return known
            return _carry_out(fetching, source, key, before_bytes, is_first=is_first)
        finally:
            lock.release()


def _carry_out(fetching: Fetching, source: RemoteFile, key: str, before_bytes: int, *, is_first: bool) -> str:
    """Download, verify and publish, with the lock of the download held."""
    layout, part = fetching.layout, fetching.layout.part(key)
    left = progress.read(layout.progress(key))
    at_start = DownloadProgress(
        name=fetching.name,
        # A killed process has left its figure; what is really there is told in a moment.
        done_bytes=left.progress.done_bytes if left is not None and left.ended is None else before_bytes,
        total_bytes=fetching.total_bytes,
        started=time.time(),
        pid=os.getpid(),
    )
    board = progress.Board(layout.progress(key), at_start, fetching.on_progress)

    def tell(done: int, _: int) -> None:
        board.tell(before_bytes + done)

    try:
        with disk_errors("downloaded", layout.blobs):
            digest = fetching.download(source, part, on_progress=tell, stop=fetching.stop)
            try:
                require_model(part, source, is_first=is_first)
            except ModelRefused:
                discard(part)
                raise
            publish(layout, part, digest)
            discard(part)  # what is left of it, and its journal
    except BotframeworkError as error:
        board.fail(error)
        raise
    board.succeed(digest)
    return digest


def require_model(path: Path, source: RemoteFile, *, is_first: bool) -> None:
    """Refuse what is no model.

    Raises
    ------
    ModelRefused
        With what it seems to be.
    """
    try:
        if is_first:
            gguf.read_header(path)
        else:
            gguf.read_part(path)
    except ModelRefused as error:
        # The part's own name would tell nobody anything.
        message = error.message.replace(printable(path), source.filename)
        raise ModelRefused(f"{message}. It was not kept", **{**error.data, "path": source.filename}) from error


def publish(layout: Layout, part: Path, digest: str) -> None:
    """Give verified content its name, so that it is there whole or not at all. Raises `OSError`.

    What is there already stays: other names may lead to it.
    """
    flush_file(part)
    blob = layout.blob(digest)
    with FileLock(layout.lock, LOCK_PATIENCE_S):
        if is_whole(layout, digest, part.stat().st_size):
            return
        part.replace(blob)
    if not IS_WINDOWS:  # a file that is read only cannot be deleted there
        blob.chmod(BLOB_MODE)
    flush_folder(layout.blobs)


def is_whole(layout: Layout, digest: str, size: int) -> bool:
    """Whether this content is in the store. It was verified before it got its name."""
    try:
        return layout.blob(digest).lstat().st_size == size
    except OSError:
        return False
