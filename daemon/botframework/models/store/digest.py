"""SHA-256 of a whole file, with its progress and an end before its end."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from botframework.errors import RequestCancelled
from botframework.models.source import open_regular, printable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

PIECE_BYTES = 4 << 20
"""Read at a time: some milliseconds of hashing, so that a cancel is quick and the calls cost nothing."""


def file_digest(path: Path, *, on_progress: Callable[[int, int], None], stop: threading.Event) -> str:
    """Return a file's SHA-256 in hexadecimal.

    Raises
    ------
    RequestCancelled
        ``stop`` was set meanwhile.
    ModelNotFound
        There is no such file.
    ModelRefused
        It is a folder, a pipe or a device.
    OSError
        The disk fails.
    """
    digest = hashlib.sha256()
    piece = memoryview(bytearray(PIECE_BYTES))
    done = 0
    with open_regular(path, printable(path)) as file:
        size = os.fstat(file.fileno()).st_size
        on_progress(0, size)
        while n := file.readinto(piece):
            if stop.is_set():
                raise RequestCancelled("the comparison of the file with its digest was cancelled")
            digest.update(piece[:n])
            done += n
            on_progress(done, max(size, done))
    return digest.hexdigest()
