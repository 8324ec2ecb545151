"""How much of a model fits where on a machine. Pure.

Which layer goes to which device is llama.cpp's own rule (``load_tensors`` in ``llama-model.cpp``); the order in which
things are given up, and the margin, are those of its own fitting (``common/fit.cpp``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from botframework.models.demand import (
    CELL_STEP,
    ContextPlan,
    Demand,
    compute_bytes,
    demand,
    kv_bytes,
    layer_kv_bytes,
    plan_contexts,
    recurrent_bytes,
    work_bytes,
)
from botframework.quantities import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.models.hardware import Gpu, Hardware
    from botframework.models.recommendation import Placement
    from botframework.models.shape import ModelShape

__all__ = [
    "ContextPlan",
    "Demand",
    "Fit",
    "compute_bytes",
    "demand",
    "divide",
    "fit",
    "fit_as_told",
    "gpu_room",
    "kv_bytes",
    "plan_contexts",
    "ram_room",
    "recurrent_bytes",
]

LEAST_CTX_CHAT = 4_096
"""Cells; a model that leaves no more gets fewer layers on the GPU instead."""
GPU_MARGIN = 1 << 30
"""Of a GPU's whole memory that is left alone: for the screen, for other programs and for what the driver keeps for each
process (some hundred MiB). llama.cpp's own fitting leaves as much."""
RAM_SHARE = 0.8
"""Of the machine's memory that a model may take: the editor and the system need the rest."""
RAM_MARGIN = 2 << 30
"""Of the machine's memory that is left to the editor and the system at least; the smallest machines give half."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model fits a machine."""

    placement: Placement
    n_gpu_layers: int
    """The output counts as one, behind the blocks."""
    plan: ContextPlan
    """The contexts that remain."""
    demand: Demand
    """With these contexts."""
    available: int
    """Bytes that could be had where the model goes; with ``none`` in the machine's memory."""
    is_shared: bool
    """What is on a GPU is in the machine's memory."""
    reasons: tuple[str, ...]
    """For people."""
    given_up: tuple[str, ...] = ()
    """Those of them that tell what the memory does not allow."""

    @property
    def n_ctx(self) -> int:
        """Cells of the chat context, or of completion's without one."""
        return self.plan.n_ctx_chat or self.plan.n_ctx_fim


def ram_room(hardware: Hardware) -> int:
    """Bytes of the machine's memory that a model may take."""
    total = hardware.ram_total
    return total - int(max(total * (1 - RAM_SHARE), min(RAM_MARGIN, total // 2)))


def gpu_room(gpu: Gpu, hardware: Hardware) -> int:
    """Bytes of a GPU that a model may take; of one that shares the machine's memory no more than of that.

    None of one that has memory of its own and does not say how much.
    """
    if not gpu.is_integrated:
        return max(0, (gpu.vram_total or 0) - GPU_MARGIN)
    # What the screen and other programs take of a shared memory is in the machine's margin already.
    return ram_room(hardware) if gpu.vram_total is None else min(gpu.vram_total, ram_room(hardware))


@dataclass(frozen=True, slots=True)
class _Room:
    """Bytes that may be taken."""

    ram: int
    gpus: tuple[int, ...]
    weights: tuple[int, ...]
    """By which llama.cpp deals the layers out to the GPUs: their memory, whatever may be taken of it."""
    is_shared: bool
    """The GPUs' memory is the machine's."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """A model with its contexts, in the pieces that are placed."""

    layers: tuple[int, ...]
    """Bytes of each block with its caches."""
    output: int
    output_on_gpu: int
    input: int
    work: int
    """Working memory, on each device that computes."""


def fit(shape: ModelShape, plan: ContextPlan, hardware: Hardware) -> Fit:
    """Find the best place for a model: first a smaller chat context, then fewer layers on the GPU, then none.

    Judged as if nothing else were in memory, so that every process on the machine decides the same.
    """
    room = _room(hardware)
    every_layer = shape.n_layers + 1
    if any(room.gpus):
        whole = _largest_context(plan, lambda tried: _holds(_layout(shape, tried), room, every_layer))
        if whole is not None:
            return _found(shape, whole, room, "gpu", every_layer, asked=plan)
        least = _with_chat(plan, min(plan.n_ctx_chat, LEAST_CTX_CHAT))
        pieces = _layout(shape, least)
        for n_gpu_layers in range(shape.n_layers, 0, -1):
            if _holds(pieces, room, n_gpu_layers):
                return _found(shape, least, room, "partial", n_gpu_layers, asked=plan)
    on_cpu = _largest_context(plan, lambda tried: _holds(_layout(shape, tried), room, 0))
    if on_cpu is not None:
        return _found(shape, on_cpu, room, "cpu", 0, asked=plan)
    least = _with_chat(plan, min(plan.n_ctx_chat, LEAST_CTX_CHAT))
    return _found(shape, least, room, "none", 0, asked=plan)


def fit_as_told(shape: ModelShape, plan: ContextPlan, hardware: Hardware, n_gpu_layers: int) -> Fit:
    """Say whether a model finds room with these contexts and so many layers on the GPU; nothing is made smaller.

    The placement is ``none`` if it does not.
    """
    room = _room(hardware)
    n_gpu_layers = min(n_gpu_layers, shape.n_layers + 1) if room.gpus else 0
    placement: Placement = "none"
    if _holds(_layout(shape, plan), room, n_gpu_layers):
        placement = "cpu" if not n_gpu_layers else "gpu" if n_gpu_layers > shape.n_layers else "partial"
    return _found(shape, plan, room, placement, n_gpu_layers, asked=plan)


def divide(shape: ModelShape, plan: ContextPlan, n_gpu_layers: int) -> tuple[int, int]:
    """Bytes in the machine's memory and on the GPUs, with so many layers there."""
    pieces = _layout(shape, plan)
    on_host, placed = _dealt(pieces, n_gpu_layers)
    return on_host, sum(placed) + (pieces.work if placed else 0)


def _room(hardware: Hardware) -> _Room:
    gpus = hardware.usable_gpus
    return _Room(
        ram_room(hardware),
        tuple(gpu_room(gpu, hardware) for gpu in gpus),
        tuple(gpu.vram_total or (hardware.ram_total if gpu.is_integrated else 0) for gpu in gpus),
        is_shared=bool(gpus) and all(gpu.is_integrated for gpu in gpus),
    )


def _with_chat(plan: ContextPlan, n_ctx_chat: int) -> ContextPlan:
    return replace(plan, n_ctx_chat=n_ctx_chat)


def _largest_context(plan: ContextPlan, holds: Callable[[ContextPlan], bool]) -> ContextPlan | None:
    """The plan, or as much of its chat context as fits, but not less than is useful."""
    if holds(plan):
        return plan
    low, high = LEAST_CTX_CHAT // CELL_STEP, plan.n_ctx_chat // CELL_STEP
    if plan.n_ctx_chat <= LEAST_CTX_CHAT or not holds(_with_chat(plan, LEAST_CTX_CHAT)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if holds(_with_chat(plan, middle * CELL_STEP)):
            low = middle
        else:
            high = middle
    return _with_chat(plan, low * CELL_STEP)


def _layout(shape: ModelShape, plan: ContextPlan) -> _Layout:
    n_states = sum(max(1, n_seq) for _, n_seq, _ in plan.contexts)
    sizes = [layer.weights_bytes + n_states * layer.recurrent_bytes for layer in shape.layers]
    for context in plan.contexts:
        kv = layer_kv_bytes(shape, context, plan.kv_type, flash_attention=plan.flash_attention)
        sizes = [weights + n_bytes for weights, n_bytes in zip(sizes, kv, strict=True)]
    return _Layout(
        layers=tuple(sizes),
        output=shape.output_bytes,
        output_on_gpu=shape.output_on_gpu_bytes,
        input=shape.input_bytes,
        work=work_bytes(shape, plan),
    )


def _dealt(pieces: _Layout, n_gpu_layers: int) -> tuple[int, list[int]]:
    """Bytes in the machine's memory, and those of each layer on a GPU: the last ones, the output as the last of all."""
    first = max(0, len(pieces.layers) + 1 - n_gpu_layers)
    on_host = pieces.input + pieces.work + sum(pieces.layers[:first])
    if not n_gpu_layers:
        return on_host + pieces.output, []
    return on_host, [*pieces.layers[first:], pieces.output_on_gpu]


def _holds(pieces: _Layout, room: _Room, n_gpu_layers: int) -> bool:
    """Whether every device has room for its part.

    llama.cpp deals the layers out in proportion to the memory of the GPUs, each one's in a row; so a small card beside
    a large one can be what is full first.
    """
    on_host, placed = _dealt(pieces, n_gpu_layers)
    ends = [total / max(1, sum(room.weights)) for total in accumulate(room.weights)]
    taken = [0] * len(room.gpus)
    for number, n_bytes in enumerate(placed):
        device = next((index for index, end in enumerate(ends) if end > number / len(placed)), len(ends) - 1)
        taken[device] += n_bytes
    taken = [n_bytes + pieces.work if n_bytes else 0 for n_bytes in taken]
    if room.is_shared:
        on_host += sum(taken)
    return on_host <= room.ram and all(part <= limit for part, limit in zip(taken, room.gpus, strict=True))


# --- words ------------------------------------------------------------------------------------------------------------


def _found(
    shape: ModelShape, plan: ContextPlan, room: _Room, placement: Placement, n_gpu_layers: int, *, asked: ContextPlan
) -> Fit:
    needed = demand(shape, plan)
    available = room.ram
    if placement == "gpu":
        available = sum(room.gpus)
    elif placement == "partial":
        available = max(sum(room.gpus), room.ram) if room.is_shared else sum(room.gpus) + room.ram
    if placement == "partial":
        where = f"{n_gpu_layers} of {shape.n_layers + 1} layers fit on the GPU, the processor computes the others"
    elif placement == "none":
        where = f"It needs {size(needed.total)}, and {size(available)} can be had"
    else:
        where = f"It fits into {_memory(placement, room)}: {size(needed.total)} of {size(available)}"
    if not shape.is_exact:
        where += ", by estimate"
    reasons = [where + "."]
    given_up = [where + "."] if placement in {"partial", "none"} else []
    if placement != "none" and plan.n_ctx_chat < asked.n_ctx_chat:
        shorter = f"The chat context has {plan.n_ctx_chat:,} tokens instead of {asked.n_ctx_chat:,}."
        reasons.append(shorter)
        given_up.append(shorter)
    return Fit(placement, n_gpu_layers, plan, needed, available, room.is_shared, tuple(reasons), tuple(given_up))


def _memory(placement: Placement, room: _Room) -> str:
    if placement == "cpu":
        return "the machine's memory"
    if room.is_shared:
        return "the memory that GPU and processor share"
    return "the GPU's memory" if len(room.gpus) == 1 else f"the memory of {len(room.gpus)} GPUs"
