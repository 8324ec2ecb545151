"""The main job, from the first byte to the last: an editor, a daemon, a worker and the embedded model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from botframework.manager.load import EMBEDDED_MODEL
from support.processes import Watch, family
from support.real_daemon import GREEDY, HELLO, PATIENCE_S, be_ready, daemon, ready_daemon, status, streamed

if TYPE_CHECKING:
    from pathlib import Path

    from support.lsp_client import LspClient

pytestmark = pytest.mark.skipif(not EMBEDDED_MODEL.is_file(), reason="the package was built without its model")

CAPABILITIES = {
    "window": {"workDoneProgress": True},
    "experimental": {"serverStatusNotification": True},
    "textDocument": {"inlineCompletion": {}},
}
URI = "file:///work/shapes.py"
SOURCE = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return "
LINE, CHARACTER = 5, 11


def received(client: LspClient, method: str) -> list[Any]:
    """The parameters of all notifications of a method."""
    return [message["params"] for message in client.messages if message.get("method") == method]


async def test_from_initialize_to_exit(home: Path) -> None:
    """The whole job in one sitting: load with progress, ghost text, a streamed chat, heartbeats, and a clean end.

    Afterwards no process and no socket is left.
    """
    async with daemon(home) as client:
        loaded = await be_ready(client, CAPABILITIES)
        await client.open(URI, SOURCE)
        suggestion = await client.result(await client.inline(URI, LINE, CHARACTER))
        question = {"messages": HELLO, "maxTokens": 20, "sampling": GREEDY, "partialResultToken": "answer"}
        answer = await client.request("botframework/chat", question)
        now = await status(client)
        with Watch(client.process.pid, *family(client.process.pid)) as everybody:
            code = await client.leave()
            assert await everybody.gone_after(time.monotonic()) <= 2.0

    assert client.foreign == b""
    assert code == 0
    assert list(home.glob("*.sock")) == []
    assert loaded["model"]["canInfill"]
    (item,) = suggestion["items"]
    here = {"line": LINE, "character": CHARACTER}
    assert item["insertText"].strip()
    assert item["range"] == {"start": here, "end": here}
    assert item["command"]["command"] == "botframework.accepted"
    assert answer["text"] == ""
    assert answer["usage"]["completionTokens"] == 20
    assert streamed(client, "answer").strip()
    assert (now["state"], now["clients"], now["suggestionsShownToday"]) == ("ready", 1, 1)
    assert now["workerPid"] not in (0, client.process.pid)


async def test_what_an_editor_hears_while_the_model_loads(home: Path) -> None:
    """Progress begins and ends, ``modelReady`` comes once, heartbeat and server status go from loading to ready.

    A completion that is asked too early gets an empty list and no error.
    """
    async with daemon(home) as client:
        await client.initialize(CAPABILITIES)
        await client.open(URI, SOURCE)
        early = await client.result(await client.inline(URI, LINE, CHARACTER))
        await client.notification("$/botframework/modelReady", timeout_s=PATIENCE_S)
        beat = await client.notification("$/botframework/heartbeat", lambda beat: beat["state"] == "ready")
        fine = await client.notification("experimental/serverStatus", lambda status: status["quiescent"])
        await client.leave()

    (progress,) = [values for token, values in client.progress.items() if str(token).startswith("botframework/load")]
    kinds = [value["kind"] for value in progress]
    percentages = [value["percentage"] for value in progress if "percentage" in value]
    assert early == {"items": []}
    assert (kinds[0], kinds[-1]) == ("begin", "end")
    assert percentages == sorted(percentages)
    assert percentages[-1] <= 100
    assert len(received(client, "$/botframework/modelReady")) == 1
    states = [beat["state"] for beat in received(client, "$/botframework/heartbeat")]
    assert states.index("loading") < states.index("ready")
    assert beat["loadPercent"] == 100
    assert beat["workerPid"] > 0
    assert fine["health"] == "ok"
    assert not received(client, "experimental/serverStatus")[0]["quiescent"]
    assert received(client, "window/showMessage") == []


async def test_heartbeats_come_by_themselves(home: Path, models: Any) -> None:
    """Without anything happening a heartbeat comes at the interval that is set, and shows what is in use."""
    async with ready_daemon(home, models.tiny, "--set", "heartbeatS=0.2") as client:
        await client.request("botframework/complete", {"prefix": "x = ", "maxTokens": 4, "session": "doc"})
        before = len(received(client, "$/botframework/heartbeat"))
        await client.until(lambda: len(received(client, "$/botframework/heartbeat")) >= before + 5)
        last = received(client, "$/botframework/heartbeat")[-1]

    assert last["kvTokens"] > 0
    assert last["kvCells"] > last["kvTokens"]
    assert 0 < last["ramUsed"] <= last["ramTotal"]
    assert last["daemonRss"] > 0
    assert last["workerRss"] > 0


async def test_a_streamed_answer_is_the_answer(home: Path, models: Any) -> None:
    """Streamed pieces with rising indices and an empty final text are the same text that comes whole without a token.

    A work-done token reports the beginning and the end.
    """
    question = {"messages": HELLO, "maxTokens": 60, "sampling": GREEDY}
    hole = {"prefix": "def add(a, b):\n    ", "suffix": "\n", "maxTokens": 60, "sampling": GREEDY}
    async with ready_daemon(home, models.tiny) as client:
        for method, params in (("chat", question), ("complete", hole)):
            whole = await client.request(f"botframework/{method}", params)
            tokens = {"partialResultToken": f"{method}-text", "workDoneToken": f"{method}-work"}
            ended = await client.request(f"botframework/{method}", params | tokens)

            pieces = client.progress[f"{method}-text"]
            indices = [piece["index"] for piece in pieces]
            assert {piece["kind"] for piece in pieces} == {"token"}
            assert indices[0] == 0
            assert indices == sorted(set(indices))
            assert ended["text"] == ""
            assert streamed(client, f"{method}-text") == whole["text"]
            assert ended["finishReason"] == whole["finishReason"] == "length"
            assert ended["usage"]["completionTokens"] == 60
            assert ended["timings"]["firstTokenMs"] > 0
            assert [value["kind"] for value in client.progress[f"{method}-work"]] == ["begin", "end"]


async def test_sessions_are_listed_and_closed(home: Path, models: Any) -> None:
    """A named session keeps what was read, shows up with its tokens, and is gone when it is closed."""
    text = "def add(a, b):\n    return a"
    async with ready_daemon(home, models.tiny) as client:
        first = await client.request("botframework/complete", {"prefix": text, "maxTokens": 3, "session": "doc"})
        more = {"prefix": text + " +", "maxTokens": 3, "session": "doc"}
        second = await client.request("botframework/complete", more)
        listed = await client.request("botframework/sessions/list")
        closed = await client.request("botframework/sessions/close", {"session": "doc"})
        again = await client.request("botframework/complete", more)

    assert first["usage"]["cachedTokens"] == 0
    # The word that the cursor cuts is generated again, not read.
    assert first["usage"]["promptTokens"] - 4 <= first["usage"]["evaluatedTokens"] <= first["usage"]["promptTokens"]
    assert 0 < second["usage"]["evaluatedTokens"] <= 5
    ((session,),) = listed.values()
    assert (session["session"], session["context"], session["busy"]) == ("doc", "fim", False)
    assert session["tokens"] >= second["usage"]["promptTokens"]
    assert closed == {"sessions": []}
    assert again["usage"]["cachedTokens"] == 0


async def test_a_newer_keystroke_takes_the_place_of_an_older_one(home: Path, models: Any) -> None:
    """Of several completion requests of one document the newest is answered with text, the others with nothing."""
    async with ready_daemon(home, models.slow) as client:
        await client.open(URI, SOURCE)
        numbers = [await client.inline(URI, LINE, CHARACTER) for _ in range(4)]
        results = [await client.result(number) for number in numbers]

    assert [len(result["items"]) for result in results] == [0, 0, 0, 1]


async def test_the_embedded_model_is_what_a_fresh_machine_has(home: Path) -> None:
    """Nothing is configured, so the model of the package is loaded, and says so."""
    async with ready_daemon(home) as client:
        now = await status(client)

    assert now["modelPath"] == str(EMBEDDED_MODEL.resolve())
    assert now["error"] is None
