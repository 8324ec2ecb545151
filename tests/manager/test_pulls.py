"""A pull in the daemon: told of in the event loop, ended by a cancel, and never in anybody's way."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from botframework.config import Models, Settings
from botframework.errors import ConfigError, ModelRefused, RequestCancelled, StoreError
from botframework.manager.library import Library
from botframework.manager.router import Router
from support.chaos_worker import chaos
from support.gguf_factory import tiny_llama
from support.house import none_left, soon
from support.hub_server import HubServer
from support.memory import PLENTY, has_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

REFERENCE = "hf:maker/tiny-GGUF/tiny.gguf"
PADDING = 4_000_000
"""Bytes of a model that takes a while at the slow rate."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with one model."""
    (tmp_path / "hub" / "maker" / "tiny-GGUF").mkdir(parents=True)
    tiny_llama(tmp_path / "hub" / "maker" / "tiny-GGUF" / "tiny.gguf")
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with HubServer(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The user's models, on another disk."""
    (tmp_path / "disk" / "models").mkdir(parents=True)
    (tmp_path / "models").symlink_to(tmp_path / "disk" / "models")
    return tmp_path / "models"


@pytest.fixture
async def router(
    hub: HubServer, folder: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """A router with chaos workers that is not started yet."""
    del hub
    has_memory(monkeypatch, lambda: PLENTY)
    nothing: Any = lambda *_: None  # noqa: E731
    settings = Settings(models=Models(folder=str(folder)))
    made = Router(settings, on_change=nothing, on_ready=nothing, on_progress=nothing, command=chaos())
    yield made
    await made.stop()
    await none_left(runtime_dir)


async def test_pulled_loaded_and_removed(router: Router, folder: Path) -> None:
    """The whole life of a model file; while it is loaded it cannot be removed."""
    told: list[tuple[int, int | None]] = []
    loop_thread = threading.get_ident()
    threads = set()

    def note(done: int, total: int | None) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    entry = await router.pull(REFERENCE, note)
    assert entry.size_bytes == told[-1][0] == told[-1][1]
    assert entry.architecture == "llama"
    assert threads == {loop_thread}
    assert entry.path.startswith(str(folder.resolve()))

    await router.start()
    await router.load_model(entry.path)
    with pytest.raises(StoreError, match="loaded"):
        await router.remove_model(entry.path)
    await router.unload_model()
    await router.remove_model(entry.path)
    assert not (folder / "maker").exists() or not list((folder / "maker").rglob("*.gguf"))


async def test_no_other_window_removes_a_loaded_model(router: Router, folder: Path) -> None:
    """The file is held for as long as the model is loaded, and no longer."""
    entry = await router.pull(REFERENCE, lambda *_: None)
    await router.start()
    await router.load_model(entry.path)
    other = Library(Settings(models=Models(folder=str(folder))))
    with pytest.raises(StoreError):
        await other.remove(entry.path, ())

    await router.unload_model()
    await other.remove(entry.path, ())


async def test_a_cancel_ends_the_download_and_keeps_what_came(router: Router, hub: HubServer, folder: Path) -> None:
    """Within a second, while the loop goes on; the next pull goes on from there."""
    path = hub.folder / "maker" / "tiny-GGUF" / "tiny.gguf"
    path.write_bytes(path.read_bytes() + bytes(PADDING))
    hub.rate = 400_000
    told: list[int] = []
    pull = asyncio.create_task(router.pull(REFERENCE, lambda done, _: told.append(done)))
    await soon(lambda: any(told))
    downloads = (await router.snapshot()).downloads
    await soon(lambda: told[-1] > downloads[0].done_bytes)
    again = (await router.snapshot()).downloads
    pull.cancel()
    async with asyncio.timeout(2.0):
        with pytest.raises(asyncio.CancelledError):
            await pull

    assert [(each.total_bytes, each.done_bytes > 0) for each in downloads] == [(path.stat().st_size, True)]
    assert downloads[0].bytes_per_second is None
    assert again[0].bytes_per_second is not None
    assert again[0].bytes_per_second > 0
    assert list(folder.rglob("*.part"))
    assert not list(folder.rglob("*.gguf"))


async def test_the_daemon_s_end_ends_a_download(router: Router, hub: HubServer) -> None:
    """Who waits for it is told; nobody waits for the network."""
    hub.rate = 1_000
    told: list[int] = []
    pull = asyncio.create_task(router.pull(REFERENCE, lambda done, _: told.append(done)))
    await soon(lambda: hub.sent > 0)
    await router.stop()

    async with asyncio.timeout(5.0):
        with pytest.raises(RequestCancelled):
            await pull


async def test_what_is_no_model_is_refused(router: Router, hub: HubServer, folder: Path) -> None:
    """And leaves nothing in the folder that anybody could choose."""
    (hub.folder / "maker" / "tiny-GGUF" / "tiny.gguf").write_bytes(b"no model" * 1_000)
    with pytest.raises(ModelRefused):
        await router.pull(REFERENCE, lambda *_: None)

    assert not list(folder.rglob("*.gguf"))


async def test_a_workspace_without_trust_pulls_and_removes_nothing(folder: Path) -> None:
    """No connection is opened for it, and no file touched."""
    library = Library(Settings(workspace_trusted=False, models=Models(folder=str(folder))))
    with pytest.raises(ConfigError, match="not trusted"):
        await library.pull(REFERENCE, lambda *_: None)
    with pytest.raises(ConfigError, match="not trusted"):
        await library.remove(str(folder / "x.gguf"), ())

    assert list(folder.iterdir()) == []
