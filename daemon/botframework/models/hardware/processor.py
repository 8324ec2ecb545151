"""The processor: its name, how many of its cores are ours, and what its instructions can do."""

from __future__ import annotations

import os
from typing import Any

from botframework.models.hardware import kernel
from botframework.models.hardware.control_groups import processor_quota

SYSCTL_TIMEOUT_S = 2

_X86_SETS = (
    ("AVX", {"avx"}),
    ("AVX2", {"avx2"}),
    ("FMA", {"fma"}),
    ("F16C", {"f16c"}),
    ("AVX-VNNI", {"avx_vnni"}),
    ("AVX-512", {"avx512f"}),
    ("AVX-512 VNNI", {"avx512_vnni"}),
    ("AVX-512 BF16", {"avx512_bf16"}),
    ("AMX", {"amx_tile", "amx_int8"}),
)
_ARM_SETS = (
    ("NEON", {"asimd"}),
    ("DOTPROD", {"asimddp"}),
    ("I8MM", {"i8mm"}),
    ("BF16", {"bf16"}),
    ("SVE", {"sve"}),
    ("SVE2", {"sve2"}),
    ("SME", {"sme"}),
)
"""What llama.cpp's kernels are built for, with the flags of /proc/cpuinfo that must all be there."""
_MAC_SETS = (
    ("AVX", "hw.optional.avx1_0"),
    ("AVX2", "hw.optional.avx2_0"),
    ("FMA", "hw.optional.fma"),
    ("F16C", "hw.optional.f16c"),
    ("AVX-512", "hw.optional.avx512f"),
    ("NEON", "hw.optional.neon"),
    ("DOTPROD", "hw.optional.arm.FEAT_DotProd"),
    ("I8MM", "hw.optional.arm.FEAT_I8MM"),
    ("BF16", "hw.optional.arm.FEAT_BF16"),
    ("SME", "hw.optional.arm.FEAT_SME"),
)
_WINDOWS_SETS = (
    ("AVX", 39),
    ("AVX2", 40),
    ("AVX-512", 41),
    ("NEON", 19),
    ("DOTPROD", 43),
    ("SVE", 46),
    ("SVE2", 47),
)
"""The numbers of ``IsProcessorFeaturePresent`` (winnt.h); it has none for the others."""


def logical_cores() -> int:
    """Threads of execution that this process may use, by affinity and quota; at least 1."""
    cores = len(_affinity() or ()) or os.cpu_count() or 1
    quota = processor_quota()
    # Half a processor of quota is still one to compute on; a thread too many would only be throttled.
    return max(1, min(cores, int(quota)) if quota is not None else cores)


def physical_cores() -> int:
    """Hyper-threads share one core's arithmetic, so the threads of a computation are counted in these."""
    cores: set[str] = set()
    for cpu in _affinity() or ():
        siblings = kernel.read(kernel.SYS / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        if siblings is None:
            break
        cores.add(siblings)
    else:
        if cores:
            return len(cores)
    import psutil

    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def processor_name() -> str:
    """As its maker calls it; "unknown" where nobody tells."""
    import platform

    name: str | None = None
    if kernel.PLATFORM == "linux":
        fields = _cpuinfo()
        # ARM kernels have no model name; boards put theirs under Model or Hardware.
        name = next((fields[key] for key in ("model name", "Model", "Hardware") if fields.get(key)), None)
    elif kernel.PLATFORM == "darwin":
        name = _sysctl("machdep.cpu.brand_string").get("machdep.cpu.brand_string")
    elif kernel.PLATFORM == "win32":
        name = _windows_name()
    return name or platform.processor() or platform.machine() or "unknown"


def instruction_sets() -> tuple[str, ...]:
    """Those that make inference faster, by their usual names; empty where nobody tells."""
    if kernel.PLATFORM == "linux":
        fields = _cpuinfo()
        sets = _ARM_SETS if "Features" in fields else _X86_SETS
        flags = set(fields.get("Features", fields.get("flags", "")).split())
        # 32-bit ARM calls its own NEON by that name.
        flags |= {"asimd"} if "neon" in flags else set()
        return tuple(name for name, needed in sets if needed <= flags)
    if kernel.PLATFORM == "darwin":
        # Never run. Unknown names are left out of the answer.
        answers = _sysctl(*(key for _, key in _MAC_SETS))
        return tuple(name for name, key in _MAC_SETS if answers.get(key) == "1")
    return _windows_sets() if kernel.PLATFORM == "win32" else ()


def _affinity() -> set[int] | None:
    """The logical processors that this process may run on, where the platform tells."""
    if kernel.PLATFORM == "linux":
        return os.sched_getaffinity(0)
    import psutil

    try:
        return set(psutil.Process().cpu_affinity())  # Windows; macOS has none
    except (AttributeError, psutil.Error, OSError):
        return None


def _cpuinfo() -> dict[str, str]:
    """The first processor's fields; all have the same instructions."""
    fields: dict[str, str] = {}
    for line in (kernel.read(kernel.PROC / "cpuinfo") or "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _sysctl(*names: str) -> dict[str, str]:
    """The values of the names that macOS knows. Never run."""
    import subprocess

    try:
        # It says what it knows, complains of the rest and ends with 1.
        answer = subprocess.run(
            ["/usr/sbin/sysctl", *names], capture_output=True, text=True, timeout=SYSCTL_TIMEOUT_S, check=False
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition(": ") for line in answer.splitlines())
    return {name: value.strip() for name, colon, value in pairs if colon}


def _windows_name() -> str | None:
    """Never run."""
    import importlib

    winreg: Any = importlib.import_module("winreg")
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return None


def _windows_sets() -> tuple[str, ...]:
    """Never run."""
    import ctypes

    library: Any = getattr(ctypes, "windll", None)
    if library is None:
        return ()
    return tuple(name for name, feature in _WINDOWS_SETS if library.kernel32.IsProcessorFeaturePresent(feature))
