"""NVIDIA's driver, asked through NVML."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from botframework.models.hardware.bandwidth import known_bandwidth
from botframework.models.hardware.machine import DeviceMemory, Gpu

if TYPE_CHECKING:
    from collections.abc import Collection

DRIVER_FILES = (
    Path("/dev/nvidiactl"),
    Path("/proc/driver/nvidia/version"),
    Path("/usr/lib/wsl/lib/libnvidia-ml.so.1"),
    Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvml.dll",
)
"""One of these is there when an NVIDIA driver is; the Windows place was never tried."""

_NOT_SUPPORTED = 3
_GPU_IS_LOST = 15
_CLOCK_OF_MEMORY = 2
"""NVML's numbers; they are here because a driver that is not there leaves no module to take them from."""
_PROCESS_LISTS = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
"""CUDA's processes, and Vulkan's. One that does both is in both, with the same figure."""


def has_nvidia_driver() -> bool:
    """Whether a driver is there, be it one that answers or not."""
    return any(place.exists() for place in DRIVER_FILES)


class _Vram(NamedTuple):
    total: int | None
    used: int | None
    is_shared: bool
    """The GPU computes in the machine's memory, so that the driver refuses the question."""


class Nvidia:
    """The driver, if there is one; without one every answer is empty. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """Held while anything is asked: handles die with the connection that made them."""
        self._nvml: Any = None
        self._handles: tuple[tuple[int, Any], ...] | None = None

    def gpus(self, *, again: bool = False) -> tuple[Gpu, ...]:
        """All GPUs that the driver shows.

        Parameters
        ----------
        again
            Open the driver anew: it counts its GPUs when it is opened, and never afterwards.
        """
        with self._lock:
            if again:
                self._close()
            driver = _as_text(self._ask("nvmlSystemGetDriverVersion")) if self._open() else ""
            found = []
            for index, handle in self._open():
                vram = self._vram(handle)
                if vram is None:
                    continue
                name = _as_text(self._ask("nvmlDeviceGetName", handle)) or "NVIDIA GPU"
                found.append(
                    Gpu(
                        index=index,
                        vendor="nvidia",
                        name=name,
                        vram_total=vram.total,
                        vram_used=vram.used,
                        driver=driver,
                        bandwidth_gb_s=self._bandwidth(handle) or known_bandwidth(name),
                        is_integrated=vram.is_shared,
                    )
                )
            return tuple(found)

    def memory(self, pids: Collection[int] = ()) -> tuple[DeviceMemory, ...]:
        """Each GPU's memory now, with the share of these processes; a GPU that was lost is left out.

        The driver tells nothing of other containers' processes, nor of any on Windows' display driver model.
        """
        with self._lock:
            found = []
            for index, handle in self._open():
                vram = self._vram(handle)
                if vram is not None:
                    found.append(
                        DeviceMemory(
                            index=index,
                            name=_as_text(self._ask("nvmlDeviceGetName", handle)) or "NVIDIA GPU",
                            kind="igpu" if vram.is_shared else "gpu",
                            vram_total=vram.total,
                            vram_used=vram.used,
                            own_bytes=self._share(handle, pids) if pids else None,
                        )
                    )
            return tuple(found)

    def _open(self) -> tuple[tuple[int, Any], ...]:
        if self._handles is None:
            self._handles = self._connect()
        return self._handles

    def _connect(self) -> tuple[tuple[int, Any], ...]:
        # Importing the bindings costs more than all else here, and most machines have no use for them.
        if not has_nvidia_driver():
            return ()
        try:
            import pynvml
        except ImportError:
            return ()
        try:
            pynvml.nvmlInit()
        except (pynvml.NVMLError, OSError):
            return ()
        self._nvml = pynvml
        count = self._ask("nvmlDeviceGetCount") or 0
        handles = ((index, self._ask("nvmlDeviceGetHandleByIndex", index)) for index in range(count))
        return tuple((index, handle) for index, handle in handles if handle is not None)

    def _close(self) -> None:
        if self._nvml is not None:
            self._ask("nvmlShutdown")
        self._nvml, self._handles = None, None

    def _vram(self, handle: Any) -> _Vram | None:
        """The GPU's memory; None for a GPU that has fallen off the bus."""
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        except (self._nvml.NVMLError, OSError) as error:
            reason = getattr(error, "value", None)
            return None if reason == _GPU_IS_LOST else _Vram(None, None, is_shared=reason == _NOT_SUPPORTED)
        return _Vram(int(memory.total), int(memory.used), is_shared=False)

    def _bandwidth(self, handle: Any) -> float | None:
        """Peak GB/s from the memory's clock and the width of its bus; two transfers a clock.

        The formula is that of NVIDIA's CUDA C++ Best Practices Guide, "Theoretical Bandwidth Calculation"
        (https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/).
        """
        clock_mhz = self._ask("nvmlDeviceGetMaxClockInfo", handle, _CLOCK_OF_MEMORY)
        width_bits = self._ask("nvmlDeviceGetMemoryBusWidth", handle)
        if not clock_mhz or not width_bits:
            return None
        return round(2 * int(clock_mhz) * int(width_bits) / 8 / 1_000, 1)

    def _share(self, handle: Any, pids: Collection[int]) -> int | None:
        shares: dict[int, int] = {}
        for processes in _PROCESS_LISTS:
            for process in self._ask(processes, handle) or ():
                if process.pid in pids and process.usedGpuMemory is not None:
                    shares[process.pid] = max(shares.get(process.pid, 0), int(process.usedGpuMemory))
        return sum(shares.values()) if shares else None

    def _ask(self, name: str, *arguments: Any) -> Any:
        """One call of the driver; None for any error."""
        try:
            return getattr(self._nvml, name)(*arguments)
        except (self._nvml.NVMLError, OSError):
            return None


def _as_text(value: Any) -> str:
    """Older bindings answer in bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


@functools.cache
def nvidia() -> Nvidia:
    """The one connection of this process to the driver."""
    return Nvidia()
