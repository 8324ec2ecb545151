"""Which model serves a request: one, which can be exchanged for another while the daemon runs."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from botframework import config
from botframework.errors import (
    BotframeworkError,
    ModelCannotInfill,
    ModelLoading,
    ModelNotConfigured,
    WorkerCrashed,
    WorkerUnavailable,
)
from botframework.manager import snapshots
from botframework.manager.candidate import Candidate
from botframework.manager.gauges import Gauges
from botframework.manager.launch import default_command
from botframework.manager.supervisor import Supervisor, WorkerState
from botframework.manager.workplace import Workplace
from botframework.process import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from botframework.config import Settings
    from botframework.manager.generation import Generation
    from botframework.manager.load import Choice
    from botframework.manager.shelf import Listing, Shelf
    from botframework.manager.status import Snapshot
    from botframework.wire.messages import ChatRequest, FimRequest, Inspection, Loaded, SessionInfo

EXCHANGED = ModelLoading("another model is being loaded in the place of the one that was asked", fraction=0.0)
UNLOADED = ModelNotConfigured("the model was unloaded while the request was with it")

_log = logging.getLogger(__name__)


class Router:
    """Serves every request of this daemon with one model: that of the settings until another one is loaded.

    Parameters
    ----------
    on_change
        Called whenever `state` has changed.
    on_ready
        Called once per load.
    on_progress
        Called with the loaded fraction.
    root_uri
        Names the workspace whose snapshots are used; empty: there is none.
    command
        Starts a worker instead of the real one; for tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_change: Callable[[], None],
        on_ready: Callable[[Loaded], None],
        on_progress: Callable[[float], None],
        root_uri: str = "",
        command: Sequence[str] | None = None,
    ) -> None:
        self._settings = settings
        self._configured = settings
        """As at the start: `load_model` changes the others."""
        self._on_change = on_change
        self._on_ready = on_ready
        self._on_progress = on_progress
        self._root_uri = root_uri
        self._command = default_command() if command is None else tuple(command)
        self._choice: Choice | None = None
        self._supervisor: Supervisor | None = None
        self._candidate: Supervisor | None = None
        """Loads a model beside the present one."""
        self._exchange: asyncio.Task[Any] | None = None
        """The newest `load_model`."""
        self._shelf: Shelf | None = None
        self._failure: BotframeworkError | None = None
        self._stopped = True
        self._unloaded = False
        self._restarting = asyncio.Lock()
        self._reading = True
        self._beginning: asyncio.Task[None] | None = None
        self._gauges = Gauges()
        self._log_file = ""

    @property
    def state(self) -> WorkerState:
        """Where the model stands."""
        if self._unloaded:
            return WorkerState.STOPPED
        if self._failure is not None:
            return WorkerState.ERROR
        if self._supervisor is not None:
            return self._supervisor.state
        return WorkerState.STOPPED if self._stopped else WorkerState.STARTING

    @property
    def last_error(self) -> BotframeworkError | None:
        """Why the model cannot be used, or what happened to it last."""
        return self._failure or (self._supervisor.last_error if self._supervisor is not None else None)

    @property
    def begins_with_thoughts(self) -> bool:
        """Whether the model's template makes it think aloud before every answer to a chat."""
        return self._choice is not None and self._choice.begins_with_thoughts

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to look at the model and to find or start its worker. Never raises: `state` and `last_error` tell."""
        if self._stopped:
            self._begin(anew=False)

    async def stop(self) -> None:
        """Let go of the worker, which ends if nobody else uses it."""
        self._stopped = True
        self._call_off_exchange()
        await self._leave(WorkerUnavailable("the daemon is stopping"))

    async def restart(self) -> None:
        """Begin anew, with a fresh look at the file and a fresh budget."""
        self._call_off_exchange()
        async with self._restarting:
            await self._leave(WorkerCrashed("the worker is being restarted because somebody asked for it"))
            if not self._stopped:
                self._begin(anew=True)
                self._on_change()

    def _begin(self, *, anew: bool) -> None:
        self._stopped = self._unloaded = False
        self._failure = None
        self._beginning = asyncio.create_task(self._find_and_start(anew=anew), name="choose the model")

    async def _find_and_start(self, *, anew: bool) -> None:
        try:
            folder, self._log_file, choice = await asyncio.to_thread(self._look, self._settings)
            self._choice = choice
            candidate = self._make(choice, folder)
            candidate.promote()
            supervisor = candidate.supervisor
            await self._place_snapshots(supervisor)
            self._supervisor = supervisor
            await (supervisor.restart() if anew else supervisor.start())
        except BotframeworkError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect here must end in a state that people see
            _log.exception("the model could not be chosen")
            self._fail(WorkerUnavailable(f"the model could not be chosen: {error}"))

    def _look(self, settings: Settings) -> tuple[Path, str, Choice]:
        """In a thread: a header is megabytes on a disk that may be slow."""
        from botframework.manager.load import choose  # on use: an editor waits for the daemon's start

        return config.runtime_dir(), str(config.log_dir() / logs.FILE_NAME), choose(settings)

    def _make(self, choice: Choice, folder: Path) -> Candidate:
        place = Workplace(choice.key, folder, keep_alive_s=self._settings.worker.keep_alive_s, command=self._command)
        make = functools.partial(Supervisor, choice.load, place, on_progress=self._on_progress)
        candidate = Candidate(make, on_change=self._on_change, on_ready=self._on_ready)
        if not self._reading:
            candidate.supervisor.pause_reading()
        return candidate

    async def _place_snapshots(self, supervisor: Supervisor) -> None:
        while True:
            settings = self._settings
            folder = await asyncio.to_thread(snapshots.folder, settings, self._root_uri)
            if settings is self._settings:
                break
        supervisor.use_snapshots(folder, snapshots.limit_bytes(settings))

    async def update(self, settings: Settings) -> None:
        """Take over what may change in a running daemon: whether sessions are kept on disk."""
        if settings.sessions == self._settings.sessions:
            return
        self._settings = msgspec.structs.replace(self._settings, sessions=settings.sessions)
        if self._supervisor is not None:
            await self._place_snapshots(self._supervisor)

    def _fail(self, error: BotframeworkError) -> None:
        _log.error("%s", error)
        self._failure = error
        self._on_change()

    async def _leave(self, reason: BotframeworkError) -> None:
        beginning, self._beginning = self._beginning, None
        if beginning is not None:
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
        present, self._supervisor = self._supervisor, None
        candidate, self._candidate = self._candidate, None
        self._gauges.forget()
        for supervisor in (present, candidate):
            if supervisor is not None:
                await supervisor.stop(reason)

    # --- models -------------------------------------------------------------------------------------------------------

    async def models(self) -> Listing:
        """The files that can be chosen from."""
        loaded = self._supervisor.loaded if self._supervisor is not None else None
        return await asyncio.to_thread(lambda: self._get_shelf().list(loaded.model.path if loaded is not None else ""))

    def _get_shelf(self) -> Shelf:
        """In a thread: what it imports, an editor would wait for at the daemon's start."""
        from botframework.manager.shelf import Shelf

        self._shelf = self._shelf or Shelf(self._configured)
        return self._shelf

    async def load_model(self, path: str) -> None:
        """Exchange the present model for another, and return when it is ready; of two calls the newer one wins.

        The present model serves until then, unless both do not fit into memory together. If the new one cannot be
        loaded, the present one goes on or comes back.

        Raises
        ------
        BotframeworkError
            The new one cannot be loaded: its path, its file, its worker.
        """
        self._call_off_exchange()
        task = self._exchange = asyncio.current_task()
        try:
            async with self._restarting:
                if self._stopped:
                    raise WorkerUnavailable("the daemon is stopping")
                settings = msgspec.structs.replace(self._settings, model=path)
                folder, self._log_file, choice = await asyncio.to_thread(self._look_at_other, settings)
                if not self._is_serving(choice):
                    await self._change_to(choice, folder)
                self._settings = msgspec.structs.replace(self._settings, model=path)
        finally:
            if self._exchange is task:
                self._exchange = None

    async def unload_model(self) -> None:
        """Let go of the model until `load_model` or `restart`."""
        self._call_off_exchange()
        async with self._restarting:
            await self._leave(UNLOADED)
            if not self._stopped:
                self._unloaded, self._failure, self._choice = True, None, None
                self._on_change()

    def _call_off_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def _look_at_other(self, settings: Settings) -> tuple[Path, str, Choice]:
        from botframework.manager.load import model_path

        self._get_shelf().require_trusted(model_path(settings.model or ""))
        return self._look(settings)

    def _is_serving(self, choice: Choice) -> bool:
        is_same = self._choice is not None and self._choice.key == choice.key
        return is_same and self.state is WorkerState.READY

    async def _change_to(self, choice: Choice, folder: Path) -> None:
        from botframework.manager.load import fits_beside

        candidate = self._make(choice, folder)
        await self._place_snapshots(candidate.supervisor)
        present = self._supervisor if self.state is WorkerState.READY else None
        if present is None or not await asyncio.to_thread(fits_beside, choice):
            await self._change_over(candidate, choice)
            return
        self._candidate = candidate.supervisor
        try:
            loaded = await candidate.load()
        except BaseException:
            self._candidate = None
            await candidate.supervisor.stop()
            raise
        self._candidate = None
        self._supervisor, self._choice = candidate.supervisor, choice
        self._gauges.forget()
        candidate.promote()
        self._on_change()
        self._on_ready(loaded)
        await present.stop(EXCHANGED)

    async def _change_over(self, candidate: Candidate, choice: Choice) -> None:
        """Let go of what there is first; if nothing comes of the new model, begin again with the old one."""
        was_unloaded = self._unloaded
        await self._leave(EXCHANGED)
        self._supervisor, self._choice = candidate.supervisor, choice
        self._unloaded, self._failure = False, None
        candidate.promote()
        try:
            await candidate.load()
        except BaseException:
            await self._leave(EXCHANGED)
            if was_unloaded:
                self._unloaded, self._choice = True, None
            elif not self._stopped:
                self._begin(anew=False)
            self._on_change()
            raise

    # --- requests -----------------------------------------------------------------------------------------------------

    def complete(self, request: FimRequest) -> Generation:
        """Fill in the middle.

        Raises
        ------
        ModelLoading, ModelNotConfigured, ModelCannotInfill, ServerBusy, ...
            At once, if it cannot be computed now.
        """
        supervisor = self._require()
        if supervisor.loaded is not None and not supervisor.loaded.model.can_infill:
            name = supervisor.loaded.model.name
            raise ModelCannotInfill(f"the model {name} has no fill-in-the-middle tokens and cannot complete code")
        return supervisor.submit(request)

    def chat(self, request: ChatRequest) -> Generation:
        """Answer a conversation; raises as `complete` does."""
        return self._require().submit(request)

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """List this daemon's KV sessions."""
        return await self._require().sessions()

    async def close_session(self, name: str) -> tuple[SessionInfo, ...]:
        """Forget one; those that are left in memory are returned."""
        return await self._require().close_session(name)

    async def clear_sessions(self) -> tuple[SessionInfo, ...]:
        """Forget all of them and delete the workspace's snapshots, also when no worker is there to do it."""
        left: tuple[SessionInfo, ...] = ()
        try:
            if self._supervisor is not None and self._supervisor.worker_pid:
                left = await self._supervisor.clear_sessions()
        except WorkerCrashed as error:
            _log.info("sessions were cleared without the worker: %s", error)
        finally:
            await asyncio.to_thread(snapshots.delete_all, self._root_uri)
        return left

    async def inspect(self, name: str) -> Inspection:
        """How a session's last completion was asked."""
        return await self._require().inspect(name)

    def _require(self) -> Supervisor:
        if self._unloaded:
            raise ModelNotConfigured("no model is loaded: it was unloaded; load one, or restart")
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._supervisor is None:
            if self._stopped:
                raise WorkerUnavailable("the daemon is stopping")
            raise ModelLoading("the model is being looked at", fraction=0.0)
        return self._supervisor

    def pause_reading(self) -> None:
        """Let the worker wait: our client does not read."""
        self._reading = False
        if self._supervisor is not None:
            self._supervisor.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._reading = True
        if self._supervisor is not None:
            self._supervisor.resume_reading()

    # --- heartbeat ----------------------------------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """How everything is, now; figures that the worker does not give in time are the last ones."""
        choice = self._choice
        chosen = "" if self._unloaded else self._settings.model or ""
        return await self._gauges.read(
            self._supervisor,
            self.state,
            self.last_error,
            model_name=choice.name if choice is not None else "",
            model_path=choice.load.path if choice is not None else chosen,
            log_file=self._log_file,
        )
