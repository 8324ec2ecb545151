"""Too much at once, and two windows on one worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.lsp_client import LspError, frame
from support.processes import Watch, belonging_to
from support.real_daemon import (
    GREEDY,
    PATIENCE_S,
    be_ready,
    daemon,
    ready_daemon,
    start_chat,
    status,
    streaming,
    until_blocked,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.lsp_client import LspClient
    from support.real_daemon import Models

REFUSAL_S = 0.05
REFUSAL_ANYWHERE_S = 1.5
"""Less than the two seconds of a completion."""
AT_ONCE_S = 0.2
POLLED_S = 1.5
REQUESTS = 1_000
BURSTS = 5
FAIR_FACTOR = 6
"""How much longer a request may take beside a flood. Fair turns give every second step to the other, and a step may be
a micro-batch of the flood's prompts; 24 requests that stand before it in one queue would make it 24."""
SLACK_S = 0.1


def note_arrivals(client: LspClient) -> dict[Any, float]:
    """Note from now on when each answer has been read and parsed, by its id."""
    arrived: dict[Any, float] = {}
    take = client._take

    async def timed(message: dict[str, Any]) -> None:
        if "method" not in message:
            arrived[message["id"]] = time.monotonic()
        await take(message)

    client._take = timed  # type: ignore[method-assign]
    return arrived


async def burst(client: LspClient, arrived: dict[Any, float], name: str) -> list[float]:
    """Send the requests of one burst; the seconds to each refusal."""
    sent: dict[str, float] = {}
    for n in range(REQUESTS):
        number = f"{name}/{n}"
        params = {"prefix": f"x{n} = ", "maxTokens": 16}
        data = frame({"jsonrpc": "2.0", "id": number, "method": "botframework/complete", "params": params})
        sent[number] = time.monotonic()
        await client.raw(data)
        await asyncio.sleep(0)  # or the answers would wait for this loop to end
    await client.until(lambda: sent.keys() <= arrived.keys(), timeout_s=PATIENCE_S)

    assert {len(client.answers[number]) for number in sent} == {1}
    errors: dict[str, Any] = {number: client.answers[number][0].get("error") for number in sent}
    kinds = {number: error["data"]["kind"] for number, error in errors.items() if error is not None}
    # A completion has two seconds, which a busy machine may need for others.
    assert set(kinds.values()) <= {"ServerBusy", "DeadlineExceeded"}
    refused = [number for number, kind in kinds.items() if kind == "ServerBusy"]
    assert 0 < len(refused) < REQUESTS
    assert all(errors[number]["data"]["retryAfterMs"] > 0 for number in refused)
    return [arrived[number] - sent[number] for number in refused]


@pytest.mark.parametrize(
    "refusal_s",
    [pytest.param(REFUSAL_ANYWHERE_S, id="any-machine"), pytest.param(REFUSAL_S, id="quiet", marks=pytest.mark.soak)],
)
async def test_a_thousand_requests_at_once(home: Path, models: Models, refusal_s: float) -> None:
    """Check 31: of 1,000 requests without a pause each gets one answer, and a refusal takes 50 ms (99th percentile).

    Some are carried out; the others are refused as busy, with a time to try again. Measured inside this one asyncio
    client, from the call that writes a request to its parsed answer, so its own time for the requests and answers
    before it counts too. The best of five bursts counts. The figure is one of a quiet machine, where the soak compares
    it; everywhere else refusals must come before the completions that were taken could have run out of time.
    """
    async with ready_daemon(home, models.tiny) as client:
        arrived = note_arrivals(client)
        bursts = [await burst(client, arrived, str(n)) for n in range(BURSTS)]
        now = await status(client)

    assert now["state"] == "ready"
    p99s = [statistics.quantiles(times, n=100)[98] for times in bursts]
    assert min(p99s) <= refusal_s, p99s


@contextlib.asynccontextmanager
async def two_windows(home: Path, model: Path) -> AsyncIterator[tuple[LspClient, LspClient]]:
    """Two daemons of one user with the same model; the first one has started the worker."""
    async with ready_daemon(home, model) as one, ready_daemon(home, model) as two:
        yield one, two


async def test_two_daemons_share_one_worker(home: Path, models: Models) -> None:
    """There is one copy of the weights; neither daemon can see, use or close the other's sessions."""
    hole = {"prefix": "def add(a, b):\n    return a", "maxTokens": 3, "session": "doc"}
    async with two_windows(home, models.tiny) as (one, two):
        seen = [await status(client) for client in (one, two)]
        await one.request("botframework/complete", hole)
        before = await two.request("botframework/sessions/list")
        theirs = await two.request("botframework/complete", hole)
        closed = await two.request("botframework/sessions/close", {"session": "doc"})
        ours = await one.request("botframework/sessions/list")
        again = await one.request("botframework/complete", hole)

    assert seen[0]["workerPid"] == seen[1]["workerPid"] > 0
    assert [found["clients"] for found in seen] == [2, 2]
    assert before == closed == {"sessions": []}
    assert theirs["usage"]["cachedTokens"] == 0
    assert [session["session"] for session in ours["sessions"]] == ["doc"]
    assert again["usage"]["evaluatedTokens"] <= 2


async def test_two_daemons_at_the_same_moment(home: Path, models: Models) -> None:
    """Two windows that open together start one worker between them."""
    async with daemon(home, models.tiny) as one, daemon(home, models.tiny) as two:
        await asyncio.gather(be_ready(one), be_ready(two))
        pids = {(await status(client))["workerPid"] for client in (one, two)}

    assert len(pids) == 1


async def short_completion(client: LspClient) -> float:
    """Seconds of a small request."""
    began = time.monotonic()
    await client.request("botframework/complete", {"prefix": "x = ", "maxTokens": 8, "sampling": GREEDY})
    return time.monotonic() - began


async def test_a_flood_in_one_window_is_fair_to_the_other(home: Path, models: Models) -> None:
    """While one window keeps 24 completions waiting, the other's take at most what fair turns make of them.

    The medians of seven are compared.
    """
    async with two_windows(home, models.slow) as (flood, victim):
        await short_completion(victim)
        alone = [await short_completion(victim) for _ in range(7)]

        async def keep_asking(n: int) -> None:
            hole = {"prefix": f"# {n}\n" + "def add(a, b):\n    return a + b\n" * 12, "maxTokens": 24}
            while True:
                with contextlib.suppress(LspError):
                    await flood.request("botframework/complete", hole, timeout_s=PATIENCE_S)

        floods = [asyncio.create_task(keep_asking(n)) for n in range(24)]
        while (await status(victim))["queued"] < 10:
            pass
        beside = [await short_completion(victim) for _ in range(7)]
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)

    allowed = FAIR_FACTOR * statistics.median(alone) + SLACK_S
    assert statistics.median(beside) <= allowed, (alone, beside)


async def test_a_window_that_stops_reading_disturbs_nobody(home: Path, models: Models) -> None:
    """While one window's answers wait for it to read, the other's come as if it were alone."""
    async with two_windows(home, models.loud) as (deaf, other):
        await short_completion(other)
        alone = [await short_completion(other) for _ in range(7)]
        deaf.stop_reading()
        await start_chat(deaf, "chat")
        await until_blocked(deaf)
        beside = [await short_completion(other) for _ in range(7)]
        seen = await status(other)

    assert seen["running"] == 1
    assert statistics.median(beside) <= FAIR_FACTOR * statistics.median(alone) + SLACK_S, (alone, beside)


async def test_the_daemon_that_started_the_worker_is_killed(home: Path, models: Models) -> None:
    """The other one's answer comes to its end; when that one is killed too, the worker is gone within 200 ms.

    The better of two runs counts.
    """
    times = []
    for _ in range(2):
        async with two_windows(home, models.tiny) as (starter, other):
            pid = (await status(other))["workerPid"]
            question = {"maxTokens": 1_500}
            number = await start_chat(other, "chat", **question)
            await streaming(other, "chat", 3)
            starter.process.kill()
            await starter.wait_exit()
            answer = await other.result(number, timeout_s=PATIENCE_S)
            now = await status(other)
            assert answer["usage"]["completionTokens"] == 1_500
            assert (now["workerPid"], now["clients"], now["state"]) == (pid, 1, "ready")
            assert sum(message.get("method") == "$/botframework/modelReady" for message in other.messages) == 1

            await start_chat(other, "another chat")
            await streaming(other, "another chat", 3)
            with Watch(*belonging_to(home)) as everybody:
                began = time.monotonic()
                os.kill(other.process.pid, signal.SIGKILL)
                times.append(await everybody.gone_after(began))

    assert min(times) <= AT_ONCE_S, times
    assert max(times) <= POLLED_S, times
