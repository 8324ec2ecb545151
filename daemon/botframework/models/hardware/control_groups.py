"""How much of the machine the control groups of Linux leave to this process: a container's limits are its machine."""

from __future__ import annotations

import functools
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from botframework.models.hardware import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_LIMIT = 1 << 60
"""cgroup v1 writes "no limit" as a number near 2^63, in pages."""


def memory_limits() -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of each group above this process that has a limit."""
    if kernel.PLATFORM != "linux":
        return
    for folder in _folders():
        for limit_name, used_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit = kernel.number(folder / limit_name)
            if limit is not None and limit < NO_LIMIT:
                # Cached files count as used, but go when the memory is wanted.
                cache = kernel.field(folder / "memory.stat", cache_name) or 0
                yield limit, max(0, (kernel.number(folder / used_name) or 0) - cache)


def processor_quota() -> float | None:
    """Processors' worth of time that the tightest group allows, or None."""
    if kernel.PLATFORM != "linux":
        return None
    quotas = []
    for folder in _folders():
        quota, period = None, None
        words = (kernel.read(folder / "cpu.max") or "").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
            quota, period = int(words[0]), int(words[1])
        elif not words:
            quota, period = kernel.number(folder / "cpu.cfs_quota_us"), kernel.number(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


@functools.cache
def _folders() -> tuple[Path, ...]:
    """The folders of this process's groups, from its own to the root; a process does not move among them."""
    folders: list[Path] = []
    for line in (kernel.read(kernel.PROC / "self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        if not path.startswith("/"):
            continue
        for name in controllers.split(",") if controllers else [""]:
            if name not in {"", "memory", "cpu"}:
                continue
            # Inside a container the path may be the host's; then only the root is there.
            own = PurePosixPath(path.lstrip("/"))
            for part in (own, *own.parents):
                folder = kernel.SYS / "fs/cgroup" / name / part
                if folder not in folders and folder.is_dir():
                    folders.append(folder)
    return tuple(folders)
