"""What has changed in the machine is said, since the last daemon and while this one runs, and lists are made anew."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from botframework import config
from botframework.config import Models, Settings
from botframework.manager import load, machine_watch
from botframework.manager.library import Library
from botframework.manager.machine_watch import FILE_NAME, MAX_TOLD, MachineWatch
from botframework.manager.state import WorkerState
from botframework.models import hardware
from botframework.wire.messages import Device
from support.fake_machine import GIB, forget_the_machine
from support.gguf_factory import tiny_llama
from support.house import none_left, soon
from support.memory import PLENTY, has_memory
from support.model_files import split_files
from support.pluggable import PluggableMachine
from support.watched_router import WatchedRouter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CARD = "Test Card 200"
VRAM = 200 * GIB
LARGE = 100 * GIB
"""A model for the card and for no other memory of the machine."""


@pytest.fixture
def pluggable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluggableMachine]:
    """A machine without a card, and nothing is known of what it was before: here this process is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    machine = PluggableMachine(tmp_path / "machine")
    machine.install(monkeypatch)
    yield machine
    forget_the_machine()


@pytest.fixture
def large(tmp_path: Path) -> Library:
    """A library whose only file is too large for the machine's own memory."""
    folder = tmp_path / "models"
    _, second = split_files(folder)
    with second.open("r+b") as file:
        file.truncate(LARGE)
    return Library(Settings(models=Models(folder=str(folder))))


class Watched:
    """A watch that has looked once, and the times that it called back."""

    def __init__(self) -> None:
        self.changes = 0
        self.watch = MachineWatch(self._change)

    def _change(self) -> None:
        self.changes += 1

    async def until_looked(self) -> tuple[str, ...]:
        """Wait for the end of what is under way."""
        assert self.watch._looking is not None
        async with asyncio.timeout(10.0):
            await asyncio.wait({self.watch._looking})
        return self.watch.told


async def started() -> Watched:
    """One that has had its first look."""
    watched = Watched()
    watched.watch.start()
    await watched.until_looked()
    return watched


async def fits(library: Library) -> bool | None:
    """Whether the large model does, as the list says."""
    (entry,) = [entry for entry in (await library.list(())).models if entry.source == "folder"]
    return entry.fits


async def test_a_gpu_that_is_gone_is_told(runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the heartbeat of the next daemon; the one after it, which finds the machine as it was, says nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    has_memory(monkeypatch, lambda: PLENTY)
    card = hardware.Gpu(0, "nvidia", "Test Card 24", 24 * GIB, 0)
    hardware.since_last_look(config.cache_dir() / FILE_NAME, dataclasses.replace(hardware.probe(), gpus=(card,)))
    model = str(tiny_llama(tmp_path / "model.gguf"))

    first, second = WatchedRouter(Settings(model=model)), WatchedRouter(Settings(model=model))
    await first.until_ready()
    await soon(lambda: bool(first.router._machine.told))
    assert "Test Card 24" in (await first.router.snapshot()).notice
    await first.router.stop()
    await second.until_ready()
    assert (await second.router.snapshot()).notice == ""
    await second.router.stop()
    assert second.router.state is WorkerState.STOPPED
    await none_left(runtime_dir)


async def test_a_card_that_comes_and_goes(pluggable: PluggableMachine, large: Library) -> None:
    """It is told, lists say what fits now, and the next load uses it; the header is not read again for that."""
    watched = await started()
    assert (await fits(large), watched.watch.told) == (False, ())

    pluggable.plug(CARD, VRAM)
    watched.watch.glance()
    assert await watched.until_looked() == (f"new GPU: {CARD}",)
    assert await fits(large) is True
    choice = load.choose(Settings(model=str(large.shelf.folder / "model-00001-of-00002.gguf")))
    assert choice.load.n_gpu_layers > 0

    pluggable.pull_out()
    watched.watch.glance()
    assert await watched.until_looked() == (f"new GPU: {CARD}", f"GPU gone: {CARD}")
    assert await fits(large) is False
    assert watched.changes == 2


async def test_a_list_waits_for_the_look(pluggable: PluggableMachine, large: Library) -> None:
    """Whoever asks before any heartbeat has noticed gets the machine as it is."""
    watched = await started()
    pluggable.plug(CARD, VRAM)
    await watched.watch.up_to_date()

    assert watched.watch.told == (f"new GPU: {CARD}",)
    assert await fits(large) is True


async def test_a_driver_that_hangs_holds_up_no_list(
    pluggable: PluggableMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a moment the list comes as it is; when the look has ended its change is told."""
    watched = await started()
    monkeypatch.setattr(machine_watch, "PATIENCE_S", 0.01)
    answer = asyncio.Event()

    async def probe_devices() -> tuple[Device, ...]:
        while not answer.is_set():  # noqa: ASYNC110 - the event is another loop's
            await asyncio.sleep(0.005)
        return await pluggable._probe_devices()

    monkeypatch.setattr("botframework.manager.machine.probe_devices", probe_devices)
    pluggable.plug(CARD, VRAM)
    async with asyncio.timeout(5.0):
        await watched.watch.up_to_date()
    assert watched.watch.told == ()
    watched.watch.glance()  # Heartbeats queue no further looks behind one that hangs.
    answer.set()

    assert await watched.until_looked() == (f"new GPU: {CARD}",)


async def test_nobody_asks_a_driver_without_need(pluggable: PluggableMachine) -> None:
    """As long as the kernel's list stays the same neither the driver nor llama.cpp is asked, whatever is wanted."""
    watched = await started()
    driver = sys.modules["pynvml"]
    before = pluggable.asked, list(driver.calls)
    for _ in range(20):
        watched.watch.glance()
        await watched.watch.up_to_date()

    assert (pluggable.asked, driver.calls) == before


async def test_every_window_tells_it(pluggable: PluggableMachine) -> None:
    """The file of what was found before is one for all daemons; that one of them has noticed keeps no other silent."""
    first, second = await started(), await started()
    pluggable.plug(CARD, VRAM)
    for watched in (first, second):
        await watched.watch.up_to_date()

    assert first.watch.told == second.watch.told == (f"new GPU: {CARD}",)
    assert (await started()).watch.told == ()


async def test_a_driver_that_needs_a_moment(pluggable: PluggableMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while after the kernel's list has changed the next heartbeats ask again, and then no more."""
    watched = await started()
    pluggable.plug(CARD, VRAM, is_ready=False)
    await watched.watch.up_to_date()
    assert watched.watch.told == ()
    pluggable.be_ready(CARD, VRAM)
    watched.watch.glance()
    assert await watched.until_looked() == (f"new GPU: {CARD}",)

    later = time.monotonic() + machine_watch.SETTLE_S
    monkeypatch.setattr(machine_watch, "time", SimpleNamespace(monotonic=lambda: later))
    before = pluggable.asked
    watched.watch.glance()
    await watched.until_looked()
    assert pluggable.asked == before


async def test_a_worker_that_sees_other_cards(pluggable: PluggableMachine) -> None:
    """Where the kernel keeps no list, a worker's own tells that llama.cpp has to be asked again."""
    watched = await started()
    pluggable.be_ready(CARD, VRAM)  # no entry of the kernel's
    seen = Device(name="CUDA0", description=CARD, kind="gpu", total_bytes=VRAM, free_bytes=VRAM)
    watched.watch.look((seen,))

    assert await watched.until_looked() == (f"new GPU: {CARD}",)


async def test_an_older_worker_takes_no_card_away(pluggable: PluggableMachine) -> None:
    """A worker that another window started before the card came does not see it; what a new one would see counts."""
    watched = await started()
    pluggable.plug(CARD, VRAM)
    await watched.watch.up_to_date()
    watched.watch.look((Device(name="CPU", description="", kind="cpu", total_bytes=0, free_bytes=0),))

    assert await watched.until_looked() == (f"new GPU: {CARD}",)


async def test_a_notice_has_an_end(pluggable: PluggableMachine) -> None:
    """Of a card that comes and goes all day the newest sentences are told, each once, in their order."""
    watched = await started()
    for number in range(4):
        pluggable.plug(f"{CARD} {number}", VRAM)
        await watched.watch.up_to_date()
        pluggable.pull_out()
        await watched.watch.up_to_date()

    last = [f"new GPU: {CARD} 2", f"GPU gone: {CARD} 2", f"new GPU: {CARD} 3", f"GPU gone: {CARD} 3"]
    assert watched.watch.told == tuple(last)[-MAX_TOLD:]


async def test_after_the_end_nothing_is_looked_at(pluggable: PluggableMachine) -> None:
    """A late heartbeat of a daemon that leaves starts nothing."""
    watched = await started()
    watched.watch.stop()
    pluggable.plug(CARD, VRAM)
    watched.watch.glance()
    await watched.watch.up_to_date()

    assert (watched.watch.told, watched.changes) == ((), 0)
