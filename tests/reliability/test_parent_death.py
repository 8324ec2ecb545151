"""The daemon's side of "nothing is left behind", with a stub in the daemon's place where a single net is tried.

Each test starts an editor process that starts a daemon process, ends the editor, and waits for the daemon's end.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from botframework import process

if TYPE_CHECKING:
    from types import TracebackType

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfd and PR_SET_PDEATHSIG are Linux's")

SUPPORT = Path(__file__).parent.parent / "support"
AT_ONCE_S = 0.2
POLLED_S = 1.5
DEADLINE_S = 10.0
RUNS = 8
DAEMON = [sys.executable, "-m", "botframework", "--stdio"]


class Editor:
    """A running `stub_editor.py` and the daemon that it started: the stub with some nets, or another command."""

    def __init__(self, mode: str, *nets: str, command: list[str] | None = None) -> None:
        command = command or [sys.executable, str(SUPPORT / "stub_daemon.py"), *nets]
        self._process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "stub_editor.py"), mode, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.daemon, *self._siblings = map(int, self.read().split())
        self._pidfd = os.pidfd_open(self.daemon)

    def read(self) -> str:
        """Read the next line that comes from the daemon."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def wait_ready(self) -> None:
        """Wait until the daemon serves."""
        assert self.read() == str(self.daemon)

    def wait_armed(self) -> None:
        """Wait until a daemon that says nothing unasked has a handler for the parent-death signal."""
        deadline = time.monotonic() + DEADLINE_S
        bit = 1 << (signal.SIGRTMIN + 5 - 1)
        while not bit & int(re.search(r"SigCgt:\s+(\w+)", self._status())[1], 16):  # type: ignore[index]
            assert time.monotonic() < deadline
            select.select([], [], [], 0.005)

    def _status(self) -> str:
        return Path(f"/proc/{self.daemon}/status").read_text()

    def ask(self, line: str) -> str:
        """Send the daemon a line and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        return self.read()

    def kill(self) -> None:
        """End the editor with SIGKILL."""
        self._process.kill()

    def daemon_gone_after(self) -> float:
        """Seconds until the daemon is gone."""
        began = time.monotonic()
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        assert poll.poll(DEADLINE_S * 1_000), "the daemon is an orphan"
        return time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        for sibling in self._siblings:
            os.kill(sibling, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def killed(mode: str, *nets: str) -> float:
    """Kill an editor whose daemon serves; seconds until the daemon is gone."""
    with Editor(mode, *nets) as editor:
        editor.wait_ready()
        editor.kill()
        return editor.daemon_gone_after()


@pytest.mark.parametrize("nets", [(), ("eof",), ("pid",), ("signal",)], ids=["all", "eof", "pidfd", "signal"])
def test_killed_editor_takes_the_daemon_along(nets: tuple[str, ...]) -> None:
    """Check 13: each net alone ends the daemon at once when the editor is killed."""
    times = sorted(killed("plain", *nets) for _ in range(RUNS))

    # One of them may meet a busy machine.
    assert times[-2] <= AT_ONCE_S
    assert times[-1] <= POLLED_S


@pytest.mark.soak
def test_no_orphan_in_a_hundred_kills() -> None:
    """Check 13 at full length."""
    assert max(killed("plain") for _ in range(100)) <= AT_ONCE_S


def test_editor_gone_before_the_daemon_is_up() -> None:
    """Check 14: an editor that dies right after the spawn leaves no daemon."""
    for _ in range(RUNS):
        with Editor("vanish") as editor:
            assert editor.daemon_gone_after() <= POLLED_S


def test_leaked_pipe_end() -> None:
    """Check 15: a sibling that holds the daemon's standard input open does not keep the daemon."""
    assert killed("leak") <= POLLED_S


def test_leaked_pipe_end_where_the_system_has_no_event() -> None:
    """Check 15: looking once a second is enough."""
    assert killed("leak", "eof", "poll") <= POLLED_S


@pytest.mark.parametrize("mode", ["plain", "leak"])
def test_real_daemon_before_initialize(
    mode: str, runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks 14 and 15: the real daemon, still importing, goes with an editor that dies before ``initialize``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for _ in range(3):
        with Editor(mode, command=DAEMON) as editor:
            editor.wait_armed()
            editor.kill()

            assert editor.daemon_gone_after() <= POLLED_S


def test_end_of_file_alone_would_leave_an_orphan() -> None:
    """The test above tests something: with the pipe held open, end of file never comes."""
    with Editor("leak", "eof") as editor:
        editor.wait_ready()
        editor.kill()
        editor._process.wait()

        assert process.is_alive(editor.daemon)


def test_spawning_thread_ends() -> None:
    """The parent-death signal comes when the spawning thread ends, and the daemon lives on; then the editor dies."""
    with Editor("thread", "signal") as editor:
        editor.wait_ready()
        deadline = time.monotonic() + DEADLINE_S
        while editor.ask("signals") == "0":
            assert time.monotonic() < deadline, "the signal never came: this test tests nothing"

        assert editor.ask("ping") == "pong"

        editor.kill()
        assert editor.daemon_gone_after() <= AT_ONCE_S


def test_named_process_is_watched_too() -> None:
    """The processId of ``initialize`` counts although that process is not the daemon's parent."""
    with subprocess.Popen(["sleep", "60"]) as named, Editor("plain", "pid") as editor:
        editor.wait_ready()

        assert editor.ask(f"watch {named.pid}") == "True"

        named.kill()
        assert editor.daemon_gone_after() <= AT_ONCE_S


def test_unknown_process_is_not_watched() -> None:
    """A processId from another container means nothing here and must not end the daemon."""
    with subprocess.Popen(["true"]) as gone:
        pass
    with Editor("plain", "pid") as editor:
        editor.wait_ready()

        assert editor.ask(f"watch {gone.pid}") == "False"
        assert editor.ask("ping") == "pong"


@pytest.mark.parametrize("line", ["hang", "freeze"])
def test_last_resort(line: str) -> None:
    """Check 18: an end that never comes, in Python or in C with the interpreter lock held, is cut short."""
    with Editor("plain", "eof") as editor:
        editor.wait_ready()
        assert editor._process.stdin is not None
        editor._process.stdin.write(line + "\n")

        assert editor.daemon_gone_after() <= 0.5 + 0.25 + 0.5
