"""``botframework/models/…`` at the door: parameters, progress, cancellation, and what the editor hears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from botframework.lsp.downloading import Rate, words
from botframework.manager.advice import HardwareSummary
from botframework.models.recommendation import Recommendation
from botframework.quantities import MIB
from support.lsp_client import LspClient, LspError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]
    Journal = Callable[[], list[dict[str, Any]]]

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


def seen(journal: Journal, event: str) -> list[dict[str, Any]]:
    """What the manager was asked, of this kind."""
    return [found for found in journal() if found["event"] == event]


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


async def test_a_model_for_one_role(fake: Fake, journal: Journal) -> None:
    """The roles reach the manager as they were asked for, and no others."""
    async with fake() as client:
        await ready(client)
        await client.request("botframework/models/load", {"path": "/chat.gguf", "roles": ["chat"]})
        with pytest.raises(LspError, match="-32602") as error:
            await client.request("botframework/models/load", {"path": "/chat.gguf", "roles": ["poet"]})

        assert [(event["path"], event["roles"]) for event in seen(journal, "load")] == [("/chat.gguf", ["chat"])]
        assert error.value.data["pointer"] == "/roles/0"


async def test_the_recommendation(fake: Fake, journal: Journal) -> None:
    """The machine and the models that suit it, with every field; the roles are passed on."""
    async with fake() as client:
        await ready(client)
        advice = await client.request("botframework/models/recommend", {"roles": ["fim", "chat"]})

        assert set(advice["hardware"]) == set(HardwareSummary.__struct_encode_fields__)
        (found,) = advice["recommendations"]
        assert set(found) == set(Recommendation.__struct_encode_fields__)
        assert (found["reference"], found["scores"]["density"]) == ("hf:maker/fake-GGUF:Q4_K_M", None)
        assert seen(journal, "advice")[0]["roles"] == ["fim", "chat"]


async def test_a_download_with_progress(fake: Fake) -> None:
    """Under the client's token: begin, percentages with the bytes in words, one end before the answer."""
    async with fake(pull_ms=200) as client:
        await ready(client)
        params = {"reference": "hf:maker/fake-GGUF:Q4_K_M", "workDoneToken": "w"}
        result = await client.request("botframework/models/pull", params)

        values = client.progress["w"]
        assert values[0] == {"kind": "begin", "title": "Downloading model", "cancellable": True, "percentage": 0}
        assert values[-1] == {"kind": "end"}
        reports = values[1:-1]
        assert {value["kind"] for value in reports} == {"report"}
        assert [value["percentage"] for value in reports] == sorted(value["percentage"] for value in reports)
        assert reports[-1] == {"kind": "report", "percentage": 89, "message": "0.9 of 1.0 GiB"}
        assert not any("%" in value["message"] for value in reports)
        assert (result["model"]["path"], result["model"]["sizeBytes"]) == ("/models/pulled.gguf", 1 << 30)


async def test_a_download_of_unknown_size(fake: Fake) -> None:
    """There is no percentage of it, only what has come."""
    async with fake() as client:
        await ready(client)
        await client.request("botframework/models/pull", {"reference": "https://endless.test/x", "workDoneToken": 1})

        last = client.progress[1][-2]
        assert "percentage" not in last
        assert last["message"] == "922 MiB"


@pytest.mark.parametrize("by_token", [True, False])
async def test_a_download_can_be_cancelled(fake: Fake, journal: Journal, *, by_token: bool) -> None:
    """Beside its progress or as a request: the download is stopped, and the answer says that it was cancelled."""
    async with fake(pull_ms=60_000) as client:
        await ready(client)
        number = await client.post("botframework/models/pull", {"reference": "hf:a/b:Q4_0", "workDoneToken": "w"})
        await client.until(lambda: len(client.progress["w"]) > 1)
        if by_token:
            await client.notify("window/workDoneProgress/cancel", {"token": "w"})
        else:
            await client.notify("$/cancelRequest", {"id": number})
        with pytest.raises(LspError, match="-32800"):
            await client.result(number)

        assert client.progress["w"][-1] == {"kind": "end"}
        assert len(seen(journal, "pull stopped")) == 1


async def test_a_download_ends_with_the_daemon(fake: Fake, journal: Journal) -> None:
    """A shutdown stops it; the request is answered all the same."""
    async with fake(pull_ms=60_000) as client:
        await ready(client)
        number = await client.post("botframework/models/pull", {"reference": "hf:a/b:Q4_0", "workDoneToken": "w"})
        await client.until(lambda: len(client.progress["w"]) > 1)
        await client.request("shutdown")
        with pytest.raises(LspError, match="-32802"):
            await client.result(number)

        assert len(seen(journal, "pull stopped")) == 1


async def test_a_download_that_fails(fake: Fake) -> None:
    """The error has its kind and what it knows, and the progress its end."""
    async with fake() as client:
        await ready(client)
        with pytest.raises(LspError) as error:
            await client.request("botframework/models/pull", {"reference": "fail=ModelGated", "workDoneToken": 7})

        assert error.value.code == -33403
        assert error.value.data["kind"] == "ModelGated"
        assert error.value.data["url"] == "https://example.org/licence"
        assert client.progress[7][-1] == {"kind": "end"}


async def test_a_model_is_deleted(fake: Fake, journal: Journal) -> None:
    """The answer is what is left; one that is in use is refused."""
    async with fake() as client:
        await ready(client)
        left = await client.request("botframework/models/remove", {"path": "/models/pulled.gguf"})
        with pytest.raises(LspError, match="is loaded"):
            await client.request("botframework/models/remove", {"path": "/models/loaded.gguf"})

        assert left["models"] == []
        assert [event["path"] for event in seen(journal, "remove")] == ["/models/pulled.gguf", "/models/loaded.gguf"]


@pytest.mark.parametrize(
    ("method", "params", "pointer"),
    [
        ("pull", {}, "/reference"),
        ("pull", {"reference": ""}, "/reference"),
        ("pull", {"reference": "x" * 8_193}, "/reference"),
        ("remove", {"path": ["/a"]}, "/path"),
        ("recommend", {"roles": "fim"}, "/roles"),
        ("recommend", {"role": "fim"}, "/role"),
    ],
)
async def test_bad_parameters_of_downloads(fake: Fake, method: str, params: dict[str, Any], pointer: str) -> None:
    """Each names the field."""
    async with fake() as client:
        await ready(client)
        with pytest.raises(LspError) as error:
            await client.request(f"botframework/models/{method}", params)

        assert (error.value.code, error.value.data["pointer"]) == (-32602, pointer)


@pytest.mark.parametrize("method", ["chat", "complete"])
async def test_a_sleeping_model_is_woken_by_a_request(fake: Fake, method: str) -> None:
    """Somebody waits for this answer: it comes when the model is back, not an error; meanwhile all is quiet."""
    async with fake(state="sleeping", load_ms=50) as client:
        await client.initialize({"experimental": {"serverStatusNotification": True}})
        quiet = await client.notification("experimental/serverStatus")
        words = {"messages": [{"role": "user", "content": "tokens=2"}]} if method == "chat" else {"prefix": "tokens=2"}
        answer = await client.request(f"botframework/{method}", words)

        assert quiet == {"health": "ok", "quiescent": True, "message": "sleeping: fake"}
        assert answer["text"] == "0 1 "


@pytest.mark.parametrize("method", ["chat", "complete"])
async def test_waiting_for_a_sleeping_model_is_shown_and_can_be_cancelled(fake: Fake, method: str) -> None:
    """The progress begins before the model is back, and its Cancel ends the wait."""
    async with fake(state="sleeping", load_ms=60_000) as client:
        await client.initialize(PROGRESS)
        words = {"messages": [{"role": "user", "content": "tokens=2"}]} if method == "chat" else {"prefix": "tokens=2"}
        asked = asyncio.create_task(client.request(f"botframework/{method}", {**words, "workDoneToken": "wait"}))
        begun = await client.notification("$/progress")
        await client.notify("window/workDoneProgress/cancel", {"token": "wait"})

        with pytest.raises(LspError) as error:
            await asked
        assert (begun["token"], begun["value"]["kind"], error.value.code) == ("wait", "begin", -32800)


def test_what_a_download_says() -> None:
    """Bytes in the unit that people read, and the speed as soon as it means something, not counting what was there."""
    now = [0.0]
    rate = Rate(lambda: now[0])

    assert rate.per_second(512 * MIB) is None
    now[0] = 0.5
    assert rate.per_second(600 * MIB) is None
    now[0] = 2.0
    assert rate.per_second(612 * MIB) == 50 * MIB
    assert words(612 * MIB, 2048 * MIB, 50.0 * MIB) == "0.6 of 2.0 GiB, 50.0 MiB/s"
    assert words(3 * MIB, 20 * MIB, 40.0 * 1024) == "3.0 of 20.0 MiB, 40.0 KiB/s"
    assert words(3 * MIB, 20 * MIB, None) == "3.0 of 20.0 MiB"
    assert words(3 * MIB, 200 * MIB, None) == "3 of 200 MiB"
    assert words(0, None, None) == "0.0 MiB"


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
