"""Files that no model wants: the editor stays quick, nothing is lost, and "why" has an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.vscode.window import PATIENCE_MS

if TYPE_CHECKING:
    from vscode.conftest import Start

LINE = "value_{:07d} = compute({:07d})  # one of very many lines\n"
HUGE = "".join(LINE.format(number, number) for number in range(900_000))
"""More than 50 MB: VS Code does not even send such a file to extensions."""
WIDE = "value_{:07d} = compute({:07d})  # one of many lines, each of them as long as lines should be and no longer\n"
LARGE = "".join(WIDE.format(number, number) for number in range(180_000))
"""Just below VS Code's own limits for large files, which are 20 MB and 300,000 lines."""
READY = r": (ready|busy)"
SHOW_LARGE = {"workbench.editorLargeFileConfirmation": 1_000}
"""MB above which VS Code asks before it opens a file from another machine; 10 by default."""


def test_a_50_mb_file(start: Start) -> None:
    """It opens, text can be typed and saved, and the model goes on completing in another file."""
    assert len(HUGE) > 50_000_000
    files = {"huge.py": HUGE, "small.py": "def area(width, height):\n    return width * hei"}

    with start(files, SHOW_LARGE, show="huge.py") as window:
        window.wait_for_status(READY)
        window.to_end()
        window.type("last = 1\n")
        assert window.text("huge.py") == HUGE + "last = 1\n"

        window.open_file("small.py")
        window.to_end()
        window.type("g")

        window.wait_for_ghost(lambda text: text.startswith("ht"))
        assert len(window.server.daemons()) == 1
        assert window.toasts() == []


def test_a_large_file(start: Start) -> None:
    """The largest that VS Code treats like any other is followed, and ghost text comes at its end."""
    assert 18_000_000 < len(LARGE) < 20_000_000
    code = LARGE + "def area(width, height):\n    return width * hei"

    with start({"large.py": code}, SHOW_LARGE, show="large.py") as window:
        window.wait_for_status(READY)
        window.to_end()
        window.type("g")

        window.wait_for_ghost(lambda text: text.startswith("ht"), timeout_ms=3 * PATIENCE_MS)
        assert window.toasts() == []


def test_a_binary_file(start: Start) -> None:
    """Bytes that are no text get no ghost text and no message; a text file beside them does."""
    files: dict[str, str | bytes] = {
        "data.bin": bytes(range(256)) * 64,
        "small.py": "def area(width, height):\n    return width * hei",
    }

    with start(files) as window:
        window.wait_for_status(READY)
        window.open_file("data.bin")
        window.page.get_by_text("Open Anyway").click()
        window.page.get_by_role("option", name="Text Editor").first.click()
        window.focus()
        window.type("x")
        started = time.monotonic()
        window.open_file("small.py")
        window.to_end()
        window.type("g")

        window.wait_for_ghost(lambda text: text.startswith("ht"))
        assert time.monotonic() - started < PATIENCE_MS / 1_000
        assert len(window.server.daemons()) == 1
        assert window.toasts() == []


def test_a_read_only_file(start: Start) -> None:
    """Nothing is suggested where nothing can be typed, and the command says why."""
    settings = {"files.readonlyInclude": {"**/fixed.py": True}}

    with start({"fixed.py": "def area(width, height):\n    return width * hei"}, settings, show="fixed.py") as window:
        window.wait_for_status(READY)

        window.run("botframework: Suggest Here")
        window.page.wait_for_timeout(500)

        assert window.ghost() == ""
        window.run("botframework: Why No Suggestion?")
        window.page.get_by_text("read-only").first.wait_for()
