"""``botframework/models/…`` at the door: parameters, progress, cancellation, and what the editor hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.lsp_client import LspClient, LspError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]

PROGRESS = {"window": {"workDoneProgress": True}}


async def ready(client: LspClient, capabilities: dict[str, Any] | None = None) -> None:
    """Initialize and wait for the made-up model."""
    await client.initialize(capabilities)
    await client.notification("$/botframework/modelReady")


def own_progress(client: LspClient) -> list[list[str]]:
    """The kinds of the values of every progress that the daemon began by itself."""
    return [
        [value["kind"] for value in values]
        for token, values in client.progress.items()
        if str(token).startswith("botframework/load/")
    ]


async def test_a_model_is_loaded_with_progress(fake: Fake) -> None:
    """Under the client's token: begin, percentages, one end before the answer; the answer is the new state."""
    async with fake(exchange_ms=200) as client:
        await ready(client, PROGRESS)
        params = {"path": "/other.gguf", "workDoneToken": "w"}
        snapshot = await client.request("botframework/models/load", params)

        values = client.progress["w"]
        assert values[0] == {"kind": "begin", "title": "Loading model", "cancellable": True, "percentage": 0}
        assert [value["kind"] for value in values].count("end") == 1
        percentages = [value["percentage"] for value in values[1:-1]]
        assert percentages == sorted(percentages)
        assert percentages[-1] == 90
        assert (snapshot["state"], snapshot["modelPath"]) == ("ready", "/other.gguf")
        assert own_progress(client) == []


async def test_without_a_token_the_daemon_shows_the_progress(fake: Fake) -> None:
    """As at the start, with an end also when nothing comes of it."""
    async with fake(exchange_ms=400) as client:
        await ready(client, PROGRESS)
        with pytest.raises(LspError, match="no such file"):
            await client.request("botframework/models/load", {"path": "/missing.gguf"})
        await client.until(lambda: bool(own_progress(client)) and own_progress(client)[0][-1] == "end")

        assert own_progress(client)[0][0] == "begin"


async def test_a_model_that_is_missing(fake: Fake) -> None:
    """The error has its kind and the path, and the progress its end."""
    async with fake() as client:
        await ready(client)
        with pytest.raises(LspError) as error:
            await client.request("botframework/models/load", {"path": "/missing.gguf", "workDoneToken": 7})

        assert error.value.code == -33101
        assert error.value.data == {"kind": "ModelNotFound", "retryable": False, "path": "/missing.gguf"}
        assert client.progress[7][-1] == {"kind": "end"}


async def test_loading_can_be_cancelled_beside_its_progress(fake: Fake) -> None:
    """As any request with a token."""
    async with fake(exchange_ms=60_000) as client:
        await ready(client)
        number = await client.post("botframework/models/load", {"path": "/other.gguf", "workDoneToken": "w"})
        await client.until(lambda: bool(client.progress["w"]))
        await client.notify("window/workDoneProgress/cancel", {"token": "w"})
        with pytest.raises(LspError, match="-32800"):
            await client.result(number)

        assert client.progress["w"][-1] == {"kind": "end"}


@pytest.mark.parametrize("params", [{}, {"path": ""}, {"path": 5}, {"path": "x" * 4_097}])
async def test_bad_parameters(fake: Fake, params: dict[str, Any]) -> None:
    """Each names the field."""
    async with fake() as client:
        await ready(client)
        with pytest.raises(LspError) as error:
            await client.request("botframework/models/load", params)

        assert (error.value.code, error.value.data["pointer"]) == (-32602, "/path")


async def test_the_list(fake: Fake) -> None:
    """Files, the folder where they are looked for, and whether there are more."""
    async with fake() as client:
        await ready(client)

        assert await client.request("botframework/models/list") == {"models": [], "folder": "/models", "hasMore": False}


async def test_without_a_model_all_is_quiet(fake: Fake) -> None:
    """After unloading the state is told at once, as health that is fine: the user wanted it so."""
    async with fake() as client:
        await client.initialize({"experimental": {"serverStatusNotification": True}})
        await client.notification("$/botframework/modelReady")
        snapshot = await client.request("botframework/models/unload")
        quiet = await client.notification("experimental/serverStatus", lambda now: now["message"] == "no model")

        assert (snapshot["state"], snapshot["modelName"]) == ("stopped", "")
        assert quiet == {"health": "ok", "quiescent": True, "message": "no model"}


async def test_the_protocol_version_is_told(fake: Fake) -> None:
    """A client can see before anything else whether it understands this daemon."""
    from botframework import __version__
    from botframework.lsp.messages import PROTOCOL_VERSION

    async with fake() as client:
        result = await client.initialize()

        assert result["serverInfo"] == {"name": "botframework", "version": __version__}
        assert result["capabilities"]["experimental"] == {"botframework": {"protocolVersion": PROTOCOL_VERSION}}
