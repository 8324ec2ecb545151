"""Which models are in use: a shared lock on the file, of every process that has it loaded.

It is of the file and not of its name, so it does not matter by which one it was opened, and the system gives it up with
the process. Who only reads needs none: a removed file stays whole for those that have it open or mapped.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Self

from botframework.process.durable import FLAGS

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

TRIES = 20
BETWEEN_TRIES_S = 0.005
"""Who asks whether a file is free holds it for microseconds."""
_FOLLOWING = FLAGS & ~getattr(os, "O_NOFOLLOW", 0)
"""A visible name may be a symbolic link."""


class Hold:
    """Keeps a model from being removed until it is released. What cannot be locked can be loaded all the same."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | _FOLLOWING)
            _share(self._descriptor)

    def release(self) -> None:
        """Let go of it; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            _give_up(descriptor)
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether any process, also this one, has taken a hold of the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _FOLLOWING)
    except OSError:
        return False
    try:
        return not _is_free(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":  # never run; an open file cannot be deleted there, which is the same promise

    def _share(descriptor: int) -> None:
        del descriptor

    def _give_up(descriptor: int) -> None:
        del descriptor

    def _is_free(descriptor: int) -> bool:
        del descriptor
        return True

else:
    import fcntl

    def _share(descriptor: int) -> None:
        for _ in range(TRIES):  # somebody may just be asking whether it is free
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(BETWEEN_TRIES_S)
            else:
                return

    def _give_up(descriptor: int) -> None:
        # Closing alone would not do: a child between fork and exec still has a copy of the descriptor.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _is_free(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks knows of no holds
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True
