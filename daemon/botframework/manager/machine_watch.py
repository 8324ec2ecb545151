"""Notices what has changed in the machine: a GPU that came or is gone, since the daemon before or while this one runs.

It looks at every start and after every load. In between the kernel's list of cards is compared, with every heartbeat
and before every list of models, which costs next to nothing; when it is another one, drivers and llama.cpp are asked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from botframework.models.hardware import Hardware
    from botframework.wire.messages import Device

FILE_NAME = "hardware.json"
"""In the user's cache folder: what the look before has found."""
SETTLE_S = 10.0
"""After the kernel's list has changed nothing that was found is final: a driver may need a moment for its card."""
PATIENCE_S = 3.0
"""A list of models waits so long for a look: asking llama.cpp takes a second. Who wants it later gets what is new."""
MAX_TOLD = 4
"""Sentences in the heartbeat's notice, the newest; all are in the log."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look has seen."""

    cards: frozenset[str]
    """As the kernel lists them."""
    found: Hardware
    settles_at: float = -math.inf
    """In the monotonic clock's seconds."""


class MachineWatch:
    """Looks, one look after the other, in threads; ``on_change`` is called in the event loop."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.told: tuple[str, ...] = ()
        """What has changed since the daemon before this one looked, in sentences, the newest last."""
        self._on_change = on_change
        self._last: _Look | None = None
        self._looking: asyncio.Task[None] | None = None
        self._is_stopped = True

    def start(self) -> None:
        """Look for the first time, in the background, and compare with what the daemon before has found."""
        self._is_stopped = False
        self.look(())

    def stop(self) -> None:
        """Listen no more to what is being found."""
        self._is_stopped = True
        if self._looking is not None:
            self._looking.cancel()

    def look(self, devices: Sequence[Device]) -> None:
        """Look in the background, since a worker has loaded; ``devices`` is its list."""
        self._begin(tuple(devices), only_if_new=False)

    def glance(self) -> None:
        """Look in the background if the kernel lists other cards than before; nothing while a look is under way."""
        if self._looking is None or self._looking.done():
            self._begin((), only_if_new=True)

    async def up_to_date(self) -> None:
        """As `glance`, and wait for it, at most `PATIENCE_S`."""
        self._begin((), only_if_new=True)
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=PATIENCE_S)

    def _begin(self, devices: tuple[Device, ...], *, only_if_new: bool) -> None:
        if not self._is_stopped:
            looking = self._compare(devices, self._looking, only_if_new=only_if_new)
            self._looking = asyncio.create_task(looking, name="look at the machine")

    async def _compare(
        self, devices: tuple[Device, ...], before: asyncio.Task[None] | None, *, only_if_new: bool
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            seen = await asyncio.to_thread(_look, self._last, devices, only_if_new=only_if_new)
        except OSError as error:
            _log.info("changes of the machine cannot be told: %s", error)
            return
        if seen is None:
            return
        self._last, told = seen
        for sentence in told:
            _log.warning("%s", sentence)
        if told:
            newest_first = dict.fromkeys(reversed((*self.told, *told)))
            self.told = tuple(newest_first)[:MAX_TOLD][::-1]
            self._on_change()


def _look(
    last: _Look | None, devices: tuple[Device, ...], *, only_if_new: bool
) -> tuple[_Look, tuple[str, ...]] | None:
    """What there is now, and what of it is new, in words; None if there was no need to look. For a thread."""
    from botframework.manager import machine  # on use: an editor waits for the daemon's start
    from botframework.models import hardware

    cards, now = hardware.cards(), time.monotonic()
    has_changed = last is not None and cards != last.cards
    is_settled = not has_changed and (last is None or now >= last.settles_at)
    if only_if_new and last is not None and is_settled:
        return None
    # A worker that sees other GPUs than we know of is right, or older than our list: then asking tells us so.
    if not is_settled or (devices and _gpus(devices) != _gpus(machine.devices())):
        machine.forget_devices()
    here = hardware.probe(again=last is not None)
    found = hardware.with_devices(here, machine.devices() or devices)
    told = hardware.since_last_look(config.cache_dir() / FILE_NAME, found)
    if last is not None:
        # Another window's daemon may have written into the file already what is new to our client.
        told += tuple(sentence for sentence in hardware.changes(last.found, found) if sentence not in told)
    settles_at = now + SETTLE_S if has_changed else last.settles_at if last is not None else -math.inf
    return _Look(cards, found, settles_at), told


def _gpus(devices: Iterable[Device]) -> set[tuple[str, str]]:
    return {(device.name, device.description) for device in devices if device.kind in {"gpu", "igpu"}}
