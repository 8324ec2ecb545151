"""The two threads at the pipes: one reads stdin, one writes stdout. Neither ever waits for the event loop's health.

Reading in a thread means that end-of-file is seen while the loop is stuck; writing in a thread means that a client
which stops reading stops nothing here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from botframework.lsp.framing import PARSE_ERROR, Body, Fault, FrameParser

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
"""As much as a pipe holds."""
MAX_WAITING = 4_096
"""Parsed messages that the loop has not taken; beyond it the client waits in its own pipe."""
MAX_WAITING_BYTES = 2 * 64 * 1024 * 1024
"""Two of the largest messages: the one being handled and the one behind it."""
DRAIN_SLICE = 64
"""Messages handled before other events of the loop get their turn."""
EOF_GRACE_S = 0.1
"""What the loop gets to stop in good order after end-of-file; both processes are promised to be gone after 0.2 s."""
HANGUP_POLL_S = 0.05

BEHIND_BYTES = 1024 * 1024
"""More than this in the queue pauses generation: the client is not reading as fast as the model writes."""
CAUGHT_UP_BYTES = 256 * 1024
HOPELESS_BYTES = 64 * 1024 * 1024
"""A client that asks and asks and never reads; memory is worth more than it is."""
WRITE_BYTES = 64 * 1024
"""Frames are joined up to this size: one system call for a burst of tokens."""
TOKEN_BYTES = 160
"""What the frame around a token's text weighs, for the queue's sum."""


def parse(body: bytes) -> Any:
    """Read one JSON value, or say why not by a `Fault`.

    msgspec is five times faster, the standard library more forgiving: lone surrogates and NaN are let through here, so
    that the request they came in can be answered under its own id.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        return Fault(PARSE_ERROR, "the JSON is nested too deeply")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        return json.loads(str(body, "utf-8"))
    except RecursionError:
        return Fault(PARSE_ERROR, "the JSON is nested too deeply")
    except UnicodeDecodeError:
        return Fault(PARSE_ERROR, "the message is not UTF-8")
    except ValueError as error:
        return Fault(PARSE_ERROR, f"the message is not JSON: {str(error)[:200]}")


class StdinReader(threading.Thread):
    """Reads, frames and parses what the client sends, and hands it to the loop in order.

    ``deliver`` runs in the loop with each JSON value or `Fault`. ``peek`` runs here, at once, even when the loop is
    stuck. ``on_eof`` runs in the loop; if the process is still there after `EOF_GRACE_S`, ``leave`` ends it from here.
    """

    def __init__(
        self,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        *,
        deliver: Callable[[Any], None],
        peek: Callable[[Any], None],
        on_eof: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(name="stdin", daemon=True)
        self._fd = fd
        self._loop = loop
        self._deliver = deliver
        self._peek = peek
        self._on_eof = on_eof
        self._leave = leave
        self._parser = FrameParser()
        self._room = threading.Condition()
        self._waiting: deque[tuple[Any, int]] = deque()
        self._waiting_bytes = 0
        self._scheduled = False

    def run(self) -> None:
        """Read until end-of-file or an absurd length, then see that the process ends."""
        try:
            self._read_all()
        except Exception:  # Without this thread nobody would see the client's end.
            logger.exception("reading from the client failed")
        with contextlib.suppress(RuntimeError):  # The loop is closed: the process is on its way out.
            self._loop.call_soon_threadsafe(self._on_eof)
        time.sleep(EOF_GRACE_S)
        self._leave()

    def _read_all(self) -> None:
        while data := self._read():
            for piece in self._parser.feed(data):
                if isinstance(piece, Body):
                    value, size = parse(piece.data), len(piece.data)
                    self._peek(value)
                else:
                    value, size = piece, 0
                self._hand_over(value, size)
                if isinstance(piece, Fault) and piece.fatal:
                    return

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, READ_BYTES)
            except BlockingIOError:  # Some parents hand down a non-blocking pipe.
                select.select([self._fd], [], [])
            except OSError:
                return b""

    def _hand_over(self, value: Any, size: int) -> None:
        with self._room:
            while self._is_full() and not self._is_hung_up():
                self._room.wait(HANGUP_POLL_S)
            self._waiting.append((value, size))
            self._waiting_bytes += size
            if self._scheduled:
                return
            self._scheduled = True
        self._loop.call_soon_threadsafe(self._drain)

    def _is_full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES

    def _is_hung_up(self) -> bool:
        """Whether the client is gone: what is left in the pipe is little then, and end-of-file must be found."""
        if not hasattr(select, "poll"):  # Windows; never run. There a full queue delays the notice of end-of-file.
            return False
        poll = select.poll()
        poll.register(self._fd, getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))

    def _drain(self) -> None:
        """In the loop: deliver a slice of what is waiting."""
        for _ in range(DRAIN_SLICE):
            with self._room:
                if not self._waiting:
                    self._scheduled = False
                    return
                value, size = self._waiting.popleft()
                self._waiting_bytes -= size
                self._room.notify()
            try:
                self._deliver(value)
            except Exception:  # One message must never cost the stream.
                logger.exception("a message could not be handled")
        self._loop.call_soon(self._drain)


@dataclass(slots=True)
class _Entry:
    """One frame in the queue, made when it is taken if it carries tokens."""

    size: int
    body: bytes = b""
    key: Hashable = None
    token: int | str | None = None
    index: int = 0
    text: bytearray = field(default_factory=bytearray)
    """Not a list of strings: a string of three characters weighs sixty bytes."""

    def frame(self) -> bytes:
        body = self.body
        if self.token is not None:
            value = {"kind": "token", "text": self.text.decode("utf-8", "surrogatepass"), "index": self.index}
            params = {"token": self.token, "value": value}
            body = encode_json({"jsonrpc": "2.0", "method": "$/progress", "params": params})
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def encode_json(value: Any, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Make JSON of plain values; lone surrogates become escapes, which is the only way to say them in UTF-8."""
    try:
        return msgspec.json.encode(value, enc_hook=enc_hook)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(value, default=enc_hook, separators=(",", ":")).encode()


class StdoutPump(threading.Thread):
    """Writes frames to the client in order. Every method is short and safe to call from the loop.

    ``on_behind`` is called by whoever queues the byte too many, ``on_caught_up`` and ``on_broken`` by this thread.
    """

    def __init__(
        self,
        fd: int,
        *,
        on_behind: Callable[[], None],
        on_caught_up: Callable[[], None],
        on_broken: Callable[[], None],
    ) -> None:
        super().__init__(name="stdout", daemon=True)
        self._fd = fd
        self._on_behind = on_behind
        self._on_caught_up = on_caught_up
        self._on_broken = on_broken
        self._changed = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._latest: dict[Hashable, _Entry] = {}
        """Queued entries that a successor may replace or extend, by their key."""
        self._queued = 0
        self._behind = False

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not taken; those being written count."""
        return self._queued

    def send(self, body: bytes, replaces: Hashable = None) -> None:
        """Queue one message. With ``replaces``, a queued message of the same key gets the new content in its place."""
        with self._changed:
            old = self._latest.get(replaces) if replaces is not None else None
            if old is not None:
                self._queued += len(body) - old.size
                old.body, old.size = body, len(body)
                return
            self._append(_Entry(len(body), body, replaces))
        self._after_append()

    def send_token(self, token: int | str, text: str, index: int) -> None:
        """Queue a streamed piece of text; pieces of one stream that are still queued travel as one."""
        key = ("token", type(token), token)
        data = text.encode("utf-8", "surrogatepass")
        with self._changed:
            old = self._latest.get(key)
            if old is not None and old.size < WRITE_BYTES:
                old.text += data
                old.size += len(data)
                self._queued += len(data)
            else:
                self._append(_Entry(TOKEN_BYTES + len(data), b"", key, token, index, bytearray(data)))
        self._after_append()

    def _append(self, entry: _Entry) -> None:
        self._queue.append(entry)
        if entry.key is not None:
            self._latest[entry.key] = entry
        self._queued += entry.size
        self._changed.notify()

    def _after_append(self) -> None:
        if self._queued > HOPELESS_BYTES:
            self._on_broken()
        elif self._queued > BEHIND_BYTES and not self._behind:
            self._behind = True
            self._on_behind()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is written; False when the client does not take it in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queued, timeout_s)

    def run(self) -> None:
        """Write for ever."""
        while True:
            try:
                frames, size = self._take()
                self._write(memoryview(b"".join(frames)))
            except OSError:
                self._on_broken()
                return
            except Exception:  # A client that hears nothing any more is worse off than one whose server ended.
                logger.exception("writing to the client failed")
                self._on_broken()
                return
            with self._changed:
                self._queued -= size
                caught_up = self._behind and self._queued < CAUGHT_UP_BYTES
                if caught_up:
                    self._behind = False
                if not self._queued:
                    self._changed.notify_all()
            if caught_up:
                self._on_caught_up()

    def _take(self) -> tuple[list[bytes], int]:
        with self._changed:
            while not self._queue:
                self._changed.wait()
            entries: list[_Entry] = []
            size = 0
            while self._queue and size < WRITE_BYTES:
                entry = self._queue.popleft()
                if entry.key is not None and self._latest.get(entry.key) is entry:
                    del self._latest[entry.key]
                entries.append(entry)
                size += entry.size
        return [entry.frame() for entry in entries], size

    def _write(self, view: memoryview) -> None:
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                select.select([], [self._fd], [])
