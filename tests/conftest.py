"""Fixtures that every room's tests share."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# `support` is shared test code; with import-mode=importlib the tests folder is on nobody's path.
sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from support.real_daemon import Models


SECOND_TRY = ("vscode", "reliability", "e2e", "editors", "frozen")
"""Rooms whose tests drive a whole browser or editor, or hold a time on a machine that others use too. A test of theirs
that fails may pass at once a second time; the summary names it (R), and what fails twice has failed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these a second try."""
    for item in items:
        if item.path.parent.name in SECOND_TRY and item.get_closest_marker("soak") is None:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private, short runtime folder (UNIX socket names hold 108 bytes) that this process and its children use."""
    folder = Path(tempfile.mkdtemp(prefix="bf-"))
    folder.chmod(0o700)
    monkeypatch.setenv("BOTFRAMEWORK_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(runtime_dir: Path) -> Iterator[Path]:
    """A runtime folder; the test fails if a process of it outlives the test."""
    from support.processes import nothing_left

    with nothing_left(runtime_dir):
        yield runtime_dir


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Small real models."""
    from support.real_daemon import Models

    return Models(tmp_path_factory.mktemp("models"))
