"""Room on the disk, and the disk's errors in our words."""

from __future__ import annotations

import contextlib
import errno
import shutil
from typing import TYPE_CHECKING

from botframework.errors import DiskFull, StoreError
from botframework.quantities import size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
SPARE_SHARE = 10
"""A tenth of a model stays free beside it: a disk that is filled to its last byte breaks other programs."""

_CURE = "remove models that you do not need (botframework models remove), or choose another disk (models.folder)"
_DISK_BLOCK_BYTES = 512
"""The unit in which the system counts what a file takes of the disk."""


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
                f"the model could not be {what}: {reason} in {folder}; {_CURE}",
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


def require_room(folder: Path, missing_bytes: int, total_bytes: int) -> None:
    """Refuse before the first byte what cannot end well.

    Parameters
    ----------
    missing_bytes
        That are to be written.
    total_bytes
        Of the whole, of which a share has to stay free (`SPARE_SHARE`).

    Raises
    ------
    DiskFull
        With what is needed and what is free.
    """
    needed, free = missing_bytes + total_bytes // SPARE_SHARE, free_bytes(folder)
    if free < needed:
        raise DiskFull(
            f"{size(needed)} are needed in {folder}, and {size(free)} are free; {_CURE}",
            neededBytes=needed,
            freeBytes=free,
            folder=str(folder),
        )


def allocated_bytes(path: Path) -> int:
    """What a file takes of the disk: one with holes less than its size. 0 if there is none, or nobody knows."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else int(blocks) * _DISK_BLOCK_BYTES
