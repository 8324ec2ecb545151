"""The set-up of the browser suite: done once, by the committed lock, and honest about failures."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "packaging" / "install_code_server.py"


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that believes to stand in another checkout, with npm played by a test."""
    spec = importlib.util.spec_from_file_location("install_code_server", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pins, tools = tmp_path / "pins", tmp_path / ".tools"
    shutil.copytree(ROOT / "tests" / "vscode", pins, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    tools.mkdir()
    places = {"ROOT": tmp_path, "PINS": pins, "TARGET": tools / "vscode", "STAMP": tools / "vscode" / "stamp"}
    for name, path in (places | {"LOG": tools / "log"}).items():
        monkeypatch.setattr(module, name, path)
    return module


def test_the_second_time_costs_nothing(installer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Npm runs once per lock: not again for the same one, and again for another."""
    ran: list[str] = []
    monkeypatch.setattr(installer, "npm", lambda _folder, arguments: ran.append(arguments[0]))

    installer.main()
    installer.main()
    assert ran == ["ci", "install", "install"]

    lock = installer.PINS / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    installer.main()
    assert len(ran) == 6


def test_an_npm_that_fails_is_heard(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What npm said comes with a way out, and the next run begins anew."""
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho registry.example does not answer >&2\nexit 7\n")
    npm.chmod(0o755)
    monkeypatch.setattr(installer.sys, "executable", str(tmp_path / "python"))

    with pytest.raises(SystemExit):
        installer.main()

    said = capsys.readouterr().err
    assert "registry.example does not answer" in said
    assert "HTTPS_PROXY" in said
    assert not installer.is_current()


def test_every_package_is_locked_by_its_content() -> None:
    """Exact versions, and a hash for each package that npm will install."""
    folder = ROOT / "tests" / "vscode"
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]

    assert all(version[0].isdigit() for version in wanted.values())
    assert [name for name, entry in locked.items() if name and "integrity" not in entry] == []
