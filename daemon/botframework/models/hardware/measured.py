"""The bandwidth of the machine's memory, measured: the token rate of a model on the processor is bound by it.

Every token reads all weights once, so reading is what is measured: each core looks for a byte that is not there
(`memchr`) in a stretch of its own, and all stretches together are larger than the caches. Such a buffer is no guest for
the daemon, whose memory is small and promised; so it is measured in a process of its own, ``botframework worker
bandwidth``.
"""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import threading
import time

from botframework.models.hardware import kernel
from botframework.models.hardware.memory import ram
from botframework.models.hardware.processor import logical_cores, physical_cores
from botframework.process import own_command, probe_environment

LEAST_BUFFER_BYTES = 64 << 20
USUAL_BUFFER_BYTES = 256 << 20
CACHES = 4
"""The buffer is at least so many times the last level of caches, or their speed would be measured."""
RAM_SHARE = 8
"""And at most this fraction (an eighth) of the memory that is available."""
MEASURED_S = 0.3
"""For so long; the best round counts, since others use the memory as well."""
DEADLINE_S = 10.0
"""For the process, from start to end; usually it takes half a second."""
_PAGE_BYTES = 4_096


@functools.cache
def measured_bandwidth() -> float | None:
    """GB/s at which all cores together read memory; None if it cannot be measured. Takes half a second, once.

    Less than the memory's data sheet promises, and less still while others use the memory.
    """
    try:
        answer = subprocess.run(
            own_command("worker", "bandwidth"),
            env=probe_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ).stdout
        return float(answer) or None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def reading_speed() -> float:
    """GB/s, in this process and with a large buffer; 0 if there is no room for one."""
    size = _buffer_bytes()
    if size == 0:
        return 0.0
    library = ctypes.CDLL("msvcrt" if kernel.PLATFORM == "win32" else None)
    memchr = library.memchr
    memchr.argtypes, memchr.restype = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], ctypes.c_void_p
    buffer = bytearray(size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    readers = min(physical_cores(), logical_cores())
    stretch = size // readers // _PAGE_BYTES * _PAGE_BYTES
    # Until it is written, all of it is one and the same page of zeros.
    ctypes.memset(address, 1, size)
    rounds: list[float] = []
    started, ended = [0.0] * readers, [0.0] * readers
    is_over = threading.Event()
    begun = time.perf_counter()

    def judge() -> None:
        """Run by the last one who ends a round, while the others wait for it."""
        if ended[0]:
            rounds.append(max(ended) - min(started))
        if rounds and time.perf_counter() - begun > MEASURED_S:
            is_over.set()

    gate = threading.Barrier(readers, judge)

    def read(reader: int) -> None:
        gate.wait()
        while not is_over.is_set():
            started[reader] = time.perf_counter()
            memchr(address + reader * stretch, 0, stretch)  # ctypes lets the other threads run meanwhile
            ended[reader] = time.perf_counter()
            gate.wait()

    threads = [threading.Thread(target=read, args=(reader,), daemon=True) for reader in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return readers * stretch / min(rounds) / 1e9


def _buffer_bytes() -> int:
    """How much to read; 0 if what is available is too little to tell memory from caches."""
    room = ram()[1] // RAM_SHARE
    needed = max(LEAST_BUFFER_BYTES, CACHES * _last_level_bytes())
    return 0 if room < needed else min(room, max(USUAL_BUFFER_BYTES, needed))


def _last_level_bytes() -> int:
    """All caches of the highest level together, where Linux tells; 0 elsewhere."""
    largest: dict[str, int] = {}
    for level in ("3", "2"):
        for cache in sorted((kernel.SYS / "devices/system/cpu").glob(f"cpu[0-9]*/cache/index{level}")):
            size = (kernel.read(cache / "size") or "").strip()
            shared = kernel.read(cache / "shared_cpu_list")
            if shared is not None and size.endswith("K") and size[:-1].isdigit():
                largest[shared] = int(size[:-1]) * 1_024
        if largest:
            break
    return sum(largest.values())


def main() -> None:
    """Be that process: write `reading_speed` to standard output."""
    sys.stdout.write(f"{reading_speed():.1f}\n")
