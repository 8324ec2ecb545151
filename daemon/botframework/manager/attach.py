"""Find the live worker of a key, or start one under the start lock, and shake hands with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botframework import __version__
from botframework.errors import BotframeworkError, VersionMismatch, WireError, WorkerStartFailed, WorkerUnavailable
from botframework.manager import ledger, leftovers
from botframework.manager.launch import WorkerProcess, describe_exit, launch, watch_stranger
from botframework.manager.workplace import LOCK_POLL_S
from botframework.process import is_alive
from botframework.wire import link
from botframework.wire.messages import PROTOCOL_VERSION, Hello, ToDaemon, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.manager.workplace import Workplace
    from botframework.wire.flight import FlightRecord

HELLO_DEADLINE_S = 5.0
"""A live worker answers from a thread of its own within milliseconds, whatever it computes."""
START_DEADLINE_S = 20.0
"""From spawn to `Welcome`: Python's start and llama.cpp's libraries from a cold disk, never the model."""
LISTEN_DEADLINE_S = 2.0
"""From `Welcome` to the socket file, which a worker makes first."""
_WORDS_CHARS = 500
_LAST_WORDS_S = 1.0

_log = logging.getLogger(__name__)


def greeting(place: Workplace) -> Hello:
    """What a worker has to know of us. Said again, it takes the place of what was said before."""
    return Hello(
        protocol=PROTOCOL_VERSION,
        version=__version__,
        keep_alive_s=place.keep_alive_s,
        name=f"daemon {os.getpid()}",
        snapshot_dir=place.snapshot_dir,
        snapshot_bytes=place.snapshot_bytes,
    )


class WorkerLink:
    """One connection to a worker, from its handshake to its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[Welcome] = loop.create_future()
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        """Set at the end of the connection, with the reason if there is one."""
        self.on_message: Callable[[ToDaemon], None] | None = None
        self.on_lost: Callable[[Exception | None], None] | None = None
        self.connection: link.Connection[ToDaemon] = link.Connection(link.FrameDecoder(ToDaemon), self._take, self._end)

    def make(self) -> link.Connection[ToDaemon]:
        """For asyncio, which wants a factory."""
        return self.connection

    def _take(self, message: ToDaemon) -> None:
        if self.on_message is not None:
            self.on_message(message)
        elif isinstance(message, Welcome) and not self.welcome.done():
            self.welcome.set_result(message)
        else:
            raise WireError(f"{type(message).__name__} instead of a Welcome")

    def _end(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(error)
        if self.on_lost is not None:
            self.on_lost(error)

    async def shake_hands(self, place: Workplace, deadline_s: float) -> Welcome | None:
        """Say hello and wait for the welcome; None if the connection ended instead.

        Raises
        ------
        VersionMismatch
            The worker belongs to another version of this package.
        TimeoutError
            It said nothing.
        WireError
            It said something else.
        """
        self.connection.send(greeting(place))
        await _first_of(deadline_s, self.welcome, self.lost)
        if self.welcome.done():
            welcome = self.welcome.result()
            if (welcome.protocol, welcome.version) != (PROTOCOL_VERSION, __version__):
                raise VersionMismatch(
                    f"the worker speaks protocol {welcome.protocol} of version {welcome.version}, "
                    f"this daemon protocol {PROTOCOL_VERSION} of version {__version__}"
                )
            return welcome
        if not self.lost.done():
            raise TimeoutError
        error = self.lost.result()
        if isinstance(error, WireError):
            raise error
        return None


async def _first_of(deadline_s: float | None, *futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)


@dataclass(frozen=True, slots=True)
class Attached:
    """A worker that has welcomed us."""

    link: WorkerLink
    pid: int
    since: float
    """Unix seconds."""
    process: WorkerProcess | None
    """Set if this daemon started it."""
    ended: asyncio.Future[int]
    """Set when the process has ended, where that can be told."""
    memory: ledger.Ledger

    async def has_ended(self, patience_s: float) -> bool:
        """Whether the process is gone; the end of its connection is seen a moment before its own."""
        await asyncio.wait({self.ended}, timeout=patience_s)
        return self.ended.done() or not is_alive(self.pid)

    def forget(self) -> None:
        """Let go of the worker. If it was its last client, it ends."""
        self.link.connection.abort()
        if self.process is None:
            self.ended.cancel()


async def attach(place: Workplace) -> Attached:
    """Connect to the worker of this key; if there is none, start it.

    Raises
    ------
    WorkerUnavailable
        Workers of this key have died too often.
    WorkerStartFailed
        This start failed; another attempt may succeed.
    VersionMismatch
        The worker is not ours to talk to.
    """
    while True:
        found: Attached | float | None = await _connect(place)
        if found is None:
            try:
                found = await _start_or_wait(place)
            except OSError as error:
                raise WorkerStartFailed(f"the worker cannot be started: {error}") from error
        if isinstance(found, Attached):
            return found
        await asyncio.sleep(place.jittered(found))


async def _connect(place: Workplace) -> Attached | None:
    """Shake hands with the worker that listens there, if one does."""
    worker = WorkerLink()
    since = place.clock()
    try:
        async with asyncio.timeout(HELLO_DEADLINE_S):
            await link.connect(place.socket, worker.make)
        welcome = await worker.shake_hands(place, HELLO_DEADLINE_S)
    except (FileNotFoundError, ConnectionError):
        return None  # nobody there, or somebody who was just leaving
    except TimeoutError as error:
        worker.connection.abort()
        raise WorkerStartFailed("the worker of this model does not answer") from error
    except OSError as error:
        raise WorkerStartFailed(f"the worker cannot be reached: {error}") from error
    except BaseException:
        worker.connection.abort()
        raise
    if welcome is None:
        return None
    # Without the lock: the file is replaced whole.
    return Attached(worker, welcome.pid, since, None, watch_stranger(welcome.pid), ledger.read(place.ledger))


async def _start_or_wait(place: Workplace) -> Attached | float:
    """Start a worker if it is time to; else the seconds until it is."""
    async with place.start_lock():
        # Another daemon may have started one while we waited for the lock.
        found = await _connect(place)
        if found is not None:
            return found
        now = place.clock()
        memory = ledger.read(place.ledger).settled(now)
        refuse_hopeless(memory, now)
        wait_s = memory.wait_s(now, place.backoff_s)
        if wait_s > 0:
            return wait_s
        place.socket.unlink(missing_ok=True)
        attached = await _start(place, memory)
    leftovers.sweep(place.folder, own=place.key)
    return attached


def refuse_hopeless(memory: ledger.Ledger, now: float) -> None:
    """Raise if no further start is allowed.

    Raises
    ------
    WorkerUnavailable
        Too many deaths, or too many while loading this very file.
    """
    if memory.model_is_quarantined:
        raise WorkerUnavailable(
            f"loading this model has ended {memory.load_deaths} workers: {memory.last_words}", quarantined=True
        )
    if memory.is_exhausted(now):
        raise WorkerUnavailable(
            f"the worker died {memory.deaths(now)} times within {ledger.BUDGET_WINDOW_S:.0f} s and is not started "
            f"again until it is asked for: {memory.last_words}"
        )


async def _start(place: Workplace, memory: ledger.Ledger) -> Attached:
    """Start a worker and wait until it listens. Under the lock."""
    since = place.clock()
    worker = WorkerLink()
    arguments = ("--key", place.key, "--runtime", str(place.folder))
    if sys.platform == "win32":  # Never run: no socket is inherited there; the first connection is made by name.
        process = await launch((*place.command, *arguments), place.folder, ())
    else:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                number = theirs.fileno()
                process = await launch((*place.command, *arguments, "--fd", str(number)), place.folder, (number,))
            await link.adopt(ours, worker.make)
        except BaseException:
            ours.close()
            raise
    welcomed = False
    try:
        memory = memory.started(process.pid, since)
        ledger.write(place.ledger, memory)
        welcome = await _welcome(place, worker, process)
        welcomed = True
        if welcome.pid == process.pid:
            return Attached(worker, welcome.pid, since, process, process.exited, memory)
        memory = memory.known_as(process.pid, welcome.pid)
        ledger.write(place.ledger, memory)
        return await _past_bootloader(place, Attached(worker, welcome.pid, since, process, process.exited, memory))
    except (WorkerStartFailed, WireError) as error:
        # A worker of the wrong version is alive and well, only not ours to talk to.
        if not isinstance(error, VersionMismatch):
            words = error.message
            died = memory.died(process.pid, place.clock(), since=since, loading=False, last_words=words)
            ledger.write(place.ledger, died)
        raise
    finally:
        if not welcomed:
            worker.connection.abort()
            # It has welcomed nobody. If it does not listen either, nobody but us can know of it.
            if not place.socket.exists():
                process.kill()


async def _past_bootloader(place: Workplace, first: Attached) -> Attached:
    """The same worker, over a connection that its bootloader has no copy of.

    A program of one file is started through its bootloader, which keeps what it inherits open until it has removed its
    folder: the first connection would tell of the worker's death a quarter of a second late.
    """
    try:
        second = await _connect(place)
    except BotframeworkError as error:
        _log.info("the worker is reached through its bootloader: %s", error)
        return first
    except BaseException:
        first.forget()
        raise
    if second is None:
        return first
    second.ended.cancel()
    first.forget()
    return replace(first, link=second.link)


async def _welcome(place: Workplace, worker: WorkerLink, process: WorkerProcess) -> Welcome:
    """Wait for a new worker's welcome and for its socket."""
    give_up_at = time.monotonic() + START_DEADLINE_S
    if sys.platform == "win32":  # Never run.
        while not process.exited.done() and time.monotonic() < give_up_at:
            with contextlib.suppress(OSError):
                await link.connect(place.socket, worker.make)
                break
            await asyncio.sleep(LOCK_POLL_S)
    hands = asyncio.ensure_future(worker.shake_hands(place, START_DEADLINE_S))
    try:
        await _first_of(None, hands, process.exited)
        welcome = await hands if hands.done() else None
    except TimeoutError as error:
        raise WorkerStartFailed(f"the worker did not answer within {START_DEADLINE_S:.0f} s") from error
    finally:
        hands.cancel()
    if welcome is None:
        raise WorkerStartFailed(await last_words(process, None))
    listen_by = time.monotonic() + LISTEN_DEADLINE_S
    while sys.platform != "win32" and not place.socket.exists():
        if process.exited.done() or time.monotonic() > listen_by:
            raise WorkerStartFailed("the worker does not listen on its socket")
        await asyncio.sleep(LOCK_POLL_S)
    return welcome


async def last_words(process: WorkerProcess | None, flight: FlightRecord | None) -> str:
    """Say how a worker ended: in its own words if it left any, else by the end of its output and its exit status."""
    said = flight.last_words.strip() if flight is not None else ""
    if process is None:
        return said[:_WORDS_CHARS] or "the worker ended"
    # The connection's end is seen a moment before the process's.
    await asyncio.wait({process.exited}, timeout=_LAST_WORDS_S)
    status = process.exited.result() if process.exited.done() else None
    lines = [line.strip() for line in process.tail.splitlines()[-20:] if line.strip()]
    said = said or (lines[-1] if lines else "")
    how = f"the worker {describe_exit(status)}"
    return f"{how}: {said[:_WORDS_CHARS]}" if said else how
