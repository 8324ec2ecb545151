"""Processes seen from outside: who is whose child, who is left, when somebody is gone. Linux only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ORPHAN_S = 10.0
"""Whoever is still there then is not slow but an orphan."""
LEFT_OVER_S = 3.0
"""For the processes of a finished test to end; the last-resort timer of a daemon strikes after as long."""


def family(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


class Watch:
    """Processes that are to end. Made while they live, so that a pid that is used again fools nobody."""

    def __init__(self, *pids: int) -> None:
        self._handles = {pid: os.pidfd_open(pid) for pid in pids}

    def handle(self, pid: int) -> int:
        """A descriptor that means this very process, for signals."""
        return self._handles[pid]

    async def gone_after(self, since: float) -> float:
        """Wait until all of them are gone; seconds from ``since`` (`time.monotonic`) to the end of the last one."""
        return await asyncio.to_thread(self.all_gone_after, since)

    def all_gone_after(self, since: float) -> float:
        """The same, for tests without a loop."""
        for pid, handle in self._handles.items():
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            left_s = max(0.0, since + ORPHAN_S - time.monotonic())
            assert poll.poll(left_s * 1_000), f"process {pid} is an orphan: {_command(pid)}"
        return time.monotonic() - since

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "?"


def belonging_to(folder: Path) -> list[int]:
    """Living processes that were started with this runtime folder, and the children of such."""
    mark = f"BOTFRAMEWORK_RUNTIME_DIR={folder}".encode()
    found: set[int] = set()
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(OSError, psutil.Error):
            if mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                found |= {process.pid, *family(process.pid)}
    return sorted(pid for pid in found if _lives(pid))


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """End with a failure if a process of this runtime folder outlives the block; end the process too."""
    yield
    deadline = time.monotonic() + LEFT_OVER_S
    while (left := belonging_to(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    commands = {pid: _command(pid) for pid in left}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not commands, f"left behind: {commands}"
