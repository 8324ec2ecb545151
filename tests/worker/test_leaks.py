"""Whatever clients do to a worker in whatever order: one answer each, the right one, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from botframework.wire import messages as wire
from support.gguf_factory import tiny_llama
from support.worker_process import PATIENCE_S, WorkerClient, WorkerProcess, load_model, worker_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

MAX_OPEN = 24
"""Of one connection; beyond 32 the worker refuses, which would be another test."""
MAX_KEPT = 200
"""Messages; whoever waits looks through all of them."""
PAUSES = """
import botframework.worker.background as background
background.PAUSE_S, background.SAVE_PAUSE_S = 0.01, 0.03
"""
"""Windows are laid anew and states are written all the time, not only when somebody thinks."""
SMALL_WINDOWS = """
from botframework.worker import window
window.SHORT_TOKENS, window.FULL_TOKENS = (96, 96), (200, 200)
"""
FULL_SIZE = 700
"""Tokens that fit in the context only if nobody else has any; no window is as large."""
N_CELLS = 1_024
CODE = "".join(f"value_{number} = self.compute({number}, other)\n" for number in range(60))
CHATS = ("hello", "what is this?", CODE[:200], CODE[:900])
DOCUMENTS = ("doc0", "doc1", "doc2", "doc3", "doc4")
NAMES = (*DOCUMENTS, "talk")
KINDS = {
    "complete": 30,
    "prefill": 12,
    "guess": 8,
    "anonymous": 6,
    "chat": 6,
    "cancel": 20,
    "close": 4,
    "inspect": 4,
    "list": 3,
    "clear": 1,
    "wait": 6,
    "reconnect": 1,
}


@dataclass
class Person:
    """One connection and what it waits for."""

    client: WorkerClient
    open: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By request: what kind it is, and what was asked."""
    texts: dict[str, int] = field(default_factory=dict)
    """How far each of its documents is typed."""
    answered: set[int] = field(default_factory=set)

    def tidy(self) -> None:
        """Keep of what came only the answers that are still to be looked at; all others were the only ones."""
        ends = [message for message in self.client.received if isinstance(message, wire.Done | wire.Failure)]
        self.client.received[:] = [message for message in ends if message.id in self.open]
        for message in ends:
            if message.id not in self.open:
                assert message.id not in self.answered, "answered twice"
                self.answered.add(message.id)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny, and trained on contexts of a thousand tokens."""
    return tiny_llama(tmp_path_factory.mktemp("model") / "model.gguf", n_ctx_train=N_CELLS)


@pytest.fixture
async def worker(runtime_dir: Path) -> AsyncIterator[WorkerProcess]:
    """A worker that is never idle."""
    async with worker_process(runtime_dir, code=PAUSES + SMALL_WINDOWS) as running:
        yield running


def load(model: Path) -> wire.LoadModel:
    """So few cells and sequences, and so little memory for states, that everybody is in everybody's way."""
    return load_model(
        model, n_ctx_fim=N_CELLS, n_ctx_chat=N_CELLS, n_seq_fim=3, n_seq_chat=2, n_ubatch_fim=16, parked_bytes=300_000
    )


class Crowd:
    """Three people who do anything to one worker."""

    def __init__(self, worker: WorkerProcess, model: Path, folder: Path, chance: random.Random) -> None:
        self.worker = worker
        self.chance = chance
        self.people: list[Person] = []
        self.expected: dict[str, str] = {}
        """The right answers of what does not depend on a session, by what is asked."""
        self.done: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.reasons: dict[str, int] = {}
        self._model = model
        self._folder = folder

    async def begin(self) -> None:
        """Let all come, and ask what has one right answer before anybody disturbs."""
        self.people = [Person(self.worker.first), await self._comer(), await self._comer()]
        client = self.people[0].client
        await client.greet(load(self._model))
        for text in CHATS:
            self.expected[text] = (await client.done(client.chat(text, max_tokens=6, stream=False))).text
        for size in (0, 90, 1_500):
            text = CODE[:size]
            self.expected[f"fim {size}"] = (await client.done(client.ask(text, max_tokens=6, stream=False))).text

    async def _comer(self) -> Person:
        person = Person(await self.worker.connect())
        number = self.chance.randrange(3)
        await person.client.shake_hands(snapshot_dir=str(self._folder / f"{number:032}"), snapshot_bytes=1_000_000)
        return person

    async def act(self) -> None:
        """Have somebody do something."""
        chance = self.chance
        person = chance.choice(self.people)
        if len(person.client.received) > MAX_KEPT:
            person.tidy()
        while len(person.open) >= MAX_OPEN:
            await self._answered(person, chance.choice(list(person.open)))
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        self.done[kind] += 1
        client = person.client
        if kind in ("complete", "prefill", "guess"):
            self._ask_about_document(person, kind)
        elif kind in ("anonymous", "chat"):
            self._ask_what_is_known(person, kind)
        elif kind == "reconnect":
            if person is not self.people[0]:
                client.connection.abort()  # In the middle of whatever it has asked for.
                self.people[self.people.index(person)] = await self._comer()
        elif kind in ("cancel", "wait"):
            if person.open:
                await self._go_for_one(person, kind)
        else:
            name = chance.choice((*NAMES, "none"))
            await {
                "close": lambda: client.sessions(close=name),
                "inspect": lambda: client.inspect(name),
                "list": client.sessions,
                "clear": client.clear,
            }[kind]()

    async def _go_for_one(self, person: Person, kind: str) -> None:
        number = self.chance.choice(list(person.open))
        if kind == "cancel":
            person.client.send(wire.Cancel(id=number))
        else:
            await self._answered(person, number)

    def _ask_what_is_known(self, person: Person, kind: str) -> None:
        chance, client = self.chance, person.client
        if kind == "anonymous":
            size = chance.choice((0, 90, 1_500))
            person.open[client.ask(CODE[:size], max_tokens=6, stream=False)] = kind, f"fim {size}"
        else:
            text, session = chance.choice(CHATS), chance.choice(("", "talk", "doc1"))
            person.open[client.chat(text, session=session, max_tokens=6, stream=False)] = kind, text

    def _ask_about_document(self, person: Person, kind: str) -> None:
        chance = self.chance
        name = chance.choice(DOCUMENTS)
        at = person.texts.get(name, 0)
        at = chance.randrange(len(CODE)) if chance.random() < 0.1 else at + chance.randint(-4, 8)
        person.texts[name] = at = max(0, min(at, len(CODE)))
        before, after = CODE[:at], CODE[at : at + 400] if chance.random() < 0.7 else "\n"
        number = person.client.ask(
            before + ("guess()\n" if kind == "guess" else ""),
            suffix=after,
            session=name,
            heal=chance.random() < 0.5,
            ghost=chance.random() < 0.5,
            priority="background" if kind == "guess" else "completion",
            max_tokens=0 if kind == "prefill" else chance.choice((1, 5, 40)),
            deadline_ms=chance.choice((None, None, None, 1, 20)),
        )
        person.open[number] = kind, ""

    async def _answered(self, person: Person, number: int) -> None:
        kind, asked = person.open[number]
        end = await person.client.end_of(number)
        del person.open[number]
        reason = end.finish_reason if isinstance(end, wire.Done) else end.kind
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if isinstance(end, wire.Failure):
            assert end.kind == "DeadlineExceeded", end
            return
        usage = end.usage
        assert usage.cached_tokens <= usage.prompt_tokens
        if kind == "prefill":
            assert (usage.completion_tokens, end.text) == (0, "")
        elif kind in ("anonymous", "chat") and end.finish_reason == "length":
            assert end.text == self.expected[asked], asked

    async def finish(self) -> None:
        """Wait for everything; each request was answered exactly once."""
        for person in self.people:
            for number in list(person.open):
                await self._answered(person, number)
            person.tidy()
            assert not person.client.received

    async def leave(self) -> None:
        """Close all sessions; nothing must be left of anybody."""
        for person in self.people:
            for name in NAMES:  # All, since one without cells now may just get a window in the background.
                await person.client.sessions(close=name)
            assert {info.where for info in (await person.client.sessions()).values()} <= {"disk"}
        client = self.people[0].client
        stats = await until_idle(client)
        assert (stats.kv_tokens, stats.running, stats.queued) == (0, 0, 0)
        assert stats.clients == len(self.people)


async def until_idle(client: WorkerClient) -> wire.Stats:
    """Wait until nobody computes; those who left may still be in a call."""
    async with asyncio.timeout(PATIENCE_S):
        while (stats := await client.stats()).running or stats.queued or stats.kv_tokens:
            pass
    return stats


async def riot(worker: WorkerProcess, model: Path, folder: Path, seed: int, steps: int) -> None:
    """Do so many things, then look at what is left."""
    crowd = Crowd(worker, model, folder, random.Random(seed))
    await crowd.begin()
    for _ in range(steps):
        await crowd.act()
    await crowd.finish()
    await crowd.leave()
    assert all(crowd.done.values()), crowd.done
    assert {"length", "cancelled", "ending"} <= {*crowd.reasons}, crowd.reasons

    client = crowd.people[0].client
    large = await client.done(client.ask(CODE[:600], max_tokens=FULL_SIZE, stream=False))
    assert large.usage.completion_tokens == FULL_SIZE
    for text in CHATS:
        assert (await client.done(client.chat(text, max_tokens=6, stream=False))).text == crowd.expected[text]


async def test_nothing_is_left_of_a_crowd(worker: WorkerProcess, model: Path, tmp_path: Path) -> None:
    """After 2,000 random operations, with one right answer to every request, no session, no cell and no job is left.

    Completions, prompts read ahead, guesses, chats, deadlines, cancels, closed and cleared sessions, and connections
    that end in the middle of it; afterwards a request of nearly the whole context fits.
    """
    await riot(worker, model, tmp_path, 0, 2_000)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(1, 4))
async def test_nothing_is_left_of_a_large_crowd(worker: WorkerProcess, model: Path, tmp_path: Path, seed: int) -> None:
    """The same after 10,000 operations."""
    await riot(worker, model, tmp_path, seed, 10_000)


# --- one bad habit at a time ------------------------------------------------------------------------------------------


async def first_token(client: WorkerClient, number: int) -> None:
    """Wait until a request generates."""
    await client.wait_for(lambda message: isinstance(message, wire.Token) and message.id == number)


async def never_cancels(client: WorkerClient) -> list[int]:
    """Ask for every key and look at none."""
    return [client.ask(CODE + "x" * number, session="doc", max_tokens=20) for number in range(30)]


async def cancels_everything(client: WorkerClient) -> list[int]:
    """Take everything back, some of it twice, and what was never asked."""
    numbers = []
    for number in range(30):
        numbers.append(client.ask(CODE + "x" * number, session="doc", max_tokens=20))
        client.send(wire.Cancel(id=numbers[-1]))
        client.send(wire.Cancel(id=numbers[number // 2]))
        client.send(wire.Cancel(id=1_000_000 + number))
    return numbers


async def closes_in_the_middle(client: WorkerClient) -> list[int]:
    """Close a document while its prompt is read, while it waits, and while it is generated."""
    numbers = []
    for number in range(10):
        numbers.append(client.ask(CODE + "x" * number, session="doc", max_tokens=300))
        numbers.append(client.chat(CODE[:1_000], session="doc", max_tokens=300))
        if number % 2:
            await first_token(client, numbers[-2])
        assert "doc" not in await client.sessions(close="doc")
    return numbers


@pytest.mark.parametrize("habit", [never_cancels, cancels_everything, closes_in_the_middle])
async def test_a_bad_client_gets_one_answer_each(
    worker: WorkerProcess, model: Path, habit: Callable[[WorkerClient], Awaitable[list[int]]]
) -> None:
    """Whoever never cancels, cancels everything or closes documents in use: one answer per request, nothing is left."""
    client, other = worker.first, await worker.connect()
    await client.greet(load(model))
    await other.greet(load(model))
    numbers = await habit(client)
    ends = [await client.done(number) for number in numbers]
    served = await other.done(other.ask("x = ", max_tokens=3))
    await client.sessions(close="doc")
    stats = await until_idle(client)

    answered = [message.id for message in client.received if isinstance(message, wire.Done | wire.Failure)]
    assert sorted(answered) == sorted(numbers)
    assert {end.finish_reason for end in ends} <= {"length", "cancelled"}
    assert served.usage.completion_tokens == 3
    assert stats.kv_tokens == 0
    assert await client.sessions() == {}


async def test_who_leaves_in_the_middle_leaves_nothing(worker: WorkerProcess, model: Path) -> None:
    """A connection that ends inside a prompt, an answer, a chat's preparation or a background window frees it all."""
    stays = worker.first
    await stays.greet(load(model))
    for moment in range(12):
        leaver = await worker.connect()
        await leaver.greet(load(model))
        asked = leaver.ask(CODE, session="doc", suffix=CODE, max_tokens=300)
        leaver.ask(CODE + "guess", session="doc", suffix=CODE, max_tokens=300, priority="background")
        leaver.chat(CODE[:1_000], session="talk", max_tokens=300)
        if moment % 3 == 1:
            await first_token(leaver, asked)
        if moment % 3 == 2:
            await leaver.done(asked)
        leaver.connection.abort()
    stats = await until_idle(stays)
    large = await stays.done(stays.ask(CODE[:600], max_tokens=FULL_SIZE, stream=False))

    assert stats.kv_tokens == 0
    assert large.usage.completion_tokens == FULL_SIZE
