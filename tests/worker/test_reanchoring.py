"""What typing, jumping and switching cost, and what is done about it while nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from support.call_trace import TRACING, CallTrace
from support.gguf_factory import tiny_llama
from support.worker_process import PATIENCE_S, WorkerClient, load_model, worker_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from botframework.wire import messages as wire

SESSION = "file:///a.py"
N_UBATCH = 64
SIZES = """
from botframework.worker import window
window.SHORT_TOKENS, window.FULL_TOKENS = (100, 100), (360, 360)
"""
"""Of the windows, however fast this machine is."""
NEVER_IDLE = "import botframework.worker.background as background\nbackground.PAUSE_S = 1e6\n"
"""Nothing is laid anew behind the back of a test that counts."""
SLOWED = """
import time
from botframework.worker import llama
fast_decode = llama.Context.decode_chunk
def slow_decode(self, sequence, start, tokens, *, output):
    time.sleep((len(tokens) - 1) * 0.012)
    return fast_decode(self, sequence, start, tokens, output=output)
llama.Context.decode_chunk = slow_decode
"""
"""16 tokens take 0.2 s on any machine, so that a test can do something inside them; a single token takes none."""


def source(name: str, lines: int = 120) -> str:
    """Lines of code that all differ, some twenty tokens each."""
    return "".join(f"    {name}_{number} = self.compute({number}, other)\n" for number in range(lines))


class Document:
    """A text with a cursor in a worker."""

    def __init__(self, client: WorkerClient, session: str = SESSION, name: str = "value") -> None:
        self.client = client
        self.session = session
        self.before, self.after = source(name), "\n" + source(f"{name}_after")

    def post(self, **options: Any) -> int:
        """Ask at the cursor as an editor's ghost text does; the request's id."""
        values: dict[str, Any] = {"max_tokens": 4, "heal": True, "session": self.session, "suffix": self.after}
        return self.client.ask(self.before, **(values | options))

    async def ask(self, **options: Any) -> wire.Usage:
        """Ask and wait; what it cost."""
        return (await self.client.done(self.post(**options))).usage

    async def read(self) -> int:
        """Have the text up to the cursor read, and nothing generated; prompt tokens that it took."""
        return (await self.ask(max_tokens=0)).evaluated_tokens

    async def type(self, text: str, behind: str = "") -> int:
        """Type and read; ``behind`` is what the editor closes by itself."""
        self.before += text
        self.after = behind + self.after
        before = (await self.client.stats()).prompt_tokens_read
        await self.ask(max_tokens=0)
        return (await self.client.stats()).prompt_tokens_read - before

    async def delete(self, count: int) -> int:
        """Delete before the cursor and read."""
        self.before = self.before[:-count]
        return await self.type("")

    async def reanchored(self, times: int = 1) -> wire.Inspection:
        """Wait for the window to be laid anew."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.client.inspect(self.session)).reanchors < times:
                pass
        return found

    async def read_in_background(self, tokens: int) -> wire.Stats:
        """Wait until so many tokens were read while nobody waited."""
        async with asyncio.timeout(PATIENCE_S):
            while (now := await self.client.stats()).background_tokens_read < tokens:
                pass
        return now


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny, and trained on windows of any size."""
    return tiny_llama(tmp_path_factory.mktemp("model") / "model.gguf", n_ctx_train=4_096)


@pytest.fixture
def trace(tmp_path: Path) -> CallTrace:
    """The calls of the test's worker, if it runs `TRACING`."""
    return CallTrace(tmp_path / "calls")


def load(model: Path, **changes: Any) -> wire.LoadModel:
    """Room for several windows."""
    return load_model(model, **({"n_ctx_fim": 4_096, "n_ubatch_fim": N_UBATCH} | changes))


@contextlib.asynccontextmanager
async def opened(
    runtime_dir: Path, model: Path, code: str = "", trace: CallTrace | None = None, **changes: Any
) -> AsyncIterator[Document]:
    """A document in a worker of its own, which has loaded the model with `load` and has read nothing."""
    code = SIZES + code + (TRACING if trace is not None else "")
    environment = trace.environment if trace is not None else None
    async with worker_process(runtime_dir, code=code, environment=environment) as worker:
        await worker.first.greet(load(model, **changes))
        yield Document(worker.first)


# --- what a key costs -------------------------------------------------------------------------------------------------


async def test_a_key_costs_what_it_adds(runtime_dir: Path, model: Path) -> None:
    """Inside a word nothing is read, a new token costs one; brackets, line ends and deleting cost at most four."""
    async with opened(runtime_dir, model, NEVER_IDLE) as document:
        await document.read()
        # "return " is one token, and so are "re", "tur", "retur": whatever it may become is held back.
        inside = [await document.type(key) for key in "\n    retur"][6:]
        released = await document.type("#")
        new = [await document.type(key) for key in "%&/"]
        pair = await document.type("call(", behind=")")
        line = await document.type("\n        ")
        deleted = [await document.delete(count) for count in (1, 3, 7)]
        over = await document.type("xy)")

    assert inside == [0] * len(inside)
    assert released == 2  # The word, which can become nothing else now, and what ended it.
    assert new == [1, 1, 1]
    assert max(pair, line, *deleted, over) <= 4


async def test_a_request_after_a_key_counts_the_same(runtime_dir: Path, model: Path) -> None:
    """What an answer says of its cost is what llama.cpp was given, with healing and without reading ahead."""
    async with opened(runtime_dir, model, NEVER_IDLE) as document:
        await document.ask()
        costs = []
        for key in "\n    return self.value#":
            document.before += key
            read = (await document.client.stats()).prompt_tokens_read
            usage = await document.ask()
            costs.append(usage.evaluated_tokens)
            assert (await document.client.stats()).prompt_tokens_read - read == usage.evaluated_tokens

    assert max(costs) <= 3
    assert sorted(costs)[len(costs) // 2] <= 1


async def test_eight_documents_with_too_few_cells_come_back_for_nothing(runtime_dir: Path, model: Path) -> None:
    """Switching back to a document whose cells were given away costs at most 16 tokens: its state was parked."""
    async with worker_process(runtime_dir, code=SIZES + NEVER_IDLE) as worker:
        client = worker.first
        # Four sequences, and cells for three windows of 100 tokens and an answer each.
        loaded = await client.greet(load(model, n_ctx_fim=512))
        documents = [Document(client, f"file:///{number}.py", f"name{number}") for number in range(8)]
        first = [await document.ask() for document in documents]
        sessions = await client.sessions()
        back = []
        for _ in range(3):
            for document in documents:
                document.before += "x"
                back.append((await document.ask()).evaluated_tokens)

    assert loaded.n_ctx_fim == 512
    assert sum(usage.prompt_tokens for usage in first) > loaded.n_ctx_fim
    assert {info.where for info in sessions.values()} == {"kv", "memory"}
    assert len(sessions) == 8
    assert max(back) <= 16
    assert sorted(back)[len(back) // 2] <= 2


# --- after a jump -----------------------------------------------------------------------------------------------------


async def test_a_short_window_is_widened_in_the_pause(runtime_dir: Path, model: Path) -> None:
    """After a jump a short prompt is read at once, the large one when nobody waits; the next key costs its own."""
    async with opened(runtime_dir, model) as document:
        jumped = await document.ask()
        at_once = await document.client.inspect(SESSION)
        await document.reanchored()
        document.before += "x"
        key = await document.ask()
        widened = await document.client.inspect(SESSION)
        stats = await document.client.stats()

    assert (at_once.is_short, at_once.reanchors) == (True, 0)
    assert jumped.prompt_tokens < 150
    assert (widened.is_short, widened.reanchors) == (False, 1)
    assert key.prompt_tokens > 270
    assert key.evaluated_tokens <= 3
    assert key.cached_tokens >= key.prompt_tokens - 3
    assert 0 < stats.background_tokens_read <= key.prompt_tokens
    # Nobody waited for those, so nobody's answer counts them.
    assert stats.prompt_tokens_read == jumped.evaluated_tokens + key.evaluated_tokens + stats.background_tokens_read


async def test_with_one_sequence_a_window_is_widened_in_its_place(runtime_dir: Path, model: Path) -> None:
    """`engine.nSeqFim = 1` leaves no second sequence: the first one is read anew, and the next key costs its own."""
    async with opened(runtime_dir, model, n_seq_fim=1) as document:
        await document.ask()
        await document.reanchored()
        document.before += "x"
        key = await document.ask()
        widened = await document.client.inspect(SESSION)

    assert (widened.is_short, widened.reanchors) == (False, 1)
    assert key.prompt_tokens > 270
    assert key.evaluated_tokens <= 3


async def test_with_one_sequence_a_key_finds_what_was_there(runtime_dir: Path, model: Path) -> None:
    """Who types while the only sequence is read anew gets its old content back, and pays for the key alone."""
    async with opened(runtime_dir, model, SLOWED, n_seq_fim=1) as document:
        client = document.client
        await document.ask()
        short = await client.inspect(SESSION)
        await document.read_in_background(N_UBATCH)
        sessions = await client.sessions()
        document.before += "x"
        key = await document.ask()
        after = await client.inspect(SESSION)
        found = await document.reanchored()

    assert list(sessions) == [SESSION]
    assert (after.head, after.reanchors) == (short.head, 0)
    assert key.evaluated_tokens <= 3
    assert found.reanchors == 1


@pytest.mark.parametrize("who", ["completion", "chat"])
async def test_background_work_yields_at_once(runtime_dir: Path, model: Path, trace: CallTrace, who: str) -> None:
    """Who arrives inside a background micro-batch ends it and is answered; those that were finished stay."""
    async with opened(runtime_dir, model, SLOWED, trace) as document:
        client = document.client
        await client.done(client.chat("hello", max_tokens=1))  # Makes the context and the template's formatter.
        await document.ask()
        trace.begin()
        before = (await document.read_in_background(2 * N_UBATCH)).background_tokens_read
        if who == "completion":
            document.before += "x"
            await document.ask()
        else:
            await client.done(client.chat("hello", max_tokens=2))
        after = (await client.stats()).background_tokens_read
        await document.reanchored()
        document.before += "y"
        key = await document.ask()
        total = (await client.stats()).background_tokens_read
        sessions = await client.sessions()

    assert after == before
    assert key.evaluated_tokens <= 3
    # Nothing of the background was read twice, but for the micro-batch that was given up.
    assert total <= key.prompt_tokens
    assert len(trace.discarded(4_096)) == 1
    assert [info.where for info in sessions.values()] == ["kv"]


async def test_a_window_is_dropped_when_the_text_has_changed(runtime_dir: Path, model: Path) -> None:
    """A window that is being read for a text that is no longer there is given up, and one for the new text follows."""
    async with opened(runtime_dir, model, SLOWED) as document:
        client = document.client
        await document.ask()
        before = (await document.read_in_background(N_UBATCH)).background_tokens_read
        document.after = "\n    # something else\n" + document.after
        await document.ask()
        changed = await client.inspect(SESSION)
        found = await document.reanchored()
        document.before += "x"
        key = await document.ask()
        after = await client.inspect(SESSION)
        total = (await client.stats()).background_tokens_read

    assert before < 250
    assert changed.reanchors == 0
    assert found.reanchors == 1
    assert after.suffix.startswith("\n    # something else\n")
    assert not after.is_short
    assert key.evaluated_tokens <= 3
    assert total > before


async def test_a_closed_document_gets_no_window(runtime_dir: Path, model: Path) -> None:
    """Closing a document inside its background window frees everything."""
    async with opened(runtime_dir, model, SLOWED) as document:
        client = document.client
        await document.ask()
        await document.read_in_background(N_UBATCH)
        sessions = await client.sessions(close=SESSION)
        stats = await client.stats()

    assert sessions == {}
    assert (stats.kv_tokens, stats.running, stats.queued) == (0, 0, 0)


# --- guesses ----------------------------------------------------------------------------------------------------------


async def test_a_guess_changes_nothing_of_the_session(runtime_dir: Path, model: Path) -> None:
    """A request in the background for text that nobody has accepted leaves window, figures and the next key's cost."""
    async with opened(runtime_dir, model, NEVER_IDLE) as document:
        client = document.client
        await document.ask()
        before = await client.inspect(SESSION)
        read = await client.stats()
        guess = client.ask(
            document.before + "guess(1)", suffix=document.after, session=SESSION, priority="background", max_tokens=6
        )
        guessed = await client.done(guess)
        elsewhere = client.ask("else", suffix="where", session=SESSION, priority="background", max_tokens=6)
        refused = await client.done(elsewhere)
        after = await client.inspect(SESSION)
        stats = await client.stats()
        document.before += "x"
        key = await document.ask()

    assert (guessed.finish_reason, guessed.usage.completion_tokens) == ("length", 6)
    assert guessed.usage.evaluated_tokens <= 8
    assert (refused.finish_reason, refused.usage.completion_tokens) == ("cancelled", 0)
    assert (after.head, after.suffix, after.middle) == (before.head, before.suffix, before.middle)
    assert (after.evaluated_tokens, after.cached_tokens) == (before.evaluated_tokens, before.cached_tokens)
    assert stats.background_tokens_read - read.background_tokens_read == guessed.usage.evaluated_tokens
    assert key.evaluated_tokens <= 3


async def test_a_guess_yields_to_a_key(runtime_dir: Path, model: Path, trace: CallTrace) -> None:
    """A key ends what is being guessed for its document, inside the guess's prompt too, and is answered at once."""
    async with opened(runtime_dir, model, NEVER_IDLE + SLOWED, trace) as document:
        client = document.client
        await document.ask()
        trace.begin()
        long_guess = document.before + "".join(f"guess_{number}()\n" for number in range(20))
        guess = client.ask(long_guess, suffix=document.after, session=SESSION, priority="background", max_tokens=50)
        await document.read_in_background(N_UBATCH)
        document.before += "x"
        key = await document.ask()
        ended = await client.done(guess)

    assert ended.finish_reason == "cancelled"
    assert key.evaluated_tokens <= 3
    assert key.completion_tokens == 4
    assert sum(trace.discarded()) <= N_UBATCH
