"""The program itself: where editors find it, and whether llama.cpp runs on this processor."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import botframework
from botframework.cli.checks.finding import failed, good, warning
from botframework.models.hardware import has_nvidia_driver
from botframework.process.program import is_frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding

PROGRAM = "botframework"
GPU_BUILD = "https://llama-cpp-python.readthedocs.io"
"""Tells how it is built for each kind of GPU."""

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:==(?P<exact>[^,;\s]+))?")


def program(_case: Case) -> Iterator[Finding]:
    """Whether an editor finds it."""
    system = f"{platform.system()} {platform.machine()}"
    yield good("program", f"botframework {botframework.__version__}, Python {platform.python_version()}, {system}")
    own = _own_program()
    found = shutil.which(PROGRAM)
    name_it = "or name the program's path in your editor's settings (VS Code: botframework.path)"
    if found is None:
        where = f"add {own.parent} to PATH" if own is not None else "add its folder to PATH"
        yield warning("command", f"{PROGRAM} is not on PATH, where editors look for it", f"{where}, {name_it}")
    elif own is not None and not own.samefile(found):
        yield warning(
            "command",
            f"editors find another installation first: {found}, this one is {own}",
            f"put {own.parent} before it on PATH, or remove the other, {name_it}",
        )
    else:
        yield good("command", found)


def _own_program() -> Path | None:
    """The console script of this very installation."""
    if is_frozen():
        return Path(sys.executable)
    suffix = ".exe" if sys.platform == "win32" else ""
    path = Path(sysconfig.get_path("scripts")) / (PROGRAM + suffix)
    return path if path.exists() else None


def packages(_case: Case) -> Iterator[Finding]:
    """Whether every library is there that the program was installed with."""
    if is_frozen():
        return  # it has its libraries in it
    from importlib import metadata

    try:
        required = [line for line in metadata.requires(PROGRAM) or () if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        return  # run from a source tree that was never installed
    wrong = [told for line in required if (told := _missing(line))]
    if wrong:
        yield failed("libraries", "; ".join(wrong), f"`{sys.executable} -m pip install --upgrade {PROGRAM}`")
    else:
        yield good("libraries", f"all {len(required)} are there")


def _missing(requirement: str) -> str:
    """What is wrong with one library; versions are compared where exactly one will do."""
    from importlib import metadata

    found = _REQUIREMENT.match(requirement)
    if found is None:
        return ""
    try:
        version = metadata.version(found["name"])
    except metadata.PackageNotFoundError:
        return f"{found['name']} is not installed"
    exact = found["exact"]
    return f"{found['name']} {version} is installed, {exact} is needed" if exact and version != exact else ""


def engine(case: Case) -> Iterator[Finding]:
    """Whether llama.cpp runs here."""
    if case.engine_error is not None:
        yield failed("llama.cpp", case.engine_error.message, _another_engine())
    else:
        names = ", ".join(device.description.strip() or device.name for device in case.devices)
        yield good("llama.cpp", f"it runs; devices: {names or 'none'}")


def _another_engine() -> str:
    """What to do about a llama.cpp that does not run."""
    if is_frozen():
        return f"get the program again, or install {PROGRAM} from source, so that llama.cpp is built for this processor"
    return (
        "install llama-cpp-python again from source, so that it is built for this processor: "
        f"`{sys.executable} -m pip install --force-reinstall --no-deps --no-binary :all: llama-cpp-python`"
    )


def _engine_for_gpus() -> str:
    if is_frozen():
        return "get the variant of this program that is built for it, or install botframework from source"
    return f"build llama-cpp-python for it, as {GPU_BUILD} says"


def gpus(case: Case) -> Iterator[Finding]:
    """Whether every GPU can be used."""
    for gpu in case.machine.gpus:
        if gpu.is_usable:
            yield good("GPU", ", ".join(part for part in (gpu.name, gpu.driver and f"driver {gpu.driver}") if part))
        else:
            yield warning(
                "GPU",
                f"llama.cpp cannot use {gpu.name}: models run on the processor",
                f"{_engine_for_gpus()}; see also whether CUDA_VISIBLE_DEVICES hides it",
            )
    if has_nvidia_driver() and not any(gpu.vendor == "nvidia" for gpu in case.machine.gpus):
        yield warning(
            "GPU",
            "there are files of an NVIDIA driver, but no GPU answers",
            "run `nvidia-smi`: after an update of the driver the machine must be started again; a container must be "
            "given the GPU",
        )
