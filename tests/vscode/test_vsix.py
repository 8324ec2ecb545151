"""The ``.vsix`` that carries the daemon: to install it is the whole installation.

Here the PATH leads to no program at all, and no setting names one. The whole suite runs so with
``BOTFRAMEWORK_VSIX=vscode-extension/dist/botframework-linux-x64.vsix``.
"""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import psutil
import pytest
from playwright.sync_api import expect

from frozen import conftest as frozen
from support.processes import belonging_to
from support.vscode import installation
from support.vscode.packages import install_ours, pack
from support.vscode.server import is_node

if TYPE_CHECKING:
    from pathlib import Path

    from support.vscode.window import Window
    from vscode.conftest import Start

pytestmark = [pytest.mark.binary, pytest.mark.timeout(600)]
CODE = "def area(width, height):\n    return width * hei"
READY = r": (ready|busy)"
dist = frozen.dist
"""The fixture of those who test the program itself."""
MAX_BYTES = 120_000_000
"""Of the package for CPU."""


@pytest.fixture(scope="module")
def package(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what `make binary` made inside."""
    return pack(tmp_path_factory.mktemp("packed") / "carrying.vsix", dist / "botframework")


@pytest.fixture(scope="module")
def extensions(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the extension, installed from this package and no other."""
    folder = install_ours(tmp_path_factory.mktemp("carrying") / "extensions", package)
    assert installation.carried(folder) is not None
    return folder


def test_what_it_holds(package: Path) -> None:
    """A program that may be executed, a model to begin with, the licences of everything, and not too much of it."""
    with zipfile.ZipFile(package) as opened:
        carried = {info.filename: info for info in opened.infolist() if info.filename.startswith("extension/bin/")}

    program = carried["extension/bin/botframework/botframework"]
    assert (program.external_attr >> 16) & 0o111 == 0o111
    names = {name.rpartition("/")[2] for name in carried}
    assert {"model.gguf", "LICENSES.txt"} <= names
    assert package.stat().st_size <= MAX_BYTES


def test_it_is_the_whole_installation(start: Start, extensions: Path) -> None:
    """Ghost text and a chat come from the carried daemon and its worker; no Python is found and none runs."""
    with start({"area.py": CODE}, {"botframework.chat.maxTokens": 8}, show="area.py") as window:
        window.wait_for_status(READY)
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))
        window.picture("carried-daemon")
        window.press("Tab")
        assert "return width * height" in window.text("area.py")
        window.run("botframework: Focus on Chat View")
        window.chat.locator("#message").fill("hello")
        window.chat.locator("#message").press("Enter")
        expect(window.chat.locator("article[data-role=assistant]")).to_have_attribute("data-state", "done")

        program = installation.carried(extensions)
        assert {process.exe() for process in ours(window)} == {str(program)}
        assert len(window.server.daemons()) == len(window.server.workers()) == 1
        for process in ours(window):
            path = process.environ().get("PATH", "")
            assert [shutil.which(name, path=path) for name in ("python3", "python", "botframework")] == [None] * 3


def ours(window: Window) -> list[psutil.Process]:
    """What runs in this VS Code and is not VS Code."""
    processes = [psutil.Process(pid) for pid in belonging_to(window.server.profile.runtime)]
    return [process for process in processes if not is_node(process)]
