"""Asks the real llama.cpp what models would take, with our own `worker.measure`, many in one process.

Run as a program it reads one `Question` a line (JSON) and answers one `wire.Measured` or `wire.LoadFailed` a line. Each
is laid out in a fork of its own: the figures come through a log that a process has only once, and an import of
llama_cpp takes longer than all else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from botframework.wire import messages as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_PER_MODEL = 30
"""SIGALRM ends what takes longer."""


class Question(msgspec.Struct):
    """What to lay out."""

    load: wire.LoadModel
    keeps_window: bool = True
    """False: as llama.cpp makes contexts by itself, with short caches for sliding windows."""


class Ask(Protocol):
    """The way to the other process."""

    def __call__(self, load: wire.LoadModel, *, keeps_window: bool = True) -> wire.Measured:
        """What llama.cpp says of a load."""
        ...


@contextmanager
def layout() -> Iterator[Ask]:
    """A function from a load to what llama.cpp says of it."""
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:

        def ask(load: wire.LoadModel, *, keeps_window: bool = True) -> wire.Measured:
            assert process.stdin
            assert process.stdout
            process.stdin.write(msgspec.json.encode(Question(load, keeps_window)) + b"\n")
            process.stdin.flush()
            answer = msgspec.json.decode(process.stdout.readline(), type=wire.Measured | wire.LoadFailed)
            assert isinstance(answer, wire.Measured), answer
            return answer

        try:
            yield ask
        finally:
            process.kill()


def _answer(line: bytes) -> bytes:
    import llama_cpp.llama_cpp as lib

    from botframework.errors import BotframeworkError
    from botframework.worker.measure import measure

    question = msgspec.json.decode(line, type=Question)
    begin = lib.llama_init_from_model

    def begin_short(model: Any, params: Any) -> Any:
        params.swa_full = False
        return begin(model, params)

    if not question.keeps_window:
        lib.llama_init_from_model = begin_short
    try:
        return msgspec.json.encode(measure(question.load))
    except BotframeworkError as error:
        failed = wire.LoadFailed(kind=type(error).__name__, message=error.message, data=error.data)
        return msgspec.json.encode(failed)


def _main() -> None:
    import signal

    import botframework.worker.llama  # noqa: F401 - once for all forks

    for line in sys.stdin.buffer:
        pid = os.fork()
        if not pid:
            signal.alarm(SECONDS_PER_MODEL)
            sys.stdout.buffer.write(_answer(line) + b"\n")
            sys.stdout.buffer.flush()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            failed = wire.LoadFailed(kind="ModelCorrupt", message=f"status {os.waitstatus_to_exitcode(status)}")
            sys.stdout.buffer.write(msgspec.json.encode(failed) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
