"""The page's Kate, on a screen that does not exist: Qt's ``offscreen`` platform."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from editors.headless import DAEMON_PROGRAM, GONE_S, headless, write_document
from editors.page import block

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("kate") is None, reason="kate is not installed (apt-get install kate)")

# The last line is what Kate writes when its user has said that the command may be started.
KATERC = f"""\
[General]
Startup Session=new

[Kate Plugins]
lspclientplugin=true

[lspclient]
AllowedServerCommandLines={DAEMON_PROGRAM} --stdio
"""


async def test_the_configuration_of_the_page(home: Path) -> None:
    """Kate starts the daemon with our options in the project's root and hears the model load; nothing outlives it."""
    document = write_document(home)
    (home / "katerc").write_text(KATERC)
    (home / "kate" / "lspclient").mkdir(parents=True)
    (home / "kate" / "lspclient" / "settings.json").write_text(block("kate"))
    kate: list[str | Path] = ["kate", "--new", document]

    async with headless(
        kate, home, QT_QPA_PLATFORM="offscreen", LSPCLIENT_DEBUG="1", XDG_RUNTIME_DIR=str(home)
    ) as editor:
        await editor.until(lambda: r"\"kind\":\"end\"" in editor.output(), "the end of loading")
        await editor.until(lambda: r"\"state\":\"ready\"" in editor.output(), "ready")
        took = await editor.gone_after_kill()

    said = editor.output()
    assert f'starting ("{DAEMON_PROGRAM}", "--stdio") with root QUrl("file://{home}")' in said
    assert r"\"maxTokens\": 128" in said
    assert r"\"kind\":\"begin\",\"title\":\"Loading model\"" in said
    assert r"textDocument/didOpen" in said
    assert took <= GONE_S
