"""A real worker process with a byte-level client of its socket, for tests without a daemon."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from botframework.wire import link
from botframework.wire import messages as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

PATIENCE_S = 30.0
"""Longer than anything takes on a busy machine with two cores."""

M = TypeVar("M")


def load_model(path: Path, **changes: Any) -> wire.LoadModel:
    """Load parameters that suit the tiny models."""
    values: dict[str, Any] = {
        "n_gpu_layers": 0,
        "n_threads": (1,),
        "n_ctx_fim": 2_048,
        "n_ctx_chat": 2_048,
        "n_seq_fim": 4,
        "n_seq_chat": 4,
        "n_ubatch_fim": 64,
        "n_ubatch_chat": 64,
    }
    return wire.LoadModel(path=str(path), **(values | changes))


class WorkerClient:
    """One connection: sends messages, remembers everything that came, waits for what a test needs."""

    def __init__(self) -> None:
        self.received: list[wire.ToDaemon] = []
        self.has_greeted = False
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._ids = itertools.count(1)
        self._wake = asyncio.Event()
        self.connection = link.Connection[wire.ToDaemon](link.FrameDecoder(wire.ToDaemon), self._message, self._lost)

    def _message(self, message: wire.ToDaemon) -> None:
        self.received.append(message)
        self._wake.set()

    def _lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(error)
        self._wake.set()

    def send(self, message: wire.Message) -> None:
        """Send one message."""
        self.connection.send(message)

    async def wait_for(self, matches: Callable[[wire.ToDaemon], bool], seconds: float = PATIENCE_S) -> Any:
        """Wait until a message matches, among those received already too."""
        async with asyncio.timeout(seconds):
            seen = 0
            while True:
                for message in self.received[seen:]:
                    seen += 1
                    if matches(message):
                        return message
                if self.lost.done():
                    raise ConnectionError(f"the worker is gone: {self.lost.result()!r}; last: {self.received[-3:]}")
                self._wake.clear()
                await self._wake.wait()

    async def wait_type(self, kind: type[M], seconds: float = PATIENCE_S) -> M:
        """Wait for the first message of a type."""
        found: M = await self.wait_for(lambda message: isinstance(message, kind), seconds)
        return found

    async def shake_hands(self, **hello: Any) -> wire.Welcome:
        """Greet; the worker then listens."""
        self.has_greeted = True
        values: dict[str, Any] = {"protocol": wire.PROTOCOL_VERSION, "version": "test"}
        self.send(wire.Hello(**(values | hello)))
        return await self.wait_type(wire.Welcome)

    async def greet(self, load: wire.LoadModel) -> wire.Loaded:
        """Shake hands, if that was not done, and load."""
        if not self.has_greeted:
            await self.shake_hands()
        self.send(load)
        outcome = await self.wait_for(lambda message: isinstance(message, wire.Loaded | wire.LoadFailed))
        if isinstance(outcome, wire.LoadFailed):
            raise AssertionError(f"{outcome.kind}: {outcome.message}")
        assert isinstance(outcome, wire.Loaded)
        return outcome

    def ask(self, prefix: str = "", **options: Any) -> int:
        """Send a FIM request, without healing unless asked for; its id."""
        number = next(self._ids)
        values: dict[str, Any] = {"priority": "completion", "heal": False}
        self.send(wire.FimRequest(id=number, prefix=prefix, **(values | options)))
        return number

    def chat(self, *contents: str, **options: Any) -> int:
        """Send a chat of alternating user and assistant messages; its id."""
        number = next(self._ids)
        roles = itertools.cycle(("user", "assistant"))
        turns = tuple(wire.ChatMessage(role=role, content=text) for role, text in zip(roles, contents, strict=False))  # type: ignore[arg-type]
        self.send(wire.ChatRequest(id=number, messages=turns, **options))
        return number

    async def end_of(self, number: int, seconds: float = PATIENCE_S) -> wire.Done | wire.Failure:
        """Wait for the one answer of a request."""
        end = await self.wait_for(lambda m: isinstance(m, wire.Done | wire.Failure) and m.id == number, seconds)
        assert isinstance(end, wire.Done | wire.Failure)
        return end

    async def done(self, number: int, seconds: float = PATIENCE_S) -> wire.Done:
        """Wait for the answer, which must be a success."""
        end = await self.end_of(number, seconds)
        assert isinstance(end, wire.Done), end
        return end

    async def failure(self, number: int, seconds: float = PATIENCE_S) -> wire.Failure:
        """Wait for the answer, which must be an error."""
        end = await self.end_of(number, seconds)
        assert isinstance(end, wire.Failure), end
        return end

    def text(self, number: int) -> str:
        """The text streamed so far."""
        return "".join(m.text for m in self.received if isinstance(m, wire.Token) and m.id == number)

    async def stats(self) -> wire.Stats:
        """The worker's figures now."""
        number = next(self._ids)
        self.send(wire.GetStats(id=number))
        answer = await self.wait_for(lambda m: isinstance(m, wire.Stats) and m.id == number)
        assert isinstance(answer, wire.Stats)
        return answer

    async def sessions(self, close: str | None = None) -> dict[str, wire.SessionInfo]:
        """The sessions by name, after closing one if asked to."""
        number = next(self._ids)
        self.send(wire.ListSessions(id=number) if close is None else wire.CloseSession(id=number, session=close))
        answer = await self.wait_for(lambda m: isinstance(m, wire.Sessions) and m.id == number)
        return {session.session: session for session in answer.sessions}

    async def clear(self) -> dict[str, wire.SessionInfo]:
        """Forget all sessions and their snapshots; what is left."""
        number = next(self._ids)
        self.send(wire.ClearSessions(id=number))
        answer = await self.wait_for(lambda m: isinstance(m, wire.Sessions) and m.id == number)
        return {session.session: session for session in answer.sessions}

    async def inspect(self, session: str) -> wire.Inspection:
        """How a session's last completion was asked."""
        number = next(self._ids)
        self.send(wire.Inspect(id=number, session=session))
        answer = await self.wait_for(lambda m: isinstance(m, wire.Inspection) and m.id == number)
        assert isinstance(answer, wire.Inspection)
        return answer

    async def read_more_than(self, tokens: int, seconds: float = PATIENCE_S) -> wire.Stats:
        """Wait until the worker has read more prompt tokens than so many since its start."""
        async with asyncio.timeout(seconds):
            while (now := await self.stats()).prompt_tokens_read <= tokens:
                pass
        return now


class WorkerProcess:
    """A worker started as a daemon starts it."""

    def __init__(self, runtime: Path, process: subprocess.Popen[bytes], first: WorkerClient) -> None:
        self.process = process
        self.first = first
        """The connection that the worker inherited."""
        self.socket_path = runtime / "testkey.sock"
        self.flight_path = runtime / "testkey.flight"

    async def connect(self) -> WorkerClient:
        """Connect as another daemon does."""
        client = WorkerClient()
        await link.connect(self.socket_path, lambda: client.connection)
        return client

    async def exit_code(self, seconds: float = PATIENCE_S) -> int:
        """Wait for the process to end."""
        return await asyncio.to_thread(self.process.wait, seconds)


@contextlib.asynccontextmanager
async def worker_process(
    runtime: Path, *, code: str = "", environment: Mapping[str, str] | None = None, **hello: Any
) -> AsyncIterator[WorkerProcess]:
    """Run a worker and greet it; ``code`` runs in it first, to provoke what cannot be provoked from outside."""
    ours, theirs = socket.socketpair()
    program = f"import sys\n{code}\nfrom botframework.worker.main import main\nmain(sys.argv[1:])\n"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--key", "testkey", "--runtime", str(runtime), "--fd", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    theirs.close()
    first = WorkerClient()
    await link.adopt(ours, lambda: first.connection)
    worker = WorkerProcess(runtime, process, first)
    try:
        await first.shake_hands(**hello)
        yield worker
    finally:
        first.connection.abort()
        process.kill()
        await asyncio.to_thread(process.wait)
