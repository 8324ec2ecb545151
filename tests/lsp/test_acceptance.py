"""Suggestions that were seen and taken over: counted once, however many ways there are to tell it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from botframework.lsp import acceptance
from botframework.lsp.acceptance import Acceptance
from botframework.lsp.messages import (
    ACCEPTED_COMMAND,
    DidPartiallyAcceptCompletionParams,
    DidShowCompletionParams,
    ItemCommand,
    ShownItem,
)
from botframework.lsp.suggestions import MAX_SUGGESTIONS, Base, Spot
from support.ghost_editor import GhostEditor

if TYPE_CHECKING:
    from lsprotocol import types

TEXT = "compute(alpha, beta)"


def as_shown(item: types.InlineCompletionItem | None) -> ShownItem:
    """The item as a client sends it back."""
    assert item is not None
    assert item.command is not None
    arguments = tuple(item.command.arguments or ())
    return ShownItem(
        insert_text=str(item.insert_text), command=ItemCommand(command=ACCEPTED_COMMAND, arguments=arguments)
    )


async def test_command_and_edit_count_once() -> None:
    """VS Code edits and then runs the command; either alone would do, both are one acceptance."""
    for tell in (True, False):
        editor = GhostEditor("x = ")
        item = await editor.suggestion(TEXT)
        assert item is not None
        editor.accept(item, tell=tell)
        editor.accept(item, tell=tell)
        assert editor.counts == (1, 1)


async def test_closers_that_stay_are_part_of_an_acceptance() -> None:
    """An editor that writes only what is missing before the closers has taken the suggestion over all the same."""
    editor = GhostEditor("print()")
    editor.cursor = (0, 6)
    await editor.suggestion("a, b)")
    editor.type("a, b")
    assert editor.counts == (1, 1)


@pytest.mark.parametrize(
    ("keys", "accepted"),
    [
        (["c", "o", "m", "p"], 0),
        (["comp", "ute"], 0),
        (list(TEXT), 0),
        (["compute(alpha"], 1),
        (["comp", "ute(alpha, "], 1),
        ([TEXT], 1),
        (["something else entirely"], 0),
        ([TEXT + "  # and more"], 0),
        (["\n    "], 0),
    ],
)
async def test_an_edit_tells_an_acceptance_from_typing(keys: list[str], accepted: int) -> None:
    """More of the suggestion than fast fingers write in one message, or the whole of it, in one edit."""
    editor = GhostEditor("x = ")
    await editor.suggestion(TEXT)
    for key in keys:
        editor.type(key)
    assert editor.counts == (1, accepted)


async def test_indentation_is_no_acceptance() -> None:
    """Enter writes the blanks that a suggestion over several lines begins with."""
    editor = GhostEditor("if x:")
    await editor.suggestion("\n        \n        y()")
    editor.type("\n        ")
    assert editor.counts == (1, 0)


async def test_copilots_notifications() -> None:
    """A client that tells what it shows is believed; a part that was taken over counts, and the whole adds nothing."""
    editor = GhostEditor("x = ")
    first = as_shown(await editor.suggestion(TEXT))
    editor.completion.did_show(DidShowCompletionParams(item=first))
    editor.completion.did_show(DidShowCompletionParams(item=first))
    assert editor.counts == (1, 0)
    editor.completion.did_partially_accept(DidPartiallyAcceptCompletionParams(item=first, accepted_length=0))
    assert editor.counts == (1, 0)
    editor.completion.did_partially_accept(DidPartiallyAcceptCompletionParams(item=first, accepted_length=7))
    editor.completion.accepted("1")
    assert editor.counts == (1, 1)
    editor.type("z")
    second = as_shown(await editor.suggestion(" + 123"))
    assert editor.counts == (1, 1)
    editor.completion.did_show(DidShowCompletionParams(item=second))
    assert editor.counts == (2, 1)


async def test_words_that_were_taken_over_are_one_acceptance() -> None:
    """Word by word, asked again in between as VS Code does, it stays one suggestion."""
    editor = GhostEditor("x = ")
    await editor.suggestion(TEXT)
    for part in ("compute(alpha", ", beta)"):
        editor.type(part)
        if part != ", beta)":
            assert await editor.shown() == ", beta)"
    assert editor.counts == (1, 1)


def counter() -> tuple[Acceptance, Any]:
    """One that counts into a plain object."""
    tally: Any = SimpleNamespace(shown=0, accepted=0)
    tally.count_shown = lambda: setattr(tally, "shown", tally.shown + 1)
    tally.count_accepted = lambda: setattr(tally, "accepted", tally.accepted + 1)
    return Acceptance(tally), tally


def test_unknown_and_forgotten_suggestions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that nobody sent, or that were sent long ago, count nothing; memory is bounded."""
    monkeypatch.setattr(acceptance, "MAX_REMEMBERED", 3)
    known, tally = counter()
    base = Base.of(Spot.of("x = ", ""))
    for number in range(10):
        known.sent("a", str(number), base, TEXT)
    for suggestion_id in ("", "no", "0", "6"):
        known.accepted(suggestion_id)
        known.shown(suggestion_id)
    assert (tally.shown, tally.accepted, len(known._sent)) == (10, 0, 3)
    known.accepted("7")
    assert tally.accepted == 1


def test_what_can_be_shown_again_counts_once() -> None:
    """However many suggestions come between, as long as the first of them is known."""
    known, tally = counter()
    base = Base.of(Spot.of("x = ", ""))
    for number in [*range(MAX_SUGGESTIONS), 0]:
        known.sent("a", str(number), base, TEXT)
    assert tally.shown == MAX_SUGGESTIONS


def test_a_closed_document_infers_nothing() -> None:
    """What is written into it when it is opened again is not its old suggestion."""
    known, tally = counter()
    known.sent("a", "1", Base.of(Spot.of("x = ", "")), TEXT)
    known.closed("a")
    known.edited("a", Spot.of("x = " + TEXT, ""), TEXT, "")
    assert tally.accepted == 0
