"""``botframework/edit`` with the embedded model: whatever it writes, the promises about the document hold."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from botframework.manager.load import EMBEDDED_MODEL
from support.lsp_client import LspError
from support.real_daemon import NEVER_ENDING, PATIENCE_S, ready_daemon, state, status, streamed, streaming

if TYPE_CHECKING:
    from pathlib import Path

    from support.lsp_client import LspClient
    from support.real_daemon import Models

pytestmark = pytest.mark.skipif(not EMBEDDED_MODEL.is_file(), reason="the package was built without its model")

URI = "file:///work/shapes.py"
SOURCE = "import math\r\n\r\n\r\ndef area(r):\r\n    return 3 * r * r\r\n\r\n\r\nprint(area(2))\r\n"
BODY = {"start": {"line": 4, "character": 0}, "end": {"line": 5, "character": 0}}


def edit(**more: Any) -> dict[str, Any]:
    """Parameters: the body of the function."""
    params = {"textDocument": {"uri": URI}, "range": BODY, "instruction": "use math.pi"}
    return params | {"maxTokens": 48, "partialResultToken": "p"} | more


async def running_edit(client: LspClient) -> int | str:
    """Ask for more than the model writes in a while, and wait until it has begun."""
    number = await client.post("botframework/edit", edit(maxTokens=2_000, workDoneToken="w"))
    await client.until(lambda: bool(client.progress["w"]))
    return number


async def test_an_edit_fits_its_place(home: Path) -> None:
    """What is streamed is what the edit holds: indented, without fences, with the document's line ends."""
    async with ready_daemon(home) as client:
        await client.open(URI, SOURCE, version=3)
        result = await client.request("botframework/edit", edit(version=3))

        text = streamed(client, "p")
        assert result["text"] == ""
        assert result["finishReason"] in {"stop", "length"}
        assert result["usage"]["completionTokens"] > 0
        for change in result["edit"]["documentChanges"]:
            assert change == {
                "textDocument": {"uri": URI, "version": 3},
                "edits": [{"range": BODY, "newText": text}],
            }
        assert text == "" or (text.startswith("    ") and text.endswith("\r\n"))
        assert "```" not in text
        assert "\n" not in text.replace("\r\n", "")


async def test_the_same_edit_twice(home: Path) -> None:
    """With a session the second one reads little, and gives the same answer."""
    async with ready_daemon(home) as client:
        await client.open(URI, SOURCE)
        first = await client.request("botframework/edit", edit(session="edit"))
        second = await client.request("botframework/edit", edit(session="edit"))

        assert second["edit"] == first["edit"]
        assert first["usage"]["evaluatedTokens"] > 100
        assert second["usage"]["evaluatedTokens"] < 10


async def test_a_file_larger_than_the_context(home: Path) -> None:
    """The model's 2,048 tokens hold only a part of the file: the part around the selection is what it reads."""
    lines = "".join(f"value_{number} = compute(value_{number // 2}, {number})\n" for number in range(2_000))
    async with ready_daemon(home) as client:
        await client.open(URI, lines)
        place = {"start": {"line": 1_000, "character": 0}, "end": {"line": 1_001, "character": 0}}
        result = await client.request("botframework/edit", edit(range=place, session="large"), timeout_s=PATIENCE_S)
        assert 300 < result["usage"]["promptTokens"] < 2_048

        whole = {"start": {"line": 0, "character": 0}, "end": {"line": 1_000, "character": 0}}
        with pytest.raises(LspError, match="select less") as error:
            await client.request("botframework/edit", edit(range=whole))
        assert error.value.data["kind"] == "ContextOverflow"


async def test_a_cancelled_edit_frees_the_model(home: Path) -> None:
    """The request gets its one answer, and soon nothing runs."""
    async with ready_daemon(home) as client:
        await client.open(URI, SOURCE)
        number = await running_edit(client)
        await client.notify("$/cancelRequest", {"id": number})
        with pytest.raises(LspError, match="-32800"):
            await client.result(number)
        while (await status(client))["running"]:
            pass

        assert len(client.answers[number]) == 1


async def test_typing_in_the_selection(home: Path) -> None:
    """The user's own text wins over the model's."""
    async with ready_daemon(home) as client:
        await client.open(URI, SOURCE)
        number = await running_edit(client)
        change = {"range": {"start": BODY["start"], "end": BODY["start"]}, "text": "#"}
        inside = {"range": {"start": {"line": 4, "character": 9}, "end": {"line": 4, "character": 9}}, "text": "#"}
        for version, one in ((2, change), (3, inside)):
            document = {"uri": URI, "version": version}
            await client.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [one]})
        with pytest.raises(LspError) as error:
            await client.result(number)

        assert error.value.data["kind"] == "ContentModified"


async def test_the_worker_dies_in_the_middle(home: Path, models: Models) -> None:
    """The request gets its one error, which says that it may be tried again; the next edit is answered."""
    async with ready_daemon(home, models.tiny) as client:
        await client.open(URI, SOURCE)
        number = await client.post("botframework/edit", edit(maxTokens=NEVER_ENDING))
        await streaming(client, "p")
        os.kill((await status(client))["workerPid"], signal.SIGKILL)
        with pytest.raises(LspError) as error:
            await client.result(number)
        assert (error.value.data["kind"], error.value.data["retryable"]) == ("WorkerCrashed", True)

        await state(client, "ready")
        again = await client.request("botframework/edit", edit(partialResultToken="again"))
        assert streamed(client, "again") == again["edit"]["documentChanges"][0]["edits"][0]["newText"]


BINARY = "\x00\x01\x02\u0600\ufffd\ud83d" * 2_000 + "\n" + "".join(map(chr, range(0x20)))


async def test_a_binary_file(home: Path) -> None:
    """What an editor makes of bytes that are no text: the daemon completes and edits or says why not, and goes on."""
    async with ready_daemon(home) as client:
        await client.open(URI, BINARY)
        place = {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 8}}
        assert set(await client.result(await client.inline(URI, 1, 4))) == {"items"}
        assert "edit" in await client.request("botframework/edit", edit(range=place))
        assert (await status(client))["state"] == "ready"


async def test_a_file_of_50_mb(home: Path) -> None:
    """It is followed as any other: ghost text and an edit at its end take no longer than elsewhere."""
    line = "value = compute(value, 1)\n"
    count = 50_000_000 // len(line)
    async with ready_daemon(home) as client:
        await client.open(URI, line * count)
        place = {"start": {"line": count - 1, "character": 0}, "end": {"line": count, "character": 0}}
        result = await client.request("botframework/edit", edit(range=place), timeout_s=PATIENCE_S)
        assert result["usage"]["promptTokens"] < 2_048
        assert set(await client.result(await client.inline(URI, count, 0))) == {"items"}
        whole = {"start": {"line": 0, "character": 0}, "end": {"line": count, "character": 0}}
        with pytest.raises(LspError, match="too many"):
            await client.request("botframework/edit", edit(range=whole))
