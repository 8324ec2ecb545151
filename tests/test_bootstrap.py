"""The set-up script: it works from the standard library alone, trusts hashes only, and costs nothing when done."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[1] / "packaging" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that believes to stand in an empty checkout."""
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in {"ROOT": ".", "VENV": ".venv", "TOOLS": ".tools", "STAMP": ".venv/stamp"}.items():
        monkeypatch.setattr(module, name, tmp_path / path)
    (tmp_path / "uv.lock").write_text("lock")
    (tmp_path / "pyproject.toml").write_text("project")
    return module


def test_links_of_an_index_may_be_relative(bootstrap: ModuleType) -> None:
    """A mirror's relative and percent-encoded links lead to the file, without the fragment."""
    page = '<a href="../../packages/ab/uv-1.0%2Blocal.whl#sha256=12" data-x="y">uv</a> <a href="uv-2.0.whl">2</a>'

    found = bootstrap.find_link(page, "https://mirror.example/simple/uv/", "uv-1.0+local.whl")

    assert found == "https://mirror.example/packages/ab/uv-1.0%2Blocal.whl"
    assert bootstrap.find_link(page, "https://mirror.example/simple/uv/", "uv-3.0.whl") is None


def test_a_wheel_of_another_hash_is_not_unpacked(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the index says about its file, the hash in the script decides."""
    pages: list[Any] = [b'<a href="uv.whl">', b"not the wheel that was pinned"]
    monkeypatch.setattr(bootstrap, "download", lambda *_: pages.pop(0))
    monkeypatch.setattr(bootstrap, "find_link", lambda *_: "https://mirror.example/uv.whl")

    with pytest.raises(SystemExit):
        bootstrap.fetch_uv(tmp_path / ".tools" / "uv")

    assert "SHA-256" in capsys.readouterr().err
    assert not (tmp_path / ".tools").exists()


def test_the_program_is_taken_out_of_the_wheel(bootstrap: ModuleType, tmp_path: Path) -> None:
    """Of a wheel's files only the program is written, and it may be run."""
    wheel = tmp_path / "uv.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-1.data/scripts/uv", "#!/bin/sh\necho uv 1\n")
        archive.writestr("uv-1.data/scripts/uv.exe", "windows")
        archive.writestr("../outside", "never written")
    target = tmp_path / ".tools" / "uv"

    bootstrap.unpack_uv(wheel.read_bytes(), target)

    assert [path.name for path in target.parent.iterdir()] == ["uv"]
    assert bootstrap.uv_version(target) == "1"
    assert not (tmp_path / "outside").exists()


def test_missing_compilers_are_named(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a compiler the script says which Debian packages to install, before it downloads anything."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)

    with pytest.raises(SystemExit):
        bootstrap.check_toolchain(bootstrap.VENV)

    assert "apt-get install gcc g++ cmake make" in capsys.readouterr().err


def test_the_environment_is_made_again_when_the_lock_changes(bootstrap: ModuleType, tmp_path: Path) -> None:
    """The stamp of another lock file is no stamp."""
    python = bootstrap.venv_python(bootstrap.VENV)
    python.parent.mkdir(parents=True)
    python.touch()
    bootstrap.STAMP.write_text(bootstrap.fingerprint())
    assert bootstrap.is_current()

    (tmp_path / "uv.lock").write_text("another lock")

    assert not bootstrap.is_current()


def test_a_current_environment_costs_nothing(bootstrap: ModuleType, tmp_path: Path) -> None:
    """Every make target runs the script first, so it has half a second, with the bare standard library."""
    (tmp_path / "packaging").mkdir()
    shutil.copy(SCRIPT, tmp_path / "packaging")
    bootstrap.venv_python(bootstrap.VENV).parent.mkdir(parents=True)
    bootstrap.venv_python(bootstrap.VENV).touch()
    (tmp_path / ".venv" / "botframework-stamp").write_text(bootstrap.fingerprint())
    started = time.monotonic()

    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "packaging" / "bootstrap.py")],
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"", b"")
    assert time.monotonic() - started < 0.5
