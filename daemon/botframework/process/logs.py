"""Logging that can neither block nor end up on standard output.

Every record goes to standard error and to a rotating file. Both are written by threads of their own behind bounded
queues: a supervisor that does not read our standard error, or a stalled disk, costs lines and nothing else.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import io
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from botframework.process.ending import EXIT_PIPE_BROKEN, exit_now
from botframework.process.lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_NAME = "botframework.log"
MAX_FILE_BYTES = 2 * 1024 * 1024
"""Of one log file."""
MAX_FILES = 5
"""10 MiB in all: a few days of normal use, small enough to attach to a report."""
MAX_QUEUED_BYTES = 1024 * 1024
"""What may wait for a slow reader: several thousand lines. Older ones are dropped first and counted."""
MAX_LINE_CHARS = 8_192
"""A longer record is cut: nothing that we say on purpose is longer, a library's dump of a message is."""
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(process)d %(name)s: %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"

OWN_LOGGER = "botframework"
CAPPED_LOGGERS = ("pygls", "lsprotocol", "asyncio")
"""pygls writes every message body at INFO."""


class Logs:
    """The logging of this process; made by `set_up`."""

    def __init__(self, sinks: tuple[_Sink, ...], path: Path | None) -> None:
        self._sinks = sinks
        self.path: Final = path
        """The log file, if it can be written."""

    def set_level(self, level: str) -> None:
        """Change the least level of our own records: error, warning, info or debug."""
        logging.getLogger(OWN_LOGGER).setLevel(level.upper())

    def flush(self, seconds: float = 0.2) -> None:
        """Wait for the queues to empty, but not for long: the last thing of an orderly end."""
        deadline = time.monotonic() + seconds
        for sink in reversed(self._sinks):  # the file first: standard error may have no reader
            sink.flush(deadline)


def set_up(level: str, folder: Path | None, *, take_streams: bool = False, to_stderr: bool = True) -> Logs:
    """Send the records of this process to standard error and to the file in that folder.

    Parameters
    ----------
    level:
        Least level of our own records. Other libraries' are written from WARNING on.
    folder:
        Where the file goes, created when it is missing. None, or one that cannot be written: no file.
    take_streams:
        Make what is printed to ``sys.stdout`` and ``sys.stderr`` a record too. A ``print`` somewhere in a library
        would otherwise block on a full pipe.
    to_stderr:
        Without it records go to the file only: a worker outlives the daemon that reads its standard error, and must
        not end with it.
    """
    file = None if folder is None else _RotatingFile.open(folder)
    sinks = (*((_Sink("stderr", _write_stderr),) if to_stderr else ()), *((_Sink("file", file.write),) if file else ()))
    handler = _Handler(sinks)
    handler.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in CAPPED_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    # A handler that fails has nobody to tell: the default prints a traceback to standard error.
    logging.raiseExceptions = False
    if take_streams:
        sys.stdout = _Stream(logging.getLogger(f"{OWN_LOGGER}.stdout"))
        sys.stderr = _Stream(logging.getLogger(f"{OWN_LOGGER}.stderr"))
    logs = Logs(sinks, None if file is None else file.path)
    logs.set_level(level)
    # The traceback that ends the process is the one that must not be lost.
    atexit.register(logs.flush, 0.5)
    return logs


def bodies_allowed() -> bool:
    """Whether request bodies may be logged: only when the user asked for exactly that."""
    return os.environ.get("BOTFRAMEWORK_DEBUG") == "llm"


class _Handler(logging.Handler):
    def __init__(self, sinks: tuple[_Sink, ...]) -> None:
        super().__init__()
        self._sinks = sinks

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            if len(text) > MAX_LINE_CHARS:
                text = text[:MAX_LINE_CHARS] + " […]"
            # Indented, a line from inside a message cannot be taken for a record of its own.
            line = text.replace("\r", "\\r").replace("\n", "\n  ").encode("utf-8", "backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 - whatever an argument's __str__ does, logging is no reason to fail
            line = b"a record could not be formatted\n"
        for sink in self._sinks:
            sink.put(line)


class _Sink:
    """A bounded queue of lines and the thread that writes them."""

    def __init__(self, name: str, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._lines: collections.deque[bytes] = collections.deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._writing = False
        threading.Thread(target=self._run, name=f"log-{name}", daemon=True).start()

    def put(self, line: bytes) -> None:
        with self._changed:
            while self._lines and self._queued_bytes + len(line) > MAX_QUEUED_BYTES:
                self._queued_bytes -= len(self._lines.popleft())
                self._dropped += 1
            self._lines.append(line)
            self._queued_bytes += len(line)
            self._changed.notify_all()

    def flush(self, deadline: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._writing, max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                line, self._writing = self._lines.popleft(), True
                self._queued_bytes -= len(line)
                dropped, self._dropped = self._dropped, 0
            if dropped:
                line = f"{dropped} records were dropped here: the reader was too slow\n".encode() + line
            with contextlib.suppress(OSError):  # a full disk: this line is lost, the next one may not be
                self._write(line)


def _write_stderr(line: bytes) -> None:
    view = memoryview(line)
    while view:
        try:
            view = view[os.write(2, view) :]
        except BrokenPipeError:
            # Whoever started us is gone. Complaining about it would fail again, and again.
            exit_now(EXIT_PIPE_BROKEN)
        except BlockingIOError:
            time.sleep(0.05)  # somebody made the pipe non-blocking; only this thread waits


class _RotatingFile:
    """A log file that several processes append to and any of them rotates."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path: Final = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, folder: Path) -> _RotatingFile | None:
        path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return cls(path, _open_log(path))
        except OSError:
            return None

    def write(self, line: bytes) -> None:
        if os.fstat(self._descriptor).st_size + len(line) > MAX_FILE_BYTES or self._was_rotated():
            # Windows does not rename a file that another process has open: then it grows to twice its size at most.
            with contextlib.suppress(OSError):
                self._rotate(len(line))
        if os.fstat(self._descriptor).st_size < 2 * MAX_FILE_BYTES:
            # One call with O_APPEND: lines of several processes do not mix.
            os.write(self._descriptor, line)

    def _was_rotated(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            return True

    def _rotate(self, wanted: int) -> None:
        with FileLock(self.path.with_suffix(".lock"), timeout=1.0):
            # Another process may have done it while we waited.
            if self.path.exists() and self.path.stat().st_size + wanted > MAX_FILE_BYTES:
                for number in range(MAX_FILES - 1, 0, -1):
                    older = self._numbered(number - 1)
                    if older.exists():
                        older.replace(self._numbered(number))
        old, self._descriptor = self._descriptor, _open_log(self.path)
        os.close(old)

    def _numbered(self, number: int) -> Path:
        return self.path if number == 0 else self.path.with_suffix(f".log.{number}")


def _open_log(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    if sys.platform != "win32":
        os.fchmod(descriptor, 0o600)  # an older file may have been made by hand
    return descriptor


class _Stream(io.TextIOBase):
    """A text stream whose lines become records."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._rest = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2  # for a child that is to inherit it

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > MAX_LINE_CHARS:
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            if line:
                self._logger.warning("%s", line)
        return len(text)
