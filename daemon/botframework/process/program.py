"""How this program starts itself again, and what its environment must be for that.

From source it is an interpreter with a package. Packed by PyInstaller it is one executable, in one of two shapes:

* one folder: the executable and beside it all that it needs. One process.
* one file: at every start the executable unpacks itself into a folder of its own, ``_MEI`` and so on, starts itself
  once more from there, waits, and removes the folder. So there are two processes, the *bootloader* and the program
  proper.

A process that a frozen program starts is either a subprocess, which uses the folder of whoever starts it and must not
outlive it, or independent: with a bootloader and a folder of its own. PyInstaller tells the two apart by variables of
the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Form = Literal["source", "folder", "file"]

FOLDER_PREFIX = "_MEI"
"""PyInstaller's (6.22 and later): behind it 8 hex digits, the bootloader's process id, and a few random characters."""
_PID_DIGITS = 8
_HEX_DIGITS = frozenset("0123456789abcdef")
_BOOTLOADER_VARIABLES = ("_PYI_", "_MEIPASS2", "PYINSTALLER_")
_LIBRARY_PATH = "LD_LIBRARY_PATH"


def is_frozen() -> bool:
    """Whether PyInstaller packed this program."""
    return bool(getattr(sys, "frozen", False))


def form() -> Form:
    """What this program is: an interpreter with a package, or frozen in one folder or one file."""
    if not is_frozen():
        return "source"
    return "folder" if unpacked_folder() is None else "file"


def own_command(*arguments: str) -> tuple[str, ...]:
    """What starts this very program with these arguments."""
    if is_frozen():
        return (sys.executable, *arguments)
    # -P: the folder that the user stands in may be anyone's, and must not lend us its modules.
    return (sys.executable, "-P", "-m", "botframework", *arguments)


def unpacked_folder() -> Path | None:
    """The folder that a program of one file has unpacked itself into; None for every other program."""
    folder = Path(getattr(sys, "_MEIPASS", ""))
    return folder if bootloader_of(folder) is not None else None


def bootloader_of(folder: Path) -> int | None:
    """The process id of the bootloader that made this folder; None if it is not named like such a folder."""
    digits = folder.name[len(FOLDER_PREFIX) :][:_PID_DIGITS]
    is_one = folder.name.startswith(FOLDER_PREFIX) and len(digits) == _PID_DIGITS and set(digits) <= _HEX_DIGITS
    return int(digits, 16) if is_one else None


def bootloader() -> int | None:
    """The process id of the bootloader whose folder this process uses; None if there is none.

    It is the parent of the program proper, and some ancestor of a subprocess of it.
    """
    folder = unpacked_folder()
    return bootloader_of(folder) if folder is not None else None


def independent_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a start of this program that may outlive this process.

    Nothing in it names the folder of this process: that will be gone, and then the name is anybody's, who could put
    libraries of his own there.
    """
    if not is_frozen():
        return dict(environ)
    kept = {name: value for name, value in environ.items() if not name.startswith(_BOOTLOADER_VARIABLES)}
    # By its value: the original that PyInstaller keeps in LD_LIBRARY_PATH_ORIG may be somebody else's.
    folders = [folder for folder in kept.pop(_LIBRARY_PATH, "").split(os.pathsep) if folder not in {"", _own_folder()}]
    if folders:
        kept[_LIBRARY_PATH] = os.pathsep.join(folders)
    return {**kept, "PYINSTALLER_RESET_ENVIRONMENT": "1"}


def subprocess_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a subprocess of a frozen program needs of the environment to use the folder of this process."""
    if not is_frozen():
        return {}
    return {name: value for name, value in environ.items() if name.startswith("_PYI_") or name == _LIBRARY_PATH}


def _own_folder() -> str:
    return str(getattr(sys, "_MEIPASS", ""))
