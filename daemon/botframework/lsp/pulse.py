"""What the editor hears without asking: heartbeats, the model's loading, its readiness, the server's health."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import BotframeworkError
from botframework.lsp.generate import PROGRESS, work_done
from botframework.lsp.messages import ModelReady, ServerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botframework.lsp.generate import House
    from botframework.lsp.messages import ProgressToken
    from botframework.lsp.protocol import DaemonProtocol
    from botframework.manager.status import Snapshot
    from botframework.wire.messages import Loaded

logger = logging.getLogger(__name__)

HEARTBEAT = "$/botframework/heartbeat"
MODEL_READY = "$/botframework/modelReady"
SERVER_STATUS = "experimental/serverStatus"
CREATE_PROGRESS = "window/workDoneProgress/create"
TITLE = "Loading model"
"""No percent sign in any text of a progress: one editor's mode line takes it for a format."""

CREATE_DEADLINE_S = 2.0
"""A client that does not answer by then shows no progress; nothing waits for it."""
SNAPSHOT_DEADLINE_S = 1.0
"""The worker answers from a thread of its own; without an answer the last known figures are told."""
SHORTEST_PAUSE_S = 0.05
"""Between two heartbeats, however often the state changes."""


class Tally:
    """Suggestions shown and accepted since midnight, local time."""

    def __init__(self) -> None:
        self._day = time.localtime()[:3]
        self._shown = 0
        self._accepted = 0

    def count_shown(self) -> None:
        """A suggestion was sent."""
        self._turn_page()
        self._shown += 1

    def count_accepted(self) -> None:
        """A suggestion was taken over."""
        self._turn_page()
        self._accepted += 1

    def fill(self, snapshot: Snapshot) -> Snapshot:
        """Put the figures into a snapshot."""
        self._turn_page()
        return msgspec.structs.replace(
            snapshot, suggestions_shown_today=self._shown, suggestions_accepted_today=self._accepted
        )

    def _turn_page(self) -> None:
        today = time.localtime()[:3]
        if today != self._day:
            self._day, self._shown, self._accepted = today, 0, 0


class Pulse:
    """Tells the client how the daemon is, every few seconds and whenever the state changes."""

    def __init__(self, protocol: DaemonProtocol, house: House, tally: Tally) -> None:
        self.wants_server_status = False
        """Whether the client declared ``experimental.serverStatusNotification``."""
        self.is_paused: Callable[[], bool] = lambda: False
        """Whether ghost text is switched off."""
        self.loading = LoadingProgress(protocol)
        self._protocol = protocol
        self._house = house
        self._tally = tally
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last: Snapshot | None = None
        self._last_status: ServerStatus | None = None

    def start(self) -> None:
        """Begin to beat."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="heartbeat")

    def stop(self) -> None:
        """The daemon is leaving."""
        if self._task is not None:
            self._task.cancel()
        self.loading.stop()

    def changed(self) -> None:
        """The state changed: beat now."""
        self._changed.set()

    def ready(self, loaded: Loaded) -> None:
        """A model was loaded."""
        self.loading.end()
        self._protocol.tell(
            MODEL_READY,
            ModelReady(
                model=loaded.model,
                devices=loaded.devices,
                n_threads=loaded.n_threads,
                n_ctx_fim=loaded.n_ctx_fim,
                n_ctx_chat=loaded.n_ctx_chat,
                load_ms=loaded.load_ms,
                prefill_tokens_per_s=loaded.prefill_tokens_per_s,
                decode_tokens_per_s=loaded.decode_tokens_per_s,
                llama_build=loaded.llama_build,
            ),
        )
        self.changed()

    async def snapshot(self) -> Snapshot:
        """The heartbeat's content, now; the last known one if the worker does not answer."""
        router = await self._house.router_when_there()
        try:
            async with asyncio.timeout(SNAPSHOT_DEADLINE_S):
                self._last = await router.snapshot()
        except TimeoutError:
            if self._last is None:
                raise BotframeworkError("the worker does not answer") from None
        snapshot = self._tally.fill(self._last)
        if snapshot.state == "ready" and self.is_paused():
            snapshot = msgspec.structs.replace(snapshot, state="paused")
        return snapshot

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._beat()
            except BotframeworkError as error:
                logger.debug("no heartbeat: %s", error)
            except Exception:
                logger.exception("no heartbeat")
            await asyncio.sleep(SHORTEST_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._house.settings.heartbeat_s - SHORTEST_PAUSE_S):
                    await self._changed.wait()

    async def _beat(self) -> None:
        snapshot = await self.snapshot()
        self._protocol.tell(HEARTBEAT, snapshot, replaces=HEARTBEAT)
        status = server_status(snapshot)
        if self.wants_server_status and status != self._last_status:
            self._last_status = status
            self._protocol.tell(SERVER_STATUS, status, replaces=SERVER_STATUS)
        if snapshot.state in {"error", "stopped", "sleeping"}:
            self.loading.end()


def server_status(snapshot: Snapshot) -> ServerStatus:
    """The one line that editors show beside the server's name."""
    name = snapshot.model_name or "no model"
    if snapshot.state == "error":
        words = snapshot.error.message if snapshot.error is not None else "the model cannot be used"
        return ServerStatus(health="error", quiescent=True, message=words)
    if snapshot.state in {"ready", "paused", "sleeping", "stopped"}:
        message = f"{snapshot.state}: {name}" if snapshot.state in {"paused", "sleeping"} else name
        return ServerStatus(health="ok", quiescent=True, message=message)
    return ServerStatus(
        health="warning" if snapshot.state == "restarting" else "ok",
        quiescent=False,
        message=f"{snapshot.state}: {name}",
    )


class LoadingProgress:
    """The loading of a model as work-done progress; at most one at a time.

    A client that never answers the request for a token gets no progress, and nothing else changes.
    """

    def __init__(self, protocol: DaemonProtocol) -> None:
        self.is_supported = False
        """Whether the client declared ``window.workDoneProgress`` and has said ``initialized``."""
        self._protocol = protocol
        self._numbers = itertools.count(1)
        self._asking: asyncio.Task[None] | None = None
        self._token: str | None = None
        self._lent: ProgressToken | None = None
        """The token of a request for loading."""
        self._percentage = 0

    @contextlib.contextmanager
    def shown_as(self, token: ProgressToken | None) -> Iterator[None]:
        """Show the loading that the running task waits for under the client's token, if it brought one."""
        if token is None:
            try:
                yield
            finally:
                self.end()
            return
        with work_done(self._protocol, token, TITLE, percentage=0):
            self._lent = token
            try:
                yield
            finally:
                if self._lent == token:
                    self._lent = None

    def report(self, fraction: float) -> None:
        """The model is loaded this far."""
        self._percentage = max(0, min(100, int(fraction * 100)))
        if self._lent is not None:
            value = {"kind": "report", "percentage": self._percentage}
            self._protocol.tell(PROGRESS, {"token": self._lent, "value": value}, ("progress", self._lent))
        elif self._token is not None:
            self._tell({"kind": "report", "percentage": self._percentage}, ("progress", self._token))
        elif self.is_supported and self._asking is None:
            self._asking = asyncio.create_task(self._begin(f"botframework/load/{next(self._numbers)}"))

    def end(self) -> None:
        """Loading is over, whatever came of it."""
        self.stop()
        if self._token is not None:
            self._tell({"kind": "end"})
            self._token = None

    def stop(self) -> None:
        """Do not begin any more."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _begin(self, token: str) -> None:
        try:
            await self._protocol.ask(CREATE_PROGRESS, {"token": token}, CREATE_DEADLINE_S)
        except (TimeoutError, BotframeworkError):
            self.is_supported = False
            return
        self._token = token
        value = {"kind": "begin", "title": TITLE, "cancellable": False, "percentage": self._percentage}
        self._tell(value)

    def _tell(self, value: dict[str, object], replaces: tuple[str, str] | None = None) -> None:
        self._protocol.tell(PROGRESS, {"token": self._token, "value": value}, replaces)
