"""A machine without a browser: the suite is skipped, and says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from support.vscode import installation

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_missing_browser_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Chromium on the PATH the reason says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)

    assert installation.missing() == "no Chromium: apt-get install chromium"


def test_a_missing_code_server_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With Chromium but without code-server the reason says what installs it."""
    monkeypatch.setenv("CHROMIUM", sys.executable)
    monkeypatch.setattr(installation, "ENTRY", tmp_path / "entry.js")

    reason = installation.missing()

    assert reason is not None
    assert "install_code_server.py" in reason


def test_the_suite_is_skipped_with_the_reason(tmp_path: Path) -> None:
    """Pytest reports each test as skipped for that reason, not as failed."""
    environment = {**os.environ, "PATH": str(tmp_path), "CHROMIUM": ""}
    command = [sys.executable, "-m", "pytest", "-rs", "-q", "-p", "no:cacheprovider", "tests/vscode/test_ghost_text.py"]

    answer = subprocess.run(
        command, cwd=installation.ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "no Chromium: apt-get install chromium" in answer.stdout
    assert "passed" not in answer.stdout
