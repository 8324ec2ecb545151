"""One model is exchanged for another while the daemon runs: nothing is lost when the new one is no good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from botframework.config import Models, Settings
from botframework.errors import (
    BotframeworkError,
    ConfigError,
    ModelCorrupt,
    ModelDoesNotFit,
    ModelLoading,
    ModelNotConfigured,
    ModelNotFound,
    ModelRefused,
    WorkerUnavailable,
)
from botframework.manager import exchange, load
from botframework.manager.state import WorkerState
from support.chaos_worker import spawns
from support.gguf_factory import tiny_llama
from support.house import ask, gone, none_left, soon
from support.memory import PLENTY, has_memory, holds_one
from support.watched_router import watched_routers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from botframework.manager.router import Router


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Three model files that the header check lets pass."""
    return [str(tiny_llama(tmp_path / f"{name}.gguf")) for name in ("one", "two", "three")]


@pytest.fixture
async def watch(runtime_dir: Path, models: list[str]) -> AsyncIterator[Any]:
    """Make a router of the first model that is stopped at the end."""
    async with watched_routers(runtime_dir) as make:
        yield lambda *arguments, **settings: make(Settings(**({"model": models[0]} | settings)), *arguments)


@pytest.fixture(params=["beside", "after"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, runtime_dir: Path) -> str:
    """Whether both models fit into memory together."""
    has_memory(monkeypatch, (lambda: PLENTY) if request.param == "beside" else holds_one(runtime_dir))
    monkeypatch.setattr(exchange, "CHANGE_OVER_PATIENCE_S", 0.2)
    return str(request.param)


@pytest.mark.usefixtures("memory")
async def test_another_model_answers(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """After the exchange the new model's worker has the requests, and the old one's is gone."""
    watched = watch()
    router = await watched.until_ready()
    old = (await router.snapshot()).worker_pid
    await router.load_model(models[1])

    assert router.state is WorkerState.READY
    assert (await router.complete(ask("tokens=2")).result()).finish_reason == "stop"
    assert await gone(old, 2.0)
    snapshot = await router.snapshot()
    assert (snapshot.model_path, snapshot.worker_pid) == (models[1], spawns(runtime_dir)[-1])
    assert [loaded.model.path for loaded in watched.loads] == models[:2]


async def test_the_old_model_serves_until_the_new_one_is_ready(watch: Any, models: list[str], memory: str) -> None:
    """If both fit. If not, requests hear meanwhile that a model is being loaded."""
    watched = watch("--load-s", "0.3")
    router = await watched.until_ready()
    exchange = asyncio.create_task(router.load_model(models[1]))
    await soon(lambda: watched.fractions == [0.5, 0.5])

    if memory == "beside":
        assert router.state is WorkerState.READY
        assert (await router.complete(ask("tokens=2")).result()).finish_reason == "stop"
        assert watched.path == models[0]
    else:
        assert router.state is WorkerState.LOADING
        with pytest.raises(ModelLoading):
            router.complete(ask(""))
    await exchange
    assert watched.path == models[1]


async def test_requests_in_flight_are_answered_or_hear_of_the_exchange(
    watch: Any, models: list[str], memory: str
) -> None:
    """With memory for both the old model ends what it has begun; else each gets one error: asking again may help."""
    watched = watch()
    router = await watched.until_ready()
    old = (await router.snapshot()).worker_pid
    running = [router.complete(ask("silent")) for _ in range(3)]
    await router.load_model(models[1])

    assert watched.path == models[1]
    for generation in running:
        if memory == "beside":
            assert not generation.has_ended
            generation.cancel()
            assert (await generation.result()).finish_reason == "cancelled"
        else:
            with pytest.raises(ModelLoading, match="another model") as caught:
                await generation.result()
            assert caught.value.retryable
    assert await gone(old, 2.0)


async def test_a_question_in_flight_is_answered(
    watch: Any, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that has lost its roles does not go before it has answered who asked for the sessions."""
    has_memory(monkeypatch, lambda: PLENTY)
    watched = watch("--answer-when", str(tmp_path / "now"))
    router = await watched.until_ready()
    old = router.supervisor("fim").worker_pid
    await router.complete(ask("tokens=1", session="a.py")).result()
    asked = asyncio.create_task(router.sessions())
    await soon(lambda: bool(router.supervisor("fim")._dispatch._asked))
    await router.load_model(models[1])
    assert watched.path == models[1]
    assert not asked.done()

    (tmp_path / "now").touch()
    assert [each.session for each in await asked] == ["a.py"]
    assert await gone(old, 2.0)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("how", ["missing", "empty", "relative"])
async def test_a_file_that_cannot_be_read_changes_nothing(watch: Any, tmp_path: Path, how: str) -> None:
    """Its path and its header are looked at first: the present model does not notice."""
    watched = watch()
    router = await watched.until_ready()
    running = router.complete(ask("tokens=5 step=20"))
    (tmp_path / "empty.gguf").touch()
    path = "model.gguf" if how == "relative" else str(tmp_path / f"{how}.gguf")
    kind = {"missing": ModelNotFound, "empty": ModelRefused, "relative": ConfigError}[how]
    with pytest.raises(kind):
        await router.load_model(path)

    assert (await running.result()).finish_reason == "stop"
    assert watched.states[-1] is WorkerState.READY
    assert len(watched.loads) == 1


@pytest.mark.parametrize("at_load", ["fail", "abort"])
async def test_a_model_that_cannot_be_loaded(watch: Any, models: list[str], memory: str, at_load: str) -> None:
    """The error says why; the old model goes on serving, or comes back to it."""
    watched = watch()
    router = await watched.until_ready()
    running = router.complete(ask("silent"))
    watched.use("--at-load", at_load)
    exchange = asyncio.create_task(router.load_model(models[1]))
    # The old model's worker is a good one; so is the one that is started for it again.
    await soon(lambda: len(spawns_of(router)) == 2)
    watched.use()
    with pytest.raises(ModelCorrupt, match="llama.cpp says no" if at_load == "fail" else "GGML_ASSERT"):
        await exchange
    await watched.until(lambda: router.state is WorkerState.READY)

    assert watched.path == models[0]
    assert (await router.complete(ask("tokens=2")).result()).finish_reason == "stop"
    if memory == "beside":
        running.cancel()
        assert (await running.result()).finish_reason == "cancelled"
        assert len(watched.loads) == 1
    assert (await router.snapshot()).model_path == models[0]


def spawns_of(router: Router) -> list[int]:
    """The pids of all workers that were started for a router."""
    from botframework.config import runtime_dir

    return spawns(runtime_dir())


async def test_a_model_that_can_never_fit_changes_nothing(
    watch: Any, models: list[str], monkeypatch: pytest.MonkeyPatch, runtime_dir: Path
) -> None:
    """The present model does not go for nothing; what it is asked meanwhile is answered."""
    watched = watch()
    router = await watched.until_ready()
    running = router.complete(ask("tokens=5 step=20"))
    has_memory(monkeypatch, lambda: 0, whole=1_000)
    with pytest.raises(ModelDoesNotFit, match="smaller model"):
        await router.load_model(models[1])

    assert (await running.result()).finish_reason == "stop"
    assert watched.states[-1] is WorkerState.READY
    assert len(spawns(runtime_dir)) == 1


@pytest.mark.usefixtures("memory")
async def test_an_exchange_that_is_called_off(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """The old model serves, and no worker of the new one is left."""
    watched = watch()
    router = await watched.until_ready()
    watched.use("--load-s", "60")
    exchange = asyncio.create_task(router.load_model(models[1]))
    await soon(lambda: watched.fractions == [0.5, 0.5])
    watched.use()
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    await watched.until(lambda: router.state is WorkerState.READY)

    assert watched.path == models[0]
    assert await gone(spawns(runtime_dir)[1], 2.0)


@pytest.mark.usefixtures("memory")
async def test_the_newest_wish_wins(watch: Any, models: list[str]) -> None:
    """Who chooses another model while one is loading does not wait for the first."""
    watched = watch()
    router = await watched.until_ready()
    watched.use("--load-s", "60")
    first = asyncio.create_task(router.load_model(models[1]))
    await soon(lambda: watched.fractions == [0.5, 0.5])
    watched.use()
    await router.load_model(models[2])

    assert first.cancelled()
    assert watched.path == models[2]


async def test_the_same_model_once_more(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """Nothing is loaded a second time."""
    watched = watch()
    router = await watched.until_ready()
    await router.load_model(models[0])

    assert len(spawns(runtime_dir)) == len(watched.loads) == 1


async def test_a_model_instead_of_one_that_is_missing(watch: Any, models: list[str], tmp_path: Path) -> None:
    """The way out of an error state is to choose another file; restarting then stays with it."""
    watched = watch(model=str(tmp_path / "missing.gguf"))
    await watched.router.start()
    await watched.until(lambda: watched.router.state is WorkerState.ERROR)
    await watched.router.load_model(models[1])
    assert watched.router.state is WorkerState.READY

    await watched.router.restart()
    await watched.until(lambda: len(watched.loads) == 2)
    assert watched.path == models[1]


async def test_a_bad_model_instead_of_one_that_is_missing(watch: Any, tmp_path: Path) -> None:
    """The state stays what it was: an error that names the configured file."""
    watched = watch(model=str(tmp_path / "missing.gguf"))
    await watched.router.start()
    await watched.until(lambda: watched.router.state is WorkerState.ERROR)
    with pytest.raises(ModelNotFound, match="other"):
        await watched.router.load_model(str(tmp_path / "other.gguf"))

    assert watched.router.state is WorkerState.ERROR
    assert "missing" in str(watched.router.last_error)


async def test_a_model_that_is_unloaded(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """Its memory comes back; requests say what to do; loading one and restarting both help."""
    watched = watch()
    router = await watched.until_ready()
    running = router.complete(ask("silent"))
    await router.unload_model()

    with pytest.raises(ModelNotConfigured):
        await running.result()
    assert await gone(spawns(runtime_dir)[0], 2.0)
    with pytest.raises(ModelNotConfigured, match="load one"):
        router.complete(ask(""))
    snapshot = await router.snapshot()
    assert (snapshot.state, snapshot.model_name, snapshot.model_path, snapshot.error) == ("stopped", "", "", None)

    with pytest.raises(ModelNotFound):
        await router.load_model(models[1] + ".not")
    assert router.state is WorkerState.STOPPED
    await router.load_model(models[1])
    assert watched.path == models[1]
    await router.unload_model()
    await router.restart()
    await watched.until(lambda: len(watched.loads) == 3)
    assert watched.path == models[1]


async def test_stopping_in_the_middle_of_an_exchange(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """Both workers are gone, and nothing is loaded any more."""
    watched = watch()
    router = await watched.until_ready()
    watched.use("--load-s", "60")
    exchange = asyncio.create_task(router.load_model(models[1]))
    await soon(lambda: watched.fractions == [0.5, 0.5])
    await router.stop()

    await none_left(runtime_dir)
    with pytest.raises((asyncio.CancelledError, BotframeworkError)):
        await exchange
    with pytest.raises(WorkerUnavailable):
        await router.load_model(models[1])


async def test_a_workspace_without_trust_gets_only_models_of_the_user(
    watch: Any, models: list[str], tmp_path: Path
) -> None:
    """The configured and the embedded one, and those of the folder; a path that a workspace names is refused."""
    folder = tmp_path / "mine"
    folder.mkdir()
    mine = str(tiny_llama(folder / "mine.gguf"))
    settings = {"workspace_trusted": False, "models": Models(folder=str(folder))}
    watched = watch(**settings)
    router = await watched.until_ready()

    for path in (models[1], str(folder / ".." / "two.gguf"), "/etc/passwd"):
        with pytest.raises(ConfigError, match="not trusted"):
            await router.load_model(path)
    for path in (mine, models[0], str(load.EMBEDDED_MODEL)):
        await router.load_model(path)
        assert watched.path == path
