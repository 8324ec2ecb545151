"""What was found of the machine before: so that a change between two starts is noticed, and its highest bandwidth."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from botframework.models.hardware.machine import Hardware
from botframework.models.hardware.words import changes
from botframework.process.durable import replace_whole, sweep_unnamed

if TYPE_CHECKING:
    from pathlib import Path

Kept = TypeVar("Kept")

MAX_FILE_BYTES = 64 * 1024
"""A larger file is not ours."""
UNFINISHED_AGE_S = 86_400.0
"""A file that has not taken its name for a day belongs to a process that was killed while it wrote."""


def since_last_look(file: Path, hardware: Hardware) -> tuple[str, ...]:
    """Compare with what was found before, in words, and keep this for the next time.

    The file is replaced whole, and only when something in it is out of date. Nothing is said at the first look, after
    an update that changed what a machine is, or when the file cannot be read or written: it is a cache.
    """
    try:
        before = _read(file, Hardware)
    except OSError:
        return ()  # the next look may be able to compare
    if before is None:
        _write(file, hardware)
        return ()
    told = changes(before, hardware)
    if told or (hardware.devices_known and not before.devices_known):
        _write(file, _completed(before, hardware))
    return told


def _completed(before: Hardware, hardware: Hardware) -> Hardware:
    """What only llama.cpp tells is kept from the last time while it has not been asked."""
    if hardware.devices_known or not before.devices_known:
        return hardware
    usable = {gpu.name: gpu.is_usable for gpu in before.gpus}
    told_by_others = (gpu for gpu in before.gpus if gpu.source == "llama.cpp")
    known = (replace(gpu, is_usable=usable.get(gpu.name, True)) for gpu in hardware.gpus)
    return replace(hardware, gpus=(*known, *told_by_others), devices_known=True)


def highest_bandwidth(file: Path, cpu: str, measured: float | None) -> float | None:
    """The highest memory bandwidth in GB/s that was measured with this processor, now or before; kept in the file."""
    try:
        best = _read(file, dict[str, float]) or {}
    except OSError:
        return measured  # what stands there is not lost by that
    before = best.get(cpu)
    if measured is None or (before is not None and before >= measured):
        return before
    _write(file, {**best, cpu: measured})
    return measured


def _read(file: Path, kind: type[Kept]) -> Kept | None:
    """The content; None if there is no file, or it is none of ours. Raises `OSError`."""
    import msgspec  # on use: whoever only probes has no need of it

    try:
        with file.open("rb") as source:
            raw = source.read(MAX_FILE_BYTES + 1)
        return msgspec.json.decode(raw, type=kind) if len(raw) <= MAX_FILE_BYTES else None
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _write(file: Path, kept: object) -> None:
    import msgspec

    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep_unnamed(file.parent, time.time() - UNFINISHED_AGE_S)
        replace_whole(file, msgspec.json.encode(kept), durable=False)
