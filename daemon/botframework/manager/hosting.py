"""What all models of a daemon share: settings, the worker's command, the memory's budget, where sessions are kept."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import msgspec

from botframework import config
from botframework.manager import snapshots
from botframework.manager.budget import Budget
from botframework.manager.hosted import HostedModel
from botframework.manager.supervisor import Supervisor
from botframework.manager.workplace import Workplace
from botframework.process import logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botframework.config import Settings
    from botframework.manager.library import Library
    from botframework.manager.load import Choice
    from botframework.wire.messages import Loaded, LoadModel, Measured


class Hosting:
    """Makes hosted models.

    Parameters
    ----------
    library
        Knows which files a workspace without trust may use.
    root_uri
        Names the workspace whose snapshots are used; empty: there is none.
    command
        Starts a worker.
    on_progress
        Called with the loaded fraction of a model.
    """

    def __init__(
        self,
        settings: Settings,
        library: Library,
        *,
        root_uri: str,
        command: tuple[str, ...],
        on_progress: Callable[[float], None],
    ) -> None:
        self.settings = settings
        self.command = command
        self.is_reading = True
        """Whether our client takes what the workers say."""
        self.log_file = ""
        """Empty until a model was looked at."""
        self._library = library
        self._root_uri = root_uri
        self._on_progress = on_progress
        self._budget = Budget(self._measure)

    def host(
        self,
        path: str,
        *,
        on_change: Callable[[HostedModel], None],
        on_ready: Callable[[HostedModel, Loaded], None],
        is_new: bool = False,
    ) -> HostedModel:
        """A model that is not loaded yet. ``is_new``: the settings did not name it at the start."""
        return HostedModel(
            path,
            look=functools.partial(self._look, path, is_new=is_new),
            make=self._make,
            budget=self._budget,
            hold=self._library.hold,
            idle_limit_s=self.settings.worker.idle_unload_minutes * 60,
            on_change=on_change,
            on_ready=on_ready,
        )

    def _look(self, path: str, *, is_new: bool) -> tuple[Path, Choice]:
        """In a thread: a header is megabytes on a disk that may be slow."""
        from botframework.manager.load import choose, model_path  # on use: an editor waits for the daemon's start

        self.log_file = str(config.log_dir() / logs.FILE_NAME)
        if is_new:
            self._library.shelf.require_trusted(model_path(path))
        return config.runtime_dir(), choose(msgspec.structs.replace(self.settings, model=path or None))

    async def _make(
        self,
        choice: Choice,
        folder: Path,
        *,
        on_change: Callable[[], None],
        on_ready: Callable[[Loaded], None],
        on_leave_asked: Callable[[float], None],
    ) -> Supervisor:
        place = Workplace(choice.key, folder, keep_alive_s=self.settings.worker.keep_alive_s, command=self.command)
        supervisor = Supervisor(
            choice.load,
            place,
            on_change=on_change,
            on_ready=on_ready,
            on_progress=self._on_progress,
            on_leave_asked=on_leave_asked,
        )
        await self.place_snapshots(supervisor)
        # After the wait: whoever changes it meanwhile does not know of this supervisor yet.
        if not self.is_reading:
            supervisor.pause_reading()
        return supervisor

    async def _measure(self, load: LoadModel) -> Measured:
        from botframework.manager.measure import measure

        return await measure(load, command=self.command)

    async def place_snapshots(self, supervisor: Supervisor) -> None:
        """Keep the sessions of a worker where the settings of the moment want them."""
        while True:
            settings = self.settings
            folder = await asyncio.to_thread(snapshots.folder, settings, self._root_uri)
            if settings is self.settings:
                break
        supervisor.use_snapshots(folder, snapshots.limit_bytes(settings))

    async def delete_snapshots(self) -> None:
        """Delete all that is kept of the workspace's sessions, whoever wrote it."""
        await asyncio.to_thread(snapshots.delete_all, self._root_uri)
