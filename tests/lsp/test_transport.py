"""The threads at the pipes: a client that does not read, bytes that do not belong, end-of-file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from botframework.lsp.framing import Fault
from botframework.lsp.transport import BEHIND_BYTES, StdoutPump, encode_json, parse
from support.lsp_client import DAEMON, LspClient, daemon_environment, frame, running_daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]
    Journal = Callable[[], list[dict[str, Any]]]


class Pipe:
    """A pump on a pipe that nobody reads until asked."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.behind, self.caught_up, self.broken = (threading.Event() for _ in range(3))
        self.pump = StdoutPump(
            self.writing, on_behind=self.behind.set, on_caught_up=self.caught_up.set, on_broken=self.broken.set
        )
        self.pump.start()

    def block(self) -> None:
        """Fill the pipe, so that what comes now stays in the queue."""
        self.pump.send(b"x" * 1_000_000)
        end = time.monotonic() + 5
        while self.pump._queue and time.monotonic() < end:
            pass

    def read(self, until: bytes) -> list[Any]:
        """Everything up to the message that ends with ``until``, parsed; the filling is left out."""
        data = b""
        while not data.endswith(until):
            data += os.read(self.reading, 1 << 20)
        messages = []
        while data:
            header, _, rest = data.partition(b"\r\n\r\n")
            size = int(header.split(b":")[1])
            if not rest.startswith(b"x"):
                messages.append(json.loads(rest[:size]))
            data = rest[size:]
        return messages

    def close(self) -> None:
        """End the thread: a pipe without a reader breaks."""
        os.close(self.reading)
        self.pump.send(b"{}")
        assert self.broken.wait(5)
        self.pump.join(5)
        os.close(self.writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pump on a pipe."""
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_messages_keep_their_order(pipe: Pipe) -> None:
    """What is queued first is written first."""
    for number in range(1_000):
        pipe.pump.send(b"%d" % number)
    pipe.pump.send(b'"end"')

    assert pipe.read(b'"end"') == [*range(1_000), "end"]


def test_tokens_of_one_stream_travel_together_when_the_client_is_slow(pipe: Pipe) -> None:
    """Queued pieces of a stream become one; streams are not mixed, and nothing overtakes its own end."""
    pipe.block()
    for index in range(100):
        pipe.pump.send_token("a", f"{index} ", index)
        pipe.pump.send_token("b", "b", index)
        pipe.pump.send_token(1, "n", index)
        pipe.pump.send_token("1", "s", index)
    pipe.pump.send(b'"end"')
    values = {json.dumps(m["params"]["token"]): m["params"]["value"] for m in pipe.read(b'"end"')[:-1]}

    assert values == {
        '"a"': {"kind": "token", "text": "".join(f"{n} " for n in range(100)), "index": 0},
        '"b"': {"kind": "token", "text": "b" * 100, "index": 0},
        "1": {"kind": "token", "text": "n" * 100, "index": 0},
        '"1"': {"kind": "token", "text": "s" * 100, "index": 0},
    }


def test_a_heartbeat_takes_the_place_of_the_one_that_waits(pipe: Pipe) -> None:
    """A client that was away gets one heartbeat, the last, in the place of the first."""
    pipe.block()
    for number in range(100):
        pipe.pump.send(b'{"beat": %d}' % number, replaces="heartbeat")
        if number == 0:
            pipe.pump.send(b'"between"')
    pipe.pump.send(b'"end"')

    assert pipe.read(b'"end"') == [{"beat": 99}, "between", "end"]


def test_the_queue_tells_when_it_is_long_and_when_it_is_short_again(pipe: Pipe) -> None:
    """More than 1 MiB queued is told at once, less than 256 KiB again too."""
    pipe.pump.send(b'"%b"' % (b"x" * BEHIND_BYTES))
    assert pipe.behind.is_set()
    assert not pipe.caught_up.is_set()
    pipe.pump.send(b'"end"')
    pipe.read(b'"end"')
    assert pipe.caught_up.wait(5)
    assert pipe.pump.drain(5)
    assert pipe.pump.queued_bytes == 0


def test_drain_gives_up_on_a_client_that_does_not_read(pipe: Pipe) -> None:
    """Leaving does not wait for somebody who does not listen."""
    pipe.block()
    assert not pipe.pump.drain(0.05)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a": 1e999}', {"a": float("inf")}),
        (b'{"$ref": 1, "class": 2, "123": 3}', {"$ref": 1, "class": 2, "123": 3}),
    ],
)
def test_json_is_read_with_patience(data: bytes, expected: Any) -> None:
    """What other JSON readers accept is accepted, so that its request can be answered."""
    assert parse(data) == expected


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5_000, b'"\xed\xa0\x80"'])
def test_json_that_is_none_becomes_a_fault(data: bytes) -> None:
    """Nothing raises."""
    assert isinstance(parse(data), Fault)


def test_lone_surrogates_can_be_sent() -> None:
    """As escapes: UTF-8 has no other way."""
    assert json.loads(encode_json({"a": "\ud800"})) == {"a": "\ud800"}


async def ready(client: LspClient) -> None:
    """Initialize and wait for the made-up model."""
    await client.initialize()
    await client.notification("$/botframework/modelReady")


def rss(client: LspClient) -> int:
    """Resident memory of the daemon."""
    return int(Path(f"/proc/{client.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def fill_stdout(client: LspClient, journal: Journal) -> int | str:
    """Make the daemon write until it waits for the client."""
    client.stop_reading()
    number = await client.post("botframework/chat", chat("tokens=5000000", "flood"))
    await client.until_journal(lambda: any(entry["event"] == "pause" for entry in journal()))
    return number


def chat(text: str, token: str | None = None) -> dict[str, Any]:
    """Parameters of a chat request."""
    params: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    return params if token is None else params | {"partialResultToken": token}


async def saw(client: LspClient, journal: Journal, event: str, times: int) -> None:
    """Wait until the router saw something so many times."""
    await client.until_journal(lambda: sum(entry["event"] == event for entry in journal()) >= times)


async def test_cancel_while_the_client_does_not_read(fake: Fake, journal: Journal) -> None:
    """Check 8: a cancel reaches the generation within 50 ms though stdout is blocked."""
    delays = []
    async with fake() as client:
        await ready(client)
        flood = await fill_stdout(client, journal)
        for turn in range(20):
            number = await client.post("botframework/chat", chat("tokens=10 pause_ms=60000", f"t{turn}"))
            await saw(client, journal, "request", turn + 2)
            sent_at = time.monotonic()
            await client.notify("$/cancelRequest", {"id": number})
            await saw(client, journal, "cancel", turn + 1)
            delays.append(journal()[-1]["at"] - sent_at)
        client.go_on_reading()
        await client.notify("$/cancelRequest", {"id": flood})
        await client.answer(flood)

    # The median, as long as other processes share the cores: the promise is about what the daemon does, not the OS.
    assert sorted(delays)[len(delays) // 2] <= 0.05


async def test_back_pressure(fake: Fake, journal: Journal) -> None:
    """Check 9, the short form: a sleeping reader costs 8 MB at most, and afterwards not a token is missing."""
    await sleeping_reader(fake, journal, seconds=2.0)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_back_pressure_at_length(fake: Fake, journal: Journal) -> None:
    """Check 9: the reader sleeps for 60 s."""
    await sleeping_reader(fake, journal, seconds=60.0)


async def sleeping_reader(fake: Fake, journal: Journal, seconds: float) -> None:
    """300,000 tokens for a client that sleeps: 2 MB, far more than the pipe and the client's own buffer hold."""
    async with fake() as client:
        await ready(client)
        await client.request("botframework/chat", chat("tokens=2000", "warm"))
        before = rss(client)
        client.stop_reading()
        number = await client.post("botframework/chat", chat("tokens=300000", "many"))
        await client.until_journal(lambda: any(entry["event"] == "pause" for entry in journal()))
        end, highest = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            highest = max(highest, rss(client))
            await asyncio.sleep(0.1)
        client.go_on_reading()
        await client.answer(number, timeout_s=60)
        text = "".join(value["text"] for value in client.progress["many"])
        indexes = [value["index"] for value in client.progress["many"]]

        assert highest - before <= 8 << 20
        assert text == "".join(f"{n} " for n in range(300_000))
        assert indexes == sorted(set(indexes))
        assert len(indexes) < 150_000
        assert await client.leave() == 0


async def test_heartbeats_do_not_pile_up(fake: Fake, journal: Journal) -> None:
    """A client that was away gets few heartbeats when it comes back, not those of all the time."""
    async with fake("--set", "heartbeatS=0.1") as client:
        await ready(client)
        number = await fill_stdout(client, journal)
        before = len([m for m in client.messages if m.get("method") == "$/botframework/heartbeat"])
        await asyncio.sleep(1.5)  # the passing of heartbeats is what is tested
        client.go_on_reading()
        await client.notify("$/cancelRequest", {"id": number})
        await client.answer(number)

        # One that was replaced all the time, one or two that were in the pipe, and those since.
        assert len([m for m in client.messages if m.get("method") == "$/botframework/heartbeat"]) - before <= 8


async def test_stdout_carries_protocol_bytes_only(fake: Fake) -> None:
    """Check 10: print, C output, a child's echo, and printing while being imported reach stderr, not the client."""
    async with fake(noise=True) as client:
        await ready(client)
        await client.request("botframework/chat", chat("tokens=1"))
        assert await client.leave() == 0
        await client.until(lambda: True)

        assert client.foreign == b""
        for way in (b"print: ", b"os.write: ", b"puts: ", b"echo: "):
            assert client.stderr.count(way) == 3, way


async def test_a_blocked_stderr_blocks_nothing(runtime_dir: Path) -> None:
    """A client that never reads our stderr is served all the same."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 65_536)
    os.set_blocking(write_end, True)
    process = await asyncio.create_subprocess_exec(
        *DAEMON,
        "--log-level",
        "debug",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=write_end,
        env=daemon_environment(runtime_dir, BOTFRAMEWORK_MODEL="/no/such.gguf"),
    )
    os.close(write_end)
    assert process.stdin is not None
    assert process.stdout is not None
    params: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}
    process.stdin.write(frame({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}))
    header = await asyncio.wait_for(process.stdout.readuntil(b"\r\n\r\n"), 20)
    process.stdin.close()

    assert await asyncio.wait_for(process.wait(), 5) == 1
    assert header.startswith(b"Content-Length")
    os.close(read_end)
    await process.stdout.read()
    process._transport.close()  # type: ignore[attr-defined]
    await asyncio.sleep(0)


async def test_a_client_that_closes_its_reading_end(fake: Fake) -> None:
    """A broken stdout ends the process in silence."""
    async with fake() as client:
        await ready(client)
        assert client.process.stdout is not None
        client.process.stdout._transport.close()  # type: ignore[attr-defined]
        assert await client.wait_exit(timeout_s=5) == 1
        assert b"Traceback" not in client.stderr


async def test_a_large_document_opens(fake: Fake) -> None:
    """A didOpen of 50 MB works, and the daemon answers right after."""
    async with fake() as client:
        await ready(client)
        await client.open("file:///big", "x = 1\n" * 8_000_000 + "tokens=2")
        result = await client.result(await client.inline("file:///big", 8_000_000, 8))

        assert result["items"][0]["insertText"] == "0 1"
        assert await client.leave() == 0


async def test_running_daemon_needs_no_arguments_but_stdio(runtime_dir: Path) -> None:
    """The real daemon, without a model, starts, answers, and leaves."""
    env = daemon_environment(runtime_dir, BOTFRAMEWORK_MODEL="/no/such.gguf")
    async with running_daemon(env=env) as client:
        await client.initialize()
        await client.notification("$/botframework/heartbeat", lambda params: params["state"] == "error")
        assert await client.leave() == 0
