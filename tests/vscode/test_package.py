"""What a ``.vsix`` holds, for every system or for one, and that nothing of it depends on when it was packed."""

from __future__ import annotations

import os
import platform
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from support.vscode.installation import EXTENSION, VSIX, node
from support.vscode.packages import pack
from support.vscode.programs import foreign_program, program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(not VSIX.exists(), reason="the extension is not built: make extension"),
    pytest.mark.timeout(240),
]
FOREIGN = "linux-arm64" if platform.machine() == "x86_64" else "linux-x64"
"""The system of `foreign_program`, as VS Code calls it."""
OWN = {
    "package.json",
    "readme.md",
    "changelog.md",
    "LICENSE.txt",
    "icon.png",
    "dist/extension.js",
    "dist/chat.js",
    "dist/ThirdPartyNotices.txt",
    "media/chat.css",
    "media/view.svg",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `make binary` makes, in small: a program for another processor, a library, and another name of that."""
    folder = tmp_path / "built"
    (folder / "_internal").mkdir(parents=True)
    foreign_program(folder / "botframework")
    (folder / "_internal" / "libllama.so.1").write_bytes(b"library")
    (folder / "_internal" / "libllama.so").symlink_to("libllama.so.1")
    (folder / "_internal" / "node_modules.txt").write_text("a name that other packagers leave out")
    return folder


def files(package: Path) -> dict[str, zipfile.ZipInfo]:
    """By their names within the extension."""
    with zipfile.ZipFile(package) as opened:
        return {
            found.filename.removeprefix("extension/"): found
            for found in opened.infolist()
            if found.filename.startswith("extension/")
        }


def manifest(package: Path) -> str:
    """What VS Code reads before it installs anything."""
    with zipfile.ZipFile(package) as opened:
        return opened.read("extension.vsixmanifest").decode()


def test_the_package_for_every_system(tmp_path: Path) -> None:
    """It holds the bundles, their licences and nothing that is built for one system."""
    package = pack(tmp_path / "all.vsix")

    assert set(files(package)) == OWN
    assert "TargetPlatform" not in manifest(package)


def test_the_package_for_one_system(tmp_path: Path, folder: Path) -> None:
    """It holds the whole folder, with the rights of its files, and VS Code refuses it on any other system."""
    package = pack(tmp_path / "one.vsix", folder)

    found = files(package)
    carried = {name.removeprefix("bin/botframework/"): info for name, info in found.items() if name.startswith("bin/")}
    assert set(found) - OWN == {f"bin/botframework/{name}" for name in carried}
    assert set(carried) == {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    rights = {name: (info.external_attr >> 16) & 0o111 for name, info in carried.items()}
    assert rights == {name: 0o111 if name == "botframework" else 0 for name in carried}
    with zipfile.ZipFile(package) as opened:
        assert opened.read(carried["_internal/libllama.so"]) == b"library"
    assert f'TargetPlatform="{FOREIGN}"' in manifest(package)


def test_the_same_files_make_the_same_package(tmp_path: Path, folder: Path) -> None:
    """Neither the time nor the time zone is in it."""
    first = pack(tmp_path / "first.vsix", folder, TZ="Asia/Tokyo")
    for file in folder.rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    second = pack(tmp_path / "second.vsix", folder, TZ="America/Los_Angeles")

    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("script", "told"), [(False, "make binary"), (True, "not a program for one system")])
def test_a_folder_that_holds_no_program(tmp_path: Path, *, script: bool, told: str) -> None:
    """It is refused with what to do, and there is no package."""
    folder, package = tmp_path / "built", tmp_path / "none.vsix"
    folder.mkdir()
    if script:
        program(folder / "botframework", "true")

    command: list[str | Path] = [node(), "vsix.mjs", "--binary", folder, "--out", package]
    answer = subprocess.run(command, cwd=EXTENSION, capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode == 1
    assert told in answer.stderr
    assert "    at " not in answer.stderr
    assert not package.exists()
