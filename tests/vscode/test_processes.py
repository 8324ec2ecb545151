"""Windows come and go; daemons and workers go with them, and never stay behind."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from typing import TYPE_CHECKING

from support.processes import Watch
from support.vscode.server import GRACE_S
from support.vscode.session import another_browser, new_window, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psutil
    from playwright.sync_api import Browser

    from support.real_daemon import Models
    from support.vscode.window import Window
    from vscode.conftest import Start

CODE = "def area(width, height):\n    return width * hei"
READY = r": (ready|busy)"
END_S = 3.0
"""For a daemon to end when it is told to, and its worker after it."""


def test_closing_the_window_ends_daemon_and_worker(start: Start) -> None:
    """Who closes the window leaves nothing behind, and waits for no grace."""
    with start({"area.py": CODE}, show="area.py") as window:
        window.wait_for_status(READY)
        pids = [process.pid for process in belonging(window)]
        assert len(pids) == 2
        with Watch(*pids) as watch:
            closed = time.monotonic()
            window.page.context.close()

            assert watch.all_gone_after(closed) < GRACE_S + END_S


def test_a_browser_that_dies_ends_daemon_and_worker(browser: Browser, extensions: Path) -> None:
    """A browser that is killed says no goodbye: daemon and worker go when VS Code's own grace is over."""
    with (
        running_server(extensions, {"area.py": CODE}) as server,
        another_browser(browser) as dying,
        new_window(dying, server) as window,
    ):
        window.open("area.py")
        window.wait_for_status(READY)
        pids = [process.pid for process in belonging(window)]
        assert len(pids) == 2
        with Watch(*pids) as watch:
            closed = time.monotonic()
            kill(dying)

            assert watch.all_gone_after(closed) < GRACE_S + END_S


def kill(browser: Browser) -> None:
    """The whole browser, by the pid that it tells."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    main = next(found["id"] for found in processes if found["type"] == "browser")
    os.kill(int(main), signal.SIGKILL)


def belonging(window: Window) -> list[psutil.Process]:
    """Daemons and workers."""
    return [*window.server.daemons(), *window.server.workers()]


def maps_a_model(process: psutil.Process) -> bool:
    """Whether the weights are in its memory."""
    return any(found.path.endswith(".gguf") for found in process.memory_maps())


@contextlib.contextmanager
def three_windows(browser: Browser, first: Window) -> Iterator[list[Window]]:
    """Two more windows of the same server, each on a folder of its own, all of them ready."""
    with new_window(browser, first.server) as second, new_window(browser, first.server) as third:
        first.wait_for_status(READY)
        for number, window in enumerate((second, third), start=2):
            folder = first.server.profile.folder / f"work{number}"
            folder.mkdir()
            (folder / "area.py").write_text(CODE)
            window.open("area.py", folder=folder)
            window.wait_for_status(READY)
        yield [first, second, third]


def test_three_windows_share_one_model(browser: Browser, start: Start) -> None:
    """Three daemons, one worker, one copy of the weights; while all three type, each gets its ghost text."""
    with start({"area.py": CODE}, show="area.py") as first, three_windows(browser, first) as windows:
        assert len(first.server.daemons()) == 3
        (worker,) = first.server.workers()

        for window in windows:
            window.to_end()
            window.type("g", delay_ms=0)
        for window in windows:
            window.wait_for_ghost(lambda text: text.startswith("ht"))
        first.picture("three-windows")

        holders = [process.pid for process in belonging(first) if maps_a_model(process)]
        assert holders == [worker.pid]


def test_three_windows_take_fair_turns(browser: Browser, start: Start, models: Models) -> None:
    """Three long answers come at the same pace, and none waits for another's end."""
    # Together they fit into the context of chats.
    settings = {"botframework.model": str(models.slow), "botframework.chat.maxTokens": 2_000}

    with start({"area.py": CODE}, settings, show="area.py") as first, three_windows(browser, first) as windows:
        for window in windows:
            window.run("botframework: Focus on Chat View")
            window.chat.locator("#message").fill("hello")
            window.chat.locator("#message").press("Enter")
        for window in windows:
            window.until(functools.partial(written, window))
        before = [written(window) for window in windows]
        first.until(lambda: all(written(window) - start > 40 for window, start in zip(windows, before, strict=True)))
        gained = [written(window) - start for window, start in zip(windows, before, strict=True)]

        assert min(gained) > max(gained) / 3


def written(window: Window) -> int:
    """Characters of the answer so far."""
    return len(window.chat.locator("article[data-role=assistant] .text").inner_text())
