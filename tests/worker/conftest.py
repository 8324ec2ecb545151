"""Models and workers for the worker's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.gguf_factory import alphabet_llama, tiny_llama
from support.snapshot_folder import folder_at

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.worker.snapshots import SnapshotFolder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights that never ends by itself; training context 512."""
    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="session")
def alphabet_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that answers with the alphabet and then ends."""
    return alphabet_llama(tmp_path_factory.mktemp("model") / "alphabet.gguf")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of some 25 million parameters: a micro-batch takes milliseconds, a long prompt a good while."""
    path = tmp_path_factory.mktemp("model") / "slow.gguf"
    return tiny_llama(path, n_layers=8, d=512, n_heads=8, n_kv_heads=4, ffn=1_408, n_ctx_train=4_096)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a folder of snapshots may be made."""
    return tmp_path / "sessions" / ("0" * 32)


@pytest.fixture
def folder(path: Path) -> SnapshotFolder:
    """A folder that is not there yet."""
    return folder_at(path)
