"""Editors that cannot be had here: what they would start is started, with the options that they would send."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from botframework.config import Layer, Source, merge
from editors.headless import PATIENCE_S, SOURCE, environment
from editors.page import JETBRAINS, block
from support.lsp_client import running_daemon

if TYPE_CHECKING:
    from pathlib import Path

CAPABILITIES = {"workspace": {"configuration": True}, "window": {"workDoneProgress": True}}
URI = "file:///work/shapes.py"
LINE, CHARACTER = 5, 11
WARNING = 2
"""`MessageType` of the LSP; errors are below."""


class Launch(NamedTuple):
    """What an editor reads out of its configuration."""

    command: list[str]
    options: dict[str, Any]
    """``initializationOptions``."""
    settings: dict[str, Any] | None
    """The answer to ``workspace/configuration`` for our section."""


def coc() -> Launch:
    """`languageserver` of coc-settings.json."""
    server = json.loads(block("coc"))["languageserver"]["botframework"]
    return Launch(
        [server["command"], *server["args"]], server["initializationOptions"], server["settings"]["botframework"]
    )


def helix() -> Launch:
    """A server of languages.toml, named by a language."""
    languages = tomllib.loads(block("helix"))
    (language,) = languages["language"]
    (name,) = language["language-servers"]
    server = languages["language-server"][name]
    return Launch([server["command"], *server["args"]], server["config"], None)


def zed() -> Launch:
    """The settings; the command stands in the extension."""
    settings = json.loads(block("zed"))
    (name, server), *others = settings["lsp"].items()
    manifest = tomllib.loads(block("zed-extension"))
    assert not others
    assert name in settings["languages"]["Python"]["language_servers"]
    assert list(manifest["language_servers"]) == [name]
    assert 'which("botframework")' in block("zed-rust")
    assert 'vec!["--stdio".into()]' in block("zed-rust")
    return Launch(["botframework", "--stdio"], server["initialization_options"], server["settings"]["botframework"])


def kate() -> Launch:
    """`servers` of the LSP client's settings.json."""
    server = json.loads(block("kate"))["servers"]["python"]
    return Launch(server["command"], server["initializationOptions"], None)


def sublime() -> Launch:
    """`clients` of LSP.sublime-settings."""
    client = json.loads(block("sublime"))["clients"]["botframework"]
    return Launch(client["command"], client["initialization_options"], client["settings"]["botframework"])


def jetbrains() -> Launch:
    """LSP4IJ's template for Linux and macOS."""
    command = json.loads((JETBRAINS / "template.json").read_text())["programArgs"]["default"]
    options = json.loads((JETBRAINS / "initializationOptions.json").read_text())
    settings = json.loads((JETBRAINS / "settings.json").read_text())
    return Launch(lsp4ij_words(command), options, settings["botframework"])


def lsp4ij_words(command: str) -> list[str]:
    """Split a command line as LSP4IJ does: at blanks that are not between quotation marks, which are dropped."""
    outside, *quoted = command.split('"')
    words = outside.split()
    for number, part in enumerate(quoted):
        words += part.split() if number % 2 else [part]
    return words


@pytest.mark.parametrize("launch", [coc, helix, zed, kate, sublime, jetbrains])
async def test_what_the_configuration_starts(launch: Any, home: Path) -> None:
    """The command is the daemon; it takes every option and setting without complaint, and gives ghost text."""
    command, options, settings = launch()

    async with running_daemon(command, env=environment(home), cwd=home) as client:
        client.configuration = settings
        loaded = await be_ready_with(client, options)
        await client.open(URI, SOURCE)
        suggestion = await client.result(await client.inline(URI, LINE, CHARACTER), timeout_s=PATIENCE_S)
        code = await client.leave()

    asked = [message for message in client.messages if message.get("method") == "workspace/configuration"]
    complaints = [
        message["params"]["message"]
        for message in client.messages
        if message.get("method") in {"window/logMessage", "window/showMessage"} and message["params"]["type"] <= WARNING
    ]
    assert [item["section"] for request in asked for item in request["params"]["items"]] == ["botframework"]
    assert complaints == []
    assert loaded["model"]["canInfill"]
    assert suggestion["items"][0]["insertText"].strip()
    assert code == 0


@pytest.mark.parametrize("launch", [coc, helix, zed, kate, sublime, jetbrains])
def test_the_options_arrive_where_they_belong(launch: Any) -> None:
    """The shape is that of the settings tree, not of another editor's configuration."""
    options, settings = launch().options, launch().settings

    merged = merge([Layer(Source.INITIALIZATION_OPTIONS, options), Layer(Source.WORKSPACE_CONFIGURATION, settings)])

    assert merged.problems == ()
    assert merged.settings.completion.max_tokens == options["completion"]["maxTokens"]


async def be_ready_with(client: Any, options: dict[str, Any]) -> Any:
    """Say ``initialize`` with options, and wait for the model."""
    await client.initialize(CAPABILITIES, initializationOptions=options)
    return await client.notification("$/botframework/modelReady", timeout_s=PATIENCE_S)
