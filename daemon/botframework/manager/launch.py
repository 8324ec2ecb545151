"""Start a worker process, listen to what it prints, notice its end.

A worker is nobody's child in spirit: it may outlive the daemon that started it, because others use it. So nothing here
ends a worker when it is forgotten, and nothing but `WorkerProcess.kill` ends one at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

from botframework.process import children_of, own_command, program, worker_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOG_BYTES_PER_S = 256 * 1024
"""Of a worker's output that reach our log; a defect that prints without end must not fill the disk or take our time."""
LOG_RECORD_BYTES = 8_000
"""One log record holds at most this much (`process.logs` cuts longer ones); a record costs about 20 µs."""
TAIL_BYTES = 64 * 1024
"""Of a worker's output that are kept for the crash report."""

_LIKELY_REASONS = {
    "SIGKILL": " (by somebody, or by the system for want of memory)",
    "SIGILL": " (this llama.cpp was built for another processor)",
    "SIGBUS": " (the model file was changed while it was in use)",
}

_log = logging.getLogger("botframework.worker")


def default_command() -> tuple[str, ...]:
    """What starts a worker; ``--key``, ``--runtime`` and ``--fd`` are appended."""
    return own_command("worker")


class WorkerProcess:
    """A worker that this daemon started. Its zombie is reaped and its output drained for as long as we live."""

    def __init__(self, process: subprocess.Popen[bytes], output: WorkerOutput) -> None:
        self.pid = process.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The return code; negative for a signal."""
        self._process = process
        self._output = output
        # A thread that sleeps in waitpid: no polling, the same on every system, and it keeps a Popen alive whose
        # finaliser would complain about a process that rightly outlives us.
        waiter = threading.Thread(
            target=_wait, args=(process, asyncio.get_running_loop(), self._has_exited), name="worker-wait", daemon=True
        )
        waiter.start()

    def _has_exited(self, status: int) -> None:
        if not self.exited.done():
            self.exited.set_result(status)

    @property
    def tail(self) -> str:
        """The last of what it printed."""
        return self._output.tail

    def kill(self) -> None:
        """End it now. Only for a process that never got as far as serving anybody.

        In a program of one file it is the bootloader's child that is ended, so that the bootloader removes the folder.
        While it still unpacks there is no child; the one that it will start finds nobody and ends by itself.
        """
        if self.exited.done():
            return
        if program.form() != "file":
            self._process.kill()
            return
        for child in children_of(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, tell: Callable[[int], None]) -> None:
    status = process.wait()
    with contextlib.suppress(RuntimeError):  # the loop has ended before the worker: nobody is left to be told
        loop.call_soon_threadsafe(tell, status)


class WorkerOutput(asyncio.Protocol):
    """Takes everything that a worker prints, keeps the end, and lets a bounded part of it into the log."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.taken_bytes = 0
        self._log = log
        self._clock = clock
        self._tail = bytearray()
        self._partial = b""
        self._allowance = float(LOG_BYTES_PER_S)
        self._refilled_at = clock()
        self._left_out = 0

    @property
    def tail(self) -> str:
        """The last `TAIL_BYTES` as text."""
        return self._tail[-TAIL_BYTES:].decode("utf-8", "replace")

    def data_received(self, data: bytes) -> None:
        """asyncio: the worker printed something."""
        self.taken_bytes += len(data)
        self._tail += data
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        now = self._clock()
        self._allowance = min(LOG_BYTES_PER_S, self._allowance + (now - self._refilled_at) * LOG_BYTES_PER_S)
        self._refilled_at = now
        if len(data) > self._allowance:
            self._left_out += len(data)
            return
        self._allowance -= len(data)
        self._tell_left_out()
        pending = self._partial + data
        text, _, self._partial = pending.rpartition(b"\n")
        if len(self._partial) > LOG_RECORD_BYTES:
            # A line without an end is cut, or it would be collected for ever.
            text, self._partial = pending, b""
        for start in range(0, len(text), LOG_RECORD_BYTES):
            self._log(text[start : start + LOG_RECORD_BYTES].decode("utf-8", "replace"))

    def _tell_left_out(self) -> None:
        if self._left_out:
            self._log(f"({self._left_out} bytes of output left out)")
            self._left_out = 0
            self._partial = b""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """asyncio: the worker closed its output, usually by ending."""
        self._tell_left_out()
        if self._partial:
            self._log(self._partial.decode("utf-8", "replace"))
            self._partial = b""


async def launch(command: Sequence[str], folder: Path, inherited: Sequence[int]) -> WorkerProcess:
    """Start a worker process.

    Parameters
    ----------
    command
        The whole command line.
    folder
        Becomes the working folder: ours and private, so that nothing is ever picked up from a workspace.
    inherited
        Descriptors that the worker keeps.

    Raises
    ------
    OSError
        The program cannot be started.
    """
    options: dict[str, object] = {}
    if sys.platform == "win32":  # Never run.
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    else:
        options["start_new_session"] = True  # a Ctrl-C in the editor's terminal is not for the worker
        options["pass_fds"] = tuple(inherited)
    process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]  # noqa: ASYNC220 - 2 ms with vfork
        list(command),
        cwd=folder,
        env=worker_environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        **options,
    )
    _forbid_core(process.pid)
    output = WorkerOutput(lambda text: _log.info("worker %d: %s", process.pid, text))
    worker = WorkerProcess(process, output)
    pipe, process.stdout = process.stdout, None
    assert pipe is not None  # noqa: S101 - asked for above
    await _drain(pipe, output)
    return worker


def _forbid_core(pid: int) -> None:
    """Let a crash be a quick one: a core of gigabytes is written before the connections close and anybody is told."""
    if sys.platform == "linux":
        import resource

        # 1, not 0: a core that is piped to a handler is stopped by this very number only.
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (1, 1))


async def _drain(pipe: IO[bytes], output: WorkerOutput) -> None:
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":  # Never run: asyncio reads only overlapped pipes there, and Popen makes plain ones.
        threading.Thread(target=_drain_in_thread, args=(pipe, loop, output), name="worker-output", daemon=True).start()
    else:
        await loop.connect_read_pipe(lambda: output, pipe)


def _drain_in_thread(pipe: IO[bytes], loop: asyncio.AbstractEventLoop, output: WorkerOutput) -> None:
    with pipe:
        while data := pipe.read(TAIL_BYTES):
            try:
                loop.call_soon_threadsafe(output.data_received, data)
            except RuntimeError:
                return


def watch_stranger(pid: int) -> asyncio.Future[int]:
    """Tell when a process ends that is not our child; on systems that cannot, the future stays open for ever.

    A connection that is not being read shows no end either, and a process that the worker left behind could hold it.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    if sys.platform != "linux":
        return ended
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return ended  # gone already, which the connection will show

    def readable() -> None:
        if not ended.done():
            ended.set_result(0)

    def forget(_: asyncio.Future[int]) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    loop.add_reader(descriptor, readable)
    ended.add_done_callback(forget)
    return ended


def describe_exit(status: int | None) -> str:
    """Say how a process ended, for people."""
    if status is None:
        return "ended"
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}{_LIKELY_REASONS.get(name, '')}"
