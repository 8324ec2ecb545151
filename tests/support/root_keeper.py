"""The first process in the namespaces of an empty root: it mounts what every system has, and buries orphans.

``root_keeper.py FOLDER`` brings up the loopback, says ``ready``, and ends with its standard input. With it, by the
kernel's doing, everybody else in its process namespace ends, and the mounts go. Standard library alone, Linux alone.
"""

from __future__ import annotations

import fcntl
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
STREAMS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def raise_loopback() -> None:
    """A new network namespace has one interface, which is down."""
    request = struct.pack("16sh22x", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def mount(*words: str | Path) -> None:
    """mount(8)."""
    subprocess.run(["mount", *map(str, words)], check=True)


def furnish(root: Path) -> None:
    """``/proc`` and ``/dev``, seen in this mount namespace only.

    Device files are borrowed rather than made, which a container or a mount option may forbid.
    """
    mount("-t", "proc", "proc", root / "proc")
    dev = root / "dev"
    mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", dev)
    for name in DEVICES:
        (dev / name).touch()
        mount("--bind", f"/dev/{name}", dev / name)
    for name, target in STREAMS.items():
        (dev / name).symlink_to(target)
    (dev / "shm").mkdir()
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", dev / "shm")


def main() -> None:
    """Prepare, and stay until nobody wants it any more."""
    raise_loopback()
    furnish(Path(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # From here on the kernel buries whoever is ours by inheritance.
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
