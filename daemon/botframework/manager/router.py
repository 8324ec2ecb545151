"""Which model serves a request: one, the configured or the embedded one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from botframework import config
from botframework.errors import BotframeworkError, ModelCannotInfill, ModelLoading, WorkerCrashed, WorkerUnavailable
from botframework.manager import snapshots
from botframework.manager.launch import default_command
from botframework.manager.status import Problem, Snapshot
from botframework.manager.supervisor import Supervisor, WorkerState
from botframework.manager.workplace import Workplace
from botframework.process import logs, rss_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from botframework.config import Settings
    from botframework.manager.generation import Generation
    from botframework.manager.load import Choice
    from botframework.wire.messages import ChatRequest, FimRequest, Inspection, Loaded, SessionInfo, Stats

STATS_DEADLINE_S = 0.25
"""The worker answers from a thread of its own; a heartbeat that comes late is worse than one with old figures."""

_log = logging.getLogger(__name__)


class Router:
    """Serves every request of this daemon with the one model of the settings.

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
        self._on_change = on_change
        self._on_ready = on_ready
        self._on_progress = on_progress
        self._root_uri = root_uri
        self._command = default_command() if command is None else tuple(command)
        self._choice: Choice | None = None
        self._supervisor: Supervisor | None = None
        self._failure: BotframeworkError | None = None
        self._stopped = True
        self._restarting = asyncio.Lock()
        self._reading = True
        self._beginning: asyncio.Task[None] | None = None
        self._stats: Stats | None = None
        self._log_file = ""

    @property
    def state(self) -> WorkerState:
        """Where the model stands."""
        if self._failure is not None:
            return WorkerState.ERROR
        if self._supervisor is not None:
            return self._supervisor.state
        return WorkerState.STOPPED if self._stopped else WorkerState.STARTING

    @property
    def last_error(self) -> BotframeworkError | None:
        """Why the model cannot be used, or what happened to it last."""
        return self._failure or (self._supervisor.last_error if self._supervisor is not None else None)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to look at the model and to find or start its worker. Never raises: `state` and `last_error` tell."""
        if self._stopped:
            self._begin(anew=False)

    async def stop(self) -> None:
        """Let go of the worker, which ends if nobody else uses it."""
        self._stopped = True
        await self._leave()

    async def restart(self) -> None:
        """Begin anew, with a fresh look at the file and a fresh budget."""
        async with self._restarting:
            await self._leave()
            if not self._stopped:
                self._begin(anew=True)
                self._on_change()

    def _begin(self, *, anew: bool) -> None:
        self._stopped = False
        self._failure = None
        self._beginning = asyncio.create_task(self._find_and_start(anew=anew), name="choose the model")

    async def _find_and_start(self, *, anew: bool) -> None:
        try:
            folder, self._log_file, choice = await asyncio.to_thread(self._look)
            self._choice = choice
            supervisor = self._make(choice, folder)
            await self._place_snapshots(supervisor)
            self._supervisor = supervisor
            await (supervisor.restart() if anew else supervisor.start())
        except BotframeworkError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect here must end in a state that people see
            _log.exception("the model could not be chosen")
            self._fail(WorkerUnavailable(f"the model could not be chosen: {error}"))

    def _look(self) -> tuple[Path, str, Choice]:
        """In a thread: a header is megabytes on a disk that may be slow."""
        from botframework.manager.load import choose  # on use: an editor waits for the daemon's start

        return config.runtime_dir(), str(config.log_dir() / logs.FILE_NAME), choose(self._settings)

    def _make(self, choice: Choice, folder: Path) -> Supervisor:
        supervisor = Supervisor(
            choice.load,
            Workplace(choice.key, folder, keep_alive_s=self._settings.worker.keep_alive_s, command=self._command),
            on_change=self._on_change,
            on_ready=self._on_ready,
            on_progress=self._on_progress,
        )
        if not self._reading:
            supervisor.pause_reading()
        return supervisor

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

    async def _leave(self) -> None:
        beginning, self._beginning = self._beginning, None
        if beginning is not None:
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
        supervisor, self._supervisor = self._supervisor, None
        self._stats = None
        if supervisor is not None:
            await supervisor.stop()

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
        """Forget one; the remaining ones are returned."""
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
        await self._ask_for_stats()
        supervisor, state, stats = self._supervisor, self.state, self._stats
        error = self.last_error if state in {WorkerState.ERROR, WorkerState.RESTARTING} else None
        from botframework.models import hardware  # on use: an editor waits for the daemon's start

        # In a thread: a driver may take its time.
        memory = await asyncio.to_thread(hardware.sample)
        snapshot = Snapshot(
            state=state.value,
            model_name=self._choice.name if self._choice is not None else "",
            model_path=self._choice.load.path if self._choice is not None else self._settings.model or "",
            load_percent=int(supervisor.load_fraction * 100) if supervisor is not None else 0,
            vram_used=memory.vram_used,
            vram_total=memory.vram_total,
            ram_used=memory.ram_used,
            ram_total=memory.ram_total,
            daemon_rss=rss_bytes(),
            worker_pid=supervisor.worker_pid if supervisor is not None else 0,
            log_file=self._log_file,
            error=Problem(kind=type(error).__name__, message=str(error)) if error is not None else None,
        )
        if supervisor is not None and supervisor.loaded is not None:
            snapshot = msgspec.structs.replace(snapshot, can_cut_tail=supervisor.loaded.model.can_cut_tail)
        if stats is None or snapshot.worker_pid == 0:
            return snapshot
        gpus = [device for device in stats.devices if device.kind != "cpu"]
        if snapshot.vram_total is None and gpus:
            total = sum(device.total_bytes for device in gpus)
            used = total - sum(device.free_bytes for device in gpus)
            snapshot = msgspec.structs.replace(snapshot, vram_total=total, vram_used=used)
        return msgspec.structs.replace(
            snapshot,
            worker_rss=stats.rss_bytes,
            clients=stats.clients,
            kv_tokens=stats.kv_tokens,
            kv_cells=stats.kv_cells,
            queued=stats.queued,
            running=stats.running,
            tokens_per_second=stats.tokens_per_s,
            last_first_token_ms=stats.last_first_token_ms,
            prompt_tokens_read=stats.prompt_tokens_read,
            background_tokens_read=stats.background_tokens_read,
            tokens_generated=stats.tokens_generated,
        )

    async def _ask_for_stats(self) -> None:
        if self._supervisor is None or self._supervisor.worker_pid == 0:
            self._stats = None
            return
        try:
            self._stats = await asyncio.wait_for(self._supervisor.stats(), STATS_DEADLINE_S)
        except (TimeoutError, BotframeworkError) as error:
            _log.debug("no figures from the worker: %s", error)
