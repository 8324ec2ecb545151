"""The folders that a program of one file unpacks itself into: our own is claimed, those of the dead are removed.

The bootloader removes its folder when the program has ended. Killed, it cannot, and some hundred megabytes stay. So the
program says who lives in its folder and keeps it locked, and a later start removes those of ours that nobody lives in.

Ours is a folder with our mark, which is the first thing that the bootloader unpacks (packaging/binary/
botframework.spec). Folders of other programs stay.

Nobody lives in a folder whose bootloader is dead and that can be locked. The lock is what counts for a container that
shares the folder for temporary files with others, where a process id means nothing. It also keeps systemd-tmpfiles from
taking files of a long-lived program away (tmpfiles.d(5)).
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from botframework.process import program
from botframework.process.identity import is_alive, start_time
from botframework.process.lock import try_lock
from botframework.process.parent import PARENT_AT_START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = ".botframework"
"""A file: empty at first, then the start time of the bootloader, which tells it from another process with its id."""
STILL_S = 10.0
"""An unclaimed folder that was changed since may be another container's, where the bootloader is still at work."""
FIRST_SWEEP_S = 2.0
"""After the start: the editor has its answer to ``initialize`` by then, and the disk is free."""

_log = logging.getLogger(__name__)


class Swept(NamedTuple):
    """What one look at the folder for temporary files led to."""

    removed: tuple[Path, ...]
    undecided: int
    """Folders of ours that were changed a moment ago."""


def claim() -> None:
    """Say that we live in our own folder, and keep it locked until this process ends.

    Nothing happens in a program without such a folder, and in a subprocess, which uses that of another process.
    """
    folder, bootloader = program.unpacked_folder(), program.bootloader()
    if folder is None or bootloader != PARENT_AT_START:
        return
    # Without it the folder may stay one day: no reason not to start.
    with contextlib.suppress(OSError):
        (folder / MARK).write_text(repr(start_time(bootloader)), encoding="ascii")
        try_lock(_open(folder))  # never closed: the lock ends with the process


def sweep_later() -> None:
    """Remove what dead processes left, in a thread and when the start is over. Nothing happens without a folder."""
    own = program.unpacked_folder()
    if own is not None:
        threading.Thread(target=_sweep_until_decided, args=(own,), name="sweep", daemon=True).start()


def _sweep_until_decided(own: Path) -> None:
    time.sleep(FIRST_SWEEP_S)
    # Once more for what was undecided; what changes all the time is not dead.
    if sweep(own).undecided:
        time.sleep(STILL_S)
        sweep(own)


def sweep(own: Path) -> Swept:
    """Remove the folders beside ``own`` that our program has left behind."""
    removed, undecided = [], 0
    for folder in _ours(own):
        with contextlib.suppress(OSError):  # somebody else removes it too
            claimed, started = _read_mark(folder)
            if is_alive(program.bootloader_of(folder) or 0, started):
                continue
            if not claimed and time.time() - _changed_at(folder) < STILL_S:
                undecided += 1
            elif _remove(folder):
                removed.append(folder)
                _log.info("removed %s: the process that had unpacked it was killed", folder)
    return Swept(tuple(removed), undecided)


def _ours(own: Path) -> Iterator[Path]:
    """Folders that a bootloader of our program has made for this user."""
    with contextlib.suppress(OSError):
        for folder in own.parent.iterdir():
            if folder != own and program.bootloader_of(folder) is not None and _is_ours(folder):
                yield folder


def _is_ours(folder: Path) -> bool:
    try:
        status, mark = folder.lstat(), (folder / MARK).lstat()
    except OSError:
        return False
    is_what_it_seems = stat.S_ISDIR(status.st_mode) and stat.S_ISREG(mark.st_mode)
    return is_what_it_seems and (sys.platform == "win32" or status.st_uid == os.getuid())


def _read_mark(folder: Path) -> tuple[bool, float | None]:
    """Whether the program got as far as claiming its folder, and when its bootloader started, if that is known."""
    text = (folder / MARK).read_text(encoding="ascii", errors="replace")
    try:
        return True, float(text)
    except ValueError:
        return bool(text), None


def _changed_at(folder: Path) -> float:
    """Unix seconds of the last change of anything in it."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def _remove(folder: Path) -> bool:
    """Remove it, unless somebody lives in it; the mark last, so that a sweep cut short can be continued."""
    import shutil

    descriptor = _open(folder)
    try:
        if not try_lock(descriptor):
            return False
        for path in sorted(folder.iterdir(), key=lambda path: path.name == MARK):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    finally:
        os.close(descriptor)
    folder.rmdir()
    return True


def _open(folder: Path) -> int:
    """Something in the folder that can be locked."""
    if sys.platform == "win32":  # a folder cannot be opened there; never run
        return os.open(folder / MARK, os.O_RDWR)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
