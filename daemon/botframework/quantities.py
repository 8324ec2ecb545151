"""Figures for human eyes."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
MINUTE_S = 60
HOUR_S = 3_600


def size(n_bytes: float | None) -> str:
    """Bytes in the unit that fits: ``4.4 GiB``; an unknown number is ``?``."""
    if n_bytes is None:
        return "?"
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        # The next unit begins where rounding would show 1,024 of this one.
        if abs(n_bytes) >= unit * 0.9995:
            value = n_bytes / unit
            return f"{value:,.1f} {name}" if value < 100 else f"{value:,.0f} {name}"
    return f"{n_bytes:.0f} bytes" if n_bytes != 1 else "1 byte"


def count(number: float | None) -> str:
    """A number of parameters: ``1.5 B``, ``494 M``; an unknown one is ``?``."""
    if number is None:
        return "?"
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit * 0.9995:
            value = number / unit
            return f"{value:.1f} {name}" if value < 100 else f"{value:.0f} {name}"
    return f"{number:.0f}"


def duration(seconds: float | None) -> str:
    """A time: ``0.4 s``, ``12 s``, ``3 min``, ``2 h 5 min``; an unknown one is ``?``."""
    if seconds is None:
        return "?"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{round(whole / MINUTE_S)} min"
    hours, minutes = divmod(round(whole / MINUTE_S), MINUTE_S)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def plural(number: int, one: str, many: str = "") -> str:
    """``1 file``, ``2 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
