"""Which connection fetches what, and what has come: the state that the threads of a download share."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from botframework.models.store.journal import BLOCK_BYTES

if TYPE_CHECKING:
    from botframework.models.store.journal import Journal

REQUEST_BLOCKS = 32
"""Asked for at once: large enough that asking costs nothing, small enough that the connections stay near each other and
what they write is still in memory when it is hashed."""


class Blocks:
    """The blocks of one part between the threads that fetch them and the one that hashes them in order."""

    def __init__(self, journal: Journal, etag: str | None = None) -> None:
        self.journal = journal
        self.etag = etag
        """The tag that every answer must have; None where a digest tells versions apart."""
        self.failure: BaseException | None = None
        self.last_failure: BaseException | None = None
        """Of one attempt, which may be followed by a better one."""
        self.is_over = False
        self.has_ranges: bool | None = None
        """Whether the server gives parts of a file; None until the first answer, which is waited for."""
        self.location: str | None = None
        """Where the source's address redirects to, once that is known."""
        self._change = threading.Condition()
        self._missing = {block for block in range(journal.n_blocks) if journal.checksum(block) is None}
        self._in_hand: set[int] = set()
        self._received = journal.bytes_present()
        self._fetchers = 0
        self.resumed = frozenset(range(journal.n_blocks)) - self._missing
        """Blocks that an earlier download left, and nobody has looked at yet."""

    @property
    def received(self) -> int:
        """Bytes that are there or in hand."""
        return self._received

    @property
    def is_complete(self) -> bool:
        """Whether no block is missing."""
        return not self._missing

    def join(self) -> None:
        """One more thread fetches."""
        with self._change:
            self._fetchers += 1

    def leave(self, failure: BaseException | None) -> None:
        """A thread gives up. Where others go on that is not the end: a server may allow fewer connections."""
        with self._change:
            self._fetchers -= 1
            if failure is not None and (self._fetchers == 0 or self.has_ranges is not True):
                self.failure = self.failure or failure
            self._change.notify_all()

    def take(self) -> range | None:
        """The next blocks to fetch, lowest first; waits while others fetch the rest. None when all is over."""
        with self._change:
            while not self.is_over and self.failure is None:
                if found := self._next():
                    self._in_hand.update(found)
                    return found
                self._change.wait()
            return None

    def _next(self) -> range | None:
        if self._in_hand and self.has_ranges is not True:
            return None
        free = self._missing - self._in_hand
        if not free:
            return None
        if self.has_ranges is False:
            return range(self.journal.n_blocks)
        start = min(free)
        stop = start + 1
        while stop in free and stop - start < REQUEST_BLOCKS:
            stop += 1
        return range(start, stop)

    def put_back(self, blocks: range) -> None:
        """A thread is done with what it took, whatever has come of it."""
        with self._change:
            self._in_hand.difference_update(blocks)
            self._change.notify_all()

    def learn(self, *, has_ranges: bool, location: str | None) -> None:
        """What an answer told about the server."""
        with self._change:
            self.has_ranges, self.location = has_ranges, location
            self._change.notify_all()

    def forget_location(self, location: str) -> None:
        """An address does not serve any more; another thread may have a newer one already."""
        with self._change:
            if self.location == location:
                self.location = None

    def count(self, n: int) -> None:
        """``n`` more bytes are in hand, or with a negative number were in vain."""
        with self._change:
            self._received += n

    def is_missing(self, block: int) -> bool:
        """Whether a block has to be fetched."""
        return block in self._missing

    def put(self, block: int, checksum: int) -> None:
        """A block is on the disk."""
        self.journal.mark(block, checksum)
        with self._change:
            self._missing.discard(block)
            self._change.notify_all()

    def reject(self, block: int) -> None:
        """A block that was there is not what was written."""
        self.journal.forget(block)
        with self._change:
            self.resumed -= {block}
            self._missing.add(block)
            self._received -= self.journal.length(block)
            self._change.notify_all()

    def fail(self, failure: BaseException) -> None:
        """The download cannot succeed."""
        with self._change:
            self.failure = self.failure or failure
            self._change.notify_all()

    def end(self) -> None:
        """Nothing is wanted any more."""
        with self._change:
            self.is_over = True
            self._change.notify_all()

    def wait_for(self, block: int, timeout: float) -> bool:
        """Whether a block has come within ``timeout`` seconds, or anything has failed."""
        with self._change:
            return self._change.wait_for(lambda: self.failure is not None or block not in self._missing, timeout)

    def wait_until_idle(self, timeout: float) -> bool:
        """Whether every request has ended within ``timeout`` seconds, or anything has failed."""
        with self._change:
            return self._change.wait_for(lambda: self.failure is not None or not self._in_hand, timeout)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the download."""
        deadline = time.monotonic() + seconds
        with self._change:
            while not self.is_over and self.failure is None and (left := deadline - time.monotonic()) > 0:
                self._change.wait(left)


def first_byte(block: int) -> int:
    """Where a block begins."""
    return block * BLOCK_BYTES
