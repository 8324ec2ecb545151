"""The order of things in one document: what is read ahead, what is stopped, when an answer begins, what is told."""

from __future__ import annotations

import asyncio
import random
import zlib

import pytest
from lsprotocol import types

from botframework import errors
from botframework.lsp import desk as desks
from botframework.lsp.debounce import LONGEST_WAIT_S, PAUSE_FACTOR, Rhythm
from botframework.lsp.edits import single_edit
from support.ghost_editor import GhostEditor, only


async def test_text_is_read_before_anybody_asks() -> None:
    """At every key the text is read ahead with the very text of the next request, and the newest key wins."""
    editor = GhostEditor("x = 1\n")
    editor.type("y")
    assert editor.router.asked == []  # This client has never asked.
    await editor.suggestion("z")
    editor.type("a")
    editor.type("b")
    first, second = editor.router.prefills
    answer = editor.ask()
    asked = await editor.asked(2)

    assert (first.request.prefix, second.request.prefix) == ("x = 1\nya", "x = 1\nyab")
    assert (asked.request.prefix, asked.request.suffix) == (second.request.prefix, second.request.suffix)
    assert (second.request.max_tokens, second.request.session) == (0, editor.uri)
    asked.end("c")
    assert only(await editor.answer(answer)) is not None


async def test_a_running_prefill_is_ended_by_the_next_key_and_not_by_its_request() -> None:
    """The request goes on where the prefill stands; another text makes it useless."""
    editor = GhostEditor("x = 1\n")
    await editor.suggestion("z")
    editor.router.reads_at_once = False
    editor.type("a")
    editor.ask()
    await editor.asked(2)
    (prefill,) = editor.router.prefills
    assert not prefill.is_cancelled
    editor.type("b")
    editor.type("c")
    assert [one.is_cancelled for one in editor.router.prefills] == [False, True, False]


async def test_no_reading_ahead_when_it_is_off() -> None:
    """By the setting, without ghost text, and while paused."""
    off = GhostEditor("x", prefill=False)
    await off.suggestion("y")
    off.type("a")
    assert off.router.prefills == []
    disabled = GhostEditor("x", enabled=False)
    assert await disabled.shown() is None
    assert disabled.outcome == ("disabled", "")
    disabled.type("a")
    assert disabled.router.asked == []
    paused = GhostEditor("x")
    await paused.suggestion("y")
    paused.completion.pause()
    paused.type("a")
    assert paused.router.prefills == []


async def test_keys_that_come_faster_than_they_are_read() -> None:
    """The worker gets a few of them to read ahead and then the newest; a request in between makes that needless."""
    for asks in (False, True):
        editor = GhostEditor("")
        await editor.suggestion("z")
        editor.router.reads_at_once = False
        editor.router.keeps_cancelled = True
        for _ in range(50):
            editor.type("a")
        if asks:
            editor.ask()
            await editor.asked(2)
        before = len(editor.router.prefills)
        for spoken in list(editor.router.prefills):
            spoken.end(finish_reason="cancelled")
        await settled()

        assert before == desks.MAX_READING
        newest = [spoken.request.prefix for spoken in editor.router.prefills[before:]]
        assert newest == ([] if asks else ["a" * 50])
        editor.close()


async def test_what_was_read_is_not_kept() -> None:
    """A thousand documents that were edited once do not keep a thousand copies of their text."""
    editor = GhostEditor("x" * 50_000)
    await editor.suggestion("z")
    editor.type("a")
    assert len(editor.router.prefills) == 1
    await settled()
    desk = editor.completion._desks[editor.uri]
    assert (desk._prefill, desk._reading, desk._run, desk._to_read) == (None, set(), None, None)


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_client_that_only_edits_costs_nothing() -> None:
    """After some dozens of keys without a question nothing is read ahead, until somebody asks."""
    editor = GhostEditor("x = 1\n")
    await editor.suggestion("z")
    for _ in range(200):
        editor.type("a")
        await settled()
    assert len(editor.router.prefills) == 64
    await editor.suggestion("z")
    editor.type("b")
    assert len(editor.router.prefills) == 65


async def test_several_cursors_and_programs_are_not_typing() -> None:
    """Edits at several places, of the whole text, and large ones far away read nothing ahead and end what runs."""
    text = "line\n" * 200
    for changes in (
        [((3, 0), (3, 0), "a"), ((9, 0), (9, 0), "a")],
        [((3, 0), (3, 0), "import something\nimport another\n")],
        [((3, 0), (90, 0), "")],
    ):
        editor = GhostEditor(text)
        await editor.suggestion("word")
        editor.type("\n")
        editor.ask()
        running = await editor.asked(2)
        read = len(editor.router.prefills)
        editor.change(*changes)
        assert running.is_cancelled
        assert len(editor.router.prefills) == read


async def test_one_generation_at_a_time() -> None:
    """However requests, edits and cancels follow one another, no two generations are wanted for one document."""
    editor = GhostEditor("x = ")
    answers = []
    for key in "some text that is typed":
        editor.type(key)
        answers.append(editor.ask())
        if key == " ":
            answers.append(editor.ask())
        if key == "t":
            answers[-1].cancel()
        await asyncio.sleep(0)
        for spoken in editor.router.ghosts[-1:]:
            spoken.say("so")
        await asyncio.sleep(0)
    await editor.until(lambda: all(answer.done() for answer in answers[:-1]))
    assert editor.router.most_running == 1
    editor.close()
    assert not any(spoken.is_running for spoken in editor.router.asked)


async def test_a_selected_item_of_the_list_is_gone_on_from() -> None:
    """The suggestion begins with the item, replaces its range, and the model is asked as if it had been taken."""
    editor = GhostEditor("x.app(1)")
    editor.cursor = (0, 5)
    area = types.Range(types.Position(0, 2), types.Position(0, 5))
    answer = editor.ask(selected=types.SelectedCompletionInfo(area, "append"))
    asked = await editor.asked()
    asked.end("_all")
    item = only(await editor.answer(answer))

    assert asked.request.prefix == "x.append"
    assert item is not None
    assert (item.insert_text, item.range) == ("append_all", area)


async def test_pause_and_resume() -> None:
    """Paused: what runs is stopped, everything is answered empty; resumed: as before."""
    editor = GhostEditor("x = ")
    answer = editor.ask()
    spoken = await editor.asked()
    editor.completion.pause()
    assert only(await editor.answer(answer)) is None
    assert spoken.is_cancelled
    assert await editor.shown() is None
    assert editor.outcome == ("paused", "")
    editor.completion.resume()
    assert await editor.suggestion("y") is not None


async def test_closing_gives_everything_up() -> None:
    """The waiting request is answered, what runs is cancelled, nothing is remembered, a late end changes nothing."""
    editor = GhostEditor("x = ")
    answer = editor.ask()
    spoken = await editor.asked()
    editor.close()
    spoken.end("late")

    assert only(await editor.answer(answer)) is None
    assert spoken.is_cancelled
    assert len(editor.completion._suggestions) == len(editor.completion._desks) == 0
    editor.open("x = ")
    assert await editor.suggestion("y") is not None
    assert len(editor.router.ghosts) == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.ModelLoading("x"), ("noModel", "ModelLoading")),
        (errors.ModelCannotInfill("x"), ("noModel", "ModelCannotInfill")),
        (errors.WorkerUnavailable("x"), ("noModel", "WorkerUnavailable")),
        (errors.ServerBusy("x"), ("failed", "ServerBusy")),
        (errors.DeadlineExceeded("x"), ("cutShort", "DeadlineExceeded")),
        (ZeroDivisionError(), ("failed", "ZeroDivisionError")),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_why_nothing_was_shown(error: Exception, outcome: tuple[str, str], *, late: bool) -> None:
    """Every error is told by its kind, whether it comes at once or from the worker, and is no error to the client."""
    editor = GhostEditor("x = ")
    if late and isinstance(error, errors.BotframeworkError):
        answer = editor.ask()
        (await editor.asked()).fail(error)
    else:
        editor.router.error = error
        answer = editor.ask()
    assert only(await editor.answer(answer)) is None
    found = editor.completion.last_outcome(editor.uri)
    assert (found.reason, found.detail) == outcome
    assert editor.completion.last_outcome("file:///other").reason == "notAsked"


async def test_an_edit_is_the_reason_for_nothing() -> None:
    """Superseded; with the next answer there is a better one."""
    editor = GhostEditor("x = ")
    answer = editor.ask()
    await editor.asked()
    editor.type("y")
    assert only(await editor.answer(answer)) is None
    assert editor.outcome == ("superseded", "")
    await editor.suggestion("z")
    assert editor.outcome == ("", "model")


# --- when an answer begins --------------------------------------------------------------------------------------------


def test_the_wait_follows_the_rhythm() -> None:
    """A little longer than between two keys, less what the model needs; none for who does not type, or types slowly."""
    now = [0.0]
    rhythm = Rhythm(lambda: now[0])
    assert rhythm.wait_s() == 0
    for _ in range(20):
        now[0] += 0.08
        rhythm.key()
    assert rhythm.wait_s() == pytest.approx(PAUSE_FACTOR * 0.08)
    now[0] += 0.03
    assert rhythm.wait_s() == pytest.approx(PAUSE_FACTOR * 0.08 - 0.03)
    now[0] += 1
    assert rhythm.wait_s() == 0
    rhythm.key()
    for _ in range(20):
        rhythm.answered(0.06)
    assert rhythm.wait_s() == pytest.approx(PAUSE_FACTOR * 0.08 - 0.06, abs=0.001)
    rhythm.answered(5)
    assert rhythm.wait_s() == 0


def test_the_wait_has_an_end() -> None:
    """However slowly somebody types."""
    now = [0.0]
    rhythm = Rhythm(lambda: now[0])
    for _ in range(20):
        now[0] += 0.5
        rhythm.key()
    assert rhythm.wait_s() == LONGEST_WAIT_S


async def test_what_is_no_key_has_no_rhythm() -> None:
    """After an accepted suggestion or a paste nobody is in the middle of typing: the answer does not wait."""
    editor = GhostEditor("x = 1\n", debounce_ms=None)
    item = await editor.suggestion("value = compute(x)")
    assert item is not None
    now = [1_000.0]
    rhythm = editor.completion._rhythm = Rhythm(lambda: now[0])
    for key in "ab":
        now[0] += 0.1
        editor.type(key)
    assert rhythm.wait_s() > 0
    now[0] += 5
    editor.type(" + another_long_word")
    assert rhythm.wait_s() == 0


async def test_who_asks_with_a_key_does_not_wait() -> None:
    """The setting's wait is for requests that come by themselves, and a newer request ends it."""
    editor = GhostEditor("x = ", debounce_ms=2_000)
    waiting = editor.ask()
    await asyncio.sleep(0)
    assert editor.router.ghosts == []
    answer = editor.ask(is_invoked=True)
    (await editor.asked()).end("y")
    assert only(await editor.answer(answer)) is not None
    assert only(await editor.answer(waiting)) is None


# --- where the cursor is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inserted", "cursor"),
    [
        ("f", "(", 2),
        ("f", "()", 2),
        ("f", '""', 2),
        ("f", "\n    \n", 6),
        ("f", "\r\n\t\r\n", 4),
        ("f", "\n    ", 6),
        ("f", "", 1),
        ("f", "word", 5),
    ],
)
def test_the_cursor_after_an_edit(text: str, inserted: str, cursor: int) -> None:
    """Behind what was written, but between the brackets that an editor adds."""
    editor = GhostEditor(text)
    start = types.Position(0, len(text))
    change = types.TextDocumentContentChangePartial(types.Range(start, start), inserted)
    editor.documents.change(editor.uri, 2, [change])
    document = editor.documents.get(editor.uri)
    assert document is not None
    edit = single_edit(document, [change], None)
    assert edit is not None
    assert (edit.cursor, edit.is_typing) == (cursor, True)


@pytest.mark.parametrize(
    ("texts", "starts", "cursor"),
    [
        (["a", "b", "c"], [(0, 1), (0, 2), (0, 3)], 4),
        (["😀", "b"], [(0, 1), (0, 3)], 3),
        (["(\r\n", "  ", "x"], [(0, 1), (1, 0), (1, 2)], 7),
        (["a", "b"], [(0, 1), (0, 1)], None),
        (["a", "b"], [(0, 1), (0, 0)], None),
        ([], [], None),
    ],
)
def test_keys_that_come_together(texts: list[str], starts: list[tuple[int, int]], cursor: int | None) -> None:
    """One change for each key in one notification is still typing, if each goes on where the one before ended."""
    editor = GhostEditor("f\n")
    places = [types.Range(types.Position(*start), types.Position(*start)) for start in starts]
    changes = [types.TextDocumentContentChangePartial(*change) for change in zip(places, texts, strict=True)]
    editor.documents.change(editor.uri, 2, changes)
    document = editor.documents.get(editor.uri)
    assert document is not None
    edit = single_edit(document, changes, None)
    assert (edit and (edit.cursor, edit.inserted, edit.is_typing)) == (cursor and (cursor, "".join(texts), True))


# --- whatever is done -------------------------------------------------------------------------------------------------


def written_after(before: str) -> str:
    """What the model of `Chaos` writes after a text: nothing that it would write after another one."""
    number = zlib.crc32(before.encode())
    return f"w{number % 97}(a, b{number % 13})\n  then_{number % 7} = [{number}]\nend"


class Chaos:
    """Types, deletes, asks, cancels, moves, pauses; the model speaks in between."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.editor = GhostEditor("start = 1\nx = ", uri=f"file:///{seed}.py")
        self.answers: list[asyncio.Future[types.InlineCompletionList]] = []
        self.shown = ""
        self.checked = 0
        self.wrong: list[tuple[str, str]] = []

    async def step(self) -> None:
        """One thing, and its consequences."""
        todo = (self.type, self.follow, self.delete, self.ask, self.cancel, self.jump, self.speak, self.pause)
        self.chance.choices(todo, weights=(12, 25, 8, 30, 6, 3, 90, 1))[0]()
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)

    def type(self) -> None:
        """A key of which nobody knows."""
        self.editor.type(
            self.chance.choice(["a", "(", "w", "\n", "foo", " = "]), behind=self.chance.choice(["", "", ")"])
        )

    def follow(self) -> None:
        """The beginning of what was shown or is being written."""
        line, character = self.editor.cursor
        document = self.editor.documents.get(self.editor.uri)
        assert document is not None
        before = document.place(line, character).before
        text = self.shown or written_after(before)
        count = self.chance.randrange(1, 6)
        self.editor.type(text[:count])
        self.shown = text[count:]

    def delete(self) -> None:
        """Back."""
        if self.editor.cursor[1]:
            self.editor.backspace()
            self.shown = ""

    def ask(self) -> None:
        """Remember the text of the question, and compare when the answer comes."""
        line, character = self.editor.cursor
        document = self.editor.documents.get(self.editor.uri)
        assert document is not None
        before = document.place(line, character).before
        answer = self.editor.ask(is_invoked=self.chance.random() < 0.2)
        answer.add_done_callback(lambda answer: self.check(before, answer))
        self.answers.append(answer)

    def check(self, before: str, answer: asyncio.Future[types.InlineCompletionList]) -> None:
        """What is shown goes on from this very text."""
        if answer.cancelled() or not answer.result().items:
            return
        text = str(answer.result().items[0].insert_text)
        self.shown = text
        ways = (written_after(before[: len(before) - typed]) for typed in range(min(80, len(before) + 1)))
        # An assertion in a callback would be lost.
        fits = any(way[typed:].startswith(text) and before.endswith(way[:typed]) for typed, way in enumerate(ways))
        self.checked += fits
        self.wrong += [] if fits else [(before, text)]

    def cancel(self) -> None:
        """The client takes its last question back."""
        for answer in self.answers[-1:]:
            answer.cancel()

    def jump(self) -> None:
        """To another line's end, or to the end of all."""
        document = self.editor.documents.get(self.editor.uri)
        assert document is not None
        line = self.chance.randrange(document.line_count)
        self.editor.cursor = document.position(document.offset(line, 999))
        self.shown = ""

    def speak(self) -> None:
        """The model says a piece, or comes to its end."""
        for spoken in self.editor.router.asked:
            if spoken.is_running and not spoken.is_prefill and self.chance.random() < 0.7:
                text = written_after(spoken.request.prefix)
                said = sum(len(piece) for piece in spoken.said)
                if said < len(text):
                    spoken.say(text[said : said + self.chance.randrange(1, 40)])
                else:
                    spoken.end()

    def pause(self) -> None:
        """And go on."""
        self.editor.completion.pause()
        self.editor.completion.resume()


async def test_whatever_is_done_the_answer_fits_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """In hundreds of wild sessions no suggestion of another place is ever shown, and nothing is left running."""
    monkeypatch.setattr(desks, "PREFETCH_AFTER_S", 0.0)
    monkeypatch.setattr(desks, "on_battery", lambda: False)
    checked = prefetched = 0
    for seed in range(150):
        chaos = Chaos(seed)
        for _ in range(400):
            await chaos.step()
        chaos.editor.close()
        await asyncio.sleep(0)
        for answer in chaos.answers:
            if not answer.cancelled():
                await chaos.editor.answer(answer)
        checked += chaos.checked
        prefetched += len(chaos.editor.router.prefetches)

        assert chaos.wrong == []
        assert chaos.editor.router.most_running <= 1
        assert not any(spoken.is_running and not spoken.is_prefill for spoken in chaos.editor.router.asked)
    assert checked > 1_000
    assert prefetched > 50
