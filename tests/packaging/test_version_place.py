"""The version stands in one place, and whatever has to repeat it is compared with it."""

from __future__ import annotations

import json
import re
import tomllib

from botframework import __version__
from support.source_tree import ROOT

PLACE = "daemon/botframework/__init__.py"


def test_the_python_package_reads_it() -> None:
    """pyproject.toml has no version of its own: the build reads that of the source."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == PLACE


def test_the_lock_has_none() -> None:
    """A version in uv.lock would be out of date after every release."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (ours,) = [package for package in lock["package"] if package["name"] == "botframework"]

    assert "version" not in ours


def test_the_extension_has_the_same() -> None:
    """VS Code and npm want it in files of their own."""
    package = json.loads((ROOT / "vscode-extension" / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((ROOT / "vscode-extension" / "package-lock.json").read_text(encoding="utf-8"))

    assert (package["version"], lock["version"], lock["packages"][""]["version"]) == (__version__,) * 3


def test_the_changelog_knows_it() -> None:
    """Its newest heading is of this version, released or not."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+) — (unreleased|\d{4}-\d{2}-\d{2})$", text, re.MULTILINE)

    assert headings[0][0] == __version__
