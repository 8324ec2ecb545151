"""``botframework/edit``: a range of an open document and an instruction in, the new text out."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import ContentModified, ContextOverflow, InvalidParams
from botframework.lsp.editprompt import Around, edit_request
from botframework.lsp.fences import Unwrapped, longest_fence
from botframework.lsp.fitting import Fitted
from botframework.lsp.generate import work_done
from botframework.lsp.messages import (
    EditResult,
    Position,
    Range,
    TextDocumentEdit,
    TextEdit,
    VersionedTextDocumentIdentifier,
    WorkspaceEdit,
)
from botframework.lsp.tracking import Tracked
from botframework.wire.text import LINE_END

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from lsprotocol import types

    from botframework.lsp.documents import Document, Documents
    from botframework.lsp.generate import House
    from botframework.lsp.messages import EditParams
    from botframework.lsp.protocol import DaemonProtocol
    from botframework.wire.messages import ChatRequest, Done

MAX_SELECTION_CHARS = 1024 * 1024
"""Some 300,000 tokens: what is larger fits no model that runs beside an editor."""
ATTEMPTS = 3
"""With less and less of the file around the range, until the prompt fits the model's context; the last with nothing."""
ROOM_SHARE = 0.9
"""Of the model's context that the next attempt aims at: tokens are not spread evenly over a text."""


class Edit:
    """Answers edit requests, and follows their ranges while the user types elsewhere in the document."""

    def __init__(self, protocol: DaemonProtocol, house: House, documents: Documents) -> None:
        self._protocol = protocol
        self._house = house
        self._documents = documents
        self._tracked: weakref.WeakSet[Tracked] = weakref.WeakSet()
        """Ranges that are being edited. Weak, because a request that is cancelled before its first step runs no end."""

    # --- documents ----------------------------------------------------------------------------------------------------

    def did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Move the ranges of a document with its text; an edit whose own range is touched ends."""
        for tracked in self._of(params.text_document.uri):
            tracked.follow(params.content_changes)

    def did_close(self, uri: str) -> None:
        """Nobody wants the edits of a document any more that is closed, or opened anew."""
        for tracked in self._of(uri):
            tracked.give_up("the document was closed")

    def _of(self, uri: str) -> list[Tracked]:
        return [tracked for tracked in self._tracked if tracked.uri == uri]

    # --- requests -----------------------------------------------------------------------------------------------------

    def answer(self, params: EditParams) -> Awaitable[EditResult]:
        """Look at the document of this moment and answer.

        Raises
        ------
        InvalidParams
            The document is not open, or the range is none of it.
        ContentModified
            The document is in another version than the request says.
        """
        document = self._documents.require(params.text_document.uri)
        if params.version is not None and params.version != document.version:
            raise ContentModified(
                f"the range belongs to version {params.version} of the document, which is now in {document.version}",
                version=document.version,
            )
        start, end = _offsets(document, params.range)
        tracked = Tracked(document.uri, document.position(start), document.position(end))
        # At once: the next message may be a change.
        self._tracked.add(tracked)
        return self._answer(params, tracked, _around(document, start, end))

    async def _answer(self, params: EditParams, tracked: Tracked, around: Around) -> EditResult:
        with self._house.busy(), work_done(self._protocol, params.work_done_token, "Editing"):
            done, new = await self._generate(params, tracked, around)
        return self._result(params, tracked, around, done, new)

    async def _generate(self, params: EditParams, tracked: Tracked, around: Around) -> tuple[Done, str | None]:
        """The new text; None if the model gave none.

        There is less of the file in the prompt each time that the model's context is too small.
        """
        settings = self._house.settings.edit
        context_chars = settings.context_chars
        for attempts_left in reversed(range(ATTEMPTS)):
            request, used = edit_request(params, settings, around, context_chars)
            router = await self._house.awake("chat")
            tracked.refuse_if_touched()
            unwrapped = Unwrapped(longest_fence(around.spot.old), begins_with_thoughts=router.begins_with_thoughts)
            answer = _Answer(self._protocol, params.partial_result_token, unwrapped, Fitted(around.spot))
            generation = router.chat(request)
            tracked.on_touched = generation.cancel
            try:
                async for piece in generation:
                    answer.take(piece.text, piece.index)
                    if answer.is_over:
                        generation.cancel()
                        break
                done = await generation.result()
            except ContextOverflow as error:
                tracked.refuse_if_touched()
                if not used or not attempts_left:
                    raise _too_long(error) from None
                context_chars = _less(used, request, error) if attempts_left > 1 else 0
            else:
                tracked.refuse_if_touched()
                if answer.is_over and done.finish_reason == "cancelled":
                    done = msgspec.structs.replace(done, finish_reason="stop")  # It was we who had heard enough.
                return done, answer.finish()
            finally:
                tracked.on_touched = None
                generation.cancel()
        raise AssertionError("the last attempt returns or raises")

    def _result(self, params: EditParams, tracked: Tracked, around: Around, done: Done, new: str | None) -> EditResult:
        document = self._documents.get(params.text_document.uri)
        if document is None:
            raise ContentModified("the document was closed, or has become too large to be followed")
        changes: tuple[TextDocumentEdit, ...] = ()
        if new is not None and new != around.old:
            area = Range(start=_position(tracked.start), end=_position(tracked.end))
            changes = (
                TextDocumentEdit(
                    text_document=VersionedTextDocumentIdentifier(uri=document.uri, version=document.version),
                    edits=(TextEdit(range=area, new_text=new),),
                ),
            )
        return EditResult(
            text="" if params.partial_result_token is not None or new is None else new,
            finish_reason=done.finish_reason,
            usage=done.usage,
            timings=done.timings,
            edit=WorkspaceEdit(document_changes=changes),
        )


class _Answer:
    """The answer so far, unwrapped, fitted, and streamed if the client wants it so."""

    def __init__(self, protocol: DaemonProtocol, token: int | str | None, unwrapped: Unwrapped, fitted: Fitted) -> None:
        self._protocol = protocol
        self._token = token
        self._unwrapped = unwrapped
        self._fitted = fitted
        self._text: list[str] = []
        self._next = 0
        """The number of the first token whose text was not sent."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of what may still come belongs to the new text."""
        return self._unwrapped.is_over

    def take(self, piece: str, index: int) -> None:
        """Some more of what the model says; ``index`` numbers its first token."""
        if self._send(self._fitted.feed(self._unwrapped.feed(piece))):
            self._next = index + 1

    def finish(self) -> str | None:
        """The whole new text, after its rest was sent; None if there is none, which is not an empty code block."""
        self._send(self._fitted.feed(self._unwrapped.finish()) + self._fitted.finish())
        text = "".join(self._text)
        return text if text or self.is_over else None

    def _send(self, text: str) -> bool:
        if text:
            self._text.append(text)
            if self._token is not None:
                self._protocol.stream(self._token, text, self._next)
        return bool(text)


def _offsets(document: Document, area: Range) -> tuple[int, int]:
    """The range as indices.

    Raises
    ------
    InvalidParams
        It begins behind the last line, ends before it begins, or is too large.
    """
    if area.start.line >= document.line_count:
        told = f"/range/start/line: the document has {document.line_count} lines"
        raise InvalidParams(told, pointer="/range/start/line", limits={"maximum": document.line_count - 1})
    start = document.offset(area.start.line, area.start.character)
    end = document.offset(area.end.line, area.end.character)
    if end < start:
        raise InvalidParams("/range/end: lies before the start", pointer="/range/end")
    if end - start > MAX_SELECTION_CHARS:
        raise InvalidParams(
            f"/range: {end - start:,} characters are too many to be edited at once (maximum {MAX_SELECTION_CHARS:,})",
            pointer="/range",
            limits={"maxLength": MAX_SELECTION_CHARS},
        )
    return start, end


def _around(document: Document, start: int, end: int) -> Around:
    """The range and what is around it, with line feeds as line ends."""
    before, after = document.place_at(start).before, document.place_at(end).after
    old = document.between(start, end)
    found = LINE_END.search(old) or LINE_END.search(after) or LINE_END.search(before)
    return Around.made_of(document.uri, before, old, after, line_end=found[0] if found is not None else "\n")


def _too_long(error: ContextOverflow) -> ContextOverflow:
    """The same, in words that the user can do something with."""
    needed, room = error.data.get("promptTokens"), error.data.get("contextTokens")
    told = f"the selection is too long for the model: it needs {needed} tokens, and {room} fit; select less"
    return ContextOverflow(told, **error.data)


def _less(used: int, request: ChatRequest, error: ContextOverflow) -> int:
    """Characters of context with which a prompt that was too long should fit."""
    chars = sum(len(message.content) for message in request.messages)
    try:
        needed, room = float(error.data["promptTokens"]), float(error.data["contextTokens"])
    except (KeyError, TypeError, ValueError):
        return 0
    return max(0, int(used - (needed - room * ROOM_SHARE) * chars / max(1.0, needed)))


def _position(place: tuple[int, int]) -> Position:
    return Position(line=place[0], character=place[1])
