"""Programs to put in the daemon's place."""

from __future__ import annotations

import platform
import shlex
import struct
import sys
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1]


def program(path: Path, *command: str | Path, before: str = "") -> Path:
    """An executable that runs this command, with whatever arguments it gets behind it."""
    line = " ".join(shlex.quote(str(word)) for word in command)
    path.write_text(f'#!/bin/sh\n{before}\nexec {line} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def bad_daemon(folder: Path, mode: str) -> Path:
    """See `bad_daemon`."""
    return program(folder / f"{mode}-daemon", sys.executable, "-P", SUPPORT / "vscode" / "bad_daemon.py", mode)


def fake_daemon(folder: Path) -> Path:
    """The real daemon's process on a router that makes its answers up: see `support.fake_daemon`."""
    return program(folder / "fake-daemon", sys.executable, "-P", SUPPORT / "fake_daemon.py")


def trap(path: Path, journal: Path) -> Path:
    """An executable that nobody shall run: each time it is, it writes a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return program(path, "true", before=f'echo "$0 $*" >> {shlex.quote(str(journal))}')


def foreign_program(path: Path) -> Path:
    """An executable for a processor that this machine does not have: the header is all of it."""
    identification = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)  # 64 bits, little endian
    x86_64, aarch64, executable = 62, 183, 2
    foreign = aarch64 if platform.machine() == "x86_64" else x86_64
    header = struct.pack("<HHIQQQIHHHHHH", executable, foreign, 1, 0x1000, 64, 0, 0, 64, 56, 0, 0, 0, 0)
    path.write_bytes(identification + header)
    path.chmod(0o755)
    return path
