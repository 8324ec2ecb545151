"""Which folder of snapshots a worker hears of, and that they can be deleted whatever the worker does."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from botframework import config
from botframework.config import Sessions, Settings
from botframework.manager.router import Router
from botframework.manager.state import WorkerState
from support.chaos_worker import chaos, hellos, spawns
from support.gguf_factory import tiny_llama
from support.house import ask, gone, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = "file:///home/somebody/project"


class Window:
    """A router of one workspace on a chaos worker."""

    def __init__(self, folder: Path, settings: Settings, root_uri: str = ROOT) -> None:
        self._folder = folder
        self._changed = asyncio.Event()
        self.settings = settings
        self.router = Router(
            settings,
            on_change=self._changed.set,
            on_ready=lambda _: None,
            on_progress=lambda _: None,
            root_uri=root_uri,
            command=chaos(),
        )

    async def open(self) -> Router:
        """Start it and wait for the model."""
        await self.router.start()
        async with asyncio.timeout(15):
            while self.router.state is not WorkerState.READY:
                self._changed.clear()
                await self._changed.wait()
        return self.router

    def told(self) -> list[tuple[int, str]]:
        """What the worker heard of folders so far."""
        return hellos(self._folder)


@pytest.fixture
async def window(runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Make windows whose folders are of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = str(tiny_llama(tmp_path / "tiny.gguf"))
    made: list[Window] = []

    def make(root_uri: str = ROOT, *, trusted: bool = True, **sessions: Any) -> Window:
        settings = Settings(model=model, workspace_trusted=trusted, sessions=Sessions(**sessions))
        made.append(Window(runtime_dir, settings, root_uri))
        return made[-1]

    yield make
    await asyncio.gather(*(each.router.stop() for each in made))
    for pid in spawns(runtime_dir):
        assert await gone(pid, 2.0)


async def test_each_workspace_has_a_private_folder(window: Any) -> None:
    """Two workspaces share the worker and not the folder; a window without one has a folder of its own."""
    windows = [window(ROOT, disk_mib=3), window("file:///elsewhere"), window("")]
    for each in windows:
        await each.open()

    limits, folders = zip(*windows[0].told(), strict=True)

    assert limits == (3 << 20, 2_048 << 20, 2_048 << 20)
    assert len(set(folders)) == 3
    for folder in map(Path, folders):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == config.cache_dir() / "sessions"


@pytest.mark.parametrize("how", [{"trusted": False}, {"snapshots": False}])
async def test_no_folder_without_trust_or_wish(window: Any, how: dict[str, bool]) -> None:
    """An untrusted workspace, or one whose user does not want it, writes nothing and makes no folder."""
    made = window(**how)
    await made.open()

    assert [folder for _, folder in made.told()] == [""]
    assert not (config.cache_dir() / "sessions").exists()


async def test_switching_off_while_running_is_told_to_the_worker(window: Any) -> None:
    """The editor's settings come after the first hello: the worker hears a second one, and a third when it is on."""
    made = window()
    router = await made.open()

    await router.update(Settings(sessions=Sessions(snapshots=False)))
    await soon(lambda: len(made.told()) == 2)
    await router.update(Settings(sessions=Sessions(snapshots=False)))
    await router.update(Settings())
    await soon(lambda: len(made.told()) == 3)
    await router.restart()
    await made.open()

    first, off, on, again = made.told()
    assert off[1] == ""
    assert first == on == again
    assert first[1]


async def test_a_folder_that_others_can_read_is_not_used(window: Any) -> None:
    """Completion works without snapshots then."""
    (config.cache_dir() / "sessions").mkdir(parents=True)
    (config.cache_dir() / "sessions").chmod(0o755)
    made = window()
    router = await made.open()

    assert [folder for _, folder in made.told()] == [""]
    assert (await router.complete(ask("tokens=1")).result()).finish_reason == "stop"


async def test_clear_forgets_sessions_and_deletes_files(window: Any) -> None:
    """The workspace's files and the client's sessions go; another workspace's files stay."""
    other = await window("file:///elsewhere").open()
    made = window()
    router = await made.open()
    for folder in (folder for _, folder in made.told()):
        (Path(folder) / "old").write_bytes(b"x")
    await router.complete(ask("tokens=1", session="mine")).result()
    await other.complete(ask("tokens=1", session="theirs")).result()
    before = await router.sessions()

    assert await router.clear_sessions() == ()

    assert [info.session for info in before] == ["mine"]
    assert [info.session for info in await other.sessions()] == ["theirs"]
    assert [(Path(folder) / "old").exists() for _, folder in made.told()] == [True, False]


async def test_clear_works_without_a_worker(window: Any) -> None:
    """What an earlier day wrote can be deleted with the model gone and snapshots off."""
    folder = config.sessions_dir(ROOT)
    (folder / "old").write_bytes(b"x")
    made = window(snapshots=False)

    assert await made.router.clear_sessions() == ()

    assert list(folder.iterdir()) == []


async def test_clear_works_although_the_worker_dies(window: Any) -> None:
    """Nobody waits for a worker that is no more, and what was to be deleted is deleted."""
    made = window()
    router = await made.open()
    folder = Path(made.told()[0][1])
    (folder / "old").write_bytes(b"x")
    pid = router.supervisor("fim").worker_pid
    os.kill(pid, signal.SIGSTOP)
    clearing = asyncio.ensure_future(router.clear_sessions())
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)

    assert await clearing == ()
    assert not (folder / "old").exists()


async def test_clear_follows_no_link(window: Any, tmp_path: Path) -> None:
    """A link in the place of the workspace's folder leads to files that are not ours to delete."""
    folder, precious = config.sessions_dir(ROOT), tmp_path / "precious"
    folder.rmdir()
    precious.mkdir()
    (precious / "file").touch()
    folder.symlink_to(precious)

    await window(snapshots=False).router.clear_sessions()

    assert (precious / "file").exists()


async def test_inspect_goes_to_the_worker(window: Any) -> None:
    """A session's last completion is the worker's to tell; an unknown one is not found."""
    router = await window().open()
    await router.complete(ask("tokens=1", session="mine")).result()

    assert ((await router.inspect("mine")).found, (await router.inspect("other")).found) == (True, False)
