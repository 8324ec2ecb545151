"""The extension reports nothing to anybody: it has no means to, and while it is used nothing connects."""

from __future__ import annotations

import json
import re
import socket
import zipfile
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from playwright.sync_api import expect

from support.processes import belonging_to
from support.vscode import installation
from support.vscode.packages import install_ours, install_witness
from support.vscode.session import new_window, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from support.vscode.window import Window

CODE = "def area(width, height):\n    return width * hei"
MODULES = {
    *("vscode", "child_process", "crypto", "fs", "fs/promises", "os", "path", "path/posix", "path/win32"),
    *("readline", "util"),
    # The language client can speak through sockets too; ours is told to use pipes.
    "net",
}
"""Of Node.js and VS Code, that the extension may use: none of them speaks HTTP or asks for names."""
MEANS = re.compile(r"\b(fetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|RTCPeerConnection|importScripts)")
"""By which a page, or Node.js without a module, connects."""
VSCODE_S_OWN = re.compile(r"TelemetryLogger|TelemetryTrustedValue|isTelemetryEnabled|TelemetryEnabled|machineId")
LANGUAGE_SERVERS = re.compile(r"TelemetryEventNotification|telemetry/event|_telemetryEmitter|\bonTelemetry\b")
"""What the language client has for servers that report to their editors; nobody listens to it here."""


@pytest.fixture(scope="module")
def shipped() -> dict[str, str]:
    """The extension's own scripts and its manifest, as the package has them."""
    if not installation.VSIX.exists():
        pytest.skip(f"{installation.VSIX.name} is not packaged: make extension")
    with zipfile.ZipFile(installation.VSIX) as package:
        names = [name.removeprefix("extension/") for name in package.namelist()]
        own = [
            name for name in names if not name.startswith("bin/") and (name.endswith(".js") or name == "package.json")
        ]
        return {name: package.read(f"extension/{name}").decode() for name in own}


def test_the_code_has_no_means(shipped: dict[str, str]) -> None:
    """No module that speaks HTTP, no function that connects, and nothing of VS Code's telemetry."""
    scripts = {name: text for name, text in shipped.items() if name.endswith(".js")}
    required = re.findall(r"""require\(["'](?:node:)?([^"']+)["']\)""", "\n".join(scripts.values()))

    assert set(scripts) == {"dist/extension.js", "dist/chat.js"}
    assert set(required) <= MODULES
    for text in scripts.values():
        assert MEANS.findall(text) == []
        assert VSCODE_S_OWN.findall(text) == []
        assert re.findall(r"telemetry", LANGUAGE_SERVERS.sub("", text), re.IGNORECASE) == []


def test_the_manifest_asks_for_none(shipped: dict[str, str]) -> None:
    """No key of a service, no setting of its own, no library of that kind."""
    manifest = shipped["package.json"]

    assert re.findall(r"telemetry|analytics|aiKey|insights", manifest, re.IGNORECASE) == []


def used(window: Window) -> None:
    """Ghost text, an answer in the chat, and the list of models with what is recommended."""
    window.wait_for_status(": (ready|busy)")
    window.focus()
    window.to_end()
    window.type("g")
    window.wait_for_ghost(lambda text: text.startswith("ht"))
    window.press("Tab")
    window.run("botframework: Focus on Chat View")
    window.chat.locator("#message").fill("hello")
    window.chat.locator("#message").press("Enter")
    expect(window.chat.locator("article[data-role=assistant]")).to_have_attribute("data-state", "done")
    window.run("botframework: Select Model…")
    expect(window.page.locator(".quick-input-titlebar")).to_contain_text("GiB of memory")
    window.press("Escape")


@pytest.fixture
def port() -> Iterator[int]:
    """Where the witness itself connects to, to show that it sees."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def extension_hosts(window: Window) -> list[psutil.Process]:
    """The processes in which extensions run."""
    processes = [psutil.Process(pid) for pid in belonging_to(window.server.profile.runtime)]
    return [process for process in processes if "--type=extensionHost" in process.cmdline()]


def test_nothing_connects(browser: Browser, port: int, tmp_path: Path) -> None:
    """The extension host opens no connection while the extension is used; neither do daemon and worker."""
    journal = tmp_path / "connections"
    extensions = install_witness(install_ours(tmp_path / "extensions"))
    environ = {"WITNESS_JOURNAL": str(journal), "WITNESS_PORT": str(port)}
    settings = {"botframework.chat.maxTokens": 8}
    with (
        running_server(extensions, {"area.py": CODE}, settings, environ=environ) as server,
        new_window(browser, server, "failed-no-telemetry") as window,
    ):
        window.open("area.py")
        window.until(journal.exists)
        used(window)

        calls: list[dict[str, Any]] = [json.loads(line) for line in journal.read_text().splitlines()]
        assert [(call["host"], call["port"]) for call in calls if call.get("path") is None] == [("127.0.0.1", port)]
        assert [call for call in calls if "botframework.botframework" in call["stack"]] == []
        (host,) = extension_hosts(window)
        of_others = [found for found in host.net_connections("inet") if found.raddr[1:] != (port,)]
        # The browser's connection, which VS Code's server hands over.
        assert {f"127.0.0.1:{found.laddr.port}" for found in of_others} <= {server.authority}
        ours = [*server.daemons(), *server.workers()]
        assert len(ours) == 2
        assert [found for process in ours for found in process.net_connections("inet")] == []
