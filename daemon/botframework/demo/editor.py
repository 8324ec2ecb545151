"""A blocking LSP client, as small as can be: the demo's editor. It shares no code with the daemon."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ANSWER_DEADLINE_S = 120.0
"""A small machine writes some hundred tokens in this time."""
STOP_DEADLINE_S = 3.0
STDERR_LINES = 40


class DemoError(Exception):
    """The demo cannot go on; the message is for the user."""


class Editor:
    """Starts the daemon and talks with it, one request at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._inbox: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._next_id = 0
        self._listeners: list[Callable[[str, Any], None]] = []
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stdin, stdout, stderr = self.process.stdin, self.process.stdout, self.process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise DemoError("the daemon was started without pipes")
        self._stdin = stdin
        threading.Thread(target=self._read, args=(stdout,), daemon=True).start()
        threading.Thread(target=self._drain, args=(stderr,), daemon=True).start()

    @property
    def last_words(self) -> str:
        """The end of what the daemon wrote to stderr."""
        return "\n".join(self._stderr)

    def _read(self, stream: IO[bytes]) -> None:
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

    def request(self, method: str, params: Any = None) -> Any:
        """Send a request and wait for its result."""
        self._next_id += 1
        wanted = self._next_id
        self._send({"id": wanted, "method": method, **({"params": params} if params is not None else {})})
        answer: list[dict[str, Any]] = []

        def is_answer(message: dict[str, Any]) -> bool:
            if message.get("id") == wanted and "method" not in message:
                answer.append(message)
            return bool(answer)

        self.wait(is_answer, ANSWER_DEADLINE_S, method)
        if "error" in answer[0]:
            error = answer[0]["error"]
            raise DemoError(f"{method}: {error['message']} ({error['code']})")
        return answer[0].get("result")

    def wait(self, done: Callable[[dict[str, Any]], bool], deadline_s: float, what: str) -> None:
        """Handle messages until ``done`` says so of one.

        Raises
        ------
        DemoError
            The deadline passed, or the daemon ended.
        """
        give_up_at = time.monotonic() + deadline_s
        while True:
            try:
                message = self._inbox.get(timeout=max(0.0, give_up_at - time.monotonic()))
            except queue.Empty:
                raise DemoError(f"waited {deadline_s:.0f} s for {what}\n{self.last_words}") from None
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
            return self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
