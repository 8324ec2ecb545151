"""Edit selection: an instruction goes in, a diff comes out, and nothing touches the file before somebody says so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.vscode.programs import fake_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.vscode.window import Window
    from vscode.conftest import Start

BEFORE = "first = 1\nsecond = 2\nthird = 3\n"
AFTER = "first = 1\nsecond = 22\nextra = 4\nthird = 3\n"
INSTRUCTION = r"text=second\s=\s22\nextra\s=\s4"
"""What the fake daemon makes of the selected line."""
SLOW = "tokens=500 pause_ms=50"
READY = r": (ready|busy)"
REVIEW_TAB = "Edit of numbers.py"


@pytest.fixture
def window(start: Start, tmp_path: Path) -> Iterator[Window]:
    """A file whose second line is selected."""
    settings = {"botframework.path": str(fake_daemon(tmp_path))}

    with start({"numbers.py": BEFORE}, settings, show="numbers.py") as window:
        window.wait_for_status(READY)
        select_second_line(window)
        yield window


def select_second_line(window: Window) -> None:
    """From its beginning to its end, without the line break."""
    window.focus()
    window.press("Control+Home")
    window.press("ArrowDown")
    window.press("Shift+End")


def edit(window: Window, instruction: str) -> None:
    """Say what should become of the selection."""
    window.run("botframework: Edit Selection…")
    box = window.page.locator(".quick-input-widget input.input")
    expect(box).to_be_focused()
    box.fill(instruction)
    box.press("Enter")
    expect(window.page.locator(".tab.active")).to_contain_text(REVIEW_TAB)


def lens(window: Window, text: str) -> None:
    """Wait for a button above the change."""
    expect(window.page.locator(".codelens-decoration:visible").filter(has_text=text).first).to_be_visible()


def back_in_the_file(window: Window) -> None:
    """Wait until the review is gone."""
    expect(window.page.locator(".tab").filter(has_text=REVIEW_TAB)).to_have_count(0)
    expect(window.page.locator(".tab.active")).to_contain_text("numbers.py")


def test_an_edit_is_accepted_and_undone_in_one_step(window: Window) -> None:
    """The diff is shown beside buttons, accepting applies it, and one undo takes all of it back."""
    edit(window, INSTRUCTION)
    lens(window, "Accept")
    window.picture("edit-review")
    assert (window.server.profile.workspace / "numbers.py").read_text() == BEFORE

    window.press("Control+Enter")
    back_in_the_file(window)

    assert window.text("numbers.py") == AFTER
    window.focus()
    window.press("Control+z")
    assert window.text("numbers.py") == BEFORE


def test_an_edit_is_rejected(window: Window) -> None:
    """Escape closes the review; the file was never touched."""
    edit(window, INSTRUCTION)
    lens(window, "Accept")

    window.press("Escape")
    back_in_the_file(window)

    expect(window.page.locator(".tab.active")).not_to_have_class(re.compile(r"\bdirty\b"))
    window.to_end()
    window.type("x")
    assert window.text("numbers.py") == BEFORE + "x"


def test_an_edit_is_stopped_while_it_is_written(window: Window) -> None:
    """The text streams into the review, and Escape stops it there."""
    edit(window, SLOW)
    lens(window, "Writing")
    # Up to 400 characters without a line end are held back, since they may stand before a code block.
    expect(window.page.locator(".view-lines")).to_contain_text(re.compile(r"0\s1\s2"), timeout=20_000)
    window.picture("edit-streaming")

    window.press("Escape")

    expect(window.page.locator(".codelens-decoration").filter(has_text="Writing")).to_have_count(0)
    assert (window.server.profile.workspace / "numbers.py").read_text() == BEFORE


def test_the_file_may_be_edited_elsewhere_meanwhile(window: Window) -> None:
    """Text that is typed above the selection while the edit is written stays, and the edit still fits."""
    edit(window, "tokens=30 pause_ms=100")
    lens(window, "Writing")
    window.page.locator(".tab").filter(has_text="numbers.py").first.click()
    window.focus()
    window.press("Control+Home")
    window.type("zeroth = 0\n")
    window.page.locator(".tab").filter(has_text=REVIEW_TAB).click()
    lens(window, "Accept")

    window.page.locator(".codelens-decoration a").filter(has_text="Accept").first.click()
    back_in_the_file(window)

    text = window.text("numbers.py")
    assert text.startswith("zeroth = 0\nfirst = 1\n0 1 2")
    assert text.endswith("third = 3\n")


def test_a_daemon_that_dies_while_an_edit_is_written(window: Window) -> None:
    """The review says what happened and offers to try again; the file is as it was."""
    edit(window, SLOW)
    lens(window, "Writing")

    for daemon in window.server.daemons():
        daemon.kill()

    lens(window, "Retry")
    window.picture("edit-daemon-died")
    assert (window.server.profile.workspace / "numbers.py").read_text() == BEFORE


def test_code_of_an_answer_is_applied_to_the_selection(window: Window) -> None:
    """The chat's "Apply to selection" shows the same review."""
    window.run("botframework: Focus on Chat View")
    box = window.chat.locator("#message")
    box.fill(r"text=```python\nsecond\s=\s22\nextra\s=\s4\n```")
    box.press("Enter")
    answer = window.chat.locator("article[data-role=assistant]").first
    expect(answer).to_have_attribute("data-state", "done")

    answer.get_by_role("button", name="Apply to selection").click()
    lens(window, "Accept")
    window.picture("edit-from-chat")
    window.page.locator(".codelens-decoration a").filter(has_text="Accept").first.click()
    back_in_the_file(window)

    assert window.text("numbers.py") == AFTER


def test_the_embedded_model_edits(start: Start) -> None:
    """Without a fake: whatever the model of the package writes, it can be reviewed, taken and undone."""
    with start({"numbers.py": BEFORE}, show="numbers.py") as window:
        window.wait_for_status(READY)
        select_second_line(window)
        edit(window, "Rename the variable to number")
        accept = window.page.locator(".codelens-decoration a").filter(has_text=re.compile("Accept|Retry|Discard"))
        expect(accept.first).to_be_visible(timeout=60_000)
        window.picture("edit-embedded-model")

        assert (window.server.profile.workspace / "numbers.py").read_text() == BEFORE
