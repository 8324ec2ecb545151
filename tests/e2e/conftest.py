"""What the end-to-end tests share: real models, and a folder in which nothing may be left running."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from support.processes import nothing_left
from support.real_daemon import Models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # processes are watched through pidfd and /proc


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Small real models."""
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def home(runtime_dir: Path) -> Iterator[Path]:
    """A runtime folder; the test fails if a process of it outlives the test."""
    with nothing_left(runtime_dir):
        yield runtime_dir
