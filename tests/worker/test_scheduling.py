"""Who computes when: typing goes before chat, the newest key before the older ones, and nothing read is lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from botframework.wire import messages as wire
from botframework.worker.calls import YIELDING_CHUNK
from support.call_trace import TRACING, CallTrace
from support.gguf_factory import tiny_llama
from support.worker_process import PATIENCE_S, WorkerClient, load_model, worker_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FIM_CELLS = 2_048
CHAT_CELLS = 4_096
CHAT = "value = compute(argument)\n" * 60
CODE = "".join(f"value_{number} = self.compute({number}, other)\n" for number in range(60))
"""Some two thousand tokens: more than any window."""
KEY_S = 0.05
"""Between two keys of somebody who types fast."""

LARGE_WINDOWS = """
from botframework.worker import window
window.SHORT_TOKENS = window.FULL_TOKENS = (600, 600)
"""
"""However fast the machine is: many micro-batches, and none of them in the background."""
SLOWED = """
import time
from botframework.worker import llama
fast_decode = llama.Context.decode_chunk
def slow_decode(self, sequence, start, tokens, *, output):
    time.sleep(len(tokens) * 0.003)
    return fast_decode(self, sequence, start, tokens, output=output)
llama.Context.decode_chunk = slow_decode
"""
"""A machine that reads 330 tokens a second, however fast this one is; an abort in that time still ends the call."""


@pytest.fixture(scope="module")
def roomy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As tiny as the other, trained on windows of any size."""
    return tiny_llama(tmp_path_factory.mktemp("model") / "roomy.gguf", n_ctx_train=4_096)


@pytest.fixture
def trace(tmp_path: Path) -> CallTrace:
    """The calls of the test's worker, if it runs `TRACING`."""
    return CallTrace(tmp_path / "calls")


@contextlib.asynccontextmanager
async def slow_reader(runtime_dir: Path, model: Path, trace: CallTrace) -> AsyncIterator[WorkerClient]:
    """The client of a worker of 330 tokens a second with windows of 600 tokens, whose calls are traced from now on."""
    code = LARGE_WINDOWS + SLOWED + TRACING
    async with worker_process(runtime_dir, code=code, environment=trace.environment) as worker:
        # Room for such a window, whatever the model was trained on.
        await worker.first.greet(load_model(model, n_ctx_fim=4_096))
        trace.begin()
        yield worker.first


def answered_once(client: WorkerClient) -> bool:
    """Whether no request got two answers."""
    ends = [message.id for message in client.received if isinstance(message, wire.Done | wire.Failure)]
    return len(ends) == len({*ends})


# --- typing and chat --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause_s", "size"), [(KEY_S, 800), (0.0, 200)], ids=["fast", "without-a-pause"])
async def test_typing_takes_at_most_a_small_micro_batch_from_a_chat(
    runtime_dir: Path, slow_model: Path, trace: CallTrace, pause_s: float, size: int
) -> None:
    """Keys end a chat's micro-batch, each at most one of 16 tokens; none of the others is read twice.

    Its prompt gets on while somebody types without an end, and its answer is the one without typing.
    """
    async with worker_process(runtime_dir, code=TRACING, environment=trace.environment) as worker:
        typist, other = worker.first, await worker.connect()
        load = load_model(slow_model, n_ctx_fim=FIM_CELLS, n_ctx_chat=CHAT_CELLS)
        await typist.greet(load)
        await other.greet(load)
        alone = await other.done(other.chat(CHAT[:size], stream=False, max_tokens=8))
        trace.begin()
        keys = 0

        async def type_on() -> None:
            nonlocal keys
            while True:
                keys += 1
                await typist.done(typist.ask("x = 1\n" + "y" * keys, session="doc", max_tokens=1))
                await asyncio.sleep(pause_s)

        read = (await typist.stats()).prompt_tokens_read
        asked = other.chat(CHAT[:size], stream=False, max_tokens=8)
        await typist.read_more_than(read)  # Nobody has typed yet: it reads in large pieces, and no key may end those.
        typing = asyncio.create_task(type_on())
        beside = await other.done(asked, 90)
        typing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await typing
        counted = (await typist.stats()).chat_tokens_discarded

    discarded = trace.discarded(CHAT_CELLS)
    assert keys > 5
    assert counted == sum(discarded)
    assert (beside.text, beside.finish_reason) == (alone.text, "length")
    assert trace.prompt_tokens(CHAT_CELLS) == beside.usage.prompt_tokens
    assert beside.usage.evaluated_tokens == beside.usage.prompt_tokens
    assert all(tokens <= YIELDING_CHUNK for tokens in discarded)
    assert len(discarded) <= keys


async def test_a_chat_gets_on_though_every_key_comes_inside_its_micro_batch(
    runtime_dir: Path, roomy_model: Path, trace: CallTrace
) -> None:
    """On a machine on which 16 tokens take longer than the time between two keys, a chat's prompt is still read."""
    async with worker_process(runtime_dir, code=SLOWER + TRACING, environment=trace.environment) as worker:
        typist, other = worker.first, await worker.connect()
        await typist.greet(load_model(roomy_model))
        await other.greet(load_model(roomy_model))
        await typist.done(typist.ask("x = ", session="doc", max_tokens=1))
        trace.begin()

        async def type_on() -> None:
            for length in range(10_000):
                key = typist.ask("x = " + "y" * (length % 40), session="doc", max_tokens=1)
                await asyncio.sleep(KEY_S)
                typist.send(wire.Cancel(id=key))

        typing = asyncio.create_task(type_on())
        chat = await other.done(other.chat("hello " * 20, max_tokens=2))
        typing.cancel()

    assert chat.usage.prompt_tokens > 3 * YIELDING_CHUNK
    assert trace.discarded()


SLOWER = SLOWED.replace("0.003", "0.0075 * (len(tokens) > 1)")
"""16 tokens take 120 ms; a single one, as a key has, takes no time."""


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_key_inside_a_prompt_keeps_every_micro_batch_that_was_finished(
    runtime_dir: Path, roomy_model: Path, trace: CallTrace
) -> None:
    """The next key goes on where the cancelled one was, and its answer says that each token was read once."""
    async with slow_reader(runtime_dir, roomy_model, trace) as client:
        first = client.ask(CODE, session="doc", max_tokens=3)
        read = (await client.read_more_than(150)).prompt_tokens_read
        client.send(wire.Cancel(id=first))
        cancelled = await client.done(first)
        second = await client.done(client.ask(CODE + "x", session="doc", max_tokens=3))

    assert cancelled.finish_reason == "cancelled"
    assert second.usage.cached_tokens >= read
    assert second.usage.evaluated_tokens == second.usage.prompt_tokens == trace.prompt_tokens()
    assert len(trace.discarded()) <= 1


async def test_the_newest_key_wins(runtime_dir: Path, roomy_model: Path, trace: CallTrace) -> None:
    """Of keys that each take the one before back only the last is answered with text, and nothing is read twice."""
    async with slow_reader(runtime_dir, roomy_model, trace) as client:
        numbers = [client.ask(CODE, session="doc", max_tokens=3)]
        await client.read_more_than(64)
        for length in range(1, 6):
            client.send(wire.Cancel(id=numbers[-1]))
            numbers.append(client.ask(CODE + "x" * length, session="doc", max_tokens=3))
        ends = [await client.done(number) for number in numbers]

    assert [end.finish_reason for end in ends] == ["cancelled"] * 5 + ["length"]
    assert [end.usage.completion_tokens for end in ends] == [0] * 5 + [3]
    assert ends[-1].usage.evaluated_tokens == ends[-1].usage.prompt_tokens == trace.prompt_tokens()
    assert answered_once(client)


async def test_keys_faster_than_micro_batches_get_on(runtime_dir: Path, roomy_model: Path, trace: CallTrace) -> None:
    """When every key comes inside the micro-batch of the one before, the next ones are small enough to be finished."""
    async with slow_reader(runtime_dir, roomy_model, trace) as client:
        async with asyncio.timeout(PATIENCE_S):
            length = 0
            while (await client.stats()).prompt_tokens_read < 400:
                length += 1
                number = client.ask(CODE + "x" * length, session="doc", max_tokens=3)
                await asyncio.sleep(0.12)  # Less than the 192 ms of 64 tokens, more than the 48 ms of 16.
                client.send(wire.Cancel(id=number))
                assert (await client.done(number)).finish_reason == "cancelled"

    discarded = trace.discarded()
    assert discarded[0] == 64
    assert all(tokens <= YIELDING_CHUNK for tokens in discarded[1:])


# --- reading ahead ----------------------------------------------------------------------------------------------------


async def test_after_reading_ahead_a_request_reads_nothing(runtime_dir: Path, roomy_model: Path) -> None:
    """A request for no tokens answers with none, and the same text asked for in earnest costs no prompt token."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(roomy_model))
        ahead = await client.done(client.ask(CODE, session="doc", max_tokens=0))
        read = (await client.stats()).prompt_tokens_read
        asked = await client.done(client.ask(CODE, session="doc", max_tokens=5))
        fresh = await client.done(client.ask(CODE, session="other", max_tokens=5, stream=False))
        again = await client.done(client.ask(CODE, session="doc", max_tokens=5, stream=False))

    assert (ahead.finish_reason, ahead.usage.completion_tokens, ahead.text) == ("length", 0, "")
    assert read == ahead.usage.prompt_tokens
    assert asked.usage.cached_tokens == asked.usage.prompt_tokens
    assert asked.usage.completion_tokens == 5
    # What was read ahead counts for the request that it was read for, and only for that.
    assert asked.usage.evaluated_tokens == ahead.usage.prompt_tokens
    assert again.usage.evaluated_tokens == 0
    assert again.text == fresh.text


async def test_a_request_takes_over_from_reading_ahead(runtime_dir: Path, roomy_model: Path, trace: CallTrace) -> None:
    """Who asks while the prompt is read ahead ends the reading, goes on where it was, and reads nothing twice."""
    async with slow_reader(runtime_dir, roomy_model, trace) as client:
        ahead = client.ask(CODE, session="doc", max_tokens=0)
        read = (await client.read_more_than(128)).prompt_tokens_read
        asked = await client.done(client.ask(CODE, session="doc", max_tokens=3))
        ended = await client.done(ahead)

    assert ended.finish_reason == "cancelled"
    assert asked.usage.cached_tokens >= read
    assert asked.usage.evaluated_tokens == asked.usage.prompt_tokens == trace.prompt_tokens()
    assert trace.discarded() == []


# --- steps that several share -----------------------------------------------------------------------------------------


SURE_CHARS = 20
"""A step for two rounds otherwise than a step for one. So far the best token is better by far; later it may change."""


async def test_a_shared_step_is_never_aborted(runtime_dir: Path, roomy_model: Path, trace: CallTrace) -> None:
    """Cancels and arriving completions end no step that holds tokens of several: the cancelled one leaves after it."""
    async with worker_process(runtime_dir, code=TRACING, environment=trace.environment) as worker:
        client = worker.first
        await client.greet(load_model(roomy_model, n_ctx_fim=8_192))
        alone = await client.done(client.ask("x = ", max_tokens=300, stream=False))
        trace.begin()
        texts, lengths, reasons = set(), set(), set()
        for _ in range(10):
            stays, leaves = client.ask("x = ", max_tokens=300), client.ask("y = ", max_tokens=2_000)
            await _first_token(client, leaves)
            client.send(wire.Cancel(id=leaves))
            await client.done(client.ask("z = ", max_tokens=1))
            reasons.add((await client.done(leaves)).finish_reason)
            lengths.add((await client.done(stays)).usage.completion_tokens)
            texts.add(client.text(stays)[:SURE_CHARS])

    steps = [call for call in trace.calls() if not call.is_prompt]
    assert "cancelled" in reasons
    assert any(step.tokens > 1 for step in steps)
    assert {step.status.name for step in steps} == {"DONE"}
    assert lengths == {300}
    assert texts == {alone.text[:SURE_CHARS]}


async def _first_token(client: WorkerClient, number: int) -> None:
    await client.wait_for(lambda message: isinstance(message, wire.Token) and message.id == number)


UNASKED = """
from botframework.worker import llama
calm_decode, count = llama.Context.decode_chunk, [0]
def nervous_decode(self, sequence, start, tokens, *, output):
    count[0] += 1
    if count[0] % 2 and len(tokens) > 1:
        self.raise_abort()
    return calm_decode(self, sequence, start, tokens, output=output)
llama.Context.decode_chunk = nervous_decode
"""
"""Every other micro-batch ends early though nobody has cancelled anything."""


async def test_an_abort_that_nobody_asked_for_is_tried_again(
    runtime_dir: Path, roomy_model: Path, trace: CallTrace
) -> None:
    """The rule of the design: return code 2 without a cancelled request is resubmitted, and the answer is the same."""
    async with worker_process(runtime_dir) as worker:
        await worker.first.greet(load_model(roomy_model))
        calm = await worker.first.done(worker.first.ask(CODE, max_tokens=8, stream=False))
        talk = await worker.first.done(worker.first.chat(CHAT[:600], max_tokens=8, stream=False))
    # The hook is taken off for the measuring at load, which knows no aborts.
    code = TRACING + UNASKED.replace("% 2 and", "% 2 and count[0] > 40 and")
    async with worker_process(runtime_dir, code=code, environment=trace.environment) as worker:
        client = worker.first
        await client.greet(load_model(roomy_model))
        for number in range(40):
            await client.done(client.ask(f"{number}", max_tokens=1))
        nervous = await client.done(client.ask(CODE, max_tokens=8, stream=False))
        nervous_talk = await client.done(client.chat(CHAT[:600], max_tokens=8, stream=False))

    assert len(trace.discarded(FIM_CELLS)) > 1
    assert (nervous.text, nervous.usage) == (calm.text, calm.usage)
    assert (nervous_talk.text, nervous_talk.usage) == (talk.text, talk.usage)


# --- who does not read ------------------------------------------------------------------------------------------------


SOON_ABSENT = """
from botframework.wire import link
import botframework.worker.scheduler as scheduler
link.HIGH_WATER, link.LOW_WATER = 2_000, 500
scheduler.ABSENT_S = 0.2
"""
"""A client is behind after some hundred tokens, and absent soon after."""


async def _running(client: WorkerClient) -> None:
    """Wait until somebody's request has the sequence."""
    async with asyncio.timeout(PATIENCE_S):
        while not (await client.stats()).running:
            pass


@pytest.mark.parametrize(("what", "memory"), [("completion", 1 << 30), ("chat", 1 << 30), ("chat", 0)])
async def test_who_does_not_read_gives_its_cells_away(
    runtime_dir: Path, roomy_model: Path, what: str, memory: int
) -> None:
    """The only sequence goes to somebody who reads; the answer goes on where it was when its client reads again.

    Without memory for its state all of it is read again, and nothing is said twice.
    """

    def ask(client: WorkerClient, session: str, max_tokens: int) -> int:
        if what == "chat":
            return client.chat("x", session=session, max_tokens=max_tokens, stream=True)
        return client.ask("x = ", session=session, max_tokens=max_tokens, stream=True)

    async with worker_process(runtime_dir, code=SOON_ABSENT) as worker:
        deaf, other = worker.first, await worker.connect()
        cells = {"n_seq_fim": 1, "n_seq_chat": 1, "n_ctx_fim": 4_096, "n_ctx_chat": 4_096}
        for client in (deaf, other):
            await client.greet(load_model(roomy_model, parked_bytes=memory, **cells))
        alone = ask(other, "alone", 2_000)
        end = await other.done(alone)
        deaf.connection.pause_reading()
        number = ask(deaf, "doc", 2_000)
        await _running(other)
        beside = await other.done(ask(other, "mine", 5))
        stats = await other.stats()
        deaf.connection.resume_reading()
        late = await deaf.done(number)

    assert beside.usage.completion_tokens == 5
    assert (stats.queued, stats.running) == (1, 0)
    assert (late.finish_reason, late.usage.completion_tokens) == (end.finish_reason, end.usage.completion_tokens)
    if memory:
        assert deaf.text(number) == other.text(alone)
        assert late.usage.evaluated_tokens == late.usage.prompt_tokens
    else:  # What is read in one piece rounds otherwise than what was generated token by token.
        assert deaf.text(number)[:SURE_CHARS] == other.text(alone)[:SURE_CHARS]
        assert late.usage.evaluated_tokens > 2 * late.usage.prompt_tokens


# --- what nobody waits for --------------------------------------------------------------------------------------------


async def test_background_work_does_not_push_out_background_work(runtime_dir: Path, roomy_model: Path) -> None:
    """With all sequences taken, one more guess waits for its turn; somebody who waits takes the room at once."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(roomy_model, n_seq_fim=2))
        guesses = [client.ask(f"x{n} = ", priority="background", max_tokens=40) for n in range(4)]
        ends = [await client.done(guess) for guess in guesses]
        held = [client.ask(f"x{n} = ", priority="background", max_tokens=700) for n in range(2)]
        for guess in held:
            await _first_token(client, guess)
        await client.done(client.ask("y = ", max_tokens=1))
        given_up = [await client.done(guess) for guess in held]

    assert {end.finish_reason for end in ends} <= {"length", "stop"}
    assert {end.finish_reason for end in given_up} == {"cancelled"}


HOLDS = """
import os
from botframework.worker.snapshot_writer import SnapshotWriter
really_hold = SnapshotWriter.hold
def hold(self, *, held):
    with open(os.environ["HOLDS"], "a") as file:
        file.write("+" if held else "-")
    really_hold(self, held=held)
SnapshotWriter.hold = hold
"""


async def test_the_snapshot_writer_rests_while_somebody_waits(
    runtime_dir: Path, roomy_model: Path, tmp_path: Path
) -> None:
    """It is held from the first step of an answer to the last, and goes on when there is nothing to compute."""
    told = tmp_path / "holds"
    told.touch()

    async with worker_process(runtime_dir, code=HOLDS, environment={"HOLDS": str(told)}) as worker:
        client = worker.first
        await client.greet(load_model(roomy_model))
        number = client.ask("x = ", max_tokens=200)
        await _first_token(client, number)
        busy = told.read_text()
        await client.done(number)
        async with asyncio.timeout(PATIENCE_S):
            while not (rest := told.read_text()).endswith("-"):
                await client.stats()

    assert busy.endswith("+")
    assert "+-" in rest


BROKEN_ENDS = """
from botframework.worker.sampling import Utf8Stream
really_flush, ends = Utf8Stream.flush, []
def flush(self):
    ends.append(self)
    if len(ends) <= 2:
        raise IndexError("a defect")
    return really_flush(self)
Utf8Stream.flush = flush
"""


async def test_a_defect_at_the_end_of_an_answer_is_told(runtime_dir: Path, roomy_model: Path) -> None:
    """Whoever asked gets an error instead of waiting for ever, and the worker goes on with the next request."""
    async with worker_process(runtime_dir, code=BROKEN_ENDS) as worker:
        client = worker.first
        await client.greet(load_model(roomy_model))
        failed = await client.failure(client.ask("x = ", max_tokens=3))
        cancelled = client.ask("x = ", max_tokens=900)
        await _first_token(client, cancelled)
        client.send(wire.Cancel(id=cancelled))
        also_failed = await client.failure(cancelled)
        done = await client.done(client.ask("x = ", max_tokens=1))

    assert "a defect" in failed.message
    assert "a defect" in also_failed.message
    assert done.finish_reason == "length"


PLANS = """
import os
from botframework.worker.infilling import Infilling
really_plan = Infilling.plan
def plan(self, *arguments):
    with open(os.environ["PLANS"], "a") as file:
        file.write("+")
    return really_plan(self, *arguments)
Infilling.plan = plan
"""


async def test_a_prompt_is_laid_out_once(runtime_dir: Path, roomy_model: Path, tmp_path: Path) -> None:
    """However many steps a completion waits for a sequence, its text is tokenised when it has one."""
    told = tmp_path / "plans"
    async with worker_process(runtime_dir, code=PLANS, environment={"PLANS": str(told)}) as worker:
        client = worker.first
        await client.greet(load_model(roomy_model, n_seq_fim=1))
        for number in [client.ask(f"x{n} = ", max_tokens=60) for n in range(5)]:
            await client.done(number)

    assert told.read_text() == "+" * 5
