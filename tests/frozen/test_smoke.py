"""The binary does the main job, as one folder and as one file, where there is no Python."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from botframework import __version__
from support.lsp_client import running_daemon

if TYPE_CHECKING:
    from frozen.conftest import Binary

pytestmark = [pytest.mark.binary, pytest.mark.timeout(240)]

CODE = "def add(a, b):\n    return "
LOAD_DEADLINE_S = 90.0
"""The one file unpacks twice, for the daemon and for its worker, on a machine that is busy."""


def test_version(binary: Binary, bare_environment: dict[str, str]) -> None:
    """It is the version of the sources; nothing is on standard error."""
    answer = binary.run(bare_environment, "--version")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"botframework {__version__}")


def test_nothing_outside_is_needed(one_folder: Binary) -> None:
    """Every library asks only for libraries that are inside, or that belong to the C library."""
    inside = [path for path in one_folder.path.parent.rglob("*") if path.is_file()]
    links = [path for path in one_folder.path.parent.rglob("*") if path.is_symlink()]
    libraries = [path for path in inside if ".so" in path.name]
    names = {path.name for path in inside}
    system = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so", "ld-linux")

    missing = {
        f"{path.name} needs {name}"
        for path in libraries
        for name in _needed(path)
        if name not in names and not name.startswith(system)
    }

    assert missing == set()
    assert links == []  # a .vsix cannot hold them


def _needed(library: Path) -> list[str]:
    told = subprocess.run(["objdump", "-p", library], capture_output=True, text=True, check=True, timeout=60).stdout
    return [line.split()[1] for line in told.splitlines() if line.strip().startswith("NEEDED")]


def test_the_demo(binary: Binary, bare_environment: dict[str, str], home: Path) -> None:
    """Ghost text, a keystroke, a chat and the heartbeat, on the embedded model that is inside."""
    answer = binary.run(bare_environment, "demo")

    assert (answer.returncode, answer.stderr) == (0, "")
    for word in ("inlineCompletion", "prompt tokens evaluated", "tokens/s", "workerPid", "left with 0"):
        assert word in " ".join(answer.stdout.split())


async def test_an_editor_is_served(binary: Binary, bare_environment: dict[str, str], home: Path) -> None:
    """An LSP client gets its completion, the worker is the same program, and both are gone when it leaves."""
    async with running_daemon(binary.daemon, env=bare_environment) as client:
        answer = await client.initialize()
        await client.notification("$/botframework/modelReady", timeout_s=LOAD_DEADLINE_S)
        params: dict[str, Any] = {"prefix": CODE, "suffix": "\n", "maxTokens": 8}
        completed = await client.request("botframework/complete", params, timeout_s=LOAD_DEADLINE_S)
        status = await client.request("botframework/status")
        worker = psutil.Process(status["workerPid"])
        runs = Path(worker.exe())
        left = await client.leave()

    assert answer["serverInfo"] == {"name": "botframework", "version": __version__}
    assert completed["text"].strip()
    assert worker.pid != client.process.pid
    assert runs == binary.path.resolve()
    assert left == 0


def test_no_other_python_is_asked(binary: Binary, bare_environment: dict[str, str], tmp_path: Path) -> None:
    """Modules that lie about, and variables that lead to them, are not ours."""
    (tmp_path / "msgspec.py").write_text("raise SystemExit('not this one')")
    environment = bare_environment | {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}

    answer = binary.run(environment, "hardware", "--json", cwd=tmp_path)

    assert (answer.returncode, answer.stderr) == (0, "")
