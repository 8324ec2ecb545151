"""An editor that starts a daemon and is there to be killed.

Usage: ``stub_editor.py MODE COMMAND...``. Writes the daemon's pid, then forwards lines between its own standard streams
and the daemon's. Modes: ``plain``; ``leak`` (a sibling holds the write end of the daemon's standard input; its pid is
written too); ``thread`` (a thread that ends when the daemon serves starts it); ``vanish`` (ends by SIGKILL without
waiting).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

mode, command = sys.argv[1], sys.argv[2:]
read_end, write_end = os.pipe()
started: list[subprocess.Popen[bytes]] = []
greeting: list[str] = []


def start() -> None:
    """Start the daemon."""
    started.append(subprocess.Popen(command, stdin=read_end, stdout=subprocess.PIPE))


def read() -> str:
    """Read a line of the daemon's."""
    assert started[0].stdout is not None
    return started[0].stdout.readline().decode()


def start_and_wait() -> None:
    """Start the daemon and end when it serves: that is when it has asked for its parent-death signal."""
    start()
    greeting.append(read())


if mode == "thread":
    spawner = threading.Thread(target=start_and_wait)
    spawner.start()
    spawner.join()
else:
    start()
daemon = started[0]
os.close(read_end)
pids = [daemon.pid]
if mode == "leak":
    pids.append(subprocess.Popen(["sleep", "60"], pass_fds=[write_end], stdout=subprocess.DEVNULL).pid)
sys.stdout.write(" ".join(map(str, pids)) + "\n")
sys.stdout.flush()
if mode == "vanish":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdout.write(greeting[0] if greeting else read())
sys.stdout.flush()
for line in sys.stdin:
    os.write(write_end, line.encode())
    sys.stdout.write(read())
    sys.stdout.flush()
