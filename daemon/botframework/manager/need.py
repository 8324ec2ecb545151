"""What a load takes of the machine's memory and of its GPUs', and what is free there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.models import hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.manager.holders import Holder
    from botframework.manager.load import Choice
    from botframework.models.shape import ModelShape
    from botframework.wire.messages import Device, Measured

MARGIN_BYTES = 512 << 20
"""Of the machine's memory, and of the GPUs': the editor and the desktop go on growing while a model loads."""
MARGIN_SHARE = 0.1
"""Of the whole memory, where that is less: on a small machine half a GiB is a model."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a model takes."""

    ram: int
    vram: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.ram + self.vram


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a model may take."""

    ram: int
    vram: int | None
    """Of all GPUs; None is unknown."""

    def holds(self, need: Need) -> bool:
        """Whether it fits. Nothing is refused for want of memory that nobody can measure: llama.cpp will tell."""
        return need.ram <= self.ram and (self.vram is None or need.vram <= self.vram)

    def total_for(self, need: Need) -> int:
        """Of the kinds of memory that are needed."""
        return (self.ram if need.ram else 0) + ((self.vram or 0) if need.vram else 0)

    def lacks(self, measured: Measured) -> bool:
        """Whether there are GPUs whose memory only llama.cpp can tell: the driver's library told of none."""
        return self.vram is None and bool(_cards(measured))

    def with_devices(self, measured: Measured) -> Room:
        """With what is free of the GPUs that it lacks."""
        free = sum(card.free_bytes for card in _cards(measured))
        return Room(self.ram, free) if self.lacks(measured) else self

    def with_whole_devices(self, measured: Measured) -> Room:
        """With the whole memory of the GPUs that it lacks."""
        whole = sum(card.total_bytes - _margin(card.total_bytes) for card in _cards(measured))
        return Room(self.ram, whole) if self.lacks(measured) else self

    def less(self, holders: Sequence[Holder], need: Need) -> Room:
        """Without what the workers use and the system calls available, and without what they will still take.

        What a loading worker still takes is assumed to be of the kind of memory that is needed most.
        """
        mapped = sum(holder.mapped_bytes for holder in holders)
        coming = sum(holder.coming_bytes for holder in holders)
        if self.vram is not None and need.vram > need.ram:
            return Room(max(0, self.ram - mapped), max(0, self.vram - coming))
        return Room(max(0, self.ram - mapped - coming), self.vram)


def _cards(measured: Measured) -> list[Device]:
    """The GPUs with memory of their own; none if one of them does not tell how much."""
    cards = [device for device in measured.devices if device.kind == "gpu"]
    return cards if all(card.total_bytes > 0 for card in cards) else []


def estimate(choice: Choice) -> Need:
    """What a load takes, by arithmetic."""
    return Need(*choice.bytes_by_place)


def exact(measured: Measured, shape: ModelShape) -> Need:
    """What a load takes, by llama.cpp's own word; ``shape`` tells what each layer weighs."""
    of_machine = {device.name for device in measured.devices if device.kind in {"cpu", "igpu"}} | {"CPU"}
    ram = vram = 0
    for share in measured.shares:
        taken = share.kv_bytes + share.recurrent_bytes + share.compute_bytes
        if share.device in of_machine:
            ram += taken
        else:
            vram += taken
    blocks = sum(
        layer.weights_bytes
        for layer, place in zip(shape.layers, measured.layer_devices, strict=False)
        if place not in of_machine
    )
    is_output_on_gpu = len(measured.layer_devices) > shape.n_layers and measured.layer_devices[-1] not in of_machine
    vram += blocks + (shape.output_on_gpu_bytes if is_output_on_gpu else 0)
    # What is tied to the input is copied to the GPU, and stays in main memory too.
    ram += max(0, measured.weights_bytes - blocks - (shape.output_bytes if is_output_on_gpu else 0))
    return Need(ram, vram)


def free() -> Room:
    """What may be taken now. Asks the system: not for an event loop."""
    memory = hardware.sample()
    ram = memory.ram_available - _margin(memory.ram_total)
    if memory.vram_total is None or memory.vram_used is None:
        return Room(max(0, ram), None)
    return Room(max(0, ram), max(0, memory.vram_total - memory.vram_used - _margin(memory.vram_total)))


def whole() -> Room:
    """What could be taken if nothing else were there. Asks the system: not for an event loop."""
    memory = hardware.sample()
    vram = None if memory.vram_total is None else memory.vram_total - _margin(memory.vram_total)
    return Room(memory.ram_total - _margin(memory.ram_total), vram)


def _margin(total: int) -> int:
    return min(MARGIN_BYTES, int(total * MARGIN_SHARE))
