"""A window of a real VS Code for every test that asks for one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from support.vscode import installation

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from playwright.sync_api import Browser

    from support.vscode.window import Window

WINDOW = pytest.StashKey["Window"]()
"""The window that a test has open."""
WINDOW_TIMEOUT_S = 240
"""A window takes seconds to open, and the machine may be slow."""


class Start(Protocol):
    """What the fixture `start` is."""

    def __call__(
        self,
        files: Mapping[str, str | bytes] | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        show: str | None = None,
        **server: Any,
    ) -> contextlib.AbstractContextManager[Window]:
        """Open a window on a new VS Code with these files and settings, one of the files shown."""
        ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with the reason where there is no browser."""
    reason = installation.missing()
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(WINDOW_TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep a picture of the window of a test that failed, where a fixture still holds it open."""
    report = yield
    if report.failed and report.when == "call" and WINDOW in item.stash:
        keep_picture(item)
    return report


def keep_picture(item: pytest.Item) -> None:
    """If there is a window to look at."""
    with contextlib.suppress(Exception):
        item.stash[WINDOW].picture(f"failed-{item.name}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium; each window gets a profile of its own."""
    from support.vscode.session import running_browser

    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the extension, installed from its package."""
    from support.vscode.packages import install_ours

    return install_ours(tmp_path_factory.mktemp("vscode") / "extensions")


@pytest.fixture
def without_daemon(extensions: Path) -> None:
    """Skip where the package brings a daemon, so that none can be missing."""
    if installation.carried(extensions) is not None:
        pytest.skip(f"{installation.VSIX.name} brings a daemon")


@pytest.fixture
def start(browser: Browser, extensions: Path, request: pytest.FixtureRequest) -> Start:
    """How to get a window; it ends with the block."""
    from support.vscode.session import new_window, running_server

    @contextlib.contextmanager
    def started(
        files: Mapping[str, str | bytes] | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        show: str | None = None,
        **server: Any,
    ) -> Iterator[Window]:
        with running_server(extensions, files, settings, **server) as served, new_window(browser, served) as window:
            request.node.stash[WINDOW] = window
            try:
                window.open(show)
                yield window
            except BaseException:
                keep_picture(request.node)
                raise

    return started
