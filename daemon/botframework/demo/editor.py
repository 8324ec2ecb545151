"""A blocking LSP client, as small as can be: the editor of the demo and of the command line.

It shares no code of the protocol with the daemon, so what it shows is what any client gets.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Any

from botframework.process import own_command, without_echo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

ANSWER_DEADLINE_S = 120.0
"""A small machine writes some hundred tokens in this time."""
STOP_DEADLINE_S = 3.0
READ_OUT_S = 1.0
"""For the last of what an ended daemon wrote."""
STDERR_LINES = 40
LOAD_DEADLINE_S = 300.0
"""A big model from a slow disk takes its time."""
CANCELLED = -32800
"""The LSP's code of a request that its client has cancelled."""

INTERRUPT: dict[str, Any] = {}
"""Stands in the inbox for a Ctrl-C."""


class DemoError(Exception):
    """The demo cannot go on; the message is for the user."""


class RequestFailed(DemoError):
    """The daemon answered with an error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        self.code: int = error["code"]
        self.reason: str = error["message"]
        self.data: Any = error.get("data")
        super().__init__(f"{method}: {self.reason} ({self.code})")

    @property
    def is_cancelled(self) -> bool:
        """Whether it ended because we asked for that."""
        return self.code == CANCELLED


class ModelUnusable(DemoError):
    """The daemon has no model that it could work with."""

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        """Class name of the daemon's error."""
        self.reason = reason
        super().__init__(f"{kind}: {reason}")


def daemon_command(*arguments: str) -> list[str]:
    """What starts the daemon of this very package."""
    return [*own_command("--stdio", f"--clientProcessId={os.getpid()}", *arguments)]


class Editor:
    """Starts the daemon and talks with it, one request at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        # A simple queue may be put into by a signal handler.
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._next_id = 0
        self._listeners: list[Callable[[str, Any], None]] = []
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        # A group of its own: a Ctrl-C in our terminal is for us to act upon.
        own_group: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":  # Never run.
            own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **own_group
        )
        stdin, stdout, stderr = self.process.stdin, self.process.stdout, self.process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise DemoError("the daemon was started without pipes")
        self._stdin = stdin
        readers = ((self._read, stdout), (self._drain, stderr))
        self._threads = [threading.Thread(target=read, args=(stream,), daemon=True) for read, stream in readers]
        for thread in self._threads:
            thread.start()

    @property
    def last_words(self) -> str:
        """The end of what the daemon wrote to stderr."""
        return "\n".join(self._stderr)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while header := stream.readline():
                length = 0
                while header.strip():
                    name, _, value = header.partition(b":")
                    if name.strip().lower() == b"content-length":
                        length = int(value)
                    header = stream.readline()
                self._inbox.put(json.loads(stream.read(length)))
        self._inbox.put(None)

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._stderr.append(line.decode("utf-8", "replace").rstrip())

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        try:
            self._stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            self._stdin.flush()
        except OSError as error:
            raise DemoError(f"the daemon is gone (exit code {self.process.poll()})\n{self.last_words}") from error

    def notify(self, method: str, params: Any = None) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params} if params is not None else {"method": method})

    def on_notification(self, listener: Callable[[str, Any], None]) -> None:
        """Call ``listener(method, params)`` for every notification that arrives while something is waited for."""
        self._listeners.append(listener)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[str, Any], None]) -> Iterator[None]:
        """The same for the time of a block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def begin(self, client: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """Introduce ourselves as ``client`` with these settings; what the daemon says of itself is returned."""
        answer = self.request(
            "initialize",
            {
                "processId": os.getpid(),
                "clientInfo": {"name": client},
                "rootUri": None,
                "initializationOptions": settings or {},
                "capabilities": {
                    "window": {"workDoneProgress": True},
                    "workspace": {"configuration": True},
                    "textDocument": {"inlineCompletion": {}},
                    "experimental": {"serverStatusNotification": True},
                },
            },
        )
        self.notify("initialized", {})
        return answer.get("serverInfo") or {}

    def wait_for_model(self, on_progress: Callable[[str], None]) -> dict[str, Any]:
        """Wait until a model is loaded, and give back what the daemon says of it.

        ``on_progress`` is told how far it is, in words.

        Raises
        ------
        ModelUnusable
            It cannot be loaded.
        DemoError
            It took longer than `LOAD_DEADLINE_S`, or the daemon ended.
        """
        ready: list[dict[str, Any]] = []
        begun: dict[str, Any] = {}

        def is_loaded(message: dict[str, Any]) -> bool:
            method: str = message.get("method", "")
            params: dict[str, Any] = message.get("params") or {}
            if method == "$/botframework/heartbeat" and params["state"] == "error":
                error = params.get("error") or {}
                raise ModelUnusable(error.get("kind", "error"), error.get("message", "the model cannot be used"))
            if method == "$/progress" and params["value"].get("kind") in {"begin", "report"}:
                begun.update(params["value"])  # The title is said once, at the beginning.
                on_progress(progress_words(begun))
            if method == "$/botframework/modelReady":
                ready.append(params["model"])
            return bool(ready)

        self.wait(is_loaded, LOAD_DEADLINE_S, "the model")
        return ready[0]

    def request(
        self,
        method: str,
        params: Any = None,
        *,
        deadline_s: float | None = ANSWER_DEADLINE_S,
        is_stoppable: bool = False,
    ) -> Any:
        """Send a request and wait for its result.

        Parameters
        ----------
        deadline_s
            None waits for as long as the daemon takes.
        is_stoppable
            A Ctrl-C cancels the request, which then fails with `CANCELLED`; only a second one interrupts us.

        Raises
        ------
        RequestFailed
            The daemon answered with an error.
        DemoError
            The deadline passed, or the daemon ended.
        """
        self._next_id += 1
        wanted = self._next_id
        self._send({"id": wanted, "method": method, **({"params": params} if params is not None else {})})
        answer: list[dict[str, Any]] = []

        def is_answer(message: dict[str, Any]) -> bool:
            if message.get("id") == wanted and "method" not in message:
                answer.append(message)
            return bool(answer)

        if is_stoppable:
            with self._taking_interrupts():
                self.wait(is_answer, deadline_s, method, lambda: self.notify("$/cancelRequest", {"id": wanted}))
        else:
            self.wait(is_answer, deadline_s, method)
        if "error" in answer[0]:
            raise RequestFailed(method, answer[0]["error"])
        return answer[0].get("result")

    @contextlib.contextmanager
    def _taking_interrupts(self) -> Iterator[None]:
        """Let a Ctrl-C wait for its turn: raised between two bytecodes, it could lose a message."""
        taken = False

        def handle(_number: int, _frame: FrameType | None) -> None:
            nonlocal taken
            if taken:
                raise KeyboardInterrupt
            taken = True
            self._inbox.put(INTERRUPT)

        before = signal.signal(signal.SIGINT, without_echo(handle))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def wait(
        self,
        done: Callable[[dict[str, Any]], bool],
        deadline_s: float | None,
        what: str,
        on_interrupt: Callable[[], None] | None = None,
    ) -> None:
        """Handle messages until ``done`` says so of one.

        Raises
        ------
        DemoError
            The deadline passed, or the daemon ended.
        """
        give_up_at = None if deadline_s is None else time.monotonic() + deadline_s
        while True:
            try:
                message = self._inbox.get(
                    timeout=None if give_up_at is None else max(0.0, give_up_at - time.monotonic())
                )
            except queue.Empty:
                raise DemoError(f"waited {deadline_s:.0f} s for {what}\n{self.last_words}") from None
            if message is INTERRUPT:
                if on_interrupt is not None:
                    on_interrupt()
                continue
            if message is None:
                code = self.process.wait(STOP_DEADLINE_S)
                raise DemoError(f"the daemon ended with {code} while {what} was waited for\n{self.last_words}")
            if "method" in message and "id" in message:
                self._answer(message)
            elif "method" in message:
                for listener in self._listeners:
                    listener(message["method"], message.get("params"))
            if done(message):
                return

    def _answer(self, message: dict[str, Any]) -> None:
        """What the daemon asks of its editor: a token for its progress, the settings."""
        result = None
        if message["method"] == "workspace/configuration":
            result = [None] * len(message["params"]["items"])
        self._send({"id": message["id"], "result": result})

    def stop(self) -> int:
        """Shut the daemon down as the LSP wants it; its exit code."""
        with contextlib.suppress(DemoError):
            self.request("shutdown")
            self.notify("exit")
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            code = self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for thread in self._threads:
            thread.join(READ_OUT_S)
        return code


def progress_words(value: dict[str, Any]) -> str:
    """What a work-done progress says at this moment."""
    percentage = value.get("percentage")
    said = value.get("message") or value.get("title") or ""
    return f"{said} {percentage} %" if percentage is not None else str(said)
