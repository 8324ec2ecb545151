"""The embedded model is one file for every start, also where each start unpacks its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from botframework.config import Settings
from botframework.manager import embedded, load
from botframework.process import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.real_daemon import Models


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Models) -> Callable[[], Path]:
    """One more start of a program of one file, with a model that was unpacked just now; the file that it opens."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(program, "form", lambda: "file")
    count = 0

    def begin() -> Path:
        nonlocal count
        count += 1
        unpacked = tmp_path / f"unpacked-{count}.gguf"
        unpacked.write_bytes(models.alphabet.read_bytes())
        monkeypatch.setattr(load, "EMBEDDED_MODEL", unpacked)
        return load.embedded_path()

    return begin


def test_from_source_it_is_the_package_s() -> None:
    """No copy is made where the package stays."""
    assert load.embedded_path() == embedded.place(load.EMBEDDED_MODEL) == load.EMBEDDED_MODEL


def test_every_start_has_the_same_file(start: Callable[[], Path]) -> None:
    """And the same worker, whether the model is named or not: neither the path nor the file behind it changes."""
    first = start()
    identity, key = first.stat(), load.choose(Settings()).key
    second = start()

    assert first == second == embedded.place(load.EMBEDDED_MODEL) != load.EMBEDDED_MODEL
    assert second.stat() == identity
    assert {load.choose(Settings()).key, load.choose(Settings(model=str(second))).key} == {key}


def test_a_damaged_copy_is_made_anew(start: Callable[[], Path]) -> None:
    """What is opened is what was packed, byte by byte, although the damaged file has its size."""
    copy = start()
    copy.write_bytes(bytes(copy.stat().st_size))

    assert start().read_bytes() == load.EMBEDDED_MODEL.read_bytes()


def test_without_room_for_a_copy(start: Callable[[], Path], tmp_path: Path) -> None:
    """The packed model serves: a cache folder that cannot be written costs no completion."""
    (tmp_path / "cache").write_text("no folder")

    assert start() == load.EMBEDDED_MODEL
