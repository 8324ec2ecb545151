"""Noticing that nobody needs us any more.

Two nets of four are here; standard input's end belongs to whoever reads it, the worker's to its connections.

* A thread per watched process, by pid and start time so that a recycled pid is seen. It is woken by the system where
  the system can (pidfd, kqueue, a process handle) and looks every `POLL_S` in any case.
* Linux: ``PR_SET_PDEATHSIG`` with a signal that we catch. It fires when the *thread* that started us ends, which
  happens in editors that start processes from a pool of threads, so it is only a reason to look.

In a program of one file (`process.program`) the bootloader stands between us and who started us: both are watched.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from botframework.process import program
from botframework.process.ending import EXIT_PARENT_GONE, exit_now
from botframework.process.identity import is_alive, parent_of, start_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

POLL_S = 1.0
"""Half a second on average is what an orphan may live where the system has no event for it."""

PARENT_AT_START = os.getppid()
"""Taken as early as can be: a parent that ends before we ask would otherwise be unknown."""

_PR_SET_PDEATHSIG = 1


def _exit_silently(_reason: str) -> None:
    exit_now(EXIT_PARENT_GONE)


class ParentWatch:
    """Calls back, from a thread of its own or from a signal handler, when a watched process is gone.

    By default it ends the process on the spot. The callback may be called more than once.
    """

    def __init__(self, on_gone: Callable[[str], None] = _exit_silently) -> None:
        self._on_gone = on_gone
        self._stopped = threading.Event()
        self._watched: set[int] = set()

    def start(self) -> None:
        """Watch the process that started us. From the main thread, for the sake of the signal."""
        bootloader = program.bootloader()
        editor = parent_of(bootloader) if bootloader == PARENT_AT_START else None
        self._arm_signal()
        if self._orphaned():
            self._on_gone("the parent process ended during our start")
        elif PARENT_AT_START > 1:
            self.add(PARENT_AT_START)
        self._add_bootloader(bootloader)
        if editor is not None and editor > 1 and not self.add(editor):
            self._on_gone("the editor ended during our start")

    def start_with_bootloader(self) -> None:
        """Watch nothing but the bootloader of a program of one file; in other programs there is nothing to watch.

        For a process that may outlive who started it, as a worker does: without its bootloader nobody would remove its
        folder, and who sends a signal to the one means both. From the main thread.
        """
        bootloader = program.bootloader()
        if bootloader == PARENT_AT_START:
            self._arm_signal()
        self._add_bootloader(bootloader)

    def add(self, pid: int) -> bool:
        """Watch another process too, the one that the client says it is.

        Returns
        -------
        False when no such process is there: it does not count, for a client in another container sends a pid that
        means nothing here.
        """
        if pid in self._watched or pid == os.getpid():
            return True
        started = start_time(pid)
        if not is_alive(pid, started):
            return False
        self._watched.add(pid)
        threading.Thread(target=self._watch, args=(pid, started), name=f"watch-{pid}", daemon=True).start()
        return True

    def _add_bootloader(self, bootloader: int | None) -> None:
        if bootloader is not None and not self.add(bootloader):
            self._on_gone("the bootloader ended during our start")

    def stop(self) -> None:
        """Let the threads end within a second."""
        self._stopped.set()

    def _watch(self, pid: int, started: float | None) -> None:
        wait, close = _event_of(pid)
        try:
            ended = False
            while not self._stopped.is_set():
                if ended or not is_alive(pid, started) or (pid == PARENT_AT_START and self._orphaned()):
                    self._on_gone(f"process {pid} is gone")
                    return
                ended = wait(POLL_S)
        finally:
            close()

    def _orphaned(self) -> bool:
        return sys.platform != "win32" and os.getppid() != PARENT_AT_START

    def _arm_signal(self) -> None:
        if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
            import ctypes

            # A real-time signal: nobody else sends it, and its default action would end us just as well.
            number = signal.SIGRTMIN + 5
            prctl = ctypes.CDLL(None).prctl

            def arm() -> None:
                # A refusal (seccomp) leaves the other nets.
                prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)

            def handle(_number: int, _frame: FrameType | None) -> None:
                if self._orphaned():
                    self._on_gone("the parent process ended")
                # Still armed for the next thread that we belong to now; saying so again costs nothing.
                arm()

            signal.signal(number, handle)
            arm()


if sys.platform == "linux":

    def _wait_and_close(pid: int) -> tuple[Callable[[float], bool], Callable[[], None]]:
        import select

        descriptor = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return lambda seconds: bool(poll.poll(seconds * 1_000)), lambda: os.close(descriptor)

elif sys.platform == "darwin":  # never run

    def _wait_and_close(pid: int) -> tuple[Callable[[float], bool], Callable[[], None]]:
        import select

        queue = select.kqueue()
        event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ENABLE, select.KQ_NOTE_EXIT)
        try:
            queue.control([event], 0, 0)
        except OSError:
            queue.close()
            raise
        return lambda seconds: bool(queue.control(None, 1, seconds)), queue.close

elif sys.platform == "win32":  # never run

    def _wait_and_close(pid: int) -> tuple[Callable[[float], bool], Callable[[], None]]:
        import ctypes
        from ctypes import wintypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenProcess.restype = wintypes.HANDLE
        kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
        kernel32.WaitForSingleObject.restype = wintypes.DWORD
        kernel32.WaitForSingleObject.argtypes = [wintypes.HANDLE, wintypes.DWORD]
        kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
        synchronize, object_0 = 0x0010_0000, 0
        handle = kernel32.OpenProcess(synchronize, False, pid)
        if not handle:
            raise ctypes.WinError(ctypes.get_last_error())

        def wait(seconds: float) -> bool:
            return bool(kernel32.WaitForSingleObject(handle, int(seconds * 1_000)) == object_0)

        def close() -> None:
            kernel32.CloseHandle(handle)

        return wait, close

else:

    def _wait_and_close(_pid: int) -> tuple[Callable[[float], bool], Callable[[], None]]:
        raise OSError("no such thing here")


def _event_of(pid: int) -> tuple[Callable[[float], bool], Callable[[], None]]:
    """How to wait for the end of a process, at most so many seconds, and how to stop doing so."""
    try:
        return _wait_and_close(pid)
    except (OSError, AttributeError):
        # An old kernel, a sandbox, a process just gone: looking from time to time will do.
        def wait(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        return wait, lambda: None
