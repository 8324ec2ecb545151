"""A daemon behind a wire tap: ``ghost_paint_relay.py JOURNAL COMMAND ...``, in the place of the daemon.

What comes in goes out, both ways; for each `textDocument/inlineCompletion` that was answered with a text, the journal
gets a line with the milliseconds between the request's last byte and the answer's last byte.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import IO, Any


def read_frame(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    """The next header and body; None at the end."""
    header = b""
    length = 0
    for line in iter(stream.readline, b""):
        header += line
        name, _, value = line.strip().partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif not name:
            return header, stream.read(length)
    return None


class Tap:
    """Who asked when."""

    def __init__(self, journal: str) -> None:
        self._journal = journal
        self._asked: dict[object, float] = {}

    def to_daemon(self, message: Any) -> None:
        """Remember requests for ghost text."""
        if message.get("method") == "textDocument/inlineCompletion":
            self._asked[message["id"]] = time.monotonic()

    def from_daemon(self, message: Any) -> None:
        """Note how long those took that brought some."""
        asked = self._asked.pop(message.get("id"), None) if "method" not in message else None
        if asked is not None and (message.get("result") or {}).get("items"):
            with open(self._journal, "a", encoding="utf-8") as file:  # noqa: PTH123 - nothing else of pathlib here
                file.write(f"{(time.monotonic() - asked) * 1_000:.3f}\n")


def main() -> int:
    """Run the daemon, and be in between."""
    journal, *command = sys.argv[1:]
    daemon = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    tap = Tap(journal)

    def editor_to_daemon(target: IO[bytes]) -> None:
        while (frame := read_frame(sys.stdin.buffer)) is not None:
            target.write(b"".join(frame))
            target.flush()
            tap.to_daemon(json.loads(frame[1]))
        target.close()

    threading.Thread(target=editor_to_daemon, args=(daemon.stdin,), daemon=True).start()
    while (frame := read_frame(daemon.stdout)) is not None:
        tap.from_daemon(json.loads(frame[1]))
        os.write(1, b"".join(frame))
    return daemon.wait()


if __name__ == "__main__":
    sys.exit(main())
