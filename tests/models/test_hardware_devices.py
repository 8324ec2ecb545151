"""llama.cpp's device list joined with the drivers', and what changed: its words, and between starts."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest

from botframework.models import hardware
from botframework.models.hardware import Battery, DeviceMemory, Gpu, Hardware, MemorySample, history, with_devices
from botframework.wire.messages import Device
from support.fake_machine import GIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = Hardware("a cpu", physical_cores=4, logical_cores=8, ram_total=16 * GIB, ram_available=8 * GIB, gpus=())
RTX = Gpu(0, "nvidia", "NVIDIA GeForce RTX 3090", 24 * GIB, 2 * GIB, "550.1", 936.1)


def device(
    name: str,
    description: str,
    total: int = 0,
    free: int = 0,
    kind: Literal["cpu", "gpu", "igpu", "accelerator"] = "gpu",
) -> Device:
    """One of llama.cpp's."""
    return Device(name=name, description=description, kind=kind, total_bytes=total * GIB, free_bytes=free * GIB)


CPU = device("CPU", "a cpu", 16, 8, "cpu")


# --- joining ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "description", "vendor"),
    [
        ("ROCm0", "AMD Radeon RX 7900 XTX", "amd"),
        ("ROCm0", "gfx1100", "amd"),
        ("Vulkan0", "AMD Radeon RX 7900 XTX (RADV NAVI31)", "amd"),
        ("Vulkan0", "Intel(R) Arc(TM) A770 Graphics (DG2)", "intel"),
        ("SYCL0", "Some Graphics", "intel"),
        ("Vulkan0", "NVIDIA GeForce RTX 3090", "nvidia"),
        ("MUSA0", "MTT S80", "other"),
        ("Vulkan0", "Larcher 3000", "other"),
    ],
)
def test_gpus_of_every_maker(name: str, description: str, vendor: str) -> None:
    """llama.cpp's list adds what no driver told, with the maker that its back end or its name gives away."""
    found = with_devices(PLAIN, [CPU, device(name, description, 16, 10)])

    assert found.devices_known
    (gpu,) = found.gpus
    assert (gpu.index, gpu.vendor, gpu.name, gpu.device, gpu.source) == (0, vendor, description, name, "llama.cpp")
    assert (gpu.vram_total, gpu.vram_used, gpu.vram_free) == (16 * GIB, 6 * GIB, 10 * GIB)
    assert (gpu.is_usable, gpu.is_integrated) == (True, False)


@pytest.mark.parametrize(
    ("description", "gb_s"),
    [
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", 960),
        ("Intel(R) Arc(TM) A750 Graphics (DG2)", 512),
        ("Intel(R) Arc(TM) A770 Graphics (DG2)", None),
        ("AMD Radeon RX 7900 XTX Special", None),
        ("Intel(R) UHD Graphics 770", None),
    ],
)
def test_their_bandwidth_by_name(description: str, gb_s: float | None) -> None:
    """From the table, however the driver decorates the name; unknown when it is not exactly that card."""
    assert with_devices(PLAIN, [device("Vulkan0", description, 16, 16)]).gpus[0].bandwidth_gb_s == gb_s


def test_a_known_gpu_stays_one() -> None:
    """The driver's figures stand, and llama.cpp adds that it can use the card and what it calls it."""
    machine = replace(PLAIN, gpus=(RTX,))
    found = with_devices(machine, [device("CUDA0", RTX.name, 23, 20), CPU])

    assert found.gpus == (replace(RTX, device="CUDA0"),)
    assert found.usable_gpus == found.gpus


def test_a_gpu_that_llama_cpp_was_not_built_for() -> None:
    """It is there, and no room for a model: a build without CUDA lists the processor only."""
    found = with_devices(replace(PLAIN, gpus=(RTX,)), [CPU, device("BLAS", "OpenBLAS", kind="accelerator")])

    assert found.gpus == (replace(RTX, is_usable=False),)
    assert found.usable_gpus == ()


def test_two_back_ends_see_one_gpu() -> None:
    """Under its first name; and of two equal cards each is itself, in the order of the list."""
    two = replace(PLAIN, gpus=(RTX, replace(RTX, index=1)))
    found = with_devices(
        two,
        [
            device("CUDA0", RTX.name, 24, 24),
            device("CUDA1", RTX.name, 24, 24),
            device("Vulkan0", RTX.name, 24, 24),
            device("Vulkan1", RTX.name, 24, 24),
            device("Vulkan2", "AMD Radeon RX 6600 XT (RADV NAVI23)", 8, 8),
            device("OpenCL0", "AMD Radeon RX 6600 XT", 8, 8),
        ],
    )

    assert [(gpu.index, gpu.name, gpu.device) for gpu in found.gpus] == [
        (0, RTX.name, "CUDA0"),
        (1, RTX.name, "CUDA1"),
        (2, "AMD Radeon RX 6600 XT (RADV NAVI23)", "Vulkan2"),
    ]


def test_one_of_two_equal_gpus_is_hidden() -> None:
    """Which one cannot be told from names; one is usable and one is not."""
    two = replace(PLAIN, gpus=(RTX, replace(RTX, index=1)))

    assert [gpu.is_usable for gpu in with_devices(two, [device("CUDA0", RTX.name, 24, 24)]).gpus] == [True, False]


def test_a_gpu_in_the_processor() -> None:
    """It computes in the machine's memory."""
    (gpu,) = with_devices(PLAIN, [device("Vulkan0", "Intel(R) UHD Graphics 770", 12, 8, "igpu")]).gpus

    assert (gpu.is_integrated, gpu.vram_total, gpu.bandwidth_gb_s) == (True, 12 * GIB, None)


def test_a_mac() -> None:
    """Metal tells how much of the one memory its GPU may take; it stays one GPU and integrated, whatever Metal says."""
    chip = Gpu(0, "apple", "Apple M2 Pro", None, None, bandwidth_gb_s=200, is_integrated=True, source="system")
    machine = replace(PLAIN, gpus=(chip,), unified_memory=True)
    metal = device("MTL0", "Apple M2 Pro", 11, 11)
    alone = with_devices(PLAIN, [metal]).gpus[0]

    assert with_devices(machine, [metal]).gpus == (replace(chip, vram_total=11 * GIB, vram_used=0, device="MTL0"),)
    assert (alone.vendor, alone.is_integrated, alone.bandwidth_gb_s) == ("apple", True, 200)


def test_no_list_changes_nothing() -> None:
    """A worker that could not be asked has not told that there are no GPUs."""
    machine = replace(PLAIN, gpus=(RTX,))

    assert with_devices(machine, []) is machine


def test_a_second_list_replaces_the_first() -> None:
    """What llama.cpp could use before does not matter, and what only it had seen is gone."""
    both = [device("CUDA0", RTX.name, 24, 24), device("Vulkan1", "AMD Radeon RX 6600 XT", 8, 8)]
    first = with_devices(replace(PLAIN, gpus=(RTX,)), both)

    assert with_devices(first, [CPU]).gpus == (replace(RTX, is_usable=False),)


def test_a_device_that_tells_no_memory() -> None:
    """Unknown is not zero."""
    (gpu,) = with_devices(PLAIN, [device("OpenCL0", "QUALCOMM Adreno(TM)")]).gpus

    assert (gpu.vram_total, gpu.vram_used, gpu.vram_free) == (None, None, None)


def test_memory_that_only_llama_cpp_tells() -> None:
    """The heartbeat shows the driver's figures where there are some, and a worker's for the other GPUs."""
    sample = MemorySample(
        16 * GIB,
        8 * GIB,
        (DeviceMemory(0, RTX.name, "gpu", 24 * GIB, 2 * GIB, GIB), DeviceMemory(3, "NVIDIA Thor", "igpu", None, None)),
        Battery(50, plugged=True),
    )
    found = hardware.sample_with_devices(
        sample,
        [
            CPU,
            device("CUDA0", RTX.name, 23, 20),
            device("CUDA1", "NVIDIA Thor", 100, 40, "igpu"),
            device("Vulkan2", "Intel(R) Arc(TM) B580", 12, 11),
        ],
    )

    assert found.devices == (
        sample.devices[0],
        DeviceMemory(3, "NVIDIA Thor", "igpu", 100 * GIB, 60 * GIB),
        DeviceMemory(4, "Intel(R) Arc(TM) B580", "gpu", 12 * GIB, GIB),
    )
    assert (found.vram_total, found.vram_used, found.battery) == (136 * GIB, 63 * GIB, sample.battery)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one, ()),
        (lambda one: replace(one, ram_available=1, battery=Battery(5, plugged=False)), ()),
        (lambda one: replace(one, ram_total=one.ram_total - (200 << 20)), ()),
        (lambda one: replace(one, ram_total=32 * GIB), ("memory: 32.0 GiB, before 16.0 GiB",)),
        (lambda one: replace(one, gpus=()), ("GPU gone: NVIDIA GeForce RTX 3090",)),
        (lambda one: replace(one, gpus=(RTX, replace(RTX, index=1))), ("new GPU: NVIDIA GeForce RTX 3090",)),
        (
            lambda one: replace(one, gpus=(replace(RTX, name="NVIDIA GeForce RTX 4090"),)),
            ("GPU gone: NVIDIA GeForce RTX 3090", "new GPU: NVIDIA GeForce RTX 4090"),
        ),
        (
            lambda one: replace(one, gpus=(replace(RTX, driver="560.2", vram_used=0),)),
            ("driver of NVIDIA GeForce RTX 3090: 560.2, before 550.1",),
        ),
        (
            lambda one: replace(one, gpus=(replace(RTX, vram_total=12 * GIB),)),
            ("memory of NVIDIA GeForce RTX 3090: 12.0 GiB, before 24.0 GiB",),
        ),
        (lambda one: replace(one, gpus=(replace(RTX, driver="", vram_total=None),)), ()),
        (
            lambda one: replace(one, cpu="another", physical_cores=2),
            ("processor: another, before a cpu", "cores for this process: 2, before 4"),
        ),
    ],
)
def test_changes_in_words(change: Callable[[Hardware], Hardware], words: tuple[str, ...]) -> None:
    """A sentence for what matters to a model, none for what comes and goes."""
    before = replace(PLAIN, gpus=(RTX,))

    assert hardware.changes(before, change(before)) == words


def test_what_one_side_does_not_know_is_no_change() -> None:
    """A probe that has not asked llama.cpp has lost no GPU, and knows nothing of what can be used."""
    machine = replace(PLAIN, gpus=(RTX,))
    asked = with_devices(machine, [CPU, device("Vulkan1", "AMD Radeon RX 6600 XT", 8, 8)])

    assert hardware.changes(asked, machine) == hardware.changes(machine, asked) == ()
    assert hardware.changes(asked, with_devices(machine, [CPU])) == ("GPU gone: AMD Radeon RX 6600 XT",)


def test_changes_of_what_llama_cpp_can_use() -> None:
    """An update of a driver, or of llama.cpp, can take a card away that is still there."""
    machine = replace(PLAIN, gpus=(RTX,))
    usable = with_devices(machine, [device("CUDA0", RTX.name, 24, 24)])
    unusable = with_devices(machine, [CPU])

    assert hardware.changes(usable, unusable) == ("llama.cpp can no longer use NVIDIA GeForce RTX 3090",)
    assert hardware.changes(unusable, usable) == ("llama.cpp can now use NVIDIA GeForce RTX 3090",)


# --- between two starts -----------------------------------------------------------------------------------------------


def test_a_change_between_two_starts_is_told_once(tmp_path: Path) -> None:
    """The first start has nothing to compare with; after a change the machine is the new one."""
    file = tmp_path / "cache" / "hardware.json"
    before, after = replace(PLAIN, gpus=(RTX,)), PLAIN

    told = [hardware.since_last_look(file, machine) for machine in (before, before, after, after)]

    assert told == [(), (), ("GPU gone: NVIDIA GeForce RTX 3090",), ()]


def test_what_llama_cpp_told_is_remembered_over_starts_that_did_not_ask(tmp_path: Path) -> None:
    """A start without a model in between, with a change of its own, forgets neither its GPUs nor what could be used."""
    file = tmp_path / "hardware.json"
    machine = replace(PLAIN, gpus=(RTX,))
    amd = device("Vulkan1", "AMD Radeon RX 6600 XT", 8, 8)
    rtx = device("CUDA0", RTX.name, 24, 24)
    larger = replace(machine, ram_total=32 * GIB)

    hardware.since_last_look(file, machine)
    assert hardware.since_last_look(file, with_devices(machine, [rtx, amd])) == ()
    assert hardware.since_last_look(file, larger) == ("memory: 32.0 GiB, before 16.0 GiB",)
    assert hardware.since_last_look(file, with_devices(larger, [CPU])) == (
        "GPU gone: AMD Radeon RX 6600 XT",
        "llama.cpp can no longer use NVIDIA GeForce RTX 3090",
    )
    assert hardware.since_last_look(file, with_devices(larger, [CPU])) == ()


def test_what_a_killed_writer_left_is_taken_away(tmp_path: Path) -> None:
    """After a day, by whoever writes next; a younger file may be somebody's who is still writing."""
    old, young, other = (tmp_path / name for name in ("." + "0" * 16 + ".new", "." + "1" * 16 + ".new", "a.new"))
    for path in (old, young, other):
        path.write_bytes(b"half")
    then = time.time() - 2 * history.UNFINISHED_AGE_S
    os.utime(old, (then, then))
    os.utime(other, (then, then))
    hardware.since_last_look(tmp_path / "hardware.json", PLAIN)

    assert {path.name for path in tmp_path.iterdir()} == {young.name, other.name, "hardware.json"}


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"cpu": 3}', b"[" * 60_000, b" " * 70_000])
def test_a_file_that_is_no_memory(content: bytes, tmp_path: Path) -> None:
    """It is replaced in silence."""
    file = tmp_path / "hardware.json"
    file.write_bytes(content)

    assert hardware.since_last_look(file, PLAIN) == ()
    assert hardware.since_last_look(file, replace(PLAIN, cpu="b")) == ("processor: b, before a cpu",)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is remembered, and nothing fails."""
    (tmp_path / "file").write_text("")

    assert hardware.since_last_look(tmp_path / "file" / "hardware.json", PLAIN) == ()


def test_windows_that_start_together(tmp_path: Path) -> None:
    """The file is always one of theirs, whole, and no other file is left behind."""
    file = tmp_path / "hardware.json"
    machines = [replace(PLAIN, cpu=f"cpu {number}", gpus=(RTX,) * number) for number in range(4)]
    threads = [
        threading.Thread(target=lambda one=machine: [hardware.since_last_look(file, one) for _ in range(25)])
        for machine in machines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert [path.name for path in tmp_path.iterdir()] == ["hardware.json"]
    assert history._read(file, hardware.Hardware) in machines
