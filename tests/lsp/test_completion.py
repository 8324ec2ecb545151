"""Ghost text: when it comes, what it looks like, and when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from botframework.lsp.asking import document_session, is_one_line
from botframework.wire.text import LINE_END
from support.lsp_client import LspClient, LspError, inline_params

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


async def test_closing_brackets_are_replaced_only_if_the_editor_can(fake: Fake) -> None:
    """A suggestion covers the bracket that the editor closed by itself; with ``replaceClosers`` false it never does."""
    before = "text=1,\\s5) range("
    for options, covered in (({}, 1), ({"completion": {"replaceClosers": False}}, 0)):
        async with fake() as client:
            await client.initialize(initializationOptions=options)
            await client.notification("$/botframework/modelReady")
            await client.open(URI, f"{before})")
            (item,) = (await ghost(client, 0, len(before)))["items"]

            assert item["range"]["end"] == {"line": 0, "character": len(before) + covered}


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


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"position": {"line": -1, "character": 0}}, "/position: line should be in range"),
        ({"context": {"triggerKind": 9}}, "/context/triggerKind: cannot be used"),
        ({"context": None}, "/context: "),
    ],
)
async def test_a_field_that_cannot_be_used_is_named(fake: Fake, change: dict[str, Any], told: str) -> None:
    """Whoever writes a client sees at once which one it is."""
    async with fake() as client:
        await ready(client, "text=x")
        with pytest.raises(LspError) as error:
            await client.request("textDocument/inlineCompletion", inline_params(URI, 0, 6) | change)
        assert error.value.code == -32602
        assert told in str(error.value)


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


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
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
def test_one_line_or_several(before: str, after: str, line_end: str, *, expected: bool) -> None:
    """One where text follows on the line, and where the block below the line is there already."""
    assert is_one_line(LINE_END.sub(line_end, before), LINE_END.sub(line_end, after)) is expected


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
