"""Models that are not there yet: what is recommended, how it comes, what can go wrong, and how it goes again.

The hub is a server of this machine, which lies where a test wants it to.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from support.hub_server import HubServer
from vscode.test_models import EMBEDDED, FILES, READY, choose, remembered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator

    from support.vscode.window import Window
    from vscode.conftest import Start

NAME = "Small Coder"
REPOSITORY = "maker/small-coder-GGUF"
FILE = "small-coder-q8_0.gguf"
ENTRY = {
    "id": "small-coder",
    "name": NAME,
    "roles": ["fim"],
    "parameters": 23_000_000,
    "repository": REPOSITORY,
    "quantizations": ["Q8_0"],
    "licence": "apache-2.0",
}
SLOW = EMBEDDED.stat().st_size / 15
"""Bytes a second: the bar can be looked at, and the download stopped."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A hub with one repository, whose file is the embedded model."""
    folder = tmp_path / "hub" / REPOSITORY
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(EMBEDDED.read_bytes())
    with HubServer(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def environ(hub: HubServer, tmp_path: Path) -> dict[str, str]:
    """The hub in the place of the real one, and a catalog of the user that prefers its model."""
    catalog = tmp_path / "config" / "botframework" / "catalog.json"
    catalog.parent.mkdir(parents=True)
    first = {tier: {"fim": [ENTRY["id"]]} for tier in ("small", "medium", "large")}
    catalog.write_text(json.dumps({"models": [ENTRY], "defaults": first}))
    return {"HF_ENDPOINT": hub.address, "XDG_CONFIG_HOME": str(tmp_path / "config")}


def settings(tmp_path: Path) -> dict[str, Any]:
    """Downloads go into a folder of the test."""
    return {"botframework.models.folder": str(tmp_path / "models"), "botframework.heartbeatS": 0.5}


def row(window: Window, text: str) -> Locator:
    """Open the list of models, and wait for this row of it."""
    window.run("botframework: Select Model…")
    found = window.page.locator(".quick-input-list .monaco-list-row").filter(has_text=text).first
    expect(found).to_be_visible()
    return found


def press(window: Window, toast: str, button: str) -> None:
    """Press a button of a notification."""
    window.toast(toast).get_by_role("button", name=button).click()


def stored(tmp_path: Path) -> list[Path]:
    """The models that can be loaded from the folder."""
    return sorted((tmp_path / "models").rglob("*.gguf"))


def test_a_recommended_model_is_downloaded_and_loaded(
    start: Start, hub: HubServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """It says why it is recommended; while it comes there is a bar; then it serves; and it can be deleted again."""
    hub.rate = SLOW
    with start(FILES, settings(tmp_path), show="area.py", environ=environ) as window:
        window.wait_for_status(READY)

        found = row(window, NAME)
        expect(window.page.locator(".quick-input-list")).to_contain_text("Recommended for this machine")
        expect(found).to_contain_text(re.compile("Q8_0.*23 M parameters.*about.*for ghost text.*apache-2.0"))
        window.picture("models-recommended")
        found.click()
        bar = window.toast(f"Downloading {NAME}")
        expect(bar).to_contain_text(re.compile(r"\d\.\d of 4\.\d MiB, \d"))
        window.wait_for_status(r"downloading a model, [1-9]\d? %")
        window.picture("models-downloading")
        hub.rate = None
        window.toast("is downloaded and verified")
        window.picture("models-downloaded")
        (file,) = stored(tmp_path)
        assert file.read_bytes() == EMBEDDED.read_bytes()

        press(window, "is downloaded and verified", "Load It for Ghost Text")
        window.until(lambda: remembered(window, "models.fim") == str(file))
        window.wait_for_status(READY)
        window.focus()
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))

        assert remembered(window) is None
        expect(row(window, str(file))).to_contain_text("for ghost text")
        choose(window, "the demonstration model")
        window.until(lambda: remembered(window, "models.fim") is None)
        installed = row(window, str(file))
        expect(installed).to_contain_text("recommended")
        installed.hover()
        installed.get_by_role("button", name="Delete the file").click()
        window.page.get_by_role("button", name="Delete", exact=True).click()
        window.until(lambda: stored(tmp_path) == [])
        assert window.errors == []


def test_a_download_is_stopped_and_goes_on(
    start: Start, hub: HubServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """Stopped beside its bar it leaves no model behind; chosen again it goes on where it was."""
    hub.rate = SLOW
    with start(FILES, settings(tmp_path), show="area.py", environ=environ) as window:
        window.wait_for_status(READY)

        row(window, NAME).click()
        window.wait_for_status(r"downloading a model, [2-9]\d %")
        press(window, f"Downloading {NAME}", "Cancel")
        window.wait_for_status(READY + "(?!.*downloading)")
        assert (window.toasts(), stored(tmp_path)) == ([], [])

        hub.rate = None
        before = hub.sent
        row(window, NAME).click()
        window.toast("is downloaded and verified")
        assert len(stored(tmp_path)) == 1
        assert hub.sent - before < 0.9 * EMBEDDED.stat().st_size


def test_what_is_not_what_was_published_is_refused(
    start: Start, hub: HubServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """One message says so, nothing is kept, and the present model goes on serving."""
    hub.lies["*"] = "changed-byte"
    with start(FILES, settings(tmp_path), show="area.py", environ=environ) as window:
        window.wait_for_status(READY)

        row(window, NAME).click()
        window.toast(f"{NAME} was not downloaded")
        window.until(lambda: len(window.toasts()) == 1)  # That of the download goes.
        window.picture("models-refused")

        assert stored(tmp_path) == []
        window.focus()
        window.type("g")
        window.wait_for_ghost(lambda text: text.startswith("ht"))


def test_a_gated_model_says_where_its_licence_is(
    start: Start, hub: HubServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """The message names the page and the token, and opens the page."""
    hub.lies["*"] = "gated"
    with start(FILES, settings(tmp_path), show="area.py", environ=environ) as window:
        window.wait_for_status(READY)

        row(window, NAME).click()
        message = window.toast(f"{NAME} was not downloaded")
        expect(message).to_contain_text(f"https://huggingface.co/{REPOSITORY}")
        expect(message.get_by_role("button", name="Open Page")).to_be_visible()
        window.until(lambda: len(window.toasts()) == 1)  # That of the download goes.
        window.picture("models-gated")


def test_any_repository_can_be_named(start: Start, environ: dict[str, str], tmp_path: Path) -> None:
    """As the hub calls it; what it does not have is said with what it has."""
    with start(FILES, settings(tmp_path), show="area.py", environ=environ) as window:
        window.wait_for_status(READY)

        ask_for(window, f"hf:{REPOSITORY}:Q2_K")
        window.toast("was not downloaded.*Q8_0")
        ask_for(window, f"hf:{REPOSITORY}:Q8_0")
        window.toast("is downloaded and verified")

        assert len(stored(tmp_path)) == 1


def ask_for(window: Window, reference: str) -> None:
    """Type the name of a model."""
    window.run("botframework: Select Model…")
    box = window.page.locator(".quick-input-widget input.input")
    expect(box).to_have_attribute("placeholder", re.compile("^Load a model"))
    box.fill("Download another")  # The list shows only so many rows.
    window.page.locator(".quick-input-list .monaco-list-row").filter(has_text="Download another").first.click()
    expect(box).to_have_attribute("placeholder", re.compile("^hf:"))
    box.fill(reference)
    box.press("Enter")


def test_a_workspace_without_trust_downloads_nothing(
    start: Start, hub: HubServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """What is recommended is not offered; how to trust the workspace is."""
    with start(FILES, settings(tmp_path), show="area.py", environ=environ, trust=False) as window:
        window.wait_for_status(READY)

        offered = row(window, "Trust this workspace to download")
        expect(window.page.locator(".quick-input-list")).not_to_contain_text(NAME)
        window.picture("models-untrusted")
        offered.click()
        expect(window.page.get_by_text("You are in Restricted Mode")).to_be_visible()

        assert (hub.asked, stored(tmp_path)) == ([], [])
