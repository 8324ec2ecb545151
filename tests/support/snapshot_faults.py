"""Faults at every system call of a snapshot's writing. Runs in a process of its own, which it forks for every fault.

``python -m support.snapshot_faults MODE FOLDER`` prints one JSON object: for every N the call that was hit, what
`write` said, and which content was found afterwards. MODE is

``fail``  the N-th call raises an error of the system and does nothing;
``late``  the N-th call does its work and raises all the same;
``short`` the N-th call, if it writes, writes a part only; every later write fails: a disk that fills up;
``kill``  SIGKILL in the place of the N-th call;
``first`` as ``kill``, with no snapshot there before;
``read``  as ``fail``, while a snapshot is read.
"""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import signal
import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botframework.worker.fingerprint import DIGEST_BYTES, FINGERPRINT_BYTES
from botframework.worker.parked import ParkedState
from botframework.worker.snapshots import SnapshotFolder

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = ["open", "write", "fsync", "close", "replace", "rename", "unlink", "remove", "mkdir", "rmdir"]
CALLS += ["stat", "lstat", "fstat", "listdir", "scandir", "utime", "chmod"]
KEY = bytes(range(DIGEST_BYTES))
FINGERPRINT = b"f" * FINGERPRINT_BYTES
LIMIT_BYTES = 64 * 1024 * 1024


def old() -> ParkedState:
    """The snapshot that is there before."""
    return ParkedState(array("i", range(100)), b"old" * 500_000, b"the old note")


def new() -> ParkedState:
    """The one that is to take its place."""
    return ParkedState(array("i", range(50, 400)), b"newer" * 500_000, b"the new note")


def folder_at(path: Path) -> SnapshotFolder:
    """The folder as a worker sees it."""
    return SnapshotFolder(path, limit_bytes=LIMIT_BYTES, fingerprint=FINGERPRINT)


def name_of(found: ParkedState | None) -> str:
    """Which of the two a reader got."""
    return "none" if found is None else "old" if found == old() else "new" if found == new() else "other"


class Faults:
    """Counts the calls of `os` and strikes at one of them."""

    def __init__(self, mode: str, number: int) -> None:
        self.mode = mode
        self.number = number
        self.count = 0
        self.struck = ""

    def arm(self) -> None:
        """Put itself before every function that `CALLS` names."""
        for name in CALLS:
            setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.mode == "short" and self.struck and name == "write":
                raise OSError(errno.ENOSPC, "the disk is full")
            if self.count != self.number:
                return call(*args, **options)
            self.struck = name
            if self.mode in {"kill", "first"}:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.mode == "late" or name == "close":
                call(*args, **options)
            if self.mode == "short":
                return call(args[0], args[1][: len(args[1]) // 2]) if name == "write" else call(*args, **options)
            raise OSError(errno.EIO, "a fault of the disk")

        return wrapped


def one_fault(mode: str, number: int, path: Path) -> dict[str, Any]:
    """Strike at one call in a child; what happened, and what a fresh reader finds."""
    before = folder_at(path)
    before.clear()
    if mode != "first":
        assert before.write(KEY, old())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        faults = Faults(mode, number)
        folder = folder_at(path)
        faults.arm()
        said: object = name_of(folder.read(KEY)) if mode == "read" else folder.write(KEY, new())
        faults.number, faults.mode = -1, ""
        os.write(writer, json.dumps({"struck": faults.struck, "said": said}).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
        told = json.loads(pipe.read() or b"{}")
    _, status = os.waitpid(child, 0)
    return {
        **told,
        "exit": os.waitstatus_to_exitcode(status),
        "found": name_of(folder_at(path).read(KEY)),
        "leftovers": len(list(path.glob(".*.part"))),
    }


def main() -> None:
    """Strike at the first call, the second, … until the writing ends before it is struck."""
    mode, path = sys.argv[1], Path(sys.argv[2])
    logging.disable(logging.CRITICAL)
    results = []
    for number in range(1, 1_000):
        results.append(one_fault(mode, number, path))
        if results[-1]["exit"] == 0 and not results[-1]["struck"]:
            break
    print(json.dumps(results))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
