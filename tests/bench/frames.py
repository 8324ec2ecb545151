"""(e) A frame to the worker and back, beside a bare asyncio echo of the same bytes."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.attached import attached
from bench.report import Report, Row, spread
from bench.setting import HERE
from botframework import __version__, config
from botframework.wire import link
from botframework.wire.messages import PROTOCOL_VERSION, GetStats, Hello, ToDaemon, Welcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.setting import Setting

RATIO = 2.0
BLOCK = 50
"""Round trips of each kind before the next kind has its turn."""


class Caller(asyncio.Protocol):
    """The client of the echo: one request at a time."""

    def __init__(self, answered: int) -> None:
        self._answered = answered
        self._got = 0
        self._whole: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Count until the answer is whole."""
        self._got += len(data)
        if self._got >= self._answered and self._whole is not None:
            self._got -= self._answered
            self._whole.set_result(None)

    async def call(self, request: bytes) -> None:
        """Ask and wait."""
        self._whole = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self._whole


class Stranger:
    """A second client of the worker, with nothing above the link."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[ToDaemon] | None = None
        self.connection: link.Connection[ToDaemon]

    async def greet(self, path: Path) -> None:
        """Connect and shake hands."""
        decoder: link.FrameDecoder[ToDaemon] = link.FrameDecoder(ToDaemon)
        self.connection = await link.connect(path, lambda: link.Connection(decoder, self._take, lambda _: None))
        welcome = await self.call(Hello(protocol=PROTOCOL_VERSION, version=__version__))
        assert isinstance(welcome, Welcome)

    async def call(self, message: Hello | GetStats) -> ToDaemon:
        """Send a message and wait for its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self.connection.send(message)
        return await self._answer

    def _take(self, message: ToDaemon) -> None:
        if self._answer is not None:
            self._answer.set_result(message)


async def microseconds(call: Callable[[], Awaitable[object]]) -> list[float]:
    """A block of round trips."""
    found = []
    for _ in range(BLOCK):
        started = time.perf_counter()
        await call()
        found.append((time.perf_counter() - started) * 1e6)
    return found


async def measure_async(setting: Setting) -> Report:
    """In blocks, each kind in turn, all in one event loop."""
    bare: list[float] = []
    linked: list[float] = []
    asked: list[float] = []
    async with attached(setting.model) as (supervisor, _):
        stranger = Stranger()
        await stranger.greet(next(config.runtime_dir().glob("*.sock")))
        request, answer = link.encode(GetStats(id=100)), link.encode(await supervisor.stats())
        with tempfile.TemporaryDirectory(prefix="bf-") as folder:
            path = str(Path(folder) / "echo.sock")
            command = [sys.executable, str(HERE / "bare_echo.py"), path, str(len(request)), str(len(answer))]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            try:
                assert process.stdout is not None
                await process.stdout.readline()
                loop = asyncio.get_running_loop()
                _, caller = await loop.create_unix_connection(lambda: Caller(len(answer)), path)
                for _ in range(setting.times(100)):
                    linked += await microseconds(lambda: stranger.call(GetStats(id=100)))
                    bare += await microseconds(lambda: caller.call(request))
                    asked += await microseconds(supervisor.stats)
                caller.transport.close()
            finally:
                process.terminate()
                await process.wait()
        stranger.connection.close()
    median = statistics.median
    ratio = median(linked) / median(bare)
    what = f"{len(request)} bytes there, {len(answer)} back"
    rows = [
        Row(what, spread(linked, "µs", 0), spread(bare, "µs", 0), ratio, f"<= {RATIO:.0f}", ratio <= RATIO),
        Row("the same by the supervisor", spread(asked, "µs", 0), spread(bare, "µs", 0), median(asked) / median(bare)),
    ]
    note = "Ours encodes and decodes two messages, and collects the worker's figures (GetStats, Stats)."
    return Report("e", "a frame's round trip", "bare asyncio echo", rows, note)


def measure(setting: Setting) -> Report:
    """Run it."""
    return asyncio.run(measure_async(setting))
