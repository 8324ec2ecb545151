"""How full the machine's battery is."""

from __future__ import annotations

from botframework.models.hardware import kernel
from botframework.models.hardware.machine import Battery
from botframework.process.power import on_battery


def battery() -> Battery | None:
    """Look at the machine's own batteries, all of them as one; None where there is none, or nobody tells."""
    percent = _linux_percent() if kernel.PLATFORM == "linux" else _percent()
    return None if percent is None else Battery(percent=percent, plugged=not on_battery())


def _linux_percent() -> int | None:
    """The kernel's files, since psutil knows of one battery only, and some laptops have two.

    A battery tells in energy (µWh) or in charge (µAh); such figures are added up when all tell the same, because a
    small second battery must not count as much as a large one.
    """
    try:
        supplies = sorted((kernel.SYS / "class/power_supply").iterdir())
    except OSError:
        return None
    batteries = [
        supply
        for supply in supplies
        if (kernel.read(supply / "type") or "").strip() == "Battery"
        and (kernel.read(supply / "scope") or "").strip() != "Device"  # A mouse has a battery, too.
    ]
    for measure in ("energy", "charge"):
        now = [kernel.number(one / f"{measure}_now") for one in batteries]
        full = [kernel.number(one / f"{measure}_full") for one in batteries]
        whole = sum(value for value in full if value)
        if whole and None not in now and None not in full:
            return _bounded(100 * sum(value for value in now if value) / whole)
    shares = [share for one in batteries if (share := kernel.number(one / "capacity")) is not None]
    return _bounded(sum(shares) / len(shares)) if shares else None


def _percent() -> int | None:
    """Never run."""
    import psutil

    try:
        found = psutil.sensors_battery()
    except (AttributeError, OSError, RuntimeError, ValueError):  # Not on every system, and drivers say odd things.
        return None
    return None if found is None else _bounded(found.percent)


def _bounded(percent: float) -> int:
    """An old battery may claim more than it holds."""
    return max(0, min(100, round(percent)))
