"""Two builds are compared file by file, and every difference has a name."""

from __future__ import annotations

import marshal
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

from support.binary_scripts import script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.fixture
def reproducible() -> ModuleType:
    """The script."""
    return script("reproducible")


@pytest.fixture
def builds(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders that are the same."""
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "inner").mkdir(parents=True)
    (first / "program").write_bytes(b"program")
    (first / "program").chmod(0o755)
    (first / "inner" / "lib.so.1").write_bytes(b"library")
    (first / "inner" / "lib.so").symlink_to("lib.so.1")
    with zipfile.ZipFile(first / "inner" / "base.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.pyc"), marshal.dumps(compile("x = 1", "a", "exec")))
        archive.writestr(zipfile.ZipInfo("b.pyc"), b"b")
    shutil.copytree(first, second, symlinks=True)
    return first, second


def told(reproducible: ModuleType, builds: tuple[Path, Path]) -> list[str]:
    """Every difference, in words."""
    return [str(each) for each in sorted(reproducible.differences(*builds))]


def test_the_same(reproducible: ModuleType, builds: tuple[Path, Path]) -> None:
    """Nothing is told of two builds that are the same."""
    assert told(reproducible, builds) == []


def test_a_file_that_only_one_has(reproducible: ModuleType, builds: tuple[Path, Path]) -> None:
    """It is named, on either side."""
    (builds[0] / "new").touch()
    (builds[1] / "program").unlink()

    assert told(reproducible, builds) == ["new: is only in the first", "program: is only in the first"]


def test_modes_and_links(reproducible: ModuleType, builds: tuple[Path, Path]) -> None:
    """A program that cannot be run, or a link that leads elsewhere, is another program."""
    (builds[1] / "program").chmod(0o644)
    (builds[1] / "inner" / "lib.so").unlink()
    (builds[1] / "inner" / "lib.so").symlink_to("lib.so.2")

    assert told(reproducible, builds) == [
        "inner/lib.so: leads to lib.so.1 and lib.so.2",
        "program: mode -rwxr-xr-x and -rw-r--r--",
    ]


def test_bytes_that_differ(reproducible: ModuleType, builds: tuple[Path, Path]) -> None:
    """Where the first one is helps to find out what it is."""
    (builds[1] / "inner" / "lib.so.1").write_bytes(b"liBrarY")

    assert told(reproducible, builds) == ["inner/lib.so.1: 2 of 7 bytes, the first at 2"]


def test_inside_an_archive(reproducible: ModuleType, builds: tuple[Path, Path]) -> None:
    """The member is named; code that is the same but for how it is marshalled is told apart from other code."""
    code = compile("x = 1", "a", "exec")
    with zipfile.ZipFile(builds[1] / "inner" / "base.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.pyc"), marshal.dumps(code, 2))
        archive.writestr(zipfile.ZipInfo("b.pyc"), b"c")
    found = told(reproducible, builds)

    assert found[0].startswith("inner/base.zip!a.pyc: the same code, marshalled in another way")
    assert found[1:] == ["inner/base.zip!b.pyc: 1 of 1 bytes, the first at 0"]


def test_two_files(reproducible: ModuleType, builds: tuple[Path, Path]) -> None:
    """One-file programs are compared as files."""
    pair = (builds[0] / "program", builds[1] / "program")
    pair[1].write_bytes(b"progrAm")

    assert told(reproducible, pair) == ["program: 1 of 7 bytes, the first at 5"]


def test_what_is_explained_is_no_failure(
    reproducible: ModuleType,
    builds: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A library that was compiled in another folder has another build id; any other byte fails the comparison."""
    note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"
    for build, digest in zip(builds, (b"a" * 20, b"b" * 20), strict=True):
        (build / "inner" / "lib.so.1").write_bytes(b"\x7fELF" + note + digest + b"code")
    monkeypatch.setattr("sys.argv", ["reproducible.py", *map(str, builds)])

    assert reproducible.main() == 0
    assert "inner/lib.so.1: the linker's build id" in capsys.readouterr().out
    (builds[1] / "inner" / "lib.so.1").write_bytes(b"\x7fELF" + note + b"b" * 20 + b"cOde")
    assert reproducible.main() == 1
    assert "1 of them not explained" in capsys.readouterr().out
