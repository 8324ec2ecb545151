"""Starting a worker process, and living with what it prints."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from botframework.manager.attach import last_words
from botframework.manager.launch import (
    LOG_BYTES_PER_S,
    LOG_RECORD_BYTES,
    TAIL_BYTES,
    WorkerOutput,
    describe_exit,
    launch,
)
from botframework.process import program
from support.house import soon

if TYPE_CHECKING:
    from pathlib import Path


class Log:
    """Collects what reaches the log, under a clock that is turned by hand."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.now = 0.0
        self.output = WorkerOutput(self.texts.append, lambda: self.now)

    @property
    def size(self) -> int:
        """Characters that have reached the log."""
        return sum(map(len, self.texts))


def test_output_reaches_the_log_as_whole_lines() -> None:
    """However the pipe cuts them; the rest without an end comes when the worker ends."""
    log = Log()

    for part in (b"first li", b"ne\nsecond line\nthi", b"rd"):
        log.output.data_received(part)
    before_the_end = list(log.texts)
    log.output.connection_lost(None)

    assert before_the_end == ["first line\nsecond line"]
    assert log.texts == ["first line\nsecond line", "third"]


def test_a_flood_reaches_the_log_at_its_own_pace() -> None:
    """Never more than the allowance; what is left out is counted and said."""
    log = Log()
    for _ in range(100):
        log.output.data_received(b"x" * 65_535 + b"\n")
    burst = log.size
    log.now = 1.0
    log.output.data_received(b"the end\n")

    assert burst <= LOG_BYTES_PER_S
    assert max(map(len, log.texts)) <= LOG_RECORD_BYTES
    assert log.texts[-2:] == [f"({100 * 65_536 - LOG_BYTES_PER_S} bytes of output left out)", "the end"]


def test_a_line_without_end_is_not_collected_for_ever() -> None:
    """It is cut where a record ends."""
    log = Log()
    for second in range(20):
        log.now = float(second)
        log.output.data_received(b"x" * 50_000)

    assert len(log.output._partial) <= LOG_RECORD_BYTES
    assert log.size == 20 * 50_000


def test_the_end_of_the_output_is_kept() -> None:
    """The last 64 KiB, whatever bytes they are."""
    log = Log()
    for _ in range(64):
        log.output.data_received(b"\xff" * 10_000)
    log.output.data_received(b"last words")

    assert len(log.output.tail) == TAIL_BYTES
    assert log.output.tail.endswith("\ufffdlast words")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "ended"),
        (0, "exited with status 0"),
        (70, "exited with status 70"),
        (-11, "was killed by SIGSEGV"),
        (-6, "was killed by SIGABRT"),
        (-9, "was killed by SIGKILL (by somebody, or by the system for want of memory)"),
        (-250, "was killed by signal 250"),
    ],
)
def test_ends_are_described_for_people(status: int | None, words: str) -> None:
    """Signals by their names."""
    assert describe_exit(status) == words


async def test_a_process_is_started_drained_and_reaped(tmp_path: Path) -> None:
    """Its output and its status are known, its folder is the one given."""
    code = "import os, sys; print(os.getcwd(), flush=True); sys.stderr.write('oh'); sys.exit(9)"

    process = await launch((sys.executable, "-c", code), tmp_path, ())
    status = await asyncio.wait_for(process.exited, 10)
    await soon(lambda: "oh" in process.tail)

    assert status == 9
    assert process.tail == f"{tmp_path}\noh"


async def test_who_asks_for_last_words_can_be_cancelled_at_their_very_moment(tmp_path: Path) -> None:
    """A cancel in the same round of the loop as the process's end is not swallowed: a supervisor is let go of then."""
    process = await launch((sys.executable, "-c", "import time; time.sleep(60)"), tmp_path, ())
    asked: list[asyncio.Task[str]] = []
    process.exited.add_done_callback(lambda _exited: asked[0].cancel())
    asked.append(asyncio.create_task(last_words(process, None)))
    await asyncio.sleep(0)  # It waits for the end now.

    process.kill()
    await asyncio.wait(asked, timeout=10)

    assert asked[0].cancelled()


async def test_a_crash_writes_no_core(tmp_path: Path) -> None:
    """A core of gigabytes would be written before anybody learns of the death; 1 also stops a piped one."""
    process = await launch((sys.executable, "-c", "import time; time.sleep(60)"), tmp_path, ())

    limits = resource.prlimit(process.pid, resource.RLIMIT_CORE)
    process.kill()

    assert limits == (1, 1)
    assert await asyncio.wait_for(process.exited, 5) == -signal.SIGKILL


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Nothing is left behind by the attempt."""
    with pytest.raises(FileNotFoundError):
        await launch((str(tmp_path / "none"),), tmp_path, ())


BOOTLOADER = """
import subprocess
program = subprocess.Popen(["sleep", "60"])
print("started", flush=True)
program.wait()
print("tidied up", flush=True)
"""


async def test_a_bootloader_is_left_to_tidy_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a program of one file the process that we start is the bootloader: what is killed is its child."""
    monkeypatch.setattr(program, "form", lambda: "file")
    process = await launch((sys.executable, "-c", BOOTLOADER), tmp_path, ())
    await soon(lambda: "started" in process.tail)

    process.kill()
    status = await asyncio.wait_for(process.exited, 10)
    await soon(lambda: "tidied up" in process.tail)

    assert status == 0
