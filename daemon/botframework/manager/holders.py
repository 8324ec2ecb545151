"""Which workers of this user hold memory, and asking one of them to give it back.

Every worker has a flight recorder in the runtime folder; whoever connects to its socket as an observer is told what it
holds, and keeps nothing alive by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botframework import __version__
from botframework.errors import WireError
from botframework.manager.launch import watch_stranger
from botframework.process import is_alive, mapped_bytes, rss_bytes
from botframework.wire import link
from botframework.wire.flight import read_flight
from botframework.wire.messages import PROTOCOL_VERSION, Drain, DrainAnswer, GetStats, Hello, Stats, ToDaemon, Welcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from botframework.wire.messages import Message

ANSWER_DEADLINE_S = 1.0
"""A worker answers from a thread of its own within milliseconds, whatever it computes."""
LEAVE_DEADLINE_S = 3.0
"""From the question to the worker's end: its clients let go at once or not at all, and the system needs a moment to
free gigabytes."""
END_PATIENCE_S = 0.5
"""Between the end of a worker's connections and its own."""

_RECORDER = re.compile(r"[0-9a-f]{16}\.flight")

Answer = TypeVar("Answer", Welcome, Stats, DrainAnswer)


@dataclass(frozen=True, slots=True)
class Holder:
    """One worker and what it holds."""

    key: str
    pid: int
    model: str
    """The file's path; empty for a worker of another version, which cannot be asked."""
    held_bytes: int
    """Resident memory; a mapped file counts as far as it has been touched."""
    mapped_bytes: int
    """Part of it that is its file, which the system counts as available."""
    coming_bytes: int
    """That a loading worker will still take, as far as its file tells."""
    clients: int
    idle_s: float | None
    """Since the last request of any client; None for one that cannot be asked or is loading."""


async def survey(folder: Path) -> tuple[Holder, ...]:
    """Ask every live worker of the runtime folder what it holds; one that does not answer is known by its pid alone."""
    recorders = await asyncio.to_thread(_recorders, folder)
    return tuple(await asyncio.gather(*(_ask(folder, key, pid) for key, pid in recorders)))


def _recorders(folder: Path) -> list[tuple[str, int]]:
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            record = read_flight(path) if _RECORDER.fullmatch(path.name) else None
            if record is not None and record.phase != "stopping" and is_alive(record.pid):
                found.append((path.stem, record.pid))
    return found


async def _ask(folder: Path, key: str, pid: int) -> Holder:
    try:
        async with _observing(folder / f"{key}.sock") as observer:
            stats = await observer.ask(GetStats(id=1), Stats)
    except (OSError, TimeoutError, WireError):
        return Holder(key, pid, "", rss_bytes(pid), mapped_bytes(pid), 0, 0, None)
    coming = max(0, stats.file_bytes - stats.rss_bytes) if stats.is_loading else 0
    idle_s = None if stats.is_loading else stats.idle_s
    return Holder(key, pid, stats.model_path, stats.rss_bytes, mapped_bytes(pid), coming, stats.clients, idle_s)


async def drain(folder: Path, holder: Holder, idle_s: float) -> bool:
    """Ask the clients of a worker to leave; whether it has ended.

    ``idle_s`` is how long nothing must have been asked of it: the worker refuses otherwise, and so does each client.
    """
    try:
        async with _observing(folder / f"{holder.key}.sock", LEAVE_DEADLINE_S) as observer:
            answer = await observer.ask(Drain(id=1, idle_s=idle_s), DrainAnswer)
            if answer.is_agreed:
                await observer.end()
                await _gone(holder.pid)
            return answer.is_agreed
    except TimeoutError:
        return False  # A client was used in this very moment, and stays.
    except (OSError, WireError):
        return not is_alive(holder.pid)


async def _gone(pid: int) -> None:
    """Wait for a process whose last connection has ended; what it held is the system's a moment before or after."""
    if is_alive(pid):
        ended = watch_stranger(pid)
        await asyncio.wait({ended}, timeout=END_PATIENCE_S)
        ended.cancel()


class _Observer:
    """A connection that only asks."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[ToDaemon | None] = asyncio.Queue()
        self.connection: link.Connection[ToDaemon] = link.Connection(
            link.FrameDecoder(ToDaemon), self._answers.put_nowait, lambda _: self._answers.put_nowait(None)
        )

    async def ask(self, question: Message, kind: type[Answer]) -> Answer:
        """Send a message and wait for its answer; whatever else comes is not for us."""
        self.connection.send(question)
        while True:
            answer: Any = await self._answers.get()
            if answer is None:
                raise WireError("the worker has ended the connection")
            if isinstance(answer, kind):
                return answer

    async def end(self) -> None:
        """Wait for the end of the connection, which is the worker's."""
        while await self._answers.get() is not None:
            pass


@contextlib.asynccontextmanager
async def _observing(socket: Path, deadline_s: float = ANSWER_DEADLINE_S) -> AsyncIterator[_Observer]:
    """Connect as an observer; everything has to be done by the deadline."""
    observer = _Observer()
    try:
        async with asyncio.timeout(deadline_s):
            await link.connect(socket, lambda: observer.connection)
            name = f"observer {os.getpid()}"
            await observer.ask(Hello(protocol=PROTOCOL_VERSION, version=__version__, name=name, observes=True), Welcome)
            yield observer
    finally:
        observer.connection.abort()
