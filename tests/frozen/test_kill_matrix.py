"""Nothing is left behind by the binary, whoever is killed: checks 13 and 19.

A program of one file is two processes, the bootloader and the program proper; so is its worker. Killed are the editor,
each of the daemon's processes, and each of the worker's. What is measured is the time until the last process that
computes is gone; a bootloader then still has its folder to remove, or is gone itself, and the next start does that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from support.lsp_client import running_daemon
from support.processes import Watch
from support.real_daemon import PATIENCE_S, RELAY, be_ready, eventually, start_chat, status, streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from frozen.conftest import Binary
    from support.lsp_client import LspClient
    from support.real_daemon import Models

pytestmark = [
    pytest.mark.binary,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through pidfd and /proc"),
]

RUNS = 3
AT_ONCE_S = 0.2
"""For the median: the rest is about what else the machine is doing."""
POLLED_S = 1.5
START_S = 120.0
"""The one file unpacks twice, for the daemon and for its worker, on a machine that is busy."""
CELLS = [
    ("folder", "editor"),
    ("folder", "daemon"),
    ("file", "editor"),
    ("file", "bootloader"),
    ("file", "daemon"),
]


@dataclass(frozen=True, slots=True)
class Family:
    """The process ids of one editor's processes; a bootloader is None in one folder."""

    editor: int
    bootloader: int | None
    daemon: int
    worker_bootloader: int | None
    worker: int

    @property
    def bootloaders(self) -> tuple[int, ...]:
        """Those that there are."""
        return tuple(pid for pid in (self.bootloader, self.worker_bootloader) if pid is not None)

    @property
    def programs(self) -> tuple[int, ...]:
        """Daemon, worker, and what the worker has started."""
        return (self.daemon, self.worker, *(child.pid for child in psutil.Process(self.worker).children()))

    @property
    def unpacked(self) -> set[str]:
        """Names of their folders, as far as PyInstaller makes them out of process ids."""
        return {f"_MEI{pid:08x}" for pid in self.bootloaders}


@contextlib.asynccontextmanager
async def editor(
    binary: Binary, environment: Mapping[str, str], model: Path, mode: str = "plain"
) -> AsyncIterator[LspClient]:
    """An editor's process that can be killed, and the daemon that it has started."""
    command = (sys.executable, RELAY, mode, *binary.daemon, "--model", str(model))
    async with running_daemon(command, env=environment) as client:
        yield client


async def family_of(client: LspClient, binary: Binary) -> Family:
    """Who is who, when the model is loaded."""
    worker = (await status(client))["workerPid"]
    (first,) = [child for child in psutil.Process(client.process.pid).children() if "--stdio" in child.cmdline()]
    if binary.form == "folder":
        return Family(client.process.pid, None, first.pid, None, worker)
    # The daemon alone: its worker is below it.
    (daemon,) = first.children()
    return Family(client.process.pid, first.pid, daemon.pid, psutil.Process(worker).ppid(), worker)


def unpacked(environment: Mapping[str, str]) -> set[str]:
    """The folders that are there, without the part of their names that is drawn by lot."""
    return {folder.name[:12] for folder in Path(environment["TMPDIR"]).glob("_MEI*")}


async def only_the_living_are_there(family: Family, environment: Mapping[str, str]) -> None:
    """Wait until the folders of those who were killed before are gone."""
    await eventually(lambda: unpacked(environment) == family.unpacked)


async def killed(binary: Binary, environment: Mapping[str, str], model: Path, victim: str) -> float:
    """Bring daemon and worker to work, kill somebody; seconds until the last process that computes is gone."""
    async with editor(binary, environment, model) as client:
        await be_ready(client)
        await start_chat(client, "chat")
        await streaming(client, "chat", 3)
        family = await family_of(client, binary)
        await only_the_living_are_there(family, environment)
        with Watch(*family.programs) as programs, Watch(*family.bootloaders) as bootloaders:
            began = time.monotonic()
            os.kill(getattr(family, victim), signal.SIGKILL)
            took = await programs.gone_after(began)
            await bootloaders.gone_after(began)
    left = {f"_MEI{family.bootloader:08x}"} if victim == "bootloader" else set()
    assert unpacked(environment) == left, "a bootloader that lived has not removed its folder"
    return took


async def leave(client: LspClient) -> None:
    """End everything in order; the editor's process then waits for more to pass on."""
    await client.request("shutdown")
    await client.notify("exit")
    client.close_stdin()
    assert await client.wait_exit() == 0


async def next_start(binary: Binary, environment: Mapping[str, str], model: Path) -> None:
    """The next start: it removes what those before it could not, and its own by an orderly end."""
    async with editor(binary, environment, model) as client:
        await be_ready(client)
        await only_the_living_are_there(await family_of(client, binary), environment)
        await leave(client)
    await eventually(lambda: unpacked(environment) == set())


def assert_at_once(times: list[float]) -> None:
    """The figure for the median, the polling's for every one."""
    assert statistics.median(times) <= AT_ONCE_S, times
    assert max(times) <= POLLED_S, times


@pytest.fixture
def binary_of(request: pytest.FixtureRequest, form: str) -> Binary:
    """The binary in one form."""
    found: Binary = request.getfixturevalue(f"one_{form}")
    return found


@pytest.mark.timeout(START_S * RUNS)
@pytest.mark.parametrize(("form", "victim"), CELLS)
async def test_killed(
    binary_of: Binary, victim: str, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """Whoever is killed, daemon and worker are gone within 200 ms, and the next start finds nothing to trip over."""
    times = [await killed(binary_of, bare_environment, models.tiny, victim) for _ in range(RUNS)]
    await next_start(binary_of, bare_environment, models.tiny)

    assert_at_once(times)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("form", "victim"), CELLS)
async def test_a_hundred_are_killed(
    binary_of: Binary, victim: str, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """Check 19 at full length: no orphan among a hundred, and never more left than the last one's folder."""
    times = [await killed(binary_of, bare_environment, models.tiny, victim) for _ in range(100)]
    await next_start(binary_of, bare_environment, models.tiny)

    told = f"{binary_of.form}, {victim}: median {statistics.median(times):.3f} s, longest {max(times):.3f} s\n"
    sys.stdout.write(told)
    assert_at_once(times)


@pytest.mark.timeout(START_S * 2)
@pytest.mark.parametrize(("form", "victim"), [("folder", "worker"), ("file", "worker"), ("file", "worker_bootloader")])
async def test_the_worker_is_killed(
    binary_of: Binary, victim: str, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """The daemon starts another worker, whichever of the worker's processes was killed, and counts one death."""
    async with editor(binary_of, bare_environment, models.tiny) as client:
        await be_ready(client)
        before = await family_of(client, binary_of)
        with Watch(before.worker, before.worker_bootloader or before.worker) as gone:
            began = time.monotonic()
            os.kill(getattr(before, victim), signal.SIGKILL)
            await gone.gone_after(began)

        await eventually(lambda: sum(is_ready(message) for message in client.messages) == 2)
        after = await family_of(client, binary_of)
        assert (after.daemon, after.bootloader) == (before.daemon, before.bootloader)
        assert after.worker != before.worker
        answer = await client.request("botframework/complete", {"prefix": "ab", "suffix": "", "maxTokens": 2})
        assert answer["usage"]["completionTokens"] > 0
        await leave(client)
    await next_start(binary_of, bare_environment, models.tiny)


def is_ready(message: Mapping[str, Any]) -> bool:
    """Whether this tells that a model is loaded."""
    return message.get("method") == "$/botframework/modelReady"


@pytest.mark.timeout(START_S)
async def test_somebody_else_holds_the_pipe(
    one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models
) -> None:
    """Check 15: without an end-of-file the daemon still sees its editor's end, though the bootloader is its parent."""
    environment = bare_environment | {"PATH": os.environ["PATH"]}  # the sibling is a program of the system
    async with editor(one_file, environment, models.alphabet, "leak") as client:
        await eventually(lambda: _daemon_below(client.process.pid) is not None)
        daemon = _daemon_below(client.process.pid)
        assert daemon is not None
        await eventually(lambda: _handles_parent_death(daemon))
        siblings = [child.pid for child in psutil.Process(client.process.pid).children() if child.name() == "sleep"]
        with Watch(*siblings), Watch(daemon, psutil.Process(daemon).ppid()) as watch:
            began = time.monotonic()
            client.process.kill()
            assert await watch.gone_after(began) <= POLLED_S


def _daemon_below(relay: int) -> int | None:
    for bootloader in psutil.Process(relay).children():
        for child in bootloader.children():
            return child.pid
    return None


def _handles_parent_death(pid: int) -> bool:
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(1 << (signal.SIGRTMIN + 5 - 1) & int(caught.split()[1], 16))


@pytest.mark.timeout(START_S)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_go_through_the_bootloader(
    one_file: Binary, bare_environment: dict[str, str], home: Path, models: Models, number: signal.Signals
) -> None:
    """An editor knows the bootloader only: told to go, it passes that on, waits for the end, and tidies up."""
    async with running_daemon((*one_file.daemon, "--model", str(models.alphabet)), env=bare_environment) as client:
        await client.initialize()
        await client.notification("$/botframework/modelReady", timeout_s=PATIENCE_S)
        client.process.send_signal(number)

        assert await client.wait_exit() in {0, 1}
    await eventually(lambda: unpacked(bare_environment) == set())
