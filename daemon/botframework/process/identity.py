"""Which process it is, whether it lives, how much memory it holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def start_time(pid: int) -> float | None:
    """When a living process started: with its pid, its identity until the next boot.

    None for a process that does not exist, is a zombie or may not be looked at. Only good for comparing with another
    value of this function.
    """
    if pid <= 0:
        return None
    if sys.platform == "linux":
        return _start_from_proc(pid)
    else:  # noqa: RET505 - mypy takes what follows a platform's return for unreachable; never run
        import psutil

        try:
            found = psutil.Process(pid)
            return None if found.status() == psutil.STATUS_ZOMBIE else float(found.create_time())
        except (psutil.Error, OSError):
            return None


def parent_of(pid: int) -> int | None:
    """The process id of its parent; None for a process that does not exist or may not be looked at."""
    if sys.platform == "linux":
        fields = _fields_from_proc(pid)
        return int(fields[1]) if fields else None
    else:  # noqa: RET505 - as above; never run
        import psutil

        try:
            return int(psutil.Process(pid).ppid())
        except (psutil.Error, OSError, ValueError):
            return None


def children_of(pid: int) -> list[int]:
    """The process ids of its living children (Linux: of its first thread's); none if they cannot be told."""
    if sys.platform == "linux":
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()]
        except OSError:
            return []
    else:  # never run
        import psutil

        try:
            return [child.pid for child in psutil.Process(pid).children()]
        except (psutil.Error, OSError):
            return []


def _fields_from_proc(pid: int) -> list[bytes]:
    """What Linux says of a process, from its state on; empty if there is no such process."""
    try:
        # The name, in parentheses, may hold spaces and parentheses of its own.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []
    return fields if len(fields) >= 20 else []


def _start_from_proc(pid: int) -> float | None:
    """Without psutil, which costs the daemon 10 ms and 3 MB, for the two fields of one line that we need."""
    fields = _fields_from_proc(pid)
    if not fields or fields[0] in (b"X", b"x"):
        return None
    # A process whose main thread has ended is shown as a zombie while its other threads live on.
    if fields[0] == b"Z" and int(fields[17]) <= 1:
        return None
    return float(fields[19])


def is_alive(pid: int, started: float | None = None) -> bool:
    """Whether that process lives; with the start time, a recycled pid is told apart from it."""
    now = start_time(pid)
    if now is None:
        return started is None and _exists(pid)
    return started is None or started == now


def _exists(pid: int) -> bool:
    """Without looking at it: for systems that hide other processes' details (``hidepid``)."""
    if sys.platform == "win32":
        return False  # never run; a signal 0 would end it there
    else:  # noqa: RET505 - as above
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (OSError, OverflowError):
            return False
        # Where /proc can be read and start_time found nothing, it is a zombie.
        return not Path(f"/proc/{pid}/stat").exists()


def rss_bytes(pid: int | None = None) -> int:
    """Resident memory of that process, of this one by default; 0 when it cannot be told."""
    if sys.platform == "linux":
        try:
            pages = Path(f"/proc/{pid or 'self'}/statm").read_bytes().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    else:  # noqa: RET505 - as above; never run
        import psutil

        try:
            return int(psutil.Process(pid).memory_info().rss)
        except (psutil.Error, OSError):
            return 0


def mapped_bytes(pid: int) -> int:
    """Part of `rss_bytes` that files are mapped to; 0 when it cannot be told.

    The system calls such memory available, although whoever reads the file all the time cannot do without it.
    """
    if sys.platform == "linux":
        try:
            pages = Path(f"/proc/{pid}/statm").read_bytes().split()[2]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    else:  # noqa: RET505 - as above; never run
        return 0
