"""Position to suggestion: ``textDocument/inlineCompletion`` and ``botframework/complete``.

Ghost text must never disturb: whatever goes wrong, an inline completion is answered with an empty list, because editors
show an error of this request as a pop-up at every keystroke.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from typing import TYPE_CHECKING

from lsprotocol import types

from botframework.errors import BotframeworkError, InvalidParams
from botframework.lsp.chat import default_sampling
from botframework.lsp.documents import CONTEXT_CHARS, clean
from botframework.lsp.generate import deliver, work_done
from botframework.lsp.messages import ACCEPTED_COMMAND, CompleteResult
from botframework.wire.messages import MAX_SESSION_CHARS, FimRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from botframework import config
    from botframework.lsp.documents import Documents, Place
    from botframework.lsp.generate import House
    from botframework.lsp.messages import CompleteParams
    from botframework.lsp.protocol import DaemonProtocol
    from botframework.lsp.pulse import Tally
    from botframework.wire.messages import FinishReason

logger = logging.getLogger(__name__)

CLOSERS = frozenset(")]}>\"'`;:, \t")
"""What editors put after the cursor by themselves; a line whose rest is only this is at its end for the writer."""
OPENERS = {")": "(", "]": "[", "}": "{", ">": "<"}
QUOTES = "\"'`"
CUT_SHORT: frozenset[FinishReason] = frozenset({"length", "deadline"})


class _Turn:
    """One inline request of a document, until a newer one takes its place."""

    def __init__(self) -> None:
        self.task: asyncio.Task[object] | None = None
        self._superseded = False

    def is_superseded(self) -> bool:
        return self._superseded

    def supersede(self) -> None:
        self._superseded = True
        if self.task is not None:
            self.task.cancel()


class Completion:
    """Answers completion requests; at most one inline request per document is under way."""

    def __init__(self, protocol: DaemonProtocol, house: House, documents: Documents, tally: Tally) -> None:
        self._protocol = protocol
        self._house = house
        self._documents = documents
        self._tally = tally
        self._turns: dict[str, _Turn] = {}
        self._next_id = itertools.count(1)

    # --- ghost text ---------------------------------------------------------------------------------------------------

    def inline(
        self, params: types.InlineCompletionParams
    ) -> types.InlineCompletionList | Awaitable[types.InlineCompletionList]:
        """Answer ``textDocument/inlineCompletion``. The text is taken now: the next edit may come before the answer."""
        uri = params.text_document.uri
        self.supersede(uri)
        document = self._documents.get(uri)
        if document is None or not self._house.settings.completion.enabled or self._house.router is None:
            return _nothing()
        turn = self._turns[uri] = _Turn()
        place = document.place(params.position.line, params.position.character)
        return self._inline(uri, place, turn)

    def supersede(self, uri: str) -> None:
        """The document's running inline request is of no use any more; it gets an empty list."""
        turn = self._turns.pop(uri, None)
        if turn is not None:
            turn.supersede()

    async def _inline(self, uri: str, place: Place, turn: _Turn) -> types.InlineCompletionList:
        turn.task = asyncio.current_task()
        if turn.is_superseded():
            return _nothing()
        settings = self._house.settings.completion
        try:
            if settings.debounce_ms:
                await asyncio.sleep(settings.debounce_ms / 1000)
            request = inline_request(uri, place, settings)
            generation = self._house.require_router().complete(request)
            done = await deliver(self._protocol, generation, None)
        except asyncio.CancelledError:
            if turn.is_superseded():
                return _nothing()
            raise
        except BotframeworkError as error:
            logger.debug("no suggestion: %s", type(error).__name__)
            return _nothing()
        except Exception:
            logger.exception("no suggestion, because of a defect")
            return _nothing()
        finally:
            if self._turns.get(uri) is turn:
                del self._turns[uri]
        if turn.is_superseded() or done.finish_reason == "cancelled":
            return _nothing()
        text = trimmed(done.text, place.after, done.finish_reason)
        return self._suggestion(text, place) if text.strip() else _nothing()

    def _suggestion(self, text: str, place: Place) -> types.InlineCompletionList:
        self._tally.count_shown()
        suggestion_id = str(next(self._next_id))
        position = types.Position(place.line, place.character)
        item = types.InlineCompletionItem(
            insert_text=text,
            # Without a range VS Code replaces the word at the cursor and shows nothing.
            range=types.Range(position, position),
            command=types.Command(title="Accepted", command=ACCEPTED_COMMAND, arguments=[suggestion_id]),
        )
        return types.InlineCompletionList(items=[item])

    # --- botframework/complete ----------------------------------------------------------------------------------------

    def complete(self, params: CompleteParams) -> Awaitable[CompleteResult]:
        """Answer ``botframework/complete``, with the document's text and the settings of this moment."""
        return self._complete(params, self._request(params))

    async def _complete(self, params: CompleteParams, request: FimRequest) -> CompleteResult:
        # Begun in here, not before: a task that is cancelled before its first step could not end it.
        generation = self._house.require_router().complete(request)
        with work_done(self._protocol, params, "Completing"):
            done = await deliver(self._protocol, generation, params.partial_result_token)
        return CompleteResult(text=done.text, finish_reason=done.finish_reason, usage=done.usage, timings=done.timings)

    def _request(self, params: CompleteParams) -> FimRequest:
        settings = self._house.settings.completion
        session = params.session
        if params.text_document is not None and params.position is not None:
            document = self._documents.get(params.text_document.uri)
            if document is None:
                raise InvalidParams("/textDocument/uri: the document is not open", pointer="/textDocument/uri")
            place = document.place(params.position.line, params.position.character)
            prefix, suffix = place.before, place.after
            session = session or document_session(params.text_document.uri)
        else:
            prefix, suffix = clean((params.prefix or "")[-CONTEXT_CHARS:]), clean((params.suffix or "")[:CONTEXT_CHARS])
        return FimRequest(
            id=0,
            session=clean(session),
            prefix=prefix,
            suffix=suffix,
            max_tokens=params.max_tokens or settings.max_tokens,
            sampling=params.sampling or default_sampling(settings),
            stop=tuple(clean(stop) for stop in params.stop),
            deadline_ms=params.deadline_ms or settings.deadline_ms,
            priority="completion",
            stream=params.partial_result_token is not None,
        )


def document_session(uri: str) -> str:
    """The session of a document: its URI, shortened with a hash if a session's name cannot be that long."""
    uri = clean(uri)
    if len(uri) <= MAX_SESSION_CHARS:
        return uri
    digest = hashlib.blake2b(uri.encode(), digest_size=16).hexdigest()
    return f"{uri[: MAX_SESSION_CHARS - len(digest) - 1]}#{digest}"


def is_single_line(after: str) -> bool:
    """Whether text worth keeping follows the cursor on its line, so that a suggestion must end within it."""
    return any(char not in CLOSERS for char in rest_of_line(after))


def rest_of_line(after: str) -> str:
    """The text after the cursor up to the end of its line."""
    return after.split("\n", 1)[0].split("\r", 1)[0]


def inline_request(uri: str, place: Place, settings: config.Completion) -> FimRequest:
    """What the worker is asked for ghost text."""
    one_line = not settings.multiline or is_single_line(place.after)
    return FimRequest(
        id=0,
        session=document_session(uri),
        prefix=place.before,
        suffix=place.after,
        max_tokens=settings.max_tokens,
        sampling=default_sampling(settings),
        stop=("\n",) if one_line else (),
        deadline_ms=settings.deadline_ms,
        priority="completion",
        stream=False,
    )


def trimmed(text: str, after: str, reason: FinishReason) -> str:
    """A suggestion without what does not help: a last line cut short, what already stands below, trailing blanks."""
    lines = text.split("\n")
    if reason in CUT_SHORT and len(lines) > 1:
        lines.pop()
    following = [line.strip() for line in after.split("\n", 2)[1:2]]
    if len(lines) > 1 and following and following[0] and lines[-1].strip() == following[0]:
        lines.pop()
    text = "\n".join(lines).rstrip()
    return without_overlap(text, rest_of_line(after).rstrip()) if len(lines) == 1 else text


def without_overlap(text: str, rest: str) -> str:
    """A line without the end that already stands after the cursor; closers stay if the line itself opened them."""
    if any(char not in CLOSERS for char in rest):
        return text.removesuffix(rest if text.endswith(rest) else rest.lstrip())
    rest = rest.lstrip()
    for closer in reversed(rest):
        opener = OPENERS.get(closer, "")
        if opener:
            is_own = text.count(closer) <= text.count(opener)
        else:
            is_own = closer in QUOTES and text.count(closer) % 2 == 0
        if not text.endswith(closer) or is_own:
            break
        text = text[:-1]
    return text


def _nothing() -> types.InlineCompletionList:
    return types.InlineCompletionList(items=[])
