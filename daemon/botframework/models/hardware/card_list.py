"""Which graphics cards the kernel lists: the cheap question whether the drivers have to be asked anew."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from botframework.models.hardware import kernel

if TYPE_CHECKING:
    from pathlib import Path

_CARD = re.compile(r"(?:card|renderD)\d+")
"""In ``/sys/class/drm``; the names behind a dash are a card's outputs, which come and go with monitors."""
_BUS_ADDRESS = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d")
"""Of a card without a display, which NVIDIA's driver lists in a place of its own."""


def cards() -> frozenset[str]:
    """What the kernel calls each card, and where on its bus it is.

    Reads two small folders and asks no driver, so that every heartbeat can afford it. Says nothing of what a card can
    do, and a driver may need a moment longer than the kernel. Empty on macOS and Windows, where there are no such
    files: there only a load and a start look again.
    """
    if kernel.PLATFORM != "linux":
        return frozenset()
    return frozenset(_named(kernel.SYS / "class/drm", _CARD) + _named(kernel.PROC / "driver/nvidia/gpus", _BUS_ADDRESS))


def _named(folder: Path, name: re.Pattern[str]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [_place(entry) for entry in entries if name.fullmatch(entry.name)]
    except OSError:
        return []  # there is no such driver


def _place(entry: os.DirEntry[str]) -> str:
    """Where the name leads: another card that gets the name of one that is gone is another card."""
    try:
        return os.readlink(entry.path)  # noqa: PTH115 - a path made of it would be a longer way to the same text
    except OSError:
        return entry.name
