"""Looks at the machine at every start and after every load, and says what has changed: a GPU that came or is gone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from botframework import config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.wire.messages import Device

FILE_NAME = "hardware.json"
"""In the user's cache folder: what the look before has found."""

_log = logging.getLogger(__name__)


class MachineWatch:
    """Looks, one look after the other, in threads; ``on_change`` is called in the event loop."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.told: tuple[str, ...] = ()
        """What has changed since the daemon before this one, in sentences."""
        self._on_change = on_change
        self._looking: asyncio.Task[None] | None = None

    def look(self, devices: Sequence[Device]) -> None:
        """Look in the background; ``devices`` is a worker's list, empty before there is a worker."""
        before = self._looking
        self._looking = asyncio.create_task(self._compare(tuple(devices), before), name="look at the machine")

    def stop(self) -> None:
        """Listen no more to what is being found."""
        if self._looking is not None:
            self._looking.cancel()

    async def _compare(self, devices: tuple[Device, ...], before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            told = await asyncio.to_thread(_changes, devices)
        except OSError as error:
            _log.info("changes of the machine cannot be told: %s", error)
            return
        for sentence in told:
            _log.warning("%s", sentence)
        if told:
            self.told += told
            self._on_change()


def _changes(devices: tuple[Device, ...]) -> tuple[str, ...]:
    from botframework.models import hardware  # on use: an editor waits for the daemon's start

    found = hardware.probe(again=bool(devices))
    if devices:
        found = hardware.with_devices(found, devices)
    return hardware.since_last_look(config.cache_dir() / FILE_NAME, found)
