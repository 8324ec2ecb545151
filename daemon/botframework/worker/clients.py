"""The worker's connections: a thread that accepts, reads and writes while the scheduling thread computes.

A worker lives on its connections alone. When the last one ends, this thread ends the process at once, even inside a
llama.cpp call, unless a client asked for the worker to be kept for a while.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from botframework import __version__
from botframework.wire import link
from botframework.wire import messages as wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from botframework.worker.requests import Job

log = logging.getLogger(__name__)

FIRST_CONNECTION_S = 10.0
"""A worker that nobody connects to was started in vain."""
DROP_BYTES = 4 * 1024 * 1024
"""A client with so much untaken does not read at all; its generations were paused long before."""
FAREWELL_S = 1.0
"""For the last message to be taken."""
MAX_KEEP_ALIVE_S = 86_400.0
"""A day; a worker is not a service."""


class Handler(Protocol):
    """What the worker does with what its clients say. Called in the link thread: no method may block."""

    def received(self, client: ClientLink, message: wire.ToWorker) -> None:
        """Handle a message that is not the handshake."""
        ...

    def greeted(self, client: ClientLink) -> None:
        """Note what a client says about itself; it may say it again."""
        ...

    def caught_up(self) -> None:
        """Note that a client that was behind takes bytes again."""
        ...

    def gone(self, client: ClientLink) -> None:
        """Note that a connection ended."""
        ...


class ClientLink:
    """One connection of a daemon, as the worker sees it."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        """Made in the link thread."""
        self.number = number
        self.keep_alive_s = 0.0
        self.hello: wire.Hello | None = None
        self.has_greeted = False
        self.answered_at = time.monotonic()
        """When its last request was answered, on the monotonic clock; before the first one, when it came."""
        self.awaits_model = False
        """Whether it asked for the model and is to be told how the loading goes."""
        self.questions: deque[int] = deque()
        """Ids of unanswered questions about sessions."""
        self.jobs: dict[int, Job] = {}
        """Unanswered requests by id."""
        self.connection: link.Connection[wire.ToWorker]
        self._loop = loop
        self._thread = threading.get_ident()

    @property
    def observes(self) -> bool:
        """Whether it only looks, and nobody is needed for it."""
        return self.hello is not None and self.hello.observes

    @property
    def is_behind(self) -> bool:
        """Whether its generations should wait; any thread."""
        return self.connection.is_behind

    @property
    def behind_since(self) -> float | None:
        """On the monotonic clock, since when they do; any thread."""
        return self.connection.behind_since

    def send(self, message: wire.Message) -> None:
        """Queue a message; any thread. The answer of a request also ends the request."""
        if isinstance(message, wire.Done | wire.Failure):
            self.jobs.pop(message.id, None)
            self.answered_at = time.monotonic()
        self._send(message)

    def refuse(self, failure: wire.Failure) -> None:
        """Answer what never became a job; a job that happens to have the same id goes on."""
        self._send(failure)

    def _send(self, message: wire.Message) -> None:
        frame = link.encode(message)
        if threading.get_ident() == self._thread:
            self._write(frame)
        else:
            self._loop.call_soon_threadsafe(self._write, frame)

    def _write(self, frame: bytes) -> None:
        self.connection.send_frame(frame)
        if self.connection.queued_bytes > DROP_BYTES:
            log.warning("client %d does not read: dropped", self.number)
            self.connection.abort()


class Clients:
    """All connections and the rule of the worker's life."""

    def __init__(self, path: Path, handler: Handler, end: Callable[[], None]) -> None:
        """``end`` ends the process; it is called in the link thread."""
        self._path = path
        self._handler = handler
        self._end = end
        self._links: dict[int, ClientLink] = {}
        self._last_number = 0
        self._left_at = 0.0
        """When the last client left, on the monotonic clock."""
        self._hold_until = 0.0
        """Nobody is needed to keep the worker alive before this."""
        self._is_ending = False
        """The last message was broadcast, or the clients were asked to leave: nobody's wish to keep us counts now."""
        self._loop = asyncio.new_event_loop()
        self._server: object = None
        self._identity: tuple[int, int] | None = None

    def __len__(self) -> int:
        return sum(not client.observes for client in self._links.values())

    @property
    def unanswered(self) -> int:
        """Requests of all connections that wait for their answer; the link thread only."""
        return sum(len(client.jobs) for client in self._links.values())

    @property
    def idle_s(self) -> float:
        """Since the last answer to anybody, 0 while one is due; the link thread only."""
        if self.unanswered:
            return 0.0
        answered = (client.answered_at for client in self._links.values() if not client.observes)
        return time.monotonic() - max((self._left_at, *answered))

    def start(self, adopted: socket.socket | None) -> None:
        """Listen, then take over the connection of the daemon that started us. Returns when both are done.

        Raises
        ------
        OSError
            The socket's path cannot be bound.
        """
        ready = threading.Event()
        fault: list[OSError] = []

        async def begin() -> None:
            try:
                self._server = await link.listen(self._path, self._connection)
                if sys.platform != "win32":
                    self._path.chmod(0o600)
                    status = self._path.stat()
                    self._identity = (status.st_dev, status.st_ino)
                if adopted is not None:
                    await link.adopt(adopted, self._connection)
                self._loop.call_later(FIRST_CONNECTION_S, self._end_if_alone)
            except OSError as error:
                fault.append(error)
            finally:
                ready.set()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.create_task(begin())
            self._loop.run_forever()

        threading.Thread(target=run, name="link", daemon=True).start()
        ready.wait()
        if fault:
            raise fault[0]

    def each(self, act: Callable[[ClientLink], None]) -> None:
        """Do something for every connection, in the link thread; any thread."""

        def do() -> None:
            for client in list(self._links.values()):
                act(client)

        self._loop.call_soon_threadsafe(do)

    def broadcast(self, message: wire.Message, *, then_end: bool = False) -> None:
        """Tell everybody who waits for the model; any thread.

        ``then_end``: tell really everybody, close all connections and end, however long a client wanted us to stay.
        """

        def tell() -> None:
            self._is_ending = then_end
            for client in list(self._links.values()):
                if client.awaits_model or then_end:
                    client.connection.send(message)
                if then_end:
                    client.connection.close()
            if then_end:
                self._end_if_alone()
                # A peer that does not even take this must not hold a dead worker.
                self._loop.call_later(FAREWELL_S, self._end)

        self._loop.call_soon_threadsafe(tell)

    def ask_to_leave(self, idle_s: float) -> None:
        """Ask all clients to leave, and end with the last of them; whoever comes or asks for something calls it off.

        In the link thread.
        """
        self._is_ending = True
        for client in self._links.values():
            if not client.observes:
                client.connection.send(wire.LeaveAsked(idle_s=idle_s))
        self._end_if_alone()

    def is_wanted(self) -> None:
        """Somebody asks for something: the next wish to keep us counts again. In the link thread."""
        self._is_ending = False

    def unlink(self) -> None:
        """Remove our socket's name, unless it already belongs to our successor."""
        try:
            status = self._path.stat()
            if (status.st_dev, status.st_ino) == self._identity:
                self._path.unlink()
        except OSError:
            pass

    def _connection(self) -> link.Connection[wire.ToWorker]:
        self._last_number += 1
        client = ClientLink(self._last_number, self._loop)
        client.connection = link.Connection(
            link.FrameDecoder(wire.ToWorker),
            lambda message: self._received(client, message),
            lambda error: self._lost(client, error),
            self._handler.caught_up,
        )
        self._links[client.number] = client
        return client.connection

    def _received(self, client: ClientLink, message: wire.ToWorker) -> None:
        if isinstance(message, wire.Hello):
            client.has_greeted = message.protocol == wire.PROTOCOL_VERSION
            client.keep_alive_s = max(0.0, min(message.keep_alive_s, MAX_KEEP_ALIVE_S))
            client.send(wire.Welcome(protocol=wire.PROTOCOL_VERSION, version=__version__, pid=os.getpid()))
            if client.has_greeted:
                client.hello = message
                self._handler.greeted(client)
            else:  # The welcome tells the daemon why.
                self._loop.call_soon(client.connection.close)
        elif client.has_greeted:
            self._handler.received(client, message)
        else:
            log.warning("client %d did not greet: dropped", client.number)
            client.connection.abort()

    def _lost(self, client: ClientLink, error: Exception | None) -> None:
        if error is not None:
            log.info("client %d: %s", client.number, error)
        self._links.pop(client.number, None)
        if not client.observes:
            self._left_at = time.monotonic()
        self._hold_until = max(self._hold_until, time.monotonic() + client.keep_alive_s)
        self._handler.gone(client)
        self._end_if_alone()

    def _end_if_alone(self) -> None:
        if any(not client.observes for client in self._links.values()):
            return
        left = self._hold_until - time.monotonic()
        if left <= 0 or self._is_ending:
            self._end()
        else:
            self._loop.call_later(left + 0.01, self._end_if_alone)
