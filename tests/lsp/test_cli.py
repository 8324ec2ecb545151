"""The command line, and what starting costs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.lsp_client import DAEMON, daemon_environment, running_daemon

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("llama_cpp", "numpy", "jinja2", "rich", "httpx", "psutil", "pynvml")
"""What the daemon must not load before it has answered ``initialize``; most of it never."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "botframework", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    "arguments",
    [["--stdio", "--no-such"], ["--no-such"], ["--stdio", "extra"], ["--stdio", "--clientProcessId=x"], []],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    """A clear message on standard error, exit code 2, not a byte on standard output."""
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "botframework" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("form", [["--clientProcessId={}"], ["--clientProcessId", "{}"]])
async def test_client_process_id(runtime_dir: Path, form: list[str]) -> None:
    """Both forms are taken, and the daemon ends with that process."""
    watched = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    env = daemon_environment(runtime_dir, BOTFRAMEWORK_MODEL="/no/such.gguf")
    async with running_daemon((*DAEMON, *(part.format(watched.pid) for part in form)), env=env) as client:
        await client.initialize(processId=None)
        watched.communicate(b"\n", timeout=10)
        assert await client.wait_exit(timeout_s=3) != 0


async def test_process_id_of_initialize(runtime_dir: Path) -> None:
    """The daemon ends with the process that initialize names."""
    watched = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    env = daemon_environment(runtime_dir, BOTFRAMEWORK_MODEL="/no/such.gguf")
    async with running_daemon(env=env) as client:
        await client.initialize(processId=watched.pid)
        watched.communicate(b"\n", timeout=10)
        assert await client.wait_exit(timeout_s=3) != 0


def test_what_starting_imports(runtime_dir: Path) -> None:
    """Until initialize is answered nothing heavy is imported."""
    code = f"""
import sys
from botframework import config, process
from botframework.process import logs
import botframework.cli, botframework.lsp.server
print([name for name in {HEAVY!r} if name in sys.modules])
print([name for name in sys.modules if name.startswith("botframework.worker")])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "[]\n[]\n"
