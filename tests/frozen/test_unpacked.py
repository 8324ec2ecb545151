"""What the one file unpacks: who keeps it, who removes it, and what becomes of it when somebody is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from botframework.process.unpacked import MARK, STILL_S
from support.lsp_client import running_daemon
from support.processes import Watch
from support.pseudo_terminal import CTRL_C, CTRL_D, ENTER, PseudoTerminal
from support.real_daemon import HELLO, PATIENCE_S, be_ready, eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from frozen.conftest import Binary
    from support.real_daemon import Models

pytestmark = [
    pytest.mark.binary,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at through /proc"),
]


def folders(environment: Mapping[str, str]) -> list[Path]:
    """Everything that is unpacked."""
    return sorted(Path(environment["TMPDIR"]).glob("_MEI*"))


def folder_of(process: psutil.Process) -> str:
    """The folder that a process runs from."""
    return process.environ()["_PYI_APPLICATION_HOME_DIR"]


async def test_a_worker_has_a_folder_of_its_own(
    one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """It may outlive the daemon; what it starts uses its folder, and nothing in its environment is the daemon's."""
    environment = bare_environment | {"LD_LIBRARY_PATH": "/opt/of-the-user"}
    async with running_daemon((*one_file.daemon, "--model", str(models.alphabet)), env=environment) as client:
        await be_ready(client)
        await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 1})
        (daemon,) = psutil.Process(client.process.pid).children()
        worker = psutil.Process((await client.request("botframework/status"))["workerPid"])
        (renderer,) = worker.children()
        its_own, ours = folder_of(worker), folder_of(daemon)

        assert its_own != ours
        assert folder_of(renderer) == its_own
        assert worker.environ()["LD_LIBRARY_PATH"] == f"{its_own}:/opt/of-the-user"
        assert ours not in "".join(worker.environ().values())
        assert all((folder / MARK).read_text() for folder in folders(environment)), "not every folder is claimed"
        assert await client.leave() == 0
    await eventually(lambda: folders(environment) == [])


def test_a_command_shares_its_folder(
    one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """The daemon of a command ends with it, so only the worker unpacks once more."""
    command = [str(one_file.path), "complete", "-", "--at", "1:4", "--model", str(models.alphabet)]
    seen: set[Path] = set()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment) as process:
        assert process.stdin is not None
        process.stdin.write(b"abc")
        process.stdin.close()
        while process.poll() is None:
            seen |= set(folders(bare_environment))
            time.sleep(0.01)

    assert process.returncode == 0
    assert len(seen) == 2


async def test_killed_while_it_unpacks(
    one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """The first thing that is unpacked tells whose folder it is; the next start removes it when it was left alone."""
    with subprocess.Popen(one_file.daemon, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment) as cut:
        while not list(Path(bare_environment["TMPDIR"]).glob(f"_MEI*/{MARK}")):
            assert cut.poll() is None
            await asyncio.sleep(0.001)
        cut.kill()
    (left,) = folders(bare_environment)
    assert not (left / "botframework").exists(), "everything was unpacked: this tests nothing"
    long_ago = time.time() - STILL_S - 1
    for path in (left, *left.rglob("*")):
        os.utime(path, (long_ago, long_ago))

    async with running_daemon((*one_file.daemon, "--model", str(models.alphabet)), env=bare_environment) as client:
        await client.initialize()
        await eventually(lambda: not left.exists())
        assert await client.leave() == 0


async def test_the_editor_leaves_while_the_worker_unpacks(
    one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """The daemon gives the worker up without killing its bootloader, which removes its folder a moment later."""
    async with running_daemon((*one_file.daemon, "--model", str(models.alphabet)), env=bare_environment) as client:
        await client.initialize()
        await eventually(lambda: len(folders(bare_environment)) == 2)
        assert await client.leave() == 0
    await eventually(lambda: folders(bare_environment) == [])


async def test_the_editor_ends_while_it_unpacks(one_file: Binary, bare_environment: dict[str, str], home: Path) -> None:
    """The bootloader cannot know; the program that it then starts sees an empty pipe and goes, and the folder too."""
    with subprocess.Popen(one_file.daemon, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment) as left:
        await eventually(lambda: folders(bare_environment) != [])
        assert left.stdin is not None
        left.stdin.close()

        assert left.wait(PATIENCE_S) == 1
    assert folders(bare_environment) == []


async def test_another_programs_folder_stays(
    one_file: Binary, bare_environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    """A sweep that removes ours leaves theirs, although nobody lives in either."""
    with subprocess.Popen(["true"]) as dead:
        pass
    ours, theirs = (Path(bare_environment["TMPDIR"]) / f"_MEI{dead.pid:08x}{tail}" for tail in ("abcdef", "ghijkl"))
    for folder, name in ((ours, MARK), (theirs, "their.so")):
        folder.mkdir()
        (folder / name).write_text("1.0")
    async with running_daemon(one_file.daemon, env=bare_environment) as client:
        await client.initialize()
        await eventually(lambda: not ours.exists())
        assert theirs.exists()
        assert await client.leave() == 0
    (theirs / "their.so").unlink()
    theirs.rmdir()


@pytest.mark.parametrize("victim", ["bootloader", "program"])
def test_a_killed_command_is_gone(
    one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models, victim: str
) -> None:
    """A command too is two processes, and who kills one of them means both, and its daemon and worker."""
    command = [str(one_file.path), "chat", "--model", str(models.tiny), "--max-tokens", "8000", "hello"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=bare_environment) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        (program,) = psutil.Process(process.pid).children()
        everybody = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        with Watch(*everybody) as watch:
            began = time.monotonic()
            os.kill(process.pid if victim == "bootloader" else program.pid, signal.SIGKILL)
            watch.all_gone_after(began)
    for folder in folders(bare_environment):  # the bootloader's own cannot be gone yet
        assert victim == "bootloader"
        assert folder.name.startswith(f"_MEI{process.pid:08x}")
        subprocess.run(["rm", "-r", folder], check=True)


def test_ctrl_c_is_one_key(one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models) -> None:
    """The terminal tells both processes, and the bootloader passes it on: the answer is stopped, and not the chat."""
    command = [str(one_file.path), "chat", "--model", str(models.tiny), "--max-tokens", "8000"]
    with PseudoTerminal(command, env=bare_environment) as terminal:
        terminal.until("> ")
        terminal.type("go on for ever" + ENTER)
        terminal.until("go on for ever\n")
        terminal.grow(200)
        terminal.type(CTRL_C)
        terminal.until("stopped")
        terminal.until("> ")
        terminal.type(CTRL_D)

        assert terminal.wait() == 0
