"""Whether the machine runs on its battery."""

from __future__ import annotations

import time

BELIEVED_S = 60.0
"""Asking costs some reads of system files; who pulls the plug notices no minute."""

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
    import psutil  # on use: an editor waits for the daemon's start

    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, RuntimeError, ValueError):  # Not on every system, and drivers say odd things.
        return False
    return battery is not None and battery.power_plugged is False
