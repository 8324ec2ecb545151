"""One connection of a download: asks for blocks, writes them, and tries again what can be tried again."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError, DownloadFailed
from botframework.models.store import refusals
from botframework.models.store.blocks import first_byte
from botframework.models.store.guard import origin
from botframework.models.store.journal import OPEN, go_on
from botframework.models.store.remote import shown_url
from botframework.models.store.web import in_our_words, refuse_packed
from botframework.process.durable import write_all

if TYPE_CHECKING:
    import httpx

    from botframework.models.store.blocks import Blocks
    from botframework.models.store.remote import RemoteFile
    from botframework.models.store.web import Web

MAX_FIRST_ATTEMPTS = 3
"""While nothing has been answered yet: who has just asked for a model wants to hear of a wrong proxy soon."""
MAX_RETRY_AFTER_S = 10.0
"""A busy server may ask for so much more time before the next attempt."""
EXPIRED = frozenset({400, 401, 403, 404, 410})
"""What storage services say of a signed address that has run out."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


class Fetcher(threading.Thread):
    """A thread with one connection. What ends it is told to `Blocks`."""

    def __init__(self, source: RemoteFile, web: Web, blocks: Blocks) -> None:
        super().__init__(name="botframework-fetch", daemon=True)
        self._source = source
        self._web = web
        self._blocks = blocks
        self._descriptor = -1
        blocks.join()

    def run(self) -> None:
        """Fetch until nothing is missing."""
        failure: BaseException | None = None
        try:
            self._descriptor = os.open(self._blocks.journal.part, OPEN)
            try:
                failure = self._fetch_all()
            finally:
                os.close(self._descriptor)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits for the whole
            self._blocks.fail(error)
        self._blocks.leave(failure)

    def _fetch_all(self) -> DownloadFailed | None:
        """Until all is there, or until this connection has failed too often in a row; returns its last failure."""
        blocks, patience = self._blocks, self._web.patience
        attempts = 0
        while (taken := blocks.take()) is not None:
            before = self._n_missing(taken)
            failure: DownloadFailed | None = None
            try:
                self._fetch(taken)
            except DownloadFailed as error:
                failure = error
            finally:
                blocks.put_back(taken)
            if failure is None or self._n_missing(taken) < before:
                attempts = 0
            if failure is not None:
                attempts += 1
                blocks.last_failure = failure
                most = patience.attempts if blocks.has_ranges is not None else MAX_FIRST_ATTEMPTS
                if attempts >= most:
                    return failure
                asked = min(float(failure.data.pop("retryAfterMs", 0)) / 1000, MAX_RETRY_AFTER_S)
                blocks.pause(max(asked, patience.pause_s * 2 ** (attempts - 1)))
        return None

    def _n_missing(self, blocks: range) -> int:
        return sum(self._blocks.is_missing(block) for block in blocks)

    def _fetch(self, taken: range) -> None:
        """One request.

        Raises
        ------
        DownloadFailed
            Another attempt may do better.
        BotframeworkError
            It may not; this is also told to `Blocks.fail`.
        """
        blocks, url = self._blocks, self._blocks.location or self._source.url
        first, last = first_byte(taken.start), min(first_byte(taken.stop), self._source.size) - 1
        headers = {"Range": f"bytes={first}-{last}"}
        if blocks.etag is not None:
            headers["If-Range"] = blocks.etag
        with self._web.open(url, headers) as response, in_our_words(url):
            if not response.is_success:
                self._take_refusal(response, url)
            try:
                refuse_packed(response, url)
            except DownloadFailed as error:
                blocks.fail(error)
                raise
            if response.status_code == 206:
                self._check_range(response, first, last)
            else:
                taken = self._check_whole(response)
            where = str(response.url)
            blocks.learn(has_ranges=response.status_code == 206, location=where if where != self._source.url else None)
            self._receive(response, taken)

    def _take_refusal(self, response: httpx.Response, url: str) -> None:
        """Raise what a status means."""
        blocks, status = self._blocks, response.status_code
        error: BotframeworkError
        where = str(response.url)
        if where != self._source.url and "x-error-code" not in response.headers and status in EXPIRED:
            # A signed address has run out, perhaps; the source's own gives a new one.
            blocks.forget_location(where)
            raise DownloadFailed(f"{shown_url(where)} answers {status}", url=shown_url(where))
        if status >= 500 or status in {408, 429}:
            seconds = response.headers.get("retry-after", "")
            wait_ms = 1000 * int(seconds) if re.fullmatch(r"\d{1,5}", seconds) else 0
            raise DownloadFailed(f"{shown_url(url)} answers {status}", url=shown_url(url), retryAfterMs=wait_ms)
        if status == 416:
            error = self._other_size(url, "has no such bytes")
        elif origin(self._source.url) == self._web.hub:
            name = "/".join(self._source.url.removeprefix(f"{self._web.endpoint}/").split("/")[:2])
            error = refusals.by_hub(response, name, self._web.token)
        else:
            error = refusals.by_server(response, url)
        blocks.fail(error)
        raise error

    def _check_range(self, response: httpx.Response, first: int, last: int) -> None:
        """Refuse an answer about other bytes than those that were asked for."""
        url = str(response.url)
        said = response.headers.get("content-range", "")
        found = _CONTENT_RANGE.fullmatch(said)
        if found is not None and int(found[3]) != self._source.size:
            error = self._other_size(url, f"has {found[3]} bytes")
        elif found is None or int(found[1]) != first or not first <= int(found[2]) <= last:
            error = DownloadFailed(
                f"{shown_url(url)} answers with the bytes {said[:80]!a}, not {first}-{last}", url=shown_url(url)
            )
        elif self._blocks.etag not in {None, response.headers.get("etag")}:
            error = _changed(url)
        else:
            return
        self._blocks.fail(error)
        raise error

    def _check_whole(self, response: httpx.Response) -> range:
        """The server sends the whole file: what to take of it."""
        url = str(response.url)
        length = response.headers.get("content-length")
        if length is not None and length != str(self._source.size):
            error = self._other_size(url, f"sends {length[:20]!a} bytes")
        elif self._blocks.has_ranges or self._blocks.etag not in {None, response.headers.get("etag")}:
            error = _changed(url)
        else:
            return range(self._blocks.journal.n_blocks)
        self._blocks.fail(error)
        raise error

    def _other_size(self, url: str, said: str) -> DownloadFailed:
        return DownloadFailed(
            f"{shown_url(url)} {said}, but {self._source.size} bytes were announced; pull it again", url=shown_url(url)
        )

    def _receive(self, response: httpx.Response, taken: range) -> None:
        """Write the body, block by block; a block that is there already is passed over."""
        blocks, journal = self._blocks, self._blocks.journal
        block, checksum, left = taken.start, 0, journal.length(taken.start)
        in_vain = 0
        is_wanted = blocks.is_missing(block)
        os.lseek(self._descriptor, first_byte(block), os.SEEK_SET)
        try:
            for piece in response.iter_raw():
                view = memoryview(piece)
                while view and block < taken.stop:
                    part, view = view[:left], view[left:]
                    if is_wanted:
                        write_all(self._descriptor, part)
                        checksum = go_on(checksum, part, journal.length(block) - left)
                        in_vain += len(part)
                        blocks.count(len(part))
                    left -= len(part)
                    if left:
                        continue
                    if is_wanted:
                        in_vain = 0
                        blocks.put(block, checksum)
                    block, checksum = block + 1, 0
                    if block < taken.stop:
                        left, is_wanted = journal.length(block), blocks.is_missing(block)
                        os.lseek(self._descriptor, first_byte(block), os.SEEK_SET)
                if view:
                    error = self._other_size(str(response.url), "sends more")
                    blocks.fail(error)
                    raise error
                if blocks.is_over:
                    return
        finally:
            blocks.count(-in_vain)
        if block < taken.stop:
            url = shown_url(str(response.url))
            raise DownloadFailed(f"{url} ended early, at byte {first_byte(block)} of {self._source.size}", url=url)


def _changed(url: str) -> DownloadFailed:
    return DownloadFailed(f"{shown_url(url)}: the file was changed meanwhile; pull it again", url=shown_url(url))
