"""A running code-server."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from support.processes import belonging_to
from support.vscode.installation import ENTRY, node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from support.vscode.profile import Profile

START_S = 60.0
STOP_S = 10.0
GRACE_S = 5
"""How long the extension host, and with it the daemon, waits for a browser that went away; the default is 3 hours."""
_LISTENING = re.compile(r"HTTP server listening on (http://[\d.:]+)")


@dataclass(frozen=True, slots=True)
class CodeServer:
    """Where it listens, and what it runs on."""

    profile: Profile
    process: subprocess.Popen[bytes]
    address: str
    log: Path

    @property
    def authority(self) -> str:
        """Host and port."""
        return urllib.parse.urlsplit(self.address).netloc

    def uri(self, path: Path) -> str:
        """How VS Code calls a file here."""
        return f"vscode-remote://{self.authority}{path}"

    def url(self, folder: Path | None = None, payload: Sequence[tuple[str, str]] = ()) -> str:
        """The address of a window; the payload is VS Code's own list of things to do."""
        query = {"folder": str(folder or self.profile.workspace)}
        if payload:
            query["payload"] = json.dumps(payload)
        return f"{self.address}/?{urllib.parse.urlencode(query)}"

    def daemons(self) -> list[psutil.Process]:
        """The daemons that its extension hosts started, oldest first."""
        return self._named("--stdio")

    def workers(self) -> list[psutil.Process]:
        """The workers that hold the models, without those that only look at something for a moment."""
        return self._named("worker", without={"template", "bandwidth", "--measure"})

    def _named(self, mark: str, without: Collection[str] = ()) -> list[psutil.Process]:
        found = []
        for pid in belonging_to(self.profile.runtime):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                arguments = process.cmdline()
                if mark in arguments and not any(word in arguments for word in without):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())


def install(package: Path, extensions: Path) -> None:
    """Install a ``.vsix``, as a user would."""
    with _scratch(extensions.with_name("installing")) as scratch:
        answer = subprocess.run(
            [
                *_command(scratch),
                *("--user-data-dir", scratch, "--extensions-dir", extensions),
                *("--install-extension", package, "--force"),
            ],
            env={"PATH": "/usr/bin:/bin", "HOME": str(scratch), "EXTENSIONS_GALLERY": '{"serviceUrl":""}'},
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _command(folder: Path) -> list[str | Path]:
    """Without a configuration file of its own it would write one into the user's home."""
    configuration = folder / "config.yaml"
    configuration.write_text("bind-addr: 127.0.0.1:0\nauth: none\ncert: false\n", encoding="utf-8")
    return [node(), ENTRY, "--config", configuration]


def _ends_with_us() -> list[str]:
    """A test run that is killed leaves no server behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv is not None else []


@contextlib.contextmanager
def code_server(
    profile: Profile,
    extensions: Path,
    *,
    environ: Mapping[str, str] | None = None,
    trust: bool = True,
    arguments: Sequence[str] = (),
) -> Iterator[CodeServer]:
    """Start it and end it; ``trust`` False lets VS Code doubt workspaces, as it does for a user."""
    log = profile.folder / "server.log"
    command = [
        *_ends_with_us(),
        *_command(profile.folder),
        *("--user-data-dir", profile.data, "--extensions-dir", extensions),
        *("--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"),
        # Else a login shell is asked for an environment, and its PATH is the machine's.
        *("--vscode-option", "force-disable-user-env"),
        *("--reconnection-grace-time", str(GRACE_S)),
        *(("--disable-workspace-trust",) if trust else ()),
        *arguments,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=profile.environment(environ or {}),
            cwd=profile.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield CodeServer(profile, process, _address(process, log), log)
    finally:
        _stop(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_S
    while (found := _LISTENING.search(log.read_text(errors="replace"))) is None:
        assert process.poll() is None, f"code-server ended: {log.read_text(errors='replace')}"
        assert time.monotonic() < deadline, f"code-server is silent: {log.read_text(errors='replace')}"
        time.sleep(0.02)
    return found.group(1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The whole of it: its helpers outlive a server that is killed alone."""
    with contextlib.suppress(psutil.Error):
        helpers = [child for child in psutil.Process(process.pid).children(recursive=True) if is_node(child)]
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for left in helpers:
        with contextlib.suppress(psutil.Error):
            left.kill()
    process.kill()
    process.wait(STOP_S)


def is_node(process: psutil.Process) -> bool:
    """Whether it is the server or a helper of it."""
    with contextlib.suppress(psutil.Error):
        return process.exe() == str(node())
    return False
