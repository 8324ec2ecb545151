"""Takes away what workers of other keys left in the runtime folder; a key changes with the model and its parameters.

Only what is provably dead goes: no file of the key was touched for a day, nobody is starting a worker of it (we hold
its lock meanwhile), nobody listens on its socket, and the process that last wrote its flight recorder is gone. A file
that has not taken its name for a day belongs to a daemon that was killed while it wrote a ledger.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import socket
import sys
import time
from typing import TYPE_CHECKING

from botframework.process import FileLock, is_alive
from botframework.process.durable import sweep_unnamed
from botframework.wire.flight import read_flight

if TYPE_CHECKING:
    from pathlib import Path

MIN_AGE_S = 86_400.0
"""A day: far beyond everything that a ledger remembers (`ledger.SUSPICION_S`)."""

_FILE = re.compile(r"(?P<key>[0-9a-f]{16})\.(sock|flight|json|lock)")

_log = logging.getLogger(__name__)


def sweep(folder: Path, *, own: str, now: float | None = None) -> list[str]:
    """Remove the files of dead keys, but never those of our own; the keys that were removed.

    Never waits, and never raises for what it finds: whatever cannot be removed stays.
    """
    if sys.platform == "win32":  # Never run: there are pipes instead of sockets, which leave no files.
        return []
    families: dict[str, list[Path]] = {}
    before = (time.time() if now is None else now) - MIN_AGE_S
    sweep_unnamed(folder, before)
    try:
        for path in folder.iterdir():
            match = _FILE.fullmatch(path.name)
            if match is not None and match["key"] != own:
                families.setdefault(match["key"], []).append(path)
    except OSError as error:
        _log.info("the runtime folder cannot be swept: %s", error)
        return []
    return [key for key, files in families.items() if _remove(folder, key, files, before)]


def _remove(folder: Path, key: str, files: list[Path], before: float) -> bool:
    lock = FileLock(folder / f"{key}.lock")
    try:
        if any(path.lstat().st_mtime > before for path in files) or not lock.try_acquire():
            return False
    except OSError:
        return False  # Somebody else is sweeping.
    try:
        if _is_served(folder / f"{key}.sock") or _is_manned(folder / f"{key}.flight"):
            return False
        # The lock goes last. Who opened it before finds out that it is gone and makes a new one.
        for path in (*(path for path in files if path != lock.path), lock.path):
            path.unlink(missing_ok=True)
    except OSError as error:
        _log.info("files of key %s stay: %s", key, error)
        return False
    finally:
        lock.release()
    return True


def _is_served(path: Path) -> bool:
    """Whether somebody listens there, or may."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as caller:
        caller.setblocking(False)
        # Anything else, such as a full queue, comes from somebody who lives.
        return caller.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT)


def _is_manned(path: Path) -> bool:
    """Whether the worker that last opened this flight recorder may be alive, though its socket's name is gone."""
    record = read_flight(path)
    return record is not None and is_alive(record.pid)
