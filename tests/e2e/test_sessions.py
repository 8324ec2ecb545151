"""What a session leaves behind, and what the user is told about it: with a real worker and real files."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING, Any

import pytest

from botframework import config
from support.lsp_client import LspError
from support.real_daemon import PATIENCE_S, daemon, eventually, state

if TYPE_CHECKING:
    from pathlib import Path

    from support.lsp_client import LspClient

ROOT, URI = "file:///work", "file:///work/shapes.py"
ABOVE = "".join(f"def add_{number}(a, b):\n    return a + b + {number}\n\n\n" for number in range(8))
SOURCE = f"{ABOVE}def subtract(a, b):\n    return "
LINE, CHARACTER = SOURCE.count("\n"), 11
DOCUMENT = {"textDocument": {"uri": URI}}


def files(home: Path) -> list[Path]:
    """Everything below the folder of snapshots."""
    return [path for path in home.rglob("*") if config.SESSIONS_NAME in path.relative_to(home).parts]


async def suggest(client: LspClient, **params: Any) -> dict[str, Any]:
    """Open a document in a workspace, ask for ghost text, and say how that was asked."""
    await client.initialize(**({"rootUri": ROOT} | params))
    await client.notification("$/botframework/modelReady", timeout_s=PATIENCE_S)
    await client.open(URI, SOURCE)
    await client.result(await client.inline(URI, LINE, CHARACTER), timeout_s=PATIENCE_S)
    told: dict[str, Any] = await client.request("botframework/inspect", DOCUMENT)
    return told


async def test_inspect_shows_the_exact_prompt(home: Path, models: Any) -> None:
    """The text around the cursor and nothing else, with its marks, in the order of the model's training."""
    async with daemon(home, models.tiny) as client:
        told = await suggest(client)
        listed = await client.request("botframework/sessions/list")

    assert told["found"]
    assert (told["order"], told["suffix"].strip()) == ("psm", "")
    assert SOURCE.endswith(told["head"] + told["middle"])
    assert told["head"].splitlines()[0] in told["prompt"]
    assert 0 < told["promptTokens"] <= told["cachedTokens"] + told["evaluatedTokens"]
    ((session,),) = listed.values()
    assert (session["session"], session["where"], session["context"]) == (URI, "kv", "fim")
    assert session["bytes"] > 0


async def test_snapshots_are_private_survive_and_are_cleared(home: Path, models: Any) -> None:
    """An idle session is written for this user alone; a new daemon and worker read nothing again; clear deletes all."""
    async with daemon(home, models.tiny) as client:
        first = await suggest(client)
        await eventually(lambda: any(path.suffix == ".kv" for path in files(home)))
        assert await client.leave() == 0
    written = files(home)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in written if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in written if path.is_dir()}

    async with daemon(home, models.tiny) as client:
        second = await suggest(client)
        assert (await client.request("botframework/sessions/clear"))["sessions"] == []
        left = [path for path in files(home) if path.is_file()]
        assert await client.leave() == 0

    assert (modes, folders) == ({0o600}, {0o700})
    assert second["prompt"] == first["prompt"]
    assert second["evaluatedTokens"] <= max(2, first["evaluatedTokens"] * 0.15)
    assert left == []


@pytest.mark.parametrize(
    "how",
    [
        {"initializationOptions": {"workspaceTrusted": False}},
        {"capabilities": {"workspace": {"configuration": True}}},
    ],
    ids=["untrusted", "switched off by the workspace"],
)
async def test_a_workspace_without_snapshots_leaves_nothing(home: Path, models: Any, how: dict[str, Any]) -> None:
    """Not even when the session has been idle, and not after the end."""
    async with daemon(home, models.tiny) as client:
        client.configuration = {"sessions": {"snapshots": False}}
        await suggest(client, **how)
        idle_s = 0.0
        async with asyncio.timeout(PATIENCE_S):
            while idle_s < 6.0:  # twice as long as it takes a session to be written
                heard = len(client.messages)
                await client.until(lambda: len(client.messages) > heard)  # noqa: B023 - the next heartbeat
                ((session,),) = (await client.request("botframework/sessions/list")).values()
                idle_s = session["idleS"]
        assert await client.leave() == 0

    assert [path for path in files(home) if path.is_file()] == []


async def test_a_relative_model_is_an_error_and_not_the_embedded_model(home: Path, models: Any) -> None:
    """The reason is in the state and in every request, although a file of that name lies in the working folder."""
    (home / "mine.gguf").write_bytes(models.tiny.read_bytes())
    async with daemon(home) as client:
        await client.initialize(initializationOptions={"model": "mine.gguf"})
        told = await state(client, "error")
        with pytest.raises(LspError) as error:
            await client.request("botframework/complete", {"prefix": "x"})
        assert await client.leave() == 0

    assert (told["error"]["kind"], told["workerPid"]) == ("ConfigError", 0)
    assert "mine.gguf" in told["error"]["message"]
    assert error.value.code == -33005


async def test_pause_and_resume_on_a_real_worker(home: Path, models: Any) -> None:
    """While it is paused the model reads and writes nothing for ghost text, whatever is typed."""
    async with daemon(home, models.tiny) as client:
        await suggest(client)
        before = await client.request("botframework/pause")
        for number in range(5):
            place = {"line": LINE, "character": CHARACTER + number}
            change = {"range": {"start": place, "end": place}, "text": "a"}
            document = {"uri": URI, "version": 2 + number}
            await client.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})
            answer = await client.result(await client.inline(URI, LINE, CHARACTER + number + 1))
            assert answer["items"] == []
        after = await client.request("botframework/status")
        assert (await client.request("botframework/resume"))["state"] == "ready"

    assert (before["state"], after["state"]) == ("paused", "paused")
    figures = ("promptTokensRead", "tokensGenerated")
    assert [after[name] - before[name] for name in figures] == [0, 0]
    assert before["promptTokensRead"] > 0
