"""Pause, resume, inspect, sessions, and what the client tells about its suggestions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.lsp_client import LspClient, LspError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]
    Journal = Callable[[], list[dict[str, Any]]]

HEARTBEAT = "$/botframework/heartbeat"
URI = "file:///a.py"
HERE = {"textDocument": {"uri": URI}}
POINT = {"line": 0, "character": 0}
PLACE = {"start": POINT, "end": POINT}


async def ready(client: LspClient, capabilities: dict[str, Any] | None = None) -> None:
    """Initialize and wait for the made-up model."""
    await client.initialize(capabilities)
    await client.notification("$/botframework/modelReady")


async def suggestion(client: LspClient, text: str = "text=print(x)") -> list[dict[str, Any]]:
    """The items of ghost text for a line that says what it is."""
    await client.open(URI, text)
    items: list[dict[str, Any]] = (await client.result(await client.inline(URI, 0, len(text))))["items"]
    return items


async def until_counted(client: LspClient, accepted: int) -> None:
    """Wait for the heartbeat's figure."""
    await client.notification(HEARTBEAT, lambda params: params["suggestionsAcceptedToday"] == accepted)


def asked(journal: Journal) -> int:
    """How many requests the model got."""
    return sum(entry["event"] == "request" for entry in journal())


async def test_paused(fake: Fake, journal: Journal) -> None:
    """No ghost text, and the model is not asked for any; the heartbeat says so; the rest of the daemon answers."""
    async with fake("--set", "heartbeatS=60") as client:
        await ready(client)
        assert (await client.request("botframework/pause"))["state"] == "paused"
        await client.notification(HEARTBEAT, lambda params: params["state"] == "paused")

        assert await suggestion(client) == []
        change = {"range": PLACE, "text": "y"}
        await client.notify(
            "textDocument/didChange", {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [change]}
        )
        assert (await client.request("botframework/inspect", HERE))["reason"] == "paused"
        assert asked(journal) == 0
        chat = {"messages": [{"role": "user", "content": "tokens=1"}]}
        assert (await client.request("botframework/chat", chat))["text"] == "0 "
        assert (await client.request("botframework/complete", {"prefix": "tokens=1"}))["text"] == "0 "

        assert (await client.request("botframework/pause"))["state"] == "paused"
        assert (await client.request("botframework/resume"))["state"] == "ready"
        assert await suggestion(client)


async def test_pause_hides_no_other_state(fake: Fake) -> None:
    """A model that loads, loads, and is paused when it is ready."""
    async with fake("--set", "heartbeatS=60", load_ms=300) as client:
        await client.initialize({"experimental": {"serverStatusNotification": True}})
        await client.notification(HEARTBEAT, lambda params: params["state"] == "loading")
        assert (await client.request("botframework/pause"))["state"] in {"loading", "paused"}
        await client.notification(HEARTBEAT, lambda params: params["state"] == "paused")
        told = await client.notification("experimental/serverStatus", lambda params: "paused" in params["message"])
        assert (told["health"], told["quiescent"]) == ("ok", True)


async def test_inspect(fake: Fake) -> None:
    """The prompt of the document's session, and whether its last suggestion was shown."""
    async with fake() as client:
        await ready(client)
        assert await suggestion(client)
        told = await client.request("botframework/inspect", HERE)

        assert (told["shown"], told["reason"], told["source"]) == (True, "", "model")
        assert (told["found"], told["prompt"], told["promptTokens"], told["evaluatedTokens"]) == (True, URI, 7, 2)
        assert told["timings"]["firstTokenMs"] == 1.0


async def test_inspect_says_why_nothing_was_shown(fake: Fake) -> None:
    """A suggestion of blanks is dropped, and that is told."""
    async with fake() as client:
        await ready(client)
        assert await suggestion(client, "text=\\s\\s") == []
        told = await client.request("botframework/inspect", HERE)

        assert (told["shown"], told["reason"]) == (False, "whitespaceOnly")


async def test_inspect_of_what_was_not_asked(fake: Fake) -> None:
    """An open document without a request has no reason but that; one that is not followed is an error."""
    async with fake() as client:
        await ready(client)
        await client.open(URI, "")
        assert (await client.request("botframework/inspect", HERE))["reason"] == "notAsked"
        with pytest.raises(LspError) as error:
            await client.request("botframework/inspect", {"textDocument": {"uri": "file:///other"}})
        assert (error.value.code, error.value.data["pointer"]) == (-32602, "/textDocument/uri")


async def test_inspect_while_there_is_no_model(fake: Fake) -> None:
    """There is no prompt then, and the reason is told all the same."""
    async with fake(load_ms=60_000) as client:
        await client.initialize()
        assert await suggestion(client) == []
        told = await client.request("botframework/inspect", HERE)

        assert (told["found"], told["reason"], told["detail"]) == (False, "noModel", "ModelLoading")


async def test_visits_are_counted_for_open_documents(fake: Fake, journal: Journal) -> None:
    """A visit is a hint that costs nothing; those of documents that are not open, and malformed ones, are dropped."""
    async with fake() as client:
        await ready(client)
        await client.open(URI, "")
        for visit in (HERE | {"range": PLACE}, {"textDocument": {"uri": "file:///b"}, "range": PLACE}, HERE, None):
            await client.notify("botframework/didVisit", visit)
        assert (await client.request("botframework/inspect", HERE))["visits"] == 1
        await client.notify("textDocument/didClose", HERE)
        await client.open(URI, "")
        assert (await client.request("botframework/inspect", HERE))["visits"] == 0
        assert asked(journal) == 0


async def test_acceptance_by_the_command_counts_once(fake: Fake) -> None:
    """However often the client carries the command out; an id that we never gave counts nothing."""
    async with fake("--set", "heartbeatS=0.1") as client:
        await ready(client)
        (item,) = await suggestion(client)
        command = {"command": item["command"]["command"], "arguments": item["command"]["arguments"]}
        for _ in range(3):
            assert await client.request("workspace/executeCommand", command) is None
        await client.request("workspace/executeCommand", command | {"arguments": ["no-such"]})
        await until_counted(client, 1)
        assert (await client.request("botframework/status"))["suggestionsAcceptedToday"] == 1


async def test_a_partial_acceptance_counts_once(fake: Fake) -> None:
    """Copilot's notifications are understood, with whatever fields the client adds to the item."""
    async with fake("--set", "heartbeatS=0.1") as client:
        await ready(client)
        (item,) = await suggestion(client)
        item |= {"somethingElse": {"x": 1}}
        await client.notify("textDocument/didShowCompletion", {"item": item})
        for length in (2, 5):
            await client.notify("textDocument/didPartiallyAcceptCompletion", {"item": item, "acceptedLength": length})
        await until_counted(client, 1)
        assert (await client.request("botframework/status"))["suggestionsAcceptedToday"] == 1


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"item": 5},
        {"item": {}, "acceptedLength": 1},
        {"item": {"command": None}, "acceptedLength": -1},
        {"item": {"command": {"command": "botframework.accepted", "arguments": None}}, "acceptedLength": 1},
        {"item": {"command": {"command": "botframework.accepted", "arguments": [5]}}, "acceptedLength": 1},
        {"item": {"command": {"command": "other", "arguments": ["1"]}}, "acceptedLength": 2**31},
    ],
)
async def test_odd_reports_change_nothing(fake: Fake, params: Any) -> None:
    """Whatever a client reports about a suggestion, nothing is answered, counted or broken."""
    async with fake() as client:
        await ready(client)
        for method in ("textDocument/didShowCompletion", "textDocument/didPartiallyAcceptCompletion"):
            await client.notify(method, params)
        status = await client.request("botframework/status")
        assert (status["suggestionsShownToday"], status["suggestionsAcceptedToday"]) == (0, 0)
        assert await client.leave() == 0


async def test_clear_goes_to_the_worker(fake: Fake, journal: Journal) -> None:
    """The answer is what is left."""
    async with fake() as client:
        await ready(client)
        assert await client.request("botframework/sessions/clear") == {"sessions": []}
        assert any(entry["event"] == "clear" for entry in journal())
