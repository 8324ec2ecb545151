"""What this machine has: one probe as a value, and a cheap sample of its memory for the heartbeat.

psutil and pynvml are imported on use, so that a daemon that has not asked yet has not paid. A container's limits count
as the machine's. What cannot be found out is None or 0, never an error: a probe must not keep a model from loading.

Linux is run; the macOS and Windows branches were never run.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORM: str = sys.platform
"""A variable, so that the type checker reads the branches of every platform."""
CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")
DRIVER_FILES = (
    Path("/dev/nvidiactl"),
    Path("/proc/driver/nvidia/version"),
    Path("/usr/lib/wsl/lib/libnvidia-ml.so.1"),
    Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvml.dll",
)
"""One of these is there when an NVIDIA driver is; the Windows place was never tried."""
NO_LIMIT = 1 << 60
"""cgroup v1 writes "no limit" as a number near 2^63, in pages."""
SYSCTL_TIMEOUT_S = 2


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU. Other makers' GPUs are reported by llama.cpp when a model loads."""

    index: int
    name: str
    vram_total: int | None
    """Bytes; None where the GPU shares the machine's memory."""
    vram_used: int | None
    driver: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one probe found; memory in bytes."""

    cpu: str
    physical_cores: int
    """That this process may use, by affinity and quota; at least 1."""
    logical_cores: int
    ram_total: int
    ram_available: int
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory now, in bytes; VRAM of all NVIDIA GPUs together."""

    ram_total: int
    ram_available: int
    vram_total: int | None
    vram_used: int | None

    @property
    def ram_used(self) -> int:
        """What is not available."""
        return self.ram_total - self.ram_available


def probe() -> Hardware:
    """Look at the whole machine; takes milliseconds, the first time some tens with an NVIDIA driver."""
    logical = _logical_cores()
    ram_total, ram_available = _ram()
    return Hardware(
        cpu=_cpu_name(),
        physical_cores=max(1, min(_physical_cores(), logical)),
        logical_cores=logical,
        ram_total=ram_total,
        ram_available=ram_available,
        gpus=_nvidia().gpus(),
    )


def sample() -> MemorySample:
    """Memory now: a few small files and one driver call for each GPU."""
    ram_total, ram_available = _ram()
    vram_total, vram_used = _nvidia().memory()
    return MemorySample(ram_total, ram_available, vram_total, vram_used)


# --- processor --------------------------------------------------------------------------------------------------------


def _affinity() -> set[int] | None:
    """The logical processors that this process may run on, where the platform tells."""
    if PLATFORM == "linux":
        return os.sched_getaffinity(0)
    import psutil

    try:
        return set(psutil.Process().cpu_affinity())  # Windows; macOS has none
    except (AttributeError, psutil.Error, OSError):
        return None


def _logical_cores() -> int:
    cores = len(_affinity() or ()) or os.cpu_count() or 1
    quota = _cpu_quota()
    # Half a processor of quota is still one to compute on; a thread too many would only be throttled.
    return max(1, min(cores, int(quota)) if quota is not None else cores)


def _physical_cores() -> int:
    """Hyper-threads share one core's arithmetic, so the threads of a computation are counted in these."""
    cores: set[str] = set()
    for cpu in _affinity() or ():
        siblings = _read(CPUS / f"cpu{cpu}/topology/thread_siblings_list")
        if siblings is None:
            break
        cores.add(siblings)
    else:
        if cores:
            return len(cores)
    import psutil

    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def _cpu_name() -> str:
    import platform

    name: str | None = None
    if PLATFORM == "linux":
        name = _linux_cpu_name()
    elif PLATFORM == "darwin":
        name = _mac_cpu_name()
    elif PLATFORM == "win32":
        name = _windows_cpu_name()
    return name or platform.processor() or platform.machine() or "unknown"


def _linux_cpu_name() -> str | None:
    fields: dict[str, str] = {}
    for line in (_read(PROC / "cpuinfo") or "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    # ARM kernels have no model name; boards put theirs under Model or Hardware.
    return next((fields[name] for name in ("model name", "Model", "Hardware") if fields.get(name)), None)


def _mac_cpu_name() -> str | None:
    """Never run."""
    import subprocess

    try:
        return subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            timeout=SYSCTL_TIMEOUT_S,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _windows_cpu_name() -> str | None:
    """Never run."""
    import importlib

    winreg: Any = importlib.import_module("winreg")
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return None


# --- memory and control groups ----------------------------------------------------------------------------------------


def _ram() -> tuple[int, int]:
    """Total and available bytes, as far as this process may use them."""
    import psutil

    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    for limit, used in _memory_groups():
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return total, available


def _memory_groups() -> Iterator[tuple[int, int]]:
    """Limit and use of each control group above this process that has a limit."""
    if PLATFORM != "linux":
        return
    for folder in _group_folders():
        for limit_name, used_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit = _number(folder / limit_name)
            if limit is not None and limit < NO_LIMIT:
                # Cached files count as used, but go when the memory is wanted.
                cache = _field(folder / "memory.stat", cache_name) or 0
                yield limit, max(0, (_number(folder / used_name) or 0) - cache)


def _cpu_quota() -> float | None:
    """Processors' worth of time that the tightest control group allows, or None."""
    if PLATFORM != "linux":
        return None
    quotas = []
    for folder in _group_folders():
        quota, period = None, None
        words = (_read(folder / "cpu.max") or "").split()
        if len(words) == 2 and words[0] != "max":
            quota, period = int(words[0]), int(words[1])
        elif not words:
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


@functools.cache
def _group_folders() -> tuple[Path, ...]:
    """The control group folders of this process, from its own to the root; a process does not move among them."""
    folders: list[Path] = []
    for line in (_read(PROC / "self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        if not path.startswith("/"):
            continue
        for name in controllers.split(",") if controllers else [""]:
            if name not in {"", "memory", "cpu"}:
                continue
            # Inside a container the path may be the host's; then only the root is there.
            own = PurePosixPath(path.lstrip("/"))
            for part in (own, *own.parents):
                folder = CGROUPS / name / part
                if folder not in folders and folder.is_dir():
                    folders.append(folder)
    return tuple(folders)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def _number(path: Path) -> int | None:
    """A file that holds one number; "max" is none."""
    text = (_read(path) or "").strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _field(path: Path, name: str) -> int | None:
    """A number from lines of names and numbers."""
    for line in (_read(path) or "").splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return None


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


class Nvidia:
    """The NVIDIA driver, if there is one. Asked for at most once: without a driver every answer is empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nvml: Any = None
        self._handles: tuple[Any, ...] | None = None

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs that the driver shows."""
        found = []
        for index, handle in enumerate(self._open()):
            total, used = self._memory_of(handle)
            name = self._ask("nvmlDeviceGetName", handle)
            driver = self._ask("nvmlSystemGetDriverVersion")
            found.append(Gpu(index, _as_text(name) or "NVIDIA GPU", total, used, _as_text(driver)))
        return tuple(found)

    def memory(self) -> tuple[int | None, int | None]:
        """Total and used VRAM of all GPUs, or None and None."""
        answers = [self._memory_of(handle) for handle in self._open()]
        totals = [total for total, _ in answers if total is not None]
        used = [used for _, used in answers if used is not None]
        return (sum(totals), sum(used)) if totals else (None, None)

    def _open(self) -> tuple[Any, ...]:
        with self._lock:
            if self._handles is None:
                self._handles = self._connect()
            return self._handles

    def _connect(self) -> tuple[Any, ...]:
        # Importing the bindings costs more than all else here, and most machines have no use for them.
        if not any(place.exists() for place in DRIVER_FILES):
            return ()
        try:
            import pynvml
        except ImportError:
            return ()
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
        except (pynvml.NVMLError, OSError):
            return ()
        handles = (self._ask("nvmlDeviceGetHandleByIndex", index) for index in range(count))
        return tuple(handle for handle in handles if handle is not None)

    def _memory_of(self, handle: Any) -> tuple[int | None, int | None]:
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        return (None, None) if memory is None else (int(memory.total), int(memory.used))

    def _ask(self, name: str, *arguments: Any) -> Any:
        """One driver call; None for any error: a GPU may be lost, or share the machine's memory and have none."""
        try:
            return getattr(self._nvml, name)(*arguments)
        except (self._nvml.NVMLError, OSError):
            return None


def _as_text(value: Any) -> str:
    """Older bindings answer in bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


@functools.cache
def _nvidia() -> Nvidia:
    return Nvidia()
