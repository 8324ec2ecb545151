"""Settings from the command line to what the editor says while the daemon runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lsprotocol import types

from botframework.lsp.configuration import workspace_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from support.lsp_client import LspClient

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]
    Journal = Callable[[], list[dict[str, Any]]]

ASKS = {"workspace": {"configuration": True}}


def warnings(client: LspClient) -> list[str]:
    """What was told as a problem of the settings."""
    return [m["params"]["message"] for m in client.messages if m.get("method") == "window/logMessage"]


def settings(journal: Journal) -> dict[str, Any]:
    """The settings that the router was made with."""
    return next(entry for entry in journal() if entry["event"] == "settings")


async def max_tokens(client: LspClient, journal: Journal) -> int:
    """The limit that a completion is asked with; 0: the message's own default."""
    await client.request("botframework/complete", {"prefix": "tokens=1"})
    limit: int = [entry for entry in journal() if entry["event"] == "request"][-1]["request"].get("max_tokens", 0)
    return limit


async def ready(client: LspClient, capabilities: dict[str, Any] | None = None, **params: Any) -> None:
    """Initialize and wait for the made-up model."""
    await client.initialize(capabilities, **params)
    await client.notification("$/botframework/modelReady")


async def test_every_source_in_its_order(fake: Fake, journal: Journal, tmp_path: Path) -> None:
    """What initializationOptions say beats the command line, and that the environment."""
    environ = {"BOTFRAMEWORK_MODEL": "/env.gguf", "BOTFRAMEWORK_COMPLETION_MAX_TOKENS": "11"}
    async with fake("--model", "/cli.gguf", environ=environ) as client:
        await ready(client, initializationOptions={"completion": {"maxTokens": 13}})
        assert settings(journal)["model"] == "/cli.gguf"
        assert await max_tokens(client, journal) == 13


async def test_a_workspace_changes_behaviour_only(fake: Fake, journal: Journal, tmp_path: Path) -> None:
    """Its file may set limits, but not choose the model; that is told once."""
    (tmp_path / "botframework.toml").write_text('model = "/evil.gguf"\n[completion]\nmaxTokens = 17\n')
    async with fake() as client:
        await ready(client, rootUri=tmp_path.as_uri())
        assert settings(journal)["model"] is None
        assert await max_tokens(client, journal) == 17
        assert len([text for text in warnings(client) if "model" in text]) == 1


async def test_the_clients_own_section(fake: Fake, journal: Journal) -> None:
    """workspace/configuration is asked after initialized and again after a change; it wins, for behaviour."""
    async with fake() as client:
        client.configuration = {"completion": {"maxTokens": 19}, "model": "/evil.gguf"}
        await ready(client, ASKS)
        await client.until(lambda: bool(warnings(client)))
        assert await max_tokens(client, journal) == 19
        client.configuration = {"completion": {"maxTokens": 23}, "model": "/evil.gguf"}
        await client.notify("workspace/didChangeConfiguration", {"settings": None})
        async with asyncio.timeout(20):
            while await max_tokens(client, journal) != 23:
                pass
        asked = [m["params"] for m in client.messages if m.get("method") == "workspace/configuration"]
        assert asked == [{"items": [{"section": "botframework"}]}] * 2
        assert len(warnings(client)) == 1


async def test_settings_pushed_by_old_clients(fake: Fake, journal: Journal) -> None:
    """A client that cannot be asked may send its section with the notification."""
    async with fake() as client:
        await ready(client)
        pushed = {"settings": {"botframework": {"completion": {"maxTokens": 29}}, "other": 1}}
        await client.notify("workspace/didChangeConfiguration", pushed)
        assert await max_tokens(client, journal) == 29


@pytest.mark.parametrize("answer", [None, [], "x", 5, {"completion": []}])
async def test_odd_answers_change_nothing(fake: Fake, journal: Journal, answer: Any) -> None:
    """Whatever a client says about its settings, the daemon serves."""
    async with fake("--set", "completion.maxTokens=31") as client:
        client.configuration = answer
        await ready(client, ASKS)
        assert await max_tokens(client, journal) == 31
        assert await client.leave() == 0


async def test_without_an_answer_the_settings_stay(fake: Fake, journal: Journal) -> None:
    """A client that refuses to tell has not said that everything is at its default again."""
    async with fake() as client:
        client.configuration = {"completion": {"maxTokens": 19}, "sessions": {"snapshots": False}}
        await ready(client, ASKS)
        await client.until_journal(lambda: any(entry["event"] == "update" for entry in journal()))
        client.silent = True
        await client.notify("workspace/didChangeConfiguration", {"settings": None})
        ask = "workspace/configuration"
        await client.until(lambda: sum(message.get("method") == ask for message in client.messages) == 2)
        number = [message["id"] for message in client.messages if message.get("method") == ask][-1]
        await client.send({"jsonrpc": "2.0", "id": number, "error": {"code": -32603, "message": "not now"}})
        assert await max_tokens(client, journal) == 19
        assert not any(entry["snapshots"] for entry in journal() if entry["event"] == "update")


async def test_of_two_answers_that_of_the_later_question_counts(fake: Fake, journal: Journal) -> None:
    """A client may answer in any order: what it said to the later question is newer."""
    ask = "workspace/configuration"
    async with fake() as client:
        client.silent = True
        await ready(client, ASKS)
        await client.notify("workspace/didChangeConfiguration", {"settings": None})
        await client.until(lambda: sum(message.get("method") == ask for message in client.messages) == 2)
        first, second = [message["id"] for message in client.messages if message.get("method") == ask]
        for number, limit in ((second, 23), (first, 19)):
            await client.send({"jsonrpc": "2.0", "id": number, "result": [{"completion": {"maxTokens": limit}}]})
        async with asyncio.timeout(20):
            while await max_tokens(client, journal) != 23:
                pass
        assert await max_tokens(client, journal) == 23


async def test_problems_at_the_start_are_logged_at_once(fake: Fake) -> None:
    """A client that never comes as far as initialize is not told, but who looks at the log is."""
    async with fake("--set", "completion.maxTokns=5") as client:
        await client.until_journal(lambda: b"did you mean completion.maxTokens" in client.stderr)
        await ready(client)
        assert len(warnings(client)) == 1
        assert client.stderr.count(b"did you mean completion.maxTokens") == 1


async def test_snapshots_can_be_switched_off_by_the_workspace(fake: Fake, journal: Journal) -> None:
    """The router hears of it, though the editor's settings come after its start."""
    async with fake() as client:
        client.configuration = {"sessions": {"snapshots": False}}
        await ready(client, ASKS)
        await client.until_journal(
            lambda: any(entry["event"] == "update" and not entry["snapshots"] for entry in journal())
        )


@pytest.mark.parametrize(
    ("params", "uri"),
    [
        ({"rootUri": "file:///r"}, "file:///r"),
        (
            {"rootUri": "file:///r", "workspaceFolders": [{"uri": "vscode-remote://x/f", "name": "f"}]},
            "vscode-remote://x/f",
        ),
        ({"rootUri": "file:///r", "workspaceFolders": []}, "file:///r"),
        ({"rootPath": "/p"}, "file:///p"),
        ({}, ""),
    ],
)
async def test_the_router_knows_the_workspace_and_its_trust(
    fake: Fake, journal: Journal, params: dict[str, Any], uri: str
) -> None:
    """The first folder's URI as the client spells it; whether it is trusted says initializationOptions alone."""
    async with fake() as client:
        client.configuration = {"workspaceTrusted": True}
        await ready(client, ASKS, initializationOptions={"workspaceTrusted": False}, **params)
        assert (settings(journal)["root_uri"], settings(journal)["trusted"]) == (uri, False)
        await client.until(lambda: bool(warnings(client)))
        assert "cannot be set by a workspace" in warnings(client)[0]


async def test_unknown_settings_are_told_with_the_nearest_name(fake: Fake) -> None:
    """A misspelt setting is a warning in the client's log, from any source."""
    async with fake("--set", "completion.maxTokns=5") as client:
        await ready(client, initializationOptions={"chat": {"temprature": 1}})
        told = warnings(client)
        assert len(told) == 2
        assert "did you mean completion.maxTokens" in told[0]
        assert "did you mean chat.temperature" in told[1]


@pytest.mark.parametrize(
    ("folders", "uri", "path", "expected"),
    [
        ([types.WorkspaceFolder("file:///a%20b", "a")], "file:///c", None, "/a b"),
        (None, "file:///c", None, "/c"),
        (None, None, "/d", "/d"),
        (None, "untitled:x", None, None),
        (None, None, None, None),
        ([], "file:///c", None, "/c"),
    ],
)
def test_where_the_workspace_is(folders: Any, uri: str | None, path: str | None, expected: str | None) -> None:
    """The first folder, else the root, if it is a local path."""
    params = types.InitializeParams(
        types.ClientCapabilities(), None, root_path=path, root_uri=uri, workspace_folders=folders
    )
    assert workspace_root(params) == (None if expected is None else Path(expected))
