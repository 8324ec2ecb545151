"""What this machine is and which models suit it, as the command line, the LSP and the extension show it.

The structs are imported at the daemon's start; what finds the facts out is imported on use.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec

from botframework.manager.status import Battery
from botframework.models.recommendation import Recommendation  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from botframework.config import Settings
    from botframework.models.hardware import Hardware
    from botframework.models.recommendation import Role


class GpuSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One graphics processor. Sizes are bytes; null is unknown."""

    name: str
    vendor: Literal["nvidia", "amd", "intel", "apple", "other"]
    driver: str
    """Its version; empty if it is not known."""
    vram_total: int | None
    vram_free: int | None
    """Of the whole device, whoever uses it."""
    bandwidth_gb_s: float | None
    """10^9 bytes per second between it and its own memory."""
    is_integrated: bool
    """Whether it shares the machine's memory."""
    is_usable: bool
    """False: this build of llama.cpp cannot compute on it."""


class HardwareSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The machine, as far as it decides which models run on it. Sizes are bytes; null is unknown, or there is none."""

    cpu: str
    physical_cores: int
    logical_cores: int
    instruction_sets: tuple[str, ...]
    """As in ``AVX2``."""
    ram_total: int
    """What this process may use, if that is less than the machine has."""
    ram_available: int
    memory_bandwidth_gb_s: float | None
    """10^9 bytes per second between CPU and main memory."""
    unified_memory: bool
    """Whether CPU and GPU share one memory, as on Apple's chips."""
    gpus: tuple[GpuSummary, ...]
    battery: Battery | None


class Advice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The machine, and the models of the catalog that suit it."""

    hardware: HardwareSummary
    recommendations: tuple[Recommendation, ...]
    """Best first."""


def summary(hardware: Hardware) -> HardwareSummary:
    """What a client is told of a machine."""
    return HardwareSummary(
        cpu=hardware.cpu,
        physical_cores=hardware.physical_cores,
        logical_cores=hardware.logical_cores,
        instruction_sets=hardware.instruction_sets,
        ram_total=hardware.ram_total,
        ram_available=hardware.ram_available,
        memory_bandwidth_gb_s=hardware.memory_bandwidth_gb_s,
        unified_memory=hardware.unified_memory,
        gpus=tuple(
            GpuSummary(
                name=gpu.name,
                vendor=gpu.vendor,
                driver=gpu.driver,
                vram_total=gpu.vram_total,
                vram_free=gpu.vram_free,
                bandwidth_gb_s=gpu.bandwidth_gb_s,
                is_integrated=gpu.is_integrated,
                is_usable=gpu.is_usable,
            )
            for gpu in hardware.gpus
        ),
        battery=Battery.of(hardware.battery),
    )


async def advise(settings: Settings, roles: tuple[Role, ...] = ()) -> Advice:
    """Look at the machine and choose from the catalog; the first time it takes a second or two.

    Parameters
    ----------
    roles
        What models are wanted for; empty: everything.

    Raises
    ------
    ConfigError
        The user's own catalog cannot be read.
    """
    return await asyncio.to_thread(_advise, settings, roles)


def _advise(settings: Settings, roles: tuple[Role, ...]) -> Advice:
    from botframework.manager import machine
    from botframework.manager.shelf import Shelf
    from botframework.models.catalog import load_catalog, user_catalog_file
    from botframework.models.recommend import ROLES, recommend

    found = machine.survey(machine.devices())
    installed = tuple(str(path) for path in Shelf(settings).paths())
    catalog = load_catalog(user_catalog_file())
    return Advice(
        hardware=summary(found),
        recommendations=recommend(found, catalog, roles=roles or ROLES, installed=installed),
    )
