"""Models are listed, exchanged and unloaded through the real daemon, with real workers and real files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from botframework.manager.load import EMBEDDED_MODEL
from support.house import gone
from support.lsp_client import LspError
from support.model_files import of_architecture
from support.processes import family
from support.real_daemon import GREEDY, HELLO, daemon, ready_daemon, start_chat, state, status, streaming

if TYPE_CHECKING:
    from support.lsp_client import LspClient
    from support.real_daemon import Models

URI = "file:///work/a.py"


async def chat(client: LspClient) -> str:
    """The model's answer to a greeting."""
    answer = await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 30, "sampling": GREEDY})
    return str(answer["text"])


async def test_one_model_for_another(home: Path, models: Models) -> None:
    """The new one answers, a stream of the old one goes on until nobody wants it, and then its worker goes."""
    async with ready_daemon(home, models.tiny) as client:
        old = (await status(client))["workerPid"]
        running = await start_chat(client, "old")
        await streaming(client, "old")
        params = {"path": str(models.alphabet), "workDoneToken": "w"}
        snapshot = await client.request("botframework/models/load", params)

        assert (snapshot["state"], snapshot["modelPath"]) == ("ready", str(models.alphabet))
        assert "".join(sorted(await chat(client))).strip().startswith("abcdef")
        assert client.progress["w"][-1] == {"kind": "end"}
        assert psutil.pid_exists(old)
        await client.notify("$/cancelRequest", {"id": running})
        with pytest.raises(LspError, match="cancelled"):
            await client.result(running)
        assert await gone(old, 10.0)
        ready = [
            m["params"]["model"]["path"] for m in client.messages if m.get("method") == "$/botframework/modelReady"
        ]
        assert ready == [str(models.tiny), str(models.alphabet)]


async def test_a_bad_file_leaves_the_model_serving(home: Path, models: Models) -> None:
    """Whoever refuses it, the header check or llama.cpp: the reason is told, and the old model answers."""
    short = home / "short.gguf"
    short.write_bytes(models.tiny.read_bytes()[:-100])
    foreign = of_architecture(home / "foreign.gguf", "newformer-9")
    lying = home / "lying.gguf"
    lying.write_bytes(models.tiny.read_bytes().replace(b"blk.0.attn_norm.weight", b"blk.0.attn_nirm.weight"))
    async with ready_daemon(home, models.alphabet) as client:
        pid = (await status(client))["workerPid"]
        running = await start_chat(client, "running")
        for path in (short, lying, foreign, home / "missing.gguf"):
            with pytest.raises(LspError) as error:
                await client.request("botframework/models/load", {"path": str(path)})
            assert error.value.data["kind"] in {"ModelRefused", "ModelCorrupt", "ModelNotFound"}
            assert str(path) in error.value.message
            assert ("the architecture 'newformer-9'" in error.value.message) == (path is foreign)

        assert (await client.result(running))["finishReason"] == "stop"
        assert (await status(client))["workerPid"] == pid


async def test_unloaded_and_loaded_again(home: Path, models: Models) -> None:
    """The worker goes, ghost text tells why there is none, and a restart brings the model back."""
    async with ready_daemon(home, models.tiny) as client:
        pid = (await status(client))["workerPid"]
        await client.open(URI, "x = 1\n")
        assert (await client.request("botframework/models/unload"))["state"] == "stopped"
        assert not psutil.pid_exists(pid)
        assert await client.result(await client.inline(URI, 1, 0)) == {"items": []}
        inspected = await client.request("botframework/inspect", {"textDocument": {"uri": URI}})
        assert (inspected["reason"], inspected["detail"]) == ("noModel", "ModelNotConfigured")
        with pytest.raises(LspError, match="unloaded") as error:
            await chat(client)
        assert error.value.data["kind"] == "ModelNotConfigured"

        await client.request("botframework/restart")
        assert (await state(client, "ready"))["modelPath"] == str(models.tiny)


async def test_the_users_folder(home: Path, models: Models) -> None:
    """Its files are listed with what their headers say, and the loaded one is marked."""
    folder = home / "botframework" / "models"
    folder.mkdir(parents=True)
    for source in (models.tiny, models.alphabet):
        shutil.copy(source, folder)
    (folder / "bad.gguf").write_bytes(b"GGUF")
    async with ready_daemon(home, folder / "tiny.gguf") as client:
        result = await client.request("botframework/models/list")
        listed = {Path(entry["path"]).name: entry for entry in result["models"]}

        assert result["folder"] == str(folder)
        assert set(listed) == {EMBEDDED_MODEL.name, "tiny.gguf", "alphabet.gguf", "bad.gguf"}
        assert [name for name, entry in listed.items() if entry["loaded"]] == ["tiny.gguf"]
        assert [name for name, entry in listed.items() if entry["configured"]] == ["tiny.gguf"]
        assert listed["bad.gguf"]["problem"]["kind"] == "ModelRefused"
        ready = await client.notification("$/botframework/modelReady")
        assert listed["tiny.gguf"]["parameters"] == ready["model"]["nParams"]
        assert listed["tiny.gguf"]["canInfill"] == ready["model"]["canInfill"]
        assert listed["tiny.gguf"]["fits"] is True


async def test_check_42_a_workspace_without_trust(home: Path, models: Models) -> None:
    """Check 42: nothing that a workspace brings chooses a model, starts a process or opens a connection.

    Its settings name models and folders in every way that there is; each is refused and told, the embedded model is
    loaded, and there is one daemon with one worker and no socket of any network.
    """
    workspace = home / "workspace"
    workspace.mkdir()
    theirs = shutil.copy(models.tiny, workspace / "model.gguf")
    named: dict[str, Any] = {"model": str(theirs), "models": {"folder": str(workspace)}, "engine": {"nThreads": 7}}
    (workspace / "botframework.toml").write_text(
        f'model = "{theirs}"\n[models]\nfolder = "{workspace}"\n[worker]\nkeepAliveS = 60\n[chat]\nmaxTokens = 32\n'
    )
    async with daemon(home) as client:
        client.configuration = named
        capabilities = {"workspace": {"configuration": True}}
        options = {"workspaceTrusted": False}
        await client.initialize(capabilities, rootUri=workspace.as_uri(), initializationOptions=options)
        ready = await client.notification("$/botframework/modelReady")
        # One for each setting that only the user may set: three of the file, three of the configuration.
        told = "cannot be set by a workspace"
        await client.until(lambda: sum(told in str(message.get("params")) for message in client.messages) == 6)
        for path in (str(theirs), str(workspace / ".." / "workspace" / "model.gguf")):
            with pytest.raises(LspError, match="not trusted") as error:
                await client.request("botframework/models/load", {"path": path})
            assert error.value.data["kind"] == "ConfigError"

        assert ready["model"]["path"] == str(EMBEDDED_MODEL)
        assert str(theirs) not in str(await client.request("botframework/models/list"))
        people = [psutil.Process(pid) for pid in (client.process.pid, *family(client.process.pid))]
        assert len(people) == len({person.pid for person in people}) <= 3
        assert [person.net_connections("inet") for person in people] == [[]] * len(people)
        assert (await client.request("botframework/models/load", {"path": str(EMBEDDED_MODEL)}))["state"] == "ready"


async def test_a_model_is_chosen_after_one_that_cannot_be_used(home: Path, models: Models) -> None:
    """The way out of the error state that a missing file leaves."""
    async with daemon(home, home / "missing.gguf") as client:
        await client.initialize()
        assert (await state(client, "error"))["error"]["kind"] == "ModelNotFound"
        await client.request("botframework/models/load", {"path": str(models.alphabet)})

        assert "abcdef" in await chat(client)


async def test_two_windows(home: Path, models: Models) -> None:
    """Another model in one window is nothing that the other one notices."""
    async with ready_daemon(home, models.alphabet) as one, ready_daemon(home, models.alphabet) as two:
        shared = (await status(two))["workerPid"]
        assert (await status(one))["workerPid"] == shared
        running = await start_chat(two, "running")
        await one.request("botframework/models/load", {"path": str(models.tiny)})

        assert (await two.result(running))["finishReason"] == "stop"
        assert (await status(two))["workerPid"] == shared
        assert (await status(one))["workerPid"] != shared
        await one.request("botframework/models/load", {"path": str(models.alphabet)})
        assert (await status(one))["workerPid"] == shared


async def test_a_daemon_that_loads_nothing_before_it_is_asked(home: Path, models: Models) -> None:
    """A chat waits for the model; the heartbeat says that it sleeps, by its name; who only inspects wakes nobody."""
    async with daemon(home, models.alphabet, "--set", "worker.preload=false") as client:
        await client.initialize()
        await state(client, "sleeping")
        before = await status(client)
        assert (before["workerPid"], before["modelPath"]) == (0, str(models.alphabet))
        assert [each["state"] for each in before["models"]] == ["sleeping", "sleeping"]
        await client.open(URI, "x = 1\n")
        inspected = await client.request("botframework/inspect", {"textDocument": {"uri": URI}})
        assert (inspected["found"], (await status(client))["state"]) == (False, "sleeping")

        assert "".join(sorted(await chat(client))).strip().startswith("abcdef")
        assert (await status(client))["state"] == "ready"
