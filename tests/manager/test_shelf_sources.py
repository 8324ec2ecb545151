"""Where the listed model files are from: the package, downloads of ours, the user's hands, other programs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from botframework.config import Models, Settings
from botframework.errors import ConfigError
from botframework.manager.load import EMBEDDED_MODEL
from botframework.manager.shelf import Shelf
from botframework.models.store.store import Store
from support.gguf_factory import tiny_llama

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.manager.entry import ModelEntry


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user who has Ollama, with one model, and no other program."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "ollama"
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    content = tiny_llama(tmp_path / "brought.gguf").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    blob = folder / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    manifest = folder / "manifests" / "registry.ollama.ai" / "library" / "coder" / "1.5b"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(content)}
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [layer]}))
    return blob


def listed(settings: Settings) -> dict[str, ModelEntry]:
    """The entries by their paths."""
    return {entry.path: entry for entry in Shelf(settings).list(()).models}


def test_each_file_says_where_it_is_from(ollama: Path, tmp_path: Path) -> None:
    """A downloaded one, one that the user put there, one of Ollama under the name that it has there, and others."""
    folder = tmp_path / "models"
    folder.mkdir()
    elsewhere, own = tiny_llama(tmp_path / "elsewhere.gguf"), tiny_llama(folder / "own.gguf")
    pulled = Store(folder).pull(str(elsewhere))
    found = listed(Settings(model=str(elsewhere), models=Models(folder=str(folder))))

    assert {path: entry.source for path, entry in found.items()} == {
        str(EMBEDDED_MODEL): "embedded",
        str(elsewhere): "file",
        str(own): "folder",
        pulled.path: "pulled",
        str(ollama): "ollama",
    }
    assert found[str(ollama)].name == "coder:1.5b"
    assert all(entry.problem is None for entry in found.values())


def test_other_programs_are_not_part_of_the_folder_twice(
    ollama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes the folder of another program the folder of models sees each file once, as that program's."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--maker--coder-GGUF" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    cached = tiny_llama(snapshot / "coder-q4_k_m.gguf")
    found = listed(Settings(models=Models(folder=str(snapshot))))

    assert {path: entry.source for path, entry in found.items()} == {
        str(EMBEDDED_MODEL): "embedded",
        str(cached): "huggingFace",
        str(ollama): "ollama",
    }


def test_a_workspace_without_trust_may_choose_what_the_user_has(ollama: Path, tmp_path: Path) -> None:
    """The files of other programs are the user's own; a file of the workspace is not."""
    shelf = Shelf(Settings(workspace_trusted=False, models=Models(folder=str(tmp_path / "none"))))

    shelf.require_trusted(ollama)
    with pytest.raises(ConfigError, match="not trusted"):
        shelf.require_trusted(tiny_llama(tmp_path / "workspace.gguf"))
