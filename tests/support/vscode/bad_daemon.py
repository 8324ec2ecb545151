"""A program that an editor takes for the daemon, and that does one thing wrong.

``bad_daemon.py MODE``; what it does wrong by its mode:

    crash       says why on standard error and ends before it reads anything
    newer       speaks a version of the protocol that nobody knows yet
    older       names no version, as a daemon of another kind would
    silent      never answers
    garbage     prints something that is no message
    stubborn    answers, but neither `shutdown` nor `exit`, a closed pipe or SIGTERM end it
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

CAPABILITIES: dict[str, Any] = {"textDocumentSync": 2, "inlineCompletionProvider": True, "positionEncoding": "utf-16"}
REASON = "libvortex.so.7: cannot open shared object file"
"""What the crashing one says; no other program says that."""


def read() -> dict[str, Any] | None:
    """The next message; None at the end."""
    length = 0
    for line in iter(sys.stdin.buffer.readline, b""):
        name, _, value = line.strip().partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif not name:
            message: dict[str, Any] = json.loads(sys.stdin.buffer.read(length))
            return message
    return None


def answer(message: dict[str, Any], result: object) -> None:
    """Send a response."""
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    sys.stdout.buffer.flush()


def initialized(mode: str) -> dict[str, Any]:
    """The answer to ``initialize``."""
    own = {"protocolVersion": 1 if mode == "stubborn" else 9_999}
    experimental = {} if mode == "older" else {"experimental": {"botframework": own}}
    info = {"name": "something" if mode == "older" else "botframework", "version": "99.0.0"}
    return {"capabilities": {**CAPABILITIES, **experimental}, "serverInfo": info}


def main(mode: str) -> None:
    """Do it wrong."""
    if mode == "crash":
        sys.exit(f"botframework: {REASON}")
    if mode == "garbage":
        sys.stdout.write("Usage: botframework FILE\n" * 20)
        sys.stdout.flush()
    if mode == "stubborn":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    while (message := read()) is not None:
        if message.get("method") == "initialize" and mode not in {"silent", "garbage"}:
            answer(message, initialized(mode))
        elif "id" in message and message.get("method") != "shutdown" and mode not in {"silent", "garbage"}:
            answer(message, None)
        elif message.get("method") == "exit" and mode != "stubborn":
            return
    while mode == "stubborn":
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])
