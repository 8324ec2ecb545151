"""Choosing a model in the window: what is offered, what is loaded in its place, and what is remembered."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from support.source_tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from support.vscode.window import Window
    from vscode.conftest import Start

EMBEDDED = ROOT / "daemon" / "botframework" / "embedded" / "model.gguf"
FILES = {"area.py": "def area(width, height):\n    return width * hei"}
READY = r": (ready|busy)"


def choose(window: Window, text: str) -> None:
    """Choose a row of the quick pick of models."""
    window.run("botframework: Select Model…")
    window.page.locator(".quick-input-list .monaco-list-row").filter(has_text=text).first.click()


def remembered(window: Window, setting: str = "model") -> str | None:
    """The setting, as it stands on the disk."""
    found = json.loads((window.server.profile.data / "Machine" / "settings.json").read_text(encoding="utf-8"))
    model: str | None = found.get(f"botframework.{setting}")
    return model


def test_another_model_takes_the_place_of_the_first(start: Start, tmp_path: Path) -> None:
    """It is loaded while the daemon runs on, and remembered; for the embedded one the setting is taken away."""
    other = tmp_path / "other.gguf"
    shutil.copyfile(EMBEDDED, other)

    with start(FILES, {"botframework.models.folder": str(tmp_path)}, show="area.py") as window:
        window.wait_for_status(READY)
        (daemon,) = window.server.daemons()

        choose(window, str(other))
        window.until(lambda: remembered(window) == str(other))
        window.wait_for_status(READY)
        window.focus()
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))

        choose(window, "the demonstration model")
        window.until(lambda: remembered(window) is None)
        window.wait_for_status(READY)
        assert [found.pid for found in window.server.daemons()] == [daemon.pid]
        window.until(lambda: window.toasts() == [])  # The progress of loading leaves a moment after its end.


def test_a_model_that_cannot_be_used_leaves_the_one_that_can(start: Start, tmp_path: Path) -> None:
    """Chosen all the same it is refused in one message, and nothing of it is remembered; the other goes on serving."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1_000))

    with start(FILES, {"botframework.models.folder": str(tmp_path)}, show="area.py") as window:
        window.wait_for_status(READY)

        choose(window, "broken")
        window.toast("broken.*cannot be used")
        window.until(lambda: len(window.toasts()) == 1)  # That of the loading goes.
        window.picture("model-refused")

        assert remembered(window) is None
        window.wait_for_status(READY)
        window.focus()
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))
