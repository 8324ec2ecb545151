"""What can be wrong with the daemon: a user gets one message with a next step, and an editor that lives on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from support.processes import Watch
from support.vscode.bad_daemon import REASON
from support.vscode.installation import DAEMON
from support.vscode.programs import bad_daemon, foreign_program

if TYPE_CHECKING:
    from pathlib import Path

    from support.vscode.window import Window
    from vscode.conftest import Start

FILES = {"notes.py": "first = 1\n"}


def lives_on(window: Window) -> None:
    """Text can be typed and saved, nothing of the extension threw, and no message looks like a stack trace."""
    window.to_end()
    window.type("second = 2\n")

    assert window.text("notes.py") == "first = 1\nsecond = 2\n"
    told = "\n".join(window.toasts())
    assert "    at " not in told
    assert "Traceback" not in told
    assert window.errors == []


@pytest.mark.usefixtures("without_daemon")
def test_no_daemon_at_all(start: Start) -> None:
    """Where there is none the message says where it was looked for, and offers a way out."""
    with start(FILES, {"botframework.path": None}, show="notes.py") as window:
        toast = window.toast("daemon was not found")
        window.picture("daemon-missing")

        assert toast.get_by_role("button", name="Choose File…").count() == 1
        window.wait_for_status("daemon was not found")
        lives_on(window)


def test_a_path_that_leads_nowhere(start: Start, tmp_path: Path) -> None:
    """A setting that names no file is named in the message, and no other daemon takes its place in silence."""
    gone = tmp_path / "gone"

    with start(FILES, {"botframework.path": str(gone)}, show="notes.py") as window:
        window.toast(f"botframework.path names {gone}")

        assert window.server.daemons() == []
        lives_on(window)


def test_a_daemon_for_another_machine(start: Start, tmp_path: Path) -> None:
    """A file that was built for another processor is told as such, not as an exec format error."""
    foreign = foreign_program(tmp_path / "botframework")

    with start(FILES, {"botframework.path": str(foreign)}, show="notes.py") as window:
        window.toast("built for")
        lives_on(window)


def test_a_daemon_that_may_not_be_run(start: Start, tmp_path: Path) -> None:
    """A file without the right to run it is told as such, with the command that gives it."""
    plain = tmp_path / "botframework"
    plain.write_text("#!/bin/sh\n")

    with start(FILES, {"botframework.path": str(plain)}, show="notes.py") as window:
        window.toast(r"chmod \+x")
        lives_on(window)


def test_a_daemon_that_crashes_at_the_start(start: Start, tmp_path: Path) -> None:
    """The message holds what it said last; it is not started for ever."""
    with start(FILES, {"botframework.path": str(bad_daemon(tmp_path, "crash"))}, show="notes.py") as window:
        window.toast(REASON)
        window.picture("daemon-crashes-at-start")
        window.wait_for_status("ended before it answered")

        lives_on(window)
        assert len(window.toasts()) == 1


@pytest.mark.parametrize("mode", ["newer", "older"])
def test_a_daemon_of_another_protocol(start: Start, tmp_path: Path, mode: str) -> None:
    """One that speaks another version, or none, is told as such; nothing is asked of it."""
    with start(FILES, {"botframework.path": str(bad_daemon(tmp_path, mode))}, show="notes.py") as window:
        wrong = "speaks version 9999 of the protocol" if mode == "newer" else "is not the botframework daemon"
        window.toast(wrong)
        window.picture(f"daemon-{mode}")
        window.wait_for_status(wrong)

        lives_on(window)


@pytest.mark.parametrize("mode", ["silent", "garbage"])
def test_a_program_that_is_no_daemon(start: Start, tmp_path: Path, mode: str) -> None:
    """A program that does not answer, or not in messages, is ended and told."""
    with start(FILES, {"botframework.path": str(bad_daemon(tmp_path, mode))}, show="notes.py") as window:
        window.toast("botframework daemon", timeout_ms=90_000)
        window.wait_for_status("botframework daemon")

        assert window.server.daemons() == []
        lives_on(window)


def test_the_way_out_leads_out(start: Start, tmp_path: Path) -> None:
    """When the setting is corrected, the daemon starts without a reload of the window."""
    with start(FILES, {"botframework.path": str(tmp_path / "gone")}, show="notes.py") as window:
        window.toast("no such file")

        window.server.profile.write_settings({"botframework.path": str(DAEMON)})

        window.wait_for_status(": (ready|busy)")
        lives_on(window)


def test_a_daemon_that_will_not_go(start: Start, tmp_path: Path) -> None:
    """One that ignores `shutdown`, `exit`, the end of its input and SIGTERM is killed when the window closes."""
    stubborn = bad_daemon(tmp_path, "stubborn")

    with start(FILES, {"botframework.path": str(stubborn)}, show="notes.py") as window:
        window.until(window.server.daemons)
        lives_on(window)
        with Watch(*(daemon.pid for daemon in window.server.daemons())) as watch:
            closed = time.monotonic()
            window.page.context.close()

            assert watch.all_gone_after(closed) < 10
