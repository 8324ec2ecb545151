"""What a process that we start may know of our environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from botframework.process import program

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = frozenset(
    # ruff would have one name per line, which hides what belongs together.
    """
    PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TEMP TMP VIRTUAL_ENV
    LD_LIBRARY_PATH DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH ROCM_PATH HIP_PATH VULKAN_SDK CUDA_PATH
    PYTHONPATH PYTHONHOME PYTHONUSERBASE PYTHONNOUSERSITE PYTHONSAFEPATH PYTHONPLATLIBDIR PYTHONDONTWRITEBYTECODE
    PYTHONPYCACHEPREFIX PYTHONUTF8 PYTHONIOENCODING PYTHONHASHSEED PYTHONFAULTHANDLER PYTHONWARNINGS PYTHONMALLOC
    SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT USERNAME USERPROFILE HOMEDRIVE HOMEPATH APPDATA LOCALAPPDATA
    PROGRAMDATA PROGRAMFILES PROGRAMFILES(X86) NUMBER_OF_PROCESSORS OS
    BOTFRAMEWORK_DEBUG BOTFRAMEWORK_RUNTIME_DIR
    """.split()  # noqa: SIM905
)
"""What the interpreter, the loader and the C library need to be the same ones as here."""

_PREFIXES = (
    "LC_",
    "XDG_",
    "PROCESSOR_",
    # How to use the hardware.
    *("CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "GPU_", "GGML_", "LLAMA_", "VK_", "MTL_", "METAL_"),
    *("SYCL_", "ONEAPI_", "ZE_", "OMP_", "GOMP_", "KMP_", "MALLOC_"),
)

_SECRET_WORDS = ("TOKEN", "SECRET", "PASSW", "KEY", "CREDENTIAL", "AUTH")
"""A name with one of these stays out whatever it begins with: ``LLAMA_API_KEY``."""


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that a worker needs, and nothing that could be a secret.

    A worker outlives us if another daemon uses it: a frozen one is independent (`program.independent_environment`).
    """
    return program.independent_environment(_kept(environ))


def probe_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The same for a process that answers us one question and ends with us: a frozen one is our subprocess."""
    return _kept(environ) | program.subprocess_environment(environ)


def _kept(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if _is_wanted(name)}
    # llama.cpp would answer a failed assertion by starting a debugger on itself.
    kept["GGML_NO_BACKTRACE"] = "1"
    return kept


def _is_wanted(name: str) -> bool:
    canonical = name.upper() if sys.platform == "win32" else name
    if any(word in canonical.upper() for word in _SECRET_WORDS):
        return False
    return canonical in _NAMES or canonical.startswith(_PREFIXES)
