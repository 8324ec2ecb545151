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


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private, short runtime folder (UNIX socket names hold 108 bytes) that this process and its children use."""
    folder = Path(tempfile.mkdtemp(prefix="bf-"))
    folder.chmod(0o700)
    monkeypatch.setenv("BOTFRAMEWORK_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
