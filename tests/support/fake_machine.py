"""Machines that are not there: an NVIDIA driver, and the kernel's files of another computer."""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil

from botframework.models.hardware import control_groups, kernel, nvidia, probing, processor
from botframework.process import power

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

GIB = 1 << 30
NOT_SUPPORTED = 3
GPU_IS_LOST = 15


class FakeNvml(ModuleType):
    """Stands in for pynvml. Calls named in ``failing`` raise its error with the number that is their value."""

    class NVMLError(Exception):
        """The bindings' root error."""

        def __init__(self, value: int) -> None:
            super().__init__(value)
            self.value = value

    def __init__(self, vram: list[tuple[int, int]], failing: dict[str, int]) -> None:
        super().__init__("pynvml")
        self.vram = vram
        self.names = [f"Fake {index}" for index in range(len(vram))]
        self.failing = failing
        self.lost: set[int] = set()
        self.processes: dict[str, dict[int, list[tuple[int, int | None]]]] = {"Compute": {}, "Graphics": {}}
        """Pid and bytes, by kind and GPU."""
        self.clock_mhz = 0
        self.bus_bits = 0
        self.calls: list[str] = []
        self.is_open = False
        for name, answer in (
            ("nvmlInit", self._init),
            ("nvmlShutdown", self._shutdown),
            ("nvmlDeviceGetCount", lambda: len(self._seen)),
            ("nvmlDeviceGetHandleByIndex", self._handle),
            ("nvmlDeviceGetName", lambda handle: self.names[handle].encode()),
            ("nvmlSystemGetDriverVersion", lambda: "999.1"),
            ("nvmlDeviceGetMemoryInfo", self._memory),
            ("nvmlDeviceGetMaxClockInfo", lambda _, clock: self.clock_mhz if clock == 2 else 1),
            ("nvmlDeviceGetMemoryBusWidth", lambda _: self.bus_bits),
            ("nvmlDeviceGetComputeRunningProcesses", partial(self._processes, "Compute")),
            ("nvmlDeviceGetGraphicsRunningProcesses", partial(self._processes, "Graphics")),
        ):
            setattr(self, name, partial(self._do, name, answer))

    def _do(self, name: str, answer: Callable[..., Any], *arguments: Any) -> Any:
        self.calls.append(name)
        if name in self.failing:
            raise self.NVMLError(self.failing[name])
        assert self.is_open or name == "nvmlInit", f"{name} of a driver that is not open"
        return answer(*arguments)

    def _init(self) -> None:
        self.is_open = True
        # The real one counts its GPUs here, and never afterwards.
        self._seen = list(range(len(self.vram)))

    def _shutdown(self) -> None:
        self.is_open = False

    def _handle(self, index: int) -> int:
        if index in self.lost:
            raise self.NVMLError(GPU_IS_LOST)
        return index

    def _memory(self, handle: int) -> SimpleNamespace:
        if handle in self.lost:
            raise self.NVMLError(GPU_IS_LOST)
        total, used = self.vram[handle]
        return SimpleNamespace(total=total, used=used, free=total - used)

    def _processes(self, kind: str, handle: int) -> list[SimpleNamespace]:
        listed = self.processes[kind].get(handle, [])
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in listed]


def forget_the_machine() -> None:
    """Drop what probes remember."""
    nvidia.nvidia.cache_clear()
    control_groups._folders.cache_clear()
    probing._gauge._looked_at = -probing.BATTERY_S
    power._asked_at = -power.BELIEVED_S


def install_nvml(
    monkeypatch: pytest.MonkeyPatch, folder: Path, vram: list[tuple[int, int]], **failing: int
) -> FakeNvml:
    """Put a driver with such GPUs (total and used bytes) in the place of this machine's."""
    driver = folder / "nvidiactl"
    driver.touch()
    monkeypatch.setattr(nvidia, "DRIVER_FILES", (driver,))
    fake = FakeNvml(vram, failing)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def no_driver(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take this machine's driver away, and the bindings with it."""
    monkeypatch.setattr(nvidia, "DRIVER_FILES", (folder / "none",))
    monkeypatch.setitem(sys.modules, "pynvml", None)


def linux_machine(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, ram: tuple[int, int] = (64 * GIB, 32 * GIB)
) -> Path:
    """A Linux machine with four processors and such memory (total, available); its /proc and /sys are in ``folder``."""
    no_driver(monkeypatch, folder)
    for name in ("proc/self", "sys/fs/cgroup", "sys/devices/system/cpu", "sys/class/power_supply"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setattr(kernel, "PLATFORM", "linux")
    monkeypatch.setattr(kernel, "PROC", folder / "proc")
    monkeypatch.setattr(kernel, "SYS", folder / "sys")
    monkeypatch.setattr(power, "SUPPLIES", folder / "sys/class/power_supply")
    monkeypatch.setattr(processor, "_affinity", lambda: {0, 1, 2, 3})
    machine = SimpleNamespace(total=ram[0], available=ram[1])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    return folder


def files(folder: Path, **contents: Any) -> None:
    """Write small files as the kernel would; ``__`` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in contents.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")
