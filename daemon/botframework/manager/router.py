"""Which model serves a request: one for each role, which can be exchanged for another while the daemon runs."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import (
    BotframeworkError,
    ModelCannotInfill,
    ModelNotConfigured,
    WorkerCrashed,
    WorkerUnavailable,
)
from botframework.manager.carry import RecentTexts
from botframework.manager.exchange import EXCHANGED, exchange
from botframework.manager.gauges import Gauges
from botframework.manager.hosting import Hosting
from botframework.manager.launch import default_command
from botframework.manager.library import Library
from botframework.manager.machine_watch import MachineWatch
from botframework.manager.roles import SERVED, model_of, to_be_served
from botframework.manager.state import WorkerState, tell
from botframework.manager.turns import Turns, to_the_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from botframework.config import Settings
    from botframework.manager.advice import Advice
    from botframework.manager.entry import ModelEntry
    from botframework.manager.generation import Generation
    from botframework.manager.hosted import HostedModel
    from botframework.manager.shelf import Listing
    from botframework.manager.status import Snapshot
    from botframework.manager.supervisor import Supervisor
    from botframework.models.recommendation import Role
    from botframework.wire.messages import ChatRequest, FimRequest, Inspection, Loaded, SessionInfo

UNLOADED = ModelNotConfigured("the model was unloaded while the request was with it")
STOPPING = WorkerUnavailable("the daemon is stopping")

_log = logging.getLogger(__name__)


class Router:
    """Serves every request of this daemon with its role's model: those of the settings until others are loaded.

    Parameters
    ----------
    on_change
        Called whenever `state`, or that of another role's model, has changed.
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
        self._paths: dict[Role, str] = {role: model_of(settings, role) or "" for role in SERVED}
        """What serves each role, or did before it was unloaded; empty: the embedded model."""
        self._serving: dict[Role, HostedModel] = {}
        """Empty while everything is unloaded or stopped."""
        self._candidate: HostedModel | None = None
        """Loads beside those that serve."""
        self._retiring: dict[asyncio.Task[None], HostedModel] = {}
        """Still answer what was asked of them."""
        self._on_change = on_change
        self._on_ready = on_ready
        self._on_progress = on_progress
        self._library = Library(settings)
        self._hosting = Hosting(
            settings,
            self._library,
            root_uri=root_uri,
            command=default_command() if command is None else tuple(command),
            on_progress=self._progressed,
        )
        self._machine = MachineWatch(on_change)
        self._stopped = True
        self._turns = Turns()
        self._texts = RecentTexts()
        self._gauges = Gauges(self._library)

    @property
    def state(self) -> WorkerState:
        """Where the model stands that completes code."""
        return self._serving["fim"].state if self._serving else WorkerState.STOPPED

    @property
    def last_error(self) -> BotframeworkError | None:
        """Why that model cannot be used, or what happened to it last."""
        return self._serving["fim"].last_error if self._serving else None

    @property
    def begins_with_thoughts(self) -> bool:
        """Whether the model's template makes it think aloud before every answer to a chat."""
        choice = self._serving["chat"].choice if self._serving else None
        return choice is not None and choice.begins_with_thoughts

    def supervisor(self, role: Role) -> Supervisor | None:
        """What keeps the worker of a role, while there is one."""
        return self._serving[role].supervisor if self._serving else None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to look at the models and to find or start their workers. Never raises: `state` and errors tell."""
        if self._stopped:
            self._stopped = False
            self._begin(asleep=not self._hosting.settings.worker.preload)
            self._machine.start()

    async def stop(self) -> None:
        """Let go of the workers, which end if nobody else uses them."""
        self._stopped = True
        self._turns.call_off()
        self._library.stop()
        self._machine.stop()
        await self._leave(STOPPING)

    async def restart(self) -> None:
        """Begin anew, with a fresh look at the files and a fresh budget of starts."""
        async with self._turns.turn():
            if self._stopped:
                return
            if self._serving:
                await to_the_end(model.restart() for model in self._hosted())
            else:
                self._begin(anew=True)

    def _begin(self, *, anew: bool = False, asleep: bool = False) -> None:
        by_path = {path: self._host(path) for path in self._paths.values()}
        self._serving = {role: by_path[path] for role, path in self._paths.items()}
        for model in by_path.values():
            model.begin(anew=anew, asleep=asleep)

    def _host(self, path: str, *, is_new: bool = False) -> HostedModel:
        return self._hosting.host(path, on_change=self._model_changed, on_ready=self._model_ready, is_new=is_new)

    def _hosted(self) -> tuple[HostedModel, ...]:
        """The models that serve, each once."""
        return tuple(dict.fromkeys(self._serving.values()))

    def _all(self) -> tuple[HostedModel, ...]:
        """The models that have a worker, or may soon."""
        candidate = () if self._candidate is None else (self._candidate,)
        return (*self._hosted(), *candidate, *self._retiring.values())

    async def _leave(self, reason: BotframeworkError) -> None:
        leaving, retiring = self._all(), tuple(self._retiring)
        self._serving = {}
        await to_the_end([*(model.stop(reason) for model in leaving), *retiring])

    async def update(self, settings: Settings) -> None:
        """Take over what may change in a running daemon: whether sessions are kept on disk.

        Another context size never reloads a model that serves; it takes a `restart` of the daemon.
        """
        if settings.sessions == self._hosting.settings.sessions:
            return
        self._hosting.settings = msgspec.structs.replace(self._hosting.settings, sessions=settings.sessions)
        for supervisor in self._supervisors():
            await self._hosting.place_snapshots(supervisor)

    # --- what the models tell -----------------------------------------------------------------------------------------

    def _model_changed(self, model: HostedModel) -> None:
        if model in self._serving.values():
            self._on_change()

    def _model_ready(self, model: HostedModel, loaded: Loaded) -> None:
        if model in self._serving.values():
            self._announce(loaded)

    def _announce(self, loaded: Loaded) -> None:
        tell(self._on_ready, loaded)
        self._machine.look(loaded.devices)

    def _progressed(self, _: float) -> None:
        """Report how far the loading is, of all models that are being loaded together."""
        loading = [model.supervisor for model in self._all() if model.state is WorkerState.LOADING]
        fractions = [supervisor.load_fraction for supervisor in loading if supervisor is not None]
        if fractions:
            self._on_progress(sum(fractions) / len(fractions))

    # --- models -------------------------------------------------------------------------------------------------------

    async def load_model(self, path: str, roles: tuple[Role, ...] = ()) -> None:
        """Exchange the model of some roles for another, and return when it is ready; of two calls the newer one wins.

        The present model serves until then, unless both do not fit into memory together. If the new one cannot be
        loaded, the present one goes on or comes back.

        Parameters
        ----------
        roles
            Empty: all that are served.

        Raises
        ------
        BotframeworkError
            The new one cannot be loaded (its path, its file, its worker), or no worker answers for one of the roles.
        """
        wanted = to_be_served(roles)
        async with self._turns.turn(may_be_called_off=True):
            if self._stopped:
                raise self._absent()
            await self._give(path, wanted)

    async def _give(self, path: str, roles: Sequence[Role]) -> None:
        new = self._host(path, is_new=True)
        choice = await new.look()
        same = [m for m in self._hosted() if m.state is WorkerState.READY and m.choice and m.choice.key == choice.key]
        new = same[0] if same else new
        before, paths = self._serving, self._paths
        # Who was unloaded comes back for all roles: a role without a model would be an error nobody asked for.
        after = before | dict.fromkeys(roles if before else SERVED, new)
        leaving = [model for model in self._hosted() if model not in after.values()]
        if same:
            self._take_place(new, after)
        else:
            self._candidate = new
            try:
                present = [before[role] for role in roles if before]
                await exchange(new, present, leaving, lambda new: self._take_place(new, after), self._texts)
            except BaseException:
                self._put_back(before, paths, leaving)
                await new.stop(EXCHANGED)
                raise
            finally:
                self._candidate = None
        for model in leaving:
            self._retire(model)

    def _take_place(self, new: HostedModel, serving: dict[Role, HostedModel]) -> None:
        self._serving = serving
        self._paths = {role: model.path for role, model in serving.items()}
        self._on_change()
        if new.state is WorkerState.READY and new.supervisor is not None and new is self._candidate:
            assert new.supervisor.loaded is not None  # noqa: S101 - it is ready
            self._announce(new.supervisor.loaded)

    def _put_back(
        self, before: dict[Role, HostedModel], paths: dict[Role, str], leaving: Iterable[HostedModel]
    ) -> None:
        if self._serving is before or self._stopped:
            return
        self._serving, self._paths = before, paths
        for model in leaving:
            if model.state is WorkerState.STOPPED:
                model.begin()
        self._on_change()

    def _retire(self, model: HostedModel) -> None:
        """Let a model answer what it was asked, and then go."""
        task = asyncio.create_task(model.retire(EXCHANGED), name="retire a model")
        self._retiring[task] = model
        task.add_done_callback(lambda task: self._retiring.pop(task, None))

    async def unload_model(self) -> None:
        """Let go of all models until `load_model` or `restart`."""
        async with self._turns.turn():
            await self._leave(UNLOADED)
            self._on_change()

    async def wake(self, role: Role) -> None:
        """If a role's model sleeps, load it and wait until it is ready; else nothing. For who would rather wait."""
        if self._serving:
            await self._serving[role].wake()

    async def models(self) -> Listing:
        """The files that can be chosen from."""
        await self._machine.up_to_date()
        return await self._library.list(self._loaded_paths())

    async def advice(self, roles: tuple[Role, ...]) -> Advice:
        """What this machine is, and which models suit it."""
        await self._machine.up_to_date()
        return await self._library.advice(roles)

    async def pull(self, reference: str, on_progress: Callable[[int, int | None], None]) -> ModelEntry:
        """Have a model in the folder; see `Library.pull`."""
        return await self._library.pull(reference, on_progress)

    async def remove_model(self, path: str) -> None:
        """Take a pulled model out of the folder; see `Library.remove`."""
        await self._library.remove(path, self._loaded_paths())

    def _loaded_paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.loaded.model.path for each in self._supervisors() if each.loaded is not None))

    # --- requests -----------------------------------------------------------------------------------------------------

    def complete(self, request: FimRequest) -> Generation:
        """Fill in the middle.

        Raises
        ------
        ModelLoading, ModelNotConfigured, ModelCannotInfill, ServerBusy, ...
            At once, if it cannot be computed now.
        """
        supervisor = self._serves("fim").require()
        if supervisor.loaded is not None and not supervisor.loaded.model.can_infill:
            name = supervisor.loaded.model.name
            raise ModelCannotInfill(f"the model {name} has no fill-in-the-middle tokens and cannot complete code")
        generation = supervisor.submit(request)
        self._texts.note(request)
        return generation

    def chat(self, request: ChatRequest) -> Generation:
        """Answer a conversation; raises as `complete` does."""
        return self._serves("chat").require().submit(request)

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """List this daemon's KV sessions; a model that sleeps has none."""
        return await _joined(supervisor.sessions() for supervisor in self._awake())

    async def close_session(self, name: str) -> tuple[SessionInfo, ...]:
        """Forget one; those that are left in memory are returned."""
        self._texts.forget(name)
        return await _joined(supervisor.close_session(name) for supervisor in self._awake())

    async def clear_sessions(self) -> tuple[SessionInfo, ...]:
        """Forget all of them and delete the workspace's snapshots, also when no worker is there to do it."""
        self._texts.clear()
        attached = [supervisor for supervisor in self._supervisors() if supervisor.worker_pid]
        try:
            return await _joined(supervisor.clear_sessions() for supervisor in attached)
        except WorkerCrashed as error:
            _log.info("sessions were cleared without the worker: %s", error)
            return ()
        finally:
            await self._hosting.delete_snapshots()

    async def inspect(self, name: str) -> Inspection:
        """How a session's last completion was asked. A model that sleeps is not woken for that."""
        return await self._serves("fim").require_awake().inspect(name)

    def _serves(self, role: Role) -> HostedModel:
        if not self._serving:
            raise self._absent()
        return self._serving[role]

    def _awake(self) -> list[Supervisor]:
        """Whoever can be asked something without being woken for it."""
        if not self._serving:
            raise self._absent()
        return [model.require_awake() for model in self._hosted() if model.state is not WorkerState.SLEEPING]

    def _absent(self) -> BotframeworkError:
        if self._stopped:
            return WorkerUnavailable("the daemon is stopping")
        return ModelNotConfigured("no model is loaded: it was unloaded; load one, or restart")

    def _supervisors(self) -> tuple[Supervisor, ...]:
        return tuple(model.supervisor for model in self._all() if model.supervisor is not None)

    def pause_reading(self) -> None:
        """Let the workers wait: our client does not read."""
        self._hosting.is_reading = False
        for supervisor in self._supervisors():
            supervisor.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._hosting.is_reading = True
        for supervisor in self._supervisors():
            supervisor.resume_reading()

    # --- heartbeat ----------------------------------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """How everything is, now; figures that a worker does not give in time are the last ones."""
        self._machine.glance()
        notices = (*(text for model in self._hosted() for text in model.notices), *self._machine.told)
        return await self._gauges.read(self._serving, log_file=self._hosting.log_file, notice=" ".join(notices))


async def _joined(answers: Iterable[Awaitable[tuple[SessionInfo, ...]]]) -> tuple[SessionInfo, ...]:
    """All sessions of several workers; a snapshot that two of them know is one."""
    return tuple(dict.fromkeys(chain.from_iterable(await asyncio.gather(*answers))))
