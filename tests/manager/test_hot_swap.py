"""A model is exchanged under load, with real workers: nothing that was asked is lost, and somebody always answers."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from botframework.config import Engine, Sessions, Settings
from botframework.manager.load import EMBEDDED_MODEL
from botframework.manager.router import Router
from botframework.manager.state import WorkerState
from botframework.wire.messages import ChatMessage, ChatRequest, FimRequest
from support.house import none_left
from support.memory import PLENTY, has_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PATIENCE_S = 60.0
SWAPS = 3
LONGEST_GAP_S = 5.0
"""Between two completions, with two models in memory, one of them loading, and a chat, on two cores that may do other
things too."""
CODE = "".join(f"def step_{number}(value):\n    return value + {number}\n\n" for number in range(12))


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Two models of the same content, which are two for everybody."""
    return [str(shutil.copy(EMBEDDED_MODEL, tmp_path / f"{name}.gguf")) for name in ("one", "two")]


@pytest.fixture
async def router(runtime_dir: Path, models: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Router]:
    """A router whose first model is ready."""
    has_memory(monkeypatch, lambda: PLENTY)
    ready = asyncio.Event()
    settings = Settings(model=models[0], engine=Engine(n_threads=1), sessions=Sessions(snapshots=False))
    made = Router(settings, on_change=lambda: None, on_ready=lambda _: ready.set(), on_progress=lambda _: None)
    await made.start()
    async with asyncio.timeout(PATIENCE_S):
        await ready.wait()
    yield made
    await made.stop()
    await none_left(runtime_dir)


class Load:
    """Asks for one thing after the other, as somebody who types and talks does."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.served: list[float] = []
        self.failures: list[Exception] = []
        self.has_ended = False

    async def run(self, ask: Callable[[int], Any]) -> None:
        """Ask until told to stop; each request has to be answered."""
        for number in itertools.count():
            if self.has_ended:
                return
            try:
                await ask(number).result()
            except Exception as error:  # noqa: BLE001 - counted
                self.failures.append(error)
                await asyncio.sleep(0.01)
            else:
                self.served.append(time.monotonic())

    def complete(self, number: int) -> Any:
        """A key typed in one of two documents."""
        prefix = CODE + f"def step_{number}(value):\n    ret"
        return self.router.complete(FimRequest(id=0, prefix=prefix, session=f"document {number % 2}", max_tokens=8))

    def chat(self, number: int) -> Any:
        """A question."""
        messages = (ChatMessage(role="user", content=f"what is {number}?"),)
        return self.router.chat(ChatRequest(id=0, messages=messages, session="talk", max_tokens=24))


async def test_no_request_is_lost_and_completions_go_on(router: Router, models: list[str]) -> None:
    """Completions and chats without a pause over several exchanges: each is answered, and none waits for a load."""
    typing, talking = Load(router), Load(router)
    tasks = [asyncio.create_task(typing.run(typing.complete)), asyncio.create_task(talking.run(talking.chat))]
    during = []
    async with asyncio.timeout(PATIENCE_S * SWAPS):
        for path in itertools.islice(itertools.cycle(reversed(models)), SWAPS):
            began = time.monotonic()
            await router.load_model(path)
            during.append(sum(began < moment for moment in typing.served))
        typing.has_ended = talking.has_ended = True
        await asyncio.gather(*tasks)

    assert [*typing.failures, *talking.failures] == []
    assert all(during)
    assert max(later - earlier for earlier, later in itertools.pairwise(typing.served)) < LONGEST_GAP_S
    assert talking.served
    assert (await router.snapshot()).model_path == models[1]


async def test_an_answer_that_was_being_written_is_written_to_its_end(router: Router, models: list[str]) -> None:
    """By the old model, while the new one serves already; then the old worker goes."""
    before = router.supervisor("chat")
    assert before is not None
    messages = (ChatMessage(role="user", content="tell me something long"),)
    answer = router.chat(ChatRequest(id=0, messages=messages, max_tokens=400))
    tokens = aiter(answer)
    await anext(tokens)
    await router.load_model(models[1])

    assert router.supervisor("chat") is not before
    done = await answer.result()
    assert done.finish_reason in {"stop", "length"}
    async with asyncio.timeout(PATIENCE_S):
        while before.state is not WorkerState.STOPPED:  # noqa: ASYNC110 - the retired model calls nobody back
            await asyncio.sleep(0.01)


async def test_the_new_model_has_read_what_is_on_the_screen(router: Router, models: list[str]) -> None:
    """Sessions' texts carry over: the first key after the exchange finds its window in the new model's cache."""
    request = FimRequest(id=0, prefix=CODE + "def last(value):\n    ret", session="document", max_tokens=4)
    await router.complete(request).result()
    await router.load_model(models[1])
    done = await router.complete(request).result()

    assert done.usage.cached_tokens > 0.9 * done.usage.prompt_tokens > 100
