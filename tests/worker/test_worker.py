"""The worker through its socket: a real process, a real GGUF, real llama.cpp."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from botframework.wire import messages as wire
from botframework.wire.flight import read_flight
from botframework.worker import watchdog
from support.gguf_factory import tiny_llama, tiny_mamba
from support.worker_process import load_model, worker_process

if TYPE_CHECKING:
    from pathlib import Path

GONE_S = 0.2
"""The promise: nothing is left 200 ms after the last connection."""

LONG = "value = compute(argument)\n" * 60


async def test_an_infill_streams_and_ends_where_the_model_ends(runtime_dir: Path, alphabet_model: Path) -> None:
    """Tokens arrive in order, whole, and the end-of-generation token ends the answer without showing up."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        loaded = await client.greet(load_model(alphabet_model))
        done = await client.done(client.ask("x = ", suffix="\n"))

    frames = [message for message in client.received if isinstance(message, wire.Token)]
    assert loaded.model.can_infill
    assert "".join(frame.text for frame in frames) == "abcdefghijklmnopqrstuvwxyz"
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert (done.finish_reason, done.text, done.usage.completion_tokens) == ("stop", "", 26)


async def test_without_streaming_the_text_comes_whole(runtime_dir: Path, alphabet_model: Path) -> None:
    """``stream=False`` sends no token frames and the text in the end."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(alphabet_model))
        done = await client.done(client.chat("hello", stream=False, priority="chat"))

    assert done.text == "abcdefghijklmnopqrstuvwxyz"
    assert not any(isinstance(message, wire.Token) for message in client.received)


async def test_a_stop_string_ends_the_answer_before_it(runtime_dir: Path, alphabet_model: Path) -> None:
    """A stop string across three tokens is found, and none of it is streamed."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(alphabet_model))
        number = client.ask("x", stop=("klm",))
        done = await client.done(number)

    assert (client.text(number), done.finish_reason) == ("abcdefghij", "stopString")


async def test_a_session_is_read_only_from_the_first_difference(runtime_dir: Path, tiny_model: Path) -> None:
    """The second request of a session evaluates what changed; without a session everything is read again."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        prefix = "def add(a, b):\n    return a"
        first = await client.done(client.ask(prefix, session="doc", max_tokens=3))
        second = await client.done(client.ask(prefix + " +", session="doc", max_tokens=3))
        anonymous = await client.done(client.ask(prefix + " +", max_tokens=3))
        sessions = await client.sessions()
        closed = await client.sessions(close="doc")

    assert first.usage.evaluated_tokens == first.usage.prompt_tokens
    assert second.usage.evaluated_tokens <= 5
    assert second.usage.cached_tokens + second.usage.evaluated_tokens == second.usage.prompt_tokens
    assert anonymous.usage.cached_tokens == 0
    assert list(sessions) == ["doc"]
    assert closed == {}


async def test_connections_are_strangers(runtime_dir: Path, tiny_model: Path) -> None:
    """Two connections with the same session name and request ids see nothing of each other."""
    async with worker_process(runtime_dir) as worker:
        one, two = worker.first, await worker.connect()
        await one.greet(load_model(tiny_model))
        await two.greet(load_model(tiny_model))
        prefix = "def add(a, b):\n"
        await one.done(one.ask(prefix, session="doc", max_tokens=3))
        theirs = await two.done(two.ask(prefix, session="doc", max_tokens=3))
        running = one.ask(prefix, max_tokens=400)
        two.send(wire.Cancel(id=running))
        await two.sessions(close="doc")
        finished = await one.done(running)

        assert theirs.usage.cached_tokens == 0
        assert finished.finish_reason == "length"
        assert list(await one.sessions()) == ["doc"]


async def test_other_load_parameters_are_refused_by_name(runtime_dir: Path, tiny_model: Path) -> None:
    """A client that wants the model loaded otherwise is told which parameters differ; the first client goes on."""
    async with worker_process(runtime_dir) as worker:
        one, two = worker.first, await worker.connect()
        await one.greet(load_model(tiny_model))
        await two.shake_hands()
        two.send(load_model(tiny_model, n_ctx_chat=1_024))
        refused = await two.wait_type(wire.LoadFailed)
        await one.done(one.ask("x", max_tokens=2))

    assert "n_ctx_chat" in refused.message


async def test_a_cancelled_prompt_frees_the_engine(runtime_dir: Path, slow_model: Path) -> None:
    """Cancelling inside a long prompt ends the request well before the prompt would have been read.

    What was read stays in the session, and the next request of the session continues from there.
    """
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(slow_model, n_ctx_chat=4_096))
        whole = await client.done(client.chat(LONG * 2, session="w", max_tokens=1))
        await client.sessions(close="w")
        number = client.chat(LONG * 2, session="s", max_tokens=1)
        async with asyncio.timeout(30):
            while (await client.stats()).kv_tokens < 100:
                pass
        began = time.monotonic()
        client.send(wire.Cancel(id=number))
        cancelled = await client.done(number)
        took_ms = (time.monotonic() - began) * 1000
        again = await client.done(client.chat(LONG * 2, session="s", max_tokens=1))

    assert cancelled.finish_reason == "cancelled"
    assert took_ms < whole.timings.prompt_ms / 2
    assert again.usage.cached_tokens >= 64
    assert (
        again.usage.evaluated_tokens
        == again.usage.prompt_tokens + cancelled.usage.evaluated_tokens - again.usage.cached_tokens
    )


async def test_a_completion_overtakes_a_chat(runtime_dir: Path, slow_model: Path) -> None:
    """A completion that arrives during a chat's prompt is answered first, and the chat loses nothing."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(slow_model, n_ctx_chat=4_096))
        chat = client.chat(LONG * 2, max_tokens=30)
        async with asyncio.timeout(30):
            while (await client.stats()).kv_tokens < 64:
                pass
        await client.done(client.ask("x = ", max_tokens=3))
        chat_has_text = bool(client.text(chat))
        done = await client.done(chat)

    assert not chat_has_text
    assert done.usage.completion_tokens == 30


async def test_a_flood_of_completions_does_not_silence_a_chat(runtime_dir: Path, slow_model: Path) -> None:
    """While one connection sends completions without a pause, another one's chat still comes to its end."""
    async with worker_process(runtime_dir) as worker:
        flood, victim = worker.first, await worker.connect()
        await flood.greet(load_model(slow_model))
        await victim.greet(load_model(slow_model))
        chat = victim.chat("hello", max_tokens=4)

        async def keep_asking() -> None:
            while True:
                await flood.end_of(flood.ask(LONG, max_tokens=8))

        tasks = [asyncio.create_task(keep_asking()) for _ in range(3)]
        done = await victim.done(chat)
        for task in tasks:
            task.cancel()

    assert done.usage.completion_tokens == 4


async def test_beyond_its_share_of_the_queue_a_connection_is_refused_at_once(
    runtime_dir: Path, slow_model: Path
) -> None:
    """The queue is bounded: what is too much gets ``ServerBusy`` with a time to try again, and the rest is answered."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(slow_model))
        numbers = [client.ask(LONG[:200], max_tokens=2) for _ in range(60)]
        ends = [await client.end_of(number) for number in numbers]

    refused = [end for end in ends if isinstance(end, wire.Failure)]
    assert len(refused) == 60 - 32
    assert {end.kind for end in refused} == {"ServerBusy"}
    assert all(end.data["retryAfterMs"] > 0 for end in refused)


async def test_a_deadline_ends_with_what_is_there(runtime_dir: Path, slow_model: Path) -> None:
    """At its deadline a request ends with its text so far; without any text it is an error."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(slow_model, n_ctx_chat=4_096))
        some = await client.done(client.ask("x", max_tokens=1_000, deadline_ms=400))
        nothing = await client.failure(client.chat(LONG * 2, deadline_ms=30))

    assert some.finish_reason in ("deadline", "length")
    assert some.usage.completion_tokens > 0
    assert nothing.kind == "DeadlineExceeded"


async def test_a_client_that_does_not_read_disturbs_nobody(runtime_dir: Path, slow_model: Path) -> None:
    """A connection that stops reading is paused alone; another one's answers keep coming."""
    async with worker_process(runtime_dir) as worker:
        deaf, other = worker.first, await worker.connect()
        await deaf.greet(load_model(slow_model))
        await other.greet(load_model(slow_model))
        deaf.connection.pause_reading()
        for _ in range(4):
            deaf.ask("x", max_tokens=1_000)

        done = await other.done(other.ask("y", max_tokens=5))

    assert done.usage.completion_tokens == 5


@pytest.mark.parametrize("moment", ["loading", "computing", "idle"])
async def test_the_worker_ends_with_its_last_connection(runtime_dir: Path, slow_model: Path, moment: str) -> None:
    """The process and its socket are gone 200 ms after the last connection, whatever it was doing."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        if moment == "loading":
            client.send(load_model(slow_model))
            await client.wait_type(wire.LoadProgress)
        else:
            await client.greet(load_model(slow_model))
        if moment == "computing":
            client.chat(LONG, max_tokens=500)
            await client.stats()

        client.connection.abort()
        began = time.monotonic()
        code = await worker.exit_code()

        assert code == 0
        assert time.monotonic() - began < GONE_S
        assert not worker.socket_path.exists()


async def test_the_starter_may_leave(runtime_dir: Path, tiny_model: Path) -> None:
    """When the connection that started the worker ends, the others go on."""
    async with worker_process(runtime_dir) as worker:
        other = await worker.connect()
        await worker.first.greet(load_model(tiny_model))
        await other.greet(load_model(tiny_model))
        worker.first.connection.abort()

        done = await other.done(other.ask("x", max_tokens=3))

        assert done.usage.completion_tokens == 3
        assert (await other.stats()).clients == 1


async def test_keep_alive_holds_the_worker(runtime_dir: Path, tiny_model: Path) -> None:
    """A client that asked for it finds the worker, and the model in it, after it was gone."""
    async with worker_process(runtime_dir, keep_alive_s=20.0) as worker:
        await worker.first.greet(load_model(tiny_model))
        pid = worker.process.pid
        worker.first.connection.abort()
        again = await worker.connect()
        await again.greet(load_model(tiny_model))

        assert (await again.wait_type(wire.Welcome)).pid == pid


async def test_a_death_tells_who_was_computing(runtime_dir: Path, slow_model: Path) -> None:
    """After SIGKILL in the middle of a call the flight recorder names the request in it, and nobody else."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(slow_model, n_ctx_chat=4_096))
        client.chat(LONG * 2, fingerprint=b"poison" + b"\0" * 10)
        async with asyncio.timeout(30):
            while (await client.stats()).kv_tokens < 64:
                pass
        # Stopped between two looks, so that the call that is running is still running when the signal kills.
        os.kill(worker.process.pid, signal.SIGKILL)
        await worker.exit_code()
        record = read_flight(worker.flight_path)

    assert record is not None
    assert record.phase == "serving"
    assert record.pid == worker.process.pid
    assert record.fingerprints in ((b"poison" + b"\0" * 10,), ())


HANGING = """
import threading
from botframework.worker import llama, watchdog
watchdog.HANG_LIMIT_S, watchdog.HANG_FACTOR = 1.0, 0.0
really_decode = llama.Context.decode_chunk
def decode_chunk(self, sequence, start, tokens, *, output):
    if len(tokens) == 9:
        threading.Event().wait()
    return really_decode(self, sequence, start, tokens, output=output)
llama.Context.decode_chunk = decode_chunk
"""


async def test_a_hung_call_ends_the_worker_by_its_own_watchdog(runtime_dir: Path, tiny_model: Path) -> None:
    """Check 23, inside the worker: a call that never returns ends the process and leaves the reason."""
    async with worker_process(runtime_dir, code=HANGING) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        for length in range(1, 12):
            client.ask("\x01" * length, max_tokens=1)
        code = await worker.exit_code()
        record = read_flight(worker.flight_path)

    assert code == watchdog.EXIT_CODE
    assert record is not None
    assert "did not come back" in record.last_words


PONDERING = """
import time
from botframework.worker import llama, watchdog
watchdog.HANG_LIMIT_S, watchdog.HANG_FACTOR = 2.0, 0.0
really_decode = llama.Context.decode_chunk
def decode_chunk(self, sequence, start, tokens, *, output):
    if len(tokens) == 9:
        time.sleep(1.0)
    return really_decode(self, sequence, start, tokens, output=output)
llama.Context.decode_chunk = decode_chunk
"""


async def test_a_worker_that_was_stopped_does_not_hang(runtime_dir: Path, tiny_model: Path) -> None:
    """Time in which the whole process stood still (a frozen container) is no sign of a hung call."""
    async with worker_process(runtime_dir, code=PONDERING) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        number = client.ask("\x01" * 6, max_tokens=1, fingerprint=b"p" * 16)
        async with asyncio.timeout(10):
            while not ((record := read_flight(worker.flight_path)) and record.fingerprints):
                await client.stats()
        os.kill(worker.process.pid, signal.SIGSTOP)
        await asyncio.sleep(3.0)  # Longer than a call may take.
        os.kill(worker.process.pid, signal.SIGCONT)

        await client.done(number)


ASSERTING = """
import ctypes
from llama_cpp import llama_cpp as lib
from botframework.worker import llama
really_decode = llama.Context.decode_chunk
def decode_chunk(self, sequence, start, tokens, *, output):
    if len(tokens) == 9:
        lib._lib.ggml_abort(b"some.cpp", 7, b"the cache is a lie")
    return really_decode(self, sequence, start, tokens, output=output)
llama.Context.decode_chunk = decode_chunk
"""


async def test_an_assertion_leaves_its_words(runtime_dir: Path, tiny_model: Path) -> None:
    """When llama.cpp aborts, its own words and the request are in the flight recorder."""
    async with worker_process(runtime_dir, code=ASSERTING) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        for length in range(1, 12):
            client.ask("\x01" * length, max_tokens=1, fingerprint=bytes([length]) * 16)
        code = await worker.exit_code()
        record = read_flight(worker.flight_path)

    assert code == -signal.SIGABRT
    assert record is not None
    assert "the cache is a lie" in record.last_words
    assert len(record.fingerprints) == 1


async def test_a_missing_greeting_ends_the_connection(runtime_dir: Path, tiny_model: Path) -> None:
    """Whoever does not shake hands first is dropped; the worker and the others stay."""
    async with worker_process(runtime_dir) as worker:
        stranger = await worker.connect()
        stranger.send(wire.GetStats(id=1))
        async with asyncio.timeout(10):
            await stranger.lost
        await worker.first.greet(load_model(tiny_model))


async def test_another_protocol_is_told_and_let_go(runtime_dir: Path) -> None:
    """A peer of another protocol version learns ours and is disconnected."""
    async with worker_process(runtime_dir) as worker:
        stranger = await worker.connect()
        welcome = await stranger.shake_hands(protocol=999)
        async with asyncio.timeout(10):
            await stranger.lost

    assert welcome.protocol == wire.PROTOCOL_VERSION


async def test_a_request_waits_for_its_turn_when_all_sequences_are_taken(runtime_dir: Path, tiny_model: Path) -> None:
    """More requests than sequences: those that wait are started when others end, without another event."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model, n_seq_fim=1))
        numbers = [client.ask("x" * length, max_tokens=20) for length in range(1, 6)]
        ends = [await client.done(number) for number in numbers]

    assert [end.usage.completion_tokens for end in ends] == [20] * 5


async def test_parameters_that_the_wire_lets_through_are_refused(runtime_dir: Path, tiny_model: Path) -> None:
    """A token that the vocabulary does not have is named in the refusal; the next request is served."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        refused = await client.failure(client.ask("x", sampling=wire.Sampling(logit_bias={"9999999": 1.0})))
        await client.done(client.ask("x", max_tokens=2))

    assert refused.kind == "InvalidParams"
    assert "9999999" in refused.message


async def test_every_sampler_is_accepted_by_llama_cpp(runtime_dir: Path, tiny_model: Path) -> None:
    """A request that uses the whole chain is answered, twice alike with the same seed."""
    sampling = wire.Sampling(
        temperature=0.8,
        top_k=20,
        top_p=0.9,
        min_p=0.05,
        repeat_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.2,
        seed=7,
        logit_bias={"5": -100.0},
        infill=True,
    )
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        texts = []
        for _ in range(2):
            number = client.ask("x = ", max_tokens=24, sampling=sampling)
            await client.done(number)
            texts.append(client.text(number))

    assert texts[0] == texts[1]


async def test_a_model_without_fim_tokens_says_so(runtime_dir: Path, tmp_path: Path) -> None:
    """Completion on a model that cannot infill is refused with the reason, and chat still works."""
    model = tiny_llama(tmp_path / "chat.gguf", fim=False)
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        loaded = await client.greet(load_model(model))
        refused = await client.failure(client.ask("x"))
        await client.done(client.chat("hello", max_tokens=3))

    assert not loaded.model.can_infill
    assert refused.kind == "ModelCannotInfill"


async def test_a_recurrent_model_is_served_from_the_start(runtime_dir: Path, tmp_path: Path) -> None:
    """A model whose cache cannot cut its tail is reported as such; its sessions are read anew and stay right."""
    model = tiny_mamba(tmp_path / "mamba.gguf")
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        loaded = await client.greet(load_model(model))
        first = await client.done(client.chat("hello there", session="s", max_tokens=5, stream=False))
        again = await client.done(client.chat("hello there", session="s", max_tokens=5, stream=False))

    assert not loaded.model.can_cut_tail
    assert (again.usage.cached_tokens, again.text) == (0, first.text)


async def test_a_long_chat_drops_its_oldest_turns(runtime_dir: Path, tiny_model: Path) -> None:
    """Whole turns are dropped from the front until the chat fits, and the answer says how many messages."""
    turns = ["question number one " * 4, "answer number one " * 4] * 4 + ["the last question"]
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        trimmed = await client.done(client.chat(*turns, max_tokens=4))
        refused = await client.failure(client.chat(*turns, max_tokens=4, trim=False))

    assert trimmed.dropped_messages > 0
    assert trimmed.dropped_messages % 2 == 0
    assert refused.kind == "ContextOverflow"
    assert refused.data["promptTokens"] > refused.data["contextTokens"]


async def test_a_chat_with_a_foreign_token_is_refused_too(runtime_dir: Path, tiny_model: Path) -> None:
    """The limits of the vocabulary hold for chats as they do for completions."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        refused = await client.failure(client.chat("x", sampling=wire.Sampling(logit_bias={"9999999": 1.0})))
        await client.done(client.chat("x", max_tokens=2))

    assert refused.kind == "InvalidParams"
    assert "9999999" in refused.message


async def test_a_refused_twin_leaves_the_first_request_alone(runtime_dir: Path, slow_model: Path) -> None:
    """A second request with an id in use is refused; the first one still counts and can still be cancelled."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(slow_model))
        for _ in range(2):
            client.send(wire.FimRequest(id=900, prefix="x", max_tokens=1_500))
        refused = await client.failure(900)
        client.send(wire.Cancel(id=900))
        done = await client.wait_for(lambda message: isinstance(message, wire.Done) and message.id == 900)

    assert refused.kind == "InvalidRequest"
    assert done.finish_reason == "cancelled"


async def test_a_failed_load_is_not_kept_alive(runtime_dir: Path, tiny_model: Path, tmp_path: Path) -> None:
    """A worker without a model ends at once, however long its client wanted it to stay: the next one may succeed."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model.read_bytes()[:20_000])
    async with worker_process(runtime_dir, keep_alive_s=60.0) as worker:
        worker.first.send(load_model(broken))
        await worker.first.wait_type(wire.LoadFailed)

        assert await worker.exit_code(10) == 0


async def test_only_who_asked_for_the_model_hears_of_it_and_once(runtime_dir: Path, slow_model: Path) -> None:
    """A connection that has not asked yet is told nothing of the loading, and then the outcome once."""
    async with worker_process(runtime_dir) as worker:
        other = await worker.connect()
        await other.shake_hands()
        await worker.first.greet(load_model(slow_model))
        await other.stats()
        before = [message for message in other.received if isinstance(message, wire.LoadProgress | wire.Loaded)]
        await other.greet(load_model(slow_model))
        await other.stats()

    assert before == []
    assert sum(isinstance(message, wire.Loaded) for message in other.received) == 1


async def test_a_chat_and_a_completion_of_one_name_are_counted_apart(runtime_dir: Path, slow_model: Path) -> None:
    """Both contexts may hold a session of the same name; each answer counts the tokens read for its own."""
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        await client.greet(load_model(slow_model, n_ctx_chat=4_096))
        chat = client.chat(LONG * 2, session="s", max_tokens=2)
        async with asyncio.timeout(30):
            while (await client.stats()).kv_tokens < 100:
                pass
        overtaking = await client.done(client.ask("x = ", session="s", max_tokens=2))
        overtaken = await client.done(chat)

    assert overtaking.usage.evaluated_tokens == overtaking.usage.prompt_tokens
    assert overtaken.usage.evaluated_tokens == overtaken.usage.prompt_tokens


async def test_many_small_requests_do_not_keep_a_large_one_waiting(runtime_dir: Path, tiny_model: Path) -> None:
    """A request that needs the cells of others gets them, though another connection always has small ones ready."""
    async with worker_process(runtime_dir) as worker:
        flood, victim = worker.first, await worker.connect()
        # One context of 512 cells, of which the large request needs nearly all.
        await flood.greet(load_model(tiny_model, n_ctx_fim=512))
        await victim.greet(load_model(tiny_model, n_ctx_fim=512))

        async def keep_asking() -> None:
            while True:
                await flood.end_of(flood.ask("y = ", max_tokens=60))

        tasks = [asyncio.create_task(keep_asking()) for _ in range(3)]
        await flood.wait_type(wire.Token)
        done = await victim.done(victim.ask(LONG, max_tokens=500))
        for task in tasks:
            task.cancel()

    assert done.finish_reason == "length"


async def test_a_flood_of_questions_keeps_nobody_from_computing(runtime_dir: Path, tiny_model: Path) -> None:
    """Questions about sessions are bounded per connection: too many are refused, and the engine goes on for others."""
    async with worker_process(runtime_dir) as worker:
        flood, other = worker.first, await worker.connect()
        await flood.greet(load_model(tiny_model))
        await other.greet(load_model(tiny_model))
        running = other.ask("y", max_tokens=100)
        for number in range(10_000, 15_000):
            flood.send(wire.ListSessions(id=number))
        done = await other.done(running)
        await flood.wait_for(lambda message: getattr(message, "id", 0) == 14_999)
        first = await flood.wait_type(wire.Sessions)
        refused = await flood.wait_type(wire.Failure)

    assert done.usage.completion_tokens == 100
    assert first.id == 10_000
    assert refused.kind == "ServerBusy"


BREAKING = """
from botframework.worker import llama, requests
really_feed, really_logits = requests.Job.feed, llama.Context.logits
has_ended = [False]
def feed(self, piece, logprob=0.0):
    has_ended[0] = self.generated + 1 >= self.max_tokens
    return really_feed(self, piece, logprob)
def logits(self, row):
    if row == 1 and has_ended[0]:
        raise RuntimeError("the second row is broken")
    return really_logits(self, row)
requests.Job.feed, llama.Context.logits = feed, logits
"""


async def test_a_step_that_breaks_gives_nobody_two_answers(runtime_dir: Path, tiny_model: Path) -> None:
    """When a shared step fails after one of its requests has ended, that one is not answered again."""
    async with worker_process(runtime_dir, code=BREAKING) as worker:
        client = worker.first
        await client.greet(load_model(tiny_model))
        numbers = [client.ask("x", max_tokens=40), client.ask("y", max_tokens=60)]
        for number in numbers:
            await client.end_of(number)
        await client.done(client.ask("z", max_tokens=3))

    ends = [message.id for message in client.received if isinstance(message, wire.Done | wire.Failure)]
    assert sorted(ends) == sorted({*ends})
    assert any(isinstance(message, wire.Failure) for message in client.received)
