"""The machine as llama.cpp will use it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from botframework.errors import WorkerStartFailed
from botframework.manager import machine
from botframework.models import hardware
from botframework.models.hardware import Gpu
from botframework.wire.messages import Device

if TYPE_CHECKING:
    from pathlib import Path

CARD = Gpu(0, "nvidia", "NVIDIA Card", 8 << 30, 0)
PROCESSOR = ("libggml-base.so", "libggml-cpu.so", "libllama.so.0")


@pytest.fixture(autouse=True)
def a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver shows a card, and nothing is remembered of llama.cpp's devices."""
    here = replace(hardware.probe(), gpus=(CARD,))
    monkeypatch.setattr(hardware, "probe", lambda: here)
    monkeypatch.setattr(machine, "_devices", machine._DeviceList())


def libraries(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A llama.cpp of these libraries."""
    for name in names:
        (folder / name).touch()
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder))


def test_a_card_that_llama_cpp_was_not_built_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no place for a model, which the files of llama.cpp tell without asking it."""
    libraries(tmp_path, monkeypatch, *PROCESSOR)
    monkeypatch.setattr(machine, "probe_devices", None)
    here = machine.present()

    assert here.devices_known
    assert here.gpus == (replace(CARD, is_usable=False),)


def test_a_card_of_any_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where llama.cpp has a library for GPUs it is asked, once; what it sees can be used."""
    libraries(tmp_path, monkeypatch, *PROCESSOR, "libggml-vulkan.so")
    asked = []

    async def probe_devices() -> tuple[Device, ...]:
        asked.append(1)
        cpu = Device(name="CPU", description="cpu", kind="cpu", total_bytes=1, free_bytes=1)
        gpu = Device(name="Vulkan0", description="AMD Radeon", kind="gpu", total_bytes=4 << 30, free_bytes=3 << 30)
        return cpu, gpu

    monkeypatch.setattr(machine, "probe_devices", probe_devices)
    here = machine.present()

    assert [(gpu.name, gpu.is_usable) for gpu in here.gpus] == [("NVIDIA Card", False), ("AMD Radeon", True)]
    assert machine.present() == here
    assert asked == [1]


def test_a_llama_cpp_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the driver's word has to do; asking costs a minute when a driver hangs, so it is asked again in a while."""
    libraries(tmp_path, monkeypatch, *PROCESSOR, "libggml-cuda.so")
    asked = []

    async def probe_devices() -> tuple[Device, ...]:
        asked.append(1)
        raise WorkerStartFailed("it hangs")

    monkeypatch.setattr(machine, "probe_devices", probe_devices)

    assert [machine.present().gpus, machine.present().gpus] == [(CARD,), (CARD,)]
    assert asked == [1]
    monkeypatch.setattr(machine, "DEVICES_RETRY_S", 0.0)
    assert machine.present().gpus == (CARD,)
    assert asked == [1, 1]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (PROCESSOR, False),
        ((*PROCESSOR, "libggml-hip.so.0"), True),
        (("ggml-cpu.dll", "ggml-base.dll", "ggml.dll"), False),
        (("ggml-cpu.dll", "ggml-CUDA.dll"), True),
        (("libggml-cpu.dylib", "libggml-blas.dylib", "libggml-rpc.dylib"), False),
        (("libggml-cpu.dylib", "libggml-metal.dylib"), True),
        (("libllama.so",), True),
        ((), True),
    ],
)
def test_what_the_libraries_tell(names: tuple[str, ...], expected: bool) -> None:
    """Files are named after what they compute on; where those of the processor are missing nothing is known."""
    assert machine.has_gpu_library(names) is expected


def test_the_library_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found without being imported."""
    monkeypatch.delenv("LLAMA_CPP_LIB_PATH", raising=False)

    assert any("llama" in name for name in machine.library_names())
