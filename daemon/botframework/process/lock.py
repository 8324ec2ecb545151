"""A lock between processes that ends with its holder."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

POLL_S = 0.01
"""Between two attempts; there is no way to wait for a file lock with a time limit."""


class FileLock:
    """An exclusive lock on a file, as a context manager or step by step.

    The system gives it up when the holder ends, however it ends. It also excludes other instances in the same process.
    The file is never removed: a waiter may already hold it open.
    """

    def __init__(self, path: Path | str, timeout: float = 10.0) -> None:
        self.path = Path(path)
        self.timeout = timeout
        self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """Whether this instance holds the lock."""
        return self._descriptor >= 0

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Never waits, so an event loop may call it between two sleeps."""
        if self.is_held:
            raise RuntimeError(f"the lock is already held by this instance: {self.path}")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if try_lock(descriptor) and self._is_current(descriptor):
                self._descriptor = descriptor
        finally:
            if not self.is_held:
                os.close(descriptor)
        return self.is_held

    def acquire(self) -> None:
        """Take the lock, waiting up to the time-out.

        Raises
        ------
        TimeoutError
            When another holder kept it for that long.
        """
        deadline = time.monotonic() + self.timeout
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process holds the lock for more than {self.timeout:g} s: {self.path}")
            time.sleep(POLL_S)

    def release(self) -> None:
        """Give the lock up; nothing happens when it is not held."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # Closing alone would not do: a child between fork and exec still has a copy of the descriptor.
            _unlock(descriptor)
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """A cleaner of temporary folders may have removed the file after we opened it: then others lock another one."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


if sys.platform == "win32":  # never run
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file if nobody else has."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file or folder if nobody else has."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
