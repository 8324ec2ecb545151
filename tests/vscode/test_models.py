"""Choosing a model in the window: what is offered, what is loaded in its place, and what is remembered."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from typing import TYPE_CHECKING

import psutil
from playwright.sync_api import expect

from support.source_tree import ROOT
from support.vscode.programs import fake_daemon
from vscode.test_trust import heard

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


def all_remembered(window: Window) -> list[str | None]:
    """For everything, for ghost text, for chat."""
    return [remembered(window, setting) for setting in ("model", "models.fim", "models.chat")]


def loaded(window: Window) -> set[str]:
    """The models that lie in the memory of workers."""
    maps: set[str] = set()
    for worker in window.server.workers():
        with contextlib.suppress(psutil.Error):  # Its daemon goes, and so it does.
            maps |= {found.path for found in worker.memory_maps()}
    return {path for path in maps if path.endswith(".gguf")}


def apart(model: Path | str) -> dict[str, str]:
    """Settings by which this model does ghost text and chat, whatever does the rest."""
    return {"botframework.models.fim": str(model), "botframework.models.chat": str(model)}


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


def test_a_file_that_is_chosen_does_everything(start: Start, tmp_path: Path) -> None:
    """Chosen by its place on the disk it takes over from those that were set apart; the daemon starts anew, once."""
    chosen, journal = tmp_path / "chosen.gguf", tmp_path / "journal"
    shutil.copyfile(EMBEDDED, chosen)
    settings = {"botframework.path": str(fake_daemon(tmp_path)), **apart("/apart.gguf")}
    environ = {"FAKE_ROUTER": json.dumps({"journal": str(journal)})}

    with start(FILES, settings, show="area.py", environ=environ) as window:
        window.wait_for_status(READY)
        before = heard(journal)
        assert [(found["model"], found["apart"]) for found in before] == [(None, ["/apart.gguf", "/apart.gguf"])]

        choose(window, "Choose a file")
        box = window.page.locator(".quick-input-widget input.input")
        expect(box).to_have_value(re.compile("^/"))
        box.fill(f"{chosen.parent}/")
        window.page.locator(".quick-input-list .monaco-list-row").filter(has_text=chosen.name).click()
        window.until(lambda: len(heard(journal)) > len(before))
        window.wait_for_status(READY)

        assert all_remembered(window) == [str(chosen), None, None]
        assert [(found["model"], found["apart"]) for found in heard(journal)[1:]] == [(str(chosen), [None, None])]


def test_in_a_workspace_without_trust_a_model_does_everything(start: Start, tmp_path: Path) -> None:
    """There the list sets what the user sets: this model for everything. It serves after a restart."""
    other, chosen = tmp_path / "other.gguf", tmp_path / "chosen.gguf"
    for file in (other, chosen):
        shutil.copyfile(EMBEDDED, file)
    settings = {"botframework.models.folder": str(tmp_path), **apart(other)}

    with start(FILES, settings, show="area.py", trust=False) as window:
        window.wait_for_status(READY)
        (daemon,) = window.server.daemons()

        choose(window, str(chosen))
        window.until(lambda: [found.pid for found in window.server.daemons() if found.pid != daemon.pid])
        window.wait_for_status(READY)
        window.focus()
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))

        assert all_remembered(window) == [str(chosen), None, None]
        window.until(lambda: loaded(window) == {str(chosen)})
