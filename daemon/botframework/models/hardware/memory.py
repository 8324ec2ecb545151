"""The machine's memory."""

from __future__ import annotations

from botframework.models.hardware.control_groups import memory_limits


def ram() -> tuple[int, int]:
    """Total and available bytes, as far as this process may use them."""
    import psutil  # on use: a daemon that has not asked yet has not paid

    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    for limit, used in memory_limits():
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return total, available
