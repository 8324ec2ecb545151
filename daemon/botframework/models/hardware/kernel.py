"""The small files in which Linux tells of the machine. A file that cannot be read is no error: it is not there."""

from __future__ import annotations

import sys
from pathlib import Path

PLATFORM: str = sys.platform
"""A variable, so that the type checker reads the branches of every platform."""
PROC = Path("/proc")
SYS = Path("/sys")


def read(path: Path) -> str | None:
    """Read the whole text of a file, or nothing."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def number(path: Path) -> int | None:
    """Read a file that holds one number; "max" is none."""
    text = (read(path) or "").strip()
    # isdigit also likes digits that int refuses: superscripts.
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() else None


def field(path: Path, name: str) -> int | None:
    """Read a number from lines of names and numbers."""
    for line in (read(path) or "").splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name and words[1].isascii() and words[1].isdigit():
            return int(words[1])
    return None
