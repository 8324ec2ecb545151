"""Requests that kill workers: suspected together, computed alone, refused in the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from botframework.errors import RequestQuarantined, WorkerCrashed
from botframework.manager import ledger
from botframework.manager.state import WorkerState
from support.house import ask

if TYPE_CHECKING:
    from support.house import House


async def test_a_poisonous_request_is_refused_the_third_time(house: House) -> None:
    """Check 22: after two workers have died of it alone, it is refused for ten minutes; others are served."""
    supervisor = await house.ready()
    poison = ask("die=1")
    for _ in range(2):
        with pytest.raises(WorkerCrashed):
            await supervisor.submit(poison).result()
        await house.until(lambda: supervisor.state is WorkerState.READY)

    with pytest.raises(RequestQuarantined) as caught:
        supervisor.submit(poison)
    other = await house.ready()
    with pytest.raises(RequestQuarantined):
        other.submit(poison)

    assert 500_000 < caught.value.data["retryAfterMs"] <= 600_000
    assert (await supervisor.submit(ask("tokens=2")).result()).finish_reason == "stop"
    assert (await other.submit(ask("tokens=2")).result()).finish_reason == "stop"
    assert len(house.spawns) == 3


async def test_the_innocent_in_a_fatal_batch_are_cleared_by_a_try_of_their_own(house: House) -> None:
    """Requests that died together are computed one at a time when they come again; only the culprit stays suspected."""
    supervisor = await house.ready()
    requests = [ask("tokens=3 step=1"), ask("tokens=4 step=1"), ask("tokens=5 step=1 die=2")]
    ends = await asyncio.gather(
        *(answer.result() for answer in [supervisor.submit(request) for request in requests]), return_exceptions=True
    )
    await house.until(lambda: supervisor.state is WorkerState.READY)

    first, second = supervisor.submit(requests[0]), supervisor.submit(requests[1])
    solo = (first.request.solo, second.request.solo)
    one_at_a_time = supervisor._dispatch._suspect is first
    await asyncio.gather(first.result(), second.result())
    again = supervisor.submit(requests[0])
    await again.result()
    for _ in range(2):
        with pytest.raises(WorkerCrashed):
            await supervisor.submit(requests[2]).result()
        await house.until(lambda: supervisor.state is WorkerState.READY)
    with pytest.raises(RequestQuarantined):
        supervisor.submit(requests[2])

    assert WorkerCrashed in {type(end) for end in ends}
    assert solo == (True, True)
    assert one_at_a_time
    assert not again.request.solo


async def test_a_poisonous_prefill_is_refused_in_both_forms(house: House) -> None:
    """The prefill and the completion of one text are one suspect: two deaths of either, and both are refused."""
    supervisor = await house.ready()
    completion = ask("die=1")
    prefill = msgspec.structs.replace(completion, max_tokens=0, ghost=True, stream=False, one_line=True)
    for request in (prefill, completion):
        with pytest.raises(WorkerCrashed):
            await supervisor.submit(request).result()
        await house.until(lambda: supervisor.state is WorkerState.READY)

    for request in (prefill, completion):
        with pytest.raises(RequestQuarantined):
            supervisor.submit(request)
    assert len(house.spawns) == 3


async def test_a_harmless_prefill_does_not_clear_its_completion(house: House) -> None:
    """What kills in its second token is not cleared because its prompt could be read."""
    supervisor = await house.ready()
    poison, company = ask("tokens=3 step=1 die=2"), ask("tokens=4 step=1")
    prefill = msgspec.structs.replace(poison, max_tokens=0)
    ends = await asyncio.gather(
        *(answer.result() for answer in [supervisor.submit(poison), supervisor.submit(company)]), return_exceptions=True
    )
    await house.until(lambda: supervisor.state is WorkerState.READY)

    read = supervisor.submit(prefill)
    await read.result()
    again = supervisor.submit(poison)
    with pytest.raises(WorkerCrashed):
        await again.result()

    assert WorkerCrashed in {type(end) for end in ends}
    assert read.request.solo
    assert again.request.solo


async def test_suspicion_ends(house: House) -> None:
    """Ten minutes later a refused request may try again, alone."""
    ahead = 0.0
    supervisor = house.supervisor(clock=lambda: time.time() + ahead)
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.READY)
    poison = ask("die=1 how=abort")
    for _ in range(2):
        with pytest.raises(WorkerCrashed):
            await supervisor.submit(poison).result()
        await house.until(lambda: supervisor.state is WorkerState.READY)
    with pytest.raises(RequestQuarantined):
        supervisor.submit(poison)

    ahead = ledger.SUSPICION_S + 1
    with contextlib.suppress(WorkerCrashed):
        await supervisor.submit(poison).result()

    await house.until(lambda: supervisor.state is WorkerState.READY)
    assert len(house.spawns) == 4
