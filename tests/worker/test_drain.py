"""A worker tells observers what it holds, and asks its clients to leave when another daemon needs the memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from botframework.wire import messages as wire
from support.gguf_factory import tiny_llama
from support.worker_process import WorkerClient, WorkerProcess, load_model, worker_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LONG_S = 3_600.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that answers for as long as it is let."""
    return tiny_llama(tmp_path_factory.mktemp("model") / "model.gguf", n_ctx_train=8_192)


@pytest.fixture
async def worker(runtime_dir: Path) -> AsyncIterator[WorkerProcess]:
    """A worker that its client wants to be kept for an hour."""
    async with worker_process(runtime_dir, keep_alive_s=LONG_S) as process:
        yield process


async def observer(worker: WorkerProcess) -> WorkerClient:
    """Connect to look only."""
    client = await worker.connect()
    await client.shake_hands(observes=True)
    return client


async def drained(client: WorkerClient, idle_s: float) -> bool:
    """Ask for the clients to be asked; whether they were."""
    client.send(wire.Drain(id=99, idle_s=idle_s))
    answer = await client.wait_type(wire.DrainAnswer)
    client.received.remove(answer)
    return answer.is_agreed


async def test_an_observer_is_told_and_not_counted(worker: WorkerProcess, model: Path) -> None:
    """What is loaded, how large the file is, how long it was idle, and how many clients there are without itself."""
    client = await observer(worker)
    before = await client.stats()
    await worker.first.greet(load_model(model))
    await worker.first.done(worker.first.ask("x", max_tokens=1))
    stats = await client.stats()

    assert (before.model_path, before.is_loading, before.idle_s) == ("", True, 0.0)
    assert (stats.model_path, stats.is_loading, stats.clients) == (str(model), False, 1)
    assert stats.file_bytes == model.stat().st_size
    assert 0.0 < stats.idle_s < 10.0


async def test_an_observer_keeps_nothing_alive(runtime_dir: Path, model: Path) -> None:
    """The worker ends with its last client, whoever looks at it."""
    async with worker_process(runtime_dir) as worker:
        client = await observer(worker)
        await worker.first.greet(load_model(model))
        worker.first.connection.abort()

        assert await worker.exit_code(2.0) == 0
        await client.lost


async def test_a_worker_that_is_used_is_not_drained(worker: WorkerProcess, model: Path) -> None:
    """While it loads, while it answers, and for a while afterwards; nobody is asked to leave."""
    client = await observer(worker)
    assert not await drained(client, 0.0)
    await worker.first.greet(load_model(model, n_ctx_fim=8_192))
    number = worker.first.ask("x", max_tokens=8_000)
    await worker.first.wait_type(wire.Token)
    assert not await drained(client, 0.0)
    worker.first.send(wire.Cancel(id=number))
    await worker.first.done(number)
    assert not await drained(client, LONG_S)

    assert not [message for message in worker.first.received if isinstance(message, wire.LeaveAsked)]


async def test_the_worker_ends_when_all_clients_have_left(worker: WorkerProcess, model: Path) -> None:
    """However long they wanted it to be kept: they were asked for the sake of the memory."""
    await worker.first.greet(load_model(model))
    second = await worker.connect()
    await second.shake_hands()
    second.send(load_model(model))
    await second.wait_type(wire.Loaded)
    client = await observer(worker)

    assert await drained(client, 0.0)
    for each in (worker.first, second):
        assert (await each.wait_type(wire.LeaveAsked)).idle_s == 0.0
        each.connection.abort()
    assert await worker.exit_code(2.0) == 0


async def test_a_worker_that_only_lingers_goes_at_once(worker: WorkerProcess, model: Path) -> None:
    """Its clients have left, and it waits for others to come: there is nobody to be asked."""
    await worker.first.greet(load_model(model))
    client = await observer(worker)
    worker.first.connection.abort()
    async with asyncio.timeout(5):
        while (await client.stats()).clients:
            pass

    assert await drained(client, 0.0)
    assert await worker.exit_code(2.0) == 0


async def test_who_asks_for_something_calls_it_off(worker: WorkerProcess, model: Path) -> None:
    """A client that stays and types goes on; when it leaves later, its wish for the worker to stay counts again."""
    await worker.first.greet(load_model(model))
    client = await observer(worker)
    assert await drained(client, 0.0)
    await worker.first.done(worker.first.ask("x", max_tokens=1))
    worker.first.connection.abort()

    async with asyncio.timeout(5):
        while (await client.stats()).clients:
            pass
    assert worker.process.poll() is None
