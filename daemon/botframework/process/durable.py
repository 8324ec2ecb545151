"""Writing so that a power cut, a full disk or a kill leaves the old or the new."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"))
TEMPORARY = ".new"
"""The ending of files that have not taken their name yet."""
_UNNAMED = re.compile(r"\.[0-9a-f]{16}" + re.escape(TEMPORARY))


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it: a disk that fills up takes a part without an error."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def replace_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put a file in the place of the one of this name; at every moment it is the old one or the new one.

    Parameters
    ----------
    durable
        Also after a power cut. What tells only for the moment how far something is does without.

    Raises
    ------
    OSError
        The old one is still there.
    """
    fresh = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FLAGS, 0o600)
        try:
            write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    if durable:
        flush_folder(path.parent)


def sweep_unnamed(folder: Path, before: float) -> None:
    """Remove what `replace_whole` left in a folder because its process was killed: files that never took their name.

    Never raises for what it finds: whatever cannot be removed stays.

    Parameters
    ----------
    before
        Those that were touched later, in seconds since the epoch, may be somebody's who is still writing.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
                if _UNNAMED.fullmatch(path.name) and path.lstat().st_mtime <= before:
                    path.unlink()


def flush_file(path: Path) -> None:
    """Have a file's content on the disk. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(path: Path) -> None:
    """Make new and removed names outlive a power cut, where the file system can."""
    if sys.platform == "win32":
        return  # never run; a folder cannot be opened there
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
