"""The machine itself: this one, and made-up Linux machines."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from botframework.models import hardware
from botframework.models.hardware import Battery, kernel, measured, processor
from botframework.models.hardware.history import highest_bandwidth
from support.fake_machine import GIB, files, forget_the_machine, install_nvml, linux_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What a probe remembers is forgotten between tests."""
    forget_the_machine()
    yield
    forget_the_machine()


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A made-up machine; the folder that holds its /proc and /sys."""
    return linux_machine(monkeypatch, tmp_path)


# --- this machine -----------------------------------------------------------------------------------------------------


def test_probe_of_this_machine() -> None:
    """The probe answers with sane numbers."""
    found = hardware.probe()

    assert found.cpu
    assert 1 <= found.physical_cores <= found.logical_cores
    assert 0 < found.ram_available <= found.ram_total <= psutil.virtual_memory().total
    assert not found.devices_known


@pytest.mark.skipif(sys.platform != "linux", reason="compared with the kernel's own list")
def test_instruction_sets_of_this_machine() -> None:
    """None is claimed that the kernel does not list, and none that it lists is missing."""
    flags = set(processor._cpuinfo().get("flags", processor._cpuinfo().get("Features", "")).split())
    found = set(hardware.probe().instruction_sets)

    for name, flag in (("AVX2", "avx2"), ("AVX-512", "avx512f"), ("NEON", "asimd"), ("SVE", "sve")):
        assert (name in found) == (flag in flags)


def test_a_sample_is_cheap() -> None:
    """A heartbeat's sample takes less than 2 ms once the first has opened the driver."""
    hardware.sample()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        hardware.sample()
        times.append(time.perf_counter() - start)

    assert sorted(times)[len(times) // 2] < 0.002


def test_importing_the_package_costs_nothing_heavy() -> None:
    """psutil, pynvml, ctypes and subprocess come with the first question, not with the import."""
    heavy = {"psutil", "pynvml", "ctypes", "subprocess", "msgspec"}
    script = f"import sys, botframework.models.hardware; print(sorted({heavy!r} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


# --- control groups ---------------------------------------------------------------------------------------------------


def test_memory_limits_of_a_container(linux: Path) -> None:
    """In version 2 the tightest limit on the way to the root counts, and cached files do not count as used."""
    (linux / "proc/self/cgroup").write_text("0::/outer/inner\n")
    stat = f"anon 5\ninactive_file {GIB}"
    groups = linux / "sys/fs/cgroup"
    files(groups / "outer", memory__max=8 * GIB, memory__current=3 * GIB, memory__stat=stat)
    files(groups / "outer/inner", memory__max="max", memory__current=GIB)

    found = hardware.probe()

    assert (found.ram_total, found.ram_available) == (8 * GIB, 6 * GIB)


def test_memory_limits_of_an_old_container(linux: Path) -> None:
    """Version 1 has a tree for each controller, and a huge number for no limit."""
    (linux / "proc/self/cgroup").write_text("5:cpu,cpuacct:/\n4:memory:/box\n")
    groups = linux / "sys/fs/cgroup/memory"
    files(groups, memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=9 * GIB)
    files(groups / "box", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=5 * GIB)

    memory = hardware.sample()

    assert (memory.ram_total, memory.ram_available, memory.ram_used) == (4 * GIB, 0, 4 * GIB)


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("many 100000", 4)],
)
def test_processor_quota(cpu_max: str, cores: int, linux: Path) -> None:
    """Threads beyond the quota would only be throttled."""
    (linux / "proc/self/cgroup").write_text("0::/box\n")
    files(linux / "sys/fs/cgroup/box", cpu__max=cpu_max)

    assert hardware.probe().logical_cores == cores


# --- processor --------------------------------------------------------------------------------------------------------


def test_hyper_threads_share_a_core(linux: Path) -> None:
    """Four logical processors of two cores are two physical ones."""
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        files(linux / f"sys/devices/system/cpu/cpu{cpu}/topology", thread_siblings_list=siblings)

    found = hardware.probe()

    assert (found.physical_cores, found.logical_cores) == (2, 4)


def test_no_kernel_files_at_all(linux: Path) -> None:
    """Without any of these files the machine's own numbers stand, and what is left is unknown."""
    found = hardware.probe()

    assert found.cpu
    assert (found.ram_total, found.logical_cores) == (64 * GIB, 4)
    assert found.physical_cores >= 1
    assert (found.instruction_sets, found.battery, found.memory_bandwidth_gb_s) == ((), None, None)


def test_processor_name(linux: Path) -> None:
    """The name is the kernel's; boards without one tell their model."""
    files(linux / "proc", cpuinfo="processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Other")
    assert hardware.probe().cpu == "Fast One"

    files(linux / "proc", cpuinfo="processor\t: 0\nModel\t\t: Small Board 5")
    assert hardware.probe().cpu == "Small Board 5"


@pytest.mark.parametrize(
    ("line", "sets"),
    [
        ("flags\t\t: fpu sse2 ssse3", ()),
        ("flags\t\t: fpu avx f16c fma avx2", ("AVX", "AVX2", "FMA", "F16C")),
        ("flags\t\t: avx avx2 avx_vnni", ("AVX", "AVX2", "AVX-VNNI")),
        (
            "flags\t\t: avx avx2 avx512f avx512_vnni avx512_bf16 amx_tile amx_int8",
            ("AVX", "AVX2", "AVX-512", "AVX-512 VNNI", "AVX-512 BF16", "AMX"),
        ),
        ("flags\t\t: avx amx_tile", ("AVX",)),
        ("Features\t: fp asimd asimddp i8mm sve sve2", ("NEON", "DOTPROD", "I8MM", "SVE", "SVE2")),
        ("Features\t: half thumb neon vfpv4", ("NEON",)),
        ("isa\t\t: rv64imafdcv", ()),
    ],
)
def test_instruction_sets(line: str, sets: tuple[str, ...], linux: Path) -> None:
    """x86 and ARM name theirs differently; AMX counts when it can multiply; other makers' are not known by name."""
    files(linux / "proc", cpuinfo=f"processor\t: 0\n{line}")

    assert hardware.probe().instruction_sets == sets


# --- battery ----------------------------------------------------------------------------------------------------------


def _supply(linux: Path, name: str, **contents: object) -> None:
    files(linux / "sys/class/power_supply" / name, **contents)


def test_a_laptop_on_its_battery(linux: Path) -> None:
    """Percent of what the battery holds now, not of what it held when it was new."""
    _supply(linux, "AC", type="Mains", online=0)
    _supply(
        linux,
        "BAT0",
        type="Battery",
        status="Discharging",
        energy_now=20_000,
        energy_full=40_000,
        energy_full_design=80_000,
    )

    assert hardware.probe().battery == hardware.sample().battery == Battery(50, plugged=False)


def test_two_batteries_are_one(linux: Path) -> None:
    """A large empty one and a small full one are nearly empty together."""
    _supply(linux, "AC", type="Mains", online=1)
    _supply(linux, "BAT0", type="Battery", status="Charging", charge_now=0, charge_full=90, capacity=0)
    _supply(linux, "BAT1", type="Battery", status="Full", charge_now=10, charge_full=10, capacity=100)

    assert hardware.probe().battery == Battery(10, plugged=True)


@pytest.mark.parametrize(("capacity", "percent"), [("104", 100), ("-1", 0), ("37", 37)])
def test_a_battery_that_tells_percent_only(capacity: str, percent: int, linux: Path) -> None:
    """And within bounds, whatever it says."""
    _supply(linux, "BAT0", type="Battery", status="Discharging", capacity=capacity)

    assert hardware.probe().battery == Battery(percent, plugged=False)


def test_the_battery_of_a_mouse_is_none_of_ours(linux: Path) -> None:
    """Nor is a plug a battery, nor a battery that tells nothing."""
    _supply(linux, "AC", type="Mains", online=1)
    _supply(linux, "hidpp_battery_0", type="Battery", scope="Device", status="Discharging", capacity=5)
    _supply(linux, "BAT9", type="Battery", status="Unknown")

    assert hardware.probe().battery is None


def test_a_heartbeat_looks_at_the_battery_rarely(linux: Path) -> None:
    """Some batteries take long to answer; a sample's is at most half a minute old."""
    _supply(linux, "BAT0", type="Battery", status="Discharging", capacity=50)
    first = hardware.sample().battery
    _supply(linux, "BAT0", capacity=49)

    assert first == hardware.sample().battery == Battery(50, plugged=False)
    assert hardware.probe().battery == Battery(49, plugged=False)


# --- Apple, as far as it can be told from here ------------------------------------------------------------------------


def test_a_mac_has_one_memory(monkeypatch: pytest.MonkeyPatch, linux: Path) -> None:
    """Its chip is processor and GPU and tells the bandwidth; how much the GPU may take is llama.cpp's to say."""
    monkeypatch.setattr(kernel, "PLATFORM", "darwin")
    answers = {"machdep.cpu.brand_string": "Apple M2 Pro", "hw.optional.neon": "1", "hw.optional.arm.FEAT_SME": "0"}
    monkeypatch.setattr(processor, "_sysctl", lambda *names: {name: answers[name] for name in names if name in answers})
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None)
    found = hardware.probe()

    assert (found.cpu, found.unified_memory, found.memory_bandwidth_gb_s) == ("Apple M2 Pro", True, 200)
    assert found.instruction_sets == ("NEON",)
    (gpu,) = found.gpus
    assert (gpu.vendor, gpu.is_integrated, gpu.vram_total, gpu.source) == ("apple", True, None, "system")
    assert found.bandwidth_of(gpu) == found.bandwidth_of(None) == 200


# --- bandwidth --------------------------------------------------------------------------------------------------------


def test_an_integrated_gpu_reads_at_the_memory_s_speed() -> None:
    """One with memory of its own does not, even where its speed is unknown."""
    inside = hardware.Gpu(0, "intel", "Iris", None, None, is_integrated=True)
    outside = hardware.Gpu(1, "amd", "Card", 8 * GIB, 0)
    found = hardware.Hardware("cpu", 4, 8, GIB, GIB, (inside, outside), memory_bandwidth_gb_s=60.0)

    assert [found.bandwidth_of(gpu) for gpu in (None, inside, outside)] == [60.0, 60.0, None]


def test_measured_memory_bandwidth() -> None:
    """Of the order of one plain search through a buffer beyond the caches, whoever else computes; and measured once."""
    found = hardware.survey().memory_bandwidth_gb_s
    buffer = bytearray(b"x" * (128 << 20))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert buffer.find(b"\0") == -1
        times.append(time.perf_counter() - start)

    assert found is not None
    single = len(buffer) / min(times) / 1e9
    assert 0.2 * single < found < 4 * single * (psutil.cpu_count() or 1)
    assert hardware.survey().memory_bandwidth_gb_s == found


def test_the_highest_bandwidth_is_remembered(tmp_path: Path) -> None:
    """What others do to the memory at the moment changes no recommendation; another processor begins anew."""
    file = tmp_path / "cache" / "bandwidth.json"

    told = [
        highest_bandwidth(file, *found) for found in (("a", 20.0), ("a", 30.0), ("a", 10.0), ("b", 5.0), ("a", None))
    ]
    file.write_text("no JSON")

    assert told == [20.0, 30.0, 30.0, 5.0, 30.0]
    assert highest_bandwidth(file, "a", None) is None
    assert highest_bandwidth(file, "a", 12.0) == 12.0


def test_too_little_memory_to_measure(monkeypatch: pytest.MonkeyPatch, linux: Path) -> None:
    """Where no buffer beyond the caches finds room nothing is measured: unknown is better than the caches' speed."""
    for cpu in range(4):
        shared = "0-1" if cpu < 2 else "2-3"
        files(linux / f"sys/devices/system/cpu/cpu{cpu}/cache/index3", size="524288K", shared_cpu_list=shared)
    roomy, small = (64 * GIB, 64 * GIB), (64 * GIB, 31 * GIB)

    sizes = []
    for memory in (roomy, small):
        monkeypatch.setattr(measured, "ram", lambda memory=memory: memory)
        sizes.append(measured._buffer_bytes())

    assert sizes == [4 * GIB, 0]
    assert measured.reading_speed() == 0.0


def test_a_measurement_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its process is ended at the deadline, and the bandwidth stays unknown."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(measured, "DEADLINE_S", 0.5)
    measured.measured_bandwidth.cache_clear()

    assert measured.measured_bandwidth() is None
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    measured.measured_bandwidth.cache_clear()


def test_a_survey_with_a_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A survey asks the driver anew."""
    fake = install_nvml(monkeypatch, tmp_path, [(8 * GIB, 0)])
    hardware.probe()
    fake.vram.append((24 * GIB, 0))
    fake.names.append("Fake 1")

    assert len(hardware.probe().gpus) == 1
    assert len(hardware.survey().gpus) == 2
