"""The binary, and what its tests have in common."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DIST_VARIABLE = "BOTFRAMEWORK_DIST"
"""Names another folder than ``dist/`` with what ``make binary`` makes; it may be of other sources then."""
PROGRAM = "botframework.exe" if sys.platform == "win32" else "botframework"

COMMAND_DEADLINE_S = 180
"""The one file unpacks itself for each, on a machine that is busy."""

Form = Literal["folder", "file"]


@dataclass(frozen=True, slots=True)
class Binary:
    """A program that needs no Python, as one folder or as one file."""

    form: Form
    path: Path

    @property
    def daemon(self) -> tuple[str, ...]:
        """How an editor starts it."""
        return (str(self.path), "--stdio")

    def run(
        self, environment: Mapping[str, str], *arguments: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command, as a user or a script starts it."""
        return subprocess.run(
            [self.path, *arguments],
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_S,
            check=False,
        )


def _sources() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sources", ROOT / "packaging" / "binary" / "sources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def dist() -> Path:
    """The folder with what ``make binary`` made, from the present sources."""
    other = os.environ.get(DIST_VARIABLE)
    folder = Path(other) if other else ROOT / "dist"
    info = folder / "botframework" / "_internal" / "botframework" / "build.json"
    if not info.is_file():
        pytest.fail(f"{folder} holds no binary: make binary", pytrace=False)
    if other is None and json.loads(info.read_bytes())["sources"] != _sources().fingerprint():
        pytest.fail(f"the binary in {folder} was made from other sources: make binary", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def one_folder(dist: Path) -> Binary:
    """The program beside its libraries."""
    return Binary("folder", dist / "botframework" / PROGRAM)


@pytest.fixture(scope="session")
def one_file(dist: Path) -> Binary:
    """The program that unpacks itself."""
    return Binary("file", dist / "onefile" / PROGRAM)


@pytest.fixture(scope="session", params=["folder", "file"])
def binary(request: pytest.FixtureRequest) -> Binary:
    """Both forms, one after the other."""
    found: Binary = request.getfixturevalue(f"one_{request.param}")
    return found


@pytest.fixture
def bare_environment(runtime_dir: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Nothing of this machine: no Python on the path, no variable of ours but folders of the test's own."""
    home, unpacked = tmp_path / "home", tmp_path / "unpacked"
    for folder in (home, unpacked):
        folder.mkdir()
    yield {
        "PATH": str(tmp_path / "no-programs"),
        "HOME": str(home),
        "TMPDIR": str(unpacked),
        "BOTFRAMEWORK_RUNTIME_DIR": str(runtime_dir),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "LANG": "C.UTF-8",
    }
    assert list(unpacked.glob("_MEI*")) == [], "a program that ended by itself left what it had unpacked"
