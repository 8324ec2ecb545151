"""The peer of a frame's round trip: asyncio, a UNIX socket, and an answer of a given length for every request."""

from __future__ import annotations

import asyncio
import sys


class Echo(asyncio.Protocol):
    """Answers every ``asked`` bytes with ``answered`` bytes."""

    def __init__(self, asked: int, answered: int) -> None:
        self._asked = asked
        self._answer = b"x" * answered
        self._got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count, and answer what is complete."""
        self._got += len(data)
        while self._got >= self._asked:
            self._got -= self._asked
            self._transport.write(self._answer)


async def main() -> None:
    """Serve PATH ASKED ANSWERED until killed."""
    path, asked, answered = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: Echo(asked, answered), path)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
