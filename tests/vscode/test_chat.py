"""The chat view: streams, stops, inserts, survives a reload, says what is wrong where it is wrong, and can be heard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from support.vscode.installation import AXE
from support.vscode.programs import fake_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Frame, Locator

    from support.vscode.window import Window
    from vscode.conftest import Start

FILES = {"area.py": "width = 3\nheight = 4\n"}
READY = r": (ready|busy)"
CODE_ANSWER = r"text=Like\sthis:\n\n```python\narea\s=\swidth\s*\sheight\n```\n\nThat\sis\sall."
"""A question that the fake daemon answers with a block of code."""
LONG = "tokens=2000 pause_ms=20"
THEMES = ("Default Dark Modern", "Default Light Modern", "Default High Contrast")


@pytest.fixture
def window(start: Start, tmp_path: Path) -> Iterator[Window]:
    """A file beside the chat view, on a daemon that answers what it is told to."""
    with start(FILES, {"botframework.path": str(fake_daemon(tmp_path))}, show="area.py") as window:
        window.wait_for_status(READY)
        show_chat(window)
        yield window


def show_chat(window: Window) -> None:
    """Open the view, and wait until it can be typed into."""
    window.run("botframework: Focus on Chat View")
    expect(window.chat.locator("#message")).to_be_visible()


def ask(window: Window, question: str) -> Locator:
    """Send a question; the article of its answer."""
    count = answers(window).count()
    box = window.chat.locator("#message")
    box.click()
    box.fill(question)
    box.press("Enter")
    answer = answers(window).nth(count)
    expect(answer).to_be_attached()
    return answer


def answers(window: Window) -> Locator:
    """All answers of the conversation."""
    return window.chat.locator("article[data-role=assistant]")


def numbers(answer: Locator) -> int:
    """How many tokens of the fake daemon's are in the answer."""
    return len(answer.locator(".text").inner_text().split())


def test_an_answer_streams(window: Window) -> None:
    """Text appears while the model writes, in order, and the end is told to a screen reader once."""
    answer = ask(window, "tokens=60 pause_ms=50")

    expect(answer).to_have_attribute("data-state", "running")
    expect(answer.locator(".text")).to_contain_text("0 1 2 3")
    assert numbers(answer) < 60
    expect(window.chat.locator("#stop")).to_be_visible()
    window.picture("chat-streaming")

    expect(answer).to_have_attribute("data-state", "done")
    assert answer.locator(".text").inner_text().split() == [str(number) for number in range(60)]
    expect(window.chat.locator("#announcements")).to_contain_text("57 58 59")
    expect(window.chat.locator("#stop")).to_be_hidden()


def test_an_answer_is_stopped(window: Window) -> None:
    """The stop button ends it at once; what was written stays, and the next question is answered."""
    answer = ask(window, LONG)
    expect(answer.locator(".text")).to_contain_text("5 6 7")

    window.chat.locator("#stop").click()

    expect(answer).to_have_attribute("data-state", "stopped", timeout=2_000)
    assert 8 <= numbers(answer) < 2_000
    window.picture("chat-stopped")
    again = ask(window, "tokens=3")
    expect(again).to_have_attribute("data-state", "done")


def test_escape_stops_it_too(window: Window) -> None:
    """Nobody needs the mouse to stop an answer."""
    answer = ask(window, LONG)
    expect(answer.locator(".text")).to_contain_text("5 6 7")

    window.chat.locator("#message").press("Escape")

    expect(answer).to_have_attribute("data-state", "stopped", timeout=2_000)


def test_code_is_inserted_at_the_cursor(window: Window) -> None:
    """A block of an answer is coloured, and goes into the file where the cursor is; one undo takes it out."""
    answer = ask(window, CODE_ANSWER)
    expect(answer).to_have_attribute("data-state", "done")
    expect(answer.locator(".code")).to_contain_text("area = width * height")
    window.picture("chat-code")

    answer.get_by_role("button", name="Insert at cursor").click()

    expect(window.page.locator(".tab.active")).to_have_class(re.compile(r"\bdirty\b"))
    inserted = window.text("area.py")
    assert inserted.startswith("width = 3\nheight = 4\n")
    assert "area = width * height" in inserted
    window.to_end()
    window.press("Control+z")
    assert window.text("area.py") == FILES["area.py"]


def test_the_selection_goes_along_as_a_chip(window: Window) -> None:
    """What is selected is offered, shown as a chip before it is sent, and can be taken off again."""
    window.to_end()
    window.press("Control+a")

    window.chat.locator("#add-selection").click()

    chip = window.chat.locator("#context li")
    expect(chip).to_contain_text("area.py")
    window.picture("chat-context")
    answer = ask(window, "tokens=3")
    expect(answer).to_have_attribute("data-state", "done")
    expect(window.chat.locator("article[data-role=user]").last).to_contain_text("area.py")


def test_conversations_survive_a_reload(window: Window) -> None:
    """After a reload of the window the conversation is there, and goes on."""
    answer = ask(window, "tokens=4")
    expect(answer).to_have_attribute("data-state", "done")

    window.page.reload()
    window.wait_for_status(READY)
    show_chat(window)

    expect(answers(window).first).to_contain_text("0 1 2 3")
    again = ask(window, "tokens=2")
    expect(again).to_have_attribute("data-state", "done")
    expect(answers(window)).to_have_count(2)


def test_several_conversations(window: Window) -> None:
    """A new conversation is empty; the first one is found again."""
    expect(ask(window, "tokens=4")).to_have_attribute("data-state", "done")

    window.run("botframework: New Conversation")
    expect(answers(window)).to_have_count(0)
    expect(ask(window, "tokens=2")).to_have_attribute("data-state", "done")
    window.run("botframework: Conversations…")
    rows = window.page.locator(".quick-input-list .monaco-list-row")
    expect(rows.filter(has_text="tokens=4")).to_be_visible()
    window.picture("chat-conversations")
    rows.filter(has_text="tokens=4").click()

    expect(answers(window).first).to_contain_text("0 1 2 3")


def test_an_error_stands_in_its_place(window: Window) -> None:
    """What went wrong is said in the conversation, with a button that tries again, and without a stack trace."""
    answer = ask(window, "fail=ServerBusy")

    expect(answer).to_have_attribute("data-state", "failed")
    error = answer.locator(".error")
    expect(error).to_be_visible()
    expect(answer.get_by_role("button", name="Retry")).to_be_visible()
    window.picture("chat-error")
    assert "    at " not in error.inner_text()
    assert window.toasts() == []


def test_a_daemon_that_dies_in_the_middle_of_an_answer(window: Window) -> None:
    """What was written stays, the error says that the daemon died, and trying again gets a whole answer."""
    answer = ask(window, "tokens=40 pause_ms=100")
    expect(answer.locator(".text")).to_contain_text("1 2 3")

    for daemon in window.server.daemons():
        daemon.kill()

    expect(answer).to_have_attribute("data-state", "failed")
    assert numbers(answer) >= 4
    window.picture("chat-daemon-died")
    window.wait_for_status(READY)
    answer.get_by_role("button", name="Retry").click()
    expect(answers(window).last).to_have_attribute("data-state", "done")
    assert window.errors == []


def test_an_answer_cannot_become_markup(window: Window) -> None:
    """HTML and links in an answer are text: no element of theirs, no image, no script."""
    answer = ask(window, r"text=<img\ssrc=x\sonerror=alert(1)><script>document.title='x'</script><b>bold</b>")

    expect(answer).to_have_attribute("data-state", "done")

    expect(answer.locator(".text")).to_contain_text("onerror")
    assert answer.locator(".text").locator("img, script, b, iframe").count() == 0
    assert window.errors == []


def test_the_embedded_model_answers(start: Start) -> None:
    """Without a fake: the model of the package streams an answer, and it comes to its end."""
    with start(FILES, show="area.py") as window:
        window.wait_for_status(READY)
        show_chat(window)
        answer = ask(window, "How do I read a file line by line in Python?")

        expect(answer.locator(".text")).to_have_text(re.compile(r"\w{2,}"))
        expect(answer).not_to_have_attribute("data-state", "running", timeout=60_000)
        window.picture("chat-embedded-model")
        expect(answer).to_have_attribute("data-state", "done")


def violations(window: Window) -> list[str]:
    """What axe-core has to say about the chat view, as lines to read."""
    frame = chat_frame(window)
    frame.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = frame.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    assert found["passes"]
    return [
        f"{violation['id']}: {violation['help']}: {node['html']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def chat_frame(window: Window) -> Frame:
    """The view's own frame, in which scripts of tests may run: evaluation is above its content security policy."""
    for frame in window.page.frames:
        if frame.query_selector("#conversation") is not None:
            return frame
    raise AssertionError([frame.url for frame in window.page.frames])


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing(start: Start, tmp_path: Path, theme: str) -> None:
    """No violation of axe-core's rules: empty, with answers, code and an error in it, and while an answer comes."""
    settings = {"botframework.path": str(fake_daemon(tmp_path)), "workbench.colorTheme": theme}

    with start(FILES, settings, show="area.py") as window:
        window.wait_for_status(READY)
        show_chat(window)
        assert violations(window) == []

        expect(ask(window, CODE_ANSWER)).to_have_attribute("data-state", "done")
        expect(ask(window, "fail=ServerBusy")).to_have_attribute("data-state", "failed")
        window.chat.locator("#add-file").click()
        running = ask(window, LONG)
        expect(running.locator(".text")).to_contain_text("1 2 3")
        assert violations(window) == []
        window.picture(f"chat-{theme.lower().replace(' ', '-')}")


def test_the_keyboard_reaches_everything(window: Window) -> None:
    """From the message box, Tab and Shift+Tab reach every button of the view and leave it again."""
    expect(ask(window, CODE_ANSWER)).to_have_attribute("data-state", "done")
    window.chat.locator("#message").click()
    frame = chat_frame(window)
    reached = set()

    for _ in range(30):
        window.press("Shift+Tab")
        reached.add(
            frame.evaluate("() => document.activeElement?.ariaLabel || document.activeElement?.textContent || ''")
        )

    for name in ("Copy code", "Insert at cursor", "Apply to selection", "Copy answer"):
        assert any(name in each for each in reached), reached
