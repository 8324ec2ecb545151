"""Writing so that a power cut, a full disk or a kill leaves the old or the new, and errors of the disk in our words."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sys
from typing import TYPE_CHECKING

from botframework.errors import DiskFull, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"))
TEMPORARY = ".new"
"""The ending of files that have not taken their name yet."""


@contextlib.contextmanager
def disk_errors(what: str, folder: Path) -> Iterator[None]:
    """Raise what the disk refuses as an error of the tree.

    Parameters
    ----------
    what
        That was tried, as in "the model could not be {what}".

    Raises
    ------
    DiskFull
        No room, or the user's share of it is used up.
    StoreError
        Anything else that the system refuses.
    """
    try:
        yield
    except TimeoutError as error:
        raise StoreError(f"the model could not be {what}: another process is at work in {folder}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            raise DiskFull(
                f"the model could not be {what}: {reason} in {folder}. Remove models that you do not need "
                "(botframework models remove), or choose another disk (models.folder)",
                folder=str(folder),
                freeBytes=free_bytes(folder),
                neededBytes=None,
            ) from error
        raise StoreError(f"the model could not be {what}: {reason}: {error.filename or folder}") from error


def free_bytes(folder: Path) -> int:
    """What this user may still write where the folder is or will be; 0 if nobody knows."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


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
