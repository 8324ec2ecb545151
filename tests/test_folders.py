"""The folder of a workspace's snapshots."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import pytest

from botframework import config
from botframework.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")


def test_spellings_of_a_workspace_share_a_folder() -> None:
    """Encoded or not, with or without a last slash, drive letters in both cases; other workspaces have others."""
    same = ["file:///c%3A/work/a%20b", "file:///C:/work/a b/", "file:///c:/work/a%20b/"]
    different = ["file:///c:/work", "file:///c:/work/A b", "file:///work", "", "file:///\ud800", "untitled:x"]

    assert len({config.workspace_hash(uri) for uri in same}) == 1
    names = {config.workspace_hash(uri) for uri in (same[0], *different)}
    assert len(names) == len(different) + 1
    assert config.workspace_hash(None) == config.workspace_hash("")
    assert all(map(config.is_workspace_hash, names))
    assert not config.is_workspace_hash("../" + "0" * 29)


@POSIX_ONLY
def test_the_workspaces_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made 0700 below a folder that is 0700; an open one is refused."""
    monkeypatch.setattr("botframework.config.folders.cache_dir", lambda: tmp_path / "cache")

    made = config.sessions_dir("file:///work")

    assert made.parent == tmp_path / "cache" / "sessions"
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (made, made.parent)} == {0o700}
    assert config.sessions_dir("file:///work/") == made
    made.chmod(0o755)
    with pytest.raises(ConfigError, match="snapshots is open to others"):
        config.sessions_dir("file:///work")
    made.chmod(0o700)
    made.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="open to others"):
        config.sessions_dir("file:///work")
