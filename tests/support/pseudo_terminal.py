"""A command on a pseudo-terminal, as a person at a keyboard has it: with an echo, control keys, and escape codes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEADLINE_S = 60.0
CTRL_C = "\x03"
CTRL_D = "\x04"
ENTER = "\r"

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-_])")
_TAKE_THE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the terminal the controlling one, so that its control keys become signals."""


class PseudoTerminal:
    """One command, and everything that it has shown."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], columns: int = 120) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_THE_TERMINAL, *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm-256color", **env},
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""
        """With every escape code."""
        self._seen = 0

    @property
    def shown(self) -> str:
        """The text without escape codes, lines ended as in a file."""
        return plain(self.raw)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def until(self, text: str, *, deadline_s: float = DEADLINE_S) -> str:
        """Wait until a text is shown that was not there at the last call; give back what came up to its end."""
        deadline = time.monotonic() + deadline_s
        while (at := self.shown.find(text, self._seen)) < 0:
            assert self._take(deadline), f"{text!r} was not shown: {self.shown[self._seen :]!r}"
        start, self._seen = self._seen, at + len(text)
        return self.shown[start : self._seen]

    def wait(self, *, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the command's end; its exit code."""
        deadline = time.monotonic() + deadline_s
        while self._take(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def take(self, deadline_s: float = DEADLINE_S) -> bool:
        """Take what is shown next; False: the command has ended, or the time is over."""
        return self._take(time.monotonic() + deadline_s)

    def grow(self, characters: int) -> None:
        """Take until so many more characters are shown, by a command that goes on."""
        enough = len(self.shown) + characters
        while len(self.shown) < enough:
            assert self.process.poll() is None
            self.take()

    def _take(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # nobody has the other end open any more
            return False
        self.raw += data.decode("utf-8", "replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


def plain(raw: str) -> str:
    """A terminal's text without its escape codes."""
    return _ESCAPES.sub("", raw).replace("\r\n", "\n")
