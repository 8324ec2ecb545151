"""Where the workers of one key live: their files in the runtime folder, the start lock, the common memory."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botframework.errors import WorkerStartFailed
from botframework.manager.launch import default_command
from botframework.manager.ledger import BACKOFF_S, Ledger, read, write
from botframework.process import FileLock
from botframework.wire.flight import read_flight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from botframework.wire.flight import FlightRecord

LOCK_DEADLINE_S = 25.0
"""Whoever holds the start lock is starting a worker; the kernel takes the lock from the dead. Longer than
a start may take (`attach.START_DEADLINE_S`)."""
LOCK_POLL_S = 0.02
JITTER = 0.2
"""Part of a back-off that is random, so that the daemons of one crash do not come back in step."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the workers of one key live, and how they are started."""

    key: str
    folder: Path
    keep_alive_s: float = 0.0
    snapshot_dir: str = ""
    """Where this daemon's sessions are kept on disk; empty: nowhere."""
    snapshot_bytes: int = 0
    """Of that folder, at most."""
    command: tuple[str, ...] = field(default_factory=default_command)
    """Starts a worker; ``--key KEY --runtime DIR --fd N`` are appended. Tests put a worker of their own here."""
    clock: Callable[[], float] = time.time
    """Unix seconds: the ledger is shared between processes."""
    backoff_s: tuple[float, ...] = BACKOFF_S

    @property
    def socket(self) -> Path:
        """The worker's local socket."""
        return self.folder / f"{self.key}.sock"

    @property
    def flight(self) -> Path:
        """The worker's flight recorder."""
        return self.folder / f"{self.key}.flight"

    @property
    def ledger(self) -> Path:
        """The daemons' common memory."""
        return self.folder / f"{self.key}.json"

    def flight_of(self, pid: int) -> FlightRecord | None:
        """The recorder of this very worker, unless another one has taken the file over."""
        record = read_flight(self.flight)
        return record if record is not None and record.pid == pid else None

    @contextlib.asynccontextmanager
    async def start_lock(self, deadline_s: float = LOCK_DEADLINE_S) -> AsyncIterator[None]:
        """Hold the lock that covers starting a worker and writing the ledger.

        Raises
        ------
        WorkerStartFailed
            Another daemon held it for too long.
        """
        lock = FileLock(self.folder / f"{self.key}.lock")
        give_up_at = time.monotonic() + deadline_s
        try:
            # Polled, because a thread that blocks in flock could not be called back when the daemon stops.
            while not lock.try_acquire():
                if time.monotonic() > give_up_at:
                    raise WorkerStartFailed(f"another daemon has held the start lock for {deadline_s:.0f} s")
                await asyncio.sleep(LOCK_POLL_S)
        except OSError as error:
            raise WorkerStartFailed(f"the start lock cannot be taken: {error}") from error
        try:
            yield
        finally:
            lock.release()

    async def remember(self, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Change the common memory; what is remembered now is returned.

        Raises
        ------
        WorkerStartFailed
            The lock was not to be had, or the folder is full or gone.
        """
        async with self.start_lock():
            before = read(self.ledger)
            after = change(before)
            if after is not before:
                try:
                    write(self.ledger, after)
                except OSError as error:
                    raise WorkerStartFailed(f"the common memory cannot be written: {error}") from error
            return after

    def jittered(self, pause_s: float) -> float:
        """A back-off with its random part."""
        return pause_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, protects nothing
