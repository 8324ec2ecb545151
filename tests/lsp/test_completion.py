"""Ghost text: when it comes, what it looks like, and when there is none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from lsprotocol import types

from botframework import errors
from botframework.lsp.asking import document_session, is_one_line
from botframework.lsp.debounce import LONGEST_WAIT_S, PAUSE_FACTOR, Rhythm
from botframework.lsp.edits import single_edit
from support.ghost_editor import GhostEditor, only
from support.lsp_client import LspClient, LspError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]
    Journal = Callable[[], list[dict[str, Any]]]

URI = "file:///a.py"
NOTHING: dict[str, Any] = {"items": []}


async def ready(client: LspClient, text: str = "") -> None:
    """Initialize, wait for the made-up model, open a document."""
    await client.initialize()
    await client.notification("$/botframework/modelReady")
    await client.open(URI, text)


async def ghost(client: LspClient, line: int = 0, character: int = 999) -> Any:
    """Ask and wait."""
    return await client.result(await client.inline(URI, line, character))


def requests(journal: Journal) -> list[dict[str, Any]]:
    """The requests that reached the router."""
    return [entry["request"] for entry in journal() if entry["event"] == "request"]


async def test_capabilities(fake: Fake) -> None:
    """The provider is advertised whether or not the client declares the feature, positions are UTF-16."""
    for capabilities in ({}, {"general": {"positionEncodings": ["utf-8", "utf-16"]}}):
        async with fake() as client:
            told = (await client.initialize(capabilities))["capabilities"]
            assert told["inlineCompletionProvider"] == {}
            assert told["positionEncoding"] == "utf-16"
            assert told["textDocumentSync"] | {"save": None} == {"openClose": True, "change": 2, "save": None}
            assert told["executeCommandProvider"] == {"commands": ["botframework.accepted"]}


async def test_a_suggestion_has_a_range_and_a_command(fake: Fake) -> None:
    """The range is the cursor in UTF-16, also after an emoji; accepting is counted."""
    async with fake() as client:
        await ready(client, "x = '😀' # text=done")
        item = (await ghost(client))["items"][0]

        assert item["insertText"] == "done"
        assert item["range"] == {"start": {"line": 0, "character": 20}, "end": {"line": 0, "character": 20}}
        assert item["command"]["command"] == "botframework.accepted"

        await client.request(
            "workspace/executeCommand",
            {"command": item["command"]["command"], "arguments": item["command"]["arguments"]},
        )
        status = await client.request("botframework/status")
        assert (status["suggestionsShownToday"], status["suggestionsAcceptedToday"]) == (1, 1)


async def test_unknown_commands_are_refused(fake: Fake) -> None:
    """Only our own command is carried out."""
    async with fake() as client:
        await ready(client)
        for params in ({"command": "rm"}, {"command": "botframework.accepted", "arguments": [1, 2]}):
            with pytest.raises(LspError, match="-32602"):
                await client.request("workspace/executeCommand", params)


async def test_what_the_worker_is_asked(fake: Fake, journal: Journal) -> None:
    """The text on both sides of the cursor, the document's session, the settings' limits."""
    async with fake("--set", "completion.maxTokens=33", "--set", "completion.deadlineMs=777") as client:
        await ready(client, "a = 1\ntext=b\nc = 3\n")
        await ghost(client, 1)
        (request,) = requests(journal)

        assert request["prefix"] == "a = 1\ntext=b"
        assert request["suffix"] == "\nc = 3\n"
        assert request["session"] == URI
        assert (request["max_tokens"], request["deadline_ms"]) == (33, 777)
        assert request.get("stop", ()) == ()
        assert (request["ghost"], request.get("one_line", False), request["line_budget_ms"]) == (True, False, 500)
        assert (request["sampling"]["infill"], request["sampling"]["temperature"]) == (True, 0.0)


async def test_edits_are_followed(fake: Fake, journal: Journal) -> None:
    """The text is the one after the edits that came before the request; one that comes after it ends the request."""
    async with fake() as client:
        await ready(client, "text=one")

        def edit(start: int, end: int, text: str, version: int) -> dict[str, Any]:
            area = {"start": {"line": 0, "character": start}, "end": {"line": 0, "character": end}}
            return {
                "textDocument": {"uri": URI, "version": version},
                "contentChanges": [{"range": area, "text": text}],
            }

        await client.notify("textDocument/didChange", edit(5, 8, "two pause_ms=60000", 2))
        number = await client.inline(URI, 0, 99)
        await client.until_journal(lambda: len(requests(journal)) == 1)
        await client.notify("textDocument/didChange", edit(5, 99, "three", 3))

        assert await client.result(number) == NOTHING
        assert requests(journal)[0]["prefix"] == "text=two pause_ms=60000"
        assert (await ghost(client))["items"][0]["insertText"] == "three"


async def test_the_newest_request_wins(fake: Fake, journal: Journal) -> None:
    """Older requests of the document get an empty list and their generations are stopped; other documents' go on."""
    async with fake("--set", "completion.prefetch=false") as client:
        await ready(client, "tokens=1000 pause_ms=20\ntext=new")
        await client.open("file:///b.py", "tokens=2 pause_ms=100")
        other = await client.inline("file:///b.py", 0, 99)
        old = [await client.inline(URI, 0, 99)]
        await client.until_journal(lambda: len(requests(journal)) == 2)
        old += [await client.inline(URI, 0, 99) for _ in range(4)]
        new = await client.inline(URI, 1, 99)

        assert (await client.result(new))["items"][0]["insertText"] == "new"
        assert [await client.result(number) for number in old] == [NOTHING] * 5
        assert (await client.result(other))["items"][0]["insertText"] == "0 1"
        events = [entry["event"] for entry in journal()]
        assert events.count("cancel") == events.count("request") - 2 > 0


async def test_a_cancelled_request_says_so(fake: Fake) -> None:
    """-32800 goes to the id that the client cancelled."""
    async with fake() as client:
        await ready(client, "tokens=1000 pause_ms=20")
        number = await client.inline(URI, 0, 99)
        await client.notify("$/cancelRequest", {"id": number})
        assert (await client.answer(number))["error"]["code"] == -32800


async def test_closing_the_document_ends_its_request(fake: Fake, journal: Journal) -> None:
    """Nobody can look at the suggestion any more, and the session is forgotten."""
    async with fake() as client:
        await ready(client, "tokens=1000 pause_ms=20")
        number = await client.inline(URI, 0, 99)
        await client.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        assert await client.result(number) == NOTHING
        await client.until_journal(lambda: any(entry["event"] == "close" for entry in journal()))
        assert await ghost(client) == NOTHING


@pytest.mark.parametrize(
    "failure",
    [
        "ModelLoading",
        "ModelCannotInfill",
        "ServerBusy",
        "WorkerCrashed",
        "DeadlineExceeded",
        "WorkerUnavailable",
        "ADefect",
    ],
)
async def test_errors_are_no_toasts(fake: Fake, failure: str) -> None:
    """Whatever goes wrong, the editor gets an empty list and not an error."""
    async with fake() as client:
        await ready(client, f"fail={failure}")
        assert await ghost(client) == NOTHING


@pytest.mark.parametrize("state", ["loading", "error", "restarting", "stopped"])
async def test_no_ghost_text_without_a_model(fake: Fake, state: str) -> None:
    """While the model loads, and when it cannot be loaded: an empty list."""
    async with fake(state=state) as client:
        await client.initialize()
        await client.open(URI, "text=x")
        assert await ghost(client) == NOTHING


async def test_no_ghost_text_when_it_is_switched_off(fake: Fake, journal: Journal) -> None:
    """The setting stops everything."""
    async with fake("--set", "completion.enabled=false") as client:
        await ready(client, "text=x")
        assert await ghost(client) == NOTHING
        assert requests(journal) == []


async def test_blank_text_is_nothing(fake: Fake) -> None:
    """A suggestion of spaces and line ends is not shown."""
    async with fake() as client:
        await ready(client, "text=\\s\\n\\s")
        assert await ghost(client) == NOTHING
        assert (await client.request("botframework/status"))["suggestionsShownToday"] == 0


async def test_odd_positions(fake: Fake) -> None:
    """Past the end, inside a surrogate pair, in an unknown document: never an error."""
    async with fake() as client:
        await ready(client, "text=x\n😀")
        assert (await ghost(client, 0, 2**31 - 1))["items"][0]["range"]["start"] == {"line": 0, "character": 6}
        assert (await ghost(client, 1, 1))["items"][0]["range"]["start"] == {"line": 1, "character": 0}
        assert (await ghost(client, 99, 99))["items"][0]["range"]["start"] == {"line": 1, "character": 2}
        assert await client.result(await client.inline("file:///unknown", 0, 0)) == NOTHING


async def test_lone_surrogates_are_replaced(fake: Fake, journal: Journal) -> None:
    """No encoding accepts half a character, so the worker never gets one."""
    async with fake() as client:
        await ready(client, "\ud800 text=x")
        assert (await ghost(client))["items"][0]["insertText"] == "x"
        assert requests(journal)[0]["prefix"] == "\ufffd text=x"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("foo(", ", bar)\n", True),
        ("foo(", ")\n", False),
        ("foo(", ')"]}\n', False),
        ("x = ", "", False),
        ("x = ", "\ny = 1\n", False),
        ("if x", ":\n    y()\n", True),
        ("if x:", "\r\n\r\n    y()\r\n", True),
        ("foo(a,", "\n    b)\n", True),
        ("", "\n    return x\n", False),
        ("    ", "\n        deeper\n", False),
        ("\tx = 1", "\n    y = 2\n", False),
        ("done()", "\n" * 10_000 + "    x", False),
    ],
)
def test_one_line_or_several(before: str, after: str, *, expected: bool) -> None:
    """One where text follows on the line, and where the block below the line is there already."""
    assert is_one_line(before, after) is expected


def test_session_names_fit() -> None:
    """A long URI is shortened, and two long URIs stay two sessions."""
    long = "file:///" + "x" * 3_000
    assert document_session("file:///a") == "file:///a"
    assert len(document_session(long)) == 512
    assert document_session(long) != document_session(long + "y")


# --- botframework/complete --------------------------------------------------------------------------------------------


async def test_complete_at_a_position(fake: Fake) -> None:
    """The whole text, why it ended, and what it cost."""
    async with fake() as client:
        await ready(client, "tokens=2")
        params = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 8}}
        assert await client.request("botframework/complete", params) == {
            "text": "0 1 ",
            "finishReason": "stop",
            "usage": {"promptTokens": 7, "cachedTokens": 3, "evaluatedTokens": 4, "completionTokens": 2},
            "timings": {"queueMs": 0.0, "firstTokenMs": 1.0, "promptMs": 1.0, "decodeMs": 2.0},
        }


async def test_complete_raw_text_streamed(fake: Fake, journal: Journal) -> None:
    """With a partialResultToken the text comes as progress and the final text is empty."""
    async with fake() as client:
        await ready(client)
        params = {
            "prefix": "x" * 100_000 + "\ntokens=20 pause_ms=1",
            "suffix": "y" * 100_000,
            "maxTokens": 5,
            "stop": ["END"],
            "sampling": {"temperature": 0.5, "seed": 3, "logitBias": {"123": -1.0}},
            "session": "mine",
            "deadlineMs": 1_000,
            "partialResultToken": 5,
        }
        result = await client.request("botframework/complete", params)
        (request,) = requests(journal)

        assert result["text"] == ""
        assert "".join(value["text"] for value in client.progress[5]) == "".join(f"{n} " for n in range(20))
        assert all(value["kind"] == "token" for value in client.progress[5])
        assert (len(request["prefix"]), len(request["suffix"])) == (65_536, 65_536)
        assert request["sampling"]["logitBias"] == {"123": -1.0}
        assert (request["session"], request["max_tokens"], request["deadline_ms"]) == ("mine", 5, 1_000)


@pytest.mark.parametrize("failure", ["ModelLoading", "ServerBusy", "WorkerCrashed", "ModelCannotInfill"])
async def test_complete_tells_errors(fake: Fake, failure: str) -> None:
    """A program that asks wants to know why not: code, kind, and whether to try again."""
    from botframework import errors

    async with fake() as client:
        await ready(client)
        with pytest.raises(LspError) as error:
            await client.request("botframework/complete", {"prefix": f"fail={failure}"})
        assert error.value.code == getattr(errors, failure).code
        assert error.value.data == {"kind": failure, "retryable": getattr(errors, failure).retryable}


async def test_complete_in_a_document_that_is_not_open(fake: Fake) -> None:
    """-32602, pointing at the URI."""
    async with fake() as client:
        await ready(client)
        params = {"textDocument": {"uri": "file:///no"}, "position": {"line": 0, "character": 8}}
        with pytest.raises(LspError) as error:
            await client.request("botframework/complete", params)
        assert (error.value.code, error.value.data["pointer"]) == (-32602, "/textDocument/uri")


# --- the order of things, in one process ------------------------------------------------------------------------------


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


async def test_a_client_that_only_edits_costs_nothing() -> None:
    """After some dozens of keys without a question nothing is read ahead, until somebody asks."""
    editor = GhostEditor("x = 1\n")
    await editor.suggestion("z")
    for _ in range(200):
        editor.type("a")
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
