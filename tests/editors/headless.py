"""An editor without a screen: started with a configuration from the page, it writes down what it sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from support.lsp_client import daemon_environment
from support.processes import Watch, family

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

DAEMON_PROGRAM = Path(sys.executable).with_name("botframework")
"""What the page's configurations call ``botframework``."""
SOURCE = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return "
"""A document in which the embedded model has something to say at the end."""
PATIENCE_S = 60.0
"""Longer than the slowest editor takes on a machine that does many other things."""
GONE_S = 3.0
"""From the editor's SIGKILL to the end of the daemon and its worker; `tests/e2e` holds the 0.2 s that it takes."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """A user's environment whose every folder is ``home`` and whose PATH leads to the daemon."""
    path = f"{DAEMON_PROGRAM.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return daemon_environment(home, HOME=str(home), XDG_CONFIG_HOME=str(home), PATH=path, **more)


class Headless:
    """A running editor."""

    def __init__(self, command: Sequence[str | Path], home: Path, **more: str) -> None:
        self._home = home
        self._journal = home / "journal.jsonl"
        self._journal.touch()
        self._output = home / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=home,
                env=environment(home, JOURNAL=str(self._journal), **more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def seen(self, what: str) -> list[Any]:
        """All notes of a kind, oldest first. A note is one line of JSON: its kind and its value."""
        lines = self._journal.read_text().splitlines(keepends=True)
        notes = [json.loads(line) for line in lines if line.endswith("\n")]
        return [value for kind, value in notes if kind == what]

    def output(self) -> str:
        """What the editor printed, and the daemon's standard error with it where the editor hands it through."""
        return self._output.read_text(errors="replace")

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the editor has done something."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"never: {what}\n{self._words()}"
            assert self.process.poll() is None, f"ended before: {what}\n{self._words()}"
            await asyncio.sleep(0.02)

    async def note(self, what: str) -> Any:
        """Wait for the first note of a kind."""
        await self.until(lambda: bool(self.seen(what)), what)
        return self.seen(what)[0]

    async def end(self) -> int:
        """Wait until the editor has left; its exit code."""
        try:
            return await asyncio.to_thread(self.process.wait, PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not leave\n{self._words()}") from None

    def daemon(self) -> int:
        """The process that the configuration started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        (found,) = [child.pid for child in children if "--stdio" in child.cmdline()]
        return found

    async def gone_after_kill(self) -> float:
        """Kill the editor, and wait for the end of the daemon and its worker; seconds."""
        daemon = self.daemon()
        with Watch(daemon, *family(daemon)) as watch:
            began = time.monotonic()
            self.process.kill()
            return await watch.gone_after(began)

    def _words(self) -> str:
        return f"{self._journal.read_text()[-2_000:]}\n{self.output()[-4_000:]}"


@contextlib.asynccontextmanager
async def headless(command: Sequence[str | Path], home: Path, **more: str) -> AsyncIterator[Headless]:
    """An editor for the length of a block; ``more`` are environment variables."""
    editor = Headless(command, home, **more)
    try:
        yield editor
    finally:
        editor.process.kill()
        await asyncio.to_thread(editor.process.wait)


def write_document(home: Path) -> Path:
    """A Python file in a project of its own."""
    (home / "pyproject.toml").touch()
    document = home / "shapes.py"
    document.write_text(SOURCE)
    return document
