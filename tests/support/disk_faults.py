"""Faults at every system call of something that writes files: the N-th one fails, for N = 1, 2, … until none is struck.

The calls are those that go through `os`; each fault strikes in a process that is forked for it, and what is on the disk
afterwards is looked at by the one that lives on. A mode is

``fail``  the N-th call raises an error of the system and does nothing;
``late``  the N-th call that changes something does so, and raises all the same;
``short`` the N-th write writes a part only; every later one fails: a disk that fills up;
``full``  from the N-th call on that needs room every such call fails: a disk that is full;
``kill``  SIGKILL in the place of the N-th call that changes something; between two of them all moments are the same.
"""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODES = ("fail", "late", "short", "full", "kill")
WRITES = frozenset({"write", "pwrite", "writev", "pwritev"})
GROWS = WRITES | {"mkdir", "link", "symlink", "ftruncate", "truncate", "posix_fallocate"}
"""What needs room on the disk."""
CHANGES = GROWS | {
    "open",
    "fsync",
    "fdatasync",
    "close",
    "replace",
    "rename",
    "unlink",
    "remove",
    "rmdir",
    "utime",
    "chmod",
}
LOOKS = frozenset(
    {"read", "pread", "stat", "lstat", "fstat", "listdir", "scandir", "readlink", "statvfs", "access", "lseek"}
)
COUNTED = {"late": CHANGES, "kill": CHANGES, "short": WRITES, "full": GROWS}
"""Which calls are counted; all in the other modes."""
MOST_CALLS = 5_000
"""Of one action; more means that it never ends."""


class Faults:
    """Counts the calls of `os` from any thread and strikes at one of them."""

    def __init__(self, mode: str, number: int) -> None:
        self.mode = mode
        self.number = number
        self.struck = ""
        self._count = itertools.count(1)

    def arm(self) -> None:
        """Put itself before every function that is counted."""
        for name in sorted(COUNTED.get(self.mode, CHANGES | LOOKS)):
            if hasattr(os, name):
                setattr(os, name, self._wrap(name, getattr(os, name)))

    def disarm(self) -> None:
        """Let every further call through."""
        self.mode, self.number = "", -1

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*args: Any, **options: Any) -> Any:
            number = next(self._count)
            is_full = self.mode == "full" or (self.mode == "short" and bool(self.struck))
            if is_full and number >= self.number:
                self.struck = self.struck or name
                raise OSError(errno.ENOSPC, "the disk is full")
            if number != self.number:
                return call(*args, **options)
            self.struck = name
            if self.mode == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.mode == "late" or name == "close":
                call(*args, **options)
            if self.mode == "short":
                return call(args[0], args[1][: len(args[1]) // 2], *args[2:], **options)
            raise OSError(errno.EIO, "a fault of the disk")

        return wrapped


def strike(mode: str, number: int, act: Callable[[], object]) -> dict[str, Any]:
    """Do something in a child whose N-th call is struck; which call it was, what was said, and how the child ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        faults = Faults(mode, number)
        faults.arm()
        try:
            said = act()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = type(error).__name__
        struck = faults.struck
        faults.disarm()
        os.write(writer, json.dumps({"struck": struck, "said": said}).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
        told = json.loads(pipe.read() or b"{}")
    _, status = os.waitpid(child, 0)
    return {**told, "exit": os.waitstatus_to_exitcode(status)}


def every_fault(
    mode: str, prepare: Callable[[], object], act: Callable[[], object], look: Callable[[], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Strike at the first call, the second, … and end with the first time that nothing was struck.

    Parameters
    ----------
    prepare
        Brings the disk into the state before.
    act
        What is done in the child; what it returns must be JSON.
    look
        What is found on the disk afterwards.
    """
    for number in range(1, MOST_CALLS):
        prepare()
        result = strike(mode, number, act)
        yield {**result, **look()}
        if result["exit"] == 0 and not result["struck"]:
            return
    raise AssertionError(f"the action never ended in {MOST_CALLS} calls")


def results_of(program: str, mode: str, what: str, folder: Path, *, deadline_s: float) -> list[dict[str, Any]]:
    """What `every_fault` printed in a program of its own: a module of this package, its action, and where it acts."""
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.{program}", mode, what, str(folder)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results
