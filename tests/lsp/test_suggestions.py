"""What is answered without a new question to the model: typed-through suggestions, joined generations, prefetches."""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lsprotocol import types

from botframework.lsp import desk as desks
from botframework.lsp import joining
from botframework.lsp.joining import Run
from botframework.lsp.suggestions import (
    MAX_AGE_S,
    MAX_EMPTY_AGE_S,
    MAX_SUGGESTIONS,
    Base,
    Draft,
    Spot,
    Suggestions,
    plain,
)
from botframework.wire.messages import FimRequest
from support.ghost_editor import GhostEditor, only

REQUEST = FimRequest(id=0, prefix="x = ", ghost=True, priority="background")
LOOP = "for x in y:\n    a(x)\n    b(x)"


def draft(before: str, text: str, after: str = "", number: str = "1") -> Draft:
    """One that the model made there."""
    base = Base.of(Spot.of(before, after))
    return Draft(number, base, text, was_cut=False, mean_logprob=0.0, timings=None)


# --- typing through ---------------------------------------------------------------------------------------------------


async def test_typing_a_suggestion_asks_no_model() -> None:
    """Every key that the suggestion foresaw is answered with the rest of it, over several lines, and reads nothing."""
    editor = GhostEditor("def f(y):\n    ")
    item = await editor.suggestion(LOOP)
    assert item is not None
    read = len(editor.router.prefills)
    for index, key in enumerate(LOOP[:-1]):
        editor.type(key)
        left = LOOP[index + 1 :]
        shown = await editor.shown() if left.strip() and left not in "x)" else left
        assert shown == left

    assert len(editor.router.ghosts) == 1
    assert len(editor.router.prefills) == read
    assert editor.counts == (1, 0)


async def test_bursts_undo_and_coming_back() -> None:
    """Several characters at once, deleting them, another word and back: the same suggestion, the same question."""
    editor = GhostEditor("x = ")
    await editor.suggestion("alpha + beta")
    editor.type("alp")
    assert await editor.shown() == "ha + beta"
    editor.backspace(2)
    assert await editor.shown() == "lpha + beta"
    editor.backspace()
    assert await editor.shown() == "alpha + beta"
    editor.type("z")
    editor.backspace()
    assert await editor.shown() == "alpha + beta"


async def test_the_same_place_asked_twice_is_one_question() -> None:
    """Also when there was nothing to show, and also at two places in turn."""
    editor = GhostEditor("a = \nb = ")
    await editor.suggestion("one()")
    editor.cursor = (0, 4)
    assert await editor.suggestion("") is None
    for _ in range(3):
        editor.cursor = (1, 4)
        assert await editor.shown() == "one()"
        editor.cursor = (0, 4)
        assert await editor.shown() is None
        assert editor.outcome == ("empty", "cached")
    assert len(editor.router.ghosts) == 2


async def test_a_part_that_was_accepted_leaves_the_rest() -> None:
    """After a word or a line was taken over the rest comes at once, and it is still one suggestion."""
    editor = GhostEditor("")
    item = await editor.suggestion("first word\nsecond line")
    assert item is not None
    editor.type("first")
    rest = only(await editor.answer(editor.ask()))
    editor.type(" word\n")
    assert await editor.shown() == "second line"
    assert rest is not None
    assert rest.insert_text == " word\nsecond line"
    assert rest.command is not None
    assert item.command is not None
    assert rest.command.arguments == item.command.arguments
    assert editor.counts == (1, 0)


async def test_brackets_that_the_editor_closes() -> None:
    """The closer that appears behind the cursor, and typing over it, do not part the user from the suggestion."""
    editor = GhostEditor("print\n\nrest()")
    editor.cursor = (0, 5)
    await editor.suggestion("(a, b)")
    editor.type("(", behind=")")
    item = only(await editor.answer(editor.ask()))
    assert item is not None
    assert item.insert_text == "a, b)"
    assert item.range == types.Range(types.Position(0, 6), types.Position(0, 7))
    editor.accept(item)
    assert editor.text == "print(a, b)\n\nrest()"
    assert len(editor.router.ghosts) == 1


async def test_enter_between_brackets() -> None:
    """An editor that puts the closing bracket on a line of its own is followed, too."""
    editor = GhostEditor("f = {}")
    editor.cursor = (0, 5)
    await editor.suggestion("\n    1: 2,\n}")
    editor.type("\n    ", behind="\n")
    assert (await editor.shown() or "").startswith("1: 2,")


async def test_line_ends_of_two_characters() -> None:
    """In a CRLF document the suggestion has line feeds, and what is typed has not; they are the same."""
    editor = GhostEditor("a = 1\r\nb = ")
    item = await editor.suggestion("2\r\nc = 3\r\nd = 4")
    assert item is not None
    assert item.insert_text == "2\nc = 3\nd = 4"
    editor.type("2\r\n")
    assert await editor.shown() == "c = 3\nd = 4"
    editor.type("c = 3\r\nd")
    assert await editor.shown() == " = 4"


async def test_another_continuation_is_another_question() -> None:
    """Text that the suggestion does not foresee, and the same text before another continuation, ask the model."""
    editor = GhostEditor("x = \ny = 1\n")
    editor.cursor = (0, 4)
    await editor.suggestion("abc")
    editor.type("b")
    assert (await editor.suggestion("cd")) is not None
    editor.backspace()
    editor.change(((1, 0), (1, 1), "other"))
    await editor.suggestion("abc")
    assert len(editor.router.ghosts) == 3


async def test_invoked_asks_again_where_nothing_was_shown() -> None:
    """Who asks with a key is not content with the empty answer of a moment ago, nor stopped by a filter."""
    editor = GhostEditor("f(x", min_logprob=-1.0)
    assert await editor.suggestion("y)(z", mean_logprob=-3.0) is None
    assert editor.outcome == ("lowConfidence", "model")
    assert await editor.shown() is None
    item = only(await editor.answer(editor.ask(is_invoked=True)))
    assert item is not None
    assert item.insert_text == "y)(z"


def test_suggestions_are_forgotten_in_time() -> None:
    """After ten minutes, after five seconds if it was nothing, with their document, and beyond their number."""
    now = [0.0]
    kept = Suggestions(lambda: now[0])
    kept.put("a", draft("x = ", "one"))
    kept.put("b", draft("x = ", ""))
    spot = Spot.of("x = ", "")
    now[0] = MAX_EMPTY_AGE_S + 1
    assert kept.find("a", spot) is not None
    assert kept.find("b", spot) is None
    now[0] = MAX_AGE_S + 1
    assert kept.find("a", spot) is None
    kept.put("a", draft("x = ", "one"))
    kept.forget("a")
    assert kept.find("a", spot) is None
    assert len(kept) == 0
    for number in range(MAX_SUGGESTIONS + 10):
        kept.put("a", draft(f"{number} = ", "one"))
    assert len(kept) == MAX_SUGGESTIONS


def test_the_newest_beginning_wins() -> None:
    """Where two suggestions fit, the one that began later knew more; one with nothing left does not count."""
    kept = Suggestions()
    kept.put("a", draft("x = ", "ab", number="old"))
    kept.put("a", draft("x = a", "bcd", number="new"))
    found = kept.find("a", Spot.of("x = a", ""))
    assert found is not None
    assert (found.draft.id, found.left) == ("new", "bcd")
    kept.forget("a")
    kept.put("a", draft("x = ", "ab"))
    assert kept.find("a", Spot.of("x = ab", "")) is None


def test_a_place_that_only_looks_the_same() -> None:
    """The line before the cursor is the same, what stands above it is not; or the document begins with that line."""
    repeated = "    def close(self):\n        "
    kept = Suggestions()
    kept.put("a", draft("class A:\n" + "    x = 1\n" * 200 + repeated, "pass"))
    assert kept.find("a", Spot.of("class B:\n" + "    y = 1\n" * 200 + repeated, "")) is None
    kept.put("a", draft(repeated, "pass"))
    assert kept.find("a", Spot.of("class A:\n" + repeated, "")) is None
    assert kept.find("a", Spot.of(repeated + "pa", "")) is not None


@given(
    st.text("ab\n\r😀(", max_size=30),
    st.text("ab\n😀)", min_size=1, max_size=30),
    st.text("ab\n)", max_size=10),
    st.integers(0, 30),
)
def test_what_is_found_is_what_is_left(before: str, text: str, after: str, count: int) -> None:
    """Whatever stands around: a suggestion that is found goes on exactly where its typed beginning ends."""
    assume(not (before.endswith("\r") and text.startswith("\n")))  # Together they would be one line end.
    kept = Suggestions()
    kept.put("a", draft(before, text, after))
    found = kept.find("a", Spot.of(before + text[:count], after))
    if text[count:].strip() or not count:
        assert found is not None
    if found is not None:
        assert plain(before + text[:count]) + found.left == plain(before) + text


def test_looking_does_not_go_through_all_of_them() -> None:
    """As many suggestions as may be kept, of one document, take no more calls to look at than one of them."""
    before = "".join(f"name_{number} = value_{number % 7}\n" for number in range(3_000))[-65_536:]

    def calls(count: int) -> int:
        kept = Suggestions()
        for number in range(count):
            kept.put("a", draft(before[: len(before) - number], "x" * 400, "\n" * 65_000))
        spot = Spot.of(before + "nothing like it", "\n" * 65_000)
        events: list[str] = []
        sys.setprofile(lambda _frame, event, _argument: events.append(event))
        try:
            kept.find("a", spot)
        finally:
            sys.setprofile(None)
        return len(events)

    assert calls(MAX_SUGGESTIONS) <= 4 * calls(1)


# --- joining ----------------------------------------------------------------------------------------------------------


async def test_typing_along_joins_the_running_generation() -> None:
    """Keys that agree with what was said so far stop nothing and ask nothing; the last request gets what is left."""
    editor = GhostEditor("x = ")
    first = editor.ask()
    spoken = (await editor.asked()).say("value")
    await editor.until(lambda: _spoken(editor))
    second = third = first
    editor.type("v")
    second = editor.ask()
    editor.type("al")
    third = editor.ask()
    spoken.end("_of(y)")

    assert [only(await editor.answer(one)) for one in (first, second)] == [None, None]
    item = only(await editor.answer(third))
    assert item is not None
    assert item.insert_text == "ue_of(y)"
    assert editor.outcome == ("", "joined")
    assert len(editor.router.ghosts) == 1
    assert editor.router.prefills == []


async def test_typing_ahead_of_the_model_waits_for_it() -> None:
    """Who is faster than the model is right or wrong only when the model has said more."""
    for rest, shown, ghosts in (("ue + 1", " + 1", 1), ("ve", "_of(x)", 2)):
        editor = GhostEditor("x = ")
        editor.ask()
        spoken = (await editor.asked()).say("val")
        await editor.until(lambda: _spoken(editor))  # noqa: B023
        editor.type("value")
        answer = editor.ask()
        spoken.say(rest).end()
        if ghosts == 2:
            (await editor.asked(2)).end(shown)
        item = only(await editor.answer(answer))

        assert item is not None
        assert (item.insert_text, len(editor.router.ghosts)) == (shown, ghosts)


async def test_typing_elsewhere_stops_the_generation_at_once() -> None:
    """A key that disagrees with what was said cancels, and its text is read ahead before anybody asks."""
    editor = GhostEditor("x = ")
    first = editor.ask()
    spoken = (await editor.asked()).say("val")
    await editor.until(lambda: _spoken(editor))
    editor.type("w")

    assert spoken.is_cancelled
    assert only(await editor.answer(first)) is None
    assert [one.request.prefix for one in editor.router.prefills] == ["x = w"]


async def test_before_the_first_word_nobody_joins() -> None:
    """Nobody can know whether a silent generation will agree: the next key begins its own at once."""
    editor = GhostEditor("x = ")
    editor.ask()
    silent = await editor.asked()
    editor.type("v")
    assert silent.is_cancelled


async def test_a_client_that_cancels_everything_still_joins() -> None:
    """VS Code takes each request back at the next key; a generation that has spoken waits for the next request."""
    editor = GhostEditor("x = ")
    first = editor.ask()
    spoken = (await editor.asked()).say("val")
    await editor.until(lambda: _spoken(editor))
    first.cancel()
    await editor.until(first.done)
    editor.type("v")
    second = editor.ask()
    spoken.end("ue")

    item = only(await editor.answer(second))
    assert item is not None
    assert item.insert_text == "alue"
    assert first.cancelled()


async def test_a_cancelled_generation_does_not_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no request follows it is stopped; one that is silent is stopped at once."""
    monkeypatch.setattr(desks, "JOIN_GRACE_S", 0.01)
    for text in ("", "val"):
        editor = GhostEditor("x = ")
        first = editor.ask()
        spoken = await editor.asked()
        if text:
            spoken.say(text)
            await editor.until(lambda: _spoken(editor))  # noqa: B023
        first.cancel()
        await editor.until(lambda: spoken.is_cancelled)  # noqa: B023
        assert editor.outcome == ("cancelled", "")


async def test_what_was_said_to_its_end_is_kept_for_later() -> None:
    """Also when the request that began it was superseded meanwhile."""
    editor = GhostEditor("x = ")
    editor.ask()
    spoken = (await editor.asked()).say("value")
    await editor.until(lambda: _spoken(editor))
    editor.type("v")
    spoken.end("(1)")
    await editor.until(lambda: len(editor.completion._suggestions))
    assert await editor.shown() == "alue(1)"


async def test_what_ends_while_a_request_waits_is_its_answer() -> None:
    """A suggestion that comes to be known between the question and the model is not computed again."""
    editor = GhostEditor("x = ", debounce_ms=20)
    answer = editor.ask()
    editor.completion._suggestions.put(editor.uri, draft("x = ", "value"))
    item = only(await editor.answer(answer))

    assert item is not None
    assert (item.insert_text, editor.router.ghosts) == ("value", [])


async def test_what_is_left_but_not_worth_showing_is_no_answer() -> None:
    """Where only closers are left of what is known the model is asked, also after the wait for another key."""
    for debounce_ms in (0, 5):
        editor = GhostEditor("", debounce_ms=debounce_ms)
        await editor.suggestion("print(x)")
        editor.type("print(x")
        item = await editor.suggestion(", y)")
        assert item is not None
        assert item.insert_text == ", y)"


async def test_a_line_that_a_limit_cut_is_written_anew() -> None:
    """Half a statement is not shown, neither at once nor when the user has come as far as its line."""
    editor = GhostEditor("")
    item = await editor.suggestion("first = 1\nsecond = compute(fir", finish_reason="length")
    assert item is not None
    assert item.insert_text == "first = 1"
    editor.accept(item)
    editor.type("\n")
    item = await editor.suggestion("second = compute(first)")
    assert item is not None
    assert item.insert_text == "second = compute(first)"


async def test_a_line_that_a_limit_cut_is_not_joined() -> None:
    """The same for who types along until the limit comes."""
    editor = GhostEditor("")
    editor.ask()
    spoken = (await editor.asked()).say("a = 1\nb = comp")
    await editor.until(lambda: _spoken(editor))
    editor.type("a = 1\n")
    answer = editor.ask()
    spoken.end(finish_reason="length")
    (await editor.asked(2)).end("b = compute()")
    item = only(await editor.answer(answer))

    assert item is not None
    assert item.insert_text == "b = compute()"


async def test_a_cancel_that_comes_with_a_piece_is_not_lost() -> None:
    """A request that waits for a prefetch is ended by the next key, though the prefetch speaks at this very moment."""
    editor = GhostEditor("x = ")
    run = Run("1", Base.of(Spot.of("x = ", "")), editor.router.complete(REQUEST), is_prefetch=True)
    waiting = asyncio.ensure_future(run.left_at(Spot.of("x = ", "")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    run._changed.set()
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 1)
    run.cancel()


# --- prefetch ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait before a prefetch, and no battery."""
    monkeypatch.setattr(desks, "PREFETCH_AFTER_S", 0.0)
    monkeypatch.setattr(desks, "on_battery", lambda: False)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_the_next_suggestion_is_there_when_one_is_accepted(line_end: str) -> None:
    """After a suggestion was sent the next one is computed in the background; accepting shows it without a question."""
    editor = GhostEditor(f"x = 1{line_end}")
    item = await editor.suggestion("y = 2\nz")
    assert item is not None
    await editor.until(lambda: editor.router.prefetches)
    (prefetch,) = editor.router.prefetches
    assert prefetch.request.prefix == f"x = 1{line_end}y = 2{line_end}z"
    prefetch.end(" = 3")
    await editor.until(lambda: len(editor.completion._suggestions) == 2)
    read = len(editor.router.prefills)
    editor.accept(item)

    assert await editor.shown() == " = 3"
    assert editor.outcome == ("", "prefetched")
    assert len(editor.router.ghosts) == 1
    assert len(editor.router.prefills) == read


@pytest.mark.usefixtures("at_once")
async def test_accepting_before_it_is_ready_joins_it() -> None:
    """The generation in the background is not thrown away: the request waits for it."""
    editor = GhostEditor("x = 1\n")
    item = await editor.suggestion("y = 2\nz")
    assert item is not None
    await editor.until(lambda: editor.router.prefetches)
    (prefetch,) = editor.router.prefetches
    prefetch.say(" = ")
    await editor.until(lambda: _spoken(editor))
    editor.accept(item)
    answer = editor.ask()
    prefetch.end("3")

    joined = only(await editor.answer(answer))
    assert joined is not None
    assert joined.insert_text == " = 3"
    assert len(editor.router.ghosts) == 1


@pytest.mark.usefixtures("at_once")
async def test_a_prefetch_that_stands_still_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a chat the background waits; who waits for it now gets a generation with a better priority."""
    monkeypatch.setattr(joining, "STALL_S", 0.01)
    editor = GhostEditor("x = 1\n")
    item = await editor.suggestion("y = 2\nz")
    assert item is not None
    await editor.until(lambda: editor.router.prefetches)
    editor.router.prefetches[0].say(" =")
    await editor.until(lambda: _spoken(editor))
    editor.accept(item)
    answer = editor.ask()
    (await editor.asked(2)).end(" = 3")

    assert only(await editor.answer(answer)) is not None
    assert editor.router.prefetches[0].is_cancelled


@pytest.mark.usefixtures("at_once")
async def test_a_prefetch_ends_when_the_user_goes_elsewhere() -> None:
    """Typing along keeps it; any other key stops it."""
    editor = GhostEditor("x = ")
    await editor.suggestion("alpha")
    await editor.until(lambda: editor.router.prefetches)
    (prefetch,) = editor.router.prefetches
    editor.type("al")
    assert await editor.shown() == "pha"
    was_cancelled = prefetch.is_cancelled
    editor.type("t")

    assert (was_cancelled, prefetch.is_cancelled) == (False, True)
    assert len(editor.router.prefetches) == 1


async def test_no_prefetch_on_battery_or_when_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody may ever want costs no energy that somebody has to carry."""
    monkeypatch.setattr(desks, "PREFETCH_AFTER_S", 0.0)
    asked = []

    def on_battery() -> bool:
        asked.append(1)
        return True

    monkeypatch.setattr(desks, "on_battery", on_battery)
    editor = GhostEditor("x = ")
    await editor.suggestion("alpha")
    await editor.until(lambda: asked)
    off = GhostEditor("x = ", prefetch=False)
    await off.suggestion("alpha")
    assert off.completion._desks[off.uri]._prefetching is None
    await editor.until(lambda: editor.completion._desks[editor.uri]._prefetching is None)
    assert editor.router.prefetches == off.router.prefetches == []


def _spoken(editor: GhostEditor) -> bool:
    """Whether the desk has heard something of what runs."""
    desk = editor.completion._desks[editor.uri]
    return any(run is not None and run.has_spoken for run in (desk._run, desk._prefetch))
