"""What a machine has, as values. Memory is bytes, bandwidth GB/s (10^9 bytes a second); None is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Vendor = Literal["nvidia", "amd", "intel", "apple", "other"]
Source = Literal["nvml", "llama.cpp", "system"]
"""Who told of a GPU: NVIDIA's driver, llama.cpp's device list, or the operating system."""


@dataclass(frozen=True, slots=True)
class Battery:
    """The machine's own batteries together."""

    percent: int
    plugged: bool
    """False: it is being emptied."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    index: int
    """The driver's number for it (source ``nvml``); the others are counted on from there."""
    vendor: Vendor
    name: str
    vram_total: int | None
    """None: unknown, or it has no memory of its own."""
    vram_used: int | None
    """By everybody, where the driver tells; llama.cpp's Metal tells of its own process only."""
    driver: str = ""
    """The driver's version; empty: unknown."""
    bandwidth_gb_s: float | None = None
    """Peak, of its own memory."""
    is_integrated: bool = False
    """It computes in the machine's memory, so what it takes is gone there too."""
    source: Source = "nvml"
    is_usable: bool = True
    """False: llama.cpp cannot compute on it, as a build without CUDA cannot on an NVIDIA card. Known only if
    `Hardware.devices_known`."""
    device: str = ""
    """llama.cpp's name for it (``CUDA0``); empty while it is not known."""

    @property
    def vram_free(self) -> int | None:
        """What nobody uses."""
        if self.vram_total is None or self.vram_used is None:
            return None
        return max(0, self.vram_total - self.vram_used)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one probe found."""

    cpu: str
    physical_cores: int
    """That this process may use, by affinity and quota; at least 1."""
    logical_cores: int
    ram_total: int
    """As far as control groups let this process use it; so is ``ram_available``."""
    ram_available: int
    gpus: tuple[Gpu, ...]
    instruction_sets: tuple[str, ...] = ()
    """Those that matter for inference, by their usual names: ``AVX2``, ``AVX-512``, ``AMX``, ``NEON``, ``SVE``."""
    memory_bandwidth_gb_s: float | None = None
    """Of the machine's memory: Apple's figure for its chips, otherwise only known after a measurement (`survey`)."""
    unified_memory: bool = False
    """Processor and GPU have one fast memory in common, as Apple's chips do."""
    battery: Battery | None = None
    """None: there is none."""
    devices_known: bool = False
    """llama.cpp's device list is in it. Before, GPUs of other makers than NVIDIA are missing."""

    @property
    def usable_gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that llama.cpp takes: those with memory of their own, else those that share the machine's.

        Before it was asked which of them it can use, all are thought to be of use.
        """
        usable = tuple(gpu for gpu in self.gpus if gpu.is_usable)
        return tuple(gpu for gpu in usable if not gpu.is_integrated) or usable

    def bandwidth_of(self, gpu: Gpu | None) -> float | None:
        """GB/s at which weights are read: by that GPU, or by the processor if there is none."""
        if gpu is None:
            return self.memory_bandwidth_gb_s
        if gpu.bandwidth_gb_s is None and gpu.is_integrated:
            return self.memory_bandwidth_gb_s
        return gpu.bandwidth_gb_s


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """One GPU's memory now."""

    index: int
    """As `Gpu.index`."""
    name: str
    kind: Literal["gpu", "igpu"]
    vram_total: int | None
    vram_used: int | None
    """On the whole device, by everybody."""
    own_bytes: int | None = None
    """By the processes that were asked for; None: the driver does not tell, or does not list any of them."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """The machine's memory now, and its battery."""

    ram_total: int
    ram_available: int
    devices: tuple[DeviceMemory, ...] = ()
    battery: Battery | None = None

    @property
    def ram_used(self) -> int:
        """What is not available."""
        return self.ram_total - self.ram_available

    @property
    def vram_total(self) -> int | None:
        """Of all devices together; None where none tells."""
        return _sum(device.vram_total for device in self.devices)

    @property
    def vram_used(self) -> int | None:
        """Of all devices together, by everybody; None where none tells."""
        return _sum(device.vram_used for device in self.devices)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
