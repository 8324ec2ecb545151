"""Whether the machine runs on its battery."""

from __future__ import annotations

import sys
import time
from pathlib import Path

BELIEVED_S = 60.0
"""Asking costs some reads of system files; who pulls the plug notices no minute."""
SUPPLIES = Path("/sys/class/power_supply")
"""Where Linux tells of each plug and battery, in a folder of small files."""

_asked_at = -BELIEVED_S
_answer = False


def on_battery() -> bool:
    """Whether it does; False where nobody can tell. A later question within a minute gets the same answer."""
    global _asked_at, _answer
    now = time.monotonic()
    if now - _asked_at >= BELIEVED_S:
        _asked_at, _answer = now, _ask()
    return _answer


def _ask() -> bool:
    return _is_discharging(SUPPLIES) if sys.platform == "linux" else _is_unplugged()


def _is_unplugged() -> bool:
    import psutil  # on use: an editor waits for the daemon's start

    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, RuntimeError, ValueError):  # Not on every system, and drivers say odd things.
        return False
    return battery is not None and battery.power_plugged is False


def _is_discharging(supplies: Path) -> bool:
    """Read the kernel's files: psutil would take 4 MiB of the daemon's memory for this one question."""
    is_discharging = False
    try:
        for supply in supplies.iterdir():
            if _word(supply / "type") != "Battery":
                if _word(supply / "online") == "1":
                    return False
            elif _word(supply / "scope") != "Device":  # A mouse has a battery, too.
                is_discharging |= _word(supply / "status") == "Discharging"
    except OSError:
        return False
    return is_discharging


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # Not every supply has every file, and a driver may refuse.
        return ""
