"""The thread that writes snapshots while the scheduling thread computes.

Hashing and writing take a core that llama.cpp's threads want, so the writer stops between two pieces while a request
is being answered (`SnapshotWriter.hold`), but not for ever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.worker.parked import ParkedState
    from botframework.worker.snapshots import SnapshotFolder

log = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 256 * 1024 * 1024
"""States that wait to be written; they are held in memory only for that. The oldest are given up beyond it."""
HOLD_LIMIT_S = 2.0
"""Between two pieces; a worker that never rests writes half a megabyte per second all the same."""


@dataclass(slots=True, eq=False)
class _Write:
    """One snapshot on its way to the disk."""

    folder: SnapshotFolder
    key: bytes
    parked: ParkedState
    is_wanted: bool = True


class SnapshotWriter:
    """Writes one snapshot after the other. Every method may be called by any thread and returns at once."""

    def __init__(self, *, max_queued_bytes: int = MAX_QUEUED_BYTES, hold_limit_s: float = HOLD_LIMIT_S) -> None:
        """Start no thread yet: it comes with the first thing to do."""
        self._max_queued_bytes = max_queued_bytes
        self._hold_limit_s = hold_limit_s
        self._queue: OrderedDict[tuple[SnapshotFolder, bytes], _Write] = OrderedDict()
        """What waits, oldest first."""
        self._current: _Write | None = None
        self._errands: deque[Callable[[], object]] = deque()
        self._queued_bytes = 0
        self._is_at_work = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._may_run = threading.Event()
        self._may_run.set()

    @property
    def queued_bytes(self) -> int:
        """States that wait, without the one that is being written."""
        return self._queued_bytes

    def write(self, folder: SnapshotFolder, key: bytes, parked: ParkedState) -> bool:
        """Have a state written; one that waits under the same key is given up for it.

        False: it is larger than all that may wait.
        """
        if parked.size > self._max_queued_bytes:
            return False
        with self._changed:
            self._drop(folder, key)
            while self._queued_bytes + parked.size > self._max_queued_bytes:
                _, old = self._queue.popitem(last=False)
                self._queued_bytes -= old.parked.size
                log.info("a snapshot of %d bytes was given up: too many wait", old.parked.size)
            self._queue[folder, key] = _Write(folder, key, parked)
            self._queued_bytes += parked.size
            self._wake()
        return True

    def waiting(self, folder: SnapshotFolder, key: bytes) -> ParkedState | None:
        """Return a state that is not on disk yet, or is being written just now."""
        with self._changed:
            write = self._queue.get((folder, key)) or self._current
        return write.parked if write is not None and (write.folder, write.key) == (folder, key) else None

    def run(self, errand: Callable[[], object]) -> None:
        """Have something else done before the next snapshot, such as a folder swept."""
        with self._changed:
            self._errands.append(errand)
            self._wake()

    def delete(self, folder: SnapshotFolder, key: bytes) -> None:
        """Delete a snapshot: the file, the one that is being written and the one that waits. Done on return."""
        with self._changed:
            self._drop(folder, key)
            current = self._current
            if current is not None and (current.folder, current.key) == (folder, key):
                current.is_wanted = False
        folder.delete(key)

    def give_up(self, folder: SnapshotFolder) -> None:
        """Write nothing more of what was to go into a folder; its files stay."""
        self._abandon(folder)

    def clear(self, folder: SnapshotFolder) -> None:
        """Delete all snapshots of a folder, as `delete`. Done on return."""
        # The lock of the folder that writes keeps a file from taking its name behind our back.
        for each in {folder, *self._abandon(folder)}:
            each.clear()

    def hold(self, *, held: bool) -> None:
        """Stop between two pieces, or go on; each time for a limited time only."""
        if held:
            self._may_run.clear()
        else:
            self._may_run.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is written, in spite of `hold`. False: it took longer."""
        deadline = time.monotonic() + timeout_s
        self._may_run.set()
        with self._changed:
            while self._queue or self._errands or self._is_at_work:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return False
        return True

    def _abandon(self, folder: SnapshotFolder) -> list[SnapshotFolder]:
        """Drop all writes to a folder's path; the one under way belongs to the folder that is returned."""
        with self._changed:
            for other, key in [entry for entry in self._queue if entry[0].path == folder.path]:
                self._drop(other, key)
            current = self._current
            if current is None or current.folder.path != folder.path:
                return []
            current.is_wanted = False
            return [current.folder]

    def _drop(self, folder: SnapshotFolder, key: bytes) -> None:
        old = self._queue.pop((folder, key), None)
        if old is not None:
            self._queued_bytes -= old.parked.size

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="snapshots", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_at_work, self._current = False, None
                self._changed.notify_all()
                while not self._errands and not self._queue:
                    self._changed.wait()
                self._is_at_work = True
                task = self._errands.popleft() if self._errands else self._next_write()
            try:
                task()
            except Exception:
                # Snapshots are worth less than the thread that writes them.
                log.exception("a snapshot could not be written")
            del task  # It holds a state, perhaps the last one for hours.

    def _next_write(self) -> Callable[[], object]:
        _, write = self._queue.popitem(last=False)
        self._queued_bytes -= write.parked.size
        self._current = write
        return lambda: write.folder.write(
            write.key, write.parked, before_piece=self._yield, is_wanted=lambda: write.is_wanted
        )

    def _yield(self) -> None:
        self._may_run.wait(self._hold_limit_s)
