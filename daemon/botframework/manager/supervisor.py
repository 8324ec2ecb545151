"""Keep one worker: find or start it, load the model, watch it, bring it back, and answer for it when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from botframework.errors import (
    BotframeworkError,
    ModelCorrupt,
    ModelError,
    ModelLoading,
    VersionMismatch,
    WireError,
    WorkerCrashed,
    WorkerStartFailed,
    WorkerUnavailable,
    from_wire,
)
from botframework.manager import ledger
from botframework.manager.attach import Attached, attach, greeting, last_words
from botframework.manager.dispatch import Dispatch
from botframework.manager.state import WorkerState, tell
from botframework.wire.messages import (
    ClearSessions,
    CloseSession,
    GetStats,
    Inspect,
    Inspection,
    LeaveAsked,
    ListSessions,
    Loaded,
    LoadFailed,
    LoadProgress,
    Sessions,
    Stats,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.manager.dispatch import Answer
    from botframework.manager.generation import Generation
    from botframework.manager.workplace import Workplace
    from botframework.wire.flight import FlightRecord
    from botframework.wire.messages import ChatRequest, FimRequest, LoadModel, Message, SessionInfo, ToDaemon

STOP_PATIENCE_S = 1.0
"""How long `Supervisor.stop` waits for a worker that should end because we were its last client; half of what an editor
grants the daemon."""
DEATH_PATIENCE_S = 0.3
"""Between the end of a connection and the end of its process; later, the worker lives and only refused us."""

_log = logging.getLogger(__name__)


class Supervisor:
    """One worker key, for as long as this daemon wants it.

    Used from one event loop, which runs in the main thread. The callbacks are called in the loop.
    """

    def __init__(
        self,
        load: LoadModel,
        place: Workplace,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_ready: Callable[[Loaded], None] = lambda _: None,
        on_progress: Callable[[float], None] = lambda _: None,
        on_leave_asked: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.state = WorkerState.STOPPED
        self.load_fraction = 0.0
        self.loaded: Loaded | None = None
        self.last_error: BotframeworkError | None = None
        self._load = load
        self._place = place
        self._on_change = on_change
        self._on_ready = on_ready
        self._on_progress = on_progress
        self._on_leave_asked = on_leave_asked
        self._dispatch = Dispatch(place.clock, self._note_harmless)
        self._attached: Attached | None = None
        self._flight: FlightRecord | None = None
        self._refusal: BotframeworkError | None = None
        self._clients = 0
        self._setbacks: deque[float] = deque(maxlen=ledger.BUDGET_STARTS)
        self._task: asyncio.Task[None] | None = None
        self._notes: set[asyncio.Task[None]] = set()

    @property
    def worker_pid(self) -> int:
        """The worker's process; 0 when there is none."""
        return 0 if self._attached is None else self._attached.pid

    # --- what the rooms above ask for ---------------------------------------------------------------------------------

    def submit(self, request: FimRequest | ChatRequest) -> Generation:
        """Send a request to the worker. Its id and fingerprint are set here.

        Raises
        ------
        BotframeworkError
            It cannot be computed now: the model is loading, the worker is gone or busy, the request is refused.
        """
        if self.state is WorkerState.READY:
            return self._dispatch.submit(request)
        raise self.unready_error()

    def unready_error(self) -> BotframeworkError:
        """Why nothing can be computed at this moment."""
        if self.state is WorkerState.STOPPED:
            return WorkerUnavailable("the worker has been stopped")
        if self.last_error is not None and (self.state is WorkerState.ERROR or isinstance(self.last_error, ModelError)):
            return self.last_error.with_traceback(None)
        return ModelLoading(
            "the model is being loaded" if self.last_error is None else "the worker is being restarted",
            fraction=self.load_fraction,
        )

    @property
    def is_busy(self) -> bool:
        """Whether requests are with the worker."""
        return len(self._dispatch) > 0

    async def until_idle(self) -> None:
        """Wait for a moment in which neither a request nor a question is with the worker."""
        await self._dispatch.until_empty()

    async def stats(self) -> Stats:
        """Ask the worker how it is."""
        answer = await self._ask(lambda number: GetStats(id=number), Stats)
        self._clients = answer.clients
        return answer

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """List this daemon's KV sessions."""
        return (await self._ask(lambda number: ListSessions(id=number), Sessions)).sessions

    async def close_session(self, name: str) -> tuple[SessionInfo, ...]:
        """Forget a session; those that are left in memory are returned."""
        return (await self._ask(lambda number: CloseSession(id=number, session=name), Sessions)).sessions

    async def clear_sessions(self) -> tuple[SessionInfo, ...]:
        """Forget all sessions and delete their snapshots; what remains is returned."""
        return (await self._ask(lambda number: ClearSessions(id=number), Sessions)).sessions

    async def inspect(self, name: str) -> Inspection:
        """How a session's last completion was asked."""
        return await self._ask(lambda number: Inspect(id=number, session=name), Inspection)

    async def _ask(self, make: Callable[[int], Message], kind: type[Answer]) -> Answer:
        if self._attached is None:
            raise self.unready_error()
        return await self._dispatch.ask(make, kind)

    def use_snapshots(self, folder: str, limit_bytes: int) -> None:
        """Keep our sessions in this folder from now on; empty: nowhere."""
        place = replace(self._place, snapshot_dir=folder, snapshot_bytes=limit_bytes)
        if place == self._place:
            return
        self._greet_again(place)

    def _greet_again(self, place: Workplace) -> None:
        self._place = place
        if self._attached is not None:
            self._attached.link.connection.send(greeting(place))

    def pause_reading(self) -> None:
        """Take nothing more from the worker: our own client is behind."""
        self._dispatch.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._dispatch.resume_reading()

    async def start(self) -> None:
        """Begin to find or start the worker; `state` and the callbacks tell how it goes."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"supervise {self._place.key}")
            self._set(WorkerState.STARTING)

    async def stop(self, reason: BotframeworkError | None = None) -> None:
        """Let go of the worker, which ends by itself if nobody else uses it; its requests hear the reason."""
        attached = await self._let_go(reason or WorkerUnavailable("the daemon is stopping"))
        self._set(WorkerState.STOPPED)
        if attached is not None and attached.process is not None and self._is_needed_no_more():
            await attached.has_ended(STOP_PATIENCE_S)

    async def release(self, reason: BotframeworkError) -> None:
        """Stop, for the sake of the memory: the worker is not to outlive us for our sake."""
        if self._place.keep_alive_s:
            self._greet_again(replace(self._place, keep_alive_s=0.0))
        await self.stop(reason)

    async def restart(self) -> None:
        """Begin anew, with a fresh budget: somebody asked for it.

        Raises
        ------
        WorkerStartFailed
            Another daemon is in the middle of a start.
        """
        attached = await self._let_go(WorkerCrashed("the worker is being restarted because somebody asked for it"))
        self.last_error = None
        self._set(WorkerState.STARTING)
        if attached is not None and self._is_needed_no_more():
            await attached.has_ended(STOP_PATIENCE_S)
        self._setbacks.clear()
        # Who has killed workers is still known: a restart does not make a poisonous request wholesome.
        await self._place.remember(lambda memory: ledger.Ledger(suspects=memory.suspects))
        await self.start()

    def _is_needed_no_more(self) -> bool:
        """Whether the worker ends when we leave, as far as we know."""
        return self._clients <= 1 and self._place.keep_alive_s == 0

    async def _let_go(self, reason: BotframeworkError) -> Attached | None:
        tasks = [*self._notes, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None
        attached, self._attached = self._attached, None
        self._dispatch.fail_all(reason)
        self.loaded = None
        if attached is not None:
            attached.link.on_message = attached.link.on_lost = None
            attached.forget()
        return attached

    # --- the life of the worker ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                final = await self._one_life()
                if final is not None:
                    break
                await asyncio.sleep(self._place.jittered(self._pause_s()))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect here must end in a state that people see
            _log.exception("supervising the worker failed")
            final = WorkerUnavailable(f"supervising the worker failed: {error}")
        self.last_error = final
        _log.error("no further attempt with the worker: %s", final)
        self._set(WorkerState.ERROR)

    async def _one_life(self) -> BotframeworkError | None:
        """Find or start a worker and stay with it until it is gone; the error if there is to be no other after it."""
        self._flight = self._refusal = None
        try:
            place = self._place
            attached = await attach(place)
            if self._place != place:  # what we said in the handshake is no longer true
                attached.link.connection.send(greeting(self._place))
            refusal = await self._serve(attached)
            setback = await self._bury(attached)
            if refusal is not None:
                return refusal
        except WorkerUnavailable as error:
            return self._named(error) if error.data.get("quarantined") else error
        except VersionMismatch as error:
            return error
        except BotframeworkError as error:
            setback = error
        if isinstance(setback, ModelCorrupt) and self._dispatch.memory.model_is_quarantined:
            return setback
        _log.warning("%s", setback)
        self._setbacks.append(self._place.clock())
        if self._recent_setbacks() >= ledger.BUDGET_STARTS:
            return WorkerUnavailable(f"{ledger.BUDGET_STARTS} attempts with the worker have failed: {setback}")
        self.last_error = setback
        self._set(WorkerState.RESTARTING)
        return None

    def _recent_setbacks(self) -> int:
        since = self._place.clock() - ledger.BUDGET_WINDOW_S
        return sum(moment > since for moment in self._setbacks)

    def _pause_s(self) -> float:
        pauses = self._place.backoff_s
        return pauses[min(max(self._recent_setbacks(), 1), len(pauses)) - 1]

    async def _serve(self, attached: Attached) -> BotframeworkError | None:
        """Load the model, or join its loading, and wait for the end; the error if the worker refused the model."""
        link = attached.link
        self._attached = attached
        self._clients = 0
        self.loaded = None
        self.load_fraction = 0.0
        self._dispatch.memory = attached.memory
        self._dispatch.open(link.connection)
        link.on_message = self._take
        link.on_lost = self._lost
        # Also told by the connection, but not while it is paused.
        attached.ended.add_done_callback(lambda _: self._dispatch.read_to_the_end())
        link.connection.send(self._load)
        self._set(WorkerState.LOADING)
        if link.lost.done():
            self._lost(link.lost.result())
        await asyncio.shield(link.lost)
        return self._refusal

    def _take(self, message: ToDaemon) -> None:
        match message:
            case LoadProgress():
                self.load_fraction = min(1.0, max(0.0, message.fraction))
                tell(self._on_progress, self.load_fraction)
            case Loaded():
                self.loaded = message
                self.load_fraction = 1.0
                self.last_error = None
                self._set(WorkerState.READY)
                tell(self._on_ready, message)
            case LoadFailed():
                self._refusal = from_wire(message.kind, message.message, message.data)
                if self._attached is not None:
                    self._attached.link.connection.close()  # there is nothing more to say
            case LeaveAsked():
                tell(self._on_leave_asked, message.idle_s)
            case _:
                self._dispatch.take(message)

    def _lost(self, error: Exception | None) -> None:
        """The connection has ended: whoever waits is told at once; why it ended is found out afterwards."""
        if self._attached is None:
            return
        # Now, because the next worker writes into the same file.
        self._flight = self._place.flight_of(self._attached.pid)
        reason = self._flight.last_words if self._flight is not None else ""
        reason = reason or (str(error) if error is not None else "")
        self._dispatch.fail_all(
            WorkerCrashed(
                "the worker ended while the request was with it" + (f": {reason}" if reason else ""),
                retryAfterMs=round(self._place.backoff_s[0] * 1_000),
            )
        )
        if self._refusal is None and self.state in {WorkerState.LOADING, WorkerState.READY}:
            self._set(WorkerState.RESTARTING)

    async def _bury(self, attached: Attached) -> BotframeworkError:
        """Find out why the connection ended, and note a death in the ledger if it was one."""
        flight, fault = self._flight, attached.link.lost.result()
        # In the phase before, llama.cpp's own start has failed: a build for another processor, a missing library.
        loading = self.loaded is None and (flight is None or flight.phase != "starting")
        self.loaded = None
        dead = await attached.has_ended(DEATH_PATIENCE_S)
        attached.forget()
        self._attached = None
        if not dead:
            return WorkerCrashed(f"the link to the worker has ended: {fault or 'the worker closed it'}")
        words = await last_words(attached.process, flight)
        if self._refusal is not None or (flight is not None and flight.phase == "stopping"):
            return WorkerCrashed(words)  # it said goodbye: nothing for the ledger
        now = self._place.clock()

        def note(memory: ledger.Ledger) -> ledger.Ledger:
            # A link that we ended because of what was on it says nothing about the requests.
            fatal = flight.fingerprints if flight is not None and not isinstance(fault, WireError) else ()
            return memory.died(attached.pid, now, since=attached.since, loading=loading, fatal=fatal, last_words=words)

        try:
            self._dispatch.memory = await self._place.remember(note)
        except WorkerStartFailed as error:
            _log.warning("the death of a worker is known to this daemon alone: %s", error)
            self._dispatch.memory = note(self._dispatch.memory)
        return self._named(WorkerCrashed(words)) if loading else WorkerCrashed(words)

    def _named(self, error: BotframeworkError) -> ModelCorrupt:
        """A death while loading is the file's doing."""
        given_up = self._dispatch.memory.model_is_quarantined or isinstance(error, WorkerUnavailable)
        hint = "; it is not loaded again until the file changes or a restart is asked for" if given_up else ""
        return ModelCorrupt(f"{self._load.path} cannot be loaded: {error.message}{hint}", path=self._load.path)

    def _note_harmless(self, fingerprint: bytes) -> None:
        """A suspect was computed alone and nothing happened."""
        self._dispatch.memory = self._dispatch.memory.cleared(fingerprint)
        task = asyncio.create_task(self._clear(fingerprint))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _clear(self, fingerprint: bytes) -> None:
        try:
            await self._place.remember(lambda memory: memory.cleared(fingerprint))
        except WorkerStartFailed as error:
            _log.info("a suspect could not be cleared, it will be computed alone for longer: %s", error)

    def _set(self, state: WorkerState) -> None:
        if self.state is not state:
            _log.info("worker %s: %s", self._place.key, state.value)
            self.state = state
            tell(self._on_change)
