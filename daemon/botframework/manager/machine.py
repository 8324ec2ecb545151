"""The machine as llama.cpp will use it: what the drivers tell, joined with llama.cpp's own list of devices.

A card that this llama.cpp was not built for is no place for a model, and one whose maker has no driver that is asked
here is known to llama.cpp alone. Its list costs a process and a second, so it is asked for once and again when the
cards are others than they were (`machine_watch`), and only where llama.cpp has a library for any GPU.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import math
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from botframework import config
from botframework.errors import BotframeworkError
from botframework.manager.measure import probe_devices
from botframework.models import hardware
from botframework.wire.messages import Device

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from botframework.models.hardware import Hardware

ENV_LIBRARIES = "LLAMA_CPP_LIB_PATH"
"""llama-cpp-python's own variable: where its libraries are, if not in its package."""
GPU_LIBRARIES = ("cuda", "hip", "musa", "vulkan", "metal", "sycl", "opencl", "cann", "kompute", "webgpu", "zdnn")
"""Part of the names of ggml's libraries that compute on something else than the processor."""
DEVICES_RETRY_S = 300.0
"""After a failure nobody asks for so long: a driver that hangs takes the whole deadline, and loads wait for it."""
PROCESSOR_ONLY = Device(name="CPU", description="", kind="cpu", total_bytes=0, free_bytes=0)

BANDWIDTH_FILE = "bandwidth.json"
"""In the cache folder."""

_log = logging.getLogger(__name__)


def survey(devices: Sequence[Device]) -> Hardware:
    """Look at the machine for a recommendation, remembering how fast its memory can be."""
    return hardware.survey(devices, config.cache_dir() / BANDWIDTH_FILE)


class _DeviceList:
    """llama.cpp's devices, asked for once until they are forgotten; after a failure they are asked for in a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[Device, ...] = ()
        self._failed_at = -math.inf

    def get(self) -> tuple[Device, ...]:
        """The list; empty if it could not be had."""
        with self._lock:
            if not self._known and time.monotonic() - self._failed_at >= DEVICES_RETRY_S:
                self._known = self._ask()
                self._failed_at = time.monotonic()  # only looked at if it was no answer
            return self._known

    def forget(self) -> None:
        """Ask at the next call, whatever is known or has failed."""
        with self._lock:
            self._known, self._failed_at = (), -math.inf

    def _ask(self) -> tuple[Device, ...]:
        if not has_gpu_library(library_names()):
            return (PROCESSOR_ONLY,)
        try:
            return asyncio.run(probe_devices())
        except (BotframeworkError, OSError) as error:
            _log.warning("llama.cpp's devices are not known: %s", error)
            return ()


_devices = _DeviceList()


def devices() -> tuple[Device, ...]:
    """llama.cpp's list; empty if it could not be had. The first call may take a second: not for an event loop."""
    return _devices.get()


def forget_devices() -> None:
    """The cards are others than they were: llama.cpp is asked at the next call. May wait: not for an event loop."""
    _devices.forget()


def present() -> Hardware:
    """Look at this machine. The first call of a process may take a second: not for an event loop."""
    return hardware.with_devices(hardware.probe(), _devices.get())


def has_gpu_library(names: Iterable[str]) -> bool:
    """Whether llama.cpp can compute on any GPU, by the names of its libraries; in doubt it can."""
    lowered = [name.lower() for name in names]
    if not any("ggml-cpu" in name for name in lowered):
        return True  # everything may be in one library, or the place is another one
    return any(f"ggml-{kind}" in name for kind in GPU_LIBRARIES for name in lowered)


def library_names() -> tuple[str, ...]:
    """The files beside llama.cpp's library; none if the place cannot be found. Imports nothing."""
    chosen = os.environ.get(ENV_LIBRARIES)
    if chosen:
        folders = [Path(chosen)]
    else:
        found = importlib.util.find_spec("llama_cpp")
        folders = [Path(place) / "lib" for place in (found.submodule_search_locations or ())] if found else []
    names: list[str] = []
    for folder in folders:
        try:
            names += sorted(entry.name for entry in os.scandir(folder))
        except OSError:
            continue
    return tuple(names)
