"""One window of VS Code, as a user has it: keys go in, and what is on the screen comes out."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

from support.vscode.installation import ARTEFACTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import FrameLocator, Locator, Page

    from support.vscode.server import CodeServer

START_MS = 60_000
"""For the workbench, an editor, the extension and the model, on a machine that does other things too."""
PATIENCE_MS = 20_000
"""For anything that happens in a window that runs."""
HOVER_MS = 2_000
PALETTE_MS = 3_000
STATUS = '.statusbar-item[id="botframework.botframework.botframework.status"]'
EDITOR = ".editor-instance .monaco-editor"

READ_GHOST = """() => {
  const texts = (selector) => [...document.querySelectorAll(selector)].map((element) => element.textContent);
  const first = texts('.view-lines .ghost-text-decoration, .view-lines .ghost-text-decoration-preview').join('');
  const more = texts('.view-zones .suggest-preview-text .view-line');
  return [first, ...more].join('\\n').replaceAll('\\u00a0', ' ');
}"""
"""The first line stands within the editor's line, the others in a zone below it; blanks are no-break spaces."""


class Window:
    """A page of the browser that shows a workspace."""

    def __init__(self, page: Page, server: CodeServer) -> None:
        self.page = page
        self.server = server
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    # --- opening ------------------------------------------------------------------------------------------------------

    def open(self, file: str | None = None, *, folder: Path | None = None) -> None:
        """Show the workspace, and a file of it with the cursor at its end."""
        path = None if file is None else (folder or self.server.profile.workspace) / file
        payload = [] if path is None else [("openFile", self.server.uri(path))]
        self.page.goto(self.server.url(folder, payload), wait_until="commit", timeout=START_MS)
        self.page.wait_for_selector(".monaco-workbench .part.statusbar", timeout=START_MS)
        if path is not None:
            self.page.wait_for_selector(f"{EDITOR} .view-lines .view-line", timeout=START_MS)
            self.to_end()

    def open_file(self, name: str) -> None:
        """Open another file of the workspace from the list at the side."""
        self.page.get_by_role("treeitem", name=name).dblclick()
        expect(self.page.locator(".tab.active")).to_have_attribute("data-resource-name", name)

    def focus(self) -> None:
        """Put the keyboard into the editor."""
        self.page.locator(f"{EDITOR} .view-lines").first.click()

    def to_end(self) -> None:
        """Put the cursor behind the file's last character."""
        self.focus()
        self.page.keyboard.press("Control+End")

    # --- what a user does ---------------------------------------------------------------------------------------------

    def type(self, text: str, *, delay_ms: float = 30) -> None:
        """Press one key after the other."""
        self.page.keyboard.type(text, delay=delay_ms)

    def press(self, key: str) -> None:
        """Press a key or a chord, such as ``Control+ArrowRight``."""
        self.page.keyboard.press(key)

    def run(self, title: str) -> None:
        """Run a command by its title in the palette, once it is there.

        A young window knows few commands, and an open palette does not learn of new ones.
        """
        deadline = time.monotonic() + PATIENCE_MS / 1_000
        row = self.page.locator(".quick-input-list .monaco-list-row").first
        while True:
            self.page.keyboard.press("F1")
            box = self.page.locator(".quick-input-widget input.input")
            expect(box).to_be_focused()
            box.fill(f">{title}")
            try:
                expect(row).to_contain_text(title.rpartition(": ")[2], timeout=PALETTE_MS)
                break
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                self.page.keyboard.press("Escape")
        row.click()

    def save(self) -> None:
        """Write the file, and wait until it is written."""
        self.page.keyboard.press("Control+s")
        expect(self.page.locator(".tab.active")).not_to_have_class(re.compile(r"\bdirty\b"), timeout=START_MS)

    def text(self, name: str) -> str:
        """Save the active file, and read what is on the disk."""
        self.save()
        return (self.server.profile.workspace / name).read_text(encoding="utf-8")

    # --- what a user sees ---------------------------------------------------------------------------------------------

    def ghost(self) -> str:
        """The grey text, or nothing."""
        text: str = self.page.evaluate(READ_GHOST)
        return text

    def wait_for_ghost(self, wanted: Callable[[str], object] = bool, timeout_ms: float = PATIENCE_MS) -> str:
        """Wait until the grey text is there, is as wanted, and does not change between two looks."""
        deadline = time.monotonic() + timeout_ms / 1_000
        seen = ""
        while True:
            before, seen = seen, self.ghost()
            if seen == before and wanted(seen):
                return seen
            assert time.monotonic() < deadline, f"the ghost text is {seen!r}"
            self.page.wait_for_timeout(60)

    def no_ghost(self) -> None:
        """Wait until there is no grey text."""
        self.page.wait_for_function(f"() => ({READ_GHOST})() === ''")

    def until(self, condition: Callable[[], object], timeout_ms: float = START_MS) -> None:
        """Look until something outside the page holds; the page goes on meanwhile."""
        deadline = time.monotonic() + timeout_ms / 1_000
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_ms} ms"
            self.page.wait_for_timeout(50)

    @property
    def status(self) -> Locator:
        """Our item of the status bar."""
        return self.page.locator(STATUS)

    def status_text(self) -> str:
        """What our item of the status bar says to a screen reader."""
        return self.status.get_attribute("aria-label") or ""

    def wait_for_status(self, pattern: str, timeout_ms: float = START_MS) -> str:
        """Wait until our item of the status bar says this (a regular expression, any case)."""
        expect(self.status).to_have_attribute("aria-label", re.compile(pattern, re.IGNORECASE), timeout=timeout_ms)
        return self.status_text()

    def toast(self, pattern: str, timeout_ms: float = START_MS) -> Locator:
        """Wait for a notification that says this."""
        found = self.page.locator(".notification-toast").filter(has_text=re.compile(pattern, re.IGNORECASE))
        expect(found.first).to_be_visible(timeout=timeout_ms)
        return found.first

    def toasts(self) -> list[str]:
        """Our notifications that are on the screen; VS Code has its own."""
        shown = self.page.locator(".notification-toast").all_inner_texts()
        return [text for text in shown if "botframework" in text]

    @property
    def chat(self) -> FrameLocator:
        """The inside of the chat view."""
        return self.page.frame_locator("iframe.webview").frame_locator("iframe#active-frame")

    def picture(self, name: str, *, hovering: bool = False) -> None:
        """Keep what is on the screen among the test artefacts, without what the mouse brought up unless that counts."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        if not hovering:
            self.page.mouse.move(640, 1)
            hover = self.page.locator(".monaco-hover:visible, .workbench-hover:visible").first
            with contextlib.suppress(PlaywrightError):  # A picture with a hover is better than none.
                hover.wait_for(state="hidden", timeout=HOVER_MS)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        """Run JavaScript in the page."""
        return self.page.evaluate(expression, argument)
