"""What the README shows. `packaging/media/` has copies of the pictures.

The demonstration model was not made for chats and edits: there the answers are from a script, as the model's name says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.vscode.programs import fake_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.vscode.window import Window
    from vscode.conftest import Start

BEFORE = """\
def mean(values):
    total = 0
    for value in values:
        total = total + value
    return total / len(values)
"""
AFTER = """\
def mean(values):
    if not values:
        raise ValueError("the mean of nothing")
    return sum(values) / len(values)
"""
INSTRUCTION = "Refuse an empty list, and use sum."
QUESTION = "And the median?"
ANSWER = """\
Sort first; with an even number of values it is the **mean of the two in the middle**:

```python
def median(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return mean(ordered[half - 1 : half + 1])
```

`statistics.median` does the same.
"""
READY = r": (ready|busy)"


@pytest.fixture
def window(start: Start, tmp_path: Path) -> Iterator[Window]:
    """A file, and a model that knows two answers."""
    router = {"name": "scripted answers", "answers": {INSTRUCTION: AFTER, QUESTION: ANSWER}}
    settings = {"botframework.path": str(fake_daemon(tmp_path)), "workbench.colorTheme": "Default Dark Modern"}
    environ = {"FAKE_ROUTER": json.dumps(router)}
    with start({"mean.py": BEFORE}, settings, show="mean.py", environ=environ) as window:
        window.wait_for_status(READY)
        yield window


def test_an_edit_of_a_function(window: Window) -> None:
    """The difference stands in a tab of its own, with what can be done about it above, and the file as it was."""
    window.press("Control+a")
    window.run("botframework: Edit Selection…")
    box = window.page.locator(".quick-input-widget input.input")
    expect(box).to_be_focused()
    box.fill(INSTRUCTION)
    box.press("Enter")
    expect(window.page.locator(".codelens-decoration:visible").filter(has_text="Accept").first).to_be_visible()

    expect(window.page.locator(".view-lines")).to_contain_text("the mean of nothing")
    assert (window.server.profile.workspace / "mean.py").read_text() == BEFORE
    window.picture("readme-edit")


def test_a_question_about_a_file(window: Window) -> None:
    """The answer has paragraphs and coloured code, with buttons on the code."""
    window.run("botframework: Focus on Chat View")
    window.chat.locator("#message").fill(QUESTION)
    window.chat.locator("#message").press("Enter")
    answer = window.chat.locator("[data-state=done]").last

    expect(answer.locator(".code")).to_contain_text("def median(values):")
    expect(answer.locator("strong")).to_have_text("mean of the two in the middle")
    expect(answer.get_by_role("button", name="Insert at cursor")).to_be_visible()
    window.picture("readme-chat")


def test_the_models_that_suit_this_machine(start: Start) -> None:
    """Beside what is there stands what is recommended; why is one click away, and choosing it one more."""
    with start({"mean.py": BEFORE}, show="mean.py") as window:
        window.wait_for_status(READY)
        window.run("botframework: Select Model…")
        rows = window.page.locator(".quick-input-list .monaco-list-row")
        offered = rows.filter(has_text="Recommended for this machine").first
        expect(offered).to_contain_text("first choice")
        window.picture("readme-models")

        offered.hover()
        offered.get_by_role("button", name="Why this one?").click()
        dialog = window.page.locator(".monaco-dialog-box")
        expect(dialog).to_contain_text("of 100")
        expect(dialog.get_by_role("button", name="Download")).to_be_visible()
        window.picture("models-why")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)
        assert window.toasts() == []
