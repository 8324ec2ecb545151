"""llama.cpp itself: starting it, what it says, its build and its devices."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import llama_cpp.llama_cpp as lib

from botframework.errors import ModelCorrupt, ModelDoesNotFit, WorkerStartFailed
from botframework.wire.messages import Device

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG_LEVELS = {1: 10, 2: 10, 3: 30, 4: 40}
"""ggml's debug, info, warn, error as levels of `logging`. Its info is a page about every model: debug to us."""
_LOG_CONTINUES = 5
_KEPT_ERROR_LINES = 8
"""Lines of llama.cpp's complaint that become the message of `ModelCorrupt`."""

_DEVICE_KINDS: tuple[Literal["cpu", "gpu", "igpu", "accelerator"], ...] = ("cpu", "gpu", "igpu", "accelerator")

complaints: deque[str] = deque(maxlen=_KEPT_ERROR_LINES)
"""What llama.cpp complained of; cleared before every call that may fail."""
_callbacks: list[Any] = []
"""ctypes callbacks must outlive their registration."""


def initialise(on_log: Callable[[int, str], None], on_assert: Callable[[str], None]) -> None:
    """Start the backends; call once, before anything else here.

    Parameters
    ----------
    on_log
        Gets a level of `logging` and one line. Called by llama.cpp's threads.
    on_assert
        Gets the text of a failed assertion, in the moment before the process ends.

    Raises
    ------
    WorkerStartFailed
        llama.cpp has nothing that computes on this processor.
    """
    os.environ["GGML_NO_BACKTRACE"] = "1"  # It would start a debugger, which prints our memory into the log.
    last_level = [10]

    @lib.llama_log_callback  # type: ignore[untyped-decorator]
    def log(level: int, text: bytes, _data: object) -> None:
        line = text.decode("utf-8", "replace").rstrip("\n")
        if level != _LOG_CONTINUES:
            last_level[0] = _LOG_LEVELS.get(level, 10)
        if line:
            if last_level[0] >= _LOG_LEVELS[4]:
                complaints.append(line)
            on_log(last_level[0], line)

    asserted = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda text: on_assert(text.decode("utf-8", "replace")))
    _callbacks.extend((log, asserted))
    lib.llama_log_set(log, ctypes.c_void_p(0))
    set_abort = lib._lib.ggml_set_abort_callback  # noqa: SLF001 - llama_cpp binds no name to it
    set_abort.argtypes, set_abort.restype = [ctypes.c_void_p], ctypes.c_void_p
    set_abort(ctypes.cast(asserted, ctypes.c_void_p))
    load_backends(Path(lib._lib._name).parent)  # noqa: SLF001 - where ctypes found libllama
    lib.llama_backend_init()


def load_backends(folder: Path) -> None:
    """Load what computes, where it is not built in: of each kind of library in a folder the best that runs here.

    A portable llama.cpp has one library for each generation of processors (``GGML_BACKEND_DL``). It is told where they
    are, because by itself it would also look into the working folder.

    Raises
    ------
    WorkerStartFailed
        None of them suits this processor, or they are not there.
    """
    ggml = lib._lib  # noqa: SLF001 - llama_cpp binds no names to ggml's backends
    ggml.ggml_backend_reg_count.restype = ctypes.c_size_t
    if ggml.ggml_backend_reg_count():
        return
    ggml.ggml_backend_load_all_from_path.argtypes, ggml.ggml_backend_load_all_from_path.restype = (
        [ctypes.c_char_p],
        None,
    )
    ggml.ggml_backend_load_all_from_path(os.fsencode(folder))
    if not any(device.kind == "cpu" for device in devices()):
        raise WorkerStartFailed(
            f"llama.cpp has no library for this processor in {folder}; install botframework again", folder=str(folder)
        )


def build() -> str:
    """Name llama.cpp's build, as the key of everything that depends on it."""
    from llama_cpp import __version__

    commit = lib._lib.ggml_commit  # noqa: SLF001 - llama_cpp binds no name to it
    commit.restype = ctypes.c_char_p
    return f"llama-cpp-python {__version__} (ggml {commit().decode()})"


def describe() -> str:
    """Name llama.cpp's version and the commit that it was compiled from, for people."""
    version, key = lib.llama_version().decode("utf-8", "replace"), build()
    return f"llama.cpp {version}, {key}"


def features() -> str:
    """What each backend was built with and uses on this machine, as llama.cpp prints it."""
    return str(lib.llama_print_system_info().decode("utf-8", "replace")).strip()


def devices() -> tuple[Device, ...]:
    """List llama.cpp's compute devices with their memory in bytes, for every vendor that it was built for."""
    ggml = lib._lib  # noqa: SLF001 - llama_cpp binds no names to ggml's device functions
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.argtypes, ggml.ggml_backend_dev_get.restype = [ctypes.c_size_t], ctypes.c_void_p
    for name in ("name", "description"):
        call = getattr(ggml, f"ggml_backend_dev_{name}")
        call.argtypes, call.restype = [ctypes.c_void_p], ctypes.c_char_p
    ggml.ggml_backend_dev_type.argtypes, ggml.ggml_backend_dev_type.restype = [ctypes.c_void_p], ctypes.c_int
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    ggml.ggml_backend_dev_memory.restype = None
    found = []
    for index in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        kind = ggml.ggml_backend_dev_type(device)
        found.append(
            Device(
                name=ggml.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                description=ggml.ggml_backend_dev_description(device).decode("utf-8", "replace"),
                kind=_DEVICE_KINDS[kind] if 0 <= kind < len(_DEVICE_KINDS) else "accelerator",
                total_bytes=total.value,
                free_bytes=free.value,
            )
        )
    return tuple(found)


def refusal(what: str, *, otherwise: type[ModelCorrupt | ModelDoesNotFit] = ModelCorrupt, **data: Any) -> Exception:
    """Make the error that llama.cpp's last complaints amount to."""
    words = "; ".join(complaints)
    lacking = any(sign in words.lower() for sign in ("out of memory", "failed to allocate", "unable to allocate"))
    kind = ModelDoesNotFit if lacking else otherwise
    return kind(f"{what}: {words}" if words else what, **data)
