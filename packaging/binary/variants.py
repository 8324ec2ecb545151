"""Which llama.cpp goes into a binary, and what compiles it.

Every variant but `native` is portable: nothing in it needs more than the oldest processor of its kind, and what
computes lies in libraries of its own, one for each generation of processors; llama.cpp takes the best that runs where
it is started (``GGML_CPU_ALL_VARIANTS``). On x86-64 the oldest is what numpy's wheels need, x86-64-v2 of 2008;
llama.cpp itself would be content with less.
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

SOURCE_PATHS = Path(__file__).with_name("source_paths.cmake")

PORTABLE = {
    "GGML_NATIVE": "OFF",
    "GGML_BACKEND_DL": "ON",
    "GGML_CPU_ALL_VARIANTS": "ON",
    # Images are not our matter, and their library would be compiled for minutes.
    "LLAVA_BUILD": "OFF",
    # llama.cpp installs loadable libraries where programs go; ours are looked for beside libllama.
    "CMAKE_INSTALL_BINDIR": "llama_cpp/lib",
    "CMAKE_INSTALL_RPATH": "@loader_path" if platform.system() == "Darwin" else "$ORIGIN",
    "CMAKE_PROJECT_TOP_LEVEL_INCLUDES": str(SOURCE_PATHS),
}
"""CMake's definitions of every portable variant."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compile llama.cpp."""

    name: str
    computes_on: str
    defines: dict[str, str]
    """Definitions for CMake; with none nothing is compiled, and the llama.cpp of ``.venv`` is taken."""
    systems: tuple[str, ...] = ("Linux", "Windows", "Darwin")
    """`platform.system()` where it can be built."""
    programs: tuple[str, ...] = ()
    """What must be on PATH besides a compiler and cmake."""
    was_built: bool = False
    """Whether anybody has built and run it so far."""

    def obstacle(self) -> str:
        """Why it cannot be built here, and what to do; empty if it can."""
        if platform.system() not in self.systems:
            return f"the variant {self.name!r} is built on {' or '.join(self.systems)}, this is {platform.system()}"
        missing = [program for program in self.programs if shutil.which(program) is None]
        if missing:
            return f"the variant {self.name!r} needs {' and '.join(missing)} on PATH"
        return ""

    def options(self) -> tuple[str, ...]:
        """What uv is told about llama-cpp-python: what to hand to its build, or not to install it."""
        if not self.defines:
            return ("--no-install-package=llama-cpp-python",)
        return tuple(
            f"--config-settings-package=llama-cpp-python:cmake.define.{name}={value}"
            for name, value in self.defines.items()
        )


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("cpu", "any processor", PORTABLE, systems=("Linux", "Windows"), was_built=True),
        Variant(
            "cuda",
            "NVIDIA's GPUs, and any processor",
            # All generations that the toolkit knows; a driver that is not there leaves the processor.
            {**PORTABLE, "GGML_CUDA": "ON", "CMAKE_CUDA_ARCHITECTURES": "all-major"},
            systems=("Linux", "Windows"),
            programs=("nvcc",),
        ),
        Variant(
            "vulkan",
            "GPUs with a Vulkan driver, and any processor",
            {**PORTABLE, "GGML_VULKAN": "ON"},
            systems=("Linux", "Windows"),
            programs=("glslc",),
        ),
        Variant(
            "metal",
            "Apple's GPUs, and any processor of the kind it is built on",
            {**PORTABLE, "GGML_METAL": "ON", "GGML_METAL_EMBED_LIBRARY": "ON"},
            systems=("Darwin",),
        ),
        Variant(
            "native", "processors like this machine's only: to try things out, not to give away", {}, was_built=True
        ),
    )
}
"""By name. CUDA, Vulkan and Metal were written with care and never built."""
