"""Ways to end: at once, after a last delay, and on a signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Never

from botframework.process import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

EXIT_PARENT_GONE = 3
"""The process that started us, or that ``initialize`` named, is gone."""
EXIT_PIPE_BROKEN = 4
"""Nobody reads our standard error any more."""
EXIT_LAST_RESORT = 5
"""An orderly end did not come to its end."""
EXIT_SIGNAL = 128
"""Plus the signal's number: a second signal did not wait for the first one's orderly end."""

LAST_RESORT_S = 3.0
"""Later than our own orderly end (1.8 s) and than the client's patience (2 s): who still waits then waits in vain."""
STUCK_INTERPRETER_S = 0.25
"""How much later the watchdog without Python strikes when the one written in Python could not."""
ECHO_S = 0.1
"""The bootloader passes a signal on in less; nobody presses a key twice in this time."""

_heard: dict[int, float] = {}
"""By signal, when it last came (`time.monotonic`); like signals themselves of the whole process."""


def exit_now(code: int) -> Never:
    """End the process: no handlers, no flushing, nothing that could block."""
    os._exit(code)


def last_resort_exit(seconds: float = LAST_RESORT_S, code: int = EXIT_LAST_RESORT) -> Callable[[], None]:
    """End the process after that time, whatever the event loop and the other threads are doing.

    Returns
    -------
    A function that calls it off.
    """
    import faulthandler

    called_off = threading.Event()

    def wait() -> None:
        if not called_off.wait(seconds):
            exit_now(code)

    # The thread below needs the interpreter lock, which C code may hold for ever, and its start needs a lock of
    # `threading` that a signal handler may have interrupted the holder of. This one lives in C. It ends with 1 and
    # would print every stack, which could block on a standard error that nobody reads.
    silent = open(os.devnull, "w")  # noqa: SIM115, PTH123 - stays open until the end
    faulthandler.dump_traceback_later(seconds + STUCK_INTERPRETER_S, exit=True, file=silent)
    threading.Thread(target=wait, name="last-resort-exit", daemon=True).start()

    def call_off() -> None:
        called_off.set()
        faulthandler.cancel_dump_traceback_later()
        silent.close()

    return call_off


def on_signals(callback: Callable[[int], None]) -> None:
    """Call back once at the first signal that asks us to end; the second one ends the process at once.

    Must be called from the main thread, where the callback runs too, between two bytecodes of whatever runs there: it
    should do no more than wake the event loop.
    """
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            exit_now(EXIT_SIGNAL + number)
        asked = True
        callback(number)

    # SIGBREAK is Windows' Ctrl+Break, the only one that a parent can send there. Never run.
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        # Ignored from the start means nohup: not ours to undo. SIGINT may be ignored in a background job of a shell.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, without_echo(handle))


def without_echo(handle: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
    """A handler that is called once for a signal that comes twice within `ECHO_S`.

    A terminal sends its Ctrl-C to all processes of the job. In a program of one file the bootloader is one of them,
    and passes on to us what it gets: two signals for one key, where the second one means more than the first. Between
    the two the handler may have been exchanged for another one, so all of them share what was heard.
    """

    def once(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        before = _heard.get(number)
        _heard[number] = now
        if before is None or now - before > ECHO_S or program.bootloader() is None:
            handle(number, frame)

    return once
