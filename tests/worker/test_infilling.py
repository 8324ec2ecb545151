"""What a key costs: the prompts of one document, from request to request."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botframework.wire.messages import FimRequest
from botframework.worker import infilling
from botframework.worker.fim import FimTokens, Layout
from botframework.worker.healing import VocabularyIndex
from botframework.worker.infilling import REANCHOR_TOKENS, Infilling, Plan
from botframework.worker.sessions import common_beginning
from botframework.worker.window import Budget, Sizes, after_closers

OWNER = (1, "file:///a.py")
BUDGET = Budget(full=Sizes(800, 260), short=Sizes(90, 30), middle=512, ahead=20)
PRE, SUF, MID = 256, 257, 258
INDEX = VocabularyIndex([bytes([number]) for number in range(256)] + [b""] * 3)


def make(order: Any = "psm", typed: Any = "after") -> Infilling:
    """Prompts of a model with one token per byte: nothing needs healing."""
    layout = Layout(order, typed, FimTokens(pre=PRE, suf=SUF, mid=MID))
    return Infilling(layout, lambda: BUDGET, INDEX, lambda text: list(text.encode()))


class Editor:
    """A document with a cursor whose keys are asked about; counts what has to be read."""

    def __init__(self, prompts: Infilling, before: str, after: str) -> None:
        self.prompts = prompts
        self.before, self.after = before, after
        self.cached: list[int] = []

    def ask(self, **options: Any) -> tuple[Plan, int]:
        """Ask at the cursor; the prompt and how many of its tokens are new."""
        request = FimRequest(id=1, prefix=self.before, suffix=self.after, priority="completion", **options)
        plan = self.prompts.plan(OWNER, request, self.cached)
        assert plan is not None
        new = len(plan.prompt) - common_beginning(self.cached, plan.prompt)
        self.cached = plan.prompt
        return plan, new

    def pause(self) -> Plan | None:
        """Let the window be laid anew in the background."""
        plan = self.prompts.next_window(OWNER)
        if plan is not None:
            self.prompts.adopt(OWNER, plan)
            self.cached = plan.prompt
        return plan

    def type(self, text: str) -> tuple[Plan, int]:
        """Type and ask."""
        self.before += text
        return self.ask()


def text_of(plan: Plan) -> tuple[str, str, str]:
    """Head, suffix and middle of a prefix-suffix-middle prompt, read from its tokens."""
    at, mid = plan.prompt.index(SUF), plan.prompt.index(MID)
    parts = plan.prompt[1:at], plan.prompt[at + 1 : mid], plan.prompt[mid + 1 :] + plan.held
    head, suffix, middle = (bytes(part).decode() for part in parts)
    return head, suffix, middle


def source(lines: int, seed: int = 1) -> str:
    """Some text that looks like code and does not repeat."""
    draw = random.Random(seed)
    return "".join(f"    value_{draw.randrange(10**6)} = call({draw.randrange(10**6)})\n" for _ in range(lines))


@pytest.mark.parametrize(("order", "typed"), [("psm", "after"), ("spm", "after"), ("spm", "before")])
def test_a_key_costs_its_own_tokens(order: Any, typed: Any) -> None:
    """In the three layouts that can, typing reads what was typed, over many lines, and deleting reads nothing old."""
    editor = Editor(make(order, typed), source(80), source(80, seed=2))
    editor.ask()
    editor.pause()
    editor.ask()
    marks = 1 if typed == "before" else 0
    for key in ("r", "et", "urn", " ", "f(", ")", "\n", "    ", "x"):
        _, new = editor.type(key)
        assert new <= len(key) + marks
    editor.before = editor.before[:-3]

    assert editor.ask()[1] <= marks


def test_after_a_jump_the_window_is_short_and_then_grows() -> None:
    """Somebody who jumps waits for a short prompt; the pause makes it a full one."""
    editor = Editor(make(), source(400), source(400, seed=2))
    first, new = editor.ask()
    full = editor.pause()
    assert full is not None
    there = editor.before.rindex("\n", 0, -9_000) + 1
    editor.after = editor.before[there:] + editor.after
    editor.before = editor.before[:there]
    jumped, cost = editor.ask()

    assert first.window.is_short
    assert new <= BUDGET.short.total + 3
    assert not full.window.is_short
    assert len(full.prompt) > 700
    assert jumped.window.is_short
    assert cost <= BUDGET.short.total + 3


def test_a_small_file_is_whole_at_once() -> None:
    """Nothing is left out that fits, and then there is nothing to widen."""
    editor = Editor(make(), "x = 1\n", "y = 2\n")
    plan, _ = editor.ask()

    assert text_of(plan) == ("x = 1\n", "y = 2\n", "")
    assert not plan.window.is_short
    assert editor.pause() is None


def test_a_step_to_the_next_line_keeps_the_head() -> None:
    """A cursor that moves a little changes the suffix, and what comes before it is not read again."""
    before = source(12)
    editor = Editor(make(), before, "a = 1\nb = 2\n" + source(300, seed=2))
    editor.ask()
    editor.pause()
    editor.before, editor.after = before + "a = 1\n", editor.after.removeprefix("a = 1\n")
    plan, new = editor.ask()

    assert text_of(plan)[0].startswith(before)
    assert new <= BUDGET.short.total


def test_a_long_middle_is_anchored_anew_in_a_pause() -> None:
    """Not while somebody types; then the window moves on to the cursor's line."""
    editor = Editor(make(), source(80), source(80, seed=2))
    editor.ask()
    editor.pause()
    editor.ask()
    while editor.prompts.next_window(OWNER) is None:
        editor.type(source(1, seed=len(editor.before)))
        assert editor.ask()[0].typed <= REANCHOR_TOKENS + 60
    plan = editor.pause()

    assert plan is not None
    assert plan.middle == ""
    assert plan.window.head.endswith(editor.before[-100:])


def test_who_goes_from_place_to_place_has_no_window_read_at_each() -> None:
    """A key earns some tokens of reading ahead; over a session no more is read, but for one window to begin with."""
    prompts = make()
    keys = read = larger = 0
    for place in range(30):
        editor = Editor(prompts, source(80, seed=place), source(80, seed=100 + place))
        for _ in range(place % 12 + 1):
            editor.type("x")
            keys += 1
            plan = editor.pause()
            if plan is not None:
                read += len(plan.prompt)
                larger += 1
                prompts.note_read_ahead(OWNER, len(plan.prompt))

    assert BUDGET.full.total / 2 * larger <= read <= BUDGET.ahead * keys + BUDGET.full.total * 1.1
    assert larger >= 4


def test_who_stays_gets_the_larger_window() -> None:
    """Where savings are spent, some keys at the new place earn half a window at least."""
    prompts = make()
    prompts.note_read_ahead(OWNER, BUDGET.full.total)
    editor = Editor(prompts, source(80), source(80, seed=2))
    keys = 0
    while editor.type("x")[0].window.is_short:
        keys += 1
        editor.pause()

    assert keys * BUDGET.ahead == pytest.approx(BUDGET.full.total / 2, abs=BUDGET.ahead)


@given(
    before=st.text(alphabet="ab \n(", max_size=3_000),
    after=st.text(alphabet="ab \n)", max_size=1_500),
    typed=st.text(alphabet="ab \n", max_size=600),
)
@settings(max_examples=60, deadline=None)
def test_a_pause_lays_a_window_anew_once(before: str, after: str, typed: str) -> None:
    """However long nobody types, what was laid anew is good until the next key."""
    editor = Editor(make(), before, after)
    editor.ask()
    editor.type(typed)
    editor.pause()

    assert editor.pause() is None


def test_an_anchor_that_cannot_come_nearer_stays() -> None:
    """In a line too long for its middle, pauses do not read the same window again and again."""
    editor = Editor(make(), source(80) + "x = '" + "ab" * 400, source(80, seed=2))
    editor.ask()
    editor.pause()
    moved = 0
    for _ in range(40):
        editor.type("c")
        moved += editor.pause() is not None

    assert moved <= 1


def test_a_middle_never_outgrows_its_room() -> None:
    """Somebody who types without any pause is asked to wait at last, for a short prompt."""
    editor = Editor(make(), source(80), source(80, seed=2))
    editor.ask()
    costs = [editor.type(source(1, seed=number))[1] for number in range(60)]
    plan, _ = editor.ask()

    assert plan.typed <= BUDGET.middle
    assert max(costs) <= BUDGET.short.total + BUDGET.middle
    assert sorted(costs)[len(costs) // 2] < 60


def test_a_window_read_in_the_background_is_dropped_when_it_does_not_fit_any_more() -> None:
    """It is laid around the text of its moment."""
    editor = Editor(make(), source(80), source(80, seed=2))
    editor.ask()
    plan = editor.prompts.next_window(OWNER)
    assert plan is not None
    editor.type("x")
    still = editor.prompts.is_current(OWNER, plan)
    editor.after = "new\n" + editor.after
    editor.ask()

    assert still
    assert not editor.prompts.is_current(OWNER, plan)


def test_a_guess_leaves_the_session_as_it_is() -> None:
    """A request in the background asks about text that nobody has accepted: no window is laid around it."""
    editor = Editor(make(), source(80), source(80, seed=2))
    editor.ask()
    session = editor.prompts.session(OWNER)
    window, request, plan = session.window, session.request, session.plan
    guess = FimRequest(id=2, prefix=editor.before + "guess()\n", suffix=editor.after, priority="background")
    elsewhere = FimRequest(id=3, prefix="elsewhere", suffix="", priority="background")
    guessed = editor.prompts.plan(OWNER, guess, editor.cached)

    assert guessed is not None
    assert guessed.middle == "guess()\n"
    assert editor.prompts.plan(OWNER, elsewhere, editor.cached) is None
    assert (session.window, session.request, session.plan) == (window, request, plan)


def test_without_a_session_the_window_is_full() -> None:
    """Nobody comes back to it, so nothing could be widened later."""
    prompts = make()
    request = FimRequest(id=1, prefix=source(80), suffix=source(80))
    plan = prompts.plan((1, ""), request, [])

    assert plan is not None
    assert not plan.window.is_short
    assert prompts.known((1, "")) is None


def test_a_cut_word_is_held_back_in_every_layout() -> None:
    """The prompt ends before the word that the cursor cuts; the text is prompt and held tokens together."""
    pieces = [bytes([number]) for number in range(256)] + [b""] * 3 + [b"return"]
    index = VocabularyIndex(pieces)
    for order, typed in (("psm", "after"), ("spm", "after"), ("spm", "before"), ("psm", "before")):
        layout = Layout(order, typed, FimTokens(pre=PRE, suf=SUF, mid=MID))  # type: ignore[arg-type]
        prompts = Infilling(layout, lambda: BUDGET, index, lambda text: list(text.encode()))
        request = FimRequest(id=1, prefix="x = 1\nretu", suffix="\n")
        plan = prompts.plan((1, ""), request, [])
        whole = prompts.plan((1, ""), FimRequest(id=1, prefix="x = 1\nretu", suffix="\n", heal=False), [])

        assert plan is not None
        assert whole is not None
        assert bytes(plan.held) == b"retu"
        assert whole.held == []
        assert len(whole.prompt) == len(plan.prompt) + 4


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_prompt_always_shows_what_the_file_says(data: st.DataObject) -> None:
    """After any edits and jumps, head and middle end the text before the cursor, and the suffix begins what follows."""
    text = data.draw(st.sampled_from([source(60), source(60).replace("\n", "\r\n"), "", "x" * 3_000, "é😀\t\n" * 200]))
    editor = Editor(make(), text, "")
    for _ in range(data.draw(st.integers(1, 12))):
        whole = editor.before + editor.after
        at = data.draw(st.integers(0, len(whole)))
        editor.before, editor.after = whole[:at], whole[at:]
        editor.before = editor.before[: len(editor.before) - data.draw(st.integers(0, 30))]
        editor.before += data.draw(st.text(alphabet="ab (\n)é😀\t", max_size=40))
        plan, _ = editor.ask()
        head, suffix, middle = text_of(plan)

        assert editor.before.endswith(head + middle)
        assert after_closers(editor.after).startswith(suffix)
        assert len(plan.prompt) <= BUDGET.full.total * 1.34 + BUDGET.middle
        if data.draw(st.booleans()):
            editor.pause()


def test_a_packed_window_is_the_same_again() -> None:
    """And other bytes are no window."""
    editor = Editor(make(), source(80), source(80, seed=2))
    window = editor.ask()[0].window

    assert infilling.unpack(infilling.pack(window)) == window
    assert infilling.unpack(b"\x00") is None
    assert infilling.unpack(b"") is None
