"""The link between daemon and worker: length-prefixed msgpack frames over a local socket.

A frame is a 4-byte big-endian length and that many bytes of msgpack (one message of `wire.messages`). Nothing else is
ever on the socket. Both ends use the same `Connection`, so both obey the same limits.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from botframework.errors import FrameTooLarge, WireError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from botframework.wire.messages import Message

MAX_FRAME = 8 * 1024 * 1024
"""Bytes of one frame. Prompts are cut by the daemon long before this; only a defect or an intruder sends more."""

HEADER_BYTES = 4

HIGH_WATER = 1024 * 1024
"""Untaken bytes beyond which a peer counts as behind, and generation for it waits."""
LOW_WATER = 256 * 1024
"""Untaken bytes below which it has caught up; the distance keeps the two from alternating at every token."""

READ_BUFFER_BYTES = 64 * 1024
"""Taken from the socket at once. Messages are far smaller, but for prompts and a stream that somebody was behind on."""

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Make the whole frame of a message.

    Raises
    ------
    FrameTooLarge
        The message is larger than `MAX_FRAME`.
    """
    frame = bytearray(HEADER_BYTES)
    _encoder.encode_into(message, frame, HEADER_BYTES)
    size = len(frame) - HEADER_BYTES
    if size > MAX_FRAME:
        raise FrameTooLarge(f"a {type(message).__name__} of {size} bytes exceeds the frame limit of {MAX_FRAME} bytes")
    frame[:HEADER_BYTES] = size.to_bytes(HEADER_BYTES, "big")
    return bytes(frame)


class FrameDecoder(Generic[T]):
    """Cuts a byte stream into messages of one tagged union."""

    def __init__(self, union: Any, max_frame: int = MAX_FRAME) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(union)
        self._max_frame = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[T]:
        """Take bytes as they come and give back the messages that are whole.

        Raises
        ------
        FrameTooLarge
            A header announces more than the limit; nothing of that size is allocated.
        WireError
            The bytes are not msgpack, or not a message of the union.
        """
        buffer = self._buffer
        buffer += data
        messages: list[T] = []
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            size = int.from_bytes(buffer[start : start + HEADER_BYTES], "big")
            if size > self._max_frame:
                raise FrameTooLarge(f"a frame of {size} bytes is announced, the limit is {self._max_frame} bytes")
            end = start + HEADER_BYTES + size
            if len(buffer) < end:
                break
            try:
                # A copy, not a view: a bytearray with a live view cannot be shortened below.
                messages.append(self._decoder.decode(bytes(buffer[start + HEADER_BYTES : end])))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise WireError(f"a frame of {size} bytes is not a message of this protocol: {error}") from error
            start = end
        del buffer[:start]
        return messages


class Connection(asyncio.BufferedProtocol, Generic[T]):
    """One end of a link. Belongs to the event loop that it was made in; `send` never blocks.

    ``on_message`` gets each message in order. ``on_lost`` is called exactly once, with the error that ended the link or
    None when the peer closed it or `close` did.

    A buffered protocol, because for any other asyncio allocates 256 KiB for every read, which the C library may map and
    unmap each time: a page fault and three system calls, as dear as all the rest of a small message (`make bench`, e).
    """

    def __init__(
        self,
        decoder: FrameDecoder[T],
        on_message: Callable[[T], None],
        on_lost: Callable[[Exception | None], None],
        on_caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._decoder = decoder
        self._received = memoryview(bytearray(READ_BUFFER_BYTES))
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_caught_up = on_caught_up
        self.behind_since: float | None = None
        """On the monotonic clock, since when the peer has more than `HIGH_WATER` bytes to take; any thread may read."""
        self._transport: asyncio.Transport | None = None
        self._fault: Exception | None = None
        self._paused = False
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's contract for stream sockets
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)

    def pause_writing(self) -> None:
        """asyncio: the peer is behind."""
        self.behind_since = time.monotonic()

    def resume_writing(self) -> None:
        """asyncio: the peer has caught up."""
        self.behind_since = None
        self._on_caught_up()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """asyncio: where bytes may be put."""
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: bytes came. A frame that cannot be read ends the link: after it, no border can be trusted."""
        try:
            for message in self._decoder.feed(self._received[:nbytes]):
                self._on_message(message)
        except WireError as error:
            self._fault = error
            self.abort()

    def eof_received(self) -> bool:
        """asyncio: the peer will send no more; a half-open link is of no use."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the socket is gone."""
        if not self._lost:
            self._lost = True
            self._on_lost(self._fault or exc)

    @property
    def is_behind(self) -> bool:
        """Whether the peer has more than `HIGH_WATER` bytes to take; any thread may ask."""
        return self.behind_since is not None

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._lost or self._transport is None or self._transport.is_closing()

    @property
    def queued_bytes(self) -> int:
        """Bytes that the peer has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, message: Message) -> None:
        """Queue one message; silently nothing when the link is closed (``on_lost`` tells)."""
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        """Queue a frame that `encode` made."""
        if not self.is_closed and self._transport is not None:
            self._transport.write(frame)

    def pause_reading(self) -> None:
        """Stop taking bytes from the peer, which then falls behind and pauses its generations for us."""
        if not self._paused and not self.is_closed and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self._paused and not self.is_closed and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """End the link after what is queued has been sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the link now; what is queued is lost."""
        if self._transport is not None:
            self._transport.abort()


async def connect(path: Path, make: Callable[[], Connection[T]]) -> Connection[T]:
    """Connect to the local socket of a worker.

    Raises
    ------
    OSError
        Nothing listens there.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":  # Never run: the named-pipe counterpart of the UNIX socket.
        _, protocol = await loop.create_pipe_connection(make, pipe_name(path))  # type: ignore[attr-defined]
    else:
        _, protocol = await loop.create_unix_connection(make, str(path))
    return protocol


async def adopt(sock: socket.socket, make: Callable[[], Connection[T]]) -> Connection[T]:
    """Make a connection of a socket that is connected already (one end of a socket pair)."""
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.connect_accepted_socket(make, sock)
    return protocol


def pipe_name(path: Path) -> str:
    r"""The Windows named pipe that stands for a socket path: ``\\.\pipe\botframework-<stem>``."""
    return rf"\\.\pipe\botframework-{path.stem}"


async def listen(path: Path, make: Callable[[], Connection[T]]) -> Any:
    """Listen on the local socket; the runtime folder's mode (0700) keeps other users out.

    The returned server must be kept alive by the caller.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":  # Never run.
        return await loop.start_serving_pipe(make, pipe_name(path))  # type: ignore[attr-defined]
    return await loop.create_unix_server(make, str(path), backlog=64)
