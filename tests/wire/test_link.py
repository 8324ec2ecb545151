"""The frames between daemon and worker."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botframework.errors import FrameTooLarge, WireError
from botframework.wire import link
from botframework.wire import messages as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = [
    wire.Hello(protocol=1, version="0.1.0", keep_alive_s=2.5),
    wire.FimRequest(id=1, prefix="def f(", suffix=")\n", stop=("\n",), sampling=wire.Sampling(logit_bias={"7": -1.0})),
    wire.ChatRequest(id=2, messages=(wire.ChatMessage(role="user", content="héllo 🙂"),)),
    wire.Cancel(id=2),
]


Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Both ends of a link that nobody has adopted yet."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_any_cut_of_the_stream_gives_the_same_messages(data: st.DataObject) -> None:
    """Messages come out whole and in order wherever the socket cuts the bytes."""
    stream = b"".join(map(link.encode, MESSAGES))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    decoder = link.FrameDecoder[wire.ToWorker](wire.ToWorker)

    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert [message for piece in pieces for message in decoder.feed(piece)] == MESSAGES


def test_a_giant_length_is_refused_before_it_is_read() -> None:
    """A header that announces more than the limit raises at once; nothing waits for the body."""
    with pytest.raises(FrameTooLarge, match="4294967295 bytes"):
        link.FrameDecoder[wire.ToWorker](wire.ToWorker).feed(b"\xff\xff\xff\xff")


def test_a_giant_message_is_not_sent() -> None:
    """What the peer would refuse is refused here, with its size."""
    with pytest.raises(FrameTooLarge, match="FimRequest"):
        link.encode(wire.FimRequest(id=1, prefix="x" * link.MAX_FRAME))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x81\xa1t\xa5never",
        b"\x81\xa1t\xa5hello",
        b"\x93\x01\x02\x03",
        pytest.param(b"\x83\xa1t\xa5close\xa2id\x01\xa7session\xa2\xff\xfe", id="text-that-is-not-utf-8"),
        pytest.param(b"\x82\xa1t\xa5stats\xa1x" + b"\x91" * 100_000 + b"\x01", id="deeply-nested"),
    ],
)
def test_a_foreign_body_is_a_wire_error(body: bytes) -> None:
    """Bytes that are no message of the union raise `WireError`, whatever they are."""
    with pytest.raises(WireError):
        link.FrameDecoder[wire.ToWorker](wire.ToWorker).feed(len(body).to_bytes(4, "big") + body)


async def test_a_hostile_frame_ends_the_link_and_says_why(sockets: Sockets) -> None:
    """After a frame that cannot be read no border is certain: the link ends with the reason."""
    ours, theirs = sockets
    lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    await link.adopt(ours, lambda: link.Connection(link.FrameDecoder(wire.ToWorker), lambda _: None, lost.set_result))

    theirs.sendall(b"\x00\x00\x00\x01\xc1")

    async with asyncio.timeout(5):
        assert isinstance(await lost, WireError)


async def test_a_peer_that_does_not_read_is_behind_until_it_does(sockets: Sockets) -> None:
    """`is_behind` follows the peer's reading, and catching up is told once."""
    ours, theirs = sockets
    caught_up = asyncio.Event()
    decoder = link.FrameDecoder[wire.ToWorker](wire.ToWorker)
    connection = await link.adopt(ours, lambda: link.Connection(decoder, lambda _: None, lambda _: None, caught_up.set))
    message = wire.Token(id=1, text="x" * 100_000, index=0)
    while not connection.is_behind:
        connection.send(message)

    theirs.setblocking(False)
    async with asyncio.timeout(5):
        while not caught_up.is_set():
            await asyncio.get_running_loop().sock_recv(theirs, 1_000_000)

    behind: bool = connection.is_behind
    assert not behind
    connection.abort()
    await asyncio.sleep(0)


async def test_a_message_larger_than_the_read_buffer_arrives_whole(sockets: Sockets) -> None:
    """What takes several reads is one message, and what comes behind it is not lost."""
    ours, theirs = sockets
    found: asyncio.Queue[wire.ToDaemon] = asyncio.Queue()
    decoder = link.FrameDecoder[wire.ToDaemon](wire.ToDaemon)
    reader = await link.adopt(ours, lambda: link.Connection(decoder, found.put_nowait, lambda _: None))
    peer = link.FrameDecoder[wire.ToWorker](wire.ToWorker)
    writer = await link.adopt(theirs, lambda: link.Connection(peer, lambda _: None, lambda _: None))
    large = wire.Token(id=1, text="0123456789" * link.READ_BUFFER_BYTES, index=0)
    small = wire.Token(id=1, text="x", index=1)

    writer.send(large)
    writer.send(small)

    async with asyncio.timeout(5):
        assert [await found.get(), await found.get()] == [large, small]
    reader.abort()
    writer.abort()
    await asyncio.sleep(0)


async def test_reading_a_small_message_takes_little_memory(sockets: Sockets) -> None:
    """No read allocates a large block: the C library would map and unmap it each time, which doubles a round trip."""
    ours, theirs = sockets
    found: asyncio.Queue[wire.ToDaemon] = asyncio.Queue()
    decoder = link.FrameDecoder[wire.ToDaemon](wire.ToDaemon)
    reader = await link.adopt(ours, lambda: link.Connection(decoder, found.put_nowait, lambda _: None))
    frame = link.encode(wire.Token(id=1, text="x", index=0))
    theirs.sendall(frame)
    await found.get()

    tracemalloc.start()
    try:
        theirs.sendall(frame)
        async with asyncio.timeout(5):
            await found.get()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 64 * 1024
    reader.abort()
    await asyncio.sleep(0)
