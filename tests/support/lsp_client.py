"""An LSP client at the level of bytes: a real daemon behind real pipes, and every message it sends kept."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

DEADLINE_S = 20.0
"""Generous, because the machine may be busy; promises about time are asserted where they are made."""

DAEMON = (sys.executable, "-m", "botframework", "--stdio")
FAKE_DAEMON = (sys.executable, str(Path(__file__).with_name("fake_daemon.py")), "--stdio")
"""The real daemon with a router that makes its answers up; see `support.fake_daemon`."""


class LspError(Exception):
    """The daemon answered with an error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


def frame(body: bytes | Mapping[str, Any] | Sequence[Any]) -> bytes:
    """One message with its header."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(data), data)


def daemon_environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a daemon that touches nothing outside ``folder``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("BOTFRAMEWORK_")}
    runtime = os.environ.get("BOTFRAMEWORK_RUNTIME_DIR")
    if runtime is not None:
        env["BOTFRAMEWORK_RUNTIME_DIR"] = runtime
    env["BOTFRAMEWORK_CONFIG_FILE"] = str(folder / "no-such.toml")
    env["XDG_STATE_HOME"] = env["XDG_CACHE_HOME"] = env["XDG_DATA_HOME"] = str(folder)
    return env | more


class LspClient:
    """One daemon and what was said with it. Use `running_daemon`, or `start` and `close`."""

    def __init__(self, process: asyncio.subprocess.Process, started_at: float) -> None:
        self.process = process
        self.started_at = started_at
        """`time.monotonic` just before the spawn."""
        self.messages: list[dict[str, Any]] = []
        """Everything received, in order."""
        self.answers: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
        """Responses by id; the unreadable's are under None."""
        self.progress: defaultdict[Any, list[Any]] = defaultdict(list)
        """``$/progress`` values by token."""
        self.stderr = bytearray()
        self.foreign = b""
        """Bytes on stdout that are no LSP frame."""
        self.configuration: Any = None
        """What ``workspace/configuration`` is answered with."""
        self.silent = False
        """Do not answer the daemon's own requests."""
        self._ids = itertools.count(1)
        self._changed = asyncio.Condition()
        self._reading = asyncio.Event()
        self._reading.set()
        self._tasks = [asyncio.create_task(self._read_stdout()), asyncio.create_task(self._read_stderr())]

    @classmethod
    async def start(
        cls, command: Sequence[str] = DAEMON, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> LspClient:
        """Spawn a daemon as an editor does."""
        started_at = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=cwd,
        )
        return cls(process, started_at)

    # --- sending ------------------------------------------------------------------------------------------------------

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        with contextlib.suppress(ConnectionError):
            await self.process.stdin.drain()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        await self.raw(frame(message))

    async def post(self, method: str, params: Any = None, *, request_id: int | str | None = None) -> int | str:
        """Send a request without waiting; returns its id."""
        number = next(self._ids) if request_id is None else request_id
        message = {"jsonrpc": "2.0", "id": number, "method": method}
        await self.send(message if params is None else message | {"params": params})
        return number

    async def notify(self, method: str, params: Any = None) -> None:
        """Send a notification."""
        message = {"jsonrpc": "2.0", "method": method}
        await self.send(message if params is None else message | {"params": params})

    async def request(self, method: str, params: Any = None, *, timeout_s: float = DEADLINE_S) -> Any:
        """Send a request and give back its result; raises `LspError`."""
        return await self.result(await self.post(method, params), timeout_s=timeout_s)

    # --- receiving ----------------------------------------------------------------------------------------------------

    async def answer(self, request_id: int | str | None, *, timeout_s: float = DEADLINE_S, count: int = 1) -> Any:
        """Wait for the ``count``-th response to an id and give it back whole."""
        await self.until(lambda: len(self.answers[request_id]) >= count, timeout_s=timeout_s)
        return self.answers[request_id][count - 1]

    async def result(self, request_id: int | str, *, timeout_s: float = DEADLINE_S) -> Any:
        """Wait for the result of a posted request; raises `LspError`."""
        answer = await self.answer(request_id, timeout_s=timeout_s)
        if "error" in answer:
            raise LspError(answer["error"])
        return answer["result"]

    async def notification(
        self, method: str, accept: Callable[[Any], bool] = lambda _: True, *, timeout_s: float = DEADLINE_S
    ) -> Any:
        """Wait for a notification, one that came already included; its parameters are given back."""

        def found() -> list[Any]:
            return [m.get("params") for m in self.messages if m.get("method") == method and accept(m.get("params"))]

        await self.until(lambda: bool(found()), timeout_s=timeout_s)
        return found()[0]

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = DEADLINE_S) -> None:
        """Wait until a condition on what was received holds."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: condition() or self._ended)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s; last: {self.messages[-3:]}; {self._words()}") from None
        assert condition(), f"the daemon ended; last: {self.messages[-3:]}; {self._words()}"

    def _words(self) -> str:
        return f"stderr: {self.stderr[-2000:].decode(errors='replace')}"

    @property
    def _ended(self) -> bool:
        return self._tasks[0].done()

    async def until_journal(self, condition: Callable[[], bool], *, timeout_s: float = DEADLINE_S) -> None:
        """Wait for something that the daemon writes to a file, which no message tells of."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"not within {timeout_s} s; {self._words()}"
            await asyncio.sleep(0.005)

    def stop_reading(self) -> None:
        """Let the daemon's stdout fill up."""
        self._reading.clear()

    def go_on_reading(self) -> None:
        """Read again."""
        self._reading.set()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def initialize(self, capabilities: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Say ``initialize`` and ``initialized``."""
        whole = {"processId": os.getpid(), "rootUri": None, "capabilities": capabilities or {}} | params
        result = await self.request("initialize", whole)
        await self.notify("initialized", {})
        return result

    async def open(self, uri: str, text: str, *, language: str = "python", version: int = 1) -> None:
        """Open a document."""
        item = {"uri": uri, "languageId": language, "version": version, "text": text}
        await self.notify("textDocument/didOpen", {"textDocument": item})

    async def inline(self, uri: str, line: int, character: int) -> int | str:
        """Ask for ghost text; returns the request's id."""
        return await self.post("textDocument/inlineCompletion", inline_params(uri, line, character))

    async def leave(self, *, timeout_s: float = DEADLINE_S) -> int:
        """Say ``shutdown`` and ``exit``; returns the exit code."""
        await self.request("shutdown")
        await self.notify("exit")
        return await self.wait_exit(timeout_s=timeout_s)

    async def wait_exit(self, *, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the daemon's end; returns the exit code."""
        return await asyncio.wait_for(self.process.wait(), timeout_s)

    def close_stdin(self) -> None:
        """The end of the client, as far as the daemon can see."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def close(self) -> None:
        """End the daemon, whatever state it is in."""
        self.go_on_reading()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()
        await asyncio.wait(self._tasks, timeout=5)
        for task in self._tasks:
            task.cancel()
        self.close_stdin()
        # asyncio closes its pipes in callbacks, and a transport that is left open is a warning.
        self.process._transport.close()  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    # --- the reading tasks --------------------------------------------------------------------------------------------

    async def _read_stdout(self) -> None:
        try:
            while (message := await self._read_message()) is not None:
                await self._take(message)
        finally:
            async with self._changed:
                asyncio.get_running_loop().call_soon(asyncio.ensure_future, self._wake())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _read_message(self) -> dict[str, Any] | None:
        stdout = self.process.stdout
        assert stdout is not None
        await self._reading.wait()
        try:
            header = await stdout.readuntil(b"\r\n\r\n")
            if not header.startswith(b"Content-Length: ") or header.count(b"\r\n") != 2:
                self.foreign += header + await stdout.read(65_536)
                return None
            body = await stdout.readexactly(int(header[16:-4]))
        except asyncio.IncompleteReadError as error:
            self.foreign += error.partial
            return None
        except asyncio.LimitOverrunError:
            self.foreign += await stdout.read(65_536)
            return None
        message: dict[str, Any] = json.loads(body)
        return message

    async def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self.answers[message["id"]].append(message)
        elif message["method"] == "$/progress":
            self.progress[message["params"]["token"]].append(message["params"]["value"])
        elif "id" in message and not self.silent:
            result: Any = None
            if message["method"] == "workspace/configuration":
                result = [self.configuration for _ in message["params"]["items"]]
            await self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(65_536):
            self.stderr += data
            del self.stderr[:-1_000_000]


def inline_params(uri: str, line: int, character: int) -> dict[str, Any]:
    """Parameters of ``textDocument/inlineCompletion``."""
    return {
        "textDocument": {"uri": uri},
        "position": {"line": line, "character": character},
        "context": {"triggerKind": 2},
    }


@contextlib.asynccontextmanager
async def running_daemon(
    command: Sequence[str] = DAEMON, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[LspClient]:
    """A daemon for the length of a ``with`` block."""
    client = await LspClient.start(command, env=env, cwd=cwd)
    try:
        yield client
    finally:
        await client.close()
