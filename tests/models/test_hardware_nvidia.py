"""NVIDIA's driver, as a stand-in tells it."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from botframework.models import hardware
from botframework.models.hardware import DeviceMemory, Gpu
from support.fake_machine import GIB, GPU_IS_LOST, NOT_SUPPORTED, forget_the_machine, install_nvml, no_driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNKNOWN = 999


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What a probe remembers is forgotten between tests."""
    forget_the_machine()
    yield
    forget_the_machine()


def test_without_a_driver_the_bindings_are_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No driver file: no GPUs, and the import that costs most is saved."""
    no_driver(monkeypatch, tmp_path)

    assert not hardware.has_nvidia_driver()
    assert hardware.probe().gpus == ()
    assert hardware.sample().vram_total is None


def test_gpus_are_named_and_summed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two GPUs: each by itself in the probe and in the sample, together in its sums; the driver is opened once."""
    fake = install_nvml(monkeypatch, tmp_path, [(24 * GIB, 1 * GIB), (8 * GIB, 2 * GIB)])

    gpus = hardware.probe().gpus
    memory = hardware.sample()

    assert gpus == (
        Gpu(0, "nvidia", "Fake 0", 24 * GIB, 1 * GIB, "999.1"),
        Gpu(1, "nvidia", "Fake 1", 8 * GIB, 2 * GIB, "999.1"),
    )
    assert [gpu.vram_free for gpu in gpus] == [23 * GIB, 6 * GIB]
    assert memory.devices == (
        DeviceMemory(0, "Fake 0", "gpu", 24 * GIB, 1 * GIB),
        DeviceMemory(1, "Fake 1", "gpu", 8 * GIB, 2 * GIB),
    )
    assert (memory.vram_total, memory.vram_used) == (32 * GIB, 3 * GIB)
    assert fake.calls.count("nvmlInit") == 1


@pytest.mark.parametrize(
    ("clock_mhz", "bus_bits", "gb_s"), [(9_751, 384, 936.1), (2_619, 5_120, 3_352.3), (0, 384, None), (9_751, 0, None)]
)
def test_bandwidth_by_clock_and_bus(
    clock_mhz: int, bus_bits: int, gb_s: float | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the driver says of a GeForce RTX 3090 and an H100 makes the figure of their data sheets."""
    fake = install_nvml(monkeypatch, tmp_path, [(24 * GIB, 0)])
    fake.clock_mhz, fake.bus_bits = clock_mhz, bus_bits

    assert hardware.probe().gpus[0].bandwidth_gb_s == gb_s


@pytest.mark.parametrize(
    ("name", "gb_s"),
    [
        ("NVIDIA GeForce RTX 4090", 1008),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 672),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3060", None),
        ("Quadro RTX 4080", None),
    ],
)
def test_bandwidth_by_name(name: str, gb_s: float | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the driver keeps silent the table knows; a laptop's card is another, and two of one name are neither."""
    failing = {"nvmlDeviceGetMaxClockInfo": NOT_SUPPORTED, "nvmlDeviceGetMemoryBusWidth": NOT_SUPPORTED}
    install_nvml(monkeypatch, tmp_path, [(24 * GIB, 0)], **failing).names = [name]

    assert hardware.probe().gpus[0].bandwidth_gb_s == gb_s


@pytest.mark.parametrize("failing", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_a_driver_that_fails_is_no_gpu(failing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An error while the driver is opened: no GPUs, no exception, no second try before a probe asks anew."""
    fake = install_nvml(monkeypatch, tmp_path, [(24 * GIB, 0)], **{failing: UNKNOWN})

    assert hardware.has_nvidia_driver()
    assert hardware.probe().gpus == ()
    assert hardware.sample().vram_used is None
    assert fake.calls.count("nvmlInit") == 1

    fake.failing.clear()
    assert hardware.probe().gpus == ()
    assert len(hardware.probe(again=True).gpus) == 1


def test_bindings_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A driver without the bindings: no GPUs."""
    install_nvml(monkeypatch, tmp_path, [])
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert hardware.probe().gpus == ()


def test_a_gpu_without_memory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the GPU shares the machine's memory the driver refuses the question: VRAM is unknown, the GPU is there."""
    failing = {
        "nvmlDeviceGetMemoryInfo": NOT_SUPPORTED,
        "nvmlDeviceGetName": UNKNOWN,
        "nvmlSystemGetDriverVersion": UNKNOWN,
    }
    install_nvml(monkeypatch, tmp_path, [(0, 0)], **failing)

    assert hardware.probe().gpus == (Gpu(0, "nvidia", "NVIDIA GPU", None, None, "", is_integrated=True),)
    assert hardware.sample().vram_total is None
    assert hardware.sample().devices[0].kind == "igpu"


def test_a_gpu_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any other refusal leaves a card with unknown memory: nobody may count on the machine's in its place."""
    install_nvml(monkeypatch, tmp_path, [(8 * GIB, 0)], nvmlDeviceGetMemoryInfo=UNKNOWN)

    assert hardware.probe().gpus == (Gpu(0, "nvidia", "Fake 0", None, None, "999.1"),)


def test_a_gpu_that_is_lost_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU that falls off the bus leaves the list, not the others and not the heartbeat."""
    fake = install_nvml(monkeypatch, tmp_path, [(24 * GIB, 1 * GIB), (8 * GIB, 2 * GIB)])
    before = hardware.sample().vram_used
    fake.lost = {0}
    after = hardware.sample()

    assert (before, after.vram_used) == (3 * GIB, 2 * GIB)
    assert [gpu.index for gpu in hardware.probe().gpus] == [device.index for device in after.devices] == [1]
    assert [gpu.index for gpu in hardware.probe(again=True).gpus] == [1]


def test_a_gpu_that_is_plugged_in_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The driver counts its GPUs when it is opened, so it is opened anew where a change would matter."""
    fake = install_nvml(monkeypatch, tmp_path, [(8 * GIB, 0)])
    before = hardware.probe()
    fake.vram.append((24 * GIB, 0))
    fake.names.append("Fake 1")
    after = hardware.probe(again=True)

    assert hardware.changes(before, after) == ("new GPU: Fake 1",)
    assert hardware.changes(after, before) == ("GPU gone: Fake 1",)


# --- the share of our processes ---------------------------------------------------------------------------------------


def test_own_share_of_each_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sum over the asked processes; one that computes and draws is in both lists, and counts once."""
    fake = install_nvml(monkeypatch, tmp_path, [(24 * GIB, 9 * GIB), (8 * GIB, 2 * GIB)])
    fake.processes["Compute"] = {0: [(11, 3 * GIB), (12, 1 * GIB), (99, 5 * GIB)], 1: [(99, 2 * GIB)]}
    fake.processes["Graphics"] = {0: [(11, 3 * GIB), (1, GIB)]}

    assert [device.own_bytes for device in hardware.sample([11, 12]).devices] == [4 * GIB, None]
    assert [device.own_bytes for device in hardware.sample().devices] == [None, None]


def test_a_driver_that_does_not_tell_shares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unknown is not zero: neither where it lists a process without a figure, nor where it refuses the list."""
    fake = install_nvml(monkeypatch, tmp_path, [(24 * GIB, 9 * GIB)])
    fake.processes["Compute"] = {0: [(11, None)]}
    without_figure = hardware.sample([11])
    fake.failing["nvmlDeviceGetComputeRunningProcesses"] = NOT_SUPPORTED
    without_list = hardware.sample([11])

    assert [each.devices[0].own_bytes for each in (without_figure, without_list)] == [None, None]
    assert without_list.vram_used == 9 * GIB


def test_a_sample_beside_a_probe_that_opens_the_driver_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It waits until the driver is open again: a handle of before would be a dangling one, and crash the daemon."""
    fake = install_nvml(monkeypatch, tmp_path, [(8 * GIB, GIB)])
    hardware.probe()
    samples: list[int | None] = []
    sampler = threading.Thread(target=lambda: samples.append(hardware.sample([1]).vram_used))
    asked_meanwhile: list[str] = []

    def reopen() -> None:
        if sampler.ident is None:
            fake.calls.clear()
            sampler.start()
            sampler.join(timeout=0.2)  # long enough to ask, if it were let
            asked_meanwhile.extend(fake.calls)
        fake._init()

    fake.__dict__["nvmlInit"] = reopen
    hardware.probe(again=True)
    sampler.join(timeout=30)

    assert asked_meanwhile == []
    assert samples == [GIB]


def test_a_lost_gpu_has_the_number_that_the_driver_has() -> None:
    """The stand-in's numbers are NVML's."""
    import pynvml

    assert (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_GPU_IS_LOST) == (NOT_SUPPORTED, GPU_IS_LOST)
    assert pynvml.NVML_CLOCK_MEM == 2
