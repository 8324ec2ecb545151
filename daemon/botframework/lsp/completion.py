"""Position to suggestion: ``textDocument/inlineCompletion`` and ``botframework/complete``.

A request for ghost text is answered from suggestions that were computed before (`suggestions`), by joining what is
being generated (`joining`), or by the model; then it is fitted to its place and filtered (`filters`). At every change
of a document its text is read ahead, and after every suggestion the next one is prepared (`desk`).

Ghost text must never disturb: whatever goes wrong, an inline completion is answered with an empty list, because editors
show an error of this request as a pop-up at every keystroke.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from lsprotocol import types

from botframework.errors import (
    BotframeworkError,
    DeadlineExceeded,
    ModelCannotInfill,
    ModelError,
    WorkerStartFailed,
    WorkerUnavailable,
)
from botframework.lsp.acceptance import Acceptance
from botframework.lsp.asking import document_session, ghost_request, prefetch_request, prefill_request
from botframework.lsp.closers import rest_of_line
from botframework.lsp.debounce import Rhythm
from botframework.lsp.desk import Desk
from botframework.lsp.documents import CONTEXT_CHARS
from botframework.lsp.edits import single_edit
from botframework.lsp.filters import Outcome, Standards, judge
from botframework.lsp.generate import deliver, request_fields, work_done
from botframework.lsp.messages import ACCEPTED_COMMAND, CompleteResult
from botframework.lsp.suggestions import Base, Found, Spot, Suggestions
from botframework.wire.messages import FimRequest
from botframework.wire.text import LINE_END, line_start, replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from botframework import config
    from botframework.lsp.desk import Turn
    from botframework.lsp.documents import Document, Documents
    from botframework.lsp.filters import Reason, Source
    from botframework.lsp.generate import House
    from botframework.lsp.messages import (
        CompleteParams,
        DidPartiallyAcceptCompletionParams,
        DidShowCompletionParams,
    )
    from botframework.lsp.protocol import DaemonProtocol
    from botframework.lsp.pulse import Tally
    from botframework.lsp.suggestions import Draft

logger = logging.getLogger(__name__)

MAX_UNASKED = 64
"""Prompts read ahead without a request in between: this client, or its user, does not want suggestions."""
NO_MODEL = (ModelError, ModelCannotInfill, WorkerUnavailable, WorkerStartFailed)


class _Question(NamedTuple):
    """An inline request, with the text of its moment."""

    before: str
    """The document up to the cursor, or up to the end of the selected item of the editor's list."""
    after: str
    range: types.Range
    """What a suggestion replaces if nothing is covered."""
    head: str
    """The selected item's text, with which the suggestion must begin."""
    spot: Spot
    standards: Standards


class Completion:
    """Answers completion requests, and works ahead of them."""

    def __init__(self, protocol: DaemonProtocol, house: House, documents: Documents, tally: Tally) -> None:
        self.is_paused = False
        """No ghost text and no work for it."""
        self._protocol = protocol
        self._house = house
        self._documents = documents
        self._desks: dict[str, Desk] = {}
        self._suggestions = Suggestions()
        self._acceptance = Acceptance(tally)
        self._rhythm = Rhythm()
        self._numbers = itertools.count(1)
        self._unasked = MAX_UNASKED
        """Prompts read ahead since the last request; nothing is read for a client that has never asked."""

    def pause(self) -> None:
        """Answer nothing, read nothing ahead and stop what is under way, until `resume`."""
        self.is_paused = True
        for desk in self._desks.values():
            desk.stop()

    def resume(self) -> None:
        """Go on."""
        self.is_paused = False

    def last_outcome(self, uri: str) -> Outcome:
        """What became of a document's last inline request."""
        desk = self._desks.get(uri)
        return Outcome() if desk is None else desk.outcome

    # --- documents ----------------------------------------------------------------------------------------------------

    def did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """Begin anew with a document."""
        self.did_close(params.text_document.uri)

    def did_close(self, uri: str) -> None:
        """Give up and forget everything about a document."""
        desk = self._desks.pop(uri, None)
        if desk is not None:
            desk.stop()
        self._suggestions.forget(uri)
        self._acceptance.closed(uri)

    def did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Follow an edit that `Documents` has carried out: give up what it makes useless, read ahead."""
        uri = params.text_document.uri
        document = self._documents.get(uri)
        if document is None:
            self.did_close(uri)
            return
        desk = self._desk(uri)
        edit = single_edit(document, params.content_changes, desk.line)
        if edit is None:
            desk.edited(None)
            desk.drop_prefill()
            return
        place = document.place_at(edit.cursor)
        spot = Spot.of(place.before, place.after)
        rest = rest_of_line(place.after)
        self._acceptance.edited(uri, spot, edit.inserted, rest)
        is_coming = desk.edited(spot)
        if edit.is_key:
            self._rhythm.key()
        if edit.is_typing:
            desk.line = place.line
        settings = self._house.settings.completion
        if is_coming or not edit.is_typing or self._suggestions.find(uri, spot) is not None:
            desk.drop_prefill()
        elif settings.prefill and settings.enabled and not self.is_paused and self._unasked < MAX_UNASKED:
            self._unasked += 1
            desk.prefill(prefill_request(uri, place.before, place.after, settings))

    def _desk(self, uri: str) -> Desk:
        desk = self._desks.get(uri)
        if desk is None:
            desk = self._desks[uri] = Desk(uri, self._house, self._suggestions, self._numbers)
        return desk

    # --- what the client tells ----------------------------------------------------------------------------------------

    def did_show(self, params: DidShowCompletionParams) -> None:
        """A suggestion is on the screen."""
        self._acceptance.shown(params.item.suggestion_id)

    def did_partially_accept(self, params: DidPartiallyAcceptCompletionParams) -> None:
        """A part of a suggestion was taken over; the rest of it is found by its text."""
        if params.accepted_length:
            self._acceptance.accepted(params.item.suggestion_id)

    def accepted(self, suggestion_id: str) -> None:
        """A suggestion was taken over."""
        self._acceptance.accepted(suggestion_id)

    # --- ghost text ---------------------------------------------------------------------------------------------------

    def inline(
        self, params: types.InlineCompletionParams
    ) -> types.InlineCompletionList | Awaitable[types.InlineCompletionList]:
        """Answer ``textDocument/inlineCompletion``. The text is taken now: the next edit may come before the answer."""
        uri = params.text_document.uri
        self._unasked = 0
        document = self._documents.get(uri)
        if document is None:
            return _nothing()
        desk = self._desk(uri)
        desk.supersede()
        reason = self._refusal()
        if reason:
            desk.outcome = Outcome(reason=reason)
            return _nothing()
        question = _question(document, params, self._house.settings.completion)
        desk.line = params.position.line
        found = self._suggestions.find(uri, question.spot)
        if found is not None:
            items = self._conclude(desk, question, found, "prefetched" if found.draft.is_prefetched else "cached")
            # The last closers of a suggestion are not shown; the model may know how it goes on.
            if items or (found.typed == 0 and not question.standards.is_invoked):
                desk.stop_generating(question.spot)
                return types.InlineCompletionList(items)
        return self._inline(desk, desk.take_turn(), question, None if found is None else found.draft)

    def _refusal(self) -> Reason:
        if self.is_paused:
            return "paused"
        if not self._house.settings.completion.enabled:
            return "disabled"
        return "" if self._house.router is not None else "noModel"

    async def _inline(
        self, desk: Desk, turn: Turn, question: _Question, dropped: Draft | None
    ) -> types.InlineCompletionList:
        turn.task = asyncio.current_task()
        if turn.is_superseded():
            return _nothing()
        try:
            found, source = await self._found(desk, question, dropped)
            return types.InlineCompletionList(self._conclude(desk, question, found, source))
        except asyncio.CancelledError:
            if turn.is_superseded():
                return _nothing()
            if desk.turn is turn:
                desk.outcome = Outcome(reason="cancelled")
                desk.abandon()
            raise
        except BotframeworkError as error:
            desk.outcome = Outcome(reason=_reason(error), detail=type(error).__name__)
            logger.debug("no suggestion: %s", type(error).__name__)
        except Exception as error:
            desk.outcome = Outcome(reason="failed", detail=type(error).__name__)
            logger.exception("no suggestion, because of a defect")
        finally:
            if desk.turn is turn:
                desk.turn = None
        return _nothing()

    async def _found(self, desk: Desk, question: _Question, dropped: Draft | None) -> tuple[Found, Source]:
        """Have the suggestion generated, or wait for the generation that is already writing it.

        ``dropped`` is known, but nothing of it can be shown.
        """
        run = desk.running(question.spot)
        if run is not None:
            typed = await run.left_at(question.spot)
            if typed is not None and run.draft is not None:
                return Found(run.draft, typed), "joined"
        settings = self._house.settings.completion
        if not question.standards.is_invoked:
            debounce_ms = settings.debounce_ms
            wait_s = self._rhythm.wait_s() if debounce_ms is None else debounce_ms / 1_000
            if wait_s:
                await asyncio.sleep(wait_s)
            found = self._suggestions.find(desk.uri, question.spot)
            if found is not None and found.draft.text and found.draft is not dropped:
                return found, "joined"  # It ended between the question and now.
        request = ghost_request(
            desk.uri, question.before, question.after, settings, is_invoked=question.standards.is_invoked
        )
        began_at = time.monotonic()
        run = desk.begin(request, Base.of(question.spot))
        await run.ended()
        if run.draft is None:
            raise run.error or BotframeworkError("it ended without a reason")
        self._rhythm.answered(time.monotonic() - began_at)
        return Found(run.draft, 0), "model"

    def _conclude(
        self, desk: Desk, question: _Question, found: Found, source: Source
    ) -> list[types.InlineCompletionItem]:
        """Filter a suggestion and fit it to its place; no item if nothing is to be shown."""
        draft = found.draft
        verdict = judge(
            found.left,
            question.before,
            question.after,
            was_cut=draft.was_cut,
            mean_logprob=draft.mean_logprob,
            standards=question.standards,
        )
        desk.outcome = Outcome(not verdict.reason, verdict.reason, source=source, timings=draft.timings)
        if verdict.reason:
            return []
        self._acceptance.sent(desk.uri, draft.id, Base.of(question.spot), verdict.text)
        self._prepare_next(desk, question, verdict.text, verdict.covered)
        start, end = question.range.start, question.range.end
        item = types.InlineCompletionItem(
            insert_text=question.head + verdict.text,
            # Without a range VS Code replaces the word at the cursor and shows nothing.
            range=types.Range(start, types.Position(end.line, end.character + verdict.covered)),
            command=types.Command(title="Accepted", command=ACCEPTED_COMMAND, arguments=[draft.id]),
        )
        return [item]

    def _prepare_next(self, desk: Desk, question: _Question, text: str, covered: int) -> None:
        """Prefetch what will be wanted when this suggestion is accepted."""
        settings = self._house.settings.completion
        before = question.before + text.replace("\n", _line_end(question))
        after = question.after[covered:]
        spot = Spot.of(before, after)
        if settings.prefetch and self._suggestions.find(desk.uri, spot) is None:
            way = Base.of(question.spot), text
            desk.prefetch(prefetch_request(desk.uri, before, after, settings), Base.of(spot), way)

    # --- botframework/complete ----------------------------------------------------------------------------------------

    def complete(self, params: CompleteParams) -> Awaitable[CompleteResult]:
        """Answer ``botframework/complete``, with the document's text and the settings of this moment."""
        return self._complete(params, self._request(params))

    async def _complete(self, params: CompleteParams, request: FimRequest) -> CompleteResult:
        # Begun in here, not before: a task that is cancelled before its first step could not end it.
        with self._house.busy(), work_done(self._protocol, params.work_done_token, "Completing"):
            generation = (await self._house.awake("fim")).complete(request)
            done = await deliver(self._protocol, generation, params.partial_result_token)
        return CompleteResult(text=done.text, finish_reason=done.finish_reason, usage=done.usage, timings=done.timings)

    def _request(self, params: CompleteParams) -> FimRequest:
        fields = request_fields(params, self._house.settings.completion)
        if params.text_document is not None and params.position is not None:
            document = self._documents.require(params.text_document.uri)
            place = document.place(params.position.line, params.position.character)
            prefix, suffix = place.before, place.after
            fields["session"] = fields["session"] or document_session(params.text_document.uri)
        else:
            prefix = replace_surrogates((params.prefix or "")[-CONTEXT_CHARS:])
            suffix = replace_surrogates((params.suffix or "")[:CONTEXT_CHARS])
        return FimRequest(**fields, prefix=prefix, suffix=suffix, priority="completion")


def _question(document: Document, params: types.InlineCompletionParams, settings: config.Completion) -> _Question:
    """Take the text around the cursor, as if the selected item of the editor's list had been taken over."""
    place = document.place(params.position.line, params.position.character)
    position = types.Position(place.line, place.character)
    before, area, head = place.before, types.Range(position, position), ""
    selected = params.context.selected_completion_info
    if selected is not None and selected.range.end == position and selected.range.start.line == position.line:
        start = selected.range.start
        replaced = document.offset(position.line, position.character) - document.offset(start.line, start.character)
        if 0 <= replaced <= len(before):
            # The editor shows only what begins with the item and replaces the same range.
            head, area = replace_surrogates(selected.text), selected.range
            before = before[: len(before) - replaced] + head
    standards = Standards(
        is_invoked=params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked,
        may_cover=settings.replace_closers and not head,
        min_logprob=settings.min_logprob,
    )
    return _Question(before, place.after, area, head, Spot.of(before, place.after), standards)


def _line_end(question: _Question) -> str:
    """What ends the lines nearest to the cursor."""
    start = line_start(question.before)
    if start:
        return "\r\n" if question.before.endswith("\r\n", 0, start) else question.before[start - 1]
    found = LINE_END.search(question.after)
    return found[0] if found is not None else "\n"


def _reason(error: BotframeworkError) -> Reason:
    if isinstance(error, NO_MODEL):
        return "noModel"
    return "cutShort" if isinstance(error, DeadlineExceeded) else "failed"


def _nothing() -> types.InlineCompletionList:
    return types.InlineCompletionList(items=[])
