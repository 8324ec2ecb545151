"""An edit under review, and everything that may happen to its file meanwhile: one message, and no text is lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.vscode.programs import fake_daemon
from vscode.test_edit import (
    AFTER,
    BEFORE,
    INSTRUCTION,
    READY,
    REVIEW_TAB,
    SLOW,
    back_in_the_file,
    edit,
    lens,
    select_second_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.vscode.window import Window
    from vscode.conftest import Start


@pytest.fixture
def window(start: Start, tmp_path: Path) -> Iterator[Window]:
    """A file whose second line is selected."""
    settings = {"botframework.path": str(fake_daemon(tmp_path))}

    with start({"numbers.py": BEFORE}, settings, show="numbers.py") as window:
        window.wait_for_status(READY)
        select_second_line(window)
        yield window


def press_button(window: Window, text: str) -> None:
    """One of the buttons above the change."""
    window.page.locator(".codelens-decoration a:visible").filter(has_text=text).first.click()


def show_tab(window: Window, label: str) -> None:
    """Bring a tab to the front."""
    tab = window.page.locator(f'.tab[data-resource-name="{label}"]')
    tab.click()
    expect(tab).to_have_class(re.compile(r"\bactive\b"))


def type_into_the_second_line(window: Window, *keys: str) -> None:
    """In the file itself; the keys go to the place from the line's end."""
    show_tab(window, "numbers.py")
    window.focus()
    for key in ("Control+Home", "ArrowDown", "End", *keys):
        window.press(key)
    window.type("0")


def close_tab(window: Window, label: str) -> None:
    """By its button."""
    tab = window.page.locator(f'.tab[data-resource-name="{label}"]')
    tab.hover()
    tab.get_by_role("button", name="Close").click()


def on_disk(window: Window, name: str = "numbers.py") -> bytes:
    """The file's bytes."""
    return (window.server.profile.workspace / name).read_bytes()


def test_the_same_line_is_changed_before_the_edit_is_accepted(window: Window) -> None:
    """Accepting changes nothing and says why; the user's text and the new one are both still there."""
    edit(window, INSTRUCTION)
    lens(window, "Accept")
    type_into_the_second_line(window)
    show_tab(window, REVIEW_TAB)

    press_button(window, "Accept")

    window.toast("was changed where the edit belongs. Nothing was replaced")
    expect(window.page.locator(".view-lines")).to_contain_text(re.compile(r"extra\s=\s4"))
    press_button(window, "Reject")
    back_in_the_file(window)
    assert window.text("numbers.py") == BEFORE.replace("second = 2", "second = 20")


def test_the_same_line_is_changed_while_the_edit_is_written(window: Window) -> None:
    """The edit ends with one message; trying again starts from the text that is there now."""
    edit(window, SLOW)
    lens(window, "Writing")

    type_into_the_second_line(window, "ArrowLeft")

    window.toast("was not completed. The text was changed")
    show_tab(window, REVIEW_TAB)
    lens(window, "Retry")
    press_button(window, "Retry")
    lens(window, "Writing")
    expect(window.page.locator(".view-lines")).to_contain_text(re.compile(r"second\s=\s02"))
    press_button(window, "Stop")
    back_in_the_file(window)
    assert window.text("numbers.py") == BEFORE.replace("second = 2", "second = 02")


def test_closing_the_review_rejects_the_edit(window: Window) -> None:
    """Whoever closes it does not want it, and the next edit is not in its way."""
    edit(window, INSTRUCTION)
    lens(window, "Accept")

    close_tab(window, REVIEW_TAB)

    back_in_the_file(window)
    assert on_disk(window) == BEFORE.encode()
    select_second_line(window)
    edit(window, INSTRUCTION)
    lens(window, "Accept")


def test_a_second_edit_waits_for_the_first(window: Window) -> None:
    """Only one edit is under review; asking for another one shows it and says so."""
    edit(window, INSTRUCTION)
    lens(window, "Accept")
    show_tab(window, "numbers.py")
    select_second_line(window)

    edit(window, "tokens=3")

    window.toast("waits for you")
    press_button(window, "Accept")
    back_in_the_file(window)
    assert window.text("numbers.py") == AFTER


def test_the_file_is_closed_before_the_edit_is_accepted(window: Window) -> None:
    """It is opened again, and changed."""
    edit(window, INSTRUCTION)
    lens(window, "Accept")
    close_tab(window, "numbers.py")
    expect(window.page.locator(".tab")).to_have_count(1)

    press_button(window, "Accept")

    back_in_the_file(window)
    assert window.text("numbers.py") == AFTER


def test_a_daemon_died_and_the_edit_is_tried_again(window: Window) -> None:
    """The button asks the daemon that took the dead one's place."""
    edit(window, "tokens=60 pause_ms=50")
    lens(window, "Writing")
    for daemon in window.server.daemons():
        daemon.kill()
    lens(window, "Retry")

    press_button(window, "Retry")

    lens(window, "Accept")
    press_button(window, "Accept")
    back_in_the_file(window)
    assert window.text("numbers.py").startswith("first = 1\n0 1 2 3")


def test_line_ends_stay_what_they_are(start: Start, tmp_path: Path) -> None:
    """In a file whose lines end with CR and LF the new ones do too, and one undo gives back every byte."""
    before = BEFORE.replace("\n", "\r\n").encode()
    settings = {"botframework.path": str(fake_daemon(tmp_path))}
    with start({"numbers.py": before}, settings, show="numbers.py") as window:
        window.wait_for_status(READY)
        select_second_line(window)
        edit(window, INSTRUCTION)
        lens(window, "Accept")

        window.press("Control+Enter")
        back_in_the_file(window)
        window.save()

        assert on_disk(window) == AFTER.replace("\n", "\r\n").encode()
        window.focus()
        window.press("Control+z")
        window.save()
        assert on_disk(window) == before


def test_a_file_without_permission_to_write(start: Start, tmp_path: Path) -> None:
    """It is said before anybody writes an instruction, and the model is not asked."""
    settings = {"botframework.path": str(fake_daemon(tmp_path))}
    with start({"numbers.py": BEFORE}, settings) as window:
        (window.server.profile.workspace / "numbers.py").chmod(0o444)
        window.wait_for_status(READY)
        window.open_file("numbers.py")
        select_second_line(window)

        window.run("botframework: Edit Selection…")

        window.toast("numbers.py is read-only. Nothing was changed")
        expect(window.page.locator(".quick-input-widget")).to_be_hidden()


def test_an_editor_that_is_read_only_by_a_setting(start: Start, tmp_path: Path) -> None:
    """No extension can know it beforehand: accepting says that nothing was changed, and the new text can be copied."""
    settings = {"botframework.path": str(fake_daemon(tmp_path)), "files.readonlyInclude": {"**/numbers.py": True}}
    with start({"numbers.py": BEFORE}, settings, show="numbers.py") as window:
        window.wait_for_status(READY)
        select_second_line(window)
        edit(window, INSTRUCTION)
        lens(window, "Accept")

        window.press("Control+Enter")

        window.toast("did not take the change").get_by_role("button", name="Copy the New Text").wait_for()
        expect(window.page.locator(".tab").filter(has_text=REVIEW_TAB)).to_have_count(1)
        assert on_disk(window) == BEFORE.encode()
