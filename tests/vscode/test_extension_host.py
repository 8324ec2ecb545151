"""The suite inside the extension host (vscode-extension/test/host): commands, settings and the exported session.

VS Code runs it the way it runs the tests of an extension under development, on the installed extension.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.vscode.installation import EXTENSION
from support.vscode.programs import fake_daemon
from support.vscode.session import new_window, running_server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

SUITE_MS = 180_000


def bundle(target: Path) -> Path:
    """The suite as one file, as the extension itself is bundled."""
    esbuild = EXTENSION / "node_modules" / "esbuild" / "bin" / "esbuild"
    options = ("--bundle", "--platform=node", "--format=cjs", "--external:vscode", f"--outfile={target}")
    command = [str(esbuild), str(EXTENSION / "test" / "host" / "index.ts"), *options]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return target


@pytest.fixture(scope="module")
def report(browser: Browser, extensions: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What the suite said of each of its promises, from one run."""
    folder = tmp_path_factory.mktemp("host")
    told, journal = folder / "report.jsonl", folder / "journal.jsonl"
    told.touch()
    environ = {
        "BOTFRAMEWORK_HOST_REPORT": str(told),
        "BOTFRAMEWORK_HOST_JOURNAL": str(journal),
        "FAKE_ROUTER": json.dumps({"journal": str(journal)}),
    }
    settings = {"botframework.path": str(fake_daemon(folder)), "botframework.completion.maxTokens": None}
    driver = ("--vscode-option", "enable-smoke-test-driver")
    with (
        running_server(extensions, {}, settings, environ=environ, arguments=driver) as server,
        new_window(browser, server, "failed-extension-host") as window,
    ):
        ended: list[int] = []
        logged: list[object] = []
        window.page.expose_function("codeAutomationExit", lambda code, *_: ended.append(code))
        window.page.expose_function("codeAutomationLog", lambda *words: logged.append(words))
        suite = bundle(folder / "suite.js")
        # Without a folder of an extension under development VS Code runs no tests; this one holds none.
        places = [("extensionDevelopmentPath", server.uri(folder)), ("extensionTestsPath", server.uri(suite))]
        window.page.goto(server.url(payload=places), wait_until="commit")
        window.until(lambda: ended, timeout_ms=SUITE_MS)
        assert ended == [0], logged
    return [json.loads(line) for line in told.read_text().splitlines()]


@pytest.mark.timeout(SUITE_MS / 1_000 + 60)
def test_every_promise_is_kept(report: list[dict[str, str]], subtests: pytest.Subtests) -> None:
    """All promises of the suite are kept, and it was not empty."""
    assert len(report) > 15
    for test in report:
        with subtests.test(test["promise"]):
            assert test["broken"] == ""
