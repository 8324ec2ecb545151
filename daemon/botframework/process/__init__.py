"""Being a well-behaved process.

`take_stdout` must run before any other import can print, so nothing here imports more than a little of the standard
library at the top; psutil, ctypes and the like are imported where they are used. `process.logs` is not re-exported for
the same reason.
"""

from __future__ import annotations

from botframework.process.ending import (
    EXIT_LAST_RESORT,
    EXIT_PARENT_GONE,
    EXIT_PIPE_BROKEN,
    EXIT_SIGNAL,
    LAST_RESORT_S,
    exit_now,
    last_resort_exit,
    on_signals,
    without_echo,
)
from botframework.process.environment import probe_environment, worker_environment
from botframework.process.identity import children_of, is_alive, mapped_bytes, rss_bytes, start_time
from botframework.process.lock import FileLock
from botframework.process.parent import ParentWatch
from botframework.process.program import own_command
from botframework.process.streams import take_stdin, take_stdout

__all__ = [
    "EXIT_LAST_RESORT",
    "EXIT_PARENT_GONE",
    "EXIT_PIPE_BROKEN",
    "EXIT_SIGNAL",
    "LAST_RESORT_S",
    "FileLock",
    "ParentWatch",
    "children_of",
    "exit_now",
    "is_alive",
    "last_resort_exit",
    "mapped_bytes",
    "on_signals",
    "own_command",
    "probe_environment",
    "rss_bytes",
    "start_time",
    "take_stdin",
    "take_stdout",
    "without_echo",
    "worker_environment",
]
