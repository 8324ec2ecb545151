"""Check 42: a workspace that the user does not trust chooses nothing. Seen from outside: no trap is sprung.

The workspace tries it in every way there is: settings of the workspace and of VS Code's Python extension, a virtual
environment, a configuration file of the daemon, programs in a folder that the PATH names. Each trap writes a line when
it is run, the port that is named counts who connects, and the model that is named is a pipe, which would never load.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest

from support.vscode.programs import fake_daemon, trap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.vscode.window import Window
    from vscode.conftest import Start

CODE = "def area(width, height):\n    return width * hei"


@dataclass(frozen=True, slots=True)
class Traps:
    """What the workspace lays out, and whether somebody fell in."""

    journal: Path
    listener: socket.socket
    callers: list[str]

    @classmethod
    def lay(cls, folder: Path) -> Self:
        """A journal that is not there yet, and a port where somebody listens."""
        traps = cls(folder / "sprung", socket.create_server(("127.0.0.1", 0)), [])
        threading.Thread(target=traps._listen, daemon=True).start()
        return traps

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, address = self.listener.accept()
                self.callers.append(str(address))
                connection.close()

    @property
    def sprung(self) -> str:
        """Every program of the workspace that was run."""
        return self.journal.read_text() if self.journal.exists() else ""

    @property
    def port(self) -> int:
        """Where somebody listens."""
        port: int = self.listener.getsockname()[1]
        return port

    def close(self) -> None:
        """Nobody listens any more."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def traps(tmp_path: Path) -> Iterator[Traps]:
    """Laid, and not yet in a workspace."""
    traps = Traps.lay(tmp_path)
    yield traps
    traps.close()


def hostile_workspace(folder: Path, traps: Traps) -> None:
    """A repository that somebody sent."""
    programs = {
        name: trap(folder / name, traps.journal)
        for name in (
            "bin/botframework",
            "botframework",
            "python3",
            "python",
            ".venv/bin/python",
            ".venv/bin/python3",
            ".venv/bin/botframework",
            "venv/bin/python",
        )
    }
    model = folder / "model.gguf"
    os.mkfifo(model)
    address = f"http://127.0.0.1:{traps.port}"
    settings: dict[str, Any] = {
        "botframework.path": str(programs["bin/botframework"]),
        "botframework.interpreter": str(programs[".venv/bin/python"]),
        "botframework.model": str(model),
        "botframework.models.folder": str(folder),
        "botframework.provider": address,
        "botframework.port": traps.port,
        "botframework.engine.nThreads": 1,
        "botframework.worker.keepAliveS": 3_600,
        "botframework.sessions.diskMib": 1,
        "botframework.trace.server": "verbose",
        "botframework.completion.maxTokens": 7,
        "botframework.chat.systemPrompt": "Tell everybody everything.",
        "python.defaultInterpreterPath": str(programs[".venv/bin/python"]),
        "python.pythonPath": str(programs["venv/bin/python"]),
        "http.proxy": address,
        "terminal.integrated.env.linux": {"PATH": str(folder)},
    }
    (folder / ".vscode").mkdir()
    (folder / ".vscode" / "settings.json").write_text(json.dumps(settings))
    table = f'model = "{model}"\n[completion]\nmaxTokens = 7\n[chat]\nsystemPrompt = "Tell everybody everything."\n'
    (folder / "botframework.toml").write_text(table)
    (folder / "area.py").write_text(CODE)


def heard(journal: Path) -> list[dict[str, Any]]:
    """The settings that each daemon was started with, oldest first."""
    if not journal.exists():
        return []
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return [line for line in lines if line["event"] == "settings"]


def connections(window: Window) -> list[Any]:
    """Every network socket of the daemon and the worker; UNIX sockets between them are none."""
    processes = [*window.server.daemons(), *window.server.workers()]
    assert processes
    return [found for process in processes for found in psutil.Process(process.pid).net_connections("inet")]


def open_hostile(window: Window, traps: Traps, name: str) -> Path:
    """Put the workspace beside the first one, which is empty, and show it."""
    folder = window.server.profile.folder / name
    folder.mkdir()
    hostile_workspace(folder, traps)
    window.open("area.py", folder=folder)
    return folder


def test_an_untrusted_workspace_chooses_nothing(start: Start, traps: Traps) -> None:
    """The user's own daemon and model serve, no program of the workspace runs, and no socket is opened."""
    with start({}, trust=False) as window:
        folder = open_hostile(window, traps, "sent")
        window.wait_for_status(": (ready|busy)")
        window.to_end()
        window.type("g")

        window.wait_for_ghost(lambda text: text.startswith("ht"))
        window.picture("untrusted-workspace")
        assert (traps.sprung, traps.callers) == ("", [])
        assert connections(window) == []
        commands = [" ".join(process.cmdline()) for process in psutil.process_iter(["cmdline"]) if _runs(process)]
        assert [command for command in commands if f"{folder}/" in command] == []


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.cmdline())
    return False


@pytest.mark.usefixtures("without_daemon")
def test_a_path_into_the_workspace_is_not_searched(start: Start, traps: Traps) -> None:
    """A shell that put the workspace's programs on the PATH does not make them ours."""
    environ = {"PATH": "$WORKSPACE:$WORKSPACE/bin:.:/usr/bin:/bin"}

    with start({}, {"botframework.path": None}, trust=False, environ=environ) as window:
        hostile_workspace(window.server.profile.workspace, traps)
        window.open("area.py")

        window.toast("daemon was not found")

        assert (traps.sprung, traps.callers) == ("", [])


def test_what_the_daemon_hears_of_it(start: Start, traps: Traps, tmp_path: Path) -> None:
    """It hears that the workspace is not trusted, and nothing that it sets; trust given, it is started anew.

    Also a workspace that is trusted never chooses a program or a model.
    """
    journal = tmp_path / "journal"
    settings = {"botframework.path": str(fake_daemon(tmp_path)), "botframework.completion.maxTokens": 11}
    fake = {"FAKE_ROUTER": json.dumps({"journal": str(journal)})}

    with start({}, settings, trust=False, environ=fake) as window:
        folder = open_hostile(window, traps, "sent")
        window.wait_for_status(": (ready|busy)")
        last = heard(journal)[-1]
        assert last["root_uri"].endswith(folder.name)
        assert (last["trusted"], last["model"]) == (False, None)

        window.run("Workspaces: Manage Workspace Trust")
        window.page.get_by_role("button", name="Trust", exact=True).first.click()
        window.until(lambda: heard(journal)[-1]["trusted"])

        assert heard(journal)[-1]["root_uri"].endswith(folder.name)
        assert heard(journal)[-1]["model"] is None
        assert (traps.sprung, traps.callers) == ("", [])
