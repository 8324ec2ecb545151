"""The status bar tells the truth about the daemon, from its start to its death and back."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from support.vscode.installation import DAEMON
from support.vscode.programs import fake_daemon
from support.vscode.window import STATUS

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

    from support.vscode.window import Window
    from vscode.conftest import Start

FILES = {"area.py": "def area(width, height):\n    return width * hei"}
READY = r": (ready|busy)"
REMEMBER = """(selector) => {
  window.seen = [];
  const look = () => {
    const label = document.querySelector(selector)?.getAttribute('aria-label');
    if (label && window.seen.at(-1) !== label) window.seen.push(label);
  };
  look();
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""
"""Writes down everything that the item says from now on."""


def tooltip(window: Window) -> str:
    """What hovering over the item shows."""
    window.status.hover()
    hover = window.page.locator(".monaco-hover:visible, .workbench-hover:visible").last
    expect(hover).to_be_visible()
    return hover.inner_text()


def menu(window: Window, entry: str) -> None:
    """Choose from what a click on the item opens."""
    window.status.click()
    window.page.locator(".quick-input-list .monaco-list-row").filter(has_text=entry).first.click()


def test_from_loading_to_ready(start: Start, tmp_path: Path) -> None:
    """While a model loads the item counts up, then it names the model."""
    environ = {"FAKE_ROUTER": json.dumps({"load_ms": 6_000})}
    settings = {"botframework.path": str(fake_daemon(tmp_path)), "botframework.heartbeatS": 0.5}

    with start(FILES, settings, environ=environ) as window:
        window.wait_for_status("loading")
        window.evaluate(REMEMBER, STATUS)
        window.wait_for_status(r"loading .*[3-9]\d %")
        window.picture("status-loading")
        window.wait_for_status(READY)

        said = "\n".join(window.evaluate("() => window.seen"))
        figures = [int(figure) for figure in re.findall(r"(\d+) %", said)]
        assert len(figures) >= 3
        assert figures == sorted(figures)


def test_the_figures_are_the_daemons(start: Start) -> None:
    """After a suggestion the item names model and speed, and the tooltip holds memory, KV tokens, queue and time."""
    # One token alone has no speed.
    point = "class Point:\n    def __init__(self, x, y):\n        self.x = x\n        "
    with start({"point.py": point}, show="point.py") as window:
        window.wait_for_status(READY)
        window.type("s")
        window.wait_for_ghost(lambda text: text.startswith("elf.y"))
        window.press("Tab")
        text = window.wait_for_status(r"\d tokens per second")

        assert "botframework" in text
        shown = tooltip(window)
        window.picture("status-tooltip", hovering=True)
        for word in ("RAM", "KV", "first token", "shown", "accepted"):
            assert word.lower() in shown.lower(), shown
        worker = window.server.workers()[0].memory_info().rss
        assert worker > 0


def test_a_daemon_that_was_killed_is_back(start: Start) -> None:
    """SIGKILL is survived without a word from the user: the item says so, and ghost text comes again."""
    with start(FILES, show="area.py") as window:
        window.wait_for_status(READY)
        window.evaluate(REMEMBER, STATUS)
        (killed,) = window.server.daemons()

        killed.kill()

        window.until(lambda: [found.pid for found in window.server.daemons() if found.pid != killed.pid])
        window.wait_for_status(READY)
        assert any("started again" in text for text in window.evaluate("() => window.seen"))
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))
        assert window.toasts() == []
        assert window.errors == []


def is_replaced_or_told(window: Window, dead: psutil.Process) -> bool:
    """Whether another daemon runs and is ready, or a message says that none will."""
    pids = [daemon.pid for daemon in window.server.daemons()]
    is_replaced = len(pids) == 1 and pids != [dead.pid] and re.search(READY, window.status_text()) is not None
    return is_replaced or bool(window.toasts())


def test_a_daemon_that_dies_again_and_again_is_left_alone(start: Start) -> None:
    """After a few deaths in a row it is not started any more, and the one message offers to try again."""
    with start(FILES, show="area.py") as window:
        window.wait_for_status(READY)
        while not window.toasts():
            (killed,) = window.server.daemons()
            killed.kill()
            window.until(functools.partial(is_replaced_or_told, window, killed))
        toast = window.toast("is not started again by itself")
        window.picture("daemon-keeps-dying")

        toast.get_by_role("button", name="Restart").click()

        window.wait_for_status(READY)
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))


def test_a_model_that_is_not_there(start: Start, tmp_path: Path) -> None:
    """The item and one message name the file; no other model takes its place."""
    gone = tmp_path / "gone.gguf"

    with start(FILES, {"botframework.model": str(gone)}, show="area.py") as window:
        window.wait_for_status("no model")
        window.toast("gone.gguf")
        window.picture("model-missing")
        window.type("g")
        window.page.wait_for_timeout(1_000)

        assert window.ghost() == ""
        assert len(window.toasts()) == 1

        window.server.profile.write_settings({})
        window.wait_for_status(READY)


def test_a_model_that_is_broken(start: Start, tmp_path: Path) -> None:
    """A file that is no whole GGUF is told as such, once."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1_000))

    with start(FILES, {"botframework.model": str(broken)}, show="area.py") as window:
        window.wait_for_status("error")
        window.toast("broken.gguf")
        window.picture("model-broken")

        assert len(window.toasts()) == 1
        window.type("g")
        assert window.text("area.py").endswith("heig")


def test_settings_of_the_wrong_type(start: Start) -> None:
    """Values that cannot be used are named, once, and the daemon runs on the default ones."""
    wrong = {
        "botframework.path": str(DAEMON),
        "botframework.completion.maxTokens": "as many as you can",
        "botframework.completion.temperature": [1],
        "botframework.chat.maxTokens": -1,
        "botframework.enable": "yes",
        "botframework.engine.nThreads": {"a": 1},
    }

    with start(FILES, wrong, show="area.py") as window:
        window.wait_for_status(READY)
        toast = window.toast("completion.maxTokens")
        window.picture("settings-of-the-wrong-type")
        window.type("g")

        window.wait_for_ghost(lambda text: text.startswith("ht"))
        assert "enable" in toast.inner_text()
        assert len(window.toasts()) == 1


def test_the_menu(start: Start) -> None:
    """A click on the item opens what can be done; pausing there stops the suggestions, resuming brings them back."""
    with start(FILES, show="area.py") as window:
        window.wait_for_status(READY)

        window.status.click()
        window.page.locator(".quick-input-list").get_by_text("Restart").wait_for()
        window.picture("status-menu")
        window.press("Escape")
        menu(window, "Pause suggestions")
        window.wait_for_status("paused")
        window.to_end()
        window.type("g")
        window.page.wait_for_timeout(1_000)

        assert window.ghost() == ""
        menu(window, "Resume suggestions")
        window.wait_for_status(READY)
        window.to_end()
        window.type("h")
        window.wait_for_ghost(lambda text: text.startswith("t"))


def test_switched_off_for_a_language(start: Start) -> None:
    """Off for Python means no ghost text in a Python file; the item says so."""
    with start(FILES, {"botframework.enable": {"*": True, "python": False}}, show="area.py") as window:
        window.wait_for_status("off for python")
        window.type("g")
        window.page.wait_for_timeout(1_000)

        assert window.ghost() == ""


def test_the_model_menu(start: Start) -> None:
    """The quick pick of models shows name, size, and whether it fits."""
    with start(FILES, show="area.py") as window:
        window.wait_for_status(READY)

        window.run("botframework: Select Model…")
        row = window.page.locator(".quick-input-list .monaco-list-row").filter(has_text="MiB").first
        expect(row).to_be_visible()
        window.picture("models")

        assert "botframework" in row.inner_text()
