"""Settings, folders and disks."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from botframework import config
from botframework.cli.checks.finding import failed, good, warning
from botframework.errors import ConfigError
from botframework.process import FileLock
from botframework.quantities import GIB, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding

LITTLE_DISK_BYTES = 5 * GIB
"""Less is warned of where models are kept: a useful one has between 1 and 5 GB."""
LEAST_DISK_BYTES = GIB // 4
"""Less fails: not even a session's state is sure to be written."""


def settings(case: Case) -> Iterator[Finding]:
    """Whether everything that was set is understood."""
    file = config.config_file()
    for problem in case.problems:
        what = f"{problem.key}: {problem.message}" if problem.key else problem.message
        where = file if problem.source is config.Source.USER_FILE else problem.source.value
        yield warning(
            "settings", f"{problem.source.value}: {what}", f"correct it in {where}; until then it counts as not set"
        )
    if not case.problems:
        yield good("settings", f"{file} is understood" if file.exists() else f"none of your own ({file} is not there)")


def runtime(_case: Case) -> Iterator[Finding]:
    """Whether daemons and workers can meet in the runtime folder."""
    move = f"set {config.ENV_RUNTIME_DIR} to a short path on a local disk that only you can enter"
    try:
        folder = config.runtime_dir()
    except ConfigError as error:
        yield failed("runtime folder", error.message, f"`chmod 700` it if it is yours; otherwise {move}")
        return
    try:
        _try_lock(folder)
        _try_socket(folder)
    except (OSError, TimeoutError) as error:
        yield failed("runtime folder", f"{folder} knows no sockets or no locks: {error}", move)
    else:
        yield good("runtime folder", str(folder))


def _try_lock(folder: Path) -> None:
    """Raises if a lock can be had twice, as on some network disks."""
    first = FileLock(folder / f"doctor-{os.getpid()}.lock")
    try:
        first.acquire()
        second = FileLock(first.path)
        if second.try_acquire():
            second.release()
            raise OSError("a lock was given to two")
    finally:
        first.release()
        first.path.unlink(missing_ok=True)


def _try_socket(folder: Path) -> None:
    if sys.platform == "win32":  # Never run: there are pipes.
        return
    path = folder / f"doctor-{os.getpid()}.sock"
    with (
        contextlib.closing(socket.socket(socket.AF_UNIX)) as server,
        contextlib.closing(socket.socket(socket.AF_UNIX)) as caller,
    ):
        try:
            server.bind(str(path))
            server.listen(1)
            caller.connect(str(path))
        finally:
            path.unlink(missing_ok=True)


def disks(case: Case) -> Iterator[Finding]:
    """Whether files can be written where they belong, and there is room."""
    from botframework.manager.folder import models_folder

    wanted = (
        ("models folder", models_folder(case.settings), "models.folder", LITTLE_DISK_BYTES),
        ("cache folder", config.cache_dir(), "XDG_CACHE_HOME", case.settings.sessions.disk_mib << 20),
        ("log folder", config.log_dir(), "XDG_STATE_HOME", LEAST_DISK_BYTES),
    )
    for name, folder, setting, enough in wanted:
        yield _disk(name, folder, setting if sys.platform == "linux" or "." in setting else "", enough)


def _disk(name: str, folder: Path, setting: str, enough: int) -> Finding:
    there = _nearest(folder)
    move = f"make it writable for you{f', or set {setting} to another folder' if setting else ''}"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"doctor")
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(there).free
    except OSError as error:
        return failed(name, f"nothing can be written to {folder}: {error.strerror or error}", move)
    told = f"{folder}, {size(free)} free"
    if free < LEAST_DISK_BYTES:
        return failed(name, told, "make room on this disk; `botframework models list` says what models take")
    if free < enough:
        return warning(name, told, "make room on this disk; `botframework models list` says what models take")
    return good(name, told)


def _nearest(folder: Path) -> Path:
    """The folder, or what is there of the way to it."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path(folder.anchor or "."))
