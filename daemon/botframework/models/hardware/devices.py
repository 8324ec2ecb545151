"""llama.cpp's own device list, which knows the GPUs of every maker, joined with what the drivers told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from botframework.models.hardware.bandwidth import known_bandwidth, plain_name
from botframework.models.hardware.machine import DeviceMemory, Gpu, Hardware, MemorySample, Vendor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.wire.messages import Device

_BACKENDS: dict[str, Vendor] = {
    "CUDA": "nvidia",
    "ROCm": "amd",
    "HIP": "amd",
    "Metal": "apple",
    "MTL": "apple",
    "SYCL": "intel",
}
"""llama.cpp's back ends that know one maker only. Vulkan and OpenCL know all of them."""
_MAKERS: tuple[tuple[Vendor, tuple[str, ...]], ...] = (
    ("nvidia", ("nvidia", "geforce", "quadro", "tesla")),
    ("amd", ("amd", "radeon", "instinct")),
    ("intel", ("intel", "arc", "iris")),
    ("apple", ("apple",)),
)


def with_devices(hardware: Hardware, devices: Sequence[Device]) -> Hardware:
    """Add what llama.cpp sees: the GPUs of other makers, and which of the known ones it can use.

    A GPU that two of its back ends see (CUDA and Vulkan) is one GPU, under the name of the first. Equal cards are told
    apart by their order alone. A list replaces an earlier one; an empty list is no answer and changes nothing, since
    llama.cpp always has a processor.
    """
    if not devices:
        return hardware
    told_by_others = (gpu for gpu in hardware.gpus if gpu.source != "llama.cpp")
    gpus = [replace(gpu, is_usable=False, device="") for gpu in told_by_others]
    for device, position in zip(_gpus_of(devices), _places([gpu.name for gpu in gpus], devices), strict=True):
        if position < len(gpus):
            gpus[position] = _joined(gpus[position], device)
        else:
            index = 1 + max((gpu.index for gpu in gpus), default=-1)
            gpus.append(_new(index, device))
    return replace(hardware, gpus=tuple(gpus), devices_known=True)


def sample_with_devices(sample: MemorySample, devices: Sequence[Device]) -> MemorySample:
    """Add the memory that only llama.cpp can tell: a worker's figures, as old as its last answer."""
    found = list(sample.devices)
    for device, position in zip(_gpus_of(devices), _places([one.name for one in found], devices), strict=True):
        total, used = _memory(device)
        if position == len(found):
            index = 1 + max((one.index for one in found), default=-1)
            found.append(DeviceMemory(index, device.description or device.name, _kind(device), total, used))
        elif found[position].vram_total is None:
            found[position] = replace(found[position], vram_total=total, vram_used=used)
    return replace(sample, devices=tuple(found))


def _gpus_of(devices: Sequence[Device]) -> list[Device]:
    """Without the processor, and without libraries that llama.cpp lists as its accelerators (BLAS)."""
    return [device for device in devices if device.kind in {"gpu", "igpu"}]


def _places(names: list[str], devices: Sequence[Device]) -> list[int]:
    """For each GPU of llama.cpp's, which of the known ones it is; one beyond them is new, and known to those after."""
    known = [plain_name(name) for name in names]
    taken: dict[str, set[int]] = {}
    places = []
    for device in _gpus_of(devices):
        of_this_backend = taken.setdefault(_backend(device), set())
        name = plain_name(device.description or device.name)
        same = (place for place, other in enumerate(known) if other == name and place not in of_this_backend)
        place = next(same, len(known))
        if place == len(known):
            known.append(name)
        of_this_backend.add(place)
        places.append(place)
    return places


def _joined(gpu: Gpu, device: Device) -> Gpu:
    if gpu.device:
        return gpu  # another back end of llama.cpp's sees it too
    total, used = _memory(device)
    return replace(
        gpu,
        is_usable=True,
        device=device.name,
        is_integrated=gpu.is_integrated or device.kind == "igpu",
        # The driver knows the whole device; llama.cpp tells where the driver refuses.
        vram_total=total if gpu.vram_total is None else gpu.vram_total,
        vram_used=used if gpu.vram_total is None else gpu.vram_used,
    )


def _new(index: int, device: Device) -> Gpu:
    total, used = _memory(device)
    name = device.description or device.name
    vendor = _vendor(device)
    return Gpu(
        index=index,
        vendor=vendor,
        name=name,
        vram_total=total,
        vram_used=used,
        bandwidth_gb_s=known_bandwidth(name),
        # Metal calls its GPU one with memory of its own; Apple's chips have none such.
        is_integrated=device.kind == "igpu" or (vendor == "apple" and name.startswith("Apple")),
        source="llama.cpp",
        device=device.name,
    )


def _memory(device: Device) -> tuple[int | None, int | None]:
    if device.total_bytes <= 0:
        return None, None  # some drivers do not say
    return device.total_bytes, max(0, device.total_bytes - device.free_bytes)


def _kind(device: Device) -> Literal["gpu", "igpu"]:
    return "igpu" if device.kind == "igpu" else "gpu"


def _backend(device: Device) -> str:
    return device.name.rstrip("0123456789")


def _vendor(device: Device) -> Vendor:
    if (maker := _BACKENDS.get(_backend(device))) is not None:
        return maker
    # "Arc" is a word in Intel's names and three letters in many others.
    words = set(device.description.lower().replace("(", " ").replace(")", " ").split())
    return next((vendor for vendor, signs in _MAKERS if words & set(signs)), "other")
