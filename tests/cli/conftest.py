"""Fixtures of the command line's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shell(home: Path, tmp_path: Path) -> Shell:
    """A shell; no process of its commands may outlive the test."""
    return Shell(tmp_path)
