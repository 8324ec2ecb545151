"""One file from its address to the disk: by several connections, from where an earlier attempt was, hashed on the way.

The connections write blocks wherever they belong (`fetching`); this thread reads them back in order, from memory in
truth, and hashes them. So the digest is known when the last block has come, and what an earlier attempt left behind is
hashed, and compared with its checksums, while the rest is still on its way.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING

from botframework.errors import DigestMismatch, DownloadFailed, RequestCancelled
from botframework.models.store.blocks import Blocks, first_byte
from botframework.models.store.credentials import find_token
from botframework.models.store.fetching import Fetcher
from botframework.models.store.guard import origin
from botframework.models.store.journal import BLOCK_BYTES, Journal, discard, go_on
from botframework.models.store.remote import shown_url
from botframework.models.store.room import allocated_bytes, disk_errors, require_room
from botframework.models.store.web import Web, endpoint

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

    from botframework.models.store.remote import RemoteFile
    from botframework.models.store.web import Patience

CONNECTIONS = 4
"""At most: storage services give one connection a part of the line; beyond four servers begin to refuse."""
FAST_BYTES_PER_S = 150e6
"""A line that gives so much to one connection needs no other: they would only take turns at the interpreter."""
GROW_S = 0.5
"""After so long on a slower line another connection is tried."""
STALL_BYTES = 16 * 1024
"""Fewer than this within `Patience.stall_s` count as nothing: so slow a line would take weeks."""
TICK_S = 0.1
"""How often the user's wish to stop is looked at, and progress told."""


def download(
    source: RemoteFile,
    part: Path,
    *,
    on_progress: Callable[[int, int], None],
    stop: threading.Event,
    patience: Patience | None = None,
    connections: int = CONNECTIONS,
) -> str:
    """Fetch a file into ``part`` and return its SHA-256 as 64 hexadecimal digits.

    The caller holds whatever lock makes it the only one to write ``part``, and makes the file durable and visible.
    What was fetched stays when the download fails or is stopped, and the next one goes on there: a process that was
    killed costs at most one block of each connection (`journal.BLOCK_BYTES`). After `DigestMismatch` nothing stays.

    Parameters
    ----------
    source
        What to fetch.
    part
        Where to write; its folder exists. The journal is written beside it.
    on_progress
        Called in this thread with the bytes that are there and those of the file, about ten times a second.
    stop
        Set by another thread, ends the download within some tenths of a second.
    patience
        How long is waited for what.
    connections
        At most; they are added one by one while the line is slow, and only where the server gives parts of files.

    Raises
    ------
    RequestCancelled
        ``stop`` was set.
    DownloadFailed
        The network or the server failed again and again, stalled, or sent another number of bytes than announced.
    DigestMismatch
        The bytes are not those that were published.
    DiskFull
        There is not enough room for the rest of the file and a tenth of it.
    ModelGated, RemoteNotFound, PullRefused
        The server does not give the file, or redirects to where we do not go.
    StoreError
        The disk failed.
    ConfigError
        The token or the proxy that is set cannot be used.
    """
    with disk_errors("downloaded", part.parent), contextlib.closing(Journal(part, source)) as journal:
        require_room(part.parent, max(0, source.size - allocated_bytes(part)), source.size)
        digest = _Download(source, journal, patience, connections).run(on_progress, stop)
    if source.sha256 is not None and digest != source.sha256:
        discard(part)
        raise DigestMismatch(
            f"{source.filename}: what came is not what was published (SHA-256 {digest}, expected {source.sha256}). It "
            "was deleted; try again, and if it happens again do not use this source",
            url=shown_url(source.url),
            expected=source.sha256,
            found=digest,
        )
    return digest


class _Download:
    """One run of the threads."""

    def __init__(self, source: RemoteFile, journal: Journal, patience: Patience | None, connections: int) -> None:
        self._source = source
        self._blocks = Blocks(journal, source.etag if source.sha256 is None else None)
        self._most = max(1, min(connections, journal.n_blocks))
        self._fetchers: list[Fetcher] = []
        place = origin(source.url)
        trusted = {place.place} if source.host_was_given_by_user else set()
        token = find_token() if place == origin(endpoint()) else None
        self._web = Web(frozenset(trusted), token, patience)
        self._told_at = float("-inf")
        self._news_at = self._grown_at = time.monotonic()
        self._news_bytes = self._grown_bytes = self._blocks.received

    def run(self, on_progress: Callable[[int, int], None], stop: threading.Event) -> str:
        """Fetch and hash; the digest."""
        blocks = self._blocks
        on_progress(blocks.received, self._source.size)
        with self._web:
            self._add_connection()
            try:
                digest = self._hash(on_progress, stop)
            finally:
                blocks.end()
                # Who waits for the network does not hear of the end otherwise.
                self._web.abort()
                for fetcher in self._fetchers:
                    fetcher.join()
        on_progress(self._source.size, self._source.size)
        return digest

    def _add_connection(self) -> None:
        fetcher = Fetcher(self._source, self._web, self._blocks)
        self._fetchers.append(fetcher)
        fetcher.start()

    def _grow(self, now: float) -> None:
        """Try one more connection where the present ones do not fill a fast line."""
        elapsed, received = now - self._grown_at, self._blocks.received
        if elapsed < GROW_S or len(self._fetchers) == self._most or not self._blocks.has_ranges:
            return
        if received - self._grown_bytes < FAST_BYTES_PER_S * elapsed and not self._blocks.is_complete:
            self._add_connection()
        self._grown_at, self._grown_bytes = now, received

    def _hash(self, on_progress: Callable[[int, int], None], stop: threading.Event) -> str:
        """Read every block as soon as it is there and hash it, in order."""
        blocks, journal = self._blocks, self._blocks.journal
        hasher = hashlib.sha256()
        buffer = memoryview(bytearray(BLOCK_BYTES))
        with journal.part.open("rb", buffering=0) as file:
            for block in range(journal.n_blocks):
                content = buffer[: journal.length(block)]
                is_good = False
                while not is_good:
                    while not blocks.wait_for(block, TICK_S) or blocks.failure is not None:
                        self._look_around(on_progress, stop)
                    file.seek(first_byte(block))
                    n = _read_into(file, content)
                    is_resumed = block in blocks.resumed
                    is_good = n == len(content) and not (is_resumed and go_on(0, content, 0) != journal.checksum(block))
                    if not is_good:
                        # Written by an earlier run, and lost with the power or damaged since.
                        blocks.reject(block)
                hasher.update(content)
                self._look_around(on_progress, stop)
        # A server that goes on after the last byte that it announced has lied about the size.
        while not blocks.wait_until_idle(TICK_S) or blocks.failure is not None:
            self._look_around(on_progress, stop)
        return hasher.hexdigest()

    def _look_around(self, on_progress: Callable[[int, int], None], stop: threading.Event) -> None:
        """Whether to go on; tells the progress when it is time."""
        blocks = self._blocks
        if stop.is_set():
            raise RequestCancelled(f"the download of {self._source.filename} was stopped; what has come is kept")
        if blocks.failure is not None:
            raise blocks.failure
        now = time.monotonic()
        self._grow(now)
        if now - self._told_at >= TICK_S:
            self._told_at = now
            on_progress(blocks.received, self._source.size)
        if blocks.is_complete or blocks.received - self._news_bytes >= STALL_BYTES:
            self._news_at, self._news_bytes = now, blocks.received
        elif now - self._news_at > self._web.patience.stall_s:
            shown, reason = shown_url(self._source.url), f" ({blocks.last_failure})" if blocks.last_failure else ""
            raise DownloadFailed(
                f"{shown} has stopped sending for {self._web.patience.stall_s:.0f} s{reason}; what has come is kept",
                url=shown,
            )


def _read_into(file: FileIO, content: memoryview) -> int:
    """Bytes that were read; fewer only at the end of the file."""
    done = 0
    while done < len(content):
        n = file.readinto(content[done:])
        if not n:
            break
        done += n
    return done
