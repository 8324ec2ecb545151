"""A daemon that is nothing but a well-behaved process: it answers lines on its protocol stream until it is to end.

Usage: ``stub_daemon.py [NET ...]`` with the nets that may end it (default: all of ``eof pid poll signal``). Lines:
``ping`` → ``pong``, ``signals`` → how often the parent-death signal came, ``watch PID`` → ``True`` or ``False``,
``hang`` → an orderly end that never comes to its end, ``freeze`` → the same in C, holding the interpreter lock.
"""

from __future__ import annotations

from botframework import process

protocol_out = process.take_stdout()
protocol_in = process.take_stdin()

import ctypes  # noqa: E402 - taking the streams comes first
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from typing import Any  # noqa: E402

from botframework.process import parent  # noqa: E402

NETS = set(sys.argv[1:]) or {"eof", "pid", "signal"}
LAST_RESORT_S = 0.5


def no_event(_pid: int) -> None:
    """Stand in for a system that cannot wake us."""
    raise OSError


def start_watch() -> parent.ParentWatch:
    """Watch the parent with the chosen nets only."""
    watch = parent.ParentWatch()
    if "poll" in NETS:
        parent._wait_and_close = no_event  # type: ignore[assignment]
    if "signal" in NETS:
        watch._arm_signal()
    if NETS & {"poll", "pid"}:
        watch.add(parent.PARENT_AT_START)
    return watch


fired = 0
"""How often the parent-death signal came."""


def count_signals() -> None:
    """Put a counter before the handler of the parent-death signal."""
    number = signal.SIGRTMIN + 5
    handler: Any = signal.getsignal(number)

    def count(received: int, frame: object) -> None:
        global fired  # noqa: PLW0603
        fired += 1
        handler(received, frame)

    signal.signal(number, count)


def answer(watch: parent.ParentWatch, line: str) -> str:
    """Do what a line asks for."""
    match line.split():
        case ["ping"]:
            return "pong"
        case ["signals"]:
            return str(fired)
        case ["watch", pid]:
            return str(watch.add(int(pid)))
        case ["hang"]:
            process.last_resort_exit(LAST_RESORT_S)
            threading.Event().wait()
        case ["freeze"]:
            process.last_resort_exit(LAST_RESORT_S)
            ctypes.PyDLL(None).sleep(60)
    return "?"


def main() -> None:
    """Serve."""
    watch = start_watch()
    if "signal" in NETS:
        count_signals()
    ended = threading.Event()

    def serve() -> None:
        try:
            os.write(protocol_out, f"{os.getpid()}\n".encode())
            with os.fdopen(protocol_in) as lines:
                for line in lines:
                    os.write(protocol_out, answer(watch, line).encode() + b"\n")
        except BrokenPipeError:
            process.exit_now(process.EXIT_PIPE_BROKEN)
        if "eof" in NETS:
            ended.set()

    threading.Thread(target=serve, daemon=True).start()
    while not ended.wait(60):
        pass


if __name__ == "__main__":
    main()
