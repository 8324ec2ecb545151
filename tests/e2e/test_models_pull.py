"""Models come and go through the real daemon, from a hub on this machine: recommend, pull, load, remove."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.hub_server import HubServer
from support.lsp_client import LspError
from support.real_daemon import GREEDY, HELLO, PATIENCE_S, daemon, ready_daemon, state, status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.lsp_client import LspClient
    from support.real_daemon import Models

REPOSITORY = "maker/alphabet-GGUF"
REFERENCE = f"hf:{REPOSITORY}:Q8_0"
FILE = "alphabet-q8_0.gguf"
OWN = {
    "id": "alphabet",
    "name": "Alphabet",
    "roles": ["chat"],
    "parameters": 1_000_000,
    "repository": REPOSITORY,
    "quantizations": ["Q8_0"],
}
HEARTBEAT = "$/botframework/heartbeat"
WINDOWS = 4
SECONDS = 10
"""For the download of a model that is to be looked at while it comes."""


@pytest.fixture
def hub(tmp_path: Path, models: Models) -> Iterator[HubServer]:
    """One repository with one file."""
    folder = tmp_path / "hub" / REPOSITORY
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(models.alphabet.read_bytes())
    with HubServer(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def environ(hub: HubServer, home: Path) -> dict[str, str]:
    """A user with a catalog of their own, whose hub this is."""
    (home / "catalog.json").write_text(json.dumps({"models": [OWN]}))
    return {"HF_ENDPOINT": hub.address, "HOME": str(home)}


def slowly(hub: HubServer, models: Models) -> None:
    """Let the file take a while."""
    hub.rate = models.alphabet.stat().st_size / SECONDS


def of_the_store(home: Path) -> list[Path]:
    """The models that can be loaded from the user's folder."""
    return sorted((home / "botframework" / "models").rglob("*.gguf"))


async def installed(client: LspClient) -> dict[str, str]:
    """Where each listed file is from."""
    listed = await client.request("botframework/models/list")
    return {entry["path"]: entry["source"] for entry in listed["models"]}


async def test_from_the_recommendation_to_an_answer_and_away(
    home: Path, models: Models, environ: dict[str, str]
) -> None:
    """What is recommended is pulled by its own reference, listed, loaded, answers, and is deleted when it is idle."""
    async with ready_daemon(home, models.tiny, environ=environ) as client:
        advice = await client.request("botframework/models/recommend", {"roles": ["chat"]})
        (found,) = [each for each in advice["recommendations"] if each["modelId"] == "alphabet"]
        assert (found["reference"], found["installedPath"]) == (REFERENCE, None)

        params = {"reference": found["reference"], "workDoneToken": "w"}
        pulled = (await client.request("botframework/models/pull", params))["model"]
        assert [str(path) for path in of_the_store(home)] == [pulled["path"]]
        assert (await installed(client))[pulled["path"]] == "pulled"
        assert client.progress["w"][-1] == {"kind": "end"}
        advice = await client.request("botframework/models/recommend", {"roles": ["chat"]})
        assert pulled["path"] in [each["installedPath"] for each in advice["recommendations"]]

        await client.request("botframework/models/load", {"path": pulled["path"]})
        answer = await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 30, "sampling": GREEDY})
        assert "".join(sorted(answer["text"])).strip().startswith("abcdef")

        with pytest.raises(LspError, match="loaded"):
            await client.request("botframework/models/remove", {"path": pulled["path"]})
        await client.request("botframework/models/load", {"path": str(models.tiny)})
        left = await client.request("botframework/models/remove", {"path": pulled["path"]})
        assert pulled["path"] not in [entry["path"] for entry in left["models"]]
        assert of_the_store(home) == []


def has_begun(window: LspClient) -> bool:
    """Whether the bar of a window has moved."""
    return any(value.get("percentage") for value in window.progress["w"])


async def test_four_windows_make_one_download(
    home: Path, hub: HubServer, models: Models, environ: dict[str, str]
) -> None:
    """All see it in their heartbeats; whoever asks for the same model waits for it, with a bar of their own."""
    size = models.alphabet.stat().st_size
    hub.rate = size / 100  # a minute or two, until everybody is there
    async with contextlib.AsyncExitStack() as stack:
        windows = [
            await stack.enter_async_context(ready_daemon(home, models.tiny, environ=environ)) for _ in range(WINDOWS)
        ]
        params = {"reference": REFERENCE, "workDoneToken": "w"}
        numbers = [await windows[0].post("botframework/models/pull", params)]
        for window in windows:
            beat = await window.notification(HEARTBEAT, lambda now: now["downloads"], timeout_s=PATIENCE_S)
            (download,) = beat["downloads"]
            assert (download["name"].endswith(FILE), download["totalBytes"]) == (True, size)
        numbers += [await window.post("botframework/models/pull", params) for window in windows[1:]]
        for window in windows:
            await window.until(partial(has_begun, window), timeout_s=PATIENCE_S)
        hub.rate = None
        pulled = [
            await window.result(number, timeout_s=PATIENCE_S) for window, number in zip(windows, numbers, strict=True)
        ]

        assert [each["model"]["path"] for each in pulled] == [str(path) for path in of_the_store(home)] * WINDOWS
        assert hub.sent == size
        assert [window.progress["w"][-1] for window in windows] == [{"kind": "end"}] * WINDOWS
        assert [(await status(window))["downloads"] for window in windows] == [[]] * WINDOWS


async def test_a_download_ends_with_its_request(
    home: Path, hub: HubServer, models: Models, environ: dict[str, str]
) -> None:
    """A cancel is answered at once, leaves no model, and the next request fetches only the rest."""
    slowly(hub, models)
    size = models.alphabet.stat().st_size
    async with ready_daemon(home, models.tiny, environ=environ) as client:
        number = await client.post("botframework/models/pull", {"reference": REFERENCE, "workDoneToken": "w"})
        await client.until(lambda: any(value.get("percentage", 0) > 60 for value in client.progress["w"]))
        await client.notify("window/workDoneProgress/cancel", {"token": "w"})
        with pytest.raises(LspError, match="-32800"):
            await client.result(number, timeout_s=5.0)
        assert of_the_store(home) == []
        assert (await state(client, "ready"))["downloads"] == []

        before, hub.rate = hub.sent, None
        await client.request("botframework/models/pull", {"reference": REFERENCE})
        assert hub.sent - before < size
        assert [path.stat().st_size for path in of_the_store(home)] == [size]


@dataclass(frozen=True)
class Refusal:
    """What is asked for, what the hub makes of it, and what the client hears."""

    kind: str
    reference: str = REFERENCE
    lie: str = ""


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("DigestMismatch", lie="changed-byte"),
        Refusal("ModelGated", lie="gated"),
        Refusal("RemoteNotFound", "hf:maker/other-GGUF:Q8_0"),
        Refusal("PullRefused", "ftp://example.org/model.gguf"),
    ],
    ids=lambda refusal: refusal.kind,
)
async def test_what_cannot_be_had_is_one_clear_error(
    home: Path, hub: HubServer, models: Models, environ: dict[str, str], refusal: Refusal
) -> None:
    """With its kind, and with nothing left behind; the model goes on serving."""
    hub.lies["*"] = refusal.lie
    async with ready_daemon(home, models.tiny, environ=environ) as client:
        with pytest.raises(LspError) as error:
            await client.request("botframework/models/pull", {"reference": refusal.reference, "workDoneToken": "w"})

        assert error.value.data["kind"] == refusal.kind
        assert of_the_store(home) == []
        assert client.progress["w"][-1] == {"kind": "end"}
        assert (await status(client))["state"] == "ready"


@pytest.mark.parametrize(
    ("method", "params"), [("pull", {"reference": REFERENCE, "workDoneToken": "w"}), ("remove", {"path": "/a.gguf"})]
)
async def test_a_workspace_without_trust_changes_no_disk(
    home: Path, hub: HubServer, environ: dict[str, str], method: str, params: dict[str, Any]
) -> None:
    """Nothing is fetched or deleted for it; what would suit the machine is told all the same."""
    async with daemon(home, environ=environ) as client:
        await client.initialize(initializationOptions={"workspaceTrusted": False})
        await client.notification("$/botframework/modelReady")
        with pytest.raises(LspError, match="not trusted") as error:
            await client.request(f"botframework/models/{method}", params)

        assert error.value.data["kind"] == "ConfigError"
        assert (hub.asked, of_the_store(home)) == ([], [])
        assert (await client.request("botframework/models/recommend"))["recommendations"] != []
