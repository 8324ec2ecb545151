"""What is inside the binary is told: the program's version and llama.cpp's, every licence, every part, every folder."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from botframework import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from frozen.conftest import Binary

pytestmark = [pytest.mark.binary, pytest.mark.timeout(240)]

NEVER_INSIDE = {"cyclonedx-bom", "pytest", "mypy", "ruff", "setuptools", "pip"}
"""Tools of the build and of the tests."""


def run(binary: Binary, environment: Mapping[str, str], *arguments: str) -> str:
    """What a command prints."""
    done = binary.run(environment, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def bill(dist: Path) -> dict[str, Any]:
    """The bill of materials beside the binary."""
    return dict(json.loads((dist / "botframework.cdx.json").read_text(encoding="utf-8")))


def test_which_program_this_is(binary: Binary, bare_environment: dict[str, str], home: Path) -> None:
    """Its form, variant and commit, and a llama.cpp that runs, with its commit and what it uses."""
    found = json.loads(run(binary, bare_environment, "version", "--json"))

    assert (found["version"], found["form"]) == (__version__, binary.form)
    assert found["variant"]
    assert found["problem"] == ""
    assert "llama-cpp-python" in found["engine"]
    assert "CPU" in found["features"]
    assert found["python"].rpartition(".")[0] == platform.python_version().rpartition(".")[0]
    assert home


def test_every_licence_is_inside(binary: Binary, bare_environment: dict[str, str], bill: dict[str, Any]) -> None:
    """`botframework licences` names every part of the bill with its version, and prints its terms."""
    text = run(binary, bare_environment, "licences")
    head = text.partition("=====")[0]

    missing = [part for part in bill["components"] if f"{part['name']} {part['version']}" not in _normal(head)]
    assert [part["name"] for part in missing] == []
    assert "Permission is hereby granted" in text
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in text
    assert "The ggml authors" in text
    assert "PyInstaller" in text


def _normal(text: str) -> str:
    """Names as a bill writes them: a distribution may spell its own with underscores."""
    return text + text.replace("_", "-")


def test_the_bill_is_of_what_is_inside(bill: dict[str, Any], one_folder: Binary) -> None:
    """The parts that no package manager knows are in it, no tool of the build is, and nothing of this machine."""
    names = {part["name"].lower() for part in bill["components"]}

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["version"] == __version__
    assert {"cpython", "llama.cpp", "pyinstaller", "botframework-embedded-model", "numpy", "msgspec"} <= names
    assert names & NEVER_INSIDE == set()
    assert all(part.get("purl") or part["type"] == "machine-learning-model" for part in bill["components"])
    assert str(Path.home()) not in json.dumps(bill)
    assert str(one_folder.path.parent) not in json.dumps(bill)


def test_where_everything_is(binary: Binary, bare_environment: dict[str, str], home: Path, tmp_path: Path) -> None:
    """The folders are those of the user, and of one file also the one that it has unpacked itself into."""
    places = {place["name"]: place for place in json.loads(run(binary, bare_environment, "where", "--json"))["places"]}

    assert Path(places["program"]["path"]).samefile(binary.path)
    # One file keeps a copy of its model where all of its starts find it, from the first use on.
    assert places["embedded model"]["exists"] == (binary.form == "folder")
    assert places["runtime"]["path"] == str(home)
    for name in ("settings", "models", "sessions", "log"):
        assert Path(places[name]["path"]).is_relative_to(tmp_path)
    assert ("unpacked" in places) == (binary.form == "file")
    if binary.form == "file":
        assert Path(places["unpacked"]["path"]).parent == tmp_path / "unpacked"
        assert Path(places["package"]["path"]).is_relative_to(places["unpacked"]["path"])
