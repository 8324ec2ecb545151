"""Nothing is left behind: the real daemon, its worker and the worker's child, when their editor ends.

Every run has an editor process of its own (`support.relay_editor`) that is killed, or that closes the daemon's standard
input. What is measured is the time from that moment until the last process is gone.

The figures are asserted for the median of the runs, because they are about this program and not about what else the
machine is doing; no run may take longer than what looking once a second would take.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from support.processes import Watch, family
from support.real_daemon import (
    HELLO,
    be_ready,
    daemon,
    eventually,
    say_hello,
    start_chat,
    status,
    streaming,
    until_blocked,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support.lsp_client import LspClient
    from support.real_daemon import Models

    State = Callable[[LspClient], Awaitable[object]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through pidfd and /proc")

AT_ONCE_S = 0.2
POLLED_S = 1.5
RUNS = 3
LONG_QUESTION = [{"role": "user", "content": "what is this? " * 400}]


async def idle(client: LspClient) -> None:
    """A model is loaded and a chat was answered, so the worker has a child that renders templates."""
    await be_ready(client)
    await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 1})


async def reading(client: LspClient) -> None:
    """The worker is inside a long prompt, most of the time in one llama_decode of some tens of milliseconds."""
    await be_ready(client)
    await start_chat(client, "chat", messages=LONG_QUESTION)
    while (await status(client))["kvTokens"] < 100:
        pass


async def decoding(client: LspClient) -> None:
    """The worker is generating, and the tokens are read."""
    await be_ready(client)
    await start_chat(client, "chat")
    await streaming(client, "chat", 3)


async def loading(client: LspClient) -> None:
    """The worker is there, and busy with the libraries or the file of the model."""
    await say_hello(client)
    await client.notification("$/botframework/heartbeat", lambda beat: beat["state"] == "loading")


async def blocked(client: LspClient) -> None:
    """The editor has stopped reading, and the daemon's standard output is full."""
    await be_ready(client)
    client.stop_reading()
    await start_chat(client, "chat")
    await until_blocked(client)


STATES: dict[str, tuple[State, str]] = {
    "idle": (idle, "alphabet"),
    "reading": (reading, "slow"),
    "decoding": (decoding, "slow"),
    "loading": (loading, "slow"),
    "blocked": (blocked, "loud"),
}


async def seconds_to_the_end(home: Path, models: Models, state: str, end: str, *, editor: str = "plain") -> float:
    """Bring a daemon to a state, end its editor, and measure."""
    bring, model = STATES[state]
    async with daemon(home, getattr(models, model), editor=editor) as client:
        await bring(client)
        (daemon_pid,) = daemons_of(client)
        victims = [daemon_pid, *family(daemon_pid)]
        siblings = [pid for pid in family(client.process.pid) if pid not in victims]
        assert len(victims) >= 2, "there is no worker: this run tests nothing"
        with Watch(*siblings), Watch(*victims) as watch:
            began = time.monotonic()
            if end == "kill":
                client.process.kill()
            else:
                client.close_stdin()
            return await watch.gone_after(began)


def daemons_of(client: LspClient) -> list[int]:
    """The daemon that the relay has started."""
    return [child.pid for child in psutil.Process(client.process.pid).children() if "--stdio" in child.cmdline()]


def assert_at_once(times: list[float]) -> None:
    """The figure for the median, the polling's for every one."""
    assert statistics.median(times) <= AT_ONCE_S, times
    assert max(times) <= POLLED_S, times


@pytest.mark.parametrize("state", STATES)
async def test_editor_is_killed(home: Path, models: Models, state: str) -> None:
    """Check 13: 200 ms after the editor's SIGKILL both processes are gone, whatever they were doing."""
    assert_at_once([await seconds_to_the_end(home, models, state, "kill") for _ in range(RUNS)])


@pytest.mark.parametrize("state", ["reading", "blocked"])
async def test_editor_closes_the_pipe(home: Path, models: Models, state: str) -> None:
    """Check 13: an editor that just closes the daemon's standard input and lives on is left within 200 ms too."""
    assert_at_once([await seconds_to_the_end(home, models, state, "close") for _ in range(RUNS)])


async def test_editor_is_killed_before_initialize(home: Path, models: Models) -> None:
    """Check 14: an editor that dies before it has said anything, even during the daemon's start, leaves nothing."""
    times = []
    for seconds in (0.0, 0.1, 0.4):
        async with daemon(home, models.alphabet, editor="plain") as client:
            await eventually(functools.partial(daemons_of, client))
            with Watch(*daemons_of(client)) as watch:
                time.sleep(seconds)  # noqa: ASYNC251 - a moment of the start, which no event marks
                began = time.monotonic()
                client.process.kill()
                times.append(await watch.gone_after(began))

    assert max(times) <= POLLED_S, times


async def test_somebody_else_holds_the_pipe(home: Path, models: Models) -> None:
    """Check 15: where a sibling keeps the daemon's standard input open there is no end-of-file, and still both go."""
    times = [await seconds_to_the_end(home, models, "reading", "kill", editor="leak") for _ in range(2)]

    assert max(times) <= POLLED_S, times


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("end", ["kill", "close"])
@pytest.mark.parametrize("state", STATES)
async def test_a_hundred_editors(home: Path, models: Models, state: str, end: str) -> None:
    """Check 13 at full length: no orphan among a hundred."""
    times = [await seconds_to_the_end(home, models, state, end) for _ in range(100)]

    assert_at_once(times)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_hundred_leaked_pipes(home: Path, models: Models) -> None:
    """Check 15 at full length."""
    times: list[Any] = [await seconds_to_the_end(home, models, "idle", "kill", editor="leak") for _ in range(100)]

    assert max(times) <= POLLED_S, times
