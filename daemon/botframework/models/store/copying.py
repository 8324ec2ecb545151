"""A file of this machine as the source of a pull: copied, so that whoever changes the original changes no model."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from botframework.errors import DownloadFailed, ModelNotFound, RequestCancelled
from botframework.models.source import open_regular, printable
from botframework.models.store.digest import PIECE_BYTES
from botframework.models.store.remote import RemoteFile, Resolved
from botframework.models.store.room import require_room
from botframework.models.store.selection import parts_of
from botframework.process.durable import FLAGS, write_all

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

FOLDERS = ("local",)
"""Where such models are shown."""


def describe(path: Path) -> Resolved:
    """Say what a file, and the other parts of a split model, would be as a download.

    Raises
    ------
    ModelNotFound
        There is no such file, or a part is missing.
    ModelRefused
        It is a folder, a pipe or a device.
    """
    files = []
    for name in parts_of(path.name):
        part = path.with_name(name)
        with open_regular(part, printable(part)) as file:
            status = os.fstat(file.fileno())
        if not status.st_size:
            raise ModelNotFound(f"{printable(part)}: the file is empty", path=printable(part))
        # The time is part of the address: a part of an older copy is not gone on with.
        address = f"{part.absolute().as_uri()}?{status.st_mtime_ns}"
        files.append(RemoteFile(address, status.st_size, name, etag=str(status.st_mtime_ns)))
    return Resolved(tuple(files), FOLDERS, printable(path))


def copier(folder: Path) -> Callable[..., str]:
    """Return what copies the described files of a folder, in the place of a download."""

    def copy(source: RemoteFile, part: Path, *, on_progress: Callable[[int, int], None], stop: threading.Event) -> str:
        try:
            return _copy(folder / source.filename, source.size, part, on_progress, stop)
        except BaseException:
            # A copy is begun anew each time, so there is nothing to go on with.
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    return copy


def _copy(path: Path, size: int, part: Path, on_progress: Callable[[int, int], None], stop: threading.Event) -> str:
    require_room(part.parent, size, size)
    digest = hashlib.sha256()
    done = 0
    part.unlink(missing_ok=True)
    target = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FLAGS, 0o644)
    try:
        with open_regular(path, printable(path)) as file:
            on_progress(0, size)
            while done <= size and (piece := file.read(PIECE_BYTES)):
                if stop.is_set():
                    raise RequestCancelled("the copy was cancelled")
                write_all(target, piece)
                digest.update(piece)
                done += len(piece)
                on_progress(done, size)
    finally:
        os.close(target)
    if done != size:
        raise DownloadFailed(f"{printable(path)} changed while it was copied; try again", url=printable(path))
    return digest.hexdigest()
