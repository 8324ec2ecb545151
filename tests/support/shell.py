"""Commands as a user types them, in pipes or on a terminal, in a home of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from support.lsp_client import daemon_environment
from support.pseudo_terminal import PseudoTerminal

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 100


class Shell:
    """Runs commands with nothing of this user's but a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = daemon_environment(folder, HOME=str(folder), XDG_CONFIG_HOME=str(folder))
        foreign = ("NO_COLOR", "HF_", "OLLAMA_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        for name in [name for name in self.env if name.upper().startswith(foreign)]:
            del self.env[name]

    def run(self, *words: str, stdin: str | bytes = b"", **env: str) -> subprocess.CompletedProcess[str]:
        """Run one to its end, in pipes."""
        done = subprocess.run(
            self.command(*words),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env=self.env | env,
            cwd=self.folder,
            timeout=PATIENCE_S,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def terminal(self, *words: str, **env: str) -> PseudoTerminal:
        """Start one on a terminal."""
        return PseudoTerminal(self.command(*words), env=self.env | env)

    def command(self, *words: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-m", "botframework", *words]
