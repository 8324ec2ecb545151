"""From a running generation to the client: streaming, work-done progress, and the end of it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from botframework.errors import ModelLoading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from botframework.config import Settings
    from botframework.errors import BotframeworkError
    from botframework.lsp.messages import GenerateParams, ProgressToken
    from botframework.lsp.protocol import DaemonProtocol
    from botframework.manager.status import Snapshot
    from botframework.wire.messages import ChatRequest, Done, FimRequest, Loaded, SessionInfo, Token

PROGRESS = "$/progress"


class GenerationLike(Protocol):
    """One running request, as `manager` gives it."""

    def __aiter__(self) -> AsyncIterator[Token]: ...
    async def result(self) -> Done:
        """The end of the answer."""

    def cancel(self) -> None:
        """Stop it; any number of times."""


class RouterLike(Protocol):
    """What the LSP door needs of the manager; tests put a router of their own here."""

    async def start(self) -> None:
        """Begin to find or load the model, in the background."""

    async def stop(self) -> None:
        """Let go of the worker."""

    async def restart(self) -> None:
        """Start again after an error, with a fresh budget."""

    def complete(self, request: FimRequest) -> GenerationLike:
        """Fill in the middle."""

    def chat(self, request: ChatRequest) -> GenerationLike:
        """Answer a conversation."""

    async def snapshot(self) -> Snapshot:
        """The heartbeat's content."""

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """Sessions of this client."""

    async def close_session(self, name: str) -> tuple[SessionInfo, ...]:
        """Forget one of them."""

    def pause_reading(self) -> None:
        """The client is not reading: let the worker wait."""

    def resume_reading(self) -> None:
        """The client reads again."""


class RouterFactory(Protocol):
    """Makes the router once the settings are known."""

    def __call__(
        self,
        settings: Settings,
        *,
        on_change: Callable[[], None],
        on_ready: Callable[[Loaded], None],
        on_progress: Callable[[float], None],
    ) -> RouterLike:
        """Make it; the callbacks are called in the event loop."""
        ...


class House:
    """What the features share: the settings in force and the router, which comes after ``initialize``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.router: RouterLike | None = None
        self._failure: BotframeworkError | None = None
        self._decided = asyncio.Event()

    def open(self, router: RouterLike) -> None:
        """The router is there."""
        self.router = router
        self._decided.set()

    def fail(self, error: BotframeworkError) -> None:
        """There will be no router, and this is why."""
        self._failure = error
        self._decided.set()

    def require_router(self) -> RouterLike:
        """The router, now.

        Raises
        ------
        BotframeworkError
            It is not there yet, or there will be none.
        """
        if self.router is None:
            raise self._failure or ModelLoading("the daemon is starting", fraction=0.0)
        return self.router

    async def router_when_there(self) -> RouterLike:
        """Wait for the router, which takes the daemon some milliseconds after ``initialize``."""
        await self._decided.wait()
        return self.require_router()


async def deliver(protocol: DaemonProtocol, generation: GenerationLike, token: ProgressToken | None) -> Done:
    """Stream a generation to the client if it asked for that, and give its end; stop it if nobody waits any more."""
    try:
        if token is not None:
            async for piece in generation:
                protocol.stream(token, piece.text, piece.index)
        return await generation.result()
    finally:
        generation.cancel()


@contextmanager
def work_done(protocol: DaemonProtocol, params: GenerateParams, title: str) -> Iterator[None]:
    """Report beginning and end for a ``workDoneToken``."""
    token = params.work_done_token
    if token is None:
        yield
        return
    protocol.tell(PROGRESS, {"token": token, "value": {"kind": "begin", "title": title, "cancellable": False}})
    try:
        yield
    finally:
        protocol.tell(PROGRESS, {"token": token, "value": {"kind": "end"}})
