"""One model that this daemon uses: looked at, loaded, put to sleep, woken, until it is let go of."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from botframework.errors import (
    BotframeworkError,
    InsufficientMemory,
    ModelDoesNotFit,
    ModelLoading,
    WorkerCrashed,
    WorkerUnavailable,
)
from botframework.manager.idle import IdleWatch
from botframework.manager.state import WorkerState, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from botframework.manager.budget import Budget
    from botframework.manager.load import Choice
    from botframework.manager.supervisor import Supervisor
    from botframework.models.store.holds import Hold
    from botframework.wire.messages import Loaded

ASLEEP = ModelLoading("the model was let go of because nobody used it; the next request loads it again", fraction=0.0)
MEMORY_RETRY_S = 30.0
"""After a load for which there was no memory; then a request tries again, and not every key."""

_log = logging.getLogger(__name__)


class MakeSupervisor(Protocol):
    """Makes the supervisor of a choice."""

    async def __call__(
        self,
        choice: Choice,
        folder: Path,
        *,
        on_change: Callable[[], None],
        on_ready: Callable[[Loaded], None],
        on_leave_asked: Callable[[float], None],
    ) -> Supervisor:
        """Make it; it calls back here. ``folder`` is where the workers' files are."""
        ...


class HostedModel:
    """One model, and the supervisor of its worker while it is in memory.

    Parameters
    ----------
    path
        As it was set; empty for the embedded model.
    look
        Chooses how to load it, in a thread; also tells the runtime folder.
    make
        Makes its supervisor.
    budget
        Admits its loads.
    hold
        Keeps its file from being removed by somebody while it is in use.
    idle_limit_s
        Seconds without a request after which it is put to sleep; 0: never.
    on_change, on_ready
        Called in the event loop: `state` has changed; it was loaded.
    """

    def __init__(
        self,
        path: str,
        *,
        look: Callable[[], tuple[Path, Choice]],
        make: MakeSupervisor,
        budget: Budget,
        hold: Callable[[str], Awaitable[Hold | None]],
        idle_limit_s: float,
        on_change: Callable[[HostedModel], None],
        on_ready: Callable[[HostedModel, Loaded], None],
    ) -> None:
        self.path = path
        self.choice: Choice | None = None
        self.supervisor: Supervisor | None = None
        self.notice = ""
        """Why it was loaded smaller than chosen; empty if it was not."""
        self._look = look
        self._make = make
        self._budget = budget
        self._take_hold = hold
        self._hold: Hold | None = None
        self._on_change = on_change
        self._on_ready = on_ready
        self._folder: Path | None = None
        self._failure: BotframeworkError | None = None
        self._failed_at = 0.0
        self._sleeps = False
        self._wakes_up = False
        """It was asleep, and is not ready yet."""
        self._may_shrink = True
        self._task: asyncio.Task[None] | None = None
        """Looks at the file, waits for memory, starts the supervisor."""
        self._is_awaited = False
        """Somebody waits in `load`, which does the same."""
        self._releasing: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._idle = IdleWatch(idle_limit_s, lambda: self.is_busy, self._doze)

    # --- where it stands ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> WorkerState:
        """Where the model stands."""
        if self._sleeps:
            return WorkerState.SLEEPING
        if self._failure is not None:
            return WorkerState.ERROR
        if self.supervisor is not None:
            return self.supervisor.state
        return WorkerState.STARTING if self._task is not None or self._is_awaited else WorkerState.STOPPED

    @property
    def last_error(self) -> BotframeworkError | None:
        """Why it cannot be used, or what happened to it last."""
        return self._failure or (self.supervisor.last_error if self.supervisor is not None else None)

    @property
    def name(self) -> str:
        """What the model calls itself; empty until its file was looked at."""
        return self.choice.name if self.choice is not None else ""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about how it is loaded: what had to be given up for want of memory."""
        return tuple(text for text in (self.choice.given_up if self.choice is not None else "", self.notice) if text)

    @property
    def is_busy(self) -> bool:
        """Whether requests are with it."""
        return self.supervisor is not None and self.supervisor.is_busy

    def require(self) -> Supervisor:
        """Its supervisor, for a request; a model that sleeps is woken. Raises as `require_awake` does."""
        self._idle.touch()
        if self._sleeps or self._may_have_room_now():
            self._wake_up()
        return self.require_awake()

    def require_awake(self) -> Supervisor:
        """Its supervisor, for a question that is not worth a load.

        Raises
        ------
        BotframeworkError
            There is none at this moment, and why.
        """
        if self._sleeps:
            raise ASLEEP.with_traceback(None)
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self.supervisor is None:
            if self.state is WorkerState.STOPPED:
                raise WorkerUnavailable("the model was let go of")
            raise ModelLoading("the model is being looked at", fraction=0.0)
        return self.supervisor

    # --- life ---------------------------------------------------------------------------------------------------------

    async def look(self) -> Choice:
        """Look at the file again, and decide how it is loaded.

        Raises
        ------
        BotframeworkError
            It cannot be loaded: its path, its file.
        """
        self._folder, choice = await asyncio.to_thread(self._look)
        self.choice = choice
        return choice

    def begin(self, *, anew: bool = False, asleep: bool = False) -> None:
        """Look at the file and load it, in the background; `state` and the listeners tell how it goes.

        Parameters
        ----------
        anew
            With a fresh budget of starts: somebody asked for it.
        asleep
            Only look at it: the first request loads it.
        """
        self._sleeps = False
        self._failure = None
        self._task = asyncio.create_task(self._begin(anew=anew, asleep=asleep), name=f"load {self.path or 'a model'}")
        self._tell()

    async def load(self, *, spare: frozenset[str] = frozenset(), may_shrink: bool = True) -> Loaded:
        """Load it and wait until it is ready.

        Parameters
        ----------
        spare
            Keys of workers that are not asked to leave for the sake of this one.
        may_shrink
            Whether a smaller context will do, if there is not enough memory.

        Raises
        ------
        BotframeworkError
            No further attempt will be made. Nothing is left of it then.
        """
        self._sleeps = False
        self._failure = None
        self._may_shrink = may_shrink
        self._is_awaited = True
        self._tell()
        try:
            choice = self.choice or await self.look()
            await self._start(choice, spare=spare)
            return await self.until_ready()
        except BaseException:
            await self.stop(WorkerUnavailable("the loading was given up"))
            raise
        finally:
            self._may_shrink, self._is_awaited = True, False

    async def until_ready(self) -> Loaded:
        """Wait for a load that has begun; raises as `load` does."""
        while True:
            supervisor, state = self.supervisor, self.state
            if state is WorkerState.READY and supervisor is not None and supervisor.loaded is not None:
                return supervisor.loaded
            if state in {WorkerState.ERROR, WorkerState.STOPPED, WorkerState.SLEEPING}:
                error = self.last_error or WorkerUnavailable("the loading was given up")
                raise error.with_traceback(None)
            self._changed.clear()
            await self._changed.wait()

    async def wake(self) -> None:
        """If it sleeps or is just waking up, wait until it is ready; else nothing. Raises as `load` does."""
        if self._sleeps:
            self._wake_up()
        if self._wakes_up:
            await self.until_ready()

    def _may_have_room_now(self) -> bool:
        """Whether there was no memory, a while ago: another window may have been closed."""
        now = asyncio.get_running_loop().time()
        return isinstance(self._failure, InsufficientMemory) and now - self._failed_at > MEMORY_RETRY_S

    def _wake_up(self) -> None:
        self.begin()
        self._wakes_up = True

    async def stop(self, reason: BotframeworkError) -> None:
        """Let go of it; its requests hear the reason."""
        # Nothing is waited for until all is under way: whoever is called off in here has no other chance.
        task, self._task = self._task, None
        ending = set() if task is None or task is asyncio.current_task() else {task}
        for each in ending:
            each.cancel()
        self._idle.stop()
        self._sleeps = self._wakes_up = False
        supervisor, self.supervisor = self.supervisor, None
        self._release_file()
        if supervisor is not None:
            self._let_go(supervisor.stop(reason))
        self._changed.set()
        if ending or self._releasing:
            await asyncio.wait(ending | self._releasing)

    async def retire(self, reason: BotframeworkError) -> None:
        """Let go of it when everything that is with it has been answered."""
        if self.supervisor is not None:
            await self.supervisor.until_idle()
        await self.stop(reason)

    async def restart(self) -> None:
        """Begin anew, with a fresh look at the file and a fresh budget of starts."""
        await self.stop(WorkerCrashed("the worker is being restarted because somebody asked for it"))
        self.notice = ""
        self.begin(anew=True)

    async def _begin(self, *, anew: bool, asleep: bool) -> None:
        try:
            # What had to be made smaller stays so until somebody restarts it.
            choice = self.choice if self.choice is not None and self.notice else await self.look()
            if asleep:
                self._sleeps = True
                self._tell()
            else:
                await self._start(choice, anew=anew)
        except Exception as error:  # noqa: BLE001 - also a defect must end in a state that people see
            self._fail(error)

    async def _start(self, choice: Choice, *, anew: bool = False, spare: frozenset[str] = frozenset()) -> None:
        """Wait for memory, and start the worker; its loading goes on without us."""
        assert self._folder is not None  # noqa: S101 - `look` came before
        self._hold = self._hold or await self._take_hold(choice.load.path)
        async with self._budget.admission(choice, self._folder, spare):
            supervisor = await self._make(
                choice,
                self._folder,
                on_change=self._supervisor_changed,
                on_ready=self._supervisor_ready,
                on_leave_asked=self._leave_asked,
            )
            self.supervisor = supervisor
            await (supervisor.restart() if anew else supervisor.start())
            while supervisor.state is WorkerState.STARTING:
                self._changed.clear()
                await self._changed.wait()

    def _release_file(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.release()

    def _fail(self, error: Exception) -> None:
        self._wakes_up = False
        self._failed_at = asyncio.get_running_loop().time()
        if isinstance(error, BotframeworkError):
            _log.error("%s", error)
            self._failure = error
        else:
            _log.error("the model could not be loaded", exc_info=error)
            self._failure = WorkerUnavailable(f"the model could not be loaded: {error}")
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        tell(self._on_change, self)

    # --- what the supervisor tells ------------------------------------------------------------------------------------

    def _supervisor_changed(self) -> None:
        supervisor = self.supervisor
        may_shrink = self._may_shrink and not self.notice
        if supervisor is not None and self.choice is not None and may_shrink and _lacks_memory(supervisor):
            self.supervisor = None
            trying = self._start_smaller(self.choice, supervisor.last_error)
            self._task = asyncio.create_task(trying, name="load with less")
        self._tell()

    async def _start_smaller(self, before: Choice, refusal: BotframeworkError | None) -> None:
        """The one more try after llama.cpp found too little memory."""
        from botframework.manager.shrink import explained, shrunk

        try:
            after = await asyncio.to_thread(shrunk, before)
            if after is None:  # There is nothing that could be smaller.
                self._fail(refusal or ModelDoesNotFit("there is not enough memory", path=before.load.path))
                return
            self.choice, self.notice = after, explained(before, after)
            _log.warning("%s", self.notice)
            await self._start(after)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _supervisor_ready(self, loaded: Loaded) -> None:
        if self.supervisor is None or self.supervisor.loaded is not loaded:
            return  # A worker that is being let go of has become ready in this very moment.
        self._idle.start()
        self._wakes_up = False
        tell(self._on_ready, self, loaded)

    def _leave_asked(self, idle_s: float) -> None:
        """Another daemon needs the memory. The worker has looked at its clocks: here counts what it cannot know yet."""
        if self.state is WorkerState.READY and self._idle.idle_s >= idle_s / 2:
            self._doze()

    def _doze(self) -> None:
        """Nobody has asked for anything for a while: the next request loads it again."""
        supervisor, self.supervisor = self.supervisor, None
        if supervisor is None or self._sleeps:
            return
        _log.info("%s is let go of: nobody uses it", self.name)
        self._idle.stop()
        self._release_file()
        self._sleeps = True
        self._let_go(supervisor.release(ASLEEP))
        self._tell()

    def _let_go(self, farewell: Coroutine[Any, Any, None]) -> None:
        """Carry a farewell out, whatever becomes of who waits for it: half of one would leave a worker behind."""
        releasing = asyncio.create_task(farewell, name="let go of a worker")
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)


def _lacks_memory(supervisor: Supervisor) -> bool:
    return supervisor.state is WorkerState.ERROR and isinstance(supervisor.last_error, ModelDoesNotFit)
