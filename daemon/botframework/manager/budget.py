"""Memory for all models of a user: a load waits here until there is room for it, or is told who holds it.

Idle workers give way, the one that was used least recently first, and only if all of its clients agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import PurePath
from typing import TYPE_CHECKING

from botframework.errors import (
    BotframeworkError,
    InsufficientMemory,
    ModelCorrupt,
    ModelDoesNotFit,
    WorkerStartFailed,
)
from botframework.manager.holders import drain, survey
from botframework.process import FileLock
from botframework.quantities import size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from botframework.manager.holders import Holder
    from botframework.manager.load import Choice
    from botframework.manager.need import Need, Room
    from botframework.wire.messages import LoadModel, Measured

DRAIN_IDLE_S = 60.0
"""A worker that nobody has asked for anything for so long may be taken away; who comes back waits for a load."""
NEAR_SHARE = 0.7
"""Of the free memory from which on the estimate is not believed, and llama.cpp asked."""
LOCK_DEADLINE_S = 30.0
"""Whoever holds the lock is measuring, draining or starting a worker; it is never held while a model loads. Who got it
not by then goes on without."""
LOCK_POLL_S = 0.05
LOCK_NAME = "memory.lock"
MAX_NAMED = 5
"""Holders in a message; the error's data have all."""

_log = logging.getLogger(__name__)


class Budget:
    """Admits loads, one after the other among all daemons of the user.

    Parameters
    ----------
    measure
        Asks llama.cpp what a load takes.
    """

    def __init__(self, measure: Callable[[LoadModel], Awaitable[Measured]]) -> None:
        self._measure = measure
        self.drain_idle_s = DRAIN_IDLE_S

    @contextlib.asynccontextmanager
    async def admission(self, choice: Choice, folder: Path, spare: frozenset[str]) -> AsyncIterator[None]:
        """Make room for a load, and keep others out for as long as the block lasts, in which its worker is started.

        Parameters
        ----------
        folder
            Where the workers' files are.
        spare
            Keys of workers that are not asked to leave.

        Raises
        ------
        InsufficientMemory
            There is no room now; who holds it is in the message and in the data.
        ModelDoesNotFit
            There would be none if nothing else were there.
        """
        lock = FileLock(folder / LOCK_NAME)
        try:
            await _take(lock)
            await self._make_room(choice, folder, spare)
            yield
        finally:
            lock.release()

    async def _make_room(self, choice: Choice, folder: Path, spare: frozenset[str]) -> None:
        from botframework.manager import need as needs  # on use: it looks at the hardware

        need, asked = needs.estimate(choice), set[str]()
        measured: Measured | None = None
        is_to_be_measured = True
        while True:
            holders = await survey(folder)
            if any(holder.key == choice.key for holder in holders):
                return  # It is in memory, or coming there: nothing more is taken.
            room = (await asyncio.to_thread(needs.free)).less(holders, need)
            if is_to_be_measured and (measured is not None or need.total > NEAR_SHARE * room.total_for(need)):
                measured = await self._ask_exactly(choice)
                # What only llama.cpp can tell of is another after each worker that left.
                is_to_be_measured = measured is not None and room.lacks(measured)
            if measured is not None:
                need = needs.exact(measured, choice.shape)
                room = room.with_devices(measured)
            if room.holds(need):
                return
            whole = await asyncio.to_thread(needs.whole)
            if measured is not None:
                whole = whole.with_whole_devices(measured)
            if not whole.holds(need):
                raise _too_large(choice, need, whole)
            idle = self._idle(holders, spare | asked)
            if not idle:
                raise _insufficient(choice, need, room, holders)
            asked.add(idle[0].key)
            _log.info("the worker of %s is asked to leave, for the memory", PurePath(idle[0].model).name)
            if not await drain(folder, idle[0], self.drain_idle_s):
                _log.info("it was used just now, and stays")

    async def _ask_exactly(self, choice: Choice) -> Measured | None:
        try:
            return await self._measure(choice.load)
        except (ModelCorrupt, WorkerStartFailed) as error:
            # The load itself will say what is wrong, and keep a record of it.
            _log.info("what %s takes could not be measured: %s", choice.name, error)
            return None

    def _idle(self, holders: Sequence[Holder], spare: frozenset[str] | set[str]) -> list[Holder]:
        """Those that may be asked to leave, the one that was used least recently first."""
        found = [
            holder
            for holder in holders
            if holder.idle_s is not None and holder.idle_s >= self.drain_idle_s and holder.key not in spare
        ]
        return sorted(found, key=lambda holder: -(holder.idle_s or 0.0))


async def _take(lock: FileLock) -> None:
    give_up_at = time.monotonic() + LOCK_DEADLINE_S
    # Polled, because a thread that blocks in flock could not be called back when the daemon stops.
    try:
        while not lock.try_acquire():
            if time.monotonic() > give_up_at:
                _log.warning("another daemon keeps the lock for loading: this load goes on without it")
                return
            await asyncio.sleep(LOCK_POLL_S)
    except OSError as error:
        _log.warning("the lock for loading cannot be taken: %s", error)


def _too_large(choice: Choice, need: Need, room: Room) -> BotframeworkError:
    return ModelDoesNotFit(
        f"{choice.name} needs {size(need.total)} of memory, and this machine has {size(room.total_for(need))} for it: "
        "choose a smaller model or quantization, or a smaller context (engine.nCtxChat)",
        neededBytes=need.total,
        availableBytes=room.total_for(need),
        path=choice.load.path,
    )


def is_hopeless(error: BotframeworkError) -> bool:
    """Whether a model would not fit either if nothing else were there; a refusal by llama.cpp says nothing of that."""
    return isinstance(error, ModelDoesNotFit) and "neededBytes" in error.data


def _insufficient(choice: Choice, need: Need, room: Room, holders: Sequence[Holder]) -> BotframeworkError:
    largest = sorted(holders, key=lambda holder: -holder.held_bytes)
    named = "; ".join(_in_words(holder) for holder in largest[:MAX_NAMED])
    who = f"these models are in use: {named}" if named else "other programs hold the rest"
    return InsufficientMemory(
        f"{choice.name} needs {size(need.total)} of memory, and {size(room.total_for(need))} is free: {who}. Close "
        "what is not needed, or choose a smaller model",
        neededBytes=need.total,
        availableBytes=room.total_for(need),
        holders=[
            {
                "model": holder.model,
                "pid": holder.pid,
                "bytes": holder.held_bytes,
                "clients": holder.clients,
                "idleS": holder.idle_s,
            }
            for holder in largest
        ],
    )


def _in_words(holder: Holder) -> str:
    name = PurePath(holder.model).name if holder.model else "a model of another version of botframework"
    windows = "1 window" if holder.clients == 1 else f"{holder.clients} windows"
    used = "loading" if holder.idle_s is None else f"last used {holder.idle_s:.0f} s ago"
    return f"{name} with {size(holder.held_bytes)} (process {holder.pid}, {windows}, {used})"
