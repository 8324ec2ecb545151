"""The frozen program logs as the source tree does: standard error and a file of the user's, never standard output."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from botframework.process import logs
from support.lsp_client import running_daemon

if TYPE_CHECKING:
    from frozen.conftest import Binary

pytestmark = [pytest.mark.binary, pytest.mark.timeout(240)]

LOAD_DEADLINE_S = 90.0
RECORD = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (ERROR|WARNING|INFO|DEBUG) +(\d+) botframework")
SECRET = "quite_a_secret_name"


async def test_daemon_and_worker_log(binary: Binary, bare_environment: dict[str, str], home: Path) -> None:
    """Both write to the file that the status names, which is the user's alone; no text of the user's is in it."""
    command = (*binary.daemon, "--log-level", "debug")
    async with running_daemon(command, env=bare_environment) as client:
        await client.initialize()
        await client.notification("$/botframework/modelReady", timeout_s=LOAD_DEADLINE_S)
        status = await client.request("botframework/status")
        params = {"prefix": f"def {SECRET}(", "suffix": "\n", "maxTokens": 4}
        await client.request("botframework/complete", params, timeout_s=LOAD_DEADLINE_S)
        left = await client.leave()
        foreign, stderr = client.foreign, bytes(client.stderr)
    file = Path(status["logFile"])
    text = file.read_bytes()
    pids = {int(pid) for _, pid in RECORD.findall(text)}

    assert left == 0
    assert foreign == b""
    assert file.is_relative_to(bare_environment["XDG_STATE_HOME"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert status["workerPid"] in pids
    assert len(pids) >= 2
    assert RECORD.search(stderr)
    assert SECRET.encode() not in text + stderr
    assert home


async def test_the_file_does_not_grow(one_folder: Binary, bare_environment: dict[str, str], home: Path) -> None:
    """A full one is put aside, and of those there are never more than five together."""
    folder = Path(bare_environment["XDG_STATE_HOME"]) / "botframework" / "log"
    folder.mkdir(parents=True)
    for number in range(logs.MAX_FILES):
        suffix = f".{number}" if number else ""
        (folder / f"{logs.FILE_NAME}{suffix}").write_bytes(b"%d" % number + b"x" * logs.MAX_FILE_BYTES)
    async with running_daemon((*one_folder.daemon, "--log-level", "debug"), env=bare_environment) as client:
        await client.initialize()
        await client.notification("$/botframework/modelReady", timeout_s=LOAD_DEADLINE_S)
        status = await client.request("botframework/status")
        assert await client.leave() == 0
    files = sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")

    assert Path(status["logFile"]).parent == folder
    assert files == [logs.FILE_NAME, *(f"{logs.FILE_NAME}.{number}" for number in range(1, logs.MAX_FILES))]
    assert (folder / logs.FILE_NAME).stat().st_size < logs.MAX_FILE_BYTES
    assert (folder / f"{logs.FILE_NAME}.1").read_bytes()[:1] == b"0"
    assert home


async def test_a_broken_start_is_told(one_file: Binary, bare_environment: dict[str, str], home: Path) -> None:
    """A setting that is wrong is told on standard error by the packed program too, and it goes on."""
    command = (*one_file.daemon, "--set", "no.such=1")
    async with running_daemon(command, env=bare_environment) as client:
        await client.initialize()
        await client.until(lambda: b"no.such" in client.stderr, timeout_s=LOAD_DEADLINE_S)
        assert await client.leave() == 0
    assert home
