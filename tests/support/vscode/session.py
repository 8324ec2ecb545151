"""From nothing to a window: browser, server, profile, and the end of all of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import ViewportSize, expect, sync_playwright

from support.processes import nothing_left
from support.vscode import installation
from support.vscode.profile import Profile
from support.vscode.server import code_server
from support.vscode.window import PATIENCE_MS, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserType

    from support.vscode.server import CodeServer

CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # A window that is not in front shall run as the others do.
    *("--disable-background-timer-throttling", "--disable-renderer-backgrounding"),
    "--disable-backgrounding-occluded-windows",
)
VIEWPORT = ViewportSize(width=1280, height=800)


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium without a window. Only one of these at a time: see `another_browser`."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright, _launched(playwright.chromium) as browser:
        yield browser


@contextlib.contextmanager
def another_browser(beside: Browser) -> Iterator[Browser]:
    """A second one, to be killed."""
    with _launched(beside.browser_type) as browser:
        yield browser


@contextlib.contextmanager
def _launched(kind: BrowserType) -> Iterator[Browser]:
    browser = kind.launch(executable_path=installation.chromium(), args=CHROMIUM_FLAGS)
    try:
        yield browser
    finally:
        with contextlib.suppress(PlaywrightError):  # A test may have killed it.
            browser.close()


@contextlib.contextmanager
def running_server(
    extensions: Path,
    files: Mapping[str, str | bytes] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    trust: bool = True,
    arguments: Sequence[str] = (),
) -> Iterator[CodeServer]:
    """A VS Code on a clean profile with these files; fails if a process of it outlives it."""
    brings_daemon = installation.carried(extensions) is not None
    with Profile.make(carries_daemon=brings_daemon) as profile, nothing_left(profile.runtime):
        profile.write_files(files or {})
        profile.write_settings(settings or {})
        with code_server(profile, extensions, environ=environ, trust=trust, arguments=arguments) as server:
            yield server


@contextlib.contextmanager
def new_window(browser: Browser, server: CodeServer, picture_if_failed: str = "") -> Iterator[Window]:
    """A window with a fresh browser profile, in which nothing is open; a failure leaves a picture of it."""
    context = browser.new_context(viewport=VIEWPORT)
    window = Window(context.new_page(), server)
    try:
        yield window
    except BaseException:
        if picture_if_failed:
            with contextlib.suppress(Exception):
                window.picture(picture_if_failed)
        raise
    finally:
        with contextlib.suppress(PlaywrightError):  # A test may have killed the browser.
            context.close()
