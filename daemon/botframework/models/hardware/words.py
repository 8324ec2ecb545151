"""What became of the machine, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from botframework.quantities import size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from botframework.models.hardware.machine import Gpu, Hardware

RAM_CHANGE = 0.05
"""Of the memory: kernels and firmware reserve a little more or less from one start to the next."""


def changes(before: Hardware, after: Hardware) -> tuple[str, ...]:
    """Say what of the machine is another than it was, a sentence each; empty: nothing that matters to a model.

    What one side does not know is no change: a probe without llama.cpp's device list has lost no GPU.
    """
    both_know = before.devices_known and after.devices_known
    gpus = [[gpu for gpu in side.gpus if both_know or gpu.source != "llama.cpp"] for side in (before, after)]
    told = [f"GPU gone: {name}" for name in _missing(gpus[0], gpus[1])]
    told += [f"new GPU: {name}" for name in _missing(gpus[1], gpus[0])]
    told += _changed_gpus(*gpus)
    if both_know:
        told += _changed_use(*gpus)
    if before.cpu != after.cpu:
        told.append(f"processor: {after.cpu}, before {before.cpu}")
    if before.physical_cores != after.physical_cores:
        told.append(f"cores for this process: {after.physical_cores}, before {before.physical_cores}")
    if abs(before.ram_total - after.ram_total) > RAM_CHANGE * max(before.ram_total, after.ram_total):
        told.append(f"memory: {size(after.ram_total)}, before {size(before.ram_total)}")
    return tuple(told)


def _missing(these: Iterable[Gpu], those: Iterable[Gpu]) -> list[str]:
    """The names of those GPUs that are on one side only; of two equal cards one may be gone."""
    return sorted((Counter(gpu.name for gpu in these) - Counter(gpu.name for gpu in those)).elements())


def _changed_gpus(before: list[Gpu], after: list[Gpu]) -> list[str]:
    """What is new about GPUs that stayed; equal cards are compared by one of them."""
    told = []
    earlier = {gpu.name: gpu for gpu in before}
    for name, gpu in {gpu.name: gpu for gpu in after}.items():
        old = earlier.get(name)
        if old is None:
            continue
        if old.driver and gpu.driver and old.driver != gpu.driver:
            told.append(f"driver of {name}: {gpu.driver}, before {old.driver}")
        if old.vram_total and gpu.vram_total and old.vram_total != gpu.vram_total:
            told.append(f"memory of {name}: {size(gpu.vram_total)}, before {size(old.vram_total)}")
    return told


def _changed_use(before: list[Gpu], after: list[Gpu]) -> list[str]:
    earlier = {gpu.name: gpu.is_usable for gpu in before}
    return [
        f"llama.cpp can now use {gpu.name}" if gpu.is_usable else f"llama.cpp can no longer use {gpu.name}"
        for gpu in {gpu.name: gpu for gpu in after}.values()
        if earlier.get(gpu.name, gpu.is_usable) != gpu.is_usable
    ]
