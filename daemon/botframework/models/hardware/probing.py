"""One look at the whole machine, and a cheap one at its memory for the heartbeat.

What cannot be found out is None, empty or 0, never an error: a probe must not keep a model from loading.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from botframework.models.hardware import kernel
from botframework.models.hardware.bandwidth import known_bandwidth
from botframework.models.hardware.battery import battery
from botframework.models.hardware.devices import with_devices
from botframework.models.hardware.history import highest_bandwidth
from botframework.models.hardware.machine import Battery, Gpu, Hardware, MemorySample
from botframework.models.hardware.memory import ram
from botframework.models.hardware.nvidia import nvidia
from botframework.models.hardware.processor import instruction_sets, logical_cores, physical_cores, processor_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from botframework.wire.messages import Device

BATTERY_S = 30.0
"""A battery is looked at so often: it changes slowly, and some of them take milliseconds to answer."""


def probe(*, again: bool = False) -> Hardware:
    """Look at the whole machine; takes milliseconds, the first time some tens with an NVIDIA driver.

    Parameters
    ----------
    again
        Ask the drivers anew, so that a GPU that came or went since the last probe of this process is noticed.
    """
    logical = logical_cores()
    ram_total, ram_available = ram()
    cpu = processor_name()
    is_apple = kernel.PLATFORM == "darwin" and cpu.startswith("Apple")
    gpus = nvidia().gpus(again=again)
    return Hardware(
        cpu=cpu,
        physical_cores=max(1, min(physical_cores(), logical)),
        logical_cores=logical,
        ram_total=ram_total,
        ram_available=ram_available,
        gpus=(_apple_gpu(cpu),) if is_apple else gpus,
        instruction_sets=instruction_sets(),
        memory_bandwidth_gb_s=known_bandwidth(cpu) if is_apple else None,
        unified_memory=is_apple,
        battery=battery(),
    )


def survey(devices: Sequence[Device] = (), remember: Path | None = None) -> Hardware:
    """Probe, with llama.cpp's device list and a measured memory bandwidth: what a recommendation is made from.

    The first survey of a process takes half a second, in which another process reads a few hundred MiB.

    Parameters
    ----------
    devices
        llama.cpp's own list.
    remember
        A file for the highest bandwidth that was ever measured here: other programs use the memory too, and what is
        recommended should not depend on what they just do.
    """
    found = with_devices(probe(again=True), devices)
    if found.memory_bandwidth_gb_s is not None:
        return found
    from botframework.models.hardware.measured import measured_bandwidth  # on use: it brings ctypes along

    bandwidth = measured_bandwidth()
    if remember is not None:
        bandwidth = highest_bandwidth(remember, found.cpu, bandwidth)
    return replace(found, memory_bandwidth_gb_s=bandwidth)


def sample(pids: Collection[int] = ()) -> MemorySample:
    """Memory and battery now: a few small files, and two to four calls of the driver for each GPU.

    Parameters
    ----------
    pids
        Whose share of each GPU's memory is wanted too.
    """
    ram_total, ram_available = ram()
    return MemorySample(ram_total, ram_available, nvidia().memory(pids), _gauge.read())


def _apple_gpu(chip: str) -> Gpu:
    """Every Mac with a chip of Apple's has its GPU; how much memory it may use is told by llama.cpp. Never run."""
    return Gpu(
        index=0,
        vendor="apple",
        name=chip,
        vram_total=None,
        vram_used=None,
        bandwidth_gb_s=known_bandwidth(chip),
        is_integrated=True,
        source="system",
    )


class _BatteryGauge:
    """The battery as it was at the last look."""

    def __init__(self) -> None:
        self._looked_at = -BATTERY_S
        self._found: Battery | None = None

    def read(self) -> Battery | None:
        now = time.monotonic()
        if now - self._looked_at >= BATTERY_S:
            self._looked_at, self._found = now, battery()
        return self._found


_gauge = _BatteryGauge()
