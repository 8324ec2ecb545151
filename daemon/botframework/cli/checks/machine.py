"""Processor, memory, limits, battery."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from botframework.cli.checks.finding import good, warning
from botframework.quantities import GIB, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding

LITTLE_MEMORY_BYTES = 2 * GIB
"""Available; the smallest useful models take about 1 GB with their contexts."""
LITTLE_BATTERY_PERCENT = 20
FEW_DESCRIPTORS = 256


def processor(case: Case) -> Iterator[Finding]:
    """Whether it is fast enough."""
    machine = case.machine
    told = f"{machine.cpu}, {machine.physical_cores} cores"
    has_avx2 = "AVX2" in machine.instruction_sets
    if platform.machine().lower() in {"x86_64", "amd64"} and machine.instruction_sets and not has_avx2:
        yield warning(
            "processor",
            f"{told}, without AVX2: models run several times slower",
            "take small models (`botframework models recommend`); let a virtual machine have the host's processor",
        )
    elif machine.physical_cores == 1 and not machine.gpus:
        yield warning(
            "processor",
            f"{told}: the editor and the model share one core",
            "give a container or a virtual machine more cores; set completion.prefetch = false",
        )
    else:
        yield good("processor", told)


def memory(case: Case) -> Iterator[Finding]:
    """Whether there is room now."""
    machine = case.machine
    told = f"{size(machine.ram_available)} of {size(machine.ram_total)} available"
    if machine.ram_available < min(LITTLE_MEMORY_BYTES, machine.ram_total // 4):
        yield warning("memory", told, "close something large, or take a smaller model")
    else:
        yield good("memory", told)


def limits(_case: Case) -> Iterator[Finding]:
    """Whether the shell's ``ulimit`` leaves enough."""
    if sys.platform == "win32":  # Never run: there are none.
        return
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if files != resource.RLIM_INFINITY and files < FEW_DESCRIPTORS:
        yield warning("limits", f"only {files} open files are allowed", "raise it: `ulimit -n 1024`")
    if space != resource.RLIM_INFINITY:
        yield warning(
            "limits",
            f"the address space is limited to {size(space)}: larger models cannot be mapped",
            "lift it: `ulimit -v unlimited`",
        )


def battery(case: Case) -> Iterator[Finding]:
    """Whether it is nearly empty."""
    found = case.machine.battery
    if found is None:
        return
    told = f"{found.percent} %, {'plugged in' if found.plugged else 'in use'}"
    if not found.plugged and found.percent < LITTLE_BATTERY_PERCENT:
        yield warning("battery", told, "plug it in; completion.prefetch = false saves energy")
    else:
        yield good("battery", told)
