from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from botframework.models import hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What a probe remembers is forgotten between tests."""
    hardware._nvidia.cache_clear()
    hardware._group_folders.cache_clear()
    yield
    hardware._nvidia.cache_clear()
    hardware._group_folders.cache_clear()


class FakeNvml(ModuleType):
    """Stands in for pynvml; calls named in ``failing`` raise its error."""

    class NVMLError(Exception):
        """The bindings' root error."""

    def __init__(self, vram: list[tuple[int, int]], failing: set[str]) -> None:
        super().__init__("pynvml")
        self.vram = vram
        self.failing = failing
        self.calls: list[str] = []
        for name, answer in (
            ("nvmlInit", lambda: None),
            ("nvmlDeviceGetCount", lambda: len(self.vram)),
            ("nvmlDeviceGetHandleByIndex", lambda index: index),
            ("nvmlDeviceGetName", lambda handle: f"Fake {handle}".encode()),
            ("nvmlSystemGetDriverVersion", lambda: "999.1"),
            ("nvmlDeviceGetMemoryInfo", self._memory),
        ):
            setattr(self, name, partial(self._do, name, answer))

    def _do(self, name: str, answer: Callable[..., Any], *arguments: Any) -> Any:
        self.calls.append(name)
        if name in self.failing:
            raise self.NVMLError(name)
        return answer(*arguments)

    def _memory(self, handle: int) -> SimpleNamespace:
        total, used = self.vram[handle]
        return SimpleNamespace(total=total, used=used, free=total - used)


def _install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vram: list[tuple[int, int]], *failing: str) -> FakeNvml:
    driver = tmp_path / "nvidiactl"
    driver.touch()
    monkeypatch.setattr(hardware, "DRIVER_FILES", (driver,))
    fake = FakeNvml(vram, set(failing))
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def _no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "DRIVER_FILES", (tmp_path / "none",))


# --- this machine -----------------------------------------------------------------------------------------------------


def test_probe_of_this_machine() -> None:
    """The probe answers with sane numbers."""
    found = hardware.probe()

    assert found.cpu
    assert 1 <= found.physical_cores <= found.logical_cores
    assert 0 < found.ram_available <= found.ram_total <= psutil.virtual_memory().total


def test_a_sample_is_cheap() -> None:
    """A heartbeat's sample takes less than 2 ms once the first has opened the driver."""
    hardware.sample()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        hardware.sample()
        times.append(time.perf_counter() - start)

    assert sorted(times)[len(times) // 2] < 0.002


def test_importing_the_module_costs_nothing_heavy() -> None:
    """psutil, pynvml and ctypes come with the first question, not with the import."""
    script = (
        "import sys, botframework.models.hardware; print(sorted({'psutil', 'pynvml', 'ctypes'} & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


def test_without_a_driver_the_bindings_are_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No driver file: no GPUs, and the import that costs most is saved."""
    _no_driver(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert hardware.probe().gpus == ()
    assert hardware.sample().vram_total is None


def test_gpus_are_named_and_summed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two GPUs: each by itself in the probe, together in the sample; the driver is opened once."""
    fake = _install(monkeypatch, tmp_path, [(24 * GIB, 1 * GIB), (8 * GIB, 2 * GIB)])

    gpus = hardware.probe().gpus
    memory = hardware.sample()

    assert gpus == (
        hardware.Gpu(0, "Fake 0", 24 * GIB, 1 * GIB, "999.1"),
        hardware.Gpu(1, "Fake 1", 8 * GIB, 2 * GIB, "999.1"),
    )
    assert (memory.vram_total, memory.vram_used) == (32 * GIB, 3 * GIB)
    assert fake.calls.count("nvmlInit") == 1


@pytest.mark.parametrize("failing", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_a_driver_that_fails_is_no_gpu(failing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An error while the driver is opened: no GPUs, no exception, no second try."""
    fake = _install(monkeypatch, tmp_path, [(24 * GIB, 0)], failing)

    assert hardware.probe().gpus == ()
    assert hardware.sample().vram_used is None
    assert fake.calls.count("nvmlInit") == 1


def test_bindings_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A driver without the bindings: no GPUs."""
    _install(monkeypatch, tmp_path, [])
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert hardware.probe().gpus == ()


def test_a_gpu_without_memory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the GPU shares the machine's memory the driver refuses the question: VRAM is unknown, the GPU is there."""
    _install(
        monkeypatch, tmp_path, [(0, 0)], "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName", "nvmlSystemGetDriverVersion"
    )

    assert hardware.probe().gpus == (hardware.Gpu(0, "NVIDIA GPU", None, None, ""),)
    assert hardware.sample().vram_total is None


def test_a_gpu_that_is_lost_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU that falls off the bus takes its numbers along, not the heartbeat."""
    fake = _install(monkeypatch, tmp_path, [(24 * GIB, 1 * GIB)])
    before = hardware.sample().vram_used
    fake.failing.add("nvmlDeviceGetMemoryInfo")

    assert (before, hardware.sample().vram_used) == (1 * GIB, None)


# --- control groups ---------------------------------------------------------------------------------------------------


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Made-up control groups and processor files; the folder that holds them."""
    _no_driver(monkeypatch, tmp_path)
    for name in ("proc/self", "cgroup", "cpu"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(hardware, "PLATFORM", "linux")
    monkeypatch.setattr(hardware, "PROC", tmp_path / "proc")
    monkeypatch.setattr(hardware, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(hardware, "CPUS", tmp_path / "cpu")
    monkeypatch.setattr(hardware, "_affinity", lambda: {0, 1, 2, 3})
    machine = SimpleNamespace(total=64 * GIB, available=32 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    return tmp_path


def _group(folder: Path, **files: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_memory_limits_of_a_container(groups: Path) -> None:
    """In version 2 the tightest limit on the way to the root counts, and cached files do not count as used."""
    (groups / "proc/self/cgroup").write_text("0::/outer/inner\n")
    stat = f"anon 5\ninactive_file {GIB}"
    _group(groups / "cgroup/outer", memory__max=8 * GIB, memory__current=3 * GIB, memory__stat=stat)
    _group(groups / "cgroup/outer/inner", memory__max="max", memory__current=GIB)

    found = hardware.probe()

    assert (found.ram_total, found.ram_available) == (8 * GIB, 6 * GIB)


def test_memory_limits_of_an_old_container(groups: Path) -> None:
    """Version 1 has a tree for each controller, and a huge number for no limit."""
    (groups / "proc/self/cgroup").write_text("5:cpu,cpuacct:/\n4:memory:/box\n")
    _group(groups / "cgroup/memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=9 * GIB)
    _group(groups / "cgroup/memory/box", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=5 * GIB)

    memory = hardware.sample()

    assert (memory.ram_total, memory.ram_available, memory.ram_used) == (4 * GIB, 0, 4 * GIB)


@pytest.mark.parametrize(
    ("cpu_max", "cores"), [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1)]
)
def test_processor_quota(cpu_max: str, cores: int, groups: Path) -> None:
    """Threads beyond the quota would only be throttled."""
    (groups / "proc/self/cgroup").write_text("0::/box\n")
    _group(groups / "cgroup/box", cpu__max=cpu_max)

    assert hardware.probe().logical_cores == cores


def test_hyper_threads_share_a_core(groups: Path) -> None:
    """Four logical processors of two cores are two physical ones."""
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        _group(groups / f"cpu/cpu{cpu}/topology", thread_siblings_list=siblings)

    found = hardware.probe()

    assert (found.physical_cores, found.logical_cores) == (2, 4)


def test_no_kernel_files_at_all(groups: Path) -> None:
    """Without any of these files the machine's own numbers stand."""
    found = hardware.probe()

    assert found.cpu
    assert (found.ram_total, found.logical_cores) == (64 * GIB, 4)
    assert found.physical_cores >= 1


def test_processor_name(groups: Path) -> None:
    """The name is the kernel's; boards without one tell their model."""
    (groups / "proc/cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    assert hardware.probe().cpu == "Fast One"

    (groups / "proc/cpuinfo").write_text("processor\t: 0\nModel\t\t: Small Board 5\n")
    assert hardware.probe().cpu == "Small Board 5"
