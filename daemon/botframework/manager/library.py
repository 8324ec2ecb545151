"""The models that this daemon knows: files to choose from, downloads, advice. Everything heavy is imported on use."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError, ConfigError, StoreError
from botframework.manager.folder import limit_bytes, models_folder
from botframework.manager.pulls import Pulls
from botframework.manager.roles import named_models
from botframework.manager.status import Download

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.config import Settings
    from botframework.manager.advice import Advice
    from botframework.manager.entry import ModelEntry
    from botframework.manager.shelf import Listing, Shelf
    from botframework.models.recommendation import Role
    from botframework.models.store.holds import Hold
    from botframework.models.store.store import Store

_log = logging.getLogger(__name__)


class Library:
    """The folder of models, with what is pulled into it. One for a daemon."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pulls = Pulls()
        self._shelf: Shelf | None = None
        self._store: Store | None = None
        self._progress: dict[str, tuple[float, int]] = {}
        """When each download was last looked at, and how far it was."""

    @property
    def shelf(self) -> Shelf:
        """What lists the files. For a thread: what it imports, an editor would wait for at the daemon's start."""
        from botframework.manager.shelf import Shelf

        shelf = self._shelf = self._shelf or Shelf(self._settings)
        return shelf

    @property
    def store(self) -> Store:
        """What pulls and removes. For a thread, too."""
        from botframework.models.store.store import Store

        self._store = self._store or Store(models_folder(self._settings))
        return self._store

    async def list(self, loaded: Sequence[str]) -> Listing:
        """The files that can be chosen from; ``loaded`` are the paths of those that serve."""
        return await asyncio.to_thread(lambda: self.shelf.list(loaded))

    async def advice(self, roles: tuple[Role, ...]) -> Advice:
        """What this machine is, and which models suit it."""
        from botframework.manager.advice import advise

        return await advise(self._settings, roles)

    async def pull(self, reference: str, on_progress: Callable[[int, int | None], None]) -> ModelEntry:
        """Have a model in the folder; it is not loaded by that.

        Raises
        ------
        ConfigError
            The workspace is not trusted.
        BotframeworkError
            As `Store.pull`.
        """
        self._require_trust()
        store = await asyncio.to_thread(lambda: self.store)
        limit, keep = limit_bytes(self._settings), named_models(self._settings)
        pulled = await self._pulls.pull(store, reference, on_progress, limit_bytes=limit, keep=keep)
        return await asyncio.to_thread(self.shelf.describe, Path(pulled.path))

    async def remove(self, path: str, loaded: Sequence[str]) -> None:
        """Take a pulled model out of the folder.

        Raises
        ------
        ConfigError
            The workspace is not trusted.
        ModelNotFound, StoreError
            There is none, it is another program's, or it is in use.
        """
        self._require_trust()
        if os.path.realpath(path) in {os.path.realpath(each) for each in loaded}:  # noqa: ASYNC240 - a few calls
            raise StoreError("the model is loaded: load another one first, or unload it", path=path)
        await asyncio.to_thread(lambda: self.store.remove(path))

    def _require_trust(self) -> None:
        if not self._settings.workspace_trusted:
            raise ConfigError("the workspace is not trusted: models are neither pulled nor removed for it")

    async def hold(self, path: str) -> Hold | None:
        """Keep a model of the folder from being removed by anybody; None for a file elsewhere."""
        taking = asyncio.ensure_future(asyncio.to_thread(self._hold, path))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(_release)  # Nobody else would, for as long as the daemon lives.
            raise

    def _hold(self, path: str) -> Hold | None:
        # Either may be reached through a link. For any other file the store need not be imported.
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(models_folder(self._settings))):
            return None
        try:
            return self.store.hold(path)
        except (BotframeworkError, OSError) as error:
            _log.info("nobody else is told that %s is in use: %s", path, error)
            return None

    def downloads(self) -> tuple[Download, ...]:
        """What is being pulled into the folder, by whichever process. For a thread."""
        if self._store is None and not models_folder(self._settings).is_dir():
            return ()
        now = time.monotonic()
        before, self._progress = self._progress, {}
        found = []
        for download in self.store.downloads():
            self._progress[download.name] = now, download.done_bytes
            then, done = before.get(download.name, (now, download.done_bytes))
            rate = (download.done_bytes - done) / (now - then) if now > then else None
            found.append(
                Download(
                    name=download.name,
                    done_bytes=download.done_bytes,
                    total_bytes=download.total_bytes,
                    bytes_per_second=None if rate is None else max(0.0, rate),
                )
            )
        return tuple(found)

    def stop(self) -> None:
        """The daemon is leaving."""
        self._pulls.stop()


def _release(taking: asyncio.Future[Hold | None]) -> None:
    hold = None if taking.cancelled() or taking.exception() is not None else taking.result()
    if hold is not None:
        hold.release()
