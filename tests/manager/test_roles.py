"""Roles have their models: one or several, loaded at once or when they are asked, and let go of when nobody asks."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from botframework.config import Engine, Models, Settings
from botframework.config.settings import Worker
from botframework.errors import InvalidParams, ModelDoesNotFit, ModelLoading, ModelNotFound
from botframework.manager import load
from botframework.manager.roles import ROLES, model_of, named_models, to_be_served
from botframework.manager.state import WorkerState
from botframework.wire.messages import ChatMessage, ChatRequest
from support.chaos_worker import spawns
from support.gguf_factory import tiny_llama
from support.house import ask, gone, soon
from support.memory import PLENTY, has_memory
from support.watched_router import WatchedRouter, watched_routers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from botframework.manager.router import Router
    from botframework.models.recommendation import Role


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Three model files."""
    return [str(tiny_llama(tmp_path / f"{name}.gguf", n_ctx_train=8_192)) for name in ("one", "two", "three")]


@pytest.fixture
async def watch(runtime_dir: Path, models: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Make routers on a machine with memory for everything."""
    has_memory(monkeypatch, lambda: PLENTY)
    async with watched_routers(runtime_dir) as make:
        yield lambda *arguments, **settings: make(Settings(**({"model": models[0]} | settings)), *arguments)


def talk(words: str = "tokens=2") -> ChatRequest:
    """A chat that tells the chaos worker what to do."""
    return ChatRequest(id=0, messages=(ChatMessage(role="user", content=words),))


async def served(router: Router) -> dict[str, tuple[str, str, int]]:
    """Path, state and worker of each role."""
    return {each.role: (each.path, each.state, each.worker_pid) for each in (await router.snapshot()).models}


async def all_ready(watched: WatchedRouter) -> Router:
    """Wait until every role's model is ready."""
    router = watched.router
    await router.start()
    return await watched.until(lambda: all(model.state is WorkerState.READY for model in router._hosted()))


async def test_one_model_serves_both_roles(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """Without settings of their own, completion and chat share a worker."""
    router = await all_ready(watch())
    (pid,) = spawns(runtime_dir)

    assert await served(router) == {"fim": (models[0], "ready", pid), "chat": (models[0], "ready", pid)}


async def test_a_model_for_each_role(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """Each role's requests are answered by its own worker, and each load is announced."""
    watched = watch(models=Models(chat=models[1]))
    router = await all_ready(watched)
    roles = await served(router)

    assert (await router.complete(ask("tokens=2")).result()).finish_reason == "stop"
    assert (await router.chat(talk()).result()).finish_reason == "stop"
    assert [roles[role][0] for role in ("fim", "chat")] == models[:2]
    assert {pid for _, _, pid in roles.values()} == set(spawns(runtime_dir))
    assert len(spawns(runtime_dir)) == 2
    assert {loaded.model.path for loaded in watched.loads} == set(models[:2])


async def test_a_role_whose_model_is_missing_leaves_the_other_alone(watch: Any, models: list[str]) -> None:
    """Its requests get the reason; the other role answers."""
    watched = watch(models=Models(chat=models[1] + ".not"))
    await watched.router.start()
    router = await watched.until(
        lambda: {model.state for model in watched.router._hosted()} == {WorkerState.READY, WorkerState.ERROR}
    )

    assert (await router.complete(ask("tokens=2")).result()).finish_reason == "stop"
    with pytest.raises(ModelNotFound):
        router.chat(talk())


async def test_one_role_gets_another_model(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """The other role keeps its worker; who then gives it the other's model shares that worker, and the third goes."""
    router = await all_ready(watch())
    (first,) = spawns(runtime_dir)
    await router.load_model(models[1], roles=("chat",))
    roles = await served(router)

    assert roles["fim"] == (models[0], "ready", first)
    assert roles["chat"][:2] == (models[1], "ready")

    await router.load_model(models[0], roles=("chat",))
    assert await served(router) == {"fim": (models[0], "ready", first), "chat": (models[0], "ready", first)}
    assert await gone(roles["chat"][2], 2.0)
    assert len(spawns(runtime_dir)) == 2


@pytest.mark.parametrize("roles", [("embed",), ("rerank",), ("chat", "embed")])
async def test_a_role_that_nobody_serves_takes_no_place(
    watch: Any, models: list[str], runtime_dir: Path, roles: tuple[Role, ...]
) -> None:
    """Whoever asks for a model for it gets an error that names the roles there are; what serves goes on as it was."""
    router = await all_ready(watch())
    before = await served(router)
    with pytest.raises(InvalidParams, match="expected fim or chat") as caught:
        await router.load_model(models[1], roles=roles)

    assert caught.value.data["pointer"] == "/roles"
    assert await served(router) == before
    assert len(spawns(runtime_dir)) == 1


def test_which_roles_a_model_takes() -> None:
    """Those that are named; all that are served if none is."""
    assert to_be_served(()) == ("fim", "chat")
    assert to_be_served(("chat",)) == ("chat",)


def test_models_that_settings_name() -> None:
    """All four roles count: what a setting names is not deleted for want of room. Only served roles fall back."""
    settings = Settings(model="/all", models=Models(chat="/chat", embed="/embed", rerank="/rerank"))

    assert [model_of(settings, role) for role in ROLES] == ["/all", "/chat", "/embed", "/rerank"]
    assert named_models(settings) == {"/all", "/chat", "/embed", "/rerank"}
    assert [model_of(Settings(model="/all"), role) for role in ROLES] == ["/all", "/all", None, None]
    assert named_models(Settings()) == frozenset()


async def test_models_for_embedding_and_reranking_are_not_loaded(
    watch: Any, models: list[str], runtime_dir: Path
) -> None:
    """Nothing asks them yet: they are listed as configured, and cost no worker."""
    router = await all_ready(watch(models=Models(embed=models[1], rerank=models[2])))
    listed = {entry.path: entry.configured for entry in (await router.models()).models}

    assert [listed[path] for path in models] == [True] * 3
    assert set(await served(router)) == {"fim", "chat"}
    assert len(spawns(runtime_dir)) == 1


async def test_a_model_for_all_roles_takes_the_place_of_several(
    watch: Any, models: list[str], runtime_dir: Path
) -> None:
    """Both workers go, and one serves."""
    router = await all_ready(watch(models=Models(chat=models[1])))
    before = spawns(runtime_dir)
    await router.load_model(models[2])

    assert {path for path, _, _ in (await served(router)).values()} == {models[2]}
    assert all([await gone(pid, 2.0) for pid in before])


async def test_without_preload_the_first_request_loads(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """Until then the file is looked at and no process started; the request may be sent again."""
    watched = watch(worker=Worker(preload=False))
    await watched.router.start()
    router = await watched.until_state(WorkerState.SLEEPING)
    snapshot = await router.snapshot()

    assert spawns(runtime_dir) == []
    assert (snapshot.state, snapshot.model_path, snapshot.worker_pid) == ("sleeping", models[0], 0)
    assert snapshot.model_name
    assert await router.sessions() == ()
    with pytest.raises(ModelLoading) as caught:
        router.complete(ask(""))
    assert caught.value.retryable
    await watched.until_state(WorkerState.READY)
    assert (await router.complete(ask("tokens=2")).result()).finish_reason == "stop"


async def test_a_question_wakes_no_model(watch: Any, runtime_dir: Path) -> None:
    """Neither how a completion was asked nor which sessions there are is worth a load; a model that sleeps has none."""
    watched = watch(worker=Worker(preload=False))
    await watched.router.start()
    router = await watched.until_state(WorkerState.SLEEPING)
    with pytest.raises(ModelLoading, match="let go of"):
        await router.inspect("a.py")

    assert await router.sessions() == ()
    assert (router.state, spawns(runtime_dir)) == (WorkerState.SLEEPING, [])
    with pytest.raises(ModelLoading):
        router.complete(ask(""))
    await watched.until_state(WorkerState.READY)
    assert not (await router.inspect("a.py")).found


async def test_a_storm_of_requests_loads_once(watch: Any, runtime_dir: Path) -> None:
    """And aborts nothing: whoever types while a model loads neither starts another worker nor delays this one."""
    watched = watch("--load-s", "0.3", worker=Worker(preload=False))
    await watched.router.start()
    router = await watched.until_state(WorkerState.SLEEPING)
    refusals = 0
    while router.state is not WorkerState.READY:
        with pytest.raises(ModelLoading):
            router.complete(ask(""))
        refusals += 1
        await asyncio.sleep(0.002)

    assert refusals > 20
    assert len(spawns(runtime_dir)) == len(watched.loads) == 1


async def test_a_chat_may_wait_for_a_sleeping_model(watch: Any) -> None:
    """`wake` returns when it is ready, and at once when it is."""
    watched = watch(worker=Worker(preload=False))
    await watched.router.start()
    router = await watched.until_state(WorkerState.SLEEPING)
    await router.wake("chat")

    assert (await router.chat(talk()).result()).finish_reason == "stop"
    await router.wake("chat")
    assert len(watched.loads) == 1


async def test_a_missing_file_is_told_at_the_start_also_without_preload(watch: Any, models: list[str]) -> None:
    """Nobody types for a minute before they learn that there is no model."""
    watched = watch(model=models[0] + ".not", worker=Worker(preload=False))
    await watched.router.start()

    await watched.until_state(WorkerState.ERROR)
    assert isinstance(watched.router.last_error, ModelNotFound)


async def test_an_idle_model_is_let_go_of_and_comes_back(watch: Any, runtime_dir: Path) -> None:
    """Its memory is free although the worker was to outlive us; a request loads it again, and is served then."""
    watched = watch(worker=Worker(idle_unload_minutes=0.3 / 60, keep_alive_s=60.0))
    router = await all_ready(watched)
    (pid,) = spawns(runtime_dir)
    await watched.until_state(WorkerState.SLEEPING)

    assert await gone(pid, 2.0)
    assert (await router.snapshot()).worker_rss == 0
    with pytest.raises(ModelLoading):
        router.complete(ask(""))
    await watched.until_state(WorkerState.READY)
    assert (await router.complete(ask("tokens=2")).result()).finish_reason == "stop"


async def test_a_model_that_answers_is_not_idle(watch: Any) -> None:
    """An answer may take longer than the limit."""
    watched = watch(worker=Worker(idle_unload_minutes=0.2 / 60))
    router = await all_ready(watched)
    answer = await router.complete(ask("tokens=25 step=20")).result()

    assert answer.finish_reason == "stop"
    assert WorkerState.SLEEPING not in watched.states
    await watched.until_state(WorkerState.SLEEPING)


async def test_restart_wakes_a_sleeping_model(watch: Any) -> None:
    """Somebody asked for it."""
    watched = watch(worker=Worker(preload=False))
    await watched.router.start()
    router = await watched.until_state(WorkerState.SLEEPING)
    await router.restart()

    await watched.until_state(WorkerState.READY)


async def test_another_context_size_reloads_nothing(watch: Any, models: list[str], runtime_dir: Path) -> None:
    """Settings that came while a model serves are for the next start; the worker stays, with its contexts."""
    watched = watch()
    router = await all_ready(watched)
    before = watched.loads[0].n_ctx_chat
    await router.update(Settings(model=models[0], engine=Engine(n_ctx_chat=before // 2)))
    answer = await router.chat(talk()).result()

    assert answer.finish_reason == "stop"
    assert len(spawns(runtime_dir)) == len(watched.loads) == 1


async def test_too_little_memory_at_load_is_tried_once_more_with_less(watch: Any, runtime_dir: Path) -> None:
    """The model serves with a smaller context, the heartbeat says so, and a restart tries the whole again."""
    watched = watch("--most-ctx", "4096")
    router = await all_ready(watched)
    snapshot = await router.snapshot()

    assert watched.loads[0].n_ctx_chat == 4_096
    assert "4,096 instead of 8,192 tokens of chat context" in snapshot.notice
    assert WorkerState.ERROR not in watched.states
    assert len(spawns(runtime_dir)) == 2

    watched.use()
    await router.restart()
    await soon(lambda: len(watched.loads) == 2)
    assert watched.loads[1].n_ctx_chat == 8_192
    assert (await router.snapshot()).notice == ""


async def test_what_the_choice_had_to_give_up_is_told(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing shrinks in silence: the sentence is in the heartbeat."""
    choose = load.choose

    def smaller(settings: Settings) -> load.Choice:
        choice = choose(settings)
        return dataclasses.replace(choice, fit=dataclasses.replace(choice.fit, given_up=("It is smaller.",)))

    monkeypatch.setattr(load, "choose", smaller)
    router = await all_ready(watch())

    assert (await router.snapshot()).notice.endswith(": It is smaller.")


async def test_a_context_that_was_made_smaller_stays_so_in_sleep(watch: Any, runtime_dir: Path) -> None:
    """Waking does not try again what has failed."""
    watched = watch("--most-ctx", "4096", worker=Worker(idle_unload_minutes=0.2 / 60))
    router = await all_ready(watched)
    await watched.until_state(WorkerState.SLEEPING)
    await router.wake("fim")

    assert [loaded.n_ctx_chat for loaded in watched.loads] == [4_096, 4_096]
    assert len(spawns(runtime_dir)) == 3


async def test_too_little_memory_for_less_as_well_is_an_error(watch: Any, runtime_dir: Path) -> None:
    """After the one more try there is no other; llama.cpp's words are in the error."""
    watched = watch("--most-ctx", "100")
    await watched.router.start()
    await watched.until_state(WorkerState.ERROR)

    assert isinstance(watched.router.last_error, ModelDoesNotFit)
    assert "KV cache" in str(watched.router.last_error)
    assert len(spawns(runtime_dir)) == 2
