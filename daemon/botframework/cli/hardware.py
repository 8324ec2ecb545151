"""``botframework hardware``: what this machine has, as far as it decides which models run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botframework.cli import command, exits, tables
from botframework.quantities import size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from botframework.cli.terminal import Terminal
    from botframework.manager.advice import GpuSummary, HardwareSummary


def main(arguments: Sequence[str]) -> int:
    """Print it."""
    parser = command.make_parser(
        "hardware", "What this machine has for models; a container's limits count as the machine's."
    )
    return command.run(parser, arguments, _hardware)


def _hardware(options: argparse.Namespace, terminal: Terminal) -> int:
    del options
    with terminal.waiting("looking at the machine …"):
        found = look()
    terminal.document(found)
    terminal.table(tables.facts(rows(found)))
    return exits.DONE


def look() -> HardwareSummary:
    """Probe the machine; GPUs of makers other than NVIDIA are told by llama.cpp."""
    import asyncio

    from botframework.errors import WorkerStartFailed
    from botframework.manager import advice, machine, measure

    try:
        devices = asyncio.run(measure.probe_devices())
    except WorkerStartFailed:
        # What can be told without it is told; `doctor` says why.
        devices = ()
    return advice.summary(machine.survey(devices))


def rows(found: HardwareSummary) -> list[tuple[str, str]]:
    """Names and values for people."""
    threads = f", {found.logical_cores} threads" if found.logical_cores != found.physical_cores else ""
    listed = [
        ("processor", found.cpu),
        ("cores", f"{found.physical_cores}{threads}"),
        ("instruction sets", ", ".join(found.instruction_sets) or "unknown"),
        ("memory", f"{size(found.ram_total)}, {size(found.ram_available)} available"),
        ("memory bandwidth", bandwidth(found.memory_bandwidth_gb_s)),
    ]
    listed += [(f"GPU {number}", gpu_words(gpu)) for number, gpu in enumerate(found.gpus)]
    if not found.gpus:
        listed.append(("GPU", "none that is known"))
    if found.unified_memory:
        listed.append(("unified memory", "processor and GPU share one memory"))
    if found.battery is not None:
        listed.append(("battery", f"{found.battery.percent} %, {'plugged in' if found.battery.plugged else 'in use'}"))
    return listed


def gpu_words(gpu: GpuSummary) -> str:
    """One GPU in a line."""
    if gpu.vram_total is None:
        memory = "shares the machine's memory" if gpu.is_integrated else "memory unknown"
    else:
        memory = size(gpu.vram_total) + (f", {size(gpu.vram_free)} free" if gpu.vram_free is not None else "")
        memory += ", part of the machine's memory" if gpu.is_integrated else ""
    parts = [gpu.name, memory, bandwidth(gpu.bandwidth_gb_s)]
    if not gpu.is_usable:
        parts.append("llama.cpp cannot use it (see `botframework doctor`)")
    if gpu.driver:
        parts.append(f"driver {gpu.driver}")
    return ", ".join(parts)


def bandwidth(gb_s: float | None) -> str:
    """A bandwidth in words."""
    return "bandwidth unknown" if gb_s is None else f"{gb_s:,.0f} GB/s"
