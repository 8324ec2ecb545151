"""What completion and chat share: the router, the common part of a request, and the way of an answer to the client."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from botframework.errors import ModelLoading
from botframework.wire.messages import Sampling
from botframework.wire.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from botframework import config
    from botframework.config import Settings
    from botframework.errors import BotframeworkError
    from botframework.lsp.messages import GenerateParams, ProgressToken
    from botframework.lsp.protocol import DaemonProtocol
    from botframework.manager.advice import Advice
    from botframework.manager.entry import ModelEntry
    from botframework.manager.shelf import Listing
    from botframework.manager.status import Snapshot
    from botframework.models.recommendation import Role
    from botframework.wire.messages import ChatRequest, Done, FimRequest, Inspection, Loaded, SessionInfo, Token

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

    @property
    def begins_with_thoughts(self) -> bool:
        """Whether an answer to a chat is first of all what the model thinks aloud."""

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

    async def clear_sessions(self) -> tuple[SessionInfo, ...]:
        """Forget all of them and delete the workspace's snapshots."""

    async def inspect(self, name: str) -> Inspection:
        """How a session's last completion was asked."""

    async def update(self, settings: Settings) -> None:
        """The settings have changed: take over what may change in a running daemon."""

    async def models(self) -> Listing:
        """The model files that can be chosen from."""

    async def load_model(self, path: str, roles: tuple[Role, ...] = ()) -> None:
        """Exchange the model of these roles, or of all; returns when the new one is ready."""

    async def wake(self, role: Role) -> None:
        """Load the role's model if it was let go of to save memory; returns when it is ready, at once if it is."""

    async def unload_model(self) -> None:
        """Let go of the model."""

    async def advice(self, roles: tuple[Role, ...]) -> Advice:
        """The machine, and the models that suit it; no roles: for everything."""

    async def pull(self, reference: str, on_progress: Callable[[int, int | None], None]) -> ModelEntry:
        """Download a model; called back with the bytes that are there and those of the whole, if that is known."""

    async def remove_model(self, path: str) -> None:
        """Delete a model that was downloaded."""

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
        root_uri: str,
        on_change: Callable[[], None],
        on_ready: Callable[[Loaded], None],
        on_progress: Callable[[float], None],
    ) -> RouterLike:
        """Make it; callbacks are called in the event loop. ``root_uri`` names the workspace, empty if there is none."""
        ...


class House:
    """What the features share: the settings in force and the router, which comes after ``initialize``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.router: RouterLike | None = None
        self.on_work: Callable[[], None] = lambda: None
        """Called when an answer that somebody waits for begins or ends; not for ghost text, which comes at any key."""
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

    async def awake(self, role: Role) -> RouterLike:
        """The router, now, with the role's model in memory.

        Raises
        ------
        BotframeworkError
            There is no router, or the model cannot be loaded.
        """
        router = self.require_router()
        await router.wake(role)
        return router

    @contextmanager
    def busy(self) -> Iterator[None]:
        """An answer is being worked on."""
        self.on_work()
        try:
            yield
        finally:
            self.on_work()

    async def router_when_there(self) -> RouterLike:
        """Wait for the router, which takes the daemon some milliseconds after ``initialize``."""
        await self._decided.wait()
        return self.require_router()


def request_fields(params: GenerateParams, settings: config.Chat | config.Completion | config.Edit) -> dict[str, Any]:
    """The fields that every request to the worker has: the client's words, the settings for what it left out."""
    return {
        "id": 0,
        "session": replace_surrogates(params.session),
        "max_tokens": params.max_tokens or settings.max_tokens,
        "sampling": params.sampling or default_sampling(settings),
        "stop": tuple(replace_surrogates(stop) for stop in params.stop),
        "deadline_ms": params.deadline_ms or settings.deadline_ms,
        "stream": params.partial_result_token is not None,
    }


def default_sampling(settings: config.Chat | config.Completion | config.Edit) -> Sampling:
    """How the settings want tokens to be chosen."""
    return Sampling(
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
        repeat_penalty=settings.repeat_penalty,
    )


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
def work_done(
    protocol: DaemonProtocol, token: ProgressToken | None, title: str, *, percentage: int | None = None
) -> Iterator[None]:
    """Report beginning and end under a client's token, if it brought one; between them it may cancel the running task.

    Only who begins with a percentage may report one.
    """
    if token is None:
        yield
        return
    protocol.begin_work(token)
    begin: dict[str, object] = {"kind": "begin", "title": title, "cancellable": True}
    if percentage is not None:
        begin["percentage"] = percentage
    protocol.tell(PROGRESS, {"token": token, "value": begin})
    try:
        yield
    finally:
        protocol.end_work(token)
        protocol.tell(PROGRESS, {"token": token, "value": {"kind": "end"}})
