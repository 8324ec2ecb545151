"""An editor and a model in one process: the completion of the LSP door with a router whose answers the test speaks."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from botframework.config import Settings
from botframework.config.settings import Completion as CompletionSettings
from botframework.lsp.completion import Completion
from botframework.lsp.documents import Documents
from botframework.lsp.generate import House
from botframework.lsp.pulse import Tally
from botframework.manager.status import Snapshot
from botframework.wire.messages import Done, FimRequest, Timings, Token, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from botframework.errors import BotframeworkError

URI = "file:///a.py"
DEADLINE_S = 10.0


class Spoken:
    """One generation; the test says what it says."""

    def __init__(self, request: FimRequest, *, goes_on: bool = False) -> None:
        self.request = request
        self._goes_on = goes_on
        self.is_cancelled = False
        self._pieces: asyncio.Queue[Token | None] = asyncio.Queue()
        self._end: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self.said: list[str] = []

    @property
    def is_running(self) -> bool:
        """Whether the worker would be busy with it."""
        return not self._end.done() and not self.is_cancelled

    @property
    def is_prefill(self) -> bool:
        """Whether it only reads."""
        return self.request.max_tokens == 0

    def say(self, text: str) -> Spoken:
        """Some more text."""
        self._pieces.put_nowait(Token(id=1, text=text, index=len(self.said)))
        self.said.append(text)
        return self

    def end(self, text: str = "", **fields: Any) -> None:
        """The last text, and the end."""
        if text:
            self.say(text)
        values: dict[str, Any] = {"finish_reason": "stop", "mean_logprob": -0.5} | fields
        usage = Usage(prompt_tokens=7, cached_tokens=3, evaluated_tokens=4, completion_tokens=len(self.said))
        timings = Timings(queue_ms=0.0, first_token_ms=1.0, prompt_ms=1.0, decode_ms=2.0)
        if not self._end.done():
            self._end.set_result(Done(id=1, text="", usage=usage, timings=timings, **values))
        self._pieces.put_nowait(None)

    def fail(self, error: BotframeworkError) -> None:
        """The worker gives up."""
        self._end.set_exception(error)
        self._end.exception()  # Whether anybody asks is not the loop's business.
        self._pieces.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Token]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def result(self) -> Done:
        """The end."""
        return await asyncio.shield(self._end)

    def cancel(self) -> None:
        """Nobody wants it."""
        if not self._end.done():
            self.is_cancelled = True
            if not self._goes_on:
                self.end(finish_reason="cancelled")


class SpokenRouter:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Spoken] = []
        self.error: Exception | None = None
        """Raised instead of an answer."""
        self.reads_at_once = True
        """Prompts that are only read are read at once."""
        self.keeps_cancelled = False
        """What is cancelled ends only when the test says so, as in a worker that is in the middle of something."""
        self.most_running = 0
        """Generations of one document at the same time, without those in the background and cancelled ones."""

    def complete(self, request: FimRequest) -> Spoken:
        """Begin a generation."""
        if self.error is not None:
            raise self.error
        made = Spoken(request, goes_on=self.keeps_cancelled)
        self.asked.append(made)
        running = [one for one in self.asked if one.is_running and one.request.priority != "background"]
        self.most_running = max(self.most_running, len(running))
        if made.is_prefill and self.reads_at_once:
            made.end()
        return made

    @property
    def ghosts(self) -> list[Spoken]:
        """Generations that somebody waits for."""
        return [one for one in self.asked if not one.is_prefill and one.request.priority == "completion"]

    @property
    def prefills(self) -> list[Spoken]:
        """Prompts that were only read."""
        return [one for one in self.asked if one.is_prefill]

    @property
    def prefetches(self) -> list[Spoken]:
        """Generations in the background."""
        return [one for one in self.asked if one.request.priority == "background"]


class GhostEditor:
    """Types into one document, moves its cursor, asks for suggestions and takes them over."""

    def __init__(self, text: str = "", *, uri: str = URI, **settings: Any) -> None:
        settings = {"debounce_ms": 0} | settings
        self.house = House(Settings(completion=CompletionSettings(**settings)))
        self.router = SpokenRouter()
        self.house.open(self.router)  # type: ignore[arg-type]
        self.documents = Documents()
        self.tally = Tally()
        self.completion = Completion(None, self.house, self.documents, self.tally)  # type: ignore[arg-type]
        self.uri = uri
        self.version = 1
        self.cursor = (0, 0)
        self.open(text)

    # --- documents ----------------------------------------------------------------------------------------------------

    def open(self, text: str, uri: str | None = None) -> None:
        """Open a document; the cursor of the first one is at its end."""
        uri = uri or self.uri
        item = types.TextDocumentItem(uri, "python", 1, text)
        self.documents.open(uri, 1, text)
        self.completion.did_open(types.DidOpenTextDocumentParams(item))
        if uri == self.uri:
            document = self.documents.get(uri)
            assert document is not None
            self.cursor = document.position(len(document))

    def close(self) -> None:
        """Close it."""
        self.documents.close(self.uri)
        self.completion.did_close(self.uri)

    @property
    def text(self) -> str:
        """The whole document."""
        document = self.documents.get(self.uri)
        assert document is not None
        return document.text

    def change(self, *changes: tuple[tuple[int, int], tuple[int, int], str]) -> None:
        """Send edits, all in one notification; the cursor stays."""
        self.version += 1
        events = [
            types.TextDocumentContentChangePartial(types.Range(types.Position(*start), types.Position(*end)), text)
            for start, end, text in changes
        ]
        identifier = types.VersionedTextDocumentIdentifier(self.version, self.uri)
        params = types.DidChangeTextDocumentParams(identifier, events)
        self.documents.change(self.uri, self.version, events)
        self.completion.did_change(params)

    def type(self, text: str, *, behind: str = "", over: int = 0) -> None:
        """Type at the cursor; ``behind`` is what the editor puts behind it, ``over`` what is typed over."""
        line, character = self.cursor
        self.change(((line, character), (line, character + over), text + behind))
        document = self.documents.get(self.uri)
        assert document is not None
        self.cursor = document.position(document.offset(line, character) + len(text))

    def backspace(self, count: int = 1) -> None:
        """Delete before the cursor, within the line."""
        line, character = self.cursor
        self.change(((line, character - count), (line, character), ""))
        self.cursor = (line, character - count)

    # --- suggestions --------------------------------------------------------------------------------------------------

    def ask(
        self, *, is_invoked: bool = False, selected: types.SelectedCompletionInfo | None = None
    ) -> asyncio.Future[types.InlineCompletionList]:
        """Ask at the cursor, and do not wait."""
        kind = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(kind.Invoked if is_invoked else kind.Automatic, selected),
            types.TextDocumentIdentifier(self.uri),
            types.Position(*self.cursor),
        )
        answer = self.completion.inline(params)
        if inspect.isawaitable(answer):
            return asyncio.ensure_future(answer)
        done: asyncio.Future[types.InlineCompletionList] = asyncio.get_running_loop().create_future()
        done.set_result(answer)
        return done

    async def asked(self, number: int = 1) -> Spoken:
        """Wait until so many generations were begun; the last of them."""
        await self.until(lambda: len(self.router.ghosts) >= number)
        return self.router.ghosts[number - 1]

    async def suggestion(self, text: str, **end: Any) -> types.InlineCompletionItem | None:
        """Ask, let the model answer with this text, and give what is to be shown."""
        known = len(self.router.ghosts)
        answer = self.ask()
        (await self.asked(known + 1)).end(text, **end)
        return only(await self.answer(answer))

    async def answer(self, asked: asyncio.Future[types.InlineCompletionList]) -> types.InlineCompletionList:
        """Wait for an answer."""
        return await asyncio.wait_for(asked, DEADLINE_S)

    async def shown(self) -> str | None:
        """Ask, and give the text of an answer that needs no model."""
        known = len(self.router.ghosts)
        item = only(await self.answer(self.ask()))
        assert len(self.router.ghosts) == known
        return None if item is None else str(item.insert_text)

    def accept(self, item: types.InlineCompletionItem, *, tell: bool = True) -> None:
        """Take a suggestion over, as VS Code does: the edit first, then its command."""
        assert item.range is not None
        start, end, text = item.range.start, item.range.end, str(item.insert_text)
        self.cursor = (start.line, start.character)
        self.type(text, over=end.character - start.character)
        if tell and item.command is not None and item.command.arguments:
            self.completion.accepted(str(item.command.arguments[0]))

    @property
    def counts(self) -> tuple[int, int]:
        """Suggestions shown and accepted."""
        snapshot = self.tally.fill(Snapshot(state="ready"))
        return snapshot.suggestions_shown_today, snapshot.suggestions_accepted_today

    @property
    def outcome(self) -> tuple[str, str]:
        """Why the last request was not shown, and where the suggestion came from."""
        found = self.completion.last_outcome(self.uri)
        return found.reason, found.source

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that nobody announces."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)


def only(answer: types.InlineCompletionList) -> types.InlineCompletionItem | None:
    """The one item, if there is one."""
    assert len(answer.items) <= 1
    return answer.items[0] if answer.items else None
