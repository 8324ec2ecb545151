"""Fixtures of the store's tests."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from botframework.models.store.store import Store
    from support.hub_server import HubServer


@pytest.fixture
def plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no token and no keyring of whoever runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-token"))
    monkeypatch.setitem(sys.modules, "keyring", None)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_surroundings: None) -> Iterator[HubServer]:
    """A hub with one model, which botframework asks."""
    from support.hub_server import HubServer
    from support.pulling import CONTENT, FILE

    path = tmp_path / "hub" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    with HubServer(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Where a download goes: a folder of its own."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "x.part"


@pytest.fixture
def model_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_surroundings: None) -> Iterator[HubServer]:
    """A hub with a real model, ``maker/model/model.gguf``, whose clients have little patience."""
    from botframework.models.store import web
    from support.hub_server import HubServer
    from support.model_files import one_file

    one_file(tmp_path / "hub" / "maker" / "model" / "model.gguf")
    with HubServer(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        hurried = functools.partial(web.Patience, stall_s=0.6, connect_s=1.0, attempts=2, pause_s=0.01)
        monkeypatch.setattr(web, "Patience", hurried)
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store of a user who has no other programs."""
    from botframework.models.store.foreign import Surroundings
    from botframework.models.store.store import Store

    return Store(tmp_path / "models", Surroundings({}, tmp_path / "home", "linux"))
